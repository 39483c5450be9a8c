/**
 * The life of one list contact (docs/domain.md). This is the only place where "the time is up" and "the agent clicked"
 * meet. The queue itself is in PostgreSQL: a queued contact just waits here to be told of an offer.
 *
 * What a signal says of an offer is a hint and never taken for the truth: the rows say it. So a signal that came twice,
 * late, or from an operator's hand harms nothing.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  isCancellation,
  patched,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { EndOutcome, Spare } from '../../activities/calls.ts';
import type { Decision, OpenOffer, Standing } from '../../activities/contacts.ts';
import type { DialOutcome, OfferOutcome, OfferOver, RingOutcome } from '../../activities/offers.ts';
import { CODE_MEANING, type LegCode, type ResultReason } from '../../domain/codes.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { endsCall } from '../../domain/offers.ts';
import type { ContactState } from '../../domain/states.ts';
import type * as messages from './messages.ts';
import { command, phone, steps } from './steps.ts';
import { markState, Story } from './story.ts';

export type Closed = Extract<Standing, { at: 'closed' }>;
type Phase = messages.ContactView['phase'];

/** Later than this many events a run hands over to a fresh one; lowered in tests. */
export const CONTINUE_AFTER_EVENTS = 2_000;
/** A wrap-up that is said to last longer (by hand) ends then. */
const LONGEST_WRAP_UP_MS = 86_400_000;

/** Contact and agent are unlinked so soon, or the asker is told that it is unknown. */
const UNLINK_WITHIN_MS = 8_000;

/** A talk that its agent is handing on. */
interface Transfer {
  transferId: string;
  /** The agent who transfers. */
  agentId: string;
  /** Of the agent who is asked to take the talk. */
  offer: OpenOffer | null;
  /** The contact waits in a queue. */
  isQueued: boolean;
  /** The contact hears music and does not end with the agent any more. */
  isUnlinked: boolean;
  isTakenBack: boolean;
}

/** A definite "no" to whoever asked: the code, and the present state. */
function refuse(code: ErrorCode, message: string, state: string): never {
  throw ApplicationFailure.nonRetryable(message, code, state);
}

export class ContactLife {
  private phase: Phase;
  private readonly story: Story;
  /** The offer under way. */
  private offer: OpenOffer | null = null;
  /** Told that there is an offer; the row says which. */
  private isOffered = false;
  /** Told that it waits for another time; the row says which. */
  private isMoved = false;
  private lastOfferNo: number;
  private callId: string | null;
  private dueAt: number | null = null;
  /** It has begun to wait before `due_by_row`: by a timer. */
  private hasTimer = false;
  /** A decision that ends the call, or the contact, as soon as what is under way allows. */
  private decision: Decision | null = null;
  /** The campaign was stopped while this offer was open. */
  private stoppedOfferNo: number;
  private talkEnd: messages.LegEnded | null = null;
  private lostOfferNo = 0;
  /** The offer that is being ended since its agent has gone. */
  private goneOfferNo = 0;
  private wrapUpUntil: number | null = null;
  private disposed = false;
  private hasLeftWrapUp = false;
  private transfer: Transfer | null = null;
  /** One is being begun. */
  private isTransferring = false;
  /** Agents who have handed the talk on: the one who talks last decides. */
  private handedOnBy: string[] = [];
  /** Result code of the last leg to the contact. */
  private lastCode: LegCode | undefined;
  private readonly input: messages.ContactInput;

  constructor(input: messages.ContactInput) {
    this.input = input;
    this.phase = input.dueAt === null ? 'queued' : 'waiting';
    this.lastOfferNo = input.carried?.offerNo ?? 0;
    this.stoppedOfferNo = input.carried?.stoppedOfferNo ?? 0;
    this.callId = input.carried?.callId ?? null;
    this.story = new Story(input.carried?.timeline);
  }

  /** Until the contact is closed, or (null) the history has grown long and nothing is open: then continue as new. */
  async run(): Promise<Closed | null> {
    let standing: Standing = this.input.dueAt === null ? { at: 'queue' } : { at: 'waiting', dueAt: this.input.dueAt };
    while (standing.at !== 'closed') {
      if (standing.at === 'waiting') {
        const next = await this.waitUntilDue(standing.dueAt);
        if (!next) return null;
        standing = next;
      } else if (await this.canHandOver()) return null;
      else standing = await this.serveQueue(standing.at === 'offered');
    }
    this.close(standing);
    await condition(allHandlersFinished);
    return standing;
  }

