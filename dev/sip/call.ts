/**
 * One call to a phone: an INVITE that came in, and what became of it (RFC 3261). Everything that crosses the wire is on
 * record. A test says with `respond` and the others what is sent; what any phone does by itself is done here: it
 * repeats a final response until the ACK, and answers CANCEL, BYE, INFO, PRACK, UPDATE and re-INVITEs.
 */
import { Audio, type Direction, noRtp, type RtpCount, type Span } from './audio.ts';
import { type Content, requestOf, responseTo, type SipMessage, token, uriIn, viaOf } from './message.ts';
import type { Law } from './tone.ts';
import type { Peer, SipTransport } from './transport.ts';

/** `setup`: no sign of alerting was given yet. */
export type CallState = 'setup' | 'ringing' | 'talking' | 'ended';

export interface WireEntry {
  /** Epoch ms. */
  at: number;
  dir: 'in' | 'out';
  /** Method of a request, status of a response. */
  what: string;
  /** Of a response: the method that it answers. */
  to?: string;
  /** Its Reason header (RFC 3326). */
  reason?: string;
  /** It is a retransmission. */
  again?: true;
  message: SipMessage;
}

export interface Response {
  /** With our SDP: 183 then is early media. By default only a 2xx has it. */
  sdp?: boolean;
  /** Whether its tone is sent from then on, where there is SDP. By default it is. */
  audio?: boolean;
  /** Whole lines: `Reason: Q.850;cause=17`. */
  headers?: string[];
}

export interface Reinvite {
  /** True: `sendonly`, as most phones do it. */
  hold?: boolean | 'inactive';
  move?: boolean;
  media?: string[];
}

/** What a call needs of those who have taken it. */
export interface Surroundings {
  transport: SipTransport;
  /** The frequency of a call's own tone. */
  nextTone(): number;
  /** An act that was due failed, and nobody waits for it. */
  failed(error: unknown): void;
}

const WAIT_MS = 5_000;
const INFO_KEY = 'application/dtmf-relay';
export const ALLOW = 'Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK';

export class SipCall {
  readonly number: string;
  readonly invite: SipMessage;
  /** Of its dialog: each fork has one of its own. */
  readonly tag = token();
  readonly wire: WireEntry[] = [];
  /** What has answered besides: see `forkAnswer`. */
  readonly forks: SipCall[] = [];
  /** Keys that were sent to it, as events or by INFO. */
  keysHeard = '';
  /** It has put the other side on hold. */
  isHolding = false;
  state: CallState = 'setup';
  /** Seconds from `answer` until it sends audio; null: it never does. */
  audioFrom: number | null = 0;
  /** Told of each state that it comes to. */
  onState: (state: CallState) => void = () => {};
  /** How it codes its audio, from its first SDP on. */
  law: Law = 'alaw';
  readonly #around: Surroundings;
  readonly #peer: Peer;
  readonly #user: string;
  #audio: Audio | null = null;
  /** The final status that was sent. */
  #final = 0;
  #crosses = false;
  #cseq = 0;
  /** By key of a request: what was answered, for when it comes again. */
  #answers = new Map<string, SipMessage>();
  /** By CSeq: stops the repetition of what an ACK is due for. */
  #unacked = new Map<number, () => void>();
  /** Our ACK to the answer of our last re-INVITE. */
  #ack: SipMessage | null = null;
  #timers = new Set<NodeJS.Timeout>();
  /** Keys of requests that have come. */
  #received = new Set<string>();
  /** By the timer of its deadline: what looks whether that which it waits for is on record. */
  #waiting = new Map<NodeJS.Timeout, () => void>();

  constructor(number: string, invite: SipMessage, peer: Peer, around: Surroundings, user = number) {
    this.number = number;
    this.invite = invite;
    this.#peer = peer;
    this.#around = around;
    this.#user = user;
    this.#witness('in', invite, false);
  }

  get rtp(): Readonly<RtpCount> {
    return this.#audio?.count ?? noRtp();
  }

  /** Frequency of what this phone sends, in Hz; 0 before there is SDP. */
  get tone(): number {
    return this.#audio?.tone ?? 0;
  }

