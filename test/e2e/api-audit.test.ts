/** Who changed what: a row for every request that might have changed something, and nothing personal in it. */
import { beforeAll, describe, expect, test } from 'vitest';
import { subjectOf } from '../../api/audit.ts';
import { MANAGERS } from '../../api/auth.ts';
import { makeCall } from './api-rows.ts';
import { type Answer, type Json, makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';

const api = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
let campaign: Json;
let manager: { id: string; key: string };
beforeAll(async () => {
  campaign = await makeCampaign(api);
  manager = (await api.call('POST', '/v1/keys', { name: 'manager', role: 'manager' })).body;
});

const audit = async (query = ''): Promise<Json[]> => (await api.call('GET', `/v1/audit?limit=1000&${query}`)).body.items;
const latest = async (): Promise<Json> => (await api.call('GET', '/v1/audit?limit=1')).body.items[0];
const asManager = (method: string, path: string, body?: unknown, headers = {}): Promise<Answer> =>
  api.call(method, path, body, { key: manager.key, headers });

describe('a row', () => {
  test('says who, when, what and which, with the names of the fields', async () => {
    const from = new Date().toISOString();
    await asManager('PATCH', `/v1/campaigns/${campaign.id}`, { name: 'Åse Ødegård', rules: { max_attempts: 7, record_calls: true } });
    const row = await latest();
    expect(row).toEqual({
      id: expect.any(String),
      at: expect.any(String),
      by: `key:${manager.id}`,
      method: 'PATCH',
      route: '/v1/campaigns/{id}',
      subject: 'campaign',
      subject_id: campaign.id,
      fields: ['name', 'rules.max_attempts', 'rules.record_calls'],
      status: 200,
    });
    expect(row.at >= from && row.at <= new Date().toISOString()).toBe(true);
  });

  test('of what was made has its id', async () => {
    const made = await makeCampaign(api);
    expect(await latest()).toMatchObject({ method: 'POST', subject: 'campaign', subject_id: made.id, status: 201 });
    const { body: key } = await api.call('POST', '/v1/keys', { name: 'x', role: 'operator' });
    expect(await latest()).toMatchObject({ subject: 'key', subject_id: key.id, fields: ['name', 'role'] });
    await api.call('POST', `/v1/keys/${key.id}/rotate`);
    expect(await latest()).toMatchObject({ subject: 'key', subject_id: key.id, route: '/v1/keys/{id}/rotate', status: 201 });
    await api.call('DELETE', `/v1/keys/${key.id}`);
    expect(await latest()).toMatchObject({ method: 'DELETE', subject: 'key', subject_id: key.id, status: 204 });
  });

  test('has no number, external id or text in it', async () => {
    const phone_num = '+4722865026';
    const path = `/v1/campaigns/${campaign.id}/contacts/by-external-id/born-1970-01-01`;
    const { body: contact } = await asManager('PUT', path, { phone_num, variables: { var1: 'Åse Ødegård' } });
    expect(await latest()).toMatchObject({ subject: 'contact', subject_id: contact.id, fields: ['phone_num', 'variables.var1'], status: 201 });
    await asManager('PUT', `/v1/do-not-call/${encodeURIComponent(phone_num)}`, { comment: 'Åse asks' });
    expect(await latest()).toMatchObject({ subject: 'do_not_call', subject_id: null, fields: ['comment'], status: 201 });
    await asManager('DELETE', `/v1/do-not-call/${encodeURIComponent(phone_num)}?comment=Åse`);
    expect(await latest()).toMatchObject({ subject: 'do_not_call', subject_id: null, fields: ['comment'], status: 204 });
    const file = { key: manager.key, raw: `phone_num,var1\n${phone_num},Åse\n`, headers: { 'Content-Type': 'text/csv' } };
    await api.call('POST', `/v1/campaigns/${campaign.id}/imports?mode=add&map=var2%3D%2B4722865027`, undefined, file);
    expect(await latest()).toMatchObject({ subject: 'campaign', fields: ['mode', 'map'], status: 400 });
    await api.call('POST', `/v1/campaigns/${campaign.id}/start?%2B4722865026=Åse`, undefined, { key: manager.key });
    const { rows } = await api.db.pool.query<{ text: string }>(`SELECT a::text AS text FROM audit a`);
    const all = rows.map(({ text }) => text).join('\n');
    expect(all).toContain('phone_num');
    expect(all).not.toMatch(/2286502|Åse|born-1970/);
  });

  test('says that it was refused; what can not be read at all changes nothing and has none', async () => {
    await asManager('PATCH', '/v1/campaigns/2000000000', { name: 'x' });
    expect(await latest()).toMatchObject({ subject_id: '2000000000', status: 404 });
    await asManager('POST', `/v1/campaigns/${campaign.id}/end`);
    await asManager('POST', `/v1/campaigns/${campaign.id}/start`);
    expect(await latest()).toMatchObject({ route: '/v1/campaigns/{id}/start', status: 409 });
    const before = await latest();
    await asManager('PATCH', `/v1/campaigns/${campaign.id}`, { name: 7 });
    await asManager('POST', '/v1/keys', { name: 'x', role: 'admin' });
    await asManager('GET', '/v1/campaigns');
    expect(await latest()).toEqual(before);
  });

  test('is there before anything is done, and without a status if the process dies in the middle', async () => {
    const contact = await makeContact(api, await makeCampaign(api));
    await makeCall(api, { contact, callNo: 1, queued: true });
    let during: Json;
    api.workflows.onUpdate = async () => {
      during = await latest();
      throw Object.assign(new Error('the connection broke'), { code: 'ECONNRESET' });
    };
    const answer = await asManager('POST', `/v1/contacts/${contact.id}/disable`);
    api.workflows.onUpdate = () => undefined;
    expect(during).toMatchObject({ route: '/v1/contacts/{id}/disable', subject: 'contact', subject_id: contact.id, status: null });
    expect(answer.status).toBe(503);
    expect(await latest()).toEqual({ ...during, status: 503 });
  });

  test('is written once for a request and its repeats', async () => {
    const count = (await audit()).length;
    const headers = { 'Idempotency-Key': 'once-only' };
    const name = 'Repeated';
    const first = await asManager('POST', '/v1/campaigns', { name, country: 'NO', zone: 'Europe/Oslo' }, headers);
    const again = await asManager('POST', '/v1/campaigns', { name, country: 'NO', zone: 'Europe/Oslo' }, headers);
    expect([first.body.id, again.headers.get('Idempotent-Replay')]).toEqual([again.body.id, 'true']);
    expect(await audit()).toHaveLength(count + 1);
  });

  test('without one nothing is done', async () => {
    const broken = await makeCampaign(api);
    await api.db.pool.query(`ALTER TABLE audit RENAME TO audit_away`);
    // A defect of ours, which the checks of every other test would report.
    const headers = { Authorization: `Bearer ${manager.key}` };
    const answer = await fetch(`${api.url}/v1/campaigns/${broken.id}/start`, { method: 'POST', headers });
    await api.db.pool.query(`ALTER TABLE audit_away RENAME TO audit`);
    expect(answer.status).toBe(500);
    expect((await api.call('GET', `/v1/campaigns/${broken.id}`)).body.status).toBe('draft');
  });
});

describe('every route', () => {
  const changing = api.routes.filter((route) => subjectOf(route) !== null);

  test('that is no GET is audited, but for those that leave nothing', () => {
    const left = api.routes.filter((route) => route.method !== 'get' && !changing.includes(route));
    expect(left.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([
      'post /v1/agents/{id}/heartbeat',
      'post /v1/agents/{id}/stream-ticket',
      'post /v1/campaigns/{id}/check',
      'post /v1/simulator/phones/{number}/answer',
      'post /v1/simulator/phones/{number}/digit',
      'post /v1/simulator/phones/{number}/hang-up',
      'post /v1/simulator/phones/{number}/reject',
    ]);
    expect(changing.length).toBeGreaterThan(40);
  });

  test('of one that nobody has said the subject of, the API does not start', () => {
    const route = { ...changing[0]!, path: '/v1/something-new' };
    expect(() => subjectOf(route)).toThrow('SUBJECT_OF does not say');
  });

  test('a dry run and what agents do themselves are not: the raw data has the latter', async () => {
    const agent = await makeAgent(api);
    const key = await api.key('agent', Number(agent.id));
    const before = await latest();
    await api.call('PUT', `/v1/agents/${agent.id}/state`, { state: 'ready' }, { key });
    const file = { raw: 'phone_num\n+4722865026\n', headers: { 'Content-Type': 'text/csv' } };
    await api.call('POST', `/v1/campaigns/${(await makeCampaign(api)).id}/imports?dryRun=true`, undefined, file);
    const rows = await audit();
    expect(rows.slice(0, rows.findIndex(({ id }) => id === before.id)).map(({ route }) => route)).toEqual(['/v1/campaigns']);
    const { rows: events } = await api.db.pool.query(`SELECT changed_by FROM agent_events WHERE agent_id = $1`, [agent.id]);
    expect(events).toEqual([{ changed_by: `agent:${agent.id}` }]);
    // In the agent's place it is on record here.
    await asManager('PUT', `/v1/agents/${agent.id}/state`, { state: 'paused' });
    expect(await latest()).toMatchObject({ by: `key:${manager.id}`, subject: 'agent', subject_id: agent.id, fields: ['state'] });
  });
});

describe('reading', () => {
  test('is for administrators', async () => {
    for (const role of ['manager', 'operator'] as const) {
      expect((await api.call('GET', '/v1/audit', undefined, { key: await api.key(role) })).status).toBe(403);
    }
    expect(MANAGERS).toContain('manager');
  });

  test('the latest first, in pages, by who, what and when', async () => {
    const other = await makeCampaign(api);
    for (const name of ['one', 'two', 'three']) await asManager('PATCH', `/v1/campaigns/${other.id}`, { name });
    const mine = await audit(`subject=campaign&subject_id=${other.id}`);
    expect(mine.map(({ method }) => method)).toEqual(['PATCH', 'PATCH', 'PATCH', 'POST']);
    const byManager = await audit(`subject=campaign&subject_id=${other.id}&by=key:${manager.id}`);
    expect(byManager).toEqual(mine.slice(0, 3));
    expect(await audit(`subject_id=${other.id}&subject=campaign&from=${mine[1].at}&to=${mine[0].at}`)).toEqual(
      mine.filter(({ at }) => at >= mine[1].at && at < mine[0].at),
    );
    const first = await api.call('GET', `/v1/audit?limit=2&subject=campaign&subject_id=${other.id}`);
    const second = await api.call('GET', `/v1/audit?limit=2&subject=campaign&subject_id=${other.id}&cursor=${first.body.next}`);
    expect([...first.body.items, ...second.body.items]).toEqual(mine);
    expect(second.body.next).toBeNull();
  });

  test.each(['by=Kari', 'subject=person', 'from=yesterday', 'cursor=x', 'who=me'])('%s is refused', async (query) => {
    expect((await api.call('GET', `/v1/audit?${query}`)).status).toBe(400);
  });
});
