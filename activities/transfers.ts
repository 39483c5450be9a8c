/**
 * Talks that are handed on. Two steps only write (local activities); the others run where the switch is: the contact is left
 * with music, the target's leg is carried from its dial to what becomes of it, and an agent's click completes it or takes the
 * contact back.
 *
 * The rows say what is to be so, and are written before the switch is asked. Whoever comes back after a crash reads them and
 * says the same to the switch once more.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { ResultReason } from '../domain/codes.ts';
import { legId, MOST_NUMBER_TRANSFERS, transferLegId } from '../domain/ids.ts';
import { withDefaults } from '../domain/rules.ts';
import { type TransferStep, transferStep } from '../domain/transfers.ts';
import { type AgentRow, changeAgent } from '../matching/agents.ts';
import { offerTalk } from '../matching/live.ts';
import type { Matching } from '../matching/matching.ts';
import { lockAgent, lockAgentOfOffer, lockNumbers, shareDials } from '../matching/sql.ts';
import { type Db, inTx, type Sql, type Tx } from '../prisma/tx.ts';
import type { EndWhy, Telephony } from '../telephony/telephony.ts';
import { TelephonyUnavailable } from '../telephony/unavailable.ts';
import {
  adopt,
  adoption,
  type CallDeps,
  DECIDED_WITHIN_MS,
  HEARTBEAT_MS,
  insertLeg,
  isForbidden,
  lackOf,
  lateDecision,
  nextChange,
  send,
} from './calls.ts';
import type { OpenOffer } from './contacts.ts';
import { recordLiveWait } from './live-wait.ts';
import { contextOf, endUnrung } from './offers.ts';
import * as sql from './sql.ts';
import { conflict, connectWith, holdContact, lockTalk } from './talks.ts';
import * as transferSql from './transfer-sql.ts';

/** `queued`: the contact waits for an agent, who is then offered the talk. `offer`: of the agent who is asked. */
export interface BegunTransfer {
  at: 'queued' | 'ringing';
  offer: OpenOffer | null;
}

/**
 * `connected` with the target, whose offer it is now (null: a number) · `back` with the agent · `queued` · `over`, as the
 * contact has hung up.
 */
export type TransferOutcome = { kind: 'connected'; offer: OpenOffer | null } | { kind: 'back' | 'queued' | 'over' };

interface ByTransfer {
  transferId: string;
}

// ---- steps that only write ------------------------------------------------------------------------------------------

export interface TransferStepDeps {
  db: Db;
  matching: Pick<Matching, 'matchCampaign'>;
}

export type TransferSteps = ReturnType<typeof createTransferSteps>;

export function createTransferSteps({ db, matching }: TransferStepDeps) {
  return {
    /** Begins a transfer that was stored. Throws CONFLICT, and changes nothing, when its target can't be had. */
    async beginTransfer({ transferId, offerId }: ByTransfer & { offerId: string }): Promise<BegunTransfer> {
      const begun = await inTx(db, (tx) => begin(tx, transferId, offerId));
      if (typeof begun === 'string') throw conflict(begun);
      if (begun.at === 'queued') await matching.matchCampaign(begun.queueId);
      return { at: begun.at, offer: begun.offer };
    },

    /** The offer that matching has made for a contact who waits in a queue; null when there is none (any more). */
    async offerOfTransfer({ transferId }: ByTransfer): Promise<OpenOffer | null> {
      const transfer = (await db.pool.query<transferSql.TransferRow>(transferSql.readTransfer(transferId))).rows[0];
      if (transfer?.state !== 'ringing' || !transfer.target_offer_id) return null;
      return openOffer(await inTx(db, (tx) => contextAndOffer(tx, transfer.target_offer_id!)));
    },
  };
}

type Begun = { at: 'ringing'; offer: OpenOffer | null } | { at: 'queued'; offer: null; queueId: number };

