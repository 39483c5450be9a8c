import { afterAll, describe, expect, test } from 'vitest';
import { ensureAdminKey, hashSecret } from '../../api/auth.ts';
import { createListener } from '../../api/listener.ts';
import { startApi } from '../../api/server.ts';
import { eventually } from '../kit/eventually.ts';
import { makeAgent, makeCampaign, openSse, startTestApi } from './api-server.ts';

const api = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
const agent = await makeAgent(api);
/** Another API process on the same database, as far as keys go. */
const second = await (async () => {
  const server = await startApi({ ...api.deps, listen: createListener(api.databaseUrl, api.deps.log) }, { host: '127.0.0.1', port: 0 });
  afterAll(() => server.close());
  const use = (key: string) => fetch(`${server.url}/v1/campaigns`, { headers: { Authorization: `Bearer ${key}` } });
  return { url: server.url, use };
})();
const agentKey = await api.key('agent', Number(agent.id));

describe('keys', () => {
  test('are shown once, listed without, and stop working with the answer that they are revoked', async () => {
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
    expect((await use()).status).toBe(401);
    expect((await api.call('DELETE', `/v1/keys/${made.body.id}`)).status).toBe(204);
    expect((await api.call('DELETE', '/v1/keys/2000000000')).status).toBe(404);
  });

  test.each([
    ['revoked', (id: string) => api.call('DELETE', `/v1/keys/${id}`)],
    ['rotated', (id: string) => api.call('POST', `/v1/keys/${id}/rotate`)],
  ])('a stream ends at once when its key is %s, in every process', async (_how, end) => {
    const made = await api.call('POST', '/v1/keys', { name: 'stream', role: 'operator' });
    const headers = { Authorization: `Bearer ${made.body.key}` };
    const ofAnother = { Authorization: `Bearer ${await api.key('operator')}` };
    const at = (url: string) => [`${url}/v1/call-events/stream`, `${url}/v1/agents/${agent.id}/stream`];
    const streams = await Promise.all([...at(api.url), ...at(second.url)].map((url) => openSse(url, headers)));
    const stays = await openSse(`${second.url}/v1/call-events/stream`, ofAnother);
    let open = true;
    void stays.ended.then(() => (open = false));
    const from = performance.now();
    await end(made.body.id);
    await Promise.all(streams.map((stream) => stream.ended));
    // Otherwise they would have been seen by the look that is taken every 5 s.
    expect(performance.now() - from).toBeLessThan(2_500);
    expect((await second.use(made.body.key)).status).toBe(401);
    expect(open).toBe(true);
  });

  test('a stream ends within 5 s when the word of its key is lost', async () => {
    const made = await api.call('POST', '/v1/keys', { name: 'stream', role: 'operator' });
    const stream = await openSse(`${api.url}/v1/call-events/stream`, { Authorization: `Bearer ${made.body.key}` });
    await api.db.pool.query(`UPDATE api_key SET revoked_at = $2 WHERE id = $1`, [made.body.id, new Date()]);
    await stream.ended;
  });

  test('are rotated: another of the same name, role and agent in their place', async () => {
    const old = await api.call('POST', '/v1/keys', { name: 'desk 7', role: 'agent', agent_id: agent.id });
    const ticket = (await api.call('POST', `/v1/agents/${agent.id}/stream-ticket`, undefined, { key: old.body.key })).body.ticket;
    const rotated = await api.call('POST', `/v1/keys/${old.body.id}/rotate`);
    expect(rotated.status).toBe(201);
    expect(rotated.headers.get('Location')).toBe(`/v1/keys/${rotated.body.id}`);
    expect(rotated.body).toMatchObject({ name: 'desk 7', role: 'agent', agent_id: agent.id, revoked_at: null });
    expect(rotated.body.id).not.toBe(old.body.id);
    const read = (key: string) => api.call('GET', `/v1/agents/${agent.id}`, undefined, { key });
    expect([(await read(old.body.key)).status, (await read(rotated.body.key)).status]).toEqual([401, 200]);
    expect((await openSse(`${api.url}/v1/agents/${agent.id}/stream?ticket=${ticket}`, {})).status).toBe(401);
    // There is nothing to put in the place of one that is revoked.
    expect((await api.call('POST', `/v1/keys/${old.body.id}/rotate`)).body).toMatchObject({ code: 'CONFLICT', state: 'revoked' });
    expect((await api.call('POST', '/v1/keys/2000000000/rotate')).status).toBe(404);
  });

  test('are rotated once by a request and its repeats; one whose answer was lost gets another', async () => {
    const old = await api.call('POST', '/v1/keys', { name: 'x', role: 'operator' });
    const rotate = () => api.call('POST', `/v1/keys/${old.body.id}/rotate`, undefined, { headers: { 'Idempotency-Key': 'rotate-once' } });
    const first = await rotate();
    expect((await rotate()).body).toEqual({ ...first.body, key: null });
    await api.db.pool.query(`DELETE FROM idempotent_request WHERE key = 'rotate-once'`);
    const second = await rotate();
    expect(second.body).toEqual({ ...first.body, key: expect.stringMatching(/^dw_/) });
    const use = (key: string) => api.call('GET', '/v1/campaigns', undefined, { key });
    expect([(await use(first.body.key)).status, (await use(second.body.key)).status]).toEqual([401, 200]);
  });

  test('are not rotated by themselves: with the answer both would be lost', async () => {
    const made = await api.call('POST', '/v1/keys', { name: 'x', role: 'admin' });
    const answer = await api.call('POST', `/v1/keys/${made.body.id}/rotate`, undefined, { key: made.body.key });
    expect(answer.status).toBe(409);
    expect((await api.call('GET', '/v1/keys', undefined, { key: made.body.key })).status).toBe(200);
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
    (await api.call('POST', `/v1/agents/${agent.id}/stream-ticket`, undefined, { key: agentKey })).body.ticket;

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
