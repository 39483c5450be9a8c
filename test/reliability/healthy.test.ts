/**
 * A healthy stretch makes no repair: many calls at speed, by two workers, while agents reject, cancel, hand on and leave, the
 * campaign is paused, stopped and changed, numbers are listed, and a worker ends in order and is started anew. And nothing is
 * there for a person to look at.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

const AGENTS = 12;
const CONTACTS = 120;
/** What is looked for seldom is looked for every 15 s: twice after the last call. */
const QUIET_MS = 32_000;

let system: System;
beforeAll(async () => {
  const phone = (then: unknown) => ({ trying: 0.1, alerting: [0.3, 2], media: 0.1, then });
  const contacts = [
    { weight: 5, behaviour: phone({ kind: 'answers', after: [1, 10], talks: [5, 40] }) },
    { weight: 2, behaviour: phone({ kind: 'fails', after: 1, sip: 486 }) },
    { weight: 1, behaviour: phone({ kind: 'silent' }) },
  ];
  const agents = phone({ kind: 'answers', after: [0.5, 8] });
  system = await startSystem({ speed: 20, script: { contacts, agents } });
  await system.addWorker('worker-2');
}, 90_000);
afterAll(async () => {
  await system?.stop();
});

const number = (n: number): string => `+479${String(1_000_000 + n * 137)}`;
const asAgent = (scene: Scene, n: number, method: string, path: string, body?: unknown) =>
  system.api(method, path, body, { key: scene.agents[n]!.key });
const wants = (scene: Scene, n: number, state: string) => asAgent(scene, n, 'PUT', `/agents/${scene.agents[n]!.id}/state`, { state });

const KINDS = ['reject', 'cancel', 'transfer', 'hang-up', 'disposition'] as const;
/** How often a click was in time. */
const carriedOut = new Map<string, number>();

/** What agents do beside talking: whoever is asked now turns it down, ends it, hangs up, or hands it on. */
async function click(scene: Scene, round: number): Promise<void> {
  const clicks = async (agent: number, kind: (typeof KINDS)[number], subject: string, body?: unknown) => {
    const { status } = await asAgent(scene, agent, 'POST', `${subject}/${kind}`, body);
    if (status < 300) carriedOut.set(kind, (carriedOut.get(kind) ?? 0) + 1);
  };
  const { rows } = await system.sql.query<{ id: string; call_id: string; agent_id: number; state: string }>(
    `SELECT id, call_id, agent_id, state FROM offer WHERE ended_at IS NULL AND transfer_id IS NULL ORDER BY id LIMIT 4`,
  );
  for (const [n, offer] of rows.entries()) {
    const agent = scene.agents.findIndex(({ id }) => id === String(offer.agent_id));
    const call = `/calls/${offer.call_id}`;
    if (offer.state === 'talking') {
      const transfer = { mode: 'blind', to: { campaign_id: scene.campaign } };
      if (n === 0) await clicks(agent, 'transfer', call, transfer);
      else await clicks(agent, 'hang-up', call);
      await clicks(agent, 'disposition', call, { action: n === 1 ? 'do_not_call' : 'done' });
    } else if (round % 3 === 0) await clicks(agent, 'reject', `/offers/${offer.id}`);
    else if (round % 3 === 1) await clicks(agent, 'cancel', `/offers/${offer.id}`);
  }
}

it('leaves no repair and no problem', async () => {
  const contacts = Array.from({ length: CONTACTS }, (_, n) => ({ phone_num: number(n) }));
  const delay_sec = 3;
  const retry = Object.fromEntries(['b', 't', 'h', 'c', 'q', 'e'].map((code) => [code, { delay_sec }]));
  const rules = { max_attempts: 2, wrap_up_sec: 1, rest_sec: 1, reoffer_after_sec: 2, ring_sec: 15, missed_limit: 100, retry };
  const scene = await setScene(system, { agents: AGENTS, contacts, rules });
  await Promise.all(scene.agents.map((_, n) => wants(scene, n, 'ready')));
  scene.staysOn();

  const control = (what: string) => system.ok('POST', `/campaigns/${scene.campaign}/${what}`);
  const left = async () => {
    const { by_state } = await system.ok('GET', `/campaigns/${scene.campaign}/stats`);
    return CONTACTS - by_state.done - by_state.disabled;
  };
  const until = (most: number) => eventually(async () => (await left()) <= most, { withinMs: 60_000, everyMs: 250 });

  await until(CONTACTS - 15);
  let round = 0;
  await eventually(
    async () => {
      await click(scene, round++);
      return KINDS.every((kind) => carriedOut.has(kind));
    },
    { withinMs: 30_000 },
  );
  await control('pause');
  await control('resume');
  await system.ok('PATCH', `/campaigns/${scene.campaign}`, { rules: { wrap_up_sec: 2, order: [{ by: 'created', direction: 'desc' }] } });
  await until(CONTACTS - 40);
  await system.worker.stop();
  await system.worker.restart();
  await control('stop');
  await control('resume');
  for (let n = 0; n < 20; n++) await system.ok('PUT', `/do-not-call/${encodeURIComponent(number(CONTACTS - 1 - n))}`, { comment: 'asked for it' });
  for (let round = 0; round < 6; round++) await click(scene, round);
  // Whoever left or had enough comes back.
  for (const n of [0, 1]) await wants(scene, n, 'logged_off');
  await until(40);
  for (const n of [0, 1]) await wants(scene, n, 'ready');
  await until(0);
  await Promise.all(scene.agents.map((_, n) => wants(scene, n, 'logged_off')));
  await Promise.all(scene.agents.map((_, n) => scene.agentIs('logged_off', n)));

  const since = Date.now();
  await eventually(() => Date.now() - since > QUIET_MS, { withinMs: QUIET_MS + 5_000, everyMs: 1_000 });
  const { items } = await system.ok('GET', '/repairs');
  expect(items.map(({ cause, subject, worker }: Json) => ({ cause, subject, worker }))).toEqual([]);
  expect((await system.ok('GET', '/problems')).items).toEqual([]);
  expect(KINDS.filter((kind) => !carriedOut.get(kind))).toEqual([]);
  expect(Number((await system.sql.query(`SELECT count(*) FROM leg WHERE ciq = 'c'`)).rows[0].count)).toBeGreaterThan(CONTACTS / 2);
}, 300_000);