/** A sentence: why it is refused. */
async function begin(tx: Tx, transferId: string, offerId: string): Promise<Begun | string> {
  const talk = await lockTalk(tx, offerId);
  const transfer = await tx.row<transferSql.TransferRow>(transferSql.lockTransfer(transferId));
  if (transfer?.offer_id !== talk.offer.id) throw conflict('there is no such transfer of this agent');
  // A repeat, whose answer got lost.
  if (transfer.state !== 'requested') return transfer.ended_at ? REFUSED : begunBefore(tx, transfer);
  const open = await tx.row(transferSql.openTransferOf(transfer.call_id));
  const begun = open ? 'another transfer of this call is under way' : await beginTo(tx, transfer, talk.offer);
  if (typeof begun === 'string') {
    await tx.run(transferSql.endTransfer(tx.now, transferId, 'failed'));
    return begun;
  }
  await tx.run(transferSql.noteHeld(tx.now, transfer.call_id, talk.agentLeg));
  return begun;
}

const REFUSED = 'this transfer was refused, or is over';

async function begunBefore(tx: Tx, transfer: transferSql.TransferRow): Promise<Begun> {
  if (transfer.state === 'queued') return { at: 'queued', offer: null, queueId: transfer.queue_id! };
  const offer = transfer.target_offer_id ? openOffer(await contextAndOffer(tx, transfer.target_offer_id)) : null;
  return { at: 'ringing', offer };
}

function beginTo(tx: Tx, transfer: transferSql.TransferRow, offer: sql.OfferRow): Promise<Begun | string> {
  if (transfer.to_agent_id !== null) return toAgent(tx, transfer, transfer.to_agent_id, offer);
  return transfer.queue_id === null ? toNumber(tx, transfer, offer) : toQueue(tx, transfer, transfer.queue_id);
}

async function toNumber(tx: Tx, transfer: transferSql.TransferRow, offer: sql.OfferRow): Promise<Begun | string> {
  // Whoever is called so is called like any other: not against their will, and not twice at once.
  const number = transfer.to_number!;
  if (await mustNotBeCalled(tx, number)) return 'the number must not be called: it is on the do-not-call list';
  if (await isForbidden(tx, number, await contextOf(tx, offer.id))) return 'the number may not be called any more';
  if (await tx.row(sql.numberInUse(number))) return 'a contact is being called at that number just now';
  const { n } = (await tx.row<{ n: number }>(transferSql.numbersTransferredTo(offer.id)))!;
  if (n >= MOST_NUMBER_TRANSFERS) return `a talk can be transferred to ${MOST_NUMBER_TRANSFERS} numbers by one agent`;
  await tx.run(transferSql.ringTarget(transfer.id, transferLegId(offer.call_id, offer.offer_no, n + 1)));
  return { at: 'ringing', offer: null };
}

/** Asked under the locks that a dial takes. */
async function mustNotBeCalled(tx: Tx, number: string): Promise<boolean> {
  await tx.run(lockNumbers([number]));
  await tx.run(shareDials);
  return (await tx.row(sql.findListed('0', [number]))) !== undefined;
}

async function toAgent(
  tx: Tx,
  transfer: transferSql.TransferRow,
  agentId: number,
  offer: sql.OfferRow,
): Promise<Begun | string> {
  const agent = await tx.row<AgentRow>(lockAgent(agentId));
  const isThere = agent?.state === 'ready' && agent.lease_until !== null && agent.lease_until > tx.now;
  if (!isThere) return `agent ${agentId} is ${agent?.state === 'ready' ? 'not logged on' : (agent?.state ?? 'unknown')}`;
  const { rules } = await contextOf(tx, offer.id);
  const { call_id, contact_id, campaign_id, node } = offer;
  const talk = { transfer_id: transfer.id, call_id, contact_id, campaign_id, node, rules };
  // The agent's row is locked: nobody can have been faster.
  const made = (await offerTalk(tx, talk, agentId, true))!;
  return { at: 'ringing', offer: openOffer(await contextAndOffer(tx, made.offer_id)) };
}

