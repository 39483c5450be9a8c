import { describe, expect, test, vi } from 'vitest';
import { inTx } from '../../prisma/tx.ts';
import { eventually } from '../kit/eventually.ts';
import { makeAgent, makeCampaign, makeContact, openSse, type Sse, startTestApi, unique } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const campaign = await makeCampaign(api);
const post = (body: object) => api.call('POST', '/v1/agents', body);
const fields = (answer: { body: { issues?: { field: string }[] } }) => answer.body.issues?.map(({ field }) => field);

describe('settings', () => {
  test('an agent is made logged off, with a profile', async () => {
    const answer = await post({ name: 'Ola', phone: '4711', queues: [{ campaign_id: campaign.id, priority: 2 }] });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({
      phone: '4711',
      confirm: false,
      state: 'logged_off',
      until: null,
      next_state: null,
      offer_id: null,
      call_id: null,
      queues: [{ campaign_id: campaign.id, priority: 2 }],
    });
    expect((await api.call('GET', answer.headers.get('Location')!)).body).toEqual(answer.body);
    const list = await api.call('GET', '/v1/agents?limit=1000');
    expect(list.body.items).toContainEqual(answer.body);
  });

  test('a phone may be a telephone number, kept in E.164; `confirm` is shown as it was set', async () => {
    const { status, body } = await post({ name: 'Remote', phone: '+47 22 86-50-77' });
    expect(status).toBe(201);
    expect(body).toMatchObject({ phone: '+4722865077', confirm: false });
    expect((await post({ name: 'The same', phone: '+4722865077' })).status).toBe(409);
  });

  test.each([
    [{}, ['name', 'phone']],
    [{ name: 'x', phone: '1' }, ['phone']],
    [{ name: 'x', phone: '12345678901' }, ['phone']],
    [{ name: 'x', phone: '+4782012345' }, ['phone']],
    [{ name: 'x', phone: 'sip:x@y' }, ['phone']],
    [{ name: 'x', phone: '200', confirm: 'yes' }, ['confirm']],
    [{ name: 'x', phone: '200', queues: [{ campaign_id: 1 }] }, ['queues.0.campaign_id']],
    [{ name: 'x', phone: '200', queues: [{ campaign_id: 'abc' }] }, ['queues.0.campaign_id']],
    [{ name: 'x', phone: '200', queues: [{ campaign_id: '2000000000' }] }, ['queues']],
    [{ name: 'x', phone: '200', queues: [{ campaign_id: '1', priority: 0 }] }, ['queues.0.priority']],
    [{ name: 'x', phone: '200', queues: [{ campaign_id: '1' }, { campaign_id: '1' }] }, ['queues']],
    [{ name: 'x', phone: '200', state: 'ready' }, ['state']],
  ])('%j is refused for %j', async (body, expected) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(expected);
    expect((await api.call('GET', '/v1/agents?limit=1000')).body.items.map((a: { phone: string }) => a.phone)).not.toContain('200');
  });

  test('a phone is of one agent', async () => {
    const agent = await makeAgent(api);
    const taken = await post({ name: 'Other', phone: agent.phone });
    expect(taken.status).toBe(409);
    expect(fields(taken)).toEqual(['phone']);
    const other = await makeAgent(api);
    expect((await api.call('PATCH', `/v1/agents/${other.id}`, { phone: agent.phone })).status).toBe(409);
  });

  test('PATCH changes what is given, and replaces the profile as a whole or not at all', async () => {
    const agent = await makeAgent(api, [campaign]);
    const path = `/v1/agents/${agent.id}`;
    expect((await api.call('PATCH', path, { name: 'Kari', confirm: true })).body).toMatchObject({
      name: 'Kari',
      confirm: true,
      phone: agent.phone,
      queues: agent.queues,
    });
    const other = await makeCampaign(api);
    const changed = await api.call('PATCH', path, { queues: [{ campaign_id: other.id }] });
    expect(changed.body.queues).toEqual([{ campaign_id: other.id, priority: 1 }]);
    const refused = await api.call('PATCH', path, { name: 'No', queues: [{ campaign_id: '2000000000' }] });
    expect(refused.status).toBe(400);
    expect((await api.call('GET', path)).body).toMatchObject({ name: 'Kari', queues: changed.body.queues });
    expect((await api.call('PATCH', path, {})).status).toBe(400);
  });

  test.each(['abc', '0', '2147483648', '2000000000'])('agent %s is not there', async (id) => {
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { name: 'x' }],
      ['PUT', '/state', { state: 'ready' }],
      ['POST', '/heartbeat', undefined],
      ['POST', '/stream-ticket', undefined],
      ['GET', '/stream', undefined],
    ] as const) {
      expect((await api.call(method, `/v1/agents/${id}${path}`, body)).status, path).toBe(404);
    }
  });
});