  carriedOver(): messages.ContactInput {
    const { lastOfferNo: offerNo, stoppedOfferNo, callId, story, dueAt } = this;
    return { ...this.input, dueAt, carried: { offerNo, stoppedOfferNo, callId, timeline: story.timeline } };
  }

  view(): messages.ContactView {
    const { phase, dueAt, offer, wrapUpUntil } = this;
    return { phase, dueAt, offer, wrapUpUntil };
  }

  // ---- phases -------------------------------------------------------------------------------------------------------

  /**
   * Until it is offered: the row waits for the time, and the sweep queues it then, with all others that are due
   * (matching/due.ts). A timer of its own would wake as many workflows at once as contacts are due at once. Null: to be handed
   * over.
   */
  private async waitUntilDue(dueAt: number): Promise<Standing | null> {
    this.enter('waiting', `the call at ${new Date(dueAt).toISOString()}, and an agent for it`);
    this.dueAt = dueAt;
    this.disposed = false;
    const isWoken = () => this.decision !== null || this.disposed || this.isMoved;
    this.hasTimer = !patched('due_by_row');
    if (this.hasTimer) await condition(isWoken, Math.max(dueAt - Date.now(), 1), { summary: 'until the contact is due' });
    else if (await this.canHandOver()) return null;
    else await condition(() => isWoken() || this.isOffered);
    const { hasTimer } = this;
    this.hasTimer = false;
    this.dueAt = null;
    if (this.decision) return this.conclude(this.decision);
    if (this.disposed) return this.conclude({ kind: 'disposed' });
    if (this.isMoved) return this.standing();
    if (hasTimer) return steps.enqueueDue(this.ref());
    const offer = await this.openOffer();
    return offer ? this.runOffer(offer) : this.standing();
  }

  /** `isReserved`: the row is reserved already, whether or not the workflow has been told. */
  private async serveQueue(isReserved: boolean): Promise<Standing> {
    this.enter('queued', 'an agent (and the campaign running)');
    await condition(
      () => isReserved || this.isOffered || this.decision !== null || this.disposed || this.isMoved || this.isLong(),
    );
    if (this.decision && !isReserved) return this.conclude(this.decision);
    if (this.disposed && !isReserved) {
      this.disposed = false;
      return this.conclude({ kind: 'disposed' });
    }
    if (!isReserved && !this.isOffered) return this.isMoved ? this.standing() : { at: 'queue' };
    const offer = await this.openOffer();
    if (offer) return this.runOffer(offer);
    return patched('row_without_offer') ? this.byRow() : { at: 'queue' };
  }

  /**
   * Told of an offer that is over. What ended it may be forgotten here: with a task that fails, an update it has brought is lost,
   * but not what came of it in the rows.
   */
  private async byRow(): Promise<Standing> {
    const standing = await this.standing();
    // Reserved still, by an offer that was run here: its end is told.
    return standing.at === 'offered' ? { at: 'queue' } : standing;
  }

  /** The contact's open offer as matching made it, if it is a new one. */
  private async openOffer(): Promise<OpenOffer | null> {
    this.isOffered = false;
    const offer = await steps.openOffer(this.ref());
    return offer && offer.offerNo > this.lastOfferNo ? offer : null;
  }

  /** One offer, from the agent's phone to what becomes of the contact. */
  private async runOffer(offer: OpenOffer): Promise<Standing> {
    this.offer = offer;
    this.lastOfferNo = offer.offerNo;
    this.callId = offer.callId;
    this.wrapUpUntil = null;
    this.disposed = false;
    this.hasLeftWrapUp = false;
    this.transfer = null;
    this.handedOnBy = [];
    try {
      if (this.stoppedOfferNo === offer.offerNo) this.decision ??= { kind: 'stopped' };
      if (this.decision) return await this.takeBack(offer, this.decision);
      const rung = await this.ring(offer);
      if (rung.kind === 'over') return await this.afterOffer(rung);
      // Else the rows have said already what came of it.
      const dialled = rung.kind === 'answered' ? await this.dial(offer) : rung;
      if (dialled.kind === 'over') return await this.afterOffer(dialled);
      if (dialled.kind === 'refused') {
        return await this.conclude(this.decision ?? { kind: 'refused', reason: dialled.reason });
      }
      return dialled.kind === 'talking' ? await this.talk(offer) : await this.conclude(this.decision);
    } finally {
      this.offer = null;
      if (this.decision?.kind === 'stopped') this.decision = null;
    }
  }

  /** A decision was there before the agent's phone was rung. */
  private async takeBack(offer: OpenOffer, decision: Decision): Promise<Standing> {
    await steps.takeBack({ offerId: offer.offerId, reason: reasonOf(decision) });
    return this.conclude(decision);
  }

