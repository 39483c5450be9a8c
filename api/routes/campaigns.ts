/** Campaigns: their settings, their control, and how they stand. */
import { isDeepStrictEqual } from 'node:util';
import type { QueryResult } from 'pg';
import type { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { everOpens } from '../../domain/hours.ts';
import { type CampaignRules, campaignRulesSchema, withDefaults } from '../../domain/rules.ts';
import { CONTACT_STATES, type CampaignStatus } from '../../domain/states.ts';
import type { Campaign } from '../../prisma/generated/client.ts';
import { inTx, type Sql, type Tx } from '../../prisma/tx.ts';
import { closeWindows } from '../../matching/hours-sql.ts';
import { renewWindowsOf } from '../../matching/hours.ts';
import { firstInOrder, reorderThese } from '../../matching/sql.ts';
import { legalHoursOf, type LegalHoursRow } from '../../matching/legal-hours.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { created, type Deps, ok, page, readIntCursor, route, type Route } from '../http.ts';
import { invalid, invalidInput, notFound } from '../problems.ts';
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
  const { db } = deps;

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
      async handle({ body, caller, requestKey }) {
        const before = await db.prisma.campaign.findUnique({ where: { requestKey } });
        const made = before ?? (await createCampaign(deps, body, by(caller), requestKey));
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
      description:
        'A change of rules is a new version. It holds for calls that are first offered after it; what protects the people ' +
        'who are called holds at once, also in calls under way.',
      roles: MANAGERS,
      params: idParams,
      body: campaignChange,
      response: campaign,
      whenLate: 'waited_for',
      async handle({ params: { id }, body, caller }) {
        await change(deps, id, body, by(caller));
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
      whenLate: 'waited_for',
      handle: async ({ params }) => ok(await stats(deps, params.id)),
    }),
  ];
}

async function change(deps: Deps, id: number, body: z.output<typeof campaignChange>, changedBy: string): Promise<void> {
  const { db, matching } = deps;
  const first = await firstByNewOrder(deps, id, body.rules);
  const hasNewRules = await inTx(db, (tx) => changeCampaign(deps, tx, id, body, changedBy, first));
  await renewWindowsOf(db, id);
  // A repeat as well: the first try may not have come so far.
  if (body.rules?.max_per_number_per_day !== undefined || body.rules?.min_gap_sec !== undefined) await lookAtCapsAgain(deps, id);
  if (!hasNewRules) return;
  await listChanged(deps, id);
  await matching.matchCampaign(id);
}

async function read(db: Deps['db'], id: number): Promise<CampaignJson> {
  const row = await db.prisma.campaign.findUnique({ where: { id } });
  if (!row) throw notFound('campaign');
  return campaignJson(row);
}

// ---- settings -------------------------------------------------------------------------------------------------------

