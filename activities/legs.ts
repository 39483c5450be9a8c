/**
 * The book of legs: what a switch reports is written first (leg, offer, agent, contact, events in one transaction), then
 * passed on. Writing a fact twice changes nothing, so facts may come more than once and from two workers.
 */
import type { Logger } from 'pino';
import { afterCallWithoutTalk, afterFailedOffer, afterTalk, type AgentAfter } from '../domain/agents.ts';
import { type LegCode, legResult, type LegResult } from '../domain/codes.ts';
import { callOfLeg, legId as legIdOf, recordingName, sessionId } from '../domain/ids.ts';
import { endsCall } from '../domain/offers.ts';
import type { RepairCause } from '../domain/repairs.ts';
import { type AgentRow, changeAgent } from '../matching/agents.ts';
import type { Matching } from '../matching/matching.ts';
import { lockAgentOfOffer, endOffer } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Sql, type Tx } from '../prisma/tx.ts';
import { legDurations } from '../telephony/snapshot.ts';
import type { LegEnd, LegFact } from '../telephony/telephony.ts';
import { legEnded } from '../workflows/contact/messages.ts';
import type { Workflows } from '../workflows/client.ts';
import { createWatchers, type LegWatch } from './leg-watch.ts';
import { recordLiveWait } from './live-wait.ts';
import { contextOf, countersOf, endsWithOffer, endUnrung, releaseAgent, returnToQueue, waitOn } from './offers.ts';
import * as sql from './sql.ts';
import * as transferSql from './transfer-sql.ts';

export interface LegBookDeps {
  db: Db;
  matching: Pick<Matching, 'matchAgent' | 'matchCampaign' | 'matchWaiting'>;
  workflows: Pick<Workflows, 'signal'>;
  log: Logger;
}

/** Two legs that are to hear each other. */
export interface Connection {
  mix: string;
  legIds: string[];
  /** Name under which the mix is to be recorded; null: it is not. */
  recording: string | null;
}

export interface LegBook {
  /**
   * Writes a fact. Resolves to the legs to be connected when it is what begins (or began) a talk. Rejects when it could
   * not be written: the adapter delivers it again.
   */
  apply(fact: LegFact): Promise<Connection | null>;
  /** Ends a leg that its switch does not report on; `cause`: with that it is put right. */
  end(legId: string, end: LegEnd, cause?: RepairCause): Promise<void>;
  /** The recording of this call's talk could not be begun: its facts name none. */
  notRecorded(callId: string): Promise<void>;
  watch(row: sql.LegRow): LegWatch;
  /** Waits for any leg of a call to change. */
  watchCall(callId: string): Pick<LegWatch, 'next' | 'close'>;
  /** Wakes who watches a leg, or a call, although no row has changed. */
  nudge(id: string): void;
  /** Tells the workflows of ended talks that have not been told; the sweep's share of this room. */
  deliverEndedTalks(): Promise<void>;
}

/** How long the end of a talk has for being told by who wrote it, before the sweep tells it. */
const DELIVER_AFTER_MS = 2_000;

/** Both ends are reported at the same moment; if that of the contact's leg stays away, the agent is not held up for it. */
const CONTACT_LEG_WITHIN_MS = 1_000;

