/** The worker process, wired: workflows, activities, its telephony node and the sweep; started and stopped in order. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createCampaignActivities } from '../activities/campaigns.ts';
import { createContactActivities } from '../activities/contacts.ts';
import { createLegBook } from '../activities/legs.ts';
import { createRepairs } from '../activities/repair.ts';
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
import { createWorkflows } from '../workflows/client.ts';
import { failuresAsCodes } from './failures.ts';
import { keepNode } from './node.ts';
import { startSweep } from './sweep.ts';
import { startWebhooks } from './webhooks.ts';

/** Hot statements are short: more connections than this would only queue in PostgreSQL. */
const POOL = 24;

export interface RunningWorker {
  /** Resolves when the worker has ended, by `stop` or by a failure. */
  finished: Promise<void>;
  stop(): Promise<void>;
}

/** Starts a worker. `workflowBundle` spares building it (tests). */
export async function startWorker(
  config: WorkerConfig,
  log: Logger,
  options: { workflowBundle?: WorkflowBundleOption } = {},
): Promise<RunningWorker> {
  const { temporalAddress: address, temporalNamespace: namespace, taskQueue } = config;
  const connection = await NativeConnection.connect({ address });
  const clientConnection = await Connection.connect({ address });
  const workflows = createWorkflows(new Client({ connection: clientConnection, namespace }), taskQueue);
  const db = {
    pool: createPool(config.databaseUrl, { max: POOL, name: `worker ${config.workerId}` }),
    prisma: createPrisma(config.databaseUrl, { max: 2 }),
    clock: systemClock,
  };
  const matching = createMatching({ db, workflows, log });
  const legs = createLegBook({ db, matching, workflows, log });
  const contacts = createContactActivities({ db, matching, legs });
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    ...(options.workflowBundle
      ? { workflowBundle: options.workflowBundle }
      : { workflowsPath: new URL('../workflows/index.ts', import.meta.url).pathname }),
    activities: {
      ...contacts,
      ...createTransferSteps({ db, matching }),
      ...createCampaignActivities({ db, matching, workflows, log }),
    },
    interceptors: { activity: [failuresAsCodes(log)] },
    maxCachedWorkflows: config.contactsCached,
    maxConcurrentWorkflowTaskExecutions: 100,
    maxHeartbeatThrottleInterval: '5s',
    shutdownGraceTime: '2s',
  });
  // Whoever has looked at the demo first must not call people at night.
  if (config.phones.adapter !== 'simulator') await narrowLegalHours(db, log);
  const node = keepNode({
    name: config.telephonyNode,
    holder: config.workerId,
    limits: { maxCalls: config.telephonyMaxCalls ?? null, callsPerSecond: config.telephonyCallsPerSecond ?? null },
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

  const cleanUp = async () => {
    await Promise.all([sweep.stop(), webhooks.stop()]);
    log.info('sweep and webhooks stopped');
    await node.stop();
    log.info('telephony node given up');
    await Promise.all([db.pool.end(), db.prisma.$disconnect(), clientConnection.close()]);
    await connection.close();
    log.info('worker stopped');
  };
  const finished = run.finally(cleanUp);
  return {
    finished,
    async stop() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await finished;
    },
  };
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
