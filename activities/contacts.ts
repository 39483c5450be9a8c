/**
 * Steps in a contact's life that only write: local activities, each repeatable. What is next is read off the row when the
 * step was done before.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { LegCode, ResultReason } from '../domain/codes.ts';
import { type AttemptHistory, nextStep } from '../domain/retry.ts';
import { type CampaignRules, withDefaults } from '../domain/rules.ts';
import type { DispositionAction, EndedReason } from '../domain/states.ts';
import type { Matching } from '../matching/matching.ts';
import { endCalls, enqueueContacts } from '../matching/queue.ts';
import { holdStatus } from '../matching/sql.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import { registerDisposition } from './dispositions.ts';
import type { LegBook } from './legs.ts';
import { outcomeOf } from './lost.ts';
import { endUnrung, type OfferOutcome } from './offers.ts';
import * as sql from './sql.ts';

export interface ContactDeps {
  db: Db;
  matching: Pick<Matching, 'matchAgent' | 'matchCampaign'>;
  legs: Pick<LegBook, 'end'>;
}

export interface ContactRefInput {
  contactId: string;
  round: number;
}

/** A decision that ends the call, or the contact for good. */
export type Decision =
  /** Cancel, disable, delete, do-not-call, replaced, campaign ended: final. */
  | { kind: 'final'; reason: EndedReason; by: string }
  /** The campaign was stopped: the call ends, the contact waits. */
  | { kind: 'stopped' }
  /** The dial was refused. */
  | { kind: 'refused'; reason: ResultReason }
  /** An agent has registered or corrected the disposition while the contact waits for its next call. */
  | { kind: 'disposed' };

/** Where the contact stands: in the queue (or waiting for its campaign), waiting until `dueAt` (epoch ms), or closed.
 * `offered`: matching was faster, the offer is on its way. `talking`: the leg to the contact is not over. */
export type Standing =
  | { at: 'queue' }
  | { at: 'waiting'; dueAt: number }
  | { at: 'closed'; state: 'done' | 'disabled'; reason: string }
  | { at: 'offered' }
  | { at: 'talking' };

/** An offer as matching made it. */
export interface OpenOffer {
  offerId: string;
  /** Counts up per contact. */
  offerNo: number;
  callId: string;
  agentId: string;
  /** Telephony node that rings and dials. */
  node: string;
  attempt: number;
}

export interface Registration {
  callId: string;
  agentId: string;
  action: DispositionAction;
  requestId: string;
}

export interface ConcludeInput extends ContactRefInput {
  callId: string | null;
  decision: Decision | null;
}

/** A refused number is tried again this much later. */
const IN_USE_RETRY_MS = 60_000;

export type ContactActivities = ReturnType<typeof createContactActivities>;

export function createContactActivities(deps: ContactDeps) {
  const { db, matching } = deps;
  return {
    /** The contact's open offer; null when there is none (any more). */
    async openOffer({ contactId }: ContactRefInput): Promise<OpenOffer | null> {
      const offer = (await db.pool.query<sql.OpenOfferRow>(sql.openOfferOf(contactId))).rows[0];
      if (!offer) return null;
      const { id, offer_no, call_id, agent_id, node, attempt } = offer;
      return { offerId: id, offerNo: offer_no, callId: call_id, agentId: String(agent_id), node, attempt };
    },

    /** What has become of an offer, by its rows; null while it stands, and its phones are to be waited for. */
    outcomeOf: ({ offerId }: { offerId: string }): Promise<OfferOutcome | null> => outcomeOf(deps, offerId),

    /** The retry is due: a new call in the queue or, while the campaign is not running, waiting for that. */
    async enqueueDue({ contactId, round }: ContactRefInput): Promise<Standing> {
      const { standing, campaignId } = await inTx(db, async (tx) => {
        const contact = await lock(tx, contactId, round);
        const campaign = await tx.row<{ status: string }>(holdStatus(contact.campaign_id));
        if (contact.ended_reason) return { standing: await closeFor(tx, contact), campaignId: null };
        if (campaign?.status === 'ended') return { standing: await closeForCampaign(tx, contact), campaignId: null };
        if (campaign?.status === 'running') {
          const queued = await enqueueContacts(tx, [contactId], 'due');
          return { standing: { at: 'queue' } as const, campaignId: queued.length > 0 ? contact.campaign_id : null };
        }
        if (contact.wait_reason !== 'campaign_not_running') {
          await tx.run(sql.waitForCampaign(tx.now, contactId, ['waiting', 'starting']));
        }
        return { standing: { at: 'queue' } as const, campaignId: null };
      });
      if (campaignId !== null) await matching.matchCampaign(campaignId);
      return standing;
    },

    /** A call is over, or a decision ends it: what becomes of the contact. */
    async conclude({ contactId, round, callId, decision }: ConcludeInput): Promise<Standing> {
      return inTx(db, async (tx) => {
        const contact = await lock(tx, contactId, round);
        if (contact.closed_at) return standingOf(contact);
        // A decision about a call that has been carried out before: the contact has a new call since.
        const aboutCall = decision?.kind === 'stopped' || decision?.kind === 'refused';
        if (aboutCall && contact.call_id !== callId) return standingOf(contact);
        if (decision?.kind === 'final' && (await isReserved(tx, contact))) return { at: 'offered' };
        const leg = contact.call_id ? await tx.row<sql.LegRow>(sql.contactLegOfCall(contact.call_id)) : undefined;
        if (leg && !leg.ended_at) return { at: 'talking' };
        if (decision?.kind === 'disposed') return leg ? called(tx, contact, leg) : standingOf(contact);
        if (decision) return decided(tx, contact, leg, decision);
        // Concluded before, or a newer call is under way already.
        const isOver = contact.state === 'waiting' || contact.state === 'queued' || contact.call_id !== callId;
        if (leg && !isOver) return called(tx, contact, leg);
        return contact.ended_reason ? closeFor(tx, contact) : standingOf(contact);
      });
    },

    /** A disposition by an operator's signal, stored as the API stores an agent's. */
    async register({ callId, agentId, action, requestId }: Registration): Promise<void> {
      const what = { topics: [], comment: null, by: 'operator' };
      await registerDisposition(db, { callId, agentId: Number(agentId), action, requestId, ...what });
    },

    /** An offer that a decision ends before its phone was rung: the agent is free again. */
    async takeBack({ offerId, reason }: { offerId: string; reason: ResultReason }): Promise<void> {
      const offer = await inTx(db, async (tx) => {
        await tx.run(sql.withdrawOffer(offerId, reason));
        const found = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
        if (found && !found.ended_at) await endUnrung(tx, found, reason);
        return found;
      });
      if (offer) await matching.matchAgent(offer.agent_id);
    },
  };
}

