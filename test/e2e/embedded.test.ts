import { Connection } from '@temporalio/client';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { createPool, createPrisma } from '../../prisma/client.ts';
import { SEARCH_ATTRIBUTES } from '../../dev/temporal.ts';
import { freshDatabase } from '../kit/database.ts';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

function open(url: string) {
  const pool = createPool(url, { max: 2 });
  const prisma = createPrisma(url, { max: 2 });
  closers.push(
    () => pool.end(),
    () => prisma.$disconnect(),
  );
  return { pool, prisma };
}

describe('the database of a test', () => {
  it('has every migration applied and nothing in it', async () => {
    const { pool } = open(await freshDatabase());
    const { rows } = await pool.query<{ finished: boolean }>(
      'select finished_at is not null as finished from _prisma_migrations',
    );
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every((row) => row.finished)).toBe(true);
  });

  it('is its own', async () => {
    const [one, other] = [open(await freshDatabase()), open(await freshDatabase())];
    await one.pool.query('create table only_here (id int)');
    const { rows } = await other.pool.query<{ at: string | null }>(`select to_regclass('only_here') as at`);
    expect(rows[0]?.at).toBeNull();
  });
});

describe('connections', () => {
  it('are in UTC even where the database is not', async () => {
    const url = await freshDatabase();
    const { pool: setter } = open(url);
    await setter.query(`do $$ begin
      execute format('alter database %I set timezone to %L', current_database(), 'America/New_York');
    end $$`);
    const { pool, prisma } = open(url);
    expect((await pool.query('show timezone')).rows).toEqual([{ TimeZone: 'UTC' }]);
    expect(await prisma.$queryRaw`show timezone`).toEqual([{ TimeZone: 'UTC' }]);
    const { rows } = await pool.query(
      `select timestamptz '2026-03-29 01:30:00+00' as at, 9007199254740993::bigint as big`,
    );
    expect(rows).toEqual([{ at: new Date('2026-03-29T01:30:00Z'), big: '9007199254740993' }]);
  });

  it('keep the options of the URL', async () => {
    const { pool } = open(`${await freshDatabase()}?options=-c%20statement_timeout%3D1234`);
    expect((await pool.query('show statement_timeout')).rows).toEqual([{ statement_timeout: '1234ms' }]);
    expect((await pool.query('show timezone')).rows).toEqual([{ TimeZone: 'UTC' }]);
  });
});

describe('Temporal', () => {
  it('answers and knows the search attributes', async () => {
    const connection = await Connection.connect({ address: inject('temporalAddress') });
    closers.push(() => connection.close());
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
    expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining(Object.keys(SEARCH_ATTRIBUTES)));
  });
});
