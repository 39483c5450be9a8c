/** What becomes of requests while PostgreSQL or Temporal is slow, frozen or away, and of clients that ask too much or read nothing. */
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, describe, expect, inject, it, onTestFinished } from 'vitest';
import { type ApiProcess, startApiProcess } from '../kit/api-process.ts';
import { eventually } from '../kit/eventually.ts';
import { Wire } from '../kit/wire.ts';
import type { Json } from '../kit/system.ts';
import { makeCall } from '../e2e/api-rows.ts';

/** 2 s, and what this machine may be late by. */
const ANSWERED_WITHIN_MS = 2_500;
const SLOW_MS = 500;
/** What 1,500 requests that wait, or 30 readers that read nothing, may take. */
const MORE_MEMORY_MB = 350;

interface Answer {
  status: number;
  retryAfter: string | undefined;
  body: Json;
  ms: number;
}

const sockets = new Agent({ keepAlive: true });
let keys = 0;

function ask(api: ApiProcess, method: string, path: string, body?: unknown, key = `key-${++keys}`): Promise<Answer> {
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const headers = {
      Authorization: `Bearer ${api.adminKey}`,
      ...(method === 'POST' ? { 'Idempotency-Key': key } : {}),
      ...(body ? { 'Content-Type': 'application/json' } : {}),
    };
    const sent = request(`${api.url}/v1${path}`, { method, agent: sockets, headers }, (response) => {
      void text(response).then((read) => {
        const ms = performance.now() - begun;
        resolve({ status: response.statusCode!, retryAfter: response.headers['retry-after'], body: read ? JSON.parse(read) : undefined, ms });
      }, reject);
    });
    sent.on('error', reject);
    sent.end(body ? JSON.stringify(body) : undefined);
  });
}

const temporal = await Wire.to(`tcp://${inject('temporalAddress')}`);
let postgres!: Wire;
const api = await startApiProcess({
  settings: { TEMPORAL_ADDRESS: temporal.address },
  async via(databaseUrl) {
    postgres = await Wire.to(databaseUrl);
    return postgres.url;
  },
});
afterAll(async () => {
  sockets.destroy();
  await Promise.all([postgres.close(), temporal.close()]);
});

const mended = () => [postgres, temporal].forEach((wire) => wire.mend());
afterEach(mended);

interface Asked {
  method: string;
  path: string;
  body?: unknown;
  /** How many rows there are of what it makes; 1 when it has been carried out once. */
  made?: string;
}

/** Something of everything, on rows of its own. */
async function everything(name: string): Promise<Asked[]> {
  const make = (...[method, path, body]: [string, string, object]) =>
    eventually(async () => {
      const answer = await ask(api, method, path, body, `make-${name}-${path}`.replaceAll(' ', '-'));
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status}`);
      return answer.body;
    });
  const campaign = await make('POST', '/campaigns', { name, country: 'NO', zone: 'Europe/Oslo' });
  const n = ++keys;
  const agent = await make('POST', '/agents', { name, phone: String(3000 + n), queues: [{ campaign_id: campaign.id }] });
  const contact = (id: string) =>
    make('PUT', `/campaigns/${campaign.id}/contacts/by-external-id/${id}`, { phone_num: `+4740${100_000 + ++keys}` });
  const queued = await contact('queued');
  await makeCall({ db: { pool: api.sql } }, { contact: queued, callNo: 1, queued: true });
  const fresh = await contact('fresh');
  const count = (table: string, where: string) => `SELECT count(*)::int AS n FROM ${table} WHERE ${where}`;
  return [
    { method: 'GET', path: '/campaigns' },
    { method: 'GET', path: `/contacts/${queued.id}` },
    { method: 'GET', path: '/call-events?limit=10' },
    { method: 'POST', path: '/campaigns', body: { name: `${name} 2`, country: 'NO', zone: 'UTC' }, made: count('campaign', `name = '${name} 2'`) },
    { method: 'POST', path: '/agents', body: { name: `${name} 2`, phone: String(5000 + n) }, made: count('agent', `name = '${name} 2'`) },
    { method: 'POST', path: '/keys', body: { name, role: 'operator' }, made: count('api_key', `name = '${name}'`) },
    { method: 'POST', path: '/webhooks', body: { url: `https://example.org/${n}` }, made: count('webhook', `url = 'https://example.org/${n}'`) },
    {
      method: 'PUT',
      path: `/campaigns/${campaign.id}/contacts/by-external-id/made`,
      body: { phone_num: '+4740000001' },
      made: count('contact', `campaign_id = ${campaign.id} AND list_key = 'made'`),
    },
    {
      method: 'PUT',
      path: `/agents/${agent.id}/state`,
      body: { state: 'ready' },
      made: count('agent_events', `agent_id = ${agent.id} AND state = 'ready'`),
    },
    { method: 'POST', path: `/campaigns/${campaign.id}/start`, made: count('campaign', `id = ${campaign.id} AND status = 'running'`) },
    { method: 'POST', path: `/contacts/${fresh.id}/disable`, made: count('contact', `id = ${fresh.id} AND state = 'disabled'`) },
    { method: 'POST', path: `/contacts/${queued.id}/disable` },
    { method: 'DELETE', path: `/do-not-call/%2B4740009999?comment=${encodeURIComponent(name)}` },
  ];
}

