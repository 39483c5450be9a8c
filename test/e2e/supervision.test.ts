/** Supervisors on the whole product: real phones of the simulated switch, real workflows, each in its own process. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { contactWorkflowId } from '../../domain/ids.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { carriedOut, startSystem, type System } from '../kit/system.ts';

let system: System;
let connection: Connection;
let next = 22600100;
/** A number of its own for each test, played by hand. */
const number = () => `+47${next++}`;

beforeAll(async () => {
  const byHand = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: byHand }] } });
  connection = await Connection.connect({ address: inject('temporalAddress') });
}, 90_000);
afterAll(async () => {
  await connection?.close();
  await system?.stop();
});

const release = (scene: Scene, agent = 0) => {
  const idempotencyKey = randomUUID();
  return carriedOut(() => system.api('POST', `/agents/${scene.agents[agent]!.id}/release`, undefined, { idempotencyKey }));
};

const phoneIsIdle = (phone: string) =>
  eventually(
    async () => {
      const answer = await fetch(`${system.simulatorUrl}/phones/${encodeURIComponent(phone)}`);
      return ((await answer.json()) as { state: string }).state === 'idle';
    },
    { withinMs: 30_000 },
  );

async function eventsOf(scene: Scene, agent = 0): Promise<string[]> {
  const { rows } = await system.sql.query(
    `SELECT state, cause, changed_by IS NOT NULL AS by FROM agent_events WHERE agent_id = $1 ORDER BY position`,
    [scene.agents[agent]!.id],
  );
  return rows.map(({ state, cause, by }) => `${state} (${cause}${by ? ', by a person' : ''})`);
}

/** An agent's states follow each other without a gap. */
async function expectDurationsToAddUp(scene: Scene): Promise<void> {
  const { rows } = await system.sql.query(
    `SELECT 1 FROM (SELECT at, duration_ms, from_state, lag(at) OVER w AS before, lag(state) OVER w AS was
                    FROM agent_events WHERE agent_id = $1 WINDOW w AS (ORDER BY position)) e
     WHERE was <> from_state OR extract(epoch FROM at - before) * 1000 <> duration_ms`,
    [scene.agents[0]!.id],
  );
  expect(rows).toEqual([]);
}

async function talking(): Promise<{ scene: Scene; anna: string; call: string }> {
  const anna = number();
  const scene = await setScene(system, { contacts: [{ phone_num: anna }] });
  await scene.ready();
  const { call } = await scene.ringing();
  await scene.phone(scene.agents[0]!.phone, 'answer');
  await scene.until('dialling');
  await scene.phone(anna, 'answer');
  await scene.until('talking');
  return { scene, anna, call };
}