describe('state', () => {
  test('log on, pause, log off; each an agent event with who wanted it', async () => {
    const agent = await makeAgent(api);
    const key = await api.key('agent', Number(agent.id));
    const put = (state: string, as = key) => api.call('PUT', `/v1/agents/${agent.id}/state`, { state }, { key: as });
    expect((await put('ready')).body).toMatchObject({ state: 'ready', next_state: null, until: null });
    expect((await put('paused', api.admin)).body.state).toBe('paused');
    expect((await put('logged_off')).body.state).toBe('logged_off');
    const { rows } = await api.db.pool.query(`SELECT state, cause FROM agent_events WHERE agent_id = $1 ORDER BY position`, [agent.id]);
    expect(rows).toEqual([
      { state: 'ready', cause: 'agent' },
      { state: 'paused', cause: 'supervisor' },
      { state: 'logged_off', cause: 'agent' },
    ]);
    expect((await put('connected')).status).toBe(400);
  });

  test('a heartbeat renews the lease of who is logged on, and tells the others', async () => {
    const agent = await makeAgent(api);
    const beat = () => api.call('POST', `/v1/agents/${agent.id}/heartbeat`);
    expect((await beat()).body).toEqual({ logged_on: false });
    await api.call('PUT', `/v1/agents/${agent.id}/state`, { state: 'ready' });
    await api.db.pool.query(`UPDATE agent SET lease_until = $2 WHERE id = $1`, [agent.id, new Date(0)]);
    expect((await beat()).body).toEqual({ logged_on: true });
    const { rows } = await api.db.pool.query(`SELECT lease_until FROM agent WHERE id = $1`, [agent.id]);
    expect(rows[0].lease_until.getTime()).toBeGreaterThan(Date.now() + 25_000);
  });
});

