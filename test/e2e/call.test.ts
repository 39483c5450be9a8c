/** Whole calls through API, workflows, database and switch, each in its own process; people are played by the test. */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { contactWorkflowId } from '../../domain/ids.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

let system: System;
beforeAll(async () => {
  const phone = (then: unknown) => ({ trying: 0, alerting: 0.05, media: 0, then });
  system = await startSystem({
    speed: 1,
    script: {
      contacts: [{ weight: 1, behaviour: phone({ kind: 'manual' }) }],
      numbers: {
        [BUSY]: phone({ kind: 'fails', after: 0, sip: 486 }),
        ...Object.fromEntries([0, 1, 2, 3, 4].map((n) => [`${BROKEN.slice(0, -1)}${n}`, phone({ kind: 'fails', after: 0, sip: 503 })])),
        [GONE]: phone({ kind: 'fails', after: 0, sip: 404 }),
        [REMOTE_AGENT]: [
          phone({ kind: 'voicemail', after: 0, talks: 60 }),
          phone({ kind: 'answers', after: 0, presses: { digit: '1', after: 0.2 } }),
        ],
        [CROSSES]: { ...phone({ kind: 'manual' }), crosses: true },
        [NEVER_ALERTS]: { trying: 0, alerting: null, media: 0, then: { kind: 'manual' } },
      },
    },
  });
}, 90_000);
afterAll(() => system?.stop());

const BUSY = '+4722100001';
const GONE = '+4722100002';
const BROKEN = '+4722100010';
const NEVER_ALERTS = '+4722100003';
const CROSSES = '+4722100004';
const REMOTE_AGENT = '+4722100005';
let next = 22200000;
/** A number of its own for each test, played by hand. */
const number = () => `+47${next++}`;
const QUICK_RETRY = { b: { delay_sec: 1 }, t: { delay_sec: 1 }, h: { delay_sec: 1 }, c: { delay_sec: 1 }, q: { delay_sec: 1 }, e: { delay_sec: 1 } };

async function talking(contacts: string, options: { rules?: object; agent?: Record<string, unknown> } = {}) {
  const scene = await setScene(system, { contacts: [{ phone_num: contacts, variables: { var1: 'Åse' } }], ...options });
  await scene.ready();
  const offer = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  await scene.phone(contacts, 'answer');
  await scene.until('talking');
  const { key, id } = scene.agents[0]!;
  return { scene, offer, key, agentId: id };
}

async function dialling(contact: string, rules: object = {}) {
  const scene = await setScene(system, { contacts: [{ phone_num: contact }], rules });
  await scene.ready();
  const offer = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  return { scene, offer, key: scene.agents[0]!.key };
}

/** The contact's phone is alerting as far as the book knows. */
const alerting = (call: string) =>
  eventually(async () => {
    const { rowCount } = await system.sql.query(
      `SELECT 1 FROM leg WHERE call_id = $1 AND ciq = 'c' AND alerting_at IS NOT NULL`,
      [call],
    );
    return rowCount;
  });

