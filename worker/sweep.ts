/**
 * The sweep: once a second, in every worker, everything whose time has come and everything that was not told. Beside it,
 * at their own moments, contacts who are due and what the nodes' calls a second have held back, and in its own time, who must
 * not be called.
 */
import type { Logger } from 'pino';
import { carryOutStops, tellUnsettled } from '../activities/campaigns.ts';
import { tellOverdue } from '../activities/contacts.ts';
import { createListings } from '../activities/do-not-call.ts';
import type { LegBook } from '../activities/legs.ts';
import { endUnrungOffers, tellNodeLost } from '../activities/lost.ts';
import { queueDue } from '../matching/due.ts';
import type { Matching } from '../matching/matching.ts';
import { matchingSteps, matchPaced } from '../matching/sweep.ts';
import type { Db } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';

const EVERY_MS = 1_000;
/** What is told at once and repeated seldom (a long feed takes minutes), and what only people's hands bring about. */
const SELDOM_MS = 15_000;

export interface SweepDeps {
  db: Db;
  workflows: Workflows;
  matching: Matching;
  legs: LegBook;
  node: string;
  /** createRepairs() of activities/repair.ts */
  repair: () => Promise<void>;
  log: Logger;
}

export function startSweep(deps: SweepDeps): { stop(): Promise<void> } {
  const loops = [
    repeat(() => sweep(deps)),
    repeat(() => seldom(deps)),
    repeat(() => due(deps)),
    repeat(() => pace(deps)),
    repeat(listings(deps)),
  ];
  return {
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

/** Does it over and over, with a pause of as many milliseconds as `work` says. */
export function repeat(work: (round: number) => Promise<number>): { stop(): Promise<void> } {
  let stopping = false;
  let wake: (() => void) | undefined;
  const loop = (async () => {
    for (let round = 0; !stopping; round++) {
      const pauseMs = await work(round);
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (stopping) resolve();
        else setTimeout(resolve, pauseMs);
      });
    }
  })();
  return {
    async stop() {
      stopping = true;
      wake?.();
      await loop;
    },
  };
}

/** Somebody may have come to be due, or a node to have room, earlier than is known by now. */
const pauseUntil = ({ clock }: Db, at: Date | null): number =>
  at ? Math.min(EVERY_MS, Math.max(1, at.getTime() - clock.now().getTime())) : EVERY_MS;

/** Whoever was promised a call at a second has it in that second; page by page, as very many may have the same. */
async function due({ db, matching, workflows, log }: SweepDeps): Promise<number> {
  try {
    return pauseUntil(db, await queueDue({ db, matching, workflows }));
  } catch (error) {
    log.warn({ err: error }, 'contacts who are due were not queued; it is repeated');
    return EVERY_MS;
  }
}

/** With calls a second that were made once a second, a node would be overrun first and idle then. */
async function pace({ db, matching, log }: SweepDeps): Promise<number> {
  try {
    return pauseUntil(db, await matchPaced({ db }, matching));
  } catch (error) {
    log.warn({ err: error }, 'calls that are due were not made; the sweep makes them');
    return EVERY_MS;
  }
}

/** Page by page, since a list of a million takes its time. */
function listings(deps: SweepDeps): () => Promise<number> {
  const endListed = createListings(deps);
  return async () => {
    const isMore = await endListed().catch((error: unknown) => {
      deps.log.warn({ err: error }, 'contacts that must not be called were not ended; it is repeated');
      return false;
    });
    return isMore ? 0 : EVERY_MS;
  };
}

/** Step by step: one that fails is repeated with the next sweep and keeps no other from its work. */
async function sweep(deps: SweepDeps): Promise<number> {
  const { matching, legs, node } = deps;
  await carryOut(deps, {
    stops: () => carryOutStops(deps),
    ...matchingSteps(deps, matching),
    'ended talks': () => legs.deliverEndedTalks(),
    'offers not rung': () => endUnrungOffers(deps),
    'lost nodes': () => tellNodeLost(deps, node),
  });
  return EVERY_MS;
}

/** What asks Temporal about each thing takes its time, and keeps nobody from being freed. */
async function seldom(deps: SweepDeps): Promise<number> {
  await carryOut(deps, {
    'unsettled campaigns': () => tellUnsettled(deps),
    'overdue contacts': () => tellOverdue(deps),
    repairs: deps.repair,
  });
  return SELDOM_MS;
}

async function carryOut({ log }: SweepDeps, steps: Record<string, () => Promise<void>>): Promise<void> {
  for (const [step, run] of Object.entries(steps)) {
    await run().catch((error: unknown) => log.warn({ err: error, step }, 'a step of the sweep failed; it is repeated'));
  }
}
