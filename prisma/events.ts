/** The rows for readers: call events, agent events, dispositions and wrap-ups, in one sequence of positions. */
import type { PoolClient } from 'pg';
import type { LegCode, QueueCode, ResultReason } from '../domain/codes.ts';
import type { AgentState } from '../domain/states.ts';

/** A row of `call_events` without its position (docs/domain.md, "Raw data"). */
export interface CallEventRow {
  call_id: string;
  call_sequence: number;
  event_type: 'i' | 'q' | 'c';
  internal_iq_session_id: string;
  ciq: 'a' | 'c' | null;
  dte_start: Date;
  duration_tot_sec: number;
  dte_speak_start: Date | null;
  duration_speak_sec: number;
  setup_ms: number | null;
  alert_ms: number | null;
  source: string | null;
  destination: string | null;
  originating: string | null;
  service_num: string | null;
  queue_key: string | null;
  agent_id: number | null;
  result_code: LegCode | QueueCode | null;
  result_response: number | null;
  result_reason: ResultReason | null;
  answered: boolean;
  /** 0 or 1: this agent has handed the talk on · the contact was on hold · somebody was asked before that. */
  call_transfer: number;
  hold: number;
  consult: number;
  caller_on_hold_sec: number;
  leg_type: string | null;
  dte_scheduled_callback: Date | null;
  request_id: string | null;
  contact_id: string;
  campaign_id: number;
  attempt: number;
  recording: string | null;
}

export interface AgentEventRow {
  agent_id: number;
  at: Date;
  from_state: AgentState;
  state: AgentState;
  cause: string;
  duration_ms: number;
  offer_id: string | null;
  call_id: string | null;
  result_code: LegCode | null;
  /** Who wanted it: `agent:7`, `key:3`; left out: nobody. */
  changed_by?: string | null;
}

export interface DispositionRow {
  call_id: string;
  agent_id: number;
  contact_id: string;
  campaign_id: number;
  at: Date;
  action: string;
  topics: string[];
  comment: string | null;
  request_id: string;
  reschedule_at: Date | null;
  reschedule_to_agent: boolean | null;
  rules_version: number | null;
}

export interface WrapUpRow {
  call_id: string;
  agent_id: number;
  contact_id: string;
  campaign_id: number;
  started_at: Date;
  wrap_up_sec: number;
  ended_by: string;
  registered: boolean;
}

export type NewEvent =
  | { table: 'call_events'; row: CallEventRow }
  | { table: 'agent_events'; row: AgentEventRow }
  | { table: 'dispositions'; row: DispositionRow }
  | { table: 'wrap_ups'; row: WrapUpRow };

/** Every column that is written, in table order; the others keep their defaults. */
const COLUMNS = {
  call_events: `position, call_id, call_sequence, event_type, internal_iq_session_id, ciq, dte_start, duration_tot_sec,
    dte_speak_start, duration_speak_sec, setup_ms, alert_ms, source, destination, originating, service_num, queue_key,
    agent_id, result_code, result_response, result_reason, answered, call_transfer, hold, consult,
    caller_on_hold_sec, leg_type, dte_scheduled_callback, request_id, contact_id, campaign_id,
    attempt, recording`,
  agent_events: `position, agent_id, at, from_state, state, cause, duration_ms, offer_id, call_id, result_code,
    changed_by`,
  dispositions: `position, call_id, agent_id, contact_id, campaign_id, at, action, topics, comment, request_id,
    reschedule_at, reschedule_to_agent, rules_version`,
  wrap_ups: `position, call_id, agent_id, contact_id, campaign_id, started_at, wrap_up_sec, ended_by, registered`,
} as const;
const TABLES = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[];

/** Channel on which readers are told that there is something new; only a hint, they read by position. */
export const EVENTS_CHANNEL = 'dialwright_events';

/**
 * Gives the events their positions and inserts them. Must be the last statement of a transaction: the counter row stays
 * locked until COMMIT, which is what makes positions follow the order of commits.
 */
export async function writeEvents(client: PoolClient, events: NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const { rows } = await client.query<{ last: string }>({
    name: 'take_positions',
    text: `UPDATE event_position SET last = last + $1 WHERE id = 1 RETURNING last`,
    values: [events.length],
  });
  let position = BigInt(rows[0]!.last) - BigInt(events.length);
  const numbered = events.map((event) => ({ table: event.table, row: { position: String(++position), ...event.row } }));
  for (const table of TABLES) {
    const batch = numbered.filter((event) => event.table === table).map((event) => event.row);
    if (batch.length === 0) continue;
    // json_populate_recordset gives every column its table type, whatever the number of rows.
    const columns = COLUMNS[table];
    await client.query({
      name: `write_${table}`,
      text: `INSERT INTO ${table} (${columns})
             SELECT ${columns} FROM json_populate_recordset(NULL::${table}, $1::json)`,
      values: [JSON.stringify(batch)],
    });
  }
  const agents = new Set(events.flatMap((event) => (event.table === 'agent_events' ? [event.row.agent_id] : [])));
  await client.query({
    name: 'notify_events',
    text: `SELECT pg_notify('${EVENTS_CHANNEL}', $1)`,
    values: [agents.size > 0 && agents.size <= 100 ? [...agents].join(',') : ''],
  });
}
