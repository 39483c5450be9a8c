/**
 * Bringing every row of a campaign into line with its status, list and rules: the feed, pause and resume, the stop and
 * the drain, in pages. Every page is guarded by the states of its rows, so that a repeat goes on where it was.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import { placeContacts } from '../matching/hours.ts';
import type { Matching } from '../matching/matching.ts';
import { endCalls, enqueueContacts } from '../matching/queue.ts';
import { type Held, holdStatus, leaveQueue, reorderNew, reorderQueue } from '../matching/sql.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx } from '../prisma/tx.ts';
import { asSignals, type Disable, withdraw } from '../workflows/contact/messages.ts';
import type { Workflows } from '../workflows/client.ts';
import { reopenPage } from './reopening.ts';
import { giveUpReopenings } from './reopening-sql.ts';
import * as sql from './sql.ts';

export interface CampaignDeps {
  db: Db;
  matching: Pick<Matching, 'matchCampaign'>;
  workflows: Pick<Workflows, 'startContact' | 'takenUp' | 'signal' | 'campaignChanged'>;
  log: Logger;
}

type StopDeps = Pick<CampaignDeps, 'db'> & { workflows: Pick<Workflows, 'signal'> };
type UnsettledDeps = Pick<CampaignDeps, 'db' | 'log'> & { workflows: Pick<Workflows, 'standing' | 'campaignChanged'> };

export interface Settled {
  status: sql.CampaignRow['status'];
  /** Contacts whose workflow was started, queued again, taken out of the queue, ended. */
  started: number;
  queued: number;
  unqueued: number;
  drained: number;
}

/** Rows of one transaction. */
const PAGE = 500;
const ORDER_PAGE = 5_000;
/** The same for each page that is started. */
const LIST_PAGE = 2_000;
/** Workflows started, or told that they are final, before they are waited for: half a second's work. */
const FLOW_PAGE = 50;
/** Between two heartbeats. */
const LOOK_UP_MS = 3_000;
/** A workflow that is told so closes in well under a second; a page of them within this, or it is not waited for. */
const CLOSES_WITHIN_MS = 10_000;
const LOOK_AGAIN_MS = 100;
/** Calls to Temporal under way at once. */
const CONCURRENCY = 32;

export type CampaignActivities = ReturnType<typeof createCampaignActivities>;

export function createCampaignActivities(deps: CampaignDeps) {
  const { db } = deps;
  return {
    /** Works until the campaign's newest revision is carried out on every row. */
    async settle({ campaignId }: { campaignId: string }): Promise<Settled> {
      const id = Number(campaignId);
      const total: Settled = { status: 'draft', started: 0, queued: 0, unqueued: 0, drained: 0 };
      for (;;) {
        const campaign = (await db.pool.query<sql.CampaignRow>(sql.readCampaign(id))).rows[0];
        if (!campaign) return total;
        total.status = campaign.status;
        if (await settleRevision(deps, campaign, total)) {
          await db.pool.query(sql.markSettled(id, campaign.revision));
          return total;
        }
      }
    },
  };
}

/** Carries one revision out; false when a newer one has come and it must begin again. */
async function settleRevision(deps: CampaignDeps, campaign: sql.CampaignRow, total: Settled): Promise<boolean> {
  const pages = campaign.status === 'running' ? [queueAgain, feed] : [emptyQueue, endRest];
  if (campaign.status === 'paused' && campaign.lets_reschedules) pages.push(feedReschedules);
  if (campaign.stop_requested) await stop(deps, campaign);
  for (const page of [placeLive, reorder, reopen, ...pages, drain, placeNew, reorderList]) {
    while (await page(deps, campaign, total)) {
      Context.current().heartbeat(total);
      if (await overtaken(deps, campaign)) return false;
    }
  }
  return !(await overtaken(deps, campaign));
}

async function overtaken({ db }: CampaignDeps, campaign: sql.CampaignRow): Promise<boolean> {
  Context.current().cancellationSignal.throwIfAborted();
  const { rows } = await db.pool.query<sql.CampaignRow>(sql.readCampaign(campaign.id));
  return rows[0]?.revision !== campaign.revision;
}

/** One page of work; true when there may be more. */
type Page = (deps: CampaignDeps, campaign: sql.CampaignRow, total: Settled) => Promise<boolean>;

/**
 * Claims rows, starts their workflows and, when these have been taken up, queues them set-wise: a crash in between leaves
 * claimed rows, found again. What is live must not stand behind a list, so no more is started before that.
 */
