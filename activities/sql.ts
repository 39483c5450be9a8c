/** The hand-written SQL of the activities, as functions. Every statement takes the time as a parameter: one clock. */
import type { LegResult } from '../domain/codes.ts';
import type { StoredRules } from '../domain/rules-of-call.ts';
import type { ContactState, DispositionAction } from '../domain/states.ts';
import { type Held, RESCHEDULE_RANK, RULES_AT_FIRST_OFFER } from '../matching/sql.ts';
import { DISABLED, ENDED_AS_LISTED, isListed, listedBy } from '../matching/do-not-call.ts';
import type { Sql } from '../prisma/tx.ts';

// ---- offers ---------------------------------------------------------------------------------------------------------

export interface OfferRow {
  id: string;
  call_id: string;
  contact_id: string;
  campaign_id: number;
  offer_no: number;
  agent_id: number;
  node: string;
  state: 'offered' | 'answered' | 'dialling' | 'talking';
  deadline: Date;
  answered_at: Date | null;
  accepted_at: Date | null;
  withdrawn: string | null;
  withdrawn_by: string | null;
  ended_at: Date | null;
  result_code: string | null;
  result_reason: string | null;
  /** The transfer for which this agent is asked to take a talk; null: the offer of a queued call. */
  transfer_id: string | null;
}
const OFFER_COLUMNS = `id, call_id, contact_id, campaign_id, offer_no, agent_id, node, state, deadline, answered_at,
  accepted_at, withdrawn, withdrawn_by, ended_at, result_code, result_reason, transfer_id`;

/** Whoever decides about an offer locks its row first: decisions take turns. */
export const lockOffer = (offerId: string): Sql => ({
  name: 'lock_offer',
  text: `SELECT ${OFFER_COLUMNS} FROM offer WHERE id = $1 FOR UPDATE`,
  values: [offerId],
});

export const readOffer = (offerId: string): Sql => ({
  name: 'read_offer',
  text: `SELECT ${OFFER_COLUMNS} FROM offer WHERE id = $1`,
  values: [offerId],
});

/** Offers whose agent's phone should have stopped ringing before then, and was never rung. */
export const unrungOffers = (before: Date): Sql => ({
  name: 'unrung_offers',
  text: `SELECT id, agent_id FROM offer o
         WHERE ended_at IS NULL AND state = 'offered' AND deadline < $1
           AND NOT EXISTS (SELECT 1 FROM leg l WHERE l.offer_id = o.id)`,
  values: [before],
});

export const setOfferState = (now: Date, offerId: string, state: OfferRow['state']): Sql => ({
  name: 'set_offer_state',
  text: `UPDATE offer SET state = $3, answered_at = coalesce(answered_at, $1) WHERE id = $2 AND ended_at IS NULL`,
  values: [now, offerId, state],
});

/** The first decision stands. `by`: the supervisor who decided so. */
export const withdrawOffer = (offerId: string, why: string, by: string | null = null): Sql => ({
  name: 'withdraw_offer',
  text: `UPDATE offer SET withdrawn = coalesce(withdrawn, $2),
           withdrawn_by = CASE WHEN withdrawn IS NULL THEN $3 ELSE withdrawn_by END
         WHERE id = $1 AND ended_at IS NULL`,
  values: [offerId, why, by],
});

/** The call does not come back: this outweighs what was to hand it on to the next agent (Reject, log-off). */
export const endCallWithOffer = (offerId: string, why: string): Sql => ({
  name: 'end_call_with_offer',
  text: `UPDATE offer SET withdrawn = $2 WHERE id = $1 AND ended_at IS NULL`,
  values: [offerId, why],
});

/** The phone was answered before the decision reached the switch: the decision is void. */
export const restoreOffer = (offerId: string): Sql => ({
  name: 'restore_offer',
  text: `UPDATE offer SET withdrawn = NULL, withdrawn_by = NULL WHERE id = $1 AND ended_at IS NULL`,
  values: [offerId],
});

export const acceptOffer = (now: Date, offerId: string): Sql => ({
  name: 'accept_offer',
  text: `UPDATE offer SET accepted_at = coalesce(accepted_at, $1) WHERE id = $2 AND ended_at IS NULL`,
  values: [now, offerId],
});

export interface Queue {
  service_num: string | null;
  queue_key: string | null;
}

export interface CallContext extends StoredRules {
  number: string;
  /** Of the person: the one to be dialled, and those of the contact. */
  numbers: string[];
  attempt: number;
  phone: string;
  confirm: boolean;
  caller_id: string | null;
  service_num: string | null;
  queue_key: string;
  /** The campaign's. */
  country: string;
  /** Calls at once are a limit of its node. */
  node_is_limited: boolean;
  contact_ended_reason: string | null;
  /** Contact legs sent so far, and attempts over `max_attempts`. */
  attempts: number;
  granted: number;
  scheduled_at: Date | null;
  /** The number of the call has been given up: it became the only one after the call was queued. */
  is_given_up: boolean;
}

