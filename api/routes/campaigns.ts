/** Campaigns: their settings, their control, and how they stand. */
import type { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { type CampaignRules, campaignRulesSchema, withDefaults } from '../../domain/rules.ts';
import { CONTACT_STATES, type CampaignStatus } from '../../domain/states.ts';
import type { Campaign } from '../../prisma/generated/client.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { MANAGERS, READERS } from '../auth.ts';
import { created, type Deps, ok, page, readIntCursor, route, type Route } from '../http.ts';
import { invalidInput, notFound } from '../problems.ts';
import {
  campaign,
  campaignChange,
  type CampaignJson,
  campaignStats,
  idParams,
  listOf,
  listQuery,
  newCampaign,
  type WhyNot,
} from '../schemas.ts';
import * as sql from '../sql.ts';
import { listChanged } from '../tell.ts';

export function campaignRoutes(deps: Deps): Route[] {
  const { db, matching } = deps;

  return [
    route({
      method: 'post',
      path: '/v1/campaigns',
      tag: 'Campaigns',
      summary: 'Create a campaign, as a draft',
      roles: MANAGERS,
      body: newCampaign,
      response: campaign,
      statuses: [201],
      fails: ['CONFLICT'],
      async handle({ body }) {
        const made = await createCampaign(deps, body);
        return created(campaignJson(made), `/v1/campaigns/${made.id}`);
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns',
      tag: 'Campaigns',
      summary: 'List campaigns',
      roles: READERS,
      query: listQuery,
      response: listOf(campaign),
      async handle({ query: { cursor, limit } }) {
        const where = { id: { gt: readIntCursor(cursor) } };
        const rows = await db.prisma.campaign.findMany({ where, orderBy: { id: 'asc' }, take: limit + 1 });
        return ok(page(rows.map(campaignJson), limit));
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}',
      tag: 'Campaigns',
      summary: 'Read a campaign',
      roles: READERS,
      params: idParams,
      response: campaign,
      handle: async ({ params }) => ok(await read(db, params.id)),
    }),
    route({
      method: 'patch',
      path: '/v1/campaigns/{id}',
      tag: 'Campaigns',
      summary: 'Change settings or rules of a campaign',
      description: 'Rules take effect from the next step of each contact on.',
      roles: MANAGERS,
      params: idParams,
      body: campaignChange,
      response: campaign,
      async handle({ params: { id }, body: { rules, ...settings } }) {
        await inTx(db, async (tx) => {
          const before = await tx.row<{ rules: CampaignRules }>(sql.lockCampaign(id));
          if (!before) throw notFound('campaign');
          await tx.run(sql.updateCampaign(tx.now, id, settings));
          if (rules) await tx.run(sql.updateRules(tx.now, id, mergeRules(before.rules, rules)));
        });
        if (rules) {
          await listChanged(deps, id);
          await matching.matchCampaign(id);
        }
        return ok(await read(db, id));
      },
    }),
    ...CONTROLS.map((control) => controlRoute(deps, control)),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/stats',
      tag: 'Campaigns',
      summary: 'How the list stands, and why it is not being dialled',
      roles: READERS,
      params: idParams,
      response: campaignStats,
      handle: async ({ params }) => ok(await stats(deps, params.id)),
    }),
  ];
}

async function read(db: Deps['db'], id: number): Promise<CampaignJson> {
  const row = await db.prisma.campaign.findUnique({ where: { id } });
  if (!row) throw notFound('campaign');
  return campaignJson(row);
}

// ---- settings -------------------------------------------------------------------------------------------------------

async function createCampaign({ db }: Deps, body: z.output<typeof newCampaign>): Promise<Campaign> {
  const { name, country, zone, rules } = body;
  const now = db.clock.now();
  for (;;) {
    const queueKey = body.queue_key ?? (await freeQueueKey(db, name));
    const { rows } = await db.pool.query<{ id: number }>(
      sql.insertCampaign(now, { name, queueKey, country, zone, serviceNum: body.service_num, callerId: body.caller_id, rules }),
    );
    if (rows[0]) return db.prisma.campaign.findUniqueOrThrow({ where: { id: rows[0].id } });
    // A key that was derived is taken when somebody else has just used the same name: derive the next.
    if (body.queue_key === undefined) continue;
    const reason = 'is the key of another campaign';
    throw new AppError('CONFLICT', `queue_key ${reason}`, { issues: [{ field: 'queue_key', reason }] });
  }
}

