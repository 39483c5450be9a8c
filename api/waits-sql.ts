/** The hand-written SQL of what contacts wait for, and of changing that by hand. */
import { WINDOW_OF_CONTACT } from '../matching/hours-sql.ts';
import { cappedUntil, NEXT_NUMBER } from '../matching/sql.ts';
import type { ContactState, WaitReason } from '../domain/states.ts';
import type { Sql } from '../prisma/tx.ts';

/**
 * Contacts as people see them: one that is queued and can't be called now waits, with the one reason and when that ends
 * (docs/domain.md, "What a contact waits for"). Its row says `queued` meanwhile, since hours open and close for a million
 * contacts without a word written. One whose hours are just being looked up is shown as queued. $1 is the time.
 */
export const SEEN_CONTACT = `(
  SELECT c.*, coalesce(why.reason, c.wait_reason) AS seen_reason,
    CASE WHEN why.reason IS NULL THEN c.wait_until ELSE why.until END AS seen_until,
    CASE WHEN why.reason IS NULL THEN c.state ELSE 'waiting' END AS seen_state
  FROM contact c
  JOIN campaign cp ON cp.id = c.campaign_id
  LEFT JOIN ${WINDOW_OF_CONTACT}
  LEFT JOIN LATERAL (
    SELECT reason, until FROM (VALUES
      ('filtered', NULL::timestamptz, NOT contact_included(c.variables, cp.rules -> 'filter')),
      (coalesce(w.why, 'outside_hours'), w.shut_until, w.is_shut),
      ('number_in_use', NULL, EXISTS (
        SELECT 1 FROM leg l WHERE l.ciq = 'c' AND l.ended_at IS NULL AND l.contact_id <> c.id
          AND l.destination = CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END)),
      ('waiting_for_agent', c.reserved_until, c.reserved_until > $1 AND NOT EXISTS (
        SELECT 1 FROM agent r WHERE r.id = c.reserved_for AND r.state = 'logged_off')),
      ('waiting_for_agent', (SELECT min(o.reoffer_at) FROM offer o WHERE o.call_id = c.call_id AND o.reoffer_at > $1), EXISTS (
        SELECT 1 FROM offer o JOIN agent a ON a.id = o.agent_id AND a.state = 'ready'
        WHERE o.call_id = c.call_id AND o.reoffer_at > $1) AND NOT EXISTS (
        SELECT 1 FROM agent_queue aq JOIN agent a ON a.id = aq.agent_id AND a.state = 'ready' AND a.lease_until > $1
        WHERE aq.campaign_id = c.campaign_id AND NOT EXISTS (
          SELECT 1 FROM offer o WHERE o.call_id = c.call_id AND o.agent_id = a.id AND o.reoffer_at > $1))),
      ('trunk_failing', (SELECT min(probe_at) FROM node WHERE lease_until > $1), NOT EXISTS (
        SELECT 1 FROM node WHERE lease_until > $1 AND failing_since IS NULL) AND EXISTS (
        SELECT 1 FROM node WHERE lease_until > $1 AND failing_since IS NOT NULL))
    ) AS cause (reason, until, holds)
    WHERE c.state = 'queued' AND cause.holds
    UNION ALL
    SELECT 'campaign_not_running', NULL
    WHERE c.state = 'waiting' AND c.wait_reason = 'cap' AND c.wait_until <= $1 AND cp.status <> 'running'
    LIMIT 1
  ) why ON true
)`;

/** Of a row of {@link SEEN_CONTACT}. */
export interface Seen {
  seen_state: ContactState;
  seen_reason: WaitReason | null;
  seen_until: Date | null;
}

// ---- called back, now, or not -----------------------------------------------------------------------------------------

/** A reschedule is kept on the number that was called last, unless that has been given up (docs/domain.md, "Reschedules"). */
export const useLastNumber = (id: string): Sql => ({
  text: `UPDATE contact c SET next_phone = CASE
           WHEN c.phone_2 IS NULL OR c.given_up_2 THEN 1 WHEN c.given_up_1 THEN 2
           ELSE coalesce((SELECT CASE l.destination WHEN c.phone_2 THEN 2 ELSE 1 END FROM leg l
                          WHERE l.contact_id = c.id AND l.ciq = 'c' ORDER BY l.created_at DESC LIMIT 1), c.next_phone) END
         WHERE c.id = $1 AND c.state IN ('new', 'waiting', 'queued', 'done')`,
  values: [id],
});

