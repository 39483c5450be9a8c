/** Do-not-call at every moment of a call, by the API, a file and a disposition, on the whole product. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene, storyOf } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

const NEVER_ALERTS = '+4722500001';

let system: System;
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  const numbers = { [NEVER_ALERTS]: { ...manual, alerting: null } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }], numbers } });
}, 90_000);
afterAll(() => system?.stop());

let next = 22400000;
const number = () => `+47${next++}`;
const list = (what: string) => system.ok('PUT', `/do-not-call/${encodeURIComponent(what)}`, { comment: 'by phone' });
const takeOff = (what: string) => system.ok('DELETE', `/do-not-call/${encodeURIComponent(what)}?comment=a+mistake`);
const file = (...numbers: string[]) => system.ok('POST', '/do-not-call/import', ['number', ...numbers, ''].join('\n'));
const LISTED = { state: 'disabled', ended_reason: 'do_not_call' };
/** As whoever listed the number, and died before its contacts were ended. */
const listAndDie = (what: string) =>
  system.sql.query(
    `WITH listed AS (INSERT INTO do_not_call (number, added_by, added_at, source) VALUES ($1, 'key:7', now(), 'api'))
     INSERT INTO do_not_call_pending (number, due_at) VALUES ($1, now() + interval '1 s')`,
    [what],
  );

/** Every round has closed: what was listed has been carried out to the end. */
const isClosed = (s: Scene, index = 0) =>
  eventually(async () => {
    const { rows } = await system.sql.query(`SELECT closed_at FROM contact WHERE id = $1`, [s.contacts[index]]);
    return rows[0]!.closed_at;
  });

async function dialling(contact: { phone_num: string; phone_2?: string }, options: Json = {}): Promise<Scene> {
  const s = await setScene(system, { contacts: [contact], ...options });
  await s.ready();
  await s.ringing();
  await s.phone(s.agents[0]!.phone, 'answer');
  await s.until('dialling');
  return s;
}

const alerting = (s: Scene) =>
  eventually(async () => {
    const alerts = `SELECT 1 FROM leg WHERE contact_id = $1 AND ciq = 'c' AND alerting_at IS NOT NULL`;
    return (await system.sql.query(alerts, [s.contacts[0]])).rowCount;
  });

async function talking(contact: { phone_num: string; phone_2?: string }, options: Json = {}): Promise<Scene> {
  const s = await dialling(contact, options);
  await s.phone(contact.phone_num, 'answer');
  await s.until('talking');
  return s;
}

/** What the moment's answer must have brought about already, then what the contact and its agent come to. */
async function isOver(s: Scene, story: string): Promise<void> {
  expect(await s.contact()).toMatchObject(LISTED);
  await isClosed(s);
  await s.story(story);
}

// Each of the ways to list a number, by either number of the contact.
describe.each([
  ['its number', (a: string, _b: string) => list(a)],
  ['its other number', (_a: string, b: string) => list(b)],
  ['a file with its other number', (_a: string, b: string) => file(number(), b)],
])('%s listed', (_how, listIt) => {
  it('before the campaign has started: nobody takes it up', async () => {
    const [anna, home] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna, phone_2: home }, { phone_num: number() }], start: false });
    await listIt(anna, home);
    await s.until('disabled');
    await system.ok('POST', `/campaigns/${s.campaign}/start`);
    await s.until('queued', 1);
    expect(await s.contact()).toMatchObject(LISTED);
    await s.story('');
  });

  it('while it is queued: `d`, disabled', async () => {
    const [anna, home] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna, phone_2: home }] });
    await s.until('queued');
    await listIt(anna, home);
    await s.until('disabled');
    await isOver(s, 'i q:q q:d(do_not_call)');
  });

  it('while the agent’s phone rings: `h`, `d`, the agent is ready', async () => {
    const [anna, home] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna, phone_2: home }] });
    await s.ready();
    await s.ringing();
    await listIt(anna, home);
    await isOver(s, 'i q:q a:h(do_not_call) q:d(do_not_call)');
    expect((await s.agentIs('ready')).cause).toBe('do_not_call');
    expect(await s.dialled(anna)).toBe(0);
  });

  it('when the agent has answered and not confirmed yet', async () => {
    const [anna, home] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna, phone_2: home }], agent: { confirm: true }, rules: { confirm_sec: 60 } });
    await s.ready();
    await s.ringing();
    await s.phone(s.agents[0]!.phone, 'answer');
    await eventually(async () => {
      const { rowCount } = await system.sql.query(`SELECT 1 FROM leg WHERE contact_id = $1 AND answered_at IS NOT NULL`, s.contacts);
      return rowCount;
    });
    await listIt(anna, home);
    await isOver(s, 'i q:q a:k(do_not_call) q:d(do_not_call)');
    await s.agentIs('ready');
    expect(await s.dialled(anna)).toBe(0);
  });

  it('while the contact’s phone rings: `h`, `d`', async () => {
    const [anna, home] = [number(), number()];
    const s = await dialling({ phone_num: anna, phone_2: home });
    await alerting(s);
    await listIt(anna, home);
    await isOver(s, 'i q:q a:k(do_not_call) c:h(do_not_call) q:d(do_not_call)');
    expect((await s.agentIs('ready')).cause).toBe('do_not_call');
  });

  it('while they talk: the talk goes on to its end, then disabled', async () => {
    const [anna, home] = [number(), number()];
    const s = await talking({ phone_num: anna, phone_2: home });
    await listIt(anna, home);
    expect((await s.contact()).state).toBe('talking');
    await s.phone(anna, 'hang-up');
    await s.agentIs('wrap_up'); // a readiness sooner than it counts for after it
    await s.ready();
    await s.until('disabled');
    await isOver(s, 'i q:q a:k c:k');
    expect(await s.dialled(anna)).toBe(1);
  });
});