  /** The contact was not dialled: the call is back at its place, or has ended with the offer. */
  private async afterOffer({ endsCall: isEnd }: OfferOver): Promise<Standing> {
    return isEnd ? this.conclude(this.decision) : { at: 'queue' };
  }

  private async ring(offer: OpenOffer): Promise<OfferOutcome> {
    this.enter('ringing', `agent ${offer.agentId} to answer`, { agentId: offer.agentId });
    this.story.note(`offered to agent ${offer.agentId} (offer ${offer.offerNo}, call ${offer.callId})`);
    const outcome = await this.unlessOvertaken<RingOutcome>(offer, () =>
      phone(offer.node, `Ring agent ${offer.agentId}`).ring({ offerId: offer.offerId }),
    );
    if (outcome.kind === 'over') this.story.note(`agent ${offer.agentId}: ${inWords(outcome.code, outcome.reason)}`);
    else this.story.note(`agent ${offer.agentId} answered`);
    return outcome;
  }

  private async dial(offer: OpenOffer): Promise<OfferOutcome> {
    this.enter('dialling', 'the contact to answer');
    // A decision whose carrying out stayed unknown: it must not be dialled over.
    const refusal = this.decision && reasonOf(this.decision);
    const outcome = await this.unlessOvertaken<DialOutcome>(offer, () =>
      phone(offer.node, `Dial the contact, attempt ${offer.attempt}`).dial({ offerId: offer.offerId, refusal }),
    );
    if (outcome.kind === 'talking') {
      this.lastCode = 'k';
      this.story.note('contact answered');
    } else if (outcome.kind === 'failed') {
      this.lastCode = outcome.code;
      this.story.note(`contact: ${inWords(outcome.code, outcome.reason)}`);
    } else if (outcome.kind === 'refused') this.story.note(`not dialled: ${outcome.reason}`);
    else this.story.note(`agent ${offer.agentId} was gone before the contact was dialled`);
    return outcome;
  }

  /**
   * The phone's activity, unless the world has moved on without its answer: the talk is over, the node was lost, or the
   * contact has been offered anew. Whether that is so, the rows say.
   */
  private async unlessOvertaken<T extends OfferOutcome>(
    offer: OpenOffer,
    activity: () => Promise<T>,
  ): Promise<T | OfferOutcome> {
    const scope = new CancellationScope();
    const answer = scope.run(activity);
    let isAnswered = false;
    const noted = answer.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    const isHinted = () =>
      this.isOffered || this.talkEnd?.offerNo === offer.offerNo || this.lostOfferNo === offer.offerNo;
    let overtaken: OfferOutcome | null = null;
    while (!overtaken) {
      await Promise.race([noted, condition(isHinted)]);
      if (isAnswered) return answer;
      const { isOffered, talkEnd } = this;
      this.isOffered = false;
      this.talkEnd = null;
      this.lostOfferNo = 0;
      overtaken = await steps.outcomeOf({ offerId: offer.offerId });
      if (!overtaken) continue;
      // What was said beside it still stands.
      this.isOffered ||= isOffered;
      this.talkEnd ??= talkEnd;
    }
    scope.cancel();
    await answer.catch((error: unknown) => {
      if (!isCancellation(error)) throw error;
    });
    return overtaken;
  }

  /** A talk to its end, the wrap-up, and what becomes of the contact. */
  private async talk(offer: OpenOffer): Promise<Standing> {
    // The contact has answered: what was to end the call before that has come too late.
    if (this.decision && !outlastsTalk(this.decision)) this.decision = null;
    for (;;) {
      this.enter('talking', 'the end of the talk', { attempt: offer.attempt });
      await this.untilTalkEnds(offer);
      this.enter('wrap_up', `agent ${this.offer?.agentId}'s disposition`);
      this.story.note('talk ended');
      await this.untilDisposed();
      if (!this.disposed) this.story.note('no disposition was registered');
      const standing = await this.conclude(this.decision);
      if (standing.at !== 'talking') return standing;
      this.story.note('they still talk');
      this.hasLeftWrapUp = false;
    }
  }

  private async untilTalkEnds(talk: OpenOffer): Promise<void> {
    while (this.talkEnd?.offerNo !== talk.offerNo) {
      await condition(() => this.hasEnded(talk) || this.isLost(talk) || this.transfer !== null);
      if (this.hasEnded(talk)) break;
      if (this.isLost(talk)) await this.askRows(talk);
      else await this.carry(talk, this.transfer!);
    }
    this.transfer = null;
    this.wrapUpUntil = Math.min(this.talkEnd!.wrapUpUntil, Date.now() + LONGEST_WRAP_UP_MS);
    this.talkEnd = null;
  }

