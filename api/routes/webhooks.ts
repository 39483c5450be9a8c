/** Webhooks: who gets the raw data posted, what of it, from where on, and how it went. The workers deliver. */
import type { z } from 'zod';
import { type DeliveryError, type DeliveryType, isDelivered, type PausedReason, type WebhookState } from '../../domain/webhooks.ts';
import { type EventKind, lastPosition } from '../../prisma/event-rows.ts';
import type { Prisma, Webhook, WebhookDelivery } from '../../prisma/generated/client.ts';
import { newMessageId } from '../../webhooks/delivery.ts';
import { askForTest } from '../../webhooks/sql.ts';
import { newSecret, type OldSecret, validSecrets } from '../../webhooks/signature.ts';
import { MANAGERS, READERS } from '../auth.ts';
import { created, type Deps, noContent, ok, page, readCursor, readIntCursor, route, type Route } from '../http.ts';
import { invalid, notFound } from '../problems.ts';
import { mustHaveBeenReached } from '../resume.ts';
import { EVENT_KINDS, idParams, listOf, listQuery } from '../schemas.ts';
import {
  delivery,
  type DeliveryJson,
  newWebhook,
  replay,
  rotation,
  testTaken,
  webhook,
  webhookChange,
  type WebhookJson,
  webhookWithSecret,
} from '../schemas/webhooks.ts';

const TAG = 'Webhooks';
/** So many secrets before the present one sign at most: each is one more signature in a header. */
const MOST_OLD_SECRETS = 5;

/** What was to be delivered is not any more, and what is under way counts for nothing. */
const DROP_DELIVERY = { deliveryId: null, deliveryNext: null, deliveryAt: null, attempt: 0, revision: { increment: 1 } } as const;
/** The next attempt is made at once, and the time for which it may fail begins anew. */
const TRY_NOW = { failingSince: null, lastError: null, nextAttemptAt: null } as const;

export function webhookRoutes(deps: Deps): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/webhooks',
      tag: TAG,
      summary: 'Have the raw data posted to a URL; the secret that signs it is shown this once',
      description:
        'Rows as those of /v1/call-events, in batches, in the order of their positions, each at least once, signed as Standard ' +
        'Webhooks has it. Whatever is not answered with 2xx is repeated with the same `webhook-id`.',
      roles: MANAGERS,
      body: newWebhook,
      response: webhookWithSecret,
      statuses: [201],
      repeats: 'secretless',
      async handle({ body, requestKey }) {
        const { id, secret } = await make(deps, body, requestKey);
        return created({ ...(await read(deps, id)), secret }, `/v1/webhooks/${id}`);
      },
    }),
    route({
      method: 'get',
      path: '/v1/webhooks',
      tag: TAG,
      summary: 'List webhooks',
      roles: READERS,
      query: listQuery,
      response: listOf(webhook),
      async handle({ query: { cursor, limit } }) {
        const where = { id: { gt: readIntCursor(cursor) } };
        const rows = await db.prisma.webhook.findMany({ where, orderBy: { id: 'asc' }, take: limit + 1 });
        return ok(page(await json(deps, rows), limit));
      },
    }),
    route({
      method: 'get',
      path: '/v1/webhooks/{id}',
      tag: TAG,
      summary: 'Read a webhook: how far it is, and whether it is taken',
      roles: READERS,
      params: idParams,
      response: webhook,
      handle: async ({ params }) => ok(await read(deps, params.id)),
    }),
    route({
      method: 'patch',
      path: '/v1/webhooks/{id}',
      tag: TAG,
      summary: 'Change where a webhook leads or what it gets',
      description: 'From its position on; what was being repeated goes to the new URL, or is made anew of what is asked for now.',
      roles: MANAGERS,
      params: idParams,
      body: webhookChange,
      response: webhook,
      async handle({ params: { id }, body }) {
        await change(deps, id, body);
        return ok(await read(deps, id));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/webhooks/{id}',
      tag: TAG,
      summary: 'Post nothing more; its log is gone too',
      roles: MANAGERS,
      params: idParams,
      async handle({ params: { id } }) {
        const { count } = await db.prisma.webhook.deleteMany({ where: { id } });
        if (count === 0) throw notFound('webhook');
        return noContent;
      },
    }),
    ...controlRoutes(deps),
    deliveriesRoute(deps),
  ];
}