/** What is needed to ring the agent and dial the contact of an offer. */
export const callContext = (offerId: string): Sql => ({
  name: 'call_context',
  text: `SELECT k.number, k.attempt, a.phone, a.confirm, cp.caller_id, cp.service_num, cp.queue_key, cp.country, cp.rules,
                ${RULES_AT_FIRST_OFFER} AS rules_at_first_offer, c.ended_reason AS contact_ended_reason, c.attempts, c.granted,
                k.scheduled_at, array_remove(ARRAY[k.number, c.phone_num, c.phone_2], NULL) AS numbers,
                (c.given_up_1 AND k.number = c.phone_num OR c.given_up_2 AND k.number = c.phone_2) IS TRUE AS is_given_up,
                EXISTS (SELECT 1 FROM node WHERE name = o.node AND max_calls IS NOT NULL) AS node_is_limited
         FROM offer o
         JOIN call k ON k.call_id = o.call_id
         JOIN contact c ON c.id = o.contact_id
         JOIN agent a ON a.id = o.agent_id
         JOIN campaign cp ON cp.id = o.campaign_id
         WHERE o.id = $1`,
  values: [offerId],
});

/** A row if the contact is to be called at an agreed time, or now. */
export const isRescheduled = (contactId: string): Sql => ({
  name: 'is_rescheduled',
  text: `SELECT 1 FROM contact WHERE id = $1 AND queue_rank = 1`,
  values: [contactId],
});

/** The offer that an agent is engaged with. */
export interface HeldOfferRow extends OfferRow {
  /** The contact's. */
  round: number;
}

export const lockHeldOffer = (offerId: string): Sql => ({
  name: 'lock_held_offer',
  text: `SELECT ${OFFER_COLUMNS}, (SELECT round FROM contact WHERE contact.id = offer.contact_id) AS round
         FROM offer WHERE id = $1 FOR UPDATE`,
  values: [offerId],
});

export interface OpenOfferRow {
  id: string;
  offer_no: number;
  call_id: string;
  agent_id: number;
  node: string;
  attempt: number;
  withdrawn: string | null;
}

/** The open offer of a contact's queued call; there is one at most. */
export const openOfferOf = (contactId: string): Sql => ({
  name: 'open_offer_of',
  text: `SELECT o.id, o.offer_no, o.call_id, o.agent_id, o.node, k.attempt, o.withdrawn
         FROM offer o JOIN call k ON k.call_id = o.call_id
         WHERE o.contact_id = $1 AND o.ended_at IS NULL AND o.transfer_id IS NULL`,
  values: [contactId],
});

/**
 * The offer that a contact's workflow is to take up: the open one or, for a workflow that was started anew meanwhile, the one
 * that is over and from which nothing has been concluded yet.
 */
export const offerToTakeUp = (contactId: string): Sql => ({
  name: 'offer_to_take_up',
  text: `SELECT o.id, o.offer_no, o.call_id, o.agent_id, o.node, k.attempt, o.withdrawn
         FROM contact c JOIN offer o ON o.contact_id = c.id AND o.transfer_id IS NULL JOIN call k ON k.call_id = o.call_id
         WHERE c.id = $1
           AND (o.ended_at IS NULL OR o.call_id = c.call_id AND c.state IN ('dialling', 'talking', 'wrap_up'))
         ORDER BY o.offer_no DESC LIMIT 1`,
  values: [contactId],
});

// ---- legs -----------------------------------------------------------------------------------------------------------

export interface LegRow {
  id: string;
  call_id: string;
  offer_id: string;
  contact_id: string;
  campaign_id: number;
  agent_id: number;
  /** Null: to a number that a talk is transferred to. */
  ciq: 'a' | 'c' | null;
  leg_type: 'agent' | 'contact' | 'transfer';
  sequence: number;
  attempt: number;
  node: string;
  source: string;
  destination: string;
  originating: string | null;
  not_after: Date;
  created_at: Date;
  alerting_at: Date | null;
  answered_at: Date | null;
  media_at: Date | null;
  ended_at: Date | null;
  result_code: LegResult['code'] | null;
  result_response: number | null;
  result_reason: LegResult['reason'];
  recording: string | null;
  hold: number;
  consult: number;
  held_since: Date | null;
  held_ms: number;
}
export const LEG_COLUMNS = `id, call_id, offer_id, contact_id, campaign_id, agent_id, ciq, leg_type, sequence, attempt, node,
  source, destination, originating, not_after, created_at, alerting_at, answered_at, media_at, ended_at, result_code,
  result_response, result_reason, recording, hold, consult, held_since, held_ms`;

export const readLeg = (id: string): Sql => ({
  name: 'read_leg',
  text: `SELECT ${LEG_COLUMNS} FROM leg WHERE id = $1`,
  values: [id],
});

export const legsOfOffer = (offerId: string): Sql => ({
  name: 'legs_of_offer',
  text: `SELECT ${LEG_COLUMNS} FROM leg WHERE offer_id = $1 ORDER BY sequence`,
  values: [offerId],
});

export const contactLegOfCall = (callId: string): Sql => ({
  name: 'contact_leg_of_call',
  text: `SELECT ${LEG_COLUMNS} FROM leg WHERE call_id = $1 AND ciq = 'c'`,
  values: [callId],
});

/** The contact's leg of the same offer, while it is open; none when the agent leaves it to another one. */
export const openContactLegBeside = (agentLegId: string): Sql => ({
  name: 'open_contact_leg_beside',
  text: `SELECT ${LEG_COLUMNS} FROM leg
         WHERE offer_id = (SELECT offer_id FROM leg WHERE id = $1 AND ciq = 'a') AND ciq = 'c' AND ended_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM transfer t WHERE t.offer_id = leg.offer_id AND (t.state = 'completed'
                             OR t.mode = 'blind' AND t.state IN ('queued', 'ringing', 'consulting')))`,
  values: [agentLegId],
});

/** Contacts' legs first: what an agent is told is how that one ended. */
export const openLegsOfNode = (node: string): Sql => ({
  name: 'open_legs_of_node',
  text: `SELECT ${LEG_COLUMNS} FROM leg WHERE node = $1 AND ended_at IS NULL ORDER BY ciq DESC`,
  values: [node],
});

