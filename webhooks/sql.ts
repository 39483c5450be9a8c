/**
 * The SQL of deliveries. Each statement is guarded by the holder of the webhook and by what it has read, so that a worker
 * that lost its lease, or whose webhook was changed meanwhile, changes nothing.
 */
import type { DeliveryError, DeliveryType, PausedReason, WebhookState } from '../domain/webhooks.ts';
import type { EventKind } from '../prisma/event-rows.ts';
import type { Sql } from '../prisma/tx.ts';
import type { OldSecret } from './signature.ts';

export interface WebhookRow {
  id: number;
  url: string;
  kinds: EventKind[];
  campaign_ids: number[];
  secret: string;
  old_secrets: OldSecret[];
  state: WebhookState;
  position: string;
  revision: number;
  delivery_id: string | null;
  delivery_next: string | null;
  delivery_at: Date | null;
  attempt: number;
  failing_since: Date | null;
  test_id: string | null;
  lease_until: Date;
}

/** One that was just taken. */
export interface TakenWebhook extends WebhookRow {
  /** Until when another worker had it, which has not given it back; null: nobody. */
  was_held_until: Date | null;
}

/**
 * Takes webhooks for which there is something to send, at most `limit`, for `holder` until `until`. A worker takes its own
 * at once, from a life before this one; but not those that it delivers just now (`running`).
 *
 * SKIP LOCKED: a row that is being changed is taken the next time.
 */
export const take = (now: Date, holder: string, until: Date, running: readonly number[], limit: number): Sql => ({
  name: 'webhooks_take',
  text: `UPDATE webhook w SET holder = $2, lease_until = $3
         FROM (SELECT id FROM webhook
               WHERE (lease_until IS NULL OR lease_until <= $1 OR holder = $2) AND id <> ALL($4::int[])
                 AND (test_id IS NOT NULL
                      OR state = 'active' AND (next_attempt_at IS NULL OR next_attempt_at <= $1)
                         AND position < (SELECT last FROM event_position WHERE id = 1))
               ORDER BY next_attempt_at NULLS FIRST LIMIT $5 FOR UPDATE SKIP LOCKED) due
         WHERE w.id = due.id RETURNING w.*, old.lease_until AS was_held_until`,
  values: [now, holder, until, running, limit],
});

/** Gives it to whoever takes it next. */
export const release = (id: number, holder: string): Sql => ({
  name: 'webhooks_release',
  text: `UPDATE webhook SET holder = NULL, lease_until = NULL WHERE id = $1 AND holder = $2`,
  values: [id, holder],
});

/** Nothing that is asked for up to `position`. */
export const passOver = ({ id, revision }: WebhookRow, holder: string, until: Date, position: string): Sql => ({
  name: 'webhooks_pass_over',
  text: `UPDATE webhook SET position = $5, lease_until = $4
         WHERE id = $1 AND revision = $2 AND holder = $3 AND delivery_id IS NULL RETURNING *`,
  values: [id, revision, holder, until, position],
});

/** Writes down what is going to be sent: whoever repeats it sends the same with the same id. */
export const begin = (
  { id, revision }: WebhookRow,
  holder: string,
  now: Date,
  until: Date,
  delivery: { id: string; next: string },
): Sql => ({
  name: 'webhooks_begin',
  text: `UPDATE webhook SET delivery_id = $6, delivery_next = $7, delivery_at = $4, attempt = 1, lease_until = $5
         WHERE id = $1 AND revision = $2 AND holder = $3 AND state = 'active' AND delivery_id IS NULL RETURNING *`,
  values: [id, revision, holder, now, until, delivery.id, delivery.next],
});

export const beginAgain = ({ id, delivery_id }: WebhookRow, holder: string, until: Date): Sql => ({
  name: 'webhooks_begin_again',
  text: `UPDATE webhook SET attempt = attempt + 1, lease_until = $4
         WHERE id = $1 AND delivery_id = $2 AND holder = $3 AND state = 'active' RETURNING *`,
  values: [id, delivery_id, holder, until],
});

export const beginTest = ({ id, test_id }: WebhookRow, holder: string, until: Date): Sql => ({
  name: 'webhooks_begin_test',
  text: `UPDATE webhook SET lease_until = $4 WHERE id = $1 AND test_id = $2 AND holder = $3 RETURNING *`,
  values: [id, test_id, holder, until],
});

