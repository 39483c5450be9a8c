import { connect } from 'node:net';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { createPool, createPrisma } from '../../prisma/client.ts';
import { createListener } from '../../api/listener.ts';
import { eventually } from '../kit/eventually.ts';
import { Wire } from '../kit/wire.ts';
import { makeAgent, makeCampaign, openSse, startTestApi } from './api-server.ts';

describe('PostgreSQL away', async () => {
  const direct = await startTestApi();
  const { rows } = await direct.db.pool.query(`SELECT current_database() AS name`);
  const wire = await Wire.to(databaseUrl(direct.db.pool.options as { connectionString: string }, rows[0].name));
  const { url } = wire;
  const db = {
    pool: createPool(url, { max: 5 }),
    prisma: createPrisma(url, { max: 2 }),
    clock: direct.db.clock,
  };
  const { createMatching } = await import('../../matching/matching.ts');
  const matching = createMatching({ db, workflows: direct.workflows, log: direct.deps.log });
  const { startApi } = await import('../../api/server.ts');
  const deps = { ...direct.deps, db, matching, listen: createListener(url, direct.deps.log) };
  const server = await startApi(deps, { host: '127.0.0.1', port: 0 });
  const api = { ...direct, url: server.url };
  const call = (method: string, path: string, body?: unknown) =>
    fetch(api.url + path, {
      method,
      headers: { Authorization: `Bearer ${direct.admin}`, ...(body ? { 'Content-Type': 'application/json' } : {}) },
      body: body ? JSON.stringify(body) : null,
    });
  afterAll(async () => {
    await server.close();
    await db.prisma.$disconnect();
    await db.pool.end();
    await wire.close();
  });

  test('every kind of request: 503 with Retry-After; afterwards all is well, and streams go on', async () => {
    const campaign = await makeCampaign(direct);
    const agent = await makeAgent(direct, [campaign]);
    const sse = await openSse(`${server.url}/v1/agents/${agent.id}/stream`, { Authorization: `Bearer ${direct.admin}` });
    await eventually(() => sse.events.length === 1);
    const requests = [
      ['GET', '/v1/campaigns'],
      ['GET', `/v1/campaigns/${campaign.id}/stats`],
      ['POST', `/v1/campaigns/${campaign.id}/start`],
      ['PATCH', `/v1/campaigns/${campaign.id}`, { name: 'x' }],
      ['PUT', `/v1/campaigns/${campaign.id}/contacts/by-external-id/x`, { phone_num: '22865000' }],
      ['PUT', `/v1/agents/${agent.id}/state`, { state: 'ready' }],
      ['POST', '/v1/agents', { name: 'x', phone: '77777' }],
      ['GET', '/v1/call-events?format=csv'],
      ['GET', `/v1/agents/${agent.id}/stream`],
    ] as const;

    wire.cut();
    for (const [method, path, body] of requests) {
      const answer = await call(method, path, body);
      expect(answer.status, `${method} ${path}`).toBe(503);
      expect(answer.headers.get('Retry-After')).toBe('2');
      expect(await answer.json()).toMatchObject({ code: 'UNAVAILABLE' });
    }
    expect((await call('GET', '/healthz')).status).toBe(200);
    const ready = await call('GET', '/readyz');
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ ready: false, postgresql: { ok: false }, temporal: { ok: true } });

    wire.mend();
    for (const [method, path, body] of requests.slice(0, -1)) {
      await eventually(async () => (await call(method, path, body)).status < 300);
    }
    await eventually(() => sse.events.at(-1)!.data.state === 'ready', { withinMs: 10_000 });
  });
});

function databaseUrl({ connectionString }: { connectionString: string }, name: string): string {
  const url = new URL(connectionString);
  url.pathname = `/${name}`;
  return url.href;
}

describe('readiness', () => {
  test('names what is missing; without telephony the API is ready all the same', async () => {
    const api = await startTestApi();
    expect((await api.call('GET', '/readyz', undefined, { key: null })).body).toEqual({
      ready: true,
      postgresql: { ok: true },
      temporal: { ok: true },
      telephony: { ok: false, why: 'no node is connected to a switch' },
    });
    await api.db.pool.query(`INSERT INTO node (name, holder, lease_until, ready_since) VALUES ('sim-1', 'w', $1, $2)`, [
      new Date(Date.now() + 60_000),
      new Date(),
    ]);
    expect((await api.call('GET', '/readyz')).body.telephony).toEqual({ ok: true });
    await api.db.pool.query(
      `INSERT INTO node (name, holder, lease_until, trouble) VALUES ('asterisk-2', 'v', $1, 'check ARI_URL')`,
      [new Date(Date.now() + 60_000)],
    );
    const { telephony } = (await api.call('GET', '/readyz')).body;
    expect(telephony, 'another node in trouble').toEqual({ ok: true, why: 'asterisk-2: check ARI_URL' });
    await api.db.pool.query(`UPDATE node SET lease_until = $1`, [new Date(Date.now() - 1)]);
    expect((await api.call('GET', '/readyz')).body.telephony.ok).toBe(false);
  });

  test.each([
    ['fails', () => Promise.reject(new Error('secret address'))],
    ['hangs', () => new Promise<void>(() => undefined)],
  ])('503 when Temporal %s', async (_how, checkTemporal) => {
    const api = await startTestApi({ checkTemporal });
    const answer = await api.call('GET', '/readyz');
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ ready: false, temporal: { ok: false, why: 'does not answer' } });
    expect(answer.text).not.toContain('secret');
  });
});

test('metrics name routes, never ids or numbers', async () => {
  const api = await startTestApi();
  const campaign = await makeCampaign(api);
  await api.call('GET', `/v1/campaigns/${campaign.id}`);
  await api.call('GET', '/v1/contacts/4711');
  await eventually(async () => {
    const { text } = await api.call('GET', '/metrics');
    expect(text).toContain('http_request_duration_seconds_count{method="GET",route="/v1/contacts/{id}",status="404"} 1');
    expect(text).toContain('process_cpu_user_seconds_total');
    expect(text).not.toContain('4711');
    return true;
  });
});

test('the API ends although a stream is asked for meanwhile, on a connection that was kept', async () => {
  const ending = await startTestApi();
  const { hostname, port } = new URL(ending.url);
  const socket = connect(Number(port), hostname);
  let told = '';
  socket.on('data', (bytes: Buffer) => (told += bytes.toString()));
  onTestFinished(() => void socket.destroy());
  const stream = `GET /v1/call-events/stream?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ending.admin}\r\n\r\n`;
  // The second one has its turn when the first is over.
  socket.write(stream + stream);
  await eventually(() => told.includes('retry:'));

  let isOver = false;
  void ending.close().then(() => (isOver = true));
  await eventually(() => isOver, { withinMs: 6_000 });
});
