/**
 * The simulated switch: legs, their timers and phones, and what it remembers of them. It is the core without a network;
 * server.ts puts it behind one. Like a real switch it loses its legs with its process: after a restart it does not know
 * them, and only the dial record still says that they were dialled.
 */
import type { Logger } from '../../config/log.ts';
import type { LegEnding } from '../../domain/codes.ts';
import { AppError } from '../../domain/errors.ts';
import { type Bound, Bonds } from '../bonds.ts';
import { GoneLegs } from '../gone-legs.ts';
import { legDurations, type LegSnapshot } from '../snapshot.ts';
import type { EndWhy, HangUpAnswer, LegPhase, Originate, OriginateAnswer } from '../telephony.ts';
import type { Dial, DialRecord } from './dial-record.ts';
import { FactQueue } from './fact-queue.ts';
import { phoneFor, type Phone, type Script } from './script.ts';

/** Time as the switch sees it; a test moves its own. */
export interface SwitchClock {
  /** Epoch ms. */
  now(): number;
  /** Runs `fn` once after `ms`; the function it returns cancels. */
  setTimeout(ms: number, fn: () => void): () => void;
}

export const systemSwitchClock: SwitchClock = {
  now: () => Date.now(),
  setTimeout: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};

export interface SimulatedSwitchOptions {
  script: Script;
  record: DialRecord;
  log: Logger;
  clock?: SwitchClock;
  /** How many times faster than real time the script's delays and the set-up and ring timers run. */
  speed?: number;
}

export type PhoneState = 'idle' | 'setup' | 'ringing' | 'talking';

/** A live leg as people and tests look at it. */
export interface LegDescription extends LegSnapshot {
  party: 'agent' | 'contact';
  to: string;
  mix: string | null;
  onHold: boolean;
  holdsUs: boolean;
  sound: string | null;
  keysHeard: string;
  recording: string | null;
  script: string;
}

interface Leg {
  request: Originate;
  dial: Dial;
  phone: Phone;
  phase: LegPhase;
  startedAt: number;
  alertingAt: number | null;
  answeredAt: number | null;
  mix: string | null;
  /** We have put it on hold. */
  onHold: boolean;
  /** Its far end has put us on hold. */
  holdsUs: boolean;
  sound: string | null;
  /** Keys that the far end has heard, and the requests that sent them. */
  keysHeard: string;
  keysSent: Set<string>;
  /** Cancels the set-up timer, later the ring timer. */
  stopTimer: () => void;
  /** Cancels what the phone was going to do. */
  stopPhone: (() => void)[];
}

const PHONE_STATE: Readonly<Record<LegPhase, PhoneState>> = {
  setup: 'setup',
  alerting: 'ringing',
  answered: 'talking',
};

export class SimulatedSwitch {
  script: Script;
  readonly facts: FactQueue;
  #record: DialRecord;
  #clock: SwitchClock;
  #speed: number;
  #live = new Map<string, Leg>();
  /** Legs that are over, and tombstones of legs that must never be. Oldest first. */
  #gone = new GoneLegs();
  /** By mix: the name of the recording under way. */
  #recordings = new Map<string, string>();
  #bonds = new Bonds();

  constructor({ script, record, log, clock = systemSwitchClock, speed = 1 }: SimulatedSwitchOptions) {
    this.script = script;
    this.facts = new FactQueue(log);
    this.#record = record;
    this.#clock = clock;
    this.#speed = speed;
  }

