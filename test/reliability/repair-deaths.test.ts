/**
 * Processes that die, freeze or end in order, and workflows that are ended by hand, in the middle of a call: what is put right
 * afterwards is on record, exactly that and once; what a process hands over in order is not.
 */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { contactWorkflowId, legId } from '../../domain/ids.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

let system: System;
let connection: Connection;
let from: Date;
let next = 22800100;
const number = () => `+47${next++}`;
/** Closed workflows are looked for every 15 s, and so are legs that no call owns. */
const SELDOM = { withinMs: 60_000 };

beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
  connection = await Connection.connect({ address: inject('temporalAddress') });
}, 90_000);
beforeEach(async () => {
  await nodeIsReady();
  from = new Date();
});
afterAll(async () => {
  await connection?.close();
  await system?.stop();
});

const nodeIsReady = () =>
  eventually(
    async () => (await system.sql.query(`SELECT 1 FROM node WHERE ready_since IS NOT NULL AND lease_until > now()`)).rowCount,
    { withinMs: 40_000 },
  );

/** But for agents, who are not logged on for ever; and, of a worker that is started again, for how long that has taken. */
async function repairs(beside: string[] = []): Promise<string[]> {
  const { items } = await system.ok('GET', `/repairs?from=${from.toISOString()}`);
  const ours = items.filter(({ cause }: Json) => cause !== 'agent_lost' && !beside.includes(cause));
  return ours.map(({ cause, subject }: Json) => `${cause} ${subject.kind}/${subject.id}`).toSorted();
}

const expectRepairs = (expected: string[], beside: string[] = [], patience = SELDOM) =>
  eventually(async () => {
    expect(await repairs(beside)).toEqual(expected.toSorted());
    return true;
  }, patience);

const terminate = (scene: Scene) =>
  new Client({ connection }).workflow.getHandle(contactWorkflowId(scene.contacts[0]!, 1)).terminate('by hand');

/** An agent's phone that rings for an offer: the leg's id. */
async function ringing(): Promise<{ scene: Scene; leg: string; offer: string }> {
  // It rings for longer than anything here takes.
  const scene = await setScene(system, { contacts: [{ phone_num: number() }], rules: { agent_ring_sec: 120 } });
  await scene.ready();
  const { call, offer } = await scene.ringing();
  return { scene, leg: legId(call, 1, 'agent'), offer };
}

/** A contact's phone that rings: its call and offer. */
async function dialling(anna: string, { agents = 1, rules = {} } = {}): Promise<{ scene: Scene; call: string; offer: string }> {
  const scene = await setScene(system, { agents, contacts: [{ phone_num: anna }], rules });
  await scene.ready();
  const { call, offer } = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  await phoneIs(anna, 'ringing');
  return { scene, call, offer };
}

async function talking(anna: string, options: { agents?: number; rules?: object }): Promise<{ scene: Scene; call: string }> {
  const { scene, call } = await dialling(anna, options);
  await scene.phone(anna, 'answer');
  await scene.until('talking');
  return { scene, call };
}

/** At the switch itself. */
const phoneIs = (phone: string, state: 'ringing' | 'idle') =>
  eventually(async () => {
    const answer = await fetch(`${system.simulatorUrl}/phones/${encodeURIComponent(phone)}`);
    return ((await answer.json()) as Json).state === state;
  }, SELDOM);

/** Nothing of this scene is up any more: what dies next would be on record for it too. */
async function clear({ agents }: Scene): Promise<void> {
  for (const { id, phone, key } of agents) {
    await system.api('PUT', `/agents/${id}/state`, { state: 'logged_off' }, { key });
    await system.api('POST', `/simulator/phones/${phone}/hang-up`);
  }
  await eventually(async () => (await system.sql.query(`SELECT 1 FROM leg WHERE ended_at IS NULL`)).rowCount === 0, { withinMs: 60_000 });
}

