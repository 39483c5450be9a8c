// The migrations of prisma/migrations, and the Prisma CLI that applies them.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { Say } from './process.ts';

const ROOT = path.resolve(import.meta.dirname, '..');

/**
 * Brings a database up to the migrations in prisma/migrations and returns the names of those it applied.
 * One query when there is nothing to do (the Prisma CLI takes 1 s to find that out).
 */
export async function migrate(url: string, log: Say = () => undefined): Promise<string[]> {
  const applied = await appliedMigrations(url);
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
  if (pending.length > 0) await runPrisma(['migrate', 'deploy'], url);
  return pending.map(({ name }) => name);
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

async function appliedMigrations(url: string): Promise<Map<string, string>> {
  const sql = `select migration_name, checksum from _prisma_migrations
               where finished_at is not null and rolled_back_at is null`;
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ migration_name: string; checksum: string }>(sql);
    return new Map(rows.map((row) => [row.migration_name, row.checksum]));
  } catch (error) {
    if ((error as pg.DatabaseError).code === '42P01') return new Map(); // no such table: nothing applied yet
    throw error;
  } finally {
    await client.end();
  }
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
