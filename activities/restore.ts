/**
 * Bringing PostgreSQL and Temporal into line after one of them was restored to an earlier time, while no worker runs
 * (docs/operations.md, "Restoring"): what is different is found and listed first, then each difference is mended by a step of
 * its own that may be done twice, so that whoever was interrupted begins again.
 */
import type { Logger } from 'pino';
import { callId, callOfLeg, contactOfCall, contactWorkflowId, legId } from '../domain/ids.ts';
import { dueAtOf, type End, type Evidence, type Finding, IN_CALL, judge } from '../domain/restore.ts';
import { endCalls } from '../matching/queue.ts';
import { lockNumbers } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';
import { offered } from '../workflows/contact/messages.ts';
import type { Execution, Executions, KnownDial } from '../workflows/executions.ts';
import type { ContactActivities } from './contacts.ts';
import { listNumbers } from './do-not-call.ts';
import { type LegBook, lostEnd } from './legs.ts';
import { endWithoutSwitch } from './lost.ts';
import { callReason } from './offers.ts';
import * as restoreSql from './restore-sql.ts';
import * as sql from './sql.ts';

export interface RestoreDeps {
  db: Db;
  legs: Pick<LegBook, 'apply' | 'end'>;
  conclude: ContactActivities['conclude'];
  workflows: Pick<Workflows, 'restartContact' | 'signal' | 'campaignChanged'>;
  executions: Executions;
  log: Logger;
}

export interface Scope {
  /** PostgreSQL is what was restored, alone or with Temporal. */
  isOlder: boolean;
  /** To when; null: it does not say. */
  since: Date | null;
  /** Contacts' legs that a switch's own record names. */
  dialled: string[];
}

/** A leg to the contact that the database does not know. `trace` null: only its id is known. */
interface LostLeg {
  legId: string;
  trace: KnownDial | null;
}

export interface Difference extends Finding {
  contactId: string;
  round: number;
  /** As the database has it; null: it has no such contact. */
  row: restoreSql.ContactToJudge | null;
  dials: LostLeg[];
  /** Rounds of workflows that are open. */
  open: number[];
}

export interface Survey extends Scope {
  contacts: Difference[];
  /** Campaigns that will be paused, since what people have decided about them is lost. */
  toPause: number[];
  /** Open workflows of campaigns that the database does not know. */
  unknownCampaigns: string[];
  /** All that there are. */
  campaigns: number[];
  /** How many contacts were looked at. */
  looked: number;
}

const PAGE = 2_000;
/** About what one worker on a small machine carries out beside calls; a signal ends the wait at once. */
const STARTED_EVERY_MS = 5;
/** Calls to Temporal under way at once. */
const CONCURRENCY = 16;

// ---- what is different ----------------------------------------------------------------------------------------------

interface Known {
  open: Map<string, { round: number; state: string | null }[]>;
  ended: Map<string, End & { round: number }>;
  dials: Map<string, LostLeg[]>;
}

/** Writes nothing. */
export async function survey(deps: RestoreDeps, scope: Scope): Promise<Survey> {
  const known = await gather(deps, scope);
  const found: Difference[] = [];
  const seen = new Set<string>();
  const look = (row: restoreSql.ContactToJudge | null, contactId: string) => {
    seen.add(contactId);
    const difference = compare(row, contactId, known, scope.isOlder);
    if (difference) found.push(difference);
  };
  for (let after = '0'; ; ) {
    const { rows } = await deps.db.pool.query<restoreSql.ContactToJudge>(restoreSql.openContacts(after, PAGE));
    for (const row of rows) look(row, row.id);
    if (rows.length < PAGE) break;
    after = rows.at(-1)!.id;
  }
  const others = [known.open, known.ended, known.dials].flatMap((map) => [...map.keys()]);
  for (const ids of pages([...new Set(others)].filter((id) => !seen.has(id)))) {
    const { rows } = await deps.db.pool.query<restoreSql.ContactToJudge>(restoreSql.contactsById(ids));
    const byId = new Map(rows.map((row) => [row.id, row]));
    for (const id of ids) look(byId.get(id) ?? null, id);
  }
  // Who was in a call first: its number is free for the traces of others then.
  found.sort((a, b) => Number(b.what === 'in_call') - Number(a.what === 'in_call') || Number(a.contactId) - Number(b.contactId));
  return { ...scope, contacts: found, looked: seen.size, ...(await surveyCampaigns(deps, scope)) };
}

