// Temporal's dev server as part of this project: started, found again after a crash, and stopped.

import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection, isGrpcServiceError } from '@temporalio/client';
import { msToNumber, msToTs, optionalTsToMs } from '@temporalio/common/lib/time.js';
import {
  commandLine,
  freePort,
  hasEnded,
  lastLines,
  readState,
  type Say,
  since,
  sizeOf,
  writeState,
} from './process.ts';
import { temporalCli } from './temporal-cli.ts';

export { temporalCli };

/** What the workflows write about themselves so that Temporal's UI can be searched for it. */
export const SEARCH_ATTRIBUTES = {
  CampaignId: 'Keyword',
  ContactState: 'Keyword',
  AgentId: 'Keyword',
  Attempt: 'Int',
  ResultCode: 'Keyword',
} as const;

/** What a Temporal server is set to besides its defaults; docker-compose.yml has the same. */
export const DYNAMIC_CONFIG = {
  // By default each shard polls its queues 20 times a second: 50 ms on top of every hop of a call.
  'history.transferProcessorMaxPollRPS': 1000,
  'history.timerProcessorMaxPollRPS': 1000,
  // An activity may start in the worker that asked for it, without a round trip through matching.
  'system.enableActivityEagerExecution': true,
  // A queue is in four parts by default, and a task may wait seconds in one that nobody polls at the moment. One part gives
  // half as many calls a second again, and a third of the longest delays.
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
  // A workflow's task that has been lost with three workers in a row is waited for longer and longer by default, up to ten
  // minutes each time: when many die in a short time, a call would stand still for as long.
  'history.workflowTaskRetryMaxInterval': '10s',
} as const;

// Values of temporal.api.enums.v1.IndexedValueType.
const INDEXED_VALUE_TYPE = { Keyword: 2, Int: 3 } as const;

const PREFERRED_PORT = 7233;
const PREFERRED_UI_PORT = 8233;
const RETENTION = '30 days';
const START_WITHIN_MS = 60_000;
const REUSE_WITHIN_MS = 5_000;
const PREPARED_WITHIN_MS = 60_000;
const LOOK_AGAIN_MS = 500;
const STOP_WITHIN_MS = 15_000;
const GRPC_NOT_FOUND = 5;

export interface EmbeddedTemporal {
  /** host:port of the gRPC frontend. */
  address: string;
  /** Address of the web UI, '' when it is off. */
  uiUrl: string;
  namespace: string;
  /** False when a server left by an earlier run was found and is used. */
  started: boolean;
  pid: number;
  /** Ends the server, whoever started it. */
  stop: () => Promise<void>;
}

export interface TemporalOptions {
  /** DATA_DIR; all is kept in `temporal.db` below it, the ports in `temporal.json`, the output in `temporal.log`. */
  dataDir: string;
  log: Say;
  namespace?: string;
  /** For tests: in memory, any free port, no web UI. */
  ephemeral?: boolean;
}

interface State {
  port: number;
  uiPort: number;
  pid: number;
}

/**
 * Starts the Temporal dev server of a data directory (about 1 s; the first time ever it may have to bring the CLI,
 * see {@link temporalCli}), with the namespace and the search attributes. A server that an earlier, killed run left
 * behind is used again. Loopback only.
 *
 * Throws an Error that ends in the server's own last lines when it doesn't come up.
 */
export async function startTemporal(options: TemporalOptions): Promise<EmbeddedTemporal> {
  const startedAt = performance.now();
  const { log, namespace = 'default', ephemeral = false } = options;
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  const found = ephemeral ? undefined : await findRunning(dataDir);
  const server = found ?? (await launch(dataDir, namespace, ephemeral, log));
  const address = `127.0.0.1:${server.port}`;
  await ensureNamespace(address, namespace);
  await ensureSearchAttributes(address, namespace);
  log(`Temporal ${found ? 'was still running' : 'started'} on ${address} (${since(startedAt)})`);
  const uiUrl = server.uiPort ? `http://127.0.0.1:${server.uiPort}` : '';
  return { address, uiUrl, namespace, started: !found, pid: server.pid, stop: () => stop(server.pid) };
}

/** Registers the project's search attributes with any server, dev or not; does nothing where they are. */
async function ensureSearchAttributes(address: string, namespace: string): Promise<void> {
  const missing = await missingSearchAttributes(address, namespace);
  if (missing.length === 0) return;
  const searchAttributes = Object.fromEntries(missing.map(([name, type]) => [name, INDEXED_VALUE_TYPE[type]]));
  await withConnection(address, ({ operatorService }) =>
    operatorService.addSearchAttributes({ namespace, searchAttributes }),
  );
}

/**
 * Brings a server that runs elsewhere, and perhaps has only just been started, to where workers can start: namespace and
 * search attributes. A cluster's frontends learn of both from caches, up to 10 s later; until then no workflow can be
 * started, so that is waited for.
 *
 * Throws what stood in the way last when it still does after a minute.
 */
export async function prepareTemporal(address: string, namespace: string): Promise<void> {
  const deadline = Date.now() + PREPARED_WITHIN_MS;
  await patiently(() => ensureNamespace(address, namespace), deadline);
  await patiently(() => ensureSearchAttributes(address, namespace), deadline);
  await patiently(async () => {
    const missing = await missingSearchAttributes(address, namespace);
    if (missing.length > 0) throw new Error(`Temporal does not know ${missing.map(([name]) => name).join(', ')} yet`);
  }, deadline);
}

