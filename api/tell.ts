/** What the API tells the workflows after a transaction of its own: the decision is durable before, so nothing is lost. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from './http.ts';

/** Longer than this nobody is kept waiting for what is going to happen anyway. */
const WAIT_MS = 1_000;

/**
 * The campaign's status, rules or list were changed and its revision counted up. If Temporal is away the worker's sweep
 * carries it out later, so the request has succeeded all the same.
 */
export async function listChanged({ workflows, log }: Pick<Deps, 'workflows' | 'log'>, campaignId: number): Promise<void> {
  const told = workflows.campaignChanged(String(campaignId)).catch((error: unknown) => {
    log.warn({ err: error, campaign: campaignId }, 'campaign not told of its change; the sweep repeats it');
  });
  const enough = new AbortController();
  await Promise.race([told, sleep(WAIT_MS, undefined, { signal: enough.signal }).catch(() => undefined)]);
  enough.abort();
}
