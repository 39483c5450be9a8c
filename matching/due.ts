/**
 * Contacts who are due: a retry, a reschedule, a number that was in use. They are queued set-wise, a page a transaction, however
 * many have the same second. Their workflows are not woken for it but hear of it when they are offered: a task for each of a
 * hundred thousand would stand before every offer, click and stop for a quarter of an hour.
 */
import { inTx, type Db, type Tx } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';
import type { Matching } from './matching.ts';
import { enqueueContacts } from './queue.ts';
import * as sql from './sql.ts';

const PAGE = 500;

export interface DueDeps {
  db: Db;
  matching: Pick<Matching, 'matchCampaign'>;
  workflows: Pick<Workflows, 'campaignChanged'>;
}

/** Queues the next page. Returns from when on somebody is to be queued: by now, if there may be more; null: nobody waits for a time. */
export async function queueDue({ db, matching, workflows }: DueDeps): Promise<Date | null> {
  const now = db.clock.now();
  const { rows } = await db.pool.query<{ id: string; campaign_id: number }>(sql.dueContacts(now, PAGE));
  let looked = 0;
  const failures: unknown[] = [];
  for (const [campaign, of] of Map.groupBy(rows, (row) => row.campaign_id)) {
    const due = of.map(({ id }) => id);
    try {
      looked += await inTx(db, (tx) => queueOf(tx, campaign, due));
      await matching.matchCampaign(campaign);
      // Listed since: whoever has listed the number ends it too, but what is final already is not to wait for that.
      if ((await db.pool.query(sql.someAreFinal(due))).rowCount) await workflows.campaignChanged(String(campaign));
    } catch (error) {
      failures.push(error); // others are due as well
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, 'of some campaigns');
  // Another worker was faster, if there were none: it goes on with the next page.
  if (looked > 0) return now;
  return (await db.pool.query<{ at: Date | null }>(sql.nextDueAt(now))).rows[0]!.at;
}

/** How many of them were due. Who is due while the campaign does not call waits for that. */
async function queueOf(tx: Tx, campaignId: number, contactIds: string[]): Promise<number> {
  const campaign = await tx.row<sql.Held>(sql.holdStatus(campaignId));
  const due = await tx.rows<{ id: string; is_reschedule: boolean }>(sql.lockDue(tx.now, contactIds));
  const isCalled = (contact: { is_reschedule: boolean }) => campaign !== undefined && sql.callsNow(campaign, contact.is_reschedule);
  const waiting = due.filter((contact) => !isCalled(contact));
  if (waiting.length > 0) await tx.run(sql.waitForCampaign(tx.now, waiting.map(({ id }) => id), ['waiting']));
  await enqueueContacts(tx, due.filter(isCalled).map(({ id }) => id), 'due');
  return due.length;
}