/** Called back at `at`; `from`: states in which nothing is under way for it. No row: it is in another one. */
export const rescheduleContact = (now: Date, id: string, at: Date, agentId: number | null): Sql => ({
  text: `UPDATE contact SET state = CASE state WHEN 'new' THEN state ELSE 'waiting' END, state_since = $1,
           wait_reason = CASE state WHEN 'new' THEN NULL ELSE 'rescheduled' END, wait_until = $3, scheduled_at = $3,
           queue_rank = 1, reserved_for = $4, reserved_until = NULL, updated_at = $1
         WHERE id = $2 AND state IN ('new', 'waiting', 'queued') AND ended_reason IS NULL AND deleted_at IS NULL
         RETURNING old.state AS was`,
  values: [now, id, at, agentId],
});

/**
 * Contact whose talk in call `call` is over, or who waits in a new round for what was registered of it before: this is corrected.
 */
export const isCorrectable = (call: string): string => `deleted_at IS NULL
  AND (state = 'done' AND closed_at IS NOT NULL OR state = 'new' AND ended_reason IS NULL AND call_id = ${call})`;

/** The same for one that was done: in a new round, as `enable` does it. `callId`: it corrects what was registered of that call. */
export const rescheduleDone = (now: Date, id: string, at: Date, agentId: number | null, callId: string | null): Sql => ({
  text: `UPDATE contact SET state = 'new', state_since = $1, round = round + CASE state WHEN 'done' THEN 1 ELSE 0 END, wait_reason = NULL, wait_until = $3,
           scheduled_at = $3, queue_rank = 1, reserved_for = $4, reserved_until = NULL, ended_reason = NULL, ended_by = NULL,
           ended_at = NULL, closed_at = NULL, updated_at = $1
         WHERE id = $2 AND ${isCorrectable('$5::bigint')}`,
  values: [now, id, at, agentId, callId],
});

/** Whether the last call of the contact was a talk: somebody was there when it was answered. */
const HAS_TALKED = `(SELECT l.result_code = 'k' AND l.result_reason IS DISTINCT FROM 'abandoned'
    AND coalesce((SELECT action FROM dispositions d WHERE d.call_id = l.call_id
                  ORDER BY (action = 'do_not_call') DESC, position DESC LIMIT 1), 'done') <> 'mark_as_unanswered' FROM leg l
  WHERE l.contact_id = contact.id AND l.ciq = 'c' ORDER BY l.created_at DESC LIMIT 1)`;

/**
 * A reschedule is taken back: who has talked is done, everyone else is called like the rest of the list. Rows in which the
 * contact is being called already are left alone.
 */
export const cancelReschedule = (now: Date, id: string, by: string): Sql => ({
  text: `UPDATE contact SET
           state = CASE WHEN state = 'new' THEN CASE WHEN ${HAS_TALKED} THEN 'done' ELSE 'new' END ELSE 'waiting' END,
           closed_at = CASE WHEN state = 'new' AND ${HAS_TALKED} THEN $1::timestamptz END, state_since = $1,
           wait_reason = CASE state WHEN 'new' THEN NULL ELSE 'retry_delay' END,
           wait_until = CASE state WHEN 'new' THEN NULL ELSE $1::timestamptz END,
           ended_reason = CASE WHEN ${HAS_TALKED} THEN 'answered' END, ended_by = CASE WHEN ${HAS_TALKED} THEN $3 END,
           ended_at = CASE WHEN ${HAS_TALKED} THEN $1::timestamptz END,
           queue_rank = CASE WHEN attempts > 0 THEN 2 ELSE 3 END, scheduled_at = NULL, reserved_for = NULL,
           reserved_until = NULL, updated_at = $1
         WHERE id = $2 AND scheduled_at IS NOT NULL AND state IN ('new', 'waiting', 'queued') AND deleted_at IS NULL
         RETURNING old.state AS was`,
  values: [now, id, by],
});

