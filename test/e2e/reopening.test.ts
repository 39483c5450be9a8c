/** Finished contacts that are called again by one decision (docs/domain.md, "Reopening"). */
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { reopenPage } from '../../activities/reopening.ts';
import { eventually } from '../kit/eventually.ts';
import { setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';
import { makeCall } from './api-rows.ts';
import { type Json, makeAgent, makeCampaign, makeContact, startTestApi, unique } from './api-server.ts';

describe('over the API', async () => {
  const api = await startTestApi();

  /** A campaign and its contacts, each finished as said. */
  async function scene(finished: Record<string, unknown>[] = [], rules: object = { max_attempts: 3 }) {
    const campaign = await makeCampaign(api, { rules });
    const contacts: string[] = [];
    for (const { contact: of, ...row } of finished) {
      const contact = await makeContact(api, campaign, of as object);
      const ended = { state: 'done', ended_reason: 'answered', attempts: 1, ...row };
      const now = new Date();
      const changes = { ended_at: now, closed_at: now, ended_by: 'system', scheduled_at: now, reserved_for: 7, queue_rank: 1, ...ended };
      const names = Object.keys(changes);
      const set = names.map((name, n) => `${name} = $${n + 2}`).join(', ');
      await api.db.pool.query(`UPDATE contact SET ${set} WHERE id = $1`, [contact.id, ...Object.values(changes)]);
      contacts.push(contact.id);
    }
    const path = `/v1/campaigns/${campaign.id}`;
    const reopen = (body: object, headers = {}) => api.call('POST', `${path}/reopen`, body, { headers });
    const dry = (body: object) => api.call('POST', `${path}/reopen?dryRun=true`, body);
    const work = async () => {
      while (await reopenPage(api.db, Number(campaign.id)));
    };
    const row = async (n: number): Promise<Json> =>
      (await api.db.pool.query(`SELECT * FROM contact WHERE id = $1`, [contacts[n]])).rows[0];
    const isOpen = async () => Promise.all(contacts.map(async (_id, n) => (await row(n)).state === 'new'));
    return { campaign, path, contacts, reopen, dry, work, row, isOpen };
  }

  test('whom the filter names is new again, everyone else stays as it is; the dry run has said so', async () => {
    const { reopen, dry, work, row, isOpen, path } = await scene([
      {},
      { ended_reason: 'agent_cancel', state: 'disabled' },
      { ended_reason: 'deleted', state: 'disabled', deleted_at: new Date() },
      { ended_reason: 'do_not_call', state: 'disabled' },
      { ended_reason: 'campaign_ended', state: 'disabled' },
    ]);
    const before = await row(0);
    const filter = { ended_reason: ['answered', 'agent_cancel'] };
    const effect = { reopened: { answered: 1, agent_cancel: 1 }, not_reopened: {} };
    expect((await dry(filter)).body).toEqual({ dry_run: true, ...effect });
    expect(await isOpen()).toEqual([false, false, false, false, false]);

    const answer = await reopen(filter);
    expect(answer).toMatchObject({ status: 202, body: { filter, extra_attempts: 0, reopened: {}, finished_at: null } });
    await work();
    expect(await isOpen()).toEqual([true, true, false, false, false]);
    const read = await api.call('GET', answer.headers.get('Location')!);
    expect(read.body).toMatchObject({ id: answer.body.id, ...effect, finished_at: expect.any(String) });
    expect((await api.call('GET', `${path}/reopenings`)).body.items).toEqual([read.body]);
    // As a new row of the list, in its next round, with its history.
    expect(await row(0)).toMatchObject({
      round: before.round + 1,
      attempts: 1,
      queue_rank: 2,
      ended_reason: null,
      ended_at: null,
      closed_at: null,
      scheduled_at: null,
      reserved_for: null,
      granted: 0,
      reopened_at: new Date(answer.body.at),
    });
  });

  test.each<[string, object, boolean[]]>([
    ['the last code', { last_code: ['b', 'none'] }, [true, false, true, false]],
    ['external ids', { external_ids: ['x-1', 'x-4'] }, [true, false, false, true]],
    ['from when they ended', { ended_after: '2026-01-02T00:00:00Z' }, [false, true, true, true]],
    ['until when they ended', { ended_before: '2026-01-02T00:00:00Z' }, [true, false, false, false]],
    ['variables', { variables: { var1: 'Oslo', var2: 'gold' } }, [true, false, false, false]],
    ['what was registered last', { disposition: { action: ['done'], topics: ['sale', 'later'] } }, [false, true, false, false]],
    ['all of it', { last_code: ['b'], variables: { var1: 'Oslo' } }, [true, false, false, false]],
  ])('by %s', async (_what, more, expected) => {
    const now = new Date('2026-01-02T00:00:00Z');
    const oslo = { var1: 'Oslo' };
    const { reopen, dry, work, isOpen, contacts, campaign } = await scene([
      { last_code: 'b', external_id: 'x-1', ended_at: new Date(now.getTime() - 1), contact: { variables: { ...oslo, var2: 'gold' } } },
      { last_code: 't', ended_at: now, contact: { variables: oslo } },
      { last_code: null, contact: { variables: { var1: 'Bergen' } } },
      { last_code: 'k', external_id: 'x-4' },
    ]);
    const said = [
      [contacts[0], 'done', ['later'], 1],
      [contacts[0], 'mark_as_unanswered', ['sale'], 2],
      [contacts[1], 'done', ['sale', 'more'], 3],
      [contacts[2], 'done', ['more'], 4],
    ];
    for (const [contact, action, topics, n] of said) {
      await api.db.pool.query(
        `INSERT INTO dispositions (position, call_id, agent_id, contact_id, campaign_id, at, action, topics, request_id)
         VALUES (-1000000 + 10 * $1::bigint + $6, $1, 1, $1, $2, $3, $4, $5, $6)`,
        [contact, campaign.id, now, action, topics, n],
      );
    }
    const filter = { ended_reason: ['answered'], ...more };
    const { reopened } = (await dry(filter)).body;
    await reopen(filter);
    await work();
    expect(await isOpen()).toEqual(expected);
    expect(reopened).toEqual({ answered: expected.filter(Boolean).length });
  });

  test('who may not be called stays closed, with the reason', async () => {
    const { reopen, dry, work, isOpen, row, path } = await scene([
      { closed_at: null },
      { attempts: 3 },
      { attempts: 3, granted: 1 },
      { given_up_1: true },
      {},
    ]);
    const listed = (await row(4)).phone_num;
    await api.db.pool.query(`INSERT INTO do_not_call (number, added_by, added_at) VALUES ($1, 'test', now())`, [listed]);
    const filter = { ended_reason: ['answered'] };
    const not_reopened = { closing: 1, attempts_exhausted: 1, numbers_given_up: 1, do_not_call: 1 };
    expect((await dry(filter)).body).toEqual({ dry_run: true, reopened: { answered: 1 }, not_reopened });
    await reopen(filter);
    await work();
    expect(await isOpen()).toEqual([false, false, true, false, false]);
    expect((await api.call('GET', `${path}/reopenings`)).body.items).toMatchObject([{ reopened: { answered: 1 }, not_reopened }]);
  });

  test('extra attempts are over what the campaign allows, and outlast a reschedule', async () => {
    const { reopen, work, row, isOpen } = await scene([{ attempts: 3, ended_reason: 'attempts_exhausted' }]);
    await reopen({ ended_reason: ['attempts_exhausted'], extra_attempts: 2 });
    await work();
    expect(await isOpen()).toEqual([true]);
    expect(await row(0)).toMatchObject({ granted: 2, extra_attempts: 2, attempts: 3 });
  });

  test('a number given up is left for the other one', async () => {
    const { reopen, work, row } = await scene([{ given_up_1: true, contact: { phone_2: '+4790999999' } }]);
    await reopen({ ended_reason: ['answered'] });
    await work();
    expect(await row(0)).toMatchObject({ state: 'new', next_phone: 2 });
  });

  test('who ends after the decision is not meant', async () => {
    const { reopen, work, isOpen, contacts } = await scene([{}, {}]);
    await reopen({ ended_reason: ['answered'] });
    await api.db.pool.query(`UPDATE contact SET ended_at = now() + interval '1 minute' WHERE id = $1`, [contacts[1]]);
    await work();
    expect(await isOpen()).toEqual([true, false]);
  });

  test('a repeat with the same key is the same decision, also if its answer was lost', async () => {
    const { reopen, path, work, row } = await scene([{}]);
    const key = { 'Idempotency-Key': unique('reopen-') };
    const first = await reopen({ ended_reason: ['answered'] }, key);
    await api.db.pool.query(`DELETE FROM idempotent_request WHERE key = $1`, [key['Idempotency-Key']]);
    const second = await reopen({ ended_reason: ['answered'] }, key);
    expect(second.body.id).toBe(first.body.id);
    expect((await api.call('GET', `${path}/reopenings`)).body.items).toHaveLength(1);
    await work();
    expect(await row(0)).toMatchObject({ round: 2 });
  });

  test.each<[string, object, string[]]>([
    ['no reason', {}, ['ended_reason is missing']],
    ['an empty list', { ended_reason: [] }, ['ended_reason must have 1 or more']],
    ['what is never called again', { ended_reason: ['do_not_call'] }, [expect.stringContaining('ended_reason.0 must be answered or')]],
    ['a code that is none', { ended_reason: ['answered'], last_code: ['x'] }, [expect.stringContaining('last_code.0 must be')]],
    ['an empty span', { ended_reason: ['answered'], ended_after: '2026-02-01T00:00:00Z', ended_before: '2026-02-01T00:00:00Z' }, ['ended_before must be after ended_after']],
    ['too much', { ended_reason: ['answered'], extra_attempts: 101 }, ['extra_attempts must be 100 or less']],
    ['a variable that is none', { ended_reason: ['answered'], variables: { var31: 'x' } }, [expect.stringContaining('variables')]],
    ['a time that is none', { ended_reason: ['answered'], ended_before: 'yesterday' }, [expect.stringContaining('ended_before')]],
    ['a time that PostgreSQL can not read', { ended_reason: ['answered'], ended_after: '0000-01-01T00:00:00Z' }, ['ended_after must be 1970 or later']],
    ['a field that is none', { ended_reason: ['answered'], state: 'done' }, [expect.stringContaining('state')]],
  ])('%s is refused', async (_what, body, expected) => {
    const { reopen, dry, path } = await scene();
    for (const answer of [await reopen(body), await dry(body)]) {
      expect([answer.status, answer.body.code]).toEqual([400, 'INVALID']);
      expect(answer.body.issues.map(({ field, reason }: Json) => `${field} ${reason}`)).toEqual(expected);
    }
    expect((await api.call('GET', `${path}/reopenings`)).body.items).toEqual([]);
  });

  test('a campaign that has ended, or is none', async () => {
    const { reopen, path } = await scene([{}]);
    await api.call('POST', `${path}/end`);
    expect(await reopen({ ended_reason: ['answered'] })).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
    for (const nowhere of ['/v1/campaigns/2000000000/reopen', '/v1/campaigns/2000000000/reopen?dryRun=true']) {
      expect((await api.call('POST', nowhere, { ended_reason: ['answered'] })).status).toBe(404);
    }
    expect((await api.call('GET', '/v1/campaigns/2000000000/reopenings')).status).toBe(404);
    expect((await api.call('GET', `${path}/reopenings/1`)).status).toBe(404);
  });

  test('a late correction of the talk before ends it again', async () => {
    const { reopen, work, campaign } = await scene();
    const agent = await makeAgent(api, [campaign]);
    const contact = await makeContact(api, campaign);
    const { callId } = await makeCall(api, { contact, agent, callNo: 1, talked: true });
    await api.db.pool.query(
      `UPDATE contact SET state = 'done', ended_reason = 'answered', ended_at = now(), closed_at = now() WHERE id = $1`,
      [contact.id],
    );
    await reopen({ ended_reason: ['answered'] });
    await work();
    const key = await api.key('agent', Number(agent.id));
    await api.call('POST', `/v1/calls/${callId}/disposition`, { action: 'do_not_call' }, { key });
    const { rows } = await api.db.pool.query(`SELECT state, ended_reason FROM contact WHERE id = $1`, [contact.id]);
    expect(rows).toEqual([{ state: 'disabled', ended_reason: 'do_not_call' }]);
  });
});

describe('in the whole product', () => {
  let system: System;
  let next = 2286_9000;
  const number = () => `+47${next++}`;
  beforeAll(async () => {
    const busy = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'fails', after: 0, sip: 486 } };
    const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
    system = await startSystem({
      speed: 1,
      script: { numbers: { '+4722869500': busy }, contacts: [{ weight: 1, behaviour: manual }] },
    });
  }, 120_000);
  afterAll(() => system?.stop());

  it('who has talked is called and talks once more, in a call of its own', async () => {
    const phone = number();
    const scene = await setScene(system, { contacts: [{ phone_num: phone }], rules: { wrap_up_sec: 0 } });
    const talk = async () => {
      const { call } = await scene.ringing();
      const { phone: own, key } = scene.agents[0]!;
      await scene.phone(own, 'answer');
      await scene.until('dialling');
      await scene.phone(phone, 'answer');
      await scene.until('talking');
      await system.ok('POST', `/calls/${call}/hang-up`, {}, { key });
      await scene.until('done');
    };
    await scene.ready();
    await talk();
    const { id } = await system.ok('POST', `/campaigns/${scene.campaign}/reopen`, { ended_reason: ['answered'] });
    await talk();
    expect(await scene.contact()).toMatchObject({ attempts: 2, ended_reason: 'answered' });
    expect(await system.ok('GET', `/campaigns/${scene.campaign}/reopenings/${id}`)).toMatchObject({ reopened: { answered: 1 } });
    expect(await scene.dialled(phone)).toBe(2);
  });

  it('retries of a code count from the reopening on; the cap on attempts stays', async () => {
    const rules = { max_attempts: 3, retry: { b: { delay_sec: 0, max: 0 } } };
    const scene = await setScene(system, { contacts: [{ phone_num: '+4722869500' }], rules });
    const { phone: own } = scene.agents[0]!;
    const busy = async (attempts: number) => {
      await scene.ringing();
      await scene.phone(own, 'answer');
      await eventually(async () => (await scene.contact()).attempts === attempts);
    };
    const isExhausted = async () => expect(await scene.until('done')).toMatchObject({ ended_reason: 'attempts_exhausted' });
    const reopen = (more: object = {}): Promise<Json> =>
      system.ok('POST', `/campaigns/${scene.campaign}/reopen`, { ended_reason: ['attempts_exhausted'], ...more });
    await scene.ready();
    await busy(1);
    await isExhausted();
    await system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: { retry: { b: { max: 1 } } } });
    // A second busy would be the second retry, were the first one counted.
    await reopen();
    await busy(2);
    await busy(3);
    await isExhausted();
    await reopen();
    const { id } = (await system.ok('GET', `/campaigns/${scene.campaign}/reopenings`)).items.at(-1);
    await eventually(async () => (await system.ok('GET', `/campaigns/${scene.campaign}/reopenings/${id}`)).finished_at);
    expect(await scene.contact()).toMatchObject({ state: 'done', attempts: 3 });
    await reopen({ extra_attempts: 1 });
    await busy(4);
    await isExhausted();
  });

  it('a paused campaign calls whom it has reopened when it goes on', async () => {
    const phone = number();
    const scene = await setScene(system, { contacts: [{ phone_num: phone }] });
    await scene.until('queued');
    await system.ok('POST', `/contacts/${scene.contacts[0]}/disable`);
    await scene.until('disabled');
    await system.ok('POST', `/campaigns/${scene.campaign}/pause`);
    await system.ok('POST', `/campaigns/${scene.campaign}/reopen`, { ended_reason: ['disabled'] });
    await scene.until('new');
    await system.ok('POST', `/campaigns/${scene.campaign}/resume`);
    await scene.until('queued');
  });
});
