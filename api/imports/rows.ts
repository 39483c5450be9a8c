/** A row of the file → a row of the list, or all that is wrong with it, in words for the people who made the file. */
import { type Dialling, NUMBER_PROBLEM_TEXT, readNumber } from '../../domain/numbers.ts';
import { NO_TIME_LEFT, NO_TIME_OF_DAY, TIME_OF_DAY } from '../../domain/time-of-day.ts';
import { ALLOWED, type Columns } from './columns.ts';
import { type Problem, problemOf } from './problems.ts';
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
  /** HH:MM */
  earliest: string | null;
  latest: string | null;
}

/** Of an external_id: it is indexed. */
const MAX_KEY_LENGTH = 200;
const MAX_VALUE_LENGTH = 1000;
const MAX_PRIORITY = 1000;

/** Columns by name, as text; those that are blank or absent are left out. */
type Cells = Record<string, string>;
/** Says what is wrong in which column; null: with the row as a whole. */
type Report = (column: string | null, reason: string) => void;

/** What the rows of a file are read by. */
export interface Reading {
  format: Format;
  columns: Columns;
  campaign: Dialling;
}

/**
 * Reads the rows of one file. The header of a CSV file counts as blank; a bad row whose key can be read comes without
 * `phoneNum`. Every problem goes to `report`. Throws AppError INVALID for a header that can't be used.
 */
export function createRowReader({ format, columns, campaign }: Reading, report: (problem: Problem) => void) {
  const zones = new Zones();
  let header: (string | null)[] | undefined;
  const cellsOf = (value: unknown, say: Report) =>
    header ? csvCells(header, value as string[], say) : jsonCells(columns, value, say);

  return function readRow({ line, value, broken }: SourceRow): ContactRow | 'bad' | 'blank' {
    if (format === 'csv' && header === undefined) {
      header = columns.readHeader(value as string[]);
      return 'blank';
    }
    let good = true;
    const say: Report = (column, reason) => {
      good = false;
      report(problemOf(format, line, reason, column));
    };
    if (broken !== undefined) say(null, broken);
    const cells = broken === undefined ? cellsOf(value, say) : null;
    if (cells === null) return good ? 'blank' : 'bad';
    const row = contactOf(line, cells, campaign, zones, say);
    if (good) return row;
    return row.listKey === '' ? 'bad' : { ...row, phoneNum: null };
  };
}

// ---- cells ----------------------------------------------------------------------------------------------------------

function csvCells(header: readonly (string | null)[], values: string[], say: Report): Cells | null {
  const cells: Cells = {};
  let blank = true;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value === '' || value.trim() === '') continue;
    blank = false;
    const column = header[i];
    if (column) cells[column] = value;
  }
  if (blank) return null;
  if (values.length === header.length) return cells;
  say(null, `has ${values.length} cells, the header has ${header.length}`);
  return null;
}

function jsonCells(columns: Columns, value: unknown, say: Report): Cells | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    say(null, 'is not an object');
    return null;
  }
  const cells: Cells = {};
  for (const [name, cell] of Object.entries(value as Record<string, unknown>)) {
    const column = columns.of(name);
    // A contact as the API gives it has its variables in an object of their own.
    const isNested = column === undefined && name === 'variables' && typeof cell === 'object' && cell !== null;
    for (const [inner, value] of isNested ? Object.entries(cell) : []) addJsonCell(cells, columns.of(inner), inner, value, say);
    if (!isNested) addJsonCell(cells, column, name, cell, say);
  }
  return cells;
}

function addJsonCell(cells: Cells, column: string | null | undefined, name: string, cell: unknown, say: Report): void {
  if (column === null) return;
  if (column === undefined) say(name.slice(0, 60), `is not a known field; ${ALLOWED}`);
  else if (column in cells) say(column, 'is given twice, under two names');
  else if (typeof cell === 'string') {
    if (cell.trim() !== '') cells[column] = cell;
  } else if (typeof cell === 'number' && Math.abs(cell) > Number.MAX_SAFE_INTEGER) {
    say(column, 'is too large for a number of JSON, which would be rounded: write it as a text');
  } else if (typeof cell === 'number' || typeof cell === 'boolean') cells[column] = String(cell);
  else if (cell !== null) say(column, 'is not a text, a number or true/false');
}

// ---- the contact ----------------------------------------------------------------------------------------------------

function contactOf(line: number, cells: Cells, campaign: Dialling, zones: Zones, say: Report): ContactRow {
  const { external_id, phone_num, phone_2, zone, priority, earliest, latest, ...variables } = cells;
  for (const name in variables) checkText(name, variables[name]!, MAX_VALUE_LENGTH, say);
  const externalId = external_id?.trim() ?? null;
  const keyIsText = externalId === null || checkText('external_id', externalId, MAX_KEY_LENGTH, say);
  const first = phone_num === undefined ? null : numberOf('phone_num', phone_num, campaign, say);
  if (phone_num === undefined) say('phone_num', 'is missing');
  const from = earliest === undefined ? null : readTime('earliest', earliest.trim(), say);
  const until = latest === undefined ? null : readTime('latest', latest.trim(), say);
  if (from !== null && from === until) say('latest', NO_TIME_LEFT);
  const second = phone_2 === undefined ? null : numberOf('phone_2', phone_2, campaign, say);
  return {
    line,
    listKey: (keyIsText ? (externalId ?? first) : null) ?? '',
    externalId,
    phoneNum: first,
    phone2: second === first ? null : second,
    variables,
    zone: zone === undefined ? null : zones.read(zone.trim(), say),
    priority: priority === undefined ? 0 : readPriority(priority.trim(), say),
    earliest: from,
    latest: until,
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

function numberOf(column: string, written: string, campaign: Dialling, say: Report): string | null {
  const read = readNumber(written, campaign);
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

/** HH:MM, also without its first zero or with seconds that are none: spreadsheets write 9:00 and 09:00:00. */
function readTime(column: string, written: string, say: Report): string | null {
  const time = written.replace(/^\d:/, '0$&').replace(/^(\d\d:\d\d):00$/, '$1');
  if (TIME_OF_DAY.test(time)) return time;
  say(column, NO_TIME_OF_DAY);
  return null;
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
