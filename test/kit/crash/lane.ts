/**
 * An installation of its own: database, switch and API in this process, and workers that may crash. Many of them share one
 * PostgreSQL and one Temporal, so that many crashes are waited for at the same time.
 */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { type Logger, pino } from 'pino';
import { inject } from 'vitest';
import { ensureAdminKey } from '../../../api/auth.ts';
import { createListener } from '../../../api/listener.ts';
import { startApi } from '../../../api/server.ts';
import { systemClock } from '../../../config/clock.ts';
import { createMatching } from '../../../matching/matching.ts';
import { createPool, createPrisma } from '../../../prisma/client.ts';
import type { Db } from '../../../prisma/tx.ts';
import { DialRecord } from '../../../telephony/simulator/dial-record.ts';
import { type BehaviourInput, type Script, scriptSchema } from '../../../telephony/simulator/script.ts';
import { startSimulatorServer } from '../../../telephony/simulator/server.ts';
import { SimulatedSwitch } from '../../../telephony/simulator/switch.ts';
import { createAddresses } from '../../../webhooks/addresses.ts';
import { createWorkflows, type Workflows } from '../../../workflows/client.ts';
import { freshDatabase } from '../database.ts';
import { eventually } from '../eventually.ts';
import { carriedOut, type Json } from '../system.ts';
import type { Scene } from './play.ts';
import { CrashWorker } from './worker.ts';

const ADMIN_KEY = 'dw_test-admin-key-0123456789';
const RENEW_LEASES_MS = 5_000;
const STARTS_WITHIN_MS = 60_000;

export interface Answer {
  status: number;
  body: Json;
}

export interface Lane {
  readonly db: Db;
  readonly simulated: SimulatedSwitch;
  /** What the switch has dialled. */
  readonly record: DialRecord;
  readonly workflows: Workflows;
  readonly client: Client;
  /** Those that have not been killed by `oneWorker`, the one that was started last at the end. */
  readonly workers: CrashWorker[];
  /** Of its workers. */
  readonly logFile: string;
  /** Agents whose leases are renewed. */
  readonly agents: number[];
  /** Campaigns and agents that have been made, by the scenario's name. */
  readonly scenes: Map<string, Scene>;
  /** Resolves when it carries out workflows; it holds the node as soon as nobody else does. */
  startWorker(): Promise<CrashWorker>;
  /** The lane's only worker, which holds the node and has been told everything by the switch; all others are killed. */
  oneWorker(): Promise<CrashWorker>;
  ask(method: string, urlPath: string, body?: unknown, idempotencyKey?: string): Promise<Answer>;
  /** The answer's body; fails unless the status is 2xx. */
  ok(method: string, urlPath: string, body?: unknown): Promise<Json>;
  /** How the phone at a number behaves, dial by dial. */
  behave(number: string, behaviour: BehaviourInput | BehaviourInput[]): void;
  close(): Promise<void>;
}

/** Phones answer, agents' and others, unless a scenario says otherwise. */
const answers: BehaviourInput = { trying: 0, alerting: 0.1, media: 0, then: { kind: 'answers', after: 0.2 } };
const scriptOf = (numbers: Record<string, BehaviourInput | BehaviourInput[]> = {}): Script =>
  scriptSchema.parse({ agents: answers, contacts: [{ weight: 1, behaviour: answers }], numbers });