describe('a talk', () => {
  it('is offered, answered, talked and disposed of', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna);
    await scene.agentIs('connected');
    await scene.phone(anna, 'hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('wrap_up');
    await system.ok('POST', `/calls/${offer.call}/disposition`, { action: 'done', topics: ['sold'] }, { key });
    await scene.until('done');
    await scene.story('i q:q a:k c:k');
    await scene.ready();
    await scene.agentIs('ready');
    expect(await scene.dialled(anna)).toBe(1);
  });

  it('ended by the agent is the same talk', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna);
    await system.ok('POST', `/calls/${offer.call}/hang-up`, {}, { key });
    await scene.until('wrap_up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up)');
  });

  it('without a disposition ends with the wrap-up timer', async () => {
    const anna = number();
    const { scene } = await talking(anna, { rules: { wrap_up_sec: 1 } });
    await scene.phone(anna, 'hang-up');
    await scene.until('done');
    await scene.agentIs('ready');
    const { rows } = await system.sql.query(`SELECT registered, ended_by FROM wrap_ups WHERE contact_id = $1`, scene.contacts);
    expect(rows).toEqual([{ registered: false, ended_by: 'timer' }]);
  });

  it('has a wrap-up that can be extended while it lasts', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna, { rules: { wrap_up_sec: 3 } });
    await scene.phone(anna, 'hang-up');
    const before = await scene.agentIs('wrap_up');
    // The rows may say before the workflow that the talk is over.
    await eventually(async () => (await system.api('POST', `/calls/${offer.call}/extend-wrap-up`, { seconds: 60 }, { key })).status === 200);
    const after = await scene.agentIs('wrap_up');
    expect(Date.parse(after.until) - Date.parse(before.until)).toBeGreaterThan(30_000);
    expect((await scene.contact()).state).toBe('wrap_up');
    await scene.ready();
    await scene.until('done');
  });

  it('marked as unanswered is retried as if nobody had answered', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna, { rules: { retry: QUICK_RETRY } });
    await scene.phone(anna, 'hang-up');
    await scene.until('wrap_up');
    await system.ok('POST', `/calls/${offer.call}/disposition`, { action: 'mark_as_unanswered', topics: [] }, { key });
    await scene.until('waiting');
    await scene.ready();
    const second = await scene.ringing();
    expect(second.call).not.toBe(offer.call);
    expect(second.contact).toBe(offer.contact);
  });

  it('that ends with do-not-call disables the contact and lists its numbers', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna);
    await scene.phone(anna, 'hang-up');
    await scene.until('wrap_up');
    await system.ok('POST', `/calls/${offer.call}/disposition`, { action: 'do_not_call', topics: [] }, { key });
    const contact = await scene.until('disabled');
    expect(contact.ended_reason).toBe('do_not_call');
    const { rowCount } = await system.sql.query(`SELECT 1 FROM do_not_call WHERE number = $1`, [anna]);
    expect(rowCount).toBe(1);
  });

  it('is never cut by disabling the contact, which takes effect after it', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna);
    await system.ok('POST', `/contacts/${offer.contact}/disable`);
    expect((await scene.contact()).state).toBe('talking');
    await scene.phone(anna, 'hang-up');
    await scene.until('wrap_up');
    await system.ok('POST', `/calls/${offer.call}/disposition`, { action: 'done', topics: [] }, { key });
    await scene.until('disabled');
    await scene.story('i q:q a:k c:k');
  });
});

describe('a recording', () => {
  const RECORDED = { record_calls: true };
  /** What call events, contact and switch say of it. */
  const named = async (scene: Scene, call: string) => ({
    events: (await system.sql.query(`SELECT ciq, recording FROM call_events WHERE call_id = $1 AND event_type = 'c' ORDER BY ciq`, [call])).rows,
    contact: (await scene.contact()).calls[0].recording,
  });
  const simulator = async (method: string, path: string, body?: unknown): Promise<Json> => {
    const json = { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } };
    const answer = await fetch(`${system.simulatorUrl}${path}`, { method, ...(body === undefined ? {} : json) });
    expect(answer.status).toBe(200);
    return answer.json() as Promise<Json>;
  };
  const legAt = async (phone: string) => (await simulator('GET', '/legs')).legs.find((leg: { to: string }) => leg.to === phone);

  it('of a talk runs from its beginning to its end, and is named among the facts', async () => {
    const anna = number();
    const { scene, offer } = await talking(anna, { rules: RECORDED });
    const name = `call-${offer.call}`;
    for (const phone of [anna, scene.agents[0]!.phone]) {
      await eventually(async () => (await legAt(phone)).recording === name);
    }
    expect((await scene.contact()).calls[0].recording, 'while they talk').toBe(name);
    await scene.phone(anna, 'hang-up');
    await scene.story('i q:q a:k c:k');
    expect(await named(scene, offer.call)).toEqual({
      events: [{ ciq: 'a', recording: null }, { ciq: 'c', recording: name }],
      contact: name,
    });
  });

  it('is made only where the campaign says so', async () => {
    const anna = number();
    const { scene, offer } = await talking(anna);
    expect((await legAt(anna)).recording).toBeNull();
    await scene.phone(anna, 'hang-up');
    await scene.story('i q:q a:k c:k');
    expect(await named(scene, offer.call)).toEqual({
      events: [{ ciq: 'a', recording: null }, { ciq: 'c', recording: null }],
      contact: null,
    });
  });

  it('that the switch refuses harms no talk, and no name is given', async () => {
    const script = await simulator('GET', '/script');
    await simulator('PUT', '/script', { ...script, records: false });
    onTestFinished(async () => void (await simulator('PUT', '/script', script)));
    const anna = number();
    const { scene, offer } = await talking(anna, { rules: RECORDED });
    await eventually(async () => (await named(scene, offer.call)).contact === null);
    expect(await legAt(anna)).toMatchObject({ phase: 'answered', mix: offer.call, recording: null });
    await scene.phone(anna, 'hang-up');
    await scene.story('i q:q a:k c:k');
    expect((await named(scene, offer.call)).events[1]).toEqual({ ciq: 'c', recording: null });
  });

  it('is none of an answer that nobody was there for', async () => {
    const { scene, offer, key } = await dialling(CROSSES, RECORDED);
    await alerting(offer.call);
    await system.ok('POST', `/offers/${offer.offer}/cancel`, {}, { key });
    await scene.story('i q:q a:k(agent_cancel) c:k(abandoned) q:d(agent_cancel)');
    expect((await named(scene, offer.call)).events[1]).toEqual({ ciq: 'c', recording: null });
  });
});

