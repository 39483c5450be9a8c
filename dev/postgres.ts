// PostgreSQL out of npm, for a machine that has none: started, found again after a crash, and stopped.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { findPlace, isCluster, type Place } from './postgres-place.ts';
import {
  commandLine,
  freePort,
  lastLines,
  readOrWriteState,
  readState,
  type Say,
  since,
  sizeOf,
  writeState,
} from './process.ts';

export { migrate } from './migrate.ts';

const run = promisify(execFile);

const MAJOR = '18';
const USER = 'dialwright';
const DATABASE = 'dialwright';
const PREFERRED_PORT = 54329;
const LONGEST_LOG_BYTES = 20_000_000;
/** A server that is asked whether it is ours may be another program. */
const LOOKS_FOR_MS = 2_000;
/** One that has answered answers again, on a busy machine not at once. */
const CONNECTS_WITHIN_MS = 30_000;
const START_WITHIN_MS = 120_000; // recovery after a power cut reads the log of everything since the last checkpoint

export interface EmbeddedPostgres {
  /** `postgresql://…` of the application's database, its password included. */
  url: string;
  /** False when a server left by an earlier run was found and is used. */
  started: boolean;
  /** Process id of the postmaster. */
  pid: number;
  /** Shuts the server down, whoever started it; open transactions are rolled back. */
  stop: () => Promise<void>;
}

export interface PostgresOptions {
  /** DATA_DIR; the database lies in `postgres/` below it, its password and port in `postgres.json`. */
  dataDir: string;
  log: Say;
  /** For tests: any free port, and no fsync, so that a crash of the machine may lose or tear it. */
  ephemeral?: boolean;
}

interface State {
  password: string;
  port: number;
  /** PGDATA: below DATA_DIR, unless the server's user can't go there. */
  data: string;
}

interface Cluster extends Place, State {
  ephemeral: boolean;
}

/**
 * Starts the embedded PostgreSQL of a data directory, creating it on first use (about 1.5 s, later 0.2 s).
 * A server that an earlier, killed run left behind is used again.
 *
 * Loopback only, with a random password of its own. As root the server runs as the user `dialwright` (PostgreSQL
 * refuses root); where that user can't reach the data directory, data and binaries are kept under /var/lib.
 *
 * Throws an Error that ends in the server's own last log lines when it doesn't come up.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const startedAt = performance.now();
  const cluster = await openCluster(options);
  const found = await findRunning(cluster);
  const pid = found ?? (await start(cluster));
  rememberPort(cluster, options.dataDir);
  await ensureDatabase(cluster);
  const how = found ? 'was still running' : 'started';
  options.log(`PostgreSQL ${how} on 127.0.0.1:${cluster.port} (${since(startedAt)})`);
  return { url: urlOf(cluster, DATABASE), started: !found, pid, stop: () => stop(cluster) };
}

// ---- the cluster on disk ---------------------------------------------------------------------------------------

async function openCluster({ dataDir, log, ephemeral = false }: PostgresOptions): Promise<Cluster> {
  mkdirSync(dataDir, { recursive: true });
  const place = await findPlace(dataDir, log);
  const { data } = place;
  await checkNotOrphaned(place, dataDir, log);
  const fresh = { password: randomBytes(18).toString('base64url'), port: ephemeral ? 0 : PREFERRED_PORT, data };
  // Before the database is made: a crash between the two must not leave a database nobody can open.
  const state = readOrWriteState<State>(stateFile(dataDir), fresh);
  const cluster: Cluster = { ...state, ...place, ephemeral };
  if (!isCluster(data)) await initialise(cluster, log);
  const major = readFileSync(path.join(data, 'PG_VERSION'), 'utf8').trim();
  if (major !== MAJOR)
    throw new Error(`${data} was made by PostgreSQL ${major}; this is ${MAJOR}. Dump and restore it.`);
  return cluster;
}

/** A database whose password went with postgres.json can't be opened; what is done depends on how that came about. */
async function checkNotOrphaned(cluster: Place, dataDir: string, log: Say): Promise<void> {
  const { data } = cluster;
  if (!isCluster(data) || readState(stateFile(dataDir))) return;
  if (path.dirname(data) === realpathSync(dataDir)) {
    const file = stateFile(dataDir);
    throw new Error(`${file} is gone, and with it the password of ${data}. Put it back, or remove the database.`);
  }
  // The data directory was removed to begin anew, and the database, which had to lie elsewhere, is left over.
  await stop(cluster);
  const aside = `${data}.left-over-${Date.now()}`;
  renameSync(data, aside);
  log(`${dataDir} is new: the database it had before was set aside as ${aside}`);
}