async function lock(tx: Tx, contactId: string, round: number): Promise<sql.ContactRow> {
  const contact = await tx.row<sql.ContactRow>(sql.lockContact(contactId, round));
  // Erased, or another round by now: this workflow has nothing to do any more.
  if (!contact) throw ApplicationFailure.nonRetryable('the contact has no such round', 'CONTACT_CLOSED');
  return contact;
}

/**
 * Reserved for an agent by an offer that is still open: matching was faster than the decision. One that is withdrawn is
 * the workflow's own, the end of whose phone is on its way.
 */
async function isReserved(tx: Tx, contact: sql.ContactRow): Promise<boolean> {
  if (contact.state !== 'offered') return false;
  return (await tx.row<sql.OpenOfferRow>(sql.openOfferOf(contact.id)))?.withdrawn === null;
}

function standingOf(contact: sql.ContactRow): Standing {
  if (contact.closed_at) {
    const state = contact.state === 'done' ? 'done' : 'disabled';
    return { at: 'closed', state, reason: contact.ended_reason ?? 'disabled' };
  }
  if (contact.state === 'waiting' && contact.wait_until) return { at: 'waiting', dueAt: contact.wait_until.getTime() };
  return { at: 'queue' };
}

async function close(tx: Tx, contact: sql.ContactRow, state: 'done' | 'disabled', reason: string, by: string) {
  await tx.run(sql.closeContact(tx.now, contact.id, { state, reason, by }));
  return { at: 'closed', state, reason: contact.ended_reason ?? reason } as const;
}

/** Closes a contact that a set-wise change has made final and that is in no call any more. */
async function closeFor(tx: Tx, contact: sql.ContactRow): Promise<Standing> {
  if (contact.call_id) await endCalls(tx, [contact.call_id], callReason(contact.ended_reason!));
  return close(tx, contact, 'disabled', contact.ended_reason!, 'system');
}

/** Whoever comes back to a campaign that has ended is not called again. */
const closeForCampaign = (tx: Tx, contact: sql.ContactRow) => close(tx, contact, 'disabled', 'campaign_ended', 'system');

/** The `result_reason` of the queue event `d` for why a contact ended. */
function callReason(reason: string): ResultReason {
  const same: readonly string[] = ['agent_cancel', 'do_not_call', 'deleted', 'list_replaced', 'disabled'];
  if (same.includes(reason)) return reason as ResultReason;
  return reason === 'campaign_ended' ? 'campaign_paused' : 'disabled';
}

