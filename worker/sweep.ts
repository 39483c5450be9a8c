/** The sweep: once a second, in every worker, everything whose time has come and everything that was not told. */
import type { Logger } from 'pino';
import { carryOutStops, tellUnsettled } from '../activities/campaigns.ts';
import type { LegBook } from '../activities/legs.ts';
import { endUnrungOffers, tellNodeLost } from '../activities/lost.ts';
import type { Matching } from '../matching/matching.ts';
import { matchingSteps } from '../matching/sweep.ts';
import type { Db } from '../prisma/tx.ts';
import type { Workflows } from '../workflows/client.ts';

const EVERY_MS = 1_000;
/** What is told at once and repeated seldom (a long feed takes minutes), and what only people's hands bring about. */
const SELDOM = 15;

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
  let stopping = false;
  let wake: (() => void) | undefined;
  const loop = (async () => {
    for (let round = 0; !stopping; round++) {
      await sweep(deps, round);
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (stopping) resolve();
        else setTimeout(resolve, EVERY_MS);
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

/** Step by step: one that fails is repeated with the next sweep and keeps no other from its work. */
async function sweep(deps: SweepDeps, round: number): Promise<void> {
  const { log, matching, legs, node, repair } = deps;
  const always = {
    stops: () => carryOutStops(deps),
    ...matchingSteps(deps, matching),
    'ended talks': () => legs.deliverEndedTalks(),
    'offers not rung': () => endUnrungOffers(deps),
    'lost nodes': () => tellNodeLost(deps, node),
  };
  const seldom = { 'unsettled campaigns': () => tellUnsettled(deps), repairs: repair };
  for (const [step, run] of Object.entries(round % SELDOM === 0 ? { ...always, ...seldom } : always)) {
    await run().catch((error: unknown) => log.warn({ err: error, step }, 'a step of the sweep failed; it is repeated'));
  }
}
