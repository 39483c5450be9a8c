import { reorderQueue } from '../../matching/sql.ts';
import type { Db } from '../../prisma/tx.ts';

/** What the campaign's workflow does after a change of order or filter. */
export async function settleQueue(db: Db, campaign: number): Promise<void> {
  while ((await db.pool.query(reorderQueue(campaign, 2))).rowCount);
}
