import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { type EmbeddedPostgres, startPostgres } from '../../dev/postgres.ts';
import { hasEnded } from '../../dev/process.ts';
import { type EmbeddedTemporal, startTemporal } from '../../dev/temporal.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';

const { dataDir, release } = throwAwayDataDir('restart');
afterAll(release);

const log = (): void => undefined;

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function killed(server: { pid: number }): Promise<void> {
  process.kill(server.pid, 'SIGKILL');
  expect(await hasEnded(server.pid, 5_000)).toBe(true);
}

describe('the embedded PostgreSQL', () => {
  const start = (): Promise<EmbeddedPostgres> => startPostgres({ dataDir, log });

  it('is found again, and not started twice', async () => {
    const first = await start();
    await ask(first.url, 'create table kept (id int); insert into kept values (7)');
    const again = await start();
    expect(first.started).toBe(true);
    expect(again).toMatchObject({ started: false, pid: first.pid, url: first.url });
  });

  it('keeps what it had when it is killed', async () => {
    await killed(await start());
    const again = await start();
    expect(again.started).toBe(true);
    expect(await ask(again.url, 'select id from kept')).toEqual([{ id: 7 }]);
  });

  it('starts where a power cut left the pid of what is now another process', async () => {
    const pidFile = path.join(dataDir, 'postgres/postmaster.pid');
    const server = await start();
    const [, ...rest] = readFileSync(pidFile, 'utf8').split('\n');
    await server.stop();
    writeFileSync(pidFile, [process.pid, ...rest].join('\n'));
    const again = await start();
    expect(again.started).toBe(true);
    expect(await ask(again.url, 'select id from kept')).toEqual([{ id: 7 }]);
  });

  it('can be stopped by who found it', async () => {
    await start();
    const { pid, stop } = await start();
    await stop();
    expect(await hasEnded(pid, 2_000)).toBe(true);
    await stop(); // nothing more to do
  });
});

describe('the embedded Temporal', () => {
  const start = (): Promise<EmbeddedTemporal> => startTemporal({ dataDir, log });

  it('is found again, keeps its workflows when it is killed, and can be stopped by who found it', async () => {
    const first = await start();
    await startWorkflow(first.address);
    const again = await start();
    expect(again).toMatchObject({ started: false, pid: first.pid, address: first.address });

    await killed(again);
    const restarted = await start();
    expect(restarted.started).toBe(true);
    expect(await retentionDays(restarted.address)).toBe(30);
    await expect(startWorkflow(restarted.address)).rejects.toThrow('Workflow execution already started');

    const found = await start();
    await found.stop();
    expect(await hasEnded(found.pid, 2_000)).toBe(true);
  });

  async function startWorkflow(address: string): Promise<void> {
    const connection = await Connection.connect({ address });
    try {
      await new Client({ connection }).workflow.start('any', { taskQueue: 'none', workflowId: 'kept' });
    } finally {
      await connection.close();
    }
  }

  async function retentionDays(address: string): Promise<number> {
    const connection = await Connection.connect({ address });
    try {
      const { config } = await connection.workflowService.describeNamespace({ namespace: 'default' });
      return Number(config?.workflowExecutionRetentionTtl?.seconds) / 86_400;
    } finally {
      await connection.close();
    }
  }
});
