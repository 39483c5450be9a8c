/**
 * Pure tones, by which one call's audio is told from another's: made, written to files, coded as G.711 A-law or µ-law
 * and recognised. Frequencies are multiples of 10 Hz, so that 100 ms of a tone can be repeated without a click.
 */
import { readFileSync, writeFileSync } from 'node:fs';

export const RATE = 8_000;
/** 20 ms, what a packet carries. */
export const PACKET = 160;
const PERIOD = RATE / 10;
const AMPLITUDE = 8_000;
/** A tone that is heard is at least as loud; what a Hann window leaks to 40 Hz beside is far below. */
const HEARD = 800;
/** Less audio can't tell tones apart. */
const LEAST = 3 * PACKET;

/** Samples of 16 bits. */
export function toneSamples(hz: number, count: number): Int16Array {
  if (hz % 10 !== 0) throw new Error(`${hz} Hz is no multiple of 10 Hz`);
  return Int16Array.from({ length: count }, (_, n) => Math.round(AMPLITUDE * Math.sin((2 * Math.PI * hz * n) / RATE)));
}

export type Law = 'alaw' | 'ulaw';

const packets = new Map<string, Buffer[]>();

/** The payloads of 100 ms of a tone, to be sent over and over. */
export function tonePackets(hz: number, law: Law): Buffer[] {
  const key = `${law} ${hz}`;
  let made = packets.get(key);
  if (!made) {
    const coded = Buffer.from(Array.from(toneSamples(hz, PERIOD), law === 'alaw' ? toAlaw : toUlaw));
    made = Array.from({ length: PERIOD / PACKET }, (_, n) => coded.subarray(n * PACKET, (n + 1) * PACKET));
    packets.set(key, made);
  }
  return made;
}

/** For Asterisk's sounds and music on hold: 8 kHz, 16 bits, one channel; `.wav`, or `.sln` without a head. */
export function writeTone(file: string, hz: number, seconds: number): void {
  const samples = Buffer.from(toneSamples(hz, seconds * RATE).buffer);
  if (file.endsWith('.sln')) return writeFileSync(file, samples);
  if (!file.endsWith('.wav')) throw new Error(`${file} is to end in .wav or .sln`);
  const head = Buffer.alloc(44);
  head.write('RIFF', 0);
  head.writeUInt32LE(36 + samples.length, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16); // size of the format that follows
  head.writeUInt16LE(1, 20); // PCM
  head.writeUInt16LE(1, 22); // channels
  head.writeUInt32LE(RATE, 24);
  head.writeUInt32LE(RATE * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.length, 40);
  writeFileSync(file, Buffer.concat([head, samples]));
}

/** Samples of 16 bits. */
export const samplesOf = (coded: Buffer, law: Law): Int16Array =>
  Int16Array.from(coded, (byte) => (law === 'alaw' ? FROM_ALAW : FROM_ULAW)[byte]!);

/** The samples of a file as Asterisk records it: 8 kHz, 16 bits, one channel. */
export function samplesIn(wav: string): Int16Array {
  const file = readFileSync(wav);
  const start = file.indexOf('data') + 8;
  return Int16Array.from({ length: (file.length - start) >> 1 }, (_, n) => file.readInt16LE(start + n * 2));
}

/** Those of `frequencies` that are heard in these samples, the loudest first; none in less than 60 ms of them. */
export function tonesIn(samples: Int16Array, frequencies: readonly number[]): number[] {
  if (samples.length < LEAST) return [];
  const windowed = Array.from(samples, (sample, n) => sample * (1 - Math.cos((2 * Math.PI * n) / samples.length)));
  return frequencies
    .map((hz) => ({ hz, amplitude: goertzel(windowed, hz) }))
    .filter(({ amplitude }) => amplitude >= HEARD)
    .sort((a, b) => b.amplitude - a.amplitude)
    .map(({ hz }) => hz);
}

/** How strong one frequency is, as the amplitude of its sine. */
function goertzel(samples: readonly number[], hz: number): number {
  const factor = 2 * Math.cos((2 * Math.PI * hz) / RATE);
  let [last, beforeLast] = [0, 0];
  for (const sample of samples) [last, beforeLast] = [sample + factor * last - beforeLast, last];
  const power = last ** 2 + beforeLast ** 2 - factor * last * beforeLast;
  return (2 * Math.sqrt(Math.max(power, 0))) / samples.length;
}

/** G.711: sign, exponent and mantissa of a 13-bit sample, every other bit inverted. */
function toAlaw(sample: number): number {
  const sign = sample >= 0 ? 0x80 : 0;
  const size = Math.min(sample >= 0 ? sample >> 3 : ~sample >> 3, 0xfff);
  const exponent = Math.max(Math.floor(Math.log2(Math.max(size, 1))) - 4, 0);
  const mantissa = (exponent === 0 ? size >> 1 : size >> exponent) & 0x0f;
  return (sign | (exponent << 4) | mantissa) ^ 0x55;
}

const FROM_ALAW = Array.from({ length: 256 }, (_, byte) => {
  const bits = byte ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = (bits & 0x0f) * 16 + 8;
  const size = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return bits & 0x80 ? size : -size;
});

/** G.711: sign, exponent and mantissa of a 14-bit sample to which 33 was added, every bit inverted. */
function toUlaw(sample: number): number {
  const size = Math.min((Math.abs(sample) >> 2) + 33, 0x1fff);
  const exponent = Math.floor(Math.log2(size)) - 5;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | ((size >> (exponent + 1)) & 0x0f)) & 0xff;
}

const FROM_ULAW = Array.from({ length: 256 }, (_, byte) => {
  const bits = ~byte & 0xff;
  const size = (((bits & 0x0f) * 2 + 33) << ((bits >> 4) & 7)) - 33;
  return (bits & 0x80 ? -size : size) * 4;
});
