/** A reconciliation after a restore, wired: survey, measures, and the fence that opens at its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { Logger } from 'pino';
import { createContactActivities } from '../activities/contacts.ts';
import { createLegBook } from '../activities/legs.ts';
import { type Difference, reconcile, type RestoreDeps, type Survey, survey } from '../activities/restore.ts';
import { beginReconciling, endReconciling, type FenceRow, type Restored, workersConnected } from '../activities/restore-sql.ts';
import { systemClock } from '../config/clock.ts';
import type { RuntimeConfig } from '../config/config.ts';
import type { Standing } from '../domain/fence.ts';
import { createPool, createPrisma } from '../prisma/client.ts';
import type { Db } from '../prisma/tx.ts';
import { createWorkflows, type Workflows } from '../workflows/client.ts';
import { createExecutions } from '../workflows/executions.ts';
import { createTemporalFence } from '../workflows/fence.ts';
import { lookAtFence } from './fence.ts';

export interface ReconcileOptions {
  /** Only says what is different. */
  isDryRun: boolean;
  /** What was restored, where both were: that can't be seen. */
  restored: Restored | null;
  /** Contacts' legs that switches' own records name; null: no record was given. */
  dialled: string[] | null;
  /** There is no record to give. */
  isWithoutRecord: boolean;
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
/** Connections of workers that have just ended are gone by then. */
const GONE_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 500;

/** Throws an Error for people while workers run, and where a record of the switches is needed. */
export async function reconcileRestored(
  config: RuntimeConfig,
  options: ReconcileOptions,
  log: Logger,
  done: (difference: Difference) => void,
): Promise<Outcome> {
  const { isDryRun } = options;
  const { databaseUrl, temporalAddress: address, temporalNamespace: namespace, taskQueue } = config;
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, namespace });
  const name = { max: POOL, name: 'reconcile' };
  const db = { pool: createPool(databaseUrl, name), prisma: createPrisma(databaseUrl, { max: 2 }), clock: systemClock };
  const temporal = createTemporalFence(client, taskQueue);
  try {
    const { row, there, standing } = await lookAtFence({ db, temporal });
    const savedAt = row.beat_at;
    if (options.restored === null && (standing === 'in_step' || standing === 'new')) return { standing, savedAt, survey: null };
    await nobodyWorks(db);
    const restored = restoredOf(options.restored, row, there);
    const deps = restoreDeps(db, createWorkflows(client, taskQueue), createExecutions(client, taskQueue), log);
    const isOlder = restored !== 'temporal';
    const since = savedAt && new Date(savedAt.getTime() - MARGIN_MS);
    if (isOlder && !isDryRun) await mustRemember(connection, namespace, options, restored, since);
    if (!isDryRun) {
      await db.pool.query(beginReconciling(restored));
      // Whoever has started meanwhile: later ones wait for the fence.
      await nobodyWorks(db);
    }
    const found = await survey(deps, { isOlder, since, dialled: options.dialled ?? [] });
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

/** One that was interrupted goes on with what it has begun: what it has done already would look like something else. */
function restoredOf(said: Restored | null, { reconciling, beat }: FenceRow, there: number | null): Restored {
  if (reconciling && said && said !== reconciling) {
    throw new Error(`A reconciliation was begun with --restored ${reconciling}: it must be finished as it was begun.`);
  }
  return reconciling ?? said ?? ((there ?? 0) > beat ? 'postgresql' : 'temporal');
}

/** Who was dialled since the database was saved is known from Temporal as long as that remembers, and else from switches alone. */
async function mustRemember(
  connection: Connection,
  namespace: string,
  { dialled, isWithoutRecord }: ReconcileOptions,
  restored: Restored,
  since: Date | null,
): Promise<void> {
  if (dialled || isWithoutRecord) return;
  const { config } = await connection.workflowService.describeNamespace({ namespace });
  const remembersMs = Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) * 1000;
  if (restored !== 'both' && since && since.getTime() > Date.now() - remembersMs) return;
  throw new Error(
    'Temporal can not tell everybody who was dialled since the database was saved. Give the switches\' own records (--dialled FILE), or ' +
      'say --without-record: then nobody can tell who of the list was called in that time.',
  );
}

/** Returns when no worker has a connection any more; throws when one stays. */
async function nobodyWorks({ pool }: Pick<Db, 'pool'>): Promise<void> {
  const deadline = performance.now() + GONE_WITHIN_MS;
  while ((await pool.query(workersConnected)).rowCount) {
    if (performance.now() > deadline) throw new Error('Workers run: stop them, and the API, then run it again.');
    await sleep(LOOK_EVERY_MS);
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
