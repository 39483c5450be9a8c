import type { Logger } from './log.ts';

/** Whoever sends a signal waits 30 s as a rule, and kills then. */
const ENDS_WITHIN_MS = 25_000;

/** To be called with the signal to end: in 25 s this process has ended, in order or not (a server that stands still holds it up). */
export function endAtLast(log: Logger): void {
  setTimeout(() => {
    log.fatal(`not ended in order within ${ENDS_WITHIN_MS / 1000} s: ends as it is`);
    process.exit(1);
  }, ENDS_WITHIN_MS).unref();
}
