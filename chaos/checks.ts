/** What must hold, asked of the switches' own records, of Temporal and of what readers were told, and of our rows last. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowNotFoundError } from '@temporalio/client';
import { type Dial, inLanes } from '../bench/kit.ts';
import { callOfLeg, contactWorkflowId } from '../domain/ids.ts';
import { type Ended, History } from './history.ts';
import { MAX_ATTEMPTS } from './people.ts';
import { dialsOfInvites, type Invite, type SentLeg } from './invites.ts';
import type { Stage } from './stage.ts';
import type { Told } from './witnesses.ts';

export interface Check {
  what: string;
  /** How many things were looked at; 0 would prove nothing. */
  looked: number;
  /** One line each. */
  violations: string[];
}

/** A leg as a switch has it. */
type SwitchDial = Dial & { to: string; endedAt: number | null };

const PAGE = 1_000;
const LANES = 16;

/** All that the switches have dialled. */
export async function dialsOf(stage: Stage): Promise<SwitchDial[]> {
  const all = stage.switches.map(async ({ node, record, bySip }): Promise<SwitchDial[]> => {
    if (!bySip) return allOf<SwitchDial>(record);
    const invites = await allOf<Invite>(record);
    return dialsOfInvites(invites, await legsOfNode(stage, node), (at) => stage.wasAway(node, at));
  });
  return (await Promise.all(all)).flat();
}

async function allOf<T extends { seq: number }>(record: string): Promise<T[]> {
  const found: T[] = [];
  for (;;) {
    const response = await fetch(`${record}/dials?after=${found.at(-1)?.seq ?? 0}&limit=${PAGE}`);
    const { dials } = (await response.json()) as { dials: T[] };
    found.push(...dials);
    if (dials.length < PAGE) return found;
  }
}

async function legsOfNode({ sql }: Stage, node: string): Promise<SentLeg[]> {
  const { rows } = await sql.query<{ id: string; destination: string; created_at: Date; not_after: Date; ended_at: Date | null }>(
    'SELECT id, destination, created_at, not_after, ended_at FROM leg WHERE node = $1',
    [node],
  );
  return rows.map(({ id, destination, created_at: createdAt, not_after: notAfter, ended_at: endedAt }) => ({
    id,
    destination,
    createdAt: +createdAt,
    notAfter: +notAfter,
    endedAt: endedAt && +endedAt,
  }));
}

// ---- while calls are made, some time after the last fault ------------------------------------------------------------

interface AgentRow {
  id: string;
  state: string;
  since: Date;
}

/** Agents who have no offer that is open, or no leg, or a deadline that has passed. Whoever is just being moved on is not stuck. */
const STUCK_AGENTS = `
  SELECT a.id::text, a.state, a.since FROM agent a LEFT JOIN offer o ON o.id = a.offer_id AND o.ended_at IS NULL
   WHERE a.state IN ('reserved', 'connecting', 'connected')
     AND (o.id IS NULL
       OR a.state = 'reserved' AND o.deadline < $1::timestamptz - interval '10 seconds'
       OR a.state <> 'reserved'
          AND NOT EXISTS (SELECT FROM leg l WHERE l.offer_id = o.id AND l.leg_type <> 'contact' AND l.ended_at IS NULL))`;
const STUCK_AFTER_MS = 5_000;

/** No agent is reserved or connected without a call. */
export async function agentsAreFree({ sql }: Stage): Promise<Check> {
  const look = async () => (await sql.query<AgentRow>(STUCK_AGENTS, [new Date()])).rows;
  const before = await look();
  await sleep(STUCK_AFTER_MS);
  const after = await look();
  const isSame = (one: AgentRow) => (other: AgentRow): boolean => one.id === other.id && +one.since === +other.since;
  const stuck = after.filter((one) => before.some(isSame(one)));
  const { rows } = await sql.query<{ n: number }>('SELECT count(*)::int AS n FROM agent');
  const violations = stuck.map(({ id, state, since }) => `agent ${id} is ${state} since ${since.toISOString()}, without a call`);
  return { what: 'no agent is reserved or connected without a call', looked: rows[0]!.n, violations };
}

interface ContactRow {
  id: string;
  round: number;
  state: string;
  closed: boolean;
}

/** Every contact that is under way has a workflow that lives. */
export const workflowsLive = (stage: Stage): Promise<Check> =>
  workflowsAreRight(stage, 'every contact under way has a live workflow', `state NOT IN ('new', 'starting') AND closed_at IS NULL`);