export function createLegBook(deps: LegBookDeps): LegBook {
  const { db, matching, log } = deps;
  const watchers = createWatchers();

  function wake(legId: string, row: sql.LegRow | null): void {
    watchers.wake(legId, row);
    if (row) watchers.wake(row.call_id, null);
  }

  async function end(legId: string, end: LegEnd, at: Date, cause?: RepairCause): Promise<void> {
    const ended = await inTx(db, async (tx) => {
      const written = await writeEnd(tx, legId, end, at);
      if (written && cause) await recordRepair(tx, { cause, subject: `leg/${legId}` });
      return written;
    });
    if (!ended) return;
    if (ended.alarm) log.error({ leg: legId, response: ended.leg.result_response }, 'the network refuses our calls');
    if (ended.trunkFailing) log.error({ node: ended.leg.node }, 'the trunk is failing: one probe call a minute goes on');
    wake(legId, ended.leg);
    if (ended.talkOver) await deliver(deps, sql.undeliveredTalk(ended.talkOver));
    // Before the agent who is free now: others have waited longer for the node.
    if (ended.roomMade) await matching.matchWaiting();
    if (ended.freed) await matching.matchAgent(ended.leg.agent_id);
    if (ended.requeued !== null) await matching.matchCampaign(ended.requeued);
  }

  async function mark(legId: string, column: 'alerting_at' | 'answered_at' | 'media_at', at: Date): Promise<void> {
    const { rows } = await db.pool.query<sql.LegRow>(sql.markLeg(legId, column, at));
    if (rows[0]) wake(legId, rows[0]);
  }

  /**
   * An agent's leg that ends with the contact's: the end of that one is written first. So the agent is told how it ended,
   * and is not offered the next call before the trunk was judged by it.
   */
  async function contactLegWritten(agentLegId: string): Promise<void> {
    const found = (await db.pool.query<sql.LegRow>(sql.openContactLegBeside(agentLegId))).rows[0];
    if (!found) return;
    const watch = watchers.watch(found);
    const deadline = performance.now() + CONTACT_LEG_WITHIN_MS;
    while (!watch.row.ended_at && performance.now() < deadline) await watch.next(deadline - performance.now());
    watch.close();
  }

  return {
    async apply(fact) {
      const at = new Date(fact.at);
      switch (fact.type) {
        case 'progress':
          if (fact.phase === 'alerting') await mark(fact.legId, 'alerting_at', at);
          return null;
        case 'answered': {
          const answer = await inTx(db, (tx) => writeAnswer(tx, fact.legId, at));
          if (answer) wake(fact.legId, answer.leg);
          return answer?.connection ?? null;
        }
        case 'media_up':
          await mark(fact.legId, 'media_at', at);
          return null;
        case 'dtmf':
          if (fact.digit === '1') await confirmByDigit(db, fact.legId);
          wake(fact.legId, null);
          wake(callOfLeg(fact.legId), null);
          return null;
        case 'held':
          return null;
        case 'ended':
          if (fact.why === 'call_over') await contactLegWritten(fact.legId);
          // Not what its far end, a timer or a command has done: the switch has lost it.
          await end(fact.legId, fact, at, fact.by === 'switch' ? 'switch_lost' : undefined);
          return null;
      }
    },
    end: (legId, ending, cause) => end(legId, ending, db.clock.now(), cause),
    notRecorded: async (callId) => void (await db.pool.query(sql.setRecording(callId, null))),
    nudge: (id) => wake(id, null),
    deliverEndedTalks: () => deliver(deps, sql.undeliveredTalks(new Date(db.clock.now().getTime() - DELIVER_AFTER_MS)), 'talk_end_not_told'),

    watch: watchers.watch,
    watchCall: watchers.watchCall,
  };
}

/** Digit 1 on the agent's phone confirms that a person is there (docs/domain.md, "The offer"). */
async function confirmByDigit(db: Db, legId: string): Promise<void> {
  const leg = (await db.pool.query<sql.LegRow>(sql.readLeg(legId))).rows[0];
  // A key in what is heard before the answer is nobody's: a voicemail might answer after it.
  if (leg?.ciq === 'a' && leg.answered_at) await db.pool.query(sql.acceptOffer(db.clock.now(), leg.offer_id));
}

interface Answer {
  leg: sql.LegRow;
  connection: Connection | null;
}

/** An answer: of the agent it is only noted (media and confirmation come first); of the contact it begins the talk. */
async function writeAnswer(tx: Tx, legId: string, at: Date): Promise<Answer | null> {
  const before = await tx.row<sql.LegRow>(sql.readLeg(legId));
  if (!before || before.ended_at) return null;
  const offer = before.ciq === 'c' ? (await tx.row<sql.OfferRow>(sql.lockOffer(before.offer_id)))! : null;
  const leg = await tx.row<sql.LegRow>(sql.markLeg(legId, 'answered_at', at));
  if (!leg) return null;
  // Known now: a trunk must not be held back until a talk is over.
  if (offer) await tx.run(sql.trunkWorks(leg.node, leg.created_at));
  // An ended offer: the agent has gone, the switch ends this leg too, and it counts as abandoned.
  if (!offer || offer.ended_at) return { leg, connection: null };
  // What a repeat goes on with is what the first one wrote, whatever the rules say by now.
  const recording = offer.state === 'talking' ? leg.recording : await beginTalk(tx, offer);
  // Told once more, it does not bring back who has been put on hold since.
  if (leg.held_since) return { leg, connection: null };
  const agentLeg = legIdOf(offer.call_id, offer.offer_no, 'agent');
  return { leg, connection: { mix: offer.call_id, legIds: [agentLeg, legId], recording } };
}

