/**
 * Reading much at once: several statements that see the same moment, lock nothing, and leave the machine to those who call.
 */
import type { Pool } from 'pg';
import type { Sql } from './tx.ts';

export interface Snapshot {
  rows<T extends object>(sql: Sql): Promise<T[]>;
}

/** One core at most, since calls are made beside it; memory, so that what is grouped need not go to disk. */
const MODEST = `SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL work_mem = '32MB'`;

/** SQLSTATE of a statement that was cancelled by its timeout. */
export const TOO_SLOW = '57014';

/** Runs `work` on one snapshot, read only. A statement that takes longer than `statementMs` fails with `TOO_SLOW`. */
export async function inSnapshot<T>(pool: Pool, statementMs: number, work: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = ${statementMs}; ${MODEST}`);
    return await work({ rows: async <R extends object>(sql: Sql) => (await client.query<R>(sql)).rows });
  } finally {
    // There is nothing to commit. A connection that can't even roll back is thrown away.
    await client.query('ROLLBACK').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}
