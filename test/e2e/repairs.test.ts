/** What is left behind by hands and by machines that do not come back: nobody gets stuck (docs/architecture.md). */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { contactWorkflowId } from '../../domain/ids.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, type SceneOptions, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

let system: System;
let connection: Connection;
const BUSY = '+4722500001';
let next = 22500100;
const number = () => `+47${next++}`;
/** The sweep looks for closed workflows every 15 s and more; some take it two looks. */
const REPAIR_MS = 80_000;

beforeAll(async () => {
  const phone = (then: unknown) => ({ trying: 0, alerting: 0.05, media: 0, then });
  const numbers = { [BUSY]: phone({ kind: 'fails', after: 0, sip: 486 }) };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: phone({ kind: 'manual' }) }], numbers } });
  connection = await Connection.connect({ address: inject('temporalAddress') });
}, 90_000);
afterAll(async () => {
  await connection?.close();
  await system?.stop();
});

const terminate = (scene: Scene, index = 0) =>
  new Client({ connection }).workflow.getHandle(contactWorkflowId(scene.contacts[index]!, 1)).terminate('by hand');

const phoneIsIdle = (phone: string, withinMs = REPAIR_MS) =>
  eventually(
    async () => {
      const answer = await fetch(`${system.simulatorUrl}/phones/${encodeURIComponent(phone)}`);
      return ((await answer.json()) as { state: string }).state === 'idle';
    },
    { withinMs },
  );

async function repairsOf(scene: Scene): Promise<string[]> {
  const { rows } = await system.sql.query<{ subject: string }>(`SELECT subject FROM repair WHERE cause = 'workflow_closed'`);
  return rows.map(({ subject }) => subject).filter((subject) => subject.startsWith(`contact/${scene.contacts[0]}/`));
}

/** Its agents stay logged on, however long a repair takes. */
async function sceneThatStays(options: SceneOptions): Promise<Scene> {
  const scene = await setScene(system, options);
  scene.staysOn();
  return scene;
}

describe.concurrent('a workflow that is terminated by hand', { timeout: 150_000 }, () => {
  it('while the contact waits: the contact is disabled, and enabled again it is called', async () => {
    const scene = await sceneThatStays({ contacts: [{ phone_num: BUSY }] });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('waiting');
    await terminate(scene);

    expect(await scene.until('disabled', 0, REPAIR_MS)).toMatchObject({ ended_reason: 'disabled', ended_by: 'system' });
    expect(await repairsOf(scene)).toHaveLength(1);
    await system.ok('POST', `/contacts/${scene.contacts[0]}/enable`);
    await scene.ringing();
  });

  it("while the agent's phone rings: the agent is free, the phone falls silent, nobody is dialled", async () => {
    const anna = number();
    const scene = await sceneThatStays({ contacts: [{ phone_num: anna }] });
    await scene.ready();
    await scene.ringing();
    await terminate(scene);

    await scene.until('disabled', 0, REPAIR_MS);
    await scene.agentIs('ready');
    await phoneIsIdle(scene.agents[0]!.phone);
    expect(await scene.dialled(anna)).toBe(0);
  });

  it('while they talk: the talk goes on, and what the agent registers counts', async () => {
    const anna = number();
    const scene = await sceneThatStays({ contacts: [{ phone_num: anna }], rules: { wrap_up_sec: 3 } });
    await scene.ready();
    const { call } = await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone(anna, 'answer');
    await scene.until('talking');
    await terminate(scene);
    await scene.phone(anna, 'hang-up');
    await scene.agentIs('wrap_up');
    await system.ok('POST', `/calls/${call}/disposition`, { action: 'done', topics: [] }, { key: scene.agents[0]!.key });

    expect(await scene.until('done', 0, REPAIR_MS)).toMatchObject({ ended_reason: 'answered' });
    await scene.agentIs('ready');
  });

  it('while the contact waits on the line for another agent: it is hung up, as nobody would come any more', async () => {
    const anna = number();
    const scene = await sceneThatStays({ agents: 2, contacts: [{ phone_num: anna }], rules: { wrap_up_sec: 0 } });
    await scene.ready();
    const { call } = await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone(anna, 'answer');
    await scene.until('talking');
    const other = scene.agents[1]!;
    await system.ok('PUT', `/agents/${other.id}/state`, { state: 'paused' }, { key: other.key });
    const transfer = { mode: 'blind', to: { campaign_id: scene.campaign } };
    await eventually(async () => (await system.api('POST', `/calls/${call}/transfer`, transfer, { key: scene.agents[0]!.key })).status === 200);
    await phoneIsIdle(scene.agents[0]!.phone);
    await terminate(scene);

    expect(await scene.until('done', 0, REPAIR_MS)).toMatchObject({ ended_reason: 'answered' });
    await phoneIsIdle(anna);
    await scene.agentIs('ready');
  });
});

describe('a switch that is away when its worker comes back', () => {
  it('has lost its legs after some seconds: the agent is free, the call back at its place', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    await scene.ringing();
    await system.simulator.kill();
    await system.worker.kill();
    await system.worker.restart();

    await scene.agentIs('ready', 0, 28_000);
    await scene.story('i q:q a:e(switch_lost)');
    await scene.until('queued');
    await system.simulator.restart();
    await scene.ready();
    // Offered anew once the minute is over that a turned-down call waits; another agent would have it at once.
    await eventually(async () => (await system.sql.query(`SELECT 1 FROM node WHERE ready_since IS NOT NULL`)).rowCount, {
      withinMs: 20_000,
    });
  }, 90_000);
});

// The last: its node does not come back.
describe('a node whose worker does not come back', () => {
  it('is given up after half a minute: legs end, the agent is free, the contact waits for its retry', async () => {
    const anna = number();
    const scene = await setScene(system, { contacts: [{ phone_num: anna }] });
    await scene.ready();
    await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await eventually(async () => {
      const { rowCount } = await system.sql.query(`SELECT 1 FROM leg WHERE destination = $1 AND alerting_at IS NOT NULL`, [anna]);
      return rowCount;
    });
    // It carries workflows and sweeps; its own switch is another one.
    const elsewhere = { TELEPHONY_NODE: `elsewhere-${scene.campaign}`, SIMULATOR_URL: await system.addSimulator() };
    await system.addWorker('worker-2', elsewhere);
    await system.worker.kill();

    expect(await scene.until('waiting', 0, 90_000)).toMatchObject({ wait_reason: 'retry_delay', attempts: 1 });
    await scene.story('i q:q a:k(switch_lost) c:e(switch_lost)');
    expect(await scene.dialled(anna)).toBe(1);
  }, 120_000);
});
