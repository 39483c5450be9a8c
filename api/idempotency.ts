/**
 * A POST with an Idempotency-Key is carried out once: its answer is kept a day for repeats. An answer of 5xx is not
 * kept, as the outcome is unknown then: a repeat carries on, and what it does again meets its own trace.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Request } from 'express';
import { AppError } from '../domain/errors.ts';
import { inAnyCase } from '../prisma/deadline.ts';
import type { Db } from '../prisma/tx.ts';
import type { Caller } from './auth.ts';
import type { Reply, Route } from './http.ts';
import { asAppError, invalid, PROBLEMS } from './problems.ts';
import * as sql from './sql.ts';

/** After this a request that has left no answer is believed dead with its process. */
const ABANDONED_MS = 60_000;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The header, checked; undefined if it is not there. */
export function idempotencyKey(req: Request): string | undefined {
  const key = req.get('Idempotency-Key');
  if (key !== undefined && !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw invalid('Idempotency-Key', 'must be 1 to 255 visible ASCII characters, such as a UUID');
  }
  return key;
}

/**
 * Of a request and its repeats with the same key and body; also the update id of what it asks of a workflow. A hash, since a client may write
 * anything into its key and nothing personal enters Temporal.
 */
export function requestKey(req: Request, caller: Caller | undefined, key: string | undefined): string {
  return key === undefined ? randomUUID() : sha256(`${caller?.keyId} ${req.method} ${req.path} ${key}\n${JSON.stringify(req.body)}`);
}

interface Stored {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
  /** Instead of the three, for an error. */
  problem?: Pick<AppError, 'code' | 'message' | 'details'>;
}

export async function once(
  db: Db,
  route: Route,
  req: Request,
  caller: Caller,
  key: string,
  work: () => Promise<Reply | 'sent'>,
): Promise<Reply | 'sent'> {
  const now = db.clock.now();
  const fingerprint = sha256(`${req.method} ${req.originalUrl}\n${JSON.stringify(req.body)}`);
  const abandonedBefore = new Date(now.getTime() - ABANDONED_MS);
  const taken = await db.pool.query(sql.takeRequest(caller.keyId, key, fingerprint, now, abandonedBefore));
  if (taken.rowCount === 0) return replay(db, caller, key, fingerprint);
  try {
    const reply = await work();
    if (reply !== 'sent') await keep(reply.status, storable(route, reply));
    return reply;
  } catch (error) {
    const known = asAppError(error);
    if (known && PROBLEMS[known.code].status < 500) {
      const { code, message, details } = known;
      const { status } = PROBLEMS[code];
      await keep(status, { status, problem: { code, message, details } });
    } else {
      // If this fails too, the row is taken over when it counts as abandoned.
      await inAnyCase(() => db.pool.query(sql.dropRequest(caller.keyId, key, now))).catch(() => undefined);
    }
    throw error;
  }

  async function keep(status: number, stored: Stored): Promise<void> {
    await inAnyCase(() => db.pool.query(sql.answerRequest(caller.keyId, key, now, status, stored)));
  }
}

const SHOWN_ONCE = new Set(['key', 'secret']);

/** What is shown once is not kept. */
function storable(route: Route, { status, body, headers }: Reply): Stored {
  if (route.repeats !== 'secretless') return { status, body, headers };
  const kept = Object.entries(body as object).map(([name, value]) => [name, SHOWN_ONCE.has(name) ? null : (value as unknown)]);
  return { status, body: Object.fromEntries(kept), headers };
}

async function replay(db: Db, caller: Caller, key: string, fingerprint: string): Promise<Reply> {
  const found = await db.pool.query<{ fingerprint: string; status: number | null; body: Stored }>(
    sql.findRequest(caller.keyId, key),
  );
  const row = found.rows[0];
  if (row && row.fingerprint !== fingerprint) {
    throw new AppError('IDEMPOTENCY_CONFLICT', 'this Idempotency-Key was used for another request; use a new one');
  }
  if (!row || row.status === null) {
    throw new AppError('IDEMPOTENCY_CONFLICT', 'the first request with this key is still being carried out; ask again', {
      state: 'running',
    });
  }
  const { problem, ...reply } = row.body;
  if (problem) throw Object.assign(new AppError(problem.code, problem.message, problem.details), { replayed: true });
  return { ...reply, headers: { ...reply.headers, 'Idempotent-Replay': 'true' } };
}