async function toQueue(tx: Tx, transfer: transferSql.TransferRow, queueId: number): Promise<Begun | string> {
  await tx.run(transferSql.queueContact(tx.now, transfer.id, queueId));
  if (await tx.row(transferSql.isServed(tx.now, queueId, transfer.agent_id))) return { at: 'queued', offer: null, queueId };
  await recordLiveWait(tx, (await tx.row<transferSql.TransferRow>(transferSql.readTransfer(transfer.id)))!, 's', null);
  return 'nobody else who serves this queue is logged on';
}

async function contextAndOffer(tx: Tx, offerId: string) {
  return { offer: (await tx.row<sql.OfferRow>(sql.readOffer(offerId)))!, context: await contextOf(tx, offerId) };
}

function openOffer({ offer, context }: { offer: sql.OfferRow; context: sql.CallContext }): OpenOffer {
  const { id, offer_no, call_id, agent_id, node } = offer;
  return { offerId: id, offerNo: offer_no, callId: call_id, agentId: String(agent_id), node, attempt: context.attempt };
}

// ---- at the switch --------------------------------------------------------------------------------------------------

export type TransferDeps = Pick<CallDeps, 'db' | 'telephony' | 'legs' | 'log'> & TransferStepDeps;
export type TransferActivities = ReturnType<typeof createTransferActivities>;

export function createTransferActivities(deps: TransferDeps) {
  const { db, telephony, legs } = deps;
  return {
    /** Contact and agent are unlinked: the contact hears music and stays, whatever becomes of the agent. */
    async unlink({ transferId }: ByTransfer): Promise<void> {
      const { transfer, contactLeg, agentLeg } = await look(deps, transferId);
      if (transfer.ended_at) return;
      await bindWaiting(telephony, contactLeg, agentLeg, null);
      await holdContact(telephony, contactLeg.id);
      if (transfer.mode === 'blind') await telephony.hangUp(agentLeg.id, 'call_over');
    },

    /** Calls the target and carries the transfer until contact, agent and target are where they belong. */
    async carryTransfer({ transferId }: ByTransfer): Promise<TransferOutcome> {
      const { fresh } = await inTx(db, (tx) => beginTarget(tx, transferId));
      const begun = await look(deps, transferId);
      const watch = legs.watchCall(begun.transfer.call_id);
      try {
        const isCertain = fresh && (await callTarget(deps, begun));
        return await untilSettled(deps, transferId, watch, isCertain);
      } finally {
        watch.close();
      }
    },

    /** The agent leaves contact and target to each other; a target that has not answered yet is left to ring. */
    async completeTransfer({ transferId }: ByTransfer): Promise<void> {
      const before = await look(deps, transferId);
      if (before.transfer.state === 'consulting' && (await isGone(telephony, before.target))) {
        legs.nudge(before.transfer.call_id);
        throw conflict('the target has just hung up', 'consulting');
      }
      const isConsulting = await inTx(db, async (tx) => {
        const transfer = await lockWithTarget(tx, transferId);
        if (transfer.state === 'consulting') await connected(tx, transfer);
        else if (transfer.ended_at && transfer.state !== 'completed') throw conflict('the transfer is over', transfer.state);
        else if (transfer.state !== 'completed') await tx.run(transferSql.leaveNow(transferId));
        return transfer.state === 'consulting';
      });
      if (isConsulting) await connect(deps, before);
      await telephony.hangUp(before.agentLeg.id, 'call_over');
      legs.nudge(before.transfer.call_id);
    },

    /** The agent has the contact back; whoever was asked, or is being asked, is hung up. */
    async takeContactBack({ transferId }: ByTransfer): Promise<void> {
      const before = await look(deps, transferId);
      if (!before.transfer.ended_at && (await isGone(telephony, before.agentLeg))) {
        legs.nudge(before.transfer.call_id);
        throw conflict('the agent has just hung up');
      }
      await inTx(db, async (tx) => {
        const transfer = await lockWithTarget(tx, transferId);
        if (transfer.state === 'taken_back') return;
        if (transfer.ended_at) throw conflict('the transfer is over', transfer.state);
        if (transfer.mode === 'blind') throw conflict('the agent has left already', transfer.state);
        await givenBack(tx, transfer, 'taken_back');
      });
      await giveBack(deps, before);
      legs.nudge(before.transfer.call_id);
    },
  };
}

