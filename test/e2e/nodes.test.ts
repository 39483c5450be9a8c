/**
 * Two workers with a switch each, as docker-compose.yml has them: both take calls, both carry out workflows, and when one
 * of them dies, what comes goes to the other. (Two workers that stand in for each other: processes.test.ts.)
 */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Process, ownNode, startSystem, type System } from '../kit/system.ts';

/** The legs of a node that nobody holds are ended after 30 s (activities/legs.ts); its lease had 8 s to run. */
const GIVEN_UP_WITHIN_MS = 45_000;
const SECOND = ownNode('second');
/** From the death of a switch until its agents are free (docs/architecture.md, "When something dies"). */
const FREE_WITHIN_MS = 10_000;
/** Phones that ring until somebody picks them up. */
const RING_ON = ['+4722600001', '+4722600002'];

let system: System;
let secondSwitch: string;
let secondWorker: Process;
beforeAll(async () => {
  const answers = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'answers', after: 0.1, talks: null } };
  const ringsOn = { ...answers, then: { kind: 'manual' } };
  const numbers = Object.fromEntries(RING_ON.map((number) => [number, ringsOn]));
  const script = { numbers, agents: answers, contacts: [{ weight: 1, behaviour: answers }] };
  system = await startSystem({ speed: 1, script });
  secondSwitch = await system.addSimulator();
  secondWorker = await system.addWorker('worker-2', { TELEPHONY_NODE: SECOND, SIMULATOR_URL: secondSwitch });
  await nodesReady(2);
}, 90_000);
afterAll(() => system?.stop());

const nodesReady = (count: number, withinMs = 30_000) =>
  eventually(
    async () => {
      const { rowCount } = await system.sql.query(
        `SELECT 1 FROM node WHERE ready_since IS NOT NULL AND lease_until > now()`,
      );
      if (rowCount !== count) throw new Error(`${rowCount} nodes are ready, not ${count}`);
      return true;
    },
    { withinMs },
  );

let next = 22500000;

/** A campaign with as many agents as contacts. */
const sceneOf = (count: number): Promise<Scene> =>
  setScene(system, { agents: count, contacts: Array.from({ length: count }, () => ({ phone_num: `+47${next++}` })) });

/** The node of each contact's leg of a scene, in the order of the list. */
async function nodesOf({ contacts }: Scene): Promise<string[]> {
  const { rows } = await system.sql.query<{ node: string }>(
    `SELECT node FROM leg WHERE ciq = 'c' AND contact_id = ANY($1) ORDER BY contact_id`,
    [contacts],
  );
  return rows.map(({ node }) => node);
}

/** What a switch says itself that it dialled to contacts. */
async function dialledBy(url: string): Promise<string[]> {
  const { dials } = (await (await fetch(`${url}/dials?limit=1000`)).json()) as { dials: { party: string; to: string }[] };
  return dials.filter(({ party }) => party === 'contact').map(({ to }) => to);
}

