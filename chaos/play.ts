/** One run: calls are made while faults are done, then everything is mended, brought to rest and checked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../bench/kit.ts';
import { ApiProblem } from '../dev/api-client.ts';
import type { Say } from '../dev/process.ts';
import * as checks from './checks.ts';
import { makeList, startAgents } from './people.ts';
import { countFaults, type Fault, planOf } from './plan.ts';
import { Stage } from './stage.ts';
import { type Reader, startAsker, startReader } from './witnesses.ts';

export interface Options {
  seconds: number;
  kills: number;
  seed: number;
  contacts: number;
  agents: number;
  /** The second switch is a real Asterisk. */
  asterisk: boolean;
}

export interface Report {
  seed: number;
  /** For people: how many of which kind. */
  faults: string;
  figures: Record<string, number | string>;
  checks: checks.Check[];
  /** Of all checks. */
  violations: number;
  /** The command that does the same again. */
  repeat: string;
}

/** After the last fault: what is not well again by then is stuck. */
const RECOVERS_WITHIN_MS = 30_000;
const REST_WITHIN_MS = 180_000;
const TELL_EVERY_MS = 10_000;

interface Ground {
  dataDir: string;
  say: Say;
  stopped: AbortSignal;
}

/** Rejects with the reason of `stopped` when that aborts, and when the stage can't be set or never comes to rest. */
export async function play(options: Options, ground: Ground): Promise<Report> {
  const { say, stopped } = ground;
  const stage = await Stage.open({ ...ground, asterisk: options.asterisk });
  const broken = new AbortController();
  try {
    const campaign = await makeList(stage, options.contacts);
    const reader = startReader(stage);
    const asker = startAsker(stage, campaign);
    await startAgents(stage, campaign, options.agents, options.seed);
    await stage.api.post(`/v1/campaigns/${campaign}/start`);
    say(`${options.contacts} contacts, ${options.agents} agents; seed ${options.seed}`);

    const reviving = stage.revive().catch((error: unknown) => broken.abort(error));
    const over = AbortSignal.any([stopped, broken.signal]);
    const faults = planOf({ ...options, ...stage.victims });
    const telling = tellProgress(stage, say, over);
    const done = await carryOut(stage, faults, say, over);
    stage.mend();
    await stage.whole();
    say('The last fault is over; what is not well again in 30 s is stuck');
    await sleep(RECOVERS_WITHIN_MS, undefined, { signal: over });
    const during = [await checks.agentsAreFree(stage), await checks.workflowsLive(stage)];
    await bringToRest(stage, campaign, say);
    asker.stop();
    const report = await judge(stage, options, done, reader, [
      ...during,
      { what: 'the API answers, or says 503 and when to come again', looked: asker.answers.get('200') ?? 0, violations: asker.wrong },
    ]);
    reader.stop();
    void telling;
    void reviving;
    return report;
  } catch (error) {
    // What could not be started again is why all else was broken off.
    throw broken.signal.aborted ? broken.signal.reason : error;
  } finally {
    await stage.close();
  }
}

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0);

/** Each at its time; several may be under way at once. Returns those that hit somebody. */
async function carryOut(stage: Stage, faults: readonly Fault[], say: Say, signal: AbortSignal): Promise<Fault[]> {
  const from = performance.now();
  const underWay: Promise<boolean>[] = [];
  for (const fault of faults) {
    await sleep(Math.max(0, from + fault.atMs - performance.now()), undefined, { signal });
    const { how, victim, forMs } = fault;
    say(`${how} ${victim}${forMs ? ` for ${(forMs / 1000).toFixed(1)} s` : ''}`);
    underWay.push(stage.harm(fault));
  }
  const hits = await Promise.all(underWay);
  return faults.filter((_, n) => hits[n]);
}

async function tellProgress({ sql }: Stage, say: Say, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(TELL_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    const found = await sql
      .query<{ done: number; talking: number; legs: number }>(
        `SELECT count(*) FILTER (WHERE closed_at IS NOT NULL)::int AS done,
                count(*) FILTER (WHERE state IN ('dialling', 'talking'))::int AS talking,
                (SELECT count(*)::int FROM leg WHERE leg_type = 'contact') AS legs FROM contact`,
      )
      .catch(() => null);
    const row = found?.rows[0];
    if (row && !signal.aborted) say(`${row.done} contacts are done, ${row.talking} on the line, ${row.legs} dials`);
  }
}

