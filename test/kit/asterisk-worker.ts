/**
 * Workers that may be killed and frozen, each a process with the Asterisk adapter in it; an Asterisk that may be killed,
 * frozen and started again; and legs between them and SIP phones.
 */
import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { installAsterisk } from '../../dev/asterisk/install.ts';
import { ARI_USER, type RunningAsterisk, startAsterisk } from '../../dev/asterisk/server.ts';
import { freePort, hasEnded } from '../../dev/process.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import type { AsteriskSettings } from '../../telephony/asterisk/adapter.ts';
import type { LegFact, Telephony } from '../../telephony/telephony.ts';
import type { Command, Word } from './asterisk-worker-main.ts';
import { eventually, type Patience } from './eventually.ts';

const MAIN = path.join(import.meta.dirname, 'asterisk-worker-main.ts');
const quiet = (): void => {};
/** Beside those of test/kit/asterisk.ts. */
const FIRST_RTP_PORT = 12_000 + (process.pid % 2) * 4_000;

// A run that is broken off must leave no worker behind.
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export type Ended = Extract<LegFact, { type: 'ended' }>;

export class AsteriskWorker {
  readonly facts: LegFact[] = [];
  readonly connection: { up: boolean; why?: string }[] = [];
  /** The adapter in that process. Its listeners are set. */
  readonly telephony: Telephony;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #commands = 0;

  /** Not connected yet: `telephony.start`. */
  constructor(settings: AsteriskSettings) {
    this.#child = fork(MAIN, [JSON.stringify(settings)]);
    running.add(this.#child);
    this.#child.on('message', (word: Word) => this.#take(word));
    const there = Object.create(null) as Telephony;
    this.telephony = new Proxy(there, {
      get: (_, method: keyof Telephony) => (...args: unknown[]) => this.#ask(method, args),
    });
  }

  get isUp(): boolean {
    return this.connection.at(-1)?.up ?? false;
  }

  /** Resolves when it stands still, or goes on. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    running.delete(this.#child);
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }

  factsOf(legId: string): LegFact[] {
    return this.facts.filter((fact) => fact.legId === legId);
  }

  /** What was told of a leg, in few words: `alerting answered ended`. */
  story(legId: string): string {
    const words = this.factsOf(legId).map((fact) => (fact.type === 'progress' ? fact.phase : fact.type));
    return words.filter((word) => word !== 'media_up').join(' ');
  }

  async heard(legId: string, what: string, patience?: Patience): Promise<void> {
    await eventually(() => this.story(legId).split(' ').includes(what) || this.#nothing(legId, what), patience);
  }

  async ended(legId: string, patience?: Patience): Promise<Ended> {
    await this.heard(legId, 'ended', patience);
    return this.factsOf(legId).find((fact) => fact.type === 'ended')!;
  }

  #nothing(legId: string, what: string): never {
    throw new Error(`no "${what}" of ${legId}: "${this.story(legId)}"`);
  }

  #ask(method: keyof Telephony, args: unknown[]): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    const command: Command = { id: ++this.#commands, method, args };
    this.#waiting.set(command.id, answer);
    this.#child.send(command);
    return answer.promise;
  }

  #take(word: Word): void {
    if (word.type === 'fact') return void this.facts.push(word.fact);
    if (word.type === 'connection') return void this.connection.push(word);
    const waiting = this.#waiting.get(word.id);
    if (word.error) waiting?.reject(Object.assign(new Error(word.error.message), { code: word.error.code }));
    else waiting?.resolve(word.value);
  }
}

/** Keeps its ports and its passwords over a restart. */
export class MortalAsterisk {
  /** As it was started last. */
  running!: RunningAsterisk;
  readonly #home = throwAwayDataDir('asterisk');
  readonly #carrier: string;

  /** `carrier`: host:port of the phones. */
  static async start(carrier: string): Promise<MortalAsterisk> {
    const asterisk = new MortalAsterisk(carrier);
    await asterisk.#start(true);
    return asterisk;
  }

  private constructor(carrier: string) {
    this.#carrier = carrier;
  }

  /** For adapters whose way to it is `url`. */
  settings(url: string, app: string): AsteriskSettings {
    const password = this.running.ariPassword;
    const endpoints = { trunk: 'PJSIP/{number}@carrier', agents: 'PJSIP/{extension}' };
    return { url, user: ARI_USER, password, app, ...endpoints, callerId: null, earlyMediaAlerts: true };
  }

  async kill(): Promise<void> {
    process.kill(this.running.pid, 'SIGKILL');
    await hasEnded(this.running.pid, 5_000);
    // Its last threads hold its ports for a moment longer.
    const port = Number(new URL(this.running.ariUrl).port);
    await eventually(async () => (await freePort(port)) === port);
  }

  restart(): Promise<void> {
    return this.#start(false);
  }

  freeze(): void {
    process.kill(this.running.pid, 'SIGSTOP');
  }

  thaw(): void {
    process.kill(this.running.pid, 'SIGCONT');
  }

  /** Changes a file of its configuration and has it read by `reload` (a command of Asterisk's console). */
  async configure(file: string, reload: string, change: (text: string) => string): Promise<void> {
    const etc = path.join(this.#home.dataDir, 'asterisk', 'etc');
    writeFileSync(path.join(etc, file), change(readFileSync(path.join(etc, file), 'utf8')));
    const { asterisk } = await installAsterisk(quiet);
    await promisify(execFile)(asterisk, ['-C', path.join(etc, 'asterisk.conf'), '-rx', reload]);
  }

  async stop(): Promise<void> {
    await this.running.stop();
    await this.#home.release();
  }

  async #start(anyPorts: boolean): Promise<void> {
    const given = { dataDir: this.#home.dataDir, carrier: this.#carrier, log: quiet, firstRtpPort: FIRST_RTP_PORT };
    this.running = await startAsterisk({ ...given, anyPorts });
  }
}
