/** What a desktop does to talk with Dialwright's public API: requests that survive bad moments, and an event stream. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { EventSourceParserStream, type EventSourceMessage } from 'eventsource-parser/stream';
import type { Logger } from '../../config/log.ts';

/** A desktop does not wait for ever; the repeat finds out what became of the first try. */
const TIMEOUT_MS = 10_000;
const BACKOFF_MS = { first: 100, longest: 5_000 };

export interface Reply {
  status: number;
  /** Parsed JSON, or null. */
  body: unknown;
}

export class AgentClient {
  #baseUrl: string;
  #key: string;
  #closed: AbortSignal;
  #log: Logger;

  /** When `closed` aborts, everything that runs is given up. */
  constructor({ baseUrl, key, closed, log }: { baseUrl: string; key: string; closed: AbortSignal; log: Logger }) {
    this.#baseUrl = baseUrl.replace(/\/$/, '');
    this.#key = key;
    this.#closed = closed;
    this.#log = log;
  }

  /**
   * Repeats with the same Idempotency-Key while the network fails or the server asks to wait (429, 503), as long as
   * `signal` has not aborted: then it rejects with its reason. A request on its way is never cut off by `signal`, for
   * the event that makes it pointless is often its own effect. Every other status is an answer.
   */
  async request(method: 'POST' | 'PUT', path: string, body: unknown, signal: AbortSignal): Promise<Reply> {
    const headers = {
      authorization: `Bearer ${this.#key}`,
      'content-type': 'application/json',
      'idempotency-key': randomUUID(),
    };
    for (let backoffMs = BACKOFF_MS.first; ; backoffMs = Math.min(backoffMs * 2, BACKOFF_MS.longest)) {
      signal.throwIfAborted();
      const reply = await this.#once(path, { method, headers, body: JSON.stringify(body) });
      if (reply && reply.status !== 503 && reply.status !== 429) return reply;
      await delay(reply?.retryAfterMs ?? backoffMs, undefined, { signal });
    }
  }

  /** Hands over each event in turn, and reconnects where it was left, until the client is closed. */
  async listen(path: string, onEvent: (event: EventSourceMessage) => void): Promise<void> {
    const signal = this.#closed;
    let lastId: string | undefined;
    let backoffMs = BACKOFF_MS.first;
    while (!signal.aborted) {
      try {
        const headers = { authorization: `Bearer ${this.#key}`, accept: 'text/event-stream' };
        const resume = lastId === undefined ? undefined : { 'last-event-id': lastId };
        const response = await fetch(this.#baseUrl + path, { headers: { ...headers, ...resume }, signal });
        if (!response.ok || !response.body) throw new Error(`the stream is refused with ${response.status}`);
        backoffMs = BACKOFF_MS.first;
        const onId = (id: string): void => void (lastId = id);
        const events = response.body
          .pipeThrough(new TextDecoderStream())
          .pipeThrough(new EventSourceParserStream({ onId }));
        for await (const event of events) onEvent(event);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn({ reason: reasonOf(error) }, 'the event stream broke');
      }
      await delay(backoffMs, undefined, { signal }).catch(() => {});
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MS.longest);
    }
  }

  /** Null: no answer came. */
  async #once(path: string, init: RequestInit): Promise<(Reply & { retryAfterMs: number | undefined }) | null> {
    try {
      const signal = AbortSignal.any([this.#closed, AbortSignal.timeout(TIMEOUT_MS)]);
      const response = await fetch(this.#baseUrl + path, { ...init, signal });
      const text = await response.text();
      return { status: response.status, body: jsonOrNull(text), retryAfterMs: retryAfter(response) };
    } catch (error) {
      this.#closed.throwIfAborted();
      this.#log.warn({ reason: reasonOf(error) }, 'a request did not get through');
      return null;
    }
  }
}

/** `Retry-After` in seconds or as a date (RFC 9110, 10.2.3), in ms. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('retry-after');
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Undici says "fetch failed"; why is in its cause. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { code?: string } };
  return cause?.code ?? message ?? String(error);
}
