import { setTimeout as sleep } from 'node:timers/promises';

export interface Patience {
  /** How long it may take, in ms. */
  withinMs?: number;
  /** Pause between two tries, in ms. */
  everyMs?: number;
}

/**
 * Waits until `attempt` neither throws nor returns a falsy value, and resolves to what it returned.
 *
 * The one place in the tests where time is waited for: a test says what must become true, never how long that takes.
 * Rejects with the last error (or "still <value>") once the time is up.
 */
export async function eventually<T>(
  attempt: () => T | Promise<T>,
  { withinMs = 20_000, everyMs = 25 }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const outcome = await outcomeOf(attempt);
    if (outcome.done) return outcome.value;
    if (performance.now() >= deadline) throw timeUp(outcome.error, withinMs);
    await sleep(everyMs);
  }
}

type Outcome<T> = { done: true; value: T } | { done: false; error: unknown };

async function outcomeOf<T>(attempt: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    const value = await attempt();
    return value ? { done: true, value } : { done: false, error: new Error(`still ${String(value)}`) };
  } catch (error) {
    return { done: false, error };
  }
}

function timeUp(error: unknown, withinMs: number): Error {
  // The error itself is kept: an assertion's difference is what one wants to read.
  if (!(error instanceof Error)) return new Error(`Not within ${withinMs} ms: ${String(error)}`);
  error.message = `Not within ${withinMs} ms: ${error.message}`;
  return error;
}
