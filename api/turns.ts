/** Work that takes turns, so that much of it at once leaves room for what is urgent. */
import { AppError } from '../domain/errors.ts';

export type Turns = <T>(work: () => Promise<T>) => Promise<T>;

/** At most `most` at once; further ones wait, and when `waiting` wait already, UNAVAILABLE for `why`. */
export function createTurns(most: number, waiting: number, why: string): Turns {
  let free = most;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else if (queue.length < waiting) await new Promise<void>((resolve) => queue.push(resolve));
    else throw new AppError('UNAVAILABLE', `${why}; repeat the request after Retry-After seconds`);
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else free++;
    }
  };
}
