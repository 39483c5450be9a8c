/** Carrying out reopenings (docs/domain.md, "Reopening"): a page of contacts a transaction, each of which says how far it is. */
import type { Counts } from '../domain/reopening.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import * as sql from './reopening-sql.ts';

const PAGE = 2_000;

/** One page of the oldest reopening of a campaign that is not finished; false when there is none. */
export function reopenPage(db: Db, campaignId: number): Promise<boolean> {
  return inTx(db, async (tx) => {
    const reopening = await tx.row<sql.ReopeningRow>(sql.lockOpenReopening(campaignId));
    if (!reopening) return false;
    const { last, found } = await lookAt(tx, reopening);
    const reopened = found.filter(({ why_not }) => why_not === null);
    await tx.run(
      sql.noteReopened({
        ...reopening,
        last_contact_id: last ?? reopening.last_contact_id,
        reopened: add(reopening.reopened, reopened, ({ ended_reason }) => ended_reason),
        not_reopened: add(reopening.not_reopened, found, ({ why_not }) => why_not),
        finished_at: last === null ? tx.now : null,
      }),
    );
    return true;
  });
}

async function lookAt(tx: Tx, { campaign_id, filter, extra_attempts, at, last_contact_id }: sql.ReopeningRow): Promise<sql.PageFound> {
  const asked = { campaignId: campaign_id, filter, extraAttempts: extra_attempts, at };
  return (await tx.row<sql.PageFound>(sql.reopenPage(tx.now, asked, last_contact_id, PAGE)))!;
}

/** `counts` with those of `found` that have the word. */
export function add(counts: Counts, found: sql.Count[], word: (count: sql.Count) => string | null): Counts {
  const sums = { ...counts };
  for (const count of found) {
    const key = word(count);
    if (key !== null) sums[key] = (sums[key] ?? 0) + count.n;
  }
  return sums;
}
