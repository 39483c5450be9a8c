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
import { ADMIN_KEY, ASTERISK, Cast, PROCESSES, SPEED, type Started, Wires } from './cast.ts';
import type { Fault, Victims } from './plan.ts';

const READY_WITHIN_MS = 90_000;
const LOOK_EVERY_MS = 250;
/** After a fault of a switch, or of the way to it, all is told that has happened there meanwhile. */
const TOLD_WITHIN_MS = 10_000;

export interface StageOptions {
  /** Everything is kept there. */
  dataDir: string;
  say: Say;
  stopped: AbortSignal;
  /** The second switch is a real one. */
  asterisk: boolean;
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
  /** What was done to whom and when, epoch ms; infinite: it goes on. */
  readonly #harms: { victim: string; from: number; to: number }[] = [];

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
    const { stopped, asterisk, say } = this.#options;
    const addresses = await this.#servers.start();
    stopped.throwIfAborted();
    this.#sql = new pg.Pool({ connectionString: addresses.databaseUrl, max: 4, options: '-c TimeZone=UTC' });
    this.#sql.on('error', () => undefined); // PostgreSQL is killed, too
    this.#temporal = new Client({ connection: await Connection.connect({ address: addresses.temporalAddress }) });
    const cast = new Cast({ supervisor: this.#supervisor, wires: this.#wires, addresses, dataDir: this.dataDir, say });
    this.#started = await cast.start(asterisk);
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
  get switches(): Started['switches'] {
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

  /** Keeps PostgreSQL, Temporal and Asterisk running; the product's processes are started again by the supervisor. */
  async revive(): Promise<void> {
    const kept = [this.#servers, this.#started.asterisk].filter((one) => one !== null);
    await Promise.all(
      kept.map(async (one) => {
        while (!this.#isOver) {
          await one.revive();
          await sleep(LOOK_EVERY_MS);
        }
      }),
    );
  }

  // ---- faults ----------------------------------------------------------------------------------------------------------

  /** Resolves when the fault is over; false: the victim was down, so nothing was done. */
  async harm(fault: Fault): Promise<boolean> {
    const harm = { victim: fault.victim, from: Date.now(), to: Infinity };
    this.#harms.push(harm);
    const isDone = await this.#inflict(fault);
    harm.to = Date.now();
    return isDone;
  }

  /** Whether a switch, or the way to it, was under a fault then (epoch ms): what it was asked it may have done later. */
  wasAway(node: string, at: number): boolean {
    const concerns = (victim: string): boolean => victim === node || victim.endsWith(`→ ${node}`);
    return this.#harms.some(({ victim, from, to }) => concerns(victim) && from <= at && at <= to + TOLD_WITHIN_MS);
  }

  async #inflict(fault: Fault): Promise<boolean> {
    const { how, victim, forMs } = fault;
    if (how === 'kill') return this.#kill(victim);
    if (how === 'freeze') return this.#freeze(fault);
    const wire = this.#wires.named(victim);
    wire.begin(how);
    await this.#while(forMs);
    wire.end(how);
    return true;
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
    await this.#started?.asterisk?.stop();
    await Promise.all([this.#sql?.end(), this.#temporal?.connection.close()]).catch(() => undefined);
    this.#servers.kill();
  }

  #pid(name: string): number | undefined {
    if (name === 'postgres' || name === 'temporal') return this.#servers.pids[name];
    if (name === ASTERISK && this.#started.asterisk) return this.#started.asterisk.pid;
    return this.#supervisor.pid(name);
  }

  #kill(name: string): boolean {
    const pid = this.#pid(name);
    if (pid === undefined) return false;
    // Those of PostgreSQL that stand still do not notice that their first process is gone, and keep the next one from starting.
    const all = name === 'postgres' ? [pid, ...childrenOf(pid)] : [pid];
    for (const one of all) signal(one, 'SIGKILL');
    return true;
  }

  async #freeze(fault: Fault): Promise<boolean> {
    const pid = this.#pid(fault.victim);
    if (pid === undefined) return false;
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
    return true;
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
