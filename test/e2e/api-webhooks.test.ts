/** The routes of webhooks: what is taken, what is refused, what is shown once. Delivering: webhooks.test.ts. */
import { describe, expect, test } from 'vitest';
import { writeEvents } from '../kit/events.ts';
import { type Json, makeCampaign, startTestApi } from './api-server.ts';

const api = await startTestApi();
const URL_ = 'https://example.org/dialwright?from=here';
const make = async (more: object = {}): Promise<Json> => (await api.call('POST', '/v1/webhooks', { url: URL_, ...more })).body;
const campaign = await makeCampaign(api);
await writeEvents(api.db, ['call', 'agent', 'disposition']);

const ALL = ['call', 'agent', 'disposition', 'wrap_up'];

describe('a new webhook', () => {
  test('gets everything from now on, unless more is said', async () => {
    const answer = await api.call('POST', '/v1/webhooks', { url: URL_ });
    expect(answer.headers.get('Location')).toBe(`/v1/webhooks/${answer.body.id}`);
    expect(answer.body).toMatchObject({
      ...{ url: URL_, kinds: ALL, campaign_ids: [], position: '3', behind: 0, state: 'active', paused_reason: null },
      ...{ failing_since: null, last_error: null, next_attempt_at: null, old_secrets_until: null },
    });
    const given = { kinds: ['call'], campaign_ids: [campaign.id], position: '1' };
    expect(await make(given)).toMatchObject({ ...given, behind: 2 });
    expect((await make({ campaign_ids: [campaign.id] })).kinds).toEqual(['call', 'disposition', 'wrap_up']);
    expect((await make({ position: '0' })).position).toBe('0');
    expect((await make({ url: 'https://Example.org' })).url).toBe('https://example.org/');
  });

  test.each([
    [{}, 'url', 'is missing'],
    [{ url: 'example.org' }, 'url', 'is not a URL such as https://example.org/dialwright'],
    [{ url: 'http://example.org' }, 'url', 'must begin with https://'],
    [{ url: 'ftp://example.org' }, 'url', 'must begin with https://'],
    [{ url: 'https://10.0.0.1' }, 'url', 'leads to an address that is not public'],
    [{ url: 'https://u:p@example.org' }, 'url', 'must not have a user or password in it'],
    [{ url: `https://example.org/${'x'.repeat(2000)}` }, 'url', 'must have at most 2000 characters'],
    [{ url: URL_, kinds: [] }, 'kinds', 'must have 1 or more'],
    [{ url: URL_, kinds: ['call', 'call'] }, 'kinds', 'names a kind twice'],
    [{ url: URL_, kinds: ['leg'] }, 'kinds.0', 'must be call or agent or disposition or wrap_up'],
    [{ url: URL_, campaign_ids: ['2000000000'] }, 'campaign_ids', 'names a campaign that does not exist'],
    [{ url: URL_, campaign_ids: ['1', '1'] }, 'campaign_ids', 'names a campaign twice'],
    [{ url: URL_, campaign_ids: ['x'] }, 'campaign_ids.0', 'is not an id'],
    [
      { url: URL_, campaign_ids: [campaign.id], kinds: ['call', 'agent'] },
      'kinds',
      'must not have agent in it where campaign_ids are given: agent events are of no campaign',
    ],
    [{ url: URL_, position: '4' }, 'position', 'is ahead of the last position, which is 3'],
    [{ url: URL_, position: '-1' }, 'position', 'is not a position: a whole number, 0 or more'],
    [{ url: URL_, secret: 'whsec_mine' }, 'secret', 'is not a known field of the body'],
  ])('%j is refused for %s', async (body, field, reason) => {
    const answer = await api.call('POST', '/v1/webhooks', body);
    expect(answer.status).toBe(400);
    expect(answer.body.issues).toEqual([{ field, reason }]);
  });

  test('made twice with one Idempotency-Key is one, and shows its secret once', async () => {
    const headers = { 'Idempotency-Key': 'once' };
    const first = await api.call('POST', '/v1/webhooks', { url: URL_ }, { headers });
    const again = await api.call('POST', '/v1/webhooks', { url: URL_ }, { headers });
    expect(again.headers.get('Idempotent-Replay')).toBe('true');
    expect(again.body).toEqual({ ...first.body, secret: null });
    expect(first.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);

    // Where the API has died before it could keep its answer, too.
    await api.db.pool.query(`DELETE FROM idempotent_request WHERE key = 'once'`);
    const { body } = await api.call('POST', '/v1/webhooks', { url: URL_ }, { headers });
    expect([body.id, body.secret]).toEqual([first.body.id, null]);
  });

  test('shows its secret nowhere else', async () => {
    const { id, secret } = await make();
    const rotated = await api.call('POST', `/v1/webhooks/${id}/rotate-secret`, {}, { headers: { 'Idempotency-Key': 'rotate' } });
    const repeated = await api.call('POST', `/v1/webhooks/${id}/rotate-secret`, {}, { headers: { 'Idempotency-Key': 'rotate' } });
    expect(repeated.body).toEqual({ ...rotated.body, secret: null });
    const answers = [
      await api.call('GET', `/v1/webhooks/${id}`),
      await api.call('GET', '/v1/webhooks?limit=1000'),
      await api.call('PATCH', `/v1/webhooks/${id}`, { kinds: ['call'] }),
      await api.call('POST', `/v1/webhooks/${id}/pause`),
      await api.call('POST', `/v1/webhooks/${id}/resume`),
      await api.call('POST', `/v1/webhooks/${id}/replay`, { position: '0' }),
      await api.call('GET', `/v1/webhooks/${id}/deliveries`),
    ];
    const { rows } = await api.db.pool.query(`SELECT body::text FROM idempotent_request`);
    const shown = [...answers.map(({ text }) => text), ...rows.map(({ body }) => body as string)].join('\n');
    for (const one of [secret, rotated.body.secret]) expect(shown).not.toContain(one);
  });
});