/** Which of these legs are open. */
export const stillOpen = (ids: string[]): Sql => ({
  name: 'still_open',
  text: `SELECT id FROM leg WHERE id = ANY($1::text[]) AND ended_at IS NULL`,
  values: [ids],
});

export interface NewLeg {
  id: string;
  offer: Pick<OfferRow, 'id' | 'call_id' | 'contact_id' | 'campaign_id' | 'agent_id' | 'node'>;
  ciq: 'a' | 'c' | null;
  legType: LegRow['leg_type'];
  attempt: number;
  source: string;
  destination: string;
  originating: string | null;
  notAfter: Date;
}

/**
 * The trace that a leg is about to be sent. Whoever inserted it originates; who finds it there (no row comes back) asks
 * the switch. Its `call_sequence` is taken from the call in the same statement.
 */
export const insertLeg = (now: Date, leg: NewLeg): Sql => ({
  name: 'insert_leg',
  text: `
    WITH numbered AS (
      UPDATE call SET next_sequence = next_sequence + 1
      WHERE call_id = $2 AND NOT EXISTS (SELECT 1 FROM leg WHERE id = $1)
      RETURNING next_sequence - 1 AS sequence
    )
    INSERT INTO leg (id, call_id, offer_id, contact_id, campaign_id, agent_id, ciq, leg_type, sequence, attempt, node,
      source, destination, originating, not_after, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, sequence, $9, $10, $11, $12, $13, $14, $15 FROM numbered
    RETURNING ${LEG_COLUMNS}`,
  values: [
    leg.id,
    leg.offer.call_id,
    leg.offer.id,
    leg.offer.contact_id,
    leg.offer.campaign_id,
    leg.offer.agent_id,
    leg.ciq,
    leg.legType,
    leg.attempt,
    leg.offer.node,
    leg.source,
    leg.destination,
    leg.originating,
    leg.notAfter,
    now,
  ],
});

/** Progress of a leg; a time that is known stays. */
export const markLeg = (id: string, column: 'alerting_at' | 'answered_at' | 'media_at', at: Date): Sql => ({
  name: `mark_leg_${column}`,
  text: `UPDATE leg SET ${column} = coalesce(${column}, $2) WHERE id = $1 AND ended_at IS NULL
         RETURNING ${LEG_COLUMNS}`,
  values: [id, at],
});

/** The name under which a talk is to be recorded, on its contact's leg; null takes it back while the talk lasts. */
export const setRecording = (callId: string, name: string | null): Sql => ({
  name: 'set_recording',
  text: `UPDATE leg SET recording = $2 WHERE call_id = $1 AND leg_type = 'contact' AND ended_at IS NULL`,
  values: [callId, name],
});

/** Ends an open leg; no row when it has ended before. */
export const endLeg = (
  id: string,
  at: Date,
  result: Pick<LegResult, 'code' | 'response' | 'reason'>,
  times: { setupMs: number | null; alertMs: number | null },
): Sql => ({
  name: 'end_leg',
  text: `UPDATE leg SET ended_at = $2, result_code = $3, result_response = $4, result_reason = $5, setup_ms = $6,
           alert_ms = $7
         WHERE id = $1 AND ended_at IS NULL RETURNING ${LEG_COLUMNS}`,
  values: [id, at, result.code, result.response, result.reason, times.setupMs, times.alertMs],
});

export interface EndedTalk {
  leg_id: string;
  call_id: string;
  offer_no: number;
  contact_id: string;
  round: number;
  wrap_up_until: Date | null;
}

const ENDED_TALK = `
         SELECT l.id AS leg_id, l.call_id, o.offer_no, l.contact_id, c.round,
                (SELECT CASE WHEN a.offer_id = last.id AND a.state = 'wrap_up' THEN a.state_until END
                 FROM offer last JOIN agent a ON a.id = last.agent_id
                 WHERE last.call_id = l.call_id AND last.state = 'talking' ORDER BY last.offer_no DESC LIMIT 1) AS wrap_up_until
         FROM leg l
         JOIN offer o ON o.id = l.offer_id
         JOIN contact c ON c.id = l.contact_id
         WHERE l.ciq = 'c' AND l.answered_at IS NOT NULL AND l.delivered_at IS NULL`;

/** A talk that has ended with all its legs, by the contact's, if its workflow has not been told. */
export const undeliveredTalk = (legId: string): Sql => ({
  name: 'undelivered_talk',
  text: `${ENDED_TALK} AND l.id = $1 AND l.ended_at IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM leg other WHERE other.call_id = l.call_id AND other.ended_at IS NULL)`,
  values: [legId],
});

/** Those whose last leg had ended by then. */
export const undeliveredTalks = (before: Date): Sql => ({
  name: 'undelivered_talks',
  text: `${ENDED_TALK} AND l.ended_at <= $1
           AND NOT EXISTS (SELECT 1 FROM leg other WHERE other.call_id = l.call_id AND (other.ended_at <= $1) IS NOT TRUE)
         LIMIT 500`,
  values: [before],
});

export const markDelivered = (now: Date, legId: string): Sql => ({
  name: 'mark_delivered',
  text: `UPDATE leg SET delivered_at = $1 WHERE id = $2 AND delivered_at IS NULL`,
  values: [now, legId],
});

export interface LostOffer {
  id: string;
  offer_no: number;
  contact_id: string;
  round: number;
}

