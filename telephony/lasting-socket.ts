/** A WebSocket to a switch that comes back by itself, until it is closed. */
import { WebSocket } from 'ws';

const BACKOFF_MS = { first: 100, longest: 1_000 };
const PING_MS = 1_000;
/** Counted in pings, not in time: a worker that was frozen itself must read what has arrived before it judges. */
const PINGS_MISSED = 3;

export interface SocketListener {
  /** The connection stands; what is said may follow. */
  opened?(): void;
  message(text: string): void;
  /**
   * The connection is lost, or could not be made: for which reason, if one was given. It is being made anew, unless it was
   * closed by `close`: whatever waits for an answer must know of that too.
   */
  lost(why: string | undefined, isClosed: boolean): void;
}

export class LastingSocket {
  readonly #connect: () => WebSocket;
  readonly #listener: SocketListener;
  #socket: WebSocket | null = null;
  #closing = false;
  #backoffMs = BACKOFF_MS.first;
  #reconnect: NodeJS.Timeout | undefined;

  /** `connect` makes a new socket for every try. */
  constructor(connect: () => WebSocket, listener: SocketListener) {
    this.#connect = connect;
    this.#listener = listener;
  }

  open(): void {
    if (this.#closing) return;
    const socket = this.#connect();
    this.#socket = socket;
    let why: string | undefined;
    let missed = 0;
    const pings = setInterval(() => {
      if (socket.readyState !== socket.OPEN) return;
      if (missed >= PINGS_MISSED) socket.terminate();
      else socket.ping();
      missed += 1;
    }, PING_MS);
    socket.on('open', () => this.#listener.opened?.());
    socket.on('pong', () => (missed = 0));
    socket.on('message', (data) => {
      missed = 0;
      this.#listener.message((data as Buffer).toString());
    });
    // An error is always followed by `close`; the first one says why.
    socket.on('error', (error: NodeJS.ErrnoException) => (why ??= error.code ?? error.message));
    socket.on('close', () => {
      clearInterval(pings);
      this.#lost(why);
    });
  }

  /** Whoever is at the other end has shown to be well: the next loss is followed by a quick try. */
  isWell(): void {
    this.#backoffMs = BACKOFF_MS.first;
  }

  /** Sends nothing while there is no connection. */
  send(text: string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  /** Cuts the connection; it comes back. */
  restart(): void {
    this.#socket?.terminate();
  }

  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#reconnect);
    const socket = this.#socket;
    if (!socket || socket.readyState === socket.CLOSED) return;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const giveUp = setTimeout(() => socket.terminate(), BACKOFF_MS.longest);
    socket.close(1000);
    await closed;
    clearTimeout(giveUp);
  }

  #lost(why: string | undefined): void {
    this.#listener.lost(why, this.#closing);
    if (this.#closing) return;
    this.#reconnect = setTimeout(() => this.open(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS.longest);
  }
}
