/** The audio of one call: SDP (RFC 8866, 3264), RTP in G.711 (RFC 3550, 3551) and keys as events (RFC 4733). */
import { createSocket, type Socket } from 'node:dgram';
import { HOST, LOOPBACK, type Peer } from './transport.ts';
import { type Law, PACKET, samplesOf, tonePackets, tonesIn } from './tone.ts';

const PAYLOAD: Readonly<Record<Law, number>> = { alaw: 8, ulaw: 0 };
const NAME: Readonly<Record<Law, string>> = { alaw: 'PCMA', ulaw: 'PCMU' };
const EVENTS = 101;
const KEYS = '0123456789*#ABCD';
const TICK_MS = 20;
/** A timer that comes later than this leaves packets out rather than send them in a burst. */
const MOST_TICKS_AT_ONCE = 10;
/** A key lasts 100 ms, its end is told three times, and 60 ms of audio part it from the next. */
const KEY_TICKS = 5;
const KEY_ENDS = 3;
const KEY_GAP_TICKS = 3;
/** Audio that is kept to listen to. */
const KEPT_MS = 60_000;
/** Packets in which a tone is recognised: what is heard is heard so much later, 60 ms. */
const WINDOW = 3;

export type Direction = 'sendrecv' | 'sendonly' | 'recvonly' | 'inactive';

export interface RtpCount {
  sent: number;
  received: number;
  /** Of received payload. */
  bytes: number;
  /** Epoch ms, as the others. */
  firstSentAt: number | null;
  firstReceivedAt: number | null;
  lastReceivedAt: number | null;
  /** Between two packets that came. */
  longestGapMs: number;
  /** By their sequence numbers. */
  lost: number;
}

/** A time through which a tone was heard, epoch ms. */
export interface Span {
  from: number;
  to: number;
}

export const noRtp = (): RtpCount => ({
  sent: 0,
  received: 0,
  bytes: 0,
  firstSentAt: null,
  firstReceivedAt: null,
  lastReceivedAt: null,
  longestGapMs: 0,
  lost: 0,
});

interface Pressed {
  code: number;
  tick: number;
  timestamp: number;
  sent(): void;
}

export class Audio {
  /** What it sends, in Hz. */
  readonly tone: number;
  readonly count = noRtp();
  readonly #law: Law;
  #heardKey: (key: string) => void;
  #socket: Socket = createSocket(LOOPBACK);
  #session = Date.now();
  #version = 0;
  #direction: Direction = 'sendrecv';
  #theirs: { peer: Peer; direction: Direction; events: number | null } | null = null;
  #talks = false;
  #ssrc = Math.floor(Math.random() * 2 ** 32);
  #sequence = Math.floor(Math.random() * 2 ** 15);
  #ticks = 0;
  /** The next packet of audio is the first after a pause. */
  #resumes = true;
  #pressed: Pressed[] = [];
  #gap = 0;
  #lastKeyHeard = '';
  #kept: { at: number; samples: Int16Array }[] = [];
  #lastSequence: number | null = null;

  constructor(tone: number, law: Law, heardKey: (key: string) => void) {
    this.tone = tone;
    this.#law = law;
    this.#heardKey = heardKey;
    this.#listen();
    clock.add(this);
  }

  /** Goes on at another port, which the next description tells. */
  move(): void {
    this.#socket.close();
    this.#socket = createSocket(LOOPBACK);
    this.#listen();
    this.#version += 1;
  }

