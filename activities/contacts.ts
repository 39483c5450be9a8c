/**
 * Steps in a contact's life that only write: local activities, each repeatable. What is next is read off the row when the
 * step was done before.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { LegCode, ResultReason } from '../domain/codes.ts';
import { AppError } from '../domain/errors.ts';
import { type AttemptHistory, nextStep } from '../domain/retry.ts';
import { rulesOfCall, type StoredRules } from '../domain/rules-of-call.ts';
import { type DispositionAction, type EndedReason, endStateOf } from '../domain/states.ts';
import type { Matching } from '../matching/matching.ts';
import { endCalls, enqueueContacts } from '../matching/queue.ts';
import { closeWindows } from '../matching/hours-sql.ts';
import { callsNow, type Held, holdStatus, RESCHEDULE_RANK, waitForCampaign } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';
import { moved } from '../workflows/contact/messages.ts';
import { registerDisposition } from './dispositions.ts';
import type { LegBook } from './legs.ts';
import { outcomeOf } from './lost.ts';
import { callReason, endUnrung, type OfferOutcome } from './offers.ts';
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
  /** Keys of the campaign's topics. */
  topics: string[];
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
    /** The contact's offer that is to be taken up; null when there is none (any more). */
    async openOffer({ contactId }: ContactRefInput): Promise<OpenOffer | null> {
      const offer = (await db.pool.query<sql.OpenOfferRow>(sql.offerToTakeUp(contactId))).rows[0];
      if (!offer) return null;
      const { id, offer_no, call_id, agent_id, node, attempt } = offer;
      return { offerId: id, offerNo: offer_no, callId: call_id, agentId: String(agent_id), node, attempt };
    },

    /** What has become of an offer, by its rows; null while it stands, and its phones are to be waited for. */
    outcomeOf: ({ offerId }: { offerId: string }): Promise<OfferOutcome | null> => outcomeOf(deps, offerId),

    /** Where the contact stands by its row, which was changed by hand: rescheduled, to be called now, or not to be called back. */
    standing: ({ contactId, round }: ContactRefInput): Promise<Standing> =>
      inTx(db, async (tx) => {
        const contact = await lock(tx, contactId, round);
        return contact.state === 'waiting' && contact.ended_reason ? closeFor(tx, contact) : standingOf(contact);
      }),

    /**
     * The retry is due: a new call in the queue or, while the campaign is not running, waiting for that. Only workflows that
     * began to wait before `due_by_row` (workflows/contact/life.ts) ask for it; the sweep may have been faster.
     */
    async enqueueDue({ contactId, round }: ContactRefInput): Promise<Standing> {
      const { standing, campaignId } = await inTx(db, async (tx) => {
        const contact = await lock(tx, contactId, round);
        const isTaken = contact.state === 'queued' || contact.state === 'offered';
        if (isTaken) return { standing: { at: 'queue' } as const, campaignId: null };
        const campaign = await tx.row<Held>(holdStatus(contact.campaign_id));
        if (contact.ended_reason) return { standing: await closeFor(tx, contact), campaignId: null };
        if (campaign?.status === 'ended') return { standing: await closeForCampaign(tx, contact), campaignId: null };
        if (isPutOff(contact, tx.now)) return { standing: standingOf(contact), campaignId: null };
        if (campaign && callsNow(campaign, contact.queue_rank === RESCHEDULE_RANK)) {
          const queued = await enqueueContacts(tx, [contactId], 'due');
          if (queued.length === 0) return { standing: await closeIfListed(tx, contact), campaignId: null };
          return { standing: { at: 'queue' } as const, campaignId: contact.campaign_id };
        }
        if (contact.wait_reason !== 'campaign_not_running') {
          await tx.run(waitForCampaign(tx.now, [contactId], ['waiting', 'starting']));
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

    /** A disposition by an operator's signal, stored as the API stores an agent's. What is refused is said in words. */
    async register({ agentId, ...registration }: Registration): Promise<void> {
      const said = { ...registration, agentId: Number(agentId), comment: null, canComment: false, reschedule: null, by: 'operator' };
      await registerDisposition(db, said).catch((error: unknown) => {
        throw error instanceof AppError ? ApplicationFailure.nonRetryable(error.message, error.code) : error;
      });
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

/** How long whoever takes a reschedule back has for telling the contact's workflow. */
const OVERDUE_MS = 10_000;
const PAGE = 500;
const AT_ONCE = 16;

interface OverdueDeps {
  db: Db;
  workflows: Pick<Workflows, 'signal' | 'standing'>;
}

/**
 * The sweep's share of this room: contacts who have talked and whose reschedule was taken back, so that they are done, and whose
 * workflow, not told, waits on. One that only has not come round to it is left alone.
 */
export async function tellOverdue(deps: OverdueDeps): Promise<void> {
  const before = new Date(deps.db.clock.now().getTime() - OVERDUE_MS);
  const { rows } = await deps.db.pool.query<sql.Overdue>(sql.overdue(before, PAGE));
  const queue = rows.values();
  const lane = async () => {
    for (const contact of queue) await tellIfOverdue(deps, contact);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function tellIfOverdue({ db, workflows }: OverdueDeps, { id, round, wait_until }: sql.Overdue): Promise<void> {
  const contact = { contactId: id, round };
  if ((await workflows.standing(contact)) !== 'waits') return;
  // It may have come round to it just before it was asked.
  if (!(await db.pool.query(sql.isWaitingUntil(id, round, wait_until))).rowCount) return;
  if ((await workflows.signal(contact, moved, {})) === 'closed') return;
  const repair = { cause: 'contact_overdue', subject: `contact/${id}/${round}`, occasion: wait_until.toISOString() } as const;
  await inTx(db, (tx) => recordRepair(tx, repair));
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
  const isTimed = contact.state === 'waiting' && TIMED.includes(contact.wait_reason);
  if (isTimed && contact.wait_until) return { at: 'waiting', dueAt: contact.wait_until.getTime() };
  return { at: 'queue' };
}

/** Waits whose end is known when they begin. */
const TIMED: readonly (string | null)[] = ['retry_delay', 'rescheduled', 'number_in_use'];

/** Put off by hand while the workflow waited: by more than clocks may differ, as it was the workflow's timer that was over. */
const isPutOff = ({ state, wait_until }: sql.ContactRow, now: Date): boolean =>
  state === 'waiting' && wait_until !== null && wait_until.getTime() - now.getTime() > CLOCKS_DIFFER_MS;
const CLOCKS_DIFFER_MS = 2_000;

async function close(tx: Tx, contact: sql.ContactRow, state: 'done' | 'disabled', reason: string, by: string) {
  await tx.run(sql.closeContact(tx.now, contact.id, { state, reason, by }));
  return { at: 'closed', state, reason: contact.ended_reason ?? reason } as const;
}

/** Closes a contact that was made final, set-wise or by hand, and that is in no call any more. */
async function closeFor(tx: Tx, contact: sql.ContactRow): Promise<Standing> {
  const reason = contact.ended_reason!;
  if (contact.call_id) await endCalls(tx, [contact.call_id], callReason(reason));
  return close(tx, contact, endStateOf(reason), reason, 'system');
}

/** Who was not queued is in the queue already, or must not be called. */
async function closeIfListed(tx: Tx, { id, round }: sql.ContactRow): Promise<Standing> {
  const contact = await lock(tx, id, round);
  return contact.ended_reason ? closeFor(tx, contact) : { at: 'queue' };
}

/** Whoever comes back to a campaign that has ended is not called again. */
const closeForCampaign = (tx: Tx, contact: sql.ContactRow) => close(tx, contact, 'disabled', 'campaign_ended', 'system');

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
    return untilCampaignRuns(tx, contact);
  }
  return refused(tx, contact, decision.reason);
}

/** No attempt was consumed; what refused the dial says what is next. */
async function refused(tx: Tx, contact: sql.ContactRow, reason: ResultReason): Promise<Standing> {
  if (reason === 'campaign_paused') return untilCampaignRuns(tx, contact);
  if (reason === 'hours') return requeue(tx, contact);
  if (reason === 'cap') {
    if (contact.given_up_1 && (contact.phone_2 === null || contact.given_up_2)) {
      return close(tx, contact, 'done', 'numbers_given_up', 'system');
    }
    const campaign = (await tx.row<StoredRules>(sql.holdCampaignOf(contact.call_id!)))!;
    const { max_attempts } = rulesOfCall(campaign);
    if (contact.attempts >= max_attempts + contact.granted) return close(tx, contact, 'done', 'attempts_exhausted', 'system');
    // Else it is the number's cap, for which it waits if it has not passed by now.
    return requeue(tx, contact);
  }
  if (reason === 'number_in_use' || reason === 'unknown') {
    const campaign = await tx.row<Held>(holdStatus(contact.campaign_id));
    if (campaign?.status === 'ended') return closeForCampaign(tx, contact);
    const until = new Date(tx.now.getTime() + IN_USE_RETRY_MS);
    const phone = contact.next_phone;
    await tx.run(sql.waitFor(tx.now, contact.id, { reason: 'number_in_use', until, rank: null, phone }));
    return { at: 'waiting', dueAt: until.getTime() };
  }
  return close(tx, contact, 'disabled', reason, 'system');
}

/** A new call at the old place: outside of the hours it is not offered. */
async function requeue(tx: Tx, contact: sql.ContactRow): Promise<Standing> {
  const campaign = await tx.row<Held>(holdStatus(contact.campaign_id));
  if (!campaign || !callsNow(campaign, contact.queue_rank === RESCHEDULE_RANK)) return untilCampaignRuns(tx, contact);
  // The window that let it through is reckoned anew first.
  await tx.run(closeWindows(tx.now, contact.campaign_id));
  await enqueueContacts(tx, [contact.id], 'refused');
  return { at: 'queue' };
}

async function untilCampaignRuns(tx: Tx, contact: sql.ContactRow): Promise<Standing> {
  const campaign = await tx.row<Held>(holdStatus(contact.campaign_id));
  if (campaign?.status === 'ended') return closeForCampaign(tx, contact);
  await tx.run(waitForCampaign(tx.now, [contact.id], [contact.state]));
  // Resumed meanwhile: nobody else would queue it.
  if (campaign?.status !== 'running') return { at: 'queue' };
  const queued = await enqueueContacts(tx, [contact.id], 'resumed');
  return queued.length > 0 ? { at: 'queue' } : closeIfListed(tx, contact);
}

/** A call whose leg to the contact has ended. */
async function called(tx: Tx, before: sql.ContactRow, leg: sql.LegRow): Promise<Standing> {
  // What was registered may have been corrected since.
  await tx.run(sql.countGranted(before.id));
  await tx.run(sql.endIfListed(tx.now, before.id));
  const contact = await lock(tx, before.id, before.round);
  const code = leg.result_code ?? 'k';
  const talked = code === 'k' && leg.result_reason !== 'abandoned';
  await tx.run(sql.endCall(tx.now, leg.call_id, code, leg.result_reason));
  const said = talked ? await tx.row<sql.SaidRow>(sql.dispositionOfCall(leg.call_id)) : undefined;
  if (said?.action === 'do_not_call') return close(tx, contact, 'disabled', 'do_not_call', `agent:${said.agent_id}`);
  if (contact.ended_reason) return close(tx, contact, endStateOf(contact.ended_reason), contact.ended_reason, 'system');
  if (said?.action === 'reschedule') return rescheduled(tx, contact, leg, said);
  if (talked && said?.action !== 'mark_as_unanswered') return close(tx, contact, 'done', 'answered', 'system');
  return afterAttempt(tx, contact, leg, code);
}

/** To be called back as agreed in the talk, on the number called last (docs/domain.md, "Reschedules"). */
async function rescheduled(tx: Tx, contact: sql.ContactRow, leg: sql.LegRow, said: sql.SaidRow): Promise<Standing> {
  const campaign = await tx.row<Held>(holdStatus(contact.campaign_id));
  if (campaign?.status === 'ended') return closeForCampaign(tx, contact);
  const at = said.reschedule_at!;
  const agentId = said.reschedule_to_agent ? said.agent_id : null;
  await tx.run(sql.reschedule(tx.now, contact.id, at, phoneOf(contact, leg), agentId));
  return { at: 'waiting', dueAt: at.getTime() };
}

const phoneOf = (contact: sql.ContactRow, leg: sql.LegRow): 1 | 2 => (leg.destination === contact.phone_2 ? 2 : 1);

/** Retry as the rules of the call say, or done. */
async function afterAttempt(tx: Tx, contact: sql.ContactRow, leg: sql.LegRow, code: LegCode): Promise<Standing> {
  const campaign = (await tx.row<StoredRules & { status: string }>(sql.holdCampaignOf(leg.call_id)))!;
  const step = nextStep(rulesOfCall(campaign), await history(tx, contact, leg), code);
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
    granted: contact.granted,
    codes: Object.fromEntries(codes.map(({ code, times }) => [code, times])),
    phones: { 1: !contact.given_up_1, 2: contact.phone_2 !== null && !contact.given_up_2 },
    lastPhone: phoneOf(contact, leg),
  };
}
