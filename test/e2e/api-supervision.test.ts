/** What a supervisor does to an agent, state by state (docs/domain.md, "Agents"), on rows and with doubles for workflows. */
import { beforeEach, describe, expect, test } from 'vitest';
import { lockQueue } from '../../matching/sql.ts';
import { AppError } from '../../domain/errors.ts';
import { AGENT_STATES, type AgentState } from '../../domain/states.ts';
import { inTx } from '../../prisma/tx.ts';
import { eventually } from '../kit/eventually.ts';
import { type Json, makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const { pool } = api.db;
const campaign = await makeCampaign(api);
await api.call('POST', `/v1/campaigns/${campaign.id}/start`);
const manager = await api.key('manager');
/** As the rows say who it was. */
const supervisor = `key:${(await pool.query(`SELECT id FROM api_key WHERE name = 'manager'`)).rows[0].id}`;

beforeEach(() => {
  api.workflows.updates.length = 0;
  api.workflows.onUpdate = () => undefined;
});

const act = (agent: { id: string }, what: string) =>
  api.call('POST', `/v1/agents/${agent.id}/${what}`, undefined, { key: manager });
const read = async (agent: { id: string }) => (await api.call('GET', `/v1/agents/${agent.id}`)).body;
const rows = async (text: string, values: unknown[]): Promise<Json[]> => (await pool.query(text, values)).rows;
const events = (agent: { id: string }) =>
  rows(`SELECT from_state, state, cause, changed_by FROM agent_events WHERE agent_id = $1 ORDER BY position`, [agent.id]);
const event = (from_state: string, state: string, cause: string, changed_by: string | null = supervisor) =>
  ({ from_state, state, cause, changed_by });

const REST = ['no_answer', 'busy', 'error'];
const FREE = ['ready', 'paused', ...REST];
const ENGAGED = ['reserved', 'connecting', 'connected', 'wrap_up'];

/** An agent in this state, with the call that belongs to it. */
async function agentIn(state: AgentState, nextState: string | null = null, nextBy: string | null = null) {
  const agent = await makeAgent(api);
  const contact = await makeContact(api, campaign);
  const isEnded = state === 'wrap_up';
  const call = ENGAGED.includes(state)
    ? await makeCall(api, { contact, agent, callNo: 1, talked: state === 'connected', ended: isEnded, ...(isEnded && { code: 'k' }) })
    : null;
  if (call) await pool.query(`UPDATE call SET next_sequence = 5 WHERE call_id = $1`, [call.callId]);
  if (state === 'connecting') {
    await pool.query(`UPDATE offer SET state = 'dialling' WHERE id = $1`, [call!.offerId]);
    await pool.query(`UPDATE contact SET state = 'dialling', attempts = 1 WHERE id = $1`, [contact.id]);
  }
  if (isEnded) await pool.query(`UPDATE contact SET state = 'wrap_up' WHERE id = $1`, [contact.id]);
  await pool.query(
    `UPDATE agent SET state = $2, since = $3, cause = 'test', offer_id = $4, next_state = $5, next_by = $6, missed_in_row = 1,
       state_until = CASE WHEN $7 THEN $3::timestamptz + interval '1 h' END, lease_until = $3::timestamptz + interval '1 h'
     WHERE id = $1`,
    [agent.id, state, new Date(), call?.offerId ?? null, nextState, nextBy, [...REST, 'wrap_up'].includes(state)],
  );
  return { agent, contact, ...call! };
}

test('of all states one of the tables says what becomes of it', () => {
  expect([...FREE, ...ENGAGED, 'logged_off'].sort()).toEqual([...AGENT_STATES].sort());
});

describe('pause', () => {
  test.each(['ready', ...REST] as AgentState[])('of %s: at once', async (state) => {
    const { agent } = await agentIn(state);
    expect((await act(agent, 'pause')).body).toMatchObject({ state: 'paused', next_state: null, until: null });
    expect(await events(agent)).toEqual([event(state, 'paused', 'supervisor')]);
    expect((await act(agent, 'pause')).body.state).toBe('paused');
    expect(await events(agent)).toHaveLength(1);
  });

  test.each(ENGAGED as AgentState[])('of %s: after it', async (state) => {
    const { agent } = await agentIn(state);
    expect((await act(agent, 'pause')).body).toMatchObject({ state, next_state: 'paused' });
    expect(await events(agent)).toEqual([]);
  });

  test('of who is logged off is refused: it would log on', async () => {
    const { agent } = await agentIn('logged_off');
    const answer = await act(agent, 'pause');
    expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT', state: 'logged_off' } });
    expect((await read(agent)).state).toBe('logged_off');
  });

  test('does not keep who is leaving', async () => {
    const { agent } = await agentIn('connected', 'logged_off');
    expect((await act(agent, 'pause')).body.next_state).toBe('logged_off');
  });

  test('does not renew a lease: a supervisor does not show that the agent is there', async () => {
    const { agent } = await agentIn('ready');
    await pool.query(`UPDATE agent SET lease_until = $2 WHERE id = $1`, [agent.id, new Date(5)]);
    await act(agent, 'pause');
    const [{ lease_until }] = await rows(`SELECT lease_until FROM agent WHERE id = $1`, [agent.id]);
    expect(lease_until).toEqual(new Date(5));
  });
});

describe('log-off', () => {
  test.each(FREE as AgentState[])('of %s: at once', async (state) => {
    const { agent } = await agentIn(state);
    expect((await act(agent, 'log-off')).body).toMatchObject({ state: 'logged_off', next_state: null });
    expect(await events(agent)).toEqual([event(state, 'logged_off', 'supervisor')]);
    expect((await act(agent, 'log-off')).body.state).toBe('logged_off');
    expect(await events(agent)).toHaveLength(1);
  });

  test.each(ENGAGED as AgentState[])('of %s: after it', async (state) => {
    const { agent } = await agentIn(state, 'paused');
    expect((await act(agent, 'log-off')).body).toMatchObject({ state, next_state: 'logged_off' });
  });
});

describe('what a supervisor has ordered', () => {
  const wish = async (agent: { id: string }, state: string) =>
    (await api.call('PUT', `/v1/agents/${agent.id}/state`, { state }, { key: await api.key('agent', Number(agent.id)) })).body;

  test('is not taken back by the agent, but is over when it has come', async () => {
    const { agent } = await agentIn('connected');
    await act(agent, 'pause');
    expect(await wish(agent, 'ready')).toMatchObject({ state: 'connected', next_state: 'paused' });
    await pool.query(`UPDATE agent SET state = 'wrap_up', state_until = $2 WHERE id = $1`, [agent.id, new Date(Date.now() + 60_000)]);
    expect(await wish(agent, 'ready')).toMatchObject({ state: 'paused', next_state: null });
    expect(await events(agent)).toEqual([event('wrap_up', 'paused', 'agent')]);
    expect(await wish(agent, 'ready')).toMatchObject({ state: 'ready', next_state: null });
    expect((await events(agent))[1]).toEqual(event('paused', 'ready', 'agent', `agent:${agent.id}`));
  });

  test('gives way to what is stronger: logging off', async () => {
    const { agent } = await agentIn('connected');
    await act(agent, 'pause');
    expect(await wish(agent, 'logged_off')).toMatchObject({ next_state: 'logged_off' });
    await act(agent, 'log-off');
    expect(await wish(agent, 'paused')).toMatchObject({ next_state: 'logged_off' });
    expect(await wish(agent, 'ready')).toMatchObject({ next_state: 'logged_off' });
  });

  test('is taken back by a supervisor', async () => {
    const { agent } = await agentIn('connected');
    await act(agent, 'pause');
    const answer = await api.call('PUT', `/v1/agents/${agent.id}/state`, { state: 'ready' }, { key: manager });
    expect(answer.body).toMatchObject({ state: 'connected', next_state: null });
    expect(await rows(`SELECT next_by FROM agent WHERE id = $1`, [agent.id])).toEqual([{ next_by: null }]);
  });

  test('an own wish can still be taken back', async () => {
    const { agent } = await agentIn('connected');
    await wish(agent, 'paused');
    expect(await wish(agent, 'ready')).toMatchObject({ next_state: null });
  });
});

describe('release', () => {
  test.each(['ready', 'paused', 'logged_off'] as AgentState[])('of %s: nothing holds the agent', async (state) => {
    const { agent } = await agentIn(state);
    const before = await read(agent);
    expect(await act(agent, 'release')).toMatchObject({ status: 200, body: { state } });
    expect(await read(agent)).toEqual(before);
    expect(await events(agent)).toEqual([]);
  });

  test.each(REST as AgentState[])('of %s: the rest is over, and counts as before', async (state) => {
    const { agent } = await agentIn(state);
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready', until: null });
    expect(await events(agent)).toEqual([event(state, 'ready', 'supervisor')]);
    expect(await rows(`SELECT missed_in_row FROM agent WHERE id = $1`, [agent.id])).toEqual([{ missed_in_row: 1 }]);
  });

  test.each([null, 'paused', 'logged_off'])('of wrap_up: it is over, and the agent gets what was wanted after it (%s)', async (next) => {
    const { agent, callId } = await agentIn('wrap_up', next);
    expect((await act(agent, 'release')).body).toMatchObject({ state: next ?? 'ready', next_state: null });
    expect(await events(agent)).toEqual([event('wrap_up', next ?? 'ready', 'supervisor')]);
    expect(await rows(`SELECT ended_by, registered FROM wrap_ups WHERE call_id = $1`, [callId])).toEqual([
      { ended_by: 'supervisor', registered: false },
    ]);
    expect((await act(agent, 'release')).status).toBe(200);
    expect(await events(agent)).toHaveLength(1);
  });

  test('of an offer that was not rung yet needs no workflow: the call is back at its place', async () => {
    const { agent, contact, offerId, callId } = await agentIn('reserved');
    await pool.query(`DELETE FROM leg WHERE offer_id = $1`, [offerId]);
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready', next_state: null });
    expect(api.workflows.updates).toEqual([]);
    expect(await events(agent)).toEqual([event('reserved', 'ready', 'agent_released')]);
    const [offer] = await rows(`SELECT result_code, result_reason, reoffer_at FROM offer WHERE id = $1`, [offerId]);
    expect(offer).toMatchObject({ result_code: 'q', result_reason: 'agent_released', reoffer_at: expect.any(Date) });
    // In the queue, for anybody but this agent.
    const waiting = { state: 'waiting', wait_reason: 'waiting_for_agent', call_id: callId };
    expect((await api.call('GET', `/v1/contacts/${contact.id}`)).body).toMatchObject(waiting);
  });

  test('of an offer that rings asks the workflow, and answers when the agent is free', async () => {
    const { agent, contact, offerId } = await agentIn('reserved');
    let wasHeld = '';
    api.workflows.onUpdate = async () => {
      setTimeout(() => void pool.query(`UPDATE agent SET state = 'ready', offer_id = NULL WHERE id = $1`, [agent.id]), 200);
      wasHeld = (await read(agent)).offer_id;
    };
    expect((await act(agent, 'release')).body.state).toBe('ready');
    expect(wasHeld).toBe(offerId);
    expect(api.workflows.updates).toMatchObject([
      { name: 'release', contact: { contactId: contact.id, round: 1 }, argument: { offerNo: 1, agentId: agent.id, by: supervisor } },
    ]);
  });

  test('of an offer that rings frees of that offer, and of none after it', async () => {
    const { agent, offerId } = await agentIn('reserved');
    const contact = await makeContact(api, campaign);
    api.workflows.onUpdate = async () => {
      await pool.query(`UPDATE offer SET ended_at = now() WHERE id = $1`, [offerId]);
      await makeCall(api, { contact, agent, callNo: 1 });
      throw new AppError('OFFER_OVER', 'the offer is over', { state: 'queued' });
    };
    const answer = await act(agent, 'release');
    expect(answer).toMatchObject({ status: 200, body: { state: 'reserved' } });
    expect((await api.call('GET', `/v1/contacts/${contact.id}`)).body.state).toBe('offered');
  });

  test.each([
    ['reserved', 'picked up'],
    ['connecting', 'being called'],
    ['connected', 'never cut'],
  ] as [AgentState, string][])('of %s after the answer is refused, and says what to do', async (state, said) => {
    const { agent, callId } = await agentIn(state);
    api.workflows.onUpdate = () => {
      throw new AppError('CONFLICT', 'the offer has been answered', { state: 'talking' });
    };
    const answer = await act(agent, 'release');
    expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT', state, detail: expect.stringContaining(said) } });
    if (state !== 'reserved') expect(answer.body.detail).toContain(`POST /v1/calls/${callId}/hang-up`);
    expect((await read(agent)).state).toBe(state);
    expect(await events(agent)).toEqual([]);
  });

  test('that can not be carried out now is unknown', async () => {
    const { agent } = await agentIn('reserved');
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'away');
    };
    expect((await act(agent, 'release')).status).toBe(503);
    expect((await read(agent)).state).toBe('reserved');
  });

  test('repeated with its key asks the workflow as the same request', async () => {
    const { agent } = await agentIn('reserved');
    const again = () => api.call('POST', `/v1/agents/${agent.id}/release`, undefined, { headers: { 'Idempotency-Key': `r${agent.id}` } });
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'away');
    };
    await again();
    api.workflows.onUpdate = () => pool.query(`UPDATE agent SET state = 'ready', offer_id = NULL WHERE id = $1`, [agent.id]);
    expect((await again()).status).toBe(200);
    const [first, second] = api.workflows.updates;
    expect(first!.key).toBe(second!.key);
    expect((await again()).headers.get('Idempotent-Replay')).toBe('true');
  });
});

