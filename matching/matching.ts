/**
 * Who gets which contact. It runs on every edge (contact queued, agent ready or released, start, resume) for speed; the
 * guarantee is the sweep (sweep.ts), which runs the same once a second.
 */
import { AppError } from '../domain/errors.ts';
import type { AgentState } from '../domain/states.ts';
import { inTx, type Sql, type Tx } from '../prisma/tx.ts';
import { applyWish, LEASE_MS, recordAgentEvent, type Wanted, type WishOutcome } from './agents.ts';
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

/** What was picked has been taken or changed between look and reservation: look again. */
class Taken extends Error {}

export function createMatching(deps: TellDeps): Matching {
  const { db, log } = deps;

  /** Makes offers while there are pairs, `most` of them, and tells the workflows meanwhile. */
  async function match(lock: Sql, pick: (now: Date) => Sql, most = Infinity): Promise<void> {
    const announced: ReturnType<typeof announce>[] = [];
    try {
      while (announced.length < most) {
        const offer = await matchOne(deps, lock, pick);
        if (!offer) break;
        announced.push(announce(deps, offer));
      }
    } catch (error) {
      log.warn({ err: error }, 'matching failed; the sweep repeats it');
    }
    // An offer taken back from a closed workflow has freed its agent.
    if ((await Promise.all(announced)).includes('withdrawn')) await match(lock, pick, most);
  }

  const matchCampaign = (campaignId: number) =>
    match(sql.lockQueue(campaignId), (now) => sql.pickForCampaign(now, campaignId));
  const matchAgent = (agentId: number) =>
    match(sql.lockQueuesOfAgent(agentId), (now) => sql.pickForAgent(now, agentId), 1);

  return {
    lockQueue: async (tx, campaignId) => void (await tx.run(sql.lockQueue(campaignId))),
    matchCampaign,
    matchAgent,

    async setAgentState(agentId, want, cause) {
      // Who becomes ready is matched in the same transaction, one commit sooner; should that fail, the wish counts alone.
      let isMatched = want === 'ready';
      const { agent, wrapUp, withdraw, offer } = await inTx(db, (tx) => wish(tx, agentId, want, cause, isMatched)).catch(
        (error: unknown) => {
          if (error instanceof AppError) throw error;
          isMatched = false;
          return inTx(db, (tx) => wish(tx, agentId, want, cause, false));
        },
      );
      const isToMatch = offer ? (await announce(deps, offer)) === 'withdrawn' : agent.state === 'ready' && !isMatched;
      if (isToMatch) await matchAgent(agentId);
      if (withdraw) await tellGone(deps, agentId, 'agent_logged_off');
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

/** One pair in one transaction, or null when there is none. `lock` and `pick` say over which queues. */
async function matchOne({ db }: TellDeps, lock: Sql, pick: (now: Date) => Sql): Promise<Announcement | null> {
  for (;;) {
    try {
      return await inTx(db, async (tx) => {
        await tx.run(lock);
        return reservePair(tx, pick);
      });
    } catch (error) {
      if (!(error instanceof Taken)) throw error;
    }
  }
}

/** What an agent wants and, if that makes the agent ready, the first offer. */
async function wish(
  tx: Tx,
  agentId: number,
  want: Wanted,
  cause: string,
  isMatched: boolean,
): Promise<WishOutcome & { offer: Announcement | null }> {
  // The queues' locks come before the agent's row, as everywhere.
  if (isMatched) await tx.run(sql.lockQueuesOfAgent(agentId));
  const outcome = await applyWish(tx, agentId, want, cause);
  await tx.run(sql.renewLeases(new Date(tx.now.getTime() + LEASE_MS), [agentId]));
  const isReady = isMatched && outcome.agent.state === 'ready';
  return { ...outcome, offer: isReady ? await reservePair(tx, (now) => sql.pickForAgent(now, agentId)) : null };
}

/** The queues' locks are held by this transaction. */
async function reservePair(tx: Tx, pick: (now: Date) => Sql): Promise<Announcement | null> {
  const picked = await tx.row<sql.Picked>(pick(tx.now));
  if (!picked) return null;
  const node = await takeNode(tx);
  if (!node) return null;
  const deadline = new Date(tx.now.getTime() + picked.rules.agent_ring_sec * 1000);
  const made = await tx.row<sql.Reserved>(sql.reserve(tx.now, picked, node, deadline));
  if (!made) throw new Taken();
  const { offer_id, since, from_since } = made;
  recordAgentEvent(
    tx,
    { id: picked.agent_id, state: 'ready', since: from_since },
    { at: since, state: 'reserved', cause: 'offer', offer_id, call_id: picked.call_id, result_code: null },
  );
  return { ...picked, offer_id, node };
}

/** A failing trunk gets one offer in this time, the probe: its contact's leg shows whether the trunk works again. */
const PROBE_EVERY_MS = 60_000;

/** The node that is to carry the offer; null while there is none (or only failing ones whose probe is not due). */
async function takeNode(tx: Tx): Promise<string | null> {
  const node = await tx.row<{ name: string; failing: boolean }>(sql.pickNode(tx.now));
  if (!node) return null;
  if (node.failing) {
    const nextAt = new Date(tx.now.getTime() + PROBE_EVERY_MS);
    if ((await tx.run(sql.takeProbe(tx.now, node.name, nextAt))) === 0) throw new Taken();
  }
  return node.name;
}
