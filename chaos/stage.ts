/** The product on servers of its own; all of it can be harmed, and is kept running as whoever runs it would. */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { until } from '../bench/kit.ts';
import { loadConfig } from '../config/config.ts';
import { ApiClient } from '../dev/api-client.ts';
import type { Say } from '../dev/process.ts';
import { whenReady } from '../dev/ready.ts';
import { Servers } from '../dev/servers.ts';
import { Supervisor } from '../dev/supervisor.ts';
import type { ScriptInput } from '../telephony/simulator/script.ts';
import { ADMIN_KEY, Cast, PROCESSES, SPEED, type Started, Wires } from './cast.ts';
import type { Fault, Victims } from './plan.ts';

const READY_WITHIN_MS = 90_000;
const LOOK_EVERY_MS = 250;

export interface StageOptions {
  /** Everything is kept there. */
  dataDir: string;
  say: Say;
  stopped: AbortSignal;
  /** How the phones behave. */
  script: ScriptInput;
}

export class Stage {
  readonly dataDir: string;
  readonly adminKey = ADMIN_KEY;
  readonly speed = SPEED;
  readonly #options: StageOptions;
  readonly #servers: Servers;
  readonly #supervisor: Supervisor;
  readonly #wires = new Wires();
  /** Processes that stand still, each with the fault that has stopped it last. */
  readonly #frozen = new Map<number, Fault>();
  #started!: Started;
  #api!: ApiClient;
  #sql!: pg.Pool;
  #temporal!: Client;
  #isOver = false;

  /** Rejects when it can't be set; `close` is needed all the same. */
  static async open(options: StageOptions): Promise<Stage> {
    const stage = new Stage(options);
    await stage.#open().catch(async (error: unknown) => {
      await stage.close();
      throw error;
    });
    return stage;
  }

  private constructor(options: StageOptions) {
    const { dataDir, say } = options;
    this.dataDir = dataDir;
    this.#options = options;
    this.#servers = new Servers(loadConfig({ DATA_DIR: dataDir }), say);
    // That somebody was killed is told by who has done it.
    this.#supervisor = new Supervisor({ dataDir, say: () => undefined });
  }

  async #open(): Promise<void> {
    const { stopped, script } = this.#options;
    const addresses = await this.#servers.start();
    stopped.throwIfAborted();
    this.#sql = new pg.Pool({ connectionString: addresses.databaseUrl, max: 4, options: '-c TimeZone=UTC' });
    this.#sql.on('error', () => undefined); // PostgreSQL is killed, too
    this.#temporal = new Client({ connection: await Connection.connect({ address: addresses.temporalAddress }) });
    this.#started = await new Cast(this.#supervisor, this.#wires, addresses, this.dataDir).start(script);
    this.#api = new ApiClient(this.#started.api, ADMIN_KEY, stopped);
    const waiting = { withinMs: READY_WITHIN_MS, signal: stopped };
    await whenReady(this.#started.api, ({ ready, telephony }) => ready && telephony.ok, waiting);
  }

  get api(): ApiClient {
    return this.#api;
  }

  /** As a reader far away reaches it. */
  get apiByWire(): string {
    return this.#started.apiByWire;
  }

  /** Where the switches' own records are. */
  get switches(): readonly string[] {
    return this.#started.switches;
  }

  /** By no wire, as what follows it is for the checks. */
  get sql(): pg.Pool {
    return this.#sql;
  }

  get temporal(): Client {
    return this.#temporal;
  }

  get victims(): Victims {
    return { processes: [...PROCESSES, 'postgres', 'temporal'], wires: this.#wires.names };
  }

  /** Whoever works with the product. */
  start(name: string, command: string[], settings: Record<string, string>): void {
    this.#supervisor.start({ name, command, settings });
  }

  stop(name: string): Promise<void> {
    return this.#supervisor.stop(name);
  }

  /** Keeps PostgreSQL and Temporal running; the product's processes are started again by the supervisor. */
  async revive(): Promise<void> {
    while (!this.#isOver) {
      await this.#servers.revive();
      await sleep(LOOK_EVERY_MS);
    }
  }

  // ---- faults ----------------------------------------------------------------------------------------------------------

  /** Resolves when the fault is over. */
  async harm(fault: Fault): Promise<void> {
    const { how, victim, forMs } = fault;
    if (how === 'kill') return this.#kill(victim);
    if (how === 'freeze') return this.#freeze(fault);
    const wire = this.#wires.named(victim);
    wire.begin(how);
    await this.#while(forMs);
    wire.end(how);
  }

  /** Everything as it should be, at once. */
  mend(): void {
    for (const pid of this.#frozen.keys()) signal(pid, 'SIGCONT');
    this.#frozen.clear();
    this.#wires.mend();
  }

  /** Resolves when every process runs and the API is ready; rejects when that takes too long. */
  whole(): Promise<void> {
    const isWhole = async (): Promise<boolean> => {
      const answer = await fetch(`${this.#started.api}/readyz`, { signal: AbortSignal.timeout(5_000) });
      return answer.ok && this.victims.processes.every((name) => this.#pid(name) !== undefined);
    };
    return until('everything runs again', READY_WITHIN_MS, isWhole, LOOK_EVERY_MS);
  }

  /** Ends all that runs, at once: what it leaves behind goes with the data directory. */
  async close(): Promise<void> {
    this.#isOver = true;
    this.mend();
    this.#supervisor.kill();
    this.#wires.close();
    await Promise.all([this.#sql?.end(), this.#temporal?.connection.close()]).catch(() => undefined);
    this.#servers.kill();
  }

  #pid(name: string): number | undefined {
    if (name === 'postgres' || name === 'temporal') return this.#servers.pids[name];
    return this.#supervisor.pid(name);
  }

  #kill(name: string): void {
    const pid = this.#pid(name);
    if (pid !== undefined) signal(pid, 'SIGKILL');
  }

  async #freeze(fault: Fault): Promise<void> {
    const pid = this.#pid(fault.victim);
    if (pid === undefined) return;
    // PostgreSQL is many processes, and its first does none of the work.
    const all = fault.victim === 'postgres' ? [pid, ...childrenOf(pid)] : [pid];
    for (const one of all) {
      this.#frozen.set(one, fault);
      signal(one, 'SIGSTOP');
    }
    await this.#while(fault.forMs);
    for (const one of all.filter((each) => this.#frozen.get(each) === fault)) {
      this.#frozen.delete(one);
      signal(one, 'SIGCONT');
    }
  }

  async #while(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#options.stopped }).catch(() => undefined);
  }
}

/** Somebody who is gone feels nothing. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function childrenOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => line.trim().split(/\s+/).map(Number)).filter(([, parent]) => parent === pid).map(([child]) => child!);
}
