// PostgreSQL and Temporal for a start: those it was given, else those it brings.

import { Connection } from '@temporalio/client';
import pg from 'pg';
import type { Config } from '../config/config.ts';
import { migrate } from './migrate.ts';
import { startPostgres } from './postgres.ts';
import { commandLine, portFreed, type Say, since } from './process.ts';
import { prepareTemporal, startTemporal } from './temporal.ts';

const ANSWERS_WITHIN_MS = 10_000;
const FREED_WITHIN_MS = 10_000;

export interface Addresses {
  databaseUrl: string;
  temporalAddress: string;
  /** Of Temporal's web UI; '' where the server was given, as nobody told. */
  temporalUi: string;
}

export class Servers {
  #config: Config;
  #say: Say;
  #postgres: Embedded<Awaited<ReturnType<typeof startPostgres>>>;
  #temporal: Embedded<Awaited<ReturnType<typeof startTemporal>>>;

  constructor(config: Config, say: Say) {
    const { dataDir, temporalNamespace: namespace } = config;
    this.#config = config;
    this.#say = say;
    this.#postgres = new Embedded('PostgreSQL', say, () => startPostgres({ dataDir, log: say }), 'url');
    this.#temporal = new Embedded('Temporal', say, () => startTemporal({ dataDir, log: say, namespace }), 'address');
  }

  /** Both at once, with all tables and search attributes. */
  async start(): Promise<Addresses> {
    const [databaseUrl, temporal] = await Promise.all([this.#openDatabase(), this.#openTemporal()]);
    return { databaseUrl, ...temporal };
  }

  /** Starts again what has died. Rejects when it can't be where it was, as everybody else knows it by that. */
  async revive(): Promise<void> {
    await Promise.all([this.#postgres.revive(), this.#temporal.revive()]);
  }

  /** Process ids of those that were brought. */
  get pids(): { postgres: number | undefined; temporal: number | undefined } {
    return { postgres: this.#postgres.pid, temporal: this.#temporal.pid };
  }

  /** Stops those that were brought. */
  async stop(): Promise<void> {
    await this.#temporal.stop();
    await this.#postgres.stop();
  }

  /** Ends them at once; what was committed stays. */
  kill(): void {
    this.#temporal.kill('SIGKILL');
    this.#postgres.kill('SIGQUIT'); // its immediate shutdown: after SIGKILL it would leave its shared memory behind
  }

  async #openDatabase(): Promise<string> {
    const given = this.#config.databaseUrl;
    if (given) {
      await mustAnswer('DATABASE_URL', withoutPassword(given), () => tryPostgres(given));
      this.#say('PostgreSQL is the one of DATABASE_URL');
    }
    const url = given ?? (await this.#postgres.start()).url;
    const startedAt = performance.now();
    const applied = await migrate(url, this.#say);
    if (applied.length > 0) this.#say(`${applied.length} migration(s) applied (${since(startedAt)})`);
    return url;
  }

  async #openTemporal(): Promise<Omit<Addresses, 'databaseUrl'>> {
    const { temporalAddress: given, temporalNamespace } = this.#config;
    if (given) {
      await mustAnswer('TEMPORAL_ADDRESS', given, () => tryTemporal(given));
      this.#say(`Temporal is the one of TEMPORAL_ADDRESS, ${given}`);
      await prepareTemporal(given, temporalNamespace);
      return { temporalAddress: given, temporalUi: '' };
    }
    const { address, uiUrl } = await this.#temporal.start();
    return { temporalAddress: address, temporalUi: uiUrl };
  }
}

/** A server that was given and does not answer: the message says which setting names it, and what is wrong. */
async function mustAnswer(setting: string, shown: string, attempt: () => Promise<void>): Promise<void> {
  await attempt().catch((error: unknown) => {
    // Where a host has several addresses, each has failed in a way of its own.
    const first = error instanceof AggregateError ? (error.errors as unknown[])[0] : error;
    const { message } = first as Error;
    throw new Error(
      `${setting} is ${shown}, which can't be used: ${message}\n` +
        `Correct it, or unset it and npm start brings a server of its own.`,
    );
  });
}

async function tryPostgres(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: ANSWERS_WITHIN_MS });
  client.on('error', () => undefined); // the awaited call reports it
  await client.connect();
  await client.end();
}

async function tryTemporal(address: string): Promise<void> {
  await (await Connection.connect({ address, connectTimeout: ANSWERS_WITHIN_MS })).close();
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.password = '';
  return shown.href;
}

/** A server that this start brings, whether or not it found it running. */
export class Embedded<Server extends { pid: number; stop: () => Promise<void> }> {
  #name: string;
  #say: Say;
  #launch: () => Promise<Server>;
  /** What others know it by. */
  #address: keyof Server;
  #starting: Promise<Server> | undefined;
  #server: Server | undefined;

  constructor(name: string, say: Say, launch: () => Promise<Server>, address: keyof Server) {
    this.#name = name;
    this.#say = say;
    this.#launch = launch;
    this.#address = address;
  }

  get pid(): number | undefined {
    return this.#server?.pid;
  }

  async start(): Promise<Server> {
    this.#starting = this.#launch();
    return (this.#server = await this.#starting);
  }

  async revive(): Promise<void> {
    const before = this.#server;
    if (!before || commandLine(before.pid) !== '') return;
    this.#say(`${this.#name} ended by itself; it is started again`);
    // Its last threads may hold its port for a moment longer.
    await portFreed(Number(/:(\d+)(?:\/|$)/.exec(String(before[this.#address]))![1]), FREED_WITHIN_MS);
    const after = await this.start();
    if (after[this.#address] === before[this.#address]) return;
    throw new Error(`${this.#name} could not come back where it was: another program has taken its port. Start again.`);
  }

  async stop(): Promise<void> {
    const startedAt = performance.now();
    // One that is just starting is there in a moment, and must not be left behind.
    const server = await this.#starting?.catch(() => this.#server);
    if (!server) return;
    await server.stop();
    this.#say(`${this.#name} stopped (${since(startedAt)})`);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#server && commandLine(this.#server.pid) !== '') process.kill(this.#server.pid, signal);
  }
}