  #listen(): void {
    this.#socket.on('message', (packet) => this.#receive(packet));
    this.#socket.bind(0, HOST);
  }

  /** Our side of the session, as an offer or an answer. Another direction than the last makes another version of it. */
  sdp(direction: Direction): string {
    if (this.#version === 0 || direction !== this.#direction) this.#version += 1;
    this.#direction = direction;
    const type = PAYLOAD[this.#law];
    const events = this.#theirs === null ? EVENTS : this.#theirs.events;
    const lines = [
      'v=0',
      `o=- ${this.#session} ${this.#version} IN IP4 ${HOST}`,
      's=-',
      `c=IN IP4 ${HOST}`,
      't=0 0',
      `m=audio ${this.#socket.address().port} RTP/AVP ${[type, events].filter((each) => each !== null).join(' ')}`,
      `a=rtpmap:${type} ${NAME[this.#law]}/8000`,
      ...(events === null ? [] : [`a=rtpmap:${events} telephone-event/8000`, `a=fmtp:${events} 0-15`]),
      'a=ptime:20',
      `a=${direction}`,
    ];
    return lines.map((line) => `${line}\r\n`).join('');
  }

  /** Takes the other side's description: where our audio goes to, and whether it is wanted. */
  theirs(sdp: string): void {
    const [, port, formats = ''] = /^m=audio (\d+) RTP\/AVP (.*)$/m.exec(sdp) ?? [];
    const address = /^c=IN IP4 ([\d.]+)/m.exec(sdp)?.[1];
    if (!port || !address) throw new Error(`No audio over RTP/AVP in this description:\n${sdp}`);
    if (!formats.trim().split(' ').includes(String(PAYLOAD[this.#law]))) {
      throw new Error(`This phone speaks ${NAME[this.#law]} only, which is not among ${formats}`);
    }
    const events = /^a=rtpmap:(\d+) telephone-event\/8000/im.exec(sdp)?.[1];
    this.#theirs = {
      peer: { address, port: Number(port) },
      direction: (/^a=(sendrecv|sendonly|recvonly|inactive)/m.exec(sdp)?.[1] ?? 'sendrecv') as Direction,
      events: events ? Number(events) : null,
    };
  }

  /** The answer to what they have last said of their direction (RFC 3264, 6.1). */
  get answer(): Direction {
    const theirs = this.#theirs?.direction ?? 'sendrecv';
    return theirs === 'sendonly' ? 'recvonly' : theirs === 'recvonly' ? 'sendonly' : theirs;
  }

  /** They have put us on hold. */
  get isHeld(): boolean {
    return this.#theirs !== null && ['sendonly', 'inactive'].includes(this.#theirs.direction);
  }

  /** Whether keys can be sent as events, which the other side must have offered. */
  get takesEvents(): boolean {
    return this.#theirs?.events != null;
  }

  /** Its tone is sent from now on, or no longer. */
  talk(on: boolean): void {
    this.#talks = on;
  }

  /** Resolves when the key has been sent to its end. */
  press(key: string): Promise<void> {
    const code = KEYS.indexOf(key);
    if (code < 0 || key.length !== 1) throw new Error(`"${key}" is none of the keys ${KEYS}`);
    return new Promise((sent) => this.#pressed.push({ code, tick: 0, timestamp: 0, sent }));
  }

  /** Those of `frequencies` that came within the last `ms`, the loudest first. */
  hears(frequencies: readonly number[], ms = 120): number[] {
    const since = Date.now() - ms;
    const first = this.#kept.findLastIndex(({ at }) => at < since) + 1;
    return tonesIn(joined(this.#kept.slice(first)), frequencies);
  }

  /**
   * When `hz` was heard, of what came within the last minute. A span begins with the packet by which the tone is known,
   * up to 60 ms after its first, and ends with its last one; a break of less than 100 ms parts no spans.
   */
  heard(hz: number): Span[] {
    const spans: Span[] = [];
    for (let n = WINDOW; n <= this.#kept.length; n += 1) {
      const window = this.#kept.slice(n - WINDOW, n);
      const { at } = window.at(-1)!;
      if (at - window[0]!.at > MOST_TICKS_AT_ONCE * TICK_MS || tonesIn(joined(window), [hz]).length === 0) continue;
      const last = spans.at(-1);
      if (last && at - last.to < 100) last.to = at;
      else spans.push({ from: at, to: at });
    }
    return spans;
  }

  close(): void {
    if (!clock.remove(this)) return;
    this.#socket.close();
    for (const key of this.#pressed) key.sent();
  }

  /** Sends what is due; `skipped`: so many packets before it were not sent. */
  tick(skipped: number): void {
    this.#ticks += 1 + skipped;
    const [pressed] = this.#pressed;
    if (pressed && this.#gap <= 0) return this.#sendKey(pressed);
    this.#gap -= 1;
    // Whoever holds or is held is silent.
    if (!this.#talks || this.#direction !== 'sendrecv') {
      this.#resumes = true;
      return;
    }
    const packets = tonePackets(this.tone, this.#law);
    this.#send(PAYLOAD[this.#law], this.#resumes, this.#ticks * PACKET, packets[this.#ticks % packets.length]!);
    this.#resumes = false;
  }

  #sendKey(key: Pressed): void {
    const events = this.#theirs?.events ?? EVENTS;
    if (key.tick === 0) key.timestamp = this.#ticks * PACKET;
    key.tick += 1;
    const isOver = key.tick === KEY_TICKS;
    const payload = Buffer.from([key.code, (isOver ? 0x80 : 0) | 10, 0, 0]); // the end bit, and -10 dBm0
    payload.writeUInt16BE(key.tick * PACKET, 2);
    for (let n = 0; n < (isOver ? KEY_ENDS : 1); n += 1) this.#send(events, key.tick === 1, key.timestamp, payload);
    if (!isOver) return;
    this.#gap = KEY_GAP_TICKS;
    this.#resumes = true;
    this.#pressed.shift();
    key.sent();
  }

  #send(type: number, marker: boolean, timestamp: number, payload: Buffer): void {
    if (!this.#theirs) return;
    const packet = Buffer.allocUnsafe(12 + payload.length);
    packet[0] = 0x80;
    packet[1] = (marker ? 0x80 : 0) | type;
    packet.writeUInt16BE((this.#sequence = (this.#sequence + 1) & 0xffff), 2);
    packet.writeUInt32BE(timestamp >>> 0, 4);
    packet.writeUInt32BE(this.#ssrc, 8);
    payload.copy(packet, 12);
    this.#socket.send(packet, this.#theirs.peer.port, this.#theirs.peer.address);
    this.count.sent += 1;
    this.count.firstSentAt ??= Date.now();
  }

  #receive(packet: Buffer): void {
    if (packet.length < 12 || packet[0]! >> 6 !== 2) return;
    const type = packet[1]! & 0x7f;
    const payload = packet.subarray(12 + (packet[0]! & 0x0f) * 4);
    const at = Date.now();
    this.count.received += 1;
    this.count.bytes += payload.length;
    this.count.firstReceivedAt ??= at;
    this.count.longestGapMs = Math.max(this.count.longestGapMs, at - (this.count.lastReceivedAt ?? at));
    this.count.lastReceivedAt = at;
    const sequence = packet.readUInt16BE(2);
    const step = (sequence - (this.#lastSequence ?? sequence - 1)) & 0xffff;
    // Another stream has numbers of its own.
    if (step < 1_000) this.count.lost += Math.max(step - 1, 0);
    this.#lastSequence = sequence;
    if (type === (this.#theirs?.events ?? EVENTS)) return this.#receiveKey(payload, packet.readUInt32BE(4));
    if (type !== PAYLOAD[this.#law]) return;
    while (this.#kept.length > 0 && this.#kept[0]!.at < at - KEPT_MS) this.#kept.shift();
    this.#kept.push({ at, samples: samplesOf(payload, this.#law) });
  }

  /** All packets of one key carry the time of its start. */
  #receiveKey(payload: Buffer, timestamp: number): void {
    const key = KEYS[payload[0]!];
    if (key === undefined || this.#lastKeyHeard === `${key} ${timestamp}`) return;
    this.#lastKeyHeard = `${key} ${timestamp}`;
    this.#heardKey(key);
  }
}

function joined(packets: readonly { samples: Int16Array }[]): Int16Array {
  const all = new Int16Array(packets.reduce((length, { samples }) => length + samples.length, 0));
  let length = 0;
  for (const { samples } of packets) {
    all.set(samples, length);
    length += samples.length;
  }
  return all;
}

/** One timer for the audio of all calls. It is set by the time that has passed, so it does not drift. */
const clock = {
  audios: new Set<Audio>(),
  startedAt: 0,
  ticks: 0,
  timer: undefined as NodeJS.Timeout | undefined,

  add(audio: Audio): void {
    this.audios.add(audio);
    if (this.timer) return;
    this.startedAt = performance.now();
    this.ticks = 0;
    this.timer = setTimeout(() => this.run(), TICK_MS);
  },

  remove(audio: Audio): boolean {
    const was = this.audios.delete(audio);
    if (this.audios.size > 0) return was;
    clearTimeout(this.timer);
    this.timer = undefined;
    return was;
  },

  run(): void {
    const due = Math.floor((performance.now() - this.startedAt) / TICK_MS) - this.ticks;
    let skipped = Math.max(due - MOST_TICKS_AT_ONCE, 0);
    this.ticks += Math.max(due, 0);
    for (let n = skipped; n < due; n += 1, skipped = 0) for (const audio of this.audios) audio.tick(skipped);
    const next = this.startedAt + (this.ticks + 1) * TICK_MS;
    this.timer = setTimeout(() => this.run(), Math.max(next - performance.now(), 1));
  },
};
