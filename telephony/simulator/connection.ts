/** One WebSocket to the simulated switch that comes back by itself, with a question-and-answer on top. */
import type { Logger } from '../../config/log.ts';
import { WebSocket } from 'ws';
import { AppError, ERROR_CODES, type ErrorCode } from '../../domain/errors.ts';
import { LastingSocket } from '../lasting-socket.ts';
import { TelephonyUnavailable } from '../unavailable.ts';
import { SWITCH_PATH, type ClientMessage, type Command, type ServerMessage } from './protocol.ts';

const COMMAND_TIMEOUT_MS = 3_000;

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
  #log: Logger;
  #listener: Listener;
  #socket: LastingSocket;
  #isUp = false;
  #lastId = 0;
  #waiting = new Map<number, Waiting>();

  constructor(url: string, log: Logger, listener: Listener) {
    this.#log = log;
    this.#listener = listener;
    const connect = (): WebSocket => new WebSocket(new URL(SWITCH_PATH, url), { handshakeTimeout: COMMAND_TIMEOUT_MS });
    this.#socket = new LastingSocket(connect, {
      message: (text) => this.#receive(JSON.parse(text) as ServerMessage),
      lost: (why, isClosed) => this.#lost(why, isClosed),
    });
  }

  open(): void {
    this.#socket.open();
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
    this.#socket.restart();
  }

  close(): Promise<void> {
    return this.#socket.close();
  }

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case 'hello':
        this.#isUp = true;
        this.#socket.isWell();
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

  #lost(why: string | undefined, isClosed: boolean): void {
    const wasUp = this.#isUp;
    this.#isUp = false;
    if (why !== undefined) this.#log.debug({ why }, 'the connection to the switch failed');
    for (const { failed } of [...this.#waiting.values()]) failed(new TelephonyUnavailable('the connection was lost'));
    if (wasUp && !isClosed) this.#listener.down();
  }

  #send(message: ClientMessage): void {
    this.#socket.send(JSON.stringify(message));
  }
}

function refusal({ code, message }: { code: string; message: string }): AppError {
  const known = (ERROR_CODES as readonly string[]).includes(code);
  return known ? new AppError(code as ErrorCode, message) : new TelephonyUnavailable(message);
}