function rememberPort({ password, port, data }: Cluster, dataDir: string): void {
  const known = readState<State>(stateFile(dataDir));
  if (known?.port !== port || known.data !== data) writeState(stateFile(dataDir), { password, port, data });
}

function stateFile(dataDir: string): string {
  return path.join(dataDir, 'postgres.json');
}

async function initialise(cluster: Cluster, log: Say): Promise<void> {
  const startedAt = performance.now();
  // Made beside its place and moved there, so that a killed initdb never looks like a database.
  const draft = `${cluster.data}.new-${process.pid}`;
  const passwordFile = `${draft}.password`;
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  writeFileSync(passwordFile, `${cluster.password}\n`, { mode: 0o600 });
  try {
    if (cluster.runAs) for (const file of [draft, passwordFile]) chownSync(file, cluster.runAs.uid, cluster.runAs.gid);
    const auth = ['--username', USER, '--pwfile', passwordFile, '--auth', 'scram-sha-256'];
    const sync = cluster.ephemeral ? ['--no-sync'] : [];
    // `C` sorts by byte: the same order on every machine, and indexes that no library upgrade can corrupt.
    await runTool(cluster, 'initdb', ['-D', draft, '--encoding=UTF8', '--locale=C', ...auth, ...sync]);
    if (!takePlace(draft, cluster.data)) return;
    log(`PostgreSQL ${MAJOR} database made in ${cluster.data} (${since(startedAt)})`);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(draft, { recursive: true, force: true });
  }
}

/** False when another process that started at the same time has made the database already. */
function takePlace(draft: string, data: string): boolean {
  try {
    renameSync(draft, data);
    return true;
  } catch (error) {
    if (isCluster(data)) return false;
    throw error;
  }
}

// ---- the server ------------------------------------------------------------------------------------------------

function serverOptions({ port, ephemeral }: Cluster): string {
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'max_connections=200',
    'shared_buffers=128MB',
    ...(ephemeral ? ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'] : []),
  ];
  return [`-p ${port}`, ...settings.map((setting) => `-c ${setting}`)].join(' ');
}

/** The pid of our server if an earlier run, or one at the same time, has started it and it answers. */
async function findRunning(cluster: Cluster): Promise<number | undefined> {
  const recorded = postmaster(cluster);
  if (!recorded?.ours) return undefined;
  cluster.port = recorded.port;
  return (await answers(cluster)) ? recorded.pid : undefined;
}

/** Starts the server, taking the remains of a killed one out of the way. Resolves to its pid once it answers. */
async function start(cluster: Cluster): Promise<number> {
  const logFile = openLog(cluster);
  const deadline = Date.now() + START_WITHIN_MS;
  for (;;) {
    const logged = sizeOf(logFile);
    const failure = await tryStart(cluster, logFile);
    const pid = await findRunning(cluster);
    if (pid) return pid;
    const said = lastLines(logFile, logged);
    if (Date.now() > deadline || (failure && !PASSING.test(said))) {
      throw new Error(`The embedded PostgreSQL did not start: ${failure?.message ?? 'it does not answer'}\n${said}`);
    }
    await sleep(200);
  }
}

// A killed server's children still hold its memory; another start is under way; somebody was quicker at the port.
const PASSING = /pre-existing shared memory block|lock file "postmaster.pid" already exists|Address already in use/;

