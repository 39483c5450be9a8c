/** Legs that are over, and legs that must never be: what makes `originate` and `hangUp` idempotent. */

/** Longer than any `notAfter` and any retry of a command. */
const MEMORY_MS = 10 * 60_000;

export class GoneLegs {
  /** Oldest first. */
  #legs = new Map<string, { at: number; dialled: boolean }>();

  /** `dialled: false` is a tombstone: it was hung up before it was sent. The first word stands. */
  add(legId: string, dialled: boolean, now = Date.now()): void {
    for (const [old, { at }] of this.#legs) {
      if (now - at <= MEMORY_MS) break;
      this.#legs.delete(old);
    }
    if (!this.#legs.has(legId)) this.#legs.set(legId, { at: now, dialled });
  }

  has(legId: string): boolean {
    return this.#legs.has(legId);
  }

  wasDialled(legId: string): boolean {
    return this.#legs.get(legId)?.dialled ?? false;
  }
}
