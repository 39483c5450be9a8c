// Bare Temporal on the same server: the limits that the product's figures are held against.

import { randomUUID } from 'node:crypto';
import { DefaultLogger, type InjectedSinks, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { type BareSinks, call, end, finish, go, hop } from './bare-workflows.ts';
import { CONCURRENCY, inLanes, type Rig, seconds, until } from './kit.ts';

/** As in the product's worker (config/config.ts, worker/worker.ts). */
const CACHED = 300;

export interface Bare {
  /** Starts `count` workflows that only wait; how many a second are started, and how many until all of them wait. */
  starts(count: number): Promise<{ started: number; waiting: number }>;
  /** Starts workflows for `hop`, and waits until they wait. */
  prepareHops(count: number): Promise<void>;
  /** Signals one of them; returns the ms from there to the start of its activity. */
  hop(): Promise<number>;
  /** Carries out `count` workflows with all the hops of a call, `atOnce` of them at a time; returns how many a second. */
  calls(count: number, atOnce: number): Promise<number>;
}

/** Runs `work` beside a worker for bare workflows. */
export async function withBare<T>({ client, temporalAddress }: Rig, work: (bare: Bare) => Promise<T>): Promise<T> {
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
  const connection = await NativeConnection.connect({ address: temporalAddress });
  const taskQueue = `bare-${randomUUID()}`;
  const arrivals = new Map<string, () => void>();
  let taken = 0;
  const sinks: InjectedSinks<BareSinks> = { bare: { taken: { fn: () => void taken++ } } };
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: new URL('./bare-workflows.ts', import.meta.url).pathname,
    activities: {
      arrive: ({ id }: { id: string }): Promise<void> => {
        arrivals.get(id)?.();
        arrivals.delete(id);
        return Promise.resolve();
      },
    },
    sinks,
    maxCachedWorkflows: CACHED,
    maxConcurrentWorkflowTaskExecutions: 100,
  });
  const run = worker.run();
  const start = async (type: typeof hop | typeof call) => {
    const id = randomUUID();
    await client.workflow.start(type, { taskQueue, workflowId: `bare/${id}`, args: [{ id }] });
    return id;
  };
  const arrival = (id: string) => new Promise<number>((resolve) => arrivals.set(id, () => resolve(performance.now())));
  const handle = (id: string) => client.workflow.getHandle(`bare/${id}`);
  const waiting: string[] = [];

  try {
    return await work({
      async starts(count) {
        const before = taken;
        let started = NaN;
        const waiting = await seconds(async () => {
          started = await seconds(() => inLanes(count, CONCURRENCY, () => start(hop)));
          await until('all bare workflows wait', 120_000, () => Promise.resolve(taken === before + count));
        });
        return { started: count / started, waiting: count / waiting };
      },
      async prepareHops(count) {
        await inLanes(count, CONCURRENCY, async () => {
          const id = await start(hop);
          await handle(id).describe();
          waiting.push(id);
        });
      },
      async hop() {
        const id = waiting.shift()!;
        const arrived = arrival(id);
        const from = performance.now();
        await handle(id).signal(go);
        return (await arrived) - from;
      },
      async calls(count, atOnce) {
        const ids: string[] = [];
        await inLanes(count, CONCURRENCY, async () => void ids.push(await start(call)));
        const callOne = async (n: number) => {
          const id = ids[n]!;
          const dialled = arrival(`${id}/dial`);
          await handle(id).signal(go);
          await dialled;
          await handle(id).signal(end);
          await handle(id).executeUpdate(finish);
          await handle(id).result();
        };
        return count / (await seconds(() => inLanes(count, atOnce, callOne)));
      },
    });
  } finally {
    worker.shutdown();
    await run;
    await connection.close();
  }
}
