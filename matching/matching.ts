/**
 * Who gets which contact. It runs on every edge (contact queued, agent ready or released, start, resume) for speed; the
 * guarantee is the sweep (sweep.ts), which runs the same once a second.
 */
import { AppError } from '../domain/errors.ts';
import type { AgentState } from '../domain/states.ts';
import { inTx, type Sql, type Tx } from '../prisma/tx.ts';
import {
  type AgentRow,
  applyWish,
  LEASE_MS,
  pausePresent,
  recordAgentEvent,
  type Wanted,
  type Who,
  type WishOutcome,
} from './agents.ts';
import { liveForAgent, liveForQueue, offerTalk, type PickedTalk } from './live.ts';
import * as sql from './sql.ts';
import { announce, type Announcement, tellGone, tellWrapUpEnded, type TellDeps } from './tell.ts';

export interface Matching {
  /** Advisory lock of a campaign's queue, held to the end of the transaction. */
  lockQueue(tx: Tx, campaignId: number): Promise<void>;
  /** Matches until dry; safe to call at any time. Never throws: what fails is logged and left to the sweep. */
  matchCampaign(campaignId: number): Promise<Dry | null>;
  matchAgent(agentId: number): Promise<Dry | null>;
  /** The same over all queues, whoever has been ready longest first: for when a node may take a call again. */
  matchWaiting(): Promise<Dry | null>;
  /** What an agent or a supervisor (`by`) wants: at once or, while the agent is engaged, as next_state. Throws NOT_FOUND. */
  setAgentState(agentId: number, want: Wanted, cause: string, by?: string): Promise<AgentView>;
  /** A supervisor's pause, in the same way; throws CONFLICT for an agent who is logged off. */
  pauseAgent(agentId: number, by: string): Promise<AgentView>;
  /** Renews the leases of those who are logged on; returns their ids. */
  renewLease(agentIds: number[]): Promise<number[]>;
}

export interface AgentView {
  state: AgentState;
  next_state: string | null;
  since: Date;
  state_until: Date | null;
}

/** Why no further offer could be made: nobody may be offered anything, or no node takes a call now. */
export type Dry = 'no_pair' | 'no_node';

/** What was picked has been taken or changed between look and reservation: look again. */
class Taken extends Error {}

export function createMatching(deps: TellDeps): Matching {
  const { db, log } = deps;

  /** Makes offers while there are any, `most` of them, and tells the workflows meanwhile. Null: for no reason dry. */
  async function match(next: () => Promise<Announcement | Dry>, most = Infinity): Promise<Dry | null> {
    const announced: ReturnType<typeof announce>[] = [];
    let dry: Dry | null = null;
    try {
      while (announced.length < most && !dry) {
        const offer = await next();
        if (typeof offer === 'string') dry = offer;
        else announced.push(announce(deps, offer));
      }
    } catch (error) {
      log.warn({ err: error }, 'matching failed; the sweep repeats it');
    }
    // An offer taken back from a closed workflow has freed its agent.
    return (await Promise.all(announced)).includes('withdrawn') ? match(next, most) : dry;
  }

  const forCampaign = (id: number) => matchOne(deps, sql.lockQueue(id), ofCampaign(id));
  const forAgent = (id: number) => matchOne(deps, sql.lockQueuesOfAgent(id), ofAgent(id));
  async function forWaiting(): Promise<Announcement | Dry> {
    const { rows } = await db.pool.query<{ id: number }>(sql.waitingAgent(db.clock.now()));
    return rows[0] ? forAgent(rows[0].id) : 'no_pair';
  }

  const matchAgent = (agentId: number) => match(() => forAgent(agentId), 1);

  return {
    lockQueue: async (tx, campaignId) => void (await tx.run(sql.lockQueue(campaignId))),
    matchCampaign: (campaignId) => match(() => forCampaign(campaignId)),
    matchAgent,
    matchWaiting: () => match(forWaiting),

    async setAgentState(agentId, want, cause, by) {
      const who = { cause, by: by ?? null };
      // Who becomes ready is matched in the same transaction, one commit sooner; should that fail, the wish counts alone.
      let isMatched = want === 'ready';
      const { agent, wrapUp, withdraw, offer } = await inTx(db, (tx) => wish(tx, agentId, want, who, isMatched)).catch(
        (error: unknown) => {
          if (error instanceof AppError) throw error;
          isMatched = false;
          return inTx(db, (tx) => wish(tx, agentId, want, who, false));
        },
      );
      const isToMatch = offer ? (await announce(deps, offer)) === 'withdrawn' : agent.state === 'ready' && !isMatched;
      if (isToMatch) await matchAgent(agentId);
      if (withdraw) await tellGone(deps, agentId, 'agent_logged_off');
      if (wrapUp) await tellWrapUpEnded(deps, wrapUp);
      return viewOf(agent);
    },

    async pauseAgent(agentId, by) {
      return viewOf(await inTx(db, (tx) => pausePresent(tx, agentId, { cause: 'supervisor', by })));
    },

    async renewLease(agentIds) {
      const until = new Date(db.clock.now().getTime() + LEASE_MS);
      const { rows } = await db.pool.query<{ id: number }>(sql.renewLeases(until, agentIds));
      return rows.map((row) => row.id);
    },
  };
}

