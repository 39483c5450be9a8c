/** Workers that stop dead at a point (worker-main.ts), as a test has them: processes that tell which points they pass. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Begin, Told } from './worker-main.ts';

const MAIN = path.join(import.meta.dirname, 'worker-main.ts');

// A run that is broken off must leave no worker behind.
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class CrashWorker {
  /** Passed since `begin`, in order. */
  points: string[] = [];
  /** Where it has stopped dead. */
  stoppedAt: string | null = null;
  /** At that point, or for a moment by the test. */
  isFrozen = false;
  readonly #child: ChildProcess;
  #tells: (told: Told) => void = () => {};
  /** Set when it ends without having been asked to. */
  #failed: string | null = null;

  /** `log`: file to which its lines are added. */
  static async start(env: Record<string, string>, log: string): Promise<CrashWorker> {
    const worker = new CrashWorker(env, log);
    await worker.#told('started');
    return worker;
  }

  private constructor(env: Record<string, string>, log: string) {
    const output = openSync(log, 'a');
    this.#child = fork(MAIN, [], { env, stdio: ['ignore', output, output, 'pipe', 'ipc'] });
    closeSync(output);
    running.add(this.#child);
    const lines = createInterface({ input: this.#child.stdio[3] as Readable });
    lines.on('line', (line) => this.#take(JSON.parse(line) as Told));
    this.#child.once('exit', (code, signal) => {
      running.delete(this.#child);
      if (code !== null) this.#failed = `the worker has ended with ${code}, see ${log}`;
      else if (signal !== 'SIGKILL') this.#failed = `the worker has ended by ${signal}`;
      this.#tells({ type: 'stopped', point: 'its end' });
    });
  }

  /** From now on points are counted anew. It stops dead at `stopAt`. */
  async begin(stopAt: Begin['stopAt'] = null): Promise<void> {
    const begun = this.#told('begun');
    this.#child.send({ stopAt } satisfies Begin);
    await begun;
    this.points = [];
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Throws when it has ended by itself. */
  mustBeWell(): void {
    if (this.#failed) throw new Error(this.#failed);
  }

  freeze(): void {
    this.isFrozen = true;
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.isFrozen = false;
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    if (this.hasEnded) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  #take(told: Told): void {
    if (told.type === 'point') this.points.push(told.point);
    if (told.type === 'stopped') Object.assign(this, { stoppedAt: told.point, isFrozen: true });
    this.#tells(told);
  }

  async #told(type: Told['type']): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#tells = (told) => {
        if (told.type === type) resolve();
        else if (this.hasEnded) reject(new Error(this.#failed ?? 'the worker has ended'));
      };
    });
    this.#tells = () => {};
  }
}