/** `compileCache`: a directory that all workers share, so that each starts sooner. */
export async function openLane(connection: Connection, compileCache: string): Promise<Lane> {
  const url = await freshDatabase();
  const log = pino({ level: 'silent' });
  const db: Db = { pool: createPool(url, { max: 6 }), prisma: createPrisma(url, { max: 2 }), clock: systemClock };
  // Workflow ids carry these ids, and all tests share one Temporal namespace.
  const offset = Math.floor(Math.random() * 1_000_000_000) + 1;
  for (const table of ['contact', 'campaign']) await db.pool.query(`ALTER SEQUENCE ${table}_id_seq RESTART WITH ${offset}`);
  const taskQueue = `dialwright-${offset}`;
  const client = new Client({ connection });
  const workflows = createWorkflows(client, taskQueue);
  const { simulated, record, ...simulator } = await openSwitch(log);
  const api = await openApi({ url, db, workflows, simulatorUrl: simulator.url, log });
  const home = mkdtempSync(path.join(os.tmpdir(), 'dialwright-lane-'));
  const logFile = path.join(home, 'workers.log');
  const { workers, startWorker, oneWorker } = workersOf(db, simulated, logFile, {
    PATH: process.env.PATH!,
    NODE_COMPILE_CACHE: compileCache,
    DATABASE_URL: url,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TASK_QUEUE: taskQueue,
    TELEPHONY_NODE: `sim-${offset}`,
    SIMULATOR_URL: simulator.url,
  });
  const phones: Record<string, BehaviourInput | BehaviourInput[]> = {};
  return {
    ...{ db, simulated, record, workflows, client, logFile, workers, startWorker, oneWorker },
    ...{ agents: api.agents, ask: api.ask, scenes: new Map() },
    async ok(method, urlPath, body) {
      const key = method === 'POST' ? randomUUID() : undefined;
      const answer = await carriedOut(() => api.ask(method, urlPath, body, key));
      if (answer.status >= 300) throw new Error(`${method} ${urlPath}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    behave(number, behaviour) {
      phones[number] = behaviour;
      simulated.script = scriptOf(phones);
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.kill()));
      await api.close();
      await simulator.close();
      await db.prisma.$disconnect();
      await db.pool.end();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function openSwitch(log: Logger) {
  const record = new DialRecord(null, log);
  const simulated = new SimulatedSwitch({ script: scriptOf(), record, log });
  const { port, close } = await startSimulatorServer({ simulated, record, host: '127.0.0.1', port: 0, log });
  return { simulated, record, url: `http://127.0.0.1:${port}`, close };
}

interface ApiParts {
  url: string;
  db: Db;
  workflows: Workflows;
  simulatorUrl: string;
  log: Logger;
}

/** With what keeps agents logged on. */
async function openApi({ url, db, workflows, simulatorUrl, log }: ApiParts) {
  await ensureAdminKey(db, ADMIN_KEY);
  const matching = createMatching({ db, workflows, log });
  const listen = createListener(url, log);
  const beside = { checkTemporal: () => Promise.resolve(), telephony: { simulatorUrl }, addresses: createAddresses([]) };
  const server = await startApi({ db, workflows, matching, listen, log, ...beside }, { host: '127.0.0.1', port: 0 });
  const agents: number[] = [];
  const renewing = setInterval(() => void matching.renewLease(agents).catch(() => undefined), RENEW_LEASES_MS);
  return {
    agents,
    async ask(method: string, urlPath: string, body?: unknown, idempotencyKey?: string): Promise<Answer> {
      const response = await fetch(`${server.url}/v1${urlPath}`, {
        method,
        headers: {
          authorization: `Bearer ${ADMIN_KEY}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(idempotencyKey ? { 'idempotency-key': idempotencyKey } : {}),
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, body: text ? JSON.parse(text) : undefined };
    },
    async close() {
      clearInterval(renewing);
      await server.close();
    },
  };
}

function workersOf(db: Db, simulated: SimulatedSwitch, logFile: string, environment: Record<string, string>) {
  const workers: CrashWorker[] = [];
  let started = 0;

  async function startWorker(): Promise<CrashWorker> {
    const env = { ...environment, WORKER_ID: `worker-${++started}` };
    const worker = await CrashWorker.start(env, logFile);
    workers.push(worker);
    return worker;
  }

  /** It was the last one that was started. */
  async function holdsNode(worker: CrashWorker): Promise<boolean> {
    worker.mustBeWell();
    const { rows } = await db.pool.query<{ holder: string }>(
      `SELECT holder FROM node WHERE ready_since IS NOT NULL AND lease_until > $1`,
      [db.clock.now()],
    );
    if (rows[0]?.holder !== `worker-${started}`) throw new Error(`the node is held by ${rows[0]?.holder}`);
    return simulated.facts.size === 0;
  }

  return {
    workers,
    startWorker,
    async oneWorker() {
      for (const worker of workers.splice(0, workers.length - 1)) await worker.kill();
      if (workers[0]?.hasEnded !== false) workers.length = 0;
      const worker = workers[0] ?? (await startWorker());
      await eventually(() => holdsNode(worker), { withinMs: STARTS_WITHIN_MS, everyMs: 100 });
      return worker;
    },
  };
}
