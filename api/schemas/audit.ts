/** The audit: what is asked of it, and what it says. */
import { z } from 'zod';
import { SUBJECTS } from '../audit.ts';
import { id, listQuery, text, time } from '../schemas.ts';

export const auditQuery = listQuery.extend({
  by: z.string().regex(/^key:[1-9]\d{0,9}$/, 'must be a key, such as key:3').optional().describe('Who has asked'),
  subject: z.enum(SUBJECTS).optional().describe('Of which kind the thing is that was to be changed'),
  subject_id: text(1, 100).optional().describe('Which one: its id, or the name of a country or node'),
  from: time.optional(),
  to: time.optional().describe('Before this'),
});

export const auditRow = z
  .strictObject({
    id,
    at: time,
    by: z.string().describe('The key, as `key:3`'),
    method: z.string(),
    route: z.string().describe('As in this document, with the names of its parameters in place of their values'),
    subject: z.enum(SUBJECTS),
    subject_id: z.string().nullable().describe('Null where it is no single one, or a number'),
    fields: z.array(z.string()).describe('Names of the parameters and fields that were given'),
    status: z.int().nullable().describe('With which it was answered; null: it is unknown what came of it'),
  })
  .meta({ id: 'AuditRow' });
