/**
 * Who delivers: each webhook is served by one worker at a time, which holds it by a lease in its row, and each worker
 * serves many at once, so that a receiver that is slow or fails holds up nobody else.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { recordRepair } from '../prisma/repairs.ts';
import { inTx } from '../prisma/tx.ts';
import type { Addresses } from './addresses.ts';
import { leaseFrom, step, type StepDeps } from './delivery.ts';
import { createPoster } from './post.ts';
import * as sql from './sql.ts';

/** Webhooks that one worker serves at once. */
const AT_ONCE = 100;
/** How much of its log a webhook keeps. */
const LOG_MOST = 1_000;
const LOG_MS = 30 * 24 * 3_600_000;
/** How long what is being sent is waited for at the end. */
const GRACE_MS = 2_000;

export interface Deliveries {
  /** Begins to serve the webhooks that have something to send and that nobody serves; they go on by themselves. */
  look(): Promise<void>;
  /** Cuts the logs of all webhooks. */
  cutLogs(): Promise<void>;
  /** Breaks off what takes too long to be sent; whoever takes the webhook next repeats it. */
  stop(): Promise<void>;
}

export type DeliveryDeps = Omit<StepDeps, 'poster' | 'stopped'> & { addresses: Addresses };

export function createDeliveries({ addresses, ...given }: DeliveryDeps): Deliveries {
  const breakOff = new AbortController();
  const poster = createPoster(addresses);
  const deps: StepDeps = { ...given, poster, stopped: breakOff.signal };
  const { pool, clock, holder, log } = deps;
  const served = new Map<number, Promise<void>>();
  let stopping = false;

  async function serve(webhook: sql.WebhookRow): Promise<void> {
    try {
      for (let next: sql.WebhookRow | null = webhook; next && !stopping; ) next = await step(deps, next);
    } catch (error) {
      if (!breakOff.signal.aborted) log.warn({ err: error, webhook: webhook.id }, 'a webhook could not be served; it is repeated');
    }
    // If this fails its lease ends by itself.
    await pool.query(sql.release(webhook.id, holder)).catch(() => undefined);
  }

  return {
    async look() {
      const room = AT_ONCE - served.size;
      if (room <= 0 || stopping) return;
      for (const webhook of await take(deps, [...served.keys()], room)) served.set(webhook.id, serve(webhook).finally(() => served.delete(webhook.id)));
    },
    async cutLogs() {
      await pool.query(sql.forgetAttempts(new Date(clock.now().getTime() - LOG_MS)));
      await pool.query(sql.cutLog(LOG_MOST));
    },
    async stop() {
      stopping = true;
      const all = Promise.all(served.values());
      const inTime = new AbortController();
      await Promise.race([all, sleep(GRACE_MS, undefined, { signal: inTime.signal }).catch(() => undefined)]);
      inTime.abort();
      breakOff.abort();
      await all;
      poster.close();
    },
  };
}

/** What another worker has begun and not given back, it has died over. */
function take({ pool, clock, holder }: StepDeps, running: number[], most: number): Promise<sql.WebhookRow[]> {
  return inTx({ pool, clock, worker: holder }, async (tx) => {
    const taken = await tx.rows<sql.TakenWebhook>(sql.take(tx.now, holder, leaseFrom(tx.now), running, most));
    for (const { id, was_held_until } of taken) {
      if (was_held_until === null) continue;
      await recordRepair(tx, { cause: 'webhook_lapsed', subject: `webhook/${id}`, occasion: was_held_until.toISOString() });
    }
    return taken;
  });
}
