/**
 * The life of one list contact (docs/domain.md). This is the only place where "the time is up" and "the agent clicked"
 * meet. The queue itself is in PostgreSQL: a queued contact just waits here to be told of an offer.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  isCancellation,
  workflowInfo,
} from '@temporalio/workflow';
import type { DialOutcome, EndOutcome, RingOutcome, Spare } from '../../activities/calls.ts';
import type { Decision, Standing } from '../../activities/contacts.ts';
import { CODE_MEANING, type LegCode, type ResultReason } from '../../domain/codes.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import { endsCall } from '../../domain/offers.ts';
import type * as messages from './messages.ts';
import { command, phone, steps } from './steps.ts';
import { markState, Story } from './story.ts';

export type Closed = Extract<Standing, { at: 'closed' }>;

/** Later than this many events a run hands over to a fresh one; lowered in tests. */
export const CONTINUE_AFTER_EVENTS = 2_000;

/** A definite "no" to whoever asked: the code, and the present state. */
function refuse(code: ErrorCode, message: string, state: string): never {
  throw ApplicationFailure.nonRetryable(message, code, state);
}

export class ContactLife {
  private phase: messages.ContactView['phase'] = 'queued';
  private readonly story: Story;
  /** The offer under way. */
  private offer: messages.Offered | null = null;
  /** An offer that has been announced and not been taken up yet. */
  private next: messages.Offered | null = null;
  private lastOfferNo: number;
  private callId: string | null;
  private dueAt: number | null = null;
  /** A decision that ends the call, or the contact, as soon as what is under way allows. */
  private decision: Decision | null = null;
  /** The campaign was stopped while this offer was open. */
  private stoppedOfferNo = 0;
  private legsEnded: messages.LegEnded | null = null;
  private wrapUpUntil: number | null = null;
  private disposed = false;
  /** Result code of the last leg to the contact. */
  private lastCode: LegCode | undefined;
  private readonly input: messages.ContactInput;

  constructor(input: messages.ContactInput) {
    this.input = input;
    this.lastOfferNo = input.carried?.offerNo ?? 0;
    this.callId = input.carried?.callId ?? null;
    this.story = new Story(input.carried?.timeline);
  }

  /** Until the contact is closed, or (null) the history has grown long and nothing is open: then continue as new. */
  async run(): Promise<Closed | null> {
    let standing: Standing = this.input.dueAt === null ? { at: 'queue' } : { at: 'waiting', dueAt: this.input.dueAt };
    for (;;) {
      if (standing.at === 'closed') break;
      if (standing.at === 'waiting') standing = await this.waitUntilDue(standing.dueAt);
      else if (this.mustContinue()) return null;
      else standing = await this.serveQueue();
    }
    this.close(standing);
    await condition(allHandlersFinished);
    return standing;
  }

  carriedOver(): messages.ContactInput {
    const { timeline } = this.story;
    return { ...this.input, dueAt: null, carried: { offerNo: this.lastOfferNo, callId: this.callId, timeline } };
  }

  view(): messages.ContactView {
    const { phase, dueAt, offer, wrapUpUntil } = this;
    return { phase, dueAt, offer, wrapUpUntil };
  }

  // ---- phases -------------------------------------------------------------------------------------------------------

  private async waitUntilDue(dueAt: number): Promise<Standing> {
    this.enter('waiting', `the retry at ${new Date(dueAt).toISOString()}`);
    this.dueAt = dueAt;
    this.disposed = false;
    await condition(() => this.decision !== null || this.disposed, Math.max(dueAt - Date.now(), 1), {
      summary: 'until the contact is due',
    });
    this.dueAt = null;
    if (this.decision) return this.conclude(this.decision);
    if (this.disposed) return this.conclude({ kind: 'disposed' });
    return steps.enqueueDue(this.ref());
  }

