/** Reports, their figures computed by hand: the night of 27 October 2024 in Oslo, where the hour from 2 to 3 came twice. */
import { describe, expect, test } from 'vitest';
import { LEG_CODES } from '../../domain/codes.ts';
import { AGENT_STATES } from '../../domain/states.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { type Json, makeAgent, makeCampaign, startTestApi } from './api-server.ts';

const api = await startTestApi();
const campaign = await makeCampaign(api);
const agent = await makeAgent(api);
const CALL = '7000001';
const at = (time: string) => new Date(`2024-10-${time}Z`);
const ids = { contact_id: '7', campaign_id: Number(campaign.id), agent_id: Number(agent.id), call_id: CALL };

let sequence = 0;
function leg(tx: Tx, ciq: 'a' | 'c' | null, start: string, code: string | null, more: object = {}): void {
  const leg_type = ciq === 'a' ? 'agent' : ciq === 'c' ? 'contact' : null;
  const none = {
    dte_speak_start: null, setup_ms: null, alert_ms: null, source: null, destination: null, originating: null,
    service_num: null, queue_key: null, result_response: null, result_reason: null, request_id: null, recording: null,
    call_transfer: 0, hold: 0, consult: 0, caller_on_hold_sec: 0, dte_scheduled_callback: null,
  };
  tx.record({
    table: 'call_events',
    row: {
      ...none, ...ids, call_sequence: ++sequence, event_type: ciq ? 'c' : 'i', internal_iq_session_id: 'S', ciq, dte_start: at(start),
      duration_tot_sec: 0, duration_speak_sec: 0, result_code: code as never, answered: code === 'k', leg_type, attempt: 1, ...more,
    },
  });
}

await inTx(api.db, async (tx) => {
  leg(tx, null, '26T12:00:00', null);
  const reject = { result_reason: 'agent_reject' };
  for (const [minute, code, more] of [[10, 'b', reject], [11, 'b', {}], [12, 't', {}], [13, 'c', {}], [14, 'e', {}], [15, 'h', {}], [16, 'q', {}]] as const) {
    leg(tx, 'a', `27T00:${minute}:00`, code, more);
  }
  leg(tx, 'c', '27T00:20:00', 'k', { result_reason: 'abandoned' });
  for (const [n, code] of LEG_CODES.filter((each) => each !== 'k').entries()) leg(tx, 'c', `27T00:${21 + n}:00`, code);
  leg(tx, 'a', '27T00:50:00', 'k');
  leg(tx, 'c', '27T00:50:10', 'k', { duration_speak_sec: 1200 });
  // Each ends the state before it: the talk lasts over the full hour, the pause over midnight.
  for (const [when, from_state, state, duration_ms, call_id] of [
    ['26T21:30:00', 'logged_off', 'ready', 3_600_000, null],
    ['27T00:50:00', 'ready', 'reserved', 12_000_000, CALL],
    ['27T00:50:10', 'reserved', 'connecting', 10_000, CALL],
    ['27T00:50:30', 'connecting', 'connected', 20_000, CALL],
    ['27T01:10:30.500', 'connected', 'wrap_up', 1_200_500, CALL],
    ['27T01:11:00.500', 'wrap_up', 'paused', 30_000, CALL],
    ['28T00:00:00', 'paused', 'logged_off', 82_139_500, null],
  ] as const) {
    const row = { agent_id: Number(agent.id), at: at(when), from_state, state, cause: 'test', duration_ms };
    tx.record({ table: 'agent_events', row: { ...row, offer_id: null, call_id, result_code: null } });
  }
  const wrapUp = { started_at: at('27T01:10:30.500'), wrap_up_sec: 30, ended_by: 'timer', registered: true };
  tx.record({ table: 'wrap_ups', row: { ...ids, ...wrapUp } });
  for (const [when, action, topics] of [['27T01:10:40', 'done', ['X']], ['27T01:10:50', 'mark_as_unanswered', ['Y', '=Z']]] as const) {
    const rest = { comment: null, request_id: when, reschedule_at: null, reschedule_to_agent: null, rules_version: null };
    tx.record({ table: 'dispositions', row: { ...ids, at: at(when), action, topics: [...topics], ...rest } });
  }
});

