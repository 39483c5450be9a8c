import { describe, expect, test } from 'vitest';
import { ensureAdminKey, hashSecret, ROLES, type Role } from '../../api/auth.ts';
import { eventually } from '../kit/eventually.ts';
import { makeAgent, makeCampaign, openSse, startTestApi } from './api-server.ts';

const api = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
/** For what is asked without a key, of which an API takes so much a minute. */
const keyless = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
const agent = await makeAgent(api);
const keys: Record<Role, string> = {
  admin: await api.key('admin'),
  manager: await api.key('manager'),
  operator: await api.key('operator'),
  agent: await api.key('agent', Number(agent.id)),
};

/** Who may, written down apart from the code. `self`: an agent for itself. */
const MAY: Record<string, string> = {
  'post /v1/campaigns': 'admin manager',
  'get /v1/campaigns': 'admin manager operator',
  'get /v1/campaigns/{id}': 'admin manager operator',
  'patch /v1/campaigns/{id}': 'admin manager',
  'post /v1/campaigns/{id}/start': 'admin manager',
  'post /v1/campaigns/{id}/pause': 'admin manager',
  'post /v1/campaigns/{id}/resume': 'admin manager',
  'post /v1/campaigns/{id}/stop': 'admin manager',
  'post /v1/campaigns/{id}/end': 'admin manager',
  'get /v1/campaigns/{id}/stats': 'admin manager operator',
  'get /v1/campaigns/{id}/rules-versions': 'admin manager operator',
  'get /v1/campaigns/{id}/rules-versions/{version}': 'admin manager operator',
  'get /v1/campaigns/{id}/contacts': 'admin manager operator',
  'get /v1/campaigns/{id}/reschedules': 'admin manager operator',
  'post /v1/campaigns/{id}/reopen': 'admin manager',
  'get /v1/campaigns/{id}/reopenings': 'admin manager operator',
  'get /v1/campaigns/{id}/reopenings/{reopening_id}': 'admin manager operator',
  'post /v1/campaigns/{id}/check': 'admin manager operator',
  'put /v1/contacts/{id}/reschedule': 'admin manager',
  'delete /v1/contacts/{id}/reschedule': 'admin manager',
  'post /v1/contacts/{id}/call-now': 'admin manager',
  'put /v1/campaigns/{id}/contacts/by-external-id/{external_id}': 'admin manager',
  'get /v1/campaigns/{id}/imports': 'admin manager operator',
  'post /v1/campaigns/{id}/imports': 'admin manager',
  'get /v1/contacts/{id}': 'admin manager operator',
  'patch /v1/contacts/{id}': 'admin manager',
  'delete /v1/contacts/{id}': 'admin manager',
  'post /v1/contacts/{id}/disable': 'admin manager',
  'post /v1/contacts/{id}/enable': 'admin manager',
  'post /v1/contacts/{id}/erase': 'admin manager',
  'post /v1/agents': 'admin manager',
  'get /v1/agents': 'admin manager operator',
  'get /v1/agents/{id}': 'admin manager operator agent',
  'patch /v1/agents/{id}': 'admin manager',
  'put /v1/agents/{id}/state': 'admin manager agent',
  'post /v1/agents/{id}/heartbeat': 'admin manager agent',
  'post /v1/agents/{id}/stream-ticket': 'admin manager agent',
  'get /v1/agents/{id}/stream': 'admin manager operator agent',
  'post /v1/agents/{id}/pause': 'admin manager',
  'post /v1/agents/{id}/log-off': 'admin manager',
  'post /v1/agents/{id}/release': 'admin manager',
  'post /v1/stop': 'admin manager',
  'post /v1/offers/{id}/accept': 'admin manager agent',
  'post /v1/offers/{id}/reject': 'admin manager agent',
  'post /v1/offers/{id}/cancel': 'admin manager agent',
  'post /v1/calls/{call_id}/hang-up': 'admin manager agent',
  'post /v1/calls/{call_id}/disposition': 'admin manager agent',
  'post /v1/calls/{call_id}/extend-wrap-up': 'admin manager agent',
  'post /v1/calls/{call_id}/transfer': 'admin manager agent',
  'post /v1/calls/{call_id}/complete-transfer': 'admin manager agent',
  'post /v1/calls/{call_id}/take-back': 'admin manager agent',
  'post /v1/calls/{call_id}/hold': 'admin manager agent',
  'post /v1/calls/{call_id}/resume': 'admin manager agent',
  'post /v1/calls/{call_id}/dtmf': 'admin manager agent',
  'get /v1/do-not-call': 'admin manager operator',
  'get /v1/do-not-call/{number}': 'admin manager operator',
  'put /v1/do-not-call/{number}': 'admin manager',
  'delete /v1/do-not-call/{number}': 'admin manager',
  'post /v1/do-not-call/import': 'admin manager',
  'get /v1/call-events': 'admin manager operator',
  'get /v1/call-events/stream': 'admin manager operator',
  'post /v1/webhooks': 'admin manager',
  'get /v1/webhooks': 'admin manager operator',
  'get /v1/webhooks/{id}': 'admin manager operator',
  'patch /v1/webhooks/{id}': 'admin manager',
  'delete /v1/webhooks/{id}': 'admin manager',
  'post /v1/webhooks/{id}/pause': 'admin manager',
  'post /v1/webhooks/{id}/resume': 'admin manager',
  'post /v1/webhooks/{id}/replay': 'admin manager',
  'post /v1/webhooks/{id}/test': 'admin manager',
  'post /v1/webhooks/{id}/rotate-secret': 'admin manager',
  'get /v1/webhooks/{id}/deliveries': 'admin manager operator',
  'get /v1/reports/campaigns': 'admin manager operator',
  'get /v1/reports/agents': 'admin manager operator',
  'get /v1/reports/topics': 'admin manager operator',
  'post /v1/simulator/phones/{number}/answer': 'admin manager agent',
  'post /v1/simulator/phones/{number}/reject': 'admin manager agent',
  'post /v1/simulator/phones/{number}/hang-up': 'admin manager agent',
  'post /v1/simulator/phones/{number}/digit': 'admin manager agent',
  'get /v1/simulator/dials': 'admin manager operator',
  'get /v1/legal-hours': 'admin manager operator',
  'put /v1/legal-hours/{country}': 'admin manager',
  'delete /v1/legal-hours/{country}': 'admin manager',
  'get /v1/legal-hours/{country}/changes': 'admin manager operator',
  'post /v1/keys': 'admin',
  'get /v1/keys': 'admin',
  'delete /v1/keys/{id}': 'admin',
  'get /healthz': 'anyone',
  'get /readyz': 'anyone',
  'get /metrics': 'admin manager operator',
};

