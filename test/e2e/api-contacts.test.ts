import { describe, expect, test } from 'vitest';
import { AppError } from '../../domain/errors.ts';
import { type Json, makeAgent, makeCampaign, makeContact, startTestApi, unique } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const NORTH = { rules: { countries: ['NO', 'SE'] }, service_num: '+4722865090' };
const campaign = await makeCampaign(api, NORTH);
const fields = (answer: { body: { issues?: { field: string }[] } }) => answer.body.issues?.map(({ field }) => field);
const set = (id: string, columns: Record<string, unknown>) => {
  const names = Object.keys(columns);
  const assignments = names.map((name, i) => `${name} = $${i + 2}`).join(', ');
  return api.db.pool.query(`UPDATE contact SET ${assignments} WHERE id = $1`, [id, ...Object.values(columns)]);
};
const get = async (id: string) => (await api.call('GET', `/v1/contacts/${id}`)).body;
const closed = new AppError('CONTACT_CLOSED', 'nothing is under way', { state: 'closed' });
/** What the workflow does when a contact is disabled. */
const workflowDisables = async (_name: string, argument: Json, { contactId }: { contactId: string }) => {
  const { reason, by } = argument;
  const now = new Date();
  await set(contactId, { state: 'disabled', ended_reason: reason, ended_by: by, ended_at: now, closed_at: now });
};

describe('upsert by external id', () => {
  const put = (externalId: string, body: object, id = campaign.id) =>
    api.call('PUT', `/v1/campaigns/${id}/contacts/by-external-id/${encodeURIComponent(externalId)}`, body);

  test('creates with the numbers in E.164, then updates the same contact at its place', async () => {
    const externalId = 'A/1 æ?';
    api.workflows.campaigns.length = 0;
    const made = await put(externalId, { phone_num: '22 86 50 00', phone_2: '+46 8 5051 0000', variables: { var30: 'ø' }, priority: 5 });
    expect(made.status).toBe(201);
    expect(made.headers.get('Location')).toBe(`/v1/contacts/${made.body.id}`);
    expect(made.body).toMatchObject({
      external_id: externalId,
      phone_num: '+4722865000',
      phone_2: '+46850510000',
      variables: { var30: 'ø' },
      priority: 5,
      state: 'new',
      given_up: [],
    });
    expect(api.workflows.campaigns).toEqual([campaign.id]);
    const { rows: before } = await api.db.pool.query(`SELECT place FROM contact WHERE id = $1`, [made.body.id]);

    const updated = await put(externalId, { phone_num: '22865001' });
    expect(updated.status).toBe(200);
    expect(updated.body).toMatchObject({ id: made.body.id, phone_num: '+4722865001', phone_2: null, variables: {}, priority: 0 });
    const { rows: after } = await api.db.pool.query(`SELECT place FROM contact WHERE id = $1`, [made.body.id]);
    expect(after).toEqual(before);
  });

  test('of two at the same time one creates and the other updates', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map((n) => put('race', { phone_num: `2286500${n}` })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  });

  test.each(['disabled', 'done'])('does not revive a contact that is %s', async (state) => {
    const externalId = unique('x');
    const { id } = (await put(externalId, { phone_num: '22865000' })).body;
    await set(id, { state, ended_reason: 'answered', closed_at: new Date() });
    const answer = await put(externalId, { phone_num: '22865002' });
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ id, state, phone_num: '+4722865002', ended_reason: 'answered' });
  });

  test('a contact that was deleted is made anew', async () => {
    const { id } = (await put('deleted', { phone_num: '22865000' })).body;
    await api.call('DELETE', `/v1/contacts/${id}`);
    const again = await put('deleted', { phone_num: '22865000' });
    expect(again.status).toBe(201);
    expect(again.body.id).not.toBe(id);
  });

  test.each([
    [{}, ['phone_num']],
    [{ phone_num: '112' }, ['phone_num']],
    [{ phone_num: '+47 820 12 345' }, ['phone_num']],
    [{ phone_num: '22 86 50 90' }, ['phone_num']],
    [{ phone_num: '+45 32 12 34 56', phone_2: '+44 20 7946 0018' }, ['phone_num', 'phone_2']],
    [{ phone_num: 'mail me', phone_2: 'no' }, ['phone_num', 'phone_2']],
    [{ phone_num: '22865000', phone_2: '+4722865000' }, ['phone_2']],
    [{ phone_num: '22865000', variables: { var31: 'x' } }, ['variables.var31']],
    [{ phone_num: '22865000', variables: { var0: 'x' } }, ['variables.var0']],
    [{ phone_num: '22865000', variables: { var1: 7 } }, ['variables.var1']],
    [{ phone_num: '22865000', variables: { var1: 'x\u0000' } }, ['variables.var1']],
    [{ phone_num: '22865000', variables: { var1: '\udfff' } }, ['variables.var1']],
    [{ phone_num: '22865000', variables: { var1: 'x'.repeat(1001) } }, ['variables.var1']],
    [{ phone_num: '22865000', zone: 'Mars/Olympus' }, ['zone']],
    [{ phone_num: '22865000', priority: 1.5 }, ['priority']],
    [{ phone_num: '22865000', priority: 2 ** 40 }, ['priority']],
    [{ phone_num: '22865000', state: 'done' }, ['state']],
  ])('%j is refused for %j', async (body, expected) => {
    const answer = await put('bad', body);
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(expected);
  });

  test('an external id that is too long, or not text, is refused', async () => {
    for (const externalId of ['x'.repeat(201), 'a\u0000b']) {
      const answer = await put(externalId, { phone_num: '22865000' });
      expect(answer.status).toBe(400);
      expect(fields(answer)).toEqual(['external_id']);
    }
    const broken = await api.call('PUT', `/v1/campaigns/${campaign.id}/contacts/by-external-id/%E0%A4%A`, {});
    expect(broken.status).toBe(400);
  });

  test('an ended campaign takes nobody in; an unknown one is not there', async () => {
    const over = await makeCampaign(api);
    await api.call('POST', `/v1/campaigns/${over.id}/end`);
    const answer = await put('x', { phone_num: '22865000' }, over.id);
    expect(answer.status).toBe(409);
    expect(answer.body.state).toBe('ended');
    expect((await put('x', { phone_num: '22865000' }, '2000000000')).status).toBe(404);
  });
});

