/**
 * The streams of agents: what each desktop is shown, read by position from agent_events, so that a reader who comes
 * back misses nothing. However many streams are open, a hint costs one statement for all that it concerns.
 */
import { rulesOfCall } from '../domain/rules-of-call.ts';
import { isZone } from '../domain/zone-time.ts';
import { placeOf } from '../domain/zones.ts';
import type { Deps } from './http.ts';
import { notFound } from './problems.ts';
import * as sql from './sql.ts';
import type { EventStream } from './sse.ts';
import { createStreams } from './streams.ts';

const PAGE = 100;
/** The lease lasts 30 s; a tick is 5 s. */
const RENEW_TICKS = 2;

export interface Reader {
  agentId: number;
  /** The reader is the agent, or a supervisor in the agent's place: while it is open, the agent stays logged on. */
  renews: boolean;
  /** The key with which it was opened; `0`: a ticket. */
  keyId: number;
}

interface Open extends Reader {
  stream: EventStream;
  position: string;
}

export interface AgentStreams {
  /**
   * `after`: the position to go on from; without one it begins with the present state. `begin` is called once the agent
   * has been found; throws NOT_FOUND.
   */
  open(reader: Reader, after: string | undefined, begin: () => EventStream): Promise<void>;
}

export function createAgentStreams(deps: Deps): AgentStreams {
  const { db, matching, log } = deps;
  const due = new Set<Open>();
  let reading = false;

  const streams = createStreams<Open>(deps, {
    hint: (agents) => lookFor([...streams.open].filter(({ agentId }) => agents === null || agents.includes(agentId))),
    tick: (tick) => tick % RENEW_TICKS === 0 && renew([...streams.open]),
  });

  function lookFor(readers: Open[]): void {
    for (const reader of readers) due.add(reader);
    if (!reading && due.size > 0) void readAll();
  }

  async function readAll(): Promise<void> {
    reading = true;
    try {
      while (due.size > 0) {
        const readers = [...due];
        due.clear();
        await read(readers.filter(({ stream }) => !stream.closed));
      }
    } catch (error) {
      log.warn({ err: error }, 'news of agents could not be read; the next look repeats it');
    } finally {
      reading = false;
    }
  }

  async function read(readers: Open[]): Promise<void> {
    const agentIds = readers.map((reader) => reader.agentId);
    const after = readers.map((reader) => reader.position);
    const { rows } = await db.pool.query<sql.AgentNews>(sql.agentNews(agentIds, after, PAGE));
    const pops = await screenPops(rows);
    const given = readers.map(() => 0);
    for (const row of rows) {
      const reader = readers[row.nth - 1]!;
      show(reader, row.position, { ...row, since: row.at }, pops);
      if (++given[row.nth - 1]! === PAGE) due.add(reader);
    }
  }

  /** The position goes with the last message, so a reader who loses the connection in between gets both again. */
  function show(reader: Open, position: string, news: Shown, pops: Map<string, object>): void {
    const state = { event: 'state', data: newsJson(news) };
    const pop = news.state === 'reserved' && pops.get(news.offer_id ?? '');
    if (pop) reader.stream.send(state, { id: position, event: 'offer', data: pop });
    else reader.stream.send({ id: position, ...state });
    reader.position = position;
  }

  async function screenPops(news: Pick<Shown, 'state' | 'offer_id'>[]): Promise<Map<string, object>> {
    const offerIds = news.flatMap(({ state, offer_id }) => (state === 'reserved' && offer_id ? [offer_id] : []));
    if (offerIds.length === 0) return new Map();
    const { rows } = await db.pool.query<sql.ScreenPopRow>(sql.screenPops(offerIds));
    const now = db.clock.now();
    return new Map(rows.map((row) => [row.offer_id, screenPopJson(row, now)]));
  }

  function renew(readers: Open[]): void {
    const agents = readers.filter((reader) => reader.renews).map((reader) => reader.agentId);
    if (agents.length === 0) return;
    matching.renewLease([...new Set(agents)]).catch((error: unknown) => {
      log.warn({ err: error }, 'leases could not be renewed; will be repeated');
    });
  }

  return {
    async open(reader, after, begin) {
      const { rows } = await db.pool.query<sql.AgentNow>(sql.agentNow(reader.agentId));
      const now = rows[0];
      if (!now) throw notFound('agent');
      // A position that has not been reached yet is of another database: begin afresh.
      const goesOn = after !== undefined && BigInt(after) <= BigInt(now.last);
      const pops = await screenPops(goesOn ? [] : [now]);
      const entered: Open = { ...reader, stream: begin(), position: goesOn ? after : now.position };
      if (!goesOn) show(entered, now.position, { ...now, until: now.state_until, result_code: null }, pops);
      streams.add(entered);
      renew([entered]);
      lookFor([entered]);
    },
  };
}

type Shown = Pick<sql.AgentNews, 'state' | 'cause' | 'until' | 'next_state' | 'call_id' | 'offer_id' | 'result_code'> & {
  since: Date;
};

function newsJson({ state, since, cause, until, next_state, call_id, offer_id, result_code }: Shown): object {
  return { state, since, until, next_state, cause, call_id, offer_id, result_code };
}

function screenPopJson({ rules, rules_at_first_offer, contact_zone, campaign_zone, ...row }: sql.ScreenPopRow, now: Date): object {
  const { zones } = placeOf(contact_zone, row.number, campaign_zone);
  return {
    ...row,
    campaign_id: String(row.campaign_id),
    topics: rulesOfCall({ rules, rules_at_first_offer }).topics,
    history: row.history.map(({ at, code }) => ({ at: new Date(at).toISOString(), code })),
    zones,
    local_time: localTime(now, zones),
  };
}

/**
 * `2026-11-24T14:03:09` in the zones; null where their clocks differ. Swedish is the language in which dates are written as in
 * ISO 8601.
 */
export function localTime(now: Date, zones: readonly string[]): string | null {
  const times = new Set(zones.filter(isZone).map((timeZone) => now.toLocaleString('sv-SE', { timeZone }).replace(' ', 'T')));
  const [time = null] = times;
  return times.size === 1 ? time : null;
}
