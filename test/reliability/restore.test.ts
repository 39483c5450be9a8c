/**
 * After a restore: PostgreSQL an hour older than Temporal, the other way round, Temporal lost, and both restored. By the
 * switch's own record nobody is dialled again for what was dialled; what is different is listed; nobody is stuck after it.
 */
import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type OwnServers, startOwnServers } from '../kit/own-servers.ts';
import { type Scene, setScene, storyOf } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, '../..');

let servers: OwnServers;
let system: System;
let taken = 22800000;
const number = () => `+47${taken++}`;
const phone = (then: unknown) => ({ trying: 0, alerting: 0.05, media: 0, then });
/** Answers after a moment, and hangs up after another. */
const TALKS = phone({ kind: 'answers', after: 0.1, talks: 0.3 });
const BUSY = phone({ kind: 'fails', after: 0, sip: 486 });
const MANUAL = phone({ kind: 'manual' });

/** What each phone of a contact does, by number. */
const phones: Record<string, unknown> = {};
const phoneThat = (does: unknown): string => {
  const made = number();
  phones[made] = does;
  return made;
};
const people = {
  ...{ talks: phoneThat(TALKS), talks2: phoneThat(TALKS), talks3: phoneThat(TALKS), talks4: phoneThat(TALKS) },
  ...{ busy: phoneThat(BUSY), manual: phoneThat(MANUAL), manual2: phoneThat(MANUAL) },
  // Hangs up while nobody is there to hear of it.
  talksOn: phoneThat(phone({ kind: 'answers', after: 0.1, talks: 10 })),
};

beforeEach(async () => {
  servers = await startOwnServers();
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: MANUAL }], numbers: phones }, servers });
}, 120_000);
afterEach(async () => {
  await system?.stop();
  await servers?.release();
}, 60_000);

const oneContact = (phone_num: string, more: object = {}) => setScene(system, { contacts: [{ phone_num }], rules: { wrap_up_sec: 0 }, ...more });

/** Its agent answers, so the contact is dialled. */
async function call(scene: Scene): Promise<void> {
  await scene.ready();
  await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
}

const isUp = () =>
  eventually(
    async () => {
      const ready = (await (await fetch(`${system.baseUrl}/readyz`)).json()) as Json;
      if (!ready.ready || !ready.telephony.ok) throw new Error(JSON.stringify(ready));
      return true;
    },
    { withinMs: 45_000, everyMs: 100 },
  );

async function stopProduct(): Promise<void> {
  await Promise.all([system.worker.stop(), system.apiProcess.stop()]);
}

async function startProduct(): Promise<void> {
  await Promise.all([system.worker.restart(), system.apiProcess.restart()]);
  await isUp();
}

/** As an operator does, on the servers as they are. */
async function reconcile(...args: string[]): Promise<Json> {
  const env = {
    PATH: process.env.PATH!,
    DATABASE_URL: servers.databaseUrl,
    TEMPORAL_ADDRESS: servers.temporalAddress,
    TASK_QUEUE: system.taskQueue,
  };
  const { stdout } = await run(process.execPath, ['worker/reconcile-main.ts', '--json', ...args], { cwd: ROOT, env });
  return JSON.parse(stdout);
}

/** More than the fence can't see: what is lost after it is longer than that. */
async function timePasses(): Promise<void> {
  const beat = async () => (await system.sql.query<{ beat: number }>(`SELECT beat FROM fence`)).rows[0]!.beat;
  const before = await beat();
  await eventually(async () => (await beat()) > before + 1, { withinMs: 40_000 });
}

/** What was said of this contact: `dialled close`. */
const saidOf = ({ contacts }: Json, { contacts: [id] }: Scene): string | null => {
  const found = contacts.find(({ contact }: Json) => contact === id);
  return found ? `${found.what} ${found.measure}` : null;
};

/** The worker does not work, and says why where people look. */
async function isFenced(why: RegExp): Promise<void> {
  await system.worker.restart();
  await eventually(
    async () => {
      const { rows } = await system.sql.query<{ trouble: string }>(`SELECT trouble FROM node WHERE trouble IS NOT NULL`);
      return why.test(rows[0]?.trouble ?? '');
    },
    { withinMs: 30_000 },
  );
  await system.worker.kill();
}