  private hasEnded = (talk: OpenOffer) => this.talkEnd?.offerNo === talk.offerNo;

  /** Of a talk that is handed on, any of its offers may be the one that is told of. */
  private isLost = (talk: OpenOffer) =>
    [talk, this.offer, this.transfer?.offer].some((offer) => offer?.offerNo === this.lostOfferNo);

  /** Ends the talk's legs if nobody holds the node any more; that is told like any other end. */
  private async askRows(talk: OpenOffer): Promise<void> {
    this.lostOfferNo = 0;
    await steps.outcomeOf({ offerId: talk.offerId });
  }

  // ---- a talk that is handed on ---------------------------------------------------------------------------------------

  /** Until contact, agent and target are where they belong, or the talk is over. */
  private async carry(talk: OpenOffer, transfer: Transfer): Promise<void> {
    const { transferId } = transfer;
    const unlinked = await this.whileTalking(talk, async () => {
      await phone(talk.node, 'Transfer: the contact is left with music').unlink({ transferId });
      return true;
    });
    if (!unlinked) return;
    transfer.isUnlinked = true;
    for (;;) {
      // Taken back, it is carried all the same: what the click has begun is done to its end.
      if (transfer.isQueued && !(await this.offeredInQueue(talk, transfer)) && this.hasEnded(talk)) break;
      transfer.isTakenBack = false;
      const outcome = await this.whileTalking(talk, () =>
        phone(talk.node, 'Transfer: the target').carryTransfer({ transferId }),
      );
      transfer.offer = null;
      transfer.isQueued = outcome?.kind === 'queued';
      if (outcome?.kind === 'connected') this.handedOn(transfer, outcome.offer);
      if (outcome?.kind === 'back') this.story.note(`agent ${transfer.agentId} has the contact back`);
      if (!transfer.isQueued) break;
      this.story.note('the contact waits in the queue');
    }
    this.transfer = null;
  }

  /** Waits until matching has found an agent for the contact; false when the talk is over, or was taken back, before that. */
  private async offeredInQueue(talk: OpenOffer, transfer: Transfer): Promise<boolean> {
    while (!transfer.offer) {
      await condition(() => this.isOffered || this.hasEnded(talk) || this.isLost(talk) || transfer.isTakenBack);
      if (this.hasEnded(talk) || transfer.isTakenBack) return false;
      if (this.isLost(talk)) {
        await this.askRows(talk);
        continue;
      }
      this.isOffered = false;
      transfer.offer = await steps.offerOfTransfer({ transferId: transfer.transferId });
    }
    this.story.note(`offered to agent ${transfer.offer.agentId} (offer ${transfer.offer.offerNo})`);
    return true;
  }

  /** `offer`: of the agent who has the talk now; null: it is a number that has it. */
  private handedOn({ agentId }: Transfer, offer: OpenOffer | null): void {
    this.handedOnBy.push(agentId);
    this.story.note(`agent ${agentId} has handed the talk on to ${offer ? `agent ${offer.agentId}` : 'a number'}`);
    if (!offer) return;
    this.offer = offer;
    // Who talks last decides: what the one before has said waits in the rows.
    this.disposed = false;
    this.hasLeftWrapUp = false;
    markState('talking', { agentId: offer.agentId });
  }

  /** The activity's answer; null when the talk is over first. */
  private async whileTalking<T>(talk: OpenOffer, activity: () => Promise<T>): Promise<T | null> {
    const scope = new CancellationScope();
    const answer = scope.run(activity);
    let isAnswered = false;
    const noted = answer.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    for (;;) {
      await Promise.race([noted, condition(() => this.hasEnded(talk) || this.isLost(talk))]);
      if (isAnswered) return answer;
      if (this.hasEnded(talk)) break;
      await this.askRows(talk);
    }
    scope.cancel();
    await answer.catch((error: unknown) => {
      if (!isCancellation(error)) throw error;
    });
    return null;
  }

  private async untilDisposed(): Promise<void> {
    const isOver = () => this.disposed || this.hasLeftWrapUp || this.wrapUpUntil! <= Date.now();
    while (!isOver()) {
      await condition(isOver, this.wrapUpUntil! - Date.now(), { summary: 'until the wrap-up ends' });
    }
  }

  private standing(): Promise<Standing> {
    this.isMoved = false;
    return steps.standing(this.ref());
  }

