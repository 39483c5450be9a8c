import { describe, expect, test } from 'vitest';
import { AppError } from '../../domain/errors.ts';
import { makeAgent, makeCampaign, makeContact, startTestApi, unique } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const body = () => ({ name: unique('Idempotent '), country: 'NO', zone: 'Europe/Oslo' });
const post = (path: string, content: object | undefined, key: string, as = api.admin) =>
  api.call('POST', path, content, { key: as, headers: { 'Idempotency-Key': key } });
const count = async (table: string) => Number((await api.db.pool.query(`SELECT count(*) FROM ${table}`)).rows[0].count);

describe('a POST with an Idempotency-Key', () => {
  test('is carried out once, and answers the same to a repeat', async () => {
    const content = body();
    const first = await post('/v1/campaigns', content, 'same');
    const campaigns = await count('campaign');
    const again = await post('/v1/campaigns', content, 'same');
    expect(again.status).toBe(201);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('Location')).toBe(first.headers.get('Location'));
    expect(first.headers.get('Idempotent-Replay')).toBeNull();
    expect(again.headers.get('Idempotent-Replay')).toBe('true');
    expect(await count('campaign')).toBe(campaigns);
  });

  test('of many at the same time one is carried out, the others are told to wait or get its answer', async () => {
    const content = body();
    const campaigns = await count('campaign');
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/v1/campaigns', content, 'rush')));
    expect(await count('campaign')).toBe(campaigns + 1);
    for (const answer of answers) {
      if (answer.status === 201) continue;
      expect(answer.status).toBe(409);
      expect(answer.body).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', state: 'running' });
      expect(answer.headers.get('Retry-After')).toBe('1');
    }
    const fresh = answers.filter((answer) => answer.status === 201 && !answer.headers.get('Idempotent-Replay'));
    expect(fresh).toHaveLength(1);
  });

  test('is not another request: other body, other path, other query', async () => {
    const campaign = await makeCampaign(api);
    await post('/v1/campaigns', body(), 'taken');
    for (const [path, content] of [
      ['/v1/campaigns', body()],
      [`/v1/campaigns/${campaign.id}/start`, undefined],
    ] as const) {
      const answer = await post(path, content, 'taken');
      expect(answer.status).toBe(409);
      expect(answer.body.code).toBe('IDEMPOTENCY_CONFLICT');
      expect(answer.headers.get('Retry-After')).toBeNull();
    }
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}`)).body.status).toBe('draft');
  });

  test('is of one API key alone', async () => {
    const content = body();
    const first = await post('/v1/campaigns', content, 'mine');
    const other = await post('/v1/campaigns', content, 'mine', await api.key('manager'));
    expect(other.status).toBe(201);
    expect(other.body.id).not.toBe(first.body.id);
  });

  test('a refusal is an answer too', async () => {
    const campaign = await makeCampaign(api);
    const path = `/v1/campaigns/${campaign.id}/pause`;
    const first = await post(path, undefined, 'refused');
    expect(first.status).toBe(409);
    await api.call('POST', `/v1/campaigns/${campaign.id}/start`);
    const again = await post(path, undefined, 'refused');
    expect(again.status).toBe(409);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('Idempotent-Replay')).toBe('true');
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}`)).body.status).toBe('running');
  });

  test('a request that is not well-formed is not kept: corrected, it may use its key', async () => {
    expect((await post('/v1/campaigns', { ...body(), zone: 'x' }, 'corrected')).status).toBe(400);
    expect((await post('/v1/campaigns', body(), 'corrected')).status).toBe(201);
  });

  test('503 is not kept: a repeat carries on', async () => {
    const campaign = await makeCampaign(api);
    const agent = await makeAgent(api, [campaign]);
    const { offerId } = await makeCall(api, { contact: await makeContact(api, campaign), agent, callNo: 1 });
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'away');
    };
    const path = `/v1/offers/${offerId}/reject`;
    expect((await post(path, undefined, 'away')).status).toBe(503);
    api.workflows.onUpdate = () => undefined;
    const again = await post(path, undefined, 'away');
    expect(again.status).toBe(200);
    expect(again.headers.get('Idempotent-Replay')).toBeNull();
  });

  test('one that a dead process has left is taken over after a minute, by the same request only', async () => {
    const content = body();
    await post('/v1/campaigns', content, 'crashed');
    const leave = (age: number) =>
      api.db.pool.query(`UPDATE idempotent_request SET status = NULL, body = NULL, created_at = $1 WHERE key = 'crashed'`, [
        new Date(Date.now() - age),
      ]);
    await leave(30_000);
    expect((await post('/v1/campaigns', content, 'crashed')).status).toBe(409);
    await leave(61_000);
    expect((await post('/v1/campaigns', body(), 'crashed')).status).toBe(409);
    const taken = await Promise.all([1, 2, 3].map(() => post('/v1/campaigns', content, 'crashed')));
    expect(taken.filter((answer) => answer.status === 201 && !answer.headers.get('Idempotent-Replay'))).toHaveLength(1);
    // What the dead process had made is what the repeat answers.
    expect((await api.db.pool.query(`SELECT 1 FROM campaign WHERE name = $1`, [(content as { name: string }).name])).rowCount).toBe(1);
  });

  test('what was made before its answer was lost is made no second time: an agent, a key', async () => {
    const lose = (key: string) => api.db.pool.query(`DELETE FROM idempotent_request WHERE key = $1`, [key]);
    const agent = { name: 'Lost', phone: '4711' };
    const first = await post('/v1/agents', agent, 'lost-agent');
    await lose('lost-agent');
    expect((await post('/v1/agents', agent, 'lost-agent')).body).toEqual(first.body);
    const wanted = { name: 'lost', role: 'operator' };
    const [unseen] = [await post('/v1/keys', wanted, 'lost-key')];
    await lose('lost-key');
    const seen = await post('/v1/keys', wanted, 'lost-key');
    expect(seen.body.id).toBe(unseen.body.id);
    const status = async (key: string) => (await api.call('GET', '/v1/campaigns', undefined, { key })).status;
    expect([await status(unseen.body.key), await status(seen.body.key)]).toEqual([401, 200]);
  });

  test('a new API key is shown once, and never kept', async () => {
    const content = { name: 'once', role: 'operator' };
    const first = await post('/v1/keys', content, 'secret');
    const again = await post('/v1/keys', content, 'secret');
    expect(first.body.key).toMatch(/^dw_/);
    expect(again.body).toEqual({ ...first.body, key: null });
    const { rows } = await api.db.pool.query(`SELECT body FROM idempotent_request WHERE key = 'secret'`);
    expect(JSON.stringify(rows)).not.toContain(first.body.key);
  });

  test('a heartbeat and a ticket are given anew', async () => {
    const agent = await makeAgent(api);
    const tickets = [await post(`/v1/agents/${agent.id}/stream-ticket`, undefined, 't'), await post(`/v1/agents/${agent.id}/stream-ticket`, undefined, 't')];
    expect(tickets[0]!.body.ticket).not.toBe(tickets[1]!.body.ticket);
    expect((await post(`/v1/agents/${agent.id}/heartbeat`, undefined, 't')).status).toBe(200);
  });

  test.each(['', ' ', 'a b', 'ø', 'x'.repeat(256)])('the key %j is refused', async (key) => {
    const answer = await post('/v1/campaigns', body(), encodeURIComponent(key) === key || key === '' ? key : key.replace('ø', '\u00f8'));
    expect(answer.status).toBe(400);
    expect(answer.body.issues).toEqual([{ field: 'Idempotency-Key', reason: expect.any(String) }]);
  });

  test('255 visible characters are a key', async () => {
    expect((await post('/v1/campaigns', body(), '~'.repeat(255))).status).toBe(201);
  });
});