/** Offers with something open on nodes that nobody has held since `before`: no one will report their end. */
export const lostOffers = (before: Date, ownNode: string): Sql => ({
  name: 'lost_offers',
  text: `SELECT o.id, o.offer_no, o.contact_id, c.round
         FROM node n
         JOIN LATERAL (
           SELECT id FROM offer WHERE offer.node = n.name AND ended_at IS NULL
           UNION
           SELECT offer_id FROM leg WHERE leg.node = n.name AND ended_at IS NULL
         ) AS open ON true
         JOIN offer o ON o.id = open.id
         JOIN contact c ON c.id = o.contact_id
         WHERE n.lease_until <= $1 AND n.name <> $2`,
  values: [before, ownNode],
});

/** The node of an offer, if nobody has held it since `before`. */
export const isNodeLost = (before: Date, node: string): Sql => ({
  name: 'is_node_lost',
  text: `SELECT 1 FROM node WHERE name = $2 AND lease_until <= $1`,
  values: [before, node],
});

// ---- may this contact be dialled? -----------------------------------------------------------------------------------

/** One of these numbers must not be called, or one that the contact has by now. */
export const findListed = (contactId: string, numbers: string[]): Sql => ({
  name: 'find_listed',
  text: `SELECT 1 FROM do_not_call WHERE number = ANY($2::text[])
         UNION ALL SELECT 1 FROM contact c WHERE c.id = $1 AND ${isListed('c')} LIMIT 1`,
  values: [contactId, numbers],
});

/** A contact in a talk whose number was listed a moment ago, by somebody who has not come to its contacts yet. */
export const endIfListed = (now: Date, contactId: string): Sql => ({
  name: 'end_if_listed',
  text: `UPDATE contact SET ${ENDED_AS_LISTED}, ended_by = ${listedBy('contact')}
         WHERE id = $2 AND ended_reason IS NULL AND ${isListed('contact')}`,
  values: [now, contactId],
});

export const numberInUse = (number: string): Sql => ({
  name: 'number_in_use',
  text: `SELECT 1 FROM leg WHERE ciq = 'c' AND ended_at IS NULL AND destination = $1`,
  values: [number],
});

// ---- contacts -------------------------------------------------------------------------------------------------------

export interface ContactRow {
  id: string;
  campaign_id: number;
  round: number;
  state: ContactState;
  attempts: number;
  call_id: string | null;
  phone_num: string;
  phone_2: string | null;
  next_phone: 1 | 2;
  given_up_1: boolean;
  given_up_2: boolean;
  /** Attempts over `max_attempts`. */
  granted: number;
  queue_rank: number;
  wait_reason: string | null;
  wait_until: Date | null;
  ended_reason: string | null;
  closed_at: Date | null;
}

export const lockContact = (contactId: string, round: number): Sql => ({
  name: 'lock_contact',
  text: `SELECT id, campaign_id, round, state, attempts, call_id, phone_num, phone_2, next_phone, given_up_1, given_up_2,
                granted, queue_rank, wait_reason, wait_until, ended_reason, closed_at
         FROM contact WHERE id = $1 AND round = $2 FOR UPDATE`,
  values: [contactId, round],
});

/** An agent still wraps up after this call. */
export const isWrappingUp = (callId: string): Sql => ({
  name: 'is_wrapping_up',
  text: `SELECT 1 FROM agent a JOIN offer o ON o.id = a.offer_id WHERE o.call_id = $1 AND a.state = 'wrap_up'`,
  values: [callId],
});

export const setContactState = (now: Date, contactId: string, state: ContactState, from: ContactState[]): Sql => ({
  name: 'set_contact_state',
  text: `UPDATE contact SET state = $3, state_since = $1, updated_at = $1 WHERE id = $2 AND state = ANY($4::text[])`,
  values: [now, contactId, state, from],
});

/** A leg to the contact is being sent: one more attempt, and whoever was to be called back is. */
export const countAttempt = (now: Date, contactId: string): Sql => ({
  name: 'count_attempt',
  text: `UPDATE contact SET state = 'dialling', state_since = $1, attempts = attempts + 1, scheduled_at = NULL,
           reserved_for = NULL, reserved_until = NULL, updated_at = $1
         WHERE id = $2`,
  values: [now, contactId],
});

/** What a contact's leg has shown: its code, and a number not to be dialled again (`givenUp`, or null). */
export const noteLegResult = (now: Date, contactId: string, code: string, givenUp: string | null): Sql => ({
  name: 'note_leg_result',
  text: `UPDATE contact SET last_code = $3, given_up_1 = given_up_1 OR coalesce(phone_num = $4, false),
           given_up_2 = given_up_2 OR coalesce(phone_2 = $4, false), updated_at = $1
         WHERE id = $2`,
  values: [now, contactId, code, givenUp],
});

/** The contact waits, for a time or for something; `rank` null keeps its rank in the queue. */
export const waitFor = (
  now: Date,
  contactId: string,
  to: { reason: string; until: Date | null; rank: number | null; phone: 1 | 2 },
): Sql => ({
  name: 'wait_for',
  text: `UPDATE contact SET state = 'waiting', state_since = $1, wait_reason = $3, wait_until = $4,
           queue_rank = coalesce($5, queue_rank), next_phone = $6, updated_at = $1,
           scheduled_at = CASE $3 WHEN 'retry_delay' THEN NULL ELSE scheduled_at END,
           reserved_for = CASE $3 WHEN 'retry_delay' THEN NULL ELSE reserved_for END,
           reserved_until = CASE $3 WHEN 'retry_delay' THEN NULL ELSE reserved_until END
         WHERE id = $2`,
  values: [now, contactId, to.reason, to.until, to.rank, to.phone],
});

