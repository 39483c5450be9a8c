/**
 * Holding a telephony node: one worker at a time has its event connection and serves its task queue. The hold is a lease
 * in PostgreSQL, so that another worker takes over from one that died or froze.
 */
import { Worker, type NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createCallActivities } from '../activities/calls.ts';
import { type LegBook, lostEnd } from '../activities/legs.ts';
import * as sql from '../activities/sql.ts';
import { createTalkActivities } from '../activities/talks.ts';
import { createTransferActivities } from '../activities/transfers.ts';
import { nodeTaskQueue } from '../domain/ids.ts';
import type { Matching } from '../matching/matching.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx } from '../prisma/tx.ts';
import type { Telephony } from '../telephony/telephony.ts';
import { failuresAsCodes } from './failures.ts';
import { recordTalk, resumeRecordings } from './recordings.ts';

/** The lease is renewed every RENEW_MS; who does not for LEASE_MS has lost it. */
const RENEW_MS = 2_000;
const LEASE_MS = 8_000;
/** A leg unknown to the switch is looked at again after this: the report of its end may be on its way. */
const LOOK_AGAIN_MS = 3_000;
/** How long the switch may be away before its legs are given up; agents must be free within 10 s. */
const SWITCH_LOST_AFTER_MS = 5_000;
/** While all is well, too, book and switch are compared so often: nobody else sees a leg that no call owns. */
const RECONCILE_EVERY_MS = 15_000;
/** How long ringing activities have to hand over when this worker stops. */
const GRACE_MS = 2_000;

export interface NodeDeps {
  name: string;
  holder: string;
  limits: sql.NodeLimits;
  namespace: string;
  connection: NativeConnection;
  db: Db;
  legs: LegBook;
  matching: Matching;
  log: Logger;
  createTelephony: () => Telephony;
}

/** What is there only while this worker holds the node. */
interface Held {
  telephony: Telephony;
  worker: Worker;
  run: Promise<void>;
  up: boolean;
  /** Why the switch can't be reached, while it can't. */
  trouble: string | null;
  /** Since when the switch can't be reached (`performance.now()`), while it can't. */
  downSince: number;
  /** Compares book and switch; one comparison at a time. */
  reconcile(): void;
  reconciledAt: number;
}

export interface NodeKeeper {
  /** Gives the node up; resolves when its activities have handed over. */
  stop(): Promise<void>;
}

export function keepNode(deps: NodeDeps): NodeKeeper {
  const { db, log, name, holder, limits } = deps;
  let held: Held | null = null;
  let stopping = false;
  let wake: (() => void) | undefined;

  async function renew(): Promise<boolean> {
    const { up = false, trouble = null } = held ?? {};
    return inTx(db, async (tx) => {
      const until = new Date(tx.now.getTime() + LEASE_MS);
      const node = await tx.row<sql.HeldNode>(sql.holdNode(tx.now, name, holder, until, { up, trouble }, limits));
      // Its last holder, perhaps this very worker, has not given it up: it has died, was frozen, or could not say so.
      if (node?.was_until && node.was_ready && node.was_until <= tx.now) {
        await recordRepair(tx, { cause: 'node_lapsed', subject: `node/${name}`, occasion: node.was_until.toISOString() });
      }
      return node !== undefined;
    });
  }

  async function step(): Promise<void> {
    const mine = await renew();
    if (mine && !held) {
      log.info({ node: name }, 'this worker holds the node');
      // The row says whether the switch can be reached, and matching reads it there.
      held = await takeOver(deps, () => void renew().catch((error: unknown) => log.warn({ err: error }, 'not renewed')));
    } else if (!mine && held) {
      log.error({ node: name }, 'another worker holds the node now');
      await handOver(held);
      held = null;
    } else if (held && !held.up && performance.now() - held.downSince > SWITCH_LOST_AFTER_MS) {
      await giveUpLegs(deps);
    } else if (held?.up && performance.now() - held.reconciledAt > RECONCILE_EVERY_MS) {
      held.reconcile();
    }
  }

  const loop = (async () => {
    while (!stopping) {
      await step().catch((error: unknown) => log.warn({ err: error, node: name }, 'lease not renewed'));
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (stopping) resolve();
        else setTimeout(resolve, RENEW_MS);
      });
    }
  })();

  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    stopping = true;
    wake?.();
    await loop;
    if (held) await handOver(held);
    await db.pool.query(sql.leaveNode(db.clock.now(), name, holder)).catch(() => undefined);
  }

  return {
    stop: () => (stopped ??= stop()),
  };
}

