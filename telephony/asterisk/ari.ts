/**
 * Asterisk's REST interface (ARI): requests over HTTP, events over one WebSocket that comes back by itself. Only the
 * transport; what a channel's events mean is the adapter's business.
 */
import http from 'node:http';
import https from 'node:https';
import { text as textOf } from 'node:stream/consumers';
import { WebSocket } from 'ws';
import type { Logger } from '../../config/log.ts';
import { LastingSocket } from '../lasting-socket.ts';
import { TelephonyUnavailable } from '../unavailable.ts';
import type { AriEvent, AriRequests } from './ari-types.ts';

/** Waiting for a connection is counted: a command that has grown old must not be sent any more. */
const REQUEST_TIMEOUT_MS = 3_000;
/** A connection that is idle for so long is closed, before Asterisk does so. */
const IDLE_MS = 5_000;
/**
 * Connections at most. A burst waits here and not in front of Asterisk: of more than 10 that connect at once the kernel
 * drops some, which come a second or three later, and of more than `sessionlimit` (http.conf) Asterisk does. What begins a
 * leg has connections apart: no hang-up and no leg that has begun waits for those that have yet to begin.
 */
const CONNECTIONS = { create: 4, other: 6 };

export interface AriSettings {
  /** `http://host:8088/ari` */
  url: string;
  user: string;
  password: string;
  /** Name of this installation's Stasis application: Asterisk tells it of its own channels only. */
  app: string;
}

export interface AriListener {
  up(): void;
  /** `why` is for people, also for those without a key: what went wrong and which setting to check, never its value. */
  down(why: string): void;
  event(event: AriEvent): void;
}

/** Asterisk has answered that it will not: 404 no such channel, 409 or 412 wrong state, 422 not ours yet, 400, 500. */
export class AriRefused extends Error {
  override readonly name = 'AriRefused';
  readonly status: number;

  constructor(request: string, status: number, reason: string) {
    super(`${request}: ${status} ${reason}`);
    this.status = status;
  }
}

type Ask<K extends keyof AriRequests> = Partial<Pick<AriRequests[K], 'path' | 'query' | 'body'>>;

export class Ari {
  readonly #settings: AriSettings;
  readonly #log: Logger;
  readonly #listener: AriListener;
  readonly #authorization: string;
  readonly #socket: LastingSocket;
  readonly #pools: Record<keyof typeof CONNECTIONS, http.Agent>;
  /** Why Asterisk has refused the connection that is just being lost. */
  #refusal: string | undefined;

