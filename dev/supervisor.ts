// The product's processes as children of `npm start`: started, started again when they crash, stopped.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { hasEnded, lastLines, readState, type Say, since, sizeOf, writeState } from './process.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const LEASH = path.join(ROOT, 'dev/leash.ts');

const LONGEST_LOG_BYTES = 20_000_000;
const BACKOFF_MS = { first: 1_000, longest: 10_000 };
/** Who has run this long has started well: its next crash is not one of a series. */
const STARTED_WELL_MS = 30_000;
/** More than the API (12 s) and the worker take to let what is under way come to its end. */
const STOP_WITHIN_MS = 20_000;
const KILLED_WITHIN_MS = 5_000;
const SHOWN_LINES = 8;
const SHOWN_COLUMNS = 300;

export interface ChildSpec {
  name: string;
  /** The script of the process, from the root of the checkout, and its arguments. */
  command: string[];
  /** Settings on top of this process's own. */
  settings: Record<string, string>;
}

interface Child extends ChildSpec {
  logFile: string;
  /** Length of the log when the process was started last. */
  logged: number;
  backoffMs: number;
  process?: ChildProcess;
  retry?: NodeJS.Timeout;
  stopping: boolean;
}

/** A process as it is told from a later one with the same number. */
interface Known {
  name: string;
  pid: number;
  started: string;
}
interface Processes {
  starter: Known;
  children: Known[];
}

export class Supervisor {
  #dataDir: string;
  #say: Say;
  #children = new Map<string, Child>();

  constructor({ dataDir, say }: { dataDir: string; say: Say }) {
    this.#dataDir = dataDir;
    this.#say = say;
    mkdirSync(path.join(dataDir, 'logs'), { recursive: true });
  }

  /** Starts a process whose output goes to `logs/<name>.log`, and keeps it running until it is stopped. */
  start(spec: ChildSpec): void {
    const logFile = path.join(this.#dataDir, 'logs', `${spec.name}.log`);
    if (sizeOf(logFile) > LONGEST_LOG_BYTES) renameSync(logFile, `${logFile}.old`);
    const child: Child = { ...spec, logFile, logged: 0, backoffMs: BACKOFF_MS.first, stopping: false };
    this.#children.set(spec.name, child);
    this.#launch(child);
  }

  /** Undefined while it does not run. */
  pid(name: string): number | undefined {
    const child = this.#children.get(name)?.process;
    return isRunning(child) ? child?.pid : undefined;
  }

  /** The last lines of its log since it was started last, for people. */
  tail(name: string): string {
    const child = this.#children.get(name);
    if (!child) return '';
    const lines = stripVTControlCharacters(lastLines(child.logFile, child.logged)).split('\n').slice(-SHOWN_LINES);
    return [`${child.logFile} ends in:`, ...lines.map((line) => `  ${line.slice(0, SHOWN_COLUMNS)}`)].join('\n');
  }

  /** Asks it to stop in order; ends it when that takes too long. Resolves when it is gone. */
  async stop(name: string): Promise<void> {
    const child = this.#children.get(name);
    if (!child) return;
    const startedAt = performance.now();
    child.stopping = true;
    clearTimeout(child.retry);
    const { pid } = child.process ?? {};
    if (pid !== undefined && isRunning(child.process)) {
      child.process?.kill('SIGTERM');
      if (!(await hasEnded(pid, STOP_WITHIN_MS))) {
        this.#say(`${name} does not stop: it is ended`);
        child.process?.kill('SIGKILL');
        await hasEnded(pid, KILLED_WITHIN_MS);
      }
    }
    this.#children.delete(name);
    this.#record();
    this.#say(`${name} stopped (${since(startedAt)})`);
  }

  /** Ends all at once. */
  kill(): void {
    for (const child of this.#children.values()) {
      child.stopping = true;
      clearTimeout(child.retry);
      child.process?.kill('SIGKILL');
    }
  }

  #launch(child: Child): void {
    const startedAt = performance.now();
    child.logged = sizeOf(child.logFile);
    const output = openSync(child.logFile, 'a');
    child.process = spawn(process.execPath, ['--import', LEASH, ...child.command], {
      cwd: ROOT,
      env: { ...process.env, ...child.settings },
      stdio: ['pipe', output, output],
    });
    closeSync(output);
    child.process.once('error', (error) => this.#say(`${child.name} can't be started: ${error.message}`));
    child.process.once('exit', (code, signal) => this.#ended(child, startedAt, signal ?? `exit code ${code}`));
    // Its end closes this pipe, which is no error of ours.
    child.process.stdin?.on('error', () => undefined);
    this.#record();
  }

  #ended(child: Child, startedAt: number, how: string): void {
    if (child.stopping) return;
    if (performance.now() - startedAt > STARTED_WELL_MS) child.backoffMs = BACKOFF_MS.first;
    const { name, backoffMs } = child;
    child.backoffMs = Math.min(backoffMs * 2, BACKOFF_MS.longest);
    this.#say(`${name} ended by itself (${how}); it is started again in ${backoffMs / 1000} s. ${this.tail(name)}`);
    child.retry = setTimeout(() => this.#launch(child), backoffMs);
    this.#record();
  }

  #record(): void {
    const running = [...this.#children.values()].filter((child) => isRunning(child.process));
    const children = running.map(({ name, process: child }) => known(name, child?.pid ?? 0));
    writeState(processesFile(this.#dataDir), { starter: known('start', process.pid), children } satisfies Processes);
  }
}

/** Pid of the start that has run last on a data directory. */
export function lastStarter(dataDir: string): number | undefined {
  return readState<Processes>(processesFile(dataDir))?.starter.pid;
}

/**
 * Ends what a killed start has left running, so that it doesn't hold ports and telephony nodes. Only for the holder of
 * the data directory's lock.
 */
export async function endLeftOvers(dataDir: string, say: Say): Promise<void> {
  const left = readState<Processes>(processesFile(dataDir))?.children.filter(isSame) ?? [];
  if (left.length === 0) return;
  for (const { pid } of left) process.kill(pid, 'SIGKILL');
  const deadline = performance.now() + KILLED_WITHIN_MS;
  while (left.some(isSame) && performance.now() < deadline) await sleep(20);
  say(`The last start was killed: ended what it left running (${left.map(({ name }) => name).join(', ')})`);
}

function processesFile(dataDir: string): string {
  return path.join(dataDir, 'processes.json');
}

function isRunning(child: ChildProcess | undefined): boolean {
  return child?.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

function known(name: string, pid: number): Known {
  return { name, pid, started: startOf(pid) };
}

function isSame({ pid, started }: Known): boolean {
  return started !== '' && startOf(pid) === started;
}

/** When a process was started, to be compared only; '' when there is none. */
function startOf(pid: number): string {
  try {
    if (process.platform !== 'linux') {
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim();
    }
    // Field 22, in ticks since the machine's start; the 2nd may hold blanks and brackets itself.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? '' : (fields[18] ?? '');
  } catch {
    return '';
  }
}
