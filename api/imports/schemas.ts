/** What goes in and out of the routes of imports. */
import { z } from 'zod';
import { dryRun, text, time } from '../schemas.ts';

export const MODES = ['add', 'replace'] as const;
export type Mode = (typeof MODES)[number];
export const BAD_ROWS = ['reject', 'skip'] as const;
export type BadRows = (typeof BAD_ROWS)[number];

/** A parameter that may be given again and again. */
const repeatable = (value: z.ZodString) =>
  z
    .union([value, z.array(value).max(1000)])
    .transform((given): readonly string[] => (typeof given === 'string' ? [given] : given))
    .default([]);

export const importQuery = z.strictObject({
  mode: z.enum(MODES).default('add').describe('`replace`: contacts not in the file become disabled'),
  bad_rows: z.enum(BAD_ROWS).default('reject').describe('`skip`: import the good rows, report the others'),
  map: repeatable(text(1, 400)).describe("Repeatable, `<column>=<its name in the file>`: `phone_num=Mobile` reads the file's column `Mobile`"),
  ignore: repeatable(text(0, 300)).describe('Repeatable: name of a column of the file that is left out; blank: those without a name'),
  dryRun: dryRun('import'),
});

const count = z.int().min(0);
const counts = {
  added: count,
  updated: count,
  unchanged: count,
  skipped: count.describe('Bad rows left out'),
  closed: count.describe('Contacts of the file that are done or disabled; an import does not call them again'),
  disabled: count.describe('Contacts not in the file (`mode=replace`); those in a call when it is over'),
  do_not_call: count.describe('Rows with a number that must not be called; they are in the list, and not dialled'),
};

export const importAnswer = z
  .strictObject({
    dry_run: z.boolean().describe('Nothing was written: this is what the import would do'),
    mode: z.enum(MODES),
    rows: count.describe('Rows of the file: added + updated + unchanged + skipped'),
    ...counts,
    problems: z
      .array(
        z.strictObject({
          field: z.string(),
          reason: z.string(),
          line: z.int().describe('From 1; of a JSON array, which item'),
          column: z.string().nullable(),
        }),
      )
      .describe('Why rows were skipped, the first 1,000'),
  })
  .meta({ id: 'ImportAnswer' });

/** An import as others see it. */
export const importState = z
  .strictObject({
    id: z.string().regex(/^\d{1,19}$/),
    state: z
      .enum(['running', 'done', 'failed', 'broken_off'])
      .describe('`failed`: refused or in trouble, see `reason`; `broken_off`: its process has died. Nothing was imported by either'),
    phase: z.enum(['reading', 'merging']).nullable().describe('Of one that runs: the file is being read · it is merged into the list'),
    rows: count.describe('Rows of the file read so far'),
    mode: z.enum(MODES),
    bad_rows: z.enum(BAD_ROWS),
    started_by: z.string().describe('`key:3`: an API key'),
    started_at: time,
    seen_at: time.describe('When phase and rows were written'),
    ended_at: time.nullable(),
    reason: z.string().nullable().describe('Why it failed'),
    counts: z.strictObject(counts).nullable().describe('What it did, when it is done'),
  })
  .meta({ id: 'ImportState' });
