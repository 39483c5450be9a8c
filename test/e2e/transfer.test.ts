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
