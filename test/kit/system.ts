/**
 * The whole product as it runs in production: API, workers and the simulated switch as processes of their own, on a fresh
 * database and the shared Temporal server. Processes can be killed and frozen one by one.
 */
import { randomUUID } from 'node:crypto';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, createWriteStream, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import { freshDatabase } from './database.ts';
import { eventually } from './eventually.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const ADMIN_KEY = 'dw_admin_key_of_the_tests_only';

/** JSON off the wire: what is in it, a test says by reading it. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

export interface ApiAnswer<T = Json> {
  status: number;
  body: T;
  headers: Headers;
}

export interface RequestOptions {
  key?: string;
  idempotencyKey?: string;
}

export interface Process {
  readonly pid: number;
  signal(name: NodeJS.Signals): void;
  /** SIGKILL, and wait until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and wait until it is gone. */
  stop(): Promise<void>;
  restart(): Promise<void>;
}

export interface System {
  baseUrl: string;
  databaseUrl: string;
  adminKey: string;
  simulatorUrl: string;
  dataDir: string;
  /** Temporal's, of the workflows. */
  taskQueue: string;
  sql: pg.Pool;
  simulator: Process;
  worker: Process;
  apiProcess: Process;
  /** Another worker, in its own process; on the same node, unless its settings name another. `root`: with other code. */
  addWorker(id: string, settings?: Record<string, string>, root?: string): Promise<Process>;
  /** Another switch, with phones and a record of its own: its address. */
  addSimulator(): Promise<string>;
  api<T = Json>(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<ApiAnswer<T>>;
  /** The answer's body; fails unless the status is 2xx. */
  ok<T = Json>(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<T>;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** How many times faster than life the phones are. */
  speed?: number;
  /** Behaviour of the phones, telephony/simulator/script.ts. */
  script?: unknown;
  /** Settings of all its processes. */
  settings?: Record<string, string>;
  /** Of the API, and of the first worker, alone. */
  apiSettings?: Record<string, string>;
  workerSettings?: Record<string, string>;
  /** Servers of its own, instead of a fresh database and the Temporal that all tests share. */
  servers?: { databaseUrl: string; temporalAddress: string };
}

/** Node names are task queues of the Temporal that all test files use. */
export const ownNode = (name: string): string => `${name}-${process.pid}`;

const LATE = { withinMs: 30_000, everyMs: 500 };
/** Not carried out in time, or still being carried out: the repeat, under the same key, gets the answer. */
export const isLate = ({ status, body }: Pick<ApiAnswer, 'status' | 'body'>): boolean =>
  (status === 503 && String(body?.detail).startsWith('it takes too long')) || (status === 409 && body?.state === 'running');

/** As a client should: what a busy machine did not carry out in time is asked for again, under the same key. */
export async function carriedOut<A extends Pick<ApiAnswer, 'status' | 'body'>>(ask: () => Promise<A>): Promise<A> {
  let answer = await ask();
  if (isLate(answer)) await eventually(async () => !isLate((answer = await ask())), LATE);
  return answer;
}

export async function startSystem(options: SystemOptions = {}): Promise<System> {
  const { speed = 20, script, settings: given = {}, apiSettings = {}, workerSettings = {}, servers } = options;
  const databaseUrl = servers?.databaseUrl ?? (await freshDatabase());
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 4, options: '-c TimeZone=UTC' });
  sql.on('error', () => undefined); // the server may be stopped meanwhile; the next query says so
  // Workflow ids carry these ids, and all tests share one Temporal namespace.
  const offset = Math.floor(Math.random() * 1_000_000_000) + 1;
  await sql.query(`ALTER SEQUENCE contact_id_seq RESTART WITH ${offset}; ALTER SEQUENCE campaign_id_seq RESTART WITH ${offset}`);
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'dialwright-system-'));
  const [simulatorPort, apiPort] = [await freePort(), await freePort()];
  const baseUrl = `http://127.0.0.1:${apiPort}`;
  const environment = {
    PATH: process.env.PATH!,
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: servers?.temporalAddress ?? inject('temporalAddress'),
    TASK_QUEUE: `dialwright-${offset}`,
    TELEPHONY_NODE: `sim-${offset}`,
    SIMULATOR_URL: `http://127.0.0.1:${simulatorPort}`,
    SIMULATOR_SPEED: String(speed),
    DATA_DIR: dataDir,
    PORT: String(apiPort),
    DIALWRIGHT_ADMIN_KEY: ADMIN_KEY,
    LOG_LEVEL: 'info',
    ...given,
  };
  const scriptFile = path.join(dataDir, 'script.json');
  if (script) writeFileSync(scriptFile, JSON.stringify(script));
  const start = (name: string, file: string, args: string[] = [], more: Record<string, string> = {}) =>
    startProcess(path.join(dataDir, `${name}.log`), [path.resolve(ROOT, file), ...args], { ...environment, ...more });

  const simulator = start('simulator', 'telephony/simulator/main.ts', script ? [scriptFile] : []);
  const worker = start('worker', 'worker/main.ts', [], { WORKER_ID: 'worker-1', ...workerSettings });
  const apiProcess = start('api', 'api/main.ts', [], apiSettings);
  const processes = [simulator, worker, apiProcess];

  const api = async (method: string, urlPath: string, body?: unknown, options: RequestOptions = {}): Promise<ApiAnswer> => {
    const response = await fetch(`${baseUrl}/v1${urlPath}`, {
      method,
      headers: {
        authorization: `Bearer ${options.key ?? ADMIN_KEY}`,
        ...(body === undefined ? {} : { 'content-type': typeof body === 'string' ? 'text/csv' : 'application/json' }),
        ...(options.idempotencyKey ? { 'idempotency-key': options.idempotencyKey } : {}),
      },
      body: body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text ? parse(text) : undefined, headers: response.headers };
  };
  const system: System = {
    baseUrl,
    databaseUrl,
    adminKey: ADMIN_KEY,
    simulatorUrl: environment.SIMULATOR_URL,
    dataDir,
    taskQueue: environment.TASK_QUEUE,
    sql,
    simulator,
    worker,
    apiProcess,
    async addWorker(id, settings = {}, root = ROOT) {
      const added = start(id, path.join(root, 'worker/main.ts'), [], { WORKER_ID: id, ...settings });
      processes.push(added);
      return added;
    },
    async addSimulator() {
      const url = `http://127.0.0.1:${await freePort()}`;
      const settings = { SIMULATOR_URL: url, DATA_DIR: mkdtempSync(path.join(dataDir, 'switch-')) };
      processes.push(start('simulator-2', 'telephony/simulator/main.ts', script ? [scriptFile] : [], settings));
      return url;
    },
    api,
    async ok(method, urlPath, body, options) {
      const key = method === 'POST' && typeof body !== 'string' ? { idempotencyKey: randomUUID() } : {};
      const answer = await carriedOut(() => api(method, urlPath, body, { ...key, ...options }));
      if (answer.status >= 300) throw new Error(`${method} ${urlPath}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
    async stop() {
      await Promise.all(processes.map((child) => child.kill()));
      await sql.end();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  try {
    await eventually(
      async () => {
        const response = await fetch(`${baseUrl}/readyz`);
        if (!response.ok || !(await response.text()).includes('true')) throw new Error('not ready');
        const { rowCount } = await sql.query(`SELECT 1 FROM node WHERE ready_since IS NOT NULL`);
        return rowCount;
      },
      { withinMs: 45_000, everyMs: 100 },
    );
  } catch (error) {
    const logs = ['simulator', 'worker', 'api'].map((name) => `--- ${name}\n${tail(path.join(dataDir, `${name}.log`))}`);
    await system.stop();
    throw new Error(`the system did not start: ${String(error)}\n${logs.join('\n')}`, { cause: error });
  }
  return system;
}

/** The last lines of a log: what a failure is explained with. */
export function tail(file: string): string {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(-15).join('\n');
  } catch {
    return '(no log)';
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// A run that is broken off, or none of whose tests was asked for, must leave nothing behind.
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** Node on these arguments, with this environment and no other; what it says is appended to `logFile`. */
export function startProcess(logFile: string, args: string[], env: Record<string, string>): Process {
  let child: ChildProcess;
  let gone: Promise<void>;
  const launch = () => {
    child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = createWriteStream(logFile, { flags: 'a' });
    child.stdout!.pipe(log, { end: false });
    child.stderr!.pipe(log, { end: false });
    const launched = child;
    running.add(launched);
    gone = new Promise((resolve) =>
      launched.once('exit', () => {
        running.delete(launched);
        resolve();
      }),
    );
  };
  launch();
  return {
    get pid() {
      return child.pid!;
    },
    signal: (name) => void child.kill(name),
    async kill() {
      child.kill('SIGKILL');
      await gone;
    },
    async stop() {
      child.kill('SIGTERM');
      await gone;
    },
    async restart() {
      launch();
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
