/**
 * Who gets which contact. It runs on every edge (contact queued, agent ready or released, start, resume) for speed; the
 * guarantee is the sweep (sweep.ts), which runs the same once a second.
 */
import type { AgentState } from '../domain/states.ts';
import { inTx, type Sql, type Tx } from '../prisma/tx.ts';
import { applyWish, LEASE_MS, recordAgentEvent, type Wanted } from './agents.ts';
import * as sql from './sql.ts';
import { announce, type Announcement, tellGone, tellWrapUpEnded, type TellDeps } from './tell.ts';

export interface Matching {
  /** Advisory lock of a campaign's queue, held to the end of the transaction. */
  lockQueue(tx: Tx, campaignId: number): Promise<void>;
  /** Matches until dry; safe to call at any time. Never throws: what fails is logged and left to the sweep. */
  matchCampaign(campaignId: number): Promise<void>;
  matchAgent(agentId: number): Promise<void>;
  /** What an agent or a supervisor wants: at once or, while the agent is engaged, as next_state. Throws NOT_FOUND. */
  setAgentState(agentId: number, want: Wanted, cause: string): Promise<AgentView>;
  /** Renews the leases of those who are logged on; returns their ids. */
  renewLease(agentIds: number[]): Promise<number[]>;
}

export interface AgentView {
  state: AgentState;
  next_state: string | null;
  since: Date;
  state_until: Date | null;
}

/** The pick was taken by another queue's matcher between look and reservation: look again. */
class Taken extends Error {}

export function createMatching(deps: TellDeps): Matching {
  const { db, log } = deps;

  async function matchUntilDry(lock: Sql, pick: (now: Date) => Sql): Promise<void> {
    const announcing: Promise<void>[] = [];
    try {
      for (;;) {
        const offer = await matchOne(deps, lock, pick).catch(lookAgain);
        if (offer === null) break;
        if (offer !== 'taken') announcing.push(announce(deps, offer));
      }
    } catch (error) {
      log.warn({ err: error }, 'matching failed; the sweep repeats it');
    }
    await Promise.all(announcing);
  }

  const matchAgent = (agentId: number) =>
    matchUntilDry(sql.lockQueuesOfAgent(agentId), (now) => sql.pickForAgent(now, agentId));

  return {
    lockQueue: async (tx, campaignId) => void (await tx.run(sql.lockQueue(campaignId))),
    matchCampaign: (campaignId) =>
      matchUntilDry(sql.lockQueue(campaignId), (now) => sql.pickForCampaign(now, campaignId)),
    matchAgent,

    async setAgentState(agentId, want, cause) {
      const { agent, wrapUp, withdraw } = await inTx(db, async (tx) => {
        const outcome = await applyWish(tx, agentId, want, cause);
        await tx.run(sql.renewLeases(new Date(tx.now.getTime() + LEASE_MS), [agentId]));
        return outcome;
      });
      if (agent.state === 'ready') await matchAgent(agentId);
      if (withdraw) {
        // The wish is stored: should this fail, the phone rings out and the agent is logged off then.
        await tellGone(deps, agentId, 'agent_logged_off').catch((error: unknown) => {
          log.warn({ err: error, agent: agentId }, 'log-off not told to the ringing offer');
        });
      }
      if (wrapUp) await tellWrapUpEnded(deps, wrapUp);
      const { state, next_state, since, state_until } = agent;
      return { state, next_state, since, state_until };
    },

    async renewLease(agentIds) {
      const until = new Date(db.clock.now().getTime() + LEASE_MS);
      const { rows } = await db.pool.query<{ id: number }>(sql.renewLeases(until, agentIds));
      return rows.map((row) => row.id);
    },
  };
}

function lookAgain(error: unknown): 'taken' {
  if (error instanceof Taken) return 'taken';
  throw error;
}

/** One pair in one transaction, or null when there is none. `lock` and `pick` say over which queues. */
async function matchOne({ db }: TellDeps, lock: Sql, pick: (now: Date) => Sql): Promise<Announcement | null> {
  return inTx(db, async (tx) => {
    await tx.run(lock);
    const picked = await tx.row<sql.Picked>(pick(tx.now));
    if (!picked) return null;
    const node = await tx.row<{ name: string }>(sql.pickNode(tx.now));
    if (!node) return null;
    const deadline = new Date(tx.now.getTime() + picked.rules.agent_ring_sec * 1000);
    const made = await tx.row<{ offer_id: string; from_since: Date }>(sql.reserve(tx.now, picked, node.name, deadline));
    if (!made) throw new Taken();
    recordAgentEvent(
      tx,
      { id: picked.agent_id, state: 'ready', since: made.from_since },
      { state: 'reserved', cause: 'offer', offer_id: made.offer_id, call_id: picked.call_id, result_code: null },
    );
    return { ...picked, offer_id: made.offer_id, node: node.name };
  });
}