describe('a change', () => {
  test('keeps what is not given, and is refused as a whole', async () => {
    const { id } = await make({ kinds: ['call', 'agent'], position: '1' });
    const patch = (body: object) => api.call('PATCH', `/v1/webhooks/${id}`, body);
    expect((await patch({ url: 'https://example.com/other' })).body).toMatchObject({
      ...{ url: 'https://example.com/other', kinds: ['call', 'agent'], position: '1' },
    });
    expect((await patch({ campaign_ids: [campaign.id] })).body.issues[0].field).toBe('kinds');
    expect((await patch({ url: 'https://example.org/', campaign_ids: ['2000000000'], kinds: ['call'] })).status).toBe(400);
    expect((await patch({})).body.issues).toEqual([{ field: 'body', reason: 'must name at least one field to change' }]);
    expect((await patch({ position: '0' })).status).toBe(400);
    const { body } = await patch({ campaign_ids: [campaign.id], kinds: ['call'] });
    expect(body).toMatchObject({ url: 'https://example.com/other', kinds: ['call'], campaign_ids: [campaign.id] });
  });

  test('made by two at once is never one that would be refused', async () => {
    for (let n = 0; n < 10; n++) {
      const { id } = await make({ kinds: ['call'] });
      const patch = (body: object) => api.call('PATCH', `/v1/webhooks/${id}`, body);
      const statuses = await Promise.all([patch({ kinds: ['agent'] }), patch({ campaign_ids: [campaign.id] })]);
      expect(statuses.map(({ status }) => status).toSorted()).toEqual([200, 400]);
    }
  });

  test('of the secret made by many at once leaves every secret shown valid', async () => {
    const { id } = await make();
    const rotate = () => api.call('POST', `/v1/webhooks/${id}/rotate-secret`, {});
    const made = await Promise.all([rotate(), rotate(), rotate(), rotate()]);
    const { rows } = await api.db.pool.query(`SELECT secret, old_secrets FROM webhook WHERE id = $1`, [id]);
    const valid = [rows[0].secret, ...rows[0].old_secrets.map(({ secret }: Json) => secret)];
    expect(valid).toEqual(expect.arrayContaining(made.map(({ body }) => body.secret)));
  });

  test.each([
    [{ old_valid_sec: -1 }, 'must be 0 or more'],
    [{ old_valid_sec: 604_801 }, 'must be 604800 or less'],
    [{ old_valid_sec: 1.5 }, 'must be a whole number'],
  ])('of the secret with %j is refused', async (body, reason) => {
    const { id } = await make();
    const answer = await api.call('POST', `/v1/webhooks/${id}/rotate-secret`, body);
    expect(answer.body.issues).toEqual([{ field: 'old_valid_sec', reason }]);
  });
});

