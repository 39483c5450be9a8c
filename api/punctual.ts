/** Nobody waits long for an answer, and no more is worked on than memory has room for, however slow what is needed has become. */
import type { Response } from 'express';
import type { Logger } from '../config/log.ts';
import { within } from '../prisma/deadline.ts';
import type { Route } from './http.ts';
import { createTurns } from './turns.ts';

/** From when a request has come, or its body; together with the way here and back less than 2 s. */
const ANSWERED_WITHIN_MS = 1_800;
/** Far more than connections to the database; what has been answered and still goes on counts. */
const MOST_AT_ONCE = 1_000;

/** Throws UNAVAILABLE at once when too much is under way, and TooLate when `work` takes longer than the request has left. */
export type Punctual = <T>(res: Response, whenLate: Route['whenLate'], work: () => Promise<T>) => Promise<T>;

export function createPunctual(log: Logger): Punctual {
  const inTurn = createTurns(MOST_AT_ONCE, 0, 'too many requests are under way');
  return async (res, whenLate, work) => {
    const told = (err: unknown): never => {
      // Nobody waits for it any more.
      if (res.headersSent) log.error({ err }, 'what was to be carried out all the same has failed');
      throw err;
    };
    if (whenLate === 'waited_for') return work();
    const begun = performance.now();
    const left = ANSWERED_WITHIN_MS - ((res.locals.spentMs as number | undefined) ?? 0);
    try {
      // What keeps people from being called waits for nobody.
      if (whenLate === 'carried_out') return await within(left, () => work().catch(told), { carriesOn: true });
      return await within(left, () => inTurn(work));
    } finally {
      res.locals.spentMs = ANSWERED_WITHIN_MS - left + performance.now() - begun;
    }
  };
}