/** The last task of one may have been lost with several workers in a row, and is waited for then. */
export const workflowsEnd = (stage: Stage): Promise<Check> =>
  workflowsAreRight(stage, 'no closed contact has a live workflow', 'closed_at IS NOT NULL', ENDS_WITHIN_MS);
const ENDS_WITHIN_MS = 60_000;

async function workflowsAreRight(stage: Stage, what: string, which: string, patienceMs = STUCK_AFTER_MS): Promise<Check> {
  const { rows } = await stage.sql.query<ContactRow>(
    `SELECT id, round, state, closed_at IS NOT NULL AS closed FROM contact WHERE ${which}`,
  );
  const violations: string[] = [];
  await inLanes(rows.length, LANES, async (n) => {
    // Each has its time: the last of many is looked at long after its row was read.
    const deadline = performance.now() + patienceMs;
    let wrong = await wrongWorkflow(stage, rows[n]!);
    // It may just have changed, here or there.
    while (wrong !== null && performance.now() < deadline) {
      await sleep(LOOK_AGAIN_MS);
      wrong = await wrongWorkflow(stage, await again(stage, rows[n]!));
    }
    if (wrong !== null) violations.push(wrong);
  });
  return { what, looked: rows.length, violations };
}
const LOOK_AGAIN_MS = 1_000;

async function again({ sql }: Stage, { id }: ContactRow): Promise<ContactRow> {
  const text = `SELECT id, round, state, closed_at IS NOT NULL AS closed FROM contact WHERE id = $1`;
  return (await sql.query<ContactRow>(text, [id])).rows[0]!;
}

async function wrongWorkflow({ temporal }: Stage, { id, round, state, closed }: ContactRow): Promise<string | null> {
  const status = await temporal.workflow
    .getHandle(contactWorkflowId(id, round))
    .describe()
    .then((description) => description.status.name)
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return 'ABSENT';
      throw error;
    });
  if (closed) return status === 'RUNNING' ? `contact ${id} is ${state}, and its workflow goes on: ${await lastOf(temporal, id, round)}` : null;
  return status === 'RUNNING' ? null : `contact ${id} is ${state}, and its workflow is ${status}`;
}

/** The last events of a workflow, with the time of each. */
async function lastOf(temporal: Stage['temporal'], id: string, round: number): Promise<string> {
  const { events } = await temporal.workflow.getHandle(contactWorkflowId(id, round)).fetchHistory();
  const words = (events ?? []).slice(-LAST_EVENTS).map((event) => {
    const [kind] = Object.entries(event).find(([key, value]) => key.endsWith('EventAttributes') && value) ?? ['?'];
    return `${new Date(Number(event.eventTime?.seconds ?? 0) * 1000).toISOString().slice(11, 19)} ${kind.replace('EventAttributes', '')}`;
  });
  return words.join(', ');
}
const LAST_EVENTS = 12;

// ---- when everything is at rest ---------------------------------------------------------------------------------------

export function nobodyTwice(dials: readonly SwitchDial[]): Check {
  const calls = new Map<string, number>();
  const contacts = dials.filter(({ party }) => party === 'contact');
  for (const { legId } of contacts) calls.set(callOfLeg(legId), (calls.get(callOfLeg(legId)) ?? 0) + 1);
  const violations = [...calls].filter(([, n]) => n > 1).map(([call, n]) => `the contact of call ${call} was dialled ${n} times`);
  return { what: 'no contact was dialled twice in a call', looked: calls.size, violations };
}

/**
 * Nobody has two receivers. A switch that was killed has not noted the ends: those say nothing. Nor does a leg whose switch
 * stood still for so long that it counted as lost: it went on there, and nobody could know.
 */
export async function oneRingAtATime({ sql }: Stage, dials: readonly SwitchDial[]): Promise<Check> {
  const { rows } = await sql.query<{ id: string }>(`SELECT id FROM leg WHERE result_reason IN ('switch_lost', 'unknown')`);
  const lost = new Set(rows.map(({ id }) => id));
  const violations: string[] = [];
  const byPhone = Map.groupBy(dials.filter(({ legId, endedAt }) => endedAt !== null && !lost.has(legId)), ({ to }) => to);
  for (const [to, of] of byPhone) {
    of.sort((a, b) => a.at - b.at);
    for (const [n, dial] of of.entries()) {
      const before = of[n - 1];
      if (before && dial.at < before.endedAt!) violations.push(`${to} was called for ${dial.legId} while ${before.legId} went on`);
    }
  }
  return { what: 'no phone was called while it was in another call of ours', looked: dials.length, violations };
}

interface LegRow {
  id: string;
  ended_at: Date | null;
  call_id: string;
  sequence: number;
}

