/**
 * A PostgreSQL and a Temporal of a test's own, on disk, that can be stopped, saved and put back to an earlier time: their files
 * are copied while they are down.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { migrate, startPostgres } from '../../dev/postgres.ts';
import { startTemporal } from '../../dev/temporal.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import { widenHours } from '../../matching/legal-hours.ts';

export interface Restorable {
  /** Down, a copy of its files is made, and up again. */
  save(): Promise<void>;
  /** Down, its files are those that were saved, and up again. */
  restore(): Promise<void>;
  /** Down, it has nothing any more, and up again. */
  lose(): Promise<void>;
}

export interface OwnServers {
  databaseUrl: string;
  temporalAddress: string;
  postgres: Restorable;
  temporal: Restorable;
  release(): Promise<void>;
}

const silent = (): void => undefined;

export async function startOwnServers(): Promise<OwnServers> {
  const { dataDir, release } = throwAwayDataDir('own-servers');
  const startDatabase = () => startPostgres({ dataDir, log: silent, ephemeral: true });
  const startWorkflows = () => startTemporal({ dataDir, log: silent });
  try {
    const [database, workflows] = await Promise.all([startDatabase(), startWorkflows()]);
    await migrate(database.url);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(widenHours(new Date(), 'test'));
    await client.end();
    const { data } = JSON.parse(readFileSync(path.join(dataDir, 'postgres.json'), 'utf8')) as { data: string };
    const files = ['temporal.db', 'temporal.db-wal', 'temporal.db-shm'].map((file) => path.join(dataDir, file));
    return {
      databaseUrl: database.url,
      temporalAddress: workflows.address,
      postgres: restorable([data], database, startDatabase),
      temporal: restorable(files, workflows, startWorkflows),
      release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

function restorable(files: string[], first: { stop(): Promise<void> }, start: () => Promise<{ stop(): Promise<void> }>): Restorable {
  let server = first;
  const whileDown = async (work: () => void): Promise<void> => {
    await server.stop();
    work();
    server = await start();
  };
  const copyOf = (file: string): string => `${file}.saved`;
  const lose = () => files.forEach((file) => rmSync(file, { recursive: true, force: true }));
  const copy = (from: string, to: string) => {
    // With its owner, as PostgreSQL may have a user of its own.
    if (existsSync(from)) execFileSync('cp', ['-a', from, to]);
  };
  return {
    save: () => whileDown(() => files.forEach((file) => copy(file, copyOf(file)))),
    restore: () =>
      whileDown(() => {
        lose();
        files.forEach((file) => copy(copyOf(file), file));
      }),
    lose: () => whileDown(lose),
  };
}
