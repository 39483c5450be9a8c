// Waiting for the API and what it needs.

import { setTimeout as sleep } from 'node:timers/promises';

interface Part {
  ok: boolean;
  why?: string;
}
/** The answer of /readyz. */
export interface Readiness {
  ready: boolean;
  postgresql: Part;
  temporal: Part;
  telephony: Part;
}

const LOOK_EVERY_MS = 100;
const ANSWERS_WITHIN_MS = 5_000;

/**
 * Resolves as soon as the API at `url` answers and `isReady` accepts its answer. Rejects with an Error that says what
 * it was like last when that has not come true within `withinMs`, and when `signal` aborts.
 */
export async function whenReady(
  url: string,
  isReady: (answer: Readiness) => boolean,
  { withinMs, signal }: { withinMs: number; signal: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const answer = await look(url, signal);
    if (typeof answer !== 'string' && isReady(answer)) return;
    if (performance.now() > deadline) throw new Error(`${url} is not ready after ${withinMs / 1000} s: ${words(answer)}`);
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** The answer, or why there is none. */
async function look(url: string, signal: AbortSignal): Promise<Readiness | string> {
  const timely = AbortSignal.any([signal, AbortSignal.timeout(ANSWERS_WITHIN_MS)]);
  try {
    const response = await fetch(`${url}/readyz`, { signal: timely });
    return (await response.json()) as Readiness;
  } catch (error) {
    signal.throwIfAborted();
    return (error as { cause?: Error }).cause?.message ?? (error as Error).message;
  }
}

function words(answer: Readiness | string): string {
  if (typeof answer === 'string') return answer;
  const { postgresql, temporal, telephony } = answer;
  const parts = Object.entries({ PostgreSQL: postgresql, Temporal: temporal, telephony });
  return parts.map(([name, { ok, why = 'not ready' }]) => `${name} ${ok ? 'is there' : why}`).join(', ');
}