/** Every dial has its row and its event, and nothing is told that was not. */
export async function dialsAreOnRecord({ sql }: Stage, dials: readonly SwitchDial[], told: readonly Told[]): Promise<Check> {
  const { rows } = await sql.query<LegRow>('SELECT id, ended_at, call_id, sequence FROM leg');
  const legs = new Map(rows.map((row) => [row.id, row]));
  const events = new Set(told.filter((row) => row.kind === 'call').map((row) => `${String(row.call_id)} ${String(row.call_sequence)}`));
  const violations = [...new Set(dials.map(({ legId }) => legId))].flatMap((legId) => {
    const leg = legs.get(legId);
    if (!leg) return [`leg ${legId} was dialled, and has no row`];
    if (!leg.ended_at) return [`leg ${legId} was dialled, and has no end`];
    return events.has(`${leg.call_id} ${leg.sequence}`) ? [] : [`leg ${legId} was dialled, and has no event`];
  });
  return { what: 'every dial has its row and its event', looked: dials.length, violations };
}

/** The reader that was cut off has every row once and in order. */
export async function readerMissedNothing({ sql }: Stage, told: readonly Told[]): Promise<Check> {
  const tables = ['call_events', 'agent_events', 'dispositions', 'wrap_ups'];
  const { rows } = await sql.query<{ position: string }>(
    `${tables.map((table) => `SELECT position FROM ${table}`).join(' UNION ALL ')} ORDER BY position`,
  );
  const violations: string[] = [];
  const heard = new Set<string>();
  let before = 0n;
  for (const { position } of told) {
    if (heard.has(position)) violations.push(`position ${position} came twice`);
    else if (BigInt(position) < before) violations.push(`position ${position} came after ${before}`);
    heard.add(position);
    before = BigInt(position);
  }
  const missed = rows.filter(({ position }) => !heard.has(position));
  violations.push(...missed.map(({ position }) => `position ${position} never came`));
  return { what: 'a reader whose connection breaks gets every event once and in order', looked: rows.length, violations };
}

export async function endsAreExplained({ sql }: Stage, told: readonly Told[]): Promise<Check> {
  const { rows } = await sql.query<Ended & { listed: boolean }>(
    `SELECT c.id, c.state, c.ended_reason AS reason, CASE WHEN c.phone_2 IS NULL THEN 1 ELSE 2 END AS numbers,
            EXISTS (SELECT FROM do_not_call d WHERE d.number IN (c.phone_num, c.phone_2)) AS listed
       FROM contact c WHERE c.closed_at IS NOT NULL`,
  );
  const histories = new Map<string, History>();
  for (const row of told) {
    const id = row.contact_id as string | undefined;
    if (!id) continue;
    if (!histories.has(id)) histories.set(id, new History());
    histories.get(id)!.add(row);
  }
  const violations = rows.flatMap((ended) => {
    const history = histories.get(ended.id) ?? new History();
    const why = history.contradicts(ended, MAX_ATTEMPTS, ended.listed);
    return why === null ? [] : [`contact ${ended.id} is ${ended.state}, ${ended.reason}, but ${why}`];
  });
  return { what: "every contact's end follows from its history", looked: rows.length, violations };
}

/** What is left of calls when none is made any more: nothing. */
const LEFT_OVER = `
  SELECT 'contact ' || id || ' is ' || state AS what FROM contact WHERE state IN ('offered', 'dialling', 'talking', 'wrap_up')
  UNION ALL SELECT 'offer ' || id || ' is open' FROM offer WHERE ended_at IS NULL
  UNION ALL SELECT 'leg ' || id || ' has no end' FROM leg WHERE ended_at IS NULL
  UNION ALL SELECT 'leg ' || id || ' was not delivered' FROM leg WHERE ended_at IS NOT NULL AND delivered_at IS NULL AND leg_type = 'contact'
  UNION ALL SELECT 'agent ' || id || ' is ' || state FROM agent WHERE state IN ('reserved', 'connecting', 'connected', 'wrap_up')`;

/** One line each. */
export async function leftOver({ sql, switches }: Stage): Promise<string[]> {
  const { rows } = await sql.query<{ what: string }>(LEFT_OVER);
  const legs = switches.map(async ({ record }) => {
    const answer = (await (await fetch(`${record}/legs`)).json()) as { legs: { legId: string }[] };
    return answer.legs.map(({ legId }) => `leg ${legId} goes on at its switch`);
  });
  return [...rows.map(({ what }) => what), ...(await Promise.all(legs)).flat()];
}
