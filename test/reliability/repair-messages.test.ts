/**
 * Messages that are lost for real: the way of one process to Temporal is cut while it has something to tell. Another one finds
 * that nobody has told it, tells it, and says so: exactly one repair, with its cause.
 */
import { Client, Connection } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { createWorkflows, type Workflows } from '../../workflows/client.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, type SceneOptions, setScene } from '../kit/scene.ts';
import { type Json, type Process, startSystem, type System } from '../kit/system.ts';
import { Wire } from '../kit/wire.ts';

let system: System;
/** The ways to Temporal of the API and of the worker that calls. */
let api: Wire;
let worker: Wire;
let temporal: Connection;
let workflows: Workflows;
/** It sweeps too, and has no switch. */
let sweeper: Process;
const BUSY = '+4722500001';
let next = 22700100;
const number = () => `+47${next++}`;
/** The sweep looks every 15 s for what is told seldom, and gives others 10 s. */
const SELDOM = { withinMs: 40_000 };

beforeAll(async () => {
  const temporalUrl = `http://${inject('temporalAddress')}`;
  [api, worker] = [await Wire.to(temporalUrl), await Wire.to(temporalUrl)];
  const address = (wire: Wire) => ({ TEMPORAL_ADDRESS: wire.address });
  const phone = (then: unknown) => ({ trying: 0, alerting: 0.05, media: 0, then });
  const numbers = { [BUSY]: phone({ kind: 'fails', after: 0, sip: 486 }) };
  const script = { contacts: [{ weight: 1, behaviour: phone({ kind: 'manual' }) }], numbers };
  system = await startSystem({ speed: 1, script, apiSettings: address(api), workerSettings: address(worker) });
  temporal = await Connection.connect({ address: inject('temporalAddress') });
  workflows = createWorkflows(new Client({ connection: temporal }), system.taskQueue);
  // Of a switch that is not there: no offer goes to it.
  const elsewhere = { TELEPHONY_NODE: `${system.taskQueue}-elsewhere`, SIMULATOR_URL: 'http://127.0.0.1:9' };
  sweeper = await system.addWorker('worker-2', elsewhere);
  await eventually(async () => (await system.sql.query(`SELECT 1 FROM node`)).rowCount === 2, { withinMs: 30_000 });
}, 120_000);
const scenes: Scene[] = [];
const stage = async (options: SceneOptions): Promise<Scene> => {
  const scene = await setScene(system, options);
  scenes.push(scene);
  return scene;
};
/** Both ways are there again, and nobody of the test before is called any more. */
afterEach(async () => {
  for (const way of [api, worker]) way?.mend();
  await eventually(async () => ((await (await fetch(`${system.baseUrl}/readyz`)).json()) as Json).temporal.ok, { withinMs: 60_000 });
  for (const scene of scenes.splice(0)) {
    const { id, key } = scene.agents[0]!;
    await system.ok('PUT', `/agents/${id}/state`, { state: 'logged_off' }, { key });
    await scene.agentIs('logged_off', 0, 60_000);
  }
  // Who starts a contact has taken up its work again.
  const next = await setScene(system, { contacts: [{ phone_num: number() }] });
  await next.until('queued', 0, 60_000);
}, 150_000);
afterAll(async () => {
  await system?.stop();
  await api?.close();
  await worker?.close();
  await temporal?.close();
});

/** Since then; but for agents of other tests, who are not logged on for ever. */
async function repairsSince(from: Date): Promise<Json[]> {
  const { items } = await system.ok('GET', `/repairs?from=${from.toISOString()}`);
  return items.filter(({ cause }: Json) => cause !== 'agent_lost').reverse();
}
const words = ({ cause, subject }: Json): string => `${cause} ${subject.kind}/${subject.id}`;

const startedAt = new Date();
/** Of all tests so far. */
const expectedAtAll: string[] = [];

/** Exactly these have been made since then. That none follows is looked at when all tests are through. */
const expectRepairs = (from: Date, expected: string[], patience = { withinMs: 20_000 }) => {
  expectedAtAll.push(...expected);
  return eventually(async () => {
    const made = (await repairsSince(from)).map(words);
    expect(made.toSorted()).toEqual(expected.toSorted());
    return true;
  }, patience);
};

/** What is asked for is done, though the answer may take long or be that nobody knows. */
const ask = (method: string, path: string, body?: unknown, key?: string): void =>
  void system.api(method, path, body, key ? { key } : {}).catch(() => undefined);

const now = () => new Date();
const offerOf = (scene: Scene) =>
  eventually(async () => {
    const { rows } = await system.sql.query<{ id: string }>(
      `SELECT id FROM offer WHERE agent_id = $1 AND ended_at IS NULL`,
      [scene.agents[0]!.id],
    );
    return rows[0]?.id;
  });

/** A talk between the scene's agent and its contact. */
async function talk(scene: Scene, contact: string): Promise<string> {
  await scene.ready();
  const { call } = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  await scene.phone(contact, 'answer');
  await scene.until('talking');
  return call;
}