/** No new call is made; those that there are come to their end. Rejects when they do not. */
async function bringToRest(stage: Stage, campaign: string, say: Say): Promise<void> {
  await until('the campaign is stopped', REST_WITHIN_MS, async () => {
    try {
      await stage.api.post(`/v1/campaigns/${campaign}/stop`);
      return true;
    } catch (error) {
      // Stopped, though the answer was lost.
      return error instanceof ApiProblem && error.status === 409;
    }
  }, 1_000);
  say('The campaign is stopped; calls come to their end');
  let left: string[] = [];
  await until('nothing of a call is left', REST_WITHIN_MS, async () => {
    left = await checks.leftOver(stage);
    return left.length === 0;
  }, 1_000).catch(() => say(`${left.length} things are left`));
}

async function judge(stage: Stage, options: Options, faults: readonly Fault[], reader: Reader, during: checks.Check[]): Promise<Report> {
  const { sql } = stage;
  await stage.stop('agents');
  const left = await checks.leftOver(stage);
  const { rows } = await sql.query<{ position: string }>(`SELECT last AS position FROM event_position`);
  const last = BigInt(rows[0]!.position);
  // The reader may be a moment behind; what it does not get then, it has missed.
  await until('the reader has read on', 30_000, () => Promise.resolve(BigInt(reader.told.at(-1)?.position ?? 0) >= last)).catch(() => undefined);
  const dials = await checks.dialsOf(stage);
  const all = [
    checks.nobodyTwice(dials),
    await checks.oneRingAtATime(stage, dials),
    await checks.dialsAreOnRecord(stage, dials, reader.told),
    { what: 'nothing is left of a call when none is made any more', looked: dials.length, violations: left },
    ...during,
    await checks.workflowsEnd(stage),
    await checks.readerMissedNothing(stage, reader.told),
    await checks.endsAreExplained(stage, reader.told),
  ];
  const { seconds, kills, seed, contacts, agents, asterisk } = options;
  const real = asterisk ? ' --asterisk' : '';
  return {
    seed,
    faults: countFaults(faults),
    figures: await figuresOf(stage, dials, reader),
    checks: all,
    violations: all.reduce((n, { violations }) => n + violations.length, 0),
    repeat: `npm run chaos -- --seconds ${seconds} --kills ${kills} --seed ${seed} --contacts ${contacts} --agents ${agents}${real}`,
  };
}

async function figuresOf({ sql }: Stage, dials: Awaited<ReturnType<typeof checks.dialsOf>>, { told }: Reader): Promise<Report['figures']> {
  const count = async (text: string): Promise<number> => (await sql.query<{ n: number }>(text)).rows[0]!.n;
  const { rows } = await sql.query<{ reason: string; n: number }>(
    `SELECT ended_reason AS reason, count(*)::int AS n FROM contact WHERE closed_at IS NOT NULL GROUP BY 1 ORDER BY 2 DESC`,
  );
  const repairs = await sql.query<{ cause: string; n: number }>('SELECT cause, count(*)::int AS n FROM repair GROUP BY 1 ORDER BY 2 DESC');
  return {
    'contacts closed': sum(rows.map(({ n }) => n)),
    ...Object.fromEntries(rows.map(({ reason, n }) => [`  ${reason}`, n])),
    'dials to contacts': dials.filter(({ party }) => party === 'contact').length,
    'dials to agents': dials.filter(({ party }) => party === 'agent').length,
    'talks': await count(`SELECT count(*)::int AS n FROM leg WHERE leg_type = 'contact' AND answered_at IS NOT NULL`),
    'ends nobody knows (switch lost)': await count(`SELECT count(*)::int AS n FROM leg WHERE result_reason IN ('switch_lost', 'unknown')`),
    'repairs': repairs.rows.map(({ cause, n }) => `${n} ${cause}`).join(', ') || 'none',
    'events read': told.length,
  };
}
