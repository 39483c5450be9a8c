/** ARI's transport against a server that answers what the test says; a real Asterisk is not needed for it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocketServer, type WebSocket } from 'ws';
import type { AriEvent } from '../../telephony/asterisk/ari-types.ts';
import { Ari, AriRefused } from '../../telephony/asterisk/ari.ts';
import { TelephonyUnavailable } from '../../telephony/unavailable.ts';
import { eventually } from '../kit/eventually.ts';

const log = pino({ level: 'silent' });

/** What ARI said, and what was asked of it. */
class Switch {
  asked: { method: string; url: string; authorization: string; body: string }[] = [];
  answer: (response: ServerResponse) => void = (response) => void response.end('{}');
  /** Status with which the WebSocket is refused; 0: it is not. */
  refuses = 0;
  sockets: WebSocket[] = [];
  readonly server: Server = createServer((request, response) => void this.#serve(request, response));

  constructor() {
    const events = new WebSocketServer({ noServer: true });
    this.server.on('upgrade', (request, socket, head) => {
      this.#note(request, '');
      if (this.refuses) socket.end(`HTTP/1.1 ${this.refuses} No\r\nConnection: close\r\n\r\n`);
      else events.handleUpgrade(request, socket, head, (opened) => this.sockets.push(opened));
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    this.#note(request, body);
    this.answer(response);
  }

  #note({ method = '', url = '', headers }: IncomingMessage, body: string): void {
    this.asked.push({ method, url, authorization: headers.authorization ?? '', body });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/ari`;
  }
}

let there: Switch;
let ari: Ari;
let told: string[];
let events: AriEvent[];
beforeEach(async () => {
  there = new Switch();
  await new Promise<void>((resolve) => there.server.listen(0, '127.0.0.1', resolve));
  connectTo(there.url);
});
afterEach(async () => {
  await ari.close();
  for (const socket of there.sockets) socket.terminate();
  there.server.closeAllConnections();
  there.server.close();
});

function connectTo(url: string): void {
  told = [];
  events = [];
  ari = new Ari({ url, user: 'dialwright', password: 'se/cret', app: 'dialwright' }, log, {
    up: () => told.push('up'),
    down: (why) => told.push(why),
    event: (event) => events.push(event),
  });
}

describe('a request', () => {
  it('carries path, query, body and password, and brings the answer', async () => {
    there.answer = (response) => void response.end('{"id":"leg-1"}');
    const channel = await ari.ask('POST /channels/{channelId}', {
      path: { channelId: 'leg/1' },
      query: { endpoint: 'PJSIP/+47 1@carrier', app: 'dialwright', timeout: 5 },
      body: { variables: { CONNECTEDLINE: '1' } },
    });

    expect(channel).toEqual({ id: 'leg-1' });
    expect(there.asked).toEqual([
      {
        method: 'POST',
        url: '/ari/channels/leg%2F1?endpoint=PJSIP%2F%2B47+1%40carrier&app=dialwright&timeout=5',
        authorization: `Basic ${Buffer.from('dialwright:se/cret').toString('base64')}`,
        body: '{"variables":{"CONNECTEDLINE":"1"}}',
      },
    ]);
  });

  it('without an answer to speak of is answered by nothing', async () => {
    there.answer = (response) => void response.writeHead(204).end();
    expect(await ari.ask('DELETE /channels/{channelId}', { path: { channelId: 'x' } })).toBeUndefined();
  });

  it.each([
    [404, '{"message":"Channel not found"}', 'DELETE /channels/{channelId}: 404 Channel not found'],
    [500, '{"error":"Allocation failed"}', 'DELETE /channels/{channelId}: 500 Allocation failed'],
    [500, 'out of memory', 'DELETE /channels/{channelId}: 500 out of memory'],
  ])('that is refused says so: %i', async (status, body, message) => {
    there.answer = (response) => void response.writeHead(status).end(body);
    const refused = ari.ask('DELETE /channels/{channelId}', { path: { channelId: 'x' } });
    await expect(refused).rejects.toThrow(AriRefused);
    await expect(refused).rejects.toMatchObject({ status, message });
  });

  it('whose answer does not come has an unknown outcome', async () => {
    there.answer = (response) => void response.destroy();
    await expect(ari.ask('GET /channels')).rejects.toThrow(TelephonyUnavailable);
  });

  it('waits for one of a few connections, and a hang-up not for the legs that have yet to begin', async () => {
    const held: ServerResponse[] = [];
    there.answer = (response) => void held.push(response);
    const query = { endpoint: 'PJSIP/1', app: 'dialwright' };
    const created = Array.from({ length: 200 }, () => ari.ask('POST /channels/create', { query }));
    await eventually(() => held.length > 0);
    const hungUp = ari.ask('DELETE /channels/{channelId}', { path: { channelId: 'x' } });
    await eventually(() => there.asked.some(({ method }) => method === 'DELETE'));

    expect(there.asked.length).toBeLessThan(10);
    there.answer = (response) => void response.end('{}');
    for (const response of held) response.end('{}');
    await Promise.all([...created, hungUp]);
    expect(there.asked).toHaveLength(201);
  });
});

describe('the connection', () => {
  it('brings events, and comes back when it is lost', async () => {
    ari.open();
    await eventually(() => there.sockets.length === 1 && told.length === 1);
    there.sockets[0]!.send('{"type":"StasisStart"}');
    there.sockets[0]!.send('no JSON');
    there.sockets[0]!.send('{"type":"StasisEnd"}');
    await eventually(() => events.length === 2);
    there.sockets[0]!.terminate();
    await eventually(() => there.sockets.length === 2 && told.length === 3);

    expect(events.map(({ type }) => type)).toEqual(['StasisStart', 'StasisEnd']);
    expect(told).toEqual(['up', 'the connection to Asterisk was lost', 'up']);
    expect(there.asked[0]).toMatchObject({ url: '/ari/events?app=dialwright' });
  });

  it.each([
    [401, 'check ARI_USER and ARI_PASSWORD'],
    [404, 'check ARI_URL, and that Asterisk has loaded res_ari'],
  ])('that is refused says what to check: %i', async (status, what) => {
    there.refuses = status;
    ari.open();
    await eventually(() => told.length > 0);
    expect(told[0]).toContain(what);

    there.refuses = 0;
    await eventually(() => told.at(-1) === 'up');
  });

  it('that finds nobody names the setting', async () => {
    connectTo('http://127.0.0.1:1/ari');
    ari.open();
    await eventually(() => told.length > 0);
    expect(told[0]).toMatch(/ECONNREFUSED.*check ARI_URL/);
  });
});
