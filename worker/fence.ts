/**
 * The fence: no worker works while PostgreSQL and Temporal are of different times, since one of them was restored. Whoever
 * works counts on in both, PostgreSQL first; by their numbers a difference is seen (domain/fence.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { countBeat, type FenceRow, readFence } from '../activities/restore-sql.ts';
import { type Standing, STANDING_MEANS, standingOf } from '../domain/fence.ts';
import type { Db } from '../prisma/tx.ts';
import type { TemporalFence } from '../workflows/fence.ts';
import { repeat } from './sweep.ts';

/** What is lost by less than this is not seen: as of a crash, it is what unique indexes and reconciliation are for. */
const BEAT_MS = 10_000;
const LOOK_EVERY_MS = 2_000;
/** So often it is out of step, before it is believed: a number may be on its way. */
const LOOKS = 3;

export interface FenceDeps {
  db: Pick<Db, 'pool' | 'clock'>;
  temporal: TemporalFence;
  log: Logger;
}

/** Reads both numbers. Throws while PostgreSQL or Temporal is away. */
export async function lookAtFence({ db, temporal }: Pick<FenceDeps, 'db' | 'temporal'>) {
  // Temporal's first, as PostgreSQL's is counted first: one that was counted in between is no difference.
  const there = await temporal.read();
  const row = (await db.pool.query<FenceRow>(readFence)).rows[0]!;
  return { row, there, standing: standingOf(row, there) };
}

const isOpen = (standing: Standing): standing is 'in_step' | 'new' => standing === 'in_step' || standing === 'new';

/** Waits until it is open, as long as that takes; `tell` says why not, for people, again and again. */
export async function untilOpen(deps: FenceDeps, tell: (why: string) => Promise<void>): Promise<void> {
  for (let shut = 0; ; ) {
    try {
      const { standing } = await lookAtFence(deps);
      if (isOpen(standing)) return;
      shut += 1;
      const why = `${STANDING_MEANS[standing]}. Nobody is called until npm run reconcile has been run`;
      if (shut === LOOKS) deps.log.fatal(why);
      if (shut >= LOOKS) await tell(why);
    } catch (error) {
      deps.log.warn({ err: error }, 'PostgreSQL and Temporal could not be compared yet');
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** Counts on. `closed` is called once, when it is found shut: nothing may be done from then on. */
export function keepFence(deps: FenceDeps, closed: (why: string) => void): { stop(): Promise<void> } {
  let shut = 0;
  return repeat(async () => {
    try {
      const standing = await beat(deps);
      shut = isOpen(standing) ? 0 : shut + 1;
      if (!isOpen(standing) && shut === LOOKS) closed(STANDING_MEANS[standing]);
    } catch (error) {
      deps.log.debug({ err: error }, 'not counted; it is repeated');
    }
    return shut > 0 ? LOOK_EVERY_MS : BEAT_MS;
  });
}

/** One look, and where it is time the next number in both. */
async function beat({ db, temporal }: FenceDeps): Promise<Standing> {
  const { row, there, standing } = await lookAtFence({ db, temporal });
  if (!isOpen(standing)) return standing;
  // Nobody has counted there yet; or whoever has counted here died before counting there.
  if (there === null || there < row.beat) await temporal.write(row.beat);
  const now = db.clock.now();
  const { rowCount } = await db.pool.query(countBeat(now, row.beat, new Date(now.getTime() - BEAT_MS / 2)));
  if (rowCount) await temporal.write(row.beat + 1);
  return standing;
}
