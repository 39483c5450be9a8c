// The one reader of the environment: every setting, its default, and what is expected of it.

import { isIP } from 'node:net';
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
const ARI_URL = 'the URL of Asterisk\'s REST interface, such as http://127.0.0.1:8088/ari';
const APP = 'letters, digits, hyphens and underscores, 40 at most';
const ADMIN_KEY = 'at least 20 characters';
const SPEED = 'a number above 0, such as 10 for ten times as fast';
const TRUNK = 'an endpoint with {number} or {digits} in it, such as PJSIP/{number}@carrier';
const AGENTS = 'an endpoint with {extension} in it, such as PJSIP/{extension}';
const CALLER_ID = 'a telephone number, such as +4721000000';
const YES_OR_NO = 'true or false';
const CACHED = 'a whole number, 1 or more';
const COUNT = 'a whole number, 1 to 1000000';
const RATE = 'a number above 0, 1000 at most';
const NETWORKS = 'networks with commas between them, such as 10.20.0.0/16,fd00::/8';

const named = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, NAME);

/** `10.20.0.0/16`; a single address counts as a network. */
function isNetwork(value: string): boolean {
  const [, address = '', prefix = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  return isIP(address) !== 0 && Number(prefix) <= (isIP(address) === 6 ? 128 : 32);
}

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
  TELEPHONY: z.enum(['simulator', 'asterisk'], 'simulator or asterisk').default('simulator'),
  TELEPHONY_NODE: named.optional(),
  TELEPHONY_MAX_CALLS: z.coerce.number(COUNT).int(COUNT).min(1, COUNT).max(1_000_000, COUNT).optional(),
  TELEPHONY_CALLS_PER_SECOND: z.coerce.number(RATE).positive(RATE).max(1_000, RATE).optional(),
  SIMULATOR_URL: z.url({ protocol: /^https?$/, error: HTTP_URL }).optional(),
  SIMULATOR_SPEED: z.coerce.number(SPEED).positive(SPEED).default(1),

  // An Asterisk: its REST interface, the name this installation has there, and where calls are sent.
  ARI_URL: z.url({ protocol: /^https?$/, error: ARI_URL }).optional(),
  ARI_USER: z.string().default('dialwright'),
  ARI_PASSWORD: z.string().optional(),
  ARI_APP: z.string().regex(/^[A-Za-z0-9_-]{1,40}$/, APP).default('dialwright'),
  ASTERISK_TRUNK: z.string().regex(/^[^/\s]+\/\S*\{(number|digits)\}\S*$/, TRUNK).optional(),
  ASTERISK_AGENTS: z.string().regex(/^[^/\s]+\/\S*\{extension\}\S*$/, AGENTS).default('PJSIP/{extension}'),
  ASTERISK_CALLER_ID: z.string().regex(/^\+?\d{2,15}$/, CALLER_ID).optional(),
  ASTERISK_EARLY_MEDIA_ALERTS: z.stringbool({ error: YES_OR_NO }).default(true),

  // Where webhooks may lead besides public addresses.
  WEBHOOK_NETWORKS: z
    .string()
    .transform((list) => list.split(',').map((network) => network.trim()))
    .refine((networks) => networks.every(isNetwork), NETWORKS)
    .default([]),

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
  telephony: 'simulator' | 'asterisk';
  telephonyNode: string;
  /** Calls at once that the node may carry. */
  telephonyMaxCalls?: number;
  telephonyCallsPerSecond?: number;
  simulatorUrl?: string;
  /** How many times faster than life the simulated phones are. */
  simulatorSpeed: number;
  asterisk: {
    url?: string;
    user: string;
    password?: string;
    app: string;
    trunk?: string;
    agents: string;
    /** Shown where a campaign has no number of its own; null: what the trunk shows. */
    callerId: string | null;
    earlyMediaAlerts: boolean;
  };
  /** Networks that webhooks may reach although they are not public, such as `10.20.0.0/16`. */
  webhookNetworks: string[];
  logLevel: LogLevel;
}

