/**
 * Every route × everybody who may ask, with what is their own and what is another's. Expected is what the table of docs/api.md,
 * "Resources", promises: a route that is not in it fails here, and so does one that agents may use without a word on
 * what is an agent's own.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { ROLES, type Role } from '../../api/auth.ts';
import type { Route } from '../../api/http.ts';
import { makeCall } from './api-rows.ts';
import { type Json, makeAgent, makeCampaign, makeContact, openSse, startTestApi } from './api-server.ts';

const api = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });

// ---- what is promised -----------------------------------------------------------------------------------------------

const LETTERS: Readonly<Record<string, Role>> = { A: 'admin', M: 'manager', O: 'operator', a: 'agent' };
const nameOf = ({ method, path: at }: Pick<Route, 'method' | 'path'>): string => `${method.toUpperCase()} ${at}`;

/** `GET /v1/agents/{id}` → its roles, or `anyone`. */
function promises(): Map<string, readonly Role[] | 'anyone'> {
  const document = readFileSync(path.resolve(import.meta.dirname, '../../docs/api.md'), 'utf8');
  const [, table = ''] = document.split('\n## Resources\n');
  const lines = table.split('\n## ')[0]!.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    lines.flatMap((line) => {
      const cells = line.replace(/ \|$/, '').split(' | ');
      const who = cells.at(-1)!;
      const roles = who === 'anyone' ? who : who.split(' ').map((letter) => LETTERS[letter]!);
      return [...cells[0]!.matchAll(/`([^`]+)`/g)].map(([, name]) => [name!, roles] as const);
    }),
  );
}
const PROMISED = promises();
const mayBe = (route: Route, role: Role): boolean => {
  const roles = PROMISED.get(nameOf(route));
  return roles === 'anyone' || (roles?.includes(role) ?? false);
};

test('every route is promised to somebody, and nothing is promised that is not there', () => {
  expect([...PROMISED.keys()].sort()).toEqual(api.routes.map(nameOf).sort());
});

test('no route is registered beside the list', () => {
  const app = createApp({ ...api.deps, listen: { subscribe: () => undefined, close: () => Promise.resolve() } });
  const { stack } = app.router as unknown as { stack: { route?: { path: string; methods: Record<string, boolean> } }[] };
  const registered = stack.flatMap(({ route }) =>
    // Those that refuse all other methods of a path come last.
    route && Object.keys(route.methods).length === 1 ? Object.keys(route.methods).map((method) => `${method.toUpperCase()} ${route.path}`) : [],
  );
  const listed = api.routes.map((route) => nameOf(route).replace(/\{(\w+)\}/g, ':$1'));
  expect(registered.sort()).toEqual([...listed, 'GET /openapi.json'].sort());
});

// ---- what there is --------------------------------------------------------------------------------------------------

/** Of one agent, and of another: what stands in the first parameter of paths that begin so. */
interface Belongings {
  agent: Json;
  key: string;
  ids: Record<string, string>;
}

let own: Belongings;
let other: Belongings;
/** Something real for each path, so that who may not would change it if he could. */
let real: Record<string, string>;

async function belongings(campaign: Json): Promise<Belongings> {
  const agent = await makeAgent(api, [campaign]);
  const contact = await makeContact(api, campaign);
  const { callId, offerId } = await makeCall(api, { contact, agent, callNo: 1, talked: true });
  const key = await api.key('agent', Number(agent.id));
  const ids = { '/v1/agents/': agent.id, '/v1/offers/': offerId, '/v1/calls/': callId, '/v1/simulator/phones/': agent.phone };
  return { agent, key, ids };
}

beforeAll(async () => {
  const campaign = await makeCampaign(api);
  own = await belongings(campaign);
  other = await belongings(campaign);
  const contact = await makeContact(api, campaign);
  const number = '+4722865001';
  await api.call('PUT', `/v1/do-not-call/${encodeURIComponent(number)}`, {});
  await api.call('PUT', '/v1/legal-hours/NO', { periods: [{ days: ['mon'], from: '08:00', to: '21:00' }], holidays: [] });
  await api.db.pool.query(`INSERT INTO node (name, holder, lease_until) VALUES ('sim-gone', 'nobody', $1)`, [new Date(0)]);
  const { body: webhook } = await api.call('POST', '/v1/webhooks', { url: 'https://example.org/hook' });
  const { body: key } = await api.call('POST', '/v1/keys', { name: 'somebody', role: 'operator' });
  real = {
    ...other.ids,
    '/v1/campaigns/': campaign.id,
    '/v1/contacts/': contact.id,
    '/v1/webhooks/': webhook.id,
    '/v1/keys/': key.id,
    '/v1/do-not-call/': number,
    '/v1/legal-hours/': 'NO',
    '/v1/nodes/': 'sim-gone',
  };
  keys = { ...keys, agent: own.key };
  for (const role of ['admin', 'manager', 'operator'] as const) keys[role] = await api.key(role);
});

let keys = {} as Record<Role, string>;

function filled({ path: at }: Route, ids: Record<string, string>): string {
  const [beginning = ''] = /^.*?\/(?=\{)/.exec(at) ?? [];
  const id = ids[beginning];
  if (at.includes('{') && id === undefined) throw new Error(`what is there for ${at}?`);
  return at.replace(/\{\w+\}/, encodeURIComponent(id ?? '')).replace(/\{\w+\}/g, '1');
}

const NOTHING = '2000000000';
const ofNothing = ({ path: at }: Route): string => at.replace('{number}', '0').replace('{country}', 'XX').replace(/\{\w+\}/g, NOTHING);

/** Bodies that are taken, for routes that agents may use: whose the thing is, is asked after that. */
const BODIES: Readonly<Record<string, object>> = {
  'PUT /v1/agents/{id}/state': { state: 'paused' },
  'POST /v1/calls/{call_id}/disposition': { action: 'done' },
  'POST /v1/calls/{call_id}/extend-wrap-up': { seconds: 60 },
  'POST /v1/calls/{call_id}/transfer': { mode: 'blind', to: { number: '+4722865002' } },
  'POST /v1/calls/{call_id}/dtmf': { digits: '1' },
  'POST /v1/simulator/phones/{number}/digit': { digit: '1' },
};

type Headers = Record<string, string>;

/** The status of an answer; of a stream as soon as it is open. */
async function ask(route: Route, at: string, headers: Headers, body?: object): Promise<number> {
  if (route.produces?.includes('text/event-stream')) {
    const stream = await openSse(api.url + at, headers);
    stream.close();
    return stream.status;
  }
  return (await api.call(route.method, at, body, { key: null, headers })).status;
}

const bearer = (key: string): Headers => ({ Authorization: `Bearer ${key}` });

/** Rows of every table: what must be the same after requests of somebody who may not. */
async function everything(): Promise<string> {
  const { rows } = await api.db.pool.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
  );
  const tables = await Promise.all(
    rows.map(({ name }) => api.db.pool.query<{ row: string }>(`SELECT t::text AS row FROM "${name}" t ORDER BY 1`)),
  );
  return tables.flatMap(({ rows: found }, n) => found.map(({ row }) => `${rows[n]!.name} ${row}`)).join('\n');
}

/** The routes whose answer is not one of these, as `GET /v1/agents: 200`. */
async function others(statuses: readonly number[], routes: Route[], status: (route: Route) => Promise<number>): Promise<string[]> {
  const wrong: string[] = [];
  for (const route of routes) {
    const found = await status(route);
    if (!statuses.includes(found)) wrong.push(`${nameOf(route)}: ${found}`);
  }
  return wrong;
}

// ---- nobody ---------------------------------------------------------------------------------------------------------

const closed = api.routes.filter((route) => PROMISED.get(nameOf(route)) !== 'anyone');
const open = api.routes.filter((route) => PROMISED.get(nameOf(route)) === 'anyone');

describe('without a key that is valid', () => {
  const revoked = async (): Promise<string> => {
    const { body } = await api.call('POST', '/v1/keys', { name: 'revoked', role: 'admin' });
    expect((await api.call('GET', '/v1/campaigns', undefined, { key: body.key })).status).toBe(200);
    await api.call('DELETE', `/v1/keys/${body.id}`);
    return body.key;
  };
  const ticket = async (): Promise<string> =>
    (await api.call('POST', `/v1/agents/${own.agent.id}/stream-ticket`, undefined, { key: own.key })).body.ticket;

  const WHO: [string, () => Promise<{ headers?: Headers; query?: string }>][] = [
    ['none', async () => ({})],
    ['a wrong key', async () => ({ headers: bearer(`dw_${'x'.repeat(43)}`) })],
    ['a key that was revoked', async () => ({ headers: bearer(await revoked()) })],
    ['a key in the query', async () => ({ query: `?key=${keys.admin}&access_token=${keys.admin}` })],
    ['a key as a user with a password', async () => ({ headers: { Authorization: `Basic ${btoa(`x:${keys.admin}`)}` } })],
    ['a ticket as a key', async () => ({ headers: bearer(await ticket()) })],
  ];

  test.each(WHO)('%s: nothing is told and nothing is changed', async (_who, credentials) => {
    const { headers = {}, query = '' } = await credentials();
    const before = await everything();
    // After 60 in a minute it is told to wait instead.
    expect(await others([401, 429], closed, (route) => ask(route, filled(route, real) + query, headers, BODIES[nameOf(route)]))).toEqual([]);
    const gets = closed.filter(({ method }) => method === 'get');
    const head = async (route: Route) => (await fetch(api.url + filled(route, real) + query, { method: 'HEAD', headers })).status;
    expect(await others([401, 429], gets, head)).toEqual([]);
    expect(await everything()).toBe(before);
  });

  test('a ticket opens the stream of its agent and nothing else', async () => {
    const one = await ticket();
    const before = await everything();
    const withTicket = (ids: Record<string, string>) => (route: Route) => ask(route, `${filled(route, ids)}?ticket=${one}`, {}, BODIES[nameOf(route)]);
    const streams = closed.filter((route) => nameOf(route) === 'GET /v1/agents/{id}/stream');
    expect(streams).toHaveLength(1);
    expect(await others([401, 429], closed.filter((route) => !streams.includes(route)), withTicket({ ...real, ...own.ids }))).toEqual([]);
    expect(await others([403], streams, withTicket(real))).toEqual([]);
    expect(await everything()).toBe(before);
    expect(await others([200], streams, withTicket(own.ids))).toEqual([]);
  });

  test('what is open to anyone', async () => {
    expect(open.map(nameOf)).toEqual(['GET /healthz', 'GET /readyz']);
    expect(await others([200, 503], open, (route) => ask(route, route.path, {}))).toEqual([]);
  });
});

// ---- roles ----------------------------------------------------------------------------------------------------------

describe.each(ROLES)('%s', (role) => {
  const mayNot = closed.filter((route) => !mayBe(route, role));
  const may = closed.filter((route) => mayBe(route, role));

  test('what it may not is refused, and changes nothing', async () => {
    const before = await everything();
    expect(await others([403], mayNot, (route) => ask(route, filled(route, real), bearer(keys[role]), BODIES[nameOf(route)]))).toEqual([]);
    expect(await everything()).toBe(before);
  });

  test.runIf(role !== 'agent')('what it may is answered: that there is no such thing, what the body lacks, or with it', async () => {
    expect(await others([200, 400, 404, 415, 503], may, (route) => ask(route, ofNothing(route), bearer(keys[role])))).toEqual([]);
  });
});

describe('an agent', () => {
  const may = closed.filter((route) => mayBe(route, 'agent'));

  test('is told nothing of another, and changes nothing there', async () => {
    const before = await everything();
    expect(await others([403], may, (route) => ask(route, filled(route, other.ids), bearer(own.key), BODIES[nameOf(route)]))).toEqual([]);
    expect(await everything()).toBe(before);
  });

  test('does not act as another in its own call', async () => {
    const { pool } = api.db;
    const [mine, theirs] = [own.ids['/v1/calls/'], other.agent.id];
    const body = { agent_id: theirs, action: 'done' };
    const asOther = (click: string, more: object) => api.call('POST', `/v1/calls/${mine}/${click}`, more, { key: own.key });
    expect((await asOther('disposition', body)).status).toBe(403);
    expect((await asOther('extend-wrap-up', { agent_id: theirs, seconds: 60 })).status).toBe(403);
    expect((await pool.query(`SELECT 1 FROM dispositions`)).rowCount).toBe(0);
  });

  test('has what is its own', async () => {
    const statuses = [200, 201, 204, 409, 503];
    expect(await others(statuses, may, (route) => ask(route, filled(route, own.ids), bearer(own.key), BODIES[nameOf(route)]))).toEqual([]);
  });
});
