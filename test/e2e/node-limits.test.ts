/**
 * Two switches, each with a limit of its own: calls at once at the one, calls a second at the other. Two campaigns with more
 * agents than either may carry dial as they can, and the switches' own records say what came of it.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

const MAX_CALLS = 4;
const PER_SECOND = 5;
const PACED = 'second-switch';
/** For so long it is looked at whether they are used. */
const SECONDS = 6;
const AGENTS = 16;
const CONTACTS = 60;
const PHONE = { trying: 0, alerting: 0.05, media: 0 };

interface Dial {
  at: number;
  endedAt: number | null;
  legId: string;
  party: 'agent' | 'contact';
}

let system: System;
let pacedSwitch: string;
let campaigns = 0;
beforeAll(async () => {
  // Agents answer when they like: what was begun evenly comes to the contacts in heaps.
  const agents = { ...PHONE, then: { kind: 'answers', after: [0, 2], talks: null } };
  const contacts = [{ weight: 1, behaviour: { ...PHONE, then: { kind: 'answers', after: 0.1, talks: [0.5, 1.5] } } }];
  const settings = { TELEPHONY_MAX_CALLS: String(MAX_CALLS) };
  system = await startSystem({ speed: 1, script: { agents, contacts }, settings });
  pacedSwitch = await system.addSimulator();
  const paced = { TELEPHONY_MAX_CALLS: '', TELEPHONY_CALLS_PER_SECOND: String(PER_SECOND) };
  await system.addWorker('worker-2', { TELEPHONY_NODE: PACED, SIMULATOR_URL: pacedSwitch, ...paced });
  await eventually(async () => {
    const { rowCount } = await system.sql.query(`SELECT 1 FROM node WHERE ready_since IS NOT NULL`);
    return rowCount === 2;
  }, { withinMs: 30_000 });
}, 90_000);
afterAll(() => system?.stop());

async function recordOf(url: string): Promise<Dial[]> {
  const { dials } = (await (await fetch(`${url}/dials?limit=1000`)).json()) as { dials: Dial[] };
  return dials;
}

/** Most calls that were up at one moment. A call lasts from the first of its legs to the end of the last. */
function mostAtOnce(dials: Dial[]): number {
  const calls = Map.groupBy(dials, ({ legId }) => legId.replace(/-[12]$/, ''));
  const changes = [...calls.values()].flatMap((legs) => [
    { at: Math.min(...legs.map(({ at }) => at)), change: 1 },
    { at: Math.max(...legs.map(({ endedAt }) => endedAt ?? Infinity)), change: -1 },
  ]);
  let up = 0;
  return Math.max(...changes.toSorted((a, b) => a.at - b.at || a.change - b.change).map(({ change }) => (up += change)));
}

const timesOf = (dials: Dial[], party: Dial['party']) => dials.filter((dial) => dial.party === party).map(({ at }) => at);
const mostInASecond = (times: number[]) =>
  Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 1000).length));

/** Two campaigns with so many agents each, all of whom become ready in one moment. */
async function bothDial(agents: number): Promise<Scene[]> {
  const list = (n: number) => Array.from({ length: CONTACTS }, (_, row) => ({ phone_num: `+4722${700 + n}${100 + row}` }));
  const scenes: Scene[] = [];
  while (scenes.length < 2) {
    scenes.push(await setScene(system, { agents, contacts: list(++campaigns), rules: { wrap_up_sec: 0 } }));
  }
  await eventually(async () => {
    const { rowCount } = await system.sql.query(`SELECT 1 FROM contact WHERE state = 'queued'`);
    return rowCount === 2 * CONTACTS;
  }, { withinMs: 30_000 });
  await Promise.all(scenes.flatMap((scene) => scene.agents.map((_, n) => scene.ready(n))));
  return scenes;
}

async function endAll(scenes: Scene[]): Promise<void> {
  for (const { campaign } of scenes) await system.ok('POST', `/campaigns/${campaign}/stop`);
  for (const { id, key } of scenes.flatMap(({ agents }) => agents)) {
    await system.ok('PUT', `/agents/${id}/state`, { state: 'logged_off' }, { key });
  }
  await eventually(async () => {
    const { rowCount } = await system.sql.query(`SELECT 1 FROM offer WHERE ended_at IS NULL`);
    return rowCount === 0;
  }, { withinMs: 30_000 });
}

it('hold while two campaigns dial as fast as they can', { timeout: 120_000 }, async () => {
  const scenes = await bothDial(AGENTS);
  const reasons = new Set<string>();
  await eventually(async () => {
    const { why_not_dialling } = await system.ok('GET', `/campaigns/${scenes[0]!.campaign}/stats`);
    for (const { code } of why_not_dialling) reasons.add(code);
    return timesOf(await recordOf(system.simulatorUrl), 'contact').length >= 5 * MAX_CALLS;
  }, { withinMs: 60_000, everyMs: 100 });
  const [filled, paced] = [await recordOf(system.simulatorUrl), await recordOf(pacedSwitch)];
  expect(mostAtOnce(filled)).toBe(MAX_CALLS);
  // Sent evenly, on a busy machine one is somewhat late, and the next on time.
  for (const party of ['agent', 'contact'] as const) {
    expect(timesOf(paced, party).length).toBeGreaterThan(2 * PER_SECOND);
    expect(mostInASecond(timesOf(paced, party))).toBeLessThanOrEqual(PER_SECOND + 2);
  }
  expect(reasons).toContain('nodes_at_limit');
  await endAll(scenes);
});

it('are used, although nothing else happens that would match: no call ends', { timeout: 120_000 }, async () => {
  const ringsOn = { ...PHONE, then: { kind: 'manual' } };
  for (const url of [system.simulatorUrl, pacedSwitch]) {
    const body = JSON.stringify({ agents: ringsOn });
    expect((await fetch(`${url}/script`, { method: 'PUT', body, headers: { 'content-type': 'application/json' } })).ok).toBe(true);
  }
  const before = (await recordOf(pacedSwitch)).length;
  const scenes = await bothDial(AGENTS + PER_SECOND);
  const times = await eventually(async () => {
    const since = timesOf((await recordOf(pacedSwitch)).slice(before), 'agent');
    return since.length > 0 && Date.now() > since[0]! + SECONDS * 1000 ? since : null;
  }, { withinMs: 30_000 });
  const used = times!.filter((at) => at < times![0]! + SECONDS * 1000).length;
  expect(used).toBeGreaterThanOrEqual(0.8 * PER_SECOND * SECONDS);
  expect(mostInASecond(times!)).toBeLessThanOrEqual(PER_SECOND + 2);
  await endAll(scenes);
});
