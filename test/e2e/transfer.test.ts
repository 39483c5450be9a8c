/** Talks that are put on hold and handed on, through API, workflows, database and switch. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

let system: System;
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 90_000);
afterAll(() => system?.stop());

let next = 22600000;
const number = () => `+47${next++}`;

/** Agent 0 talks with the contact. */
async function talking(options: Partial<Parameters<typeof setScene>[1]> = {}) {
  const contact = number();
  const scene = await setScene(system, { contacts: [{ phone_num: contact }], rules: { wrap_up_sec: 600 }, ...options });
  await scene.ready();
  const { call } = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  await scene.phone(contact, 'answer');
  await scene.until('talking');
  /** Just after the answer the workflow may not have been told yet: asked again until it has. */
  const click = (what: string, body?: unknown, agent = 0) =>
    eventually(async () => {
      const answer = await system.api('POST', `/calls/${call}/${what}`, body, { key: scene.agents[agent]!.key });
      if (answer.status === 409 && answer.body.state === 'dialling') throw new Error(answer.body.detail as string);
      return answer;
    });
  const clicks = (what: string, body?: unknown, agent = 0) =>
    eventually(async () => {
      expect(await click(what, body, agent)).toMatchObject({ status: 200 });
      return true;
    });
  return { scene, contact, call, click, clicks };
}

/** The live leg at a phone, as the switch has it; undefined: none. */
async function legAt(phone: string): Promise<Json> {
  const { legs } = (await (await fetch(`${system.simulatorUrl}/legs`)).json()) as Json;
  return legs.find((leg: Json) => leg.to === phone);
}
const legIs = (phone: string, expected: object) =>
  eventually(async () => {
    expect(await legAt(phone)).toMatchObject(expected);
    return true;
  });

/** Rows of a contact's call, each with these columns only. */
async function rows(scene: Scene, ...columns: string[]): Promise<Json[]> {
  const { rows: found } = await system.sql.query(
    `SELECT ${columns.join(', ')} FROM call_events WHERE contact_id = $1 AND internal_iq_session_id LIKE '%S2' ORDER BY call_sequence`,
    [scene.contacts[0]],
  );
  return found;
}

describe('a talk', () => {
  it('is put on hold with music, and resumed; the rows say so', async () => {
    const { scene, contact, click, clicks } = await talking();
    await clicks('hold');
    await clicks('hold');
    await legIs(contact, { onHold: true, sound: 'music' });
    const until = Date.now() + 1_100;
    await eventually(() => Date.now() > until);
    await clicks('resume');
    await legIs(contact, { onHold: false, sound: null });

    await scene.phone(contact, 'hang-up');
    await scene.story('i q:q a:k c:k');

    const held = { hold: 1, consult: 0, call_transfer: 0 };
    const found = await rows(scene, 'ciq', 'leg_type', 'hold', 'consult', 'call_transfer', 'caller_on_hold_sec');
    expect(found).toMatchObject([{ ciq: 'a', leg_type: 'agent', ...held }, { ciq: 'c', leg_type: 'contact', ...held }]);
    for (const { caller_on_hold_sec } of found) expect([1, 2]).toContain(caller_on_hold_sec);
    expect((await click('hold')).body).toMatchObject({ status: 409, code: 'CALL_OVER' });
  });

  it('on hold may be hung up by either side, and counts as on hold to its end', async () => {
    const { scene, click, clicks } = await talking();
    await clicks('hold');
    await clicks('hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up)');
    expect((await click('resume')).status).toBe(409);
  });

  it('takes keys, once each, and keeps none of them', async () => {
    const { scene, contact, call, clicks } = await talking();
    // The workflow has been told of the answer when it has carried out a click: no keys are refused, and kept as such.
    await clicks('hold');
    await clicks('resume');
    await clicks('dtmf', { digits: '4111*' });
    await clicks('dtmf', { digits: '9#' });
    expect(await legAt(contact)).toMatchObject({ keysHeard: '4111*9#' });
    const { rows: kept } = await system.sql.query(`SELECT digits FROM keys_to_send WHERE call_id = $1`, [call]);
    expect(kept).toEqual([{ digits: null }, { digits: null }]);
    await scene.phone(contact, 'hang-up');
  });

  it('is only for whoever is in it', async () => {
    const { scene, contact, click } = await talking({ agents: 2 });
    expect((await click('hold', undefined, 1)).status).toBe(403);
    expect((await click('dtmf', { digits: 'x' })).body.issues[0]).toMatchObject({ field: 'digits' });
    await scene.phone(contact, 'hang-up');
  });
});