  private async conclude(decision: Decision | null): Promise<Standing> {
    return steps.conclude({ ...this.ref(), callId: this.callId, decision });
  }

  private close({ state, reason }: Closed): void {
    this.phase = 'closed';
    this.story.headline({ state, waitingFor: 'nothing' });
    this.story.note(`${state}: ${reason}`);
    markState(state, { resultCode: this.lastCode });
  }

  private enter(phase: Exclude<Phase, 'closed'>, waitingFor: string, more: { agentId?: string; attempt?: number } = {}): void {
    const hasChanged = phase !== this.phase;
    this.phase = phase;
    this.story.headline({ state: phase, waitingFor });
    if (hasChanged) markState(STATE_OF[phase], { ...more, resultCode: phase === 'waiting' ? this.lastCode : undefined });
  }

  private ref = () => ({ contactId: this.input.contactId, round: this.input.round });

  private isLong(): boolean {
    const { continueAsNewSuggested, historyLength } = workflowInfo();
    return continueAsNewSuggested || historyLength > CONTINUE_AFTER_EVENTS;
  }

  /** The history is long and nothing is open, nor has anything come while the last click was being answered. */
  private async canHandOver(): Promise<boolean> {
    if (!this.isLong()) return false;
    await condition(() => allHandlersFinished() || this.decision !== null);
    return !this.isOffered && this.decision === null && !this.disposed && !this.isMoved;
  }

  // ---- what is told ---------------------------------------------------------------------------------------------------

  moved(): void {
    this.isMoved = true;
  }

  offered({ offerNo }: messages.Offered): void {
    if (offerNo <= this.lastOfferNo) return;
    this.isOffered = true;
    // The row was queued before the timer is over, which may be of a time that holds no more.
    if (this.hasTimer && patched('offered_before_timer')) this.isMoved = true;
  }

  legEnded(message: messages.LegEnded): void {
    // It may come before the offer is taken up, where a workflow was started anew in the middle of a talk.
    if (message.offerNo >= this.lastOfferNo) this.talkEnd = message;
  }

  nodeLost({ offerNo }: messages.NodeLost): void {
    this.lostOfferNo = offerNo;
  }

  wrapUpEnded({ callId, agentId }: messages.WrapUpEnded): void {
    // It may come with, or before, the end of the talk.
    if (callId === this.callId && !this.hasHandedOn(agentId)) this.hasLeftWrapUp = true;
  }

  async agentGone({ offerNo, why }: messages.AgentGone): Promise<void> {
    const offer = this.askedBy(offerNo) ?? (this.phase === 'ringing' ? this.offer : null);
    if (offer?.offerNo !== offerNo || this.goneOfferNo === offerNo) return;
    this.goneOfferNo = offerNo;
    try {
      await this.endOffer(why, 'agent_answered', offer);
    } finally {
      this.goneOfferNo = 0;
    }
  }

  async withdraw({ offerNo, why }: messages.Withdraw): Promise<void> {
    this.stoppedOfferNo = Math.max(this.stoppedOfferNo, offerNo);
    if (!this.isOpen() || this.offer?.offerNo !== offerNo) return;
    this.decision ??= { kind: 'stopped' };
    if ((await this.endOffer(why, 'contact_answered')) === 'answered' && this.decision?.kind === 'stopped') {
      this.decision = null;
    }
  }

  // ---- what is wanted (updates): a check that refuses, and the deed -------------------------------------------------

  checkReject({ offerNo, agentId }: messages.OfferAnswer): void {
    this.checkOffer(offerNo, agentId);
    if (!this.isAsked(offerNo)) refuse('CONFLICT', 'the offer has been answered', this.phase);
  }

  reject({ offerNo }: messages.OfferAnswer): Promise<messages.Done> {
    return this.turnDown(offerNo, 'agent_reject');
  }

  checkRelease(answer: messages.Release): void {
    this.checkReject(answer);
  }

  release({ offerNo, by }: messages.Release): Promise<messages.Done> {
    return this.turnDown(offerNo, 'agent_released', by);
  }

  /** The call goes back to its place, unless the phone is answered first. */
  private async turnDown(offerNo: number, why: ResultReason, by?: string): Promise<messages.Done> {
    const outcome = await this.endOffer(why, 'agent_answered', this.askedBy(offerNo) ?? this.offer, by);
    if (outcome === 'answered') refuse('CONFLICT', 'the phone was answered first', this.phase);
    if (outcome === 'over') refuse('OFFER_OVER', 'the offer is over', this.phase);
    return { done: true };
  }

