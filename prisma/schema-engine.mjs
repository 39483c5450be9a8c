#!/usr/bin/env node
// Stands in for Prisma's native `schema-engine`, which is a download that many networks do not allow.
//
// The same engine is published to npm as WebAssembly (`@prisma/schema-engine-wasm`, pinned to the version the
// CLI expects). This script speaks the CLI's protocol (one JSON-RPC message a line on stdin and stdout) and
// answers with the WASM engine over node-postgres. `prisma.config.ts` selects it only where the native engine
// is absent. PostgreSQL only.

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { parseArgs } from 'node:util';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';
import pg from 'pg';

const require = createRequire(import.meta.url);

const { values: args, positionals } = parseArgs({
  strict: false,
  allowPositionals: true,
  options: {
    version: { type: 'boolean', short: 'V' },
    datamodels: { type: 'string', short: 'd', multiple: true },
    datasource: { type: 'string' },
    'enabled-preview-features': { type: 'string' },
    'extension-types': { type: 'string' },
  },
});
const datasource = JSON.parse(args.datasource ?? '{}');

if (args.version) {
  process.stdout.write(`schema-engine-cli ${require('@prisma/engines-version').enginesVersion}\n`);
  process.exit(0);
}

// ---- the database, as the engine wants it --------------------------------------------------------------------
// PrismaPg is nearly it. Three things in 7.10 make it unfit for migrations, each put right below: it refuses the
// catalogue's "char" columns, it splits scripts at every `;` (which breaks functions and string literals), and
// its shadow database would be the main one when it is given a connection string.

const COLUMN_TYPES = {
  16: ColumnTypeEnum.Boolean,
  17: ColumnTypeEnum.Bytes,
  18: ColumnTypeEnum.Character,
  20: ColumnTypeEnum.Int64,
  21: ColumnTypeEnum.Int32,
  23: ColumnTypeEnum.Int32,
  26: ColumnTypeEnum.Int64,
  114: ColumnTypeEnum.Json,
  700: ColumnTypeEnum.Float,
  701: ColumnTypeEnum.Double,
  1000: ColumnTypeEnum.BooleanArray,
  1002: ColumnTypeEnum.CharacterArray,
  1003: ColumnTypeEnum.TextArray,
  1005: ColumnTypeEnum.Int32Array,
  1007: ColumnTypeEnum.Int32Array,
  1009: ColumnTypeEnum.TextArray,
  1015: ColumnTypeEnum.TextArray,
  1016: ColumnTypeEnum.Int64Array,
  1028: ColumnTypeEnum.Int64Array,
  1114: ColumnTypeEnum.DateTime,
  1184: ColumnTypeEnum.DateTime,
  1700: ColumnTypeEnum.Numeric,
  2950: ColumnTypeEnum.Uuid,
  3802: ColumnTypeEnum.Json,
};

// node-postgres has no parser for "char"[] and name[]; both read like text[].
for (const oid of [1002, 1003]) pg.types.setTypeParser(oid, pg.types.getTypeParser(1009));

/** Splits Prisma's own parameters off a connection URL, which PostgreSQL would refuse as unknown settings. */
function connection(url, database) {
  const parsed = new URL(url);
  const schema = parsed.searchParams.get('schema') ?? 'public';
  for (const name of ['schema', 'connection_limit', 'pool_timeout', 'pgbouncer', 'socket_timeout', 'connect_timeout']) {
    parsed.searchParams.delete(name);
  }
  if (database) parsed.pathname = `/${encodeURIComponent(database)}`;
  return { connectionString: parsed.href, database: decodeURIComponent(parsed.pathname.slice(1)), schema };
}

function readCatalogueTypes(queryable) {
  queryable.queryRaw = async (query) => {
    const { fields, rows } = await queryable.performIO(query);
    return {
      columnNames: fields.map((field) => field.name),
      columnTypes: fields.map((field) => COLUMN_TYPES[field.dataTypeID] ?? ColumnTypeEnum.Text),
      rows,
    };
  };
  return queryable;
}

/** Opens an adapter over ONE connection, because the engine's advisory lock and settings belong to a session. */
async function openAdapter({ connectionString, schema }, afterwards) {
  const pool = new pg.Pool({ connectionString, max: 1, idleTimeoutMillis: 0 });
  const adapter = await new PrismaPg(pool, { schema }).connect();
  const startTransaction = adapter.startTransaction.bind(adapter);
  return Object.assign(readCatalogueTypes(adapter), {
    startTransaction: async (isolation) => readCatalogueTypes(await startTransaction(isolation)),
    // The simple protocol takes a whole file and runs it as one implicit transaction.
    executeScript: async (script) => void (await pool.query(script).catch((error) => adapter.onError(error))),
    dispose: async () => {
      await pool.end();
      await afterwards?.();
    },
  });
}

async function withClient(connectionString, work) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const openShadows = new Map();

