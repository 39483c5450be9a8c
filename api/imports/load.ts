/**
 * One import: one transaction that reads the upload, lays its rows into a temporary table page by page and merges them
 * into the list set-wise. New contacts are inserted while the upload goes on, invisible to others; rows that others work
 * with are touched only when the whole file is known to be good, so a slow upload holds nobody up.
 */
import { AppError } from '../../domain/errors.ts';
import type { Dialling } from '../../domain/numbers.ts';
import { withDefaults } from '../../domain/rules.ts';
import type { Matching } from '../../matching/matching.ts';
import { ownNumbers } from '../../prisma/own-numbers.ts';
import { type Db, inTx, type Sql, type Tx } from '../../prisma/tx.ts';
import type { Columns } from './columns.ts';
import { duplicateProblem, MAX_PROBLEMS, type Problem, problemOf, Problems } from './problems.ts';
import { type Format, readRows, Unreadable } from './read.ts';
import { ImportRecord } from './record.ts';
import { type ContactRow, createRowReader } from './rows.ts';
import type { BadRows, Mode } from './schemas.ts';
import * as sql from './sql.ts';

export interface ImportRequest {
  campaignId: number;
  format: Format;
  columns: Columns;
  mode: Mode;
  badRows: BadRows;
  /** Nothing is to be written. */
  dryRun: boolean;
  /** Who: `key:3`. */
  by: string;
  body: AsyncIterable<Uint8Array>;
}

export interface ImportCounts {
  added: number;
  updated: number;
  unchanged: number;
  /** Contacts of the file that are done or disabled already: an import does not bring them back. */
  closed: number;
  /** REPLACE: contacts that were not in the file; those in a call are disabled when it is over. */
  disabled: number;
  /** Bad rows left out. */
  skipped: number;
  /** Contacts with a number that must not be called; they are in the list all the same, which is checked at the dial. */
  do_not_call: number;
}

/** `added + updated + unchanged + skipped = rows`. */
export interface ImportAnswer extends ImportCounts {
  dry_run: boolean;
  mode: Mode;
  /** Rows of the file, bad ones included; blank ones are none. */
  rows: number;
  /** The first 1,000. */
  problems: Problem[];
}

const MAX_ROWS = 2_000_000;
/** Of COPY text, in characters. A page is loaded by PostgreSQL while the next one is read. */
const PAGE_SIZE = 1_000_000;
const MAX_TRIES = 5;
const BUSY = 'the list is too busy just now; repeat the import';

type LoadDeps = { db: Pick<Db, 'pool' | 'clock'>; matching: Pick<Matching, 'lockQueue'> };

/**
 * Imports a list as a whole or not at all; a dry run says what that would do. Throws AppError: INVALID with every bad row,
 * NOT_FOUND, CONFLICT for an ended campaign, IMPORT_RUNNING, TOO_LARGE, UNAVAILABLE.
 */
export function importList(deps: LoadDeps, request: ImportRequest): Promise<ImportAnswer> {
  const record = new ImportRecord(deps.db, request);
  return inTx(deps.db, async (tx) => {
    try {
      return await carryOut(tx, deps, request, record);
    } catch (error) {
      // Before the lock on the list goes: without it, and without an end, the import would seem to be broken off.
      await record.fail(error);
      throw error;
    }
  });
}

async function carryOut(tx: Tx, deps: LoadDeps, request: ImportRequest, record: ImportRecord): Promise<ImportAnswer> {
  const { campaignId, mode, dryRun } = request;
  const campaign = await openCampaign(tx, request, record);
  const problems = new Problems();
  await tx.run(sql.waitForUpload);
  const staged = await stageRows(tx, request, campaign, problems, record).catch(busyIfDeadlocked);
  await tx.run(sql.uploadIsThere);
  record.merge();
  // Every row that was not inserted is in the list already, or twice in the file.
  if (staged.added < staged.good) await findDuplicates(tx, request, staged, problems);
  mustBeUsable(request, staged, problems);
  const { n } = (await tx.row<{ n: number }>(sql.countDoNotCall))!;
  const changes = dryRun
    ? (await tx.row<sql.Changes>(sql.countChanges(campaignId, mode)))!
    : await againIfDeadlocked(tx, () => merge(tx, deps, request, staged));
  const { rows, good } = staged;
  const unchanged = good - changes.added - changes.updated;
  const counts = { ...changes, unchanged, skipped: rows - good, do_not_call: n };
  await record.finish(tx, counts);
  return { dry_run: dryRun, mode, rows, ...counts, problems: problems.first };
}

