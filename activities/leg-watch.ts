/** Who waits for a leg to change, in this process. */
import type { LegRow } from './sql.ts';

/** One leg as an activity sees it: the row as last written, and a wait for the next change. */
export interface LegWatch {
  readonly row: LegRow;
  /** Resolves at the next change since the last call, or after `ms`. */
  next(ms: number): Promise<void>;
  close(): void;
}

export interface Watchers {
  watch: (row: LegRow) => LegWatch;
  /** Passes a newer row on (null: something beside the row has changed) and wakes who waits for the leg. */
  wake: (legId: string, row: LegRow | null) => void;
}

type Notify = (newer: LegRow | null) => void;

export function createWatchers(): Watchers {
  const byLeg = new Map<string, Set<Notify>>();
  return {
    wake: (legId, row) => byLeg.get(legId)?.forEach((notify) => notify(row)),

    watch(row) {
      let current = row;
      let hasChanged = false;
      let resume: (() => void) | undefined;
      const notify: Notify = (newer) => {
        current = newer ?? current;
        hasChanged = true;
        resume?.();
      };
      const notified = byLeg.get(row.id) ?? new Set();
      byLeg.set(row.id, notified.add(notify));
      return {
        get row() {
          return current;
        },
        async next(ms) {
          if (!hasChanged) {
            let timer: NodeJS.Timeout | undefined;
            await new Promise<void>((resolve) => {
              resume = resolve;
              timer = setTimeout(resolve, ms);
            });
            clearTimeout(timer);
          }
          hasChanged = false;
        },
        close() {
          notified.delete(notify);
          if (notified.size === 0) byLeg.delete(row.id);
        },
      };
    },
  };
}