/** What `api` can't run without. */
export type RuntimeConfig = Config & Required<Pick<Config, 'databaseUrl' | 'temporalAddress'>>;

/** What `worker` can't run without: the switch of its node besides. */
export type WorkerConfig = RuntimeConfig & { phones: Phones };
export type Phones =
  | { adapter: 'simulator'; url: string }
  | ({ adapter: 'asterisk' } & Required<Config['asterisk']>);

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
    telephonyNode: read.TELEPHONY_NODE ?? (read.TELEPHONY === 'simulator' ? 'sim-1' : 'asterisk-1'),
    telephonyMaxCalls: read.TELEPHONY_MAX_CALLS,
    telephonyCallsPerSecond: read.TELEPHONY_CALLS_PER_SECOND,
    simulatorUrl: read.SIMULATOR_URL,
    simulatorSpeed: read.SIMULATOR_SPEED,
    asterisk: {
      url: read.ARI_URL?.replace(/\/$/, ''),
      user: read.ARI_USER,
      password: read.ARI_PASSWORD,
      app: read.ARI_APP,
      trunk: read.ASTERISK_TRUNK,
      agents: read.ASTERISK_AGENTS,
      callerId: read.ASTERISK_CALLER_ID ?? null,
      earlyMediaAlerts: read.ASTERISK_EARLY_MEDIA_ALERTS,
    },
    webhookNetworks: read.WEBHOOK_NETWORKS,
    logLevel: read.LOG_LEVEL,
  };
}

/**
 * The same settings, for a process that talks to PostgreSQL and Temporal.
 * Throws {@link ConfigError} naming all that are missing (`npm start` fills them in with embedded parts).
 */
export function requireRuntime(config: Config): RuntimeConfig {
  insist([...servers(config), ...(config.telephony === 'simulator' ? phones(config) : [])]);
  return config as RuntimeConfig;
}

/** The servers alone, for tools that call nobody. Throws {@link ConfigError}. */
export function requireServers(config: Config): RuntimeConfig {
  insist(servers(config));
  return config as RuntimeConfig;
}

/** The same, with the switch that the worker is to hold. Throws {@link ConfigError}. */
export function requireWorker(config: Config): WorkerConfig {
  insist([...servers(config), ...phones(config)]);
  return { ...(config as RuntimeConfig), phones: phonesOf(config) };
}

/** The switch alone, for who brings the servers. Throws {@link ConfigError}. */
export function requirePhones(config: Config): Phones {
  insist(phones(config));
  return phonesOf(config);
}

/** A setting that is needed: its name, its value if it is set, and what is expected. */
type Need = [name: string, value: string | undefined, expected: string];

const servers = ({ databaseUrl, temporalAddress }: Config): Need[] => [
  ['DATABASE_URL', databaseUrl, POSTGRES_URL],
  ['TEMPORAL_ADDRESS', temporalAddress, HOST_AND_PORT],
];

const phones = ({ telephony, simulatorUrl, asterisk }: Config): Need[] =>
  telephony === 'simulator'
    ? [['SIMULATOR_URL', simulatorUrl, HTTP_URL]]
    : [
        ['ARI_URL', asterisk.url, ARI_URL],
        ['ARI_PASSWORD', asterisk.password, 'the password of ARI_USER in ari.conf'],
        ['ASTERISK_TRUNK', asterisk.trunk, TRUNK],
      ];

function insist(needs: Need[]): void {
  const missing = needs.filter(([, value]) => value === undefined);
  if (missing.length === 0) return;
  throw new ConfigError(missing.map(([name, , expected]) => `${name}: is not set; expected ${expected}`));
}

/** After `insist` has seen that they are there. */
function phonesOf({ telephony, simulatorUrl, asterisk }: Config): Phones {
  const { url, password, trunk } = asterisk;
  return telephony === 'simulator'
    ? { adapter: 'simulator', url: simulatorUrl! }
    : { adapter: 'asterisk', ...asterisk, url: url!, password: password!, trunk: trunk! };
}