async function createCampaign({ db }: Deps, body: z.output<typeof newCampaign>, by: string, requestKey: string): Promise<Campaign> {
  const { name, country, zone, rules } = body;
  const now = db.clock.now();
  const read = { rows: async <T extends object>(query: Sql) => (await db.pool.query<T>(query)).rows };
  await mustEverOpen(read, now, { country, zone, rules });
  for (;;) {
    const queueKey = body.queue_key ?? (await freeQueueKey(db, name));
    const { rows } = await db.pool.query<{ id: number }>(
      sql.insertCampaign(now, { name, queueKey, country, zone, serviceNum: body.service_num, callerId: body.caller_id, rules, by, requestKey }),
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

/** True when the rules have changed: that is a new version of them. */
async function changeCampaign(
  { matching }: Deps,
  tx: Tx,
  id: number,
  { rules, ...settings }: z.output<typeof campaignChange>,
  by: string,
  first: string[],
): Promise<boolean> {
  // Under the queue's lock no match is under way: after the answer nobody is first offered under the old rules.
  if (rules) await matching.lockQueue(tx, id);
  const before = await tx.row<{ rules: CampaignRules; country: string; zone: string }>(sql.lockCampaign(id));
  if (!before) throw notFound('campaign');
  await tx.run(sql.updateCampaign(tx.now, id, settings));
  // Closed until they have been reckoned by what holds now.
  if (rules?.hours !== undefined || settings.zone) await tx.run(closeWindows(tx.now, id));
  if (!rules) return false;
  const merged = mergeRules(before.rules, rules);
  if (isDeepStrictEqual(merged, withDefaults(before.rules))) return false;
  if (rules.hours || rules.countries) await mustEverOpen(tx, tx.now, { ...before, ...settings, rules: merged });
  await tx.run(sql.updateRules(tx.now, id, merged, by));
  if (first.length > 0) await tx.run(reorderThese(id, first));
  return true;
}

/** For each place by the clock. */
const SORTED_FIRST = 200;

/**
 * Contacts that a new order or filter puts first. To find them takes a look at the whole queue, 10 s for a million: so it is
 * taken before the queue is locked, and whoever comes meanwhile is sorted by the campaign's workflow.
 */
async function firstByNewOrder({ db }: Deps, id: number, changes: Record<string, unknown> = {}): Promise<string[]> {
  if (changes.order === undefined && changes.filter === undefined) return [];
  const row = await db.prisma.campaign.findUnique({ where: { id }, select: { rules: true } });
  if (!row) throw notFound('campaign');
  const before = withDefaults(row.rules as CampaignRules);
  const { order, filter } = mergeRules(before, changes);
  if (isDeepStrictEqual([order, filter], [before.order, before.filter])) return [];
  const { rows } = await db.pool.query<{ id: string }>(firstInOrder(id, order, filter, SORTED_FIRST));
  return rows.map((contact) => contact.id);
}

const CAPPED_PAGE = 1_000;

/** Who waits for a cap is looked at again, as it may be another one by now: in pages, and by nobody's lock. */
async function lookAtCapsAgain({ db }: Deps, id: number): Promise<void> {
  for (let after: string | undefined = '0'; after !== undefined; ) {
    const page: QueryResult<{ id: string }> = await db.pool.query<{ id: string }>(sql.lookAtCapsAgain(db.clock.now(), id, after, CAPPED_PAGE));
    after = page.rows.map((row) => row.id).sort((a, b) => Number(BigInt(a) - BigInt(b))).at(-1);
  }
}

/** Rules as they are with some of them changed; throws INVALID naming what is wrong in the whole. */
export function mergeRules(stored: CampaignRules, changes: Record<string, unknown>): CampaignRules {
  const merged = campaignRulesSchema.safeParse(merge(withDefaults(stored), changes));
  if (!merged.success) throw invalidInput(merged.error, 'body', ['rules']);
  return merged.data;
}

/** Throws INVALID for hours that open in none of the countries that may be called, by their legal hours of now. */
async function mustEverOpen(
  { rows }: Pick<Tx, 'rows'>,
  now: Date,
  { country, zone, rules }: Pick<Campaign, 'country' | 'zone'> & { rules: CampaignRules },
): Promise<void> {
  if (!rules.hours) return;
  const from = Math.max(now.getTime(), rules.hours.from_date ? Date.parse(rules.hours.from_date) - DAY_MS : 0);
  const to = from + 366 * DAY_MS;
  for (const called of rules.countries ?? [country]) {
    const [legal] = await rows<LegalHoursRow>(legalHoursOf(called));
    const asked = { campaign: rules.hours, legal: legal!.hours, zones: [zone], earliest: null, latest: null };
    if (everOpens(asked, from, to)) return;
  }
  const reason = 'never open within a year from now and within the legal hours of the countries that may be called';
  throw invalid('rules.hours', reason);
}
const DAY_MS = 86_400_000;

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
    rules_version: row.rulesVersion,
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
    // To call nobody is never given up.
    whenLate: control.to === 'running' ? 'given_up' : 'carried_out',
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
    db.pool.query<sql.CountRow>(sql.countContacts(db.clock.now(), id)),
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
