// Processes and ports on this machine: what the embedded PostgreSQL and Temporal have in common.

import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Says in one line what is being done; the embedded parts are silent otherwise. */
export type Say = (line: string) => void;

/**
 * The command line of a running process, words joined by blanks; '' when there is no such process (a zombie, which
 * some containers keep for ever, counts as none). A pid read from a file may have been given to another process
 * since, so it proves nothing alone.
 */
export function commandLine(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return '';
  }
}

/** Resolves once the process is gone; false when it still runs after `withinMs`. */
export async function hasEnded(pid: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while (commandLine(pid) !== '') {
    if (Date.now() > deadline) return false;
    await sleep(50);
  }
  return true;
}

/** Resolves once nobody listens on this loopback port, or after `withinMs`. */
export async function portFreed(port: number, withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs;
  while ((await tryPort(port)) === undefined && Date.now() < deadline) await sleep(50);
}

/** The preferred loopback port if nobody listens there, else any free one. Zero as preference takes any. */
export async function freePort(preferred = 0): Promise<number> {
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? Promise.reject(new Error('No free port on 127.0.0.1'));
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const { port: bound } = server.address() as net.AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}

/** Reads a small JSON file; undefined when it is absent or was torn by a crash. */
export function readState<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

/** Writes a small JSON file whole or not at all, for its owner's eyes only (it may hold a password). */
export function writeState(file: string, state: unknown): void {
  renameSync(draftOf(file, state), file);
}

/** Writes it only if there is none, and returns what then is there: of two at once, both go on with the first's. */
export function readOrWriteState<T>(file: string, state: T): T {
  const draft = draftOf(file, state);
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
  return readState<T>(file) ?? state;
}

function draftOf(file: string, state: unknown): string {
  mkdirSync(path.dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  return draft;
}

/** Where what was once brought to this machine is kept, outside the checkout: a fresh clone must not cost it again. */
export function userCache(name: string): string {
  return path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'dialwright', name);
}

/** Length of a file in bytes; 0 when there is none. */
export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** The end (15 lines at most) of what was written to a log after its first `from` bytes. */
export function lastLines(file: string, from: number): string {
  const said = existsSync(file) ? readFileSync(file).subarray(from).toString() : '';
  return said.trimEnd().split('\n').slice(-15).join('\n');
}

/** "0.3 s", for lines that say how long something took. */
export function since(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}
