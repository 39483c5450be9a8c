/**
 * The irreversible: ringing the agent, dialling the contact, ending what rings. They run where the switch's events arrive
 * (task queue of the node) and last as long as the phone rings; their answer is the outcome.
 *
 * At most once: the leg's row is written first; whoever wrote it sends it, whoever finds it asks the switch instead. A
 * repeat after a crash therefore adopts the leg, and an unknown outcome is named, never dialled again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Logger } from 'pino';
import { mustConfirm } from '../domain/agents.ts';
import type { ResultReason } from '../domain/codes.ts';
import { legId } from '../domain/ids.ts';
import { whyNotDialled } from '../domain/numbers.ts';
import { endsCall } from '../domain/offers.ts';
import { type AgentRow, changeAgent } from '../matching/agents.ts';
import type { Matching } from '../matching/matching.ts';
import { leaveQueueForCap } from '../matching/caps.ts';
import { isTimeToDial } from '../matching/hours.ts';
import { lockAgentOfOffer, lockNumbers, numberCappedUntil, shareDials } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { ownNumbers } from '../prisma/own-numbers.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import type { Originate, Telephony } from '../telephony/telephony.ts';
import { type LegBook, lostEnd } from './legs.ts';
import type { LegWatch } from './leg-watch.ts';
import { contextOf, type DialOutcome, endUnrung, offerOver, type RingOutcome } from './offers.ts';
import * as sql from './sql.ts';

export interface CallDeps {
  db: Db;
  telephony: Telephony;
  legs: LegBook;
  matching: Pick<Matching, 'matchAgent' | 'matchCampaign'>;
  log: Logger;
}

/** `answered`: too late, it was left alone. `over`: there was nothing to end any more. */
export type EndOutcome = 'ended' | 'answered' | 'over';

/** What of an offer is spared: `agent_answered` for Reject, `contact_answered` for Cancel, `nothing` for a hang-up. */
export type Spare = 'agent_answered' | 'contact_answered' | 'nothing';

export interface EndInput {
  offerId: string;
  why: ResultReason;
  spare: Spare;
  /** The supervisor who wants it. */
  by?: string;
}

/** A frozen worker must not dial late: the switch refuses to send a leg after this. */
const SEND_WITHIN_MS = 5_000;
/** The agent's audio must be up this soon after the answer, else `e` `no_media`. */
const MEDIA_WITHIN_MS = 5_000;
/** Whoever was frozen is told of an answer first and of the audio after it: what lacks is looked for twice. */
const LACKS_TWICE_MS = 1_000;
/** Heartbeats; the workflow lets an activity without them be taken over by another worker. */
export const HEARTBEAT_MS = 3_000;
/** How long a decision to end an offer may take from its row to the switch. */
export const DECIDED_WITHIN_MS = 2_000;
/** A leg the switch does not know is asked for twice, so that the report of its end can arrive first. */
const ABSENT_TWICE_MS = 2_000;

export type CallActivities = ReturnType<typeof createCallActivities>;

