/** The hand-written SQL of the fence and of a reconciliation after a restore. The time is a parameter: one clock. */
import type { ContactState } from '../domain/states.ts';
import type { Sql } from '../prisma/tx.ts';
import { OPEN } from './transfer-sql.ts';

// ---- the fence ------------------------------------------------------------------------------------------------------

/** What was restored to an earlier time. */
export type Restored = 'postgresql' | 'temporal' | 'both';

export interface FenceRow {
  beat: number;
  beat_at: Date | null;
  /** What a reconciliation that was begun has taken for restored. */
  reconciling: Restored | null;
}

export const readFence: Sql = { name: 'read_fence', text: `SELECT beat, beat_at, reconciling FROM fence WHERE id = 1`, values: [] };

/** Counts on from `beat`; 0 rows when another worker has, or the time since the last one is not over. */
export const countBeat = (now: Date, beat: number, before: Date): Sql => ({
  name: 'count_beat',
  text: `UPDATE fence SET beat = beat + 1, beat_at = $1
         WHERE id = 1 AND beat = $2 AND reconciling IS NULL AND (beat_at IS NULL OR beat_at <= $3)`,
  values: [now, beat, before],
});

export const beginReconciling = (restored: Restored): Sql => ({
  text: `UPDATE fence SET reconciling = $1 WHERE id = 1`,
  values: [restored],
});
export const endReconciling = (now: Date, beat: number): Sql => ({
  text: `UPDATE fence SET reconciling = NULL, beat = $2, beat_at = $1 WHERE id = 1`,
  values: [now, beat],
});

/** A row while a worker is connected, by the name that worker.ts gives its connections. */
export const workersConnected: Sql = {
  text: `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'worker %' LIMIT 1`,
  values: [],
};

// ---- what there is --------------------------------------------------------------------------------------------------

export interface ContactToJudge {
  id: string;
  campaign_id: number;
  round: number;
  state: ContactState;
  wait_reason: string | null;
  wait_until: Date | null;
  ended_reason: string | null;
  closed_at: Date | null;
  call_id: string | null;
  offer_no: number;
}
const TO_JUDGE = `id, campaign_id, round, state, wait_reason, wait_until, ended_reason, closed_at, call_id, offer_no`;

export const openContacts = (after: string, limit: number): Sql => ({
  text: `SELECT ${TO_JUDGE} FROM contact WHERE id > $1 AND closed_at IS NULL ORDER BY id LIMIT $2`,
  values: [after, limit],
});

export const contactsById = (ids: string[]): Sql => ({
  text: `SELECT ${TO_JUDGE} FROM contact WHERE id = ANY($1::bigint[])`,
  values: [ids],
});

export const knownLegs = (ids: string[]): Sql => ({ text: `SELECT id FROM leg WHERE id = ANY($1::text[])`, values: [ids] });

export const campaigns: Sql = { text: `SELECT id, status FROM campaign ORDER BY id`, values: [] };

/** Nobody is to call it any more; its row is closed when all that is known of its calls is written down. */
export const markFinal = (now: Date, contactId: string, reason: string): Sql => ({
  text: `UPDATE contact SET ended_reason = coalesce(ended_reason, $3), ended_by = coalesce(ended_by, 'system'),
           ended_at = coalesce(ended_at, $1), updated_at = $1
         WHERE id = $2 AND closed_at IS NULL`,
  values: [now, contactId, reason],
});

export interface OfferUp {
  id: string;
  offer_no: number;
  /** The offer of its queued call, and not over. */
  is_own: boolean;
  /** Its talk is being handed on. */
  is_moving: boolean;
}

/** Offers of a contact with something open. */
export const offersUp = (contactId: string): Sql => ({
  text: `SELECT o.id, o.offer_no, o.ended_at IS NULL AND o.transfer_id IS NULL AS is_own,
           EXISTS (SELECT 1 FROM transfer WHERE offer_id = o.id AND ${OPEN}) AS is_moving
         FROM offer o
         WHERE o.contact_id = $1
           AND (o.ended_at IS NULL OR EXISTS (SELECT 1 FROM leg l WHERE l.offer_id = o.id AND l.ended_at IS NULL))
         ORDER BY o.offer_no`,
  values: [contactId],
});

// ---- a database that is older than what has happened -----------------------------------------------------------------

/** What people have decided since it was saved is lost: so they decide again when it goes on. */
export const pauseAll = (now: Date): Sql => ({
  text: `UPDATE campaign SET status = 'paused', lets_reschedules = false, revision = revision + 1, updated_at = $1
         WHERE status = 'running' OR lets_reschedules RETURNING id`,
  values: [now],
});

/**
 * Ids that were given after it was saved are not given again, be they of offers, which Temporal and switches know, or of
 * contacts, which others have kept: every sequence leaps over more than can have been.
 */