describe('a worker', () => {
  it('that ends in order while a phone rings, and is started anew: no repair', async () => {
    const { scene, leg } = await ringing();
    await system.worker.stop();
    await system.worker.restart();
    await nodeIsReady();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling', 0, 40_000);
    await clear(scene);
    await expectRepairs([]);
    expect(await system.sql.query(`SELECT 1 FROM leg WHERE id = $1`, [leg])).toMatchObject({ rowCount: 1 });
  }, 150_000);

  it('that dies while a phone rings: leg_adopted', async () => {
    const { scene, leg } = await ringing();
    await system.worker.kill();
    await system.worker.restart();
    await expectRepairs([`leg_adopted leg/${leg}`], ['node_lapsed']);
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling', 0, 40_000);
    await clear(scene);
    await expectRepairs([`leg_adopted leg/${leg}`], ['node_lapsed']);
  }, 150_000);
});

describe('a switch', () => {
  it('that stays away while a phone rings: switch_lost', async () => {
    const { leg, scene } = await ringing();
    await system.simulator.kill();
    await expectRepairs([`switch_lost leg/${leg}`]);
    await scene.agentIs('ready');
    await system.simulator.restart();
    await clear(scene);
  }, 150_000);

  it('that is away when its worker comes back: likewise, and the call is back at its place', async () => {
    const { leg, scene } = await ringing();
    scene.staysOn();
    await system.simulator.kill();
    await system.worker.kill();
    await system.worker.restart();
    await expectRepairs([`switch_lost leg/${leg}`], ['node_lapsed', 'leg_adopted']);
    await scene.agentIs('ready');
    await scene.story('i q:q a:e(switch_lost)');
    await scene.until('queued');
    await system.simulator.restart();
    await clear(scene);
  }, 150_000);

  it('that is started anew while a phone rings: likewise', async () => {
    const { leg, scene } = await ringing();
    await system.simulator.kill();
    await system.simulator.restart();
    await expectRepairs([`switch_lost leg/${leg}`]);
    await scene.agentIs('ready');
    await clear(scene);
  }, 150_000);

  it('that is started anew while its worker is dead: leg_unknown', async () => {
    const { leg, scene } = await ringing();
    await system.worker.kill();
    await system.simulator.kill();
    await system.simulator.restart();
    await system.worker.restart();
    // Who took the ringing phone over may have been told, before it was found that the switch does not know it.
    await expectRepairs([`leg_unknown leg/${leg}`], ['node_lapsed', 'leg_adopted']);
    await scene.agentIs('ready');
    await clear(scene);
  }, 150_000);
});

