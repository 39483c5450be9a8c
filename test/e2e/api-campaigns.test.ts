import { describe, expect, test } from 'vitest';
import { defaultRules } from '../../domain/rules.ts';
import { AppError } from '../../domain/errors.ts';
import { inTx } from '../../prisma/tx.ts';
import { lockQueue } from '../../matching/sql.ts';
import { makeAgent, makeCampaign, makeContact, startTestApi, unique } from './api-server.ts';

const api = await startTestApi();
const post = (body: object) => api.call('POST', '/v1/campaigns', body);
const fields = (answer: { body: { issues?: { field: string }[] } }) => answer.body.issues?.map(({ field }) => field);

describe('settings', () => {
  test('a campaign is made as a draft with every rule filled in', async () => {
    const answer = await post({
      name: 'Høst 2026',
      country: 'NO',
      zone: 'Europe/Oslo',
      caller_id: '+47 22 86 50 00',
      rules: { max_attempts: 3 },
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('Location')).toBe(`/v1/campaigns/${answer.body.id}`);
    expect(answer.body).toMatchObject({
      status: 'draft',
      queue_key: '__Dialer_H_st_2026',
      caller_id: '+4722865000',
      service_num: null,
      rules: { ...defaultRules(), max_attempts: 3 },
      settled: true,
    });
    expect((await api.call('GET', `/v1/campaigns/${answer.body.id}`)).body).toEqual(answer.body);
  });

  test('queue keys are derived apart, also for the same name at the same time', async () => {
    const body = { name: 'Same name', country: 'NO', zone: 'Europe/Oslo' };
    const answers = await Promise.all(Array.from({ length: 6 }, () => post(body)));
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(201));
    expect(new Set(answers.map((answer) => answer.body.queue_key)).size).toBe(6);
  });

  test('a queue key that another has is a conflict', async () => {
    const body = { name: 'A', country: 'NO', zone: 'Europe/Oslo', queue_key: '__DialerMine' };
    expect((await post(body)).status).toBe(201);
    const again = await post(body);
    expect(again.status).toBe(409);
    expect(fields(again)).toEqual(['queue_key']);
  });

  test.each([
    [{}, ['name', 'country', 'zone']],
    [{ name: '', country: 'NO', zone: 'Europe/Oslo' }, ['name']],
    [{ name: 7, country: 'NO', zone: 'Europe/Oslo' }, ['name']],
    [{ name: 'x\u0000', country: 'NO', zone: 'Europe/Oslo' }, ['name']],
    [{ name: '\ud800', country: 'NO', zone: 'Europe/Oslo' }, ['name']],
    [{ name: 'x'.repeat(201), country: 'NO', zone: 'Europe/Oslo' }, ['name']],
    [{ name: 'x', country: 'Norway', zone: 'Europe/Oslo' }, ['country']],
    [{ name: 'x', country: 'no', zone: 'Europe/Oslo' }, ['country']],
    [{ name: 'x', country: 'NO', zone: 'Oslo' }, ['zone']],
    [{ name: 'x', country: 'NO', zone: '+01:00' }, ['zone']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', caller_id: '22865000' }, ['caller_id']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', caller_id: '+47112' }, ['caller_id']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', queue_key: 'Support' }, ['queue_key']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', queue_key: "__Dialer'; DROP" }, ['queue_key']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', rules: { ring_sec: 1, nope: 1 } }, ['rules.ring_sec', 'rules.nope']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', status: 'running' }, ['status']],
    [{ name: 'x', country: 'NO', zone: 'Europe/Oslo', rules: { filter: { include: [{ variable: 'var1', values: ['\0'] }] } } }, ['rules.filter.include.0.values.0']],
    [[], ['body']],
    [null, ['body']],
    ['text', ['body']],
  ])('%j is refused for %j', async (body, expected) => {
    const answer = await post(body as object);
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe('INVALID');
    expect(fields(answer)).toEqual(expected);
    for (const { reason } of answer.body.issues) expect(reason).not.toBe('');
  });

  test('hours that never open within the legal ones, or are over, are refused when they are saved', async () => {
    const hours = { periods: [{ days: ['mon'], from: '22:00', to: '23:00' }], holidays: [] };
    const day = { periods: [{ days: ['mon', 'tue'], from: '08:00', to: '20:00' }], holidays: [] };
    await api.call('PUT', '/v1/legal-hours/DK', day);
    const refused = await post({ name: 'x', country: 'DK', zone: 'Europe/Copenhagen', rules: { hours } });
    expect([refused.status, fields(refused)]).toEqual([400, ['rules.hours']]);
    const made = await makeCampaign(api, { country: 'DK', zone: 'Europe/Copenhagen', rules: { hours: day } });
    for (const wrong of [hours, { ...day, from_date: '2020-01-01', to_date: '2020-01-31' }]) {
      const answer = await api.call('PATCH', `/v1/campaigns/${made.id}`, { rules: { hours: wrong } });
      expect([answer.status, fields(answer)]).toEqual([400, ['rules.hours']]);
    }
    // Where other countries may be called, one in which they open is enough.
    expect((await api.call('PATCH', `/v1/campaigns/${made.id}`, { rules: { hours, countries: ['DK', 'NO'] } })).status).toBe(200);
  });

  test('PATCH changes what is given, counts the revision up for rules, and tells the workflow', async () => {
    const campaign = await makeCampaign(api, { rules: { ring_sec: 40 }, caller_id: '+4722865000' });
    const path = `/v1/campaigns/${campaign.id}`;
    const renamed = await api.call('PATCH', path, { name: 'New name', caller_id: null });
    expect(renamed.body).toMatchObject({ name: 'New name', caller_id: null, queue_key: campaign.queue_key, settled: true });
    api.workflows.campaigns.length = 0;
    const ruled = await api.call('PATCH', path, { rules: { retry: { b: { delay_sec: 60 } } } });
    expect(ruled.body.rules).toEqual({
      ...campaign.rules,
      retry: { ...campaign.rules.retry, b: { delay_sec: 60, max: null } },
    });
    expect(ruled.body.settled).toBe(false);
    expect(api.workflows.campaigns).toEqual([campaign.id]);
  });

  test('a PATCH that is wrong anywhere changes nothing', async () => {
    const campaign = await makeCampaign(api);
    const path = `/v1/campaigns/${campaign.id}`;
    const answer = await api.call('PATCH', path, { name: 'Changed', rules: { max_attempts: 0 } });
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(['rules.max_attempts']);
    expect((await api.call('GET', path)).body).toEqual(campaign);
    expect((await api.call('PATCH', path, {})).status).toBe(400);
    expect((await api.call('PATCH', path, { queue_key: '__DialerX' })).status).toBe(400);
  });

  test('lists go page by page to the end, none missed and none twice', async () => {
    const own = await startTestApi();
    const made = [];
    for (let n = 0; n < 7; n++) made.push((await makeCampaign(own)).id);
    const seen: string[] = [];
    let cursor = '';
    do {
      const { body } = await own.call('GET', `/v1/campaigns?limit=3${cursor && `&cursor=${cursor}`}`);
      expect(body.items.length).toBeLessThanOrEqual(3);
      seen.push(...body.items.map((item: { id: string }) => item.id));
      cursor = body.next;
    } while (cursor);
    expect(seen).toEqual(made);
  });

  test.each(['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'limit=1&limit=2', 'cursor=nonsense', 'cursor=', 'colour=red'])(
    'a list refuses ?%s',
    async (query) => {
      const answer = await api.call('GET', `/v1/campaigns?${query}`);
      expect(answer.status).toBe(400);
      expect(fields(answer)).toEqual([query.split('=')[0]]);
    },
  );

  test('a forged cursor beyond every id is refused', async () => {
    for (const id of ['2147483648', '9223372036854775808', '99999999999999999999']) {
      const cursor = Buffer.from(`id:${id}`).toString('base64url');
      expect((await api.call('GET', `/v1/agents?cursor=${cursor}`)).status).toBe(400);
    }
  });
});

