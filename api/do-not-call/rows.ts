/** A row of a file of numbers → a number to be listed, or what is wrong with it, in words for the people who made the file. */
import { readListed } from '../../domain/do-not-call.ts';
import { AppError } from '../../domain/errors.ts';
import type { SourceRow } from '../imports/read.ts';
import { type Problem, problemOf } from '../imports/problems.ts';

export interface NumberRow {
  line: number;
  /** E.164 */
  number: string;
  comment: string | null;
}

const MAX_COMMENT_LENGTH = 1000;
const COLUMN_OF: Readonly<Record<string, 'number' | 'comment'>> = {
  number: 'number',
  phone: 'number',
  phone_num: 'number',
  phone_number: 'number',
  comment: 'comment',
};
const ALLOWED = 'allowed are number and comment';

/**
 * Reads the rows of one CSV file; the first one is the header and counts as blank. National numbers are of `country`
 * (ISO 3166 alpha-2), if one is given. Every problem goes to `report`. Throws AppError INVALID for a header that can't be used.
 */
export function createNumberReader(country: string | undefined, report: (problem: Problem) => void) {
  let header: Header | undefined;
  return function readNumber({ line, value }: SourceRow): NumberRow | 'bad' | 'blank' {
    const cells = value as string[];
    if (!header) {
      header = readHeader(cells);
      return 'blank';
    }
    if (cells.every((cell) => cell.trim() === '')) return 'blank';
    const problems: Problem[] = [];
    const say = (column: string | null, reason: string) => problems.push(problemOf('csv', line, reason, column));
    if (cells.length !== header.length) say(null, `has ${cells.length} cells, the header has ${header.length}`);
    const read = problems.length > 0 ? null : readCells(cells, header, country, say);
    problems.forEach(report);
    return problems.length > 0 ? 'bad' : { line, ...read! };
  };
}

interface Header {
  length: number;
  number: number;
  /** -1: there is none. */
  comment: number;
}

function readHeader(names: string[]): Header {
  const columns = names.map((name) => COLUMN_OF[name.trim().toLowerCase().replace(/[ -]/g, '_')]);
  const issues: Problem[] = [];
  const say = (i: number, reason: string) =>
    issues.push({ field: `line 1, column ${i + 1}`, reason, line: 1, column: names[i]!.trim() || String(i + 1) });
  for (const [i, column] of columns.entries()) {
    if (column === undefined) say(i, `"${names[i]!.trim().slice(0, 60)}" is not a known column; ${ALLOWED}`);
    else if (columns.indexOf(column) < i) say(i, `is the same column as "${names[columns.indexOf(column)]!.trim()}"`);
  }
  if (issues.length === 0 && !columns.includes('number')) {
    issues.push({ field: 'line 1', reason: `has no column number; ${ALLOWED}`, line: 1, column: 'number' });
  }
  if (issues.length > 0) {
    throw new AppError('INVALID', 'the header of the file can\'t be used: see issues', { issues: issues.slice(0, 100) });
  }
  return { length: names.length, number: columns.indexOf('number'), comment: columns.indexOf('comment') };
}

function readCells(
  cells: string[],
  header: Header,
  country: string | undefined,
  say: (column: string, reason: string) => void,
): Omit<NumberRow, 'line'> {
  const written = cells[header.number]!.trim();
  const read = written === '' ? { reason: 'is missing' } : readListed(written, country);
  if ('reason' in read) say('number', read.reason);
  const comment = cells[header.comment]?.trim() || null;
  if (comment && comment.length > MAX_COMMENT_LENGTH) say('comment', `is longer than ${MAX_COMMENT_LENGTH} characters`);
  if (comment && (comment.includes('\0') || !comment.isWellFormed())) say('comment', 'contains NUL or a broken character');
  return { number: 'e164' in read ? read.e164 : '', comment };
}