  checkCancel({ offerNo, agentId }: messages.OfferAnswer): void {
    if (this.phase === 'talking' || this.phase === 'wrap_up') {
      refuse('CANCEL_TOO_LATE', 'the contact has answered', this.phase);
    }
    this.checkOffer(offerNo, agentId);
  }

  async cancel({ agentId }: messages.OfferAnswer): Promise<messages.Done> {
    const mine: Decision = { kind: 'final', reason: 'agent_cancel', by: `agent:${agentId}` };
    // A stop ends the call only; the cancel that comes while it is carried out ends the contact too.
    if (this.decision === null || this.decision.kind === 'stopped') this.decision = mine;
    if ((await this.endOffer('agent_cancel', 'contact_answered')) === 'answered') {
      if (this.decision === mine) this.decision = null;
      refuse('CANCEL_TOO_LATE', 'the contact answered first', this.phase);
    }
    return { done: true };
  }

  checkAccept({ offerNo, agentId }: messages.OfferAnswer): void {
    this.checkOffer(offerNo, agentId);
    if (!this.isAsked(offerNo)) refuse('CONFLICT', 'the offer has been answered', this.phase);
  }

  async accept({ offerNo }: messages.OfferAnswer): Promise<messages.Done> {
    const { node, offerId, agentId } = (this.askedBy(offerNo) ?? this.offer)!;
    await this.orUnavailable(() => command(node, `Agent ${agentId} confirms`).confirm({ offerId }));
    return { done: true };
  }

  checkHangUp({ callId, agentId }: messages.CallAnswer): void {
    this.checkCall(callId, agentId);
    if (this.phase !== 'dialling' && this.phase !== 'talking') {
      refuse('CONFLICT', 'there is no call to hang up', this.phase);
    }
  }

  async hangUp({ agentId }: messages.CallAnswer): Promise<messages.Done> {
    await this.endOffer('agent_hang_up', 'nothing', this.offerOfAgent(agentId));
    return { done: true };
  }

  /** For what an agent does with the contact on the line. */
  checkInTalk({ callId, agentId }: messages.CallAnswer): void {
    this.checkCall(callId, agentId);
    if (this.phase !== 'talking') refuse('CONFLICT', 'they do not talk', this.phase);
    if (this.offer?.agentId !== agentId) refuse('CONFLICT', 'the talk is not handed on yet', this.phase);
  }

  checkHold(message: messages.CallAnswer): void {
    this.checkInTalk(message);
    if (this.transfer || this.isTransferring) refuse('CONFLICT', 'a transfer is under way', this.phase);
  }

  async hold(on: boolean): Promise<messages.Done> {
    const { node, offerId, agentId } = this.offer!;
    const what = on ? `Agent ${agentId} puts the contact on hold` : `Agent ${agentId} takes the contact back`;
    await this.orUnavailable(() => command(node, what).hold({ offerId, on }));
    this.story.note(`agent ${agentId} ${on ? 'has put the contact on hold' : 'is back with the contact'}`);
    return { done: true };
  }

  async sendKeys({ keysId }: messages.KeysToSend): Promise<messages.Done> {
    const { node, offerId, agentId } = this.offer!;
    await this.orUnavailable(() => command(node, `Agent ${agentId} sends keys`).sendKeys({ offerId, keysId }));
    return { done: true };
  }

  checkTransfer(message: messages.TransferWanted): void {
    if (this.transfer?.transferId === message.transferId) return;
    this.checkHold(message);
  }

  /** Answered when the contact is left with music: from then on the agent's hanging up does not end the contact's leg. */
  async transferTalk({ transferId, agentId }: messages.TransferWanted): Promise<messages.Done> {
    // Asked for before, by who was told that it is unknown.
    if (this.transfer?.transferId === transferId) return this.untilUnlinked(this.transfer);
    const { offerId } = this.offer!;
    this.isTransferring = true;
    const { at, offer } = await this.orUnavailable(() => steps.beginTransfer({ transferId, offerId })).finally(
      () => (this.isTransferring = false),
    );
    const to = at === 'queued' ? 'a queue' : offer ? `agent ${offer.agentId}` : 'a number';
    this.story.note(`agent ${agentId} transfers the talk to ${to} (transfer ${transferId})`);
    // The contact may have hung up meanwhile: the rows have ended it then.
    if (this.phase !== 'talking') return { done: true };
    const isQueued = at === 'queued';
    this.transfer = { transferId, agentId, offer, isQueued, isUnlinked: false, isTakenBack: false };
    return this.untilUnlinked(this.transfer);
  }

