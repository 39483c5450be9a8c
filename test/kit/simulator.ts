import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import type { Dial } from '../../telephony/simulator/dial-record.ts';
import type { BehaviourInput, ScriptInput } from '../../telephony/simulator/script.ts';
import type { LegDescription } from '../../telephony/simulator/switch.ts';
import { eventually } from './eventually.ts';

const MAIN = path.resolve(import.meta.dirname, '../../telephony/simulator/main.ts');

// A run that is broken off must leave no switch behind.
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A simulated switch in a process of its own, to be dialled through, frozen and killed. */
export class SimulatorProcess {
  readonly dataDir: string;
  readonly speed: number;
  url = '';
  #child: ChildProcess | null = null;
  #numbers: NonNullable<ScriptInput['numbers']> = {};

  private constructor(speed: number) {
    this.speed = speed;
    this.dataDir = mkdtempSync(path.join(tmpdir(), 'dialwright-simulator-'));
  }

  static async start({ speed = 1 }: { speed?: number } = {}): Promise<SimulatorProcess> {
    const simulator = new SimulatorProcess(speed);
    await simulator.restart();
    return simulator;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Starts it again, where it was before, after it has been killed. */
  async restart(): Promise<void> {
    this.url ||= `http://127.0.0.1:${await freePort()}`;
    const env = {
      ...process.env,
      SIMULATOR_URL: this.url,
      SIMULATOR_SPEED: String(this.speed),
      DATA_DIR: this.dataDir,
    };
    this.#child = spawn(process.execPath, [MAIN], { env: { ...env, LOG_LEVEL: 'warn' }, stdio: 'inherit' });
    running.add(this.#child);
    await eventually(() => this.call('GET', '/healthz').then(({ status }) => status === 200));
  }

  /** Resolves with the exit code, null after a signal, when it is gone. */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
    running.delete(child);
    return child.exitCode;
  }

  freeze(): void {
    this.#child!.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child!.kill('SIGCONT');
  }

  /** How the phone at `number` behaves from now on; all others of the script stay as they are. */
  async behave(number: string, behaviour: BehaviourInput): Promise<void> {
    this.#numbers = { ...this.#numbers, [number]: behaviour };
    const { status, body } = await this.call('PUT', '/script', { numbers: this.#numbers });
    if (status !== 200) throw new Error(JSON.stringify(body));
  }

  /** Rejects with the switch's words when the phone is in no state for it. */
  async phone(number: string, act: 'answer' | 'reject' | 'hang-up' | 'digit' | 'hold', details?: object): Promise<void> {
    const { status, body } = await this.call('POST', `/phones/${encodeURIComponent(number)}/${act}`, details ?? {});
    if (status !== 200) throw new Error(`${number} ${act}: ${JSON.stringify(body)}`);
  }

  /** How many facts no worker has taken yet. */
  async factsWaiting(): Promise<number> {
    const { body } = await this.call('GET', '/healthz');
    return (body as { factsWaiting: number }).factsWaiting;
  }

  /** The live leg at this phone. */
  async legAt(number: string): Promise<LegDescription> {
    const { body } = await this.call('GET', '/legs');
    return (body as { legs: LegDescription[] }).legs.find(({ to }) => to === number)!;
  }

  /** Everything ever dialled, oldest first. */
  async dials(): Promise<Dial[]> {
    const { body } = await this.call('GET', '/dials?limit=10000');
    return (body as { dials: Dial[] }).dials;
  }

  async call(method: string, resource: string, body?: object): Promise<{ status: number; body: unknown }> {
    const json = body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const response = await fetch(this.url + resource, { method, ...json });
    return { status: response.status, body: await response.json() };
  }

  async close(): Promise<void> {
    await this.kill('SIGKILL');
    rmSync(this.dataDir, { recursive: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
