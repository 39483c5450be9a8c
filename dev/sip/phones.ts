/**
 * Phones over real SIP and RTP, for tests and chaos: one UDP port with any number of numbers behind it, as a carrier's is.
 * They behave by the simulator's script (telephony/simulator/script.ts), are acted on by hand, or are played message by
 * message (`onInvite`). Each call sends a tone of its own, so tests can tell who hears whom.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Behaviour, type BehaviourInput, behaviourSchema } from '../../telephony/simulator/script.ts';
import { ALLOW, type CallState, SipCall } from './call.ts';
import { responseTo, type SipMessage, token } from './message.ts';
import { type Peer, SipTransport } from './transport.ts';

/** Plays one call. It runs within the tick of the INVITE until it first awaits something. */
export type CallScript = (call: SipCall) => void | Promise<void>;

export interface SipPhonesOptions {
  /** Any free one by default. */
  port?: number;
  /** By name: sounds that the switch may play, as tones in Hz below {@link FIRST_TONE} (`writeTone`). */
  sounds?: Record<string, number>;
  /** For numbers that nobody has said anything of; by default they are not in use. */
  otherwise?: CallScript;
}

/** Calls have tones from here up, 40 Hz apart. */
export const FIRST_TONE = 600;
const TONES = 70;
const TONE_STEP = 40;
/** So long without audio is a hold rather than a lost packet or two. */
const SILENCE_MS = 300;
const CALLED_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 25;
const NOT_IN_USE: BehaviourInput = { trying: 0, alerting: null, then: { kind: 'fails', after: 0, sip: 404, q850: 1 } };