/** Whom to look for, in this order: a contact who waits on the line, a queued one. */
interface Pick {
  live(now: Date): Sql;
  queued(now: Date): Sql;
}
const ofCampaign = (id: number): Pick => ({
  live: (now) => liveForQueue(now, id),
  queued: (now) => sql.pickForCampaign(now, id),
});
const ofAgent = (id: number): Pick => ({
  live: (now) => liveForAgent(now, id),
  queued: (now) => sql.pickForAgent(now, id),
});

export const viewOf = ({ state, next_state, since, state_until }: AgentRow): AgentView => ({
  state,
  next_state,
  since,
  state_until,
});

/** One pair in one transaction, or why there is none. `lock` and `pick` say over which queues. */
async function matchOne({ db }: TellDeps, lock: Sql, pick: Pick): Promise<Announcement | Dry> {
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
  who: Who,
  isMatched: boolean,
): Promise<WishOutcome & { offer: Announcement | null }> {
  // The queues' locks come before the agent's row, as everywhere.
  if (isMatched) await tx.run(sql.lockQueuesOfAgent(agentId));
  const outcome = await applyWish(tx, agentId, want, who);
  await tx.run(sql.renewLeases(new Date(tx.now.getTime() + LEASE_MS), [agentId]));
  if (!isMatched || outcome.agent.state !== 'ready') return { ...outcome, offer: null };
  const offer = await reservePair(tx, ofAgent(agentId));
  return { ...outcome, offer: typeof offer === 'string' ? null : offer };
}

/** The queues' locks are held by this transaction. */
async function reservePair(tx: Tx, pick: Pick): Promise<Announcement | Dry> {
  const talk = await tx.row<PickedTalk>(pick.live(tx.now));
  if (talk) {
    const made = await offerTalk(tx, talk, talk.agent_id, false);
    if (!made) throw new Taken();
    return made;
  }
  const picked = await tx.row<sql.Picked>(pick.queued(tx.now));
  if (!picked) return 'no_pair';
  const node = await takeNode(tx);
  if (!node) return 'no_node';
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

/** The node that is to carry the offer; null while there is none (or only full ones, or failing ones not to be probed yet). */
async function takeNode(tx: Tx): Promise<string | null> {
  const node = await tx.row<{ name: string; rationed: boolean }>(sql.pickNode(tx.now));
  if (!node) return null;
  if (node.rationed) {
    await tx.run(sql.lockNode(node.name));
    const probeAt = new Date(tx.now.getTime() + PROBE_EVERY_MS);
    if ((await tx.run(sql.takeNode(tx.now, node.name, probeAt))) === 0) throw new Taken();
  }
  return node.name;
}
