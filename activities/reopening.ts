/**
 * Reopenings: finished contacts put back into the list by one decision (docs/domain.md, "Reopening"). The decision is a row;
 * the campaign's workflow carries it out in pages. Each page moves the row's mark in the transaction that changes the
 * contacts, so that whoever repeats goes on where it was, and no contact is put back twice for one decision.
 */
import type { Counts } from '../domain/reopening.ts';
import { holdStatus } from '../matching/sql.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import * as sql from './reopening-sql.ts';

/** Finished contacts that a page looks at. */
const PAGE = 500;

/** The campaign has ended while a page was made: nothing of it stands. */
class Ended extends Error {}

/** One page of the oldest reopening of a campaign; true when there may be more. */
export async function reopenNext(db: Db, campaignId: number, page = PAGE): Promise<boolean> {
  try {
    return await inTx(db, (tx) => reopenPage(tx, campaignId, page));
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
    await db.pool.query(sql.giveUpReopenings(db.clock.now(), campaignId));
    return false;
  }
}

async function reopenPage(tx: Tx, campaignId: number, page: number): Promise<boolean> {
  const reopening = await tx.row<sql.ReopeningRow>(sql.lockOpenReopening(campaignId));
  if (!reopening) return false;
  const { filter, reset_attempts: resetAttempts, at } = reopening;
  const asked = { campaignId, filter, resetAttempts, at };
  const { last, found } = (await tx.row<sql.PageFound>(sql.reopenPage(tx.now, asked, reopening, page)))!;
  // Contacts before the campaign, as everywhere. Whoever ends it comes after this page, or has come before it.
  const campaign = await tx.row<{ status: string }>(holdStatus(campaignId));
  if (campaign?.status === 'ended') throw new Ended();
  const mark = last === null ? { finished_at: tx.now } : { last_contact_id: last };
  await tx.run(sql.noteReopened({ ...reopening, ...addUp(found, reopening), ...mark }));
  return true;
}

export interface Found {
  /** By the reason with which they had ended. */
  reopened: Counts;
  /** By why they stay closed. */
  not_reopened: Counts;
}

/** What was found, added to what was before. */
export function addUp(found: sql.Count[], before: Found = { reopened: {}, not_reopened: {} }): Found {
  const sum: Found = { reopened: { ...before.reopened }, not_reopened: { ...before.not_reopened } };
  for (const { ended_reason, why_not, n } of found) {
    if (n === 0) continue;
    const [counts, reason] = why_not ? [sum.not_reopened, why_not] : [sum.reopened, ended_reason];
    counts[reason] = (counts[reason] ?? 0) + n;
  }
  return sum;
}