/**
 * A leg has ended at the switch, though perhaps its row does not say so yet: the ends of several legs are written one after
 * the other. Whoever connects the contact with such a leg would hang the contact up.
 */
async function isGone(telephony: Telephony, leg: sql.LegRow | null): Promise<boolean> {
  if (leg === null || leg.ended_at !== null) return true;
  const status = await telephony.status(leg.id);
  // Nothing is decided in the rows that could not be carried out at the switch.
  if (status === 'cannot-tell') throw new TelephonyUnavailable('the switch is away');
  return status === 'absent';
}

/** Why a target's leg ends that is not wanted any more. */
const NOT_WANTED = 'agent_hang_up' satisfies ResultReason;

interface Looked {
  transfer: transferSql.TransferRow;
  contactLeg: sql.LegRow;
  agentLeg: sql.LegRow;
  /** Of the agent who is asked. */
  offer: sql.OfferRow | null;
  /** Null: not written yet. */
  target: sql.LegRow | null;
}

async function look({ db }: Pick<TransferDeps, 'db'>, transferId: string): Promise<Looked> {
  const one = async <T extends object>(query: Sql): Promise<T | null> => (await db.pool.query<T>(query)).rows[0] ?? null;
  const transfer = await one<transferSql.TransferRow>(transferSql.readTransfer(transferId));
  if (!transfer) throw ApplicationFailure.nonRetryable('there is no such transfer', 'NOT_FOUND');
  const by = (await one<sql.OfferRow>(sql.readOffer(transfer.offer_id)))!;
  return {
    transfer,
    contactLeg: (await one<sql.LegRow>(sql.contactLegOfCall(transfer.call_id)))!,
    agentLeg: (await one<sql.LegRow>(sql.readLeg(legId(by.call_id, by.offer_no, 'agent'))))!,
    offer: transfer.target_offer_id ? await one<sql.OfferRow>(sql.readOffer(transfer.target_offer_id)) : null,
    target: transfer.leg_id ? await one<sql.LegRow>(sql.readLeg(transfer.leg_id)) : null,
  };
}

/** In the order in which the end of the contact's leg takes them: that leg, the target's offer, the transfer. */
async function lockWithTarget(tx: Tx, transferId: string): Promise<transferSql.TransferRow> {
  const found = await tx.row<transferSql.TransferRow>(transferSql.readTransfer(transferId));
  if (found) await tx.run(transferSql.lockContactLeg(found.call_id));
  if (found?.target_offer_id && !found.ended_at) await tx.row(sql.lockOffer(found.target_offer_id));
  return (await tx.row<transferSql.TransferRow>(transferSql.lockTransfer(transferId)))!;
}

/** The contact's end ends everyone; the agent's and the target's nobody else. */
async function bindWaiting(telephony: Telephony, contactLeg: sql.LegRow, agentLeg: sql.LegRow, target: string | null) {
  await telephony.endTogether(contactLeg.call_id, [
    { legId: contactLeg.id, why: 'call_over' },
    ...(agentLeg.ended_at ? [] : [{ legId: agentLeg.id, why: null }]),
    ...(target === null ? [] : [{ legId: target, why: null }]),
  ]);
}

// ---- the target's leg -----------------------------------------------------------------------------------------------

