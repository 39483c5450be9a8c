/**
 * The product's worker, in a process that stops dead where it is told to.
 *
 * Nothing of the product knows of it: the libraries that it uses announce what passes through them. A point is the moment
 * before or after an activity, a COMMIT, a writing statement outside of a transaction, a command to the switch, or a message
 * to a workflow. Each is told on descriptor 3, a line of JSON each; which one is to be the last comes over IPC.
 */
import { writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import pg from 'pg';
import { loadConfig, requireWorker } from '../../../config/config.ts';
import { createLogger } from '../../../config/log.ts';
import { SwitchConnection } from '../../../telephony/simulator/connection.ts';
import { startWorker } from '../../../worker/worker.ts';

/** What the test sends: points are counted anew; at `stopAt`, if there is one, the process stops. */
export interface Begin {
  stopAt: { point: string; signal: 'SIGKILL' | 'SIGSTOP' } | null;
}

/** What the process tells. */
export type Told = { type: 'started' | 'begun' } | { type: 'point' | 'stopped'; point: string };

const REPORTS = 3;
const ROOT = path.resolve(import.meta.dirname, '../../..');
Error.stackTraceLimit = 30;

let stopAt: Begin['stopAt'] = null;
const times = new Map<string, number>();
const tell = (told: Told): void => void writeSync(REPORTS, `${JSON.stringify(told)}\n`);

process.on('message', (begin: Begin) => {
  stopAt = begin.stopAt;
  times.clear();
  tell({ type: 'begun' });
});
process.on('disconnect', () => process.exit());

/** The process may end with this line. */
function announce(what: string): void {
  const nth = (times.get(what) ?? 0) + 1;
  times.set(what, nth);
  const point = `${what} #${nth}`;
  if (stopAt?.point !== point) return tell({ type: 'point', point });
  const { signal } = stopAt;
  stopAt = null;
  tell({ type: 'stopped', point });
  process.kill(process.pid, signal);
}

async function passing<T>(what: string, goOn: () => T): Promise<Awaited<T>> {
  announce(`before ${what}`);
  try {
    return await goOn();
  } finally {
    announce(`after ${what}`);
  }
}

type Wrap = (self: object, argument: unknown, goOn: (...instead: unknown[]) => unknown) => unknown;

/** Puts `wrap` around a method, of one object or of all of a class. `goOn` takes other arguments, if it is given any. */
function around(target: object, name: string, wrap: Wrap): void {
  const own = (target as Record<string, (...args: unknown[]) => unknown>)[name]!;
  Object.defineProperty(target, name, {
    configurable: true,
    value(this: object, ...args: unknown[]) {
      return wrap(this, args[0], (...instead) => own.apply(this, instead.length > 0 ? instead : args));
    },
  });
}

/** Where in the product this was asked for: `matching/caps.ts:15`. Only good before the first `await` of who asks. */
function place(): string {
  const files = new Error().stack!.matchAll(/(file:\/\/\S+?):(\d+):\d+/g);
  for (const [, url, line] of files) {
    const file = path.relative(ROOT, fileURLToPath(url!));
    if (!/^(node_modules|test|prisma)\//.test(file)) return `${file}:${line}`;
  }
  return 'elsewhere';
}

// ---- PostgreSQL -----------------------------------------------------------------------------------------------------

/** By connection: where its transaction was begun. */
const begunAt = new WeakMap<object, string>();
const WRITES = /\bINSERT INTO\b|\bDELETE FROM\b|(?<!\bFOR |\bKEY |\bDO )\bUPDATE (?!OF\b)\w/;
const textOf = (statement: unknown): string =>
  typeof statement === 'string' ? statement : ((statement as { text?: string }).text ?? '');

type Connected = (error: Error | undefined, client: object | undefined, release: unknown) => void;

// The product's pool (prisma/client.ts) always waits by a callback.
around(pg.Pool.prototype, 'connect', (_pool, connected, goOn) => {
  const from = place();
  return goOn(((error, client, release) => {
    if (client) begunAt.set(client, from);
    (connected as Connected)(error, client, release);
  }) satisfies Connected);
});
around(pg.Client.prototype, 'query', (client, statement, goOn) =>
  statement === 'COMMIT' ? passing(`COMMIT of ${begunAt.get(client)}`, goOn) : goOn(),
);
around(pg.Pool.prototype, 'query', (_pool, statement, goOn) =>
  WRITES.test(textOf(statement)) ? passing(`statement of ${place()}`, goOn) : goOn(),
);

// ---- the switch -----------------------------------------------------------------------------------------------------

const QUESTIONS = ['status', 'list', 'subscribe'];

around(SwitchConnection.prototype, 'ask', (_connection, argument, goOn) => {
  const command = argument as { type: string; leg?: { party: string } };
  if (QUESTIONS.includes(command.type)) return goOn();
  return passing(['switch', command.type, command.leg?.party].filter(Boolean).join(' '), goOn);
});
around(SwitchConnection.prototype, 'acknowledge', (_connection, _seq, goOn) => {
  announce('before switch acknowledge');
  goOn();
});

// ---- Temporal -------------------------------------------------------------------------------------------------------

const MESSAGES = ['startWorkflowExecution', 'signalWorkflowExecution', 'signalWithStartWorkflowExecution'];

around(Connection, 'connect', async (_class, _options, goOn) => {
  const connection = (await goOn()) as Connection;
  for (const name of MESSAGES) {
    around(connection.workflowService, name, (_service, _request, send) => passing(`temporal ${name}`, send));
  }
  return connection;
});

const create = Worker.create.bind(Worker);
Worker.create = (options) => {
  const { activity = [], ...interceptors } = options.interceptors ?? {};
  const announcing: NonNullable<typeof activity>[number] = ({ info }) => ({
    inbound: { execute: (input, next) => passing(`activity ${info.activityType}`, () => next(input)) },
  });
  return create({ ...options, interceptors: { ...interceptors, activity: [announcing, ...activity] } });
};

// ---------------------------------------------------------------------------------------------------------------------

const config = requireWorker(loadConfig());
const log = createLogger('worker', config.logLevel);
Runtime.install({
  logger: new DefaultLogger('WARN', ({ level, message, meta }) =>
    log[level === 'ERROR' ? 'error' : 'warn']({ source: 'temporal', ...meta }, message),
  ),
  shutdownSignals: [],
});
await startWorker(config, log);
// Whoever is killed writes none when it ends.
flushCompileCache();
tell({ type: 'started' });