describe('a number listed', () => {
  it('in set-up: `q`, `d`', async () => {
    const s = await dialling({ phone_num: NEVER_ALERTS });
    await list(NEVER_ALERTS);
    await isOver(s, 'i q:q a:k(do_not_call) c:q(do_not_call) q:d(do_not_call)');
    await takeOff(NEVER_ALERTS);
  });

  it('in the wrap-up: disabled after it, whatever the agent registers', async () => {
    const anna = number();
    const s = await talking({ phone_num: anna });
    await s.phone(anna, 'hang-up');
    await s.until('wrap_up');
    await list(anna);
    const { rows } = await system.sql.query(`SELECT call_id FROM contact WHERE id = $1`, s.contacts);
    const { key } = s.agents[0]!;
    await system.ok('POST', `/calls/${rows[0]!.call_id}/disposition`, { action: 'mark_as_unanswered' }, { key });
    await s.until('disabled');
    await isOver(s, 'i q:q a:k c:k');
  });

  it('while a retry is waited for: disabled at once', async () => {
    const s = await dialling({ phone_num: number() }, { rules: { retry: { b: { delay_sec: 3600 } } } });
    const { phone_num } = await s.contact();
    await s.phone(phone_num, 'reject');
    await s.until('waiting');
    await list(phone_num);
    await isOver(s, 'i q:q a:k c:b');
  });

  it('while its campaign is paused: disabled at once', async () => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }] });
    await s.until('queued');
    await system.ok('POST', `/campaigns/${s.campaign}/pause`);
    await s.until('waiting');
    await list(anna);
    await isOver(s, 'i q:q q:d(campaign_paused)');
  });

  it('ends its contacts in all campaigns; whom it does not concern is called', async () => {
    const [anna, home] = [number(), number()];
    const one = await dialling({ phone_num: anna });
    const two = await setScene(system, { contacts: [{ phone_num: home, phone_2: anna }, { phone_num: home }] });
    await two.until('queued', 1);
    await list(anna);
    expect([await one.contact(), await two.contact(), await two.contact(1)]).toMatchObject([LISTED, LISTED, { state: 'queued' }]);
    await two.ready();
    expect((await two.ringing()).contact).toBe(two.contacts[1]);
  });

  it('and taken off again: called from then on, once a person has enabled the contact', async () => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }] });
    await s.until('queued');
    await list(anna);
    await isOver(s, 'i q:q q:d(do_not_call)');
    expect((await system.api('POST', `/contacts/${s.contacts[0]}/enable`)).status).toBe(409);
    await takeOff(anna);
    expect(await s.contact()).toMatchObject(LISTED);
    await system.ok('POST', `/contacts/${s.contacts[0]}/enable`);
    await s.until('queued');
    await s.ready();
    await s.ringing();
    await s.phone(s.agents[0]!.phone, 'answer');
    await alerting(s);
    expect(await s.dialled(anna)).toBe(1);
  });
});

