/**
 * The telephony port over Asterisk's REST interface (ARI). A leg is a channel with an id of its own; a mix is a bridge. What
 * must outlive this process is kept at Asterisk: the plan of a leg in variables of its channel; how a leg ended, and which
 * legs end together, by the dialplan (dialwright.conf).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import { AppError } from '../../domain/errors.ts';
import { isTelephoneNumber } from '../../domain/numbers.ts';
import type { Bound } from '../bonds.ts';
import { Deliveries } from '../deliveries.ts';
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
import type { AriEvent, Channel, ChannelDestroyed, ChannelHangupRequest } from './ari-types.ts';
import { CatchUp } from './catch-up.ts';
import { AsteriskChannels } from './channels.ts';
import { endpointOf, type Endpoints } from './endpoints.ts';
import type { Ender, Leg } from './leg.ts';
import { Legs } from './legs.ts';
import { VARIABLE } from './names.ts';
import { timeOf } from './time.ts';

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
/**
 * Who has taken the events from us is waited for so long: a worker that has lost its node, and was frozen meanwhile, goes
 * again sooner, and so does a try of our own that Asterisk, frozen itself, has answered too late. Somebody who stays with our
 * ARI_APP is disturbed ever more seldom.
 */
const RECLAIM_MS = { first: 3_000, longest: 300_000 };
/** Audio is looked for after the answer: at first often, then less, and in the end no more. */
const MEDIA_LOOKS_MS = [5, 5, 10, 20, 40, 40, 80, ...Array<number>(50).fill(100)];
/** Asterisk has a channel ready in a tenth of this. */
const LONG_MS = 250;
const AWAY = "Asterisk can't be reached";
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
  readonly #legs: Legs;
  readonly #catchUp: CatchUp;
  #deliveries: Deliveries | null = null;
  #tellConnection: (up: boolean, why?: string) => void = () => {};
  #started = Promise.withResolvers<void>();
  #isUp = false;
  /** Counts connections and losses: what was begun on one must not speak for the next. */
  #connection = 0;
  #lostTimer: NodeJS.Timeout | undefined;
  #reclaimTimer: NodeJS.Timeout | undefined;
  #reclaimMs = RECLAIM_MS.first;
  /** When the events came to us last (`performance.now()`). */
  #upSince = 0;

  constructor(settings: AsteriskSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
    this.#ari = new Ari(settings, log, {
      up: () => void this.#connected(),
      down: (why) => this.#disconnected(why),
      event: (event) => isUnderstood(event) && this.#take(event),
    });
    this.#channels = new AsteriskChannels(this.#ari, settings.app);
    this.#legs = new Legs(this.#channels, log, {
      fact: (fact) => this.#tell(fact),
      look: (leg) => this.#catchUp.look(leg),
      missed: (leg) => this.#catchUp.endUnheard(leg),
    });
    this.#catchUp = new CatchUp(this.#legs, this.#channels, log, {
      alerting: (leg, at) => this.#alerting(leg, at),
      answered: (leg, at) => this.#answered(leg, at),
    });
  }

  // ---- commands ------------------------------------------------------------------------------------------------------

  async originate(request: Originate): Promise<OriginateAnswer> {
    const { legId, notAfter, mix } = request;
    const { gone } = this.#legs;
    if (this.#legs.find(legId) || gone.wasDialled(legId)) return 'known';
    if (gone.has(legId) || Date.now() > notAfter) return 'too_late';
    if (!this.#isUp) throw new TelephonyUnavailable(AWAY);
    const leg = this.#legs.add(legId, request, Date.now());
    leg.mix = mix;
    try {
      return await this.#send(leg, request);
    } catch (error) {
      // Where the dial itself got no answer, its events will tell what has become of it.
      if (!leg.dialled) await this.#notSent(leg);
      throw error;
    }
  }

  async hangUp(legId: string, why: EndWhy, { unlessAnswered = false } = {}): Promise<HangUpAnswer> {
    const leg = this.#legs.find(legId);
    if (!leg) {
      if (this.#legs.gone.wasDialled(legId)) return 'ended';
      // One that we have not heard of yet may be up.
      if (!this.#isUp) throw new TelephonyUnavailable(AWAY);
      this.#legs.gone.add(legId, false);
      return 'absent';
    }
    if (unlessAnswered && leg.phase === 'answered' && !leg.ender) return 'answered';
    this.#legs.endedBy(leg, { by: 'command', why });
    try {
      if ((await this.#channels.hangUp(legId)) === 'absent') void this.#legs.hangUp(leg);
      return 'ended';
    } catch (error) {
      // It counts as ended from now on, so it must end, be it that nobody asks again.
      void this.#legs.hangUp(leg);
      throw error;
    }
  }

  async join(mix: string, legId: string): Promise<void> {
    const leg = this.#answeredLeg(legId);
    // Of one that ended before we came nobody has heard: who is bound to it must not be called.
    if (!leg && !this.#legs.gone.has(legId)) await this.#catchUp.recall(legId);
    if (!leg || leg.mix === mix) return;
    if (leg.mix !== null) await this.leave(leg.mix, legId);
    // Said first: if it ends meanwhile, its mix must be known to be cleared away.
    leg.mix = mix;
    await this.#channels.join(mix, legId).catch((error: unknown) => {
      leg.mix = null;
      throw error;
    });
  }

  async leave(mix: string, legId: string): Promise<void> {
    const leg = this.#legs.find(legId);
    if (!leg) this.#mustKnow(legId);
    if (leg?.mix !== mix) return;
    leg.mix = null;
    await this.#channels.leave(mix, legId);
    this.#legs.clear(mix);
  }

  async endTogether(mix: string, legs: Bound[]): Promise<void> {
    for (const { legId } of legs) if (!this.#legs.find(legId)) this.#mustKnow(legId);
    await this.#legs.bind(mix, legs);
  }

  async hold(legId: string, on: boolean): Promise<void> {
    const leg = this.#answeredLeg(legId);
    if (!leg) return;
    // While it is being adopted, its mix may not be known yet.
    if (!this.#isUp) throw new TelephonyUnavailable(AWAY);
    if (leg.onHold === on) return;
    // Said first: whoever is put into a mix meanwhile must know.
    leg.onHold = on;
    if (leg.mix === null) return;
    await (on ? this.#channels.leave(leg.mix, legId) : this.#channels.join(leg.mix, legId)).catch((error: unknown) => {
      leg.onHold = !on;
      throw error;
    });
  }

  /** Asterisk's own music on hold: `music` is its class `default`, any other sound the class of that name. */
  async play(legId: string, sound: string | null): Promise<void> {
    if (this.#answeredLeg(legId)) await this.#channels.play(legId, sound === 'music' ? 'default' : sound);
  }

  async sendDtmf(legId: string, digits: string, key: string): Promise<void> {
    if (this.#answeredLeg(legId)) await this.#channels.sendDtmf(legId, digits, key);
  }

  record(mix: string, name: string | null): Promise<void> {
    return name === null ? this.#channels.stopRecording(mix) : this.#channels.record(mix, name);
  }

  async status(legId: string): Promise<LegStatus> {
    if (!this.#isUp) return 'cannot-tell';
    const leg = this.#legs.find(legId);
    if (leg) return leg.ender ? 'absent' : leg.phase;
    try {
      await this.#catchUp.recall(legId);
      return 'absent';
    } catch (error) {
      if (error instanceof TelephonyUnavailable) return 'cannot-tell';
      throw error;
    }
  }

  list(): Promise<{ legId: string; phase: LegPhase }[]> {
    if (!this.#isUp) return Promise.reject(new TelephonyUnavailable(AWAY));
    return Promise.resolve(this.#legs.live.map(({ legId, phase }) => ({ legId, phase })));
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
    clearTimeout(this.#reclaimTimer);
    this.#legs.forget();
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
    const askedAt = performance.now();
    const made = await this.#makeChannel(leg, request);
    if (made !== 'made') return made;
    const [obeys] = await Promise.all([
      this.#enters(leg, mix, notAfter),
      this.#legs.bindOthers(leg),
      this.#playSetup(leg),
    ]);
    if (performance.now() - askedAt > LONG_MS) await this.#channels.limit(request);
    if (leg.ender || !obeys || Date.now() > notAfter) return this.#takeBack(leg);
    if (!(await leg.sentBy(this.#channels.dial(request)))) return this.#takeBack(leg);
    leg.startSetup();
    await this.#legs.lift(leg).catch((err: unknown) => {
      this.#log.error({ err, legId }, 'Asterisk will hang this leg up unless it is reached in time: its limit stands');
    });
    return 'accepted';
  }

  /** Into the application and its mix. False when it has ended, or time is up. */
  async #enters(leg: Leg, mix: string | null, notAfter: number): Promise<boolean> {
    const obeys = await leg.obeys(notAfter - Date.now());
    if (obeys && mix !== null && !leg.ender) await this.#channels.join(mix, leg.legId);
    return obeys;
  }

  /** Whoever waits for it alone is not to think that the line is dead. Before the dial: then nothing can be heard yet. */
  async #playSetup({ legId, mix }: Leg): Promise<void> {
    const waiting = this.#legs.live.filter(
      (other) => mix !== null && other.mix === mix && other.legId !== legId && !other.onHold,
    );
    const [only] = waiting;
    if (!only || waiting.length > 1 || only.phase !== 'answered' || only.ender) return;
    await this.#channels.playSetup(only.legId).catch((err: unknown) => this.#log.warn({ err, legId }, 'no tone of the set-up'));
  }

  async #makeChannel(leg: Leg, request: Originate): Promise<OriginateAnswer | 'made'> {
    const { legId } = leg;
    const shown = { ...request, from: request.from ?? this.#settings.callerId };
    const bond = this.#legs.bondOf(legId);
    try {
      const channel = await this.#channels.create(shown, endpointOf(this.#settings, request.to), bond);
      leg.bond = bond;
      leg.channelName = channel.name;
      leg.startedAt = timeOf(channel.creationtime);
      return 'made';
    } catch (error) {
      if (!(error instanceof AriRefused)) throw error;
      if (error.status !== 409) {
        this.#log.error({ err: error, legId }, whyRefused(request));
        this.#legs.bury(leg, () => leg.over({ at: Date.now(), cause: 0 }));
        return 'accepted';
      }
      // Another worker has made it, and had the answer.
      this.#legs.lose(leg);
      return 'known';
    }
  }

  /** Nobody was called: time was up, or somebody has ended it before it was sent. */
  async #takeBack(leg: Leg): Promise<OriginateAnswer> {
    if (!leg.ender) {
      this.#legs.drop(leg);
      await this.#channels.hangUp(leg.legId);
      return 'too_late';
    }
    // Where there is a channel, its end is told by its event.
    const isThere = (await this.#channels.hangUp(leg.legId)) === 'ended';
    if (!isThere && this.#legs.find(leg.legId)) this.#legs.bury(leg, () => leg.over({ at: Date.now(), cause: 0 }));
    return 'accepted';
  }

  /** Asterisk did not answer. A channel that it has made all the same is never dialled, and taken away at its limit. */
  async #notSent(leg: Leg): Promise<void> {
    if (!this.#legs.find(leg.legId)) return;
    this.#legs.bury(leg, () => leg.lost(Date.now(), 'switch_lost'));
    await this.#channels.hangUp(leg.legId).catch(() => {});
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
    const leg = this.#legs.find(legId) ?? this.#catchUp.adopt(legId, channel);
    if (leg) this.#follow(leg, event, timeOf(event.timestamp));
    else if (event.type === 'ChannelDestroyed') this.#forgetRecord(legId);
  }

  #follow(leg: Leg, event: Exclude<Understood, { type: 'ApplicationReplaced' }>, at: number): void {
    const { legId } = leg;
    switch (event.type) {
      case 'StasisStart':
        return leg.entered();
      case 'Dial':
        if (event.dialstatus === 'RINGING') this.#alerting(leg, at);
        if (event.dialstatus === 'PROGRESS') leg.earlyMedia(at, this.#settings.earlyMediaAlerts);
        return;
      case 'ChannelStateChange':
        if (event.channel.state === 'Ringing') this.#alerting(leg, at);
        if (event.channel.state === 'Up') this.#answered(leg, at);
        return;
      case 'ChannelDtmfReceived':
        return this.#tell({ type: 'dtmf', legId, at, digit: event.digit });
      case 'ChannelHold':
      case 'ChannelUnhold':
        return this.#tell({ type: 'held', legId, at, on: event.type === 'ChannelHold' });
      case 'ChannelHangupRequest':
        return void this.#ending(leg, event);
      case 'ChannelDestroyed':
        return void this.#over(leg, event, at);
    }
  }

  #alerting(leg: Leg, at: number): void {
    if (!leg.isAdopted) this.#legs.liftSurely(leg);
    if (!leg.alerting(at)) return;
    // For a worker that takes the leg over: the ring timer is started once.
    this.#channels.set(leg.legId, VARIABLE.alerting, String(at)).catch(() => {});
  }

  #answered(leg: Leg, at: number): void {
    if (!leg.isAdopted) this.#legs.liftSurely(leg);
    if (leg.answered(at)) void this.#awaitAudio(leg);
  }

  async #awaitAudio(leg: Leg): Promise<void> {
    for (const ms of MEDIA_LOOKS_MS) {
      await sleep(ms);
      if (this.#legs.find(leg.legId) !== leg) return;
      if (!(await this.#channels.hasAudio(leg.legId).catch(() => false))) continue;
      // It may have ended in the meantime, and nothing is told of it after that.
      if (this.#legs.find(leg.legId) !== leg) return;
      return this.#tell({ type: 'media_up', legId: leg.legId, at: Date.now() });
    }
  }

  async #ending(leg: Leg, { soft }: ChannelHangupRequest): Promise<void> {
    if (leg.sending) await leg.sending;
    // Asterisk takes away what was never dialled with the looks of a 603.
    if (!soft && leg.dialled) this.#legs.endedBy(leg, { by: 'remote' });
    // From inside Asterisk, and not by us: a leg bound to this one has ended, or the limit of the dial has come.
    else leg.cutInside = true;
  }

  async #over(leg: Leg, { cause, tech_cause: sip }: ChannelDestroyed, at: number): Promise<void> {
    if (leg.sending) await leg.sending;
    if (!leg.dialled && !leg.ender) {
      this.#legs.drop(leg);
      // Of our own its `originate` says that it was not sent; an earlier worker says nothing any more.
      if (leg.isAdopted) leg.lost(at, 'unknown');
      return;
    }
    if ((leg.cutInside || leg.isLimited) && !leg.ender) this.#legs.endedBy(leg, await this.#unseenEnder(leg));
    this.#legs.bury(leg, () => leg.over({ at, cause, sip }));
  }

  async #unseenEnder({ legId, phase }: Leg): Promise<Ender> {
    const record = await this.#channels.recordOf(legId).catch(() => null);
    if (record?.why) return { by: 'command', why: record.why };
    return { by: phase === 'answered' ? 'remote' : 'timer' };
  }

  /** Someone else's channel in our application: nobody would ever end it. */
  #refuse({ id, name }: Channel): void {
    if (this.#channels.names.isProbe(id)) return;
    this.#log.warn({ channel: name }, 'a channel that is no leg has come into the application: hung up');
    this.#ari.ask('DELETE /channels/{channelId}', { path: { channelId: id } }).catch(() => {});
  }

  #tell(fact: LegFact): void {
    const delivered = (): void => {
      if (fact.type === 'ended') this.#forgetRecord(fact.legId);
    };
    this.#deliveries?.add({ fact, delivered });
  }

  /** Of dialwright.conf. What is left behind does no harm. */
  #forgetRecord(legId: string): void {
    this.#channels.forgetRecord(legId).catch(() => {});
  }

  // ---- the connection ------------------------------------------------------------------------------------------------

  async #connected(): Promise<void> {
    const connection = (this.#connection += 1);
    try {
      if (!(await this.#channels.hasDialplan())) throw new Error(NO_DIALPLAN);
      await this.#catchUp.run(EVENTS);
      if (connection !== this.#connection) return;
    } catch (error) {
      if (connection !== this.#connection) return;
      this.#log.warn({ err: error }, 'Asterisk is there, but can not be used');
      this.#noConnection(whyUnusable(error));
      this.#ari.restart();
      return;
    }
    clearTimeout(this.#lostTimer);
    this.#lostTimer = undefined;
    this.#isUp = true;
    this.#upSince = performance.now();
    this.#ari.isWell();
    this.#started.resolve();
    this.#tellConnection(true);
  }

  #disconnected(why: string): void {
    this.#connection += 1;
    // It is being made anew: should it stand by then, it must not be cut.
    clearTimeout(this.#reclaimTimer);
    this.#noConnection(why);
    this.#lostTimer ??= setTimeout(() => {
      this.#log.error({ legs: this.#legs.live.length }, 'Asterisk stays away: its legs count as lost');
      this.#legs.giveUp();
    }, LOST_AFTER_MS);
  }

  #noConnection(why: string): void {
    this.#isUp = false;
    this.#tellConnection(false, why);
  }

  /** Another connection has the events now, and with them the legs; they are ours again should it have gone by then. */
  #replaced(): void {
    this.#connection += 1;
    this.#legs.forget();
    this.#deliveries?.drop();
    this.#noConnection('another worker has come with the same ARI_APP');
    if (performance.now() - this.#upSince > RECLAIM_MS.longest) this.#reclaimMs = RECLAIM_MS.first;
    this.#reclaimTimer = setTimeout(() => this.#ari.restart(), this.#reclaimMs);
    this.#reclaimMs = Math.min(2 * this.#reclaimMs, RECLAIM_MS.longest);
  }

  /** One that we have not heard of is over only while we would have heard of it: else it may be up, and not adopted yet. */
  #mustKnow(legId: string): void {
    if (!this.#isUp && !this.#legs.gone.has(legId)) throw new TelephonyUnavailable(AWAY);
  }

  /** A leg that is over is let pass: its end is a fact on its way. Throws CONFLICT for one that is not answered. */
  #answeredLeg(legId: string): Leg | null {
    const leg = this.#legs.find(legId);
    if (!leg) this.#mustKnow(legId);
    if (!leg || leg.ender) return null;
    if (leg.phase !== 'answered') throw new AppError('CONFLICT', 'the leg is not answered', { state: leg.phase });
    return leg;
  }
}

const isUnderstood = (event: AriEvent): event is Understood => (EVENTS as readonly string[]).includes(event.type);

/** For anybody to read, so in our own words. */
function whyUnusable(error: unknown): string {
  if (error instanceof AriRefused) return `Asterisk refuses (${error.status}): check ARI_URL, and the log of the worker`;
  if (error instanceof TelephonyUnavailable || (error as Error).message === NO_DIALPLAN) return (error as Error).message;
  return 'Asterisk answers what is not understood: check ARI_URL, and the log of the worker';
}

function whyRefused({ to, party }: Originate): string {
  if (isTelephoneNumber(to)) return 'Asterisk has no such endpoint: check ASTERISK_TRUNK';
  return `Asterisk has no such endpoint: check ASTERISK_AGENTS, and whether the ${party}'s phone is registered`;
}
