/** One UDP port that speaks SIP: sends, receives, and repeats what may get lost (RFC 3261, 17: T1 500 ms, T2 4 s). */
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { once } from 'node:events';
import { SipMessage } from './message.ts';

const T1_MS = 500;
const T2_MS = 4_000;
const GIVE_UP_MS = 64 * T1_MS;
export const HOST = '127.0.0.1';

export interface Peer {
  address: string;
  port: number;
}

/** Told of each message that goes out or comes in; `again`: it is a retransmission. */
export type Witness = (dir: 'in' | 'out', message: SipMessage, again: boolean) => void;

interface Transaction {
  witness: Witness;
  /** Responses that have come, by their keys. */
  seen: Set<string>;
  stopRepeating(): void;
  done(response: SipMessage): void;
}

/**
 * A socket on loopback that looks up no names: so `bind` is done when it returns, which lets a call be answered within
 * the tick of its INVITE, and a packet costs no look-up.
 */
export const LOOPBACK: SocketOptions = {
  type: 'udp4',
  recvBufferSize: 1 << 20,
  lookup: (host, _options, found) => found(null, host, 4),
};

export class SipTransport {
  readonly #socket: Socket = createSocket(LOOPBACK);
  readonly #transactions = new Map<string, Transaction>();
  readonly #repeats = new Set<NodeJS.Timeout>();
  #isClosed = false;

  /** Requests go to `receive`. */
  constructor(receive: (request: SipMessage, from: Peer) => void) {
    this.#socket.on('message', (datagram, from) => {
      const message = SipMessage.parse(datagram);
      if (message?.status != null) this.#response(message);
      else if (message) receive(message, from);
    });
  }

  /** 0 takes any port. */
  async open(port: number): Promise<void> {
    const opened = once(this.#socket, 'listening');
    this.#socket.bind(port, HOST);
    await opened;
  }

  /** `127.0.0.1:5190` */
  get address(): string {
    return `${HOST}:${this.#socket.address().port}`;
  }

  send(message: SipMessage, to: Peer, witness: Witness = () => {}, again = false): void {
    if (this.#isClosed) return;
    witness('out', message, again);
    this.#socket.send(message.toString(), to.port, to.address);
  }

  /** Sends, and again until the function it returns is called, or for 32 s; then `givesUp` is called. */
  sendUntil(message: SipMessage, to: Peer, witness: Witness, givesUp: () => void): () => void {
    this.send(message, to, witness);
    let waited = 0;
    let timer: NodeJS.Timeout;
    const stop = (): void => {
      clearTimeout(timer);
      this.#repeats.delete(timer);
    };
    const wait = (ms: number): void => {
      timer = setTimeout(() => {
        this.#repeats.delete(timer);
        waited += ms;
        if (waited >= GIVE_UP_MS) return givesUp();
        this.send(message, to, witness, true);
        wait(Math.min(ms * 2, T2_MS, GIVE_UP_MS - waited));
      }, ms);
      this.#repeats.add(timer);
    };
    wait(T1_MS);
    return stop;
  }

  /** Resolves to the final response, whatever its status. */
  request(message: SipMessage, to: Peer, witness: Witness = () => {}): Promise<SipMessage> {
    return new Promise((resolve, reject) => {
      const stopRepeating = this.sendUntil(message, to, witness, () => {
        this.#transactions.delete(message.branch);
        reject(new Error(`${message.start} was not answered within ${GIVE_UP_MS / 1000} s`));
      });
      this.#transactions.set(message.branch, { witness, seen: new Set(), stopRepeating, done: resolve });
    });
  }

  /** What still waits for an answer waits for ever. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#repeats) clearTimeout(timer);
    this.#socket.close();
  }

  #response(message: SipMessage): void {
    const transaction = this.#transactions.get(message.branch);
    if (!transaction) return;
    const again = transaction.seen.has(message.key);
    transaction.seen.add(message.key);
    transaction.witness('in', message, again);
    transaction.stopRepeating();
    if (message.status! < 200) return;
    transaction.done(message);
    // Its answer may come again until then.
    setTimeout(() => this.#transactions.delete(message.branch), GIVE_UP_MS).unref();
  }
}