/** No contact is in a call or waits without a workflow, and no workflow is of a contact that is finished. */
async function everybodyHasAWorkflow(): Promise<void> {
  const connection = await Connection.connect({ address: servers.temporalAddress });
  try {
    await eventually(
      async () => {
        const query = `WorkflowType = 'contact' AND TaskQueue = '${system.taskQueue}' AND ExecutionStatus = 'Running'`;
        const open: string[] = [];
        for await (const { workflowId } of new Client({ connection }).workflow.list({ query })) open.push(workflowId);
        const { rows } = await system.sql.query<{ id: string }>(
          `SELECT 'contact/' || id || '/' || round AS id FROM contact WHERE closed_at IS NULL AND state NOT IN ('new', 'starting')`,
        );
        expect(open.toSorted()).toEqual(rows.map(({ id }) => id).toSorted());
        return true;
      },
      { withinMs: 20_000, everyMs: 200 },
    );
  } finally {
    await connection.close();
  }
}

/** Every agent is ready, so that whoever may be called would be offered now; only this one's contact is, and is dialled. */
async function onlyOneIsCalled(scenes: Scene[], last: Scene): Promise<void> {
  for (const scene of scenes) await scene.ready();
  await call(last);
  await eventually(async () => (await last.dialled(people.manual)) === 1);
  await onlyTheseAreOpen(last);
}

/** Nobody else is in a call, waits, or will be called. */
async function onlyTheseAreOpen(...scenes: Scene[]): Promise<void> {
  const { rows } = await system.sql.query<{ id: string }>(`SELECT id FROM contact WHERE closed_at IS NULL ORDER BY id`);
  expect(rows.map(({ id }) => id)).toEqual(scenes.flatMap(({ contacts }) => contacts).toSorted());
}

