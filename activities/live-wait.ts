/** The wait of a contact who is on the line, in the raw data: one queue event when it is over (docs/domain.md, "Transfers"). */
import type { LiveCode } from '../domain/codes.ts';
import { sessionId } from '../domain/ids.ts';
import type { Tx } from '../prisma/tx.ts';
import * as transferSql from './transfer-sql.ts';

/** `agentId`: who answered. */
export async function recordLiveWait(
  tx: Tx,
  transfer: transferSql.TransferRow,
  code: LiveCode,
  agentId: number | null,
): Promise<void> {
  const queue = (await tx.row<transferSql.QueueOfTransfer>(transferSql.queueOfTransfer(transfer.id)))!;
  const { call_id, contact_id, sequence, queued_at } = transfer;
  tx.record({
    table: 'call_events',
    row: {
      call_id,
      call_sequence: sequence!,
      event_type: 'q',
      internal_iq_session_id: sessionId(call_id, 'legs'),
      ciq: null,
      dte_start: queued_at!,
      duration_tot_sec: Math.max(0, Math.round((tx.now.getTime() - queued_at!.getTime()) / 1000)),
      dte_speak_start: null,
      duration_speak_sec: 0,
      setup_ms: null,
      alert_ms: null,
      source: queue.number,
      destination: queue.service_num ?? queue.queue_key,
      originating: null,
      service_num: queue.service_num,
      queue_key: queue.queue_key,
      agent_id: agentId,
      result_code: code,
      result_response: null,
      result_reason: null,
      answered: code === 'k',
      call_transfer: 0,
      hold: 0,
      consult: 0,
      caller_on_hold_sec: 0,
      leg_type: null,
      dte_scheduled_callback: null,
      request_id: null,
      contact_id,
      campaign_id: queue.campaign_id,
      attempt: queue.attempt,
      recording: null,
    },
  });
}
