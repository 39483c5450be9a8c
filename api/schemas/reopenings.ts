/** What goes in and out of reopenings. */
import { z } from 'zod';
import { LEG_CODES } from '../../domain/codes.ts';
import { NOT_REOPENED, REOPENABLE } from '../../domain/reopening.ts';
import { DISPOSITION_ACTIONS } from '../../domain/states.ts';
import { bigId, count, dryRun, externalId, id, idParams, text, time, variables } from '../schemas.ts';

/** As PostgreSQL reads it. */
const instant = time.overwrite((text) => (Number.isNaN(Date.parse(text)) ? text : new Date(text).toISOString()));

/** One or more of what a filter may name. */
const some = <T extends z.ZodType>(value: T, most = 100) => z.array(value).min(1).max(most);

const filterShape = {
  ended_reason: some(z.enum(REOPENABLE)).describe('Why they ended'),
  last_code: some(z.enum([...LEG_CODES, 'none'])).optional().describe('Of the last leg to the contact; `none`: never called'),
  external_ids: some(externalId, 10_000).optional(),
  ended_after: instant.optional().describe('At that time or later'),
  ended_before: instant.optional(),
  variables: variables.optional().describe('All of them equal'),
  disposition: z
    .strictObject({
      action: some(z.enum(DISPOSITION_ACTIONS)).optional(),
      topics: some(text(1, 100)).optional().describe('One of these keys is among its topics'),
    })
    .optional()
    .describe('What was registered last'),
};

export const newReopening = z
  .strictObject({
    ...filterShape,
    extra_attempts: z.int().min(0).max(100).default(0).describe('So many more than `max_attempts` allows, for each of them'),
  })
  .refine(({ ended_after: from, ended_before: to }) => !from || !to || from < to, {
    path: ['ended_before'],
    error: 'must be after ended_after',
  })
  .meta({ id: 'NewReopening' });

export const reopenQuery = z.strictObject({ dryRun: dryRun('reopening') });

const counts = {
  reopened: z.partialRecord(z.enum(REOPENABLE), count).describe('How many, by the reason they had ended with'),
  not_reopened: z
    .partialRecord(z.enum(NOT_REOPENED), count)
    .describe('How many of those that are named stay closed, and why; `closing`: the last call is being finished'),
};
export const reopeningEffect = z.strictObject({ dry_run: z.literal(true), ...counts }).meta({ id: 'ReopeningEffect' });

export const reopening = z
  .strictObject({
    id,
    at: time.describe('Who has ended later is not meant'),
    by: z.string().describe('Who: `key:3`'),
    filter: z.strictObject(filterShape),
    extra_attempts: count,
    ...counts,
    finished_at: time.nullable().describe('Null while it is being carried out: both counts are those so far'),
  })
  .meta({ id: 'Reopening' });

export const reopeningParams = idParams.extend({ reopening_id: bigId });
