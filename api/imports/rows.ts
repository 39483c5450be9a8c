/** A row of the file → a row of the list, or all that is wrong with it, in words for the people who made the file. */
import { NUMBER_PROBLEM_TEXT, parseNumber } from '../../domain/numbers.ts';
import { AppError } from '../../domain/errors.ts';
import type { Format, SourceRow } from './read.ts';

export interface ContactRow {
  line: number;
  /** external_id, else the number: what makes it the same row in a later import. */
  listKey: string;
  externalId: string | null;
  /** E.164; null of a bad row of which the key is known: its contact is in the file, but nothing of it is imported. */
  phoneNum: string | null;
  phone2: string | null;
  /** var1 to var30, those that are not blank. */
  variables: Record<string, string>;
  zone: string | null;
  priority: number;
}

export interface Problem {
  /** Where, for people: `line 17, phone_num`. */
  field: string;
  reason: string;
  /** As in {@link SourceRow}. */
  line: number;
  /** Null if it is the row as a whole. */
  column: string | null;
}

/** Of an external_id: it is indexed. */
const MAX_KEY_LENGTH = 200;
const MAX_VALUE_LENGTH = 1000;
const MAX_PRIORITY = 1000;

const VARIABLES = Array.from({ length: 30 }, (_, i) => `var${i + 1}`);
const NAMES: Readonly<Record<string, readonly string[]>> = {
  phone_num: ['phone', 'number', 'phone_number'],
  phone_2: ['phone2', 'phone_num_2'],
  external_id: ['id'],
  zone: ['timezone', 'time_zone'],
  priority: [],
  ...Object.fromEntries(VARIABLES.map((name) => [name, []])),
};
const COLUMN_OF = new Map(Object.entries(NAMES).flatMap(([column, names]) => [column, ...names].map((n) => [n, column])));
const ALLOWED = 'allowed are phone_num, phone_2, external_id, zone, priority and var1 to var30';

/** The column that a name in the file stands for, whatever its case; spaces and hyphens are as good as `_`. */
export const columnOf = (name: string): string | undefined =>
  COLUMN_OF.get(name) ?? COLUMN_OF.get(name.trim().toLowerCase().replace(/[ -]/g, '_'));

/** Columns by name, as text; those that are blank or absent are left out. */
type Cells = Record<string, string>;
/** Says what is wrong in which column; null: with the row as a whole. */
type Report = (column: string | null, reason: string) => void;

/**
 * Reads the rows of one file. National numbers are of `country` (ISO 3166 alpha-2). The header of a CSV file counts as
 * blank; a bad row whose key can be read comes without `phoneNum`. Every problem goes to `report`. Throws AppError INVALID
 * for a header that can't be used.
 */
export function createRowReader(format: Format, country: string, report: (problem: Problem) => void) {
  const zones = new Zones();
  let header: string[] | undefined;

  return function readRow({ line, value, broken }: SourceRow): ContactRow | 'bad' | 'blank' {
    if (format === 'csv' && header === undefined) {
      header = readHeader(value as string[]);
      return 'blank';
    }
    let good = true;
    const say: Report = (column, reason) => {
      good = false;
      report(problemOf(format, line, reason, column));
    };
    if (broken !== undefined) say(null, broken);
    const cells = broken !== undefined ? null : header ? csvCells(header, value as string[], say) : jsonCells(value, say);
    if (cells === null) return good ? 'blank' : 'bad';
    const row = contactOf(line, cells, country, zones, say);
    if (good) return row;
    return row.listKey === '' ? 'bad' : { ...row, phoneNum: null };
  };
}

const unitOf = (format: Format) => (format === 'json' ? 'item' : 'line');

export const problemOf = (format: Format, line: number, reason: string, column: string | null = null): Problem => ({
  field: column === null ? `${unitOf(format)} ${line}` : `${unitOf(format)} ${line}, ${column}`,
  reason,
  line,
  column,
});

/** A contact that stands in the file a second time. */
export const duplicateProblem = (format: Format, { line, first, by_id }: { line: number; first: number; by_id: boolean }) =>
  problemOf(format, line, `is the same as in ${unitOf(format)} ${first}`, by_id ? 'external_id' : 'phone_num');

// ---- cells ----------------------------------------------------------------------------------------------------------

