/** The SQL of talks that are put on hold and handed on. Every statement takes the time as a parameter: one clock. */
import type { TransferState } from '../domain/transfers.ts';
import type { Sql } from '../prisma/tx.ts';
import { LEG_COLUMNS } from './sql.ts';

// ---- holds and keys -------------------------------------------------------------------------------------------------

/** The contact is on hold from now on, as far as it concerns the contact's own leg and this agent's. */
export const noteHeld = (now: Date, callId: string, agentLegId: string | null): Sql => ({
  name: 'note_held',
  text: `UPDATE leg SET hold = 1, held_since = coalesce(held_since, $1)
         WHERE call_id = $2 AND ended_at IS NULL AND (ciq = 'c' OR id = $3)`,
  values: [now, callId, agentLegId],
});

export const noteTakenFromHold = (now: Date, callId: string): Sql => ({
  name: 'note_taken_from_hold',
  text: `UPDATE leg SET held_ms = held_ms + greatest(0, extract(epoch FROM $1 - held_since) * 1000)::int, held_since = NULL
         WHERE call_id = $2 AND ended_at IS NULL AND held_since IS NOT NULL`,
  values: [now, callId],
});

/** The same request once more finds what it has stored. */
export const storeKeys = (now: Date, requestKey: string, callId: string, digits: string): Sql => ({
  name: 'store_keys',
  text: `INSERT INTO keys_to_send (request_key, call_id, digits, created_at) VALUES ($2, $3, $4, $1)
         ON CONFLICT (request_key) DO UPDATE SET request_key = excluded.request_key RETURNING id`,
  values: [now, requestKey, callId, digits],
});

/** `digits` is null when they have been sent. */
export const keysToSend = (id: string): Sql => ({
  name: 'keys_to_send',
  text: `SELECT call_id, digits FROM keys_to_send WHERE id = $1`,
  values: [id],
});

export const forgetKeys = (id: string): Sql => ({
  name: 'forget_keys',
  text: `UPDATE keys_to_send SET digits = NULL WHERE id = $1`,
  values: [id],
});

/** Nothing is to be sent: nobody has taken them up. */
export const dropKeys = (id: string): Sql => ({
  name: 'drop_keys',
  text: `DELETE FROM keys_to_send WHERE id = $1`,
  values: [id],
});

// ---- transfers ------------------------------------------------------------------------------------------------------

export interface TransferRow {
  id: string;
  call_id: string;
  contact_id: string;
  /** Of the agent who transfers. */
  offer_id: string;
  agent_id: number;
  mode: 'blind' | 'attended';
  to_agent_id: number | null;
  to_number: string | null;
  queue_id: number | null;
  state: TransferState;
  target_offer_id: string | null;
  leg_id: string | null;
  queued_at: Date | null;
  sequence: number | null;
  ended_at: Date | null;
}
const COLUMNS = `id, call_id, contact_id, offer_id, agent_id, mode, to_agent_id, to_number, queue_id, state, target_offer_id,
  leg_id, queued_at, sequence, ended_at`;
export const OPEN = `ended_at IS NULL AND state <> 'requested'`;

export interface NewTransfer {
  requestKey: string;
  callId: string;
  contactId: string;
  offerId: string;
  agentId: number;
  mode: 'blind' | 'attended';
  toAgentId: number | null;
  toNumber: string | null;
  queueId: number | null;
}

/** The same request once more finds what it has stored. */
export const storeTransfer = (now: Date, transfer: NewTransfer): Sql => ({
  name: 'store_transfer',
  text: `INSERT INTO transfer (request_key, call_id, contact_id, offer_id, agent_id, mode, to_agent_id, to_number, queue_id, created_at)
         VALUES ($2, $3, $4, $5, $6, $7, $8, $9, $10, $1)
         ON CONFLICT (request_key) DO UPDATE SET request_key = excluded.request_key RETURNING id`,
  values: [
    now,
    transfer.requestKey,
    transfer.callId,
    transfer.contactId,
    transfer.offerId,
    transfer.agentId,
    transfer.mode,
    transfer.toAgentId,
    transfer.toNumber,
    transfer.queueId,
  ],
});

