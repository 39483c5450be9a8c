/**
 * What others see of an import while it runs, and afterwards. Its own transaction shows nothing before its end, so how far
 * it is is written beside it, on other connections, and never waited for: uploads that have taken all connections must not
 * wait for one more. The end is written within, so an import is `done` exactly if its rows are in the list. Of one whose
 * process has died no end is written: the lock that went with its connection tells that it is over.
 */
import type { Pool } from 'pg';
import type { Clock } from '../../config/clock.ts';
import type { Sql, Tx } from '../../prisma/tx.ts';
import { asAppError } from '../problems.ts';
import type { ImportCounts, ImportRequest } from './load.ts';
import * as sql from './sql.ts';

/** How often it is written how far an import is. */
const EVERY_MS = 1_000;

interface RecordDb {
  pool: Pick<Pool, 'query'>;
  clock: Clock;
}

export class ImportRecord {
  readonly #db: RecordDb;
  readonly #request: ImportRequest;
  #import: sql.NewImport | null = null;
  #rows = 0;
  #dueAt = 0;
  #isFinishing = false;
  #written: Promise<unknown> = Promise.resolve();

  constructor(db: RecordDb, request: ImportRequest) {
    this.#db = db;
    this.#request = request;
  }

  /** The import has got the lock on the list. Nothing before is recorded, nor is anything of a dry run. */
  begin(id: number): void {
    const { campaignId, mode, badRows, by } = this.#request;
    this.#import = { id, campaignId, mode, badRows, by, startedAt: this.#db.clock.now() };
    this.#write(sql.beginImport(this.#import));
  }

  /** So many rows have been read so far; written once a second at most. */
  read(rows: number): void {
    this.#rows = rows;
    const now = performance.now();
    if (now < this.#dueAt) return;
    this.#dueAt = now + EVERY_MS;
    this.#note('reading');
  }

  /** The file has been read to its end. */
  merge(): void {
    this.#note('merging');
  }

  async finish(tx: Tx, counts: ImportCounts): Promise<void> {
    const now = this.#db.clock.now();
    this.#isFinishing = true;
    if (this.#import) await tx.run(sql.endImport(now, this.#import, { result: 'done', reason: null, rows: this.#rows, counts }));
  }

  /** Its transaction is about to be rolled back. If that can't be written, the import counts as broken off. */
  async fail(error: unknown): Promise<void> {
    // The row may be locked by that transaction already, which would be waited for.
    if (!this.#import || this.#isFinishing) return;
    const reason = asAppError(error)?.message ?? 'the server failed; nothing was imported';
    const end = { result: 'failed', reason, rows: this.#rows, counts: null } as const;
    await this.#db.pool.query(sql.endImport(this.#db.clock.now(), this.#import, end)).catch(() => undefined);
  }

  #note(phase: sql.ImportPhase): void {
    if (this.#import) this.#write(sql.noteImport(this.#db.clock.now(), this.#import.id, phase, this.#rows));
  }

  /** One after the other, so that the last one stands. What fails is only news. */
  #write(statement: Sql): void {
    this.#written = this.#written.then(() => this.#db.pool.query(statement)).catch(() => undefined);
  }
}

/** The imports of a campaign, the latest first; `before` is an id, 0 for the latest. */
export async function listImports(pool: Pick<Pool, 'query'>, campaignId: number, before: number, limit: number) {
  const read = async () => (await pool.query<sql.ImportRow>(sql.listImports(campaignId, before, limit))).rows;
  const rows = await read();
  if (rows.every((row) => row.ended_at !== null)) return rows.map((row) => importJson(row, false));
  // One without an end runs, or its process has died. Read again after the lock was looked for, since it may just have
  // ended in between; and one that has just begun had the lock before its row.
  const runs = (await pool.query(sql.importRuns(campaignId))).rows.length > 0;
  return (runs ? rows : await read()).map((row) => importJson(row, runs));
}

function importJson(row: sql.ImportRow, runs: boolean) {
  const isOver = row.ended_at !== null || !runs;
  return {
    id: String(row.id),
    state: isOver ? (row.result ?? 'broken_off') : 'running',
    phase: isOver ? null : row.phase,
    rows: row.rows,
    mode: row.mode,
    bad_rows: row.bad_rows,
    started_by: row.started_by,
    started_at: row.started_at.toISOString(),
    seen_at: row.seen_at.toISOString(),
    ended_at: isOver ? (row.ended_at ?? row.seen_at).toISOString() : null,
    reason: row.reason,
    counts: row.counts,
  };
}