function compare(row: restoreSql.ContactToJudge | null, contactId: string, known: Known, isOlder: boolean): Difference | null {
  const dials = known.dials.get(contactId) ?? [];
  const evidence: Evidence = {
    open: known.open.get(contactId) ?? [],
    ended: known.ended.get(contactId) ?? null,
    dials: dials.length,
  };
  const finding = judge(row, evidence, isOlder);
  if (!finding) return null;
  const open = evidence.open.map(({ round }) => round);
  const round = Math.max(row?.round ?? 0, evidence.ended?.round ?? 0, ...open);
  return { ...finding, contactId, round, row, dials, open };
}

/** What Temporal and the switch know; of the dials, those that the database does not. */
async function gather({ db, executions, log }: RestoreDeps, { isOlder, since, dialled }: Scope): Promise<Known> {
  const known: Known = { open: new Map(), ended: new Map(), dials: new Map() };
  const legs = new Map<string, LostLeg>(dialled.map((id) => [id, { legId: id, trace: null }]));
  const read = async (run: Execution) => {
    if (run.isOpen) add(known.open, run.contactId, { round: run.round, state: run.state });
    // Only in histories is what a database has lost; whoever was never offered has dialled nobody.
    if (!isOlder || (run.isOpen && !run.wasOffered)) return;
    const { dials, closed } = await executions.told(run);
    for (const dial of dials) {
      // The database of then knows of it: there is no leg where it was not sent.
      if (since && dial.at < since.getTime()) continue;
      const id = legId(dial.callId, dial.offerNo, 'contact');
      legs.set(id, { legId: id, trace: dial });
    }
    const before = known.ended.get(run.contactId);
    if (closed && run.round >= (before?.round ?? 0)) known.ended.set(run.contactId, { ...(closed as End), round: run.round });
  };
  await pooled(executions.contacts(isOlder ? (since ?? new Date(0)) : null), read);
  for (const ids of pages([...legs.keys()])) {
    const { rows } = await db.pool.query<{ id: string }>(restoreSql.knownLegs(ids));
    for (const { id } of rows) legs.delete(id);
  }
  for (const leg of legs.values()) add(known.dials, contactOfCall(callOfLeg(leg.legId)), leg);
  log.info({ open: known.open.size, ended: known.ended.size, dials: legs.size }, 'workflows have been read');
  return known;
}

async function surveyCampaigns({ db, executions }: RestoreDeps, { isOlder }: Scope) {
  const { rows } = await db.pool.query<{ id: number; status: string }>(restoreSql.campaigns);
  const ids = new Set(rows.map(({ id }) => String(id)));
  return {
    campaigns: rows.map(({ id }) => id),
    toPause: isOlder ? rows.filter(({ status }) => status === 'running').map(({ id }) => id) : [],
    unknownCampaigns: (await executions.campaigns()).filter((id) => !ids.has(id)),
  };
}

// ---- what is done about it ------------------------------------------------------------------------------------------

/** Carries out what was found. `done` is told of each. The fence is the caller's: until it is open no worker dials. */
export async function reconcile(deps: RestoreDeps, found: Survey, done: (difference: Difference) => void): Promise<void> {
  const { db, executions, workflows } = deps;
  if (found.isOlder) {
    await inTx(db, async (tx) => {
      for (const statement of [restoreSql.pauseAll(tx.now), restoreSql.leapSequences, restoreSql.leapPositions]) await tx.run(statement);
      await tx.run(restoreSql.leapNumbers);
    });
  }
  for (const id of found.unknownCampaigns) await executions.end(`campaign/${id}`);
  const [first, rest] = [found.contacts.filter(isInCall), found.contacts.filter((each) => !isInCall(each))];
  for (const difference of first) await mend(deps, difference, done);
  // One by one, so that they take their first tasks while others are dialled, and not before anybody is.
  let started = 0;
  await pooled(rest, (difference) => mend(deps, difference, done, difference.measure === 'restart' ? (started += 1) * STARTED_EVERY_MS : 0));
  // Those that have lost their workflow, and rows that the feed had just begun with.
  for (const id of found.campaigns) await workflows.campaignChanged(String(id));
}

const isInCall = ({ what }: Difference): boolean => what === 'in_call';

