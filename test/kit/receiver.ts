/** A receiver of webhooks: notes what is posted to it, checks the signatures, and answers as the test says. */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { onTestFinished } from 'vitest';

/** Key and certificate of `localhost`. */
export const LOCALHOST_PEM = path.join(import.meta.dirname, 'localhost.pem');

export interface Message {
  path: string;
  headers: http.IncomingHttpHeaders;
  /** Header `webhook-id`. */
  id: string;
  text: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- checked by what tests expect
  body: any;
}

/** A status, or whatever the test does to the answer itself. */
type Answer = number | ((res: http.ServerResponse) => void);

export interface Receiver {
  url: string;
  /** In the order in which they came, each when it was there as a whole. */
  messages: Message[];
  /** What each is answered with; 204 unless the test says otherwise. */
  answer: (message: Message) => Answer | Promise<Answer>;
  /** The most that were under way at once. */
  mostAtOnce: number;
  connections: number;
  /** Positions of all rows that came, in that order. */
  positions(): number[];
  /** Whether the library of Standard Webhooks takes a message for one that was signed with this secret. */
  isSignedWith(secret: string, message: Message): boolean;
}

export async function startReceiver({ tls = false } = {}): Promise<Receiver> {
  const pem = tls ? readFileSync(LOCALHOST_PEM) : undefined;
  const server = tls ? https.createServer({ key: pem, cert: pem }) : http.createServer();
  let atOnce = 0;
  const receiver: Receiver = {
    url: '',
    messages: [],
    answer: () => 204,
    mostAtOnce: 0,
    connections: 0,
    positions: () => receiver.messages.flatMap(({ body }) => (body.data.items ?? []).map((row: { position: string }) => Number(row.position))),
    isSignedWith(secret, message) {
      try {
        new Webhook(secret).verify(message.text, message.headers as Record<string, string>);
        return true;
      } catch {
        return false;
      }
    },
  };
  server.on('connection', () => receiver.connections++);
  server.on('request', (req, res) => void take(req, res));
  async function take(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    receiver.mostAtOnce = Math.max(receiver.mostAtOnce, ++atOnce);
    res.on('close', () => atOnce--);
    const body = await text(req);
    const message = { path: req.url!, headers: req.headers, id: String(req.headers['webhook-id']), text: body, body: JSON.parse(body) };
    receiver.messages.push(message);
    const answer = await receiver.answer(message);
    if (typeof answer === 'number') res.writeHead(answer).end();
    else answer(res);
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  receiver.url = `${tls ? 'https' : 'http'}://localhost:${(server.address() as AddressInfo).port}/hook`;
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return receiver;
}