/** Attempts granted to contact $2: by what its agents have registered (a reschedule agreed in a talk is one), and by reopenings. */
const GRANTED = `extra_attempts + (
  SELECT count(*) FROM (SELECT DISTINCT ON (call_id) action FROM dispositions WHERE contact_id = $2
                        ORDER BY call_id, (action = 'do_not_call') DESC, position DESC) AS said
  WHERE action = 'reschedule')`;

export const countGranted = (contactId: string): Sql => ({
  text: `UPDATE contact SET granted = ${GRANTED.replace('$2', '$1')} WHERE id = $1`,
  values: [contactId],
});

/** The contact is to be called back at `at`: by `agentId`, unless that agent can't by then; null: by anyone. */
export const reschedule = (now: Date, contactId: string, at: Date, phone: 1 | 2, agentId: number | null): Sql => ({
  name: 'reschedule',
  text: `UPDATE contact SET state = 'waiting', state_since = $1, wait_reason = 'rescheduled', wait_until = $3, scheduled_at = $3,
           queue_rank = 1, next_phone = $4, reserved_for = $5, reserved_until = NULL, granted = ${GRANTED}, updated_at = $1
         WHERE id = $2`,
  values: [now, contactId, at, phone, agentId],
});

/** The call of a turned down or missed offer is back at its place; a reschedule is for anyone from now on. */
export const returnCall = (now: Date, contactId: string): Sql => ({
  name: 'return_call',
  text: `UPDATE contact SET state = 'queued', state_since = $1, reserved_for = NULL, reserved_until = NULL, updated_at = $1
         WHERE id = $2 AND state = 'offered'`,
  values: [now, contactId],
});

export interface Overdue {
  id: string;
  round: number;
  wait_until: Date;
}

/** Contacts who were to be closed instead of being called at a time, since before then. */
export const overdue = (before: Date, limit: number): Sql => ({
  name: 'overdue',
  text: `SELECT id, round, wait_until FROM contact
         WHERE state = 'waiting' AND wait_reason IN ('retry_delay', 'rescheduled', 'number_in_use') AND wait_until <= $1
           AND ended_reason IS NOT NULL
         ORDER BY wait_until LIMIT $2`,
  values: [before, limit],
});

/** A row if the contact still waits for that time. */
export const isWaitingUntil = (id: string, round: number, until: Date): Sql => ({
  name: 'is_waiting_until',
  text: `SELECT 1 FROM contact WHERE id = $1 AND round = $2 AND state = 'waiting' AND wait_until = $3`,
  values: [id, round, until],
});

/** The contact is done or disabled and its round closed. A reason given before (set-wise) stands. */
export const closeContact = (
  now: Date,
  contactId: string,
  to: { state: 'done' | 'disabled'; reason: string; by: string },
): Sql => ({
  name: 'close_contact',
  text: `UPDATE contact SET state = $3, state_since = $1, ended_reason = coalesce(ended_reason, $4),
           ended_by = coalesce(ended_by, $5), ended_at = coalesce(ended_at, $1), closed_at = $1, wait_reason = NULL,
           wait_until = NULL, updated_at = $1
         WHERE id = $2`,
  values: [now, contactId, to.state, to.reason, to.by],
});

/** The campaign has ended while this contact was being offered: its call does not come back. */
export const endForCampaign = (now: Date, contactId: string): Sql => ({
  name: 'end_for_campaign',
  text: `UPDATE contact SET ended_reason = coalesce(ended_reason, 'campaign_ended'),
           ended_by = coalesce(ended_by, 'system'), ended_at = coalesce(ended_at, $1), updated_at = $1
         WHERE id = $2 AND closed_at IS NULL`,
  values: [now, contactId],
});

/** A call ends with the code of its contact's leg. */
export const endCall = (now: Date, callId: string, code: string, reason: string | null): Sql => ({
  name: 'end_call',
  text: `UPDATE call SET ended_at = $1, end_code = $3, end_reason = $4 WHERE call_id = $2 AND ended_at IS NULL`,
  values: [now, callId, code, reason],
});

/**
 * How often each code has ended a leg to this contact since it was last reopened. Of answers those count that were abandoned
 * or marked as unanswered: a talk is no failure.
 */
export const codesOfContact = (contactId: string): Sql => ({
  name: 'codes_of_contact',
  text: `SELECT result_code AS code, count(*)::int AS times FROM leg
         WHERE contact_id = $1 AND ciq = 'c' AND result_code IS NOT NULL
           AND (result_code <> 'k' OR result_reason IS NOT DISTINCT FROM 'abandoned'
                OR (SELECT action FROM dispositions d WHERE d.call_id = leg.call_id
                    ORDER BY (action = 'do_not_call') DESC, position DESC LIMIT 1) = 'mark_as_unanswered')
           AND created_at > coalesce((SELECT reopened_at FROM contact WHERE id = $1), '-infinity') GROUP BY result_code`,
  values: [contactId],
});

/** Rules of a call, and its campaign's status, held against a change to the end of the transaction. */
export const holdCampaignOf = (callId: string): Sql => ({
  name: 'hold_campaign_of',
  text: `SELECT cp.status, cp.rules, ${RULES_AT_FIRST_OFFER} AS rules_at_first_offer
         FROM call k JOIN campaign cp ON cp.id = k.campaign_id WHERE k.call_id = $1 FOR SHARE OF cp`,
  values: [callId],
});

