/** Under which rules a call is made, and what an edit does to calls before, under way and after (docs/domain.md). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { endOffer, type Matcher, Queue } from '../kit/queue.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

describe('in the queue', () => {
  let queue: Queue;
  let one: Matcher;
  beforeAll(async () => {
    queue = await Queue.open();
    one = queue.matcher();
  });
  afterAll(() => queue?.close());

  const versions = async (contact: string) =>
    (await queue.rows<{ v: number | null }>(`SELECT rules_version AS v FROM call WHERE contact_id = $1 ORDER BY call_no`, [contact])).map(
      ({ v }) => v,
    );
  const ringsFor = async (agent: number) => {
    const { id } = (await queue.offerOf(agent))!;
    const [row] = await queue.rows<{ sec: string }>(
      `SELECT extract(epoch FROM deadline - created_at) AS sec FROM offer WHERE id = $1`,
      [id],
    );
    return Number(row!.sec);
  };
  async function readyAgent(campaign: number): Promise<number> {
    const agent = await queue.agent({ serves: { [campaign]: 1 } });
    await one.matching.setAgentState(agent, 'ready', 'test');
    return agent;
  }

  it('a call gets its rules with its first offer, and keeps them in the next ones', async () => {
    const campaign = await queue.campaign({ rules: { agent_ring_sec: 30 } });
    const [anna, berit] = await queue.contacts(campaign, [{}, { place: 1 }]);
    await queue.enqueue(one, [anna!, berit!]);
    expect(await versions(anna!)).toEqual([null]);

    const first = await readyAgent(campaign);
    expect([await versions(anna!), await versions(berit!)]).toEqual([[1], [null]]);
    await queue.edit(campaign, { agent_ring_sec: 10 });
    await endOffer(one, (await queue.offerOf(first))!, 'rejects');
    // Who has rejected anna is offered berit, and somebody else anna, as before the edit.
    expect([await ringsFor(first), await versions(berit!)]).toEqual([10, [2]]);
    const second = await readyAgent(campaign);
    expect((await queue.offerOf(second))!.contact_id).toBe(anna);
    expect([await ringsFor(second), await versions(anna!)]).toEqual([30, [1]]);
    expect(queue.complaints).toEqual([]);
  });
});

describe('of whole calls', () => {
  let system: System;
  beforeAll(async () => {
    const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
    system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
  }, 90_000);
  afterAll(() => system?.stop());

  let next = 22800000;
  const LONG = 600;
  const rules = { wrap_up_sec: LONG, retry: { t: { delay_sec: 1 } } };

  const edit = (scene: Scene, changes: object) => system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: changes });
  const calls = async (scene: Scene): Promise<Json[]> => (await scene.contact()).calls;
  const number = () => `+47${next++}`;

  async function ringing(more: object = {}) {
    const phone_num = number();
    const scene = await setScene(system, { contacts: [{ phone_num }], rules: { ...rules, ...more } });
    await scene.ready();
    return { scene, phone_num, ...(await scene.ringing()) };
  }
  async function talks(scene: Scene, phone_num: string): Promise<void> {
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone(phone_num, 'answer');
    await scene.until('talking');
    await scene.phone(phone_num, 'hang-up');
    await scene.agentIs('wrap_up');
  }
  const dispose = (scene: Scene, call: string, action: string) =>
    system.ok('POST', `/calls/${call}/disposition`, { action }, { key: scene.agents[0]!.key });
  const wrapUpSec = async (scene: Scene): Promise<number> => {
    const { since, until } = await scene.agentIs('wrap_up');
    return Math.round((Date.parse(until) - Date.parse(since)) / 1000);
  };

  it('an edit between two calls holds for the second', async () => {
    const { scene, phone_num, call } = await ringing();
    await talks(scene, phone_num);
    await dispose(scene, call, 'mark_as_unanswered');
    await edit(scene, { wrap_up_sec: 77 });
    await scene.ready();
    await eventually(async () => (await scene.ringing()).call !== call);
    await talks(scene, phone_num);
    expect(await wrapUpSec(scene)).toBe(77);
    expect((await calls(scene)).map(({ rules_version }) => rules_version)).toEqual([2, 1]);
  });

  it('an edit during a call leaves it alone to its end: wrap-up, retry and all', async () => {
    const { scene, phone_num, call } = await ringing();
    await edit(scene, { wrap_up_sec: 0, retry: { t: { delay_sec: 3600, max: 0 } } });
    await talks(scene, phone_num);
    expect(await wrapUpSec(scene)).toBe(LONG);
    await dispose(scene, call, 'mark_as_unanswered');
    // By the rules of now it would be done: no retry of `t` is left.
    await eventually(async () => (await calls(scene)).length === 2);
    await scene.ready();
    await scene.ringing();
    expect((await calls(scene)).map(({ rules_version }) => rules_version)).toEqual([2, 1]);
  });

  it('marked as unanswered when the contact has closed, it is retried by the rules of its call', async () => {
    const { scene, phone_num, call } = await ringing();
    await talks(scene, phone_num);
    await scene.ready();
    await scene.until('done');
    await edit(scene, { retry: { t: { max: 0 } } });
    await dispose(scene, call, 'mark_as_unanswered');
    await scene.ringing();
  });

  it('the cap on attempts protects people: lowered while the agent rings, the contact is not dialled', async () => {
    const { scene, phone_num, call } = await ringing();
    await talks(scene, phone_num);
    await dispose(scene, call, 'mark_as_unanswered');
    await scene.ready();
    await eventually(async () => (await scene.ringing()).call !== call);
    await edit(scene, { max_attempts: 1 });
    await scene.phone(scene.agents[0]!.phone, 'answer');
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'attempts_exhausted', attempts: 1 });
    expect(await scene.dialled(phone_num)).toBe(1);
  });

  it('an edit re-opens nobody', async () => {
    const { scene, phone_num, call } = await ringing({ max_attempts: 1 });
    await talks(scene, phone_num);
    await dispose(scene, call, 'mark_as_unanswered');
    await scene.until('done');
    await scene.ready();
    await edit(scene, { max_attempts: 9, retry: { t: { delay_sec: 0 } } });
    await eventually(async () => (await system.ok('GET', `/campaigns/${scene.campaign}`)).settled);
    expect(await scene.contact()).toMatchObject({ state: 'done', ended_reason: 'attempts_exhausted' });
    expect(await scene.dialled(phone_num)).toBe(1);
  });
});
