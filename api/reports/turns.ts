/** Work that takes turns, so that much of it at once leaves room for what is urgent. */
import { AppError } from '../../domain/errors.ts';

/** At most `most` at once; further ones wait, and when `waiting` wait already, UNAVAILABLE. */
export function createTurns(most: number, waiting: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = most;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else if (queue.length < waiting) await new Promise<void>((resolve) => queue.push(resolve));
    else throw new AppError('UNAVAILABLE', 'too many reports are asked for at once; ask again after Retry-After seconds');
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else free++;
    }
  };
}
