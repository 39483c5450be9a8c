/** What becomes of an offer: for its agent, its call and the workflow that made it ring. */
import { afterFailedOffer, type AgentAfter, type AgentCounters } from '../domain/agents.ts';
import type { LegCode, ResultReason } from '../domain/codes.ts';
import { endsCall } from '../domain/offers.ts';
import { rulesOfCall } from '../domain/rules-of-call.ts';
import { type AgentRow, changeAgent } from '../matching/agents.ts';
import { endCalls } from '../matching/queue.ts';
import { callsNow, endOffer, type Held, holdStatus, lockAgentOfOffer, waitForCampaign } from '../matching/sql.ts';
import type { Tx } from '../prisma/tx.ts';
import * as sql from './sql.ts';
import * as transferSql from './transfer-sql.ts';

/**
 * The offer has ended and the contact was not dialled: with `endsCall` by a decision that ends the call too, else the
 * contact is queued again.
 */
export interface OfferOver {
  kind: 'over';
  code: LegCode;
  reason: ResultReason | null;
  endsCall: boolean;
}

export type RingOutcome = { kind: 'answered' } | OfferOver;

/** `refused`: the contact must not be dialled now. */
export type DialOutcome =
  | { kind: 'talking' }
  | { kind: 'failed'; code: LegCode; reason: ResultReason | null }
  | { kind: 'refused'; reason: ResultReason }
  | OfferOver;

export type OfferOutcome = RingOutcome | DialOutcome;

/** What is needed to ring the agent and dial the contact of an offer that there is; `rules` are those of its call. */
export async function contextOf(tx: Tx, offerId: string): Promise<sql.CallContext> {
  const context = (await tx.row<sql.CallContext>(sql.callContext(offerId)))!;
  return { ...context, rules: rulesOfCall(context) };
}

export const offerOver = (offer: sql.OfferRow): OfferOver => ({
  kind: 'over',
  code: offer.result_code as LegCode,
  reason: offer.result_reason as ResultReason | null,
  endsCall: endsCall(offer.withdrawn),
});

export const countersOf = (agent: AgentRow): AgentCounters => ({
  missedInRow: agent.missed_in_row,
  errorsInRow: agent.errors_in_row,
  nextState: agent.next_state,
});

/** Applies what becomes of the agent; nothing if another offer has the agent by now. True when ready. */
export async function releaseAgent(
  tx: Tx,
  offer: Pick<sql.OfferRow, 'id' | 'agent_id' | 'call_id' | 'withdrawn_by'>,
  resultCode: LegCode | null,
  decide: (agent: AgentRow) => AgentAfter,
): Promise<boolean> {
  const agent = await tx.row<AgentRow>(lockAgentOfOffer(offer.agent_id, offer.id));
  if (!agent) return false;
  const { forSec, ...to } = decide(agent);
  await changeAgent(tx, agent, {
    ...to,
    resultCode,
    callId: offer.call_id,
    by: offer.withdrawn_by,
    // In wrap-up the agent still belongs to the offer.
    offerId: to.state === 'wrap_up' ? offer.id : null,
    stateUntil: forSec === null ? null : new Date(tx.now.getTime() + forSec * 1000),
  });
  return to.state === 'ready';
}

/** The `result_reason` of the queue event `d` for why a contact ended. */
export function callReason(reason: string): ResultReason {
  const same: readonly string[] = ['agent_cancel', 'do_not_call', 'deleted', 'list_replaced', 'disabled'];
  if (same.includes(reason)) return reason as ResultReason;
  return reason === 'campaign_ended' ? 'campaign_paused' : 'disabled';
}

/**
 * True when the call of an undialled offer does not come back: its contact has become final meanwhile (list replaced, number
 * listed), or its campaign has ended. Stored as the decision that ends the call with the offer.
 */
export async function endsWithOffer(
  tx: Tx,
  offer: Pick<sql.OfferRow, 'id' | 'contact_id' | 'campaign_id'>,
  endedReason: string | null,
): Promise<boolean> {
  if (endedReason) {
    await tx.run(sql.endCallWithOffer(offer.id, callReason(endedReason)));
    return true;
  }
  const campaign = await tx.row<Held>(holdStatus(offer.campaign_id));
  if (campaign?.status !== 'ended') return false;
  await tx.run(sql.endForCampaign(tx.now, offer.contact_id));
  await tx.run(sql.endCallWithOffer(offer.id, 'campaign_paused'));
  return true;
}

/** The same call back to its old place; where the campaign is not running any more, the call ends instead. */
export async function returnToQueue(tx: Tx, offer: Pick<sql.OfferRow, 'call_id' | 'contact_id' | 'campaign_id'>) {
  const campaign = await tx.row<Held>(holdStatus(offer.campaign_id));
  const isRescheduled = (await tx.row(sql.isRescheduled(offer.contact_id))) !== undefined;
  if (campaign && callsNow(campaign, isRescheduled)) {
    return (await tx.run(sql.returnCall(tx.now, offer.contact_id))) > 0;
  }
  if ((await tx.run(waitForCampaign(tx.now, [offer.contact_id], ['offered']))) > 0) {
    await endCalls(tx, [offer.call_id], 'campaign_paused');
  }
  return false;
}

/** Whom an agent of a queue has not taken waits on there, at the old place: the queue's campaign; null for any other offer. */
export async function waitOn(tx: Tx, { id, transfer_id }: Pick<sql.OfferRow, 'id' | 'transfer_id'>): Promise<number | null> {
  if (transfer_id === null) return null;
  return (await tx.row<{ queue_id: number }>(transferSql.stayInQueue(transfer_id, id)))?.queue_id ?? null;
}

/** An offer that ends before its agent's phone was rung: the agent is free at once. */
export async function endUnrung(tx: Tx, offer: sql.OfferRow, reason: ResultReason | null): Promise<void> {
  const { rules, contact_ended_reason } = await contextOf(tx, offer.id);
  const isTransfer = offer.transfer_id !== null;
  const returns = !isTransfer && !endsCall(reason) && !(await endsWithOffer(tx, offer, contact_ended_reason));
  const reofferAt = returns || isTransfer ? new Date(tx.now.getTime() + rules.reoffer_after_sec * 1000) : null;
  await tx.run(endOffer(tx.now, offer.id, 'q', reason, reofferAt));
  await releaseAgent(tx, offer, 'q', (agent) => afterFailedOffer(rules, countersOf(agent), 'q', reason));
  if (returns) await returnToQueue(tx, offer);
  await waitOn(tx, offer);
}