describe.concurrent('an agent', () => {
  it('is released of an offer that rings: the call goes to the next agent, and back after reoffer_after_sec', async () => {
    const scene = await setScene(system, { agents: 2, contacts: [{ phone_num: number() }], rules: { reoffer_after_sec: 2 } });
    await scene.ready(0);
    await scene.ringing(0);
    await scene.ready(1);
    const answer = await release(scene);
    expect(answer).toMatchObject({ status: 200, body: { state: 'ready' } });
    await scene.ringing(1);
    await scene.story('i q:q a:h(agent_released)');
    expect(await eventsOf(scene)).toEqual(['ready (agent, by a person)', 'reserved (offer)', 'ready (agent_released, by a person)']);
    await phoneIsIdle(scene.agents[0]!.phone);
    await release(scene, 1);
    await scene.ringing(0);
    await expectDurationsToAddUp(scene);
  });

  it('whose offer has lost its workflow is free at once, and the phone falls silent', async () => {
    const anna = number();
    const scene = await setScene(system, { contacts: [{ phone_num: anna }] });
    await scene.ready();
    await scene.ringing();
    await new Client({ connection }).workflow.getHandle(contactWorkflowId(scene.contacts[0]!, 1)).terminate('by hand');
    expect(await release(scene)).toMatchObject({ status: 200, body: { state: 'ready' } });
    expect(await scene.contact()).toMatchObject({ state: 'disabled', ended_reason: 'disabled', ended_by: 'system' });
    await phoneIsIdle(scene.agents[0]!.phone);
    await scene.story('i q:q a:h(disabled) q:d(disabled)');
    expect(await scene.dialled(anna)).toBe(0);
    await expectDurationsToAddUp(scene);
  });

  it('in a talk is not released, but paused after it although the agent says ready', async () => {
    const { scene, anna, call } = await talking();
    const { id, key } = scene.agents[0]!;
    const refused = await release(scene);
    expect(refused).toMatchObject({ status: 409, body: { state: 'connected', detail: expect.stringContaining(`/v1/calls/${call}/hang-up`) } });
    expect(await system.ok('POST', `/agents/${id}/pause`)).toMatchObject({ state: 'connected', next_state: 'paused' });
    await scene.phone(anna, 'hang-up');
    await scene.agentIs('wrap_up');
    expect(await system.ok('PUT', `/agents/${id}/state`, { state: 'ready' }, { key })).toMatchObject({ state: 'paused' });
    await scene.until('done');
    await expectDurationsToAddUp(scene);
  });

  it('in wrap-up is released, and its contact is done', async () => {
    const { scene, anna } = await talking();
    await scene.phone(anna, 'hang-up');
    await scene.agentIs('wrap_up');
    expect(await release(scene)).toMatchObject({ status: 200, body: { state: 'ready' } });
    await scene.until('done');
    const { rows } = await system.sql.query(`SELECT ended_by FROM wrap_ups WHERE contact_id = $1`, [scene.contacts[0]]);
    expect(rows).toEqual([{ ended_by: 'supervisor' }]);
    await expectDurationsToAddUp(scene);
  });

  it('whose phone rings is logged off: the call goes back to its place', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: number() }] });
    await scene.ready();
    await scene.ringing();
    expect(await system.ok('POST', `/agents/${scene.agents[0]!.id}/log-off`)).toMatchObject({ next_state: 'logged_off' });
    await scene.agentIs('logged_off');
    await scene.story('i q:q a:h(agent_logged_off)');
    await scene.until('queued');
    expect((await eventsOf(scene)).at(-1)).toBe('logged_off (agent_logged_off, by a person)');
  });
});

// The last, since it stops them all.
describe('the emergency stop', () => {
  it('ends what is not answered in every campaign, and leaves talks alone', async () => {
    const talk = await talking();
    const [berit, carl] = [number(), number()];
    const rings = await setScene(system, { contacts: [{ phone_num: berit }] });
    await rings.ready();
    await rings.ringing();
    const dials = await setScene(system, { contacts: [{ phone_num: carl }] });
    await dials.ready();
    await dials.ringing();
    await dials.phone(dials.agents[0]!.phone, 'answer');
    await eventually(async () => {
      const { rowCount } = await system.sql.query(`SELECT 1 FROM leg WHERE destination = $1 AND alerting_at IS NOT NULL`, [carl]);
      return rowCount;
    });
    // Its phone rings on, though it calls nobody any more.
    await system.ok('POST', `/campaigns/${rings.campaign}/end`);

    const { stopped } = await system.ok('POST', '/stop');
    expect(stopped).toEqual(expect.arrayContaining([talk.scene.campaign, rings.campaign, dials.campaign]));
    await rings.story('i q:q a:h(campaign_paused) q:d(campaign_paused)');
    await dials.story('i q:q a:k(campaign_paused) c:h(campaign_paused) q:d(campaign_paused)');
    await rings.agentIs('ready');
    await dials.agentIs('ready');
    expect(await rings.until('disabled')).toMatchObject({ ended_reason: 'campaign_ended' });
    expect(await dials.until('waiting')).toMatchObject({ wait_reason: 'retry_delay', attempts: 1 });
    expect(await system.ok('GET', `/campaigns/${dials.campaign}`)).toMatchObject({ status: 'paused' });
    expect((await talk.scene.contact()).state).toBe('talking');
    await eventually(async () => (await system.ok('POST', '/stop')).stopped.length === 0);
    await talk.scene.phone(talk.anna, 'hang-up');
    await talk.scene.until('wrap_up');
  });
});
