// Brings a private Asterisk (and SIPp, which plays phones in tests) to a machine of the Debian family.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lockDataDir } from '../lock.ts';
import { type Say, since, userCache } from '../process.ts';

const SCRIPT = path.join(import.meta.dirname, 'install.sh');
/** Exit code of the script where the host can't have it. */
const CANNOT = 2;
const LOOK_AGAIN_MS = 200;

export interface Installation {
  asterisk: string;
  sipp: string;
  /** Where Asterisk's modules, and its sounds and other data lie. */
  modules: string;
  data: string;
}

/** This host can't have one: no Debian, no mirror. The message is one line that says why. */
export class NoAsterisk extends Error {
  override readonly name = 'NoAsterisk';
}

/**
 * The private Asterisk of this user, unpacked on first use (some 15 s and 170 MB, kept in the user's cache directory).
 * Needs no root and changes nothing on the host. Throws {@link NoAsterisk}, or an Error with what the script said last.
 */
export async function installAsterisk(log: Say): Promise<Installation> {
  const prefix = userCache('asterisk');
  mkdirSync(prefix, { recursive: true });
  const release = await lock(prefix);
  try {
    if (!existsSync(path.join(prefix, 'env'))) await unpack(prefix, log);
    return read(prefix);
  } finally {
    release();
  }
}

/** Of two at once, one unpacks. */
async function lock(prefix: string): Promise<() => void> {
  for (;;) {
    const release = lockDataDir(prefix);
    if (release) return release;
    await sleep(LOOK_AGAIN_MS);
  }
}

async function unpack(prefix: string, log: Say): Promise<void> {
  const startedAt = performance.now();
  log(`Unpacking a private Asterisk from Debian packages (some 15 s, once; kept in ${prefix})`);
  await new Promise<void>((resolve, reject) => {
    execFile('bash', [SCRIPT, prefix], { maxBuffer: 10_000_000 }, (error, _stdout, stderr) => {
      if (!error) return resolve();
      const said = stderr.trim().split('\n').slice(-5).join('\n') || error.message;
      reject(error.code === CANNOT ? new NoAsterisk(said) : new Error(`Asterisk could not be unpacked: ${said}`));
    });
  });
  log(`Asterisk unpacked (${since(startedAt)})`);
}

function read(prefix: string): Installation {
  const text = readFileSync(path.join(prefix, 'env'), 'utf8');
  const value = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const bin = path.join(prefix, 'bin');
  return {
    asterisk: path.join(bin, 'asterisk'),
    sipp: path.join(bin, 'sipp'),
    modules: value('AST_MODULES'),
    data: value('AST_DATA'),
  };
}
