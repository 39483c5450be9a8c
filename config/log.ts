import { pino, stdTimeFunctions, type Logger } from 'pino';
import type { LogLevel } from './config.ts';

export type { Logger };

// Logs are read by more people, and kept in more places, than the database: nothing personal and no secret goes in,
// even if somebody logs a whole row or request by mistake.
const PRIVATE = [
  ...['phone', 'phone2', 'phoneNum', 'phone_num', 'phone_2', 'number', 'to', 'from', 'transferTo'],
  ...['variables', 'comment', 'firstName', 'lastName', 'body'],
  // Where PostgreSQL quotes the row that it has refused.
  ...['detail', 'where'],
  ...['password', 'key', 'adminKey', 'token', 'authorization', 'cookie', 'databaseUrl'],
];

/**
 * A logger that writes JSON lines to standard output, with the time as ISO 8601 in UTC and `name` as the part of the
 * program that speaks. Phone numbers, contact variables, comments and secrets are replaced by `[private]` in what is
 * logged and one level below (each level more costs 20 µs a line).
 */
export function createLogger(name: string, level: LogLevel): Logger {
  const paths = PRIVATE.flatMap((field) => [field, `*.${field}`]);
  return pino({ name, level, timestamp: stdTimeFunctions.isoTime, redact: { paths, censor: '[private]' } });
}
