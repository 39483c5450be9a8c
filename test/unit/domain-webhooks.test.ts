import { describe, expect, test } from 'vitest';
import { afterFailure, isDelivered } from '../../domain/webhooks.ts';

const SINCE = new Date(Date.UTC(2030, 0, 7));
const at = (seconds: number) => new Date(SINCE.getTime() + seconds * 1000);
const answered = (status: number, retryAfterSec?: number) => ({ status, error: null, retryAfterSec });
const DAY_SEC = 86_400;

/** Seconds to the next attempt. */
function wait(seconds: number, outcome: Parameters<typeof afterFailure>[0] = answered(500)): number {
  const follows = afterFailure(outcome, SINCE, at(seconds));
  if (!('nextAttemptAt' in follows)) throw new Error(follows.paused);
  return (follows.nextAttemptAt.getTime() - at(seconds).getTime()) / 1000;
}

describe('after a failure', () => {
  test('each wait is about twice the one before, from 1 s to 10 min', () => {
    const waits: number[] = [];
    for (let seconds = 0; seconds < 3_000; seconds += waits.at(-1)!) waits.push(wait(seconds));
    expect(waits).toEqual([1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]);
    expect(wait(DAY_SEC - 1)).toBe(600);
  });

  test('the receiver may ask for more time, up to an hour, and not for less', () => {
    expect(wait(0, answered(503, 90))).toBe(90);
    expect(wait(0, answered(429, 999_999))).toBe(3600);
    expect(wait(300, answered(503, 1))).toBe(300);
    expect(wait(0, { status: null, error: 'timeout' })).toBe(1);
  });

  test('it is given up after a day, or at once where it is gone', () => {
    expect(afterFailure(answered(500), SINCE, at(DAY_SEC))).toEqual({ paused: 'failing' });
    expect(afterFailure({ status: null, error: 'not_connected' }, SINCE, at(2 * DAY_SEC))).toEqual({ paused: 'failing' });
    expect(afterFailure(answered(410), SINCE, SINCE)).toEqual({ paused: 'gone' });
  });

  test('there was none if it was answered with 2xx', () => {
    expect([199, 200, 204, 299, 300, 410, null].filter((status) => isDelivered({ status }))).toEqual([200, 204, 299]);
  });
});
