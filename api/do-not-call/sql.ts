/** The hand-written SQL of the do-not-call routes, as functions. Every statement takes the time as a parameter: one clock. */
import type { ListingSource } from '../../domain/do-not-call.ts';
import type { Sql } from '../../prisma/tx.ts';
import { copyText } from '../imports/sql.ts';

export interface ListingRow {
  number: string;
  added_at: Date;
  added_by: string;
  source: ListingSource;
  comment: string | null;
  contact_id: string | null;
}
const COLUMNS = `number, added_at, added_by, source, comment, contact_id`;

export const findListing = (number: string): Sql => ({
  text: `SELECT ${COLUMNS} FROM do_not_call WHERE number = $1`,
  values: [number],
});

/** More digits than any number has. */
const MORE_DIGITS = '9'.repeat(15);

/** A page by number, after `after`. A prefix is a stretch of the primary key, whatever the database's collation. */
export const listListings = (
  after: string,
  limit: number,
  { prefix = null, since = null }: { prefix?: string | null; since?: Date | null },
): Sql => ({
  text: `SELECT ${COLUMNS} FROM do_not_call
         WHERE number > $1 AND number BETWEEN $2 AND $3 AND starts_with(number, $2)
           AND ($4::timestamptz IS NULL OR added_at >= $4)
         ORDER BY number LIMIT $5`,
  values: [after, prefix ?? '+', `${prefix ?? '+'}${MORE_DIGITS}`, since, limit],
});

export interface HistoryRow {
  action: 'added' | 'removed';
  at: Date;
  by: string;
  source: ListingSource | null;
  comment: string | null;
  contact_id: string | null;
}

/** What has happened to a number, newest first. */
export const historyOf = (number: string, limit: number): Sql => ({
  text: `SELECT action, at, by, source, comment, contact_id FROM (
           SELECT 'added' AS action, added_at AS at, added_by AS by, source, comment, contact_id, NULL::bigint AS id
           FROM do_not_call WHERE number = $1
           UNION ALL
           SELECT 'added', added_at, added_by, source, comment, contact_id, id FROM do_not_call_removed WHERE number = $1
           UNION ALL
           SELECT 'removed', removed_at, removed_by, NULL, removed_comment, NULL, id
           FROM do_not_call_removed WHERE number = $1
         ) AS happened
         ORDER BY id DESC NULLS FIRST, action DESC LIMIT $2`,
  values: [number, limit],
});

// ---- import ---------------------------------------------------------------------------------------------------------

/** The good rows of the file, as they were read. */
export const createStage: Sql = {
  text: `CREATE TEMP TABLE do_not_call_stage (line int NOT NULL, number text NOT NULL, comment text) ON COMMIT DROP`,
  values: [],
};

export const COPY_STAGE = 'COPY do_not_call_stage FROM STDIN';

/** A row of do_not_call_stage in COPY's text format. */
export const copyLine = (line: number, number: string, comment: string | null): string =>
  `${line}\t${number}\t${copyText(comment)}\n`;

/** Without it the planner takes a new table for a small one, and joins it row by row. */
export const analyzeStage: Sql = { text: `ANALYZE do_not_call_stage`, values: [] };

export interface Counted {
  /** Numbers of the file, each once. */
  numbers: number;
  /** Those of them that are listed already. */
  listed: number;
  /** Contacts with one of them, in all campaigns, that are not closed and not about to be. */
  contacts: number;
}

export const countStage: Sql = {
  text: `WITH numbers AS MATERIALIZED (SELECT DISTINCT number FROM do_not_call_stage)
         SELECT (SELECT count(*) FROM numbers)::int AS numbers,
           (SELECT count(*) FROM numbers JOIN do_not_call USING (number))::int AS listed,
           (SELECT count(*) FROM (
              SELECT c.id FROM do_not_call_stage s JOIN contact c ON c.phone_num = s.number
              WHERE c.closed_at IS NULL AND c.ended_reason IS NULL
              UNION
              SELECT c.id FROM do_not_call_stage s JOIN contact c ON c.phone_2 = s.number
              WHERE c.closed_at IS NULL AND c.phone_2 IS NOT NULL AND c.ended_reason IS NULL) AS met)::int AS contacts`,
  values: [],
};

/**
 * Lists the numbers of the file; the first row of each counts. In the order of numbers, so that two who list several can't
 * wait for each other. Workers end their contacts.
 */
export const addStage = (now: Date, by: string, comment: string | null): Sql => ({
  text: `
    WITH added AS (
      INSERT INTO do_not_call (number, added_by, added_at, source, comment)
      SELECT DISTINCT ON (number) number, $2, $1, 'import', coalesce(comment, $3) FROM do_not_call_stage ORDER BY number, line
      ON CONFLICT (number) DO NOTHING RETURNING number
    )
    INSERT INTO do_not_call_pending (number, due_at) SELECT number, $1 FROM added`,
  values: [now, by, comment],
});

/** Statements that were planned for a short list are planned anew: the dial looks up each number. */
export const analyzeList: Sql = { text: `ANALYZE do_not_call`, values: [] };