/** The target's leg, written before it is sent; `fresh`: by this one, who is to send it. */
async function beginTarget(tx: Tx, transferId: string): Promise<{ fresh: boolean }> {
  const transfer = await lockWithTarget(tx, transferId);
  if (transfer.state !== 'ringing') return { fresh: false };
  const offer = (await tx.row<sql.OfferRow>(sql.readOffer(transfer.target_offer_id ?? transfer.offer_id)))!;
  const id = transfer.leg_id ?? legId(offer.call_id, offer.offer_no, 'agent');
  const found = await tx.row<sql.LegRow>(sql.readLeg(id));
  if (found) await adopt(tx, found);
  if (found) return { fresh: false };
  // It may have been listed since the transfer was begun.
  if (transfer.to_number && (await mustNotBeCalled(tx, transfer.to_number))) return { fresh: false };
  if (transfer.target_offer_id) {
    if (offer.ended_at) return { fresh: false };
    if (offer.withdrawn) {
      await endUnrung(tx, offer, offer.withdrawn as ResultReason);
      return { fresh: false };
    }
    await tx.run(transferSql.setTransferLeg(transferId, id));
  }
  const context = await contextOf(tx, offer.id);
  const target = transfer.target_offer_id
    ? { ciq: 'a' as const, destination: context.phone, originating: context.number }
    : { ciq: null, destination: transfer.to_number!, originating: context.caller_id };
  await insertLeg(tx, offer, context, { id, legType: 'transfer', ...target });
  return { fresh: true };
}

/** False when the switch gave no answer: what has become of the leg is unknown. */
async function callTarget(deps: TransferDeps, { transfer, contactLeg, agentLeg, target }: Looked): Promise<boolean> {
  if (!target) return true;
  await bindWaiting(deps.telephony, contactLeg, agentLeg, target.id);
  const context = (await deps.db.pool.query<sql.CallContext>(sql.callContext(target.offer_id))).rows[0]!;
  const rules = withDefaults(context.rules);
  const how =
    target.ciq === 'a'
      ? { party: 'agent' as const, ringSec: rules.agent_ring_sec }
      : { party: 'contact' as const, ringSec: rules.ring_sec };
  return send(deps, target, { ...how, mix: transfer.call_id }, { ...context, rules });
}

async function untilSettled(
  deps: TransferDeps,
  transferId: string,
  watch: { next(ms: number): Promise<void> },
  isCertain: boolean,
): Promise<TransferOutcome> {
  const adopted = isCertain ? null : adoption(deps);
  const lacking = lackOf(deps);
  const decision = lateDecision(deps.telephony);
  for (let isFirst = true; ; isFirst = false) {
    const now = await look(deps, transferId);
    // A repeat says once more who ends with whom: the switch may not have heard it.
    if (isFirst && !isCertain && !now.transfer.ended_at) {
      await bindWaiting(deps.telephony, now.contactLeg, now.agentLeg, now.target?.ended_at === null ? now.target.id : null);
    }
    const { target, untilMs } = await targetOf(deps, now, lacking);
    const outcome = await take(deps, now, transferStep(nowOf(now, target)));
    if (outcome) return outcome;
    if (now.target) await adopted?.check(now.target);
    // Whoever has withdrawn it hangs up, or finds it answered and takes that back; unless that one has died over it.
    if (now.offer && now.target?.ended_at === null) await decision.carryOut(now.offer, now.target);
    await nextChange(watch, Math.min(HEARTBEAT_MS, Math.max(untilMs, 50)));
  }
}

function nowOf({ transfer, contactLeg, agentLeg }: Looked, target: 'calling' | 'there' | 'none') {
  const { state, mode } = transfer;
  return { state, mode, target, isContactThere: !contactLeg.ended_at, isAgentThere: !agentLeg.ended_at };
}

