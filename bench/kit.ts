// What the figures have in common: the machine under test, numbers out of samples, and how a pool of work is driven.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { migrate, startPostgres } from '../dev/postgres.ts';
import { freePort, type Say } from '../dev/process.ts';
import { Supervisor } from '../dev/supervisor.ts';
import { startTemporal } from '../dev/temporal.ts';
import { throwAwayDataDir } from '../dev/throw-away.ts';
import { widenHours } from '../matching/legal-hours.ts';
import { eagerAgentBehaviour } from '../telephony/simulator/agent-behaviour.ts';

/** Calls to Temporal at once by what is bare: more gain nothing. */
export const CONCURRENCY = 32;

const ADMIN_KEY = 'dw_admin_key_of_the_bench_only';
/**
 * People who never keep anybody waiting: what is left is the time that the product takes. Agents' phones are picked up at
 * the switch, as real ones are, and not by requests to the API that repeat until the phone rings.
 */
const SCRIPT = (() => {
  const phone = (then: object) => ({ trying: null, alerting: 0, media: 0, then });
  return {
    contacts: [{ weight: 1, behaviour: phone({ kind: 'answers', after: 0, talks: 0.1 }) }],
    agents: phone({ kind: 'answers', after: 0 }),
  };
})();

/** The machine under test: servers as in production, and the product's processes once they are asked for. */
export interface Rig {
  databaseUrl: string;
  temporalAddress: string;
  client: Client;
  sql: pg.Pool;
  dataDir: string;
  say: Say;
  /** Worker and API, each a process of its own, with the simulated switch; started at the first call. */
  product: () => Promise<Simulated>;
  /** The same, with the switch of these settings. */
  productOn: (switchSettings: Record<string, string>) => Promise<Product>;
}

export interface Product {
  baseUrl: string;
  /** The body of a 2xx answer; anything else throws. Text and streams are sent as CSV, all else as JSON. */
  ask: <T>(method: string, path: string, body?: unknown, key?: string) => Promise<T>;
  /** The answer to a GET, whatever it is. */
  get: (path: string) => Promise<Response>;
  /** Of the API's process, in MB. */
  memory: () => Promise<number>;
  /** Of the worker's. */
  workerMemory: () => Promise<number>;
  /** Starts one more process of the product; the function it returns stops it. */
  start: (name: string, command: string[]) => () => Promise<void>;
}

export interface Simulated extends Product {
  simulatorUrl: string;
}

/**
 * Runs `work` on servers of its own (fsync on, the flags of `npm start`) that are gone afterwards, whatever happens.
 * Rejects with the reason of `stopped` as soon as that aborts and they are gone; `work` is then left where it is.
 */