describe('a talk transferred to a number', () => {
  it('blind: the agent leaves at once, the contact hears music, then talks with the number', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'blind', to: { number: target } });
    await legIs(contact, { onHold: true, sound: 'music' });
    await scene.agentIs('wrap_up');
    await legIs(target, { phase: 'alerting' });
    expect((await scene.contact()).state).toBe('talking');
    await scene.phone(target, 'answer');
    await legIs(contact, { onHold: false, sound: null, mix: (await legAt(target)).mix });

    await scene.phone(target, 'hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k n:k');
    const found = await rows(scene, 'ciq', 'leg_type', 'destination', 'queue_key', 'call_transfer', 'hold', 'consult');
    expect(found).toMatchObject([
      { ciq: 'a', leg_type: 'agent', call_transfer: 1, hold: 1, consult: 0 },
      { ciq: 'c', leg_type: 'contact', call_transfer: 0, hold: 1, consult: 0 },
      { ciq: null, leg_type: 'transfer', destination: target, queue_key: null, call_transfer: 0, consult: 0 },
    ]);
  });

  it('attended: the agent speaks with the number, and leaves it to the contact', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'attended', to: { number: target } });
    await legIs(target, { phase: 'alerting' });
    await scene.phone(target, 'answer');
    await consulting(scene);
    await scene.agentIs('connected');
    await legIs(contact, { onHold: true, sound: 'music' });

    await clicks('complete-transfer');

    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('wrap_up');
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k n:k');
    const found = await rows(scene, 'call_transfer', 'hold', 'consult');
    expect(found).toEqual([
      { call_transfer: 1, hold: 1, consult: 1 },
      { call_transfer: 0, hold: 1, consult: 0 },
      { call_transfer: 0, hold: 0, consult: 1 },
    ]);
  });

  it('attended, and taken back: the number is hung up, they talk on', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'attended', to: { number: target } });
    await legIs(target, { phase: 'alerting' });
    await scene.phone(target, 'answer');
    await consulting(scene);
    await clicks('take-back');
    await legIs(contact, { onHold: false, sound: null });
    await eventually(async () => !(await legAt(target)));
    await scene.agentIs('connected');
    // Bound as before: the agent's hanging up is the end of it.
    await scene.phone(scene.agents[0]!.phone, 'hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k(agent_hang_up) n:k(agent_hang_up)');
    expect(await rows(scene, 'call_transfer')).toEqual([{ call_transfer: 0 }, { call_transfer: 0 }, { call_transfer: 0 }]);
  });

  it('attended, and the agent hangs up: that completes it', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'attended', to: { number: target } });
    await legIs(target, { phase: 'alerting' });
    await scene.phone(target, 'answer');
    await consulting(scene);
    await scene.phone(scene.agents[0]!.phone, 'hang-up');
    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('wrap_up');
    await scene.phone(contact, 'hang-up');
    await scene.story('i q:q a:k c:k n:k');
    expect((await rows(scene, 'call_transfer'))[0]).toEqual({ call_transfer: 1 });
  });

  it('attended, not answered: back to the agent', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'attended', to: { number: target } });
    await legIs(target, { phase: 'alerting' });
    await scene.phone(target, 'reject');
    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('connected');
    await clicks('hold');
    await clicks('resume');
    await clicks('hang-up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up) n:b');
    expect((await rows(scene, 'call_transfer', 'consult'))[0]).toEqual({ call_transfer: 0, consult: 0 });
  });

  it('is ended by the contact who hangs up, whatever the others are doing', async () => {
    const { scene, contact, clicks } = await talking();
    const target = number();
    await clicks('transfer', { mode: 'attended', to: { number: target } });
    await legIs(target, { phase: 'alerting' });
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('wrap_up');
    await eventually(async () => !(await legAt(target)));
    await scene.story('i q:q a:k c:k n:h');
    expect((await rows(scene, 'call_transfer'))[0]).toEqual({ call_transfer: 0 });
  });

  it('is refused for a number that is none, and while another one is under way', async () => {
    const { scene, contact, click, clicks } = await talking();
    expect((await click('transfer', { mode: 'blind', to: { number: '112' } })).body.issues[0]).toMatchObject({ field: 'to.number' });
    expect((await click('transfer', { mode: 'blind', to: {} })).body.issues[0]).toMatchObject({ field: 'to' });
    const listed = number();
    await system.ok('PUT', `/do-not-call/${encodeURIComponent(listed)}`, {});
    await eventually(async () => {
      const { body } = await click('transfer', { mode: 'blind', to: { number: listed } });
      expect(body).toMatchObject({ code: 'CONFLICT', detail: expect.stringContaining('do-not-call') });
      return true;
    });
    const itself = await click('transfer', { mode: 'blind', to: { number: contact } });
    expect(itself.body).toMatchObject({ code: 'CONFLICT', detail: expect.stringContaining('being called') });
    expect((await click('complete-transfer')).body).toMatchObject({ code: 'CONFLICT' });
    await clicks('transfer', { mode: 'attended', to: { number: number() } });
    const again = await click('transfer', { mode: 'blind', to: { number: number() } });
    expect(again.body).toMatchObject({ code: 'CONFLICT', detail: 'a transfer is under way' });
    expect((await click('hold')).body).toMatchObject({ code: 'CONFLICT' });
    await scene.phone(contact, 'hang-up');
  });
});

