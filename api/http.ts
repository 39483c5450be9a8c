/**
 * A route is written once, as data: the same object is registered with Express and described in the OpenAPI document,
 * so that neither can say what the other does not.
 */
import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';
import type { Matching } from '../matching/matching.ts';
import type { Db } from '../prisma/tx.ts';
import type { Addresses } from '../webhooks/addresses.ts';
import type { Workflows } from '../workflows/client.ts';
import type { Subject } from './audit.ts';
import type { Caller, Role } from './auth.ts';
import type { Listener } from './listener.ts';
import { invalid } from './problems.ts';

export interface Deps {
  db: Db;
  workflows: Workflows;
  matching: Matching;
  /** Resolves when Temporal answers, else rejects. */
  checkTemporal: () => Promise<void>;
  /** `simulatorUrl` is null with a real switch: there is nothing under /v1/simulator then. */
  telephony: { simulatorUrl: string | null };
  /** What webhooks may lead to. */
  addresses: Addresses;
  listen: Listener;
  log: Logger;
}

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** What a handler is given: everything validated. */
export interface Input<P, Q, B> {
  params: P;
  query: Q;
  body: B;
  caller: Caller;
  /** One for each request and its repeats with the same Idempotency-Key; says nothing about either. */
  requestKey: string;
  req: Request;
  res: Response;
}

export interface Reply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Route {
  method: Method;
  /** As in OpenAPI: `/v1/campaigns/{id}`. */
  path: string;
  tag: string;
  summary: string;
  description?: string;
  /** Who may; `anyone` needs no key. */
  roles: readonly Role[] | 'anyone';
  /** The stream of an agent may be opened with a ticket in place of a key. */
  ticket?: boolean;
  /** A path that does not fit is no path: 404. */
  params?: z.ZodObject;
  query?: z.ZodObject;
  body?: z.ZodType;
  /** In place of `body`: types of a body that the handler reads itself, in pieces. */
  consumes?: string[];
  /** Body of the answer; none: 204. */
  response?: z.ZodType;
  /** Statuses of success, the usual one first. */
  statuses?: number[];
  /** Content other than JSON that it answers with. */
  produces?: string[];
  /** Errors beyond those that every route of its kind has. */
  fails?: ErrorCode[];
  /**
   * What a POST with an Idempotency-Key leaves for its repeats: `stored`, its answer (default) · `natural`, nothing, as a
   * repeat does no harm · `secretless`, its answer without the fields `key` and `secret`, which are shown once.
   */
  repeats?: 'stored' | 'natural' | 'secretless';
  /** False for what leaves nothing that lasts: of a POST that only asks, or keeps somebody logged on, there is no audit. */
  lasting?: boolean;
  /** Of which kind the thing is that it changes, where the path begins with another; its id is the answer's. */
  subject?: Subject;
  /**
   * What becomes of a request that was not carried out in time, and so is answered 503: it is given up (default) · it is
   * carried out all the same, as it keeps somebody from being called · no time is set, as it may read a whole list.
   */
  whenLate?: 'given_up' | 'carried_out' | 'waited_for';
  /** `sent`: the handler has written to `res` itself. */
  handle(input: Input<never, never, never>): Promise<Reply | 'sent'>;
}

type Of<S, Else> = S extends z.ZodType ? z.output<S> : Else;

/** Types the handler by the schemas beside it. */
export function route<
  P extends z.ZodObject | undefined = undefined,
  Q extends z.ZodObject | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
>(
  spec: Omit<Route, 'params' | 'query' | 'body' | 'handle'> & {
    params?: P;
    query?: Q;
    body?: B;
    handle(input: Input<Of<P, object>, Of<Q, object>, Of<B, undefined>>): Promise<Reply | 'sent'>;
  },
): Route {
  return spec;
}

export const ok = (body: unknown): Reply => ({ status: 200, body });
export const created = (body: unknown, location: string): Reply => ({
  status: 201,
  body,
  headers: { Location: location },
});
export const noContent: Reply = { status: 204 };

// Lists ---------------------------------------------------------------------------------------------------------------

const MAX_BIGINT = 2n ** 63n - 1n;
const MAX_INT = 2n ** 31n - 1n;

/** The cursor is the last id given, or what stands for one; opaque, so that it may become something else. */
const encodeCursor = (id: string): string => Buffer.from(`id:${id}`).toString('base64url');

const NOT_OURS = 'is not one of ours: give the `next` of the page before, or none for the first page';

/** The id after which the list goes on; `0` for its beginning. */
export function readCursor(cursor: string | undefined, max = MAX_BIGINT): bigint {
  if (cursor === undefined) return 0n;
  const [, id] = /^id:(\d{1,19})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1')) ?? [];
  if (id === undefined || BigInt(id) > max) throw invalid('cursor', NOT_OURS);
  return BigInt(id);
}

/** The same for lists whose ids are PostgreSQL integers. */
export const readIntCursor = (cursor: string | undefined): number => Number(readCursor(cursor, MAX_INT));

/** Of a list in the order of time: the cursor is the time and the id of the last row. */
export const timeCursor = ({ at, id }: { at: Date; id: string }): string => Buffer.from(`${at.getTime()}:${id}`).toString('base64url');

export function readTimeCursor(cursor: string): { at: Date; id: string } {
  const [, at, id] = /^(\d{1,15}):(\d{1,18})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1')) ?? [];
  if (!at || !id) throw invalid('cursor', NOT_OURS);
  return { at: new Date(Number(at)), id };
}

/** A page of a list, from one row more than is asked for. */
export function page<T extends { id: string }>(rows: T[], limit: number): { items: T[]; next: string | null };
/** The same for rows that are in the order of something else: a number, too. */
export function page<T>(rows: T[], limit: number, idOf: (row: T) => string): { items: T[]; next: string | null };
export function page<T>(rows: T[], limit: number, idOf = (row: T) => (row as { id: string }).id) {
  const items = rows.slice(0, limit);
  return { items, next: rows.length > limit ? encodeCursor(idOf(items.at(-1)!)) : null };
}
