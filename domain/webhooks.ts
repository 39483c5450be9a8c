/** Words and times of webhooks (docs/domain.md, "Webhooks"). */

export const WEBHOOK_STATES = ['active', 'paused'] as const;
export type WebhookState = (typeof WEBHOOK_STATES)[number];

/** `manual`: somebody paused it · `failing`: for a day nothing was taken · `gone`: the receiver answered 410. */
export const PAUSED_REASONS = ['manual', 'failing', 'gone'] as const;
export type PausedReason = (typeof PAUSED_REASONS)[number];

/** What is posted: `events`, rows for readers, or `test`. */
export const DELIVERY_TYPES = ['events', 'test'] as const;
export type DeliveryType = (typeof DELIVERY_TYPES)[number];

/** Why a receiver gave no answer. */
export const DELIVERY_ERRORS = [
  /** Its name leads only to addresses that may not be reached, such as private ones. */
  'address_not_allowed',
  'name_not_found',
  'not_connected',
  /** No encrypted connection: not TLS, or a certificate that is not good. */
  'tls',
  'timeout',
  /** The connection ended before there was an answer. */
  'broke_off',
  /** What came was no HTTP. */
  'bad_answer',
] as const;
export type DeliveryError = (typeof DELIVERY_ERRORS)[number];

/** How one attempt ended: what the receiver answered, or why there was no answer. */
export type Outcome =
  | { status: number; error: null; retryAfterSec?: number }
  | { status: null; error: DeliveryError };

export const isDelivered = ({ status }: Pick<Outcome, 'status'>): boolean => status !== null && status >= 200 && status < 300;

const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 600_000;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
/** A receiver that has taken nothing for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;

/**
 * What follows an attempt that failed at `now`: the next one, or why there is none. It waits as long again as it has been
 * failing (since `failingSince`), so that each wait is about twice the one before; longer if the receiver asks for it.
 */
export function afterFailure(
  outcome: Outcome,
  failingSince: Date,
  now: Date,
): { nextAttemptAt: Date } | { paused: Exclude<PausedReason, 'manual'> } {
  if (outcome.status === 410) return { paused: 'gone' };
  const failingMs = now.getTime() - failingSince.getTime();
  if (failingMs >= GIVE_UP_MS) return { paused: 'failing' };
  const own = Math.min(Math.max(failingMs, FIRST_RETRY_MS), LONGEST_RETRY_MS);
  const asked = outcome.error === null ? (outcome.retryAfterSec ?? 0) * 1000 : 0;
  return { nextAttemptAt: new Date(now.getTime() + Math.max(own, Math.min(asked, LONGEST_RETRY_AFTER_MS))) };
}
