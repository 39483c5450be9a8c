/** Contacts entering and leaving the queue, with the events that readers see of it. */
import type { ResultReason } from '../domain/codes.ts';
import { sessionId } from '../domain/ids.ts';
import type { CallEventRow } from '../prisma/events.ts';
import type { Tx } from '../prisma/tx.ts';
import * as sql from './sql.ts';

/** Queues these contacts, each with a new call, and records `i` and `q`/`q`. Returns the ids that were queued. */
export async function enqueueContacts(tx: Tx, contactIds: string[], from: sql.Entering): Promise<string[]> {
  const entered = await tx.rows<sql.Entered>(sql.enqueue(tx.now, contactIds, from));
  for (const call of entered) {
    const row = queueingRow(call, tx.now);
    tx.record({ table: 'call_events', row: { ...row, call_sequence: 1, event_type: 'i', result_code: null } });
    tx.record({ table: 'call_events', row: { ...row, call_sequence: 2, event_type: 'q', result_code: 'q' } });
  }
  return entered.map((call) => call.contact_id);
}

/** Ends open calls by a decision taken before contact and agent were connected: the extra queue event `d`. */
export async function endCalls(tx: Tx, callIds: string[], reason: ResultReason): Promise<void> {
  for (const call of await tx.rows<sql.EndedCall>(sql.endCallsByDecision(tx.now, callIds, reason))) {
    tx.record({
      table: 'call_events',
      row: {
        ...queueingRow(call, call.queued_at),
        call_sequence: call.call_sequence,
        event_type: 'q',
        result_code: 'd',
        result_reason: reason,
        duration_tot_sec: Math.round((tx.now.getTime() - call.queued_at.getTime()) / 1000),
      },
    });
  }
}

/** What the events of session S1 have in common. */
function queueingRow(
  call: sql.Entered,
  start: Date,
): Omit<CallEventRow, 'call_sequence' | 'event_type' | 'result_code'> {
  return {
    call_id: call.call_id,
    internal_iq_session_id: sessionId(call.call_id, 'queueing'),
    ciq: null,
    dte_start: start,
    duration_tot_sec: 0,
    dte_speak_start: null,
    duration_speak_sec: 0,
    setup_ms: null,
    alert_ms: null,
    source: call.number,
    destination: call.service_num ?? call.queue_key,
    originating: null,
    service_num: call.service_num,
    queue_key: call.queue_key,
    dte_scheduled_callback: call.scheduled_at,
    agent_id: null,
    result_response: null,
    result_reason: null,
    answered: false,
    call_transfer: 0,
    hold: 0,
    consult: 0,
    caller_on_hold_sec: 0,
    leg_type: null,
    request_id: null,
    contact_id: call.contact_id,
    campaign_id: call.campaign_id,
    attempt: call.attempt,
    recording: null,
  };
}
