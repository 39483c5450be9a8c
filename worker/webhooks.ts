/** The loop that delivers to webhooks: beside the sweep, with connections of its own, so that neither keeps the other waiting. */
import type { Clock } from '../config/clock.ts';
import type { Logger } from '../config/log.ts';
import { createPool } from '../prisma/client.ts';
import { createAddresses } from '../webhooks/addresses.ts';
import { createDeliveries } from '../webhooks/deliveries.ts';
import { repeat } from './sweep.ts';

const EVERY_MS = 1_000;
const CUT_LOGS_EVERY = 60;
/** Its statements are short, and what it reads must not crowd out a call. */
const POOL = 3;

export interface WebhookDeps {
  databaseUrl: string;
  clock: Clock;
  /** The worker's name. */
  holder: string;
  networks: readonly string[];
  log: Logger;
}

export function startWebhooks({ databaseUrl, networks, ...deps }: WebhookDeps): { stop(): Promise<void> } {
  const { holder, log } = deps;
  const pool = createPool(databaseUrl, { max: POOL, name: `webhooks ${holder}` });
  const deliveries = createDeliveries({ ...deps, pool, addresses: createAddresses(networks) });
  const loop = repeat(async (round) => {
    const step = round % CUT_LOGS_EVERY === 0 ? deliveries.cutLogs().then(() => deliveries.look()) : deliveries.look();
    await step.catch((error: unknown) => log.warn({ err: error }, 'webhooks could not be looked at; it is repeated'));
    return EVERY_MS;
  });
  return {
    async stop() {
      await loop.stop();
      await deliveries.stop();
      await pool.end();
    },
  };
}