  private async serveQueue(): Promise<Standing> {
    this.enter('queued', 'an agent (and the campaign running)');
    await condition(() => this.next !== null || this.decision !== null || this.mustContinue());
    if (this.decision && !this.next) {
      const standing = await this.conclude(this.decision);
      // Matching was faster: the offer is on its way and is taken back when it is here.
      if (standing.at === 'offered') await condition(() => this.next !== null);
      else return standing;
    }
    return this.next ? this.runOffer(this.takeUp(this.next)) : { at: 'queue' };
  }

  private takeUp(offer: messages.Offered): messages.Offered {
    this.next = null;
    this.offer = offer;
    this.callId = offer.callId;
    this.legsEnded = null;
    this.wrapUpUntil = null;
    this.disposed = false;
    return offer;
  }

  /** One offer, from the agent's phone to what becomes of the contact. */
  private async runOffer(offer: messages.Offered): Promise<Standing> {
    try {
      if (this.stoppedOfferNo === offer.offerNo) this.decision ??= { kind: 'stopped' };
      if (this.decision) return await this.takeBack(offer, this.decision);
      const rung = await this.ring(offer);
      if (rung.kind === 'over') return rung.endsCall ? await this.conclude(this.decision) : { at: 'queue' };
      const dialled = await this.dial(offer);
      if (dialled.kind === 'requeued') return { at: 'queue' };
      if (dialled.kind === 'refused') {
        return await this.conclude(this.decision ?? { kind: 'refused', reason: dialled.reason });
      }
      if (dialled.kind === 'talking') await this.talk(offer);
      return await this.conclude(this.decision);
    } finally {
      this.offer = null;
      if (this.decision?.kind === 'stopped') this.decision = null;
    }
  }

  /** A decision was there before the agent's phone was rung. */
  private async takeBack(offer: messages.Offered, decision: Decision): Promise<Standing> {
    await steps.takeBack({ offerId: offer.offerId, reason: reasonOf(decision) });
    return this.conclude(decision);
  }

  private async ring(offer: messages.Offered): Promise<RingOutcome> {
    this.enter('ringing', `agent ${offer.agentId} to answer`);
    markState('offered', { agentId: offer.agentId });
    this.story.note(`offered to agent ${offer.agentId} (offer ${offer.offerNo}, call ${offer.callId})`);
    const outcome = await this.unlessLost<RingOutcome>(
      () => phone(offer.node, `Ring agent ${offer.agentId}`).ring({ offerId: offer.offerId }),
      () => ({ kind: 'over', code: 'e', reason: 'switch_lost', endsCall: false }),
    );
    if (outcome.kind === 'answered') this.story.note(`agent ${offer.agentId} answered`);
    else this.story.note(`agent ${offer.agentId}: ${inWords(outcome.code, outcome.reason)}`);
    return outcome;
  }

  private async dial(offer: messages.Offered): Promise<DialOutcome> {
    this.enter('dialling', 'the contact to answer');
    const outcome = await this.unlessLost<DialOutcome>(
      () => phone(offer.node, `Dial the contact, attempt ${offer.attempt}`).dial({ offerId: offer.offerId }),
      // The end of a talk may overtake the answer that it has begun.
      () => (this.legsEnded?.talked ? { kind: 'talking' } : { kind: 'failed', code: 'e', reason: 'unknown' }),
    );
    this.lastCode = outcome.kind === 'talking' ? 'k' : outcome.kind === 'failed' ? outcome.code : this.lastCode;
    if (outcome.kind === 'talking') this.story.note('contact answered');
    if (outcome.kind === 'failed') this.story.note(`contact: ${inWords(outcome.code, outcome.reason)}`);
    if (outcome.kind === 'refused') this.story.note(`not dialled: ${outcome.reason}`);
    if (outcome.kind === 'requeued') this.story.note(`agent ${offer.agentId} hung up before the contact was dialled`);
    return outcome;
  }