describe('release where the workflow is gone', () => {
  beforeEach(() => {
    api.workflows.onUpdate = () => {
      throw new AppError('CONTACT_CLOSED', 'nothing is under way for this contact', { state: 'closed' });
    };
  });

  test('and the phone rings: the agent is free, the contact disabled, each on record', async () => {
    const { agent, contact, callId } = await agentIn('reserved');
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready' });
    expect(await events(agent)).toEqual([event('reserved', 'ready', 'disabled')]);
    const { body } = await api.call('GET', `/v1/contacts/${contact.id}`);
    expect(body).toMatchObject({ state: 'disabled', ended_reason: 'disabled', ended_by: 'system' });
    const story = await rows(
      `SELECT event_type, ciq, result_code, result_reason FROM call_events WHERE call_id = $1 ORDER BY call_sequence`,
      [callId],
    );
    expect(story).toEqual([
      { event_type: 'q', ciq: null, result_code: 'd', result_reason: 'disabled' },
      { event_type: 'c', ciq: 'a', result_code: 'q', result_reason: 'disabled' },
    ].toReversed());
    expect(await rows(`SELECT cause FROM repair WHERE subject = $1`, [`contact/${contact.id}/1`])).toEqual([{ cause: 'workflow_closed' }]);
  });

  test('and the contact is being called: likewise', async () => {
    const { agent, contact } = await agentIn('connecting');
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready' });
    expect((await api.call('GET', `/v1/contacts/${contact.id}`)).body.state).toBe('disabled');
    expect(await rows(`SELECT 1 FROM leg WHERE contact_id = $1 AND ended_at IS NULL`, [contact.id])).toEqual([]);
  });

  test('and they talk: it is not cut', async () => {
    const { agent } = await agentIn('connected');
    await holdNode(60_000);
    expect(await act(agent, 'release')).toMatchObject({ status: 409, body: { state: 'connected' } });
    expect((await read(agent)).state).toBe('connected');
  });

  test('and they talked over a switch that is gone too: the agent is free', async () => {
    const { agent, callId } = await agentIn('connected');
    await holdNode(-60_000);
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready' });
    expect(await events(agent)).toEqual([
      event('connected', 'wrap_up', 'talk_ended', null),
      event('wrap_up', 'ready', 'supervisor'),
    ]);
    expect(await rows(`SELECT ciq, result_code, result_reason FROM call_events WHERE call_id = $1 ORDER BY position`, [callId])).toEqual([
      { ciq: 'c', result_code: 'k', result_reason: 'switch_lost' },
      { ciq: 'a', result_code: 'k', result_reason: 'switch_lost' },
    ]);
  });

  test.each(['reserved', 'connecting', 'connected'] as AgentState[])('and %s is left of an offer that is over: repaired', async (state) => {
    const { agent, offerId } = await agentIn(state);
    await pool.query(`UPDATE offer SET ended_at = $2 WHERE id = $1`, [offerId, new Date()]);
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready' });
    expect(await events(agent)).toEqual([event(state, 'ready', 'supervisor')]);
    expect(await rows(`SELECT cause FROM repair WHERE subject = $1`, [`agent/${agent.id}`])).toEqual([{ cause: 'agent_stuck' }]);
  });

  test('and there is no such offer at all: repaired', async () => {
    const { agent } = await agentIn('ready');
    await pool.query(`UPDATE agent SET state = 'connected', offer_id = 999999 WHERE id = $1`, [agent.id]);
    expect((await act(agent, 'release')).body).toMatchObject({ state: 'ready' });
  });

  /** The node of the rows, held until so many ms from now. */
  const holdNode = (ms: number) =>
    pool.query(
      `INSERT INTO node (name, holder, lease_until) VALUES ('sim-1', 'test', $1) ON CONFLICT (name) DO UPDATE SET lease_until = $1`,
      [new Date(Date.now() + ms)],
    );
});