  originate(request: Originate): OriginateAnswer {
    const { legId, party, to, from, mix } = request;
    if (this.#live.has(legId) || this.#gone.wasDialled(legId)) return 'known';
    const now = this.#clock.now();
    if (this.#gone.has(legId) || now > request.notAfter) return 'too_late';

    const phone = this.#takePhone(request);
    const dial = this.#record.dialled({ at: now, legId, party, to, from });
    const leg: Leg = {
      request,
      dial,
      phone,
      phase: 'setup',
      startedAt: now,
      alertingAt: null,
      answeredAt: null,
      mix,
      onHold: false,
      holdsUs: false,
      sound: null,
      keysHeard: '',
      keysSent: new Set(),
      stopTimer: () => {},
      stopPhone: [],
    };
    this.#live.set(legId, leg);
    leg.stopTimer = this.#after(request.setupMs, () => this.#end(leg, { phase: 'setup', by: 'timer' }));
    this.#play(leg);
    return 'accepted';
  }

  hangUp(legId: string, why: EndWhy, { unlessAnswered = false } = {}): HangUpAnswer {
    const leg = this.#live.get(legId);
    if (leg) {
      if (unlessAnswered && leg.phase === 'answered') return 'answered';
      if (leg.phase === 'alerting' && leg.phone.crosses) this.#pickUp(leg);
      this.#end(leg, { phase: leg.phase, by: 'command', why });
      return 'ended';
    }
    if (this.#gone.wasDialled(legId)) return 'ended';
    this.#gone.add(legId, false, this.#clock.now());
    return 'absent';
  }

  join(mix: string, legId: string): void {
    const leg = this.#answered(legId);
    if (leg) leg.mix = mix;
  }

  leave(mix: string, legId: string): void {
    const leg = this.#live.get(legId);
    if (leg?.mix === mix) leg.mix = null;
  }

  hold(legId: string, on: boolean): void {
    const leg = this.#answered(legId);
    if (leg) leg.onHold = on;
  }

  play(legId: string, sound: string | null): void {
    const leg = this.#answered(legId);
    if (leg) leg.sound = sound;
  }

  sendDtmf(legId: string, digits: string, key: string): void {
    const leg = this.#answered(legId);
    if (!leg || leg.keysSent.has(key)) return;
    leg.keysSent.add(key);
    leg.keysHeard += digits;
  }

  record(mix: string, name: string | null): void {
    if (!this.script.records) throw new AppError('CONFLICT', 'recordings can not be written');
    if (name === null) this.#recordings.delete(mix);
    else if ([...this.#live.values()].some((leg) => leg.mix === mix)) this.#recordings.set(mix, name);
  }

  /** A leg that has ended already ends the others now; one not seen yet is bound when it is originated. */
  endTogether(mix: string, legs: Bound[]): void {
    this.#bonds.set(mix, legs);
    const first = legs.find(({ legId, why }) => why !== null && this.#gone.has(legId));
    if (first) this.#endOthers(first.legId, null);
  }

  status(legId: string): LegPhase | 'absent' {
    return this.#live.get(legId)?.phase ?? 'absent';
  }

  list(): LegSnapshot[] {
    return [...this.#live.values()].map(snapshotOf);
  }

  snapshot(legId: string): LegSnapshot | null {
    const leg = this.#live.get(legId);
    return leg ? snapshotOf(leg) : null;
  }

  /** Live legs as people want to see them: whose phone, and in which mix. */
  describe(): LegDescription[] {
    return [...this.#live.values()].map((leg) => {
      const { request, mix, onHold, holdsUs, sound, keysHeard, phone } = leg;
      const recording = mix === null ? null : (this.#recordings.get(mix) ?? null);
      const { party, to } = request;
      return { ...snapshotOf(leg), party, to, mix, onHold, holdsUs, sound, keysHeard, recording, script: phone.then.kind };
    });
  }

  /** The person at this phone picks it up. Like all of a phone's acts it throws CONFLICT with the phone's state. */
  answerPhone(number: string): void {
    this.#answer(this.#legAt(number, 'alerting'));
  }

  rejectPhone(number: string): void {
    this.#end(this.#legAt(number, 'alerting'), { phase: 'alerting', by: 'remote', sip: 603 });
  }

  hangUpPhone(number: string): void {
    this.#end(this.#legAt(number, 'answered'), { phase: 'answered', by: 'remote' });
  }

  pressKey(number: string, digit: string): void {
    this.#digit(this.#legAt(number, 'answered'), digit);
  }

  /** The far end puts us on hold, or takes us back. */
  holdPhone(number: string, on: boolean): void {
    const leg = this.#legAt(number, 'answered');
    if (leg.holdsUs === on) return;
    leg.holdsUs = on;
    this.facts.add({ type: 'held', legId: leg.request.legId, at: this.#clock.now(), on });
  }

  phoneState(number: string): PhoneState {
    const leg = this.#legsAt(number)[0];
    return leg ? PHONE_STATE[leg.phase] : 'idle';
  }

  /** Stops every timer; nothing happens after it. */
  close(): void {
    for (const leg of this.#live.values()) stop(leg);
    this.#live.clear();
  }

  /** A leg that is over is let pass: its end is a fact on its way. Throws CONFLICT for one that is not answered. */
  #answered(legId: string): Leg | null {
    const leg = this.#live.get(legId);
    if (!leg) return null;
    if (leg.phase !== 'answered') throw new AppError('CONFLICT', 'the leg is not answered', { state: leg.phase });
    return leg;
  }

  /** An agent's phone has one line: in a call it is busy, whatever its script says. */
  #takePhone({ party, to, noDivert }: Originate): Phone {
    const nth = this.#record.timesDialled(to) + 1;
    const scripted = phoneFor(this.script, party, to, nth);
    const phone: Phone = scripted.diverts && noDivert ? { ...scripted, then: { kind: 'silent' } } : scripted;
    if (party !== 'agent' || this.#legsAt(to).length === 0) return phone;
    return { ...phone, earlyMedia: null, alerting: null, then: { kind: 'fails', after: 0, sip: 486 } };
  }

  #play(leg: Leg): void {
    const { trying, earlyMedia, alerting, then } = leg.phone;
    if (trying !== null) this.#phoneDoes(leg, trying, () => this.#progress(leg, 'trying'));
    if (earlyMedia !== null) this.#phoneDoes(leg, earlyMedia, () => this.#alert(leg, 'early_media'));
    if (alerting !== null) this.#phoneDoes(leg, alerting, () => this.#alert(leg, 'alerting'));
    if (then.kind === 'silent' || then.kind === 'manual') return;
    const at = Math.max(trying ?? 0, earlyMedia ?? 0, alerting ?? 0) + then.after;
    this.#phoneDoes(leg, at, () => {
      if (then.kind !== 'fails') this.#answer(leg, then);
      else this.#end(leg, { phase: leg.phase, by: 'remote', sip: then.sip, q850: then.q850 });
    });
  }

  #progress(leg: Leg, phase: 'trying' | 'alerting' | 'early_media'): void {
    this.facts.add({ type: 'progress', legId: leg.request.legId, at: this.#clock.now(), phase });
  }

  /** The first sign of alerting starts the ring timer; a 180 after early media, or media after a 180, does not again. */
  #alert(leg: Leg, sign: 'alerting' | 'early_media'): void {
    if (sign === 'early_media') this.#progress(leg, 'early_media');
    if (sign === 'early_media' && !this.script.earlyMediaAlerts) return;
    if (leg.phase !== 'setup') return;
    leg.stopTimer();
    leg.phase = 'alerting';
    leg.alertingAt = this.#clock.now();
    this.#progress(leg, 'alerting');
    leg.stopTimer = this.#after(leg.request.ringMs, () => this.#end(leg, { phase: 'alerting', by: 'timer' }));
  }

  #answer(leg: Leg, then?: { talks: number | null; presses?: { digit: string; after: number } }): void {
    const at = this.#pickUp(leg);
    const { legId } = leg.request;
    this.facts.add({ type: 'answered', legId, at });
    const { media } = leg.phone;
    if (media !== null) {
      this.#phoneDoes(leg, media, () => this.facts.add({ type: 'media_up', legId, at: this.#clock.now() }));
    }
    if (then?.presses) {
      const { digit, after } = then.presses;
      this.#phoneDoes(leg, after, () => this.#digit(leg, digit));
    }
    if (then && then.talks !== null) {
      this.#phoneDoes(leg, then.talks, () => this.#end(leg, { phase: 'answered', by: 'remote' }));
    }
  }

  /** Answered at the far end, whether or not we come to say so. */
  #pickUp(leg: Leg): number {
    stop(leg);
    const at = this.#clock.now();
    leg.phase = 'answered';
    leg.answeredAt = at;
    this.#record.answered(leg.dial, at);
    return at;
  }

  #digit(leg: Leg, digit: string): void {
    this.facts.add({ type: 'dtmf', legId: leg.request.legId, at: this.#clock.now(), digit });
  }

  #end(leg: Leg, ending: LegEnding): void {
    const { legId } = leg.request;
    if (!this.#live.delete(legId)) return;
    stop(leg);
    if (leg.mix !== null && ![...this.#live.values()].some(({ mix }) => mix === leg.mix)) this.#recordings.delete(leg.mix);
    const at = this.#clock.now();
    this.#gone.add(legId, true, at);
    const end = { ...ending, ...legDurations(leg, at) };
    this.#record.ended(leg.dial, at, end);
    this.facts.add({ type: 'ended', legId, at, ...end });
    this.#endOthers(legId, ending.by === 'command' ? (ending.why ?? null) : null);
  }

  /** The far end's hang-up carries the reason agreed beforehand; a command carries its own to the others. */
  #endOthers(first: string, commanded: EndWhy | null): void {
    for (const { mix, why, legs } of this.#bonds.of(first)) {
      if (why === null) continue;
      this.#bonds.set(mix, []);
      for (const { legId } of legs) if (legId !== first) this.hangUp(legId, commanded ?? why);
    }
  }

  #legsAt(number: string): Leg[] {
    return [...this.#live.values()].filter((leg) => leg.request.to === number);
  }

  #legAt(number: string, phase: LegPhase): Leg {
    const leg = this.#legsAt(number).find((each) => each.phase === phase);
    if (leg) return leg;
    const state = this.phoneState(number);
    throw new AppError('CONFLICT', `this phone is not ${PHONE_STATE[phase]}: it is ${state}`, { state });
  }

  #phoneDoes(leg: Leg, seconds: number, act: () => void): void {
    leg.stopPhone.push(this.#after(seconds * 1000, act));
  }

  #after(ms: number, act: () => void): () => void {
    return this.#clock.setTimeout(ms / this.#speed, act);
  }
}

function stop(leg: Leg): void {
  leg.stopTimer();
  for (const cancel of leg.stopPhone) cancel();
  leg.stopPhone = [];
}

function snapshotOf({ request, phase, startedAt, alertingAt, answeredAt }: Leg): LegSnapshot {
  return { legId: request.legId, phase, startedAt, alertingAt, answeredAt };
}
