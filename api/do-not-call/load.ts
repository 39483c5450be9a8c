/**
 * A file of numbers: one transaction that lays its rows into a temporary table as they arrive and lists them set-wise when
 * the whole file is known to be good. Nothing of the list is touched before that, so a slow upload holds nobody up.
 *
 * So many numbers can't be locked one by one: there is one lock for all of them, for the moment of the commit. A dial that was
 * decided before it is ended after it: its offer was there before, and so is found (routes.ts).
 */
import { AppError } from '../../domain/errors.ts';
import { lockAgainstDials } from '../../matching/sql.ts';
import { type Db, inTx, type Tx } from '../../prisma/tx.ts';
import { busyIfDeadlocked, mustBeUsable } from '../imports/load.ts';
import { type Problem, problemOf, Problems } from '../imports/problems.ts';
import { readRows, Unreadable } from '../imports/read.ts';
import type { BadRows } from '../imports/schemas.ts';
import { uploadIsThere, waitForUpload } from '../imports/sql.ts';
import { createNumberReader } from './rows.ts';
import * as sql from './sql.ts';

export interface NumbersRequest {
  country?: string | undefined;
  /** Of numbers that have none of their own. */
  comment: string | null;
  badRows: BadRows;
  dryRun: boolean;
  /** Who: `key:3`. */
  by: string;
  body: AsyncIterable<Uint8Array>;
}

/** `added + already_listed + repeated + skipped = rows`. */
export interface NumbersAnswer {
  dry_run: boolean;
  /** Rows of the file, bad ones included; blank ones are none. */
  rows: number;
  added: number;
  already_listed: number;
  /** Numbers that stand in the file once more. */
  repeated: number;
  /** Bad rows left out. */
  skipped: number;
  /** Contacts with one of the numbers, in all campaigns, that are not closed and not about to be. */
  contacts: number;
  /** The first 1,000. */
  problems: Problem[];
}

const MAX_ROWS = 1_000_000;
/** Of COPY text, in characters. */
const PAGE_SIZE = 1_000_000;

/** Lists a file of numbers as a whole or not at all. Throws AppError: INVALID with every bad row, TOO_LARGE, UNAVAILABLE. */
export async function importNumbers(db: Pick<Db, 'pool' | 'clock'>, request: NumbersRequest): Promise<NumbersAnswer> {
  return inTx(db, async (tx) => {
    const problems = new Problems();
    await tx.run(waitForUpload);
    const { rows, good } = await stageRows(tx, request, problems);
    await tx.run(uploadIsThere);
    mustBeUsable(request, { rows, good }, problems);
    await tx.run(sql.analyzeStage);
    const { numbers, listed, contacts } = (await tx.row<sql.Counted>(sql.countStage))!;
    // tx.now is when the upload began, which may be minutes ago.
    const add = () => tx.run(sql.addStage(db.clock.now(), request.by, request.comment)).catch(busyIfDeadlocked);
    const added = request.dryRun ? numbers - listed : await add();
    if (!request.dryRun) await tx.run(lockAgainstDials).catch(busyIfDeadlocked);
    const counts = { rows, added, already_listed: numbers - added, repeated: good - numbers, skipped: rows - good, contacts };
    return { dry_run: request.dryRun, ...counts, problems: problems.first };
  });
}

async function stageRows(tx: Tx, request: NumbersRequest, problems: Problems): Promise<{ rows: number; good: number }> {
  const readRow = createNumberReader(request.country, problems.note);
  let [rows, good, page] = [0, 0, ''];
  const load = async () => {
    await tx.copyIn(sql.COPY_STAGE, Buffer.from(page));
    page = '';
  };
  await tx.run(sql.createStage);
  try {
    for await (const batch of readRows(request.body, 'csv')) {
      for (const source of batch) {
        const row = readRow(source);
        if (row === 'blank') continue;
        rows++;
        if (row === 'bad') continue;
        good++;
        page += sql.copyLine(row.line, row.number, row.comment);
      }
      if (rows > MAX_ROWS) throw new AppError('TOO_LARGE', 'a file may have 1,000,000 numbers at most; send it in parts');
      if (page.length >= PAGE_SIZE) await load();
    }
    await load();
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    problems.fatal = problemOf('csv', error.line, error.message);
  }
  return { rows, good };
}
