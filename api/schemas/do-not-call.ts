/** The do-not-call list, in and out. */
import { z } from 'zod';
import { LISTING_SOURCES } from '../../domain/do-not-call.ts';
import { country, limit, listOf, listQuery, text, time } from '../schemas.ts';

const count = z.int().min(0);
const by = z.string().describe('`agent:7`, `key:3` (an API key), `operator`');
const contactId = z.string().nullable().describe('Of a disposition: whose numbers were listed');
const source = z.enum(LISTING_SOURCES);
const comment = text(1, 1000);
const optionalCountry = country.optional().describe('In which national numbers are read; without it they must be in E.164');

export const numberParams = z.object({ number: text(1, 40) });
export const countryQuery = z.strictObject({ country: optionalCountry });
export const newListing = z.strictObject({ comment: comment.nullable().default(null) }).meta({ id: 'NewListing' });
export const removalQuery = z.strictObject({ country: optionalCountry, comment: comment.describe('Why it may be called again') });

const listingShape = { number: z.string(), added_at: time, added_by: by, source, comment: z.string().nullable(), contact_id: contactId };
export const listing = z.strictObject(listingShape).meta({ id: 'Listing' });
export const listings = listOf(listing);
/** Of the CSV, in this order. */
export const LISTING_COLUMNS = Object.keys(listingShape);

export const numberHistory = z
  .strictObject({
    number: z.string(),
    listed: z.boolean().describe('It must not be called now'),
    history: z
      .array(
        z.strictObject({
          action: z.enum(['added', 'removed']),
          at: time,
          by,
          source: source.nullable().describe('How it was added'),
          comment: z.string().nullable(),
          contact_id: contactId,
        }),
      )
      .describe('Newest first'),
  })
  .meta({ id: 'NumberHistory' });

export const listingsQuery = listQuery.extend({
  limit: limit.optional().describe('100 if left out; text/csv: all there are'),
  prefix: z
    .string()
    .regex(/^\+\d{1,15}$/, 'must be + and the first digits, such as +4722')
    .optional()
    .describe('Beginning of the number'),
  since: z.iso.datetime({ offset: true, error: 'must be a time in ISO 8601, such as 2026-11-29T08:00:00Z' })
    .optional()
    .describe('Added then or later'),
  format: z.enum(['json', 'csv']).optional().describe('In place of Accept'),
});

export const numbersImportQuery = z.strictObject({
  country: optionalCountry,
  comment: comment.optional().describe('Of the numbers that have none of their own'),
  bad_rows: z.enum(['reject', 'skip']).default('reject').describe('`skip`: list the good rows, report the others'),
  dryRun: z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true')
    .describe('Say what would be done, and do nothing'),
});

export const numbersImportAnswer = z
  .strictObject({
    dry_run: z.boolean(),
    rows: count.describe('Rows of the file: added + already_listed + repeated + skipped'),
    added: count,
    already_listed: count.describe('They stay as they are'),
    repeated: count.describe('Numbers that stand in the file once more'),
    skipped: count.describe('Bad rows left out'),
    contacts: count.describe('Contacts with these numbers, in all campaigns, that are not called any more'),
    problems: z
      .array(z.strictObject({ field: z.string(), reason: z.string(), line: z.int(), column: z.string().nullable() }))
      .describe('Why rows were skipped, the first 1,000'),
  })
  .meta({ id: 'NumbersImportAnswer' });
