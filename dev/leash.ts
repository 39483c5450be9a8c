// Loaded into each process that `npm start` starts, before its own code (`node --import`): it ends when its starter
// does, and leaves Ctrl-C to it.

import { isMainThread } from 'node:worker_threads';

/** How long it may take to stop in order before it is ended. */
const STOP_WITHIN_MS = 5_000;

// Threads get the same imports, and have no standard input of their own.
if (isMainThread) {
  leaveInterruptsToStarter();
  endWithStarter();
}

/**
 * The terminal sends Ctrl-C to all processes of its group at once; which of them stops when is for the starter to say,
 * by SIGTERM. So whatever listens for SIGINT is taken off again, and what stays does nothing.
 */
function leaveInterruptsToStarter(): void {
  process.on('SIGINT', () => undefined);
  process.on('newListener', (event: string | symbol, listener: () => void) => {
    if (event === 'SIGINT') queueMicrotask(() => process.off('SIGINT', listener));
  });
}

/** The starter holds the other end of standard input, and the kernel closes it even after kill -9. */
function endWithStarter(): void {
  process.stdin.on('end', end).on('error', end).resume();
  process.stdin.unref();
}

function end(): void {
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), STOP_WITHIN_MS).unref();
}
