// `npm start`: the whole of Dialwright on this machine, with what it needs, until Ctrl-C.

import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { type Config, loadConfig, requirePhones } from '../config/config.ts';
import { adminKeyOf } from './admin-key.ts';
import { ApiClient, ApiProblem } from './api-client.ts';
import { BadList, demoList, type List, load, unfinishedList, widenLegalHours } from './demo.ts';
import { writeAgents } from './demo-agents.ts';
import { lockDataDir } from './lock.ts';
import { freePort } from './process.ts';
import { type Progress, progressLine, readProgress } from './progress.ts';
import { type Readiness, whenReady } from './ready.ts';
import { type Addresses, Servers } from './servers.ts';
import { endLeftOvers, lastStarter, Supervisor } from './supervisor.ts';
import { Terminal } from './terminal.ts';

const HELP = `Usage: npm start [-- [list.csv] [--country NO …] [--zone Europe/Oslo]]

Runs Dialwright on this machine: PostgreSQL, Temporal with its UI, simulated phones, a worker and the API. On an empty
database it calls a demo list, by ten simulated agents. Ctrl-C stops all of it in order; the next start goes on.

  list.csv          a list to be called instead (.csv, .json or .ndjson; its columns are described in the API docs)
  --country NO      ISO 3166 country in which the list's national numbers are read. Only its numbers are called, and
                    those of further countries: --country NO --country SE
  --zone …          IANA time zone of the contacts who have none of their own

Settings are environment variables:
  PORT                   of the API (3000); the next free one when it is taken
  DATA_DIR               where everything is kept (.data)
  DATABASE_URL           a PostgreSQL to be used instead of the embedded one
  TEMPORAL_ADDRESS       a Temporal to be used instead of the dev server; TEMPORAL_NAMESPACE (default)
  TELEPHONY              asterisk: real phones instead of simulated ones, and no demo; it needs ARI_URL, ARI_PASSWORD and
                         ASTERISK_TRUNK (npm run asterisk says them of its own; docs/telephony.md)
  SIMULATOR_URL          a simulated switch to be used instead of an own one; SIMULATOR_SPEED (1)
  DIALWRIGHT_ADMIN_KEY   the administrator's API key; unset, one is made and kept in DATA_DIR
`;

const READY_WITHIN_MS = 60_000;
const SIMULATOR_PORT = 3060;
const PORTS_TRIED = 50;
const LOOK_EVERY_MS = 1_000;
const PLAIN_LINE_EVERY_MS = 10_000;
/** npm passes on a Ctrl-C that the terminal has sent to all already: two so close are one. */
const SAME_INTERRUPT_MS = 500;

interface Options {
  help: boolean;
  list: List | undefined;
}

/** Throws an Error that says what is wrong with the command line. */
function readArguments(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean', short: 'h', default: false },
      country: { type: 'string', multiple: true, default: [demoList.country] },
      zone: { type: 'string', default: demoList.zone },
    },
  });
  const { help, country: countries, zone } = values;
  const [given, ...more] = positionals;
  if (more.length > 0) throw new Error(`One list at a time: what is ${more.join(' ')}?`);
  if (given === undefined) return { help, list: undefined };
  // npm runs scripts in the root of the checkout, wherever it was called.
  const file = path.resolve(process.env.INIT_CWD ?? '.', given);
  if (!existsSync(file) || !statSync(file).isFile()) throw new Error(`There is no file ${file}`);
  return { help, list: { file, name: path.parse(file).name, country: countries[0]!, countries, zone } };
}

async function main(): Promise<void> {
  const { help, list } = readArguments();
  if (help) return void process.stdout.write(HELP);
  const config = loadConfig();
  if (config.telephony !== 'simulator') {
    requirePhones(config);
    if (list) throw new Error(`TELEPHONY is ${config.telephony}: real phones would ring. Load the list through the API (README.md).`);
  }
  const release = takeDataDir(config.dataDir);
  if (!release) {
    throw new Error(
      `Dialwright runs already with ${config.dataDir} (process ${lastStarter(config.dataDir) ?? 'unknown'}). ` +
        'Stop it there with Ctrl-C, or set DATA_DIR and start another.',
    );
  }
  await new Start(config, list).run();
  release();
}

function takeDataDir(dataDir: string): ReturnType<typeof lockDataDir> {
  try {
    return lockDataDir(dataDir);
  } catch (error) {
    throw new Error(`DATA_DIR is ${dataDir}, which can't be used: ${(error as Error).message}. It must be a directory to write in.`);
  }
}

/** One run, from the first server to the last. */
class Start {
  #config: Config;
  #list: List | undefined;
  #startedAt = new Date(performance.timeOrigin);
  #terminal = new Terminal(process.stdout);
  #say = this.#terminal.say;
  #servers: Servers;
  #children: Supervisor;
  #stopped = new AbortController();
  #interruptedAt = 0;