describe('list', () => {
  test('filters by state and by the beginning of id or number, page by page', async () => {
    const own = await makeCampaign(api, NORTH);
    const path = `/v1/campaigns/${own.id}/contacts`;
    const made = [];
    for (const [n, name] of ['ab-1', 'ab-2', 'ab%3', 'b_4', 'c5'].entries()) {
      const put = `${path}/by-external-id/${encodeURIComponent(name)}`;
      made.push((await api.call('PUT', put, { phone_num: `2286500${n}`, phone_2: n === 4 ? '+46850510000' : null })).body);
    }
    await set(made[1].id, { state: 'done' });
    const names = async (query: string) =>
      (await api.call('GET', `${path}?${query}`)).body.items.map((item: { external_id: string }) => item.external_id);
    expect(await names('')).toEqual(['ab-1', 'ab-2', 'ab%3', 'b_4', 'c5']);
    expect(await names('state=done')).toEqual(['ab-2']);
    expect(await names('q=ab-')).toEqual(['ab-1', 'ab-2']);
    expect(await names(`q=${encodeURIComponent('ab%')}`)).toEqual(['ab%3']);
    expect(await names('q=_')).toEqual([]);
    expect(await names(`q=${encodeURIComponent('+47 22 86 50 03')}`)).toEqual(['b_4']);
    expect(await names('q=4722865003')).toEqual(['b_4']);
    expect(await names('q=0046850')).toEqual(['c5']);
    expect(await names('q=ab&state=new')).toEqual(['ab-1', 'ab%3']);
    const first = (await api.call('GET', `${path}?limit=2&q=ab`)).body;
    expect(await names(`limit=2&q=ab&cursor=${first.next}`)).toEqual(['ab%3']);
    expect((await api.call('GET', `${path}?state=asleep`)).status).toBe(400);
    expect((await api.call('GET', `${path}?q=`)).status).toBe(400);
    expect((await api.call('GET', `${path}?q=%00`)).status).toBe(400);
  });
});