/** A request that was refused leaves nothing, a number least of all. One that was begun is on record. */
export const dropTransfer = (id: string): Sql => ({
  name: 'drop_transfer',
  text: `DELETE FROM transfer WHERE id = $1 AND state = 'requested' AND ended_at IS NULL`,
  values: [id],
});

export const readTransfer = (id: string): Sql => ({
  name: 'read_transfer',
  text: `SELECT ${COLUMNS} FROM transfer WHERE id = $1`,
  values: [id],
});

/** After the contact's leg and its target's offer, where there is one: always in this order. */
export const lockTransfer = (id: string): Sql => ({
  name: 'lock_transfer',
  text: `SELECT ${COLUMNS} FROM transfer WHERE id = $1 FOR UPDATE`,
  values: [id],
});

export const lockContactLeg = (callId: string): Sql => ({
  name: 'lock_contact_leg',
  text: `SELECT 1 FROM leg WHERE call_id = $1 AND ciq = 'c' FOR NO KEY UPDATE`,
  values: [callId],
});

/** A call's transfer that is under way; there is one at most. */
export const openTransferOf = (callId: string): Sql => ({
  name: 'open_transfer_of',
  text: `SELECT ${COLUMNS} FROM transfer WHERE call_id = $1 AND ${OPEN}`,
  values: [callId],
});

/** How many numbers the agent of an offer has transferred the talk to. */
export const numbersTransferredTo = (offerId: string): Sql => ({
  name: 'numbers_transferred_to',
  text: `SELECT count(*)::int AS n FROM transfer WHERE offer_id = $1 AND to_number IS NOT NULL AND leg_id IS NOT NULL`,
  values: [offerId],
});

/** The target is to be called; `legId` is null for an agent, whose leg follows from the offer. */
export const ringTarget = (id: string, legId: string | null): Sql => ({
  name: 'ring_target',
  text: `UPDATE transfer SET state = 'ringing', leg_id = $2 WHERE id = $1`,
  values: [id, legId],
});

export const setTransferLeg = (id: string, legId: string): Sql => ({
  name: 'set_transfer_leg',
  text: `UPDATE transfer SET leg_id = $2 WHERE id = $1`,
  values: [id, legId],
});

/** The contact waits in a queue from now on, with a place among the events of the call; nobody is being asked. */
export const queueContact = (now: Date, id: string, queueId: number): Sql => ({
  name: 'queue_contact',
  text: `WITH numbered AS (
           UPDATE call SET next_sequence = next_sequence + 1 FROM transfer t WHERE t.id = $2 AND call.call_id = t.call_id
           RETURNING next_sequence - 1 AS sequence
         )
         UPDATE transfer SET state = 'queued', queue_id = $3, queued_at = $1, sequence = numbered.sequence,
           target_offer_id = NULL, leg_id = NULL
         FROM numbered WHERE id = $2`,
  values: [now, id, queueId],
});

/** Whom an agent of the queue has not taken waits on for the next one, at the old place. */
export const stayInQueue = (id: string, offerId: string): Sql => ({
  name: 'stay_in_queue',
  text: `UPDATE transfer SET state = 'queued', target_offer_id = NULL, leg_id = NULL
         WHERE id = $1 AND state = 'ringing' AND queued_at IS NOT NULL AND target_offer_id = $2 RETURNING queue_id`,
  values: [id, offerId],
});

export const noteConsulting = (id: string): Sql => ({
  name: 'note_consulting',
  text: `UPDATE transfer SET state = 'consulting' WHERE id = $1 AND ${OPEN}`,
  values: [id],
});

/** The agent does not wait for the target any more. */
export const leaveNow = (id: string): Sql => ({
  name: 'leave_now',
  text: `UPDATE transfer SET mode = 'blind' WHERE id = $1 AND ${OPEN}`,
  values: [id],
});

