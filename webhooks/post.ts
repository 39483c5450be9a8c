/** One POST to a receiver: what it answered, or why it did not, within a time that is bounded whatever it does. */
import http from 'node:http';
import https from 'node:https';
import type { DeliveryError, Outcome } from '../domain/webhooks.ts';
import { type Addresses, AddressNotAllowed } from './addresses.ts';

/** From the look-up of the name to the end of the answer (Standard Webhooks: 15 to 30 s). */
export const TIMEOUT_MS = 15_000;
/** What a receiver says beyond its status is read only so that the connection can be used again. */
const MOST_OF_AN_ANSWER = 64 * 1024;
const IDLE_MS = 10_000;

export interface Poster {
  /** Never follows a redirect. Rejects only with the reason of `stopped`. */
  post(url: URL, headers: Record<string, string>, body: string, stopped: AbortSignal): Promise<Outcome>;
  close(): void;
}

export function createPoster(addresses: Addresses): Poster {
  const kept = { keepAlive: true, timeout: IDLE_MS };
  const agents = { 'http:': new http.Agent(kept), 'https:': new https.Agent(kept) };

  /** Resolves at the head of the answer. */
  function send(url: URL, headers: object, body: string, signal: AbortSignal, again: boolean): Promise<http.IncomingMessage> {
    const { request: open } = url.protocol === 'https:' ? https : http;
    const agent = again ? false : agents[url.protocol as keyof typeof agents];
    return new Promise((resolve, reject) => {
      const request = open(url, { method: 'POST', headers: { ...headers }, lookup: addresses.lookup(url), agent, signal });
      request.on('response', resolve);
      request.on('error', (error: NodeJS.ErrnoException) => {
        // A connection that was kept may have been closed by the other side just as it was used again.
        if (request.reusedSocket && error.code === 'ECONNRESET') resolve(send(url, headers, body, signal, true));
        else reject(error);
      });
      // Where a receiver wants to go on with another protocol, nothing else tells of the end.
      request.on('close', () => reject(new Error('no answer')));
      request.end(body);
    });
  }

  return {
    async post(url, signed, body, stopped) {
      const signal = AbortSignal.any([stopped, AbortSignal.timeout(TIMEOUT_MS)]);
      const headers = {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        'User-Agent': 'Dialwright',
        ...signed,
      };
      try {
        if (!addresses.mayReach(url)) throw new AddressNotAllowed();
        const response = await send(url, headers, body, signal, false);
        await readAway(response);
        return { status: response.statusCode!, error: null, ...retryAfter(response) };
      } catch (error) {
        stopped.throwIfAborted();
        return { status: null, error: wordFor(error) };
      }
    },
    close() {
      agents['http:'].destroy();
      agents['https:'].destroy();
    },
  };
}

async function readAway(response: http.IncomingMessage): Promise<void> {
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MOST_OF_AN_ANSWER) break; // which ends the connection
    }
  } catch {
    // The status was there; what comes after it changes nothing.
  }
}

function retryAfter(response: http.IncomingMessage): { retryAfterSec?: number } {
  const given = response.headers['retry-after'] ?? '';
  return /^\d{1,9}$/.test(given) ? { retryAfterSec: Number(given) } : {};
}

/** Node's names for what goes wrong, as words. */
const WORDS: [RegExp, DeliveryError][] = [
  [/^ABORT_ERR$/, 'timeout'],
  [/^(ENOTFOUND|EAI_\w+)$/, 'name_not_found'],
  [/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|ETIMEDOUT)$/, 'not_connected'],
  [/^HPE_/, 'bad_answer'],
  [/TLS|SSL|CERT|SIGNATURE|^EPROTO$/, 'tls'],
];

function wordFor(error: unknown): DeliveryError {
  if (error instanceof AddressNotAllowed) return 'address_not_allowed';
  const { code = '' } = error as NodeJS.ErrnoException;
  return WORDS.find(([name]) => name.test(code))?.[1] ?? 'broke_off';
}
