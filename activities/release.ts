/**
 * A supervisor frees an agent whom something holds (docs/domain.md, "Agents"): an offer that rings, a wrap-up, a rest, or an
 * offer that nobody carries any more. A talk is never cut, nor is a contact who is being called.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { AppError } from '../domain/errors.ts';
import { AGENT_ENGAGED, AGENT_RESTING } from '../domain/states.ts';
import { type AgentRow, changeAgent, endWrapUp, type WishOutcome } from '../matching/agents.ts';
import type { Matching } from '../matching/matching.ts';
import { lockAgent, readAgent } from '../matching/sql.ts';
import { tellWrapUpEnded } from '../matching/tell.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';
import { release } from '../workflows/contact/messages.ts';
import { outcomeOf } from './lost.ts';
import { endUnrung } from './offers.ts';
import { endOpenOffer, repair, repairTools } from './repair.ts';
import * as sql from './sql.ts';

export interface ReleaseDeps {
  db: Db;
  matching: Matching;
  workflows: Workflows;
  log: Logger;
}

/** The end of a phone is on record a moment after the switch was told: so long the answer waits for it. */
const OVER_WITHIN_MS = 1_000;
const LOOK_AGAIN_MS = 50;

/**
 * Resolves to the agent as they are then, perhaps with the next offer. Throws NOT_FOUND, CONFLICT for an agent in a call, and
 * UNAVAILABLE where the phone's node or the workflow service does not answer. `key`: the request's.
 */
export async function releaseAgent(deps: ReleaseDeps, agentId: number, by: string, key: string): Promise<AgentRow> {
  const held = await look(deps, agentId, by);
  if (held.by === 'phone' && (await endPhone(deps, held.offer, by, key)) === 'not_ours') {
    // Over by now, or in wrap-up; but what the agent has been given after it stays.
    const still = await look(deps, agentId, by, held.offer.id);
    if (still.by === 'phone') throw await inCall(deps.db, still.offer);
  }
  return (await deps.db.pool.query<AgentRow>(readAgent(agentId))).rows[0]!;
}

async function look(deps: ReleaseDeps, agentId: number, by: string, offerId?: string): Promise<Held> {
  for (;;) {
    const held = await inTx(deps.db, (tx) => freeByRow(tx, agentId, by, offerId));
    if (held.by === 'another') continue;
    if (held.by === 'nothing' && held.wrapUp) await tellWrapUpEnded(deps, held.wrapUp);
    if (held.by === 'nothing') await deps.matching.matchAgent(agentId);
    if (held.by === 'nothing' && held.requeued !== null) await deps.matching.matchCampaign(held.requeued);
    return held;
  }
}

type Held =
  /** Free, or freed by this very look: of a wrap-up, or of an offer whose contact went back into this campaign's queue. */
  | { by: 'nothing'; wrapUp: WishOutcome['wrapUp']; requeued: number | null }
  /** Its phone rings or has rung: only the workflow and the switch can say what is to become of it. */
  | { by: 'phone'; offer: sql.HeldOfferRow }
  /** While its row was waited for, the agent went on to another offer. */
  | { by: 'another' };

/** Frees the agent where that is only a matter of rows; with `offerId`, of that offer alone. */
async function freeByRow(tx: Tx, agentId: number, by: string, offerId?: string): Promise<Held> {
  const nothing: Held = { by: 'nothing', wrapUp: null, requeued: null };
  // An offer is locked before its agent, as everywhere.
  const seen = await tx.row<AgentRow>(readAgent(agentId));
  const offer = seen?.offer_id ? await tx.row<sql.HeldOfferRow>(sql.lockHeldOffer(seen.offer_id)) : undefined;
  const agent = await tx.row<AgentRow>(lockAgent(agentId));
  if (!agent) throw new AppError('NOT_FOUND', 'there is no such agent');
  if (agent.offer_id !== seen!.offer_id) return { by: 'another' };
  if (offerId !== undefined && offer?.id !== offerId) return nothing;
  const state = agent.next_state ?? 'ready';
  const who = { cause: 'supervisor', by };
  if (agent.state === 'wrap_up') return { ...nothing, wrapUp: await endWrapUp(tx, agent, state, who) };
  const isStuck = AGENT_ENGAGED.includes(agent.state) && (!offer || offer.ended_at !== null);
  if (isStuck || AGENT_RESTING.includes(agent.state)) {
    await changeAgent(tx, agent, { state, ...who, offerId: null, nextState: null, callId: offer?.call_id ?? null });
    if (isStuck) {
      const occasion = agent.since.toISOString();
      await recordRepair(tx, { cause: 'agent_stuck', subject: `agent/${agentId}`, occasion });
    }
    return nothing;
  }
  if (!AGENT_ENGAGED.includes(agent.state)) return nothing;
  if (offer!.state !== 'offered' || (await tx.row(sql.legsOfOffer(offer!.id)))) return { by: 'phone', offer: offer! };
  // Not rung yet: a workflow that comes to it finds it over.
  await tx.run(sql.withdrawOffer(offer!.id, 'agent_released', by));
  await endUnrung(tx, { ...offer!, withdrawn_by: by }, 'agent_released');
  return { ...nothing, requeued: offer!.campaign_id };
}

/** `not_ours`: it is answered or over, or nobody could be asked and what could be done without is done. */
async function endPhone(
  deps: ReleaseDeps,
  offer: sql.HeldOfferRow,
  by: string,
  key: string,
): Promise<'ending' | 'not_ours'> {
  const contact = { contactId: offer.contact_id, round: offer.round };
  const answer = { offerNo: offer.offer_no, agentId: String(offer.agent_id), by };
  try {
    await deps.workflows.update(contact, release, answer, key);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    if (error.code === 'CONTACT_CLOSED') await endWithoutWorkflow(deps, offer, by);
    else if (error.code !== 'CONFLICT' && error.code !== 'OFFER_OVER') throw error;
    return 'not_ours';
  }
  const deadline = performance.now() + OVER_WITHIN_MS;
  const held = async () => (await deps.db.pool.query<AgentRow>(readAgent(offer.agent_id))).rows[0]?.offer_id;
  while ((await held()) === offer.id && performance.now() < deadline) await sleep(LOOK_AGAIN_MS);
  return 'ending';
}

/** Its workflow was ended by other hands: the contact is repaired as the sweep would, or the lost node's legs are ended. */
async function endWithoutWorkflow(deps: ReleaseDeps, offer: sql.HeldOfferRow, by: string): Promise<void> {
  const tools = repairTools(deps);
  const outcome = await repair(tools, { contactId: offer.contact_id, round: offer.round }, { by });
  deps.log.warn({ agent: offer.agent_id, offer: offer.id, outcome }, 'an agent was released from an offer without a workflow');
  if (outcome === 'later') await outcomeOf(tools, offer.id);
  if (outcome === 'nothing' && offer.state !== 'talking') await endOpenOffer(tools, offer.contact_id, by);
}

/** Which part of the call the agent is in, and what to do instead. */
async function inCall({ pool }: Db, offer: sql.OfferRow): Promise<AppError> {
  const { state } = (await pool.query<AgentRow>(readAgent(offer.agent_id))).rows[0]!;
  const hangUp = `hang up for the agent by POST /v1/calls/${offer.call_id}/hang-up`;
  const detail =
    offer.state === 'offered'
      ? "the agent's phone has just been picked up: ask again in a moment"
      : offer.state === 'talking'
        ? `a talk is never cut: wait for its end, or ${hangUp}`
        : `the contact is being called: wait for the outcome, or ${hangUp}`;
  return new AppError('CONFLICT', detail, { state });
}