const isTold = ({ status, retryAfter, body }: Answer): boolean => status === 503 && Number(retryAfter) >= 1 && body.code === 'UNAVAILABLE';

/** Each is answered in time; repeated with its key when all is well again, it has been carried out once. */
async function askThroughout(name: string, trouble: () => void, mustFail: (asked: Asked) => boolean): Promise<void> {
  const requests = (await everything(name)).map((asked) => ({ ...asked, key: `${name} ${++keys}`.replaceAll(' ', '-') }));
  trouble();
  const answers = await Promise.all(requests.map(({ method, path, body, key }) => ask(api, method, path, body, key)));
  answers.forEach((answer, i) => {
    const what = `${requests[i]!.method} ${requests[i]!.path}: ${answer.status} after ${Math.round(answer.ms)} ms`;
    expect(answer.ms, what).toBeLessThan(ANSWERED_WITHIN_MS);
    expect(answer.status < 500 || isTold(answer), what).toBe(true);
    if (mustFail(requests[i]!)) expect(answer.status, what).toBe(503);
  });
  mended();
  for (const { method, path, body, key, made } of requests) {
    const answer = await eventually(
      async () => {
        const answer = await ask(api, method, path, body, key);
        if (answer.status >= 500 || answer.body?.state === 'running') throw new Error(`${method} ${path}: ${answer.status}`);
        return answer;
      },
      { withinMs: 15_000, everyMs: 200 },
    );
    expect([200, 201, 404, 409], `${method} ${path}`).toContain(answer.status);
    if (made) expect((await api.sql.query<{ n: number }>(made)).rows[0]!.n, `${method} ${path}`).toBe(1);
  }
}

describe('503 within 2 s, and once when repeated', () => {
  it('PostgreSQL takes half a second a call', { timeout: 60_000 }, () => askThroughout('slow rows', () => postgres.slow(SLOW_MS), () => false));

  it('PostgreSQL is frozen', { timeout: 60_000 }, () => askThroughout('frozen rows', () => postgres.hold(), () => true));

  it('PostgreSQL is away', { timeout: 60_000 }, () => askThroughout('no rows', () => postgres.cut(), () => true));

  const needsTemporal = ({ method, path }: Asked) => method === 'POST' && path.endsWith('/disable');
  it('Temporal takes half a second a call', { timeout: 60_000 }, () => askThroughout('slow flows', () => temporal.slow(SLOW_MS), () => false));

  it('Temporal is frozen', { timeout: 60_000 }, () =>
    askThroughout('frozen flows', () => temporal.hold(), (asked) => needsTemporal(asked) && asked.made === undefined));

  it('Temporal is away', { timeout: 60_000 }, () =>
    askThroughout('no flows', () => temporal.cut(), (asked) => needsTemporal(asked) && asked.made === undefined));
});

// gRPC would come to wait for two minutes, and nobody would be called for so long after an outage.
it('Temporal, away for long, is looked for every 2 s', { timeout: 60_000 }, async () => {
  temporal.cut();
  const looked = async () => {
    await fetch(`${api.url}/readyz`);
    return temporal.tried >= 7;
  };
  await eventually(looked, { withinMs: 18_000 });
});