function controlRoutes(deps: Deps): Route[] {
  const { db } = deps;
  const now = () => db.clock.now();
  return [
    route({
      method: 'post',
      path: '/v1/webhooks/{id}/pause',
      tag: TAG,
      summary: 'Post nothing until it is resumed; nothing is lost',
      roles: MANAGERS,
      params: idParams,
      response: webhook,
      async handle({ params: { id } }) {
        const data = { state: 'paused', pausedReason: 'manual', pausedAt: now(), updatedAt: now() };
        await db.prisma.webhook.updateMany({ where: { id, state: 'active' }, data });
        return ok(await read(deps, id));
      },
    }),
    route({
      method: 'post',
      path: '/v1/webhooks/{id}/resume',
      tag: TAG,
      summary: 'Go on from its position, at once: after a pause, or while an attempt is waited for',
      roles: MANAGERS,
      params: idParams,
      response: webhook,
      async handle({ params: { id } }) {
        await set(deps, id, { state: 'active', pausedReason: null, pausedAt: null, ...TRY_NOW });
        return ok(await read(deps, id));
      },
    }),
    route({
      method: 'post',
      path: '/v1/webhooks/{id}/replay',
      tag: TAG,
      summary: 'Go on from another position: everything after it is posted again, in new deliveries',
      description: 'A position ahead passes over what is in between. A webhook that is paused stays so.',
      roles: MANAGERS,
      params: idParams,
      body: replay,
      response: webhook,
      async handle({ params: { id }, body: { position } }) {
        await mustHaveBeenReached(db, 'position', position);
        await set(deps, id, { position: BigInt(position), ...DROP_DELIVERY, ...TRY_NOW });
        return ok(await read(deps, id));
      },
    }),
    route({
      method: 'post',
      path: '/v1/webhooks/{id}/test',
      tag: TAG,
      summary: 'Have a message of the type `test` posted, within some seconds and once',
      description: 'Also while the webhook is paused. The outcome is among the deliveries.',
      roles: MANAGERS,
      params: idParams,
      response: testTaken,
      statuses: [202],
      async handle({ params: { id } }) {
        const { rows } = await db.pool.query<{ test_id: string }>(askForTest(id, newMessageId()));
        if (!rows[0]) throw notFound('webhook');
        return { status: 202, body: { delivery_id: rows[0].test_id } };
      },
    }),
    route({
      method: 'post',
      path: '/v1/webhooks/{id}/rotate-secret',
      tag: TAG,
      summary: 'Make a new secret; it is shown this once, and the one before it signs too for a time',
      roles: MANAGERS,
      params: idParams,
      body: rotation,
      response: webhookWithSecret,
      repeats: 'secretless',
      async handle({ params: { id }, body: { old_valid_sec } }) {
        const secret = await rotate(deps, id, old_valid_sec);
        return ok({ ...(await read(deps, id)), secret });
      },
    }),
  ];
}

function deliveriesRoute(deps: Deps): Route {
  return route({
    method: 'get',
    path: '/v1/webhooks/{id}/deliveries',
    tag: TAG,
    summary: 'What was posted, and how it went: an item an attempt, the latest first',
    description: 'The latest 1,000 are kept, for 30 days.',
    roles: READERS,
    params: idParams,
    query: listQuery,
    response: listOf(delivery),
    async handle({ params: { id }, query: { cursor, limit } }) {
      await find(deps, id);
      const before = cursor === undefined ? {} : { id: { lt: readCursor(cursor) } };
      const where = { webhookId: id, ...before };
      const rows = await deps.db.prisma.webhookDelivery.findMany({ where, orderBy: { id: 'desc' }, take: limit + 1 });
      return ok(page(rows.map(deliveryJson), limit));
    },
  });
}

// ---- rows -----------------------------------------------------------------------------------------------------------

async function find({ db }: Deps, id: number): Promise<Webhook> {
  const row = await db.prisma.webhook.findUnique({ where: { id } });
  if (!row) throw notFound('webhook');
  return row;
}

const read = async (deps: Deps, id: number): Promise<WebhookJson> => (await json(deps, [await find(deps, id)]))[0]!;

async function set({ db }: Deps, id: number, data: Prisma.WebhookUpdateManyMutationInput): Promise<void> {
  const { count } = await db.prisma.webhook.updateMany({ where: { id }, data: { ...data, updatedAt: db.clock.now() } });
  if (count === 0) throw notFound('webhook');
}

/** The secret is null where an earlier request with the same key has made it already. */
async function make(
  deps: Deps,
  { url, campaign_ids, ...body }: z.output<typeof newWebhook>,
  requestKey: string,
): Promise<{ id: number; secret: string | null }> {
  const { db } = deps;
  const kinds = body.kinds ?? EVENT_KINDS.filter((kind) => kind !== 'agent' || campaign_ids.length === 0);
  await check(deps, { url, kinds, campaign_ids });
  const last = await mustHaveBeenReached(db, 'position', body.position ?? '0');
  const secret = newSecret();
  const now = db.clock.now();
  const data = {
    ...{ url: url.href, kinds, campaignIds: campaign_ids, secret, requestKey },
    ...{ position: BigInt(body.position ?? last), createdAt: now, updatedAt: now },
  };
  const { count } = await db.prisma.webhook.createMany({ data, skipDuplicates: true });
  const { id } = await db.prisma.webhook.findUniqueOrThrow({ where: { requestKey } });
  return { id, secret: count === 1 ? secret : null };
}

