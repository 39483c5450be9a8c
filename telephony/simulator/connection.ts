/** One WebSocket to the simulated switch that comes back by itself, with a question-and-answer on top. */
import type { Logger } from '../../config/log.ts';
import { WebSocket } from 'ws';
import { AppError, ERROR_CODES, type ErrorCode } from '../../domain/errors.ts';
import { TelephonyUnavailable } from '../unavailable.ts';
import { SWITCH_PATH, type ClientMessage, type Command, type ServerMessage } from './protocol.ts';

const COMMAND_TIMEOUT_MS = 3_000;
const BACKOFF_MS = { first: 100, longest: 1_000 };
const PING_MS = 1_000;
/** Counted in pings, not in time: a worker that was frozen itself must read what has arrived before it judges. */
const PINGS_MISSED = 3;

/** Omit for each member of a union. */
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;
type Notice = Exclude<ServerMessage, { type: 'hello' | 'answer' | 'refused' }>;

interface Listener {
  /** `boot` tells one life of the switch from another. */
  up(boot: string): void;
  down(): void;
  notice(message: Notice): void;
}

interface Waiting {
  answered: (result: unknown) => void;
  failed: (error: Error) => void;
}

export class SwitchConnection {
  #url: URL;
  #log: Logger;
  #listener: Listener;
  #socket: WebSocket | null = null;
  #isUp = false;
  #closing = false;
  #backoffMs = BACKOFF_MS.first;
  #reconnect: NodeJS.Timeout | undefined;
  #lastId = 0;
  #waiting = new Map<number, Waiting>();

  constructor(url: string, log: Logger, listener: Listener) {
    this.#url = new URL(SWITCH_PATH, url);
    this.#log = log;
    this.#listener = listener;
  }

  open(): void {
    if (this.#closing) return;
    const socket = new WebSocket(this.#url, { handshakeTimeout: COMMAND_TIMEOUT_MS });
    this.#socket = socket;
    let missed = 0;
    const pings = setInterval(() => {
      if (socket.readyState !== socket.OPEN) return;
      if (missed >= PINGS_MISSED) socket.terminate();
      else socket.ping();
      missed += 1;
    }, PING_MS);
    socket.on('pong', () => (missed = 0));
    socket.on('message', (data) => {
      missed = 0;
      this.#receive(JSON.parse((data as Buffer).toString()) as ServerMessage);
    });
    // An error is always followed by `close`.
    socket.on('error', (err) => this.#log.debug({ err }, 'the connection to the switch failed'));
    socket.on('close', () => {
      clearInterval(pings);
      this.#lost();
    });
  }

  /**
   * Rejects with TelephonyUnavailable when there is no connection or no answer in time, and with the AppError that the
   * switch refused with. `onAnswer` runs before any later message is read, which awaiting the promise would not grant.
   */
  ask<T>(command: WithoutId<Command>, onAnswer: (result: T) => void = () => {}): Promise<T> {
    if (!this.#isUp) return Promise.reject(new TelephonyUnavailable('there is no connection to the switch'));
    const id = ++this.#lastId;
    this.#send({ ...command, id });
    return new Promise<T>((resolve, reject) => {
      const failed = (error: Error): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        reject(error);
      };
      const timer = setTimeout(
        () => failed(new TelephonyUnavailable('the switch does not answer')),
        COMMAND_TIMEOUT_MS,
      );
      const answered = (result: unknown): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        onAnswer(result as T);
        resolve(result as T);
      };
      this.#waiting.set(id, { answered, failed });
    });
  }

  /** Lost with the connection: the fact then comes again. */
  acknowledge(seq: number): void {
    this.#send({ type: 'ack', seq });
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

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case 'hello':
        this.#isUp = true;
        this.#backoffMs = BACKOFF_MS.first;
        return this.#listener.up(message.boot);
      case 'answer':
        return this.#waiting.get(message.id)?.answered(message.result);
      case 'refused':
        if (message.id === null) return this.#log.error({ detail: message.message }, 'the switch refused a message');
        return this.#waiting.get(message.id)?.failed(refusal(message));
      default:
        return this.#listener.notice(message);
    }
  }

  #lost(): void {
    const wasUp = this.#isUp;
    this.#isUp = false;
    for (const { failed } of [...this.#waiting.values()]) failed(new TelephonyUnavailable('the connection was lost'));
    if (this.#closing) return;
    if (wasUp) this.#listener.down();
    this.#reconnect = setTimeout(() => this.open(), this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MS.longest);
  }

  #send(message: ClientMessage): void {
    const socket = this.#socket;
    if (socket?.readyState === socket?.OPEN) socket?.send(JSON.stringify(message));
  }
}

function refusal({ code, message }: { code: string; message: string }): AppError {
  const known = (ERROR_CODES as readonly string[]).includes(code);
  return known ? new AppError(code as ErrorCode, message) : new TelephonyUnavailable(message);
}
