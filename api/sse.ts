/** Server-Sent Events (WHATWG HTML, 9.2) over an Express response. */
import type { Request, Response } from 'express';

/** Bytes that may wait for a slow reader, before it is cut off; it comes back and resumes. */
const MOST_WAITING = 1_000_000;
/** A reader that takes nothing for so long, though something waits for it, is cut off as well; longer than between two pings. */
const UNREAD_MS = 25_000;
/** What the reader waits before it comes back, ms. */
const RETRY_MS = 2_000;

export interface EventStream {
  readonly closed: boolean;
  /** Several messages in one write. A message without `id` leaves the reader's position where it is. */
  send(...messages: { id?: string; event: string; data: unknown }[]): void;
  /** A comment that keeps the connection from being taken for dead. */
  ping(): void;
  /** Resolves when the reader has taken what was sent (or has gone). */
  drained(): Promise<void>;
  onClose(callback: () => void): void;
  end(): void;
}

export function openEventStream(req: Request, res: Response): EventStream {
  const closing: (() => void)[] = [];
  let closed = false;
  res.on('close', () => {
    closed = true;
    for (const callback of closing) callback();
  });
  res.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store',
    // A proxy in front must hand on each event at once.
    'X-Accel-Buffering': 'no',
  });
  // Node's timer of a socket begins anew with each piece that the other side takes, and each that is written to one that keeps up.
  res.setTimeout(UNREAD_MS, () => res.destroy());
  write(`retry: ${RETRY_MS}\n\n`);
  if (req.method === 'HEAD') res.end();

  function write(chunk: string): void {
    if (chunk === '' || closed || res.writableEnded) return;
    if (res.writableLength > MOST_WAITING) res.destroy();
    else res.write(chunk);
  }

  return {
    get closed() {
      return closed || res.writableEnded;
    },
    send(...messages) {
      const lines = messages.map(({ id, event, data }) => {
        const head = id === undefined ? '' : `id: ${id}\n`;
        return `${head}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
      });
      write(lines.join(''));
    },
    ping: () => write(':\n\n'),
    async drained() {
      if (closed || !res.writableNeedDrain) return;
      await new Promise<void>((resolve) => {
        res.once('drain', resolve);
        closing.push(resolve);
      });
    },
    onClose(callback) {
      if (closed) callback();
      else closing.push(callback);
    },
    end: () => void res.end(),
  };
}