describe('PostgreSQL is older than Temporal', () => {
  it('nobody is dialled again for what was dialled since; each is listed; the others are called', async () => {
    const queued = await oneContact(people.manual);
    const talked = await oneContact(people.talks);
    const busy = await oneContact(people.busy);
    const disabled = await oneContact(number());
    const listed = await oneContact(people.talks2, { rules: { wrap_up_sec: 60 } });
    const done = await oneContact(people.talks3);
    await call(done);
    await done.until('done');
    const ringing = await oneContact(number());
    await ringing.ready();
    await ringing.ringing();
    const wrapping = await oneContact(people.talks4, { rules: { wrap_up_sec: 3_600 } });
    await call(wrapping);
    const wrapped = await wrapping.until('wrap_up');
    for (const scene of [queued, talked, busy, disabled, listed]) await scene.until('queued');

    await servers.postgres.save();
    await isUp();
    // The hour that is lost.
    await system.ok('POST', `/calls/${wrapped.call_id}/disposition`, { action: 'done', topics: [] }, { key: wrapping.agents[0]!.key });
    await wrapping.until('done');
    await call(talked);
    await talked.until('done');
    await call(busy);
    await busy.until('waiting');
    await system.ok('POST', `/contacts/${disabled.contacts[0]}/disable`);
    await disabled.until('disabled');
    await call(listed);
    const { call_id } = await listed.until('wrap_up');
    await system.ok('POST', `/calls/${call_id}/disposition`, { action: 'do_not_call', topics: [] }, { key: listed.agents[0]!.key });
    await listed.until('disabled');
    const late = number();
    const imported = await oneContact(late);
    await call(imported);
    await eventually(async () => (await imported.dialled(late)) === 1);
    await ringing.phone(ringing.agents[0]!.phone, 'reject').catch(() => undefined);
    await timePasses();
    const dialledThen = (await system.ok('GET', '/simulator/dials?limit=1000')).items.filter(({ party }: Json) => party === 'contact');
    const newest = (await system.sql.query(`SELECT max(id) AS id FROM contact`)).rows[0].id;
    await stopProduct();
    await servers.postgres.restore();
    await isFenced(/PostgreSQL is older than Temporal/);

    const planned = await reconcile('--dry-run');
    expect(planned).toMatchObject({ standing: 'postgresql_older', isDryRun: true });
    expect((await system.sql.query(`SELECT count(*)::int AS n FROM repair`)).rows[0].n).toBe(0);
    // One that was interrupted goes on as it was begun.
    await system.sql.query(`UPDATE fence SET reconciling = 'postgresql'`);
    await expect(reconcile('--restored', 'temporal')).rejects.toThrow('begun with --restored postgresql');
    const outcome = await reconcile();
    expect(outcome.contacts).toEqual(planned.contacts);
    expect(saidOf(outcome, talked)).toBe('dialled close');
    expect(saidOf(outcome, busy)).toBe('dialled close');
    expect(saidOf(outcome, listed)).toBe('dialled close');
    expect(saidOf(outcome, disabled)).toBe('ended close');
    expect(saidOf(outcome, wrapping)).toBe('ended close');
    expect(saidOf(outcome, ringing)).toBe('in_call close');
    expect(saidOf(outcome, imported)).toBe('unknown_contact end');
    expect(saidOf(outcome, done)).toBeNull();
    expect(saidOf(outcome, queued)).toBeNull();
    // Run again there is nothing to do.
    expect(await reconcile()).toMatchObject({ standing: 'in_step', contacts: [] });

    await startProduct();
    expect(await talked.contact()).toMatchObject({ state: 'done', ended_reason: 'answered' });
    expect(await storyOf(system, talked.contacts[0]!)).toContain('c:k');
    expect(await wrapping.contact()).toMatchObject({ state: 'done', ended_reason: 'answered' });
    expect(await busy.contact()).toMatchObject({ state: 'disabled', ended_by: 'system', attempts: 1 });
    expect(await disabled.contact()).toMatchObject({ state: 'disabled', ended_reason: 'disabled' });
    expect(await listed.contact()).toMatchObject({ state: 'disabled', ended_reason: 'do_not_call' });
    expect((await system.sql.query(`SELECT 1 FROM do_not_call WHERE number = $1`, [people.talks2])).rowCount).toBe(1);
    await everybodyHasAWorkflow();
    // What is lost of people's decisions they make again: nothing runs by itself.
    const scenes = [talked, busy, disabled, listed, ringing, wrapping, done, queued];
    for (const { campaign } of scenes) {
      expect((await system.ok('GET', `/campaigns/${campaign}`)).status).toBe('paused');
      await system.ok('POST', `/campaigns/${campaign}/resume`);
    }
    await onlyOneIsCalled(scenes, queued);
    const dialled = (await system.ok('GET', '/simulator/dials?limit=1000')).items.filter(({ party }: Json) => party === 'contact');
    expect(dialled.slice(0, dialledThen.length)).toHaveLength(dialledThen.length);
    expect(dialled.length).toBe(dialledThen.length + 1);
    expect(new Set(dialled.map(({ leg_id }: Json) => leg_id)).size).toBe(dialled.length);
    // New rows have new ids, a contact that was closed can be enabled.
    const fresh = await oneContact(number());
    expect(Number(fresh.contacts[0])).toBeGreaterThan(Number(newest));
    await system.ok('POST', `/contacts/${busy.contacts[0]}/enable`);
    await busy.ringing();
  }, 240_000);
});

describe('both are of the same earlier time', () => {
  it("who was dialled since by the switch's record is not dialled again", async () => {
    const queued = await oneContact(people.manual);
    const talked = await oneContact(people.talks);
    for (const scene of [queued, talked]) await scene.until('queued');
    await stopProduct();
    await Promise.all([servers.postgres.save(), servers.temporal.save()]);
    await startProduct();
    await call(talked);
    await talked.until('done');
    const record = path.join(system.dataDir, 'record.jsonl');
    copyFileSync(path.join(system.dataDir, 'simulator-dials.jsonl'), record);
    await stopProduct();
    await Promise.all([servers.postgres.restore(), servers.temporal.restore()]);

    await expect(reconcile('--restored', 'both')).rejects.toThrow('--without-record');
    const outcome = await reconcile('--restored', 'both', '--dialled', record);
    expect(saidOf(outcome, talked)).toBe('dialled close');
    expect(saidOf(outcome, queued)).toBeNull();
    await startProduct();
    expect(await talked.contact()).toMatchObject({ state: 'disabled', attempts: 1 });
    for (const { campaign } of [queued, talked]) await system.ok('POST', `/campaigns/${campaign}/resume`);
    await onlyOneIsCalled([talked], queued);
    expect(await system.ok('GET', '/simulator/dials?limit=1000').then(({ items }) => items.filter(({ to }: Json) => to === people.talks).length)).toBe(1);
  }, 180_000);
});

