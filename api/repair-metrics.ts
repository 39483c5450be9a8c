/** Repairs by cause, read when they are asked for: the workers that make them have no port. */
import { Counter, type Registry } from 'prom-client';
import { REPAIR_CAUSES } from '../domain/repairs.ts';
import { within } from '../prisma/deadline.ts';
import type { Db } from '../prisma/tx.ts';
import { READ_WITHIN_MS } from './metrics.ts';
import { countRepairs } from './repairs-sql.ts';

export function measureRepairs(registry: Registry, db: Pick<Db, 'pool'>): void {
  const counter = new Counter({
    name: 'dialwright_repairs_total',
    help: 'What had gone wrong and was put right, by cause: a healthy installation has none',
    labelNames: ['cause'],
    registers: [registry],
    async collect() {
      // Without a database all other figures are still given.
      const counted = await within(READ_WITHIN_MS, () => db.pool.query<{ cause: string; n: number }>(countRepairs())).catch(() => null);
      counter.reset();
      if (!counted) return;
      // A cause that never occurred is 0, so that its first time is an increase.
      for (const cause of REPAIR_CAUSES) counter.inc({ cause }, 0);
      for (const { cause, n } of counted.rows) counter.inc({ cause }, n);
    },
  });
}
