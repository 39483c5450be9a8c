/** Is the process up, can it work, and how does it do. */
import { READERS } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import type { Metrics } from '../metrics.ts';
import { within } from '../../prisma/deadline.ts';
import { alive, readiness } from '../schemas.ts';
import * as sql from '../sql.ts';

const TAG = 'Operation';
const ANSWERS_WITHIN_MS = 1_500;

interface Part {
  ok: boolean;
  why?: string;
}

export function healthRoutes(deps: Deps, metrics: Metrics): Route[] {
  return [
    route({
      method: 'get',
      path: '/healthz',
      tag: TAG,
      summary: 'The process is up',
      roles: 'anyone',
      response: alive,
      whenLate: 'waited_for',
      handle: () => Promise.resolve(ok({ status: 'ok' })),
    }),
    route({
      method: 'get',
      path: '/readyz',
      tag: TAG,
      summary: 'Whether what it needs answers: 503 without PostgreSQL or Temporal',
      roles: 'anyone',
      response: readiness,
      statuses: [200, 503],
      whenLate: 'waited_for',
      async handle() {
        const [postgresql, temporal, telephony] = await Promise.all([
          check(async () => void (await deps.db.pool.query('SELECT 1')), 'does not answer'),
          check(deps.checkTemporal, 'does not answer'),
          telephonyPart(deps),
        ]);
        const ready = postgresql.ok && temporal.ok;
        return { status: ready ? 200 : 503, body: { ready, postgresql, temporal, telephony } };
      },
    }),
    route({
      method: 'get',
      path: '/metrics',
      tag: TAG,
      summary: 'Figures for Prometheus',
      roles: READERS,
      statuses: [200],
      produces: ['text/plain'],
      whenLate: 'waited_for',
      async handle({ res }) {
        res.type(metrics.registry.contentType).send(await metrics.registry.metrics());
        return 'sent';
      },
    }),
  ];
}

/** What went wrong inside is for the log, not for whoever asks without a key. */
async function check(work: () => Promise<void>, why: string): Promise<Part> {
  return within(ANSWERS_WITHIN_MS, work).then(
    () => ({ ok: true }),
    () => ({ ok: false, why }),
  );
}


/** One node is enough to call with; what is wrong with others is said all the same. */
async function telephonyPart(deps: Deps): Promise<Part> {
  const { db } = deps;
  const telephony = await check(async () => {
    const { rows } = await db.pool.query<sql.NodesReady>(sql.nodesReady(db.clock.now()));
    if (rows[0]!.n === 0) throw new Error('none');
  }, 'no node is connected to a switch');
  const ask = () => db.pool.query<{ name: string; trouble: string }>(sql.nodeTroubles(db.clock.now()));
  const troubles = await within(ANSWERS_WITHIN_MS, ask)
    .then(({ rows }) => rows.map(({ name, trouble }) => `${name}: ${trouble}`))
    .catch(() => []);
  return troubles.length > 0 ? { ...telephony, why: troubles.join('; ') } : telephony;
}
