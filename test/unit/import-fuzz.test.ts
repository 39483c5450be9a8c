/** Files as nobody should send them: 10,000 of CSV, and others, are read in all ways. FUZZ_SEED=… makes the same ones, FUZZ_FILES=… more. */
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNumberReader, type NumberRow } from '../../api/do-not-call/rows.ts';
import { Columns } from '../../api/imports/columns.ts';
import type { Problem } from '../../api/imports/problems.ts';
import { readRows, type SourceRow, Unreadable } from '../../api/imports/read.ts';
import { type ContactRow, createRowReader } from '../../api/imports/rows.ts';
import { copyLine } from '../../api/imports/sql.ts';
import { AppError } from '../../domain/errors.ts';
import { type ImportFile, importFiles } from '../kit/fuzz/files.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
const FILES = Number(process.env.FUZZ_FILES ?? 10_000);
const NORWAY = { country: 'NO', countries: ['NO', 'SE'], own: new Set(['+4722865099']) };

interface Outcome<Row> {
  rows: (Row | 'bad' | 'blank')[];
  problems: Problem[];
  /** Why it was read no further. */
  failure: Unreadable | AppError | null;
}

type Reader<Row> = (row: SourceRow) => Row | 'bad' | 'blank';

/** Anything but what a reader may throw is thrown on. */
async function readAll<Row>(
  { bytes, format }: ImportFile,
  size: number,
  make: (report: (problem: Problem) => void) => Reader<Row>,
): Promise<Outcome<Row>> {
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  const outcome: Outcome<Row> = { rows: [], problems: [], failure: null };
  const readRow = make((problem) => outcome.problems.push(problem));
  try {
    for await (const batch of readRows(Readable.from(chunks), format)) {
      for (const source of batch) outcome.rows.push(readRow(source));
    }
  } catch (error) {
    if (!(error instanceof Unreadable || error instanceof AppError)) throw error;
    outcome.failure = error;
  }
  return outcome;
}

const contacts = (file: ImportFile, size: number): Promise<Outcome<ContactRow>> => {
  const reading = { format: file.format, columns: new Columns({ map: [], ignore: [] }), campaign: NORWAY };
  return readAll(file, size, (report) => createRowReader(reading, report));
};

const isGood = <Row extends object>(row: Row | 'bad' | 'blank'): row is Row => typeof row === 'object';

/** PostgreSQL takes no NUL and no half of a surrogate pair. */
function mustBeKept(text: string | null, most: number): void {
  if (text === null) return;
  expect(text.includes('\0') || !text.isWellFormed() || text.length > most, JSON.stringify(text)).toBe(false);
}

function mustMakeSense({ rows, problems, failure }: Outcome<ContactRow>, { bytes, format }: ImportFile): void {
  // One without a number has a problem, and is read for its place in the list alone.
  for (const row of rows.filter(isGood).filter(({ phoneNum }) => phoneNum !== null)) {
    expect(row.phoneNum).toMatch(/^\+\d{6,15}$/);
    for (const text of [row.listKey, row.externalId]) mustBeKept(text, 200);
    for (const text of Object.values(row.variables)) mustBeKept(text, 1_000);
    // Its line of COPY has the columns of every other, whatever is in them.
    expect(copyLine(row).split('\t').length).toBe(copyLine(PLAIN).split('\t').length);
    expect(copyLine(row).indexOf('\n')).toBe(copyLine(row).length - 1);
  }
  const lines = format === 'json' ? Infinity : bytes.toString('latin1').split(/\r\n|\r|\n/).length;
  const numbers = rows.filter(isGood).map((row) => row.line);
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  for (const line of [...numbers, ...problems.map((problem) => problem.line), failure instanceof Unreadable ? failure.line : 1]) {
    expect(line >= 1 && line <= lines, `line ${line} of ${lines}`).toBe(true);
  }
  const bad = rows.filter((row) => row === 'bad' || (isGood(row) && row.phoneNum === null));
  expect(bad.length > 0).toBe(problems.length > 0);
}
const PLAIN: ContactRow = {
  ...{ line: 2, listKey: '+4722865000', externalId: null, phoneNum: '+4722865000', phone2: null, variables: {}, zone: null },
  ...{ priority: 0, earliest: null, latest: null },
};

/** One that nothing has happened to has every cell as it was written. */
function mustBeWhole({ rows, failure }: Outcome<ContactRow>, file: ImportFile): void {
  expect(failure).toBeNull();
  // A line of CSV with nothing in its cells is none; an object of JSON is a row whatever it says.
  const written = file.rows!.filter((row) => file.format !== 'csv' || Object.values(row).some((cell) => cell.trim() !== ''));
  const read = rows.filter((row) => row !== 'blank');
  expect(read.length).toBe(written.length);
  read.forEach((row, i) => {
    if (!isGood(row) || row.phoneNum === null) return;
    for (const name of ['var1', 'var2', 'var30']) {
      const cell = written[i]![name] ?? '';
      expect(row.variables[name] ?? '').toBe(cell.trim() === '' ? '' : cell);
    }
  });
}

const sizes = fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 8, max: 300 }));

describe(`files of contacts and of numbers (seed ${SEED})`, () => {
  it.each([
    ['csv', FILES],
    ['json', FILES / 10],
    ['ndjson', FILES / 10],
  ] as const)('lists of %s are read to their end or to what is wrong, in whatever pieces they come (%i)', { timeout: FILES * 10 }, async (format, numRuns) => {
    const property = fc.asyncProperty(importFiles([format]), sizes, async (file, size) => {
      const whole = await contacts(file, 65_536);
      mustMakeSense(whole, file);
      if (file.rows) mustBeWhole(whole, file);
      const inPieces = await contacts(file, size);
      // Of two things that are wrong it depends on the pieces which is met first.
      expect(inPieces.failure === null).toBe(whole.failure === null);
      if (whole.failure === null) expect(inPieces).toEqual(whole);
    });
    await fc.assert(property, { seed: SEED, numRuns });
  });

  it('so are files of numbers that must not be called', { timeout: FILES * 10 }, async () => {
    const property = fc.asyncProperty(importFiles(), sizes, async (file, size) => {
      const numbers = { ...file, format: 'csv' as const, bytes: asNumbers(file.bytes) };
      const { rows } = await readAll<NumberRow>(numbers, size, (report) => createNumberReader('NO', report));
      for (const row of rows.filter(isGood)) {
        expect(row.number).toMatch(/^\+\d{3,15}$/);
        mustBeKept(row.comment, 1_000);
      }
    });
    await fc.assert(property, { seed: SEED + 1, numRuns: FILES / 5 });
  });
});

/** The same file under the names that are known there. */
const asNumbers = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString('latin1').replace('phone_num', 'number').replace(/var1|external_id/, 'comment'), 'latin1');