describe('an offer', () => {
  it('that is rejected goes to the next agent and keeps its call', async () => {
    const scene = await setScene(system, { agents: 2, contacts: [{ phone_num: number() }] });
    await scene.ready(0);
    const first = await scene.ringing(0);
    await scene.ready(1);
    await system.ok('POST', `/offers/${first.offer}/reject`, {}, { key: scene.agents[0]!.key });
    const second = await scene.ringing(1);
    expect(second.call).toBe(first.call);
    await scene.agentIs('ready', 0);
    await scene.story('i q:q a:b(agent_reject)');
  });

  it('that rings out rests the agent, and pauses who missed too many', async () => {
    const scene = await setScene(system, {
      contacts: [{ phone_num: number() }],
      rules: { agent_ring_sec: 5, missed_limit: 1, reoffer_after_sec: 1 },
    });
    await scene.ready();
    await scene.ringing();
    const agent = await scene.agentIs('paused');
    expect(agent.cause).toBe('missed_limit');
    await scene.story('i q:q a:t(ring_timeout)');
    await scene.until('queued');
  });

  it('on a busy phone rests the agent in busy', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }], rules: { rest_sec: 60 } });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'reject');
    await scene.agentIs('busy');
    await scene.story('i q:q a:b');
  });

  it('that is cancelled while the agent rings disables the contact', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    await system.ok('POST', `/offers/${offer}/cancel`, {}, { key: scene.agents[0]!.key });
    const contact = await scene.until('disabled');
    expect(contact.ended_reason).toBe('agent_cancel');
    await scene.agentIs('ready');
    await scene.story('i q:q a:h(agent_cancel) q:d(agent_cancel)');
  });

  it('whose agent logs off is withdrawn', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    await scene.ringing();
    const { id, key } = scene.agents[0]!;
    await system.ok('PUT', `/agents/${id}/state`, { state: 'logged_off' }, { key });
    await scene.agentIs('logged_off');
    await scene.story('i q:q a:h(agent_logged_off)');
    await scene.until('queued');
  });

  it('whose agent pauses runs on to its end, then the agent is paused and never ready in between', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    const { id, key } = scene.agents[0]!;
    await system.ok('PUT', `/agents/${id}/state`, { state: 'paused' }, { key });
    await scene.agentIs('reserved');
    await system.ok('POST', `/offers/${offer}/reject`, {}, { key });
    await scene.agentIs('paused');
    const { rows } = await system.sql.query(`SELECT state FROM agent_events WHERE agent_id = $1 ORDER BY position`, [id]);
    expect(rows.map((row) => row.state)).toEqual(['ready', 'reserved', 'paused']);
  });

  it('must be confirmed where the phone may be answered by a machine', async () => {
    const anna = number();
    const scene = await setScene(system, { contacts: [{ phone_num: anna }], agent: { confirm: true }, rules: { confirm_sec: 3, rest_sec: 1, reoffer_after_sec: 1 } });
    const { phone } = scene.agents[0]!;
    await scene.ready();
    await scene.ringing();
    await scene.phone(phone, 'answer');
    await scene.story('i q:q a:t(not_confirmed)');
    expect(await scene.dialled(anna)).toBe(0);
    await scene.ringing();
    await scene.phone(phone, 'answer');
    await scene.phone(phone, 'digit', { digit: '1' });
    await scene.until('dialling');
  });

  it('to a telephone number must be confirmed in any case: a voicemail is never taken for the agent', async () => {
    const anna = number();
    const scene = await setScene(system, {
      contacts: [{ phone_num: anna }],
      agent: { phone: REMOTE_AGENT, confirm: false },
      rules: { confirm_sec: 3, rest_sec: 1, reoffer_after_sec: 1 },
    });
    await scene.ready();
    await scene.story('i q:q a:t(not_confirmed)');
    expect(await scene.dialled(anna)).toBe(0);
    await eventually(async () => (await scene.dialled(anna)) === 1);
  });

  it('can be confirmed by Accept, once the phone is picked up', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }], agent: { confirm: true } });
    await scene.ready();
    const { offer } = await scene.ringing();
    const accept = () => system.api('POST', `/offers/${offer}/accept`, {}, { key: scene.agents[0]!.key });
    expect(await accept()).toMatchObject({ status: 409, body: { detail: 'the phone has not been picked up yet' } });
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await eventually(async () => (await accept()).status === 200);
    await scene.until('dialling');
  });

  it('comes back to the one agent who rejected it, by itself', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }], rules: { reoffer_after_sec: 2 } });
    await scene.ready();
    const first = await scene.ringing();
    await system.ok('POST', `/offers/${first.offer}/reject`, {}, { key: scene.agents[0]!.key });
    await eventually(async () => {
      const again = await scene.ringing();
      return again.offer !== first.offer && again.call === first.call;
    });
  });
});