  constructor(config: Config, list: List | undefined) {
    this.#config = config;
    this.#list = list;
    this.#servers = new Servers(config, this.#say);
    this.#children = new Supervisor({ dataDir: config.dataDir, say: this.#say });
  }

  /** Resolves when everything has stopped: by a signal, or because it could not be started. */
  async run(): Promise<void> {
    const { signal } = this.#stopped;
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => this.#interrupt(name));
    try {
      await endLeftOvers(this.#config.dataDir, this.#say);
      const { api, databaseUrl } = await this.#bringUp();
      await this.#watch(api, databaseUrl);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
    this.#stopped.abort();
    await this.#stop();
  }

  #interrupt(name: string): void {
    const now = performance.now();
    if (this.#stopped.signal.aborted) {
      if (now - this.#interruptedAt < SAME_INTERRUPT_MS) return;
      this.#say('Ended at once');
      this.#children.kill();
      this.#servers.kill();
      process.exit(130);
    }
    this.#interruptedAt = now;
    this.#terminal.live('');
    this.#say(`Stopping in order (${name}); once more ends all at once`);
    this.#stopped.abort();
  }

  #fail(error: unknown): void {
    process.exitCode = 1;
    const { message, stack, constructor } = error as Error;
    // A plain one is meant for people; of another kind it is a defect, and where it came from matters.
    const forPeople = [Error, BadList, ApiProblem].includes(constructor as typeof Error);
    this.#say(forPeople ? message : (stack ?? message));
  }

  /** Agents first, so that nobody takes a call any more; what others need, last. */
  async #stop(): Promise<void> {
    this.#terminal.live('');
    for (const name of ['agents', 'api', 'worker', 'simulator']) await this.#children.stop(name);
    await this.#servers.stop();
  }

  // ---- bringing it up --------------------------------------------------------------------------------------------