export interface SaidRow {
  action: DispositionAction;
  agent_id: number;
  reschedule_at: Date | null;
  /** "To myself". */
  reschedule_to_agent: boolean | null;
}

/** What was registered for a call: do-not-call by anyone wins, else the last word of who talked last and said something. */
export const dispositionOfCall = (callId: string): Sql => ({
  name: 'disposition_of_call',
  text: `SELECT action, agent_id, reschedule_at, reschedule_to_agent FROM dispositions d WHERE call_id = $1
         ORDER BY (action = 'do_not_call') DESC,
           (SELECT max(offer_no) FROM offer o
            WHERE o.call_id = d.call_id AND o.agent_id = d.agent_id AND o.state = 'talking') DESC NULLS LAST,
           position DESC LIMIT 1`,
  values: [callId],
});

/** The rules of a call; no row if there is no such call. */
export const rulesOfCall = (callId: string): Sql => ({
  name: 'rules_of_call',
  text: `SELECT cp.rules, k.rules_version, ${RULES_AT_FIRST_OFFER} AS rules_at_first_offer
         FROM call k JOIN campaign cp ON cp.id = k.campaign_id WHERE k.call_id = $1`,
  values: [callId],
});

export interface CallToDispose {
  contact_id: string;
  campaign_id: number;
  round: number;
  /** The contact's newest call. */
  newest: string | null;
  state: ContactState;
  phone_num: string;
  phone_2: string | null;
  /** Its campaign has ended. */
  is_over: boolean;
  is_erased: boolean;
}

/** A call and its contact, which is locked. */
export const lockCallToDispose = (callId: string): Sql => ({
  name: 'lock_call_to_dispose',
  text: `SELECT k.contact_id, k.campaign_id, c.round, c.call_id AS newest, c.state, c.phone_num, c.phone_2,
           cp.status = 'ended' AS is_over, c.erased_at IS NOT NULL AS is_erased
         FROM call k JOIN contact c ON c.id = k.contact_id JOIN campaign cp ON cp.id = k.campaign_id
         WHERE k.call_id = $1 FOR NO KEY UPDATE OF c`,
  values: [callId],
});

/**
 * A row if the contact has answered this agent's call, or was handed on to this agent; `is_abandoned`: when the agent had gone
 * already.
 */
export const talkOf = (callId: string, agentId: number): Sql => ({
  name: 'talk_of',
  text: `SELECT l.result_reason IS NOT DISTINCT FROM 'abandoned' AS is_abandoned FROM leg l
         WHERE l.call_id = $1 AND l.ciq = 'c' AND l.answered_at IS NOT NULL
           AND (l.agent_id = $2 OR EXISTS (SELECT 1 FROM offer o WHERE o.call_id = $1 AND o.agent_id = $2 AND o.state = 'talking'))
         LIMIT 1`,
  values: [callId, agentId],
});

export interface SaidBefore {
  action: DispositionAction;
  topics: string[];
  comment: string | null;
  reschedule_at: Date | null;
  reschedule_to_agent: boolean | null;
}

export const findDisposition = (callId: string, agentId: number, requestId: string): Sql => ({
  name: 'find_disposition',
  text: `SELECT action, topics, comment, reschedule_at, reschedule_to_agent FROM dispositions WHERE call_id = $1 AND agent_id = $2 AND request_id = $3`,
  values: [callId, agentId, requestId],
});

// ---- campaigns ------------------------------------------------------------------------------------------------------

export interface CampaignRow {
  id: number;
  status: 'draft' | 'running' | 'paused' | 'ended';
  revision: number;
  settled_revision: number;
  stop_requested: boolean;
  /** While it is paused, reschedules are called all the same. */
  lets_reschedules: boolean;
}

export const readCampaign = (campaignId: number): Sql => ({
  name: 'read_campaign',
  text: `SELECT id, status, revision, settled_revision, stop_requested, lets_reschedules FROM campaign WHERE id = $1`,
  values: [campaignId],
});

export const markSettled = (campaignId: number, revision: number): Sql => ({
  text: `UPDATE campaign SET settled_revision = $2 WHERE id = $1 AND settled_revision < $2`,
  values: [campaignId, revision],
});

/** Campaigns that were changed before then, and whose newest revision is not carried out. */
export const unsettledCampaigns = (before: Date): Sql => ({
  name: 'unsettled_campaigns',
  text: `SELECT id, revision FROM campaign WHERE revision <> settled_revision AND updated_at <= $1`,
  values: [before],
});

/** A row if it still is. */
export const isUnsettled = (campaignId: number, revision: number): Sql => ({
  text: `SELECT 1 FROM campaign WHERE id = $1 AND revision = $2 AND settled_revision < $2`,
  values: [campaignId, revision],
});

export interface Claimed {
  id: string;
  round: number;
  is_listed: boolean;
  wait_until: Date | null;
  /** Of the rounds before. */
  call_id: string | null;
  offer_no: number;
}

/** Who is to be called back, or now; `all`: or again. */
const URGENT = (all: boolean) => `
  (SELECT id FROM contact
   WHERE campaign_id = $2 AND state = 'new' AND queue_rank ${all ? '< 3' : `= ${RESCHEDULE_RANK}`} AND ended_reason IS NULL
   ORDER BY queue_rank, id LIMIT $3)
  UNION ALL (SELECT id FROM contact WHERE campaign_id = $2 AND state = 'starting' AND ended_reason IS NULL ORDER BY id LIMIT $3)`;
