/** Reading the rows for readers (call events, agent events, dispositions, wrap-ups), merged by their one sequence of positions. */
import type { Pool } from 'pg';
import type { Sql } from './tx.ts';

/** Each kind's table, and its columns as they are given out: ids as strings, bigint durations as numbers. */
const TABLES = {
  call: {
    table: 'call_events',
    columns: `position, call_id, call_sequence, event_type, internal_iq_session_id, ciq, dte_start, duration_tot_sec,
      dte_speak_start, duration_speak_sec, setup_ms, alert_ms, source, destination, originating, service_num, queue_key,
      agent_id::text, result_code, result_response, result_reason, answered, call_transfer, hold, consult,
      caller_on_hold_sec, leg_type, dte_scheduled_callback, request_id, contact_id, campaign_id::text, attempt, recording`,
  },
  agent: {
    table: 'agent_events',
    columns: `position, agent_id::text, at, from_state, state, cause, duration_ms::float8, offer_id, call_id, result_code,
      changed_by`,
  },
  disposition: {
    table: 'dispositions',
    columns: `position, call_id, agent_id::text, contact_id, campaign_id::text, at, action, topics, comment, request_id,
      reschedule_at, reschedule_to_agent, rules_version`,
  },
  wrap_up: {
    table: 'wrap_ups',
    columns: `position, call_id, agent_id::text, contact_id, campaign_id::text, started_at, wrap_up_sec, ended_by, registered`,
  },
} as const;
export type EventKind = keyof typeof TABLES;

export interface EventRow {
  kind: EventKind;
  position: string;
  [column: string]: unknown;
}

export interface EventFilter {
  kinds: readonly EventKind[];
  /** Rows of these only; empty: of every campaign. Agent events are of none. */
  campaignIds: readonly number[];
}

export interface EventPage {
  items: EventRow[];
  /** Position to go on from. */
  next: string;
  /** There may be more after `next` already. */
  more: boolean;
}

/** Every position up to this one is committed, and so is seen by the statements that follow. */
export async function lastPosition(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ last: string }>({
    name: 'last_position',
    text: `SELECT last FROM event_position WHERE id = 1`,
  });
  return rows[0]!.last;
}

/**
 * The next rows of these kinds after a position, at most `limit`.
 *
 * The last position is read first: what it covers is committed and seen by every statement after, so the tables need no
 * common snapshot, and what is committed meanwhile is left for the next page.
 */
export async function readEvents(
  { pool }: { pool: Pool },
  kinds: readonly EventKind[],
  after: string,
  limit: number,
): Promise<EventPage> {
  const last = await lastPosition(pool);
  if (BigInt(last) <= BigInt(after)) return { items: [], next: after, more: false };
  const items = await readBetween(pool, { kinds, campaignIds: [] }, after, last, limit);
  const more = items.length === limit;
  return { items, next: more ? items.at(-1)!.position : last, more };
}

/** Rows after one position and up to another, which `lastPosition` has covered; the first `limit` of them. */
export async function readBetween(
  pool: Pool,
  { kinds, campaignIds }: EventFilter,
  after: string,
  upTo: string,
  limit: number,
): Promise<EventRow[]> {
  const readTable = async (kind: EventKind) => {
    const { rows } = await pool.query<EventRow>(eventsBetween(kind, campaignIds, after, upTo, limit));
    return rows.map((row) => ({ ...row, kind }));
  };
  const pages = await Promise.all(kinds.map(readTable));
  return pages.flat().sort(byPosition).slice(0, limit);
}

function eventsBetween(
  kind: EventKind,
  campaignIds: readonly number[],
  after: string,
  upTo: string,
  limit: number,
): Sql {
  const { table, columns } = TABLES[kind];
  const ofSome = campaignIds.length > 0;
  return {
    name: `events_of_${table}${ofSome ? '_by_campaign' : ''}`,
    text: `SELECT ${columns} FROM ${table} WHERE position > $1 AND position <= $2
           ${ofSome ? 'AND campaign_id = ANY($4::int[])' : ''} ORDER BY position LIMIT $3`,
    values: [after, upTo, limit, ...(ofSome ? [campaignIds] : [])],
  };
}

function byPosition(a: EventRow, b: EventRow): number {
  return BigInt(a.position) < BigInt(b.position) ? -1 : 1;
}
