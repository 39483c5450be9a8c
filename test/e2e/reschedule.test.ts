/** Calling back as agreed, and calling now, in the whole product (docs/domain.md, "Reschedules"). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

let system: System;
let next = 2286_7000;
const number = () => `+47${next++}`;
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 120_000);
afterAll(() => system?.stop());

/** They have talked, and the agent wraps up. */
async function talked(rules: object = {}): Promise<{ scene: Scene; call: string; key: string }> {
  const phone = number();
  const scene = await setScene(system, { contacts: [{ phone_num: phone }], rules: { wrap_up_sec: 60, ...rules } });
  await scene.ready();
  const { call } = await scene.ringing();
  const { key, phone: own } = scene.agents[0]!;
  await scene.phone(own, 'answer');
  await scene.until('dialling');
  await scene.phone(phone, 'answer');
  await scene.until('talking');
  await system.ok('POST', `/calls/${call}/hang-up`, {}, { key });
  await scene.until('wrap_up');
  return { scene, call, key };
}

const agree = (call: string, key: string, reschedule: object) =>
  system.api('POST', `/calls/${call}/disposition`, { action: 'reschedule', reschedule }, { key });

describe('an agent agrees on a time', () => {
  it('and the contact is offered within a second of it, with the time in its calls', async () => {
    const { scene, call, key } = await talked({ max_attempts: 1 });
    const at = new Date(Date.now() + 4_000);
    expect(await agree(call, key, { at: at.toISOString(), to_myself: true })).toMatchObject({ status: 200 });
    await scene.ready();
    expect(await scene.until('waiting')).toMatchObject({ wait_reason: 'rescheduled', waits_until: at.toISOString() });
    const list = await system.ok('GET', `/campaigns/${scene.campaign}/reschedules`);
    expect(list.items).toMatchObject([{ id: scene.contacts[0], at: at.toISOString(), agent_id: scene.agents[0]!.id }]);

    const offered = await eventually(async () => {
      const { rows } = await system.sql.query(`SELECT created_at FROM offer WHERE contact_id = $1 AND ended_at IS NULL`, [scene.contacts[0]]);
      return rows[0]?.created_at as Date | undefined;
    });
    const late = offered!.getTime() - at.getTime();
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(1_000);
    // A granted attempt: max_attempts was used up by the talk.
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    const { rows } = await system.sql.query(
      `SELECT DISTINCT dte_scheduled_callback AS at FROM call_events WHERE contact_id = $1 AND attempt = 2`,
      [scene.contacts[0]],
    );
    expect(rows).toEqual([{ at }]);
  });

  it('but not on one outside of the legal hours: refused with the next one that is possible', async () => {
    const { call, key } = await talked();
    const at = new Date(Date.now() + 86_400_000);
    const minutes = (date: Date) => date.toISOString().slice(11, 16);
    const hours = { periods: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: minutes(at), to: minutes(new Date(at.getTime() + 3_600_000)) }], holidays: [] };
    await system.ok('PUT', '/legal-hours/NO', hours);
    try {
      const answer = await agree(call, key, { at: new Date(at.getTime() + 3 * 3_600_000).toISOString() });
      expect(answer).toMatchObject({ status: 400, body: { code: 'INVALID' } });
      expect(answer.body.issues).toMatchObject([
        { field: 'reschedule.at', reason: expect.stringContaining('the next time that is possible is') },
      ]);
    } finally {
      await system.ok('DELETE', '/legal-hours/NO');
    }
  });

  it.each([
    [{ action: 'reschedule' }],
    [{ action: 'reschedule', reschedule: { at: '2020-01-01T00:00:00Z' } }],
    [{ action: 'done', reschedule: { at: '2099-01-01T00:00:00Z' } }],
  ])('%j is refused', async (body) => {
    const { call, key } = await talked();
    expect((await system.api('POST', `/calls/${call}/disposition`, body, { key })).status).toBe(400);
  });
});