/** New contacts that have their place in the campaign's order; `included`: by its filter. */
const PLACED = (included: boolean) => `
  UNION ALL (SELECT id FROM contact
   WHERE campaign_id = $2 AND state = 'new' AND order_version = ${ORDER_VERSION} AND is_included = ${included}
     AND ended_reason IS NULL
   ORDER BY sort_key, id LIMIT $3)`;
const ORDER_VERSION = `(SELECT order_version FROM campaign WHERE id = $2)`;
/** And those that have none yet, or a former one. */
const UNPLACED = `
  UNION ALL (SELECT id FROM contact
   WHERE campaign_id = $2 AND state = 'new' AND order_version < ${ORDER_VERSION} AND ended_reason IS NULL
   ORDER BY order_version, is_included, sort_key, id LIMIT $3)`;

/**
 * The next page of the list, claimed before its workflows start: who is to be called back or again, what an earlier try
 * left claimed, then the rest in the campaign's order; `only` reschedules: without the rest. `is_listed`: must not be called,
 * and is disabled without a workflow.
 */
export const claimPage = (now: Date, campaignId: number, limit: number, only?: 'reschedules'): Sql => ({
  text: `
    WITH page AS (
      SELECT id, state = 'new' AND ${isListed('contact')} AS is_listed FROM contact
      WHERE id = ANY(ARRAY(${URGENT(!only)} ${only ? '' : PLACED(true) + UNPLACED + PLACED(false)}))
        AND state IN ('starting', 'new') AND ended_reason IS NULL
      ORDER BY queue_rank, state DESC,
        CASE WHEN order_version < ${ORDER_VERSION} THEN 1 WHEN is_included THEN 0 ELSE 2 END, sort_key, id
      LIMIT $3 FOR UPDATE
    ), listed AS (
      UPDATE contact c SET ${DISABLED}, ${ENDED_AS_LISTED}, ended_by = ${listedBy('c')}, closed_at = $1
      FROM page WHERE c.id = page.id AND is_listed
      RETURNING c.id, c.round, c.wait_until, c.call_id, c.offer_no, is_listed
    ), claimed AS (
      UPDATE contact c SET state = 'starting', state_since = $1, updated_at = $1
      FROM page WHERE c.id = page.id AND NOT is_listed
      RETURNING c.id, c.round, c.wait_until, c.call_id, c.offer_no, is_listed
    )
    SELECT * FROM claimed UNION ALL SELECT * FROM listed`,
  values: [now, campaignId, limit],
});

/** Started contacts that are due later, and those whose campaign has stopped running meanwhile. */
export const startedWaiting = (now: Date, contactIds: string[], { status, lets_reschedules }: Held): Sql => ({
  text: `UPDATE contact SET state = 'waiting', state_since = $1, updated_at = $1,
           wait_reason = CASE WHEN wait_until IS NULL THEN 'campaign_not_running'
                              WHEN scheduled_at IS NOT NULL THEN 'rescheduled' ELSE 'retry_delay' END
         WHERE id = ANY($2::bigint[]) AND state = 'starting' AND (wait_until IS NOT NULL OR NOT ($3 OR $4 AND queue_rank = ${RESCHEDULE_RANK}))`,
  values: [now, contactIds, status === 'running', status === 'paused' && lets_reschedules],
});

export const waitingForCampaign = (campaignId: number, limit: number): Sql => ({
  text: `SELECT id FROM contact
         WHERE campaign_id = $1 AND state = 'waiting' AND wait_reason = 'campaign_not_running' AND ended_reason IS NULL
         ORDER BY id LIMIT $2`,
  values: [campaignId, limit],
});

export interface OfferToStop {
  contact_id: string;
  offer_no: number;
  round: number;
}

/** Open offers that a stop must end: the contact has not answered. */
export const offersToStop = (campaignId: number): Sql => ({
  text: `SELECT o.contact_id, o.offer_no, c.round FROM offer o JOIN contact c ON c.id = o.contact_id
         WHERE o.campaign_id = $1 AND o.ended_at IS NULL AND o.state <> 'talking' AND o.transfer_id IS NULL`,
  values: [campaignId],
});

/** Stops that nobody has carried out yet. */
export const stopsRequested = (): Sql => ({
  text: `SELECT id, revision FROM campaign WHERE stop_requested`,
  values: [],
});

/** `since`: when it was asked for, or the campaign was changed after that. No row: somebody else has carried it out. */
export const stopCarriedOut = (campaignId: number, revision: number): Sql => ({
  text: `UPDATE campaign SET stop_requested = false WHERE id = $1 AND revision = $2 AND stop_requested RETURNING updated_at AS since`,
  values: [campaignId, revision],
});

/** The end of a campaign: what is not under way is final; the drain tells the workflows. */
export const endContacts = (now: Date, campaignId: number, limit: number): Sql => ({
  text: `
    WITH page AS (
      SELECT id FROM contact
      WHERE campaign_id = $2 AND state IN ('new', 'starting', 'waiting') AND ended_reason IS NULL
      ORDER BY id LIMIT $3 FOR UPDATE
    )
    UPDATE contact c SET ended_reason = 'campaign_ended', ended_by = 'system', ended_at = $1, state_since = $1,
      closed_at = CASE WHEN state = 'new' THEN $1::timestamptz END, state = 'disabled', wait_reason = NULL,
      wait_until = NULL, updated_at = $1
    FROM page WHERE c.id = page.id
    RETURNING c.id`,
  values: [now, campaignId, limit],
});

export interface Final {
  id: string;
  round: number;
  ended_reason: string;
  ended_by: string;
}