export function createCallActivities(deps: CallDeps) {
  return {
    /** Rings the agent of an offer until answered (audio up, confirmed where asked) or over. */
    async ring({ offerId }: { offerId: string }): Promise<RingOutcome> {
      await untilDue(deps, offerId, 'a');
      const begun = await inTx(deps.db, (tx) => beginRinging(tx, offerId));
      if (begun.outcome) {
        if (begun.outcome.kind === 'over') await deps.matching.matchAgent(begun.offer.agent_id);
        return begun.outcome;
      }
      const { context, leg, fresh } = begun;
      const watch = deps.legs.watch(leg);
      try {
        const ring = { party: 'agent', ringSec: context.rules.agent_ring_sec, mix: null } as const;
        const isCertain = fresh && (await send(deps, leg, ring, context));
        return await untilAnswered(deps, begun.offer.id, context, watch, isCertain);
      } finally {
        watch.close();
      }
    },

    /** Dials the contact of an answered offer until the talk begins or the leg has failed; `refusal`: must not be dialled. */
    async dial({ offerId, refusal }: { offerId: string; refusal: ResultReason | null }): Promise<DialOutcome> {
      if (!refusal) await untilDue(deps, offerId, 'c');
      const begun = await inTx(deps.db, (tx) => beginDialling(tx, offerId, refusal));
      const agentLeg = legId(begun.offer.call_id, begun.offer.offer_no, 'agent');
      if (begun.outcome) {
        if (begun.outcome.kind === 'refused') await deps.telephony.hangUp(agentLeg, 'call_over');
        return begun.outcome;
      }
      const { context, leg, fresh } = begun;
      if (fresh) void capOthers(deps, leg);
      const watch = deps.legs.watch(leg);
      try {
        const mix = leg.call_id;
        // Before it is sent, so that the agent hears its first sign and it never outlives the agent. An agent who has gone
        // by now keeps it from being sent. A repeat says both again: a try that is frozen here may still send it.
        if (!leg.ended_at) {
          await deps.telephony.join(mix, agentLeg);
          await deps.telephony.endTogether(mix, [
            { legId: agentLeg, why: 'agent_hang_up' },
            { legId: leg.id, why: 'call_over' },
          ]);
        }
        const isCertain = fresh && (await send(deps, leg, { party: 'contact', ringSec: context.rules.ring_sec, mix }, context));
        return await untilTalking(deps, agentLeg, watch, isCertain);
      } finally {
        watch.close();
      }
    },

    /** Ends an offer before its contact has answered; only the switch knows who was first. */
    async endOffer(input: EndInput): Promise<EndOutcome> {
      const { db, telephony } = deps;
      const found = await inTx(db, (tx) => beginEnding(tx, input));
      if (typeof found === 'string') return found;
      const { offer, agentLeg, contactLeg } = found;
      const spared = input.spare === 'contact_answered' ? contactLeg : input.spare === 'agent_answered' ? agentLeg : null;
      if (spared) {
        const answer = await telephony.hangUp(spared.id, input.why, { unlessAnswered: true });
        if (answer === 'answered') {
          await db.pool.query(sql.restoreOffer(offer.id));
          deps.legs.nudge(spared.id);
          return 'answered';
        }
      }
      if (agentLeg && spared !== agentLeg) {
        await telephony.hangUp(agentLeg.id, contactLeg && spared ? 'call_over' : input.why);
      }
      return 'ended';
    },

    /** The agent confirms that a person is there. */
    async confirm({ offerId }: { offerId: string }): Promise<void> {
      const { rows } = await deps.db.pool.query<sql.LegRow>(sql.legsOfOffer(offerId));
      const leg = rows.find(({ ciq }) => ciq === 'a');
      // Said before the phone is picked up it proves nothing: a voicemail might answer after it.
      if (!leg?.answered_at) {
        throw ApplicationFailure.nonRetryable('the phone has not been picked up yet', 'CONFLICT', 'ringing');
      }
      await deps.db.pool.query(sql.acceptOffer(deps.db.clock.now(), offerId));
      // Whoever carries a transfer watches the call.
      for (const id of [leg.id, leg.call_id]) deps.legs.nudge(id);
    },
  };
}

/** Who waits in a queue to be called on the same number is not offered in vain; for whom this fails, the dial is refused. */
async function capOthers({ db, log }: CallDeps, leg: sql.LegRow): Promise<void> {
  await leaveQueueForCap(db, leg.destination).catch((error: unknown) => {
    log.warn({ err: error, leg: leg.id }, 'contacts with this number stay in their queues');
  });
}

type Begun<O> = { offer: sql.OfferRow } & (
  | { outcome: O }
  | { outcome: null; context: sql.CallContext; leg: sql.LegRow; fresh: boolean }
);

async function offerAndContext(tx: Tx, offerId: string) {
  const offer = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
  if (!offer) throw ApplicationFailure.nonRetryable('there is no such offer', 'NOT_FOUND');
  return { offer, context: await contextOf(tx, offerId) };
}

