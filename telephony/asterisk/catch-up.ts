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

export class CatchUp {
  readonly #legs: Legs;
  readonly #channels: AsteriskChannels;
  readonly #log: Logger;
  readonly #answered: (leg: Leg, at: number) => void;

  /** `answered` is told of each leg that is found to be. */
  constructor(legs: Legs, channels: AsteriskChannels, log: Logger, answered: (leg: Leg, at: number) => void) {
    this.#legs = legs;
    this.#channels = channels;
    this.#log = log;
    this.#answered = answered;
  }

  /** After each connection; `events` are those that we want from now on. */
  async run(events: readonly string[]): Promise<void> {
    const before = this.#legs.live.filter(({ channelName }) => channelName !== null);
    const { channels, bridges } = await this.#channels.survey(events);
    const listed = new Set<string>();
    for (const channel of channels) {
      const legId = this.#channels.names.own(channel.id)!;
      listed.add(legId);
      const leg = this.#legs.find(legId) ?? this.adopt(legId, channel);
      if (leg) void this.#follow(leg, channel);
      else void this.#hangUpLost(legId);
    }
    for (const leg of before) {
      if (!listed.has(leg.legId) && this.#legs.find(leg.legId) === leg) await this.#endUnheard(leg);
    }
    for (const bridge of bridges) this.#adoptBridge(bridge);
  }

  /** A channel that an earlier worker has made; null for a leg that was given up. */
  adopt(legId: string, channel: Channel): Leg | null {
    if (this.#legs.gone.has(legId)) return null;
    const leg = this.#legs.add(legId, NO_PLAN, timeOf(channel.creationtime));
    leg.channelName = channel.name;
    leg.entered();
    return leg;
  }

  /** Tells the end of a leg of which this process has never heard, if dialwright.conf knows of it. */
  async recall(legId: string): Promise<void> {
    const record = await this.#channels.recordOf(legId);
    if (!record || this.#legs.find(legId) || this.#legs.gone.has(legId)) return;
    this.#endAsRecorded(this.#legs.make(legId, NO_PLAN, record.at), record);
  }

  /** By the state in which the channel is now. Whether a silent one was dialled, its end will tell. */
  async #follow(leg: Leg, { state }: Channel): Promise<void> {
    const now = Date.now();
    if (state === 'Up') return this.#answered(leg, now);
    if (leg.plan !== NO_PLAN) {
      if (state === 'Ringing') leg.alerting(now);
      return;
    }
    const [plan, since] = await Promise.all([
      this.#channels.plan(leg.legId),
      this.#channels.get(leg.legId, VARIABLE.alerting),
    ]).catch(() => [null, ''] as const);
    if (!plan) return;
    leg.plan = plan;
    const alertingAt = Number(since) || now;
    if (state === 'Ringing' || since) leg.alerting(alertingAt, alertingAt + plan.ringMs - now);
    else leg.startSetup(leg.startedAt + plan.setupMs - now);
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

  async #endUnheard(leg: Leg): Promise<void> {
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
