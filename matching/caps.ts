/**
 * Caps a number (docs/domain.md, "Retries and caps"): whose number was dialled as often, or as lately, as the campaign
 * allows is not in the queue but waits, without a call, until it may be dialled again. The dial itself is the guarantee: it
 * asks once more, under the lock on the number.
 */
import { inTx, type Db } from '../prisma/tx.ts';
import type { Matching } from './matching.ts';
import { endCalls, enqueueContacts } from './queue.ts';
import * as sql from './sql.ts';

const PAGE = 500;

/** A number has just been dialled: other contacts with it leave the queue, if their campaigns' caps say so. */
export async function leaveQueueForCap(db: Db, number: string): Promise<void> {
  await inTx(db, async (tx) => {
    const left = await tx.rows<{ call_id: string }>(sql.leaveForCap(tx.now, number, PAGE));
    await endCalls(tx, left.map((row) => row.call_id), 'cap');
  });
}

/** Who has waited for a cap, and may be called again, is queued with a new call; the sweep's share of this file. */
export async function endCapWaits(db: Db, matching: Pick<Matching, 'matchCampaign'>): Promise<void> {
  const { rows } = await db.pool.query<{ id: string; campaign_id: number; is_reschedule: boolean }>(sql.capsOver(db.clock.now(), PAGE));
  for (const campaign of new Set(rows.map((row) => row.campaign_id))) {
    const free = rows.filter((row) => row.campaign_id === campaign);
    await inTx(db, async (tx) => {
      const held = await tx.row<sql.Held>(sql.holdStatus(campaign));
      const called = free.filter(({ is_reschedule }) => held && sql.callsNow(held, is_reschedule));
      await enqueueContacts(tx, called.map(({ id }) => id), 'capped');
    });
    await matching.matchCampaign(campaign);
  }
}
