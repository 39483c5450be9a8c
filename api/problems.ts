/** Errors as people read them: one table from error code to HTTP, bodies as RFC 9457 problem details. */
import type { Response } from 'express';
import { z } from 'zod';
import { AppError, type ErrorCode, type ErrorDetails } from '../domain/errors.ts';
import { TooLate } from '../prisma/deadline.ts';

/** The codes of the product, and those that only HTTP has. */
export type ProblemCode = ErrorCode | 'METHOD_NOT_ALLOWED' | 'INTERNAL';

interface Row {
  status: number;
  title: string;
  /** Seconds after which a repeat makes sense. */
  retryAfter?: number;
}

export const PROBLEMS: Readonly<Record<ProblemCode, Row>> = {
  INVALID: { status: 400, title: 'The request is not valid' },
  UNAUTHENTICATED: { status: 401, title: 'No valid API key' },
  FORBIDDEN: { status: 403, title: 'This API key may not do this' },
  NOT_FOUND: { status: 404, title: 'Not found' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'This path does not know this method' },
  CONFLICT: { status: 409, title: 'The present state does not allow this' },
  CANCEL_TOO_LATE: { status: 409, title: 'The contact has answered already' },
  OFFER_OVER: { status: 409, title: 'The offer is over' },
  CALL_OVER: { status: 409, title: 'The call is over' },
  CONTACT_CLOSED: { status: 409, title: 'Nothing is under way for this contact' },
  IMPORT_RUNNING: { status: 409, title: 'An import is running on this campaign', retryAfter: 5 },
  IDEMPOTENCY_CONFLICT: { status: 409, title: 'This Idempotency-Key is taken' },
  TOO_LARGE: { status: 413, title: 'The request is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'This type of content is not read' },
  TOPICS_MISMATCH: { status: 422, title: 'It does not fit the topics of the campaign' },
  TOO_MANY_REQUESTS: { status: 429, title: 'Too many requests' },
  INTERNAL: { status: 500, title: 'The server failed' },
  UNAVAILABLE: { status: 503, title: 'A service that is needed does not answer', retryAfter: 2 },
};

export const problemSchema = z
  .strictObject({
    type: z.string().describe('`about:blank`: the title says it all'),
    title: z.string(),
    status: z.int(),
    detail: z.string().describe('What is wrong with this request, and what to do'),
    instance: z.string().describe('Path of the request'),
    code: z.enum(Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]),
    state: z.string().optional().describe('Present state of the thing, for a conflict'),
    issues: z
      .array(z.strictObject({ field: z.string(), reason: z.string(), line: z.int().optional(), column: z.string().nullish() }))
      .optional()
      .describe('Which fields are wrong, and why'),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });

export function sendProblem(res: Response, code: ProblemCode, detail: string, details: ErrorDetails = {}): void {
  const { status, title, retryAfter } = PROBLEMS[code];
  if (retryAfter !== undefined) res.set('Retry-After', String(retryAfter));
  res
    .status(status)
    .type('application/problem+json')
    .send(JSON.stringify({ type: 'about:blank', title, status, detail, instance: res.req.path, code, ...details }));
}

export const notFound = (what: string) => new AppError('NOT_FOUND', `there is no such ${what}`);

export function invalid(field: string, reason: string): AppError {
  return new AppError('INVALID', `${field} ${reason}`, { issues: [{ field, reason }] });
}

/** So many are read by nobody, and a body of nonsense would be answered by one of several times its size. */
const MOST_ISSUES = 100;

/** A Zod failure as fields, each with the first thing that is wrong with it; `root` goes before each path. */
export function invalidInput(error: z.ZodError, where: 'body' | 'query', root: string[] = []): AppError {
  const reasons = new Map<string, string>();
  const add = (path: PropertyKey[], reason: string) => {
    const field = [...root, ...path.map(String)].join('.') || where;
    if (!reasons.has(field)) reasons.set(field, reason);
  };
  for (const issue of error.issues) {
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) add([...issue.path, key], `is not a known field of the ${where}`);
    } else add(issue.path, issue.message);
  }
  const issues = [...reasons].slice(0, MOST_ISSUES).map(([field, reason]) => ({ field, reason }));
  return new AppError('INVALID', `the ${where} is not valid: see issues`, { issues });
}

/** What any thrown thing is to the client; null for a defect of ours. */
export function asAppError(error: unknown): AppError | null {
  if (error instanceof AppError) return error;
  if (error instanceof TooLate) return new AppError('UNAVAILABLE', `${error.message}; repeat the request with the same Idempotency-Key`);
  if (isUnavailable(error)) {
    return new AppError('UNAVAILABLE', 'the database does not answer; repeat the request with the same Idempotency-Key');
  }
  return null;
}

/** Node's names for a connection that could not be made or broke. */
const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'EAI_AGAIN', 'ENOENT']);
/**
 * SQLSTATE: 08 connection · 57P01..57P05 shutting down or starting · 53 out of connections or memory · 40001, 40P01 still
 * in conflict after every repeat · 55P03 a lock was waited for in vain · 55000 the database takes no connections, by order ·
 * 25006 the server has become a standby · 25P03 we stood still in a transaction.
 */
const SQLSTATE = /^(08...|57P0\d|53...|40001|40P01|55P03|55000|25006|25P03)$/;
/** Prisma: can't reach, timed out, closed the connection, no connection free; P2034 write conflict. */
const PRISMA = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2034']);
/** What PostgreSQL itself has said stands deep inside, under a code that says no more than "database error". */
interface PrismaError {
  code?: string;
  meta?: { driverAdapterError?: { cause?: { originalCode?: string } } };
}
/** What pg says without a code. */
const PG_MESSAGE = /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/;

/** True if PostgreSQL could not be reached or could not carry the statement out just now. */
export function isUnavailable(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const { code = '', meta } = at as PrismaError;
    if (NETWORK.has(code) || PRISMA.has(code) || SQLSTATE.test(code) || PG_MESSAGE.test(at.message)) return true;
    if (SQLSTATE.test(meta?.driverAdapterError?.cause?.originalCode ?? '')) return true;
    if (at instanceof AggregateError && at.errors.some(isUnavailable)) return true;
  }
  return false;
}

/** True for a value that a unique index has already: `index` as PostgreSQL names it. */
export function isTaken(error: unknown, index: string): boolean {
  const { code, constraint } = error as { code?: string; constraint?: string };
  return code === '23505' && constraint === index;
}
