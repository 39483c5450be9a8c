/** The API as a running server, and its end in order. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createApp } from './app.ts';
import type { Deps } from './http.ts';
import * as sql from './sql.ts';

/** How long requests under way are waited for at the end. */
const GRACE_MS = 12_000;
/** Whose last request is answered is gone within this. */
const CLOSE_IDLE_MS = 100;
const FORGET_EVERY_MS = 3_600_000;
/** A list of 1 GB over a slow line takes its time; one that stands still is ended by its own route. */
const LONGEST_REQUEST_MS = 3_600_000;
/** For headers, which are 16 kB at most. */
const HEADERS_WITHIN_MS = 20_000;
/** How often Node looks for connections whose headers are late. */
const LOOK_EVERY_MS = 5_000;
/** Further ones are closed at once. An idle one costs some 10 kB. */
const MOST_CONNECTIONS = 10_000;

export interface ApiServer {
  port: number;
  url: string;
  /** Stops accepting, ends the streams, waits for what is under way. */
  close(): Promise<void>;
}

export interface Place {
  host: string;
  port: number;
  /** How long headers, and bodies other than uploads, may take to come, ms. */
  headersWithinMs?: number;
  bodyWithinMs?: number;
  mostConnections?: number;
}

/** Listens; port 0 takes a free one. Rejects if the port is taken. */
export async function startApi(deps: Deps, place: Place): Promise<ApiServer> {
  const { host, port, headersWithinMs = HEADERS_WITHIN_MS, mostConnections = MOST_CONNECTIONS } = place;
  const { listen, log } = deps;
  const slow = { headersTimeout: headersWithinMs, connectionsCheckingInterval: Math.min(LOOK_EVERY_MS, headersWithinMs) };
  const server = createServer({ requestTimeout: LONGEST_REQUEST_MS, ...slow }, createApp(deps, place.bodyWithinMs));
  server.maxConnections = mostConnections;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const forgetting = setInterval(() => void forget(deps), FORGET_EVERY_MS);
  const address = server.address() as AddressInfo;
  log.info({ host, port: address.port }, 'API listens');
  return {
    port: address.port,
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    async close() {
      clearInterval(forgetting);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // On connections that clients keep requests would come and come: each of these is the last.
      server.prependListener('request', (_, response) => response.setHeader('Connection', 'close'));
      log.info('API takes no more requests');
      await listen.close();
      log.info('streams have ended');
      const closing = setInterval(() => server.closeIdleConnections(), CLOSE_IDLE_MS);
      const late = new AbortController();
      await Promise.race([closed, sleep(GRACE_MS, undefined, { signal: late.signal }).catch(() => undefined)]);
      late.abort();
      clearInterval(closing);
      server.closeAllConnections();
      log.info('requests have ended');
    },
  };

  async function forget({ db, log }: Deps): Promise<void> {
    try {
      for (const statement of sql.forget(db.clock.now())) await db.pool.query(statement);
    } catch (error) {
      log.warn({ err: error }, 'old answers not forgotten; the next hour does it');
    }
  }
}