/** Whether the target can be spoken with, and when that is to be looked at again. */
async function targetOf(
  deps: TransferDeps,
  { transfer, offer, target }: Looked,
  lacking: ReturnType<typeof lackOf>,
): Promise<{ target: 'calling' | 'there' | 'none'; untilMs: number }> {
  const calling = { target: 'calling' as const, untilMs: HEARTBEAT_MS };
  if (!target) return offer && !offer.ended_at ? calling : { ...calling, target: 'none' };
  if (target.ended_at) return { ...calling, target: 'none' };
  if (!target.answered_at) return calling;
  if (!offer || transfer.state === 'consulting') return { ...calling, target: 'there' };
  if (offer.withdrawn) return { ...calling, untilMs: DECIDED_WITHIN_MS / 4 };
  const context = (await deps.db.pool.query<sql.CallContext>(sql.callContext(offer.id))).rows[0]!;
  const untilMs = await lacking.look(offer.id, { ...context, rules: withDefaults(context.rules) }, target);
  return untilMs === null ? { ...calling, target: 'there' } : { ...calling, untilMs };
}

// ---- what becomes of it ---------------------------------------------------------------------------------------------

/** Takes the step: in the rows first, then at the switch. Null: the transfer goes on. */
async function take(deps: TransferDeps, now: Looked, step: TransferStep): Promise<TransferOutcome | null> {
  const transferId = now.transfer.id;
  /** Decides in the rows, unless somebody has decided meanwhile: then it is looked at again. */
  const decide = (write: (tx: Tx, transfer: transferSql.TransferRow) => Promise<void>) =>
    inTx(deps.db, async (tx) => {
      const transfer = await lockWithTarget(tx, transferId);
      if (transfer.state !== now.transfer.state || transfer.mode !== now.transfer.mode) return false;
      await write(tx, transfer);
      return true;
    });
  switch (step) {
    case 'wait':
      return null;
    case 'stay':
      return { kind: 'queued' };
    case 'end':
      // Bound legs end at the switch: this is for one that has lost the contact's.
      await inTx(deps.db, (tx) => tx.run(transferSql.endTransfer(tx.now, transferId, 'over')));
      await endTarget(deps, now, 'call_over');
      if (!now.agentLeg.ended_at) await deps.telephony.hangUp(now.agentLeg.id, 'call_over');
      return { kind: 'over' };
    case 'connect':
      if (!now.transfer.ended_at && ((await isGone(deps.telephony, now.target)) || !(await decide(connected)))) return null;
      await connect(deps, now);
      if (!now.agentLeg.ended_at) await deps.telephony.hangUp(now.agentLeg.id, 'call_over');
      return { kind: 'connected', offer: await offerOf(deps, now.offer) };
    case 'consult':
      await decide(consulting);
      if (now.target) await deps.telephony.join(now.transfer.call_id, now.target.id);
      return null;
    case 'give_back':
      if (!now.transfer.ended_at) {
        if (await isGone(deps.telephony, now.agentLeg)) return null;
        if (!(await decide((tx, transfer) => givenBack(tx, transfer, 'failed')))) return null;
      }
      await giveBack(deps, now);
      return { kind: 'back' };
    case 'queue': {
      // Of its own campaign, unless it was sent to another one's.
      const queueId = now.transfer.queue_id ?? now.contactLeg.campaign_id;
      if (!(await decide((tx) => queued(tx, transferId, queueId)))) return null;
      await deps.matching.matchCampaign(queueId);
      return { kind: 'queued' };
    }
  }
}

async function offerOf({ db }: TransferDeps, offer: sql.OfferRow | null): Promise<OpenOffer | null> {
  return offer && openOffer(await inTx(db, (tx) => contextAndOffer(tx, offer.id)));
}

/** Contact and target talk: the target's agent is in the call like its first one. */
async function connected(tx: Tx, transfer: transferSql.TransferRow): Promise<void> {
  if (transfer.state === 'ringing') await noteAnswered(tx, transfer);
  await tx.run(transferSql.endTransfer(tx.now, transfer.id, 'completed'));
  await tx.run(transferSql.noteTakenFromHold(tx.now, transfer.call_id));
  if (!transfer.target_offer_id) return;
  await tx.run(sql.setOfferState(tx.now, transfer.target_offer_id, 'talking'));
  await agentConnected(tx, transfer.target_offer_id, 'transfer');
}