async function mend(deps: RestoreDeps, difference: Difference, done: (difference: Difference) => void, delayMs = 0): Promise<void> {
  const { contactId, row, round, measure, open } = difference;
  if (row && round > row.round) await deps.db.pool.query(restoreSql.raiseRound(contactId, round));
  const at = { ...difference, row: row && { ...row, round } };
  if (measure === 'close') await close(deps, at);
  for (const left of open) if (measure !== 'restart' || left !== round) await deps.executions.end(contactWorkflowId(contactId, left));
  if (measure === 'restart') await restart(deps, at.row!, delayMs);
  done(difference);
}

/** Nobody calls it until a person says so, or it ends as its workflow has. What is known of its calls is written down. */
async function close(deps: RestoreDeps, { row, contactId, round, what, as, dials }: Difference): Promise<void> {
  const { db } = deps;
  if (!row) return;
  const end = as ?? { state: 'disabled', reason: 'disabled' };
  // First of all, so that whoever begins again finds that it was to be closed, whatever of its calls has been written down by then.
  await inTx(db, async (tx) => {
    if (!row.closed_at) await tx.run(restoreSql.markFinal(tx.now, contactId, end.reason));
    if (!row.closed_at && what !== 'ended') await recordRepair(tx, { cause: 'restored', subject: `contact/${contactId}/${round}` });
    // The list may have lost the number with the contact's end.
    if (as?.reason === 'do_not_call') await listAgain(tx, contactId);
  });
  let untraced = 0;
  for (const [nth, dial] of dials.entries()) if (!(await trace(deps, contactId, dial, nth))) untraced += 1;
  if (untraced > 0) await db.pool.query(restoreSql.countUntraced(db.clock.now(), contactId, untraced));
  if (row.closed_at) return;
  await endCall(deps, row);
  await inTx(db, async (tx) => {
    const contact = await tx.row<sql.ContactRow>(sql.lockContact(contactId, round));
    // Also of one that its last call has closed: another call of it may still be queued.
    if (contact) await closeRow(tx, contact, row.call_id, end);
  });
}

/** `queuedCall`: its own, where a call that was lost is newer. */
async function closeRow(tx: Tx, contact: sql.ContactRow, queuedCall: string | null, { state, reason }: End): Promise<void> {
  const calls = [...new Set([queuedCall, contact.call_id])].filter((id) => id !== null);
  if (calls.length > 0) await endCalls(tx, calls, callReason(reason));
  await tx.run(sql.closeContact(tx.now, contact.id, { state, reason, by: 'system' }));
}

async function listAgain(tx: Tx, contactId: string): Promise<void> {
  const found = await tx.row<{ numbers: string[] }>(restoreSql.numbersOf(contactId));
  const listing = { source: 'disposition', by: 'system', comment: 'listed again after a restore', contactId } as const;
  if (found) await listNumbers(tx, found.numbers, listing);
}

/** What is open of its call ends: no switch will say how. */
async function endCall(deps: RestoreDeps, row: restoreSql.ContactToJudge): Promise<void> {
  const { db, conclude } = deps;
  const { rows } = await db.pool.query<restoreSql.OfferUp>(restoreSql.offersUp(row.id));
  for (const { id } of rows) await endWithoutSwitch(deps, id, 'switch_lost', lostEnd);
  await conclude({ contactId: row.id, round: row.round, callId: row.call_id, decision: null });
}

/**
 * The row of a leg that the database has lost, with its event: so caps of the number and attempts count it, and everybody can
 * see it. False when too little is known for a row.
 */
async function trace({ db, legs }: RestoreDeps, contactId: string, { legId: id, trace: dial }: LostLeg, nth: number): Promise<boolean> {
  const lost = dial ? lostDialOf(contactId, dial) : await lostDialById(db, contactId, id);
  if (!lost) return false;
  const isTraced = await inTx(db, async (tx) => {
    if (await tx.row(sql.readLeg(id))) return true;
    const made = await tx.row<sql.NewLeg['offer'] & { number: string; caller_id: string | null }>(restoreSql.traceOffer(lost, nth));
    if (!made) return false;
    const { number, caller_id, ...offer } = made;
    await tx.run(lockNumbers([number]));
    // A call has one such leg, and a number one that is open: what is there stays.
    if ((await tx.row(sql.contactLegOfCall(lost.callId))) || (await tx.row(sql.numberInUse(number)))) return false;
    const leg = { id, offer, ciq: 'c', legType: 'contact', attempt: lost.attempt, source: number } as const;
    await tx.run(sql.insertLeg(lost.at, { ...leg, destination: number, originating: caller_id, notAfter: lost.at }));
    if (lost.answeredAt) await tx.run(sql.markLeg(id, 'answered_at', lost.answeredAt));
    // They have talked: nobody waits to be told of its end.
    await tx.run(sql.markDelivered(tx.now, id));
    await tx.run(restoreSql.countLost(tx.now, contactId, lost.callId));
    return true;
  });
  if (!isTraced) return false;
  const phase = lost.answeredAt ? ('answered' as const) : ('setup' as const);
  const at = (lost.answeredAt ?? lost.at).getTime();
  await legs.apply({ type: 'ended', legId: id, at, phase, by: 'switch', why: 'unknown', setupMs: null, alertMs: null });
  return true;
}

