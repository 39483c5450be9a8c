/** From what undisturbed calls have passed to where they are crashed. */
import { seededRandom } from '../../../telephony/simulator/script.ts';
import { transactionsOfCode } from './code.ts';
import type { Crash } from './crash.ts';
import type { Scenario } from './play.ts';

/** Without its number. */
export const nameOf = (point: string): string => point.replace(/ #\d+$/, '');

export interface Recorded {
  scenario: Scenario;
  /** Of two calls. */
  runs: [string[], string[]];
}

export interface Planned extends Crash {
  /** Both calls have passed it, and any will: how often one comes by again is a matter of time. */
  isSure: boolean;
}

/**
 * The worker is killed at every point when a call first comes by it, and at a `share` of the later times; it is frozen at a
 * `share` of all. `idle`: points of a worker without a call, of which one each is enough.
 */
export function plan(recorded: Recorded[], idle: string[], { seed, share }: { seed: number; share: number }): Planned[] {
  const again = new Set(idle.map(nameOf));
  const taken = new Set<string>();
  const crashes: Planned[] = [];
  for (const { scenario, runs } of recorded) {
    const [first, second] = runs;
    const repeated = runs.map(repeatedIn);
    for (const point of new Set([...first, ...second])) {
      if (taken.has(point) || (again.has(nameOf(point)) && !point.endsWith(' #1'))) continue;
      taken.add(point);
      const isFirst = point.endsWith(' #1');
      const isSure = isFirst && first.includes(point) && second.includes(point) && !again.has(nameOf(point));
      const random = seededRandom(`${seed}/${point}`);
      const isDrawn = random() < share;
      const isRepeated = repeated.every((points) => points.has(point));
      if (!isRepeated && (isFirst || isDrawn)) crashes.push({ scenario, point, how: 'killed', isSure });
      if (random() < share) crashes.push({ scenario, point, how: 'frozen', isSure });
    }
  }
  return crashes;
}

/**
 * Points before something that come directly after something else: there is nothing between the two, so that to die at one or
 * at the other leaves the same. (To be frozen does not: one may hold locks.)
 */
const repeatedIn = (run: string[]): Set<string> =>
  new Set(run.filter((point, at) => point.startsWith('before ') && run[at - 1]?.startsWith('after ')));

const siteAt = new Map(transactionsOfCode().map(({ name, place }) => [place, name]));

/** Activities and transactions among these points, as test/kit/crash/reached.ts names them. */
export function reachedBy(points: string[]): string[] {
  const names = points.map((point) => {
    const [, activity] = /^before activity (\S+)/.exec(point) ?? [];
    const [, place] = /^before COMMIT of (\S+)/.exec(point) ?? [];
    return activity ?? (place && siteAt.get(place));
  });
  return [...new Set(names.filter((name) => name !== undefined))].toSorted();
}

/** With the name of a transaction in place of its line. */
export const inWords = (point: string): string => point.replace(/(?<=COMMIT of )\S+/, (place) => siteAt.get(place) ?? place);
