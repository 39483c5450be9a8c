/**
 * A list that takes its time, beside live calls: loading it, ending it, its coming due in one second, and a worker that dies over
 * it. What is live comes first (activities/campaigns.ts, matching/due.ts).
 */
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

/** Some 10 s of work, on a machine that does nothing else. */
const ROWS = 800;
/** Temporal's number for the tasks of workflows, not of activities. */
const WORKFLOW_TASKS = 1;
/** A worker carries out so many in a second or two. */
const MOST_WAITING = 200;

let system: System;
let connection: Connection;
beforeAll(async () => {
  connection = await Connection.connect({ address: inject('temporalAddress') });
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 90_000);
afterAll(async () => {
  await system?.stop();
  await connection?.close();
});

let next = 22700000;
const number = () => `+47${next++}`;

interface LargeList {
  id: string;
  /** Rows whose workflow has not been started, or not been queued. */
  loading(): Promise<number>;
  /** Rows whose workflow has not ended. */
  open(): Promise<number>;
  end(): Promise<void>;
  /** Waits until no workflow is open any more. */
  hasEnded(): Promise<void>;
}

/** A campaign with nobody to serve it, whose list is being loaded; `waits`: its contacts are to be called tomorrow. */
async function largeList({ many = ROWS, waits = false } = {}): Promise<LargeList> {
  const { id } = await system.ok('POST', '/campaigns', { name: 'Large', country: 'NO', zone: 'Europe/Oslo' });
  const rows = Array.from({ length: many }, number);
  await system.ok('POST', `/campaigns/${id}/imports?mode=add`, ['phone_num', ...rows, ''].join('\n'));
  if (waits) await system.sql.query(`UPDATE contact SET wait_until = now() + interval '1 day' WHERE campaign_id = $1`, [id]);
  await system.ok('POST', `/campaigns/${id}/start`);
  const count = async (which: string) => {
    const { rowCount } = await system.sql.query(`SELECT 1 FROM contact WHERE campaign_id = $1 AND ${which}`, [id]);
    return rowCount ?? 0;
  };
  await eventually(async () => (await count(`state = '${waits ? 'waiting' : 'queued'}'`)) > 0);
  const open = () => count('closed_at IS NULL');
  return {
    id,
    loading: () => count(`state IN ('new', 'starting')`),
    open,
    end: () => system.ok('POST', `/campaigns/${id}/end`),
    hasEnded: async () => void (await eventually(async () => (await open()) === 0, { withinMs: 120_000, everyMs: 250 })),
  };
}

const oneToCall = () => setScene(system, { contacts: [{ phone_num: number() }] });

/** The call of a scene's only agent to its only contact, until the contact's phone rings. */
async function isCalled(s: Scene): Promise<void> {
  const before = await s.dialled();
  await s.ready();
  await s.ringing();
  await s.phone(s.agents[0]!.phone, 'answer');
  await s.until('dialling');
  // The row says so before the phone is called.
  await eventually(async () => (await s.dialled()) > before);
}

async function waitingTasks(): Promise<number> {
  const { stats } = await connection.workflowService.describeTaskQueue({
    namespace: 'default',
    taskQueue: { name: system.taskQueue },
    taskQueueType: WORKFLOW_TASKS,
    reportStats: true,
  });
  return Number(stats?.approximateBacklogCount ?? 0);
}

it('while a large list loads, and while it ends, others are called', async () => {
  const [first, second] = [await oneToCall(), await oneToCall()];
  const list = await largeList();
  await isCalled(first);
  expect(await list.loading()).toBeGreaterThan(0);

  let mostWaiting = 0;
  await eventually(
    async () => {
      mostWaiting = Math.max(mostWaiting, await waitingTasks());
      return (await list.loading()) === 0;
    },
    { withinMs: 120_000, everyMs: 250 },
  );
  expect(mostWaiting).toBeLessThan(MOST_WAITING);

  await list.end();
  await eventually(async () => (await list.open()) < ROWS, { withinMs: 30_000 });
  await isCalled(second);
  expect(await list.open()).toBeGreaterThan(0);
  expect(await waitingTasks()).toBeLessThan(MOST_WAITING);
  await list.hasEnded();
}, 300_000);

it('a worker that dies while a list loads: the stop of another campaign is carried out before the list goes on', async () => {
  const scene = await oneToCall();
  const list = await largeList();
  await isCalled(scene);
  await system.worker.kill();
  await system.ok('POST', `/campaigns/${scene.campaign}/stop`);
  await system.worker.restart();

  await scene.agentIs('ready', 0, 40_000);
  expect(await list.loading()).toBeGreaterThan(0);
  await scene.story('i q:q a:k(campaign_paused) c:h(campaign_paused) q:d(campaign_paused)');
  await list.end();
  await list.hasEnded();
}, 300_000);

it('a list that is due in one second is queued at once, wakes no workflow, and others are called', async () => {
  const many = 600;
  const scene = await oneToCall();
  const list = await largeList({ many, waits: true });
  await eventually(async () => (await list.loading()) === 0, { withinMs: 150_000, everyMs: 250 });
  const second = `date_trunc('second', now()) + interval '2 s'`;
  await system.sql.query(`UPDATE contact SET wait_until = ${second} WHERE campaign_id = $1`, [list.id]);
  let mostWaiting = 0;
  await eventually(
    async () => {
      mostWaiting = Math.max(mostWaiting, await waitingTasks());
      const { rows } = await system.sql.query(`SELECT count(*)::int AS n FROM contact WHERE campaign_id = $1 AND state = 'queued'`, [list.id]);
      return rows[0].n === many;
    },
    { withinMs: 10_000 },
  );
  await isCalled(scene);
  expect(mostWaiting).toBeLessThan(MOST_WAITING);
  const { rows } = await system.sql.query(`SELECT count(*)::int AS calls, count(DISTINCT contact_id)::int AS called FROM call WHERE campaign_id = $1`, [list.id]);
  expect(rows).toEqual([{ calls: many, called: many }]);
  await list.end();
  await list.hasEnded();
}, 300_000);
