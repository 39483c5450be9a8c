/** A wire to ARI that tampers with the events on it: they come twice, swapped or late. Requests pass as they are. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { AriEvent } from '../../telephony/asterisk/ari-types.ts';

/** Is given each event, and passes on what it likes, when it likes. */
export type Tamper = (event: AriEvent, pass: (event: AriEvent) => void) => void;

export class AriEvents {
  readonly url: string;
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new WebSocketServer({ noServer: true });

  static async to(target: string, makeTamper: () => Tamper): Promise<AriEvents> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new AriEvents(new URL(target), server, makeTamper);
  }

  private constructor(target: URL, server: Server, makeTamper: () => Tamper) {
    this.#target = target;
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (near, answer) => {
      const { method, headers, url } = near;
      const far = request(new URL(url!, target), { method, headers }, (response) => {
        answer.writeHead(response.statusCode!, response.headers);
        response.pipe(answer);
      });
      far.on('error', () => answer.destroy());
      near.pipe(far);
    });
    server.on('upgrade', (near: IncomingMessage, socket, head) => {
      const far = this.#connect(near);
      far.on('error', () => socket.destroy());
      far.on('open', () => {
        this.#sockets.handleUpgrade(near, socket, head, (client) => this.#link(client, far, makeTamper()));
      });
    });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #connect({ url, headers }: IncomingMessage): WebSocket {
    const address = new URL(url!, this.#target);
    address.protocol = 'ws:';
    return new WebSocket(address, { headers: { authorization: headers.authorization! } });
  }

  #link(client: WebSocket, far: WebSocket, tamper: Tamper): void {
    const pass = (event: AriEvent): void => client.send(JSON.stringify(event), () => {});
    far.on('message', (data) => tamper(JSON.parse((data as Buffer).toString()) as AriEvent, pass));
    far.on('close', () => client.close());
    client.on('close', () => far.close());
  }
}

/** Every event comes twice, the second time a moment later. */
export const twice = (): Tamper => (event, pass) => {
  pass(event);
  setTimeout(() => pass(event), 3);
};

/** Events of these channels come so much later than all others. */
export const late = (isLate: (channelId: string) => boolean, ms: number) => (): Tamper => (event, pass) => {
  if (isLate(channelOf(event) ?? '')) setTimeout(() => pass(event), ms);
  else pass(event);
};

/** Events that come within this time are neighbours. */
const NEIGHBOURS_MS = 10;

/** Neighbours of different types change places, unless that would turn what happened to a channel upside down. */
export const swapped = (): Tamper => {
  let held: { event: AriEvent; timer: NodeJS.Timeout } | null = null;
  return (event, pass) => {
    const before = held;
    held = null;
    clearTimeout(before?.timer);
    if (before && maySwap(before.event, event)) {
      pass(event);
      pass(before.event);
      return;
    }
    if (before) pass(before.event);
    const timer = setTimeout(() => {
      held = null;
      pass(event);
    }, NEIGHBOURS_MS);
    held = { event, timer };
  };
};

function maySwap(one: AriEvent, other: AriEvent): boolean {
  if (one.type === other.type || [one.type, other.type].includes('StasisStart')) return false;
  const signs = ['Dial', 'ChannelStateChange'];
  return channelOf(one) !== channelOf(other) || (signs.includes(one.type) && signs.includes(other.type));
}

const channelOf = (event: AriEvent): string | undefined => {
  const { channel, peer } = event as { channel?: { id: string }; peer?: { id: string } };
  return (channel ?? peer)?.id;
};