/** The transferring agent speaks with the target, as far as the rows know. */
const consulting = (scene: Scene) =>
  eventually(async () => {
    const { rows: found } = await system.sql.query(`SELECT state FROM transfer WHERE contact_id = $1 AND ended_at IS NULL`, [scene.contacts[0]]);
    return found[0]?.state === 'consulting';
  });

const agentRows = async (scene: Scene, agent: number) =>
  (await system.sql.query(`SELECT state, cause FROM agent_events WHERE agent_id = $1 ORDER BY position`, [scene.agents[agent]!.id])).rows.map(
    ({ state, cause }) => `${state}(${cause})`,
  );
const dispose = (call: string, action: string, key: string) =>
  system.ok('POST', `/calls/${call}/disposition`, { action, topics: [] }, { key });
const openOffer = async (scene: Scene, agent: number) => {
  const { rows: found } = await system.sql.query(`SELECT id FROM offer WHERE agent_id = $1 AND ended_at IS NULL`, [scene.agents[agent]!.id]);
  return found[0].id as string;
};

describe('a talk transferred to an agent', () => {
  /** Agent 0 talks, agent 1 is ready, and is asked. */
  const asked = async (mode: 'blind' | 'attended', options = {}) => {
    const talk = await talking({ agents: 2, ...options });
    await talk.scene.ready(1);
    const [first, second] = talk.scene.agents as [Scene['agents'][number], Scene['agents'][number]];
    await talk.clicks('transfer', { mode, to: { agent_id: second.id } });
    await legIs(second.phone, { phase: 'alerting' });
    return { ...talk, first, second };
  };

  it('blind: one wraps up while the other talks, and who talked last decides', async () => {
    const { scene, contact, call, clicks, first, second } = await asked('blind');
    await scene.agentIs('wrap_up', 0);
    await scene.agentIs('reserved', 1);
    expect((await system.api('POST', `/offers/${await openOffer(scene, 1)}/cancel`, {}, { key: second.key })).body).toMatchObject({
      status: 409,
      code: 'CANCEL_TOO_LATE',
    });
    // What the first one says does not end the waiting for the second.
    await dispose(call, 'mark_as_unanswered', first.key);
    await scene.phone(second.phone, 'answer');
    await scene.agentIs('connected', 1);
    await legIs(contact, { onHold: false, sound: null });
    await clicks('extend-wrap-up', { seconds: 60 });
    await scene.ready(0);
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('wrap_up', 1);
    await clicks('extend-wrap-up', { seconds: 60 }, 1);
    expect((await scene.contact()).state).toBe('wrap_up');
    await dispose(call, 'done', second.key);

    expect(await scene.until('done')).toMatchObject({ ended_reason: 'answered' });
    await scene.story('i q:q a:k c:k a:k');
    const found = await rows(scene, 'ciq', 'leg_type', 'agent_id', 'queue_key', 'call_transfer', 'consult', 'internal_iq_session_id');
    expect(found).toMatchObject([
      { ciq: 'a', leg_type: 'agent', agent_id: Number(first.id), call_transfer: 1, consult: 0 },
      { ciq: 'c', leg_type: 'contact' },
      { ciq: 'a', leg_type: 'transfer', agent_id: Number(second.id), queue_key: null, call_transfer: 0, consult: 0 },
    ]);
    expect(new Set(found.map((row) => row.internal_iq_session_id)).size).toBe(1);
    expect(await agentRows(scene, 1)).toEqual([
      'ready(agent)',
      'reserved(transfer)',
      'connected(transfer)',
      'wrap_up(talk_ended)',
    ]);
  });

  it('do-not-call by the one who has handed it on wins', async () => {
    const { scene, contact, call, first, second } = await asked('blind');
    await scene.phone(second.phone, 'answer');
    await scene.agentIs('connected', 1);
    await dispose(call, 'do_not_call', first.key);
    expect((await scene.contact()).state).toBe('talking');
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await dispose(call, 'done', second.key);
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'do_not_call' });
  });

  it('attended: they speak first, then the other has the call, and may hand it on in turn', async () => {
    const { scene, contact, call, clicks, click, first, second } = await asked('attended');
    expect((await click('hold', undefined, 1)).status, 'not the one who is asked').toBe(409);
    await scene.phone(second.phone, 'answer');
    await consulting(scene);
    await scene.agentIs('connected', 1);
    await clicks('complete-transfer');
    await scene.agentIs('wrap_up', 0);
    await legIs(contact, { onHold: false });
    await scene.ready(0);
    await scene.agentIs('ready', 0);
    // And back, to the first one.
    await clicks('transfer', { mode: 'blind', to: { agent_id: first.id } }, 1);
    await scene.agentIs('wrap_up', 1);
    await scene.phone(first.phone, 'answer');
    await scene.agentIs('connected', 0);
    await scene.phone(first.phone, 'hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('wrap_up', 0);
    await dispose(call, 'done', first.key);
    await scene.until('done');
    await scene.story('i q:q a:k c:k(agent_hang_up) a:k a:k');
    expect(await rows(scene, 'ciq', 'call_transfer', 'consult')).toEqual([
      { ciq: 'a', call_transfer: 1, consult: 1 },
      { ciq: 'c', call_transfer: 0, consult: 0 },
      { ciq: 'a', call_transfer: 1, consult: 1 },
      { ciq: 'a', call_transfer: 0, consult: 0 },
    ]);
  });

  it('attended, and rejected: back to the agent; the other is ready again', async () => {
    const { scene, contact, clicks, second } = await asked('attended');
    await system.ok('POST', `/offers/${await openOffer(scene, 1)}/reject`, {}, { key: second.key });
    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('ready', 1);
    await scene.agentIs('connected', 0);
    await clicks('hang-up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up) a:b(agent_reject)');
  });

  it('attended, and hung up by the one who was asked: back to the agent, nothing to wrap up for the other', async () => {
    const { scene, contact, clicks, second } = await asked('attended');
    await scene.phone(second.phone, 'answer');
    await consulting(scene);
    await scene.phone(second.phone, 'hang-up');
    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('ready', 1);
    await clicks('hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('ready', 1);
    expect((await system.api('POST', `/calls/${(await scene.contact()).calls[0].call_id}/disposition`, { action: 'done' }, { key: second.key })).status).toBe(409);
  });

  it('attended, and taken back while the other rings', async () => {
    const { scene, contact, clicks, second } = await asked('attended');
    await clicks('take-back');
    await legIs(contact, { onHold: false, sound: null });
    await eventually(async () => !(await legAt(second.phone)));
    await scene.agentIs('ready', 1);
    await clicks('hang-up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up) a:h(agent_hang_up)');
  });

  it('blind, and not answered: the contact is first in the queue, for whoever serves it', async () => {
    const { scene, contact, second, call } = await asked('blind', { rules: { wrap_up_sec: 600, agent_ring_sec: 5 } });
    await scene.agentIs('no_answer', 1, 20_000);
    await legIs(contact, { onHold: true, sound: 'music' });
    expect((await scene.contact()).state).toBe('talking');
    await scene.ready(0);
    await scene.ringing(0);
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.agentIs('connected', 0);
    await legIs(contact, { onHold: false, sound: null });
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await dispose(call, 'done', scene.agents[0]!.key);
    await scene.until('done');
    await scene.story('i q:q a:k c:k a:t(ring_timeout) q:k a:k');
    void second;
  });

  it('is refused when that agent is not ready, or is the same one', async () => {
    const { scene, contact, click } = await talking({ agents: 2 });
    const [first, second] = scene.agents;
    const refused = await click('transfer', { mode: 'blind', to: { agent_id: second!.id } });
    expect(refused.body).toMatchObject({ status: 409, code: 'CONFLICT', detail: `agent ${second!.id} is logged_off` });
    expect(await legAt(contact)).toMatchObject({ onHold: false, sound: null });
    expect((await click('transfer', { mode: 'blind', to: { agent_id: first!.id } })).status).toBe(400);
    expect((await click('transfer', { mode: 'blind', to: { agent_id: '2000000000' } })).status).toBe(400);
    await scene.phone(contact, 'hang-up');
    await scene.story('i q:q a:k c:k');
  });
});