describe('one contact', () => {
  test('shows its calls with offers and legs, newest first', async () => {
    const contact = await makeContact(api, campaign);
    const agent = await makeAgent(api, [campaign]);
    await makeCall(api, { contact, agent, callNo: 1, ended: true, code: 't' });
    const second = await makeCall(api, { contact, agent, callNo: 2, talked: true });
    const detail = await get(contact.id);
    expect(detail.calls.map((call: { call_id: string }) => call.call_id)).toEqual([second.callId, second.callId.replace(/2$/, '1')]);
    expect(detail.calls[0].offers).toHaveLength(1);
    expect(detail.calls[0].legs.map((leg: { ciq: string }) => leg.ciq)).toEqual(['a', 'c']);
    expect(detail.calls[1].legs[1]).toMatchObject({ result_code: 't', destination: contact.phone_num });
    expect(detail.calls[0].queued_at).toMatch(/Z$/);
    expect(detail.calls[0].legs[0].created_at).toMatch(/Z$/);
  });

  test('says when the called person has objected: do-not-call is proposed', async () => {
    const contact = await makeContact(api, campaign);
    const { callId } = await makeCall(api, { contact, agent: await makeAgent(api, [campaign]), callNo: 1, ended: true, code: 'b' });
    expect(await get(contact.id)).toMatchObject({ do_not_call_proposed: false });
    await api.db.pool.query(`UPDATE leg SET result_response = 607 WHERE call_id = $1 AND ciq = 'c'`, [callId]);
    expect(await get(contact.id)).toMatchObject({ do_not_call_proposed: true });
  });

  test('PATCH changes what is given; a changed number is no longer given up', async () => {
    const contact = await makeContact(api, campaign, { phone_2: '+4722865000', priority: 3 });
    await set(contact.id, { given_up_1: true, given_up_2: true, next_phone: 2 });
    const answer = await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_num: '22865009', variables: { var2: 'x' } });
    expect(answer.body).toMatchObject({
      phone_num: '+4722865009',
      phone_2: '+4722865000',
      priority: 3,
      variables: { var2: 'x' },
      given_up: ['+4722865000'],
    });
    expect((await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_2: null })).body.given_up).toEqual([]);
    const { rows } = await api.db.pool.query(`SELECT next_phone FROM contact WHERE id = $1`, [contact.id]);
    expect(rows[0].next_phone).toBe(1);
  });

  test.each(['offered', 'dialling', 'talking'])('while it is %s its numbers stay, the rest may change', async (state) => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state });
    const refused = await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_num: '22865008', priority: 9 });
    expect(refused.status).toBe(409);
    expect(refused.body.state).toBe(state);
    expect((await get(contact.id)).priority).toBe(0);
    const allowed = await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_num: contact.phone_num, priority: 9 });
    expect(allowed.status).toBe(200);
  });

  test('a queued call goes to the number that the contact has now', async () => {
    const contact = await makeContact(api, campaign);
    const { callId } = await makeCall(api, { contact, callNo: 1, queued: true });
    await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_num: '22865007' });
    const { rows } = await api.db.pool.query(`SELECT number FROM call WHERE call_id = $1`, [callId]);
    expect(rows[0].number).toBe('+4722865007');
  });

  test('a number that is the key of another row is a conflict', async () => {
    const [one, two] = [await makeContact(api, campaign), await makeContact(api, campaign)];
    for (const contact of [one, two]) await set(contact.id, { external_id: null, list_key: contact.phone_num });
    const answer = await api.call('PATCH', `/v1/contacts/${two.id}`, { phone_num: one.phone_num });
    expect(answer.status).toBe(409);
    expect(fields(answer)).toEqual(['phone_num']);
    expect((await get(two.id)).phone_num).toBe(two.phone_num);
  });

  test.each([[{}], [{ phone_num: null }], [{ phone_num: 'x' }], [{ phone_num: '22865090' }], [{ phone_2: '+4532123456' }], [{ zone: 'x' }], [{ id: '1' }]])('PATCH %j is refused', async (body) => {
    const contact = await makeContact(api, campaign);
    expect((await api.call('PATCH', `/v1/contacts/${contact.id}`, body)).status).toBe(400);
    expect(await get(contact.id)).toMatchObject(contact);
  });

  test.each(['abc', '0', '-5', '9223372036854775808', '99999999999999999999', '%00', '2000000000'])('%s is not there', async (id) => {
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { priority: 1 }],
      ['DELETE', '', undefined],
      ['POST', '/disable', undefined],
      ['POST', '/enable', undefined],
    ] as const) {
      expect((await api.call(method, `/v1/contacts/${id}${path}`, body)).status, method).toBe(404);
    }
  });
});

