/** What containers and real servers are prepared by: the process `dev/prepare.ts`, on servers that have nothing yet. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { Connection } from '@temporalio/client';
import { msToNumber, optionalTsToMs } from '@temporalio/common/lib/time.js';
import pg from 'pg';
import { describe, expect, inject, it } from 'vitest';
import { SEARCH_ATTRIBUTES } from '../../dev/temporal.ts';
import { emptyDatabase } from '../kit/database.ts';

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, '../..');

const prepare = (args: string[], env: Record<string, string>) =>
  run(process.execPath, ['dev/prepare.ts', ...args], { cwd: ROOT, env: { PATH: process.env.PATH!, ...env } });

describe('dev/prepare.ts', () => {
  it('makes the tables, and nothing the second time', async () => {
    const databaseUrl = await emptyDatabase();
    expect((await prepare(['database'], { DATABASE_URL: databaseUrl })).stdout).toMatch(/^database: [1-9]\d* migration/);
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    const { rows } = await client.query('SELECT count(*)::int AS campaigns FROM campaign');
    await client.end();
    expect(rows).toEqual([{ campaigns: 0 }]);
    expect((await prepare(['database'], { DATABASE_URL: databaseUrl })).stdout).toMatch(/^database: 0 migration/);
  });

  it('leaves a database of a newer version alone', async () => {
    const databaseUrl = await emptyDatabase();
    await prepare(['database'], { DATABASE_URL: databaseUrl });
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('x', 'x', '2999_later', now())`,
    );
    await client.end();
    await expect(prepare(['database'], { DATABASE_URL: databaseUrl })).rejects.toMatchObject({
      stderr: expect.stringContaining('newer version: this one does not know its migration 2999_later'),
    });
  });

  it('makes the namespace with its search attributes, and leaves them as they are the second time', async () => {
    const namespace = `prepared-${randomUUID()}`;
    const env = { TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: namespace };
    const connection = await Connection.connect({ address: env.TEMPORAL_ADDRESS });
    for (const time of ['first', 'second']) {
      await prepare(['temporal'], env);
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      expect(Object.keys(customAttributes), time).toEqual(expect.arrayContaining(Object.keys(SEARCH_ATTRIBUTES)));
      const { config } = await connection.workflowService.describeNamespace({ namespace });
      expect(optionalTsToMs(config?.workflowExecutionRetentionTtl)).toBe(msToNumber('30 days'));
    }
    await connection.close();
  });

  it('says what is missing', async () => {
    await expect(prepare([], {})).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('DATABASE_URL: ') });
    await expect(prepare(['temporal'], {})).rejects.toMatchObject({ stderr: expect.stringContaining('TEMPORAL_ADDRESS: ') });
    await expect(prepare(['everything'], {})).rejects.toMatchObject({ code: 1, stdout: expect.stringMatching(/^Usage: /) });
  });
});