/** Returns the name under which it is to be recorded, written before that is begun; null: it is not. */
async function beginTalk(tx: Tx, offer: sql.OfferRow): Promise<string | null> {
  const { rules } = await contextOf(tx, offer.id);
  const recording = rules.record_calls ? recordingName(offer.call_id) : null;
  if (recording) await tx.run(sql.setRecording(offer.call_id, recording));
  await tx.run(sql.setOfferState(tx.now, offer.id, 'talking'));
  await tx.run(sql.setContactState(tx.now, offer.contact_id, 'talking', ['dialling']));
  const agent = await tx.row<AgentRow>(lockAgentOfOffer(offer.agent_id, offer.id));
  if (!agent) return recording;
  const talk = { callId: offer.call_id, resultCode: 'k' as const };
  await changeAgent(tx, agent, { state: 'connected', cause: 'contact_answered', ...talk });
  return recording;
}

interface Ended {
  leg: sql.LegRow;
  alarm: boolean;
  /** With this leg the trunk has begun to count as failing. */
  trunkFailing: boolean;
  /** The agent is free (or resting, or gone). */
  freed: boolean;
  /** The campaign in whose queue the contact is again; null: it is in none. */
  requeued: number | null;
  /** There may be room for another call at a node that had none. */
  roomMade: boolean;
  /** The contact's leg, when the end of this leg was the end of the talk. */
  talkOver: string | null;
}

/** The end of a leg, and what follows from it for its offer, agent and contact. */
async function writeEnd(tx: Tx, legId: string, end: LegEnd, at: Date): Promise<Ended | null> {
  const before = await tx.row<sql.LegRow>(sql.readLeg(legId));
  if (!before || before.ended_at) return null;
  const offer = (await tx.row<sql.OfferRow>(sql.lockOffer(before.offer_id)))!;
  const result = settle(before, offer, legResult(end));
  const times = durations(before, end, at);
  const leg = await tx.row<sql.LegRow>(sql.endLeg(legId, at, result, times));
  if (!leg) return null;
  const context = await contextOf(tx, offer.id);
  const hasHandedOn = offer.state === 'talking' && (await tx.row(transferSql.handedOn(offer.id))) !== undefined;
  const queue = leg.leg_type === 'transfer' ? await tx.row<sql.Queue>(transferSql.queueOfLeg(leg.id)) : context;
  const scheduledAt = context.scheduled_at;
  recordLeg(tx, leg, result, times, { queue, scheduledAt, isTransferred: leg.ciq === 'a' && hasHandedOn });
  const roomMade = context.node_is_limited;
  const nothingElse = { trunkFailing: false, freed: false, requeued: null, talkOver: null };
  const ended: Ended = { leg, alarm: result.alarm, roomMade, ...nothingElse };
  if (leg.ciq === 'a') Object.assign(ended, await agentLegEnded(tx, offer, context, result));
  if (leg.ciq === 'c') Object.assign(ended, await contactLegEnded(tx, leg, offer, result));
  if (offer.state === 'talking' || offer.transfer_id !== null) ended.talkOver = await talkOver(tx, offer);
  return ended;
}

/** An answer that nobody was there for any more: `k`, speak time 0, `abandoned`. */
function settle(leg: sql.LegRow, offer: sql.OfferRow, result: LegResult): LegResult {
  const abandoned = leg.ciq === 'c' && result.code === 'k' && offer.state !== 'talking';
  return abandoned ? { ...result, reason: 'abandoned' } : result;
}

type Durations = ReturnType<typeof legDurations>;

/** As the switch says; where it does not know them any more, by what it told before. */
function durations(leg: sql.LegRow, end: LegEnd, at: Date): Durations {
  const told = legDurations(
    {
      startedAt: leg.created_at.getTime(),
      alertingAt: leg.alerting_at?.getTime() ?? null,
      answeredAt: leg.answered_at?.getTime() ?? null,
    },
    at.getTime(),
  );
  return { setupMs: end.setupMs ?? told.setupMs, alertMs: end.alertMs ?? told.alertMs };
}

