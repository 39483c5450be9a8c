/** The rows for readers (call events, agent events, dispositions, wrap-ups), merged by their one sequence of positions. */
import type { Db } from '../prisma/tx.ts';
import { EVENT_SCHEMAS, type EventKind } from './schemas.ts';
import * as sql from './sql.ts';

export interface EventRow {
  kind: EventKind;
  position: string;
  [column: string]: unknown;
}

export interface EventPage {
  items: EventRow[];
  /** Position to go on from. */
  next: string;
  /** There may be more after `next` already. */
  more: boolean;
}

const TABLES: Readonly<Record<EventKind, string>> = {
  call: 'call_events',
  agent: 'agent_events',
  disposition: 'dispositions',
  wrap_up: 'wrap_ups',
};

/** Columns as the API gives them: ids as strings, durations that PostgreSQL keeps as bigint as numbers. */
const columnsOf = (kind: EventKind): string[] =>
  Object.keys(EVENT_SCHEMAS[kind].shape)
    .filter((name) => name !== 'kind')
    .map((name) => {
      if (name === 'agent_id' || name === 'campaign_id') return `${name}::text`;
      return name === 'duration_ms' ? 'duration_ms::float8' : name;
    });
const COLUMNS = Object.fromEntries(Object.keys(TABLES).map((kind) => [kind, columnsOf(kind as EventKind)]));

/**
 * The next rows of these kinds after a position, at most `limit`.
 *
 * The last position is read first: what it covers is committed and seen by every statement after, so the tables need no
 * common snapshot, and what is committed meanwhile is left for the next page.
 */
export async function readEvents(
  { pool }: Pick<Db, 'pool'>,
  kinds: readonly EventKind[],
  after: string,
  limit: number,
): Promise<EventPage> {
  const { rows } = await pool.query<{ last: string }>(sql.lastPosition);
  const last = rows[0]!.last;
  if (BigInt(last) <= BigInt(after)) return { items: [], next: after, more: false };
  const pages = await Promise.all(kinds.map((kind) => readTable(pool, kind, after, last, limit)));
  const items = pages.flat().sort(byPosition).slice(0, limit);
  const more = items.length === limit;
  return { items, next: more ? items.at(-1)!.position : last, more };
}

async function readTable(pool: Db['pool'], kind: EventKind, after: string, last: string, limit: number) {
  const { rows } = await pool.query<EventRow>(sql.eventsBetween(TABLES[kind], COLUMNS[kind]!, after, last, limit));
  return rows.map((row) => ({ ...row, kind }));
}

function byPosition(a: EventRow, b: EventRow): number {
  return BigInt(a.position) < BigInt(b.position) ? -1 : 1;
}