function readHeader(names: string[]): string[] {
  const issues: Problem[] = [];
  const seen = new Map<string, string>();
  const columns = names.map((name, i) => {
    const column = columnOf(name) ?? '';
    const before = seen.get(column);
    const say = (reason: string) =>
      issues.push({ field: `line 1, column ${i + 1}`, reason, line: 1, column: name.trim() || String(i + 1) });
    if (name.trim() === '') say(`has no name; ${ALLOWED}`);
    else if (column === '') say(`"${name.trim().slice(0, 60)}" is not a known column; ${ALLOWED}`);
    else if (before !== undefined) say(`"${name.trim()}" is the same column as "${before}"`);
    else seen.set(column, name.trim());
    return column;
  });
  if (issues.length === 0 && !seen.has('phone_num')) {
    issues.push({ field: 'line 1', reason: `has no column phone_num; ${ALLOWED}`, line: 1, column: 'phone_num' });
  }
  if (issues.length === 0) return columns;
  throw new AppError('INVALID', 'the header of the file can\'t be used: see issues', { issues: issues.slice(0, 100) });
}

function csvCells(header: string[], values: string[], say: Report): Cells | null {
  const cells: Cells = {};
  let blank = true;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value === '' || value.trim() === '') continue;
    blank = false;
    if (i < header.length) cells[header[i]!] = value;
  }
  if (blank) return null;
  if (values.length === header.length) return cells;
  say(null, `has ${values.length} cells, the header has ${header.length}`);
  return null;
}

function jsonCells(value: unknown, say: Report): Cells | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    say(null, 'is not an object');
    return null;
  }
  const cells: Cells = {};
  for (const [name, cell] of Object.entries(value as Record<string, unknown>)) {
    if (name !== 'variables' || typeof cell !== 'object' || cell === null) addJsonCell(cells, name, cell, say);
    // A contact as the API gives it has its variables in an object of their own.
    else for (const [variable, text] of Object.entries(cell)) addJsonCell(cells, variable, text, say);
  }
  return cells;
}

function addJsonCell(cells: Cells, name: string, cell: unknown, say: Report): void {
  const column = columnOf(name);
  if (column === undefined) say(name.slice(0, 60), `is not a known field; ${ALLOWED}`);
  else if (column in cells) say(column, 'is given twice, under two names');
  else if (typeof cell === 'string') {
    if (cell.trim() !== '') cells[column] = cell;
  } else if (typeof cell === 'number' || typeof cell === 'boolean') cells[column] = String(cell);
  else if (cell !== null) say(column, 'is not a text, a number or true/false');
}

// ---- the contact ----------------------------------------------------------------------------------------------------

function contactOf(line: number, cells: Cells, country: string, zones: Zones, say: Report): ContactRow {
  const { external_id, phone_num, phone_2, zone, priority, ...variables } = cells;
  for (const name in variables) checkText(name, variables[name]!, MAX_VALUE_LENGTH, say);
  const externalId = external_id?.trim() ?? null;
  const keyIsText = externalId === null || checkText('external_id', externalId, MAX_KEY_LENGTH, say);
  const first = phone_num === undefined ? null : readNumber('phone_num', phone_num, country, say);
  if (phone_num === undefined) say('phone_num', 'is missing');
  const second = phone_2 === undefined ? null : readNumber('phone_2', phone_2, country, say);
  return {
    line,
    listKey: (keyIsText ? (externalId ?? first) : null) ?? '',
    externalId,
    phoneNum: first,
    phone2: second === first ? null : second,
    variables,
    zone: zone === undefined ? null : zones.read(zone.trim(), say),
    priority: priority === undefined ? 0 : readPriority(priority.trim(), say),
  };
}

/** True if PostgreSQL can keep it: no NUL, no half of a surrogate pair, not too long. */
function checkText(column: string, value: string, max: number, say: Report): boolean {
  const reason =
    value.length > max
      ? `is longer than ${max} characters`
      : value.includes('\0') || !value.isWellFormed()
        ? 'contains NUL or a broken character'
        : null;
  if (reason !== null) say(column, reason);
  return reason === null;
}

function readNumber(column: string, written: string, country: string, say: Report): string | null {
  const read = parseNumber(written, country);
  if ('e164' in read) return read.e164;
  say(column, NUMBER_PROBLEM_TEXT[read.problem]);
  return null;
}

function readPriority(written: string, say: Report): number {
  const priority = /^[+-]?\d{1,4}$/.test(written) ? Number(written) : NaN;
  if (Math.abs(priority) <= MAX_PRIORITY) return priority;
  say('priority', `is not a whole number from -${MAX_PRIORITY} to ${MAX_PRIORITY}`);
  return 0;
}

/** Time zones met so far: making a formatter is what tells a valid one, and costs as much as ten rows. */
class Zones {
  readonly #valid = new Set<string>();

  read(name: string, say: Report): string | null {
    if (this.#valid.has(name)) return name;
    if (!isZone(name)) {
      say('zone', 'is not an IANA time zone such as Europe/Oslo');
      return null;
    }
    this.#valid.add(name);
    return name;
  }
}

function isZone(name: string): boolean {
  // An offset such as +01:00 is known to Intl, but is no zone: it has no summer.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