async function openCampaign(tx: Tx, { campaignId, dryRun }: ImportRequest, record: ImportRecord): Promise<Dialling> {
  const campaign = await tx.row<sql.OpenCampaign>(sql.openCampaign(campaignId, { dryRun }));
  if (!campaign) throw new AppError('NOT_FOUND', 'there is no such campaign');
  if (campaign.status === 'ended') throw campaignEnded();
  if (!campaign.free) throw new AppError('IMPORT_RUNNING', 'an import is running on this campaign; repeat when it is done');
  if (campaign.import_id !== null) record.begin(campaign.import_id);
  await tx.run(sql.createStage);
  await tx.run(dryRun ? sql.writeNothing : sql.createMissing);
  const { country, rules } = campaign;
  return { country, countries: withDefaults(rules).countries, own: await ownNumbers(tx, null) };
}

const campaignEnded = () =>
  new AppError('CONFLICT', "the campaign has ended: its list can't be changed", { state: 'ended' });

// ---- the file -------------------------------------------------------------------------------------------------------

interface Staged {
  rows: number;
  /** Rows without a problem. */
  good: number;
  /** Good rows that have been inserted into the list. */
  added: number;
}

async function stageRows(
  tx: Tx,
  request: ImportRequest,
  campaign: Dialling,
  problems: Problems,
  record: ImportRecord,
): Promise<Staged> {
  const readRow = createRowReader({ ...request, campaign }, problems.note);
  const pages = new Pages(tx, request.campaignId);
  const staged: Staged = { rows: 0, good: 0, added: 0 };
  // Once it is clear that nothing will be imported, rows are only staged, to find those that are there twice.
  const insert = () => !request.dryRun && (request.badRows === 'skip' || problems.count === 0);
  try {
    for await (const batch of readRows(request.body, request.format)) {
      for (const source of batch) {
        const row = readRow(source);
        if (row === 'blank') continue;
        staged.rows++;
        if (row === 'bad') continue;
        if (row.phoneNum !== null) staged.good++;
        pages.add(row);
        if (pages.isFull) await pages.load(insert());
      }
      record.read(staged.rows);
      if (staged.rows > MAX_ROWS) throw new AppError('TOO_LARGE', 'an import may have 2,000,000 rows at most');
    }
    await pages.load(insert());
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    problems.fatal = problemOf(request.format, error.line, error.message);
  } finally {
    staged.added = await pages.settled();
  }
  return staged;
}

/** Takes rows to PostgreSQL a page at a time: one is loaded there while the next one fills here. */
class Pages {
  #lines: string[] = [];
  #size = 0;
  #from = 0;
  #to = 0;
  #added = 0;
  #loading: Promise<void> = Promise.resolve();
  readonly #tx: Tx;
  readonly #campaignId: number;

  constructor(tx: Tx, campaignId: number) {
    this.#tx = tx;
    this.#campaignId = campaignId;
  }

