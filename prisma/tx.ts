/**
 * A transaction that writes facts: rows for readers are collected and get their positions last, just before COMMIT, so
 * that the counter row is held as briefly as possible and positions follow the order of commits without a gap.
 */
import { pipeline } from 'node:stream/promises';
import type { Pool, PoolClient } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Clock } from '../config/clock.ts';
import { carryOn, mustBeInTime } from './deadline.ts';
import type { PrismaClient } from './generated/client.ts';
import { writeEvents, type NewEvent } from './events.ts';

/** Hand-written SQL with its parameters; `name` makes it a prepared statement (for hot ones). */
export interface Sql {
  name?: string;
  text: string;
  values: unknown[];
}

export interface Db {
  pool: Pool;
  prisma: PrismaClient;
  clock: Clock;
  /** Name of the worker whose it is; none: the API's. */
  worker?: string;
}

export interface Tx {
  /** The transaction's time, one for all its statements. */
  readonly now: Date;
  /** The worker that makes it; null: the API. */
  readonly worker: string | null;
  rows<T extends object>(sql: Sql): Promise<T[]>;
  /** The first row, or undefined. */
  row<T extends object>(sql: Sql): Promise<T | undefined>;
  /** Number of rows changed. */
  run(sql: Sql): Promise<number>;
  /** Sends rows, in COPY's text format, to a `COPY … FROM STDIN`. */
  copyIn(statement: string, rows: Buffer): Promise<void>;
  /** Writes an event for readers at the end of the transaction. */
  record(event: NewEvent): void;
  /** Runs after COMMIT, in order; a failure there is the callback's own to handle. */
  afterCommit(callback: () => void): void;
}

/** Serialization failure, deadlock: nothing was done, so the whole transaction is repeated. */
const REPEATABLE = new Set(['40001', '40P01']);
const MAX_TRIES = 5;

export async function inTx<T>(db: Pick<Db, 'pool' | 'clock' | 'worker'>, work: (tx: Tx) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(db, work);
    } catch (error) {
      if (attempt >= MAX_TRIES || !REPEATABLE.has((error as { code?: string }).code ?? '')) throw error;
    }
  }
}

async function once<T>(db: Pick<Db, 'pool' | 'clock' | 'worker'>, work: (tx: Tx) => Promise<T>): Promise<T> {
  const client = await db.pool.connect();
  const events: NewEvent[] = [];
  const callbacks: (() => void)[] = [];
  let broken: Error | undefined;
  let result: T;
  try {
    await client.query('BEGIN');
    result = await work(open(client, db, events, callbacks));
    await writeEvents(client, events);
    mustBeInTime();
    await client.query('COMMIT');
    carryOn();
  } catch (error) {
    // A connection that can't even roll back is thrown away, not returned to the pool.
    await client.query('ROLLBACK').catch((e: Error) => (broken = e));
    throw error;
  } finally {
    client.release(broken);
  }
  for (const callback of callbacks) callback();
  return result;
}

function open(client: PoolClient, { clock, worker }: Pick<Db, 'clock' | 'worker'>, events: NewEvent[], callbacks: (() => void)[]): Tx {
  return {
    now: clock.now(),
    worker: worker ?? null,
    rows: async <R extends object>(sql: Sql) => (await client.query<R>(sql)).rows,
    row: async <R extends object>(sql: Sql) => (await client.query<R>(sql)).rows[0],
    run: async (sql) => (await client.query(sql)).rowCount ?? 0,
    copyIn: (statement, rows) => pipeline([rows], client.query(copyFrom(statement))),
    record: (event) => void events.push(event),
    afterCommit: (callback) => void callbacks.push(callback),
  };
}
