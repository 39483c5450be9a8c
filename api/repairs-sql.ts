/** The hand-written SQL of repairs, for readers. */
import type { Sql } from '../prisma/tx.ts';

export interface RepairRow {
  id: string;
  at: Date;
  cause: string;
  subject: string;
  worker: string | null;
}

/** The latest first, from before (`at`, `id`) on. */
export const listRepairs = (
  before: { at: Date; id: string } | null,
  limit: number,
  { cause, from, to }: { cause?: string | undefined; from?: Date | undefined; to?: Date | undefined },
): Sql => ({
  text: `SELECT id, at, cause, subject, worker FROM repair
         WHERE ${cause === undefined ? '$3::text IS NULL' : 'cause = $3'}
           AND at >= coalesce($4::timestamptz, '-infinity') AND at < coalesce($5::timestamptz, 'infinity')
           AND (at, id) < (coalesce($1::timestamptz, 'infinity'), coalesce($2::bigint, 0))
         ORDER BY at DESC, id DESC LIMIT $6`,
  values: [before?.at ?? null, before?.id ?? null, cause ?? null, from ?? null, to ?? null, limit],
});

/** All that were ever made, by cause. */
export const countRepairs = (): Sql => ({
  text: `SELECT cause, count(*)::int AS n FROM repair GROUP BY cause`,
  values: [],
});