describe('dialling the contact', () => {
  it('cancelled while it rings: `h`, `d`, disabled, agent ready without wrap-up', async () => {
    const { scene, offer, key } = await dialling(number());
    await alerting(offer.call);
    await system.ok('POST', `/offers/${offer.offer}/cancel`, {}, { key });
    await scene.until('disabled');
    await scene.agentIs('ready');
    await scene.story('i q:q a:k(agent_cancel) c:h(agent_cancel) q:d(agent_cancel)');
  });

  it('cancelled at the moment of the answer: the wire has it as abandoned, the contact is disabled all the same', async () => {
    const { scene, offer, key } = await dialling(CROSSES);
    await alerting(offer.call);
    await system.ok('POST', `/offers/${offer.offer}/cancel`, {}, { key });
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'agent_cancel' });
    await scene.agentIs('ready');
    await scene.story('i q:q a:k(agent_cancel) c:k(abandoned) q:d(agent_cancel)');
    expect(await system.ok('GET', `/campaigns/${scene.campaign}/stats`)).toMatchObject({ abandoned: 1 });
  });

  it('cancelled in set-up: `q`', async () => {
    const { scene, offer, key } = await dialling(NEVER_ALERTS);
    await system.ok('POST', `/offers/${offer.offer}/cancel`, {}, { key });
    await scene.until('disabled');
    await scene.story('i q:q a:k(agent_cancel) c:q(agent_cancel) q:d(agent_cancel)');
  });

  it('cancelled after the contact has answered: 409, the talk goes on', async () => {
    const anna = number();
    const { scene, offer, key } = await talking(anna);
    const answer = await system.api('POST', `/offers/${offer.offer}/cancel`, {}, { key });
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({ code: 'CANCEL_TOO_LATE', state: 'talking' });
    expect((await scene.contact()).state).toBe('talking');
  });

  it('hung up by the agent while it rings: `h`, retried later', async () => {
    const { scene, offer } = await dialling(number());
    await alerting(offer.call);
    await scene.phone(scene.agents[0]!.phone, 'hang-up');
    const contact = await scene.until('waiting');
    expect(contact.wait_reason).toBe('retry_delay');
    await scene.agentIs('ready');
    await scene.story('i q:q a:k c:h(agent_hang_up)');
  });

  it('that rings out is `t`', async () => {
    const { scene } = await dialling(number(), { ring_sec: 15 });
    await scene.until('waiting', 0, 25_000);
    await scene.story('i q:q a:k c:t(ring_timeout)');
  });

  it('busy is retried as the rules say, until the attempts are exhausted', async () => {
    const scene = await setScene(system, {
      contacts: [{ phone_num: BUSY }],
      rules: { max_attempts: 2, retry: QUICK_RETRY },
    });
    await scene.ready();
    for (let attempt = 0; attempt < 2; attempt++) {
      await scene.ringing();
      await scene.phone(scene.agents[0]!.phone, 'answer');
    }
    const contact = await scene.until('done');
    expect(contact).toMatchObject({ ended_reason: 'attempts_exhausted', attempts: 2 });
    await scene.story('i q:q a:k c:b i q:q a:k c:b');
  });

  it('a number not in use is given up and the other one dialled', async () => {
    const other = number();
    const scene = await setScene(system, { contacts: [{ phone_num: GONE, phone_2: other }], rules: { retry: QUICK_RETRY } });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.story('i q:q a:k c:e i q:q');
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.phone(other, 'answer');
    await scene.until('talking');
    expect(await scene.dialled(GONE)).toBe(1);
  });

  it('a number given up is not dialled when it is the only one left', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: GONE, phone_2: number() }], rules: { retry: QUICK_RETRY } });
    const before = await scene.dialled(GONE);
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.story('i q:q a:k c:e i q:q');
    await scene.ringing();
    await system.sql.query(`UPDATE call SET number = $2 WHERE contact_id = $1 AND ended_at IS NULL`, [scene.contacts[0], GONE]);
    await system.sql.query(`UPDATE contact SET phone_2 = NULL WHERE id = $1`, [scene.contacts[0]]);
    await scene.phone(scene.agents[0]!.phone, 'answer');
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'numbers_given_up', attempts: 1 });
    expect(await scene.dialled(GONE)).toBe(before + 1);
  });

  it('is refused for a number listed meanwhile: no leg, no attempt, `d`', async () => {
    const anna = number();
    const scene = await setScene(system, { contacts: [{ phone_num: anna }] });
    await scene.ready();
    await scene.ringing();
    await system.sql.query(`INSERT INTO do_not_call (number, added_by, added_at) VALUES ($1, 'test', now())`, [anna]);
    await scene.phone(scene.agents[0]!.phone, 'answer');
    const contact = await scene.until('disabled');
    expect(contact.attempts).toBe(0);
    expect(await scene.dialled(anna)).toBe(0);
    await scene.agentIs('ready');
    await scene.story('i q:q a:k q:d(do_not_call)');
  });
});