describe('emergency stop', () => {
  const stop = (key = manager) => api.call('POST', '/v1/stop', undefined, { key });
  const statusOf = async ({ id }: { id: string }) => {
    const { body } = await api.call('GET', `/v1/campaigns/${id}`);
    return `${body.status}${body.stop_requested ? ' to be stopped' : ''}`;
  };
  const made = async (...controls: string[]) => {
    const own = await makeCampaign(api);
    for (const control of controls) await api.call('POST', `/v1/campaigns/${own.id}/${control}`);
    return own;
  };
  /** One with an agent whose phone rings, or who talks. */
  const withOffer = async (talked: boolean, ...controls: string[]) => {
    const own = await made('start');
    await makeCall(api, { contact: await makeContact(api, own), agent: await makeAgent(api), callNo: 1, talked });
    for (const control of controls) await api.call('POST', `/v1/campaigns/${own.id}/${control}`);
    return own;
  };

  test('stops what runs or still rings, tells which, and leaves the others; a repeat finds nothing', async () => {
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
    await stop();
    const [draft, running, paused, ended] = [await made(), await made('start'), await made('start', 'pause'), await made('start', 'end')];
    const rings = [await withOffer(false, 'pause'), await withOffer(false, 'end'), await withOffer(false)];
    const talks = [await withOffer(true, 'pause'), await withOffer(true, 'end'), await withOffer(true)];
    api.workflows.campaigns.length = 0;
    const answer = await stop();
    const stopped = [running, ...rings, talks[2]].map(({ id }) => id);
    expect(answer.body).toEqual({ stopped });
    expect(api.workflows.campaigns.toSorted()).toEqual(stopped.toSorted());
    for (const [one, status] of [
      [draft, 'draft'],
      [running, 'paused to be stopped'],
      [paused, 'paused'],
      [ended, 'ended'],
      [rings[0], 'paused to be stopped'],
      [rings[1], 'ended to be stopped'],
      [rings[2], 'paused to be stopped'],
      [talks[0], 'paused'],
      [talks[1], 'ended'],
      [talks[2], 'paused to be stopped'],
    ] as const) {
      expect(await statusOf(one), one.id).toBe(status);
    }
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
    expect((await stop()).body).toEqual({ stopped: [] });
    expect((await api.call('POST', `/v1/campaigns/${running.id}/resume`)).body).toMatchObject({ status: 'running', stop_requested: false });
  });

  test('ends the call-backs of a paused campaign, too', async () => {
    const calling = await makeCampaign(api, { rules: { reschedule: { while_paused: true } } });
    for (const control of ['start', 'pause']) await api.call('POST', `/v1/campaigns/${calling.id}/${control}`);
    const lets = async () =>
      (await pool.query<{ lets_reschedules: boolean }>(`SELECT lets_reschedules FROM campaign WHERE id = $1`, [calling.id])).rows[0];
    expect(await lets()).toEqual({ lets_reschedules: true });
    expect((await stop()).body.stopped).toContain(calling.id);
    expect(await lets()).toEqual({ lets_reschedules: false });
  });

  test('stands while Temporal is away', async () => {
    const running = await made('start');
    api.workflows.away = new AppError('UNAVAILABLE', 'away');
    try {
      expect((await stop()).body.stopped).toContain(running.id);
      expect(await statusOf(running)).toBe('paused to be stopped');
    } finally {
      api.workflows.away = null;
    }
  });

  test('is decided for all at once, after the match that is under way in any of them', async () => {
    const [one, other] = [await made('start'), await made('start')];
    let stopping: Promise<Json> | undefined;
    await inTx(api.db, async (tx) => {
      await tx.run(lockQueue(Number(other.id)));
      stopping = stop();
      await eventually(async () => {
        const waiting = await rows(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`, []);
        return waiting.length === 1;
      });
      expect([await statusOf(one), await statusOf(other)]).toEqual(['running', 'running']);
    });
    expect((await stopping).body.stopped).toEqual([one.id, other.id]);
  });

  test('an import that is under way does not hold it up', async () => {
    const running = await made('start');
    await inTx(api.db, async (tx) => {
      await tx.rows({ text: `SELECT 1 FROM campaign WHERE id = $1 FOR KEY SHARE`, values: [running.id] });
      expect((await stop()).body.stopped).toContain(running.id);
    });
  });
});
