/**
 * One leg at Asterisk: what the events of its channel and our own commands make of it, told as facts. Nothing here talks
 * to Asterisk.
 */
import type { LegEnding } from '../../domain/codes.ts';
import { legDurations } from '../snapshot.ts';
import type { EndWhy, LegFact, LegPhase, Originate } from '../telephony.ts';

/** What must be known of a leg to carry it on in another process; kept with its channel. */
export type Plan = Pick<Originate, 'party' | 'setupMs' | 'ringMs'>;

/** Who has ended a leg. The far end's answer comes only with the end of the channel. */
export type Ender = { by: 'timer' | 'remote' } | { by: 'command'; why: EndWhy };

/** What Asterisk says of a channel that is no more. */
export interface ChannelEnd {
  at: number;
  /** Q.850 */
  cause: number;
  /** The final SIP answer; absent in an Asterisk that does not tell it, and of other technologies. */
  sip?: number;
}

export interface LegListener {
  fact(fact: LegFact): void;
  /** The set-up or ring timer has run out: the channel is to be hung up, unless it has come further meanwhile. */
  timedOut(leg: Leg): void;
}

export class Leg {
  readonly legId: string;
  readonly #listener: LegListener;
  plan: Plan;
  phase: LegPhase = 'setup';
  /** Epoch ms; null for a leg of an earlier worker that ended before this one came. */
  startedAt: number | null;
  /** Asterisk's name of the channel, once it has one. */
  channelName: string | null = null;
  /** The mix it belongs to, on hold or not. */
  mix: string | null = null;
  onHold = false;
  /** What Asterisk was told of who ends with it, as in names.ts; null when that is not known. */
  bond: string | null = null;
  /** The INVITE was sent, or may have been. */
  dialled = false;
  /** While it is being dialled: resolves when `dialled` is as sure as it can be. */
  sending: Promise<void> | null = null;
  /** Asterisk takes it away at its `notAfter`: the limit was not lifted yet. */
  isLimited = true;
  /** While that is being lifted. */
  lifting: Promise<void> | null = null;
  /** An earlier worker has made it. */
  isAdopted = false;
  /** Asterisk has hung it up by itself: its limit, or the end of a leg bound to it. */
  cutInside = false;
  #alertingAt: number | null = null;
  #answeredAt: number | null = null;
  /** The first sign counts. */
  #ender: Ender | null = null;
  #isOver = false;
  #timer: NodeJS.Timeout | undefined;
  #entered = Promise.withResolvers<boolean>();

  constructor(legId: string, plan: Plan, startedAt: number | null, listener: LegListener) {
    this.legId = legId;
    this.plan = plan;
    this.startedAt = startedAt;
    this.#listener = listener;
  }

  get ender(): Ender | null {
    return this.#ender;
  }

  /** Its channel obeys our commands from now on. */
  entered(): void {
    this.#entered.resolve(true);
  }

  /** Resolves to true when the channel obeys, to false when it has ended before. */
  get hasEntered(): Promise<boolean> {
    return this.#entered.promise;
  }

  /** The same, to false too when `withinMs` have passed. */
  async obeys(withinMs: number): Promise<boolean> {
    const timer = setTimeout(() => this.#entered.resolve(false), Math.max(0, withinMs));
    return this.#entered.promise.finally(() => clearTimeout(timer));
  }

  /** Resolves to false if `dial` has sent nothing, for certain. */
  async sentBy(dial: Promise<boolean>): Promise<boolean> {
    this.dialled = true;
    const sent = dial.then((isSent) => (this.dialled = isSent));
    const known = (): void => void (this.sending = null);
    this.sending = sent.then(known, known);
    return sent;
  }

  /** The set-up may take so long from now on. */
  startSetup(): void {
    if (this.phase === 'setup' && !this.#ender) this.#startTimer(this.plan.setupMs);
  }

  /** An earlier process has begun it: its timer goes on from where it is. */
  carryOn(plan: Plan): void {
    this.plan = plan;
    if (this.phase === 'answered' || this.#ender) return;
    const [since, mayTake] =
      this.#alertingAt === null ? [this.startedAt ?? Date.now(), plan.setupMs] : [this.#alertingAt, plan.ringMs];
    this.#startTimer(since + mayTake - Date.now());
  }

  /** Early media, which counts as alerting where `alerts`. */
  earlyMedia(at: number, alerts: boolean): void {
    if (this.phase !== 'setup' || this.#ender) return;
    this.#tell({ type: 'progress', legId: this.legId, at, phase: 'early_media' });
    if (alerts) this.alerting(at);
  }

  /** The first sign of alerting starts the ring timer, once. True if this was it. */
  alerting(at: number): boolean {
    if (this.phase !== 'setup' || this.#ender) return false;
    this.dialled = true;
    this.phase = 'alerting';
    this.#alertingAt = at;
    this.#tell({ type: 'progress', legId: this.legId, at, phase: 'alerting' });
    this.#startTimer(this.plan.ringMs);
    return true;
  }

  /** An answer that crosses our own hang-up is told by the end alone: nobody is to be connected. */
  answered(at: number): boolean {
    if (this.phase === 'answered') return false;
    this.dialled = true;
    this.phase = 'answered';
    this.#answeredAt = at;
    clearTimeout(this.#timer);
    // Asterisk may tell of the far end's hang-up first, which takes nothing from its answer.
    if (this.#isOver || (this.#ender && this.#ender.by !== 'remote')) return false;
    this.#tell({ type: 'answered', legId: this.legId, at });
    return true;
  }

  /** Somebody ends it; false if somebody has done so before. */
  endedBy(ender: Ender): boolean {
    if (this.#ender) return false;
    this.#ender = ender;
    clearTimeout(this.#timer);
    this.#entered.resolve(false);
    return true;
  }

  /** The channel is no more. */
  over(end: ChannelEnd): void {
    clearTimeout(this.#timer);
    this.#entered.resolve(false);
    this.#end(this.#ending(end), end.at);
  }

  /** It is over, and nothing is known of how. */
  lost(at: number, why: 'switch_lost' | 'unknown'): void {
    clearTimeout(this.#timer);
    this.#entered.resolve(false);
    this.#end(this.#ender?.by === 'command' ? { phase: this.phase, ...this.#ender } : { phase: this.phase, by: 'switch', why }, at);
  }

  /** Another process follows it now. */
  forget(): void {
    clearTimeout(this.#timer);
    this.#entered.resolve(false);
  }

  /**
   * Asterisk gives our own hang-up of an unanswered leg like a 480 of the far end: who ended it is what we remember. Where
   * there is a SIP answer, the cause only translates it.
   */
  #ending({ cause, sip }: ChannelEnd): LegEnding {
    const { phase } = this;
    const ender = this.#ender ?? { by: 'remote' };
    if (ender.by !== 'remote' || phase === 'answered') return { phase, ...ender };
    return sip ? { phase, by: 'remote', sip } : { phase, by: 'remote', ...(cause ? { q850: cause } : {}) };
  }

  /** Told once, whatever comes twice. */
  #end(ending: LegEnding, at: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { legId, startedAt } = this;
    const times =
      startedAt === null
        ? { setupMs: null, alertMs: null }
        : legDurations({ startedAt, alertingAt: this.#alertingAt, answeredAt: this.#answeredAt }, at);
    this.#tell({ type: 'ended', legId, at, ...ending, ...times });
  }

  #startTimer(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#listener.timedOut(this), Math.max(0, ms));
  }

  #tell(fact: LegFact): void {
    this.#listener.fact(fact);
  }
}