export const leapSequences: Sql = {
  text: `SELECT setval(format('%I.%I', schemaname, sequencename)::regclass,
                       coalesce(last_value, 0) + CASE data_type::text WHEN 'bigint' THEN 100000000 ELSE 100000 END)
         FROM pg_sequences WHERE schemaname = current_schema()`,
  values: [],
};

/** Readers who have read further than the database now knows miss nothing of what is written from here on. */
export const leapPositions: Sql = {
  text: `WITH leapt AS (UPDATE event_position SET last = last + 100000000 WHERE id = 1 RETURNING last, old.last AS before)
         UPDATE webhook w SET position = leapt.last FROM leapt WHERE w.position = leapt.before AND w.delivery_id IS NULL`,
  values: [],
};

/** Nor are call ids and leg ids, which derive from these numbers. */
export const leapNumbers: Sql = {
  text: `UPDATE contact SET call_no = call_no + 1000, offer_no = offer_no + 100000 WHERE erased_at IS NULL`,
  values: [],
};

/** A round that Temporal has seen is not started again. */
export const raiseRound = (contactId: string, round: number): Sql => ({
  text: `UPDATE contact SET round = greatest(round, $2) WHERE id = $1`,
  values: [contactId, round],
});

export interface LostDial {
  contactId: string;
  callId: string;
  callNo: number;
  offerNo: number;
  agentId: number;
  node: string;
  attempt: number;
  at: Date;
  answeredAt: Date | null;
}

/**
 * Call and offer of a leg that the database does not know, as far as they are absent; both have ended. No row without its
 * agent, who is lost too. The number is the one that was next then; of `nth` such calls they alternate.
 */
export const traceOffer = (dial: LostDial, nth: number): Sql => ({
  text: `
    WITH dialled AS (
      SELECT c.id, c.campaign_id, a.id AS agent_id,
        CASE WHEN c.phone_2 IS NOT NULL AND (c.next_phone + $9::int) % 2 = 0 THEN c.phone_2 ELSE c.phone_num END AS number
      FROM contact c JOIN agent a ON a.id = $5 WHERE c.id = $1
    ), called AS (
      INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at, ended_at, end_code, end_reason)
      SELECT $2, id, campaign_id, $3, $7, number, $8, $8, CASE WHEN $10::timestamptz IS NULL THEN 'e' ELSE 'k' END,
        CASE WHEN $10::timestamptz IS NULL THEN 'unknown' END FROM dialled
      ON CONFLICT (call_id) DO UPDATE SET ended_at = coalesce(call.ended_at, excluded.ended_at),
        end_code = coalesce(call.end_code, excluded.end_code), end_reason = coalesce(call.end_reason, excluded.end_reason)
    )
    INSERT INTO offer (call_id, contact_id, campaign_id, offer_no, agent_id, node, state, created_at, announced_at, deadline,
      answered_at, ended_at, result_code)
    SELECT $2, id, campaign_id, $4, agent_id, $6, CASE WHEN $10::timestamptz IS NULL THEN 'dialling' ELSE 'talking' END,
      $8, $8, $8, $8, $8, 'k' FROM dialled
    ON CONFLICT (contact_id, offer_no) DO UPDATE SET state = excluded.state
    RETURNING id, call_id, contact_id, campaign_id, agent_id, node,
      (SELECT number FROM dialled) AS number, (SELECT caller_id FROM campaign WHERE id = offer.campaign_id) AS caller_id`,
  values: [
    dial.contactId,
    dial.callId,
    dial.callNo,
    dial.offerNo,
    dial.agentId,
    dial.node,
    dial.attempt,
    dial.at,
    nth,
    dial.answeredAt,
  ],
});

/** Such a leg was sent: one more attempt, in a call that may be newer than any that the database knows. */
export const countLost = (now: Date, contactId: string, callId: string): Sql => ({
  text: `UPDATE contact SET attempts = attempts + 1, call_id = greatest(call_id, $3), updated_at = $1 WHERE id = $2`,
  values: [now, contactId, callId],
});

/** Dials that have no row, beside those that have one: a repeat counts none of them twice. */
export const countUntraced = (now: Date, contactId: string, dials: number): Sql => ({
  text: `UPDATE contact SET updated_at = $1,
           attempts = greatest(attempts, $3 + (SELECT count(*)::int FROM leg WHERE contact_id = $2 AND leg_type = 'contact'))
         WHERE id = $2`,
  values: [now, contactId, dials],
});

/** The agent whose offer this was, as far as the database knows it. */
export const agentOfOffer = (contactId: string, offerNo: number): Sql => ({
  text: `SELECT o.agent_id, o.node, k.attempt FROM offer o JOIN call k ON k.call_id = o.call_id
         WHERE o.contact_id = $1 AND o.offer_no = $2`,
  values: [contactId, offerNo],
});

export const numbersOf = (contactId: string): Sql => ({
  text: `SELECT array_remove(ARRAY[phone_num, phone_2], NULL) AS numbers FROM contact WHERE id = $1`,
  values: [contactId],
});
