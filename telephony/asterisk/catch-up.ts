/**
 * What happened while nobody listened. Asterisk keeps no events: its list of channels says who lives and how far they have
 * come, dialwright.conf how the others ended.
 */
import type { Logger } from '../../config/log.ts';
import type { Bridge, Channel } from './ari-types.ts';
import type { AsteriskChannels } from './channels.ts';
import type { Leg } from './leg.ts';
import type { Legs } from './legs.ts';
import { VARIABLE } from './names.ts';
import type { EndRecord } from './record.ts';
import { timeOf } from './time.ts';

/** Until a leg's own has been read, and for a channel that carries none. */
const NO_PLAN = { party: 'contact', setupMs: 60_000, ringMs: 60_000 } as const;

/** Told of each leg that is found to have come so far, be it that this is known. */
export interface CatchUpListener {
  alerting(leg: Leg, at: number): void;
  answered(leg: Leg, at: number): void;
}

export class CatchUp {
  readonly #legs: Legs;
  readonly #channels: AsteriskChannels;
  readonly #log: Logger;
  readonly #listener: CatchUpListener;

  constructor(legs: Legs, channels: AsteriskChannels, log: Logger, listener: CatchUpListener) {
    this.#legs = legs;
    this.#channels = channels;
    this.#log = log;
    this.#listener = listener;
  }

  /** After each connection; `events` are those that we want from now on. */
  async run(events: readonly string[]): Promise<void> {
    const before = this.#legs.live.filter(({ channelName }) => channelName !== null);
    const { channels, bridges } = await this.#channels.survey(events);
    const listed = new Set(channels.map(({ id }) => this.#channels.names.own(id)!));
    await Promise.all(
      channels.map((channel) => {
        const legId = this.#channels.names.own(channel.id)!;
        const leg = this.#legs.find(legId) ?? this.adopt(legId, channel);
        return leg ? this.#follow(leg, channel) : this.#hangUpLost(legId);
      }),
    );
    for (const leg of before) {
      if (!listed.has(leg.legId) && this.#legs.find(leg.legId) === leg) await this.endUnheard(leg);
    }
    for (const bridge of bridges) this.#adoptBridge(bridge);
  }

  /** A channel that an earlier worker has made; null for a leg that was given up. */
  adopt(legId: string, channel: Channel): Leg | null {
    if (this.#legs.gone.has(legId)) return null;
    const leg = this.#legs.add(legId, NO_PLAN, timeOf(channel.creationtime));
    leg.channelName = channel.name;
    leg.isAdopted = true;
    leg.dialled = true;
    leg.entered();
    return leg;
  }

  /** Brings a leg up to where its channel is now. */
  async look(leg: Leg): Promise<void> {
    const channel = await this.#channels.find(leg.legId);
    if (channel) await this.#follow(leg, channel);
  }

  /** Tells the end of a leg of which this process has never heard, if dialwright.conf knows of it. */
  async recall(legId: string): Promise<void> {
    const record = await this.#channels.recordOf(legId);
    if (!record || this.#legs.find(legId) || this.#legs.gone.has(legId)) return;
    this.#endAsRecorded(this.#legs.make(legId, NO_PLAN, null), record);
  }

  /** By the state in which the channel is now. */
  async #follow(leg: Leg, { state }: Channel): Promise<void> {
    if (leg.isLimited) await this.#lookAtLimit(leg, state);
    const now = Date.now();
    if (state === 'Up') this.#listener.answered(leg, now);
    else if (leg.plan === NO_PLAN) await this.#carryOn(leg, state === 'Ringing');
    else if (state === 'Ringing') this.#listener.alerting(leg, now);
  }

  /** A channel that is silent and still limited may not have been dialled: its worker then died, or stands still. */
  async #lookAtLimit(leg: Leg, state: string): Promise<void> {
    const isLifted = await this.#channels.isLifted(leg.legId);
    if (leg.isAdopted && state === 'Down') leg.dialled = isLifted;
    if (leg.dialled) await this.#legs.lift(leg);
  }

  /** The timers of an earlier worker's leg go on from where they are. */
  async #carryOn(leg: Leg, isRinging: boolean): Promise<void> {
    const { legId } = leg;
    const [plan, since] = await Promise.all([this.#channels.plan(legId), this.#channels.get(legId, VARIABLE.alerting)]);
    if (!plan || this.#legs.find(legId) !== leg) return;
    if (since || isRinging) this.#listener.alerting(leg, Number(since) || Date.now());
    leg.carryOn(plan);
  }

  /** It counted as lost, and its call has gone on without it. */
  async #hangUpLost(legId: string): Promise<void> {
    this.#log.warn({ legId }, 'a leg that was given up lives: hung up');
    await this.#channels.hangUp(legId).catch((err: unknown) => this.#log.warn({ err, legId }, 'it lives on'));
  }

  #adoptBridge({ id, channels }: Bridge): void {
    const mix = this.#channels.names.own(id)!;
    for (const channelId of channels) {
      const leg = this.#legs.find(this.#channels.names.own(channelId) ?? '');
      if (leg) leg.mix = mix;
    }
    if (channels.length > 0 || this.#legs.live.some((leg) => leg.mix === mix)) return;
    this.#channels.removeBridge(mix).catch((err: unknown) => this.#log.warn({ err, mix }, 'a bridge was left behind'));
  }

  /** It ended, and nobody was told. */
  async endUnheard(leg: Leg): Promise<void> {
    const record = await this.#channels.recordOf(leg.legId);
    if (record) this.#endAsRecorded(leg, record);
    // Asterisk itself was started anew.
    else this.#legs.bury(leg, () => leg.lost(Date.now(), 'switch_lost'));
  }

  #endAsRecorded(leg: Leg, record: EndRecord): void {
    const { at, phase, why, sip } = record;
    if (phase === 'alerting') leg.alerting(at);
    if (phase === 'answered') leg.answered(at);
    if (why) leg.endedBy({ by: 'command', why });
    // Without an answer of the far end it was us, or an earlier worker: what it meant by it is not known.
    const isKnown = leg.ender !== null || phase === 'answered' || sip !== undefined;
    this.#legs.bury(leg, () => (isKnown ? leg.over(record) : leg.lost(at, 'unknown')));
  }
}