describe('an operator, by signals in the Temporal UI', () => {
  it('hangs up, and marks the call as unanswered: on record, and retried', async () => {
    const { scene, offer, agentId } = await talking(number());
    const connection = await Connection.connect({ address: inject('temporalAddress') });
    try {
      const workflow = new Client({ connection }).workflow.getHandle(contactWorkflowId(scene.contacts[0]!, 1));
      await workflow.signal('hangUp', { callId: offer.call, agentId });
      await scene.until('wrap_up');
      await workflow.signal('dispose', { callId: offer.call, agentId, action: 'mark_as_unanswered' });
      expect(await scene.until('waiting')).toMatchObject({ wait_reason: 'retry_delay' });
      const { rows } = await system.sql.query(`SELECT action, agent_id FROM dispositions WHERE call_id = $1`, [offer.call]);
      expect(rows).toEqual([{ action: 'mark_as_unanswered', agent_id: Number(agentId) }]);
    } finally {
      await connection.close();
    }
  });
});

describe('a failing trunk', () => {
  it('stops matching after five errors in a row, probes, and is used again when it works', async () => {
    // All tests share the node: no other campaign is to take the probe.
    const { rows: others } = await system.sql.query(`SELECT id FROM campaign WHERE status = 'running'`);
    for (const { id } of others) await system.ok('POST', `/campaigns/${id}/pause`);
    const broken = Array.from({ length: 5 }, (_, n) => ({ phone_num: `${BROKEN.slice(0, -1)}${n}` }));
    const scene = await setScene(system, { contacts: [...broken, { phone_num: number() }] });
    const { phone } = scene.agents[0]!;
    await scene.ready();
    for (let n = 0; n < 5; n++) {
      await scene.ringing();
      await scene.phone(phone, 'answer');
      await scene.until('waiting', n);
    }
    const node = async () => (await system.sql.query(`SELECT errors_in_row, failing_since FROM node`)).rows[0];
    expect(await node()).toMatchObject({ errors_in_row: 5 });
    expect((await node()).failing_since).not.toBeNull();
    const stats = await system.ok('GET', `/campaigns/${scene.campaign}/stats`);
    expect(stats.why_not_dialling.map((why: { code: string }) => why.code)).toContain('trunk_failing');
    expect(await scene.contact(5)).toMatchObject({ state: 'waiting', wait_reason: 'trunk_failing' });
    await system.sql.query(`UPDATE node SET probe_at = '2000-01-01'`);
    const probe = await scene.ringing();
    await scene.phone(phone, 'answer');
    await alerting(probe.call);
    expect((await node()).failing_since).not.toBeNull();
    await scene.phone(phone, 'hang-up');
    await eventually(async () => (await node()).failing_since === null);
  });
});

