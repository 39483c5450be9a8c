/** The legs that live at Asterisk, those that are over, and what the end of one means for others. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import { type Bound, Bonds } from '../bonds.ts';
import { GoneLegs } from '../gone-legs.ts';
import type { LegFact } from '../telephony.ts';
import type { AsteriskChannels } from './channels.ts';
import { type Ender, Leg, type Plan } from './leg.ts';
import { bond, VARIABLE } from './names.ts';

/** What Asterisk did not answer is asked for again. */
const AGAIN_MS = 1_000;
/** So long the event of an end may be on its way. */
const MISSED_AFTER_MS = 2_000;

export interface LegsListener {
  fact(fact: LegFact): void;
  /** Brings a leg up to where its channel is now. */
  look(leg: Leg): Promise<void>;
  /** Asterisk has no channel of this leg, and has told no end of it. */
  missed(leg: Leg): Promise<void>;
}

export class Legs {
  readonly gone = new GoneLegs();
  readonly #live = new Map<string, Leg>();
  readonly #bonds = new Bonds();
  readonly #channels: AsteriskChannels;
  readonly #log: Logger;
  readonly #listener: LegsListener;

  constructor(channels: AsteriskChannels, log: Logger, listener: LegsListener) {
    this.#channels = channels;
    this.#log = log;
    this.#listener = listener;
  }

