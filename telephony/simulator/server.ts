/** The simulated switch behind a network: its HTTP interface, and one WebSocket for commands and facts. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../../config/log.ts';
import { WebSocketServer, type WebSocket } from 'ws';
import { AppError } from '../../domain/errors.ts';
import { createControl } from './control.ts';
import type { DialRecord } from './dial-record.ts';
import { clientMessageSchema, SWITCH_PATH, type Command, type ServerMessage } from './protocol.ts';
import type { SimulatedSwitch } from './switch.ts';

/** A client that has answered no ping for so long is frozen or gone, and must not keep the facts from another. */
const PING_MS = 2_000;
const PINGS_MISSED = 5;

export interface SimulatorServer {
  port: number;
  close(): Promise<void>;
}

/** Listens; rejects if the port is taken. Port 0 takes a free one. */
export async function startSimulatorServer(deps: {
  simulated: SimulatedSwitch;
  record: DialRecord;
  host: string;
  port: number;
  log: Logger;
}): Promise<SimulatorServer> {
  const { simulated, host, port, log } = deps;
  const http = createServer(createControl(deps));
  const sockets = new WebSocketServer({ server: http, path: SWITCH_PATH });
  const clients = new Clients(simulated, log);
  sockets.on('connection', (socket) => clients.add(socket));
  await new Promise<void>((resolve, reject) => {
    // ws repeats the server's errors as its own.
    sockets.on('error', reject);
    http.listen(port, host, resolve);
  });
  return {
    port: (http.address() as AddressInfo).port,
    async close() {
      clients.close();
      simulated.close();
      sockets.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** Who is connected, and who gets the facts: the client that subscribed last. */
class Clients {
  #simulated: SimulatedSwitch;
  #log: Logger;
  #boot = randomUUID();
  #missedPings = new Map<WebSocket, number>();
  #standby = new Set<WebSocket>();
  #subscriber: WebSocket | null = null;
  #pings: NodeJS.Timeout;

  constructor(simulated: SimulatedSwitch, log: Logger) {
    this.#simulated = simulated;
    this.#log = log;
    simulated.facts.onFact = (numbered) => {
      if (this.#subscriber) send(this.#subscriber, { type: 'fact', ...numbered });
    };
    this.#pings = setInterval(() => this.#ping(), PING_MS);
  }

  add(socket: WebSocket): void {
    this.#missedPings.set(socket, 0);
    socket.on('pong', () => this.#missedPings.set(socket, 0));
    socket.on('message', (data) => this.#receive(socket, (data as Buffer).toString()));
    socket.on('close', () => this.#leave(socket));
    socket.on('error', (err) => this.#log.warn({ err }, 'a client failed'));
    send(socket, { type: 'hello', boot: this.#boot });
  }

  close(): void {
    clearInterval(this.#pings);
    this.#subscriber = null;
    this.#standby.clear();
    for (const socket of this.#missedPings.keys()) socket.close(1001);
  }

  #receive(socket: WebSocket, text: string): void {
    const parsed = clientMessageSchema.safeParse(jsonOrNull(text));
    if (!parsed.success) {
      send(socket, { type: 'refused', id: idOf(text), code: 'INVALID', message: parsed.error.message });
      return;
    }
    const message = parsed.data;
    if (message.type === 'ack') {
      this.#simulated.facts.acknowledge(message.seq);
      return;
    }
    try {
      if (message.type === 'subscribe') this.#subscribe(socket);
      send(socket, { type: 'answer', id: message.id, result: this.#carryOut(message) });
    } catch (error) {
      const known = error instanceof AppError;
      if (!known) this.#log.error({ err: error }, 'a command failed');
      const code = known ? error.code : 'INTERNAL';
      send(socket, { type: 'refused', id: message.id, code, message: known ? error.message : 'internal error' });
    }
  }

  #carryOut(command: Command): unknown {
    const simulated = this.#simulated;
    switch (command.type) {
      case 'originate': {
        const answer = simulated.originate(command.leg);
        return { answer, leg: simulated.snapshot(command.leg.legId) };
      }
      case 'hangUp':
        return simulated.hangUp(command.legId, command.why, { unlessAnswered: command.unlessAnswered });
      case 'join':
        return simulated.join(command.mix, command.legId);
      case 'leave':
        return simulated.leave(command.mix, command.legId);
      case 'endTogether':
        return simulated.endTogether(command.mix, command.legs);
      case 'hold':
        return simulated.hold(command.legId, command.on);
      case 'play':
        return simulated.play(command.legId, command.sound);
      case 'sendDtmf':
        return simulated.sendDtmf(command.legId, command.digits, command.key);
      case 'record':
        return simulated.record(command.mix, command.name);
      case 'status':
        return simulated.status(command.legId);
      case 'subscribe':
      case 'list':
        return simulated.list();
    }
  }

  #subscribe(socket: WebSocket): void {
    if (this.#subscriber && this.#subscriber !== socket) {
      this.#standby.add(this.#subscriber);
      send(this.#subscriber, { type: 'replaced' });
      this.#log.info('another client takes the facts over');
    }
    this.#standby.delete(socket);
    this.#subscriber = socket;
    for (const numbered of this.#simulated.facts.pending()) send(socket, { type: 'fact', ...numbered });
  }

  #leave(socket: WebSocket): void {
    this.#missedPings.delete(socket);
    this.#standby.delete(socket);
    if (this.#subscriber !== socket) return;
    this.#subscriber = null;
    for (const other of this.#standby) send(other, { type: 'vacant' });
  }

  #ping(): void {
    for (const [socket, missed] of this.#missedPings) {
      if (missed >= PINGS_MISSED) {
        this.#log.warn('a client that does not answer is cut off');
        socket.terminate();
      } else {
        this.#missedPings.set(socket, missed + 1);
        socket.ping();
      }
    }
  }
}

function send(socket: WebSocket, message: ServerMessage): void {
  // A closing socket swallows it: facts are redelivered, and a command's caller asks again.
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(message));
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function idOf(text: string): number | null {
  const id = (jsonOrNull(text) as { id?: unknown } | null)?.id;
  return typeof id === 'number' ? id : null;
}