async function decided(
  tx: Tx,
  contact: sql.ContactRow,
  leg: sql.LegRow | undefined,
  decision: Exclude<Decision, { kind: 'disposed' }>,
): Promise<Standing> {
  const connected = leg?.answered_at != null && leg.result_reason !== 'abandoned';
  // Who is being called when the list is replaced is called to the end: the leg has ended the call, not the decision.
  const calledOn = decision.kind === 'final' && decision.reason === 'list_replaced';
  const reason: ResultReason =
    decision.kind === 'final'
      ? callReason(decision.reason)
      : decision.kind === 'stopped'
        ? 'campaign_paused'
        : decision.reason;
  if (contact.call_id) {
    if (leg && (connected || calledOn)) {
      await tx.run(sql.endCall(tx.now, contact.call_id, leg.result_code ?? 'k', leg.result_reason));
    } else await endCalls(tx, [contact.call_id], reason);
  }
  if (decision.kind === 'final') return close(tx, contact, 'disabled', decision.reason, decision.by);
  if (decision.kind === 'stopped') {
    if (leg) return afterAttempt(tx, contact, leg, leg.result_code!);
    return waitForCampaign(tx, contact);
  }
  return refused(tx, contact, decision.reason);
}

/** No attempt was consumed; what refused the dial says what is next. */
async function refused(tx: Tx, contact: sql.ContactRow, reason: ResultReason): Promise<Standing> {
  if (reason === 'campaign_paused') return waitForCampaign(tx, contact);
  if (reason === 'cap') {
    const isGivenUp = contact.given_up_1 && (contact.phone_2 === null || contact.given_up_2);
    return close(tx, contact, 'done', isGivenUp ? 'numbers_given_up' : 'attempts_exhausted', 'system');
  }
  if (reason === 'number_in_use' || reason === 'unknown') {
    const until = new Date(tx.now.getTime() + IN_USE_RETRY_MS);
    const phone = contact.next_phone;
    await tx.run(sql.waitFor(tx.now, contact.id, { reason: 'number_in_use', until, rank: null, phone }));
    return { at: 'waiting', dueAt: until.getTime() };
  }
  return close(tx, contact, 'disabled', reason, 'system');
}

async function waitForCampaign(tx: Tx, contact: sql.ContactRow): Promise<Standing> {
  const campaign = await tx.row<{ status: string }>(holdStatus(contact.campaign_id));
  if (campaign?.status === 'ended') return closeForCampaign(tx, contact);
  await tx.run(sql.waitForCampaign(tx.now, contact.id, [contact.state]));
  // Resumed meanwhile: nobody else would queue it.
  if (campaign?.status === 'running') await enqueueContacts(tx, [contact.id], 'resumed');
  return { at: 'queue' };
}

/** A call whose leg to the contact has ended. */
async function called(tx: Tx, contact: sql.ContactRow, leg: sql.LegRow): Promise<Standing> {
  const code = leg.result_code ?? 'k';
  const talked = code === 'k' && leg.result_reason !== 'abandoned';
  await tx.run(sql.endCall(tx.now, leg.call_id, code, leg.result_reason));
  const said = talked ? await tx.row<{ action: string; agent_id: number }>(sql.dispositionOfCall(leg.call_id)) : undefined;
  if (said?.action === 'do_not_call') return close(tx, contact, 'disabled', 'do_not_call', `agent:${said.agent_id}`);
  if (contact.ended_reason) return close(tx, contact, 'disabled', contact.ended_reason, 'system');
  if (talked && said?.action !== 'mark_as_unanswered') return close(tx, contact, 'done', 'answered', 'system');
  return afterAttempt(tx, contact, leg, code);
}

/** Retry as the campaign's rules say, or done. */
async function afterAttempt(tx: Tx, contact: sql.ContactRow, leg: sql.LegRow, code: LegCode): Promise<Standing> {
  const campaign = (await tx.row<{ rules: CampaignRules; status: string }>(sql.holdCampaign(contact.campaign_id)))!;
  const step = nextStep(withDefaults(campaign.rules), await history(tx, contact, leg), code);
  if (step.kind === 'done') return close(tx, contact, 'done', step.reason, 'system');
  if (campaign.status === 'ended') return closeForCampaign(tx, contact);
  const until = new Date(tx.now.getTime() + step.delaySec * 1000);
  await tx.run(sql.waitFor(tx.now, contact.id, { reason: 'retry_delay', until, rank: RETRY_RANK, phone: step.phone }));
  return { at: 'waiting', dueAt: until.getTime() };
}

/** `queue_rank` of a due retry. */
const RETRY_RANK = 2;

async function history(tx: Tx, contact: sql.ContactRow, leg: sql.LegRow): Promise<AttemptHistory> {
  const codes = await tx.rows<{ code: LegCode; times: number }>(sql.codesOfContact(contact.id));
  return {
    attempts: contact.attempts,
    codes: Object.fromEntries(codes.map(({ code, times }) => [code, times])),
    phones: { 1: !contact.given_up_1, 2: contact.phone_2 !== null && !contact.given_up_2 },
    lastPhone: leg.destination === contact.phone_2 ? 2 : 1,
  };
}