/** The agent's leg, written before it is sent; or what has become of the offer already. */
async function beginRinging(tx: Tx, offerId: string): Promise<Begun<RingOutcome>> {
  const { offer, context } = await offerAndContext(tx, offerId);
  // Be it that all is over by now: whether the contact was dialled, and what came of that, `dial` knows.
  if (offer.state !== 'offered') return { offer, outcome: { kind: 'answered' } };
  if (offer.ended_at) return { offer, outcome: offerOver(offer) };
  const id = legId(offer.call_id, offer.offer_no, 'agent');
  const found = await tx.row<sql.LegRow>(sql.readLeg(id));
  if (found) return { offer, outcome: null, context, leg: await adopt(tx, found), fresh: false };
  if (offer.withdrawn) {
    await endUnrung(tx, offer, offer.withdrawn as ResultReason);
    const ended = (await tx.row<sql.OfferRow>(sql.readOffer(offerId)))!;
    return { offer, outcome: offerOver(ended) };
  }
  const agent = { ciq: 'a', legType: 'agent', destination: context.phone, originating: context.number } as const;
  const leg = await insertLeg(tx, offer, context, { id, ...agent });
  return { offer, outcome: null, context, leg, fresh: true };
}

export async function insertLeg(
  tx: Tx,
  offer: sql.OfferRow,
  context: sql.CallContext,
  leg: Pick<sql.NewLeg, 'id' | 'ciq' | 'legType' | 'destination' | 'originating'>,
): Promise<sql.LegRow> {
  const notAfter = new Date(tx.now.getTime() + SEND_WITHIN_MS);
  const { attempt, number } = context;
  return (await tx.row<sql.LegRow>(sql.insertLeg(tx.now, { ...leg, offer, attempt, source: number, notAfter })))!;
}

/**
 * The transaction that decides whether the contact is dialled, under the locks on the numbers that do-not-call takes too.
 * It fails closed: what can't be read is not dialled.
 */
async function beginDialling(tx: Tx, offerId: string, wanted: ResultReason | null): Promise<Begun<DialOutcome>> {
  const { offer, context } = await offerAndContext(tx, offerId);
  const id = legId(offer.call_id, offer.offer_no, 'contact');
  const found = await tx.row<sql.LegRow>(sql.contactLegOfCall(offer.call_id));
  if (found?.id === id) return { offer, outcome: null, context, leg: await adopt(tx, found), fresh: false };
  if (offer.ended_at && !endsCall(offer.withdrawn)) return { offer, outcome: offerOver(offer) };
  await tx.run(lockNumbers(context.numbers));
  await tx.run(shareDials);
  const reason = wanted ?? (await refusal(tx, offer, context, found !== undefined));
  if (reason) {
    await tx.run(sql.withdrawOffer(offer.id, reason));
    return { offer, outcome: { kind: 'refused', reason } };
  }
  await tx.run(sql.setOfferState(tx.now, offer.id, 'dialling'));
  await tx.run(sql.countAttempt(tx.now, offer.contact_id));
  const leg = await insertLeg(tx, offer, context, {
    id,
    ciq: 'c',
    legType: 'contact',
    destination: context.number,
    originating: context.caller_id,
  });
  return { offer, outcome: null, context, leg, fresh: true };
}

/** Why this contact must not be dialled now, or null: the last word, whatever the queue has let through. */
async function refusal(
  tx: Tx,
  offer: sql.OfferRow,
  context: sql.CallContext,
  dialledBefore: boolean,
): Promise<ResultReason | null> {
  if (offer.withdrawn) return offer.withdrawn as ResultReason;
  if (offer.state !== 'answered' || dialledBefore) return 'unknown';
  const isListed = async () => Boolean(await tx.row(sql.findListed(offer.contact_id, context.numbers)));
  if (context.contact_ended_reason === 'do_not_call' || (await isListed())) return 'do_not_call';
  if (context.contact_ended_reason) return 'list_replaced';
  if (await isForbidden(tx, context.number, context)) return 'number_not_allowed';
  if (context.is_given_up) return 'cap';
  // The cap may have been lowered since the call was queued.
  if (context.attempts >= context.rules.max_attempts + context.granted) return 'cap';
  if (!(await isTimeToDial(tx, offer.id))) return 'hours';
  if (await tx.row(sql.numberInUse(context.number))) return 'number_in_use';
  const capped = await tx.row<{ until: Date | null }>(numberCappedUntil(tx.now, context.number, offer.campaign_id));
  if (!capped || (capped.until !== null && capped.until > tx.now)) return 'cap';
  return null;
}

