/**
 * One step of delivering, for a webhook that this worker holds: the next batch of rows, one that is to be repeated, or a test.
 *
 * What is going to be sent is written into the webhook's row first, so whoever repeats it, after a failure or after a
 * worker's death, sends the same rows with the same id.
 */
import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../config/clock.ts';
import type { Logger } from '../config/log.ts';
import { afterFailure, type DeliveryType, isDelivered, type Outcome } from '../domain/webhooks.ts';
import { type EventFilter, type EventRow, lastPosition, readBetween } from '../prisma/event-rows.ts';
import type { Sql } from '../prisma/tx.ts';
import { type Poster, TIMEOUT_MS } from './post.ts';
import { signedHeaders, validSecrets } from './signature.ts';
import * as sql from './sql.ts';

/** A batch has so many rows at most, and so many bytes, but one row at least. */
export const MOST_ROWS = 100;
export const MOST_BYTES = 256 * 1024;
/** So many positions are looked through at once for rows that are asked for. */
const LOOK_THROUGH = 5_000;
/** Longer than an attempt takes, so that nobody else begins while one is under way. */
const LEASE_MS = TIMEOUT_MS + 5_000;

export interface StepDeps {
  pool: Pool;
  clock: Clock;
  poster: Poster;
  /** The worker's name. */
  holder: string;
  log: Logger;
  /** Breaks off what is being sent. */
  stopped: AbortSignal;
}

type Webhook = sql.WebhookRow;

export const leaseFrom = (now: Date): Date => new Date(now.getTime() + LEASE_MS);

/** The webhook as it is then, or null when there is nothing more to do now. Rejects if it could not be carried out. */
export function step(deps: StepDeps, webhook: Webhook): Promise<Webhook | null> {
  if (webhook.test_id !== null) return sendTest(deps, webhook);
  return webhook.delivery_id === null ? sendNext(deps, webhook) : sendAgain(deps, webhook);
}

async function sendNext(deps: StepDeps, webhook: Webhook): Promise<Webhook | null> {
  const { pool, clock, holder } = deps;
  const last = await lastPosition(pool);
  if (webhook.state !== 'active' || BigInt(webhook.position) >= BigInt(last)) return null;
  const end = BigInt(webhook.position) + BigInt(LOOK_THROUGH);
  const upTo = end < BigInt(last) ? String(end) : last;
  const found = await readBetween(pool, filterOf(webhook), webhook.position, upTo, MOST_ROWS);
  const now = clock.now();
  if (found.length === 0) return change(deps, sql.passOver(webhook, holder, leaseFrom(now), upTo));
  const rows = whatFits(found);
  // What comes after the last row and is not asked for need not be looked at again.
  const isAll = rows.length === found.length && found.length < MOST_ROWS;
  const next = isAll ? upTo : rows.at(-1)!.position;
  const begun = await change(deps, sql.begin(webhook, holder, now, leaseFrom(now), { id: newMessageId(), next }));
  return begun && send(deps, begun, rows);
}

async function sendAgain(deps: StepDeps, webhook: Webhook): Promise<Webhook | null> {
  const begun = await change(deps, sql.beginAgain(webhook, deps.holder, leaseFrom(deps.clock.now())));
  if (!begun) return null;
  return send(deps, begun, await readBetween(deps.pool, filterOf(begun), begun.position, begun.delivery_next!, MOST_ROWS));
}

async function send(deps: StepDeps, webhook: Webhook, rows: readonly EventRow[]): Promise<Webhook | null> {
  const { pool, clock, holder, log } = deps;
  const { position: after, delivery_next: next, delivery_at: timestamp } = webhook;
  const body = JSON.stringify({ type: 'events', timestamp, data: { after, next, items: rows } });
  const sent = await post(deps, webhook, { id: webhook.delivery_id!, type: 'events', attempt: webhook.attempt, body, rows });
  if (!sent) return null;
  if (isDelivered(sent)) return change(deps, sql.delivered(sent, holder));
  const now = clock.now();
  const since = webhook.failing_since ?? now;
  const follows = { nextAttemptAt: null, paused: null, ...afterFailure(sent, since, now) };
  await pool.query(sql.failed(sent, holder, now, { since, ...follows }));
  if (follows.paused) log.error({ webhook: webhook.id, reason: follows.paused }, 'a webhook is paused: its receiver takes nothing');
  return null;
}

async function sendTest(deps: StepDeps, webhook: Webhook): Promise<Webhook | null> {
  const { clock, holder } = deps;
  const begun = await change(deps, sql.beginTest(webhook, holder, leaseFrom(clock.now())));
  if (!begun) return null;
  const body = JSON.stringify({ type: 'test', timestamp: clock.now(), data: {} });
  const sent = await post(deps, begun, { id: begun.test_id!, type: 'test', attempt: 1, body, rows: [] });
  return sent && change(deps, sql.tested(sent, holder));
}

interface Message {
  id: string;
  type: DeliveryType;
  attempt: number;
  body: string;
  rows: readonly EventRow[];
}

/** Null: too late, as after a freeze: by now somebody else may be sending it. */
async function post(deps: StepDeps, webhook: Webhook, message: Message): Promise<(sql.Attempt & Outcome) | null> {
  const { id, type, attempt, body, rows } = message;
  const at = deps.clock.now();
  if (webhook.lease_until.getTime() - at.getTime() < TIMEOUT_MS) return null;
  const secrets = [webhook.secret, ...validSecrets(webhook.old_secrets, at).map(({ secret }) => secret)];
  const from = performance.now();
  const outcome = await deps.poster.post(new URL(webhook.url), signedHeaders(secrets, id, at, body), body, deps.stopped);
  return {
    webhookId: webhook.id,
    deliveryId: id,
    type,
    attempt,
    firstPosition: rows[0]?.position ?? null,
    lastPosition: rows.at(-1)?.position ?? null,
    events: rows.length,
    at,
    durationMs: Math.round(performance.now() - from),
    ...outcome,
  };
}

/** The webhook as a statement has left it; null if that found it changed, or another worker's. */
async function change({ pool }: StepDeps, statement: Sql): Promise<Webhook | null> {
  return (await pool.query<Webhook>(statement)).rows[0] ?? null;
}

const filterOf = ({ kinds, campaign_ids }: Webhook): EventFilter => ({ kinds, campaignIds: campaign_ids });

/** Of a delivery or a test; of no use to who guesses one. */
export const newMessageId = (): string => `msg_${randomUUID()}`;

function whatFits(rows: readonly EventRow[]): readonly EventRow[] {
  let bytes = 0;
  const tooMuch = rows.findIndex((row) => (bytes += Buffer.byteLength(JSON.stringify(row))) > MOST_BYTES);
  return tooMuch < 0 ? rows : rows.slice(0, Math.max(1, tooMuch));
}
