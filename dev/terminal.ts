// What the person who started it sees: lines that stay, and under them one that is rewritten in place.

import { since } from './process.ts';

const CLEAR = '\r\u001b[K';
/** From then on the clock says more than the time since the start, and is what the logs have. */
const CLOCK_AFTER_MS = 120_000;

export class Terminal {
  #out: NodeJS.WriteStream;
  #live = '';

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
    // A terminal that was closed must not keep the rest from being stopped in order.
    out.on('error', () => undefined);
  }

  /** Whether a line can be rewritten in place. */
  get isLive(): boolean {
    return this.#out.isTTY === true;
  }

  get columns(): number {
    return this.isLive ? this.#out.columns : Infinity;
  }

  /** Prints a line with the time since the start of this process; further lines in it are indented below. */
  readonly say = (text: string): void => {
    const elapsed = performance.now() < CLOCK_AFTER_MS ? since(0) : new Date().toTimeString().slice(0, 8);
    this.print(`${elapsed.padStart(8)}  ${text.replaceAll('\n', `\n${' '.repeat(10)}`)}`);
  };

  /** Prints as it is. */
  print(text: string): void {
    this.#out.write(this.#live ? `${CLEAR}${text}\n${this.#live}` : `${text}\n`);
  }

  /** Shows it in place of what it showed before; '' takes that away. Does nothing where not `isLive`. */
  live(text: string): void {
    if (!this.isLive) return;
    // A line that wraps can't be taken back.
    this.#live = text.slice(0, this.columns - 1);
    this.#out.write(CLEAR + this.#live);
  }
}