describe('roles', () => {
  test('the table has every route', () => {
    expect(api.routes.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(Object.keys(MAY).sort());
  });

  const openStream = async (role: Role) => {
    const { status } = await openSse(`${api.url}/v1/call-events/stream`, { Authorization: `Bearer ${keys[role]}` });
    return { status, body: undefined as never };
  };

  // Ids that nothing has: who may is told that (404), and nothing is changed.
  const filled = (path: string) => path.replace('{number}', '0').replace(/\{\w+\}/g, '2000000000');

  test.each(Object.entries(MAY))('%s: %s', async (operation, may) => {
    const [method, path] = operation.split(' ') as [string, string];
    for (const role of ROLES) {
      // A stream that is open has no end to wait for.
      const open = path === '/v1/call-events/stream' && may.includes(role);
      const { status, body } = open ? await openStream(role) : await api.call(method, filled(path), undefined, { key: keys[role] });
      const allowed = may === 'anyone' || may.split(' ').includes(role);
      if (!allowed) {
        expect(status, role).toBe(403);
        expect(body.detail).toContain(`this key has the role ${role}`);
        expect(body.detail).toContain(may.split(' ').join(', '));
      } else if (role === 'agent' && status === 403) {
        expect(body.detail).toMatch(/only$/);
      } else {
        expect(status, role).not.toBe(403);
      }
    }
    const { status } = await keyless.call(method, filled(path), undefined, { key: null });
    expect([401, 429].includes(status)).toBe(may !== 'anyone');
  });

  test('an agent is no other agent', async () => {
    const other = await makeAgent(api);
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['PUT', '/state', { state: 'ready' }],
      ['POST', '/heartbeat', undefined],
      ['POST', '/stream-ticket', undefined],
      ['GET', '/stream', undefined],
    ] as const) {
      const own = path === '/stream' ? 200 : (await api.call(method, `/v1/agents/${agent.id}${path}`, body, { key: keys.agent })).status;
      expect([200, 201]).toContain(own);
      const foreign = await api.call(method, `/v1/agents/${other.id}${path}`, body, { key: keys.agent });
      expect(foreign.status, path).toBe(403);
      expect(foreign.body.detail).toBe(`this key is for agent ${agent.id} only`);
    }
  });
});