async function dropShadow(name) {
  const url = openShadows.get(name);
  openShadows.delete(name);
  if (!url) return;
  await withClient(connection(url).connectionString, (client) =>
    client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`),
  );
}

async function openShadow(url) {
  if (datasource.shadowDatabaseUrl) {
    const shadow = await openAdapter(connection(datasource.shadowDatabaseUrl));
    await shadow.executeScript('DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;');
    return shadow;
  }
  const name = `prisma_migrate_shadow_db_${randomUUID()}`;
  await withClient(connection(url).connectionString, (client) =>
    client.query(`CREATE DATABASE "${name}" TEMPLATE template0`),
  );
  openShadows.set(name, url);
  return openAdapter(connection(url, name), () => dropShadow(name));
}

// ---- errors, by the codes the CLI knows ----------------------------------------------------------------------

function knownError(error) {
  const at = datasource.url ? connection(datasource.url) : { database: '' };
  const cause = error?.cause ?? {};
  const code = error?.code ?? cause.originalCode ?? cause.kind;
  const message = cause.originalMessage ?? error?.message ?? String(error);
  switch (code) {
    case '3D000':
      return { error_code: 'P1003', message: `Database \`${at.database}\` does not exist` };
    case '28P01':
    case '28000':
      return { error_code: 'P1000', message: `Authentication failed against the database server: ${message}` };
    case 'ECONNREFUSED':
    case 'ENOTFOUND':
    case 'DatabaseNotReachable':
      return { error_code: 'P1001', message: `Can't reach database server at \`${new URL(datasource.url).host}\`` };
    case '42P04':
      return { error_code: 'P1009', message: `Database \`${at.database}\` already exists` };
    default:
      return { error_code: 'P1010', message };
  }
}

// ---- one-shot commands: `schema-engine cli can-connect-to-database` ------------------------------------------

function logLine(level, fields) {
  const line = { timestamp: new Date().toISOString(), level, fields, target: 'schema_engine::logger' };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}

async function createDatabase(url) {
  const { database } = connection(url);
  await withClient(connection(url, 'postgres').connectionString, (client) =>
    client.query(`CREATE DATABASE ${client.escapeIdentifier(database)}`),
  );
  return { databaseName: database };
}

async function runCommand(command) {
  logLine('INFO', { message: 'Starting schema engine CLI' }); // the CLI skips the first line
  try {
    if (command === 'can-connect-to-database') await withClient(connection(datasource.url).connectionString, () => {});
    else if (command === 'create-database') await createDatabase(datasource.url);
    else throw new Error(`schema-engine.mjs cannot do "cli ${command}"`);
  } catch (error) {
    logLine('ERROR', { ...knownError(error), is_panic: false });
    process.exit(1);
  }
  process.exit(0);
}

// ---- JSON-RPC ------------------------------------------------------------------------------------------------

// The engine's panic hook writes here before it traps.
globalThis.PRISMA_WASM_PANIC_REGISTRY = {
  message: '',
  set_message(message) {
    this.message = message;
  },
};

async function loadEngine() {
  const entry = require.resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const bytes = fs.readFileSync(path.join(path.dirname(entry), 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': bindings });
  bindings.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return bindings.SchemaEngine;
}

const SchemaEngine = positionals[0] === 'cli' ? await runCommand(positionals[1]) : await loadEngine();
const engines = new Map();
const errorRegistries = [];

async function engineFor(url) {
  const known = engines.get(url);
  if (known) return known;
  const noUrl = () => Promise.reject(new Error('No database URL is configured'));
  const factory = bindMigrationAwareSqlAdapterFactory({
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    connect: url ? () => openAdapter(connection(url)) : noUrl,
    connectToShadowDb: url ? () => openShadow(url) : noUrl,
  });
  errorRegistries.push(factory.errorRegistry);
  const datamodels = args.datamodels?.map((file) => [path.resolve(file), fs.readFileSync(file, 'utf8')]);
  const engine = await SchemaEngine.new({ datamodels }, () => {}, factory);
  engines.set(url, engine);
  return engine;
}

const send = (message) => {
  const plain = (_, value) =>
    value instanceof Map ? Object.fromEntries(value) : typeof value === 'bigint' ? Number(value) : value;
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message }, plain)}\n`);
};

async function call(method, params = {}) {
  const url = [params.datasource, params.datasourceType, params.from, params.to].find((at) => at?.url)?.url;
  if (method === 'createDatabase') return createDatabase(url ?? datasource.url);
  const engine = await engineFor(url ?? params.shadowDatabaseUrl ?? datasource.url);
  if (method === 'diff') {
    const { exitCode, stdout } = await engine.diff(params);
    // The native engine asks the CLI to print the difference; it does not return it.
    send({ id: 'print', method: 'print', params: { content: stdout ?? '' } });
    return { exitCode, stdout: null };
  }
  const name = method === 'getDatabaseVersion' ? 'version' : method;
  if (typeof engine[name] !== 'function') throw new Error(`schema-engine.mjs cannot do "${method}"`);
  return (await engine[name](params)) ?? {};
}

function rpcError(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    const { message } = globalThis.PRISMA_WASM_PANIC_REGISTRY;
    return { is_panic: true, message, error: { message: String(error) } };
  }
  // What the adapter threw comes back from the engine as a number only.
  const id = Number(/\bid: (\d+)\b/.exec(error?.message ?? '')?.[1] ?? NaN);
  const thrown = errorRegistries.map((registry) => registry.consumeError(id)).find(Boolean);
  if (thrown) return { is_panic: false, meta: {}, ...knownError(thrown.error) };
  const code = /^P\d{4}$/.test(error?.code ?? '') ? { error_code: error.code } : {};
  return { is_panic: false, meta: {}, message: error?.message ?? String(error), ...code };
}

let queue = Promise.resolve();
const requests = readline.createInterface({ input: process.stdin });
requests.on('line', (line) => {
  const request = line.trim() ? JSON.parse(line) : {};
  if (!request.method) return; // the CLI's answer to our `print`
  queue = queue
    .then(() => call(request.method, request.params))
    .then((result) => send({ id: request.id, result }))
    .catch((error) =>
      send({ id: request.id, error: { code: 4466, message: 'An error happened.', data: rpcError(error) } }),
    );
});
requests.on('close', async () => {
  await queue;
  await Promise.allSettled([...openShadows.keys()].map(dropShadow)); // left when the engine failed half way
  process.exit(0);
});
