/** Figures of the webhooks, read when they are asked for: the workers that deliver have no port. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { within } from '../prisma/deadline.ts';
import type { Db } from '../prisma/tx.ts';
import { figures, type WebhookFigures } from '../webhooks/sql.ts';
import { READ_WITHIN_MS } from './metrics.ts';

type Read = (row: WebhookFigures) => number;

const GAUGES: [name: string, help: string, read: Read][] = [
  ['dialwright_webhook_positions_behind', 'Positions after that of the webhook: no more rows than these wait', ({ behind }) => behind],
  ['dialwright_webhook_paused', '1 while the webhook is paused', ({ paused }) => paused],
  ['dialwright_webhook_failing_seconds', 'For how long every attempt has failed', ({ failing_sec }) => failing_sec],
];
const COUNTERS: typeof GAUGES = [
  ['dialwright_webhook_attempts_total', 'Attempts to deliver rows', ({ attempts }) => attempts],
  ['dialwright_webhook_failures_total', 'Attempts that failed', ({ failures }) => failures],
];

/** Labelled by the id of the webhook; its URL may be nobody's business. */
export function measureWebhooks(registry: Registry, db: Db): void {
  // Without a database all other figures are still given.
  const rows = () => within(READ_WITHIN_MS, () => db.pool.query<WebhookFigures>(figures(db.clock.now()))).then(({ rows }) => rows, () => []);
  const options = (name: string, help: string) => ({ name, help, labelNames: ['webhook'], registers: [registry] });
  for (const [name, help, read] of GAUGES) {
    const gauge = new Gauge({
      ...options(name, help),
      async collect() {
        const found = await rows();
        gauge.reset();
        for (const row of found) gauge.set({ webhook: row.id }, read(row));
      },
    });
  }
  for (const [name, help, read] of COUNTERS) {
    const counter = new Counter({
      ...options(name, help),
      async collect() {
        const found = await rows();
        counter.reset();
        for (const row of found) counter.inc({ webhook: row.id }, read(row));
      },
    });
  }
}