describe('what the API could not tell', () => {
  it('an offer: offer_not_told', async () => {
    const scene = await stage({ contacts: [{ phone_num: number() }] });
    await scene.until('queued');
    const from = now();
    api.cut();
    const { id, key } = scene.agents[0]!;
    ask('PUT', `/agents/${id}/state`, { state: 'ready' }, key);
    await expectRepairs(from, [`offer_not_told offer/${await offerOf(scene)}`]);
    await scene.ringing();
    const [made] = await repairsSince(from);
    expect(made).toMatchObject({ found: expect.stringContaining('3 s later') as string, done: 'it was told' });
    expect(['worker-1', 'worker-2']).toContain(made.worker);
  }, 120_000);

  it('that an agent leaves: leaving_not_told', async () => {
    const scene = await stage({ contacts: [{ phone_num: number() }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    const from = now();
    api.cut();
    const { id, key } = scene.agents[0]!;
    ask('PUT', `/agents/${id}/state`, { state: 'logged_off' }, key);
    await expectRepairs(from, [`leaving_not_told offer/${offer}`]);
    await scene.agentIs('logged_off');
  }, 120_000);

  it('that a contact is to be called now: it is all the same, since its row is what waits', async () => {
    const scene = await stage({ contacts: [{ phone_num: BUSY }] });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('waiting');
    const from = now();
    api.cut();
    ask('POST', `/contacts/${scene.contacts[0]}/call-now`);
    await eventually(async () => {
      const { rowCount } = await system.sql.query(`SELECT 1 FROM contact WHERE id = $1 AND state <> 'waiting'`, [scene.contacts[0]]);
      return rowCount;
    });
    await expectRepairs(from, []);
    api.mend();
  }, 120_000);

  it('that a contact who has talked is not called back after all: contact_overdue', async () => {
    const anna = number();
    const scene = await stage({ contacts: [{ phone_num: anna }] });
    const call = await talk(scene, anna);
    await scene.phone(anna, 'hang-up');
    await scene.until('wrap_up');
    const reschedule = { at: new Date(Date.now() + 3_600_000).toISOString() };
    await system.ok('POST', `/calls/${call}/disposition`, { action: 'reschedule', reschedule }, { key: scene.agents[0]!.key });
    await scene.until('waiting');
    const from = now();
    api.cut();
    ask('DELETE', `/contacts/${scene.contacts[0]}/reschedule`);
    await expectRepairs(from, [`contact_overdue contact/${scene.contacts[0]}`], SELDOM);
    api.mend();
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'answered' });
  }, 120_000);

  it('that a campaign is paused: campaign_unattended', async () => {
    const scene = await stage({ contacts: [{ phone_num: number() }] });
    await scene.until('queued');
    // Whoever is at work on the start would carry the pause out, too.
    await eventually(async () => (await workflows.standing({ campaignId: scene.campaign })) === 'waits');
    const from = now();
    api.cut();
    ask('POST', `/campaigns/${scene.campaign}/pause`);
    await expectRepairs(from, [`campaign_unattended campaign/${scene.campaign}`], SELDOM);
    api.mend();
    expect(await scene.until('waiting')).toMatchObject({ wait_reason: 'campaign_not_running' });
  }, 120_000);

  it('that a number was listed: listed_not_told', async () => {
    const anna = number();
    const scene = await stage({ contacts: [{ phone_num: anna }] });
    await scene.ready();
    const { offer } = await scene.ringing();
    const from = now();
    api.cut();
    ask('PUT', `/do-not-call/${encodeURIComponent(anna)}`, { comment: 'asked for it' });
    await expectRepairs(from, [`listed_not_told offer/${offer}`]);
    api.mend();
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'do_not_call' });
  }, 120_000);
});

describe('while no worker is there', () => {
  it('an emergency stop, an agent in wrap-up, and the node: each on record once', async () => {
    const anna = number();
    const scene = await stage({ contacts: [{ phone_num: anna }], rules: { wrap_up_sec: 6 } });
    await talk(scene, anna);
    await scene.phone(anna, 'hang-up');
    await scene.agentIs('wrap_up');
    const told = `SELECT 1 FROM leg WHERE contact_id = $1 AND ciq = 'c' AND delivered_at IS NOT NULL`;
    await eventually(async () => (await system.sql.query(told, scene.contacts)).rowCount);
    const from = now();
    for (const process of [system.worker, sweeper]) process.signal('SIGSTOP');
    await system.ok('POST', `/campaigns/${scene.campaign}/stop`);
    // The agent should have been free for more than 10 s.
    await eventually(() => Date.now() - from.getTime() > 18_000, { withinMs: 20_000, everyMs: 500 });
    for (const process of [system.worker, sweeper]) process.signal('SIGCONT');
    const { rows } = await system.sql.query<{ name: string }>(`SELECT name FROM node WHERE holder = 'worker-1'`);
    await expectRepairs(from, [
      `agent_held agent/${scene.agents[0]!.id}`,
      `node_lapsed node/${rows[0]!.name}`,
      `stop_unattended campaign/${scene.campaign}`,
    ]);
  }, 120_000);
});

describe('what the worker could not do', () => {
  it('tell the end of a talk: talk_end_not_told', async () => {
    const anna = number();
    const scene = await stage({ contacts: [{ phone_num: anna }], rules: { wrap_up_sec: 2 } });
    const call = await talk(scene, anna);
    const from = now();
    worker.cut();
    await scene.phone(anna, 'hang-up');
    await expectRepairs(from, [`talk_end_not_told call/${call}`]);
    expect((await repairsSince(from))[0].worker).toBe('worker-2');
    worker.mend();
    await scene.until('done', 0, 40_000);
  }, 120_000);

  it('ring: offer_not_rung', async () => {
    const scene = await stage({ contacts: [{ phone_num: number() }], rules: { agent_ring_sec: 5 } });
    await scene.until('queued');
    const from = now();
    worker.cut();
    await scene.ready();
    await expectRepairs(from, [`offer_not_rung offer/${await offerOf(scene)}`], { withinMs: 30_000 });
    worker.mend();
    await scene.until('queued');
  }, 120_000);
});

it('no repair was made twice, and none besides', async () => {
  expect((await repairsSince(startedAt)).map(words).toSorted()).toEqual(expectedAtAll.toSorted());
});
