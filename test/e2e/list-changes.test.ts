/** A list, and what may be called of it, changed while its contacts are being called; and an upload whose process dies. */
import { setImmediate } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { eagerAgentBehaviour } from '../../telephony/simulator/agent-behaviour.ts';
import { runSimulatedAgents } from '../../telephony/simulator/agents.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

const MANUAL = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
/** Numbers beginning so answer by themselves, and hang up soon. */
const QUICK = Array.from({ length: 60 }, (_, n) => `+4722900${String(n).padStart(3, '0')}`);

let system: System;
beforeAll(async () => {
  const quick = { trying: 0, alerting: 0, media: 0, then: { kind: 'answers', after: 0.1, talks: 0.2 } };
  const numbers = Object.fromEntries(QUICK.map((number) => [number, quick]));
  system = await startSystem({ speed: 1, script: { numbers, contacts: [{ weight: 1, behaviour: MANUAL }] } });
}, 90_000);
afterAll(() => system?.stop());

let next = 22800000;
const number = () => `+47${next++}`;

/** The list is from now on this one contact. */
const replace = (scene: Scene, phone: string): Promise<Json> =>
  system.ok('POST', `/campaigns/${scene.campaign}/imports?mode=replace`, `phone_num\n${phone}\n`);

describe('a list that is replaced while it is called', () => {
  it('ends each call as far as it has come: queued, offered, ringing, talking', { timeout: 60_000 }, async () => {
    const contacts = Array.from({ length: 5 }, () => ({ phone_num: number() }));
    const scene = await setScene(system, { agents: 4, contacts });
    const answer = async (index: number) => {
      await scene.ready(index);
      await scene.ringing(index);
      await scene.phone(scene.agents[index]!.phone, 'answer');
      return scene.until('dialling', index);
    };
    await answer(0);
    await scene.phone(contacts[0]!.phone_num, 'answer');
    const talking = await scene.until('talking', 0);
    const ringing = [await answer(1), await answer(2)];
    await scene.ready(3);
    await scene.ringing(3);

    expect(await replace(scene, number())).toMatchObject({ added: 1, disabled: 5 });

    // The queue and the offer end at once, without anybody's call.
    expect(await scene.until('disabled', 4)).toMatchObject({ ended_reason: 'list_replaced', attempts: 0 });
    await scene.story('i q:q q:d(list_replaced)', 4);
    expect(await scene.until('disabled', 3)).toMatchObject({ ended_reason: 'list_replaced', attempts: 0 });
    await scene.story('i q:q a:h(list_replaced) q:d(list_replaced)', 3);
    expect(await scene.dialled(contacts[3]!.phone_num)).toBe(0);

    // Whose phone rings, rings on: one answers and talks, the other does not, and is not called again.
    expect([(await scene.contact(1)).state, (await scene.contact(2)).state]).toEqual(['dialling', 'dialling']);
    await scene.phone(contacts[1]!.phone_num, 'answer');
    await scene.until('talking', 1);
    await scene.phone(contacts[2]!.phone_num, 'reject');
    expect(await scene.until('disabled', 2)).toMatchObject({ ended_reason: 'list_replaced', attempts: 1 });
    await scene.story('i q:q a:k c:b', 2);

    // Talks go on, and are disposed of.
    expect((await scene.contact(0)).state).toBe('talking');
    for (const [index, { call_id }] of [talking, ringing[0]!].entries()) {
      await scene.phone(contacts[index]!.phone_num, 'hang-up');
      await scene.until('wrap_up', index);
      await system.ok('POST', `/calls/${call_id}/disposition`, { action: 'done' }, { key: scene.agents[index]!.key });
      expect(await scene.until('disabled', index)).toMatchObject({ ended_reason: 'list_replaced' });
      await scene.story('i q:q a:k c:k', index);
    }
    const { rows } = await system.sql.query(`SELECT count(*)::int AS n FROM leg WHERE ciq = 'c' AND contact_id = ANY($1)`, [
      scene.contacts,
    ]);
    expect(rows).toEqual([{ n: 3 }]);
  });

  it('dials nobody of the old list who was not in a call, with agents at work', { timeout: 90_000 }, async () => {
    const scene = await setScene(system, { agents: 4, contacts: QUICK.map((phone_num) => ({ phone_num })), rules: { wrap_up_sec: 0 } });
    const stopped = new AbortController();
    const people = { baseUrl: system.baseUrl, behaviour: eagerAgentBehaviour(), speed: 1, seed: 1, log: pino({ level: 'silent' }) };
    const working = runSimulatedAgents({ ...people, agents: scene.agents, signal: stopped.signal });
    onTestFinished(async () => {
      stopped.abort();
      await working;
    });
    const called = async () =>
      (await system.sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM leg WHERE ciq = 'c' AND campaign_id = $1`, [scene.campaign])).rows[0]!.n;
    await eventually(async () => (await called()) > 8, { withinMs: 30_000 });

    const stays = number();
    await replace(scene, stays);
    const old = await eventually(
      async () => {
        const { rows } = await system.sql.query<Json>(
          `SELECT id, state, ended_reason, ended_at, attempts FROM contact WHERE campaign_id = $1 AND phone_num <> $2`,
          [scene.campaign, stays],
        );
        const open = rows.filter(({ state }) => state !== 'done' && state !== 'disabled');
        if (open.length > 0) throw new Error(`${open.length} are not over, such as ${JSON.stringify(open[0])}`);
        return rows;
      },
      { withinMs: 30_000 },
    );
    expect(old).toHaveLength(QUICK.length);
    const replaced = old.filter((row: Json) => row.ended_reason === 'list_replaced');
    expect(replaced.length).toBeGreaterThan(10);
    expect(old.filter((row: Json) => row.state === 'disabled')).toEqual(replaced);

    // Nobody was dialled after the decision; the new list is.
    const { rows: late } = await system.sql.query(
      `SELECT l.id FROM leg l JOIN contact c ON c.id = l.contact_id
       WHERE l.ciq = 'c' AND c.campaign_id = $1 AND c.ended_reason = 'list_replaced' AND l.created_at > c.ended_at`,
      [scene.campaign],
    );
    expect(late).toEqual([]);
    const { rows: open } = await system.sql.query(
      `SELECT call_id FROM call k WHERE campaign_id = $1 AND number <> $2 AND ended_at IS NULL`,
      [scene.campaign, stays],
    );
    expect(open).toEqual([]);
    await eventually(async () => (await scene.dialled(stays)) === 1);
  });
});

describe('a contact whose number the campaign may not call any more', () => {
  it('is not dialled when its agent has answered, and is disabled with the reason', async () => {
    const abroad = '+46701740633';
    const scene = await setScene(system, { contacts: [{ phone_num: abroad }], rules: { countries: ['NO', 'SE'] } });
    await scene.ready();
    await scene.ringing();
    await system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: { countries: null } });
    await scene.phone(scene.agents[0]!.phone, 'answer');

    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'number_not_allowed', ended_by: 'system', attempts: 0 });
    await scene.story('i q:q a:k q:d(number_not_allowed)');
    await scene.agentIs('ready');
    expect(await scene.dialled(abroad)).toBe(0);

    // Who has corrected the rule may enable it.
    await system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: { countries: ['SE'] } });
    await eventually(() => system.ok('POST', `/contacts/${scene.contacts[0]}/enable`));
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await eventually(async () => (await scene.dialled(abroad)) === 1);
  });
});

describe('an upload whose process dies', () => {
  it('is broken off at once for whoever asks, and nothing of it is there', { timeout: 60_000 }, async () => {
    const { id } = await system.ok('POST', '/campaigns', { name: 'Broken off', country: 'NO', zone: 'Europe/Oslo' });
    const latest = async (): Promise<Json> => (await system.ok('GET', `/campaigns/${id}/imports`)).items[0];
    let unfinished = true;
    async function* rows() {
      yield Buffer.from('phone_num\n');
      for (let n = 0; unfinished; n += 1000) {
        yield Buffer.from(Array.from({ length: 1000 }, (_, i) => `+47${40_000_000 + n + i}\n`).join(''));
        await setImmediate();
      }
    }
    const headers = { authorization: `Bearer ${system.adminKey}`, 'content-type': 'text/csv' };
    const upload = fetch(`${system.baseUrl}/v1/campaigns/${id}/imports`, { method: 'POST', headers, body: rows(), duplex: 'half' });
    const cut = expect(upload).rejects.toThrow();
    await eventually(async () => (await latest())?.rows > 10_000, { withinMs: 30_000 });
    expect(await latest()).toMatchObject({ state: 'running', phase: 'reading', ended_at: null });

    await system.apiProcess.kill();
    await cut;
    unfinished = false;
    await system.apiProcess.restart();
    await eventually(async () => (await fetch(`${system.baseUrl}/readyz`)).ok, { withinMs: 30_000 });
    const over = await latest();
    expect(over).toMatchObject({ state: 'broken_off', phase: null, reason: null, counts: null, ended_at: over.seen_at });
    expect((await system.ok('GET', `/campaigns/${id}/contacts`)).items).toEqual([]);

    expect(await system.ok('POST', `/campaigns/${id}/imports`, `phone_num\n${number()}\n`)).toMatchObject({ added: 1 });
    expect((await system.ok('GET', `/campaigns/${id}/imports`)).items).toMatchObject([{ state: 'done' }, { state: 'broken_off' }]);
  });
});