  /**
   * The phone activity, unless the world has moved on without its answer: the node was lost, the sweep has ended the legs
   * and told so, or the contact has been offered anew.
   */
  private async unlessLost<T>(activity: () => Promise<T>, lost: () => T): Promise<T> {
    const scope = new CancellationScope();
    const answer = scope.run(activity);
    let isAnswered = false;
    const noted = answer.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    const hasMovedOn = () => this.next !== null || this.legsEnded?.offerNo === this.offer?.offerNo;
    await Promise.race([noted, condition(hasMovedOn)]);
    if (isAnswered) return answer;
    scope.cancel();
    await answer.catch((error: unknown) => {
      if (!isCancellation(error)) throw error;
    });
    return lost();
  }

  private async talk(offer: messages.Offered): Promise<void> {
    this.enter('talking', 'the end of the talk');
    markState('talking', { attempt: offer.attempt });
    await condition(() => this.legsEnded?.offerNo === offer.offerNo);
    this.wrapUpUntil = this.legsEnded!.wrapUpUntil;
    this.enter('wrap_up', `agent ${offer.agentId}'s disposition`);
    this.story.note('talk ended');
    while (!this.disposed && this.wrapUpUntil > Date.now()) {
      await condition(() => this.disposed || this.wrapUpUntil! <= Date.now(), this.wrapUpUntil - Date.now(), {
        summary: 'until the wrap-up ends',
      });
    }
    if (!this.disposed) this.story.note('no disposition was registered');
  }

  private async conclude(decision: Decision | null): Promise<Standing> {
    const standing = await steps.conclude({ ...this.ref(), callId: this.callId, decision });
    if (standing.at === 'waiting') markState('waiting', { resultCode: this.lastCode });
    if (standing.at === 'queue') markState('queued');
    return standing;
  }

  private close({ state, reason }: Closed): void {
    this.phase = 'closed';
    this.story.headline({ state, waitingFor: 'nothing' });
    this.story.note(`${state}: ${reason}`);
    markState(state, { resultCode: this.lastCode });
  }

  private enter(phase: messages.ContactView['phase'], waitingFor: string): void {
    this.phase = phase;
    this.story.headline({ state: phase, waitingFor });
  }

  private ref = () => ({ contactId: this.input.contactId, round: this.input.round });

  private mustContinue(): boolean {
    const { continueAsNewSuggested, historyLength } = workflowInfo();
    return (continueAsNewSuggested || historyLength > CONTINUE_AFTER_EVENTS) && this.next === null;
  }

  // ---- what is told ---------------------------------------------------------------------------------------------------

  offered(offer: messages.Offered): void {
    if (offer.offerNo <= this.lastOfferNo) return;
    this.lastOfferNo = offer.offerNo;
    this.next = offer;
  }

  legEnded(message: messages.LegEnded): void {
    this.legsEnded = message;
  }

  wrapUpEnded({ callId }: { callId: string }): void {
    if (this.phase === 'wrap_up' && callId === this.callId) this.wrapUpUntil = Date.now();
  }

  async agentGone({ offerNo, why }: messages.AgentGone): Promise<void> {
    if (this.phase === 'ringing' && this.offer?.offerNo === offerNo) await this.endOffer(why, 'agent_answered');
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
    if (this.phase !== 'ringing') refuse('CONFLICT', 'the offer has been answered', this.phase);
  }

  async reject(): Promise<messages.Done> {
    const outcome = await this.endOffer('agent_reject', 'agent_answered');
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
    this.decision ??= mine;
    if ((await this.endOffer('agent_cancel', 'contact_answered')) === 'answered') {
      if (this.decision === mine) this.decision = null;
      refuse('CANCEL_TOO_LATE', 'the contact answered first', this.phase);
    }
    return { done: true };
  }

  checkAccept({ offerNo, agentId }: messages.OfferAnswer): void {
    this.checkOffer(offerNo, agentId);
    if (this.phase !== 'ringing') refuse('CONFLICT', 'the offer has been answered', this.phase);
  }

  async accept(): Promise<messages.Done> {
    const { node, offerId, agentId } = this.offer!;
    await this.orUnavailable(() => command(node, `Agent ${agentId} confirms`).confirm({ offerId }));
    return { done: true };
  }

