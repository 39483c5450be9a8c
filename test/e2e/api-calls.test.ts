import { beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '../../domain/errors.ts';
import { makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const campaign = await makeCampaign(api, { rules: { max_attempts: 3, retry: { t: { delay_sec: 600 } } } });
const fields = (answer: { body: { issues?: { field: string }[] } }) => answer.body.issues?.map(({ field }) => field);
const refuse = (error: AppError) => () => {
  throw error;
};
const closed = new AppError('CONTACT_CLOSED', 'nothing is under way', { state: 'closed' });

beforeEach(() => {
  api.workflows.updates.length = 0;
  api.workflows.campaigns.length = 0;
  api.workflows.onUpdate = () => undefined;
});

let second = 22865000;
async function scene(options: Partial<Parameters<typeof makeCall>[1]> = {}) {
  const agent = await makeAgent(api, [campaign]);
  const contact = await makeContact(api, campaign, { phone_2: `+47${second++}` });
  await api.db.pool.query(`UPDATE contact SET attempts = 1 WHERE id = $1`, [contact.id]);
  const call = await makeCall(api, { contact, agent, callNo: 1, ...options });
  const key = await api.key('agent', Number(agent.id));
  api.workflows.campaigns.length = 0;
  return { agent, contact, key, ...call };
}
const row = async (id: string) => (await api.db.pool.query(`SELECT * FROM contact WHERE id = $1`, [id])).rows[0];

describe.each(['accept', 'reject', 'cancel'])('offers: %s', (action) => {
  test('is asked of the workflow of the offer', async () => {
    const { agent, contact, key, offerId } = await scene();
    const answer = await api.call('POST', `/v1/offers/${offerId}/${action}`, undefined, { key });
    expect(answer.body).toEqual({ done: true });
    expect(api.workflows.updates).toEqual([
      {
        contact: { contactId: contact.id, round: 1 },
        name: action,
        argument: { offerNo: 1, agentId: agent.id },
        key: expect.any(String),
      },
    ]);
  });

  test('of an offer that has ended is a conflict', async () => {
    const { offerId } = await scene({ ended: true });
    const answer = await api.call('POST', `/v1/offers/${offerId}/${action}`);
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({ code: 'OFFER_OVER', state: 'ended' });
    expect(api.workflows.updates).toEqual([]);
  });

  test("another agent's is forbidden, an unknown one not there", async () => {
    const { offerId } = await scene();
    const other = await makeAgent(api);
    const key = await api.key('agent', Number(other.id));
    expect((await api.call('POST', `/v1/offers/${offerId}/${action}`, undefined, { key })).status).toBe(403);
    for (const id of ['abc', '0', '2000000000', '99999999999999999999']) {
      expect((await api.call('POST', `/v1/offers/${id}/${action}`)).status).toBe(404);
    }
  });

  test.each([
    [new AppError('OFFER_OVER', 'over', { state: 'queued' }), 409, 'queued'],
    [new AppError('CANCEL_TOO_LATE', 'the contact answered first', { state: 'talking' }), 409, 'talking'],
    [closed, 409, 'closed'],
    [new AppError('UNAVAILABLE', 'away'), 503, undefined],
  ])('the workflow says %s', async (error, status, state) => {
    const { offerId } = await scene();
    api.workflows.onUpdate = refuse(error);
    const answer = await api.call('POST', `/v1/offers/${offerId}/${action}`);
    expect(answer.status).toBe(status);
    expect(answer.body.code).toBe(error.code);
    expect(answer.body.state).toBe(state);
    expect(answer.headers.get('Retry-After')).toBe(status === 503 ? '2' : null);
  });

  test('a repeat with its Idempotency-Key is the same update, and says nothing of the key', async () => {
    const { offerId } = await scene();
    api.workflows.onUpdate = refuse(new AppError('UNAVAILABLE', 'away'));
    const headers = { 'Idempotency-Key': 'Kari-Nordmann-1' };
    for (let n = 0; n < 2; n++) {
      expect((await api.call('POST', `/v1/offers/${offerId}/${action}`, undefined, { headers })).status).toBe(503);
    }
    const [first, second] = api.workflows.updates;
    expect(second!.key).toBe(first!.key);
    expect(first!.key).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('hang-up', () => {
  test('is asked for the agent of the open offer', async () => {
    const { agent, contact, key, callId } = await scene({ talked: true });
    for (const as of [key, api.admin]) {
      expect((await api.call('POST', `/v1/calls/${callId}/hang-up`, undefined, { key: as })).status).toBe(200);
    }
    expect(api.workflows.updates[1]).toMatchObject({
      contact: { contactId: contact.id, round: 1 },
      name: 'hangUp',
      argument: { callId, agentId: agent.id },
    });
  });

  test('of a call that is over, of a stranger, of no call', async () => {
    const { callId } = await scene({ ended: true });
    const answer = await api.call('POST', `/v1/calls/${callId}/hang-up`);
    expect(answer.status).toBe(409);
    expect(answer.body.code).toBe('CALL_OVER');
    const other = await makeAgent(api);
    const key = await api.key('agent', Number(other.id));
    expect((await api.call('POST', `/v1/calls/${callId}/hang-up`, undefined, { key })).status).toBe(403);
    for (const id of ['x', '0', '7', '9223372036854775808']) {
      expect((await api.call('POST', `/v1/calls/${id}/hang-up`)).status).toBe(404);
    }
  });
});

describe('disposition', () => {
  const dispose = (callId: string, body: object, options: object = {}) =>
    api.call('POST', `/v1/calls/${callId}/disposition`, body, options);
  const stored = async (callId: string) =>
    (await api.db.pool.query(`SELECT * FROM dispositions WHERE call_id = $1 ORDER BY position`, [callId])).rows;

  test('is stored as an event, then told to the workflow', async () => {
    const { agent, contact, key, callId } = await scene({ talked: true });
    const body = { action: 'done', topics: ['sale', 'ø'], comment: 'Wants the blue one' };
    const answer = await dispose(callId, body, { key, headers: { 'Idempotency-Key': 'one' } });
    expect(answer.body).toEqual({ done: true });
    expect(await stored(callId)).toMatchObject([
      { ...body, agent_id: Number(agent.id), contact_id: contact.id, campaign_id: Number(campaign.id), request_id: 'one' },
    ]);
    expect(api.workflows.updates).toEqual([
      {
        contact: { contactId: contact.id, round: 1 },
        name: 'dispose',
        argument: { callId, agentId: agent.id, action: 'done' },
        key: expect.any(String),
      },
    ]);
    expect(JSON.stringify(api.workflows.updates)).not.toMatch(/blue|sale/);
    const events = await api.call('GET', '/v1/call-events?kind=disposition&limit=1000');
    expect(events.body.items.at(-1)).toMatchObject({ kind: 'disposition', call_id: callId, comment: body.comment });
  });

  test('with a repeat after a failure it is stored once and told again', async () => {
    const { key, callId } = await scene({ talked: true });
    const options = { key, headers: { 'Idempotency-Key': 'repeat' } };
    api.workflows.onUpdate = refuse(new AppError('UNAVAILABLE', 'away'));
    expect((await dispose(callId, { action: 'done' }, options)).status).toBe(503);
    api.workflows.onUpdate = () => undefined;
    expect((await dispose(callId, { action: 'done' }, options)).status).toBe(200);
    expect(await stored(callId)).toHaveLength(1);
    expect(api.workflows.updates).toHaveLength(2);
  });

  test('with the key of another one is refused, and never takes do-not-call for what was said before', async () => {
    const { key, callId, contact } = await scene({ talked: true });
    const options = { key, headers: { 'Idempotency-Key': 'again' } };
    api.workflows.onUpdate = refuse(new AppError('UNAVAILABLE', 'away'));
    expect((await dispose(callId, { action: 'done' }, options)).status).toBe(503);
    api.workflows.onUpdate = () => undefined;
    const answer = await dispose(callId, { action: 'do_not_call' }, options);
    expect([answer.status, answer.body.code]).toEqual([409, 'IDEMPOTENCY_CONFLICT']);
    expect((await dispose(callId, { action: 'do_not_call' }, { key })).status).toBe(200);
    expect((await api.call('GET', `/v1/do-not-call/${encodeURIComponent(contact.phone_num)}`)).body.listed).not.toBeNull();
  });

  test('do-not-call lists the number that was called, though the contact has got another one since', async () => {
    const { key, callId, contact } = await scene({ talked: true });
    const other = '+4722865999';
    await api.db.pool.query(`UPDATE contact SET phone_num = $2 WHERE id = $1`, [contact.id, other]);
    expect((await dispose(callId, { action: 'do_not_call' }, { key })).status).toBe(200);
    const { rows } = await api.db.pool.query(`SELECT number FROM do_not_call WHERE contact_id = $1 ORDER BY number`, [contact.id]);
    expect(rows.map(({ number }) => number)).toEqual([contact.phone_num, contact.phone_2, other].sort());
  });

  test("a manager's key must say for whom", async () => {
    const { agent, callId } = await scene({ talked: true });
    const answer = await dispose(callId, { action: 'done' });
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(['agent_id']);
    expect((await dispose(callId, { action: 'done', agent_id: agent.id })).status).toBe(200);
  });

  test('of an answer that nobody took can only be do-not-call', async () => {
    const { key, callId } = await scene({ talked: true });
    await api.db.pool.query(`UPDATE leg SET result_reason = 'abandoned' WHERE call_id = $1 AND ciq = 'c'`, [callId]);
    expect((await dispose(callId, { action: 'done' }, { key })).status).toBe(409);
    expect((await dispose(callId, { action: 'do_not_call' }, { key })).status).toBe(200);
    expect(await stored(callId)).toMatchObject([{ action: 'do_not_call' }]);
  });

  test('is refused to who was not connected in the call', async () => {
    const { key, callId } = await scene();
    const notYet = await dispose(callId, { action: 'done' }, { key });
    expect(notYet.status).toBe(409);
    expect(notYet.body).toMatchObject({ code: 'CONFLICT', state: 'offered' });
    const other = await makeAgent(api);
    const stranger = await api.key('agent', Number(other.id));
    expect((await dispose(callId, { action: 'do_not_call' }, { key: stranger })).status).toBe(403);
    const foreign = { action: 'done', agent_id: '1' };
    expect((await dispose(callId, foreign, { key: stranger })).status).toBe(403);
    expect(await stored(callId)).toEqual([]);
    for (const id of ['x', '0', '7', '9223372036854775808']) {
      expect((await dispose(id, { action: 'done', agent_id: other.id })).status).toBe(404);
    }
  });

  test("after the contact's next call has started only do_not_call is accepted", async () => {
    const { agent, contact, key, callId } = await scene({ talked: true, ended: true, code: 'k' });
    await makeCall(api, { contact, agent, callNo: 2, queued: true });
    for (const action of ['done', 'mark_as_unanswered']) {
      const answer = await dispose(callId, { action }, { key });
      expect(answer.status).toBe(409);
      expect(answer.body).toMatchObject({ code: 'CALL_OVER', state: 'queued' });
    }
    expect(await stored(callId)).toEqual([]);
    expect((await dispose(callId, { action: 'do_not_call' }, { key })).status).toBe(200);
  });

  test('do_not_call lists both numbers of the contact, once', async () => {
    const { agent, contact, key, callId } = await scene({ talked: true });
    for (let n = 0; n < 2; n++) await dispose(callId, { action: 'do_not_call' }, { key });
    const { rows } = await api.db.pool.query(
      `SELECT number, added_by, source, contact_id FROM do_not_call WHERE number = $1 OR number = $2 ORDER BY number`,
      [contact.phone_num, contact.phone_2],
    );
    const listed = { added_by: `agent:${agent.id}`, source: 'disposition', contact_id: contact.id };
    expect(rows).toEqual([contact.phone_2, contact.phone_num].map((number) => ({ number, ...listed })));
  });

  test.each([
    ['has closed', refuse(closed)],
    ['whose row was closed before, and whose workflow does not know of it yet', () => undefined],
  ])('mark_as_unanswered of a contact that %s opens a new round, due by its rule', async (_which, onUpdate) => {
    const { contact, key, callId } = await scene({ talked: true, ended: true, code: 'k' });
    await api.db.pool.query(`UPDATE contact SET state = 'done', ended_reason = 'answered', closed_at = $2 WHERE id = $1`, [
      contact.id,
      new Date(),
    ]);
    api.workflows.onUpdate = onUpdate;
    const before = Date.now();
    expect((await dispose(callId, { action: 'mark_as_unanswered' }, { key })).status).toBe(200);
    const after = await row(contact.id);
    expect(after).toMatchObject({ state: 'new', round: 2, queue_rank: 2, next_phone: 2, closed_at: null, ended_reason: null });
    expect(after.wait_until.getTime() - before).toBeGreaterThanOrEqual(600_000);
    expect(after.wait_until.getTime() - before).toBeLessThan(610_000);
    expect(api.workflows.campaigns).toEqual([campaign.id]);
  });

  test('but not when its attempts are used up, and not when it was disabled', async () => {
    for (const change of [`attempts = 3, state = 'done'`, `state = 'disabled'`]) {
      const { contact, key, callId } = await scene({ talked: true, ended: true, code: 'k' });
      await api.db.pool.query(`UPDATE contact SET ${change}, ended_reason = 'answered', closed_at = $2 WHERE id = $1`, [
        contact.id,
        new Date(),
      ]);
      api.workflows.onUpdate = refuse(closed);
      expect((await dispose(callId, { action: 'mark_as_unanswered' }, { key })).status).toBe(200);
      expect((await row(contact.id)).round).toBe(1);
      expect(await stored(callId)).toHaveLength(1);
    }
  });

  test('do_not_call of a contact that has closed disables it', async () => {
    const { agent, contact, key, callId } = await scene({ talked: true, ended: true, code: 'k' });
    await api.db.pool.query(`UPDATE contact SET state = 'done', ended_reason = 'answered', closed_at = $2 WHERE id = $1`, [
      contact.id,
      new Date(),
    ]);
    api.workflows.onUpdate = refuse(closed);
    expect((await dispose(callId, { action: 'do_not_call' }, { key })).status).toBe(200);
    expect(await row(contact.id)).toMatchObject({ state: 'disabled', ended_reason: 'do_not_call', ended_by: `agent:${agent.id}` });
  });

  test('a failure in the middle of storing leaves nothing', async () => {
    const { key, callId } = await scene({ talked: true });
    await api.db.pool.query(`ALTER TABLE do_not_call RENAME TO gone`);
    try {
      const answer = await fetch(`${api.url}/v1/calls/${callId}/disposition`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ action: 'do_not_call' }),
      });
      expect(answer.status).toBe(500);
      expect(await answer.json()).toMatchObject({ code: 'INTERNAL', detail: expect.not.stringContaining('do_not_call') });
      expect(await stored(callId)).toEqual([]);
    } finally {
      await api.db.pool.query(`ALTER TABLE gone RENAME TO do_not_call`);
    }
  });

  test.each([
    [{}, ['action']],
    [{ action: 'call_back' }, ['action']],
    [{ action: 'reschedule' }, ['reschedule']],
    [{ action: 'done', reschedule: { at: '2030-01-07T10:00:00Z' } }, ['reschedule']],
    [{ action: 'reschedule', reschedule: { at: 'tomorrow' } }, ['reschedule.at']],
    [{ action: 'done', topics: 'sale' }, ['topics']],
    [{ action: 'done', topics: [''] }, ['topics.0']],
    [{ action: 'done', topics: Array(51).fill('x') }, ['topics']],
    [{ action: 'done', comment: 'x'.repeat(4001) }, ['comment']],
    [{ action: 'done', comment: 'a\u0000' }, ['comment']],
    [{ action: 'done', agent_id: 'x' }, ['agent_id']],
    [{ action: 'done', phone: '1' }, ['phone']],
  ])('%j is refused for %j', async (body, expected) => {
    const answer = await dispose('1000001', body);
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(expected);
  });
});

describe('extend-wrap-up', () => {
  const extend = (callId: string, body: object, key: string) => api.call('POST', `/v1/calls/${callId}/extend-wrap-up`, body, { key });
  async function wrapUp() {
    const made = await scene({ talked: true });
    const until = new Date(Date.now() + 30_000);
    await api.db.pool.query(`UPDATE agent SET state = 'wrap_up', state_until = $2 WHERE id = $1`, [made.agent.id, until]);
    return { ...made, until };
  }
  const untilOf = async (id: string): Promise<Date> =>
    (await api.db.pool.query(`SELECT state_until FROM agent WHERE id = $1`, [id])).rows[0].state_until;

  test('sets the end later, for the workflow and for the agent', async () => {
    const { agent, contact, key, callId, until } = await wrapUp();
    const later = until.getTime() + 45_000;
    const answer = await extend(callId, { seconds: 45 }, key);
    expect(answer.body).toEqual({ until: new Date(later).toISOString() });
    expect((await untilOf(agent.id)).getTime()).toBe(later);
    expect(api.workflows.updates).toMatchObject([
      { contact: { contactId: contact.id, round: 1 }, name: 'extendWrapUp', argument: { callId, agentId: agent.id, until: later } },
    ]);
  });

  test('a repeat after a failure extends once', async () => {
    const { agent, key, callId, until } = await wrapUp();
    const headers = { 'Idempotency-Key': `extend ${callId}`.replace(' ', '-') };
    api.workflows.onUpdate = refuse(new AppError('UNAVAILABLE', 'away'));
    const again = () => api.call('POST', `/v1/calls/${callId}/extend-wrap-up`, { seconds: 10 }, { key, headers });
    expect((await again()).status).toBe(503);
    expect(await untilOf(agent.id)).toEqual(until);
    api.workflows.onUpdate = () => undefined;
    expect((await again()).status).toBe(200);
    expect((await again()).headers.get('Idempotent-Replay')).toBe('true');
    expect((await untilOf(agent.id)).getTime()).toBe(until.getTime() + 10_000);
  });

  test('is refused outside wrap-up, after another call, and when it ends meanwhile', async () => {
    const talking = await scene({ talked: true });
    const early = await extend(talking.callId, { seconds: 10 }, talking.key);
    expect(early.status).toBe(409);
    expect(early.body.state).toBe('connected');

    const wrap = await wrapUp();
    expect((await extend(talking.callId, { seconds: 10 }, wrap.key)).status).toBe(403);
    expect((await extend('7', { seconds: 10 }, wrap.key)).status).toBe(404);
    expect((await extend(wrap.callId, { seconds: 10, agent_id: '2000000000' }, api.admin)).status).toBe(400);

    api.workflows.onUpdate = () => api.db.pool.query(`UPDATE agent SET state = 'ready', state_until = NULL WHERE id = $1`, [wrap.agent.id]);
    const late = await extend(wrap.callId, { seconds: 10 }, wrap.key);
    expect(late.status).toBe(409);
    expect(late.body.state).toBe('ready');
    expect(await untilOf(wrap.agent.id)).toBeNull();
  });

  test.each([{}, { seconds: 0 }, { seconds: 3601 }, { seconds: '10' }, { seconds: 1.5 }])('%j is refused', async (body) => {
    const answer = await extend('1000001', body, api.admin);
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(['seconds']);
  });
});