const feeding = (only?: 'reschedules'): Page => async (deps, campaign, total) => {
  const { id } = campaign;
  // The list gets its order while it is taken up: a page of it for each that is started, many times as long.
  if (!only) {
    await placeContacts(deps.db, id, 'new');
    await deps.db.pool.query(reorderNew(id, LIST_PAGE));
  }
  const page = (await deps.db.pool.query<sql.Claimed>(sql.claimPage(deps.db.clock.now(), id, FLOW_PAGE, only))).rows;
  const claimed = page.filter((row) => !row.is_listed);
  const last = claimed.at(-1);
  if (!last) return page.length > 0;
  await pooled(claimed, async ({ id: contactId, round, wait_until, call_id: callId, offer_no: offerNo }) => {
    const dueAt = wait_until?.getTime() ?? null;
    // A new round goes on from the last call: until the next one has started, its disposition may be corrected.
    const carried = callId === null ? {} : { carried: { offerNo, stoppedOfferNo: 0, callId, timeline: [] } };
    await deps.workflows.startContact({ contactId, campaignId: String(id), round, dueAt, ...carried });
  });
  // Task queues are served in order, or nearly so: the last one stands for all.
  while (!(await deps.workflows.takenUp({ contactId: last.id, round: last.round }, LOOK_UP_MS))) {
    Context.current().heartbeat(total);
    if (await overtaken(deps, campaign)) return true;
  }
  await placeContacts(deps.db, id, claimed.map((row) => row.id));
  await queueFresh(deps, id, claimed.map((row) => row.id));
  total.started += claimed.length;
  return true;
};
const feed = feeding();
const feedReschedules = feeding('reschedules');

async function queueFresh({ db, matching }: CampaignDeps, campaignId: number, contactIds: string[]): Promise<void> {
  await inTx(db, async (tx) => {
    const campaign = await tx.row<Held>(holdStatus(campaignId));
    if (campaign) await tx.run(sql.startedWaiting(tx.now, contactIds, campaign));
    await enqueueContacts(tx, contactIds, 'starting');
  });
  await matching.matchCampaign(campaignId);
}

/** Before a contact is queued its numbers have their hours; those that wait for the feed have time. */
const placing =
  (which: 'live' | 'new'): Page =>
  async ({ db, matching }, { id, status }) => {
    if (status === 'ended') return false;
    const placed = await placeContacts(db, id, which);
    if (placed > 0 && which === 'live') await matching.matchCampaign(id);
    return placed > 0;
  };
const placeLive = placing('live');
const placeNew = placing('new');

/** Order or filter were changed, or what a queued contact is sorted by: its place in the queue is reckoned anew. */
const reorder: Page = async ({ db, matching }, { id }) => {
  const { rowCount } = await db.pool.query(reorderQueue(id, ORDER_PAGE));
  if (rowCount) await matching.matchCampaign(id);
  return rowCount === ORDER_PAGE;
};

/** And the place in the list of those who are not in the queue yet. */
const reorderList: Page = async ({ db }, { id }) => (await db.pool.query(reorderNew(id, ORDER_PAGE))).rowCount === ORDER_PAGE;

/** Finished contacts that are to be called again are new ones from here on. */
const reopen: Page = async ({ db }, { id, status }) => {
  if (status !== 'ended') return reopenPage(db, id);
  await db.pool.query(giveUpReopenings(db.clock.now(), id));
  return false;
};

const queueAgain: Page = async ({ db, matching }, { id }, total) => {
  const queued = await inTx(db, async (tx) => {
    const campaign = await tx.row<Held>(holdStatus(id));
    if (campaign?.status !== 'running') return [];
    const waiting = await tx.rows<{ id: string }>(sql.waitingForCampaign(id, PAGE));
    return enqueueContacts(tx, waiting.map((row) => row.id), 'resumed');
  });
  total.queued += queued.length;
  if (queued.length > 0) await matching.matchCampaign(id);
  return queued.length > 0;
};

/** Pause: every queued call gets its `d`; resume makes a new one. */
const emptyQueue: Page = async ({ db }, { id }, total) => {
  const left = await inTx(db, async (tx) => {
    const rows = await tx.rows<{ call_id: string }>(leaveQueue(tx.now, id, PAGE));
    await endCalls(tx, rows.map((row) => row.call_id), 'campaign_paused');
    return rows.length;
  });
  total.unqueued += left;
  return left > 0;
};

const endRest: Page = async ({ db }, { id, status }) => {
  if (status !== 'ended') return false;
  const { rows } = await db.pool.query(sql.endContacts(db.clock.now(), id, PAGE));
  return rows.length > 0;
};

/**
 * Tells the workflows of rows that are final (list replaced, campaign ended); who is in a call finishes it first. Page by
 * page, each when the one before has closed, so that what is live does not stand behind a list that ends.
 */
const drain: Page = async (deps, campaign, total) => {
  let after = '0';
  for (;;) {
    const { rows } = await deps.db.pool.query<sql.Final>(sql.toDrain(campaign.id, after, FLOW_PAGE));
    await pooled(rows, (row) => tellFinal(deps, row));
    total.drained += rows.length;
    if (rows.length < FLOW_PAGE) return false;
    await untilClosed(deps, rows.map((row) => row.id));
    if (await overtaken(deps, campaign)) return true;
    after = rows.at(-1)!.id;
  }
};

