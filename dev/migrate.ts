// The migrations of prisma/migrations, and the Prisma CLI that applies them.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Say } from './process.ts';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Of an advisory lock; no other use has a number like it. */
const LOCK = 7_214_305_118_233;
const LOOK_EVERY_MS = 200;
/** Calls go on meanwhile: a statement that had to wait longer for a table would make all others wait behind it. */
const WAITS_FOR_TABLE = '5s';

/**
 * Brings a database up to the migrations in prisma/migrations and returns the names of those it applied. Whoever comes at the
 * same time waits, however long that takes, and finds nothing to do.
 * One query when there is nothing to do (the Prisma CLI takes 1 s to find that out).
 */
export async function migrate(url: string, log: Say = () => undefined): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined); // the awaited call reports it
  await client.connect();
  try {
    // It ends with the connection, so also with a process that dies. Asked for again and again: whoever waits within a statement has
    // a snapshot, and an index that is made CONCURRENTLY by who has the lock waits for all of these.
    const isMine = async () => (await client.query<{ mine: boolean }>('select pg_try_advisory_lock($1) as mine', [LOCK])).rows[0]!.mine;
    while (!(await isMine())) await sleep(LOOK_EVERY_MS);
    return await migrateLocked(client, url, log);
  } finally {
    await client.end();
  }
}

async function migrateLocked(client: pg.Client, url: string, log: Say): Promise<string[]> {
  const applied = await appliedMigrations(client);
  const migrations = migrationsOnDisk();
  for (const { name, checksum } of migrations) {
    const known = applied.get(name);
    if (known && known !== checksum) log(`Migration ${name} was edited after this database had applied it`);
  }
  const newer = [...applied.keys()].filter((name) => !migrations.some((migration) => migration.name === name));
  if (newer.length > 0) {
    throw new Error(
      `The database has been used by a newer version: this one does not know its migration ${newer.join(', ')}. ` +
        'Use that version, or another database.',
    );
  }
  const pending = migrations.filter(({ name }) => !applied.has(name));
  if (pending.length > 0) await deploy(client, url, log);
  return pending.map(({ name }) => name);
}

/** Applies what is pending. One that could not have its table in time has changed nothing, and is tried again. */
async function deploy(client: pg.Client, url: string, log: Say): Promise<void> {
  const patient = new URL(url);
  const options = [patient.searchParams.get('options'), `-c lock_timeout=${WAITS_FOR_TABLE}`].filter(Boolean);
  patient.searchParams.set('options', options.join(' '));
  for (let left = TRIES; ; left--) {
    const { rows } = await client.query<{ since: Date }>('select now() as since');
    try {
      await runPrisma(['migrate', 'deploy'], patient.href);
      return;
    } catch (error) {
      if (left <= 1 || !(error as Error).message.includes('canceling statement due to lock timeout')) throw error;
      log('A table is in use; the migration is tried again');
      await client.query(`delete from _prisma_migrations where finished_at is null and rolled_back_at is null and started_at >= $1`, [rows[0]!.since]);
      await dropHalfMade(client);
    }
  }
}
const TRIES = 20;

/** Indexes that were to be made CONCURRENTLY, which is no transaction: of one that was given up something is left. */
async function dropHalfMade(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ index: string }>('select indexrelid::regclass::text as index from pg_index where not indisvalid');
  for (const { index } of rows) await client.query(`drop index concurrently if exists ${index}`);
}

/**
 * Runs the Prisma CLI against a database. Resolves to what it printed; rejects with that when `okCodes` lacks the
 * code it exits with.
 */
export async function runPrisma(
  args: string[],
  url: string,
  okCodes: number[] = [0],
  settings: Record<string, string> = {},
): Promise<{ code: number; output: string }> {
  const cli = path.join(ROOT, 'node_modules/prisma/build/index.js');
  // The offline engine is a script that asks `env` for node, and must find the one that runs this.
  const PATH = [path.dirname(process.execPath), process.env.PATH].join(path.delimiter);
  const env = { ...process.env, PATH, DATABASE_URL: url, NO_COLOR: '1', ...settings };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [cli, ...args], { cwd: ROOT, env }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      const output = `${stdout}${stderr}`.trim();
      if (okCodes.includes(code)) resolve({ code, output });
      else reject(new Error(`prisma ${args.join(' ')} ended with ${code}:\n${output || error?.message}`));
    });
  });
}

function migrationsOnDisk(): { name: string; checksum: string }[] {
  const dir = path.join(ROOT, 'prisma/migrations');
  const sqlOf = (name: string): string => path.join(dir, name, 'migration.sql');
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => existsSync(sqlOf(name))) : [];
  return names.sort().map((name) => ({ name, checksum: sha256(sqlOf(name)) }));
}

async function appliedMigrations(client: pg.Client): Promise<Map<string, string>> {
  const sql = `select migration_name, checksum from _prisma_migrations
               where finished_at is not null and rolled_back_at is null`;
  try {
    const { rows } = await client.query<{ migration_name: string; checksum: string }>(sql);
    return new Map(rows.map((row) => [row.migration_name, row.checksum]));
  } catch (error) {
    if ((error as pg.DatabaseError).code === '42P01') return new Map(); // no such table: nothing applied yet
    throw error;
  }
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