/** `__Dialer_<name>`, with a number behind it if another campaign has that. */
async function freeQueueKey(db: Deps['db'], name: string): Promise<string> {
  const base = `__Dialer_${slug(name)}`;
  const { rows } = await db.pool.query<{ queue_key: string }>(sql.queueKeysLike(base));
  const taken = new Set(rows.map((row) => row.queue_key));
  let key = base;
  for (let n = 2; taken.has(key); n++) key = `${base}_${n}`;
  return key;
}

/** Letters without accents, digits and `_`. */
export function slug(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '');
  return plain.replace(/[^A-Za-z0-9]+/g, '_').replace(/^_|_$/g, '').slice(0, 60) || 'campaign';
}

/** Rules as they are with some of them changed; throws INVALID naming what is wrong in the whole. */
export function mergeRules(stored: CampaignRules, changes: Record<string, unknown>): CampaignRules {
  const merged = campaignRulesSchema.safeParse(merge(withDefaults(stored), changes));
  if (!merged.success) throw invalidInput(merged.error, 'body', ['rules']);
  return merged.data;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function merge(stored: unknown, changes: unknown): unknown {
  if (!isObject(stored) || !isObject(changes)) return changes;
  return { ...stored, ...Object.fromEntries(Object.entries(changes).map(([key, value]) => [key, merge(stored[key], value)])) };
}

export function campaignJson(row: Campaign): CampaignJson {
  return {
    id: String(row.id),
    name: row.name,
    queue_key: row.queueKey,
    status: row.status as CampaignStatus,
    country: row.country,
    zone: row.zone,
    service_num: row.serviceNum,
    caller_id: row.callerId,
    rules: withDefaults(row.rules as CampaignRules),
    stop_requested: row.stopRequested,
    settled: row.revision === row.settledRevision,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

// ---- control --------------------------------------------------------------------------------------------------------

interface Control {
  name: string;
  summary: string;
  from: readonly CampaignStatus[];
  to: CampaignStatus;
  /** Unanswered legs end at once. */
  stop: boolean;
}

/** docs/domain.md, "Campaign control". */
export const CONTROLS: readonly Control[] = [
  { name: 'start', summary: 'Start a draft', from: ['draft'], to: 'running', stop: false },
  { name: 'pause', summary: 'Pause: no new offer; what rings or talks goes on', from: ['running'], to: 'paused', stop: false },
  { name: 'resume', summary: 'Go on after a pause or stop', from: ['paused'], to: 'running', stop: false },
  { name: 'stop', summary: 'Emergency stop: unanswered legs end at once', from: ['running', 'paused'], to: 'paused', stop: true },
  { name: 'end', summary: 'End for good, as pause', from: ['draft', 'running', 'paused'], to: 'ended', stop: false },
];

function controlRoute(deps: Deps, control: Control): Route {
  return route({
    method: 'post',
    path: `/v1/campaigns/{id}/${control.name}`,
    tag: 'Campaigns',
    summary: control.summary,
    roles: MANAGERS,
    params: idParams,
    response: campaign,
    fails: ['CONFLICT'],
    async handle({ params: { id } }) {
      const changed = await inTx(deps.db, (tx) => carryOut(deps, tx, id, control));
      if (changed) await listChanged(deps, id);
      if (changed && control.to === 'running') await deps.matching.matchCampaign(id);
      return ok(await read(deps.db, id));
    },
  });
}

/** Sets the status; false when it was there already. */
async function carryOut({ matching }: Deps, tx: Tx, id: number, control: Control): Promise<boolean> {
  // Under the queue's lock no match is under way: after the answer nobody is offered anything any more.
  await matching.lockQueue(tx, id);
  const row = await tx.row<{ status: CampaignStatus; stop_requested: boolean }>(sql.lockCampaign(id));
  if (!row) throw notFound('campaign');
  const { status } = row;
  if (status === control.to && (row.stop_requested || !control.stop)) return false;
  if (!control.from.includes(status)) {
    const possible = CONTROLS.filter(({ from }) => from.includes(status)).map(({ name }) => name);
    const instead = possible.length > 0 ? `possible now: ${possible.join(', ')}` : 'it has ended for good';
    throw new AppError('CONFLICT', `a campaign that is ${status} can't ${control.name}; ${instead}`, { state: status });
  }
  await tx.run(sql.setStatus(tx.now, id, control.to, control.stop));
  return true;
}

// ---- stats ----------------------------------------------------------------------------------------------------------

async function stats({ db }: Deps, id: number): Promise<z.input<typeof campaignStats>> {
  const [found, contacts, agents, abandoned, nodes] = await Promise.all([
    db.prisma.campaign.findUnique({ where: { id }, select: { status: true } }),
    db.pool.query<sql.CountRow>(sql.countContacts(id)),
    db.pool.query<{ state: string; n: number }>(sql.countAgents(id)),
    db.pool.query<{ n: number }>(sql.countAbandoned(id)),
    db.pool.query<sql.NodesReady>(sql.nodesReady(db.clock.now())),
  ]);
  if (!found) throw notFound('campaign');
  const status = found.status as CampaignStatus;
  const agents_by_state = sum(agents.rows, (row) => row.state);
  const by_state = { ...noContacts, ...sum(contacts.rows, (row) => row.state) };
  return {
    status,
    contacts: contacts.rows.reduce((total, row) => total + row.n, 0),
    by_state,
    by_result_code: sum(contacts.rows, (row) => row.code),
    by_wait_reason: sum(contacts.rows, (row) => row.reason),
    abandoned: abandoned.rows[0]!.n,
    agents_by_state,
    why_not_dialling: whyNot(status, by_state, agents_by_state, nodes.rows[0]!),
  };
}

const noContacts = Object.fromEntries(CONTACT_STATES.map((state) => [state, 0])) as Record<
  (typeof CONTACT_STATES)[number],
  number
>;

function sum<T extends { n: number }>(rows: T[], by: (row: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const row of rows) counts[by(row)] = (counts[by(row)] ?? 0) + row.n;
  return counts;
}

/** Everything that stands in the way of the next offer, the most general first. */
export function whyNot(
  status: CampaignStatus,
  contacts: Record<string, number>,
  agents: Record<string, number>,
  nodes: sql.NodesReady,
): { code: WhyNot; text: string }[] {
  const total = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b, 0);
  const isLoading = Boolean(contacts.new || contacts.starting);
  const found: [WhyNot, boolean, string][] = [
    ['campaign_not_running', status !== 'running', `the campaign is ${status}`],
    ['list_empty', total(contacts) === 0, 'the list is empty'],
    ['list_loading', status === 'running' && isLoading && !contacts.queued, 'the list is being loaded'],
    ['no_contact_queued', total(contacts) > 0 && !isLoading && !contacts.queued, 'no contact is callable now: see by_wait_reason'],
    ['no_agent_assigned', total(agents) === 0, 'no agent serves this campaign'],
    ['nobody_logged_on', total(agents) > 0 && total(agents) === (agents.logged_off ?? 0), 'nobody is logged on'],
    ['no_agent_ready', total(agents) > (agents.logged_off ?? 0) && !agents.ready, 'no agent is ready just now'],
    ['no_node_ready', nodes.n === 0, 'no telephony node is connected'],
    ['trunk_failing', nodes.n > 0 && nodes.working === 0, 'the trunk is failing; a probe call a minute tries again'],
    ['nodes_at_limit', nodes.working > 0 && nodes.free === 0, 'every telephony node has as many calls as it may, at once or a second'],
  ];
  return found.filter(([, applies]) => applies).map(([code, , text]) => ({ code, text }));
}