  private async untilUnlinked(transfer: Transfer): Promise<messages.Done> {
    const isBegun = () => transfer.isUnlinked || this.transfer !== transfer || this.phase !== 'talking';
    if (!(await condition(isBegun, UNLINK_WITHIN_MS))) this.refuseAsUnknown();
    return { done: true };
  }

  checkTransferring({ callId, agentId }: messages.CallAnswer): void {
    this.checkInTalk({ callId, agentId });
    if (this.transfer?.agentId !== agentId) refuse('CONFLICT', 'no transfer is under way', this.phase);
  }

  async completeTransfer(): Promise<messages.Done> {
    const { transferId, agentId } = this.transfer!;
    const { node } = this.offer!;
    await this.orUnavailable(() => command(node, `Agent ${agentId} leaves the contact`).completeTransfer({ transferId }));
    return { done: true };
  }

  async takeBackContact(): Promise<messages.Done> {
    const transfer = this.transfer!;
    const { node, agentId } = this.offer!;
    const { transferId } = transfer;
    try {
      await this.orUnavailable(() => command(node, `Agent ${agentId} takes the contact back`).takeContactBack({ transferId }));
    } catch (error) {
      // Whether it was done is unknown: the rows say it.
      transfer.isTakenBack = !(error instanceof ApplicationFailure) || error.type !== 'CONFLICT';
      throw error;
    }
    transfer.isTakenBack = true;
    return { done: true };
  }

  checkDispose({ callId, action }: messages.Disposed): void {
    if (action === 'do_not_call') return;
    if (this.phase === 'closed') refuse('CONTACT_CLOSED', 'the contact is closed', this.phase);
    if (callId !== this.callId) refuse('CALL_OVER', "the contact's next call has started", this.phase);
    if (!DISPOSABLE.includes(this.phase)) refuse('CALL_OVER', 'the call is not one to be disposed of', this.phase);
  }

  /** It is stored already: here it only ends the waiting for it. */
  async dispose({ callId, agentId, action }: messages.Disposed): Promise<messages.Done> {
    this.story.note(`agent ${agentId} registered ${action}`);
    // Of one who has handed the talk on it is in the rows, and the one who has the talk now is waited for.
    if (callId === this.callId && this.hasHandedOn(agentId)) return { done: true };
    if (callId === this.callId && DISPOSABLE.includes(this.phase)) this.disposed = true;
    else await this.disable({ reason: 'do_not_call', by: `agent:${agentId}` });
    return { done: true };
  }

  /** As a signal, by an operator: what the API would have stored before is stored here. */
  async disposeByHand({ callId, agentId, action, topics = [] }: messages.Disposed): Promise<messages.Done> {
    try {
      await steps.register({ callId, agentId, action, topics, requestId: uuid4() });
    } catch (error) {
      throw error instanceof ActivityFailure && error.cause instanceof ApplicationFailure ? error.cause : error;
    }
    return this.dispose({ callId, agentId, action });
  }

  checkExtendWrapUp({ callId, agentId }: messages.ExtendWrapUp): void {
    const isOwn = this.phase === 'wrap_up' || this.handedOnBy.includes(agentId);
    if (!isOwn || callId !== this.callId) refuse('CONFLICT', 'no wrap-up is under way', this.phase);
    if (!this.hasHandedOn(agentId) && this.offer?.agentId !== agentId) refuse('FORBIDDEN', "this is another agent's wrap-up", this.phase);
  }

  extendWrapUp({ until, agentId }: messages.ExtendWrapUp): messages.Done {
    // One agent may wrap up while another talks: the contact's own waits for the one who talks last.
    if (this.phase !== 'wrap_up' || this.hasHandedOn(agentId)) return { done: true };
    // Never shortens, as the agent's own: of two extensions the longer holds.
    this.wrapUpUntil = Math.max(this.wrapUpUntil ?? 0, Math.min(until, Date.now() + LONGEST_WRAP_UP_MS));
    return { done: true };
  }

  checkDisable(): void {
    if (this.phase === 'closed') refuse('CONTACT_CLOSED', 'the contact is closed', this.phase);
  }

  /** Ends what is not answered; a talk is never cut, the contact is disabled after it. */
  async disable({ reason, by }: messages.Disable): Promise<messages.Done> {
    this.decision = { kind: 'final', reason, by };
    this.story.note(`to be disabled: ${reason} by ${by}`);
    // Whose list was replaced is not offered any more, but a phone that rings already rings on.
    const ringsOn = reason === 'list_replaced' && this.phase === 'dialling';
    if (this.isOpen() && !ringsOn) await this.endOffer(reasonOf(this.decision), 'contact_answered');
    await condition(() => this.phase === 'closed' || this.phase === 'talking' || this.phase === 'wrap_up');
    return { done: true };
  }

