/** The legs that an adapter believes to live, and those whose end it had to declare itself. */
import type { LegFact } from '../telephony.ts';
import { legDurations, type LegSnapshot } from '../snapshot.ts';

/** How long a leg that was given up is remembered, against late facts of it: as long as the switch remembers legs. */
const MEMORY_MS = 10 * 60_000;

export class KnownLegs {
  #live = new Map<string, LegSnapshot>();
  /** With the time when it was given up, oldest first. */
  #givenUp = new Map<string, number>();

  add(leg: LegSnapshot): void {
    if (!this.#givenUp.has(leg.legId)) this.#live.set(leg.legId, { ...leg });
  }

  /** Takes in what a fact says; false for a leg that was given up: its end has been told, nothing may follow. */
  follow(fact: LegFact): boolean {
    const { legId, at, type } = fact;
    if (this.#givenUp.has(legId)) return false;
    if (type === 'ended') {
      this.#live.delete(legId);
      return true;
    }
    const leg = this.#live.get(legId) ?? {
      legId,
      phase: 'setup' as const,
      startedAt: at,
      alertingAt: null,
      answeredAt: null,
    };
    if (type === 'progress' && fact.phase === 'alerting') Object.assign(leg, { phase: 'alerting', alertingAt: at });
    if (type === 'answered') Object.assign(leg, { phase: 'answered', answeredAt: at });
    this.#live.set(legId, leg);
    return true;
  }

  /** Takes over the switch's list; returns the end of each leg that should be in it and is not. */
  reconcile(listed: LegSnapshot[]): LegFact[] {
    const present = new Set(listed.map(({ legId }) => legId));
    const ended = this.#declareLost([...this.#live.values()].filter(({ legId }) => !present.has(legId)));
    for (const leg of listed) this.add(leg);
    return ended;
  }

  /** Which of these were given up although they live. */
  givenUpOf(listed: LegSnapshot[]): string[] {
    return listed.map(({ legId }) => legId).filter((legId) => this.#givenUp.has(legId));
  }

  /** Gives up every live leg; returns their ends. */
  giveUp(): LegFact[] {
    return this.#declareLost([...this.#live.values()]);
  }

  /** Another process follows the legs now. */
  forget(): void {
    this.#live.clear();
  }

  #declareLost(legs: LegSnapshot[]): LegFact[] {
    const at = Date.now();
    for (const [legId, since] of this.#givenUp) if (at - since > MEMORY_MS) this.#givenUp.delete(legId);
    return legs.map((leg) => {
      this.#live.delete(leg.legId);
      this.#givenUp.set(leg.legId, at);
      const { legId, phase } = leg;
      return { type: 'ended', legId, at, phase, by: 'switch', why: 'switch_lost', ...legDurations(leg, at) };
    });
  }
}