const ask = (kind: string, query: string) => api.call('GET', `/v1/reports/${kind}?${query}`);
const report = async (kind: string, query: string): Promise<Json> => (await ask(kind, query)).body;
const states = (row: Json) => Object.fromEntries(AGENT_STATES.map((state) => [state, row[`in_${state}_sec`]]).filter(([, sec]) => sec !== 0));
const sum = (row: Json) => AGENT_STATES.reduce((total, state) => total + row[`in_${state}_sec`], 0);
/** The hour that came twice. */
const TWICE = 'from=2024-10-27T00:00:00Z&to=2024-10-27T02:00:00Z&interval=hour';

describe('by agent', () => {
  test('the hour that comes twice is two, and a state that lasts over its border is cut there', async () => {
    const { items, zone } = await report('agents', TWICE);
    expect(zone).toBe('Europe/Oslo');
    expect(items.map(({ start, end, local_start }: Json) => [start, end, local_start])).toEqual([
      ['2024-10-27T00:00:00.000Z', '2024-10-27T01:00:00.000Z', '2024-10-27T02:00:00'],
      ['2024-10-27T01:00:00.000Z', '2024-10-27T02:00:00.000Z', '2024-10-27T02:00:00'],
    ]);
    expect(states(items[0])).toEqual({ ready: 3000, reserved: 10, connecting: 20, connected: 570 });
    expect(states(items[1])).toEqual({ connected: 630.5, wrap_up: 30, paused: 2939.5 });
    expect(items.map(sum)).toEqual([3600, 3600]);
  });

  test('a day has 25 hours when clocks are set back', async () => {
    const { items, from, to } = await report('agents', 'from=2024-10-26&to=2024-10-28&interval=day');
    expect([from, to]).toEqual(['2024-10-25T22:00:00.000Z', '2024-10-27T23:00:00.000Z']);
    expect(items.map(states)).toEqual([
      { logged_off: 3600, ready: 1800 },
      { ready: 10_200, reserved: 10, connecting: 20, connected: 1200.5, wrap_up: 30, paused: 78_539.5 },
    ]);
    expect(sum(items[1])).toBe(25 * 3600);
  });

  test('legs by code, each where it began; what came after the talk where that began', async () => {
    const { items } = await report('agents', TWICE);
    expect(items[0]).toMatchObject({
      agent_id: agent.id, agent_name: agent.name, offers: 8, offers_answered: 1, offers_rejected: 1, offers_missed: 1, offers_busy: 1,
      offers_failed: 2, offers_withdrawn: 2, contact_legs: 8, contact_legs_k: 2, contact_legs_t: 1, contact_legs_h: 1, contact_legs_q: 1,
      contact_legs_b: 1, contact_legs_c: 1, contact_legs_e: 1, talks: 1, talk_sec: 1200, abandoned: 1, abandoned_share: 0.5, wrap_ups: 0,
    });
    expect(items[1]).toMatchObject({
      offers: 0, contact_legs: 0, abandoned_share: null, wrap_ups: 1, wrap_up_sec: 30, wrap_ups_unregistered: 0, dispositions: 1,
      dispositions_done: 0, dispositions_mark_as_unanswered: 1, dispositions_do_not_call: 0,
    });
  });

  test('for one campaign the states are those of its calls', async () => {
    const { items } = await report('agents', `${TWICE}&campaign_id=${campaign.id}`);
    expect(items[0]).toMatchObject({ in_ready_sec: null, in_paused_sec: null, in_connected_sec: 570, offers: 8 });
    const other = await makeCampaign(api);
    expect((await report('agents', `${TWICE}&campaign_id=${other.id}`)).items).toEqual([]);
  });

  test('what lasts still lasts up to now, and is cut by `to`', async () => {
    const { items } = await report('agents', 'from=2024-10-27T01:30:00Z&to=2024-10-27T01:40:00Z');
    expect(items.map(states)).toEqual([{ paused: 600 }]);
    expect((await report('agents', 'from=2024-10-28T00:00:00Z&to=2024-10-29T00:00:00Z')).items).toEqual([]);
  });
});

