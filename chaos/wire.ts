/** A wire between a process and a server: it can be cut, swallow everything, and be slow. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export type WireFault = 'cut' | 'vanish' | 'slow';

export class Wire {
  /** host:port, to be used instead of the server's own. */
  readonly address: string;
  readonly #target: { host: string; port: number };
  readonly #server: Server;
  readonly #links = new Set<Link>();
  /** Several at a time can be under way. */
  readonly #faults: WireFault[] = [];
  readonly #slowMs: number;

  /** `target`: host:port. `slowMs`: how much later everything comes, one way, while it is slow. */
  static async to(target: string, slowMs: number): Promise<Wire> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Wire(target, server, slowMs);
  }

  private constructor(target: string, server: Server, slowMs: number) {
    const { hostname: host, port } = new URL(`tcp://${target}`);
    this.#target = { host, port: Number(port) };
    this.#server = server;
    this.#slowMs = slowMs;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (near) => this.#link(near));
  }

  begin(fault: WireFault): void {
    this.#faults.push(fault);
    if (fault === 'cut') for (const link of this.#links) link.cut();
    this.#tell();
  }

  end(fault: WireFault): void {
    const at = this.#faults.indexOf(fault);
    if (at >= 0) this.#faults.splice(at, 1);
    this.#tell();
  }

  mend(): void {
    this.#faults.length = 0;
    this.#tell();
  }

  close(): void {
    for (const link of this.#links) link.cut();
    this.#server.close();
  }

  #tell(): void {
    for (const link of this.#links) link.obey(this.#faults.includes('vanish'), this.#delayMs);
  }

  get #delayMs(): number {
    return this.#faults.includes('slow') ? this.#slowMs : 0;
  }

  #link(near: Socket): void {
    if (this.#faults.includes('cut')) return void near.resetAndDestroy();
    const link = new Link(near, connect(this.#target), () => this.#links.delete(link));
    this.#links.add(link);
    link.obey(this.#faults.includes('vanish'), this.#delayMs);
  }
}

/** One connection through the wire. What vanishes is kept, as it is by a network that sends it again. */
class Link {
  readonly #ends: readonly [Socket, Socket];
  #isStill = false;
  #delayMs = 0;

  constructor(near: Socket, far: Socket, closed: () => void) {
    this.#ends = [near, far];
    for (const [from, to] of [[near, far], [far, near]] as const) this.#carry(from, to);
    near.once('close', closed);
  }

  obey(isStill: boolean, delayMs: number): void {
    this.#isStill = isStill;
    this.#delayMs = delayMs;
    for (const end of this.#ends) {
      if (isStill) end.pause();
      else end.resume();
    }
  }

  cut(): void {
    for (const end of this.#ends) end.resetAndDestroy();
  }

  #carry(from: Socket, to: Socket): void {
    const later = inOrder(() => this.#delayMs);
    from.setNoDelay(true);
    from.on('data', (piece: Buffer) => {
      later(() => {
        if (to.writable && !to.write(piece)) this.#hold(from, to);
      });
    });
    from.on('end', () => later(() => to.end()));
    from.on('error', () => to.destroy());
    from.on('close', () => later(() => to.destroy()));
  }

  /** Until whoever reads slowly has caught up: nothing is to pile up here. */
  #hold(from: Socket, to: Socket): void {
    from.pause();
    to.once('drain', () => {
      if (!this.#isStill) from.resume();
    });
  }
}

/** Does each thing so much later, and never before an earlier one. */
function inOrder(delayMs: () => number): (act: () => void) => void {
  const waiting: { due: number; act: () => void }[] = [];
  const next = (): void => {
    while (waiting.length > 0) {
      const waitMs = waiting[0]!.due - performance.now();
      if (waitMs > 0) return void setTimeout(next, Math.ceil(waitMs));
      waiting.shift()!.act();
    }
  };
  return (act) => {
    waiting.push({ due: performance.now() + delayMs(), act });
    if (waiting.length === 1) next();
  };
}