describe('disable', () => {
  test('a contact that nobody has taken up is ended here', async () => {
    const contact = await makeContact(api, campaign);
    api.workflows.updates.length = 0;
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ state: 'disabled', ended_reason: 'disabled', ended_by: expect.stringMatching(/^key:\d+$/) });
    expect(api.workflows.updates).toEqual([]);
    expect((await api.call('POST', `/v1/contacts/${contact.id}/disable`)).status).toBe(200);
  });

  test.each(['waiting', 'queued', 'offered', 'dialling', 'wrap_up'])('one that is %s is ended by its workflow', async (state) => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state, round: 3 });
    api.workflows.updates.length = 0;
    api.workflows.onUpdate = workflowDisables;
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.body.state).toBe('disabled');
    expect(api.workflows.updates).toEqual([
      {
        contact: { contactId: contact.id, round: 3 },
        name: 'disable',
        argument: { reason: 'disabled', by: answer.body.ended_by },
        key: expect.any(String),
      },
    ]);
  });

  test('a talk is not cut: the answer says that it goes on', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'talking' });
    api.workflows.onUpdate = () => undefined;
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.status).toBe(200);
    expect(answer.body.state).toBe('talking');
  });

  test('one that is done already is a conflict', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'done', closed_at: new Date(), ended_reason: 'answered' });
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.status).toBe(409);
    expect(answer.body.state).toBe('done');
  });

  test('a workflow that closes at the same moment: the row says how; one that is gone is closed here', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'wrap_up' });
    api.workflows.onUpdate = async () => {
      await set(contact.id, { state: 'done', closed_at: new Date(), ended_reason: 'answered' });
      throw closed;
    };
    expect((await api.call('POST', `/v1/contacts/${contact.id}/disable`)).body.state).toBe('done');

    const lost = await makeContact(api, campaign);
    await set(lost.id, { state: 'queued' });
    api.workflows.onUpdate = () => {
      throw closed;
    };
    const { body } = await api.call('POST', `/v1/contacts/${lost.id}/disable`);
    expect(body).toMatchObject({ state: 'disabled', ended_reason: 'disabled' });
    expect(body.ended_by).toMatch(/^key:/);
    const { rows } = await api.db.pool.query(`SELECT cause FROM repair WHERE subject = $1`, [`contact/${lost.id}/1`]);
    expect(rows).toEqual([{ cause: 'workflow_closed' }]);
  });

  test('a talk whose workflow is gone is not cut', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'talking', call_id: '1' });
    api.workflows.onUpdate = () => {
      throw closed;
    };
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer).toMatchObject({ status: 409, body: { code: 'CONTACT_CLOSED', state: 'talking' } });
  });

  test('whose outcome stays unknown: 503, and the workflow is to look at the row', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'queued' });
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'not in time');
    };
    expect((await api.call('POST', `/v1/contacts/${contact.id}/disable`)).status).toBe(503);
    expect(api.workflows.signals).toContainEqual({ contact: { contactId: contact.id, round: 1 }, name: 'moved' });
  });

  test('one that is just being taken up is waited for', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'starting' });
    api.workflows.onUpdate = workflowDisables;
    const answering = api.call('POST', `/v1/contacts/${contact.id}/disable`);
    await set(contact.id, { state: 'queued' });
    expect((await answering).body.state).toBe('disabled');
  });

  test('and if that takes too long: 503, repeat', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'starting' });
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('Retry-After')).toBe('2');
  });

  test('Temporal away: 503, and nothing is done', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'queued' });
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'away');
    };
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('Retry-After')).toBeTruthy();
    expect((await api.call('DELETE', `/v1/contacts/${contact.id}`)).status).toBe(503);
    expect((await get(contact.id)).state).toBe('queued');
  });
});

