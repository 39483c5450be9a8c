/**
 * Work that is waited for only so long. What it has not begun by then is not begun any more, and what it has not committed is
 * not committed: whoever was told that it was too late must not find it done afterwards, behind what was asked for since.
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
  isOver: boolean;
}
const deadlines = new AsyncLocalStorage<Deadline>();

/**
 * Rejects with {@link TooLate} after `ms`; the work goes on to the next thing that it may not do any more or, with
 * `carriesOn`, to its end.
 */
export async function within<T>(ms: number, work: () => Promise<T>, { carriesOn = false } = {}): Promise<T> {
  const deadline: Deadline = { isOver: false };
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      deadline.isOver = !carriesOn;
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

/** True when nobody waits any more for the work that asks. The answer stays that work's own, whoever calls the function. */
export function deadlineOf(): () => boolean {
  const deadline = deadlines.getStore();
  return () => deadline?.isOver === true;
}

/** Throws {@link TooLate} when nobody waits any more for the work that asks. */
export function mustBeInTime(): void {
  if (deadlines.getStore()?.isOver) throw new TooLate();
}