  /** The other side has put it on hold by a re-INVITE. */
  get isHeld(): boolean {
    return this.#audio?.isHeld ?? false;
  }

  /** Those of `frequencies` that it has heard within the last `sinceMs`, the loudest first. */
  hears(frequencies: readonly number[], sinceMs?: number): number[] {
    return this.#audio?.hears(frequencies, sinceMs) ?? [];
  }

  /** The loudest of `frequencies`, null where none is heard. */
  loudest(frequencies: readonly number[], sinceMs?: number): number | null {
    return this.hears(frequencies, sinceMs)[0] ?? null;
  }

  /** When it has heard a frequency, within the last minute. */
  heard(frequency: number): Span[] {
    return this.#audio?.heard(frequency) ?? [];
  }

  /** Answers the INVITE. Throws after a final response. */
  respond(status: number, { sdp = isSuccess(status), audio = true, headers = [] }: Response = {}): void {
    if (this.#final || this.state === 'ended') {
      throw new Error(`${status} can't be sent: ${this.name} has been answered with ${this.#final || 'nothing'}`);
    }
    const content = sdp ? this.#answerSdp(this.invite) : {};
    if (sdp) this.#audio?.talk(audio);
    const own = status > 100 && status < 300 ? [this.#contact, ALLOW] : [];
    const lines = [...own, ...(isSuccess(status) ? timerHeaders(this.invite) : []), ...headers];
    const response = responseTo(this.invite, status, this.tag, { ...content, headers: lines });
    if (status >= 200) this.#final = status;
    if (isSuccess(status)) this.#become('talking');
    else if (status >= 200) this.end();
    else if (status === 180 || (status === 183 && sdp)) this.#become('ringing');
    this.#answer(this.invite, response);
  }

  /** Picks up, as a person does. */
  answer(): void {
    this.respond(200, { audio: false });
    if (this.audioFrom !== null) this.after(this.audioFrom, () => this.talk(true));
  }

  /** Another phone that was called too answers: with a 200 of another tag and contact, and audio of its own. */
  forkAnswer(): SipCall {
    const user = `${this.#user}-${this.forks.length + 2}`;
    const fork = new SipCall(this.number, this.invite, this.#peer, this.#around, user);
    this.forks.push(fork);
    fork.respond(200);
    return fork;
  }

  /** The 200 will cross a CANCEL on the wire: it is sent in the moment the CANCEL comes. */
  answerAcrossCancel(): void {
    this.#crosses = true;
  }

  /** Sends its tone, or no more. */
  talk(on: boolean): void {
    this.#audio?.talk(on);
  }

  async bye(headers: string[] = []): Promise<void> {
    this.#mustTalk('hang up');
    this.end();
    await this.#request('BYE', { headers });
  }

  /**
   * Puts the other side on hold, takes it back, or changes nothing; `move`: its audio goes on at another port. `media` is
   * offered instead of its own audio, whole lines of SDP. Rejects when that is refused.
   */
  async reinvite({ hold = false, move = false, media }: Reinvite = {}): Promise<void> {
    this.#mustTalk('send a re-INVITE');
    if (move) this.#audio?.move();
    const direction = hold === true ? 'sendonly' : hold || 'sendrecv';
    const { type, body } = this.#sdp(direction);
    const response = await this.#request('INVITE', {
      headers: [this.#contact, ALLOW, 'Supported: timer'],
      type,
      body: media ? body.replace(/m=audio[^]*/, media.map((line) => `${line}\r\n`).join('')) : body,
    });
    const status = response.status!;
    // A refusal is acknowledged within its transaction, an acceptance in one of its own (RFC 3261, 13.2.2.4).
    const via = isSuccess(status) ? viaOf(this.#around.transport.address) : `Via: ${response.get('via')}`;
    this.#ack = this.#inDialog('ACK', response.cseq, {}, via);
    this.#send(this.#ack);
    if (!isSuccess(status)) throw new Error(`${this.name}: the re-INVITE was refused with ${status}`);
    this.isHolding = hold !== false;
    this.#audio?.theirs(response.body);
  }

  /** Presses a key by INFO. */
  async info(digit: string): Promise<void> {
    this.#mustTalk('press a key');
    const response = await this.#request('INFO', { type: INFO_KEY, body: `Signal=${digit}\r\nDuration=160\r\n` });
    if (!isSuccess(response.status!)) throw new Error(`${this.name}: the INFO was refused with ${response.status}`);
  }

  /** Presses a key as an event in its audio, by INFO where the other side takes no such events. */
  async press(digit: string): Promise<void> {
    this.#mustTalk('press a key');
    if (this.#audio?.takesEvents) await this.#audio.press(digit);
    else await this.info(digit);
  }

  /**
   * The n-th request of that method to come in, retransmissions not counted; the INVITE itself is the first of its
   * kind. At once if it has come already. Rejects after `withinMs` with what was on the wire instead.
   */
  waitFor(what: string, { nth = 1, withinMs = WAIT_MS } = {}): Promise<WireEntry> {
    const find = (): WireEntry | undefined =>
      this.wire.filter((entry) => entry.dir === 'in' && !entry.again && entry.what === what.toUpperCase())[nth - 1];
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const entry = find();
        if (entry) stop();
        if (entry) resolve(entry);
      };
      const timer = setTimeout(() => {
        stop();
        const missing = `no ${what.toUpperCase()} within ${withinMs} ms`;
        reject(new Error(`${this.name}: ${missing}; the wire had ${this.story}`));
      }, withinMs);
      const stop = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(timer);
      };
      this.#waiting.set(timer, look);
      look();
    });
  }

  /** Does something later, unless the call is answered or over by then. */
  after(seconds: number, act: () => void | Promise<void>): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void (async () => act())().catch((error: unknown) => this.#around.failed(error));
    }, seconds * 1000);
    this.#timers.add(timer);
  }

  /** A request of the other side within this call. */
  receive(request: SipMessage): void {
    const again = this.#received.has(request.key);
    this.#witness('in', request, again);
    if (again) return this.#answerAgain(request);
    switch (request.method) {
      case 'ACK':
        return this.#acknowledged(request);
      case 'CANCEL':
        return this.#cancelled(request);
      case 'BYE':
        this.#answer(request, this.#plain(request, 200));
        return this.#final ? this.end() : this.respond(487);
      case 'INVITE':
      case 'UPDATE':
        return this.#renewed(request);
      case 'INFO':
        this.keysHeard += keyIn(request);
        return this.#answer(request, this.#plain(request, 200));
      case 'PRACK':
      case 'OPTIONS':
        return this.#answer(request, this.#plain(request, 200));
      default:
        return this.#answer(request, responseTo(request, 405, this.tag, { headers: [ALLOW] }));
    }
  }

  /** Nothing more is done by itself, and there is no audio. */
  end(): void {
    this.#become('ended');
    this.#audio?.close();
    this.#stopRepeating();
  }

  /** Lets go of everything; what still waits for something waits for ever. */
  close(): void {
    for (const fork of this.forks) fork.close();
    for (const timer of this.#waiting.keys()) clearTimeout(timer);
    this.end();
  }

  get name(): string {
    return `the call to ${this.number} (${this.state})`;
  }

  /** For people: `<INVITE >180 >180* <CANCEL`, retransmissions with a star. */
  get story(): string {
    return this.wire.map(({ dir, what, again }) => `${dir === 'in' ? '<' : '>'}${what}${again ? '*' : ''}`).join(' ');
  }

  get #contact(): string {
    return `Contact: <sip:${this.#user}@${this.#around.transport.address}>`;
  }

  #become(state: CallState): void {
    if (state === 'ringing' && this.state !== 'setup') return;
    const isNew = state !== this.state;
    this.state = state;
    if (state !== 'ringing') this.#clearTimers();
    if (isNew) this.onState(state);
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #mustTalk(what: string): void {
    if (this.state !== 'talking') throw new Error(`Nobody can ${what} here: ${this.name} is not talking`);
  }

  #acknowledged(ack: SipMessage): void {
    this.#unacked.get(ack.cseq)?.();
    this.#unacked.delete(ack.cseq);
    if (ack.body) this.#audio?.theirs(ack.body);
  }

  #cancelled(cancel: SipMessage): void {
    if (this.#crosses && !this.#final) this.respond(200);
    this.#answer(cancel, this.#plain(cancel, 200));
    if (!this.#final) this.respond(487);
  }

  /** A refresh of the session (RFC 4028), or a new direction or address of their audio. */
  #renewed(request: SipMessage): void {
    const content = request.method === 'INVITE' || request.body ? this.#answerSdp(request) : {};
    const headers = [this.#contact, ALLOW, ...timerHeaders(request)];
    this.#answer(request, responseTo(request, 200, this.tag, { ...content, headers }));
  }

  #plain(request: SipMessage, status: number): SipMessage {
    return responseTo(request, status, this.tag);
  }

  #answerSdp(request: SipMessage): Content {
    this.#audio ??= new Audio(this.#around.nextTone(), this.law, (key) => (this.keysHeard += key));
    if (request.body) this.#audio.theirs(request.body);
    return this.#sdp(request.body ? this.#audio.answer : 'sendrecv');
  }

  #sdp(direction: Direction): { type: string; body: string } {
    return { type: 'application/sdp', body: this.#audio?.sdp(direction) ?? '' };
  }

  #answer(request: SipMessage, response: SipMessage): void {
    this.#answers.set(request.key, response);
    const { transport } = this.#around;
    if (request.method !== 'INVITE' || response.status! < 200) return this.#send(response);
    this.#unacked.get(request.cseq)?.();
    const stop = transport.sendUntil(response, this.#peer, this.#witness, () => this.end());
    this.#unacked.set(request.cseq, stop);
  }

  #answerAgain(request: SipMessage): void {
    const response = this.#answers.get(request.key);
    if (response) this.#send(response, true);
  }

  #stopRepeating(): void {
    for (const stop of this.#unacked.values()) stop();
    this.#unacked.clear();
  }

  #send(message: SipMessage, again = false): void {
    this.#around.transport.send(message, this.#peer, this.#witness, again);
  }

  #request(method: string, content: Content): Promise<SipMessage> {
    this.#cseq += 1;
    return this.#around.transport.request(this.#inDialog(method, this.#cseq, content), this.#peer, this.#witness);
  }

  #inDialog(method: string, cseq: number, content: Content, via = viaOf(this.#around.transport.address)): SipMessage {
    const { invite } = this;
    return requestOf(
      method,
      uriIn(invite.get('contact')),
      [
        via,
        ...invite.all('record-route').map((route) => `Route: ${route}`),
        `From: ${invite.get('to')};tag=${this.tag}`,
        `To: ${invite.get('from')}`,
        `Call-ID: ${invite.callId}`,
        `CSeq: ${cseq} ${method}`,
      ],
      content,
    );
  }

  readonly #witness = (dir: 'in' | 'out', message: SipMessage, again: boolean): void => {
    const reason = message.get('reason');
    this.wire.push({
      at: Date.now(),
      dir,
      what: String(message.status ?? message.method),
      ...(message.status !== null && { to: message.method }),
      ...(reason && { reason }),
      ...(again && { again }),
      message,
    });
    if (dir === 'out') return;
    if (message.status === null) this.#received.add(message.key);
    // They have not got our ACK.
    else if (again && message.method === 'INVITE' && this.#ack) this.#send(this.#ack, true);
    for (const look of [...this.#waiting.values()]) look();
  };
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

/** The session timer (RFC 4028) is theirs to keep, as they have asked for it. */
function timerHeaders(request: SipMessage): string[] {
  const interval = parseInt(request.get('session-expires'), 10);
  return ['Supported: timer', ...(interval ? ['Require: timer', `Session-Expires: ${interval};refresher=uac`] : [])];
}

/** `Signal=5` of application/dtmf-relay; other bodies hold no key. */
function keyIn(info: SipMessage): string {
  if (!info.get('content-type').startsWith(INFO_KEY)) return '';
  return /^Signal\s*=\s*([0-9*#A-D])/m.exec(info.body)?.[1] ?? '';
}