describe('a workflow that is ended by hand', () => {
  it('while the contact is queued, and is offered then: workflow_closed', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.until('queued');
    await terminate(scene);
    await scene.ready();
    await expectRepairs([`workflow_closed contact/${scene.contacts[0]}`]);
    await clear(scene);
  });

  it('while the contact waits: workflow_closed; it is disabled, and enabled again it is called', async () => {
    const anna = number();
    const { scene } = await dialling(anna);
    scene.staysOn();
    await scene.phone(anna, 'reject');
    await scene.until('waiting');
    await terminate(scene);
    await expectRepairs([`workflow_closed contact/${scene.contacts[0]}`]);
    expect(await scene.until('disabled')).toMatchObject({ ended_reason: 'disabled', ended_by: 'system' });
    await system.ok('POST', `/contacts/${scene.contacts[0]}/enable`);
    await scene.ringing();
    await clear(scene);
  }, 150_000);

  it('while the phone rings: workflow_closed, and the phone that nobody owns any more: leg_unowned', async () => {
    const { scene, leg } = await ringing();
    scene.staysOn();
    const dialledBefore = await scene.dialled();
    await terminate(scene);
    await expectRepairs([`leg_unowned leg/${leg}`, `workflow_closed contact/${scene.contacts[0]}`], [], { withinMs: 90_000 });
    await scene.until('disabled');
    await scene.agentIs('ready');
    await phoneIs(scene.agents[0]!.phone, 'idle');
    expect(await scene.dialled()).toBe(dialledBefore);
    await clear(scene);
  }, 150_000);

  it('while they talk: workflow_closed; the talk goes on, and what the agent registers counts', async () => {
    const anna = number();
    const { scene, call } = await talking(anna, { rules: { wrap_up_sec: 3 } });
    scene.staysOn();
    await terminate(scene);
    await scene.phone(anna, 'hang-up');
    await scene.agentIs('wrap_up');
    await system.ok('POST', `/calls/${call}/disposition`, { action: 'done', topics: [] }, { key: scene.agents[0]!.key });
    await expectRepairs([`workflow_closed contact/${scene.contacts[0]}`]);
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'answered' });
    await scene.agentIs('ready');
    await clear(scene);
  }, 150_000);

  it('while the contact waits on the line for another agent: contact_stranded too', async () => {
    const anna = number();
    const { scene, call } = await talking(anna, { agents: 2, rules: { wrap_up_sec: 0 } });
    scene.staysOn();
    const other = scene.agents[1]!;
    await system.ok('PUT', `/agents/${other.id}/state`, { state: 'paused' }, { key: other.key });
    const transfer = { mode: 'blind', to: { campaign_id: scene.campaign } };
    await eventually(async () => {
      return (await system.api('POST', `/calls/${call}/transfer`, transfer, { key: scene.agents[0]!.key })).status === 200;
    });
    await terminate(scene);
    const contactLeg = legId(call, 1, 'contact');
    const made = [`contact_stranded call/${call}`, `leg_unowned leg/${contactLeg}`, `workflow_closed contact/${scene.contacts[0]}`];
    await expectRepairs(made, [], { withinMs: 90_000 });
    expect(await scene.until('done')).toMatchObject({ ended_reason: 'answered' });
    await phoneIs(anna, 'idle');
    await scene.agentIs('ready');
    await clear(scene);
  }, 150_000);
});

describe('an agent', () => {
  it('who goes without a word while the phone rings: agent_lost', async () => {
    const { scene } = await ringing();
    const { id } = scene.agents[0]!;
    await scene.agentIs('logged_off', 0, 45_000);
    const { items } = await system.ok('GET', `/repairs?cause=agent_lost&from=${from.toISOString()}`);
    expect(items.filter(({ subject }: Json) => subject.id === id)).toMatchObject([{ cause: 'agent_lost', worker: 'worker-1' }]);
  }, 60_000);
});

// The last: its worker does not come back.
describe('a node', () => {
  it('whose worker does not come back: node_lost, by whoever sweeps; nobody is called again', async () => {
    const { offer, scene } = await ringing();
    const anna = number();
    const called = await dialling(anna);
    for (const { staysOn } of [scene, called.scene]) staysOn();
    const elsewhere = { TELEPHONY_NODE: `${system.taskQueue}-elsewhere`, SIMULATOR_URL: 'http://127.0.0.1:9' };
    await system.addWorker('worker-2', elsewhere);
    await system.worker.kill();
    const lost = [offer, called.offer].toSorted();
    await expectRepairs(lost.map((id) => `node_lost offer/${id}`), [], { withinMs: 70_000 });
    const { items } = await system.ok('GET', `/repairs?cause=node_lost`);
    expect(items.map(({ worker }: Json) => worker)).toEqual(['worker-2', 'worker-2']);
    expect(await called.scene.until('waiting')).toMatchObject({ wait_reason: 'retry_delay', attempts: 1 });
    await called.scene.story('i q:q a:k(switch_lost) c:e(switch_lost)');
    expect(await called.scene.dialled(anna)).toBe(1);
    const kinds = async () => (await system.ok('GET', '/problems')).items.map(({ kind }: Json) => kind);
    await eventually(async () => (await kinds()).includes('node_away'));
  }, 120_000);
});
