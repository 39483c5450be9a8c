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
  const click = (what: string, body?: unknown, agent = 0) =>
    system.api('POST', `/calls/${call}/${what}`, body, { key: scene.agents[agent]!.key });
  /** The click is done. Just after the answer the workflow may not have been told yet. */
  const clicks = (what: string, body?: unknown, agent = 0) =>
    eventually(async () => {
      const answer = await click(what, body, agent);
      if (answer.status === 409 && answer.body.state === 'dialling') return false;
      expect(answer).toMatchObject({ status: 200 });
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
    await scene.story('i q:q a:k c:k null:k');
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
    await scene.story('i q:q a:k c:k null:k');
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
    await scene.story('i q:q a:k c:k(agent_hang_up) null:k(agent_hang_up)');
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
    await scene.story('i q:q a:k c:k null:k');
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
    await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up) null:b');
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
    await scene.story('i q:q a:k c:k null:h');
    expect((await rows(scene, 'call_transfer'))[0]).toEqual({ call_transfer: 0 });
  });

  it('is refused for a number that is none, and while another one is under way', async () => {
    const { scene, contact, click, clicks } = await talking();
    expect((await click('transfer', { mode: 'blind', to: { number: '112' } })).body.issues[0]).toMatchObject({ field: 'to.number' });
    expect((await click('transfer', { mode: 'blind', to: {} })).body.issues[0]).toMatchObject({ field: 'to' });
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