describe('a supervisor', () => {
  const waiting = async () => {
    const { scene, call, key } = await talked();
    await agree(call, key, { at: inMs(3_600_000) });
    await scene.until('waiting');
    return { scene, contact: scene.contacts[0]! };
  };

  it('moves a reschedule', async () => {
    const { scene, contact } = await waiting();
    await system.ok('PUT', `/contacts/${contact}/reschedule`, { at: inMs(2_000) });
    await scene.ready();
    await scene.until('offered');
  });

  it('takes one back: who has talked is done', async () => {
    const { scene, contact } = await waiting();
    await system.ok('DELETE', `/contacts/${contact}/reschedule`);
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'answered' });
    expect((await system.ok('GET', `/campaigns/${scene.campaign}/reschedules`)).items).toEqual([]);
  });

  it('has a contact called now', async () => {
    const { scene, contact } = await waiting();
    await scene.ready();
    await system.ok('POST', `/contacts/${contact}/call-now`);
    await scene.until('offered');
  });

  it('calls back who is done, and not who must not be called', async () => {
    const { scene, call, key } = await talked();
    const contact = scene.contacts[0]!;
    await system.ok('POST', `/calls/${call}/disposition`, { action: 'done' }, { key });
    await scene.until('done');
    await system.ok('PUT', `/contacts/${contact}/reschedule`, { at: inMs(1_000) });
    await scene.ready();
    await scene.until('offered');
    expect((await system.api('PUT', `/contacts/${contact}/reschedule`, { at: inMs(60_000) })).status).toBe(409);
  });

  it('keeps it on the number that was called last', async () => {
    const [first, second] = [number(), number()];
    const scene = await setScene(system, { contacts: [{ phone_num: first, phone_2: second }] });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone(first, 'reject');
    await scene.until('waiting');
    await system.ok('PUT', `/contacts/${scene.contacts[0]}/reschedule`, { at: inMs(3_600_000) });
    const { items } = await system.ok('GET', `/campaigns/${scene.campaign}/reschedules`);
    expect(items).toMatchObject([{ number: first }]);
  });

  it('is told why not: numbers given up, a campaign that has ended', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    const [contact] = scene.contacts;
    await scene.until('queued');
    await system.ok('POST', `/contacts/${contact}/disable`);
    await scene.until('disabled');
    await system.sql.query(`UPDATE contact SET state = 'done', ended_reason = 'numbers_given_up', given_up_1 = true WHERE id = $1`, [contact]);
    const put = () => system.api('PUT', `/contacts/${contact}/reschedule`, { at: inMs(60_000) });
    expect(await put()).toMatchObject({ status: 409, body: { detail: expect.stringContaining('given up') } });
    await system.sql.query(`UPDATE contact SET ended_reason = 'answered', given_up_1 = false WHERE id = $1`, [contact]);
    await system.ok('POST', `/campaigns/${scene.campaign}/end`);
    expect(await put()).toMatchObject({ status: 409, body: { detail: expect.stringContaining('campaign has ended') } });
    expect(await scene.contact()).toMatchObject({ state: 'done', ended_reason: 'answered' });
  });

  it('has it called while the campaign is paused, where its rules say so', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }, { phone_num: number() }], rules: { reschedule: { while_paused: true } }, start: false });
    await system.ok('POST', `/campaigns/${scene.campaign}/start`);
    await scene.until('queued', 1);
    await system.ok('POST', `/campaigns/${scene.campaign}/pause`);
    await scene.until('waiting', 1);
    // One that no workflow has taken up, and nobody would before the campaign goes on.
    await system.sql.query(`UPDATE contact SET state = 'new', closed_at = NULL, round = round + 1 WHERE id = $1`, [scene.contacts[0]]);
    await system.ok('PUT', `/contacts/${scene.contacts[0]}/reschedule`, { at: inMs(500) });
    await scene.ready();
    expect((await scene.ringing()).contact).toBe(scene.contacts[0]);
    expect((await scene.contact(1)).wait_reason).toBe('campaign_not_running');
  });

  it('sees that it waits for another agent than those who have just turned it down', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    await system.ok('POST', `/offers/${offer}/reject`, {}, { key: scene.agents[0]!.key });
    await eventually(async () => {
      const { wait_reason, waits_until } = await scene.contact();
      return wait_reason === 'waiting_for_agent' && waits_until !== null;
    });
  });

  it('sees why nobody is called, and when that ends', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }, { phone_num: number() }], rules: { filter: { include: [{ variable: 'var1', values: ['x'] }] } } });
    await eventually(async () => (await scene.contact()).wait_reason === 'filtered');
    await eventually(async () => {
      const check = await system.ok('POST', `/campaigns/${scene.campaign}/check`);
      expect(check).toMatchObject({ contacts: 2, callable_now: 0, never: [{ reason: 'filtered', contacts: 2 }], being_placed: 0 });
      return true;
    });
    await system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: { filter: { include: [] }, hours: shutNow() } });
    await eventually(async () => {
      const { wait_reason, waits_until } = await scene.contact();
      return ['outside_hours', 'holiday'].includes(wait_reason) && waits_until !== null;
    });
    const { callable_now, callable_later } = await system.ok('POST', `/campaigns/${scene.campaign}/check`);
    expect([callable_now, callable_later.reduce((sum: number, { contacts }: { contacts: number }) => sum + contacts, 0)]).toEqual([0, 2]);
  });
});

/** A campaign's hours that begin in some hours, wherever that is. */
function shutNow(): object {
  const from = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Oslo', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
  const at = (hours: number) => from.format(new Date(Date.now() + hours * 3_600_000));
  return { periods: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: at(3), to: at(5) }] };
}
