/**
 * The worker dies (SIGKILL), or is frozen for longer than every timeout (SIGSTOP, then SIGCONT) while another one takes over,
 * at each point of a call: before and after every activity, COMMIT, command to the switch and message to a workflow. The
 * list is what an undisturbed call passes, so a new step has its crash by itself.
 *
 *   CRASH_POINTS_SEED=7    the same share of the points that are drawn
 *   CRASH_POINTS=all       kills each time that a call comes by, and freezes at all points
 *   CRASH_POINTS_ONLY=ring crashes at points only that have this in their name, or their call's
 */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { crash, type How, idlePoints, pointsOf } from '../kit/crash/crash.ts';
import { type Lane, openLane } from '../kit/crash/lane.ts';
import { inWords, plan, type Planned, reachedBy, type Recorded } from '../kit/crash/points.ts';
import { REACHED } from '../kit/crash/reached.ts';
import { SCENARIOS } from '../kit/crash/scenarios.ts';
import { tail } from '../kit/system.ts';

/** Crashes that are waited for at the same time; each has an installation of its own. */
const LANES = Number(process.env.CRASH_POINTS_LANES ?? 10);
const SEED = Number(process.env.CRASH_POINTS_SEED ?? Math.floor(Math.random() * 1_000_000));
const SHARE = process.env.CRASH_POINTS === 'all' ? 1 : 1 / 10;
const ONLY = process.env.CRASH_POINTS_ONLY ?? '';
const WITHIN_MS = SHARE < 1 ? 1_500_000 : 5_400_000;

let connection: Connection;
let compileCache: string;
let lanes: Lane[] = [];
const recorded: Recorded[] = [];
let planned: Planned[] = [];
/** What is wrong after each; null: nothing. */
const outcomes = new Map<Planned, Promise<string | null>>();

beforeAll(async () => {
  connection = await Connection.connect({ address: inject('temporalAddress') });
  compileCache = mkdtempSync(path.join(os.tmpdir(), 'dialwright-compiled-'));
  lanes = await Promise.all(Array.from({ length: LANES }, () => openLane(connection, compileCache)));
  // One by one: to die at the same moment is their business later.
  await inLanes(SCENARIOS.map((scenario) => async (lane) => {
    recorded.push({ scenario, runs: [await pointsOf(lane, scenario), await pointsOf(lane, scenario)] });
  }));
  const order = (a: Recorded, b: Recorded) => SCENARIOS.indexOf(a.scenario) - SCENARIOS.indexOf(b.scenario);
  const everything = plan(recorded.toSorted(order), await idlePoints(lanes[0]!), { seed: SEED, share: SHARE });
  planned = everything.filter(({ scenario, point }) => `${scenario.name}: ${inWords(point)}`.includes(ONLY));
  console.log(`${planned.length} crashes, ${planned.filter(({ how }) => how === 'frozen').length} of them freezes (CRASH_POINTS_SEED=${SEED})`);
  void crashEverywhere();
}, 300_000);

afterAll(async () => {
  await Promise.all(lanes.map((lane) => lane.close()));
  await connection?.close();
  rmSync(compileCache, { recursive: true, force: true });
}, 60_000);

/** Each lane takes the next piece of work when it is done with one. The first failure is thrown at the end. */
async function inLanes(work: ((lane: Lane, index: number) => Promise<void>)[]): Promise<void> {
  const queue = work.values();
  const outcome = await Promise.allSettled(
    Array.from({ length: LANES }, async (_, index) => {
      for (const piece of queue) await piece(lanes[index]!, index);
    }),
  );
  const failed = outcome.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

function crashEverywhere(): Promise<void> {
  return inLanes(
    planned.map((one) => {
      const { promise, resolve } = Promise.withResolvers<string | null>();
      outcomes.set(one, promise);
      return async (lane, index) => {
        const wrong = await wrongAfter(lane, one);
        resolve(wrong);
        if (wrong === null) return;
        // What is stuck must not be blamed on the next one.
        await lane.close();
        lanes[index] = await openLane(connection, compileCache);
      };
    }),
  );
}

async function wrongAfter(lane: Lane, one: Planned): Promise<string | null> {
  try {
    const isMet = (await crash(lane, one)) || (await crash(lane, one));
    return isMet || !one.isSure ? null : 'twice the call did not come by';
  } catch (error) {
    return `${(error as Error).message}\n${tail(lane.logFile)}`;
  }
}

describe('the calls that are crashed', () => {
  it('reach every activity and transaction of a call', () => {
    const reached = reachedBy(recorded.flatMap(({ runs }) => runs.flat()));
    expect(REACHED.filter((name) => !reached.includes(name))).toEqual([]);
  });
});

describe.each(SCENARIOS)('$name', (scenario) => {
  it.each(['killed', 'frozen'] satisfies How[])('comes to its end when its worker is %s at any point', async (how) => {
    const crashes = planned.filter((one) => one.scenario === scenario && one.how === how);
    const wrong: string[] = [];
    for (const one of crashes) {
      const found = await outcomes.get(one);
      if (found) wrong.push(`${how} ${inWords(one.point)}: ${found}`);
    }
    if (wrong.length === 0) return;
    const summary = `${wrong.length} of ${crashes.length} crashes went wrong (CRASH_POINTS_SEED=${SEED})`;
    throw new Error([summary, ...wrong].join('\n\n'));
  }, WITHIN_MS);
});