export async function withRig<T>(say: Say, stopped: AbortSignal, work: (rig: Rig) => Promise<T>): Promise<T> {
  const place = throwAwayDataDir('bench');
  const { dataDir } = place;
  const supervisor = new Supervisor({ dataDir, say });
  let product: Promise<Simulated> | undefined;
  try {
    // Both are waited for, whatever becomes of one: what is only just starting would be left behind.
    const log = say;
    const starting = [startPostgres({ dataDir, log }), startTemporal({ dataDir, log })] as const;
    await Promise.allSettled(starting);
    const [postgres, temporal] = await Promise.all(starting);
    await migrate(postgres.url);
    stopped.throwIfAborted();
    const sql = new pg.Pool({ connectionString: postgres.url, max: 4, options: '-c TimeZone=UTC' });
    sql.on('error', () => undefined); // the server is ended before its last connections are
    await sql.query(widenHours(new Date(), 'bench'));
    const connection = await Connection.connect({ address: temporal.address });
    const servers = { databaseUrl: postgres.url, temporalAddress: temporal.address, dataDir, sql, say };
    const rig: Rig = {
      ...servers,
      client: new Client({ connection }),
      product: () => (product ??= startSimulated(servers, supervisor)),
      productOn: (switchSettings) => startProduct(servers, supervisor, switchSettings),
    };
    const result = await Promise.race([work(rig), whenAborted(stopped)]);
    // Only here: what a bench that fails has left under way would stumble over a closed connection.
    await Promise.all([sql.end(), connection.close()]);
    return result;
  } finally {
    supervisor.kill();
    await place.release();
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}

type Servers = Omit<Rig, 'client' | 'product' | 'productOn'>;

async function startSimulated(servers: Servers, supervisor: Supervisor): Promise<Simulated> {
  const { dataDir } = servers;
  const simulatorUrl = `http://127.0.0.1:${await freePort()}`;
  const settings = { SIMULATOR_URL: simulatorUrl, SIMULATOR_SPEED: '1', DATA_DIR: dataDir, LOG_LEVEL: 'warn' };
  const script = path.join(dataDir, 'script.json');
  writeFileSync(script, JSON.stringify(SCRIPT));
  supervisor.start({ name: 'simulator', command: ['telephony/simulator/main.ts', script], settings });
  return { ...(await startProduct(servers, supervisor, settings)), simulatorUrl };
}

async function startProduct(
  servers: Servers,
  supervisor: Supervisor,
  switchSettings: Record<string, string>,
): Promise<Product> {
  const { databaseUrl, temporalAddress, dataDir, say } = servers;
  const apiPort = await freePort();
  const baseUrl = `http://127.0.0.1:${apiPort}`;
  const settings = {
    ...switchSettings,
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress,
    TEMPORAL_NAMESPACE: 'default',
    DATA_DIR: dataDir,
    HOST: '127.0.0.1',
    PORT: String(apiPort),
    DIALWRIGHT_ADMIN_KEY: ADMIN_KEY,
    WORKER_ID: 'bench',
    WEBHOOK_NETWORKS: '127.0.0.0/8',
    LOG_LEVEL: 'warn',
  };
  const processes = [
    { name: 'worker', command: ['worker/main.ts'] },
    { name: 'api', command: ['api/main.ts'] },
  ];
  for (const { name, command } of processes) supervisor.start({ name, command, settings });

  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const ask: Product['ask'] = async (method, urlPath, body, key = ADMIN_KEY) => {
    const isCsv = typeof body === 'string' || body instanceof Readable;
    const type = isCsv ? 'text/csv' : 'application/json';
    const response = await fetch(`${baseUrl}/v1${urlPath}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': type }) },
      body: isCsv ? body : body === undefined ? null : JSON.stringify(body),
      ...(body instanceof Readable ? { duplex: 'half' } : {}),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${urlPath}: ${response.status} ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as never;
  };
  await until('the product is ready', 60_000, async () => {
    await ask('GET', '/campaigns'); // with the key that all else needs
    return (await fetch(`${baseUrl}/readyz`)).ok;
  }).catch((error: unknown) => {
    throw new Error([String(error), ...processes.map(({ name }) => supervisor.tail(name))].join('\n'));
  });
  say('worker and API run');
  return {
    baseUrl,
    ask,
    get: (urlPath) => fetch(`${baseUrl}/v1${urlPath}`, { headers }),
    async memory() {
      const metrics = await fetch(`${baseUrl}/metrics`, { headers });
      const [, bytes] = /^process_resident_memory_bytes (\S+)$/m.exec(await metrics.text()) ?? [];
      return Number(bytes) / 1e6;
    },
    async workerMemory() {
      const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(supervisor.pid('worker'))]);
      return (Number(stdout) * 1024) / 1e6;
    },
    start(name, command) {
      supervisor.start({ name, command, settings });
      return () => supervisor.stop(name);
    },
  };
}

// ---- a list and its people -----------------------------------------------------------------------------------------

/** A campaign, not started, with `size` contacts whose numbers begin with `prefix` (a digit or two of its own). */
export async function makeCampaign({ ask }: Product, name: string, prefix: string, size: number): Promise<string> {
  const rules = { max_attempts: 1, wrap_up_sec: 120 };
  const body = { name, country: 'NO', zone: 'Europe/Oslo', caller_id: '+4722999900', rules };
  const { id } = await ask<{ id: string }>('POST', '/campaigns', body);
  const digits = 6 - prefix.length;
  const rows = Array.from({ length: size }, (_, n) => `+4722${prefix}${String(n).padStart(digits, '0')},Person ${n}`);
  await ask('POST', `/campaigns/${id}/imports?mode=add`, ['phone_num,var1', ...rows, ''].join('\n'));
  return id;
}

export async function countContacts(sql: Rig['sql'], campaign: string, state: string): Promise<number> {
  const { rows } = await sql.query<{ found: number }>(
    `SELECT count(*)::int AS found FROM contact WHERE campaign_id = $1 AND state = $2`,
    [campaign, state],
  );
  return rows[0]!.found;
}

export interface AgentAccount {
  id: string;
  key: string;
  phone: string;
}

export async function makeAgent({ ask }: Product, campaign: string, phone: string): Promise<AgentAccount> {
  const body = { name: `Agent ${phone}`, phone, queues: [{ campaign_id: campaign, priority: 1 }] };
  const { id } = await ask<{ id: string }>('POST', '/agents', body);
  const { key } = await ask<{ key: string }>('POST', '/keys', { name: `agent ${phone}`, role: 'agent', agent_id: id });
  return { id, key, phone };
}

/** They leave the answering to their phones. */
const BEHAVIOUR = { ...eagerAgentBehaviour(), offer: { ignore: 1 } };

/** Simulated agents of a campaign who never hesitate, in a process of their own; the function it returns ends that. */
export async function startAgents(
  { dataDir }: Rig,
  product: Product,
  campaign: string,
  phones: readonly string[],
): Promise<() => Promise<void>> {
  const agents: AgentAccount[] = [];
  await inLanes(phones.length, 8, async (n) => void agents.push(await makeAgent(product, campaign, phones[n]!)));
  const file = path.join(dataDir, 'agents.json');
  writeFileSync(file, JSON.stringify({ baseUrl: product.baseUrl, behaviour: BEHAVIOUR, agents }), { mode: 0o600 });
  return product.start('agents', ['telephony/simulator/agents-main.ts', file]);
}

/** A leg as the switch's own record has it; times in epoch ms. */
export interface Dial {
  seq: number;
  at: number;
  legId: string;
  party: 'agent' | 'contact';
  answeredAt: number | null;
}

/** All that the switch has dialled. */
export async function dials({ simulatorUrl }: Simulated): Promise<Dial[]> {
  const all: Dial[] = [];
  for (;;) {
    const response = await fetch(`${simulatorUrl}/dials?after=${all.at(-1)?.seq ?? 0}&limit=1000`);
    const page = ((await response.json()) as { dials: Dial[] }).dials;
    all.push(...page);
    if (page.length < 1000) return all;
  }
}

// ---- waiting and counting ------------------------------------------------------------------------------------------

/** Polls until `isSo`; throws when that takes too long. */
export async function until(what: string, withinMs: number, isSo: () => Promise<boolean>, everyMs = 50): Promise<void> {
  const deadline = performance.now() + withinMs;
  let last: unknown = 'not yet';
  while (performance.now() < deadline) {
    try {
      if (await isSo()) return;
    } catch (error) {
      last = error;
    }
    await sleep(everyMs);
  }
  throw new Error(`It took longer than ${withinMs / 1000} s until ${what}: ${String(last)}`);
}

/** Does `work` for 0 … count - 1, `lanes` at once. */
export async function inLanes(count: number, lanes: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(lanes, count) }, lane));
}

/** The value below which `share` of the samples lie; NaN without samples. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** Seconds that `work` takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return (performance.now() - from) / 1000;
}

/** What was measured before and after as one rate: that of both halves together. */
export const harmonicMean = (a: number, b: number): number => (2 * a * b) / (a + b);

/** Says how far something is, once in `everyMs`. */
export function progress(say: Say, what: string, total: number, everyMs = 5_000): (done: number) => void {
  let due = performance.now() + everyMs;
  return (done) => {
    if (performance.now() < due) return;
    due = performance.now() + everyMs;
    say(`${what}: ${done} of ${total}`);
  };
}