/** One attempt; undefined when it went well, or when a server of ours is there already and needs time. */
async function tryStart(cluster: Cluster, logFile: string): Promise<Error | undefined> {
  const recorded = postmaster(cluster);
  if (recorded?.ours) return undefined;
  // PostgreSQL itself only asks whether the recorded pid lives; after a reboot it may be somebody else's.
  if (recorded) rmSync(path.join(cluster.data, 'postmaster.pid'), { force: true });
  cluster.port = await freePort(cluster.port);
  const args = ['start', '-w', '-t', String(START_WITHIN_MS / 1000), '-D', cluster.data, '-l', logFile];
  try {
    await runTool(cluster, 'pg_ctl', [...args, '-o', serverOptions(cluster)]);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** The server's log, begun anew when it has grown long; the former one is kept beside it. */
function openLog({ data }: Cluster): string {
  const file = path.join(data, 'server.log');
  if (sizeOf(file) > LONGEST_LOG_BYTES) renameSync(file, `${file}.old`);
  return file;
}

async function stop(cluster: Place): Promise<void> {
  const stopBy = (mode: string): Promise<void> =>
    runTool(cluster, 'pg_ctl', ['stop', '-w', '-t', '30', '-m', mode, '-D', cluster.data]);
  if (!postmaster(cluster)?.ours) return;
  await stopBy('fast').catch(async (error: Error) => {
    if (postmaster(cluster)?.ours) await stopBy('immediate');
    else if (!/no server running|PID file/.test(error.message)) throw error; // it has ended by itself meanwhile
  });
}

/** What postmaster.pid says, and whether that process is really the server of this cluster. */
function postmaster({ data }: Place): { pid: number; port: number; ours: boolean } | undefined {
  const file = path.join(data, 'postmaster.pid');
  if (!existsSync(file)) return undefined;
  const lines = readFileSync(file, 'utf8').split('\n');
  const pid = Number(lines[0]);
  return { pid, port: Number(lines[3]), ours: commandLine(pid).includes(` -D ${data} `) };
}

async function answers(cluster: Cluster): Promise<boolean> {
  const sql = `select current_setting('data_directory') as data`;
  try {
    const { rows } = await query<{ data: string }>(urlOf(cluster, 'postgres'), sql, [], LOOKS_FOR_MS);
    return rows[0]?.data === cluster.data;
  } catch {
    return false;
  }
}

async function ensureDatabase(cluster: Cluster): Promise<void> {
  const admin = urlOf(cluster, 'postgres');
  const { rowCount } = await query(admin, 'select from pg_database where datname = $1', [DATABASE]);
  if (rowCount !== 0) return;
  await query(admin, `create database "${DATABASE}"`).catch((error: pg.DatabaseError) => {
    // Another process that started at the same time has made it, or is about to.
    if (!['42P04', '23505'].includes(error.code ?? '')) throw error;
  });
}

async function query<T extends pg.QueryResultRow>(
  url: string,
  sql: string,
  values: unknown[] = [],
  connectWithinMs = CONNECTS_WITHIN_MS,
): Promise<pg.QueryResult<T>> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectWithinMs });
  client.on('error', () => undefined); // the awaited call reports it
  try {
    await client.connect();
    return await client.query<T>(sql, values);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function urlOf({ password, port }: Pick<State, 'password' | 'port'>, database: string): string {
  return `postgresql://${USER}:${password}@127.0.0.1:${port}/${database}`;
}

async function runTool(cluster: Place, tool: 'initdb' | 'pg_ctl', args: string[]): Promise<void> {
  // Nothing of the caller's environment: a PGDATA or PGPORT in it would win. The working directory is one that
  // the server's user can enter.
  const env = { PATH: process.env.PATH, LC_ALL: 'C' };
  try {
    await run(path.join(cluster.bin, tool), args, { env, cwd: path.dirname(cluster.data), ...cluster.runAs });
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${tool}: ${(stderr || stdout || message).trim()}`);
  }
}
