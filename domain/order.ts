/**
 * In which order a campaign calls its contacts, and which of them it leaves out for now (docs/domain.md, "The queue").
 * Both are carried out by PostgreSQL: contact_sort_key and contact_included of the migrations.
 */
import { z } from 'zod';

const MAX_KEYS = 3;
const MAX_CONDITIONS = 10;
const MAX_VALUES = 1_000;

const variableName = z.string().regex(/^var([1-9]|[12]\d|30)$/, 'must be one of var1 to var30');

const sortKey = z
  .object({
    by: z
      .union([variableName, z.literal('priority'), z.literal('created')], {
        error: 'must be one of var1 to var30, priority or created',
      })
      .describe('A variable, the priority, or when the contact was added'),
    direction: z.enum(['asc', 'desc']).default('asc').describe('Who has no value comes last in both'),
    as: z
      .enum(['text', 'number'])
      .default('text')
      .describe('How a variable is compared: as text whatever its case, or as a number'),
  })
  .strict();

export const orderSchema = z
  .array(sortKey)
  .max(MAX_KEYS, `must have ${MAX_KEYS} keys or fewer`)
  .superRefine((keys, context) => {
    keys.forEach(({ by }, index) => {
      if (keys.findIndex((key) => key.by === by) === index) return;
      context.addIssue({ code: 'custom', path: [index, 'by'], message: `sorts by ${by} a second time` });
    });
  })
  .default([])
  .describe('Sort keys of the queue, behind its rank; unless priority is one of them it comes before them');

const condition = z
  .object({
    variable: variableName,
    values: z
      .array(
        z
          .string()
          .max(1_000)
          .refine((value) => !value.includes('\0') && value.isWellFormed(), 'must not contain NUL or broken characters')
          .overwrite((value) => value.trim().toLowerCase()),
      )
      .min(1, 'must have at least one value; "" stands for a contact without it')
      .max(MAX_VALUES),
  })
  .strict();

const conditions = z.array(condition).max(MAX_CONDITIONS).default([]);

export const filterSchema = z
  .object({
    include: conditions.describe('Called only if each of these variables has one of its values'),
    exclude: conditions.describe('Not called if one of these variables has one of its values'),
  })
  .strict()
  .superRefine(refuseContradictions)
  .prefault({})
  .describe('Which contacts of the list are called; values are compared whatever their case');

type Condition = z.output<typeof condition>;

/** What is well-formed and lets nobody in is a mistake of whoever wrote it. */
function refuseContradictions(
  { include, exclude }: { include: Condition[]; exclude: Condition[] },
  context: z.core.$RefinementCtx,
): void {
  for (const [i, { variable }] of include.entries()) {
    const isOfIt = (other: Condition) => other.variable === variable;
    const [first, ...others] = include.slice(0, i + 1).filter(isOfIt).map(({ values }) => new Set(values));
    if (first!.size === 0) continue;
    const excluded = new Set(exclude.filter(isOfIt).flatMap(({ values }) => values));
    if ([...first!].some((value) => others.every((values) => values.has(value)) && !excluded.has(value))) continue;
    const message = `together with the other conditions of ${variable} lets nobody in`;
    return context.addIssue({ code: 'custom', path: ['include', i, 'values'], message });
  }
}
