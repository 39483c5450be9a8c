/**
 * Facts, numbered over all legs and kept until they are acknowledged, so that a worker that was away gets what happened
 * meanwhile, in order. Bounded in count and age: a switch can't remember for ever.
 */
import type { Logger } from '../../config/log.ts';
import type { LegFact } from '../telephony.ts';

export interface NumberedFact {
  seq: number;
  fact: LegFact;
}

const MAX_FACTS = 100_000;
const MAX_AGE_MS = 60 * 60_000;

export class FactQueue {
  #pending = new Map<number, LegFact>();
  #lastSeq = 0;
  #log: Logger;
  /** Told every new fact. */
  onFact: (numbered: NumberedFact) => void = () => {};

  constructor(log: Logger) {
    this.#log = log;
  }

  add(fact: LegFact): void {
    this.#lastSeq += 1;
    this.#pending.set(this.#lastSeq, fact);
    this.#forgetOldest(fact.at);
    this.onFact({ seq: this.#lastSeq, fact });
  }

  acknowledge(seq: number): void {
    this.#pending.delete(seq);
  }

  /** How many are not acknowledged. */
  get size(): number {
    return this.#pending.size;
  }

  /** All that is not acknowledged, oldest first. */
  pending(): NumberedFact[] {
    return [...this.#pending].map(([seq, fact]) => ({ seq, fact }));
  }

  #forgetOldest(now: number): void {
    for (const [seq, fact] of this.#pending) {
      if (this.#pending.size <= MAX_FACTS && now - fact.at <= MAX_AGE_MS) return;
      this.#pending.delete(seq);
      this.#log.error({ seq, legId: fact.legId, type: fact.type }, 'a fact that nobody fetched is dropped');
    }
  }
}