describe('control', () => {
  const STATES = { draft: [], running: ['start'], paused: ['start', 'pause'], ended: ['end'] } as const;
  const OUTCOME: Record<keyof typeof STATES, Record<string, string>> = {
    draft: { start: 'running', pause: '409', resume: '409', stop: '409', end: 'ended' },
    running: { start: 'running', pause: 'paused', resume: 'running', stop: 'paused', end: 'ended' },
    paused: { start: '409', pause: 'paused', resume: 'running', stop: 'paused', end: 'ended' },
    ended: { start: '409', pause: '409', resume: '409', stop: '409', end: 'ended' },
  };
  const cases = Object.entries(OUTCOME).flatMap(([from, row]) =>
    Object.entries(row).map(([action, outcome]) => [from, action, outcome] as const),
  );

  test.each(cases)('%s, %s → %s', async (from, action, outcome) => {
    const campaign = await makeCampaign(api);
    const path = `/v1/campaigns/${campaign.id}`;
    for (const step of STATES[from as keyof typeof STATES]) await api.call('POST', `${path}/${step}`);
    const revision = async () =>
      (await api.db.pool.query(`SELECT revision FROM campaign WHERE id = $1`, [campaign.id])).rows[0].revision;
    const before = await revision();
    api.workflows.campaigns.length = 0;
    const answer = await api.call('POST', `${path}/${action}`);
    const after = (await api.call('GET', path)).body;
    if (outcome === '409') {
      expect(answer.status).toBe(409);
      expect(answer.body).toMatchObject({ code: 'CONFLICT', state: from });
      expect(after.status).toBe(from);
    } else {
      expect(answer.status).toBe(200);
      expect(answer.body).toEqual(after);
      expect(after.status).toBe(outcome);
      expect(after.stop_requested).toBe(action === 'stop');
    }
    const changed = outcome !== '409' && (outcome !== from || action === 'stop');
    expect(await revision()).toBe(before + (changed ? 1 : 0));
    expect(api.workflows.campaigns).toEqual(changed ? [campaign.id] : []);
  });

  test('resume after a stop takes the stop back; a repeated stop changes nothing', async () => {
    const campaign = await makeCampaign(api);
    const act = async (name: string) => (await api.call('POST', `/v1/campaigns/${campaign.id}/${name}`)).body;
    await act('start');
    const stopped = await act('stop');
    expect(await act('stop')).toEqual(stopped);
    expect(await act('resume')).toMatchObject({ status: 'running', stop_requested: false });
  });

  test('a decision stands while Temporal is away: it is carried out later', async () => {
    const campaign = await makeCampaign(api);
    api.workflows.away = new AppError('UNAVAILABLE', 'away');
    try {
      const answer = await api.call('POST', `/v1/campaigns/${campaign.id}/start`);
      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ status: 'running', settled: false });
    } finally {
      api.workflows.away = null;
    }
  });

  test('a pause waits for the match that is under way, and no match begins before its end', async () => {
    const campaign = await makeCampaign(api);
    await api.call('POST', `/v1/campaigns/${campaign.id}/start`);
    let pausing: Promise<unknown> | undefined;
    await inTx(api.db, async (tx) => {
      await tx.run(lockQueue(Number(campaign.id)));
      pausing = api.call('POST', `/v1/campaigns/${campaign.id}/pause`);
      const { rows } = await waitingForLock();
      expect(rows).toHaveLength(1);
      expect((await api.call('GET', `/v1/campaigns/${campaign.id}`)).body.status).toBe('running');
    });
    await pausing;
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}`)).body.status).toBe('paused');
  });

  async function waitingForLock() {
    for (;;) {
      const found = await api.db.pool.query(
        `SELECT pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
         WHERE locktype = 'advisory' AND NOT granted`,
      );
      if (found.rows.length > 0) return found;
    }
  }
});

describe('stats', () => {
  test('each group adds up to the list', async () => {
    const campaign = await makeCampaign(api);
    const agents = [await makeAgent(api, [campaign]), await makeAgent(api, [campaign])];
    await makeAgent(api);
    const states = ['new', 'waiting', 'waiting', 'queued', 'done', 'disabled', 'talking'];
    for (const state of states) {
      const contact = await makeContact(api, campaign);
      const reason = state === 'waiting' ? 'retry_delay' : null;
      const code = { done: 'k', disabled: 'b', waiting: 't' }[state] ?? null;
      await api.db.pool.query(`UPDATE contact SET state = $2, wait_reason = $3, last_code = $4 WHERE id = $1`, [
        contact.id,
        state,
        reason,
        code,
      ]);
    }
    const gone = await makeContact(api, campaign);
    await api.call('DELETE', `/v1/contacts/${gone.id}`);
    await api.call('PUT', `/v1/agents/${agents[0].id}/state`, { state: 'paused' });

    const { body } = await api.call('GET', `/v1/campaigns/${campaign.id}/stats`);
    const total = (group: Record<string, number>) => Object.values(group).reduce((a, b) => a + b, 0);
    expect(body.contacts).toBe(states.length);
    for (const group of [body.by_state, body.by_result_code, body.by_wait_reason]) expect(total(group)).toBe(states.length);
    expect(body.by_state).toMatchObject({ new: 1, waiting: 2, queued: 1, done: 1, disabled: 1, talking: 1, offered: 0 });
    expect(body.by_result_code).toEqual({ none: 3, k: 1, b: 1, t: 2 });
    expect(body.by_wait_reason).toEqual({ none: 5, retry_delay: 2 });
    expect(body.agents_by_state).toEqual({ paused: 1, logged_off: 1 });
    expect(body.abandoned).toBe(0);
    expect(body.why_not_dialling.map(({ code }: { code: string }) => code)).toEqual([
      'campaign_not_running',
      'no_agent_ready',
      'no_node_ready',
    ]);
  });

  test('abandoned contacts are counted over all calls', async () => {
    const campaign = await makeCampaign(api);
    for (const [n, reason] of ['abandoned', 'ring_timeout', 'abandoned'].entries()) {
      await api.db.pool.query(
        `INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, ciq, dte_start,
           duration_tot_sec, duration_speak_sec, answered, contact_id, campaign_id, attempt, result_reason)
         VALUES ($1, $1, 1, 'c', 'S2', 'c', $2, 1, 0, true, 1, $3, 1, $4)`,
        [1_000_000 + Number(campaign.id) * 10 + n, new Date(), campaign.id, reason],
      );
    }
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}/stats`)).body.abandoned).toBe(2);
  });
});

test.each(['abc', '0', '-1', '2147483648', '99999999999999999999', '1.5', '%00', '1%27%20OR%201=1', '٣'])(
  'campaign %s is not there',
  async (id) => {
    for (const path of [`/v1/campaigns/${id}`, `/v1/campaigns/${id}/stats`, `/v1/campaigns/${id}/contacts`]) {
      expect((await api.call('GET', path)).status).toBe(404);
    }
    expect((await api.call('POST', `/v1/campaigns/${id}/start`)).status).toBe(404);
    expect((await api.call('PATCH', `/v1/campaigns/${id}`, { name: unique('x') })).status).toBe(404);
  },
);