async function tellFinal({ db, workflows, log }: CampaignDeps, { id, round, ended_reason, ended_by }: sql.Final): Promise<void> {
  const message = { reason: ended_reason as Disable['reason'], by: ended_by };
  const told = await workflows.signal({ contactId: id, round }, asSignals.disable, message);
  if (told === 'told') return;
  const isClosed = await inTx(db, async (tx) => {
    if ((await tx.run(sql.markClosed(tx.now, id, round))) === 0) return false;
    return recordRepair(tx, { cause: 'workflow_closed', subject: `contact/${id}/${round}` });
  });
  if (isClosed) log.warn({ contact: id, round }, 'a final contact had no workflow any more');
}

/** Waits for those that are in no call; what does not close (a workflow that fails) must not hold up the rest. */
async function untilClosed({ db }: CampaignDeps, contactIds: string[]): Promise<void> {
  const deadline = performance.now() + CLOSES_WITHIN_MS;
  while (performance.now() < deadline) {
    const { rowCount } = await db.pool.query(sql.stillClosing(contactIds));
    if (rowCount === 0) return;
    Context.current().heartbeat();
    await Context.current().sleep(LOOK_AGAIN_MS);
  }
}

/** Every worker carries a stop out within a second: if it took longer, none was there, or Temporal was away. */
const STOP_LATE_MS = 5_000;

/** The emergency stop: what is not answered ends at once. */
async function stop({ db, workflows }: StopDeps, campaign: Pick<sql.CampaignRow, 'id' | 'revision'>): Promise<void> {
  const { rows } = await db.pool.query<sql.OfferToStop>(sql.offersToStop(campaign.id));
  const tell = ({ contact_id: contactId, offer_no: offerNo, round }: sql.OfferToStop) =>
    workflows.signal({ contactId, round }, withdraw, { offerNo, why: 'campaign_paused' });
  await Promise.all(rows.map(tell)); // no more than there are agents
  await inTx(db, async (tx) => {
    const stopped = await tx.row<{ since: Date }>(sql.stopCarriedOut(campaign.id, campaign.revision));
    const isLate = stopped && tx.now.getTime() - stopped.since.getTime() > STOP_LATE_MS;
    if (isLate) await recordRepair(tx, ofCampaign('stop_unattended', campaign));
  });
}

const ofCampaign = (cause: 'stop_unattended' | 'campaign_unattended', { id, revision }: Pick<sql.CampaignRow, 'id' | 'revision'>) =>
  ({ cause, subject: `campaign/${id}`, occasion: String(revision) });

/** Runs `work` on every item, a bounded number at once, with heartbeats; the first failure is thrown at the end. */
async function pooled<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const lane = async () => {
    for (const item of queue) {
      await work(item);
      Context.current().heartbeat();
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: CONCURRENCY }, lane));
  const failed = lanes.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

/** The sweep's share of this room: stops that nobody has carried out yet, since their campaign's activity is busy or dead. */
export async function carryOutStops(deps: StopDeps): Promise<void> {
  const { rows } = await deps.db.pool.query<Pick<sql.CampaignRow, 'id' | 'revision'>>(sql.stopsRequested());
  for (const campaign of rows) await stop(deps, campaign);
}

/** How long whoever changes a campaign has for telling its workflow; again after the end of a long transaction. */
const TELL_WITHIN_MS = 5_000;
const LOOK_ONCE_MORE_MS = 2_000;

/** And campaigns whose newest revision nobody carries out, since their workflow was not told, or is no more. */
export async function tellUnsettled({ db, workflows, log }: UnsettledDeps): Promise<void> {
  const changedBefore = new Date(db.clock.now().getTime() - TELL_WITHIN_MS);
  const { rows } = await db.pool.query<Unsettled>(sql.unsettledCampaigns(changedBefore));
  const idleOf = async (campaigns: Unsettled[]): Promise<Unsettled[]> => {
    const idle: Unsettled[] = [];
    for (const campaign of campaigns) {
      const isAtWork = (await workflows.standing({ campaignId: String(campaign.id) })) === 'at_work';
      if (!isAtWork && (await db.pool.query(sql.isUnsettled(campaign.id, campaign.revision))).rowCount) idle.push(campaign);
    }
    return idle;
  };
  // Nobody is at it, nor has just been: in two looks.
  const idle = await idleOf(rows);
  if (idle.length > 0) await sleep(LOOK_ONCE_MORE_MS);
  for (const campaign of await idleOf(idle)) {
    try {
      await workflows.campaignChanged(String(campaign.id));
      await inTx(db, (tx) => recordRepair(tx, ofCampaign('campaign_unattended', campaign)));
    } catch (error) {
      log.warn({ err: error, campaign: campaign.id }, 'campaign not told of its change; the sweep repeats it');
    }
  }
}

type Unsettled = Pick<sql.CampaignRow, 'id' | 'revision'>;