describe('a disposition', () => {
  it('lists every number of the person: whoever has one of them is not called, in no campaign', async () => {
    const [anna, home, other] = [number(), number(), number()];
    const s = await talking({ phone_num: anna, phone_2: home });
    const elsewhere = await setScene(system, { contacts: [{ phone_num: other, phone_2: home }, { phone_num: anna }] });
    await elsewhere.ready();
    await elsewhere.ringing();
    await s.phone(anna, 'hang-up');
    await s.until('wrap_up');
    const { id, key } = s.agents[0]!;
    const { rows } = await system.sql.query(`SELECT call_id FROM contact WHERE id = $1`, s.contacts);
    const said = { action: 'do_not_call', comment: 'never again' };
    await system.ok('POST', `/calls/${rows[0]!.call_id}/disposition`, said, { key });

    for (const index of [0, 1]) expect(await elsewhere.contact(index)).toMatchObject(LISTED);
    await isClosed(elsewhere);
    await elsewhere.story('i q:q a:h(do_not_call) q:d(do_not_call)');
    await s.until('disabled');
    expect(await s.contact()).toMatchObject({ ...LISTED, ended_by: `agent:${id}` });
    for (const listed of [anna, home]) {
      const { history } = await system.ok('GET', `/do-not-call/${encodeURIComponent(listed)}`);
      expect(history).toMatchObject([
        { action: 'added', by: `agent:${id}`, source: 'disposition', comment: 'never again', contact_id: s.contacts[0] },
      ]);
    }
  });
});

// Nothing but the row of the list: as if it had come at the very moment.
const onTheList = (what: string) =>
  system.sql.query(`INSERT INTO do_not_call (number, added_by, added_at, source) VALUES ($1, 'key:7', now(), 'api')`, [what]);

describe('a contact with a listed number is not offered', () => {
  it('when its list is loaded or added to: disabled, and no workflow is started for it', async () => {
    const [anna, home] = [number(), number()];
    await list(home);
    const s = await setScene(system, { contacts: [], agents: 1 });
    await s.ready();
    const rows = ['id,phone,phone_2', `1,${anna},${home}`, `2,${home},`, `3,${number()},`, ''];
    const done = await system.ok('POST', `/campaigns/${s.campaign}/imports`, rows.join('\n'));
    expect(done).toMatchObject({ added: 3, do_not_call: 2 });
    await s.ringing();
    const contacts = await system.sql.query(
      `SELECT state, ended_reason, ended_by, round, closed_at IS NOT NULL AS closed FROM contact WHERE campaign_id = $1 ORDER BY id`,
      [s.campaign],
    );
    const { added_by: ended_by } = (await system.ok('GET', `/do-not-call?prefix=${encodeURIComponent(home)}`)).items[0];
    const ended = { ...LISTED, ended_by, round: 1, closed: true };
    expect(contacts.rows).toMatchObject([ended, ended, { state: 'offered' }]);
    const { rowCount } = await system.sql.query(`SELECT 1 FROM call WHERE campaign_id = $1`, [s.campaign]);
    expect(rowCount).toBe(1);
  });

  it('when a retry comes due', async () => {
    const anna = number();
    const s = await dialling({ phone_num: anna }, { rules: { retry: { b: { delay_sec: 4 } } } });
    await s.phone(anna, 'reject');
    await s.until('waiting');
    await onTheList(anna);
    await s.until('disabled');
    await isOver(s, 'i q:q a:k c:b');
    expect((await s.contact()).ended_by).toBe('key:7');
  });

  it('when its campaign runs again', async () => {
    const [anna, other] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna }, { phone_num: other }] });
    await s.until('queued', 1);
    await system.ok('POST', `/campaigns/${s.campaign}/pause`);
    await s.until('waiting', 1);
    await s.until('waiting');
    await onTheList(anna);
    await system.ok('POST', `/campaigns/${s.campaign}/resume`);
    await s.until('queued', 1);
    await s.until('disabled');
    await isOver(s, 'i q:q q:d(campaign_paused)');
  });

  it('when it was disabled and is enabled', async () => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }] });
    await s.until('queued');
    await system.ok('POST', `/contacts/${s.contacts[0]}/disable`);
    await isClosed(s);
    await system.ok('POST', `/campaigns/${s.campaign}/pause`);
    await eventually(async () => (await system.ok('GET', `/campaigns/${s.campaign}`)).settled);
    await system.ok('POST', `/contacts/${s.contacts[0]}/enable`);
    await onTheList(anna);
    await system.ok('POST', `/campaigns/${s.campaign}/resume`);
    await s.until('disabled');
    await isOver(s, 'i q:q q:d(disabled)');
  });

  it('nor dialled when an agent has it already: refused on any of its numbers, no attempt', async () => {
    const [anna, home] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna, phone_2: home }] });
    await s.ready();
    await s.ringing();
    await onTheList(home);
    await s.phone(s.agents[0]!.phone, 'answer');
    await s.until('disabled');
    await isOver(s, 'i q:q a:k q:d(do_not_call)');
    expect(await s.contact()).toMatchObject({ attempts: 0 });
    expect(await s.dialled(anna)).toBe(0);
  });

  it('by PATCH of its number while it is queued', async () => {
    const home = number();
    await list(home);
    const s = await setScene(system, { contacts: [{ phone_num: number() }] });
    await s.until('queued');
    expect(await system.ok('PATCH', `/contacts/${s.contacts[0]}`, { phone_2: home })).toMatchObject(LISTED);
    await isOver(s, 'i q:q q:d(do_not_call)');
  });
});

