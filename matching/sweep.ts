/**
 * Matching's share of the sweep, once a second in every worker: the guarantee behind the edges. Each step is guarded by
 * the row it changes, so that two workers sweeping at once do no harm.
 */
import { AGENT_ENGAGED } from '../domain/states.ts';
import { inTx } from '../prisma/tx.ts';
import { type AgentRow, changeAgent, endDueState } from './agents.ts';
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
    'leaving agents': () => serveLeavingAgents(deps),
    'offers not told': () => tellOffers(deps),
    matching: () => matchReady(deps, matching),
  };
}

async function tellOffers(deps: TellDeps): Promise<void> {
  const before = new Date(deps.db.clock.now().getTime() - TELL_AFTER_MS);
  const { rows } = await deps.db.pool.query<Announcement>(sql.unannounced(before));
  await Promise.all(rows.map((offer) => announce(deps, offer)));
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

/** Agents whose lease has lapsed: logged off, or as soon as their call is finished; a ringing offer is withdrawn. */
async function serveLostAgents(deps: TellDeps): Promise<void> {
  const { rows } = await deps.db.pool.query<{ id: number }>(sql.agentsLost(deps.db.clock.now()));
  for (const { id } of rows) {
    const ringing = await inTx(deps.db, async (tx) => {
      const agent = await tx.row<AgentRow>(sql.lockAgent(id));
      if (!agent?.lease_until || agent.lease_until > tx.now || agent.state === 'logged_off') return false;
      if (AGENT_ENGAGED.includes(agent.state)) {
        await tx.run(sql.wishNextState(tx.now, id, 'logged_off'));
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
  for (const { id, lost } of rows) await tellGone(deps, id, lost ? 'agent_lost' : 'agent_logged_off');
}
