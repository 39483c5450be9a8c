/**
 * API and two workers as processes of their own, on a PostgreSQL and a Temporal that they did not start: calls flow; when
 * the worker that holds the telephony node dies, the other takes node and calls over; when one stops in order, no call
 * notices.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene, storyOf } from '../kit/scene.ts';
import { type Process, startSystem, type System } from '../kit/system.ts';

/** The lease of a dead holder lasts 8 s, and is looked at every 2 s (worker/node.ts). */
const TAKEN_OVER_WITHIN_MS = 10_000;
/** The dead worker's activities are missed by their heartbeat (10 s, workflows/contact/steps.ts) and tried again. */
const ADOPTED_WITHIN_MS = 40_000;

let system: System;
const workers = new Map<string, Process>();
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
  workers.set('worker-1', system.worker);
  workers.set('worker-2', await system.addWorker('worker-2'));
}, 90_000);
afterAll(() => system?.stop());

let next = 22400000;
const number = () => `+47${next++}`;

/** The worker that holds the telephony node, and that has its switch. */
const holder = (other?: string, withinMs = 20_000): Promise<string> =>
  eventually(
    async () => {
      const { rows } = await system.sql.query<{ holder: string }>(
        `SELECT holder FROM node WHERE ready_since IS NOT NULL AND lease_until > now()`,
      );
      if (rows[0]?.holder === other) throw new Error(`the node is held by ${rows[0]?.holder ?? 'nobody'}`);
      return rows[0]?.holder ?? '';
    },
    { withinMs },
  );


/** Starts a worker again, and waits until it works. */
async function bringBack(name: string): Promise<void> {
  await workers.get(name)!.restart();
  await eventually(
    async () => {
      const { rowCount } = await system.sql.query(`SELECT 1 FROM pg_stat_activity WHERE application_name = $1`, [
        `worker ${name}`,
      ]);
      return rowCount;
    },
    { withinMs: 30_000 },
  );
}

type Stage = 'ringing' | 'dialling' | 'talking';

interface Call {
  scene: Scene;
  contact: string;
  agentPhone: string;
}

/** A call of its own campaign and agent that has come as far as this. */
async function callAt(stage: Stage): Promise<Call> {
  const contact = number();
  const scene = await setScene(system, { contacts: [{ phone_num: contact }] });
  const call = { scene, contact, agentPhone: scene.agents[0]!.phone };
  await scene.ready();
  await scene.ringing();
  if (stage === 'ringing') return call;
  await scene.phone(call.agentPhone, 'answer');
  await scene.until('dialling');
  await phoneIs(contact, 'ringing');
  if (stage === 'dialling') return call;
  await scene.phone(contact, 'answer');
  await scene.until('talking');
  return call;
}

/** Brings a call from where it is to its end: everybody answers, the contact hangs up. */
async function bringToEnd({ scene, contact, agentPhone }: Call, from: Stage, withinMs = 25_000): Promise<void> {
  if (from === 'ringing') {
    await scene.phone(agentPhone, 'answer');
    await scene.until('dialling', 0, withinMs);
  }
  if (from !== 'talking') {
    await phoneIs(contact, 'ringing', withinMs);
    await scene.phone(contact, 'answer');
    await scene.until('talking', 0, withinMs);
  }
  await scene.phone(contact, 'hang-up');
  await scene.until('wrap_up', 0, withinMs);
  await scene.agentIs('wrap_up', 0, withinMs);
}

const phoneIs = (phone: string, state: string, withinMs = 15_000) =>
  eventually(
    async () => {
      const answer = await fetch(`${system.simulatorUrl}/phones/${encodeURIComponent(phone)}`);
      const body = (await answer.json()) as { state: string };
      if (body.state !== state) throw new Error(`a phone is ${body.state}, not ${state}`);
      return true;
    },
    { withinMs },
  );

/** By the switch's own record: how often each of the two phones was dialled. */
async function timesDialled({ scene, contact, agentPhone }: Call) {
  const { items } = await system.ok<{ items: { to: string }[] }>('GET', '/simulator/dials?limit=1000');
  expect(await scene.dialled(contact)).toBe(items.filter(({ to }) => to === contact).length);
  return [agentPhone, contact].map((phone) => items.filter(({ to }) => to === phone).length);
}

describe('two workers', () => {
  it('share one node: one of them holds it, and calls flow', async () => {
    const call = await callAt('talking');
    await bringToEnd(call, 'talking');
    await call.scene.story('i q:q a:k c:k');
    expect(workers.has(await holder())).toBe(true);
    const { rows } = await system.sql.query('SELECT 1 FROM node');
    expect(rows).toHaveLength(1);
  });

  it('the holder is killed amid calls: the other takes node and legs over, and every call ends right', async () => {
    const stages: Stage[] = ['ringing', 'dialling', 'talking'];
    const calls = await Promise.all(stages.map(callAt));
    const dead = await holder();
    await workers.get(dead)!.kill();
    const killedAt = performance.now();
    await holder(dead, TAKEN_OVER_WITHIN_MS);
    expect(performance.now() - killedAt).toBeLessThan(TAKEN_OVER_WITHIN_MS);

    await Promise.all(calls.map((call, n) => bringToEnd(call, stages[n]!, ADOPTED_WITHIN_MS)));
    for (const call of calls) {
      await call.scene.story('i q:q a:k c:k');
      expect(await timesDialled(call)).toEqual([1, 1]);
    }
    await bringBack(dead);
  });

  it('calls end while nobody holds the node: the one who takes over hears of it', async () => {
    const [talking, dialling] = await Promise.all([callAt('talking'), callAt('dialling')]);
    const dead = await holder();
    await workers.get(dead)!.kill();
    await talking.scene.phone(talking.contact, 'hang-up');
    await dialling.scene.phone(dialling.contact, 'reject');
    await phoneIs(talking.contact, 'idle');
    await phoneIs(dialling.contact, 'idle');

    await holder(dead, TAKEN_OVER_WITHIN_MS);
    await talking.scene.until('wrap_up', 0, ADOPTED_WITHIN_MS);
    await talking.scene.story('i q:q a:k c:k');
    await dialling.scene.until('waiting', 0, ADOPTED_WITHIN_MS);
    expect(await storyOf(system, dialling.scene.contacts[0]!)).toMatch(/^i q:q a:k(\(\w+\))? c:b(\(\w+\))?$/);
    for (const call of [talking, dialling]) expect(await timesDialled(call)).toEqual([1, 1]);
    await bringBack(dead);
  });

  it.each(['the holder', 'the other'])('%s stops in order: no call is disturbed', async (who) => {
    const stages: Stage[] = ['ringing', 'dialling', 'talking'];
    const calls = await Promise.all(stages.map(callAt));
    const held = await holder();
    const [stopping] = [...workers].find(([name]) => (name === held) === (who === 'the holder'))!;
    await workers.get(stopping)!.stop();
    await Promise.all(calls.map((call, n) => bringToEnd(call, stages[n]!)));
    for (const call of calls) {
      await call.scene.story('i q:q a:k c:k');
      expect(await timesDialled(call)).toEqual([1, 1]);
    }
    expect(await holder()).not.toBe(stopping);
    await bringBack(stopping);
  });
});
