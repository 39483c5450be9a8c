/** A way to a server over TCP that can be cut, held up and slowed. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export class Wire {
  readonly #to: { host: string; port: number };
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  #delayMs = 0;
  /** Resolves when what is held up goes on. */
  #free: Promise<void> = Promise.resolve();
  #letGo: () => void = () => undefined;

  private constructor(to: { host: string; port: number }) {
    this.#to = to;
  }

  static async to(host: string, port: number): Promise<Wire> {
    const wire = new Wire({ host, port });
    await wire.mend();
    return wire;
  }

  /** The same URL by way of a wire. */
  static async by(url: string): Promise<[wire: Wire, url: string]> {
    const by = new URL(url);
    const wire = await Wire.to(by.hostname, Number(by.port));
    by.host = wire.address;
    return [wire, by.href];
  }

  /** `host:port` of the near end, the same as long as it lives. */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Whatever is asked arrives so much later; answers come at once. */
  slow(ms: number): void {
    this.#delayMs = ms;
  }

  /** Nothing arrives any more, though connections stay and new ones are taken: as a frozen server. */
  hold(): void {
    this.#free = new Promise((resolve) => (this.#letGo = resolve));
  }

  /** Nobody is there. */
  async cut(): Promise<void> {
    this.#letGo();
    const server = this.#server;
    this.#server = undefined;
    const closed = new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** As it was before; what was held up arrives. */
  async mend(): Promise<void> {
    this.#delayMs = 0;
    this.#letGo();
    if (this.#server) return;
    this.#server = createServer((near) => this.#join(near));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  #join(near: Socket): void {
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
