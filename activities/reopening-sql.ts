/** The hand-written SQL of reopenings, as functions. Every statement takes the time as a parameter: one clock. */
import type { Counts, ReopeningFilter } from '../domain/reopening.ts';
import type { Sql } from '../prisma/tx.ts';

export interface ReopeningRow {
  id: string;
  campaign_id: number;
  filter: ReopeningFilter;
  extra_attempts: number;
  at: Date;
  by: string;
  last_contact_id: string;
  reopened: Counts;
  not_reopened: Counts;
  finished_at: Date | null;
}
const COLUMNS = `id, campaign_id, filter, extra_attempts, at, by, last_contact_id, reopened, not_reopened, finished_at`;

export interface NewReopening {
  campaignId: number;
  filter: ReopeningFilter;
  extraAttempts: number;
  by: string;
  requestKey: string;
}

/** 0 rows for a repeat of the request. */
export const insertReopening = (now: Date, { campaignId, filter, extraAttempts, by, requestKey }: NewReopening): Sql => ({
  text: `INSERT INTO reopening (campaign_id, filter, extra_attempts, at, by, request_key)
         VALUES ($2, $3, $4, $1, $5, $6) ON CONFLICT (request_key) DO NOTHING`,
  values: [now, campaignId, JSON.stringify(filter), extraAttempts, by, requestKey],
});

export const reopeningOfRequest = (requestKey: string): Sql => ({
  text: `SELECT ${COLUMNS} FROM reopening WHERE request_key = $1`,
  values: [requestKey],
});

export const readReopening = (campaignId: number, id: string): Sql => ({
  text: `SELECT ${COLUMNS} FROM reopening WHERE campaign_id = $1 AND id = $2`,
  values: [campaignId, id],
});

