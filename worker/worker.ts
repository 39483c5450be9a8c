/** The worker process, wired: workflows, activities, its telephony node and the sweep; started and stopped in order. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createCampaignActivities } from '../activities/campaigns.ts';
import { createContactActivities } from '../activities/contacts.ts';
import { createLegBook } from '../activities/legs.ts';
import { createRepairs } from '../activities/repair.ts';
import * as sql from '../activities/sql.ts';
import { createTransferSteps } from '../activities/transfers.ts';
import { systemClock } from '../config/clock.ts';
import type { Phones, WorkerConfig } from '../config/config.ts';
import { narrowAfterDemo } from '../matching/legal-hours.ts';
import { createMatching } from '../matching/matching.ts';
import { createPool, createPrisma } from '../prisma/client.ts';
import type { Db } from '../prisma/tx.ts';
import { createAsteriskTelephony } from '../telephony/asterisk/adapter.ts';
import { createSimulatorTelephony } from '../telephony/simulator/adapter.ts';
import type { Telephony } from '../telephony/telephony.ts';
import { createWorkflows, RECONNECTS_SOON } from '../workflows/client.ts';
import { createTemporalFence } from '../workflows/fence.ts';
import { workflowBundle } from './bundle.ts';
import { failuresAsCodes } from './failures.ts';
import { keepFence, untilOpen } from './fence.ts';
import { keepNode } from './node.ts';
import { startSweep } from './sweep.ts';
import { startWebhooks } from './webhooks.ts';

/** Hot statements are short: more connections than this would only queue in PostgreSQL. */
const POOL = 24;
/** Said again and again meanwhile. */
const TROUBLE_MS = 8_000;

export interface RunningWorker {
  /** Resolves when the worker has ended, by `stop` or by a failure. */
  finished: Promise<void>;
  stop(): Promise<void>;
}

export async function startWorker(config: WorkerConfig, log: Logger): Promise<RunningWorker> {
  const { temporalAddress: address, temporalNamespace: namespace, taskQueue } = config;
  const connection = await NativeConnection.connect({ address });
  const clientConnection = await Connection.connect({ address, ...RECONNECTS_SOON });
  const client = new Client({ connection: clientConnection, namespace });
  const workflows = createWorkflows(client, taskQueue);
  const db = {
    pool: createPool(config.databaseUrl, { max: POOL, name: `worker ${config.workerId}` }),
    prisma: createPrisma(config.databaseUrl, { max: 2 }),
    clock: systemClock,
    worker: config.workerId,
  };
  const limits = { maxCalls: config.telephonyMaxCalls ?? null, callsPerSecond: config.telephonyCallsPerSecond ?? null };
  const fence = { db, temporal: createTemporalFence(client, taskQueue), log };
  await untilOpen(fence, (why) => tellTrouble(db, config, limits, why));
  const matching = createMatching({ db, workflows, log });
  const legs = createLegBook({ db, matching, workflows, log });
  const contacts = createContactActivities({ db, matching, legs });
  const activities = {
    ...contacts,
    ...createTransferSteps({ db, matching }),
    ...createCampaignActivities({ db, matching, workflows, log }),
  };
  const worker = await Worker.create({ ...settings(config, log), workflowBundle: await workflowBundle(), connection, activities });
  // Whoever has looked at the demo first must not call people at night.
  if (config.phones.adapter !== 'simulator') await narrowLegalHours(db, log);
  const node = keepNode({
    name: config.telephonyNode,
    holder: config.workerId,
    limits,
    namespace,
    connection,
    db,
    legs,
    matching,
    log,
    createTelephony: () => createTelephony(config.phones, log),
  });
  const repair = createRepairs({ db, legs, conclude: (input) => contacts.conclude(input), workflows, log });
  const sweep = startSweep({ db, workflows, matching, legs, node: config.telephonyNode, repair, log });
  const webhooks = startWebhooks({
    databaseUrl: config.databaseUrl,
    clock: db.clock,
    holder: config.workerId,
    networks: config.webhookNetworks,
    log,
  });
  const run = worker.run();
  let restored: string | null = null;
  const beats = keepFence(fence, (why) => {
    restored = why;
    void node.stop();
    if (worker.getState() === 'RUNNING') worker.shutdown();
  });

  const cleanUp = async () => {
    await Promise.all([beats.stop(), sweep.stop(), webhooks.stop()]);
    log.info('sweep and webhooks stopped');
    await node.stop();
    log.info('telephony node given up');
    await Promise.all([db.pool.end(), db.prisma.$disconnect(), clientConnection.close()]);
    await connection.close();
    log.info('worker stopped');
  };
  const finished = run.finally(cleanUp).then(() => {
    if (restored) throw new Error(`${restored}. This worker has ended; the next one waits for npm run reconcile`);
  });
  return {
    finished,
    async stop() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await finished;
    },
  };
}

function settings({ temporalNamespace: namespace, taskQueue, contactsCached }: WorkerConfig, log: Logger) {
  return {
    namespace,
    taskQueue,
    interceptors: { activity: [failuresAsCodes(log)] },
    maxCachedWorkflows: contactsCached,
    maxConcurrentWorkflowTaskExecutions: 100,
    maxHeartbeatThrottleInterval: '5s',
    shutdownGraceTime: '2s',
  } satisfies Partial<WorkerOptions>;
}

/** Where people look, why nobody is called: beside the node (`/readyz`). */
async function tellTrouble(db: Db, { telephonyNode, workerId }: WorkerConfig, limits: sql.NodeLimits, trouble: string) {
  const now = db.clock.now();
  const until = new Date(now.getTime() + TROUBLE_MS);
  await db.pool.query(sql.holdNode(now, telephonyNode, workerId, until, { up: false, trouble }, limits));
}

async function narrowLegalHours(db: Db, log: Logger): Promise<void> {
  const { rowCount } = await db.pool.query(narrowAfterDemo(db.clock.now()));
  if (rowCount) log.warn('legal hours, which the demo had widened, are 8 to 21 again: see PUT /v1/legal-hours');
}

function createTelephony(phones: Phones, log: Logger): Telephony {
  return phones.adapter === 'asterisk'
    ? createAsteriskTelephony(phones, log)
    : createSimulatorTelephony({ url: phones.url, log });
}
