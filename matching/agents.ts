/** Agents' states: every change goes through `changeAgent`, which writes the agent event beside it. */
import type { LegCode } from '../domain/codes.ts';
import { AppError } from '../domain/errors.ts';
import { AGENT_ENGAGED, AGENT_RESTING, type AgentState } from '../domain/states.ts';
import type { AgentEventRow } from '../prisma/events.ts';
import { recordRepair } from '../prisma/repairs.ts';
import type { Tx } from '../prisma/tx.ts';
import * as sql from './sql.ts';

/** Logged on while a stream or heartbeat renews the lease within this time (docs/domain.md, "Agents"). */
export const LEASE_MS = 30_000;

export interface AgentRow {
  id: number;
  state: AgentState;
  since: Date;
  cause: string;
  offer_id: string | null;
  next_state: 'paused' | 'logged_off' | null;
  /** Who wants that. */
  next_by: string | null;
  lease_until: Date | null;
  state_until: Date | null;
  missed_in_row: number;
  errors_in_row: number;
}

export interface AgentChange {
  state: AgentState;
  cause: string;
  /** The offer the agent is engaged with from now on; null: free. */
  offerId?: string | null;
  nextState?: 'paused' | 'logged_off' | null;
  stateUntil?: Date | null;
  missedInRow?: number;
  errorsInRow?: number;
  /** Of the leg that led to the change. */
  resultCode?: LegCode | null;
  /** The call the change belongs to. */
  callId?: string | null;
  /** Who wants it: `agent:7`, `key:3`. Left out: whoever wanted the next state, where this is it. */
  by?: string | null;
}

/** Writes the new state and its event. `agent` must be locked by this transaction; what `to` leaves out is kept. */
export async function changeAgent(tx: Tx, agent: AgentRow, to: AgentChange): Promise<void> {
  const offerId = to.offerId === undefined ? agent.offer_id : to.offerId;
  const at = changeTime(tx, agent);
  await tx.run(
    sql.writeAgent(at, agent.id, {
      state: to.state,
      cause: to.cause,
      offerId,
      nextState: to.nextState === undefined ? agent.next_state : to.nextState,
      stateUntil: to.stateUntil ?? null,
      missedInRow: to.missedInRow ?? agent.missed_in_row,
      errorsInRow: to.errorsInRow ?? agent.errors_in_row,
    }),
  );
  recordAgentEvent(tx, agent, {
    at,
    state: to.state,
    cause: to.cause,
    offer_id: offerId ?? agent.offer_id,
    call_id: to.callId ?? null,
    result_code: to.resultCode ?? null,
    changed_by: to.by ?? (to.state === agent.next_state ? agent.next_by : null),
  });
}

/**
 * A transaction's time is that of its beginning, before it waited for the agent's row, and workers' clocks differ; but an
 * agent's own time never goes back, or the durations would not add up.
 */
const changeTime = (tx: Tx, { since }: Pick<AgentRow, 'since'>): Date => (since > tx.now ? since : tx.now);

export function recordAgentEvent(
  tx: Tx,
  from: Pick<AgentRow, 'id' | 'state' | 'since'>,
  to: Omit<AgentEventRow, 'agent_id' | 'from_state' | 'duration_ms'>,
): void {
  const duration_ms = to.at.getTime() - from.since.getTime();
  tx.record({ table: 'agent_events', row: { agent_id: from.id, from_state: from.state, duration_ms, ...to } });
}

export interface EndedWrapUp {
  contactId: string;
  round: number;
  callId: string;
  agentId: string;
}

/** Ends an agent's wrap-up: its row for readers, and the next state. Returns the contact whose wrap-up it was. */
export async function endWrapUp(
  tx: Tx,
  agent: AgentRow,
  state: AgentState,
  { cause, by }: Who,
): Promise<EndedWrapUp | null> {
  const wrapUp = agent.offer_id
    ? await tx.row<{ call_id: string; contact_id: string; campaign_id: number; round: number; registered: boolean }>(
        sql.wrapUpOf(agent.offer_id),
      )
    : undefined;
  await changeAgent(tx, agent, { state, cause, offerId: null, nextState: null, callId: wrapUp?.call_id ?? null, by });
  if (!wrapUp) return null;
  const { call_id, contact_id, campaign_id, round, registered } = wrapUp;
  const wrap_up_sec = Math.round((changeTime(tx, agent).getTime() - agent.since.getTime()) / 1000);
  tx.record({
    table: 'wrap_ups',
    row: {
      call_id,
      agent_id: agent.id,
      contact_id,
      campaign_id,
      started_at: agent.since,
      wrap_up_sec,
      ended_by: cause,
      registered,
    },
  });
  return { contactId: contact_id, round, callId: call_id, agentId: String(agent.id) };
}