describe('by campaign and topic', () => {
  test('a campaign has the time that agents spent on its calls', async () => {
    const { items } = await report('campaigns', 'from=2024-10-26&to=2024-10-28');
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({
      campaign_id: campaign.id, offers: 8, talks: 1, wrap_ups: 1, dispositions: 1, in_reserved_sec: 10, in_connecting_sec: 20,
      in_connected_sec: 1200.5, in_wrap_up_sec: 30,
    });
  });

  test('a disposition counts for each of its topics, once corrected only as corrected', async () => {
    const { items } = await report('topics', 'from=2024-10-26&to=2024-10-28');
    expect(items.map(({ action, topic, dispositions }: Json) => [action, topic, dispositions])).toEqual([
      ['mark_as_unanswered', '=Z', 1],
      ['mark_as_unanswered', 'Y', 1],
    ]);
  });

  test('as CSV a text is no formula', async () => {
    const answer = await ask('topics', 'from=2024-10-26&to=2024-10-28&format=csv');
    expect(answer.headers.get('Content-Type')).toContain('text/csv');
    const [header, first] = answer.text.split('\n');
    expect(header).toBe('start,end,local_start,campaign_id,campaign_name,action,topic,dispositions');
    expect(first).toContain(",mark_as_unanswered,'=Z,1");
    const json = await report('agents', TWICE);
    const csv = await api.call('GET', `/v1/reports/agents?${TWICE}`, undefined, { headers: { Accept: 'text/csv' } });
    expect(csv.text.split('\n')[0]).toBe(Object.keys(json.items[0]).join(','));
    expect(csv.text.trimEnd().split('\n')).toHaveLength(3);
  });
});

describe('what makes no sense is named', () => {
  test.each([
    ['to=2024-10-28', 'from'],
    ['from=2024-10-28', 'to'],
    ['from=yesterday&to=2024-10-28', 'from'],
    ['from=2024-02-30&to=2024-10-28', 'from'],
    ['from=2024-10-28&to=2024-10-27', 'to'],
    ['from=2024-10-28&to=2024-10-28', 'to'],
    ['from=2020-01-01&to=2024-10-28', 'to'],
    ['from=2024-01-01&to=2024-10-28&interval=quarter', 'interval'],
    ['from=2024-10-27&to=2024-10-28&interval=week', 'interval'],
    ['from=2024-10-27&to=2024-10-28&zone=Mars/Olympus', 'zone'],
    ['from=2024-10-27&to=2024-10-28&zone=%2B01:00', 'zone'],
    ['from=2024-10-27&to=2024-10-28&campaign_id=2000000000', 'campaign_id'],
    ['from=2024-10-27&to=2024-10-28&agent_id=2000000000', 'agent_id'],
    ['from=2024-10-27&to=2024-10-28&by=day', 'by'],
  ])('?%s: %s', async (query, field) => {
    const answer = await ask('agents', query);
    expect(answer.status).toBe(400);
    expect(answer.body.issues.map((issue: Json) => issue.field)).toContain(field);
  });

  test('campaigns in different zones have no day in common', async () => {
    await makeCampaign(api, { zone: 'America/New_York' });
    const answer = await ask('campaigns', 'from=2024-10-26&to=2024-10-28&interval=day');
    expect(answer.status).toBe(400);
    expect(answer.body.issues).toEqual([{ field: 'zone', reason: expect.stringContaining('America/New_York, Europe/Oslo') }]);
    expect((await ask('campaigns', 'from=2024-10-26&to=2024-10-28&interval=day&zone=Europe/Oslo')).status).toBe(200);
    expect((await ask('campaigns', `from=2024-10-26&to=2024-10-28&interval=day&campaign_id=${campaign.id}`)).body.zone).toBe('Europe/Oslo');
  });
});