/** True if the campaign must not dial this number, whoever it is of. */
export async function isForbidden(tx: Tx, number: string, { country, rules }: sql.CallContext): Promise<boolean> {
  const campaign = { country, countries: rules.countries, own: await ownNumbers(tx, [number]) };
  return whyNotDialled(number, campaign) !== null;
}

/**
 * Calls a second: offers keep to them, but a workflow may come late to ring, and agents answer when they like, many perhaps in
 * the same second. So every leg has a place, and waits for it here (docs/domain.md, "Limits of a node").
 */
async function untilDue({ db }: CallDeps, offerId: string, ciq: 'a' | 'c'): Promise<void> {
  const booked = (await db.pool.query<{ at: Date }>(sql.bookLeg(db.clock.now(), offerId, ciq))).rows[0];
  if (!booked) return;
  for (;;) {
    const leftMs = booked.at.getTime() - db.clock.now().getTime();
    if (leftMs <= 0) return;
    await Promise.race([sleep(Math.min(leftMs, HEARTBEAT_MS)), Context.current().cancelled]);
    Context.current().heartbeat();
  }
}

/** Sends a leg that was just written. False when the switch gave no answer: its outcome is unknown, it is to be adopted. */
export async function send(
  { telephony, legs, log, db }: Pick<CallDeps, 'telephony' | 'legs' | 'log' | 'db'>,
  leg: sql.LegRow,
  { party, ringSec, mix }: Pick<Originate, 'party' | 'mix'> & { ringSec: number },
  { rules }: sql.CallContext,
): Promise<boolean> {
  const answer = await telephony
    .originate({
      legId: leg.id,
      party,
      to: leg.destination,
      from: leg.originating,
      setupMs: rules.setup_sec * 1000,
      ringMs: ringSec * 1000,
      // An agent's voicemail must never be taken for the agent; where a contact's phone leads is the contact's affair.
      noDivert: party === 'agent',
      mix,
      notAfter: leg.not_after.getTime(),
    })
    .catch((error: unknown) => {
      log.warn({ err: error, leg: leg.id }, 'it is unknown whether the switch took the leg');
      return null;
    });
  if (answer !== 'too_late') return answer !== null;
  // Never sent: a decision was faster than we, the agent has hung up, or we were frozen.
  const offer = (await db.pool.query<sql.OfferRow>(sql.readOffer(leg.offer_id))).rows[0]!;
  const never = { phase: 'setup' as const, setupMs: 0, alertMs: 0 };
  const agentIsGone = async () =>
    leg.ciq === 'c' && (await telephony.status(legId(offer.call_id, offer.offer_no, 'agent'))) === 'absent';
  const why =
    (offer.withdrawn as ResultReason | null) ??
    // Of a transfer it is the contact who has gone.
    (leg.leg_type === 'transfer' ? 'call_over' : (await agentIsGone()) ? 'agent_hang_up' : null);
  if (why) await legs.end(leg.id, { ...never, by: 'command', why });
  else await legs.end(leg.id, { ...never, by: 'switch', why: 'unknown' }, 'leg_not_sent');
  return true;
}

async function untilAnswered(
  deps: CallDeps,
  offerId: string,
  context: sql.CallContext,
  watch: LegWatch,
  isCertain: boolean,
): Promise<RingOutcome> {
  const { telephony, db } = deps;
  const adopted = isCertain ? null : adoption(deps);
  const decision = lateDecision(telephony);
  const lacking = lackOf(deps);
  let withdrawnSince: number | null = null;
  for (;;) {
    const leg = await upToDate(deps, watch);
    if (leg.ended_at) return offerOver((await db.pool.query<sql.OfferRow>(sql.readOffer(offerId))).rows[0]!);
    const lacksForMs = leg.answered_at ? await lacking.look(offerId, context, leg) : null;
    if (leg.answered_at && lacksForMs === null) {
      if (await inTx(db, (tx) => noteAgentAnswered(tx, offerId))) return { kind: 'answered' };
      // Withdrawn at the same moment: whoever did so hangs up, or finds the phone answered and takes it back.
      withdrawnSince ??= performance.now();
      if (performance.now() - withdrawnSince > DECIDED_WITHIN_MS) await telephony.hangUp(leg.id, 'call_over');
    }
    if (!leg.answered_at) await decision.carryOut((await db.pool.query<sql.OfferRow>(sql.readOffer(offerId))).rows[0]!, leg);
    await adopted?.check(watch.row);
    const untilMs = lacksForMs ?? (withdrawnSince === null ? HEARTBEAT_MS : DECIDED_WITHIN_MS / 4);
    await nextChange(watch, Math.min(HEARTBEAT_MS, Math.max(untilMs, 50)));
  }
}

