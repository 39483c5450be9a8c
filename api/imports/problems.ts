/** What is wrong with a file, in words for the people who made it. */
import type { Format } from './read.ts';

export interface Problem {
  /** Where, for people: `line 17, phone_num`. */
  field: string;
  reason: string;
  /** As in {@link SourceRow}. */
  line: number;
  /** Null if it is the row as a whole. */
  column: string | null;
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

export const MAX_PROBLEMS = 1000;

/** What is wrong with the file: counted, and the first ones kept. */
export class Problems {
  count = 0;
  first: Problem[] = [];
  /** Why the file could not be read to its end; shown whatever else there is. */
  fatal: Problem | null = null;

  readonly note = (problem: Problem): void => {
    this.count++;
    if (this.first.length < MAX_PROBLEMS) this.first.push(problem);
  };

  /** Adds `count` problems of which `some` are the first, and puts all in the order of the file. */
  merge(some: Problem[], count: number): void {
    this.count += count;
    this.first = [...this.first, ...some].sort((a, b) => a.line - b.line).slice(0, MAX_PROBLEMS);
  }
}
