// The one reader of the environment: every setting, its default, and what is expected of it.

import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

// What a bad value is answered with: what is expected, never the value itself, which may be a secret.
const PORT = 'a port number, 0 to 65535 (0 takes any free one)';
const NAME = 'letters, digits, dots, hyphens and underscores, 100 at most';
const POSTGRES_URL = 'a PostgreSQL URL, such as postgresql://user:password@host:5432/database';
const HOST_AND_PORT = 'host:port, such as 127.0.0.1:7233';
const HTTP_URL = 'an http or https URL, such as http://127.0.0.1:3060';
const ADMIN_KEY = 'at least 20 characters';
const SPEED = 'a number above 0, such as 10 for ten times as fast';
const CACHED = 'a whole number, 1 or more';
const COUNT = 'a whole number, 1 to 1000000';
const RATE = 'a number above 0, 1000 at most';

const named = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, NAME);

const settings = z.object({
  // The HTTP API: where it listens, and the key that may do everything. Without one, a start on embedded parts makes
  // its own.
  PORT: z.coerce.number(PORT).int(PORT).min(0, PORT).max(65_535, PORT).default(3000),
  HOST: z.string().default('127.0.0.1'),
  DIALWRIGHT_ADMIN_KEY: z.string().min(20, ADMIN_KEY).optional(),

  // Where the embedded parts keep what they must not forget: database, workflow histories, ports, keys.
  DATA_DIR: z
    .string()
    .default('.data')
    .transform((dir) => path.resolve(dir)),

  // PostgreSQL; unset, `npm start` brings its own.
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: POSTGRES_URL }).optional(),

  // Temporal; without an address `npm start` brings its own. A contact that waits costs no cache: more than 300 cached
  // workflows were no faster, and took twice the memory.
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s/:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, HOST_AND_PORT)
    .optional(),
  TEMPORAL_NAMESPACE: named.default('default'),
  TASK_QUEUE: named.default('dialwright'),
  WORKER_ID: z.string().default(() => os.hostname()),
  CONTACTS_CACHED: z.coerce.number(CACHED).int(CACHED).min(1, CACHED).default(300),

  // The phones. A node is one switch; its commands go to the task queue `telephony/<node>`.
  TELEPHONY: z.enum(['simulator'], 'simulator (the only adapter so far)').default('simulator'),
  TELEPHONY_NODE: named.default('sim-1'),
  TELEPHONY_MAX_CALLS: z.coerce.number(COUNT).int(COUNT).min(1, COUNT).max(1_000_000, COUNT).optional(),
  TELEPHONY_CALLS_PER_SECOND: z.coerce.number(RATE).positive(RATE).max(1_000, RATE).optional(),
  SIMULATOR_URL: z.url({ protocol: /^https?$/, error: HTTP_URL }).optional(),
  SIMULATOR_SPEED: z.coerce.number(SPEED).positive(SPEED).default(1),

  // What is written to standard output.
  LOG_LEVEL: z.enum(LOG_LEVELS, `one of ${LOG_LEVELS.join(', ')}`).default('info'),
});

/** The settings, checked; absent is what was neither set nor has a default. */
export interface Config {
  port: number;
  host: string;
  adminKey?: string;
  /** Absolute path. */
  dataDir: string;
  databaseUrl?: string;
  /** host:port */
  temporalAddress?: string;
  temporalNamespace: string;
  taskQueue: string;
  workerId: string;
  /** Most workflows a worker keeps in memory. */
  contactsCached: number;
  telephony: 'simulator';
  telephonyNode: string;
  /** Calls at once that the node may carry. */
  telephonyMaxCalls?: number;
  telephonyCallsPerSecond?: number;
  simulatorUrl?: string;
  /** How many times faster than life the simulated phones are. */
  simulatorSpeed: number;
  logLevel: LogLevel;
}

/** What `api` and `worker` can't run without. */
export type RuntimeConfig = Config & Required<Pick<Config, 'databaseUrl' | 'temporalAddress' | 'simulatorUrl'>>;

/** Settings are missing or wrong; the message names all of them, one a line, and what is expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: string[];

  constructor(problems: string[]) {
    super(['The settings are not right:', ...problems.map((problem) => `  ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

/**
 * Reads the settings from environment variables. One that is set to nothing counts as not set, since container tools
 * pass on what they haven't got as ''.
 *
 * Throws {@link ConfigError} with every problem there is.
 */
export function loadConfig(env: Record<string, string | undefined> = process.env): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value.trim() !== ''),
  );
  const result = settings.safeParse(given);
  if (!result.success) {
    throw new ConfigError(result.error.issues.map(({ path: [name], message }) => `${String(name)}: ${message}`));
  }
  const read = result.data;
  return {
    port: read.PORT,
    host: read.HOST,
    adminKey: read.DIALWRIGHT_ADMIN_KEY,
    dataDir: read.DATA_DIR,
    databaseUrl: read.DATABASE_URL,
    temporalAddress: read.TEMPORAL_ADDRESS,
    temporalNamespace: read.TEMPORAL_NAMESPACE,
    taskQueue: read.TASK_QUEUE,
    workerId: read.WORKER_ID,
    contactsCached: read.CONTACTS_CACHED,
    telephony: read.TELEPHONY,
    telephonyNode: read.TELEPHONY_NODE,
    telephonyMaxCalls: read.TELEPHONY_MAX_CALLS,
    telephonyCallsPerSecond: read.TELEPHONY_CALLS_PER_SECOND,
    simulatorUrl: read.SIMULATOR_URL,
    simulatorSpeed: read.SIMULATOR_SPEED,
    logLevel: read.LOG_LEVEL,
  };
}

/**
 * The same settings, for a process that talks to PostgreSQL, Temporal and the simulator.
 * Throws {@link ConfigError} naming all that are missing (`npm start` fills them in with embedded parts).
 */
export function requireRuntime(config: Config): RuntimeConfig {
  const { databaseUrl, temporalAddress, simulatorUrl } = config;
  if (databaseUrl && temporalAddress && simulatorUrl) return { ...config, databaseUrl, temporalAddress, simulatorUrl };
  const needed = [
    { name: 'DATABASE_URL', value: databaseUrl, expected: POSTGRES_URL },
    { name: 'TEMPORAL_ADDRESS', value: temporalAddress, expected: HOST_AND_PORT },
    { name: 'SIMULATOR_URL', value: simulatorUrl, expected: HTTP_URL },
  ];
  const missing = needed.filter(({ value }) => !value);
  throw new ConfigError(missing.map(({ name, expected }) => `${name}: is not set; expected ${expected}`));
}