export const listReopenings = (campaignId: number, after: bigint, limit: number): Sql => ({
  text: `SELECT ${COLUMNS} FROM reopening WHERE campaign_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
  values: [campaignId, String(after), limit],
});

/** The oldest that is not finished; whoever works on it takes turns. */
export const lockOpenReopening = (campaignId: number): Sql => ({
  name: 'lock_open_reopening',
  text: `SELECT ${COLUMNS} FROM reopening WHERE campaign_id = $1 AND finished_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE`,
  values: [campaignId],
});

/** A campaign that has ended re-opens nobody any more. */
export const giveUpReopenings = (now: Date, campaignId: number): Sql => ({
  name: 'give_up_reopenings',
  text: `UPDATE reopening SET finished_at = $1 WHERE campaign_id = $2 AND finished_at IS NULL`,
  values: [now, campaignId],
});

export const noteReopened = ({ id, last_contact_id, reopened, not_reopened, finished_at }: ReopeningRow): Sql => ({
  name: 'note_reopened',
  text: `UPDATE reopening SET last_contact_id = $2, reopened = $3, not_reopened = $4, finished_at = $5 WHERE id = $1`,
  values: [id, last_contact_id, JSON.stringify(reopened), JSON.stringify(not_reopened), finished_at],
});

/** What of the contacts is asked for. */
export interface Asked {
  campaignId: number;
  filter: ReopeningFilter;
  extraAttempts: number;
  /** Who has ended after it is not meant. */
  at: Date;
}

/** Parameters of NAMED and WHY_NOT. */
const valuesOf = ({ campaignId, filter, at, extraAttempts }: Asked) => [campaignId, JSON.stringify(filter), at, extraAttempts];

/** A list of the filter: sub-selects that name no contact are read once and hashed, however long they are. */
const oneOf = (value: string, list: string) => `($2::jsonb -> ${list} IS NULL
  OR ${value} IN (SELECT jsonb_array_elements_text($2::jsonb -> ${list})))`;

/** Contact `c` is finished and one of those that the filter names. Whatever it says, a deleted one is none of them. */
const NAMED = `c.deleted_at IS NULL AND c.ended_at <= $3
  AND ${oneOf('c.ended_reason', `'ended_reason'`)}
  AND ${oneOf(`coalesce(c.last_code, 'none')`, `'last_code'`)}
  AND ${oneOf('c.external_id', `'external_ids'`)}
  AND ($2::jsonb ->> 'ended_after' IS NULL OR c.ended_at >= ($2::jsonb ->> 'ended_after')::timestamptz)
  AND ($2::jsonb ->> 'ended_before' IS NULL OR c.ended_at < ($2::jsonb ->> 'ended_before')::timestamptz)
  AND ($2::jsonb -> 'variables' IS NULL OR c.variables @> ($2::jsonb -> 'variables'))
  AND ($2::jsonb -> 'disposition' IS NULL OR EXISTS (
    SELECT FROM (SELECT action, topics FROM dispositions d WHERE d.contact_id = c.id ORDER BY position DESC LIMIT 1) AS said
    WHERE ${oneOf('said.action', `'disposition' -> 'action'`)}
      AND ($2::jsonb -> 'disposition' -> 'topics' IS NULL
           OR said.topics && ARRAY(SELECT jsonb_array_elements_text($2::jsonb -> 'disposition' -> 'topics')))))`;

/** Why contact `c` stays closed all the same (NOT_REOPENED), or null. The cap on attempts is the campaign's of now. */
const WHY_NOT = `CASE
  WHEN c.closed_at IS NULL THEN 'closing'
  WHEN EXISTS (SELECT FROM do_not_call listed WHERE listed.number IN (c.phone_num, c.phone_2)) THEN 'do_not_call'
  WHEN c.given_up_1 AND (c.phone_2 IS NULL OR c.given_up_2) THEN 'numbers_given_up'
  WHEN c.attempts >= (SELECT (rules ->> 'max_attempts')::int FROM campaign WHERE id = $1) + c.granted + $4::int
    THEN 'attempts_exhausted' END`;

export interface Count {
  ended_reason: string;
  why_not: string | null;
  n: number;
}

/** How many contacts a reopening would find, by the reason they ended with and why some would stay closed. */
export const countNamed = (asked: Asked): Sql => ({
  text: `SELECT ended_reason, why_not, count(*)::int AS n
         FROM (SELECT c.ended_reason, ${WHY_NOT} AS why_not FROM contact c
               WHERE c.campaign_id = $1 AND c.state IN ('done', 'disabled') AND ${NAMED}) AS named
         GROUP BY 1, 2 ORDER BY 1, 2`,
  values: valuesOf(asked),
});

export interface PageFound {
  /** The contact up to which the page has looked; null: there was none. */
  last: string | null;
  found: Count[];
}

/**
 * Looks at the next `limit` finished contacts after one, by id, and puts those that are named and may be called back into
 * the list, as `enableContact` does. However few are named, a page takes no longer, and it locks what it is about to change
 * only, in the order of ids. Each of the two states is read from its own place in the index (campaign_id, state, id).
 */
export const reopenPage = (now: Date, asked: Asked, after: string, limit: number): Sql => ({
  text: `
    WITH page AS (
      SELECT id FROM (
        SELECT next.id FROM unnest(ARRAY['done', 'disabled']) AS finished (state) CROSS JOIN LATERAL (
          SELECT id FROM contact
          WHERE campaign_id = $1 AND contact.state = finished.state AND id > $5 ORDER BY id LIMIT $6
        ) AS next
      ) AS either ORDER BY id LIMIT $6
    ), named AS (
      SELECT c.id, c.ended_reason, ${WHY_NOT} AS why_not FROM contact c
      WHERE c.id IN (SELECT id FROM page) AND c.state IN ('done', 'disabled') AND ${NAMED}
      ORDER BY c.id FOR NO KEY UPDATE OF c
    ), reopened AS (
      UPDATE contact c SET state = 'new', state_since = $7, round = round + 1, ended_reason = NULL, ended_by = NULL,
        ended_at = NULL, closed_at = NULL, wait_reason = NULL, wait_until = NULL, scheduled_at = NULL, reserved_for = NULL,
        reserved_until = NULL, queue_rank = CASE WHEN attempts > 0 THEN 2 ELSE 3 END,
        next_phone = CASE WHEN given_up_1 THEN 2 WHEN given_up_2 OR phone_2 IS NULL THEN 1 ELSE next_phone END,
        extra_attempts = extra_attempts + $4, granted = granted + $4, reopened_at = $3, updated_at = $7
      FROM named WHERE c.id = named.id AND named.why_not IS NULL
    )
    SELECT (SELECT max(id) FROM page) AS last, coalesce((SELECT json_agg(counted) FROM (
      SELECT ended_reason, why_not, count(*)::int AS n FROM named GROUP BY 1, 2) AS counted), '[]') AS found`,
  values: [...valuesOf(asked), after, limit, now],
});