describe('keys', () => {
  test('are shown once, listed without, and stop working within 5 s of being revoked', async () => {
    const made = await api.call('POST', '/v1/keys', { name: 'reports', role: 'operator' });
    expect(made.status).toBe(201);
    expect(made.body.key).toMatch(/^dw_[\w-]{43}$/);
    const { rows } = await api.db.pool.query(`SELECT * FROM api_key WHERE id = $1`, [made.body.id]);
    expect(JSON.stringify(rows)).not.toContain(made.body.key);
    expect(rows[0].hash).toBe(hashSecret(made.body.key));
    const list = await api.call('GET', '/v1/keys?limit=1000');
    expect(list.body.items.find((item: { id: string }) => item.id === made.body.id)).toEqual(
      expect.objectContaining({ name: 'reports', role: 'operator', agent_id: null, revoked_at: null }),
    );
    expect(list.text).not.toContain(made.body.key);

    const use = () => api.call('GET', '/v1/campaigns', undefined, { key: made.body.key });
    expect((await use()).status).toBe(200);
    expect((await api.call('DELETE', `/v1/keys/${made.body.id}`)).status).toBe(204);
    await eventually(async () => (await use()).status === 401, { withinMs: 5000 });
    expect((await api.call('DELETE', `/v1/keys/${made.body.id}`)).status).toBe(204);
    expect((await api.call('DELETE', '/v1/keys/2000000000')).status).toBe(404);
  });

  test('a stream ends when its key is revoked', async () => {
    const made = await api.call('POST', '/v1/keys', { name: 'stream', role: 'operator' });
    const headers = { Authorization: `Bearer ${made.body.key}` };
    const streams = [
      await openSse(`${api.url}/v1/call-events/stream`, headers),
      await openSse(`${api.url}/v1/agents/${agent.id}/stream`, headers),
    ];
    await api.call('DELETE', `/v1/keys/${made.body.id}`);
    await Promise.all(streams.map((stream) => stream.ended));
  });

  test.each([
    [{ name: 'x', role: 'agent' }, 'agent_id'],
    [{ name: 'x', role: 'manager', agent_id: '1' }, 'agent_id'],
    [{ name: 'x', role: 'agent', agent_id: '2000000000' }, 'agent_id'],
    [{ name: 'x', role: 'agent', agent_id: 'abc' }, 'agent_id'],
    [{ name: ' ', role: 'manager' }, 'name'],
    [{ name: 'x', role: 'root' }, 'role'],
    [{ name: 'x', role: 'admin', power: 11 }, 'power'],
  ])('%j is refused for %s', async (body, field) => {
    const answer = await api.call('POST', '/v1/keys', body);
    expect(answer.status).toBe(400);
    expect(answer.body.issues.map((issue: { field: string }) => issue.field)).toContain(field);
  });

  test("the administrator's key can be given again after it was revoked", async () => {
    await ensureAdminKey(api.db, 'given-at-the-start-of-the-server');
    await ensureAdminKey(api.db, 'given-at-the-start-of-the-server');
    const key = 'given-at-the-start-of-the-server';
    expect((await api.call('GET', '/v1/keys', undefined, { key })).status).toBe(200);
    const { rows } = await api.db.pool.query(`SELECT id FROM api_key WHERE hash = $1`, [hashSecret(key)]);
    expect(rows).toHaveLength(1);
  });
});