  get live(): Leg[] {
    return [...this.#live.values()];
  }

  find(legId: string): Leg | undefined {
    return this.#live.get(legId);
  }

  /** Not among the live ones yet. */
  make(legId: string, plan: Plan, startedAt: number | null): Leg {
    const fact = (told: LegFact): void => this.#listener.fact(told);
    return new Leg(legId, plan, startedAt, { fact, timedOut: (leg) => void this.#timedOut(leg) });
  }

  add(legId: string, plan: Plan, startedAt: number): Leg {
    const leg = this.make(legId, plan, startedAt);
    this.#live.set(legId, leg);
    return leg;
  }

  /** It was dialled: Asterisk is not to take it away at its `notAfter` any more. */
  lift(leg: Leg): Promise<void> {
    if (!leg.isLimited) return Promise.resolve();
    leg.lifting ??= this.#channels
      .liftLimit(leg.legId)
      .then(() => void (leg.isLimited = false))
      .finally(() => (leg.lifting = null));
    return leg.lifting;
  }

  /** A sign of the phone shows that it was dialled, whatever became of the answers to our requests. */
  liftSurely(leg: Leg): void {
    if (leg.isLimited) void this.#untilAnswered(leg, 'the limit of a leg could not be lifted', () => this.lift(leg));
  }

  // ---- the end of a leg ----------------------------------------------------------------------------------------------

  /** The first sign that a leg ends. Those bound to it end too: Asterisk does so by itself, this is for what it missed. */
  endedBy(leg: Leg, ender: Ender): void {
    if (leg.endedBy(ender)) void this.#endOthers(leg);
  }

  /** Hangs up: again until Asterisk has answered, or the leg is over. */
  async hangUp(leg: Leg): Promise<void> {
    await this.#untilAnswered(leg, 'a leg could not be hung up', async () => {
      if ((await this.#channels.hangUp(leg.legId)) === 'ended') return;
      // Its end is an event on its way, unless that was lost.
      await sleep(MISSED_AFTER_MS);
      if (this.#live.get(leg.legId) === leg) await this.#listener.missed(leg);
    });
  }

  /** Its channel is no more (or has never been): `tellEnd` tells that, as the last of its facts. */
  bury(leg: Leg, tellEnd: () => void): void {
    const { legId, mix } = leg;
    this.#live.delete(legId);
    this.gone.add(legId, true);
    void this.#endOthers(leg);
    tellEnd();
    void this.#stopRinging(leg);
    if (mix !== null) this.clear(mix);
  }

  /** A mix whose last leg has ended or left is no more. */
  clear(mix: string): void {
    if (this.live.some((leg) => leg.mix === mix)) return;
    this.#channels.removeBridge(mix).catch((err: unknown) => this.#log.warn({ err, mix }, 'a bridge was left behind'));
  }

  /** For those who have waited for it, and go on without it. */
  async #stopRinging({ mix, phase }: Leg): Promise<void> {
    if (mix === null || phase === 'answered') return;
    const waiting = this.live.filter((other) => other.mix === mix && other.phase === 'answered' && !other.ender);
    await Promise.all(waiting.map(({ legId }) => this.#channels.stopRinging(legId))).catch((err: unknown) => {
      this.#log.warn({ err }, 'ring-back goes on');
    });
  }

  /** It was never sent, and never will be; nothing is told of it. */
  drop(leg: Leg): void {
    this.lose(leg);
    this.gone.add(leg.legId, false);
    void this.#stopRinging(leg);
  }

  /** It is another process's. */
  lose(leg: Leg): void {
    leg.forget();
    this.#live.delete(leg.legId);
  }

  /** Asterisk stays away: nobody will say what became of them. */
  giveUp(): void {
    for (const leg of this.live) {
      this.#live.delete(leg.legId);
      this.gone.add(leg.legId, true);
      leg.lost(Date.now(), 'switch_lost');
      if (leg.mix !== null) this.#bonds.set(leg.mix, []);
    }
  }

  /** Another process follows them now. */
  forget(): void {
    for (const leg of this.live) this.lose(leg);
  }

  // ---- legs that end together ----------------------------------------------------------------------------------------

  /** From now on the legs of a mix end together; an empty list undoes it. One that has ended already ends the others. */
  async bind(mix: string, legs: Bound[]): Promise<void> {
    const before = this.#bonds.get(mix);
    this.#bonds.set(mix, legs);
    const first = legs.find(({ legId, why }) => why !== null && (this.gone.has(legId) || this.#live.get(legId)?.ender));
    if (first) return this.#endOthers(this.#live.get(first.legId) ?? { legId: first.legId, ender: null });
    // Who is bound no more first: nobody is to end with one that has left.
    await this.#tellBonds(before.filter(({ legId }) => !legs.some((leg) => leg.legId === legId)));
    await this.#tellBonds(legs);
  }

  /** Tells Asterisk that the leg, which has a channel by now, ends with those that it is bound to. */
  async bindOthers({ legId }: Leg): Promise<void> {
    const others = this.#bonds.of(legId).flatMap(({ legs }) => legs.filter((other) => other.legId !== legId));
    await this.#tellBonds(others);
  }

  /** What dialwright.conf is to do when the leg has ended. */
  bondOf(legId: string): string {
    const [own] = this.#bonds.of(legId);
    if (!own || own.why === null) return '';
    const others = own.legs.filter((other) => other.legId !== legId);
    return bond(own.why, others.flatMap((other) => this.#live.get(other.legId)?.channelName ?? []));
  }

  async #tellBonds(legs: Bound[]): Promise<void> {
    const there = legs.flatMap(({ legId }) => this.#live.get(legId) ?? []).filter(({ channelName }) => channelName);
    await Promise.all(there.map((leg) => this.#tellBond(leg)));
  }

  async #tellBond(leg: Leg): Promise<void> {
    const wanted = this.bondOf(leg.legId);
    if (wanted === leg.bond) return;
    leg.bond = null;
    // Asterisk takes no variables of a channel that was only just made.
    if (!(await leg.hasEntered)) return;
    await this.#channels.set(leg.legId, VARIABLE.bond, wanted);
    leg.bond = wanted;
  }

  async #endOthers({ legId, ender }: Pick<Leg, 'legId' | 'ender'>): Promise<void> {
    for (const { mix, why, legs } of this.#bonds.of(legId)) {
      if (why === null) continue;
      this.#bonds.set(mix, []);
      const reason = ender?.by === 'command' ? ender.why : why;
      const others = legs.filter((bound) => bound.legId !== legId);
      await Promise.all(others.map((other) => this.#endOther(other.legId, { by: 'command', why: reason })));
    }
  }

  /** One that was not sent yet never will be. */
  async #endOther(legId: string, ender: Ender): Promise<void> {
    const leg = this.#live.get(legId);
    if (!leg) return this.gone.add(legId, false);
    this.endedBy(leg, ender);
    await this.hangUp(leg);
  }

  /** Asterisk is asked first: this process, or the connection, may have stood still while the phone rang or was answered. */
  async #timedOut(leg: Leg): Promise<void> {
    const { phase } = leg;
    await this.#untilAnswered(leg, 'a leg whose time is up could not be looked at', () => this.#listener.look(leg));
    if (leg.phase !== phase || leg.ender) return;
    this.endedBy(leg, { by: 'timer' });
    await this.hangUp(leg);
  }

  async #untilAnswered(leg: Leg, failure: string, ask: () => Promise<unknown>): Promise<void> {
    const { legId } = leg;
    while (this.#live.get(legId) === leg) {
      try {
        await ask();
        return;
      } catch (err) {
        this.#log.warn({ err, legId }, `${failure}; it is tried again`);
        await sleep(AGAIN_MS);
      }
    }
  }
}
