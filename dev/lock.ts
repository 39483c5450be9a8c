// One start at a time on a data directory.

import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const SQLITE_BUSY = 5;

/**
 * Takes the data directory for this process; returns what gives it back. Undefined when another process has it.
 *
 * The lock is SQLite's, on an empty file: the operating system takes it from a process that dies, whatever way it
 * dies, so there is no stale one to be recognised.
 */
export function lockDataDir(dataDir: string): (() => void) | undefined {
  makeDir(dataDir);
  const lock = new DatabaseSync(path.join(dataDir, 'start.lock'), { timeout: 0 });
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return () => lock.close();
  } catch (error) {
    lock.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
}

/** Step by step, as Node's own recursive way never returns below some directories of the system, such as /proc. */
function makeDir(dir: string): void {
  if (existsSync(dir)) return;
  makeDir(path.dirname(dir));
  mkdirSync(dir);
}