describe.each([
  ['is older than PostgreSQL', 'restore', /Temporal is older/],
  ['is lost', 'lose', /Temporal has lost/],
] as const)('Temporal %s', (_what, put, why) => {
  it('the rows say where everyone is: nobody is dialled twice, nobody is stuck', async () => {
    const queued = await oneContact(people.manual);
    const late = await oneContact(people.talks2);
    const retried = await oneContact(people.busy, { rules: { wrap_up_sec: 0, retry: { b: { delay_sec: 3 } }, max_attempts: 2 } });
    const done = await oneContact(people.talks);
    const talking = await oneContact(people.manual2);
    const wrapping = await oneContact(people.talks3, { rules: { wrap_up_sec: 3_600 } });
    const talkingOn = await oneContact(people.talksOn);
    for (const scene of [queued, late, retried, done, talking, wrapping, talkingOn]) await scene.until('queued');
    await servers.temporal.save();
    await isUp();
    await call(done);
    await done.until('done');
    await call(retried);
    await retried.until('waiting');
    // Whose phone must not ring before its turn.
    const { id, key } = retried.agents[0]!;
    await system.ok('PUT', `/agents/${id}/state`, { state: 'logged_off' }, { key });
    const imported = await oneContact(number());
    await imported.until('queued');
    await call(wrapping);
    await wrapping.until('wrap_up');
    await call(talking);
    await eventually(async () => (await talking.dialled(people.manual2)) === 1);
    await talking.phone(people.manual2, 'answer');
    await talking.until('talking');
    await timePasses();
    await call(talkingOn);
    await talkingOn.until('talking');
    await stopProduct();
    await servers.temporal[put]();
    await isFenced(why);

    const outcome = await reconcile();
    // Due by now: it is in the queue, as its workflow was then.
    expect(saidOf(outcome, retried)).toBe(put === 'restore' ? null : 'no_workflow restart');
    expect(saidOf(outcome, imported)).toBe('no_workflow restart');
    expect(saidOf(outcome, talking)).toMatch(/restart$/);
    expect(saidOf(outcome, wrapping)).toMatch(/restart$/);
    expect(saidOf(outcome, done)).toBe(put === 'restore' ? 'left_over end' : null);
    expect(saidOf(outcome, queued)).toBe(put === 'restore' ? null : 'no_workflow restart');
    await startProduct();
    // The talk has gone on all the while.
    expect(await talking.contact()).toMatchObject({ state: 'talking' });
    await talking.phone(people.manual2, 'hang-up');
    await talking.until('done', 0, 40_000);
    await wrapping.until('done');
    await talkingOn.until('done', 0, 40_000);
    await everybodyHasAWorkflow();
    await call(late);
    await late.until('done');
    await call(queued);
    await eventually(async () => (await queued.dialled(people.manual)) === 1);
    await imported.ready();
    await imported.ringing();
    await call(retried);
    await retried.until('done');
    await retried.story('i q:q a:k c:b i q:q a:k c:b');
    for (const who of [people.talks, people.talks2, people.talks3, people.talksOn, people.manual, people.manual2]) {
      expect(await queued.dialled(who), who).toBe(1);
    }
    expect(await queued.dialled(people.busy)).toBe(2);
    await onlyTheseAreOpen(queued, imported);
    // But for agents, whose desktops nobody plays here.
    expect((await system.sql.query(`SELECT cause FROM repair WHERE cause <> 'agent_lost'`)).rows).toEqual([]);
  }, 240_000);
});