/** Hangs up an answered agent who lacks something for too long, at the second look. */
export function lackOf(deps: Pick<CallDeps, 'db' | 'telephony'>) {
  let first: { reason: Lack['reason']; at: number } | null = null;
  return {
    /** In how many ms to look again; null: the agent is there. */
    async look(offerId: string, context: sql.CallContext, leg: sql.LegRow): Promise<number | null> {
      const lack = await missing(deps, offerId, context, leg);
      if (!lack || lack.untilMs > 0) {
        first = null;
        return lack && lack.untilMs;
      }
      if (first?.reason !== lack.reason) first = { reason: lack.reason, at: performance.now() };
      const leftMs = first.at + LACKS_TWICE_MS - performance.now();
      if (leftMs > 0) return leftMs;
      await deps.telephony.hangUp(leg.id, lack.reason);
      return LACKS_TWICE_MS;
    },
  };
}

interface Lack {
  reason: 'no_media' | 'not_confirmed';
  /** It may lack for so long yet. */
  untilMs: number;
}

async function missing(
  { db, telephony }: Pick<CallDeps, 'db' | 'telephony'>,
  offerId: string,
  context: sql.CallContext,
  leg: sql.LegRow,
): Promise<Lack | null> {
  const since = db.clock.now().getTime() - leg.answered_at!.getTime();
  if (!leg.media_at && telephony.capabilities.mediaUp) return { reason: 'no_media', untilMs: MEDIA_WITHIN_MS - since };
  if (!mustConfirm(context)) return null;
  const { rows } = await db.pool.query<sql.OfferRow>(sql.readOffer(offerId));
  if (rows[0]?.accepted_at) return null;
  return { reason: 'not_confirmed', untilMs: context.rules.confirm_sec * 1000 - since };
}

/** The agent is there: `connecting`. False when the offer was withdrawn meanwhile. */
async function noteAgentAnswered(tx: Tx, offerId: string): Promise<boolean> {
  const offer = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
  if (!offer || offer.ended_at || offer.withdrawn) return false;
  if (offer.state !== 'offered') return true;
  await tx.run(sql.setOfferState(tx.now, offerId, 'answered'));
  const agent = await tx.row<AgentRow>(lockAgentOfOffer(offer.agent_id, offerId));
  if (agent) await changeAgent(tx, agent, { state: 'connecting', cause: 'answered', callId: offer.call_id });
  return true;
}

async function untilTalking(
  deps: CallDeps,
  agentLeg: string,
  watch: LegWatch,
  isCertain: boolean,
): Promise<DialOutcome> {
  const { db, telephony } = deps;
  const adopted = isCertain ? null : adoption(deps);
  const decision = lateDecision(telephony);
  for (;;) {
    const leg = await upToDate(deps, watch);
    const offer = (await db.pool.query<sql.OfferRow>(sql.readOffer(leg.offer_id))).rows[0]!;
    if (leg.answered_at && offer.state === 'talking') return { kind: 'talking' };
    // The agent has gone. Bound legs end at the switch: this is for one that has lost the other leg, and for an answer at
    // that very moment, which nobody takes (the wire decides).
    if (!leg.ended_at && (leg.answered_at || offer.ended_at)) await telephony.hangUp(leg.id, 'agent_hang_up');
    if (leg.ended_at) {
      await telephony.hangUp(agentLeg, 'call_over');
      return { kind: 'failed', code: leg.result_code!, reason: leg.result_reason };
    }
    if (!leg.answered_at) await decision.carryOut(offer, leg);
    await adopted?.check(watch.row);
    await nextChange(watch, HEARTBEAT_MS);
  }
}

