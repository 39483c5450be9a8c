/**
 * What can be said to a contact's workflow. Definitions only, so that api/, matching and telephony may import them.
 * One plain-JSON object each, ids and codes only: nothing personal enters Temporal.
 *
 * Every update is also accepted as a signal of the same name, for operators at the Temporal UI or CLI: the same handler,
 * but a refused signal is noted in the workflow's details and changes nothing.
 */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { OpenOffer } from '../../activities/contacts.ts';
import type { ResultReason } from '../../domain/codes.ts';
import type { DispositionAction, EndedReason } from '../../domain/states.ts';

export interface ContactInput {
  contactId: string;
  campaignId: string;
  round: number;
  /** Epoch ms before which the contact is not to be queued; null: the campaign's feed has queued it. */
  dueAt: number | null;
  /** Carried over by continue-as-new, or from the round before. */
  carried?: { offerNo: number; stoppedOfferNo: number; callId: string | null; timeline: string[] };
}

export interface Offered {
  /** Counts up per contact: a number already seen is ignored. */
  offerNo: number;
}
/** Matching has reserved this contact for an agent. Only a hint: the offer itself is read where it was made. */
export const offered = defineSignal<[Offered]>('offered');

export interface LegEnded {
  offerNo: number;
  /** Epoch ms; the past when there is nothing to wrap up. */
  wrapUpUntil: number;
}
/** Every leg of an offer has ended whose contact and agent were connected: the talk is over. */
export const legEnded = defineSignal<[LegEnded]>('legEnded');

export interface NodeLost {
  offerNo: number;
}
/** Nobody holds the node of this offer any more: its phones can't be waited for. */
export const nodeLost = defineSignal<[NodeLost]>('nodeLost');

export interface AgentGone {
  offerNo: number;
  why: Extract<ResultReason, 'agent_logged_off' | 'agent_lost'>;
}
/** The agent of a ringing offer has logged off or was lost. */
export const agentGone = defineSignal<[AgentGone]>('agentGone');

export interface WrapUpEnded {
  callId: string;
  /** Whose; a talk that was handed on may have the wrap-ups of several agents. */
  agentId?: string;
}
/** The agent left wrap-up before its timer. */
export const wrapUpEnded = defineSignal<[WrapUpEnded]>('wrapUpEnded');

/** The contact's row was changed by hand: it waits for another time, or for none, or is done since it is not to be called back. */
export const moved = defineSignal<[Record<string, never>]>('moved');

export interface Withdraw {
  offerNo: number;
  why: Extract<ResultReason, 'campaign_paused'>;
}
/** The campaign was stopped: end what is not answered. */
export const withdraw = defineSignal<[Withdraw]>('withdraw');

export interface OfferAnswer {
  offerNo: number;
  agentId: string;
}

export interface Release extends OfferAnswer {
  /** The supervisor: `key:3`. */
  by: string;
}

export interface CallAnswer {
  callId: string;
  agentId: string;
}

/** What an update answers. */
export interface Done {
  done: true;
}

/** Why a contact can be told to end for good. */
export const DISABLE_REASONS = [
  'disabled',
  'deleted',
  'do_not_call',
  'list_replaced',
  'campaign_ended',
] as const satisfies readonly EndedReason[];

export interface Disable {
  reason: (typeof DISABLE_REASONS)[number];
  /** Who: `key:3`, `agent:7`, `import`. */
  by: string;
}

export interface Disposed {
  callId: string;
  agentId: string;
  action: DispositionAction;
  /** Only of a signal: keys of the campaign's topics. What the API stores does not pass through here. */
  topics?: string[];
}

export interface ExtendWrapUp {
  callId: string;
  agentId: string;
  /** Epoch ms. */
  until: number;
}

export interface KeysToSend extends CallAnswer {
  /** Of the row that has them. */
  keysId: string;
}

export interface TransferWanted extends CallAnswer {
  /** Of the row that says to whom, and how. */
  transferId: string;
}

export const reject = defineUpdate<Done, [OfferAnswer]>('reject');
export const cancel = defineUpdate<Done, [OfferAnswer]>('cancel');
/** A supervisor frees the agent whose phone rings. */
export const release = defineUpdate<Done, [Release]>('release');
export const accept = defineUpdate<Done, [OfferAnswer]>('accept');
export const hangUp = defineUpdate<Done, [CallAnswer]>('hangUp');
export const dispose = defineUpdate<Done, [Disposed]>('dispose');
export const extendWrapUp = defineUpdate<Done, [ExtendWrapUp]>('extendWrapUp');
export const disable = defineUpdate<Done, [Disable]>('disable');
export const hold = defineUpdate<Done, [CallAnswer]>('hold');
export const resume = defineUpdate<Done, [CallAnswer]>('resume');
export const sendKeys = defineUpdate<Done, [KeysToSend]>('sendKeys');

export const transfer = defineUpdate<Done, [TransferWanted]>('transfer');
export const completeTransfer = defineUpdate<Done, [CallAnswer]>('completeTransfer');
export const takeBack = defineUpdate<Done, [CallAnswer]>('takeBack');

export interface ContactView {
  phase: 'waiting' | 'queued' | 'ringing' | 'dialling' | 'talking' | 'wrap_up' | 'closed';
  dueAt: number | null;
  offer: OpenOffer | null;
  wrapUpUntil: number | null;
}
export const state = defineQuery<ContactView>('state');

/** The updates as signals, for operators; what each of them wants is in its argument. */
export const asSignals = {
  reject: defineSignal<[OfferAnswer]>(reject.name),
  cancel: defineSignal<[OfferAnswer]>(cancel.name),
  release: defineSignal<[Release]>(release.name),
  accept: defineSignal<[OfferAnswer]>(accept.name),
  hangUp: defineSignal<[CallAnswer]>(hangUp.name),
  dispose: defineSignal<[Disposed]>(dispose.name),
  extendWrapUp: defineSignal<[ExtendWrapUp]>(extendWrapUp.name),
  disable: defineSignal<[Disable]>(disable.name),
  hold: defineSignal<[CallAnswer]>(hold.name),
  resume: defineSignal<[CallAnswer]>(resume.name),
  sendKeys: defineSignal<[KeysToSend]>(sendKeys.name),
  transfer: defineSignal<[TransferWanted]>(transfer.name),
  completeTransfer: defineSignal<[CallAnswer]>(completeTransfer.name),
  takeBack: defineSignal<[CallAnswer]>(takeBack.name),
};
