/**
 * What was dialled, kept for ever: the record by which tests prove that nobody was called twice. With a directory it is
 * also a file of JSON lines, written synchronously before the phone gives its first sign, so it outlives kill -9.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '../../config/log.ts';
import type { LegEnd } from '../telephony.ts';

export interface Dial {
  /** 1..n over all dials, without a gap. */
  seq: number;
  /** Epoch ms. */
  at: number;
  legId: string;
  party: 'agent' | 'contact';
  to: string;
  from: string | null;
  answeredAt: number | null;
  endedAt: number | null;
  end: LegEnd | null;
}

type Line =
  | { type: 'dialled'; seq: number; at: number; legId: string; party: Dial['party']; to: string; from: string | null }
  | { type: 'answered'; seq: number; at: number }
  | { type: 'ended'; seq: number; at: number; end: LegEnd };

export class DialRecord {
  #dials: Dial[] = [];
  #timesDialled = new Map<string, number>();
  #file: number | null = null;

  /** `dataDir` null: in memory only. */
  constructor(dataDir: string | null, log: Logger) {
    if (dataDir === null) return;
    mkdirSync(dataDir, { recursive: true });
    const path = join(dataDir, 'simulator-dials.jsonl');
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    for (const line of text.split('\n')) this.#readBack(line, log);
    this.#file = openSync(path, 'a', 0o600);
    // A line torn by a full disk or a power cut must not swallow the next one.
    if (text !== '' && !text.endsWith('\n')) writeSync(this.#file, '\n');
  }

  dialled(leg: { at: number; legId: string; party: Dial['party']; to: string; from: string | null }): Dial {
    const line: Line = { type: 'dialled', seq: this.#dials.length + 1, ...leg };
    this.#write(line);
    return this.#apply(line)!;
  }

  answered(dial: Dial, at: number): void {
    const line: Line = { type: 'answered', seq: dial.seq, at };
    this.#write(line);
    this.#apply(line);
  }

  ended(dial: Dial, at: number, end: LegEnd): void {
    const line: Line = { type: 'ended', seq: dial.seq, at, end };
    this.#write(line);
    this.#apply(line);
  }

  /** How often this number has been dialled so far. */
  timesDialled(number: string): number {
    return this.#timesDialled.get(number) ?? 0;
  }

  /** Dials with a `seq` above `after`, oldest first. */
  list(after: number, limit: number): Dial[] {
    return this.#dials.slice(after, after + limit).filter(Boolean);
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #write(line: Line): void {
    if (this.#file !== null) writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  #readBack(text: string, log: Logger): void {
    if (text === '') return;
    try {
      this.#apply(JSON.parse(text) as Line);
    } catch {
      log.warn({ length: text.length }, 'a torn line in the dial record is left out');
    }
  }

  #apply(line: Line): Dial | undefined {
    if (line.type === 'dialled') {
      const { type: _, ...leg } = line;
      // By position, not push: a torn line leaves a gap, and `seq` must stay the index.
      const dial = { ...leg, answeredAt: null, endedAt: null, end: null };
      this.#dials[line.seq - 1] = dial;
      this.#timesDialled.set(line.to, this.timesDialled(line.to) + 1);
      return dial;
    }
    const dial = this.#dials[line.seq - 1];
    if (dial && line.type === 'answered') dial.answeredAt = line.at;
    if (dial && line.type === 'ended') Object.assign(dial, { endedAt: line.at, end: line.end });
    return dial;
  }
}
