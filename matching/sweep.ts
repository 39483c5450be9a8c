/**
 * Matching's share of the sweep, once a second in every worker: the guarantee behind the edges. Each step is guarded by
 * the row it changes, so that two workers sweeping at once do no harm.
 */
import { nextTimeOfDay } from '../domain/hours.ts';
import { AGENT_ENGAGED } from '../domain/states.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { inTx } from '../prisma/tx.ts';
import { type AgentRow, applyWish, changeAgent, endDueState, repairedAgent } from './agents.ts';
import { endCapWaits } from './caps.ts';
import { renewWindows } from './hours.ts';
import { agentsForLive } from './live.ts';
import type { Matching } from './matching.ts';
import * as sql from './sql.ts';
import { announce, type Announcement, tellGone, tellWrapUpEnded, type TellDeps } from './tell.ts';

/** How long whoever made an offer, or ends it, has for telling the workflow itself. */
const TELL_AFTER_MS = 3_000;

/** Serves everyone whose time has come, repeats what was not told, and matches every queue that can be matched. */
export function matchingSteps(deps: TellDeps, matching: Matching): Record<string, () => Promise<void>> {
  return {
    'due agents': () => serveDueAgents(deps),
    'lost agents': () => serveLostAgents(deps),
    'daily log-off': () => logOffDaily(deps),
    'leaving agents': () => serveLeavingAgents(deps),
    'offers not told': () => tellOffers(deps),
    'calling hours': () => renewWindows(deps.db),
    caps: () => endCapWaits(deps.db, matching),
    'live contacts': () => matchLive(deps, matching),
    matching: () => matchReady(deps, matching),
  };
}

async function tellOffers(deps: TellDeps): Promise<void> {
  const before = new Date(deps.db.clock.now().getTime() - TELL_AFTER_MS);
  const { rows } = await deps.db.pool.query<Announcement>(sql.unannounced(before));
  await Promise.all(rows.map((offer) => announce(deps, offer, true)));
}

/** Whoever waits on the line: no node need be free for a call that there is. */
async function matchLive({ db }: TellDeps, matching: Matching): Promise<void> {
  const { rows } = await db.pool.query<{ agent_id: number }>(agentsForLive(db.clock.now()));
  for (const { agent_id } of rows) await matching.matchAgent(agent_id);
}

async function matchReady({ db }: TellDeps, matching: Matching): Promise<void> {
  const { rows } = await db.pool.query<{ id: number }>(sql.agentsToMatch(db.clock.now()));
  for (const { id } of rows) {
    // Nodes that were full are so for everyone.
    if ((await matching.matchAgent(id)) === 'no_node') break;
  }
}

/**
 * Makes the calls that were held back by a node's calls a second and are due by now. Returns when the next one is; null:
 * nobody waits for it.
 */
export async function matchPaced({ db }: Pick<TellDeps, 'db'>, matching: Matching): Promise<Date | null> {
  const nextAt = async () => {
    const now = db.clock.now();
    const { rows } = await db.pool.query<{ at: Date | null }>(sql.nextCallAt(now));
    return { at: rows[0]!.at, isDue: rows[0]!.at !== null && rows[0]!.at <= now };
  };
  const { at, isDue } = await nextAt();
  if (!isDue) return at;
  return (await matching.matchWaiting()) === 'no_node' ? (await nextAt()).at : null;
}

/** Wrap-up and rest that are over. */
async function serveDueAgents(deps: TellDeps): Promise<void> {
  const { rows } = await deps.db.pool.query<{ id: number }>(sql.agentsDue(deps.db.clock.now()));
  for (const { id } of rows) {
    const wrapUp = await inTx(deps.db, (tx) => endDueState(tx, id));
    if (wrapUp) await tellWrapUpEnded(deps, wrapUp);
  }
}

const LOG_OFF_WITHIN_MS = 600_000;

/** Agents whose time of day has come: as if they had wanted it, so a call is finished first. */
async function logOffDaily(deps: TellDeps): Promise<void> {
  const { rows } = await deps.db.pool.query<sql.LogOffDue>(sql.logOffsDue(deps.db.clock.now()));
  for (const { id, time, zone, at } of rows) {
    const wish = await inTx(deps.db, async (tx) => {
      const next = nextTimeOfDay(time, zone, tx.now.getTime());
      if ((await tx.run(sql.setNextLogOff(tx.now, id, next === null ? null : new Date(next)))) === 0) return null;
      // Nobody was there to do it in time: whoever has logged on since then is not meant.
      if (tx.now.getTime() - at.getTime() > LOG_OFF_WITHIN_MS) {
        const agent = await tx.row<AgentRow>(sql.readAgent(id));
        if (agent?.state !== 'logged_off') await repairedAgent(tx, 'log_off_missed', id, at);
        return null;
      }
      return applyWish(tx, id, 'logged_off', { cause: 'time_of_day', by: null });
    });
    if (wish?.withdraw) await tellGone(deps, id, 'agent_logged_off');
  }
}

/** Agents whose lease has lapsed: logged off, or as soon as their call is finished; a ringing offer is withdrawn. */
async function serveLostAgents(deps: TellDeps): Promise<void> {
  const { rows } = await deps.db.pool.query<{ id: number }>(sql.agentsLost(deps.db.clock.now()));
  for (const { id } of rows) {
    const ringing = await inTx(deps.db, async (tx) => {
      const agent = await tx.row<AgentRow>(sql.lockAgent(id));
      if (!agent?.lease_until || agent.lease_until > tx.now || agent.state === 'logged_off') return false;
      if (AGENT_ENGAGED.includes(agent.state)) {
        // Of others it is daily life: a browser was closed.
        await repairedAgent(tx, 'agent_lost', id, agent.lease_until);
        await tx.run(sql.wishNextState(tx.now, id, 'logged_off', null));
        return agent.state === 'reserved';
      }
      await changeAgent(tx, agent, { state: 'logged_off', cause: 'agent_lost', offerId: null, nextState: null });
      return false;
    });
    if (ringing) await tellGone(deps, id, 'agent_lost');
  }
}

/** Agents who left while their phone rang, when the workflow could not be told at once. */
async function serveLeavingAgents(deps: TellDeps): Promise<void> {
  const now = deps.db.clock.now();
  const before = new Date(now.getTime() - TELL_AFTER_MS);
  const { rows } = await deps.db.pool.query<{ id: number; lost: boolean }>(sql.agentsLeaving(now, before));
  for (const { id, lost } of rows) {
    for (const offer of await tellGone(deps, id, lost ? 'agent_lost' : 'agent_logged_off')) {
      await inTx(deps.db, (tx) => recordRepair(tx, { cause: 'leaving_not_told', subject: `offer/${offer}` }));
    }
  }
}
