/**
 * Do-not-call: the list, and what it means for those who are on it (docs/domain.md, "Do-not-call").
 *
 * A number is listed under the lock that the dial of it takes. Its contacts are ended after that commit: at once by whoever
 * listed it and, should that one die, by a worker, since the number is pending until it is done. Each step is guarded by the
 * rows it changes, so a repeat changes nothing.
 */
import type { Logger } from 'pino';
import { endCalls } from '../matching/queue.ts';
import { lockNumbers } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import { asSignals, type Disable } from '../workflows/contact/messages.ts';
import type { Workflows } from '../workflows/client.ts';
import * as sql from './do-not-call-sql.ts';

export type { Listing } from './do-not-call-sql.ts';

/** Contacts of one transaction. */
const CONTACTS = 500;
/** Numbers that a worker takes up at once. */
const NUMBERS = 500;
/** How long whoever listed a number has for ending its contacts, before a worker does. */
export const OWN_TIME_MS = 3_000;
/** A page of numbers takes well under a second: a worker that has not done it in this time is dead. */
const PAGE_WITHIN_MS = 30_000;

/** Lists these numbers; those that are listed stay as they are. Returns how many were not. After this commit none is dialled. */
export async function listNumbers(tx: Tx, numbers: string[], listing: sql.Listing): Promise<number> {
  await tx.run(lockNumbers(numbers));
  return tx.run(sql.addNumbers(tx.now, numbers, listing, new Date(tx.now.getTime() + OWN_TIME_MS)));
}

/**
 * Ends the contacts of these numbers, as far as they are listed, over all campaigns, in pages. Returns the campaigns whose
 * workflow is to be told (their revision has been counted up). Who is being offered or called is not told here.
 */
export async function endListed(db: Db, numbers: string[]): Promise<number[]> {
  while ((await inTx(db, (tx) => endPage(tx, numbers))) === CONTACTS) {
    // The next page.
  }
  const bumped = await inTx(db, (tx) => tx.rows<{ id: number }>(sql.bumpUndrained(tx.now, numbers)));
  return bumped.map(({ id }) => id);
}

/** How many contacts were looked at. */
async function endPage(tx: Tx, numbers: string[]): Promise<number> {
  const ended = await tx.rows<sql.EndedContact>(sql.endListed(tx.now, numbers, CONTACTS));
  const queued = ended.filter(({ was }) => was === 'queued').map(({ call_id }) => call_id!);
  if (queued.length > 0) await endCalls(tx, queued, 'do_not_call');
  return ended[0]!.looked_at;
}

/** A contact that is to be told to end, and what it is told. */
export interface ToEnd {
  contact: { contactId: string; round: number };
  message: Disable;
}

const toEnd = ({ id: contactId, round, by }: sql.BeingCalled): ToEnd => ({
  contact: { contactId, round },
  message: { reason: 'do_not_call', by },
});

/** Listed contacts that are being offered or called and have not answered; `numbers` null: whichever they have. */
export async function beingCalled(db: Db, numbers: string[] | null): Promise<ToEnd[]> {
  const { rows } = await db.pool.query<sql.BeingCalled>(sql.beingCalled(numbers));
  return rows.map(toEnd);
}

// ---- the worker's share ---------------------------------------------------------------------------------------------

export interface PendingDeps {
  db: Db;
  workflows: Pick<Workflows, 'signal' | 'campaignChanged'>;
  log: Logger;
}

/**
 * Carries out what nobody has in time: listed contacts that are being offered or called, and a page of the numbers that are
 * pending; true when there may be more of these.
 */
export function createListings(deps: PendingDeps): () => Promise<boolean> {
  // Pages go on from here, past rows that are deleted and not cleared away yet.
  let after = '0';
  return async () => {
    await endBeingCalled(deps);
    const last = await endPending(deps, after);
    after = last ?? '0';
    return last !== null;
  };
}

/** Returns the last id of the page, null when there was none. */
async function endPending({ db, workflows, log }: PendingDeps, after: string): Promise<string | null> {
  const now = db.clock.now();
  const until = new Date(now.getTime() + PAGE_WITHIN_MS);
  const { rows } = await db.pool.query<sql.Pending>(sql.claimPending(now, after, until, NUMBERS));
  if (rows.length === 0) return null;
  const campaigns = await endListed(db, rows.map(({ number }) => number));
  await db.pool.query(sql.deletePending(rows.map(({ id }) => id)));
  for (const id of campaigns) {
    await workflows.campaignChanged(String(id)).catch((error: unknown) => {
      log.warn({ err: error, campaign: id }, 'campaign not told of contacts that were listed; the sweep repeats it');
    });
  }
  return rows.map(({ id }) => BigInt(id)).reduce((a, b) => (a > b ? a : b)).toString();
}

async function endBeingCalled({ db, workflows, log }: PendingDeps): Promise<void> {
  const before = new Date(db.clock.now().getTime() - OWN_TIME_MS);
  const { rows } = await db.pool.query<sql.BeingCalled>(sql.beingCalled(null));
  const untold = rows.filter(({ is_decided, listed_at }) => !is_decided && listed_at <= before);
  const tell = async (row: sql.BeingCalled) => {
    const { contact, message } = toEnd(row);
    const told = await workflows.signal(contact, asSignals.disable, message);
    if (told === 'closed' || row.offered_at > before) return;
    await inTx(db, (tx) => recordRepair(tx, { cause: 'listed_not_told', subject: `offer/${row.offer_id}` }));
  };
  // No more than there are agents.
  await Promise.all(
    untold.map((row) =>
      tell(row).catch((error: unknown) => {
        log.warn({ err: error, contact: row.id }, 'a listed contact was not told; it is repeated');
      }),
    ),
  );
}
