/** Migrations while others run: two that start at once, and a table that is in use. */
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { migrate } from '../../dev/migrate.ts';
import { emptyDatabase, freshDatabase } from '../kit/database.ts';
import { eventually } from '../kit/eventually.ts';

async function open(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

describe('migrations', () => {
  it('are applied by one of those who start at once; the others wait and find nothing to do', async () => {
    const url = await emptyDatabase();
    const applied = await Promise.all([migrate(url), migrate(url), migrate(url)]);
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1);
    const client = await open(url);
    const { rows } = await client.query(`SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NULL`);
    await client.end();
    expect(rows).toEqual([]);
  }, 60_000);

  it('wait for who has died while applying them no longer than that', async () => {
    const url = await emptyDatabase();
    const client = await open(url);
    await client.query('SELECT pg_advisory_lock(7214305118233)');
    const applied = migrate(url);
    await eventually(async () => {
      const { rowCount } = await client.query(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'select pg_try_%'`);
      return rowCount;
    });
    await client.end();
    expect((await applied).length).toBeGreaterThan(0);
  }, 60_000);

  it('make an index beside calls that take longer than a table is waited for', async () => {
    const url = await freshDatabase();
    const [user, looker] = [await open(url), await open(url)];
    await user.query(`DELETE FROM _prisma_migrations WHERE migration_name = '20261130110100_leg_unclear'; DROP INDEX leg_unclear`);
    await user.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM leg`);
    const applied = migrate(url);
    // Given up once, and left half made.
    await eventually(async () => (await looker.query(`SELECT 1 FROM pg_index WHERE NOT indisvalid`)).rowCount, { withinMs: 20_000 });
    await eventually(async () => (await looker.query(`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'drop index%'`)).rowCount, { withinMs: 20_000 });
    await user.query('COMMIT');
    expect(await applied).toEqual(['20261130110100_leg_unclear']);
    expect((await looker.query(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'leg_unclear'::regclass`)).rows).toEqual([{ indisvalid: true }]);
    await Promise.all([user.end(), looker.end()]);
  }, 60_000);

  it('do not make calls stand behind them while a table is in use, and come through when it is free', async () => {
    const url = await freshDatabase();
    const [user, caller] = [await open(url), await open(url)];
    // As if that one were still to be applied.
    await user.query(`DELETE FROM _prisma_migrations WHERE migration_name = '20261130040000_request_keys';
      ALTER TABLE campaign DROP COLUMN request_key; ALTER TABLE agent DROP COLUMN request_key;
      ALTER TABLE api_key DROP COLUMN request_key`);
    await user.query(`BEGIN; SELECT count(*) FROM campaign`);
    const applied = migrate(url);
    await eventually(async () => {
      const { rowCount } = await caller.query(`SELECT 1 FROM pg_locks WHERE relation = 'campaign'::regclass AND NOT granted`);
      return rowCount;
    });
    // It stands behind the migration now, which gives way after 5 s.
    await caller.query(`SET statement_timeout = '8s'`);
    await caller.query('SELECT count(*) FROM campaign');
    await user.query('COMMIT');
    expect(await applied).toContain('20261130040000_request_keys');
    expect((await caller.query('SELECT count(request_key)::int AS n FROM campaign')).rows).toEqual([{ n: 0 }]);
    await Promise.all([user.end(), caller.end()]);
  }, 60_000);
});