describe('the campaign', () => {
  it('paused takes everyone out of the queue with `d`, resumed makes new calls', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.until('queued');
    await system.ok('POST', `/campaigns/${scene.campaign}/pause`);
    const contact = await scene.until('waiting');
    expect(contact.wait_reason).toBe('campaign_not_running');
    await scene.story('i q:q q:d(campaign_paused)');
    await system.ok('POST', `/campaigns/${scene.campaign}/resume`);
    await scene.until('queued');
    await scene.story('i q:q q:d(campaign_paused) i q:q');
  });

  it('paused lets a ringing offer be answered and dialled', async () => {
    const anna = number();
    const scene = await setScene(system, { contacts: [{ phone_num: anna }] });
    await scene.ready();
    await scene.ringing();
    await system.ok('POST', `/campaigns/${scene.campaign}/pause`);
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.phone(anna, 'answer');
    await scene.until('talking');
  });

  it('stopped ends what is not answered at once', async () => {
    const { scene, offer } = await dialling(number());
    await alerting(offer.call);
    await system.ok('POST', `/campaigns/${scene.campaign}/stop`);
    await scene.until('waiting');
    await scene.story('i q:q a:k(campaign_paused) c:h(campaign_paused) q:d(campaign_paused)');
    await scene.agentIs('ready');
  });

  it('ended closes every contact for good', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }, { phone_num: number() }] });
    await scene.until('queued');
    await system.ok('POST', `/campaigns/${scene.campaign}/end`);
    for (const index of [0, 1]) {
      expect(await scene.until('disabled', index)).toMatchObject({ ended_reason: 'campaign_ended' });
    }
    await eventually(async () => {
      const { rows } = await system.sql.query(`SELECT count(*)::int AS open FROM contact WHERE campaign_id = $1 AND closed_at IS NULL`, [scene.campaign]);
      return rows[0].open === 0;
    });
  });

  it('ended while an offer rings: what comes back is ended too', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    await system.ok('POST', `/campaigns/${scene.campaign}/end`);
    // Its workflow, told to end everybody, has done its work.
    await eventually(async () => (await system.ok('GET', `/campaigns/${scene.campaign}`)).settled);
    await system.ok('POST', `/offers/${offer}/reject`, undefined, { key: scene.agents[0]!.key });
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'campaign_ended' });
    await scene.story('i q:q a:b(agent_reject) q:d(campaign_paused)');
    await scene.agentIs('ready');
  });

  it('ended while a contact rings: no retry follows', async () => {
    const { scene, key, offer } = await dialling(number());
    await alerting(offer.call);
    await system.ok('POST', `/campaigns/${scene.campaign}/end`);
    await system.ok('POST', `/calls/${offer.call}/hang-up`, undefined, { key });
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'campaign_ended', last_code: 'h' });
    await scene.story('i q:q a:k(agent_hang_up) c:h(agent_hang_up)');
  });

  it('a contact disabled in the queue gets its `d`; enabled again it is called in a new round', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.until('queued');
    await system.ok('POST', `/contacts/${scene.contacts[0]}/disable`);
    await scene.until('disabled');
    await scene.story('i q:q q:d(disabled)');
    await system.ok('POST', `/contacts/${scene.contacts[0]}/enable`);
    await scene.until('queued');
    await scene.story('i q:q q:d(disabled) i q:q');
  });
});