/** A decision to end an offer is carried out by who has taken it; if that one has died over it, by who waits for the phone. */
export function lateDecision(telephony: Telephony) {
  let since: number | null = null;
  return {
    async carryOut({ withdrawn }: sql.OfferRow, leg: sql.LegRow): Promise<void> {
      if (!withdrawn) return void (since = null);
      since ??= performance.now();
      if (performance.now() - since < DECIDED_WITHIN_MS) return;
      await telephony.hangUp(leg.id, withdrawn as ResultReason, { unlessAnswered: leg.answered_at === null });
    },
  };
}

/** Waits for a change, not longer than `ms`; throws when this worker shuts down: another one takes over. */
export async function nextChange(watch: Pick<LegWatch, 'next'>, ms: number): Promise<void> {
  const activity = Context.current();
  try {
    await Promise.race([watch.next(ms), activity.cancelled]);
  } catch (error) {
    activity.heartbeat(HANDED_OVER);
    throw error;
  }
  activity.heartbeat();
}

/** What a try says to the next one when its worker ends in order. */
const HANDED_OVER = 'handed over';

/** A leg that an earlier try has written: nothing is wrong if that one has handed it over, or the leg is over. */
export async function adopt(tx: Tx, leg: sql.LegRow): Promise<sql.LegRow> {
  const { attempt, heartbeatDetails } = Context.current().info as { attempt: number; heartbeatDetails?: unknown };
  const isRepair = attempt > 1 && heartbeatDetails !== HANDED_OVER && !leg.ended_at;
  if (isRepair) await recordRepair(tx, { cause: 'leg_adopted', subject: `leg/${leg.id}` });
  return leg;
}

/** A watch misses nothing written here, but another worker may have written: once in a while the row is read again. */
async function upToDate({ db }: CallDeps, watch: LegWatch): Promise<sql.LegRow> {
  const { rows } = await db.pool.query<sql.LegRow>(sql.readLeg(watch.row.id));
  return rows[0] ?? watch.row;
}

/** For a leg that an earlier try wrote: whether it was sent, only the switch can say. */
export function adoption({ telephony, legs, db }: Pick<CallDeps, 'telephony' | 'legs' | 'db'>) {
  let absentSince: number | null = null;
  return {
    async check(row: sql.LegRow): Promise<void> {
      const now = db.clock.now().getTime();
      const status = await telephony.status(row.id);
      // Before notAfter a frozen try may still send it; until then nothing can be said.
      if (status !== 'absent' || now <= row.not_after.getTime()) absentSince = null;
      else absentSince ??= now;
      if (absentSince !== null && now - absentSince >= ABSENT_TWICE_MS) {
        await legs.end(row.id, lostEnd(row), 'leg_unknown');
      }
    },
  };
}

type Ending = { offer: sql.OfferRow; agentLeg: sql.LegRow | null; contactLeg: sql.LegRow | null };

/** The decision is stored before the switch is asked: from here on nothing of this offer is dialled any more. */
async function beginEnding(
  tx: Tx,
  { offerId, why, spare, by }: EndInput,
): Promise<Ending | EndOutcome> {
  const offer = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
  if (!offer) throw ApplicationFailure.nonRetryable('there is no such offer', 'NOT_FOUND');
  if (offer.ended_at) return 'over';
  if (spare === 'agent_answered' && offer.state !== 'offered') return 'answered';
  if (spare === 'contact_answered' && offer.state === 'talking') return 'answered';
  // An agent's hang-up is no withdrawal: the legs' ends tell the rest.
  if (spare !== 'nothing') await tx.run(sql.withdrawOffer(offerId, why, by));
  const legs = await tx.rows<sql.LegRow>(sql.legsOfOffer(offerId));
  const open = (ciq: 'a' | 'c') => legs.find((leg) => leg.ciq === ciq && leg.ended_at === null) ?? null;
  return { offer, agentLeg: open('a'), contactLeg: open('c') };
}
