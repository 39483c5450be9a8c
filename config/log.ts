import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import type { LogLevel } from './config.ts';

export type { Logger };

// Logs are read by more people, and kept in more places, than the database: nothing personal and no secret goes in,
// even if somebody logs a whole row or request by mistake. Three nets, as each has holes of its own:
// fields by their names,
const PRIVATE = [
  ...['phone', 'phone2', 'phoneNum', 'phone_num', 'phone_2', 'number', 'to', 'from', 'transferTo'],
  ...['variables', 'comment', 'firstName', 'lastName', 'body'],
  // Where PostgreSQL quotes the row that it has refused.
  ...['detail', 'where'],
  ...['password', 'key', 'adminKey', 'secret', 'token', 'authorization', 'cookie', 'databaseUrl'],
];
// of an error only what says which it is and where it happened: drivers hang the row, the request or its address onto it,
const TOLD = ['code', 'errno', 'syscall', 'address', 'port', 'severity', 'schema', 'table', 'column', 'constraint', 'routine'];
// and what can be told by its shape, wherever it stands: numbers of E.164, API keys, secrets of webhooks, passwords in URLs.
// The line is JSON by then: what stands before a key may be the `n` of a line break.
const SHAPES = /\+\d{7,15}|(?:\b|(?<=\\[nrt]))(?:dw|whsec)_[\w+/=-]{16,}|(?<=:\/\/)[^/\s"@]*:[^/\s"@]*(?=@)/g;

const CENSOR = '[private]';
const DEEPEST = 5;

/**
 * A logger that writes JSON lines to standard output, with the time as ISO 8601 in UTC and `name` as the part of the
 * program that speaks. Phone numbers, contact variables, comments and secrets are replaced by `[private]` in what is
 * logged and one level below (each level more costs 20 µs a line), and in the messages of errors.
 */
export function createLogger(name: string, level: LogLevel, stream: DestinationStream = pino.destination()): Logger {
  const paths = PRIVATE.flatMap((field) => [field, `*.${field}`]);
  const options = { name, level, timestamp: stdTimeFunctions.isoTime, redact: { paths, censor: CENSOR } };
  return pino({ ...options, serializers: { err: told, error: told }, hooks: { streamWrite: withoutShapes } }, stream);
}

/** For what is written without a logger, such as why a process could not start. */
export const withoutShapes = (text: string): string => text.replace(SHAPES, CENSOR);

/** An error as it is logged, with what has caused it. */
function told(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : { type: typeof error };
  const { cause } = error;
  const { errors } = error as AggregateError;
  return {
    type: error.constructor.name,
    message: unquoted(error, error.message),
    ...Object.fromEntries(Object.entries(error).filter(([name]) => TOLD.includes(name))),
    stack: unquoted(error, error.stack ?? ''),
    ...(cause !== undefined && depth < DEEPEST ? { cause: told(cause, depth + 1) } : {}),
    ...(Array.isArray(errors) && depth < DEEPEST ? { errors: errors.map((inner) => told(inner, depth + 1)) } : {}),
  };
}

/** PostgreSQL (class 22, data exceptions), JSON and URL parsers quote what they could not read. */
function unquoted(error: Error, text: string): string {
  const { code } = error as { code?: unknown };
  const quotes = error instanceof SyntaxError || code === 'ERR_INVALID_URL' || /^22/.test(String(code));
  return quotes ? text.replace(/"[^]*"|'[^']*'/g, CENSOR) : text;
}
