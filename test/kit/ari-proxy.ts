/** A way to Asterisk for one worker: what it asks for can be held up, and the way can be cut, whole or in part. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** `rest`: requests and their answers; `events`: the WebSocket. */
type Part = 'rest' | 'events';

export interface Held {
  /** Resolves when it has come to be held: a request before Asterisk has it, an answer after. */
  reached: Promise<void>;
  release(): void;
}

interface Hold {
  what: RegExp;
  isAnswer: boolean;
  reached(): void;
  released: Promise<void>;
}

export class AriProxy {
  readonly #asterisk: URL;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #cut = new Set<Part>();
  readonly #holds: Hold[] = [];

  /** `to`: Asterisk's ARI, as the setting has it. */
  static async to(ariUrl: string): Promise<AriProxy> {
    const proxy = new AriProxy(new URL(ariUrl));
    await proxy.listen();
    return proxy;
  }

  private constructor(asterisk: URL) {
    this.#asterisk = asterisk;
    this.#server = createServer((request, response) => void this.#pass(request, response));
    this.#server.on('upgrade', (request: IncomingMessage, socket: Socket) => this.#link(request, socket));
  }

  async listen(port = 0): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.#asterisk.pathname}`;
  }

  /** As if the cable were pulled out, until it is mended. */
  cut(...parts: Part[]): void {
    for (const part of parts.length > 0 ? parts : (['rest', 'events'] as const)) this.#cut.add(part);
    if (this.#cut.has('rest')) this.#server.closeAllConnections();
    if (this.#cut.has('events')) for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut.clear();
  }

  /** Holds the next request of this kind (`POST /ari/channels/create`), or the answer to it, until it is released. */
  hold(part: 'request' | 'answer', what: RegExp): Held {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.#holds.push({ what, isAnswer: part === 'answer', reached: reached.resolve, released: released.promise });
    return { reached: reached.promise, release: released.resolve };
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    if (this.#cut.has('rest')) return void request.socket.destroy();
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const found = this.#holds.findIndex(({ what }) => what.test(`${method} ${url.replace(/\?.*/, '')}`));
    const [hold] = found < 0 ? [] : this.#holds.splice(found, 1);
    if (hold && !hold.isAnswer) await this.#wait(hold);
    try {
      const answer = await fetch(new URL(url, this.#asterisk), {
        method,
        headers: { authorization: headers.authorization ?? '', 'content-type': 'application/json' },
        ...(body && { body }),
      });
      const text = await answer.text();
      if (hold?.isAnswer) await this.#wait(hold);
      response.writeHead(answer.status, text ? { 'content-type': 'application/json' } : {}).end(text);
    } catch {
      request.socket.destroy();
    }
  }

  async #wait(hold: Hold): Promise<void> {
    hold.reached();
    await hold.released;
  }

  #link(request: IncomingMessage, near: Socket): void {
    if (this.#cut.has('events')) return void near.destroy();
    const far = connect(Number(this.#asterisk.port), this.#asterisk.hostname);
    const lines = request.rawHeaders.flatMap((name, at) => (at % 2 ? [] : [`${name}: ${request.rawHeaders[at + 1]}`]));
    far.write([`${request.method} ${request.url} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(end);
      end.pipe(other);
      end.on('error', () => other.destroy());
      end.on('close', () => {
        this.#sockets.delete(end);
        other.destroy();
      });
    }
  }
}
