/** A way to a server over TCP that can be cut, held up and slowed. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export class Wire {
  /** Of the server, by way of this wire; and its `host:port`. */
  readonly url: string;
  readonly address: string;
  readonly #to: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #isWhole = true;
  #tried = 0;
  #delayMs = 0;
  /** Resolves when what is held up goes on. */
  #free: Promise<void> = Promise.resolve();
  #letGo: () => void = () => undefined;

  private constructor(to: URL, server: Server) {
    this.#to = { host: to.hostname, port: Number(to.port) };
    this.#server = server;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const by = new URL(to);
    by.host = this.address;
    // A path follows it, which begins with "/".
    this.url = by.href.slice(0, by.pathname === '/' ? -1 : undefined);
    server.on('connection', (near) => this.#join(near));
  }

  static async to(url: string): Promise<Wire> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Wire(new URL(url), server);
  }

  /** How many connections were asked for while it is cut. */
  get tried(): number {
    return this.#tried;
  }

  /** Whatever is asked arrives so much later; answers come at once. */
  slow(ms: number): void {
    this.#delayMs = ms;
  }

  /** Nothing arrives any more, though connections stay and new ones are taken: as a frozen server. */
  hold(): void {
    this.#free = new Promise((resolve) => (this.#letGo = resolve));
  }

  /** Nobody is there. (The port stays ours: somebody else would take it.) */
  cut(): void {
    this.#isWhole = false;
    this.#tried = 0;
    this.#letGo();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As it was before; what was held up arrives. */
  mend(): void {
    this.#isWhole = true;
    this.#delayMs = 0;
    this.#letGo();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    if (!this.#isWhole) {
      this.#tried++;
      return void near.destroy();
    }
    const far = connect(this.#to.port, this.#to.host);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
    }
    this.#carry(near, far);
    far.pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }

  /** Piece by piece, each after the one before. */
  #carry(near: Socket, far: Socket): void {
    let before: Promise<unknown> = Promise.resolve();
    near.on('data', (piece: Buffer) => {
      const arrives = this.#delayMs === 0 ? null : sleep(this.#delayMs);
      before = Promise.all([before, arrives])
        .then(() => this.#free)
        .then(() => far.destroyed || far.write(piece));
    });
  }
}
