/** Which legs end together ("Decisions of the port" in docs/telephony.md). */
import type { EndWhy } from './telephony.ts';

export interface Bound {
  legId: string;
  /** Why the others end, if this one's far end (or its timer, or the switch) ended it first; null: they don't. */
  why: EndWhy | null;
}

export class Bonds {
  #byMix = new Map<string, Bound[]>();

  /** In place of what was said of the mix before; an empty list undoes it. */
  set(mix: string, legs: Bound[]): void {
    if (legs.length > 0) this.#byMix.set(mix, legs);
    else this.#byMix.delete(mix);
  }

  get(mix: string): Bound[] {
    return this.#byMix.get(mix) ?? [];
  }

  /** The mixes that bind a leg: all legs there, and why those others end that end with this one; null: none does. */
  of(legId: string): { mix: string; why: EndWhy | null; legs: Bound[] }[] {
    return [...this.#byMix].flatMap(([mix, legs]) => {
      const own = legs.find((leg) => leg.legId === legId);
      return own ? [{ mix, why: own.why, legs }] : [];
    });
  }
}