describe('without a valid key', () => {
  test.each([
    ['none', {}],
    ['an unknown one', { Authorization: `Bearer dw_${'x'.repeat(43)}` }],
    ['Basic', { Authorization: 'Basic YWRtaW46YWRtaW4=' }],
    ['an empty one', { Authorization: 'Bearer ' }],
    ['a very long one', { Authorization: `Bearer ${'x'.repeat(8000)}` }],
  ])('%s: 401', async (_what, headers) => {
    const answer = await api.call('GET', '/v1/campaigns', undefined, { key: null, headers });
    expect(answer.status).toBe(401);
    expect(answer.body.code).toBe('UNAUTHENTICATED');
    expect(answer.headers.get('WWW-Authenticate')).toBe('Bearer realm="dialwright"');
  });

  test('a key in the query is none', async () => {
    expect((await api.call('GET', `/v1/campaigns?key=${api.admin}`, undefined, { key: null })).status).toBe(401);
  });

  test('nothing of the body is read', async () => {
    const raw = '{"broken';
    const options = { key: null, raw, headers: { 'Content-Type': 'application/json' } };
    expect((await api.call('POST', '/v1/campaigns', undefined, options)).status).toBe(401);
  });
});

describe('tickets', () => {
  const open = (ticket: string, id: string = agent.id) => openSse(`${api.url}/v1/agents/${id}/stream?ticket=${ticket}`, {});
  const ticket = async (): Promise<string> =>
    (await api.call('POST', `/v1/agents/${agent.id}/stream-ticket`, undefined, { key: keys.agent })).body.ticket;

  test('open the stream of their agent, and nothing else', async () => {
    const one = await ticket();
    const stream = await open(one);
    await eventually(() => stream.events.length > 0);
    const other = await makeAgent(api);
    expect((await open(one, other.id)).status).toBe(403);
    expect((await api.call('GET', `/v1/agents/${agent.id}?ticket=${one}`, undefined, { key: null })).status).toBe(401);
    expect((await api.call('GET', `/v1/call-events/stream?ticket=${one}`, undefined, { key: null })).status).toBe(401);
  });

  test('expire', async () => {
    const one = await ticket();
    await api.db.pool.query(`UPDATE stream_ticket SET expires_at = $1`, [new Date(Date.now() - 1)]);
    expect((await open(one)).status).toBe(401);
    expect((await open('nonsense')).status).toBe(401);
  });

  test('are no better than the key with which they were asked for', async () => {
    const { body: own } = await api.call('POST', '/v1/keys', { name: 'own', role: 'agent', agent_id: agent.id });
    const ask = async () => (await api.call('POST', `/v1/agents/${agent.id}/stream-ticket`, undefined, { key: own.key })).body.ticket;
    const [used, unused] = [await ask(), await ask()];
    const stream = await open(used);
    await api.call('DELETE', `/v1/keys/${own.id}`);
    await stream.ended;
    expect((await open(unused)).status).toBe(401);
  });

  test('are kept as a hash', async () => {
    const one = await ticket();
    const { rows } = await api.db.pool.query(`SELECT hash FROM stream_ticket`);
    expect(rows.map((row) => row.hash)).toContain(hashSecret(one));
  });
});

test('too many failures from one address are refused, good keys are not', async () => {
  const own = await startTestApi();
  const campaign = await makeCampaign(own);
  const fail = () => own.call('GET', '/v1/campaigns', undefined, { key: 'dw_wrong' });
  let answer = await fail();
  for (let n = 0; n < 100 && answer.status === 401; n++) answer = await fail();
  expect(answer.status).toBe(429);
  expect(Number(answer.headers.get('Retry-After'))).toBeGreaterThan(0);
  expect(answer.body.code).toBe('TOO_MANY_REQUESTS');
  expect((await own.call('GET', `/v1/campaigns/${campaign.id}`)).status).toBe(200);
});
