/** Topics of dispositions, from the tree of a campaign to the row for readers (docs/domain.md, "Topics"). */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { contactWorkflowId } from '../../domain/ids.ts';
import { inTx } from '../../prisma/tx.ts';
import { eventually } from '../kit/eventually.ts';
import { setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';
import { makeCall } from './api-rows.ts';
import { makeAgent, makeCampaign, makeContact, openSse, startTestApi } from './api-server.ts';

const TREE = [
  { key: 'sale', label: 'Sold', children: [{ key: 'new', label: 'A new customer' }] },
  { key: 'later', label: 'Not now', required: true, children: [{ key: 'busy', label: 'Busy', action: 'mark_as_unanswered' }] },
  { key: 'no', label: 'Not interested', comment: 'required' },
  { key: 'never', label: 'Never again', action: 'do_not_call' },
];
const TOPICS = { required: true, tree: TREE };
const whole = (topic: Json): Json => ({
  required: false,
  comment: 'optional',
  action: null,
  ...topic,
  children: (topic.children ?? []).map(whole),
});
const WHOLE = { required: true, comment: 'optional', tree: TREE.map(whole) };

describe('over the API', async () => {
  const api = await startTestApi();

  /** A talk under the newest rules of a campaign, and what may be done with it. */
  async function talk(topics: object = TOPICS) {
    const campaign = await makeCampaign(api, { rules: { topics } });
    const agent = await makeAgent(api, [campaign]);
    const contact = await makeContact(api, campaign);
    const call = await makeCall(api, { contact, agent, callNo: 1, talked: true });
    await api.db.pool.query(`UPDATE call SET rules_version = 1 WHERE call_id = $1`, [call.callId]);
    const key = await api.key('agent', Number(agent.id));
    const dispose = (body: object, headers = {}) =>
      api.call('POST', `/v1/calls/${call.callId}/disposition`, body, { key, headers });
    const stored = async (): Promise<Json[]> =>
      (await api.call('GET', '/v1/call-events?kind=disposition&limit=1000')).body.items.filter(
        ({ call_id }: Json) => call_id === call.callId,
      );
    const edit = (rules: object) => api.call('PATCH', `/v1/campaigns/${campaign.id}`, { rules });
    return { campaign, agent, contact, key, dispose, stored, edit, ...call };
  }
  const reasons = ({ body }: Json) => body.issues.map(({ field, reason }: Json) => `${field} ${reason}`);

  test('the campaign has its tree, with every field filled in', async () => {
    const { campaign } = await talk();
    expect(campaign.rules.topics).toEqual(WHOLE);
  });

  test('a change of the tree is the whole tree, and leaves the other fields', async () => {
    const { edit } = await talk();
    const answer = await edit({ topics: { tree: [{ key: 'a', label: 'A' }] } });
    expect(answer.body.rules.topics).toEqual({ required: true, comment: 'optional', tree: [whole({ key: 'a', label: 'A' })] });
  });

  test('a contradictory tree is refused when it is saved, by the place of what is wrong', async () => {
    const { edit, campaign } = await talk();
    const answer = await edit({ topics: { tree: [{ key: 'sale', label: 'x', required: true }] } });
    expect([answer.status, answer.body.code]).toEqual([400, 'INVALID']);
    expect(reasons(answer)).toEqual(['rules.topics.tree.0.required needs topics below it to choose from']);
    expect((await edit({ topics: { tree: [] } })).status).toBe(400);
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}`)).body.rules_version).toBe(1);
  });

  test.each<[string, object, string[]]>([
    ['none where one is required', { action: 'done' }, ['topics must have one of sale, later, no, never']],
    ['one that requires another below it', { action: 'done', topics: ['later'] }, ['topics must have one below later: busy']],
    ['one that is not known', { action: 'done', topics: ['sale', 'Sold'] }, ['topics.1 is not a topic of this campaign: Sold']],
    ['one that asks for a comment', { action: 'done', topics: ['no'] }, ['comment is missing: no asks for one']],
    ['another action than it means', { action: 'done', topics: ['busy'] }, ['action contradicts: the topics mean mark_as_unanswered']],
    ['no action, and none that means one', { topics: ['sale'] }, ['action is missing: no topic says it']],
  ])('%s: 422 that names it, and nothing is stored', async (_what, body, expected) => {
    const { dispose, stored } = await talk();
    api.workflows.updates.length = 0;
    const answer = await dispose(body);
    expect([answer.status, answer.body.code]).toEqual([422, 'TOPICS_MISMATCH']);
    expect(reasons(answer)).toEqual(expected);
    expect(answer.body.detail).not.toContain('Sold');
    expect(await stored()).toEqual([]);
    expect(api.workflows.updates).toEqual([]);
    expect((await dispose({ action: 'done', topics: ['new'] })).status).toBe(200);
  });

  test('what fits is in the event stream, with the version in which its topics stand', async () => {
    const { dispose, stored } = await talk();
    expect((await dispose({ action: 'done', topics: ['new', 'no'], comment: 'Has one' })).status).toBe(200);
    expect(await stored()).toMatchObject([{ action: 'done', topics: ['new', 'no'], comment: 'Has one', rules_version: 1 }]);
  });

  test('the action that a topic means is stored and told', async () => {
    const { dispose, stored, callId, agent } = await talk();
    expect((await dispose({ topics: ['busy'] })).status).toBe(200);
    expect(await stored()).toMatchObject([{ action: 'mark_as_unanswered', topics: ['busy'] }]);
    expect(api.workflows.updates.at(-1)).toMatchObject({
      name: 'dispose',
      argument: { callId, agentId: agent.id, action: 'mark_as_unanswered' },
    });
  });

  test('do_not_call is accepted without what is required, said or meant', async () => {
    for (const [body, topics] of [
      [{ action: 'do_not_call' }, []],
      [{ action: 'do_not_call', topics: ['later', 'Sold'] }, ['later']],
      [{ topics: ['never'] }, ['never']],
      [{ action: 'done', topics: ['never'] }, ['never']],
    ] as const) {
      const { dispose, stored, contact } = await talk();
      expect((await dispose(body)).status).toBe(200);
      expect(await stored()).toMatchObject([{ action: 'do_not_call', topics }]);
      expect(api.workflows.updates.at(-1)).toMatchObject({ argument: { action: 'do_not_call' } });
      const listed = await api.db.pool.query(`SELECT 1 FROM do_not_call WHERE number = $1`, [contact.phone_num]);
      expect(listed.rowCount).toBe(1);
    }
  });

  test('do_not_call meant by a topic is accepted after the next call has started, and from an abandoned answer', async () => {
    const { dispose, stored, contact, callId } = await talk();
    await api.db.pool.query(`UPDATE leg SET result_reason = 'abandoned' WHERE call_id = $1 AND ciq = 'c'`, [callId]);
    await api.db.pool.query(`UPDATE contact SET call_id = call_id + 1 WHERE id = $1`, [contact.id]);
    expect((await dispose({ action: 'done', topics: ['sale'] })).status).toBe(409);
    expect((await dispose({ topics: ['never'] })).status).toBe(200);
    expect(await stored()).toMatchObject([{ action: 'do_not_call' }]);
  });

  test('a call keeps the tree of its first offer: an edit upsets neither who is in it nor what was registered', async () => {
    const { dispose, stored, edit } = await talk();
    await dispose({ action: 'done', topics: ['new'] });
    await edit({ topics: { comment: 'none', tree: [{ key: 'other', label: 'Other' }] } });
    expect(await stored()).toMatchObject([{ topics: ['new'], rules_version: 1 }]);
    expect((await dispose({ action: 'done', topics: ['no'], comment: 'Has one' })).status).toBe(200);
    expect(reasons(await dispose({ action: 'done', topics: ['other'] }))).toEqual([
      'topics.0 is not a topic of this campaign: other',
      'topics must have one of sale, later, no, never',
    ]);
    expect(await stored()).toMatchObject([{ topics: ['new'] }, { topics: ['no'], rules_version: 1 }]);
  });

  test('a repeat of what was accepted is no mistake', async () => {
    const { dispose, stored } = await talk();
    const headers = { 'Idempotency-Key': 'the-same' };
    await dispose({ topics: ['busy'] }, headers);
    // As if the answer had been lost before it was kept.
    await api.db.pool.query(`DELETE FROM idempotent_request WHERE key = 'the-same'`);
    expect((await dispose({ topics: ['busy'] }, headers)).status).toBe(200);
    expect(await stored()).toHaveLength(1);
  });

  test("an agent's screen-pop carries the tree of the call", async () => {
    const { campaign, edit } = await talk();
    const agent = await makeAgent(api, [campaign]);
    const sse = await openSse(`${api.url}/v1/agents/${agent.id}/stream`, { Authorization: `Bearer ${api.admin}` });
    await edit({ topics: { required: false, tree: [] } });
    const trees = [];
    for (const version of [1, 2]) {
      const contact = await makeContact(api, campaign);
      const { callId, offerId } = await makeCall(api, { contact, agent, callNo: 1 });
      await api.db.pool.query(`UPDATE call SET rules_version = $2 WHERE call_id = $1`, [callId, version]);
      await inTx(api.db, async (tx) => {
        const row = { agent_id: Number(agent.id), at: tx.now, from_state: 'ready', state: 'reserved', cause: 'offer' } as const;
        tx.record({ table: 'agent_events', row: { ...row, duration_ms: 5, offer_id: offerId, call_id: callId, result_code: null } });
      });
      const pop = await eventually(() => sse.events.find(({ event, data }) => event === 'offer' && data.offer_id === offerId));
      trees.push(pop!.data.topics);
      await api.db.pool.query(`UPDATE offer SET ended_at = created_at WHERE id = $1`, [offerId]);
    }
    expect(trees).toEqual([WHOLE, { required: false, comment: 'optional', tree: [] }]);
  });
});

describe('an operator, by a signal in the Temporal UI', () => {
  let system: System;
  beforeAll(async () => {
    const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
    system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
  }, 90_000);
  afterAll(() => system?.stop());

  test('names topics as an agent does, is told what is missing, and is asked for no comment', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: '+4722990001' }], rules: { topics: TOPICS, wrap_up_sec: 600 } });
    await scene.ready();
    const { call } = await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone('+4722990001', 'answer');
    await scene.until('talking');
    await scene.phone('+4722990001', 'hang-up');
    await scene.until('wrap_up');

    const connection = await Connection.connect({ address: inject('temporalAddress') });
    try {
      const workflow = new Client({ connection }).workflow.getHandle(contactWorkflowId(scene.contacts[0]!, 1));
      const dispose = (more: object) =>
        workflow.signal('dispose', { callId: call, agentId: scene.agents[0]!.id, action: 'done', ...more });
      const details = async () => JSON.stringify(await workflow.query('__temporal_workflow_metadata'));
      await dispose({});
      await eventually(async () => (await details()).includes('topics must have one of sale, later, no, never'));
      await dispose({ topics: ['Kari Nordmann'] });
      await eventually(async () => (await details()).includes('topics must be a list of topic keys'));
      expect((await scene.contact()).state).toBe('wrap_up');

      await dispose({ topics: ['no'] });
      await scene.until('done');
      const { rows } = await system.sql.query(`SELECT action, topics, comment FROM dispositions WHERE call_id = $1`, [call]);
      expect(rows).toEqual([{ action: 'done', topics: ['no'], comment: null }]);
    } finally {
      await connection.close();
    }
  });
});