describe('who listed a number and died is stood in for by a worker', () => {
  it('for a contact that is queued', async () => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }] });
    await s.until('queued');
    await listAndDie(anna);
    expect(await s.until('disabled')).toMatchObject({ ...LISTED, ended_by: 'key:7' });
    await isClosed(s);
    await s.story('i q:q q:d(do_not_call)');
    const { rowCount } = await system.sql.query(`SELECT 1 FROM do_not_call_pending WHERE number = $1`, [anna]);
    expect(rowCount).toBe(0);
  });

  it('for one whose phone rings', async () => {
    const anna = number();
    const s = await dialling({ phone_num: anna });
    await alerting(s);
    await listAndDie(anna);
    await s.until('disabled');
    await isOver(s, 'i q:q a:k(do_not_call) c:h(do_not_call) q:d(do_not_call)');
  });

  it('for one who talks', async () => {
    const anna = number();
    const s = await talking({ phone_num: anna });
    await listAndDie(anna);
    await eventually(async () => (await s.contact()).ended_reason === 'do_not_call');
    await s.phone(anna, 'hang-up');
    await s.agentIs('wrap_up'); // a readiness sooner than it counts for after it
    await s.ready();
    await s.until('disabled');
    await isOver(s, 'i q:q a:k c:k');
  });

  it('whenever the API is killed: who is on the list is ended, who is not is called', async () => {
    for (const afterMs of [0, 4, 8, 16, 32]) {
      const anna = number();
      const s = await setScene(system, { contacts: [{ phone_num: anna }] });
      await s.ready();
      await s.ringing();
      const asked = list(anna).catch(() => undefined);
      const until = performance.now() + afterMs;
      while (performance.now() < until) await new Promise(setImmediate);
      await system.apiProcess.kill();
      await asked;
      const { rowCount } = await system.sql.query(`SELECT 1 FROM do_not_call WHERE number = $1`, [anna]);
      await system.apiProcess.restart();
      await eventually(async () => (await fetch(`${system.baseUrl}/readyz`)).ok, { withinMs: 30_000 });
      if (rowCount === 0) {
        expect(await s.contact()).toMatchObject({ ended_reason: null });
        await list(anna);
      }
      await s.until('disabled');
      await isClosed(s);
      expect(await storyOf(system, s.contacts[0]!)).toBe('i q:q a:h(do_not_call) q:d(do_not_call)');
      expect(await s.dialled(anna)).toBe(0);
    }
  }, 120_000);

  it('and by the next worker, where the worker was dead as well', async () => {
    const [anna, other] = [number(), number()];
    const s = await setScene(system, { contacts: [{ phone_num: anna }, { phone_num: other }] });
    await s.until('queued');
    await s.until('queued', 1);
    await system.worker.kill();
    await list(anna);
    expect(await s.contact()).toMatchObject(LISTED);
    await listAndDie(other);
    await system.worker.restart();
    await s.until('disabled', 1, 40_000);
    await isClosed(s);
    await isClosed(s, 1);
    for (const index of [0, 1]) await s.story('i q:q q:d(do_not_call)', index);
  });
});