function recordLeg(
  tx: Tx,
  leg: sql.LegRow,
  result: LegResult,
  times: Durations,
  { queue, scheduledAt, isTransferred }: { queue: sql.Queue | undefined; scheduledAt: Date | null; isTransferred: boolean },
): void {
  const endedAt = leg.ended_at!.getTime();
  const seconds = (from: Date) => Math.max(0, Math.round((endedAt - from.getTime()) / 1000));
  // A phone that was picked up and not confirmed, or without audio, is no answer.
  const answeredAt = result.code === 'k' ? leg.answered_at : null;
  const spoke = answeredAt !== null && result.reason !== 'abandoned';
  tx.record({
    table: 'call_events',
    row: {
      call_id: leg.call_id,
      call_sequence: leg.sequence,
      event_type: 'c',
      internal_iq_session_id: sessionId(leg.call_id, 'legs'),
      ciq: leg.ciq,
      dte_start: leg.created_at,
      duration_tot_sec: seconds(leg.created_at),
      dte_speak_start: answeredAt,
      duration_speak_sec: spoke ? seconds(answeredAt) : 0,
      setup_ms: times.setupMs,
      alert_ms: times.alertMs,
      source: leg.source,
      destination: leg.destination,
      originating: leg.originating,
      service_num: queue?.service_num ?? null,
      queue_key: queue?.queue_key ?? null,
      agent_id: leg.agent_id,
      result_code: result.code,
      result_response: result.response,
      result_reason: result.reason,
      answered: result.code === 'k',
      call_transfer: isTransferred ? 1 : 0,
      hold: leg.hold,
      consult: leg.consult,
      caller_on_hold_sec: Math.round(heldMs(leg, endedAt) / 1000),
      leg_type: leg.leg_type,
      dte_scheduled_callback: scheduledAt,
      request_id: null,
      contact_id: leg.contact_id,
      campaign_id: leg.campaign_id,
      attempt: leg.attempt,
      recording: leg.recording,
    },
  });
}

/** How long the contact was on hold while this leg was in the talk. */
const heldMs = ({ held_ms, held_since }: sql.LegRow, endedAt: number): number =>
  held_ms + (held_since ? Math.max(0, endedAt - held_since.getTime()) : 0);

async function agentLegEnded(
  tx: Tx,
  offer: sql.OfferRow,
  { rules, contact_ended_reason }: sql.CallContext,
  result: LegResult,
): Promise<Pick<Ended, 'freed' | 'requeued'>> {
  if (offer.ended_at) return { freed: false, requeued: null };
  const { code, reason } = result;
  const isTransfer = offer.transfer_id !== null;
  const undialled = !isTransfer && (offer.state === 'offered' || offer.state === 'answered');
  const returns = undialled && !endsCall(offer.withdrawn) && !(await endsWithOffer(tx, offer, contact_ended_reason));
  const isUntaken = returns || (isTransfer && offer.state === 'offered');
  const reofferAt = isUntaken ? new Date(tx.now.getTime() + rules.reoffer_after_sec * 1000) : null;
  await tx.run(endOffer(tx.now, offer.id, code, reason, reofferAt));
  // What the agent is told after dialling is how the contact's leg ended, not their own.
  const contactLeg =
    offer.state === 'dialling' ? await tx.row<sql.LegRow>(sql.contactLegOfCall(offer.call_id)) : undefined;
  const after = (agent: AgentRow): AgentAfter => {
    const counters = countersOf(agent);
    if (offer.state === 'talking') return afterTalk(rules, counters);
    if (contactLeg?.result_code) return afterCallWithoutTalk(counters, contactLeg.result_reason ?? 'contact_not_reached');
    // Refused the dial or withdrawn, the agent is told why; the leg itself has just been ended.
    const otherwise = isTransfer ? 'transfer_over' : 'agent_hang_up';
    if (code === 'k') return afterCallWithoutTalk(counters, reason ?? offer.withdrawn ?? otherwise);
    return afterFailedOffer(rules, counters, code, reason);
  };
  const freed = await releaseAgent(tx, offer, contactLeg?.result_code ?? code, after);
  const isBack = returns && (await returnToQueue(tx, offer));
  return { freed, requeued: isBack ? offer.campaign_id : await waitOn(tx, offer) };
}

/** So many failed legs in a row, and the trunk counts as failing (docs/domain.md, "Dialling the contact"). */
const TRUNK_ERRORS = 5;
const PROBE_AFTER_MS = 60_000;
/**
 * Codes of a leg whose far end was heard, which shows that the trunk works. The others say nothing: `c` and `q` heard
 * nobody, and a number not in use (`e`) is also what a trunk that has lost its routes answers for every number.
 */
const HEARD: readonly LegCode[] = ['k', 'b', 't', 'h'];

/** True when the trunk begins to count as failing with this leg. */
async function judgeTrunk(tx: Tx, leg: sql.LegRow, { code, numberGivenUp, reason }: LegResult): Promise<boolean> {
  const { node } = leg;
  if (HEARD.includes(code)) await tx.run(sql.trunkWorks(node, leg.created_at));
  // With a reason of ours (`switch_lost`, `unknown`) it was not the trunk that failed.
  if (code !== 'e' || numberGivenUp || reason !== null) return false;
  const probeAt = new Date(tx.now.getTime() + PROBE_AFTER_MS);
  const counted = await tx.row<{ failing_now: boolean }>(sql.countTrunkError(tx.now, node, TRUNK_ERRORS, probeAt));
  return counted?.failing_now ?? false;
}