  checkHangUp({ callId, agentId }: messages.CallAnswer): void {
    this.checkCall(callId, agentId);
    if (this.phase !== 'dialling' && this.phase !== 'talking') {
      refuse('CONFLICT', 'there is no call to hang up', this.phase);
    }
  }

  async hangUp(): Promise<messages.Done> {
    await this.endOffer('agent_hang_up', 'nothing');
    return { done: true };
  }

  checkDispose({ callId, action }: messages.Disposed): void {
    if (action === 'do_not_call') return;
    if (callId !== this.callId) refuse('CALL_OVER', "the contact's next call has started", this.phase);
    if (!['talking', 'wrap_up', 'waiting'].includes(this.phase)) {
      refuse('CALL_OVER', 'the call is not one to be disposed of', this.phase);
    }
  }

  /** It is stored already: here it only ends the waiting for it. */
  async dispose({ callId, agentId, action }: messages.Disposed): Promise<messages.Done> {
    this.story.note(`agent ${agentId} registered ${action}`);
    const ofThisCall = callId === this.callId && ['talking', 'wrap_up', 'waiting'].includes(this.phase);
    if (ofThisCall) this.disposed = true;
    else await this.disable({ reason: 'do_not_call', by: `agent:${agentId}` });
    return { done: true };
  }

  checkExtendWrapUp({ callId }: messages.ExtendWrapUp): void {
    if (this.phase !== 'wrap_up' || callId !== this.callId) refuse('CONFLICT', 'no wrap-up is under way', this.phase);
  }

  extendWrapUp({ until }: messages.ExtendWrapUp): messages.Done {
    this.wrapUpUntil = until;
    return { done: true };
  }

  checkDisable(): void {
    if (this.phase === 'closed') refuse('CONTACT_CLOSED', 'the contact is closed', this.phase);
  }

  /** Ends what is not answered; a talk is never cut, the contact is disabled after it. */
  async disable({ reason, by }: messages.Disable): Promise<messages.Done> {
    this.decision = { kind: 'final', reason, by };
    this.story.note(`to be disabled: ${reason} by ${by}`);
    if (this.isOpen()) await this.endOffer(reasonOf(this.decision), 'contact_answered');
    await condition(() => this.phase === 'closed' || this.phase === 'talking' || this.phase === 'wrap_up');
    return { done: true };
  }

  // ---- helpers ------------------------------------------------------------------------------------------------------

  /** An offer under way whose contact has not answered. */
  private isOpen = () => this.offer !== null && (this.phase === 'ringing' || this.phase === 'dialling');

  private checkOffer(offerNo: number, agentId: string): void {
    if (!this.isOpen() || this.offer?.offerNo !== offerNo) refuse('OFFER_OVER', 'the offer is over', this.phase);
    if (this.offer.agentId !== agentId) refuse('FORBIDDEN', "this is another agent's offer", this.phase);
  }

  private checkCall(callId: string, agentId: string): void {
    if (this.offer?.callId !== callId) refuse('CALL_OVER', 'the call is over', this.phase);
    if (this.offer.agentId !== agentId) refuse('FORBIDDEN', "this is another agent's call", this.phase);
  }

  private async endOffer(why: ResultReason, spare: Spare): Promise<EndOutcome> {
    const offer = this.offer;
    if (!offer) return 'over';
    return this.orUnavailable(() =>
      command(offer.node, `End offer ${offer.offerNo}: ${why}`).endOffer({ offerId: offer.offerId, why, spare }),
    );
  }

  /** A node that does not answer in time: the asker is told that the outcome is unknown. */
  private async orUnavailable<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ActivityFailure)) throw error;
      throw ApplicationFailure.nonRetryable('the telephony node did not answer in time', 'UNAVAILABLE', this.phase);
    }
  }

  /** A signal that asked for what can't be had, or made no sense: noted for the operator, nothing else. */
  noteRefused(name: string, error: unknown): void {
    if (!(error instanceof ApplicationFailure) && !(error instanceof TypeError)) throw error;
    this.story.note(`signal ${name} refused: ${error.message}`);
  }
}

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
