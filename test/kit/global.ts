// What a whole test run shares: one PostgreSQL, one Temporal dev server, one bundle of the workflows. Each is started
// by the first tier that needs it, and all are gone when the run is over, whatever way it ended.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { migrate, startPostgres } from '../../dev/postgres.ts';
import { startTemporal } from '../../dev/temporal.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import { widenHours } from '../../matching/legal-hours.ts';
import { workflowBundle } from '../../worker/bundle.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the migrated template database. It takes no connections: ask `freshDatabase()` for a copy. */
    templateUrl: string;
    /** host:port of the Temporal dev server, namespace `default`. */
    temporalAddress: string;
    /** File for `workflowBundle: { codePath }`. */
    workflowBundlePath: string;
  }
}

class SharedServers {
  readonly #place = throwAwayDataDir('test');
  #users = 0;

  readonly templateUrl = once(() => startTemplate(this.#place.dataDir));
  readonly temporalAddress = once(() => startTestTemporal(this.#place.dataDir));
  readonly workflowBundlePath = once(() => bundle(this.#place.dataDir));

  enter(): void {
    this.#users += 1;
  }

  async leave(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    shared.dialwrightTestServers = undefined;
    await this.#place.release();
  }
}

// Vitest loads this file once for each tier, all in one process.
const shared = globalThis as { dialwrightTestServers?: SharedServers | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = (shared.dialwrightTestServers ??= new SharedServers());
  servers.enter();
  await provide(project, servers).catch(async (error: unknown) => {
    await servers.leave();
    throw error;
  });
  return () => servers.leave();
}

async function provide(project: TestProject, servers: SharedServers): Promise<void> {
  const [template, temporal, code] = await Promise.all([
    ['e2e', 'asterisk', 'reliability', 'storm'].includes(project.name) ? servers.templateUrl() : '',
    project.name === 'replay' ? '' : servers.temporalAddress(),
    servers.workflowBundlePath(),
  ]);
  project.provide('templateUrl', template);
  project.provide('temporalAddress', temporal);
  project.provide('workflowBundlePath', code);
}

async function startTemplate(dataDir: string): Promise<string> {
  const { url } = await startPostgres({ dataDir, log: silent, ephemeral: true });
  await migrate(url);
  await withoutLegalHours(url);
  const admin = new URL(url);
  const template = admin.pathname.slice(1);
  admin.pathname = '/postgres';
  const client = new pg.Client({ connectionString: admin.href });
  await client.connect();
  // One forgotten connection to a template makes every copy of it fail.
  await client.query(`alter database "${template}" with allow_connections false`);
  await client.end();
  return url;
}

/** Tests run at any time of day; those of calling hours set their own. */
async function withoutLegalHours(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(widenHours(new Date(), 'test'));
  await client.end();
}

async function startTestTemporal(dataDir: string): Promise<string> {
  const { address } = await startTemporal({ dataDir, log: console.log, ephemeral: true });
  return address;
}

async function bundle(dir: string): Promise<string> {
  const { code } = await workflowBundle();
  const file = path.join(dir, 'workflows.js');
  writeFileSync(file, code);
  return file;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

function silent(): void {
  // a test run says nothing about what worked
}