describe('delete', () => {
  test.each(['new', 'queued', 'talking', 'done', 'disabled'])('a contact that is %s is gone for every request after', async (state) => {
    const contact = await makeContact(api, campaign);
    const over = state === 'done' || state === 'disabled';
    await set(contact.id, { state, closed_at: over ? new Date() : null });
    api.workflows.onUpdate = state === 'talking' ? () => undefined : workflowDisables;
    expect((await api.call('DELETE', `/v1/contacts/${contact.id}`)).status).toBe(204);
    for (const method of ['GET', 'DELETE']) expect((await api.call(method, `/v1/contacts/${contact.id}`)).status).toBe(404);
    expect((await api.call('POST', `/v1/contacts/${contact.id}/enable`)).status).toBe(404);
    const { rows } = await api.db.pool.query(`SELECT ended_reason FROM contact WHERE id = $1`, [contact.id]);
    expect(rows[0].ended_reason).toBe(over || state === 'talking' ? null : 'deleted');
    const list = await api.call('GET', `/v1/campaigns/${campaign.id}/contacts?q=${contact.external_id}`);
    expect(list.body.items).toEqual([]);
  });
});

describe('enable', () => {
  test('puts a disabled contact back at its place, in a new round', async () => {
    const contact = await makeContact(api, campaign);
    const before = (await api.db.pool.query(`SELECT place, round FROM contact WHERE id = $1`, [contact.id])).rows[0];
    await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    api.workflows.campaigns.length = 0;
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect(answer.body).toMatchObject({ state: 'new', ended_reason: null, ended_by: null, ended_at: null });
    const after = (await api.db.pool.query(`SELECT place, round, closed_at FROM contact WHERE id = $1`, [contact.id])).rows[0];
    expect(after).toEqual({ place: before.place, round: before.round + 1, closed_at: null });
    expect(api.workflows.campaigns).toEqual([campaign.id]);
  });

  test('calls whom somebody had promised to call back like the rest of the list', async () => {
    const contact = await makeContact(api, campaign);
    await api.call('PUT', `/v1/contacts/${contact.id}/reschedule`, { at: new Date(Date.now() + 60_000).toISOString() });
    await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    expect((await api.call('POST', `/v1/contacts/${contact.id}/enable`)).body).toMatchObject({ state: 'new', scheduled_at: null });
    const { rows } = await api.db.pool.query(`SELECT queue_rank, reserved_for FROM contact WHERE id = $1`, [contact.id]);
    expect(rows).toEqual([{ queue_rank: 3, reserved_for: null }]);
  });

  test('in a campaign that has ended is a conflict', async () => {
    const over = await makeCampaign(api);
    const contact = await makeContact(api, over);
    await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    await api.call('POST', `/v1/campaigns/${over.id}/end`);
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect([answer.status, answer.body.detail]).toEqual([409, 'its campaign has ended and calls nobody any more']);
  });

  test.each(['new', 'queued', 'talking', 'done'])('one that is %s is a conflict', async (state) => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state });
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect(answer.status).toBe(409);
    expect(answer.body.state).toBe(state);
  });

  test('one whose workflow is still closing is a conflict', async () => {
    const contact = await makeContact(api, campaign);
    await set(contact.id, { state: 'disabled', closed_at: null });
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect(answer.status).toBe(409);
    expect(answer.body.detail).toContain('still closing');
  });

  test('one that must not be called is a conflict', async () => {
    const contact = await makeContact(api, campaign);
    await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    await api.db.pool.query(`INSERT INTO do_not_call (number, added_by, added_at) VALUES ($1, 'test', $2)`, [contact.phone_num, new Date()]);
    const answer = await api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect(answer.status).toBe(409);
    expect(answer.body.detail).toContain('do-not-call');
  });

  test('of ten at the same time one starts a round', async () => {
    const contact = await makeContact(api, campaign);
    await api.call('POST', `/v1/contacts/${contact.id}/disable`);
    const answers = await Promise.all(Array.from({ length: 10 }, () => api.call('POST', `/v1/contacts/${contact.id}/enable`)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(9);
  });
});
