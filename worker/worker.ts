/** The worker process, wired: workflows, activities, its telephony node and the sweep; started and stopped in order. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createCampaignActivities } from '../activities/campaigns.ts';
import { createContactActivities } from '../activities/contacts.ts';
import { createLegBook } from '../activities/legs.ts';
import { createRepairs } from '../activities/repair.ts';
import { systemClock } from '../config/clock.ts';
import type { Phones, WorkerConfig } from '../config/config.ts';
import { createMatching } from '../matching/matching.ts';
import { createPool, createPrisma } from '../prisma/client.ts';
import { createAsteriskTelephony } from '../telephony/asterisk/adapter.ts';
import { createSimulatorTelephony } from '../telephony/simulator/adapter.ts';
import type { Telephony } from '../telephony/telephony.ts';
import { createWorkflows } from '../workflows/client.ts';
import { failuresAsCodes } from './failures.ts';
import { keepNode } from './node.ts';
import { startSweep } from './sweep.ts';

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
      ...createCampaignActivities({ db, matching, workflows, log }),
    },
    interceptors: { activity: [failuresAsCodes(log)] },
    maxCachedWorkflows: config.contactsCached,
    maxConcurrentWorkflowTaskExecutions: 100,
    maxHeartbeatThrottleInterval: '5s',
    shutdownGraceTime: '2s',
  });
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
  const run = worker.run();

  const cleanUp = async () => {
    await sweep.stop();
    log.info('sweep stopped');
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

function createTelephony(phones: Phones, log: Logger): Telephony {
  return phones.adapter === 'asterisk'
    ? createAsteriskTelephony(phones, log)
    : createSimulatorTelephony({ url: phones.url, log });
}
