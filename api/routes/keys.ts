/** API keys. The key itself is shown once and kept as a hash only. */
import { AppError } from '../../domain/errors.ts';
import type { ApiKey } from '../../prisma/generated/client.ts';
import { type Db, inTx } from '../../prisma/tx.ts';
import { ADMINS, hashSecret, newKey as makeKey, type Role } from '../auth.ts';
import { created, type Deps, noContent, ok, page, readIntCursor, route, type Route } from '../http.ts';
import * as sql from '../keys-sql.ts';
import { invalid, notFound } from '../problems.ts';
import { idParams, key, keyMade, listOf, listQuery, newKey } from '../schemas.ts';

const TAG = 'Keys';

export function keyRoutes({ db }: Deps): Route[] {
  return [
    route({
      method: 'post',
      path: '/v1/keys',
      tag: TAG,
      summary: 'Make an API key; it is shown this once',
      roles: ADMINS,
      body: newKey,
      response: keyMade,
      statuses: [201],
      repeats: 'secretless',
      async handle({ body: { name, role, agent_id }, requestKey }) {
        if (agent_id !== undefined && !(await db.prisma.agent.findUnique({ where: { id: agent_id } }))) {
          throw invalid('agent_id', 'names no agent');
        }
        const plain = makeKey();
        const hash = hashSecret(plain);
        // The key whose answer was lost was never seen: this one takes its place. One of a day ago is another request's.
        const dayAgo = new Date(db.clock.now().getTime() - 86_400_000);
        await db.prisma.apiKey.updateMany({ where: { requestKey, createdAt: { lt: dayAgo } }, data: { requestKey: null } });
        const made = await db.prisma.apiKey.upsert({
          where: { requestKey },
          create: { name, role, agentId: agent_id ?? null, hash, createdAt: db.clock.now(), requestKey },
          update: { hash },
        });
        return created({ ...keyJson(made), key: plain }, `/v1/keys/${made.id}`);
      },
    }),
    route({
      method: 'get',
      path: '/v1/keys',
      tag: TAG,
      summary: 'List API keys, revoked ones too',
      roles: ADMINS,
      query: listQuery,
      response: listOf(key),
      async handle({ query: { cursor, limit } }) {
        const where = { id: { gt: readIntCursor(cursor) } };
        const rows = await db.prisma.apiKey.findMany({ where, orderBy: { id: 'asc' }, take: limit + 1 });
        return ok(page(rows.map(keyJson), limit));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/keys/{id}',
      tag: TAG,
      summary: 'Revoke an API key: from the answer on no request with it is taken, and streams opened with it end',
      roles: ADMINS,
      params: idParams,
      async handle({ params: { id } }) {
        const revoked = await inTx(db, async (tx) => {
          await tx.run(sql.tellOfKeys());
          return tx.run(sql.revokeKey(tx.now, id));
        });
        if (revoked === 0) await find(db, id);
        return noContent;
      },
    }),
    route({
      method: 'post',
      path: '/v1/keys/{id}/rotate',
      tag: TAG,
      summary: 'Put a new API key in the place of this one, which is revoked; the new one is shown this once',
      description: 'Of the same name, role and agent. Not for the key with which it is asked.',
      roles: ADMINS,
      params: idParams,
      response: keyMade,
      statuses: [201],
      repeats: 'secretless',
      fails: ['CONFLICT'],
      async handle({ params: { id }, caller, requestKey }) {
        if (id === caller.keyId) {
          // Should the answer be lost, nobody would have either of them.
          throw new AppError('CONFLICT', 'a key is not rotated by itself: make another with it, and revoke this one with that');
        }
        const { made, key } = await rotate(db, id, requestKey);
        return created({ ...keyJson(made), key }, `/v1/keys/${made.id}`);
      },
    }),
  ];
}

async function find(db: Db, id: number): Promise<ApiKey> {
  const row = await db.prisma.apiKey.findUnique({ where: { id } });
  if (!row) throw notFound('key');
  return row;
}

async function rotate(db: Db, id: number, requestKey: string): Promise<{ made: ApiKey; key: string }> {
  const key = makeKey();
  const hash = hashSecret(key);
  const next = await inTx(db, async (tx) => {
    if ((await tx.run(sql.revokeKey(tx.now, id))) === 0) return tx.row<{ id: number }>(sql.replaceLostKey(requestKey, hash));
    await tx.run(sql.tellOfKeys());
    return tx.row<{ id: number }>(sql.succeedKey(tx.now, id, hash, requestKey));
  });
  if (next) return { made: await find(db, next.id), key };
  await find(db, id);
  throw new AppError('CONFLICT', 'this key was revoked; make a new one', { state: 'revoked' });
}

function keyJson(row: ApiKey) {
  return {
    id: String(row.id),
    name: row.name,
    role: row.role as Role,
    agent_id: row.agentId === null ? null : String(row.agentId),
    created_at: row.createdAt.toISOString(),
    revoked_at: row.revokedAt?.toISOString() ?? null,
  };
}
