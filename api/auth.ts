/** Who is asking: API keys with roles, tickets for streams, and what each may do. */
import { createHash, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import { AppError } from '../domain/errors.ts';
import type { Db } from '../prisma/tx.ts';
import type { Route } from './http.ts';
import * as sql from './sql.ts';

export const ROLES = ['admin', 'manager', 'operator', 'agent'] as const;
export type Role = (typeof ROLES)[number];

/** Everything, keys included. */
export const ADMINS: readonly Role[] = ['admin'];
/** Campaigns, lists, agents. */
export const MANAGERS: readonly Role[] = ['admin', 'manager'];
/** Reads everything. */
export const READERS: readonly Role[] = ['admin', 'manager', 'operator'];

export interface Caller {
  /** Of the holder of a stream ticket: the key with which it was asked for. */
  keyId: number;
  role: Role;
  /** Of an agent's key: the one agent it is for. */
  agentId: number | null;
}

/** As written into rows: `agent:7`, `key:3`. */
export const by = (caller: Caller): string =>
  caller.role === 'agent' ? `agent:${caller.agentId}` : `key:${caller.keyId}`;

export const hashSecret = (plain: string): string => createHash('sha256').update(plain).digest('hex');
export const newKey = (): string => `dw_${randomBytes(32).toString('base64url')}`;
export const newTicket = (): string => randomBytes(32).toString('base64url');

/** An agent's key is for that agent alone. */
export function mustBeOwn(caller: Caller, agentId: number): void {
  if (caller.role === 'agent' && caller.agentId !== agentId) {
    throw new AppError('FORBIDDEN', `this key is for agent ${caller.agentId} only`);
  }
}

/** Inserts the administrator's key, or makes it valid again, so that whoever runs the server can always get in. */
export async function ensureAdminKey(db: Pick<Db, 'pool' | 'clock'>, plain: string): Promise<void> {
  await db.pool.query(sql.ensureAdminKey(hashSecret(plain), db.clock.now()));
}

/** Failed attempts a minute from one address, before more are refused unread. */
const FAILURES_A_MINUTE = 60;

export interface Auth {
  /** Puts the caller into `res.locals.caller`. Throws UNAUTHENTICATED, TOO_MANY_REQUESTS, FORBIDDEN. */
  guard(route: Route): (req: Request, res: Response) => Promise<void>;
}

export function createAuth(db: Pick<Db, 'pool' | 'clock'>): Auth {
  const limit = rateLimit({
    windowMs: 60_000,
    limit: FAILURES_A_MINUTE,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    // An address in front of us that sets X-Forwarded-For is not trusted, which is what the check would warn about.
    validate: { xForwardedForHeader: false },
    handler: (_req, _res, next) =>
      next(new AppError('TOO_MANY_REQUESTS', 'too many attempts without a valid key; wait for Retry-After seconds')),
  });

  async function findCaller(req: Request, ticketAllowed: boolean): Promise<Caller | null> {
    const [, plain] = /^Bearer +([\x21-\x7e]{1,256})$/i.exec(req.headers.authorization ?? '') ?? [];
    if (plain !== undefined) return callerOfKey(hashSecret(plain));
    const { ticket } = req.query;
    return ticketAllowed && typeof ticket === 'string' ? callerOfTicket(ticket) : null;
  }

  /** Looked up for each request: whatever process revoked it, a key that is revoked has had its last one. */
  async function callerOfKey(hash: string): Promise<Caller | null> {
    const { rows } = await db.pool.query<{ id: number; role: Role; agent_id: number | null }>(sql.validKey(hash));
    return rows[0] ? { keyId: rows[0].id, role: rows[0].role, agentId: rows[0].agent_id } : null;
  }

  async function callerOfTicket(ticket: string): Promise<Caller | null> {
    const { rows } = await db.pool.query<{ agent_id: number; key_id: number }>(sql.validTicket(hashSecret(ticket), db.clock.now()));
    return rows[0] ? { keyId: rows[0].key_id, role: 'agent', agentId: rows[0].agent_id } : null;
  }

  return {
    guard: (route) => async (req, res) => {
      const { roles } = route;
      if (roles === 'anyone') return;
      const caller = await findCaller(req, route.ticket === true);
      if (caller === null) {
        // Only failures count, so an address that many share is never shut out while its keys are good.
        res.set('WWW-Authenticate', 'Bearer realm="dialwright"');
        const detail = req.headers.authorization ? 'this key is not known or was revoked' : 'no key was given';
        await new Promise<void>((resolve, reject) => {
          void limit(req, res, (error?: unknown) => (error instanceof Error ? reject(error) : resolve()));
        });
        throw new AppError('UNAUTHENTICATED', `${detail}; send Authorization: Bearer <API key>`);
      }
      if (!roles.includes(caller.role)) {
        const may = roles.join(', ');
        throw new AppError('FORBIDDEN', `this needs a key of role ${may}; this key has the role ${caller.role}`);
      }
      res.locals.caller = caller;
    },
  };
}
