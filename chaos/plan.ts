/** What is done to whom, and when: a function of the seed alone, so that a run can be made again. */
import { seededRandom } from '../telephony/simulator/script.ts';

export type How = 'kill' | 'freeze' | 'cut' | 'vanish' | 'slow';

export interface Fault {
  /** From the first fault's earliest moment on. */
  atMs: number;
  how: How;
  /** A process, or a wire: `worker-1 → postgres`. */
  victim: string;
  /** How long it lasts; a kill lasts no time, as whoever is killed is started again. */
  forMs: number;
}

export interface Victims {
  /** What can be killed and frozen. */
  processes: readonly string[];
  /** What can be cut (connections are refused), made to vanish (nothing comes through, nobody is told) and slowed. */
  wires: readonly string[];
}

interface PlanOptions extends Victims {
  seed: number;
  seconds: number;
  kills: number;
}

/** Freezes last as long as a long collection of garbage or a machine that is moved. */
const FREEZE_MS = [1_000, 60_000] as const;
const WIRE_MS = [500, 20_000] as const;
/** Besides the kills. */
const SHARE_OF_KILLS: Record<Exclude<How, 'kill'>, number> = { freeze: 1 / 3, cut: 1 / 4, vanish: 1 / 6, slow: 1 / 6 };

/** In the order of time; none outlasts the run. */
export function planOf({ seed, seconds, kills, processes, wires }: PlanOptions): Fault[] {
  const random = seededRandom(`chaos/${seed}`);
  const runMs = seconds * 1000;
  const one = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  /** Short ones are as likely as long ones: a tenth of a decade each. */
  const lasting = ([low, high]: readonly [number, number]): number => Math.round(low * (high / low) ** random());
  const fault = (how: How): Fault => {
    const onProcess = how === 'kill' || how === 'freeze';
    const wanted = how === 'kill' ? 0 : lasting(how === 'freeze' ? FREEZE_MS : WIRE_MS);
    const forMs = Math.min(wanted, runMs);
    return { atMs: Math.round(random() * (runMs - forMs)), how, victim: one(onProcess ? processes : wires), forMs };
  };
  const times = (how: How, count: number): Fault[] => Array.from({ length: Math.ceil(count) }, () => fault(how));
  const others = Object.entries(SHARE_OF_KILLS).flatMap(([how, share]) => times(how as How, kills * share));
  return [...times('kill', kills), ...others].sort((a, b) => a.atMs - b.atMs);
}

/** `12 kills, 4 freezes`, for people. */
export function countFaults(faults: readonly Fault[]): string {
  const words: Record<How, [one: string, many: string]> = {
    kill: ['kill', 'kills'],
    freeze: ['freeze', 'freezes'],
    cut: ['cut', 'cuts'],
    vanish: ['silent cut', 'silent cuts'],
    slow: ['slow wire', 'slow wires'],
  };
  return (Object.keys(words) as How[])
    .map((how) => ({ n: faults.filter((fault) => fault.how === how).length, words: words[how] }))
    .filter(({ n }) => n > 0)
    .map(({ n, words: [single, many] }) => `${n} ${n === 1 ? single : many}`)
    .join(', ');
}
