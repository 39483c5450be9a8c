/**
 * Whether PostgreSQL and Temporal are of the same time (docs/operations.md, "Restoring"). Both have a number that workers
 * count up, PostgreSQL's first: so Temporal has the same one, or the one before.
 */

export type Standing =
  | 'in_step'
  /** Neither has counted yet: a new installation, or one that is from before there was a fence. */
  | 'new'
  | 'reconciling'
  | 'postgresql_older'
  | 'temporal_older'
  | 'temporal_lost';

/** `temporal`: its number; null: it has none. */
export function standingOf({ beat, reconciling }: { beat: number; reconciling: string | null }, temporal: number | null): Standing {
  if (reconciling !== null) return 'reconciling';
  if (temporal === null) return beat === 0 ? 'new' : 'temporal_lost';
  if (temporal > beat) return 'postgresql_older';
  return temporal < beat - 1 ? 'temporal_older' : 'in_step';
}

/** For people. */
export const STANDING_MEANS: Readonly<Record<Exclude<Standing, 'in_step' | 'new'>, string>> = {
  reconciling: 'a reconciliation was begun and not finished',
  postgresql_older: 'PostgreSQL is older than Temporal: it was restored from a backup',
  temporal_older: 'Temporal is older than PostgreSQL: it was restored from a backup',
  temporal_lost: 'Temporal has lost what it knew of this installation',
};