/** To be called as soon as caps, legal hours and agents allow it. No row: it is in another state than these. */
export const callNow = (now: Date, id: string): Sql => ({
  text: `UPDATE contact SET queue_rank = 1, reserved_for = NULL, reserved_until = NULL, updated_at = $1,
           wait_until = CASE WHEN state = 'new' THEN NULL
                             WHEN wait_reason IN ('retry_delay', 'rescheduled', 'number_in_use') THEN $1
                             ELSE wait_until END
         WHERE id = $2 AND state IN ('new', 'waiting', 'queued') AND ended_reason IS NULL AND deleted_at IS NULL
         RETURNING old.state AS was`,
  values: [now, id],
});

/** Reschedules of a campaign, the next one first, after (`at`, `id`). */
export const listReschedules = (
  campaignId: number,
  after: { at: Date; id: string } | null,
  limit: number,
  agentId: number | undefined,
): Sql => ({
  text: `SELECT id, scheduled_at, reserved_for, state, external_id, next_phone, phone_num, phone_2 FROM contact
         WHERE campaign_id = $1 AND scheduled_at IS NOT NULL AND ended_reason IS NULL AND deleted_at IS NULL
           AND ($2::timestamptz IS NULL OR (scheduled_at, id) > ($2, $3::bigint))
           AND ($5::int IS NULL OR reserved_for = $5)
         ORDER BY scheduled_at, id LIMIT $4`,
  values: [campaignId, after?.at ?? null, after?.id ?? null, limit, agentId ?? null],
});

export const servesCampaign = (agentId: number, campaignId: number): Sql => ({
  text: `SELECT 1 FROM agent_queue WHERE agent_id = $1 AND campaign_id = $2`,
  values: [agentId, campaignId],
});

// ---- when will they be called ------------------------------------------------------------------------------------------

export interface Group {
  /** Why never; null: it will be called. */
  never: string | null;
  /** `now`: it is being offered or called. */
  called: 'now' | null;
  /** Not before; null: as soon as its hours are open. */
  from: Date | null;
  /** Hours profile of its next number; null: not known yet. */
  profile_id: number | null;
  /** The campaign's own periods don't count. */
  is_legal_only: boolean;
  n: number;
}

/** A whole list, by what decides when its contacts may be called. Times are taken to the minute, so that there are not too many. */
export const groupContacts = (now: Date, campaignId: number): Sql => ({
  text: `SELECT
           CASE WHEN c.ended_reason IS NOT NULL THEN c.ended_reason
                WHEN EXISTS (SELECT 1 FROM do_not_call d WHERE d.number IN (c.phone_num, c.phone_2)) THEN 'do_not_call'
                WHEN c.given_up_1 AND (c.phone_2 IS NULL OR c.given_up_2) THEN 'numbers_given_up'
                WHEN c.attempts >= (cp.rules ->> 'max_attempts')::int + c.granted
                     AND c.state IN ('new', 'starting', 'waiting', 'queued', 'offered') THEN 'attempts_exhausted'
                WHEN NOT contact_included(c.variables, cp.rules -> 'filter') THEN 'filtered' END AS never,
           CASE WHEN c.state IN ('offered', 'dialling', 'talking', 'wrap_up') THEN 'now' END AS "called",
           CASE WHEN c.ended_reason IS NULL THEN
             date_trunc('minute', nullif(greatest(c.wait_until, ${cappedUntil(NEXT_NUMBER, 'cp.rules')}, $1), $1)) END AS "from",
           CASE c.next_phone WHEN 2 THEN c.hours_2 ELSE c.hours_1 END AS profile_id,
           c.queue_rank = 1 AS is_legal_only, count(*)::int AS n
         FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
         WHERE c.campaign_id = $2 AND c.deleted_at IS NULL
         GROUP BY 1, 2, 3, 4, 5`,
  values: [now, campaignId],
});
