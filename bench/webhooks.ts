// Rows a second from a backlog to one webhook, beside bare POSTs of the same bodies, and how calls do while that goes on.

import http from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Figure } from './figure.ts';
import {
  countContacts,
  makeAgent,
  makeCampaign,
  progress,
  quantile,
  type Rig,
  seconds,
  type Simulated,
  until,
} from './kit.ts';
import { timedCalls } from './latency.ts';

const ROWS = 100_000;
/** Calls without deliveries; with them as many as there is time for. */
const CALLS = 40;
const LONGEST_MS = 200_000;

export async function benchWebhooks(rig: Rig): Promise<Figure[]> {
  const { sql, say } = rig;
  const product = await rig.product();
  const receiver = await startReceiver();
  try {
    const campaign = await makeCampaign(product, 'Webhooks', '4', 400);
    const agent = await makeAgent(product, campaign, '1000');
    await product.ask('POST', `/campaigns/${campaign}/start`);
    await until('all contacts are queued', 60_000, async () => (await countContacts(sql, campaign, 'queued')) === 400);
    const undisturbed = await timedCalls(rig, product, { campaign, agent, from: 0 }, (n) => n < CALLS);

    const alone = await deliver(rig, product, receiver.url);
    say(`${ROWS} rows delivered, ${(ROWS / alone).toFixed(0)}/s; now once more, with calls beside it`);
    let isThrough = false;
    const delivering = deliver(rig, product, receiver.url).finally(() => (isThrough = true));
    const disturbed = await timedCalls(rig, product, { campaign, agent, from: CALLS }, () => !isThrough);
    const withCalls = await delivering;

    const bodies = receiver.bodies.slice(0, ROWS / 100);
    const bare = await seconds(() => postAll(receiver.url, bodies));
    const limit = { unit: '/s', limit: (bodies.length * 100) / bare, limitIs: 'bare POSTs of the same bodies, one after the other' };
    return [
      { name: 'rows delivered to a webhook', value: ROWS / alone, ...limit, aim: { of: 'value', atLeast: 5_000 } },
      { name: 'rows delivered to a webhook, calls beside it', value: ROWS / withCalls, ...limit },
      ...[0.5, 0.9].map((share) => ({
        name: `agent ready → phone told to ring, rows delivered beside it, p${share * 100}`,
        value: quantile(disturbed.map(({ ringMs }) => ringMs), share),
        unit: 'ms',
        limit: quantile(undisturbed.map(({ ringMs }) => ringMs), share),
        limitIs: 'the same with nothing delivered',
      })),
    ];
  } finally {
    receiver.close();
  }
}

/** Seconds in which a new webhook has got ROWS rows. */
async function deliver({ sql, say }: Rig, product: Simulated, url: string): Promise<number> {
  const { rows } = await sql.query<{ before: string }>(
    `WITH taken AS (UPDATE event_position SET last = last + $1 WHERE id = 1 RETURNING last - $1 AS before),
       written AS (
         INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, ciq, dte_start,
           duration_tot_sec, dte_speak_start, duration_speak_sec, setup_ms, alert_ms, source, destination, originating,
           queue_key, agent_id, result_code, result_response, answered, leg_type, contact_id, campaign_id, attempt)
         SELECT before + n, before + n + 1e9, 3, 'c', (before + n) || '-2', 'c', $2, 63, $2, 60, 120, 3000, '+4722400001',
           '+4722400001', '+4722999900', '__Dialer_bench', 1, 'k', 200, true, 'contact', n, 1, 1
         FROM taken, generate_series(1, $1::bigint) n)
     SELECT before FROM taken`,
    [ROWS, new Date()],
  );
  const tell = progress(say, 'rows delivered', ROWS);
  const begin = Number(rows[0]!.before);
  const from = performance.now();
  const { id } = await product.ask<{ id: string }>('POST', '/webhooks', { url, position: String(begin) });
  await until('all rows are delivered', LONGEST_MS, async () => {
    const { position } = await product.ask<{ position: string }>('GET', `/webhooks/${id}`);
    tell(Number(position) - begin);
    return Number(position) >= begin + ROWS;
  });
  const took = (performance.now() - from) / 1000;
  await product.ask('DELETE', `/webhooks/${id}`);
  return took;
}

interface Receiver {
  url: string;
  /** Of every request, in order. */
  bodies: Buffer[];
  close(): void;
}

async function startReceiver(): Promise<Receiver> {
  const bodies: Buffer[] = [];
  const server = http.createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => void chunks.push(chunk));
    req.on('end', () => {
      bodies.push(Buffer.concat(chunks));
      res.writeHead(204).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, bodies, close };
}

async function postAll(url: string, bodies: readonly Buffer[]): Promise<void> {
  const agent = new http.Agent({ keepAlive: true });
  for (const body of bodies) {
    const request = http.request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json' } });
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    response.resume();
    await once(response, 'end');
  }
  agent.destroy();
}