async function change(deps: Deps, id: number, { url, kinds, campaign_ids }: z.output<typeof webhookChange>): Promise<void> {
  const { db } = deps;
  const before = await find(deps, id);
  const data = {
    ...(url ? { url: url.href, ...TRY_NOW } : {}),
    ...(kinds || campaign_ids ? { ...DROP_DELIVERY, kinds, campaignIds: campaign_ids } : {}),
    updatedAt: db.clock.now(),
  };
  const after = { url: url ?? new URL(before.url), kinds: kinds ?? before.kinds, campaign_ids: campaign_ids ?? before.campaignIds };
  await check(deps, after);
  const { count } = await db.prisma.webhook.updateMany({ where: { id, revision: before.revision }, data });
  // Somebody else has just changed it: what was checked is not what there is.
  if (count === 0) await change(deps, id, { url, kinds, campaign_ids });
}

/** Throws INVALID. */
async function check(
  { db, addresses }: Deps,
  { url, kinds, campaign_ids }: { url: URL; kinds: readonly string[]; campaign_ids: readonly number[] },
): Promise<void> {
  const problem = addresses.problemOf(url);
  if (problem !== null) throw invalid('url', problem);
  if (campaign_ids.length === 0) return;
  if (kinds.includes('agent')) {
    throw invalid('kinds', 'must not have agent in it where campaign_ids are given: agent events are of no campaign');
  }
  const known = await db.prisma.campaign.count({ where: { id: { in: [...campaign_ids] } } });
  if (known < campaign_ids.length) throw invalid('campaign_ids', 'names a campaign that does not exist');
}

/** Whoever is asked twice makes two secrets, and both that were before stay valid: a receiver is never left without one. */
async function rotate(deps: Deps, id: number, oldValidSec: number): Promise<string> {
  const { db } = deps;
  const now = db.clock.now();
  const before = await find(deps, id);
  const until = new Date(now.getTime() + oldValidSec * 1000).toISOString();
  const older = secretsBefore(before, now).map((old) => ({ ...old, until: old.until < until ? old.until : until }));
  const oldSecrets = validSecrets([{ secret: before.secret, until }, ...older], now).slice(0, MOST_OLD_SECRETS);
  const secret = newSecret();
  const data = { secret, oldSecrets: oldSecrets as unknown as Prisma.InputJsonArray, updatedAt: now };
  const { count } = await db.prisma.webhook.updateMany({ where: { id, secret: before.secret }, data });
  return count === 1 ? secret : rotate(deps, id, oldValidSec);
}

const secretsBefore = (row: Webhook, now: Date): OldSecret[] => validSecrets(row.oldSecrets as unknown as OldSecret[], now);

async function json({ db }: Deps, rows: readonly Webhook[]): Promise<WebhookJson[]> {
  const last = await lastPosition(db.pool);
  const now = db.clock.now();
  return rows.map((row) => ({
    id: String(row.id),
    url: row.url,
    kinds: row.kinds as EventKind[],
    campaign_ids: row.campaignIds.map(String),
    position: String(row.position),
    // It may have gone on since `last` was read.
    behind: Math.max(0, Number(BigInt(last) - row.position)),
    state: row.state as WebhookState,
    paused_reason: row.pausedReason as PausedReason | null,
    paused_at: row.pausedAt?.toISOString() ?? null,
    failing_since: row.failingSince?.toISOString() ?? null,
    last_error: row.lastError,
    next_attempt_at: row.nextAttemptAt?.toISOString() ?? null,
    old_secrets_until: secretsBefore(row, now).map(({ until }) => until).toSorted().at(-1) ?? null,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  }));
}

function deliveryJson(row: WebhookDelivery): DeliveryJson {
  return {
    id: String(row.id),
    delivery_id: row.deliveryId,
    type: row.type as DeliveryType,
    attempt: row.attempt,
    first_position: row.firstPosition === null ? null : String(row.firstPosition),
    last_position: row.lastPosition === null ? null : String(row.lastPosition),
    events: row.events,
    at: row.at.toISOString(),
    duration_ms: row.durationMs,
    delivered: isDelivered(row),
    status: row.status,
    error: row.error as DeliveryError | null,
  };
}