  // ---- helpers ------------------------------------------------------------------------------------------------------

  /** An offer under way whose contact has not answered. */
  private isOpen = () => this.offer !== null && (this.phase === 'ringing' || this.phase === 'dialling');

  /** The offer of the agent who is asked to take the talk, if it is this one. */
  private askedBy(offerNo: number): OpenOffer | null {
    const asked = this.transfer?.offer;
    return asked?.offerNo === offerNo ? asked : null;
  }

  /** Its agent has not answered, as far as is known here. */
  private isAsked = (offerNo: number) => this.phase === 'ringing' || this.askedBy(offerNo) !== null;

  private offerOfAgent(agentId: string): OpenOffer | null {
    const asked = this.transfer?.offer;
    return asked?.agentId === agentId ? asked : this.offer;
  }

  /** Has left the talk to somebody else; not one who has it back, or who gave it to a number. */
  private hasHandedOn = (agentId: string | undefined) =>
    agentId !== undefined && this.handedOnBy.includes(agentId) && this.offer?.agentId !== agentId;

  private checkOffer(offerNo: number, agentId: string): void {
    const offer = this.askedBy(offerNo) ?? (this.isOpen() ? this.offer : null);
    if (offer?.offerNo !== offerNo) refuse('OFFER_OVER', 'the offer is over', this.phase);
    if (offer.agentId !== agentId) refuse('FORBIDDEN', "this is another agent's offer", this.phase);
  }

  private checkCall(callId: string, agentId: string): void {
    const offer = this.offerOfAgent(agentId);
    if (offer?.callId !== callId) refuse('CALL_OVER', 'the call is over', this.phase);
    if (offer.agentId !== agentId) refuse('FORBIDDEN', "this is another agent's call", this.phase);
  }

  private async endOffer(why: ResultReason, spare: Spare, offer = this.offer, by?: string): Promise<EndOutcome> {
    if (!offer) return 'over';
    return this.orUnavailable(() =>
      command(offer.node, `End offer ${offer.offerNo}: ${why}`).endOffer({ offerId: offer.offerId, why, spare, ...(by && { by }) }),
    );
  }

  /** A node that does not answer in time: the asker is told that the outcome is unknown. */
  private async orUnavailable<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      if (error.cause instanceof ApplicationFailure && error.cause.type === 'CONFLICT') throw error.cause;
      this.refuseAsUnknown();
    }
  }

  /** With the time, by which a repeat is told from what was said before. */
  private refuseAsUnknown(): never {
    throw ApplicationFailure.nonRetryable('the telephony node did not answer in time', 'UNAVAILABLE', this.phase, Date.now());
  }

  /** A signal that asked for what can't be had, or made no sense: noted for the operator, nothing else. */
  noteRefused(name: string, error: unknown): void {
    if (!(error instanceof ApplicationFailure)) throw error;
    this.story.note(`signal ${name} refused: ${error.message}`);
  }
}

/** `ContactState` of each phase. */
const STATE_OF: Readonly<Record<Exclude<Phase, 'closed'>, ContactState>> = {
  waiting: 'waiting',
  queued: 'queued',
  ringing: 'offered',
  dialling: 'dialling',
  talking: 'talking',
  wrap_up: 'wrap_up',
};

/**
 * `dialling`: a short talk may be over before its beginning has been told. `queued`: what is due waits for its campaign.
 */
const DISPOSABLE: readonly Phase[] = ['dialling', 'talking', 'wrap_up', 'waiting', 'queued'];

/** Cancel and stop end what is not answered; whoever has talked is treated by what came of the talk. */
const outlastsTalk = (decision: Decision): boolean => decision.kind === 'final' && decision.reason !== 'agent_cancel';

/** The reason that a decision gives to what it ends. */
function reasonOf(decision: Decision): ResultReason {
  if (decision.kind === 'stopped') return 'campaign_paused';
  if (decision.kind === 'refused') return decision.reason;
  if (decision.kind === 'disposed') return 'disabled';
  const { reason } = decision;
  if (reason === 'campaign_ended') return 'campaign_paused';
  return endsCall(reason) && isResultReason(reason) ? reason : 'disabled';
}

const isResultReason = (reason: string): reason is ResultReason =>
  ['agent_cancel', 'do_not_call', 'deleted', 'list_replaced', 'disabled'].includes(reason);

const inWords = (code: keyof typeof CODE_MEANING, reason: string | null) =>
  `\`${code}\` ${CODE_MEANING[code]}${reason ? ` (${reason})` : ''}`;
