/** Hands facts to the one listener: of each leg in order, different legs at the same time, until it has taken them. */
import type { Logger } from '../config/log.ts';
import type { LegFact } from './telephony.ts';

const REDELIVER_MS = 250;

interface Delivery {
  fact: LegFact;
  delivered: () => void;
}

export class Deliveries {
  #listener: (fact: LegFact) => Promise<void>;
  #log: Logger;
  #queues = new Map<string, Delivery[]>();
  #running = new Set<Promise<void>>();
  #stopped = new AbortController();

  constructor(listener: (fact: LegFact) => Promise<void>, log: Logger) {
    this.#listener = listener;
    this.#log = log;
  }

  add(delivery: Delivery): void {
    if (this.#stopped.signal.aborted) return;
    const { legId } = delivery.fact;
    const queue = this.#queues.get(legId);
    if (queue) {
      queue.push(delivery);
      return;
    }
    const fresh = [delivery];
    this.#queues.set(legId, fresh);
    const run = this.#run(legId, fresh).finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Forgets what waits: another process gets it now. What the listener holds already runs to its end. */
  drop(): void {
    for (const queue of this.#queues.values()) queue.splice(1);
  }

  /** Takes nothing more; resolves when the listener has come to its end, or after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    this.#stopped.abort();
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise((resolve) => (timer = setTimeout(resolve, withinMs)));
    await Promise.race([Promise.all(this.#running), enough]);
    clearTimeout(timer);
  }

  async #run(legId: string, queue: Delivery[]): Promise<void> {
    while (queue.length > 0 && !this.#stopped.signal.aborted) {
      const { fact, delivered } = queue[0]!;
      try {
        await this.#listener(fact);
      } catch (err) {
        this.#log.warn({ err, legId, type: fact.type }, 'a fact was not taken and is delivered again');
        await this.#pause();
        continue;
      }
      queue.shift();
      delivered();
    }
    this.#queues.delete(legId);
  }

  #pause(): Promise<void> {
    const { signal } = this.#stopped;
    return new Promise((resolve) => {
      const timer = setTimeout(done, REDELIVER_MS);
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done);
    });
  }
}