test('a webhook that is deleted is not there any more', async () => {
  const { id } = await make();
  expect((await api.call('DELETE', `/v1/webhooks/${id}`)).status).toBe(204);
  expect((await api.call('DELETE', `/v1/webhooks/${id}`)).status).toBe(404);
  expect((await api.call('GET', `/v1/webhooks/${id}`)).status).toBe(404);
  for (const what of ['pause', 'resume', 'test']) expect((await api.call('POST', `/v1/webhooks/${id}/${what}`)).status).toBe(404);
  expect((await api.call('GET', `/v1/webhooks/${id}/deliveries`)).status).toBe(404);
});

test('lists go on page by page: webhooks in order, deliveries the latest first', async () => {
  const made = [await make(), await make(), await make()].map(({ id }) => id as string);
  const list = async (path: string, limit: number) => {
    const ids: string[] = [];
    let cursor = '';
    for (;;) {
      const { body } = await api.call('GET', `${path}?limit=${limit}${cursor}`);
      ids.push(...body.items.map(({ id }: Json) => id));
      if (body.next === null) return ids;
      cursor = `&cursor=${body.next}`;
    }
  };
  expect((await list('/v1/webhooks', 2)).slice(-3)).toEqual(made);
  await api.db.pool.query(
    `INSERT INTO webhook_delivery (webhook_id, delivery_id, type, attempt, events, at, duration_ms, error)
     SELECT $1, 'msg_' || n, 'events', 1, 1, $2, 1, 'timeout' FROM generate_series(1, 7) n`,
    [made[0], new Date()],
  );
  const ids = (await list(`/v1/webhooks/${made[0]}/deliveries`, 3)).map(Number);
  expect(ids).toHaveLength(7);
  expect(ids).toEqual(ids.toSorted((a, b) => b - a));
});

test('its figures are among the metrics, by id and without its URL', async () => {
  const own = await startTestApi();
  const { body } = await own.call('POST', '/v1/webhooks', { url: URL_ });
  await writeEvents(own.db, ['call', 'call']);
  await own.db.pool.query(
    `UPDATE webhook SET state = 'paused', attempts = 7, failures = 3, failing_since = $1`,
    [new Date(Date.now() - 60_000)],
  );
  const { text } = await own.call('GET', '/metrics');
  const figure = (name: string) => Number(new RegExp(`^dialwright_webhook_${name}{webhook="${body.id}"} (.*)$`, 'm').exec(text)?.[1]);
  expect(figure('positions_behind')).toBe(2);
  expect(figure('paused')).toBe(1);
  expect(figure('attempts_total')).toBe(7);
  expect(figure('failures_total')).toBe(3);
  expect(figure('failing_seconds')).toBeGreaterThanOrEqual(60);
  expect(text).not.toContain('example.org');
  await own.call('DELETE', `/v1/webhooks/${body.id}`);
  expect((await own.call('GET', '/metrics')).text).not.toContain(`{webhook="${body.id}"}`);
});
