/** Those who watch from outside: a reader of the events whose wire is cut like others', and someone who asks the API. */
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { AgentClient } from '../telephony/simulator/agent-client.ts';
import type { Stage } from './stage.ts';

/** A row for readers, as the stream gives it. */
export interface Told {
  kind: 'call' | 'agent' | 'disposition' | 'wrap_up';
  position: string;
  [column: string]: unknown;
}

export interface Reader {
  /** In the order in which they came. */
  told: Told[];
  stop(): void;
}

/** Reads everything there is, goes on where it was after each break, and keeps what it was told. */
export function startReader({ apiByWire, adminKey }: Stage): Reader {
  const told: Told[] = [];
  const closed = new AbortController();
  const log = pino({ level: 'silent' });
  const client = new AgentClient({ baseUrl: apiByWire, key: adminKey, closed: closed.signal, log });
  void client.listen('/v1/call-events/stream?after=0', ({ data }) => {
    if (data) told.push(JSON.parse(data) as Told);
  });
  return { told, stop: () => closed.abort() };
}

export interface Asker {
  /** How often which answer came; `none`: it was down. */
  answers: Map<string, number>;
  /** What no API may ever answer, one line each. */
  wrong: string[];
  stop(): void;
}

const ASK_EVERY_MS = 500;
/** Longer than it may be frozen. */
const WAITS_MS = 75_000;

/**
 * Asks for the campaign over and over. Down is allowed, a 500 never, no answer from one that runs neither, and a 503 says when
 * to come again.
 */
export function startAsker({ api, adminKey }: Stage, campaign: string): Asker {
  const answers = new Map<string, number>();
  const wrong: string[] = [];
  const stopped = new AbortController();
  const { signal } = stopped;
  const ask = async (): Promise<void> => {
    const response = await fetch(`${api.url}/v1/campaigns/${campaign}`, {
      headers: { authorization: `Bearer ${adminKey}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(WAITS_MS)]),
    }).catch((error: Error) => (error.name === 'TimeoutError' ? 'late' : null));
    if (signal.aborted) return;
    if (response === 'late') return void wrong.push(`GET /v1/campaigns/${campaign}: nothing within ${WAITS_MS / 1000} s`);
    const status = response ? String(response.status) : 'none';
    answers.set(status, (answers.get(status) ?? 0) + 1);
    const isRight = !response || response.ok || (response.status === 503 && response.headers.has('retry-after'));
    if (!isRight) wrong.push(`GET /v1/campaigns/${campaign}: ${status} ${await response.text().catch(() => '')}`);
  };
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      await ask();
      await sleep(ASK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  void loop();
  return { answers, wrong, stop: () => stopped.abort() };
}
