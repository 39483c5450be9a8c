/**
 * Blanks what is personal of a contact, as SQL: one statement for each table that has something of it. Rows, times, results and
 * positions stay, so that counts and the order of events do. What does not name the person (agents' phones, caller ids, access
 * numbers) stays too.
 */
import type { Sql } from '../prisma/tx.ts';

export const eraseContact = (now: Date, id: string, by: string): Sql => ({
  text: `UPDATE contact SET phone_num = '', phone_2 = NULL, variables = '{}', external_id = NULL, list_key = 'erased:' || id,
           zone = NULL, earliest = NULL, latest = NULL, hours_1 = NULL, hours_2 = NULL, sort_key = '',
           deleted_at = coalesce(deleted_at, $1), erased_at = $1, erased_by = $3, updated_at = $1
         WHERE id = $2`,
  values: [now, id, by],
});

/** A row if the contact was called within 24 hours: how often a number was called must be known for so long. */
export const wasJustCalled = (now: Date, id: string): Sql => ({
  text: `SELECT max(created_at) + interval '24 h' AS until FROM leg
         WHERE contact_id = $2 AND ciq = 'c' HAVING max(created_at) > $1::timestamptz - interval '24 h'`,
  values: [now, id],
});

/** Names of recordings of the contact's talks: the switch has these files, and only people can delete them there. */
export const recordingsOf = (id: string): Sql => ({
  text: `SELECT DISTINCT recording FROM leg WHERE contact_id = $1 AND recording IS NOT NULL ORDER BY 1`,
  values: [id],
});

const statement = (text: string) => (id: string): Sql => ({ text, values: [id] });

/** The rest, in this order. Whom a talk was transferred to is a person as well. */
export const ERASURES: readonly ((id: string) => Sql)[] = [
  statement(`UPDATE call SET number = '' WHERE contact_id = $1`),
  statement(`DELETE FROM call_variables USING call WHERE call.call_id = call_variables.call_id AND call.contact_id = $1`),
  statement(`UPDATE leg SET source = '', recording = NULL,
               destination = CASE WHEN ciq = 'a' THEN destination ELSE '' END,
               originating = CASE WHEN ciq = 'a' THEN '' ELSE originating END
             WHERE contact_id = $1`),
  statement(`UPDATE call_events SET source = NULL, recording = NULL,
               destination = CASE WHEN event_type = 'c' AND ciq IS DISTINCT FROM 'a' THEN NULL ELSE destination END,
               originating = CASE ciq WHEN 'a' THEN NULL ELSE originating END
             WHERE contact_id = $1`),
  // Clients write what they like into an Idempotency-Key.
  statement(`UPDATE dispositions SET comment = NULL, request_id = 'erased:' || position WHERE contact_id = $1`),
  statement(`UPDATE transfer SET to_number = '' WHERE contact_id = $1 AND to_number IS NOT NULL`),
  // Filters that have named the person.
  statement(`UPDATE reopening r SET filter = r.filter - 'external_ids' - 'variables'
             FROM contact c WHERE c.id = $1 AND r.campaign_id = c.campaign_id`),
  statement(`UPDATE do_not_call SET comment = NULL, contact_id = NULL WHERE contact_id = $1`),
  statement(`UPDATE do_not_call_removed SET comment = NULL, contact_id = NULL WHERE contact_id = $1`),
];