async function contactLegEnded(
  tx: Tx,
  leg: sql.LegRow,
  offer: sql.OfferRow,
  result: LegResult,
): Promise<Pick<Ended, 'trunkFailing'>> {
  const givenUp = result.numberGivenUp ? leg.destination : null;
  await tx.run(sql.noteLegResult(tx.now, leg.contact_id, result.code, givenUp));
  if (offer.state === 'talking') {
    await tx.run(sql.setContactState(tx.now, leg.contact_id, 'wrap_up', ['talking']));
    await endTransferOf(tx, leg, result);
  } else {
    // No talk, so no end of one to be told: the dial's own answer carries the outcome.
    await tx.run(sql.markDelivered(tx.now, leg.id));
  }
  return { trunkFailing: await judgeTrunk(tx, leg, result) };
}

/** The contact has hung up while the talk was being handed on: nobody is to take it any more. */
async function endTransferOf(tx: Tx, contactLeg: sql.LegRow, { reason }: LegResult): Promise<void> {
  const found = await tx.row<transferSql.TransferRow>(transferSql.openTransferOf(contactLeg.call_id));
  if (!found) return;
  const offer = found.target_offer_id ? await tx.row<sql.OfferRow>(sql.lockOffer(found.target_offer_id)) : undefined;
  const transfer = (await tx.row<transferSql.TransferRow>(transferSql.lockTransfer(found.id)))!;
  if ((await tx.run(transferSql.endTransfer(tx.now, transfer.id, 'over'))) === 0) return;
  const isWaiting = transfer.queued_at !== null && transfer.state !== 'consulting';
  const code = reason === 'switch_lost' || reason === 'unknown' ? 'e' : 'h';
  if (isWaiting) await recordLiveWait(tx, transfer, code, null);
  // Where there is a leg, the switch ends it.
  if (offer && !offer.ended_at && !(await tx.row(sql.legsOfOffer(offer.id)))) await endUnrung(tx, offer, null);
}

/** The contact's leg of a talk of which no leg is open any more. */
async function talkOver(tx: Tx, { call_id }: sql.OfferRow): Promise<string | null> {
  // Two legs may end at once, by offers of their own: they look one after the other, so the last one sees it.
  await tx.run(transferSql.lockCall(call_id));
  const legs = await tx.rows<sql.LegRow>(transferSql.legsOfCall(call_id));
  if (legs.some((leg) => leg.ended_at === null)) return null;
  return legs.find((leg) => leg.ciq === 'c')?.id ?? null;
}

async function deliver({ db, workflows, log }: LegBookDeps, undelivered: Sql, cause?: RepairCause): Promise<void> {
  const { rows } = await db.pool.query<sql.EndedTalk>(undelivered);
  for (const talk of rows) {
    const contact = { contactId: talk.contact_id, round: talk.round };
    const wrapUpUntil = (talk.wrap_up_until ?? db.clock.now()).getTime();
    try {
      await workflows.signal(contact, legEnded, { offerNo: talk.offer_no, wrapUpUntil });
      if (cause) await inTx(db, (tx) => noteDeliveredLate(tx, talk, cause));
      else await db.pool.query(sql.markDelivered(db.clock.now(), talk.leg_id));
    } catch (error) {
      log.warn({ err: error, leg: talk.leg_id }, 'end of a talk not told; the sweep repeats it');
    }
  }
}

/** On record only if whoever wrote the end has not come round to it meanwhile. */
async function noteDeliveredLate(tx: Tx, { leg_id, call_id }: sql.EndedTalk, cause: RepairCause): Promise<void> {
  const isFirst = (await tx.run(sql.markDelivered(tx.now, leg_id))) > 0;
  if (isFirst) await recordRepair(tx, { cause, subject: `call/${call_id}` });
}

/** The end of a leg of which the switch knows nothing (any more): by how far it had come. */
export function lostEnd(leg: Pick<sql.LegRow, 'answered_at' | 'alerting_at'>): LegEnd {
  const phase = leg.answered_at ? 'answered' : leg.alerting_at ? 'alerting' : 'setup';
  return { by: 'switch', phase, why: phase === 'setup' ? 'unknown' : 'switch_lost', setupMs: null, alertMs: null };
}