describe('two workers with a switch each', () => {
  it('take calls at the same time, each through its own switch', async () => {
    const scene = await sceneOf(2);
    await scene.ready(0);
    const first = await scene.until('talking', 0);
    await scene.ready(1);
    const second = await scene.until('talking', 1);

    expect(new Set(await nodesOf(scene)).size).toBe(2);
    const dialled = [await dialledBy(system.simulatorUrl), await dialledBy(secondSwitch)];
    expect(dialled.map((numbers) => numbers.length)).toEqual([1, 1]);
    expect(dialled.flat().toSorted()).toEqual([first.phone_num, second.phone_num].toSorted());

    for (const agent of [0, 1]) {
      const call = (await scene.contact(agent)).call_id;
      await system.ok('POST', `/calls/${call}/hang-up`, undefined);
      await scene.until('wrap_up', agent);
      await scene.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up)', agent);
    }
  });

  it('a switch dies: its calls end and their agents are free, the other goes on and takes what comes', async () => {
    // Two talks and two contacts whose phones ring, one of each at either switch.
    const numbers = [`+47${next++}`, `+47${next++}`, ...RING_ON];
    const calls = await setScene(system, { agents: 4, contacts: numbers.map((phone_num) => ({ phone_num })) });
    for (const [agent, state] of ['talking', 'talking', 'dialling', 'dialling'].entries()) {
      await calls.ready(agent);
      await calls.until(state, agent);
    }
    await eventually(async () => {
      const { rowCount } = await system.sql.query(
        `SELECT 1 FROM leg WHERE destination = ANY($1) AND alerting_at IS NOT NULL`,
        [RING_ON],
      );
      return rowCount === RING_ON.length;
    });
    const nodes = await nodesOf(calls);
    expect(nodes.map((node) => node === SECOND)).toEqual([true, false, true, false]);

    await system.simulator.kill();
    const killedAt = performance.now();
    const left = () => FREE_WITHIN_MS - (performance.now() - killedAt);
    await calls.agentIs('wrap_up', 1, left());
    await calls.agentIs('ready', 3, left());
    await calls.story('i q:q a:k(switch_lost) c:k(switch_lost)', 1);
    await calls.story('i q:q a:k(switch_lost) c:e(switch_lost)', 3);

    const scene = await sceneOf(4);
    for (const agent of scene.agents.keys()) {
      await scene.ready(agent);
      await scene.until('talking', agent);
    }
    expect(new Set(await nodesOf(scene))).toEqual(new Set([SECOND]));
    // What was up at the other switch is up still: the talk, and the phone that rings and can be picked up.
    expect((await fetch(`${secondSwitch}/phones/${encodeURIComponent(RING_ON[0]!)}/answer`, { method: 'POST' })).ok).toBe(true);
    await calls.until('talking', 2);
    expect((await calls.contact(0)).state).toBe('talking');
    await calls.story('i q:q', 0);
    for (const { id } of (await system.sql.query(`SELECT call_id AS id FROM contact WHERE state = 'talking'`)).rows) {
      await system.ok('POST', `/calls/${id}/hang-up`, undefined);
    }
    await calls.story('i q:q a:k(agent_hang_up) c:k(agent_hang_up)', 0);

    await system.simulator.restart();
    await nodesReady(2);
  }, 60_000);

  it('carry out workflows both', async () => {
    const connection = await Connection.connect({ address: inject('temporalAddress') });
    const client = new Client({ connection });
    const { contacts } = await sceneOf(20);
    const pids = [system.worker.pid, secondWorker.pid];
    await eventually(async () => {
      const histories = contacts.map((id) => client.workflow.getHandle(`contact/${id}/1`).fetchHistory());
      const events = (await Promise.all(histories)).flatMap(({ events }) => events ?? []);
      const workers = new Set(events.map((event) => event.workflowTaskCompletedEventAttributes?.identity?.split('@')[0]));
      if (!pids.every((pid) => workers.has(String(pid)))) throw new Error(`carried out by ${[...workers].join(', ')}`);
      return true;
    });
    await connection.close();
  });

  it('one dies: what comes goes to the other, which ends what nobody can end', async () => {
    const talks = await sceneOf(2);
    await talks.ready(0);
    await talks.until('talking', 0);
    await talks.ready(1);
    await talks.until('talking', 1);
    const lost = (await nodesOf(talks)).indexOf(SECOND);

    await secondWorker.kill();
    await nodesReady(1);
    const scene = await sceneOf(1);
    await scene.ready();
    await scene.until('talking');
    expect(await nodesOf(scene)).not.toContain(SECOND);

    await talks.until('wrap_up', lost, GIVEN_UP_WITHIN_MS);
    await talks.story('i q:q a:k(switch_lost) c:k(switch_lost)', lost);
    expect((await talks.contact(1 - lost)).state).toBe('talking');

    await secondWorker.restart();
    await nodesReady(2);
    await eventually(async () => {
      const { legs } = (await (await fetch(`${secondSwitch}/legs`)).json()) as { legs: unknown[] };
      if (legs.length > 0) throw new Error(`${legs.length} legs live on at the second switch`);
      return true;
    });
  }, 120_000);
});