describe('what was given up', () => {
  it('is not done later, behind what was asked for since', async () => {
    const agent = (await ask(api, 'POST', '/agents', { name: 'late', phone: String(7000 + ++keys) })).body;
    const wish = (state: string) => ask(api, 'PUT', `/agents/${agent.id}/state`, { state });
    expect((await wish('paused')).status).toBe(200);
    postgres.hold();
    expect(isTold(await wish('ready'))).toBe(true);
    postgres.mend();
    expect((await eventually(async () => {
      const answer = await wish('logged_off');
      if (answer.status !== 200) throw new Error(String(answer.status));
      return answer;
    })).body.state).toBe('logged_off');
    // Whatever was under way has come to its end when nobody waits for a lock or a connection.
    await eventually(async () => {
      const { rows } = await api.sql.query(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'`);
      return rows.length === 0;
    });
    const { rows } = await api.sql.query(`SELECT state FROM agent_events WHERE agent_id = $1 ORDER BY position`, [agent.id]);
    expect(rows.map(({ state }) => state)).toEqual(['paused', 'logged_off']);
  });

  it('but an emergency stop is carried out all the same', async () => {
    const campaign = (await ask(api, 'POST', '/campaigns', { name: 'To stop', country: 'NO', zone: 'UTC' })).body;
    await ask(api, 'POST', `/campaigns/${campaign.id}/start`);
    postgres.hold();
    expect(isTold(await ask(api, 'POST', `/campaigns/${campaign.id}/stop`))).toBe(true);
    postgres.mend();
    await eventually(async () => (await ask(api, 'GET', `/campaigns/${campaign.id}`)).body.status === 'paused');
  });
});

it('that Temporal does not answer is among the problems, which are told all the same', async () => {
  temporal.hold();
  const { status, body } = await ask(api, 'GET', '/problems');
  expect(status).toBe(200);
  expect(body.items.map(({ kind }: Json) => kind)).toContain('temporal_away');
  temporal.mend();
});

describe('memory', () => {
  it('1,500 requests at once to a frozen PostgreSQL: each is answered in time', { timeout: 60_000 }, async () => {
    const before = api.memoryMb();
    postgres.hold();
    const answers = await Promise.all(
      Array.from({ length: 1_500 }, (_, n) => ask(api, 'POST', '/campaigns', { name: `Flood ${n}`, country: 'NO', zone: 'UTC' })),
    );
    const after = api.memoryMb();
    console.log(`memory of the API: ${before} MB before, ${after} MB with 1,500 requests at once and PostgreSQL frozen`);
    expect(answers.filter((answer) => !isTold(answer))).toEqual([]);
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(2 * ANSWERED_WITHIN_MS);
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
    expect(after - before).toBeLessThan(MORE_MEMORY_MB);
    postgres.mend();
    await eventually(async () => (await ask(api, 'GET', '/campaigns')).status === 200, { withinMs: 15_000 });
    const { rows } = await api.sql.query(`SELECT count(*)::int AS n FROM campaign WHERE name LIKE 'Flood %'`);
    expect(rows[0].n).toBe(0);
  });

  it('30 readers of a stream that read nothing are cut off; one that reads gets all', { timeout: 90_000 }, async () => {
    await api.sql.query(
      `INSERT INTO dispositions (position, call_id, agent_id, contact_id, campaign_id, at, action, topics, comment, request_id)
       SELECT n, n, 1, 1, 1, $1, 'done', '{}', repeat('x', 4000), n FROM generate_series(1, 10000) n`,
      [new Date()],
    );
    await api.sql.query(`DELETE FROM agent_events`);
    await api.sql.query(`UPDATE event_position SET last = 10000`);
    const before = api.memoryMb();
    const silent = Array.from({ length: 30 }, () => openWithoutReading());
    const response = await fetch(`${api.url}/v1/call-events/stream?after=0`, { headers: { Authorization: `Bearer ${api.adminKey}` } });
    const events = (await readUntil(response, 'id: 10000\n')).match(/^id: \d+$/gm)!;
    expect(new Set(events).size).toBe(10_000);
    let most = 0;
    await eventually(
      async () => {
        most = Math.max(most, api.memoryMb());
        const metrics = await (await fetch(`${api.url}/metrics`, { headers: { Authorization: `Bearer ${api.adminKey}` } })).text();
        const [, closed = '0'] = /http_request_duration_seconds_count\{method="GET",route="\/v1\/call-events\/stream",status="200"\} (\d+)/.exec(metrics) ?? [];
        return Number(closed) > silent.length;
      },
      { withinMs: 60_000, everyMs: 500 },
    );
    console.log(`memory of the API: ${before} MB before, ${most} MB at most with 30 readers that read nothing`);
    expect(most - before).toBeLessThan(MORE_MEMORY_MB);
  });

  function openWithoutReading(): Socket {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.write(`GET /v1/call-events/stream?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.adminKey}\r\n\r\n`);
    socket.pause();
    onTestFinished(() => void socket.destroy());
    return socket;
  }

  async function readUntil(response: Response, end: string): Promise<string> {
    const decoder = new TextDecoder();
    let read = '';
    for await (const piece of response.body!) {
      // The comments are of no interest here.
      read += decoder.decode(piece as Uint8Array, { stream: true }).replace(/x{100,}/g, '');
      if (read.includes(end)) break;
    }
    return read;
  }
});

// The last, as the API is gone then.
it('ends within 30 s of SIGTERM, though nobody answers it', { timeout: 60_000 }, async () => {
  postgres.hold();
  temporal.hold();
  const asked = ask(api, 'POST', '/campaigns', { name: 'At the end', country: 'NO', zone: 'UTC' }).catch(() => null);
  const from = performance.now();
  await api.process.stop();
  expect(performance.now() - from).toBeLessThan(30_000);
  await asked;
});