  add(row: ContactRow): void {
    const line = sql.copyLine(row);
    if (this.#lines.length === 0) this.#from = row.line;
    this.#to = row.line;
    this.#size += line.length;
    this.#lines.push(line);
  }

  get isFull(): boolean {
    return this.#size >= PAGE_SIZE;
  }

  /** Hands the page over; resolves when the one before it has been loaded. `insert`: into the list as well. */
  async load(insert: boolean): Promise<void> {
    const rows = Buffer.from(this.#lines.join(''));
    const page = insert ? sql.insertPage(this.#tx.now, this.#campaignId, this.#from, this.#to) : null;
    this.#lines = [];
    this.#size = 0;
    await this.#loading;
    this.#loading = this.#send(rows, page);
    this.#loading.catch(() => undefined); // whoever waits for it next is told
  }

  /** Resolves to the number of contacts added when nothing is under way any more. */
  async settled(): Promise<number> {
    await this.#loading;
    return this.#added;
  }

  async #send(rows: Buffer, page: Sql | null): Promise<void> {
    await this.#tx.copyIn(sql.COPY_STAGE, rows);
    if (page) this.#added += await this.#tx.run(page);
  }
}

async function findDuplicates(tx: Tx, request: ImportRequest, staged: Staged, problems: Problems): Promise<void> {
  await tx.run(sql.analyzeStage);
  const found = await tx.rows<sql.Duplicate>(sql.duplicates(MAX_PROBLEMS));
  if (found.length === 0) return;
  problems.merge(found.map((duplicate) => duplicateProblem(request.format, duplicate)), found[0]!.total);
  staged.good -= await tx.run(sql.dropDuplicates);
}

export function mustBeUsable(
  request: Pick<ImportRequest, 'badRows'>,
  { rows, good }: Pick<Staged, 'rows' | 'good'>,
  problems: Problems,
): void {
  const issues = problems.first;
  if (problems.fatal) {
    const { reason, field } = problems.fatal;
    const text = `the file can't be read to its end (${field}: ${reason}); nothing was imported`;
    throw new AppError('INVALID', text, { issues: [...issues.slice(0, MAX_PROBLEMS - 1), problems.fatal] });
  }
  if (rows === 0) throw new AppError('INVALID', 'the file has no rows; nothing was imported');
  if (problems.count === 0 || (request.badRows === 'skip' && good > 0)) return;
  const shown = problems.count > issues.length ? `, the first ${issues.length} of which are shown` : '';
  const bad = `${rows - good} of ${rows} rows are bad, with ${problems.count} problems${shown}`;
  throw new AppError('INVALID', `${bad}; nothing was imported`, { issues });
}

// ---- the list -------------------------------------------------------------------------------------------------------

/**
 * Locks are taken in this order: queue, contacts, calls, campaign, positions. Who queues contacts holds the campaign's
 * status only briefly, and waits for the positions with it in hand.
 */
async function merge(
  tx: Tx,
  { db, matching }: LoadDeps,
  request: ImportRequest,
  staged: Staged,
): Promise<sql.Changes> {
  const { campaignId, mode, by } = request;
  // tx.now is when the upload began, which may be minutes ago.
  const now = db.clock.now();
  const someAreOld = staged.added < staged.good;
  const closed = someAreOld ? (await tx.row<{ n: number }>(sql.countClosed(campaignId)))!.n : 0;
  if (someAreOld || mode === 'replace') await matching.lockQueue(tx, campaignId);
  const updated = someAreOld ? await tx.run(sql.updateChanged(now, campaignId)) : 0;
  if (updated > 0) {
    await tx.run(sql.updateQueuedNumbers(now, campaignId));
    await tx.run(sql.lookAtChanged(now, campaignId));
  }
  const disabled = mode === 'replace' ? await tx.run(sql.endMissing(now, campaignId, by)) : 0;
  const ended = disabled > 0 ? await tx.run(sql.endMissingCalls(now)) : 0;
  if ((await tx.run(sql.bumpRevision(now, campaignId))) === 0) throw campaignEnded();
  if (ended > 0) await tx.run(sql.writeMissingEvents(now));
  return { added: staged.added, updated, closed, disabled };
}

const DEADLOCK = '40P01';

/** The upload can't be read a second time: whoever sends it must. */
export function busyIfDeadlocked(error: unknown): never {
  if ((error as { code?: string }).code !== DEADLOCK) throw error;
  throw new AppError('UNAVAILABLE', BUSY);
}

/** The upload can't be read a second time, so what a deadlock undoes is repeated here and not by inTx. */
async function againIfDeadlocked<T>(tx: Tx, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    await tx.run(sql.savepoint);
    try {
      return await work();
    } catch (error) {
      if ((error as { code?: string }).code !== DEADLOCK) throw error;
      if (attempt === MAX_TRIES) throw new AppError('UNAVAILABLE', BUSY);
      await tx.run(sql.rollbackToSavepoint);
    }
  }
}