/** One attempt, for the log. */
export interface Attempt {
  webhookId: number;
  deliveryId: string;
  type: DeliveryType;
  attempt: number;
  firstPosition: string | null;
  lastPosition: string | null;
  events: number;
  at: Date;
  durationMs: number;
  status: number | null;
  error: DeliveryError | null;
}

/**
 * The attempt gets into the log whatever has become of the webhook meanwhile, so that the log says all that was sent;
 * unless it was deleted.
 */
const LOGGED = `WITH logged AS (
    INSERT INTO webhook_delivery (webhook_id, delivery_id, type, attempt, first_position, last_position, events, at,
      duration_ms, status, error)
    SELECT id, $2, $4, $5::int, $6::bigint, $7::bigint, $8::int, $9::timestamptz, $10::int, $11::int, $12
    FROM webhook WHERE id = $1)`;
const logValues = (attempt: Attempt, holder: string): unknown[] => [
  ...[attempt.webhookId, attempt.deliveryId, holder, attempt.type, attempt.attempt, attempt.firstPosition],
  ...[attempt.lastPosition, attempt.events, attempt.at, attempt.durationMs, attempt.status, attempt.error],
];

export const delivered = (attempt: Attempt, holder: string): Sql => ({
  name: 'webhooks_delivered',
  text: `${LOGGED}
         UPDATE webhook SET position = delivery_next, delivery_id = NULL, delivery_next = NULL, delivery_at = NULL, attempt = 0,
           failing_since = NULL, last_error = NULL, next_attempt_at = NULL, attempts = attempts + 1
         WHERE id = $1 AND delivery_id = $2 AND holder = $3 RETURNING *`,
  values: logValues(attempt, holder),
});

export interface Failed {
  since: Date;
  nextAttemptAt: Date | null;
  paused: PausedReason | null;
}

/** A webhook that was paused by hand meanwhile stays paused for that reason. Given to whoever takes it when it is due. */
export const failed = (attempt: Attempt, holder: string, now: Date, { since, nextAttemptAt, paused }: Failed): Sql => ({
  name: 'webhooks_failed',
  text: `${LOGGED}
         UPDATE webhook SET failing_since = $14, last_error = coalesce($12, $11::int::text), next_attempt_at = $15,
           attempts = attempts + 1, failures = failures + 1, holder = NULL, lease_until = NULL,
           state = CASE WHEN $16::text IS NULL THEN state ELSE 'paused' END,
           paused_reason = coalesce(paused_reason, $16), paused_at = CASE WHEN $16 IS NULL THEN paused_at ELSE coalesce(paused_at, $13) END
         WHERE id = $1 AND delivery_id = $2 AND holder = $3`,
  values: [...logValues(attempt, holder), now, since, nextAttemptAt, paused],
});

/** One that is asked for and not sent yet is the same one. */
export const askForTest = (id: number, messageId: string): Sql => ({
  name: 'webhooks_ask_for_test',
  text: `UPDATE webhook SET test_id = coalesce(test_id, $2) WHERE id = $1 RETURNING test_id`,
  values: [id, messageId],
});

/** A test is sent once, whatever its outcome. */
export const tested = (attempt: Attempt, holder: string): Sql => ({
  name: 'webhooks_tested',
  text: `${LOGGED}
         UPDATE webhook SET test_id = NULL WHERE id = $1 AND test_id = $2 AND holder = $3 RETURNING *`,
  values: logValues(attempt, holder),
});

/** Of each webhook the latest `most` attempts stay. */
export const cutLog = (most: number): Sql => ({
  text: `DELETE FROM webhook_delivery d
         USING (SELECT w.id, (SELECT id FROM webhook_delivery WHERE webhook_id = w.id ORDER BY id DESC OFFSET $1 LIMIT 1) AS last
                FROM webhook w) cut
         WHERE d.webhook_id = cut.id AND d.id <= cut.last`,
  values: [most],
});

export const forgetAttempts = (before: Date): Sql => ({
  text: `DELETE FROM webhook_delivery WHERE at < $1`,
  values: [before],
});

export interface WebhookFigures {
  id: number;
  behind: number;
  paused: number;
  failing_sec: number;
  attempts: number;
  failures: number;
}

export const figures = (now: Date): Sql => ({
  name: 'webhooks_figures',
  text: `SELECT id, greatest(0, last - position)::float8 AS behind, (state = 'paused')::int AS paused,
           coalesce(extract(epoch FROM $1::timestamptz - failing_since), 0)::float8 AS failing_sec,
           attempts::float8 AS attempts, failures::float8 AS failures
         FROM webhook, (SELECT last FROM event_position) counter`,
  values: [now],
});