function lostDialOf(contactId: string, { callId: id, offerNo, agentId, node, attempt, at, answeredAt }: KnownDial): restoreSql.LostDial {
  const times = { at: new Date(at), answeredAt: answeredAt === null ? null : new Date(answeredAt) };
  return { contactId, callId: id, callNo: callNoOf(id, contactId), offerNo, agentId: Number(agentId), node, attempt, ...times };
}

/** Of a leg of which only a switch's record has told: its time counts as now, as the caps' safest. */
async function lostDialById(db: Db, contactId: string, id: string): Promise<restoreSql.LostDial | null> {
  const [call, offerNo] = id.split('-') as [string, string];
  const query = restoreSql.agentOfOffer(contactId, Number(offerNo));
  const found = (await db.pool.query<{ agent_id: number; node: string; attempt: number }>(query)).rows[0];
  if (!found) return null;
  const { agent_id: agentId, node, attempt } = found;
  const ids = { contactId, callId: call, callNo: callNoOf(call, contactId), offerNo: Number(offerNo) };
  return { ...ids, agentId, node, attempt, at: db.clock.now(), answeredAt: null };
}

const callNoOf = (id: string, contactId: string): number => Number(BigInt(id) - BigInt(callId(contactId, 1)) + 1n);

/** A workflow that goes on from the row; one in a call adopts what is open of it, like any that was away, and at once. */
async function restart(deps: RestoreDeps, row: restoreSql.ContactToJudge, delayMs: number): Promise<void> {
  const { db, workflows, conclude, executions } = deps;
  const { id: contactId, round } = row;
  const { rows: offers } = await db.pool.query<restoreSql.OfferUp>(restoreSql.offersUp(contactId));
  const own = offers.find(({ is_own }) => is_own);
  const isHandedOn = row.state === 'talking' && offers.length > 0 && (!own || offers.some(({ is_moving }) => is_moving));
  let dueAt = dueAtOf(row);
  if (IN_CALL.includes(row.state) && !own && !isHandedOn) {
    // Its call is over, and nobody has drawn the conclusion.
    for (const { id } of offers) await endWithoutSwitch(deps, id, 'switch_lost', lostEnd);
    const standing = await conclude({ contactId, round, callId: row.call_id, decision: null });
    if (standing.at === 'closed') return executions.end(contactWorkflowId(contactId, round));
    dueAt = standing.at === 'waiting' ? standing.dueAt : null;
  }
  // Offers that are over stay so; the one that is open is still to be taken up.
  const carried = { offerNo: own ? own.offer_no - 1 : row.offer_no, stoppedOfferNo: 0, callId: row.call_id, timeline: [] };
  const startsAfterMs = IN_CALL.includes(row.state) ? 0 : delayMs;
  await workflows.restartContact({ contactId, campaignId: String(row.campaign_id), round, dueAt, carried }, startsAfterMs);
  if (own && !isHandedOn) await workflows.signal({ contactId, round }, offered, { offerNo: own.offer_no });
  // A talk that others have taken over, or are about to, can't be taken up: as of any workflow ended by force, the sweep
  // finishes the contact.
  if (isHandedOn) await executions.end(contactWorkflowId(contactId, round));
}

// ---- helpers --------------------------------------------------------------------------------------------------------

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}

function* pages<T>(items: T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += PAGE) yield items.slice(at, at + PAGE);
}

/** Some at once; the first failure is thrown when nothing is under way any more. */
async function pooled<T>(items: AsyncIterable<T> | Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  let hasFailed = false;
  const queue = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const lane = async () => {
    for (let next = await queue.next(); !next.done && !hasFailed; next = await queue.next()) {
      await work(next.value).catch((error: unknown) => {
        hasFailed = true;
        throw error;
      });
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: CONCURRENCY }, lane));
  const failed = lanes.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