/** Rows that are disabled, or are to be, while their workflow still runs. */
export const toDrain = (campaignId: number, after: string, limit: number): Sql => ({
  text: `SELECT id, round, ended_reason, ended_by FROM contact
         WHERE campaign_id = $1 AND id > $2 AND ended_reason <> 'answered' AND closed_at IS NULL
         ORDER BY id LIMIT $3`,
  values: [campaignId, after, limit],
});

/** Those of them that have not closed though they are in no call. */
export const stillClosing = (contactIds: string[]): Sql => ({
  text: `SELECT 1 FROM contact
         WHERE id = ANY($1::bigint[]) AND closed_at IS NULL
           AND state NOT IN ('offered', 'dialling', 'talking', 'wrap_up')
         LIMIT 1`,
  values: [contactIds],
});

/** A final row whose workflow is found closed; one that is still being offered is repaired instead. */
export const markClosed = (now: Date, contactId: string, round: number): Sql => ({
  text: `UPDATE contact SET closed_at = $1, state = CASE state WHEN 'done' THEN state ELSE 'disabled' END,
           updated_at = $1
         WHERE id = $2 AND round = $3 AND closed_at IS NULL AND ended_reason IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM offer WHERE contact_id = $2 AND ended_at IS NULL)`,
  values: [now, contactId, round],
});

// ---- nodes ----------------------------------------------------------------------------------------------------------

/** What a node may carry, as its holder says; null: no limit. */
export interface NodeLimits {
  maxCalls: number | null;
  callsPerSecond: number | null;
}

export interface HeldNode {
  /** As it was before; null: there was no such node. */
  was_until: Date | null;
  /** Its switch could be reached then: whoever gives a node up in order takes that back. */
  was_ready: boolean;
}

/** Takes or renews the lease of a node; no row while another worker holds it. `up`: the switch can be reached. */
export const holdNode = (
  now: Date,
  name: string,
  holder: string,
  until: Date,
  { up, trouble }: { up: boolean; trouble: string | null },
  { maxCalls, callsPerSecond }: NodeLimits,
): Sql => ({
  name: 'hold_node',
  text: `INSERT INTO node (name, holder, lease_until, ready_since, max_calls, calls_per_second, trouble, away_since)
         VALUES ($2, $3, $4, CASE WHEN $5 THEN $1::timestamptz END, $6, $7, $8, CASE WHEN NOT $5 THEN $1::timestamptz END)
         ON CONFLICT (name) DO UPDATE SET holder = $3, lease_until = $4, max_calls = $6, calls_per_second = $7, trouble = $8,
           ready_since = CASE WHEN $5 THEN coalesce(node.ready_since, $1::timestamptz) END,
           away_since = CASE WHEN NOT $5 THEN coalesce(node.away_since, $1::timestamptz) END
         WHERE node.holder = $3 OR node.lease_until <= $1
         RETURNING old.lease_until AS was_until, old.ready_since IS NOT NULL AS was_ready`,
  values: [now, name, holder, until, up, maxCalls, callsPerSecond, trouble],
});

const NEXT_LEG_AT = { a: 'next_ring_at', c: 'next_dial_at' } as const;

/**
 * Gives an offer's leg the next place among the agents' or the contacts' legs of its node, by calls a second, and says when
 * that is. No row: the node has no such limit, or the leg has been written already.
 */
export const bookLeg = (now: Date, offerId: string, ciq: 'a' | 'c'): Sql => ({
  name: `book_leg_${ciq}`,
  text: `UPDATE node SET ${NEXT_LEG_AT[ciq]} = greatest(${NEXT_LEG_AT[ciq]}, $1) + interval '1 s' / calls_per_second
         FROM offer o
         WHERE o.id = $2 AND node.name = o.node AND node.calls_per_second IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM leg WHERE leg.offer_id = o.id AND ciq = $3)
         RETURNING greatest(old.${NEXT_LEG_AT[ciq]}, $1) AS at`,
  values: [now, offerId, ciq],
});

export const leaveNode = (now: Date, name: string, holder: string): Sql => ({
  name: 'leave_node',
  text: `UPDATE node SET lease_until = $1, ready_since = NULL WHERE name = $2 AND holder = $3`,
  values: [now, name, holder],
});

/**
 * A contact's leg that the trunk has failed: counted, and from `limit` on the trunk counts as failing. The first probe is
 * due at `probeAt`; legs under way that fail after that do not put it off.
 */
export const countTrunkError = (now: Date, node: string, limit: number, probeAt: Date): Sql => ({
  name: 'count_trunk_error',
  text: `UPDATE node SET errors_in_row = errors_in_row + 1, errors_since = coalesce(errors_since, $1),
           failing_since = CASE WHEN errors_in_row + 1 >= $3 THEN coalesce(failing_since, $1) END,
           probe_at = CASE WHEN errors_in_row + 1 >= $3 THEN coalesce(probe_at, $4) END
         WHERE name = $2 RETURNING errors_in_row = $3 AS failing_now`,
  values: [now, node, limit, probeAt],
});

/**
 * A leg sent at `sentAt` went through: the trunk works. One that was sent before the errors began proves nothing: calls
 * that ring on, or talks that end, while a trunk goes down must not hide it.
 */
export const trunkWorks = (node: string, sentAt: Date): Sql => ({
  name: 'trunk_works',
  text: `UPDATE node SET errors_in_row = 0, errors_since = NULL, failing_since = NULL, probe_at = NULL
         WHERE name = $1 AND errors_since <= $2`,
  values: [node, sentAt],
});
