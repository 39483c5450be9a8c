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
/** For so long the record is looked at, from when everyone has become ready. */
const SECONDS = 8;
const AGENTS = 16;
const CONTACTS = 60;

interface Dial {
  at: number;
  endedAt: number | null;
  legId: string;
  party: 'agent' | 'contact';
}

let system: System;
let pacedSwitch: string;
beforeAll(async () => {
  // Agents answer when they like: what was begun evenly comes to the contacts in heaps.
  const phone = { trying: 0, alerting: 0.05, media: 0 };
  const agents = { ...phone, then: { kind: 'answers', after: [0, 2], talks: null } };
  const contacts = [{ weight: 1, behaviour: { ...phone, then: { kind: 'answers', after: 0.1, talks: [0.5, 1.5] } } }];
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

it('hold, and are used, while two campaigns dial as fast as they can', { timeout: 120_000 }, async () => {
  const list = (campaign: number) => Array.from({ length: CONTACTS }, (_, n) => ({ phone_num: `+472270${campaign}${100 + n}` }));
  const scenes: Scene[] = [];
  for (const campaign of [1, 2]) {
    scenes.push(await setScene(system, { agents: AGENTS, contacts: list(campaign), rules: { wrap_up_sec: 0 } }));
  }
  await eventually(async () => {
    const { rowCount } = await system.sql.query(`SELECT 1 FROM contact WHERE state = 'queued'`);
    return rowCount === 2 * CONTACTS;
  }, { withinMs: 30_000 });
  await Promise.all(scenes.flatMap((scene) => scene.agents.map((_, n) => scene.ready(n))));
  const start = Date.now();

  const reasons = new Set<string>();
  await eventually(async () => {
    const { why_not_dialling } = await system.ok('GET', `/campaigns/${scenes[0]!.campaign}/stats`);
    for (const { code } of why_not_dialling) reasons.add(code);
    return Date.now() > start + SECONDS * 1000;
  }, { withinMs: 2 * SECONDS * 1000, everyMs: 100 });
  const [filled, paced] = [await recordOf(system.simulatorUrl), await recordOf(pacedSwitch)];

  expect(mostAtOnce(filled)).toBe(MAX_CALLS);
  // At some 3 s a call, room is filled again at once.
  expect(timesOf(filled, 'agent').length).toBeGreaterThan(2 * MAX_CALLS);

  const [agents, contacts] = [timesOf(paced, 'agent'), timesOf(paced, 'contact')];
  // They are sent evenly; on a busy machine one is somewhat late, and the next on time.
  expect(mostInASecond(agents)).toBeLessThanOrEqual(PER_SECOND + 2);
  expect(mostInASecond(contacts)).toBeLessThanOrEqual(PER_SECOND + 2);
  const used = agents.filter((at) => at >= start && at < start + SECONDS * 1000).length;
  expect(used).toBeGreaterThanOrEqual(0.8 * PER_SECOND * SECONDS);
  expect(mostAtOnce(paced)).toBeGreaterThan(MAX_CALLS);
  expect(reasons).toContain('nodes_at_limit');
  console.log(mostAtOnce(filled), timesOf(filled, 'agent').length, mostInASecond(agents), mostInASecond(contacts), used, mostAtOnce(paced), [...reasons]);
});