export class SipPhones {
  readonly transport = new SipTransport((request, from) => this.#receive(request, from));
  readonly #sounds: Record<string, number>;
  readonly #otherwise: CallScript;
  readonly #scripts = new Map<string, CallScript>();
  readonly #calls = new Set<SipCall>();
  /** More than one where a switch tried again under the same Call-ID. */
  readonly #byCallId = new Map<string, SipCall[]>();
  readonly #errors: unknown[] = [];
  #tones = 0;

  static async open(options: SipPhonesOptions = {}): Promise<SipPhones> {
    const phones = new SipPhones(options);
    await phones.transport.open(options.port ?? 0);
    return phones;
  }

  private constructor({ sounds = {}, otherwise = scriptOf(NOT_IN_USE) }: SipPhonesOptions) {
    this.#sounds = sounds;
    this.#otherwise = otherwise;
  }

  /** `127.0.0.1:5190`: where the trunk must lead to. */
  get address(): string {
    return this.transport.address;
  }

  phone(number: string): SipPhone {
    return new SipPhone(number, this, this.#sounds);
  }

  behave(number: string, behaviour: BehaviourInput): void {
    this.#scripts.set(number, scriptOf(behaviour));
  }

  /** Plays the number's next calls message by message. What it throws is thrown by `close`. */
  onInvite(number: string, script: CallScript): void {
    this.#scripts.set(number, script);
  }

  /** All that ever were, oldest first. */
  calls(number?: string): SipCall[] {
    return [...this.#calls].filter((call) => number === undefined || call.number === number);
  }

  /** How often the number was called. */
  invites(number: string): number {
    return this.calls(number).length;
  }

  /** Keeps an error for `close` to throw: what was played failed, and nobody waits for it. */
  readonly failed = (error: unknown): void => void this.#errors.push(error);

  /** The number's n-th call, which may still be on its way. Rejects when it does not come within 10 s. */
  async called(number: string, nth = 1): Promise<SipCall> {
    for (const deadline = performance.now() + CALLED_WITHIN_MS; performance.now() < deadline; await sleep(LOOK_EVERY_MS)) {
      const call = this.calls(number)[nth - 1];
      if (call) return call;
    }
    throw new Error(`${number} was called ${this.invites(number)} times, not ${nth}`);
  }

  /** Of a call that is over nothing is kept any more; what still comes of it is refused. */
  forget(call: SipCall): void {
    const { callId } = call.invite;
    this.#calls.delete(call);
    const others = (this.#byCallId.get(callId) ?? []).filter((other) => other !== call);
    if (others.length > 0) this.#byCallId.set(callId, others);
    else this.#byCallId.delete(callId);
  }

  /** Hangs up nothing: the phones are gone. Throws what was kept by `failed`. */
  close(): void {
    for (const call of this.#calls) call.close();
    this.transport.close();
    if (this.#errors.length === 1) throw this.#errors[0];
    if (this.#errors.length > 1) throw new AggregateError(this.#errors, this.#errors.join('; '));
  }

  #receive(request: SipMessage, from: Peer): void {
    const call = this.#callOf(request);
    if (call) return call.receive(request);
    if (request.method === 'INVITE' && !request.tag('to')) return this.#take(request, from);
    if (request.method === 'ACK') return;
    const status = request.method === 'OPTIONS' ? 200 : 481;
    this.transport.send(responseTo(request, status, token(), { headers: [ALLOW] }), from);
  }

  /** Within a dialog its tag says whose it is; without one it is the INVITE again, or its CANCEL. */
  #callOf(request: SipMessage): SipCall | undefined {
    const calls = this.#byCallId.get(request.callId) ?? [];
    const tag = request.tag('to');
    if (tag === undefined) return calls.find(({ invite }) => invite.branch === request.branch);
    return calls.flatMap((call) => [call, ...call.forks]).find((call) => call.tag === tag);
  }

  #take(invite: SipMessage, from: Peer): void {
    const number = decodeURIComponent(/^sips?:([^@;>]*)@/.exec(invite.uri)?.[1] ?? '');
    const nextTone = (): number => FIRST_TONE + TONE_STEP * (this.#tones++ % TONES);
    const call = new SipCall(number, invite, from, { transport: this.transport, nextTone, failed: this.failed });
    this.#byCallId.set(invite.callId, [...(this.#byCallId.get(invite.callId) ?? []), call]);
    this.#calls.add(call);
    const script = this.#scripts.get(number) ?? this.#otherwise;
    // Run at once: a phone may answer in the very moment of the INVITE.
    try {
      Promise.resolve(script(call)).catch(this.failed);
    } catch (error) {
      this.failed(error);
    }
  }
}

/** A number's phone. It acts on the newest of its calls that is in the state for it. */
export class SipPhone {
  readonly number: string;
  readonly #phones: SipPhones;
  readonly #sounds: Record<string, number>;

  constructor(number: string, phones: SipPhones, sounds: Record<string, number>) {
    this.number = number;
    this.#phones = phones;
    this.#sounds = sounds;
  }

  async behave(behaviour: BehaviourInput): Promise<void> {
    this.#phones.behave(this.number, behaviour);
  }

  get calls(): SipCall[] {
    return this.#phones.calls(this.number);
  }

  /** Resolves when the switch knows of it. */
  async answer(): Promise<void> {
    const call = this.#callThatIs('ringing');
    call.answer();
    await call.waitFor('ack');
  }

  async reject(): Promise<void> {
    this.#callThatIs('ringing').respond(603);
  }

  async hangUp(): Promise<void> {
    await this.#callThatIs('talking').bye();
  }

  async press(digit: string): Promise<void> {
    await this.#callThatIs('talking').press(digit);
  }

  async hold(on: boolean): Promise<void> {
    const call = this.#callThatIs('talking');
    if (call.isHolding !== on) await call.reinvite({ hold: on });
  }

  /** What the phone itself can know of its last call. On hold: no audio comes, or it was told so by a re-INVITE. */
  async hears() {
    const call = this.calls.at(-1);
    if (!call) throw new Error(`The phone ${this.number} was never called`);
    const tone = call.loudest(Object.values(this.#sounds));
    const sound = Object.entries(this.#sounds).find(([, hz]) => hz === tone)?.[0] ?? null;
    const isSilent = Date.now() - (call.rtp.lastReceivedAt ?? 0) > SILENCE_MS;
    return { mix: null, recording: null, onHold: call.isHeld || isSilent, sound, keysHeard: call.keysHeard };
  }

  #callThatIs(state: CallState): SipCall {
    const call = this.calls.findLast((each) => each.state === state);
    if (call) return call;
    throw new Error(`The phone ${this.number} is not ${state}: it is ${this.calls.at(-1)?.state ?? 'idle'}`);
  }
}

/** Behaves as the simulated switch's phones do (telephony/simulator/switch.ts); of a range the low end is taken. */
export function scriptOf(input: BehaviourInput): CallScript {
  const { trying, earlyMedia, alerting, media, crosses, then }: Behaviour = behaviourSchema.parse(input);
  const signs = [trying, earlyMedia, alerting].map((sign) => low(sign ?? 0));
  const lastSign = Math.max(...signs);
  return (call) => {
    const at = (time: Seconds | null, act: () => void | Promise<void>): void => {
      if (time !== null) call.after(low(time), act);
    };
    call.audioFrom = media === null ? null : low(media);
    if (crosses) call.answerAcrossCancel();
    // A 100 says nothing after a 18x.
    at(trying, () => (call.state === 'setup' ? call.respond(100) : undefined));
    at(earlyMedia, () => call.respond(183, { sdp: true }));
    at(alerting, () => call.respond(180));
    if (then.kind === 'silent' || then.kind === 'manual') return;
    const act = (): void => {
      if (then.kind === 'fails') return call.respond(then.sip, { headers: reasonOf(then.q850) });
      call.answer();
      if (then.talks !== null) at(then.talks, () => call.bye());
      if (then.kind === 'answers' && then.presses) {
        const { digit, after } = then.presses;
        at(after, () => call.press(digit));
      }
    };
    // From the sign itself: one that is late by a busy machine leaves what follows as long as it should be.
    at(lastSign, () => at(then.after, act));
  };
}

type Seconds = number | [number, number];
const low = (seconds: Seconds): number => (typeof seconds === 'number' ? seconds : seconds[0]);

const CAUSES: Readonly<Record<number, string>> = {
  1: 'Unallocated number',
  16: 'Normal call clearing',
  17: 'User busy',
  18: 'No user responding',
  19: 'No answer from user',
  21: 'Call rejected',
  34: 'No circuit available',
};

function reasonOf(q850: number | undefined): string[] {
  return q850 === undefined ? [] : [`Reason: Q.850;cause=${q850};text="${CAUSES[q850] ?? 'Cause'}"`];
}
