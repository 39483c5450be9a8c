import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, inject } from 'vitest';
import { eventually } from './eventually.ts';

const made: string[] = [];

// Registered for the test file that imports this: Vitest loads modules anew for each.
afterAll(async () => {
  if (made.length === 0) return;
  await asAdmin(async (client) => {
    // A pool has ended a little before its connections have: what is told to one of these then, nobody would catch.
    const areLeft = async () => (await client.query('select 1 from pg_stat_activity where datname = any($1)', [made])).rowCount === 0;
    await eventually(areLeft, { withinMs: 2_000 }).catch(() => undefined);
    for (const name of made.splice(0)) await client.query(`drop database if exists "${name}" with (force)`);
  });
});

/**
 * A new database with all migrations and no rows: the URL of a copy of the template, made in about 0.1 s and dropped
 * when the test file is through. Only in tier `e2e`.
 */
export function freshDatabase(): Promise<string> {
  return copyOf(new URL(inject('templateUrl')).pathname.slice(1));
}

/** A new database without a table: its URL. */
export function emptyDatabase(): Promise<string> {
  return copyOf('template0');
}

async function copyOf(template: string): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  // Copying the files beats copying through the log as long as nothing is flushed to disk, as in tests.
  await asAdmin((client) => client.query(`create database "${name}" template "${template}" strategy file_copy`));
  made.push(name);
  const url = new URL(inject('templateUrl'));
  url.pathname = `/${name}`;
  return url.href;
}

async function asAdmin(work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const url = new URL(inject('templateUrl'));
  url.pathname = '/postgres';
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
