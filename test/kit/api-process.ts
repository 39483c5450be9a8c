/** The API alone, as a process of its own: on a fresh database, with the shared Temporal server and no worker. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { afterAll, inject } from 'vitest';
import { freshDatabase } from './database.ts';
import { eventually } from './eventually.ts';
import { freePort, type Process, startProcess, tail } from './system.ts';

const MAIN = path.resolve(import.meta.dirname, '../../api/main.ts');
const ADMIN_KEY = 'dw_admin_key_of_the_tests_only';

export interface ApiProcess {
  url: string;
  adminKey: string;
  /** On the database itself, whatever the process is told of it. */
  sql: pg.Pool;
  process: Process;
  /** Resident memory of the process, in MB. */
  memoryMb(): number;
  /** The last lines of its log. */
  log(): string;
}

export interface ApiProcessOptions {
  /** Settings of the process. */
  settings?: Record<string, string>;
  /** Where the process finds this database, in place of the database's own URL: a wire, for one. */
  via?: (databaseUrl: string) => Promise<string>;
}

/** Ends with the test file. */
export async function startApiProcess({ settings = {}, via = (url) => Promise.resolve(url) }: ApiProcessOptions = {}): Promise<ApiProcess> {
  const databaseUrl = await freshDatabase();
  const sql = new pg.Pool({ connectionString: databaseUrl, max: 4, options: '-c TimeZone=UTC' });
  // Workflow ids carry these ids, and all tests share one Temporal namespace.
  const offset = Math.floor(Math.random() * 1_000_000_000) + 1;
  await sql.query(`ALTER SEQUENCE contact_id_seq RESTART WITH ${offset}; ALTER SEQUENCE campaign_id_seq RESTART WITH ${offset}`);
  const dataDir = mkdtempSync(path.join(os.tmpdir(), 'dialwright-api-'));
  const logFile = path.join(dataDir, 'api.log');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = startProcess(logFile, [MAIN], {
    PATH: process.env.PATH!,
    DATABASE_URL: await via(databaseUrl),
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TASK_QUEUE: `dialwright-${offset}`,
    SIMULATOR_URL: 'http://127.0.0.1:9', // nobody asks it for anything
    DATA_DIR: dataDir,
    PORT: String(port),
    DIALWRIGHT_ADMIN_KEY: ADMIN_KEY,
    LOG_LEVEL: 'warn',
    ...settings,
  });
  afterAll(async () => {
    await child.kill();
    await sql.end();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const api: ApiProcess = {
    url,
    adminKey: ADMIN_KEY,
    sql,
    process: child,
    memoryMb: () => Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024),
    log: () => tail(logFile),
  };
  await eventually(async () => (await fetch(`${url}/readyz`)).ok, { withinMs: 30_000, everyMs: 100 }).catch((error: unknown) => {
    throw new Error(`the API did not start\n${api.log()}`, { cause: error });
  });
  return api;
}
