/**
 * The telephony port over Asterisk's REST interface (ARI). A leg is a channel with an id of its own; a mix is a bridge. What
 * must outlive this process is kept at Asterisk: the plan of a leg in variables of its channel; how a leg ended, and which
 * legs end together, by the dialplan (dialwright.conf).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import { AppError } from '../../domain/errors.ts';
import { Bonds, type Bound } from '../bonds.ts';
import { Deliveries } from '../deliveries.ts';
import { GoneLegs } from '../gone-legs.ts';
import type {
  Capabilities,
  EndWhy,
  HangUpAnswer,
  LegFact,
  LegPhase,
  LegStatus,
  Originate,
  OriginateAnswer,
  Telephony,
} from '../telephony.ts';
import { TelephonyUnavailable } from '../unavailable.ts';
import { Ari, AriRefused, type AriSettings } from './ari.ts';
import type { AriEvent, Bridge, Channel, ChannelDestroyed, ChannelHangupRequest } from './ari-types.ts';
import { AsteriskChannels } from './channels.ts';
import { endpointOf, type Endpoints, overTrunk } from './endpoints.ts';
import { type Ender, Leg, type LegListener, type Plan } from './leg.ts';
import { bond, VARIABLE } from './names.ts';
import type { EndRecord } from './record.ts';

export interface AsteriskSettings extends AriSettings, Endpoints {
  /** Shown where a campaign has no number of its own; null: what the trunk itself shows. */
  callerId: string | null;
  /** The trunk's carrier rings by early media only: 18x with SDP counts as alerting. */
  earlyMediaAlerts: boolean;
}

/** The events that the adapter understands; Asterisk need not send the others (50 a call). */
const EVENTS = [
  'StasisStart',
  'Dial',
  'ChannelStateChange',
  'ChannelDtmfReceived',
  'ChannelHold',
  'ChannelUnhold',
  'ChannelHangupRequest',
  'ChannelDestroyed',
  'ApplicationReplaced',
] as const;
type Understood = Extract<AriEvent, { type: (typeof EVENTS)[number] }>;

/** A connection lost for longer than this has cost its legs: their calls must not wait for ever. */
const LOST_AFTER_MS = 5_000;
const CLOSE_WITHIN_MS = 2_000;
/** A hang-up that Asterisk did not answer is asked for again. */
const HANG_UP_AGAIN_MS = 1_000;
/** Audio is looked for after the answer: at first often, then less, and in the end no more. */
const MEDIA_LOOKS_MS = [20, 20, 40, 40, 80, ...Array<number>(50).fill(100)];
/** Until a plan has been read, and for a channel that carries none. */
const NO_PLAN = { party: 'contact', setupMs: 60_000, ringMs: 60_000 } as const;

const NO_DIALPLAN = 'Asterisk has no dialwright.conf in its dialplan: see "Asterisk" in docs/telephony.md';

/** Commands reject with TelephonyUnavailable while Asterisk can't be reached. */
export function createAsteriskTelephony(settings: AsteriskSettings, log: Logger): Telephony {
  return new AsteriskTelephony(settings, log);
}

class AsteriskTelephony implements Telephony {
  readonly capabilities: Capabilities = {
    callerId: true,
    // Asterisk 22 translates the SIP answer to a cause and drops that of a `Reason` header.
    reason: false,
    earlyMedia: true,
    mediaUp: true,
    separateSetupTimer: true,
    remembersKeys: false,
    noDivert: false,
    hold: true,
    play: true,
    sendDtmf: true,
    record: true,
  };
  readonly #settings: AsteriskSettings;
  readonly #log: Logger;
  readonly #ari: Ari;
  readonly #channels: AsteriskChannels;
  readonly #legs = new Map<string, Leg>();
  readonly #gone = new GoneLegs();
  readonly #bonds = new Bonds();
  /** By mix. */
  readonly #recordings = new Map<string, string>();
  #deliveries: Deliveries | null = null;
  #tellConnection: (up: boolean, why?: string) => void = () => {};
  #started = Promise.withResolvers<void>();
  #isUp = false;
  #lostTimer: NodeJS.Timeout | undefined;