export type Wanted = 'ready' | 'paused' | 'logged_off';

/** Who wants something of an agent: as the agent event says it (`agent`, `supervisor`), and by name (`agent:7`, `key:3`). */
export interface Who {
  cause: string;
  by: string | null;
}

export interface WishOutcome {
  agent: AgentRow;
  /** The wrap-up that the wish has ended. */
  wrapUp: EndedWrapUp | null;
  /** The agent's phone is ringing for an offer that must be withdrawn. */
  withdraw: boolean;
}

/**
 * What an agent (or a supervisor) wants: at once where the agent is free, else after the offer or call, wrap-up
 * included (docs/domain.md, "Agents"). Readiness ends a wrap-up; logging off withdraws a ringing offer. What a supervisor
 * has ordered for after the call is not taken back by the agent.
 */
export async function applyWish(tx: Tx, agentId: number, want: Wanted, who: Who): Promise<WishOutcome> {
  const agent = await tx.row<AgentRow>(sql.lockAgent(agentId));
  if (!agent) throw new AppError('NOT_FOUND', `there is no agent ${agentId}`);
  let wrapUp: WishOutcome['wrapUp'] = null;
  let withdraw = false;
  const ordered = orderedFor(agent, who);
  if (!AGENT_ENGAGED.includes(agent.state)) {
    if (agent.state !== want) await changeFreeAgent(tx, agent, want, who);
  } else if (want === 'ready') {
    const whose = ordered ? { ...who, by: agent.next_by } : who;
    if (agent.state === 'wrap_up') wrapUp = await endWrapUp(tx, agent, ordered ?? 'ready', whose);
    else if (agent.next_state !== null && !ordered) await tx.run(sql.wishNextState(tx.now, agent.id, null, null));
  } else if (ordered !== 'logged_off') {
    await tx.run(sql.wishNextState(tx.now, agent.id, want, who.by));
    withdraw = want === 'logged_off' && agent.state === 'reserved';
  }
  const after = await tx.row<AgentRow>(sql.lockAgent(agentId));
  return { agent: after!, wrapUp, withdraw };
}

/** The next state, where a supervisor wants it and it is now the agent who wants something. */
const orderedFor = (agent: AgentRow, { cause }: Who): AgentRow['next_state'] =>
  cause === 'agent' && agent.next_by?.startsWith('key:') ? agent.next_state : null;

/** A supervisor's pause: it does not bring back who is logged off, nor keep who is leaving. Throws CONFLICT. */
export async function pausePresent(tx: Tx, agentId: number, who: Who): Promise<AgentRow> {
  const agent = await tx.row<AgentRow>(sql.lockAgent(agentId));
  if (agent?.state === 'logged_off') {
    throw new AppError('CONFLICT', 'this agent is logged off: there is nothing to pause', { state: agent.state });
  }
  if (agent?.next_state === 'logged_off') return agent;
  return (await applyWish(tx, agentId, 'paused', who)).agent;
}

async function changeFreeAgent(tx: Tx, agent: AgentRow, want: Wanted, who: Who): Promise<void> {
  // A log-on starts the counters afresh; so does coming back by oneself from a rest or pause.
  const fresh = want === 'ready' ? { missedInRow: 0, errorsInRow: 0 } : {};
  await changeAgent(tx, agent, { state: want, ...who, offerId: null, nextState: null, ...fresh });
}

/** Every worker looks once a second for what is due: if it took longer, none did. */
const HELD_MS = 10_000;

/** Something of an agent should have been seen to at that time. */
export const repairedAgent = (tx: Tx, cause: 'agent_held' | 'agent_lost' | 'log_off_missed', agentId: number, at: Date) =>
  recordRepair(tx, { cause, subject: `agent/${agentId}`, occasion: at.toISOString() });

/** Serves an agent whose wrap-up or rest is over by now; does nothing if it was extended or ended meanwhile. */
export async function endDueState(tx: Tx, agentId: number): Promise<WishOutcome['wrapUp']> {
  const agent = await tx.row<AgentRow>(sql.lockAgent(agentId));
  if (!agent?.state_until || agent.state_until > tx.now) return null;
  if (tx.now.getTime() - agent.state_until.getTime() > HELD_MS) await repairedAgent(tx, 'agent_held', agentId, agent.state_until);
  const next = agent.next_state ?? 'ready';
  if (agent.state === 'wrap_up') return endWrapUp(tx, agent, next, { cause: 'timer', by: null });
  if (AGENT_RESTING.includes(agent.state)) {
    await changeAgent(tx, agent, { state: next, cause: 'rested', offerId: null, nextState: null });
  }
  return null;
}