/** 0 rows when it had ended before. */
export const endTransfer = (now: Date, id: string, state: 'completed' | 'taken_back' | 'failed' | 'over'): Sql => ({
  name: 'end_transfer',
  text: `UPDATE transfer SET state = $3, ended_at = $1 WHERE id = $2 AND ended_at IS NULL`,
  values: [now, id, state],
});

/** These legs belong to a talk before which somebody was asked. */
export const noteConsult = (legIds: (string | null)[]): Sql => ({
  name: 'note_consult',
  text: `UPDATE leg SET consult = 1 WHERE id = ANY($1::text[]) AND ended_at IS NULL`,
  values: [legIds],
});

/** A row if the agent of this offer has handed the talk on, or leaves it to do so. */
export const handedOn = (offerId: string): Sql => ({
  name: 'handed_on',
  text: `SELECT 1 FROM transfer
         WHERE offer_id = $1 AND (state IN ('queued', 'ringing', 'consulting', 'completed') OR state = 'over' AND mode = 'blind')`,
  values: [offerId],
});

/** Somebody else who serves the queue is logged on. */
export const isServed = (now: Date, queueId: number, butFor: number): Sql => ({
  name: 'is_served',
  text: `SELECT 1 FROM agent_queue aq JOIN agent a ON a.id = aq.agent_id
         WHERE aq.campaign_id = $2 AND a.id <> $3 AND a.state <> 'logged_off' AND a.lease_until > $1 LIMIT 1`,
  values: [now, queueId, butFor],
});

export interface QueueOfTransfer {
  campaign_id: number;
  attempt: number;
  number: string;
  service_num: string | null;
  queue_key: string;
}

/** What the queue event of a waiting contact needs. */
export const queueOfTransfer = (id: string): Sql => ({
  name: 'queue_of_transfer',
  text: `SELECT k.campaign_id, k.attempt, k.number, cp.service_num, cp.queue_key
         FROM transfer t JOIN call k ON k.call_id = t.call_id JOIN campaign cp ON cp.id = t.queue_id WHERE t.id = $1`,
  values: [id],
});

/** Of a target's leg: the queue in which the contact has waited for it; none for a target that was named. */
export const queueOfLeg = (legId: string): Sql => ({
  name: 'queue_of_leg',
  text: `SELECT cp.service_num, cp.queue_key
         FROM leg l JOIN offer o ON o.id = l.offer_id JOIN transfer t ON t.id = o.transfer_id
         JOIN campaign cp ON cp.id = t.queue_id
         WHERE l.id = $1 AND l.ciq = 'a'`,
  values: [legId],
});

export const legsOfCall = (callId: string): Sql => ({
  name: 'legs_of_call',
  text: `SELECT ${LEG_COLUMNS} FROM leg WHERE call_id = $1 ORDER BY sequence`,
  values: [callId],
});

/** The end of the last of several legs is told once: whoever ends one looks at the others in turn. */
export const lockCall = (callId: string): Sql => ({
  name: 'lock_call',
  text: `SELECT 1 FROM call WHERE call_id = $1 FOR NO KEY UPDATE`,
  values: [callId],
});

const UP = `SELECT id FROM offer WHERE call_id = $1 AND ended_at IS NULL
         UNION SELECT offer_id FROM leg WHERE call_id = $1 AND ended_at IS NULL`;

/** Everyone's offers of a call that are not over, and those that have open legs. */
export const offersUpOfCall = (callId: string): Sql => ({ name: 'offers_up_of_call', text: UP, values: [callId] });

/** The same of a contact who is being handed on and is alone on the line; else none. */
export const strandedOffers = (callId: string): Sql => ({
  text: `SELECT id FROM (${UP}) AS up
         WHERE EXISTS (SELECT FROM transfer WHERE call_id = $1 AND ${OPEN})
           AND NOT EXISTS (SELECT FROM leg
             WHERE call_id = $1 AND ciq IS DISTINCT FROM 'c' AND answered_at IS NOT NULL AND ended_at IS NULL)`,
  values: [callId],
});
