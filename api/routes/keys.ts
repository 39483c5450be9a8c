/** API keys. The key itself is shown once and kept as a hash only. */
import type { ApiKey } from '../../prisma/generated/client.ts';
import { ADMINS, hashSecret, newKey as makeKey, type Role } from '../auth.ts';
import { created, type Deps, noContent, ok, page, readIntCursor, route, type Route } from '../http.ts';
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
      summary: 'Revoke an API key; it stops working within 5 s, and streams opened with it end within 10 s',
      roles: ADMINS,
      params: idParams,
      async handle({ params: { id } }) {
        const revoked = await db.prisma.apiKey.updateMany({
          where: { id, revokedAt: null },
          data: { revokedAt: db.clock.now() },
        });
        if (revoked.count === 0 && !(await db.prisma.apiKey.findUnique({ where: { id } }))) throw notFound('key');
        return noContent;
      },
    }),
  ];
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