  async #bringUp(): Promise<{ api: ApiClient; databaseUrl: string }> {
    const { dataDir, adminKey } = this.#config;
    const isSimulated = this.#config.telephony === 'simulator';
    const simulatorUrl = isSimulated ? (this.#config.simulatorUrl ?? (await this.#startSimulator())) : '';
    const addresses = await this.#servers.start();
    this.#stopped.signal.throwIfAborted();
    const kept = adminKey ? undefined : adminKeyOf(dataDir);
    const url = await this.#startProduct(addresses, simulatorUrl);
    const api = new ApiClient(url, adminKey ?? kept?.key ?? '', this.#stopped.signal);
    await this.#whenReady('api', url, ({ ready }) => ready);
    if (isSimulated) {
      await this.#loadLists(api, addresses);
      await this.#startAgents(api);
    }
    await this.#whenReady('worker', url, ({ telephony }) => telephony.ok);
    this.#welcome(url, addresses.temporalUi, kept?.file);
    return { api, databaseUrl: addresses.databaseUrl };
  }

  async #startSimulator(): Promise<string> {
    const url = `http://127.0.0.1:${await nextFreePort(SIMULATOR_PORT)}`;
    const settings = { SIMULATOR_URL: url, DATA_DIR: this.#config.dataDir };
    this.#children.start({ name: 'simulator', command: ['telephony/simulator/main.ts'], settings });
    return url;
  }

  /** The worker and the API; returns where the API is. */
  async #startProduct({ databaseUrl, temporalAddress }: Addresses, simulatorUrl: string): Promise<string> {
    const { host, port: wanted, dataDir, temporalNamespace } = this.#config;
    const port = await nextFreePort(wanted);
    if (wanted !== 0 && port !== wanted) this.#say(`Port ${wanted} is taken: the API is on ${port}`);
    const settings = {
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      TEMPORAL_NAMESPACE: temporalNamespace,
      SIMULATOR_URL: simulatorUrl,
      DATA_DIR: dataDir,
      PORT: String(port),
      WORKER_ID: process.env.WORKER_ID || 'worker-1',
    };
    for (const name of ['worker', 'api']) this.#children.start({ name, command: [`${name}/main.ts`], settings });
    const everywhere = host === '0.0.0.0' || host === '::';
    return `http://${everywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  /** Says that a part is ready, or why it isn't, with the end of its log. */
  async #whenReady(name: string, url: string, isReady: (answer: Readiness) => boolean): Promise<void> {
    const { signal } = this.#stopped;
    await whenReady(url, isReady, { withinMs: READY_WITHIN_MS, signal }).catch((error: Error) => {
      signal.throwIfAborted();
      throw new Error(`${error.message}\n${this.#children.tail(name)}`);
    });
    this.#say(`${name} ready`);
  }

  async #loadLists(api: ApiClient, { databaseUrl }: Addresses): Promise<void> {
    const context = { api, databaseUrl, dataDir: this.#config.dataDir, say: this.#say };
    const unfinished = await this.#patiently(() => unfinishedList(context));
    if (unfinished) await this.#patiently(() => load(context, unfinished));
    const isEmpty = (await this.#patiently(() => api.all('/v1/campaigns'))).length === 0;
    if (isEmpty && this.#config.telephony === 'simulator') await this.#patiently(() => widenLegalHours(context));
    const list = this.#list ?? (isEmpty ? demoList : undefined);
    if (list && list.file !== unfinished?.file) await this.#patiently(() => load(context, list));
  }

  async #startAgents(api: ApiClient): Promise<void> {
    const file = await this.#patiently(() => writeAgents(api, this.#config.dataDir));
    if (!file) return;
    this.#children.start({ name: 'agents', command: ['telephony/simulator/agents-main.ts', file], settings: {} });
  }

  /** Repeats what can be repeated, while a process that it needs is just being started again. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + READY_WITHIN_MS;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const isPassing = error instanceof ApiProblem && error.isPassing;
        if (!isPassing || performance.now() > deadline) throw error;
        await sleep(1_000, undefined, { signal: this.#stopped.signal });
      }
    }
  }

  #welcome(api: string, temporalUi: string, adminKey: string | undefined): void {
    const lines = [
      ['API', api],
      ['API docs', `${api}/docs`],
      ['Temporal UI', temporalUi || 'of the server of TEMPORAL_ADDRESS'],
      ['Admin key', adminKey ? shortest(adminKey) : 'the one of DIALWRIGHT_ADMIN_KEY'],
      ['Logs', shortest(path.join(this.#config.dataDir, 'logs'))],
    ];
    const shown = lines.map(([name = '', value]) => `  ${name.padEnd(12)}${value}`).join('\n');
    this.#terminal.print(`\nDialwright runs (Ctrl-C stops it; the next start goes on)\n${shown}\n`);
  }

  // ---- while it runs ---------------------------------------------------------------------------------------------

  /** Looks at a thing again and again, until it is to stop. */
  async #repeatedly(look: () => Promise<void>, pauseMs: (tookMs: number) => number): Promise<never> {
    for (;;) {
      const startedAt = performance.now();
      await look();
      await sleep(pauseMs(performance.now() - startedAt), undefined, { signal: this.#stopped.signal });
    }
  }

  async #watch(api: ApiClient, databaseUrl: string): Promise<void> {
    const settings = { connectionTimeoutMillis: 5_000, query_timeout: 10_000, application_name: 'dialwright-start' };
    const pool = new pg.Pool({ connectionString: databaseUrl, max: 1, ...settings });
    pool.on('error', () => undefined); // the next query reports it
    const show = this.#progressDisplay();
    const look = () => readProgress(api, pool, this.#startedAt).then(show, () => show(undefined));
    try {
      await Promise.all([
        this.#repeatedly(() => this.#servers.revive(), () => LOOK_EVERY_MS),
        // Counting a list of a million takes a while, and should not take the machine.
        this.#repeatedly(look, (tookMs) => Math.min(Math.max(LOOK_EVERY_MS, 5 * tookMs), PLAIN_LINE_EVERY_MS)),
      ]);
    } finally {
      await pool.end();
    }
  }

  /** Shows what was read; undefined when nothing could be. */
  #progressDisplay(): (progress: Progress | undefined) => void {
    const terminal = this.#terminal;
    let called = false;
    let shownAt = -Infinity;
    return (progress) => {
      if (this.#stopped.signal.aborted) return;
      if (progress?.firstCallAt && !called) {
        called = true;
        const seconds = (progress.firstCallAt.getTime() - this.#startedAt.getTime()) / 1000;
        this.#say(`First call, ${seconds.toFixed(1)} s after the start`);
      }
      const line = progress ? progressLine(progress, terminal.columns) : 'no figures: the API or the database is away';
      if (terminal.isLive) return terminal.live(line);
      if (performance.now() - shownAt < PLAIN_LINE_EVERY_MS) return;
      shownAt = performance.now();
      this.#say(line);
    };
  }
}

/** The preferred port if nobody has it, else the next above it; 0 takes any. */
async function nextFreePort(preferred: number): Promise<number> {
  for (let port = preferred; port < preferred + PORTS_TRIED; port++) {
    const free = await freePort(port);
    if (free === port || port === 0) return free;
  }
  return freePort();
}

/** A path as it is typed from here. */
function shortest(file: string): string {
  const relative = path.relative(process.env.INIT_CWD ?? process.cwd(), file);
  return relative.startsWith('..') ? file : relative;
}

main().catch((error: Error) => {
  const isDefect = error instanceof TypeError && !('code' in error);
  process.stderr.write(`${isDefect ? error.stack : error.message}\n`);
  process.exitCode = 1;
});
