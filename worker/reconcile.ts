/** A reconciliation after a restore, wired: survey, measures, and the fence that opens at its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { Logger } from 'pino';
import { createContactActivities } from '../activities/contacts.ts';
import { createLegBook } from '../activities/legs.ts';
import { type Difference, reconcile, type RestoreDeps, type Survey, survey } from '../activities/restore.ts';
import { beginReconciling, endReconciling, type FenceRow, readFence } from '../activities/restore-sql.ts';
import { systemClock } from '../config/clock.ts';
import type { RuntimeConfig } from '../config/config.ts';
import type { Standing } from '../domain/fence.ts';
import { createPool, createPrisma } from '../prisma/client.ts';
import type { Db } from '../prisma/tx.ts';
import { createWorkflows, type Workflows } from '../workflows/client.ts';
import { createExecutions } from '../workflows/executions.ts';
import { createTemporalFence } from '../workflows/fence.ts';
import { BEAT_MS, lookAtFence } from './fence.ts';

export interface ReconcileOptions {
  /** Only says what is different. */
  isDryRun: boolean;
  /** What was restored, where both were: that can't be seen. */
  restored: 'postgresql' | 'temporal' | 'both' | null;
  /** Contacts' legs that switches' own records name. */
  dialled: string[];
}

export interface Outcome {
  /** What the fence said. */
  standing: Standing;
  /** When workers last counted by what this database says; null: never. */
  savedAt: Date | null;
  /** Null: PostgreSQL and Temporal are in step, nothing was looked at. */
  survey: Survey | null;
}

/** What the database was told may be a little older than when it was told last. */
const MARGIN_MS = 600_000;
const POOL = 20;
/** Who has not counted for so long has ended. */
const MISSED_MS = 2.5 * BEAT_MS;
const LOOK_EVERY_MS = 1_000;

/** Throws an Error for people while workers run; waits half a minute at most to know. */
export async function reconcileRestored(
  config: RuntimeConfig,
  { isDryRun, restored, dialled }: ReconcileOptions,
  log: Logger,
  done: (difference: Difference) => void,
): Promise<Outcome> {
  const { databaseUrl, temporalAddress: address, temporalNamespace: namespace, taskQueue } = config;
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, namespace });
  const name = { max: POOL, name: 'reconcile' };
  const db = { pool: createPool(databaseUrl, name), prisma: createPrisma(databaseUrl, { max: 2 }), clock: systemClock };
  const temporal = createTemporalFence(client, taskQueue);
  try {
    const { row, there, standing } = await lookAtFence({ db, temporal });
    const savedAt = row.beat_at;
    if (restored === null && (standing === 'in_step' || standing === 'new')) return { standing, savedAt, survey: null };
    await nobodyCounts(db, row);
    const deps = restoreDeps(db, createWorkflows(client, taskQueue), createExecutions(client, taskQueue), log);
    const isOlder = restored ? restored !== 'temporal' : (there ?? 0) > row.beat;
    const since = savedAt && new Date(savedAt.getTime() - MARGIN_MS);
    if (!isDryRun) await db.pool.query(beginReconciling);
    const found = await survey(deps, { isOlder, since, dialled });
    if (isDryRun) return { standing, savedAt, survey: found };
    await reconcile(deps, found, done);
    // Temporal first: until PostgreSQL has it too, the fence is shut.
    const beat = Math.max(row.beat, there ?? 0) + 2;
    await temporal.write(beat);
    await db.pool.query(endReconciling(db.clock.now(), beat));
    return { standing, savedAt, survey: found };
  } finally {
    await Promise.all([db.pool.end(), db.prisma.$disconnect(), connection.close()]);
  }
}

/** Returns when no worker can be running any more, by the time of its last number; throws when one counts on. */
async function nobodyCounts({ pool, clock }: Pick<Db, 'pool' | 'clock'>, { beat, beat_at }: FenceRow): Promise<void> {
  while (beat_at && clock.now().getTime() - beat_at.getTime() < MISSED_MS) {
    await sleep(LOOK_EVERY_MS);
    const now = (await pool.query<FenceRow>(readFence)).rows[0]!;
    if (now.beat !== beat) throw new Error('Workers run: stop them, and the API, then run it again.');
  }
}

function restoreDeps(db: Db, workflows: Workflows, executions: RestoreDeps['executions'], log: Logger): RestoreDeps {
  // Nobody is offered anything meanwhile, and workflows are not told of calls but started from the rows.
  const nobody = () => Promise.resolve(null);
  const matching = { matchAgent: nobody, matchCampaign: nobody, matchWaiting: nobody };
  const legs = createLegBook({ db, matching, workflows: { signal: () => Promise.resolve('told' as const) }, log });
  const activities = createContactActivities({ db, matching, legs });
  return { db, legs, conclude: (call) => activities.conclude(call), workflows, executions, log };
}
