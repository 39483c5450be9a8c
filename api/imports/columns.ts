/** Which column of a file is what: by names that are known, or as whoever sends it says. */
import { AppError } from '../../domain/errors.ts';
import { type Problem, problemOf } from './problems.ts';

const VARIABLES = Array.from({ length: 30 }, (_, i) => `var${i + 1}`);
/** The columns of a list, each with the names that are understood beside its own. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  phone_num: ['phone', 'number', 'phone_number'],
  phone_2: ['phone2', 'phone_num_2'],
  external_id: ['id'],
  zone: ['timezone', 'time_zone'],
  priority: [],
  earliest: [],
  latest: [],
  ...Object.fromEntries(VARIABLES.map((name) => [name, []])),
};
const COLUMN_OF = new Map(Object.entries(NAMES).flatMap(([column, names]) => [column, ...names].map((n) => [n, column])));
const LIST = 'phone_num, phone_2, external_id, zone, priority, earliest, latest and var1 to var30';
export const ALLOWED =
  `allowed are ${LIST}; to take another one in say map=<one of these>=<its name>, to leave it out ignore=<its name>`;

/** A name whatever its case; spaces and hyphens are as good as `_`. */
const folded = (name: string): string => name.normalize().trim().toLowerCase().replace(/[ -]/g, '_');

/** The column that a name in the file stands for by itself. */
export const columnOf = (name: string): string | undefined => COLUMN_OF.get(name) ?? COLUMN_OF.get(folded(name));

/** What the request says of the columns of its file. */
export interface Mapping {
  /** `<column>=<name in the file>` each. */
  map: readonly string[];
  /** Names in the file, of columns to be left out; '' for those without a name. */
  ignore: readonly string[];
}

/** What the names in one file stand for. */
export class Columns {
  /** By name, folded: its column, or null where it is left out. */
  readonly #said = new Map<string, string | null>();
  /** As they were written. */
  readonly #mapped = new Map<string, string>();

  /** Throws AppError INVALID with everything in the mapping that makes no sense. */
  constructor({ map, ignore }: Mapping) {
    const issues: { field: string; reason: string }[] = [];
    for (const text of map) {
      const reason = this.#map(text);
      if (reason) issues.push({ field: 'map', reason: `"${text.slice(0, 100)}" ${reason}` });
    }
    for (const name of ignore) {
      const before = this.#said.get(folded(name));
      if (before) issues.push({ field: 'ignore', reason: `"${name.slice(0, 60)}" is mapped to ${before}` });
      else this.#said.set(folded(name), null);
    }
    if (issues.length > 0) throw new AppError('INVALID', 'what is said of the columns makes no sense: see issues', { issues });
  }

  /** Why it can't be so, or undefined. */
  #map(text: string): string | undefined {
    const [, column = '', name = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    if (name.trim() === '') return 'is not <column>=<name in the file>, such as phone_num=Mobile';
    if (!Object.hasOwn(NAMES, column)) return `begins with none of ${LIST}`;
    if (this.#mapped.has(column)) return `is a second column for ${column}`;
    const before = this.#said.get(folded(name));
    if (before) return `is mapped to ${before} already`;
    this.#mapped.set(column, name.trim());
    this.#said.set(folded(name), column);
    return undefined;
  }

  /** The column that a name stands for; null: it is left out, undefined: nobody knows. */
  of(name: string): string | null | undefined {
    const said = this.#said.size === 0 ? undefined : this.#said.get(folded(name));
    return said === undefined ? columnOf(name) : said;
  }

  /** The column of each cell, null where it is left out. Throws AppError INVALID for a header that can't be used. */
  readHeader(names: readonly string[]): (string | null)[] {
    const issues: Problem[] = [];
    const seen = new Map<string, string>();
    const columns = names.map((name, i) => {
      const column = this.of(name);
      const reason = headerProblem(name.trim(), column, column ? seen.get(column) : undefined);
      if (reason) issues.push({ ...problemOf('csv', 1, reason), field: `line 1, column ${i + 1}`, column: name.trim() || String(i + 1) });
      else if (column) seen.set(column, name.trim());
      return column ?? null;
    });
    for (const [column, name] of this.#mapped) {
      if (!seen.has(column)) issues.push({ ...problemOf('csv', 1, `has no column "${name}", which is mapped to ${column}`), column: name });
    }
    if (issues.length === 0 && !seen.has('phone_num')) {
      issues.push({ ...problemOf('csv', 1, `has no column phone_num; ${ALLOWED}`), column: 'phone_num' });
    }
    if (issues.length === 0) return columns;
    throw new AppError('INVALID', 'the header of the file can\'t be used: see issues', { issues: issues.slice(0, 100) });
  }
}

function headerProblem(name: string, column: string | null | undefined, before: string | undefined): string | undefined {
  if (column === null) return undefined;
  if (before !== undefined) return `"${name}" is the same column as "${before}"`;
  if (column !== undefined) return undefined;
  return name === '' ? `has no name; ${ALLOWED}` : `"${name.slice(0, 60)}" is not a known column; ${ALLOWED}`;
}