async function takeOver(deps: NodeDeps, onChange: () => void): Promise<Held> {
  const { legs, log, name } = deps;
  const telephony = deps.createTelephony();
  const worker = await Worker.create({
    connection: deps.connection,
    namespace: deps.namespace,
    taskQueue: nodeTaskQueue(name),
    activities: {
      ...createCallActivities({ ...deps, telephony }),
      ...createTalkActivities({ ...deps, telephony }),
      ...createTransferActivities({ ...deps, telephony }),
    },
    interceptors: { activity: [failuresAsCodes(log)] },
    maxConcurrentActivityTaskExecutions: 1_000,
    // Heartbeats are how a frozen worker is noticed: they must not be held back.
    maxHeartbeatThrottleInterval: '3s',
    defaultHeartbeatThrottleInterval: '3s',
    shutdownGraceTime: GRACE_MS,
  });
  let comparing: Promise<void> | null = null;
  const held: Held = {
    telephony,
    worker,
    run: Promise.resolve(),
    up: false,
    trouble: null,
    downSince: performance.now(),
    reconciledAt: 0,
    reconcile() {
      held.reconciledAt = performance.now();
      comparing ??= reconcile(deps, telephony)
        .catch((error: unknown) => log.warn({ err: error }, 'book and switch not compared'))
        .finally(() => (comparing = null));
    },
  };
  telephony.onFact(async (fact) => {
    const talk = await legs.apply(fact);
    if (!talk) return;
    // Connected here and not by the activity that waits for the answer: audio must not wait for that to be taken over.
    for (const legId of talk.legIds) await telephony.join(talk.mix, legId);
    if (talk.recording) void recordTalk({ ...deps, telephony }, talk.mix, talk.recording);
  });
  telephony.onConnection((up, why = 'the switch does not answer') => {
    const trouble = up ? null : why;
    // Each try that fails in the same way is no news.
    if (held.up === up && held.trouble === trouble) return;
    if (held.up && !up) held.downSince = performance.now();
    Object.assign(held, { up, trouble });
    if (up) log.info({ node: name }, 'connected to the switch');
    else log.error({ node: name, why }, 'the switch can not be reached; retrying');
    onChange();
    if (!up) return;
    held.reconcile();
    void resumeRecordings({ ...deps, telephony }).catch((error: unknown) => log.warn({ err: error }, 'not resumed'));
  });
  held.run = worker.run();
  void telephony.start().catch((error: unknown) => log.error({ err: error, node: name }, 'no connection to the switch'));
  return held;
}

/**
 * The switch stays away, be it that this worker has never reached it: nobody will say what became of its legs, and agents
 * must not wait for it. Should a leg live on, it is hung up when the switch is back.
 */
async function giveUpLegs({ db, legs, log, name }: NodeDeps): Promise<void> {
  const { rows } = await db.pool.query<sql.LegRow>(sql.openLegsOfNode(name));
  if (rows.length > 0) log.error({ node: name, legs: rows.length }, 'the switch stays away: its legs count as lost');
  for (const leg of rows) await legs.end(leg.id, lostEnd(leg), 'switch_lost');
}

async function handOver({ telephony, worker, run }: Held): Promise<void> {
  if (worker.getState() === 'RUNNING') worker.shutdown();
  await run;
  await telephony.close();
}

/**
 * After a (re)connection, and now and then: what the book says is open and the switch does not know has ended without a
 * report; what the switch has and the book says is over is hung up.
 */
async function reconcile({ db, legs, log, name }: NodeDeps, telephony: Telephony): Promise<void> {
  const unknown = await unknownLegs(db, telephony, name);
  // What the switch remembers of the end of each, it tells now, be it that another worker had just sent it.
  for (const leg of unknown) await telephony.status(leg.id);
  const now = db.clock.now();
  const doubtful = new Set(unknown.filter((leg) => leg.not_after <= now).map((leg) => leg.id));
  if (doubtful.size > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  for (const leg of doubtful.size > 0 ? await unknownLegs(db, telephony, name) : []) {
    if (!doubtful.has(leg.id)) continue;
    log.warn({ leg: leg.id }, 'the switch does not know this leg any more');
    await legs.end(leg.id, lostEnd(leg), 'leg_unknown');
  }
  const doubted = await unownedLegs(db, telephony);
  if (doubted.size > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  for (const legId of doubted.size > 0 ? await unownedLegs(db, telephony) : []) {
    if (!doubted.has(legId)) continue;
    log.warn({ leg: legId }, 'no call owns this leg: hung up');
    await telephony.hangUp(legId, 'switch_lost');
    await inTx(db, (tx) => recordRepair(tx, { cause: 'leg_unowned', subject: `leg/${legId}` }));
  }
}

/** Legs that the switch has up and whose calls are over; one may just be ending. */
async function unownedLegs(db: Db, telephony: Telephony): Promise<Set<string>> {
  const live = (await telephony.list()).map((leg) => leg.legId);
  const { rows } = await db.pool.query<{ id: string }>(sql.stillOpen(live));
  const owned = new Set(rows.map((leg) => leg.id));
  return new Set(live.filter((legId) => !owned.has(legId)));
}

/** Open legs that the switch does not know; it may still accept one whose `not_after` is to come. */
async function unknownLegs(db: Db, telephony: Telephony, node: string): Promise<sql.LegRow[]> {
  const { rows } = await db.pool.query<sql.LegRow>(sql.openLegsOfNode(node));
  if (rows.length === 0) return [];
  const known = new Set((await telephony.list()).map((leg) => leg.legId));
  return rows.filter((leg) => !known.has(leg.id));
}