  constructor(settings: AriSettings, log: Logger, listener: AriListener) {
    this.#settings = settings;
    this.#log = log;
    this.#listener = listener;
    this.#authorization = `Basic ${Buffer.from(`${settings.user}:${settings.password}`).toString('base64')}`;
    const { Agent } = settings.url.startsWith('https:') ? https : http;
    const pool = (maxSockets: number) => new Agent({ keepAlive: true, maxSockets, timeout: IDLE_MS });
    this.#pools = { create: pool(CONNECTIONS.create), other: pool(CONNECTIONS.other) };
    this.#socket = new LastingSocket(() => this.#connect(), {
      opened: () => listener.up(),
      message: (text) => this.#receive(text),
      lost: (why, isClosed) => this.#lost(why, isClosed),
    });
  }

  /**
   * One request, named as in ARI's documentation: `'DELETE /channels/{channelId}'`. Rejects with {@link AriRefused}, or with
   * TelephonyUnavailable when there is no answer: then nobody knows whether it was carried out.
   */
  async ask<K extends keyof AriRequests>(request: K, { path, query, body }: Ask<K> = {}): Promise<AriRequests[K]['result']> {
    const [method = '', template = ''] = request.split(' ');
    const url = new URL(this.#settings.url + fill(template, path ?? {}));
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const pool = this.#pools[request === 'POST /channels/create' ? 'create' : 'other'];
    const answer = await this.#exchange(method, url, body, pool).catch((error: unknown) => {
      throw new TelephonyUnavailable(`Asterisk does not answer ${request}: ${reasonOf(error)}`);
    });
    const { status, text } = answer;
    if (status < 200 || status > 299) throw new AriRefused(request, status, messageIn(text));
    return (text === '' ? undefined : JSON.parse(text)) as AriRequests[K]['result'];
  }

  /** Connects, and again whenever the connection is lost, until {@link close}. */
  open(): void {
    this.#socket.open();
  }

  /** What is behind the connection is in order: should it be lost, it is tried again at once. */
  isWell(): void {
    this.#socket.isWell();
  }

  /** Cuts the connection, of which something is wrong; it is made anew. */
  restart(): void {
    this.#socket.restart();
  }

  async close(): Promise<void> {
    await this.#socket.close();
    for (const pool of Object.values(this.#pools)) pool.destroy();
  }

  /** Sent once and never repeated, whatever happens: what is done twice may be refused the second time. */
  async #exchange(method: string, url: URL, body: object | undefined, agent: http.Agent): Promise<{ status: number; text: string }> {
    const headers = { authorization: this.#authorization, ...(body && { 'content-type': 'application/json' }) };
    const { request } = url.protocol === 'https:' ? https : http;
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const sent = request(url, { method, headers, agent, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) }, resolve);
      sent.on('error', reject);
      sent.end(body && JSON.stringify(body));
    });
    return { status: response.statusCode!, text: await textOf(response) };
  }

  #connect(): WebSocket {
    const headers = { authorization: this.#authorization };
    const socket = new WebSocket(eventsUrl(this.#settings), { headers, handshakeTimeout: REQUEST_TIMEOUT_MS });
    socket.on('unexpected-response', (_request, { statusCode = 0 }) => {
      this.#refusal = refusedConnection(statusCode);
      socket.terminate();
    });
    return socket;
  }

  /** What is no event is said in the log and passed over: a newer Asterisk may tell more than we know. */
  #receive(text: string): void {
    try {
      this.#listener.event(JSON.parse(text) as AriEvent);
    } catch (err) {
      this.#log.error({ err }, 'an event of Asterisk could not be taken');
    }
  }

  #lost(why: string | undefined, isClosed: boolean): void {
    const lost = why === undefined ? 'the connection to Asterisk was lost' : `Asterisk can't be reached (${why}): check ARI_URL`;
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (!isClosed) this.#listener.down(refusal ?? lost);
  }
}

function fill(template: string, values: object): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = (values as Record<string, unknown>)[name];
    if (typeof value !== 'string') throw new Error(`${template} needs ${name}`);
    return encodeURIComponent(value);
  });
}

function eventsUrl({ url, app }: AriSettings): URL {
  const events = new URL(`${url}/events`);
  events.protocol = events.protocol === 'https:' ? 'wss:' : 'ws:';
  events.searchParams.set('app', app);
  return events;
}

function refusedConnection(status: number): string {
  if (status === 401) return 'Asterisk refuses our name: check ARI_USER and ARI_PASSWORD against ari.conf';
  if (status === 403) return 'Asterisk allows us to read only: check read_only of ARI_USER in ari.conf';
  if (status === 404) return 'there is no ARI: check ARI_URL, and that Asterisk has loaded res_ari and its modules';
  return `Asterisk answers ${status}: check ARI_URL`;
}

function messageIn(text: string): string {
  try {
    const { message, error } = JSON.parse(text) as { message?: string; error?: string };
    return message ?? error ?? text;
  } catch {
    return text.slice(0, 200);
  }
}

/**
 * What was given up has the reason in `cause`, and a host with several addresses has one for each. The code says it without
 * the address, which is for nobody without a key.
 */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  if (cause) return reasonOf(cause);
  if (error instanceof AggregateError) return reasonOf((error.errors as unknown[])[0]);
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : error instanceof Error ? error.message : String(error);
}