  constructor(settings: AsteriskSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
    this.#ari = new Ari(settings, log, {
      up: () => void this.#connected(),
      down: (why) => this.#disconnected(why),
      event: (event) => isUnderstood(event) && this.#take(event),
    });
    this.#channels = new AsteriskChannels(this.#ari, settings.app);
  }

  // ---- commands ------------------------------------------------------------------------------------------------------

  async originate(request: Originate): Promise<OriginateAnswer> {
    const { legId, notAfter, mix } = request;
    if (this.#legs.has(legId) || this.#gone.wasDialled(legId)) return 'known';
    if (this.#gone.has(legId) || Date.now() > notAfter) return 'too_late';
    if (!this.#isUp) throw new TelephonyUnavailable('Asterisk can not be reached');
    const leg = this.#newLeg(legId, request, Date.now());
    leg.mix = mix;
    try {
      return await this.#send(leg, request);
    } catch (error) {
      // Where a dial got no answer, its events will tell what has become of it.
      if (!leg.dialled && this.#legs.delete(legId)) this.#neverSent(leg);
      throw error;
    }
  }

  async hangUp(legId: string, why: EndWhy, { unlessAnswered = false } = {}): Promise<HangUpAnswer> {
    const leg = this.#legs.get(legId);
    if (!leg) {
      if (this.#gone.wasDialled(legId)) return 'ended';
      this.#gone.add(legId, false);
      return 'absent';
    }
    if (unlessAnswered && leg.phase === 'answered' && !leg.ender) return 'answered';
    this.#endedBy(leg, { by: 'command', why });
    await this.#channels.hangUp(legId);
    return 'ended';
  }

  async join(mix: string, legId: string): Promise<void> {
    const leg = this.#answered(legId);
    if (!leg || leg.mix === mix) return;
    if (leg.mix !== null) await this.leave(leg.mix, legId);
    await this.#channels.join(mix, legId);
    leg.mix = mix;
  }

  async leave(mix: string, legId: string): Promise<void> {
    const leg = this.#legs.get(legId);
    if (leg?.mix !== mix) return;
    leg.mix = null;
    await this.#channels.leave(mix, legId);
  }

  async endTogether(mix: string, legs: Bound[]): Promise<void> {
    const before = this.#bonds.get(mix);
    this.#bonds.set(mix, legs);
    const first = legs.find(({ legId }) => this.#gone.has(legId) || this.#legs.get(legId)?.ender);
    if (first) return this.#endOthers(first.legId);
    await this.#bindChannels(legs.length > 0 ? legs : before);
  }

  async hold(legId: string, on: boolean): Promise<void> {
    const leg = this.#answered(legId);
    if (!leg || leg.onHold === on) return;
    leg.onHold = on;
    if (leg.mix !== null) await (on ? this.#channels.leave(leg.mix, legId) : this.#channels.join(leg.mix, legId));
  }

  /** Asterisk's own music on hold: `music` is its class `default`, any other sound the class of that name. */
  async play(legId: string, sound: string | null): Promise<void> {
    if (this.#answered(legId)) await this.#channels.play(legId, sound === 'music' ? 'default' : sound);
  }

  async sendDtmf(legId: string, digits: string, key: string): Promise<void> {
    if (this.#answered(legId)) await this.#channels.sendDtmf(legId, digits, key);
  }

  async record(mix: string, name: string | null): Promise<void> {
    const under = this.#recordings.get(mix);
    if (name === null) {
      this.#recordings.delete(mix);
      if (under !== undefined) await this.#channels.stopRecording(under);
    } else if (under !== name) {
      await this.#channels.record(mix, name);
      this.#recordings.set(mix, name);
    }
  }

  async status(legId: string): Promise<LegStatus> {
    if (!this.#isUp) return 'cannot-tell';
    const leg = this.#legs.get(legId);
    if (leg) return leg.ender ? 'absent' : leg.phase;
    try {
      if (!this.#gone.has(legId)) await this.#recall(legId);
      return 'absent';
    } catch (error) {
      if (error instanceof TelephonyUnavailable) return 'cannot-tell';
      throw error;
    }
  }

  list(): Promise<{ legId: string; phase: LegPhase }[]> {
    if (!this.#isUp) return Promise.reject(new TelephonyUnavailable('Asterisk can not be reached'));
    return Promise.resolve([...this.#legs.values()].map(({ legId, phase }) => ({ legId, phase })));
  }

  onFact(listener: (fact: LegFact) => Promise<void>): void {
    this.#deliveries = new Deliveries(listener, this.#log);
  }

  onConnection(listener: (up: boolean, why?: string) => void): void {
    this.#tellConnection = listener;
  }

  start(): Promise<void> {
    this.#ari.open();
    return this.#started.promise;
  }

  async close(): Promise<void> {
    await this.#deliveries?.stop(CLOSE_WITHIN_MS);
    await this.#ari.close();
    this.#isUp = false;
    clearTimeout(this.#lostTimer);
    for (const leg of this.#legs.values()) leg.forget();
    this.#started.reject(new TelephonyUnavailable('closed'));
    this.#started.promise.catch(() => {});
  }

  // ---- sending a leg -------------------------------------------------------------------------------------------------

  /**
   * In two steps, of which only the second calls anybody: a channel that Asterisk itself takes away at `notAfter`, and the
   * dial, after which it may stay. So a worker that freezes between any two lines here dials nobody later.
   */
  async #send(leg: Leg, request: Originate): Promise<OriginateAnswer> {
    const { legId, notAfter, mix } = request;
    const made = await this.#makeChannel(leg, request);
    if (made !== 'made') return made;
    await this.#bindChannels(this.#bonds.of(legId).flatMap(({ legs }) => legs.filter((bound) => bound.legId !== legId)));
    const obeys = await leg.obeys(notAfter - Date.now());
    if (obeys && mix !== null) await this.#channels.join(mix, legId);
    if (leg.ender || !obeys || Date.now() > notAfter) return this.#takeBack(leg);
    leg.dialled = true;
    if (!(await this.#channels.dial(request))) {
      leg.dialled = false;
      return this.#takeBack(leg);
    }
    leg.startSetup();
    this.#channels.set(legId, VARIABLE.limit, '0').catch((err: unknown) => {
      this.#log.error({ err, legId }, 'this leg will be hung up by Asterisk: its limit could not be lifted');
    });
    return 'accepted';
  }

  async #makeChannel(leg: Leg, request: Originate): Promise<OriginateAnswer | 'made'> {
    const { legId } = request;
    const from = request.from ?? this.#settings.callerId;
    const [bond] = this.#bonds.of(legId);
    try {
      const endpoint = endpointOf(this.#settings, request.to);
      const channel = await this.#channels.create({ ...request, from }, endpoint, this.#bondOf(legId, bond));
      leg.channelName = channel.name;
      leg.startedAt = timeOf(channel.creationtime);
      return 'made';
    } catch (error) {
      if (!(error instanceof AriRefused)) throw error;
      this.#legs.delete(legId);
      // Another worker has made it, and has the answer.
      if (error.status === 409) return 'known';
      this.#log.error({ err: error, legId }, this.#whyRefused(request));
      this.#bury(leg, () => leg.over({ at: Date.now(), cause: 0 }));
      return 'accepted';
    }
  }

  /** Nobody was called: time was up, or somebody has ended it before it was sent. */
  async #takeBack(leg: Leg): Promise<OriginateAnswer> {
    const { legId, ender } = leg;
    if (!ender) {
      leg.forget();
      this.#legs.delete(legId);
      this.#gone.add(legId, false);
    }
    const answer = await this.#channels.hangUp(legId);
    if (answer === 'absent' && this.#legs.delete(legId)) this.#bury(leg, () => leg.over({ at: Date.now(), cause: 0 }));
    return ender ? 'accepted' : 'too_late';
  }

  #whyRefused({ to, party }: Originate): string {
    const setting = overTrunk({ to }) ? 'ASTERISK_TRUNK' : 'ASTERISK_AGENTS';
    const hint = party === 'agent' && !overTrunk({ to }) ? ', or the phone is not registered' : '';
    return `Asterisk has no such endpoint: check ${setting}${hint}`;
  }

  // ---- ending legs ---------------------------------------------------------------------------------------------------

  /** The first sign that a leg ends: those bound to it end too. Asterisk does so by itself; this is for what it missed. */
  #endedBy(leg: Leg, ender: Ender): void {
    if (leg.endedBy(ender)) void this.#endOthers(leg.legId);
  }

  async #endOthers(legId: string): Promise<void> {
    const ender = this.#legs.get(legId)?.ender;
    for (const { mix, why, legs } of this.#bonds.of(legId)) {
      this.#bonds.set(mix, []);
      const reason = ender?.by === 'command' ? ender.why : why;
      const others = legs.filter((bound) => bound.legId !== legId);
      await Promise.all(others.map((other) => this.#hangUpSurely(other.legId, { by: 'command', why: reason })));
    }
  }

  /** Again until Asterisk has answered, or the leg is over. */
  async #hangUpSurely(legId: string, ender: Ender): Promise<void> {
    const leg = this.#legs.get(legId);
    if (!leg) this.#gone.add(legId, false);
    else this.#endedBy(leg, ender);
    while (this.#legs.has(legId)) {
      try {
        await this.#channels.hangUp(legId);
        return;
      } catch (err) {
        this.#log.warn({ err, legId }, 'a leg could not be hung up; it is tried again');
        await sleep(HANG_UP_AGAIN_MS);
      }
    }
  }

  /** Tells Asterisk which channels end with those of `legs`, as far as they are there. */
  async #bindChannels(legs: Bound[]): Promise<void> {
    await Promise.all(
      legs.map(async ({ legId }) => {
        if (!this.#legs.get(legId)?.channelName) return;
        const [own] = this.#bonds.of(legId);
        await this.#channels.set(legId, VARIABLE.bond, this.#bondOf(legId, own));
      }),
    );
  }

  #bondOf(legId: string, own: { why: EndWhy; legs: Bound[] } | undefined): string {
    if (!own) return '';
    const others = own.legs.filter((other) => other.legId !== legId);
    return bond(own.why, others.flatMap((other) => this.#legs.get(other.legId)?.channelName ?? []));
  }

  // ---- what Asterisk tells -------------------------------------------------------------------------------------------

  #take(event: Understood): void {
    if (event.type === 'ApplicationReplaced') return this.#replaced();
    const channel = event.type === 'Dial' ? event.peer : event.channel;
    const legId = this.#channels.names.own(channel.id);
    if (legId === null) {
      if (event.type === 'StasisStart') this.#refuse(channel);
      return;
    }
    const leg = this.#legs.get(legId) ?? this.#adopt(legId, channel);
    if (leg) this.#follow(leg, event, timeOf(event.timestamp));
  }

  #follow(leg: Leg, event: Exclude<Understood, { type: 'ApplicationReplaced' }>, at: number): void {
    switch (event.type) {
      case 'StasisStart':
        return leg.entered();
      case 'Dial':
        if (event.dialstatus === 'RINGING') this.#alerting(leg, at);
        if (event.dialstatus === 'PROGRESS') leg.earlyMedia(at, this.#settings.earlyMediaAlerts);
        return;
      case 'ChannelStateChange':
        if (event.channel.state === 'Ringing') this.#alerting(leg, at);
        if (event.channel.state === 'Up' && leg.answered(at)) void this.#awaitAudio(leg);
        return;
      case 'ChannelDtmfReceived':
        return this.#tell({ type: 'dtmf', legId: leg.legId, at, digit: event.digit });
      case 'ChannelHold':
      case 'ChannelUnhold':
        return this.#tell({ type: 'held', legId: leg.legId, at, on: event.type === 'ChannelHold' });
      case 'ChannelHangupRequest':
        return this.#ending(leg, event);
      case 'ChannelDestroyed':
        return void this.#over(leg, event, at);
    }
  }

  #alerting(leg: Leg, at: number): void {
    if (!leg.alerting(at)) return;
    // For a worker that takes the leg over: the ring timer is started once.
    this.#channels.set(leg.legId, VARIABLE.alerting, String(at)).catch(() => {});
  }

  /** A hang-up from inside Asterisk that we did not ask for comes from a leg bound to this one, or from its own timer. */
  #ending(leg: Leg, { soft }: ChannelHangupRequest): void {
    if (!soft) this.#endedBy(leg, { by: 'remote' });
    else if (!leg.ender) leg.cutInside = true;
  }

  async #over(leg: Leg, { cause, tech_cause: sip }: ChannelDestroyed, at: number): Promise<void> {
    const { legId } = leg;
    this.#legs.delete(legId);
    if (!leg.dialled && !leg.ender) {
      leg.forget();
      return this.#gone.add(legId, false);
    }
    if (leg.cutInside && !leg.ender) this.#endedBy(leg, await this.#unseenEnder(leg));
    this.#bury(leg, () => leg.over({ at, cause, sip }));
  }

  /** Who has ended a leg inside Asterisk: another leg, by dialwright.conf, or the limit of its dial. */
  async #unseenEnder({ legId, phase }: Leg): Promise<Ender> {
    const record = await this.#channels.recordOf(legId).catch(() => null);
    if (record?.why) return { by: 'command', why: record.why };
    return { by: phase === 'answered' ? 'remote' : 'timer' };
  }

  /** The end is told last of all; Asterisk may forget the leg when it was taken. */
  #bury(leg: Leg, tellEnd: () => void): void {
    const { legId, mix } = leg;
    this.#gone.add(legId, true);
    void this.#endOthers(legId);
    tellEnd();
    if (mix === null || [...this.#legs.values()].some((other) => other.mix === mix)) return;
    this.#recordings.delete(mix);
    this.#channels.removeBridge(mix).catch((err: unknown) => this.#log.warn({ err, mix }, 'a bridge was left behind'));
  }

  async #awaitAudio(leg: Leg): Promise<void> {
    for (const ms of MEDIA_LOOKS_MS) {
      await sleep(ms);
      if (this.#legs.get(leg.legId) !== leg) return;
      if (!(await this.#channels.hasAudio(leg.legId).catch(() => false))) continue;
      return this.#tell({ type: 'media_up', legId: leg.legId, at: Date.now() });
    }
  }

  /** Someone else's channel in our application: nobody would ever end it. */
  #refuse({ id, name }: Channel): void {
    if (this.#channels.names.isProbe(id)) return;
    this.#log.warn({ channel: name }, 'a channel that is no leg has come into the application: hung up');
    this.#ari.ask('DELETE /channels/{channelId}', { path: { channelId: id } }).catch(() => {});
  }

  // ---- the connection, and what happened without it ------------------------------------------------------------------

  async #connected(): Promise<void> {
    try {
      if (!(await this.#channels.hasDialplan())) throw new Error(NO_DIALPLAN);
      await this.#reconcile();
    } catch (error) {
      this.#noConnection(error instanceof Error ? error.message : String(error));
      this.#ari.restart();
      return;
    }
    clearTimeout(this.#lostTimer);
    this.#lostTimer = undefined;
    this.#isUp = true;
    this.#ari.isWell();
    this.#started.resolve();
    this.#tellConnection(true);
  }

  /** Asterisk remembers no events: what its list and its records say is taken for what was missed. */
  async #reconcile(): Promise<void> {
    const ours = [...this.#legs.values()].filter(({ channelName }) => channelName !== null);
    const { channels, bridges } = await this.#channels.survey(EVENTS);
    const listed = new Set<string>();
    for (const channel of channels) {
      const legId = this.#channels.names.own(channel.id)!;
      listed.add(legId);
      const leg = this.#legs.get(legId) ?? this.#adopt(legId, channel);
      if (leg) void this.#catchUp(leg, channel);
      else void this.#hangUpLost(legId);
    }
    for (const leg of ours) if (!listed.has(leg.legId) && this.#legs.has(leg.legId)) await this.#endUnheard(leg);
    for (const bridge of bridges) this.#adoptBridge(bridge);
  }

  /** A channel that an earlier worker has made; null for a leg that was given up. */
  #adopt(legId: string, channel: Channel): Leg | null {
    if (this.#gone.has(legId)) return null;
    const leg = this.#newLeg(legId, NO_PLAN, timeOf(channel.creationtime));
    leg.channelName = channel.name;
    leg.entered();
    return leg;
  }

  /** By the state in which the channel is now; whether a silent one was dialled, its end will tell. */
  async #catchUp(leg: Leg, { state }: Channel): Promise<void> {
    const now = Date.now();
    if (state === 'Up' && leg.answered(now)) void this.#awaitAudio(leg);
    if (leg.plan !== NO_PLAN || state === 'Up') return;
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
      const leg = this.#legs.get(this.#channels.names.own(channelId) ?? '');
      if (leg) leg.mix = mix;
    }
    if (channels.length === 0 && ![...this.#legs.values()].some((leg) => leg.mix === mix)) {
      this.#channels.removeBridge(mix).catch(() => {});
    }
  }

  /** It ended while nobody listened. */
  async #endUnheard(leg: Leg): Promise<void> {
    const record = await this.#channels.recordOf(leg.legId);
    this.#legs.delete(leg.legId);
    if (record) this.#endAsRecorded(leg, record);
    // Asterisk does not know it any more: it was started anew.
    else this.#bury(leg, () => leg.lost(Date.now(), 'switch_lost'));
  }

  /** A leg of an earlier worker, that ended before this one came. */
  async #recall(legId: string): Promise<void> {
    const record = await this.#channels.recordOf(legId);
    if (!record || this.#legs.has(legId) || this.#gone.has(legId)) return;
    this.#endAsRecorded(new Leg(legId, NO_PLAN, record.at, this.#listener), record);
  }

  #endAsRecorded(leg: Leg, record: EndRecord): void {
    const { at, phase, why, sip } = record;
    if (phase === 'alerting') leg.alerting(at);
    if (phase === 'answered') leg.answered(at);
    if (why) leg.endedBy({ by: 'command', why });
    // Without an answer of the far end it was us, or an earlier worker: what it meant by it is not known.
    const isTold = leg.ender !== null || phase === 'answered' || sip !== undefined;
    this.#bury(leg, () => (isTold ? leg.over(record) : leg.lost(at, 'unknown')));
  }

  #disconnected(why: string): void {
    this.#noConnection(why);
    this.#lostTimer ??= setTimeout(() => this.#giveUp(), LOST_AFTER_MS);
  }

  #noConnection(why: string): void {
    this.#isUp = false;
    this.#tellConnection(false, why);
  }

  #giveUp(): void {
    const legs = [...this.#legs.values()];
    if (legs.length > 0) this.#log.error({ legs: legs.length }, 'Asterisk stays away: its legs count as lost');
    this.#legs.clear();
    for (const leg of legs) {
      this.#gone.add(leg.legId, true);
      leg.lost(Date.now(), 'switch_lost');
    }
  }

  /** Another worker has the events now, and with them the legs. */
  #replaced(): void {
    this.#log.warn('another worker takes the events of Asterisk');
    for (const leg of this.#legs.values()) leg.forget();
    this.#legs.clear();
    this.#deliveries?.drop();
  }

  // ---- legs ----------------------------------------------------------------------------------------------------------

  get #listener(): LegListener {
    return {
      fact: (fact) => this.#tell(fact),
      timedOut: (leg) => {
        void this.#endOthers(leg.legId);
        void this.#hangUpSurely(leg.legId, { by: 'timer' });
      },
    };
  }

  #newLeg(legId: string, plan: Plan, startedAt: number): Leg {
    const leg = new Leg(legId, plan, startedAt, this.#listener);
    this.#legs.set(legId, leg);
    return leg;
  }

  /** A leg that is over is let pass: its end is a fact on its way. Throws CONFLICT for one that is not answered. */
  #answered(legId: string): Leg | null {
    const leg = this.#legs.get(legId);
    if (!leg || leg.ender) return null;
    if (leg.phase !== 'answered') throw new AppError('CONFLICT', 'the leg is not answered', { state: leg.phase });
    return leg;
  }

  #neverSent(leg: Leg): void {
    const { legId } = leg;
    this.#gone.add(legId, false);
    leg.lost(Date.now(), 'switch_lost');
    this.#channels.hangUp(legId).catch(() => {});
  }

  #tell(fact: LegFact): void {
    const delivered = (): void => {
      if (fact.type === 'ended') this.#channels.forgetRecord(fact.legId).catch(() => {});
    };
    this.#deliveries?.add({ fact, delivered });
  }
}

const isUnderstood = (event: AriEvent): event is Understood => (EVENTS as readonly string[]).includes(event.type);

/** Asterisk writes `2026-01-31T12:00:00.000+0000`. */
function timeOf(timestamp: string): number {
  return Date.parse(timestamp.replace(/([+-]\d\d)(\d\d)$/, '$1:$2'));
}
