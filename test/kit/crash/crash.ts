/** One crash: a call, a worker that stops dead at a point of it, and what comes of it all. */
import type { RepairCause } from '../../../domain/repairs.ts';
import { eventually } from '../eventually.ts';
import { OF_A_DEAD_WORKER, openAtTemporal, whatIsWrong } from './check.ts';
import type { Lane } from './lane.ts';
import { type Scenario, sceneOf, Stage } from './play.ts';
import type { CrashWorker } from './worker.ts';

export type How = 'killed' | 'frozen';

export interface Crash {
  scenario: Scenario;
  point: string;
  how: How;
}

/** Longer than every timeout: heartbeats (10 s), the node's lease (8 s), `notAfter` (5 s). */
const FROZEN_MS = 16_000;
/** What was frozen has so long to do harm, and a point so long to come after the call is over. */
const AFTERWARDS_MS = 1_000;
const CALM_WITHIN_MS = 90_000;
const RECOVERED_WITHIN_MS = 90_000;
/** What an idle worker passes within this it passes again and again. */
const IDLE_MS = 3_000;

let lastNumber = 22_000_000;

async function enter(lane: Lane, scenario: Scenario): Promise<Stage> {
  const scene = lane.scenes.get(scenario.name) ?? (await sceneOf(lane, scenario));
  lane.scenes.set(scenario.name, scene);
  return new Stage(lane, scenario, scene, `+47${++lastNumber}`);
}

async function pass(ms: number): Promise<void> {
  const until = performance.now() + ms;
  await eventually(() => performance.now() >= until, { withinMs: ms + 5_000, everyMs: 100 });
}

/** The points that an idle worker passes. */
export async function idlePoints(lane: Lane): Promise<string[]> {
  const worker = await lane.oneWorker();
  await worker.begin();
  await pass(IDLE_MS);
  return worker.points;
}

/** The points of a call that nothing disturbs, in order. */
export async function pointsOf(lane: Lane, scenario: Scenario): Promise<string[]> {
  const worker = await lane.oneWorker();
  const stage = await enter(lane, scenario);
  await worker.begin();
  await stage.play((isOver) => isOver, CALM_WITHIN_MS);
  await pass(AFTERWARDS_MS);
  await mustBeRight(stage, []);
  return worker.points;
}

/** False when the call did not come by the point. Throws what is wrong when all is over. */
export async function crash(lane: Lane, { scenario, point, how }: Crash): Promise<boolean> {
  const worker = await lane.oneWorker();
  const stage = await enter(lane, scenario);
  await worker.begin({ point, signal: how === 'killed' ? 'SIGKILL' : 'SIGSTOP' });
  let recovery: Recovery | null = null;
  let overSince: number | null = null;
  await stage.play((isOver) => {
    if (worker.stoppedAt !== null) recovery ??= recover(lane, worker, how);
    if (recovery) return isDone(recovery);
    if (isOver) overSince ??= performance.now();
    return overSince !== null && performance.now() - overSince > AFTERWARDS_MS;
  }, RECOVERED_WITHIN_MS);
  // The workflow ends after the rows that say so, and may come by the point only then.
  const hasEnded = async () => worker.stoppedAt !== null || (await openAtTemporal(stage)).length === 0;
  await eventually(hasEnded, { withinMs: RECOVERED_WITHIN_MS, everyMs: 200 }).catch(() => undefined);
  if (worker.stoppedAt !== null) {
    const recovering = (recovery ??= recover(lane, worker, how));
    await eventually(() => isDone(recovering), { withinMs: RECOVERED_WITHIN_MS });
  }
  await mustBeRight(stage, OF_A_DEAD_WORKER);
  return recovery !== null;
}

interface Recovery {
  isDone: boolean;
  failure?: Error;
}

function isDone({ isDone, failure }: Recovery): boolean {
  if (failure !== undefined) throw failure;
  return isDone;
}

/** Another worker is started; who was frozen goes on when that one has long taken over. */
function recover(lane: Lane, worker: CrashWorker, how: How): Recovery {
  const recovery: Recovery = { isDone: false };
  const takeOver = async () => {
    const frozen = how === 'frozen' ? pass(FROZEN_MS) : null;
    await lane.startWorker();
    if (!frozen) return;
    await frozen;
    await mustHoldNothing(lane);
    worker.thaw();
    await pass(AFTERWARDS_MS);
  };
  takeOver().then(
    () => (recovery.isDone = true),
    (error: Error) => (recovery.failure = error),
  );
  return recovery;
}

/** Whoever is frozen in a transaction must not keep its locks until it goes on. */
async function mustHoldNothing({ db }: Lane): Promise<void> {
  const { rows } = await db.pool.query<{ query: string }>(
    `SELECT query FROM pg_stat_activity
     WHERE datname = current_database() AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '10 s'`,
  );
  if (rows[0]) throw new Error(`the frozen worker still holds its locks, after ${rows[0].query}`);
}

async function mustBeRight(stage: Stage, explained: readonly RepairCause[]): Promise<void> {
  const wrong = await whatIsWrong(stage, explained);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}