describe('stream', () => {
  const open = (agent: { id: string }, headers: Record<string, string> = {}, query = ''): Promise<Sse> =>
    openSse(`${api.url}/v1/agents/${agent.id}/stream${query}`, { Authorization: `Bearer ${api.admin}`, ...headers });
  const states = (sse: Sse) => sse.events.filter(({ event }) => event === 'state').map(({ data }) => data.state);
  const want = (agent: { id: string }, state: string) => api.call('PUT', `/v1/agents/${agent.id}/state`, { state });

  test('begins with the present state, then tells every change', async () => {
    const agent = await makeAgent(api);
    await want(agent, 'paused');
    const sse = await open(agent);
    await eventually(() => sse.events.length === 1);
    expect(sse.events[0]).toMatchObject({ event: 'state', data: { state: 'paused', cause: 'supervisor', until: null } });
    await want(agent, 'ready');
    await eventually(() => sse.events.length === 2);
    expect(states(sse)).toEqual(['paused', 'ready']);
    expect(sse.events[1]!.data.since).toBe((await api.call('GET', `/v1/agents/${agent.id}`)).body.since);
  });

  test('goes on after Last-Event-ID without loss or repeat, however often it breaks', async () => {
    const agent = await makeAgent(api);
    const wanted = Array.from({ length: 40 }, (_, n) => (n % 2 ? 'paused' : 'ready'));
    let done = false;
    const changing = (async () => {
      for (const state of wanted) await want(agent, state);
      done = true;
    })();
    const seen: { id: string; state: string }[] = [];
    let last: string | undefined = '0';
    while (!done || seen.length < wanted.length) {
      const sse: Sse = await open(agent, last === '0' ? {} : { 'Last-Event-ID': last }, last === '0' ? '?after=0' : '');
      const had = seen.length;
      await eventually(() => sse.events.length > 0 || (done && had === wanted.length));
      sse.close();
      await sse.ended;
      seen.push(...sse.events.map(({ id, data }) => ({ id: id!, state: data.state })));
      last = seen.at(-1)?.id ?? last;
    }
    await changing;
    expect(seen.map(({ state }) => state)).toEqual(wanted);
    const positions = seen.map(({ id }) => Number(id));
    expect(positions).toEqual([...positions].sort((a, b) => a - b));
    expect(new Set(positions).size).toBe(wanted.length);
  });

  test('more than a page of changes comes in whole', async () => {
    const agent = await makeAgent(api);
    await inTx(api.db, async (tx) => {
      for (let n = 0; n < 350; n++) {
        const row = { agent_id: Number(agent.id), at: tx.now, from_state: 'paused', state: 'ready', cause: `n${n}` } as const;
        tx.record({ table: 'agent_events', row: { ...row, duration_ms: n, offer_id: null, call_id: null, result_code: null } });
      }
    });
    const sse = await open(agent, {}, '?after=0');
    await eventually(() => sse.events.length === 350);
    expect(sse.events.map(({ data }) => data.cause)).toEqual(Array.from({ length: 350 }, (_, n) => `n${n}`));
  });

  test('without a zone of its own a contact is where its number is; where clocks differ, no time is told', async () => {
    const american = await makeCampaign(api, { country: 'US', zone: 'America/New_York' });
    const pop = async (phone_num: string) => {
      const agent = await makeAgent(api, [american]);
      const { callId, offerId } = await makeCall(api, { contact: await makeContact(api, american, { phone_num }), agent, callNo: 1 });
      await inTx(api.db, async (tx) => {
        const row = { agent_id: Number(agent.id), at: tx.now, from_state: 'ready', state: 'reserved', cause: 'offer' } as const;
        tx.record({ table: 'agent_events', row: { ...row, duration_ms: 5, offer_id: offerId, call_id: callId, result_code: null } });
      });
      const sse = await open(agent);
      return eventually(() => sse.events.find(({ event }) => event === 'offer')?.data);
    };
    const { zones, local_time } = await pop('+12134567890');
    expect(zones).toEqual(['America/Los_Angeles']);
    expect(local_time.slice(0, 16)).toBe(new Date().toLocaleString('sv-SE', { timeZone: 'America/Los_Angeles' }).replace(' ', 'T').slice(0, 16));
    const border = await pop('+12084567890'); // Idaho has two clocks
    expect(border.zones.length).toBeGreaterThan(1);
    expect(border.local_time).toBeNull();
  });

  test('an offer is a screen-pop with what is known of the contact now', async () => {
    const agent = await makeAgent(api, [campaign]);
    const contact = await makeContact(api, campaign, { zone: 'America/New_York', variables: { var1: 'Kari', var2: 'x' } });
    await makeCall(api, { contact, agent, callNo: 1, ended: true, code: 'b' });
    const sse = await open(agent);
    await eventually(() => sse.events.length === 1);
    const { callId, offerId } = await makeCall(api, { contact, agent, callNo: 2 });
    await inTx(api.db, async (tx) => {
      const row = { agent_id: Number(agent.id), at: tx.now, from_state: 'ready', state: 'reserved', cause: 'offer' } as const;
      tx.record({ table: 'agent_events', row: { ...row, duration_ms: 5, offer_id: offerId, call_id: callId, result_code: null } });
    });
    await eventually(() => sse.events.length === 3);
    const [, state, offer] = sse.events;
    expect(state).toMatchObject({ event: 'state', data: { state: 'reserved', offer_id: offerId, call_id: callId } });
    expect(offer).toEqual({
      id: expect.stringMatching(/^\d+$/),
      event: 'offer',
      data: {
        offer_id: offerId,
        call_id: callId,
        contact_id: contact.id,
        campaign_id: campaign.id,
        deadline: expect.stringMatching(/Z$/),
        ended_at: null,
        is_live: false,
        number: contact.phone_num,
        variables: { var1: 'Kari', var2: 'x' },
        topics: { required: false, comment: 'optional', tree: [] },
        attempt: 2,
        history: [{ at: expect.stringMatching(/Z$/), code: 'b' }],
        zones: ['America/New_York'],
        local_time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/),
      },
    });

    // Who opens it now is shown the open offer too; who comes back to the position before it, the same.
    const late = await open(agent);
    await eventually(() => late.events.length === 2);
    expect(late.events.map(({ event }) => event)).toEqual(['state', 'offer']);
    const back = await open(agent, { 'Last-Event-ID': String(Number(offer!.id) - 1) });
    await eventually(() => back.events.length === 2);
    const { local_time: _, ...known } = offer!.data;
    expect(back.events[0]).toEqual(state);
    expect(back.events[1]).toMatchObject({ id: offer!.id, event: 'offer', data: known });
  });

  test('what a state says of the future is said only while it lasts', async () => {
    const agent = await makeAgent(api);
    await want(agent, 'ready');
    const until = new Date(Date.now() + 60_000);
    await api.db.pool.query(`UPDATE agent SET state_until = $2, next_state = 'paused' WHERE id = $1`, [agent.id, until]);
    const now = await open(agent, {}, '?after=0');
    await eventually(() => now.events.length === 1);
    expect(now.events[0]!.data).toMatchObject({ state: 'ready', until: until.toISOString(), next_state: 'paused' });
    await want(agent, 'paused');
    const later = await open(agent, {}, '?after=0');
    await eventually(() => later.events.length === 2);
    expect(later.events[0]!.data).toMatchObject({ state: 'ready', until: null, next_state: null });
  });

  test('an open stream keeps the agent logged on; an operator only watches', async () => {
    const renewed = vi.spyOn(api.deps.matching, 'renewLease');
    const agent = await makeAgent(api);
    await open(agent, { Authorization: `Bearer ${await api.key('operator')}` });
    expect(renewed).not.toHaveBeenCalled();
    await open(agent, { Authorization: `Bearer ${await api.key('agent', Number(agent.id))}` });
    await eventually(() => renewed.mock.calls.length >= 2, { withinMs: 15_000 });
    expect(renewed.mock.calls.every(([ids]) => ids.includes(Number(agent.id)))).toBe(true);
    renewed.mockRestore();
  });

  test('a comment comes now and then, so that nobody takes it for dead', async () => {
    const sse = await open(await makeAgent(api));
    await eventually(() => sse.comments > 0, { withinMs: 20_000 });
  });

  test('200 streams: a change reaches each reader of that agent and no other', async () => {
    const agents = [await makeAgent(api), await makeAgent(api)];
    const streams = await Promise.all(Array.from({ length: 200 }, (_, n) => open(agents[n % 2])));
    await eventually(() => streams.every((sse) => sse.events.length === 1));
    await want(agents[0], 'ready');
    await eventually(() => streams.every((sse, n) => sse.events.length === (n % 2 ? 1 : 2)));
    await want(agents[1], 'paused');
    await eventually(() => streams.every((sse) => sse.events.length === 2));
    expect(new Set(streams.map((sse, n) => `${n % 2} ${states(sse).join()}`))).toEqual(
      new Set(['0 logged_off,ready', '1 logged_off,paused']),
    );
  });

  test('a lost hint is made up for', async () => {
    const agent = await makeAgent(api);
    const sse = await open(agent);
    await eventually(() => sse.events.length === 1);
    await api.db.pool.query(
      `WITH p AS (UPDATE event_position SET last = last + 1 RETURNING last)
       INSERT INTO agent_events (position, agent_id, at, from_state, state, cause, duration_ms)
       SELECT last, $1, $2, 'logged_off', 'ready', 'unannounced', 0 FROM p`,
      [agent.id, new Date()],
    );
    await eventually(() => sse.events.length === 2, { withinMs: 8_000 });
    expect(sse.events[1]!.data.cause).toBe('unannounced');
  });

  test('the connection that hears the hints is made again', async () => {
    const agent = await makeAgent(api);
    const sse = await open(agent);
    await eventually(() => sse.events.length === 1);
    await api.db.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE application_name = 'dialwright-listen' AND datname = current_database()`,
    );
    await want(agent, 'ready');
    await eventually(() => sse.events.length === 2);
    await eventually(async () => {
      const { rows } = await api.db.pool.query(
        `SELECT 1 FROM pg_stat_activity WHERE application_name = 'dialwright-listen' AND datname = current_database()
           AND query LIKE 'LISTEN%'`,
      );
      return rows.length === 1;
    });
  });

  test.each(['x', '-1', '1.5', '9223372036854775808'])('Last-Event-ID %s is refused', async (id) => {
    const agent = await makeAgent(api);
    const answer = await api.call('GET', `/v1/agents/${agent.id}/stream`, undefined, { headers: { 'Last-Event-ID': id } });
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(['Last-Event-ID']);
    expect((await api.call('GET', `/v1/agents/${agent.id}/stream?after=${id}`)).status).toBe(400);
  });

  test('a position of another database begins afresh', async () => {
    const sse = await open(await makeAgent(api), { 'Last-Event-ID': '9000000000000000000' });
    await eventually(() => sse.events.length === 1);
    expect(states(sse)).toEqual(['logged_off']);
  });

  test('streams end when the server does', async () => {
    const own = await startTestApi();
    const agent = await makeAgent(own);
    const headers = { Authorization: `Bearer ${own.admin}` };
    const streams = [
      await openSse(`${own.url}/v1/agents/${agent.id}/stream`, headers),
      await openSse(`${own.url}/v1/call-events/stream`, headers),
    ];
    await own.close();
    await Promise.all(streams.map((sse) => sse.ended));
    await expect(fetch(`${own.url}/healthz`)).rejects.toThrow();
  });
});

test('names are kept as they are', async () => {
  const name = unique(`<script>alert("Ærø 🎧")</script> '; DROP TABLE agent; -- `);
  expect((await post({ name, phone: '99999' })).body.name).toBe(name);
});