async function missingSearchAttributes(address: string, namespace: string) {
  return withConnection(address, async ({ operatorService }) => {
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
    return Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in customAttributes));
  });
}

async function patiently(work: () => Promise<void>, deadline: number): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(LOOK_AGAIN_MS);
    }
  }
}

/** Makes the namespace where it is absent, and keeps closed workflows for 30 days instead of the dev server's one. */
async function ensureNamespace(address: string, namespace: string): Promise<void> {
  const retention = msToTs(RETENTION);
  await withConnection(address, async ({ workflowService }) => {
    try {
      const { config } = await workflowService.describeNamespace({ namespace });
      if ((optionalTsToMs(config?.workflowExecutionRetentionTtl) ?? 0) >= msToNumber(RETENTION)) return;
      await workflowService.updateNamespace({ namespace, config: { workflowExecutionRetentionTtl: retention } });
    } catch (error) {
      if (!isGrpcServiceError(error) || Number(error.code) !== GRPC_NOT_FOUND) throw error;
      await workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: retention });
    }
  });
}

// ---- the process -----------------------------------------------------------------------------------------------

/** The server an earlier run left behind, if it is of this data directory and answers; a hung one is ended. */
async function findRunning(dataDir: string): Promise<State | undefined> {
  const state = readState<State>(stateFile(dataDir));
  if (!state?.pid || !isOurs(state.pid, dataDir)) return undefined;
  if (await answers(state, REUSE_WITHIN_MS)) return state;
  process.kill(state.pid, 'SIGKILL'); // it hangs; the database survives that
  await hasEnded(state.pid, STOP_WITHIN_MS);
  return undefined;
}

function isOurs(pid: number, dataDir: string): boolean {
  return commandLine(pid).includes(databaseFile(dataDir));
}

async function launch(dataDir: string, namespace: string, ephemeral: boolean, log: Say): Promise<State> {
  const cli = await temporalCli({ log });
  const known = ephemeral ? { port: 0, uiPort: 0 } : readState<State>(stateFile(dataDir));
  const port = await freePort(known?.port ?? PREFERRED_PORT);
  const uiPort = ephemeral ? 0 : await freePort(known?.uiPort ?? PREFERRED_UI_PORT);
  const args = serverArguments({ dataDir, namespace, ephemeral, port, uiPort });
  const logFile = path.join(dataDir, 'temporal.log');
  const logged = sizeOf(logFile);
  const output = openSync(logFile, 'a');
  // Detached, so that Ctrl-C in a terminal reaches only us and workers can finish before their server is gone.
  const child = spawn(cli, args, { detached: true, stdio: ['ignore', output, output], env: serverEnvironment() });
  closeSync(output);
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => undefined);
  child.unref();
  const state = { port, uiPort, pid: child.pid ?? 0 };
  if (child.pid) writeState(stateFile(dataDir), state);
  if (await Promise.race([answers(state, START_WITHIN_MS), failed])) return state;
  await stop(state.pid);
  throw new Error(`The Temporal dev server did not start on port ${port}:\n${lastLines(logFile, logged)}`);
}

interface ServerSettings {
  dataDir: string;
  namespace: string;
  ephemeral: boolean;
  port: number;
  uiPort: number;
}

function serverArguments({ dataDir, namespace, ephemeral, port, uiPort }: ServerSettings): string[] {
  const dynamicConfig = Object.entries(DYNAMIC_CONFIG).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  // Four times as many workflow starts a second; survives kill -9, a power cut may cost the last moment.
  const pragmas = ['journal_mode=wal', 'synchronous=normal'];
  const flag = (name: string, values: string[]): string[] => values.flatMap((value) => [name, value]);
  const attributes = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => `${name}=${type}`);
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
    ...(uiPort ? ['--ui-port', String(uiPort)] : ['--headless']),
    ...(ephemeral ? [] : ['--db-filename', databaseFile(dataDir), ...flag('--sqlite-pragma', pragmas)]),
    ...flag('--namespace', [namespace]),
    ...flag('--dynamic-config-value', dynamicConfig),
    ...flag('--search-attribute', attributes),
  ];
}

function serverEnvironment(): NodeJS.ProcessEnv {
  // The CLI takes TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and more as flags; those are meant for us, not for it.
  const passed = Object.entries(process.env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  // A fifth more calls a second for twice the memory.
  return { ...Object.fromEntries(passed), GOGC: '400' };
}

async function answers({ port, pid }: State, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (Date.now() < deadline && commandLine(pid) !== '') {
    const served = await withConnection(`127.0.0.1:${port}`, ({ workflowService }) =>
      workflowService.listNamespaces({}),
    )
      .then(() => true)
      .catch(() => false);
    if (served) return true;
    await sleep(100);
  }
  return false;
}

async function stop(pid: number): Promise<void> {
  if (!commandLine(pid).includes('start-dev')) return; // gone, and the number perhaps somebody else's by now
  process.kill(pid, 'SIGTERM');
  if (await hasEnded(pid, STOP_WITHIN_MS)) return;
  process.kill(pid, 'SIGKILL');
  await hasEnded(pid, STOP_WITHIN_MS);
}

async function withConnection<T>(address: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: '2s' });
  try {
    return await connection.withDeadline(Date.now() + 10_000, () => work(connection));
  } finally {
    await connection.close();
  }
}

function stateFile(dataDir: string): string {
  return path.join(dataDir, 'temporal.json');
}

function databaseFile(dataDir: string): string {
  return path.join(dataDir, 'temporal.db');
}