async function consulting(tx: Tx, transfer: transferSql.TransferRow): Promise<void> {
  const offer = (await tx.row<sql.OfferRow>(sql.readOffer(transfer.offer_id)))!;
  await noteAnswered(tx, transfer);
  await tx.run(transferSql.noteConsulting(transfer.id));
  await tx.run(transferSql.noteConsult([transfer.leg_id, legId(offer.call_id, offer.offer_no, 'agent')]));
  if (!transfer.target_offer_id) return;
  await tx.run(sql.setOfferState(tx.now, transfer.target_offer_id, 'answered'));
  await agentConnected(tx, transfer.target_offer_id, 'consult');
}

async function noteAnswered(tx: Tx, transfer: transferSql.TransferRow): Promise<void> {
  const offer = transfer.target_offer_id ? await tx.row<sql.OfferRow>(sql.readOffer(transfer.target_offer_id)) : null;
  if (transfer.queued_at) await recordLiveWait(tx, transfer, 'k', offer?.agent_id ?? null);
}

async function agentConnected(tx: Tx, offerId: string, cause: string): Promise<void> {
  const offer = (await tx.row<sql.OfferRow>(sql.readOffer(offerId)))!;
  const agent = await tx.row<AgentRow>(lockAgentOfOffer(offer.agent_id, offerId));
  if (agent?.state === 'reserved') await changeAgent(tx, agent, { state: 'connected', cause, callId: offer.call_id });
}

async function givenBack(tx: Tx, transfer: transferSql.TransferRow, state: 'taken_back' | 'failed'): Promise<void> {
  await tx.run(transferSql.endTransfer(tx.now, transfer.id, state));
  await tx.run(transferSql.noteTakenFromHold(tx.now, transfer.call_id));
  if (transfer.queued_at && transfer.state !== 'consulting') await recordLiveWait(tx, transfer, 'k', transfer.agent_id);
  const offer = transfer.target_offer_id ? await tx.row<sql.OfferRow>(sql.readOffer(transfer.target_offer_id)) : null;
  if (!offer || offer.ended_at) return;
  await tx.run(sql.withdrawOffer(offer.id, NOT_WANTED));
  // Where there is a leg, its end tells the rest.
  if (!(await tx.row(sql.legsOfOffer(offer.id)))) await endUnrung(tx, { ...offer, withdrawn: NOT_WANTED }, NOT_WANTED);
}

const queued = async (tx: Tx, transferId: string, queueId: number): Promise<void> => {
  await tx.run(transferSql.leaveNow(transferId));
  await tx.run(transferSql.queueContact(tx.now, transferId, queueId));
};

async function connect({ telephony }: TransferDeps, { contactLeg, target }: Looked): Promise<void> {
  if (!target) return;
  const why: EndWhy = target.ciq === 'a' ? 'agent_hang_up' : 'call_over';
  // It ended after it was decided so: a process that has come since does not know that they end together.
  if (target.ended_at) return void (await telephony.hangUp(contactLeg.id, why));
  await connectWith(telephony, contactLeg, { legId: target.id, why });
  // A mix that was empty meanwhile may have lost its recording.
  if (contactLeg.recording) await telephony.record(contactLeg.call_id, contactLeg.recording).catch(() => {});
}

async function giveBack(deps: TransferDeps, now: Looked): Promise<void> {
  await endTarget(deps, now, NOT_WANTED);
  if (now.agentLeg.ended_at) return void (await deps.telephony.hangUp(now.contactLeg.id, 'agent_hang_up'));
  await connectWith(deps.telephony, now.contactLeg, { legId: now.agentLeg.id, why: 'agent_hang_up' });
}

/** A leg that is not sent yet never will be. */
async function endTarget({ telephony }: TransferDeps, { target, transfer }: Looked, why: EndWhy): Promise<void> {
  const id = target?.id ?? transfer.leg_id;
  if (id !== null && !target?.ended_at) await telephony.hangUp(id, why);
}
