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
  watchCall: (callId: string) => Pick<LegWatch, 'next' | 'close'>;
  /** Passes a newer row on (null: something beside the row has changed) and wakes who waits for the leg, or the call. */
  wake: (id: string, row: LegRow | null) => void;
}

type Notify = (newer: LegRow | null) => void;

export function createWatchers(): Watchers {
  const byId = new Map<string, Set<Notify>>();

  /** `seen` is given each newer row. */
  function listen(id: string, seen: Notify): Pick<LegWatch, 'next' | 'close'> {
    let hasChanged = false;
    let resume: (() => void) | undefined;
    const notify: Notify = (newer) => {
      seen(newer);
      hasChanged = true;
      resume?.();
    };
    const notified = byId.get(id) ?? new Set();
    byId.set(id, notified.add(notify));
    return {
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
        if (notified.size === 0) byId.delete(id);
      },
    };
  }

  return {
    wake: (id, row) => byId.get(id)?.forEach((notify) => notify(row)),

    watch(row) {
      let current = row;
      const listening = listen(row.id, (newer) => (current = newer ?? current));
      return {
        ...listening,
        get row() {
          return current;
        },
      };
    },

    watchCall: (callId) => listen(callId, () => {}),
  };
}