describe('a talk transferred to a queue', () => {
  it('waits with music, goes before everything else, and is served though all else forbids it', async () => {
    const { scene, contact, call, clicks, click } = await talking();
    // Another campaign, with a contact who is called first in it, and is paused.
    const other = await setScene(system, { agents: 1, contacts: [{ phone_num: number(), priority: 1000 }], rules: { wrap_up_sec: 600 } });
    const nobody = await click('transfer', { mode: 'blind', to: { campaign_id: other.campaign } });
    expect(nobody.body).toMatchObject({ status: 409, code: 'CONFLICT', detail: 'nobody else who serves this queue is logged on' });
    await system.ok('PUT', `/agents/${other.agents[0]!.id}/state`, { state: 'paused' }, { key: other.agents[0]!.key });

    await clicks('transfer', { mode: 'blind', to: { campaign_id: other.campaign } });
    await scene.agentIs('wrap_up');
    await legIs(contact, { onHold: true, sound: 'music' });
    await system.ok('POST', `/campaigns/${scene.campaign}/stop`);
    await system.sql.query(`INSERT INTO do_not_call (number, added_by, added_at) VALUES ($1, 'test', now())`, [contact]);
    await other.ready();
    const { offer } = await other.ringing();
    expect((await system.sql.query(`SELECT contact_id FROM offer WHERE id = $1`, [offer])).rows[0].contact_id).toBe(scene.contacts[0]);
    const cancelled = await system.api('POST', `/offers/${offer}/cancel`, {}, { key: other.agents[0]!.key });
    expect(cancelled.body).toMatchObject({ status: 409, code: 'CANCEL_TOO_LATE' });
    await other.phone(other.agents[0]!.phone, 'answer');
    await other.agentIs('connected');
    await legIs(contact, { onHold: false, sound: null });
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await dispose(call, 'done', other.agents[0]!.key);
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'do_not_call', ended_by: 'test' });
    await scene.story('i q:q a:k c:k q:s q:k a:k');
    const { rows: queues } = await system.sql.query(`SELECT queue_key FROM campaign WHERE id = $1`, [other.campaign]);
    const found = await rows(scene, 'event_type', 'result_code', 'queue_key', 'agent_id', 'duration_tot_sec', 'call_transfer');
    expect(found.filter(({ event_type }) => event_type === 'q')).toMatchObject([
      { result_code: 's', queue_key: queues[0].queue_key, agent_id: null, duration_tot_sec: 0 },
      { result_code: 'k', queue_key: queues[0].queue_key, agent_id: Number(other.agents[0]!.id) },
    ]);
    expect(found.at(-1)).toMatchObject({ event_type: 'c', queue_key: queues[0].queue_key });
  });

  it('rejected by an agent it waits on, at its place; the contact who hangs up is the end of it', async () => {
    const { scene, contact, clicks } = await talking({ agents: 2 });
    await scene.ready(1);
    await clicks('transfer', { mode: 'blind', to: { campaign_id: scene.campaign } });
    const { offer } = await scene.ringing(1);
    await system.ok('POST', `/offers/${offer}/reject`, {}, { key: scene.agents[1]!.key });
    await scene.agentIs('ready', 1);
    await legIs(contact, { onHold: true, sound: 'music' });
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k q:h a:b(agent_reject)');
    const { rows: gaps } = await system.sql.query(`SELECT call_sequence FROM call_events WHERE contact_id = $1 ORDER BY 1`, scene.contacts);
    expect(gaps.map(({ call_sequence }) => call_sequence)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('attended: taken back while the contact waits', async () => {
    const { scene, contact, clicks } = await talking({ agents: 2 });
    const second = scene.agents[1]!;
    await system.ok('PUT', `/agents/${second.id}/state`, { state: 'paused' }, { key: second.key });
    await clicks('transfer', { mode: 'attended', to: { campaign_id: scene.campaign } });
    await legIs(contact, { onHold: true, sound: 'music' });
    await scene.agentIs('connected', 0);
    await clicks('take-back');
    await legIs(contact, { onHold: false, sound: null });
    await clicks('hang-up');
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up) q:k');
  });
});

