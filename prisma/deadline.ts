/**
 * Work that is waited for only so long. Until it has committed something it is given up then: what it has not begun is not begun
 * any more, so that whoever was told that it was too late does not find it done afterwards, behind what was asked for since.
 * From its first commit on it goes on to its end, since nothing may be left half done.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** The time is up: of what was under way it is unknown whether it was done. */
export class TooLate extends Error {
  constructor() {
    super('it takes too long just now');
    this.name = 'TooLate';
  }
}

interface Deadline {
  isGivenUp: AbortController;
  carriesOn: boolean;
}
const deadlines = new AsyncLocalStorage<Deadline>();

/**
 * Rejects with {@link TooLate} after `ms`; the work goes on to the next thing that it may not do any more or, with
 * `carriesOn`, to its end.
 */
export async function within<T>(ms: number, work: () => Promise<T>, { carriesOn = false } = {}): Promise<T> {
  const deadline: Deadline = { isGivenUp: new AbortController(), carriesOn };
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      if (!deadline.carriesOn) deadline.isGivenUp.abort(new TooLate());
      reject(new TooLate());
    }, ms);
  });
  try {
    return await Promise.race([deadlines.run(deadline, work), over]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is written down even when nobody waits any more: how it has ended, for whoever asks again. */
export const inAnyCase = <T>(work: () => Promise<T>): Promise<T> => deadlines.exit(work);

/** Something was committed: what belongs to it is done as well, whether or not anybody waits. */
export function carryOn(): void {
  const deadline = deadlines.getStore();
  if (!deadline) return;
  deadline.carriesOn = true;
  // The time may have run out while the commit was on its way.
  deadline.isGivenUp = new AbortController();
}

/** Aborted when the work that asks is given up. It stays that work's own, whoever calls the function; never: nobody gives it up. */
export const givenUp = (): AbortSignal => deadlines.getStore()?.isGivenUp.signal ?? NEVER;
const NEVER = new AbortController().signal;

/** Throws {@link TooLate} when the work that asks was given up. */
export const mustBeInTime = (): void => givenUp().throwIfAborted();
