/**
 * Two switches, each with a limit of its own: calls at once at the one, calls a second at the other. Two campaigns with more
 * agents than either may carry dial as they can, and the switches' own records say what came of it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { ownNode, startSystem, type System } from '../kit/system.ts';

const MAX_CALLS = 4;
const PER_SECOND = 5;
/** Legs are sent evenly, but a busy machine may send one late and those after it on time: by less than a second. */
const MOST_IN_A_SECOND = 2 * PER_SECOND;
const PACED = ownNode('paced');
const AGENTS = 16;
const CONTACTS = 60;
const PHONE = { trying: 0, alerting: 0.05, media: 0 };
const RINGS_ON = { ...PHONE, then: { kind: 'manual' } };

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
  for (const party of ['agent', 'contact'] as const) {
    expect(timesOf(paced, party).length).toBeGreaterThan(2 * PER_SECOND);
    expect(mostInASecond(timesOf(paced, party))).toBeLessThanOrEqual(MOST_IN_A_SECOND);
  }
  expect(reasons).toContain('nodes_at_limit');
  await endAll(scenes);
});

describe('calls a second, while no call ends', () => {
  let scenes: Scene[];
  let before: number;
  /** Times of the legs to this party since then. */
  const since = async (party: Dial['party']) => timesOf((await recordOf(pacedSwitch)).slice(before), party);

  beforeAll(async () => {
    const script = JSON.stringify({ agents: RINGS_ON, contacts: [{ weight: 1, behaviour: RINGS_ON }] });
    for (const url of [system.simulatorUrl, pacedSwitch]) {
      const headers = { 'content-type': 'application/json' };
      expect((await fetch(`${url}/script`, { method: 'PUT', body: script, headers })).ok).toBe(true);
    }
    before = (await recordOf(pacedSwitch)).length;
  });
  afterAll(() => endAll(scenes));

  it('are kept by legs too, whenever their offer was made: an agent rings at the time of its place', async () => {
    scenes = [await setScene(system, { agents: 1, contacts: [{ phone_num: '+4722709999' }] })];
    const due = Date.now() + 3_000;
    await system.sql.query(`UPDATE node SET next_ring_at = $1 WHERE name = $2`, [new Date(due), PACED]);
    await scenes[0]!.ready();
    const rung = await eventually(async () => (await since('agent'))[0]);
    expect(rung).toBeGreaterThanOrEqual(due);
    await endAll(scenes);
  });

  it('are used, although nothing happens that would match', async () => {
    scenes = await bothDial(AGENTS + 10);
    await eventually(async () => (await since('agent')).length > PER_SECOND);
    // Matching that waited for something to happen would have stopped here; how evenly it goes is not a busy machine's to say.
    const enough = (await since('agent')).length + 4 * PER_SECOND;
    const rung = await eventually(async () => {
      const times = await since('agent');
      if (times.length < enough) throw new Error(`${times.length} agents were rung, not ${enough}`);
      return times;
    });
    expect(mostInASecond(rung)).toBeLessThanOrEqual(MOST_IN_A_SECOND);
  });

  it('are kept to when all agents answer in the same second', async () => {
    const { rows } = await system.sql.query<{ phone: string }>(
      `SELECT destination AS phone FROM leg WHERE node = $1 AND ciq = 'a' AND ended_at IS NULL AND answered_at IS NULL`,
      [PACED],
    );
    expect(rows.length).toBeGreaterThan(2 * MOST_IN_A_SECOND);
    await Promise.all(rows.map(({ phone }) => fetch(`${pacedSwitch}/phones/${phone}/answer`, { method: 'POST' })));
    await eventually(async () => (await since('contact')).length > 2 * MOST_IN_A_SECOND, { withinMs: 20_000 });
    expect(mostInASecond(await since('contact'))).toBeLessThanOrEqual(MOST_IN_A_SECOND);
  });
});