describe('the worker dies', { timeout: 120_000 }, () => {
  const RECOVERY_MS = 40_000;
  const away = async (scene: Scene, meanwhile: () => Promise<void>) => {
    const stop = scene.staysOn();
    try {
      await system.worker.kill();
      await meanwhile();
      await system.worker.restart();
    } finally {
      stop();
    }
  };
  const attended = async () => {
    const talk = await talking({ agents: 2 });
    await talk.scene.ready(1);
    const second = talk.scene.agents[1]!;
    await talk.clicks('transfer', { mode: 'attended', to: { agent_id: second.id } });
    await legIs(second.phone, { phase: 'alerting' });
    return { ...talk, second };
  };
  const patient = async (expected: () => Promise<boolean>) => eventually(expected, { withinMs: RECOVERY_MS });
  const ringsOf = async (phone: string) => {
    const { items } = await system.ok('GET', '/simulator/dials?limit=1000');
    return items.filter((dial: Json) => dial.to === phone).length;
  };

  it('while the target of an attended transfer rings: it is answered all the same, and completed', async () => {
    const { scene, contact, clicks, second } = await attended();
    await away(scene, () => scene.phone(second.phone, 'answer'));
    await patient(async () => {
      const { rows: found } = await system.sql.query(`SELECT state FROM transfer WHERE contact_id = $1`, [scene.contacts[0]]);
      return found[0].state === 'consulting';
    });
    await legIs(contact, { onHold: true, sound: 'music' });
    await clicks('complete-transfer');
    await legIs(contact, { onHold: false, sound: null });
    await scene.agentIs('wrap_up', 0);
    await scene.phone(contact, 'hang-up');
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k a:k');
    expect(await ringsOf(second.phone)).toBe(1);
  });

  it('in the middle of the consultation, and the agent hangs up meanwhile: contact and target are connected', async () => {
    const { scene, contact, second } = await attended();
    await scene.phone(second.phone, 'answer');
    await consulting(scene);
    await away(scene, () => scene.phone(scene.agents[0]!.phone, 'hang-up'));
    await patient(async () => (await legAt(contact)).onHold === false);
    await scene.agentIs('wrap_up', 0, RECOVERY_MS);
    await scene.phone(second.phone, 'hang-up');
    await scene.until('wrap_up', 0, RECOVERY_MS);
    await scene.agentIs('wrap_up', 1);
    await scene.story('i q:q a:k c:k(agent_hang_up) a:k');
  });

  it('in the middle of the consultation, and the contact hangs up meanwhile: everybody is free', async () => {
    const { scene, contact, second } = await attended();
    await scene.phone(second.phone, 'answer');
    await consulting(scene);
    await away(scene, async () => {
      await scene.phone(contact, 'hang-up');
      await eventually(async () => !(await legAt(second.phone)) && !(await legAt(scene.agents[0]!.phone)));
    });
    await scene.until('wrap_up', 0, RECOVERY_MS);
    await scene.agentIs('wrap_up', 0, RECOVERY_MS);
    await scene.agentIs('ready', 1, RECOVERY_MS);
    await scene.story('i q:q a:k c:k a:k');
    expect((await rows(scene, 'call_transfer'))[0]).toEqual({ call_transfer: 0 });
  });
});
