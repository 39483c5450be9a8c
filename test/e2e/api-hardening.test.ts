/** What a public HTTP server must stand. */
import { once } from 'node:events';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { makeCampaign, startTestApi } from './api-server.ts';

const api = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
const campaign = await makeCampaign(api);
const json = { 'Content-Type': 'application/json' };

describe('bodies', () => {
  const send = (raw: string | Buffer, headers: Record<string, string> = json) =>
    api.call('POST', '/v1/campaigns', undefined, { raw, headers });

  test.each([
    ['{"name": "x",}', 'line 1, column 14'],
    ['{\n "name": x\n}', 'line 2, column 10'],
    ['{"name": "x"', 'line 1, column 13'],
    ['not json', 'line 1, column 1'],
    [`${'['.repeat(200_000)}`, 'line 1, column 200001'],
  ])('malformed JSON is told where', async (raw, where) => {
    const answer = await send(raw);
    expect(answer.status).toBe(400);
    expect(answer.body.issues[0].reason).toContain(where);
    expect(answer.text.length).toBeLessThan(1000);
  });

  test('an empty body is refused field by field', async () => {
    const answer = await send('');
    expect(answer.status).toBe(400);
    expect(answer.body.issues.map(({ field }: { field: string }) => field)).toEqual(['name', 'country', 'zone']);
    expect((await api.call('POST', '/v1/campaigns')).status).toBe(400);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'text/csv', 'multipart/form-data; boundary=x', 'application/xml'])(
    '%s is not read',
    async (type) => {
      const answer = await send('name=x', { 'Content-Type': type });
      expect(answer.status).toBe(415);
      expect(answer.body.code).toBe('UNSUPPORTED_MEDIA_TYPE');
    },
  );

  test('another character set and an unknown compression are not read', async () => {
    expect((await send('{}', { 'Content-Type': 'application/json; charset=iso-8859-1' })).status).toBe(415);
    expect((await send('{}', { ...json, 'Content-Encoding': 'compress' })).status).toBe(415);
    expect((await send('{}', { 'Content-Type': 'application/json; charset=utf-8' })).status).toBe(400);
  });

  test('more than 1 MB is refused, also unpacked', async () => {
    const answer = await send(JSON.stringify({ name: 'x'.repeat(1_100_000) }));
    expect(answer.status).toBe(413);
    expect(answer.body.code).toBe('TOO_LARGE');
    const { gzipSync } = await import('node:zlib');
    const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20));
    expect((await send(bomb, { ...json, 'Content-Encoding': 'gzip' })).status).toBe(413);
  });

  test('broken compression is refused', async () => {
    expect((await send('not gzip', { ...json, 'Content-Encoding': 'gzip' })).status).toBe(400);
  });

  test('deep nesting and odd keys are refused like any unknown field', async () => {
    const deep = `{"x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`;
    expect((await send(deep)).status).toBe(400);
    const odd = await send('{"__proto__": {"status": "running"}, "constructor": 1}');
    expect(odd.status).toBe(400);
    expect(({} as { status?: string }).status).toBeUndefined();
  });

  test('a body that breaks off hurts nobody', async () => {
    const { hostname, port } = new URL(api.url);
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(
          `POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.admin}\r\n` +
            'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"name"',
          () => socket.destroy(),
        );
      });
      socket.on('close', () => resolve());
      socket.on('error', () => undefined);
    });
    expect((await api.call('GET', '/healthz')).status).toBe(200);
  });
});

describe('slow and many', async () => {
  const SOON = { headersWithinMs: 1_000, bodyWithinMs: 1_000, mostConnections: 20 };
  const slow = await startTestApi({}, SOON);
  const listed = await makeCampaign(slow);
  const { hostname, port } = new URL(slow.url);

  interface Wire {
    socket: Socket;
    text: string;
    closed: Promise<void>;
  }
  const wires: Wire[] = [];
  afterEach(() => wires.splice(0).forEach(({ socket }) => socket.destroy()));

  /** A connection on which these lines were sent, and then one byte every 100 ms. */
  function dribble(head: string, rest = ' '): Wire {
    const socket = connect(Number(port), hostname);
    const wire: Wire = { socket, text: '', closed: new Promise((resolve) => socket.once('close', () => resolve())) };
    wires.push(wire);
    socket.on('data', (data) => (wire.text += data.toString('latin1')));
    socket.on('error', () => undefined);
    socket.write(head);
    const timer = setInterval(() => socket.write(rest), 100);
    void wire.closed.then(() => clearInterval(timer));
    return wire;
  }
  const post = (at: string, key = slow.admin) =>
    `POST ${at} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n`;
  const alive = async () => expect((await slow.call('GET', '/healthz')).status).toBe(200);

  test('headers that never end', async () => {
    const wire = dribble('GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ', 'a');
    await wire.closed;
    expect(wire.text).toContain('408 Request Timeout');
    await alive();
  });

  test('a connection on which nothing is asked', async () => {
    await dribble('', '').closed;
    await alive();
  });

  test.each([
    ['with a key', '/v1/campaigns', undefined],
    ['without one, answered and held', '/v1/campaigns', 'dw_wrong'],
    ['of an upload without a key', `/v1/campaigns/1/imports?mode=add`, 'dw_wrong'],
    ['where none is read', `/v1/campaigns/${listed.id}/pause`, undefined],
    ['where nothing is', '/nowhere', undefined],
  ])('a body that never ends, %s', async (_what, at, key) => {
    await dribble(post(at, key)).closed;
    await alive();
  });

  test('an upload may take longer, if it goes on', async () => {
    const row = (n: number) => `+479012345${n}\n`;
    const body = async function* () {
      yield Buffer.from('phone_num\n');
      for (let n = 0; n < 8; n++) {
        await new Promise((resolve) => setTimeout(resolve, 250));
        yield Buffer.from(row(n));
      }
    };
    const answer = await fetch(`${slow.url}/v1/campaigns/${listed.id}/imports?mode=add`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${slow.admin}`, 'Content-Type': 'text/csv' },
      body: ReadableStream.from(body()),
      duplex: 'half',
    });
    expect(await answer.json()).toMatchObject({ rows: 8, added: 8 });
  });

  test('more connections than there may be are closed at once; those that are there go on', async () => {
    const before = dribble('GET /v1/call-events/stream HTTP/1.1\r\nHost: x\r\n' + `Authorization: Bearer ${slow.admin}\r\n\r\n`, '');
    await eventually(() => before.text.includes('retry:'));
    const held = Array.from({ length: 40 }, () => dribble('GET / HTTP/1.1\r\n', ''));
    await Promise.all(held.map(({ closed }) => closed));
    // Those that were taken are told that they were too slow.
    expect(held.filter(({ text }) => text === '').length).toBeGreaterThanOrEqual(20);
    expect(held.filter(({ text }) => text.includes('408')).length).toBeGreaterThanOrEqual(10);
    expect(before.socket.destroyed).toBe(false);
    await eventually(alive);
  });
});

describe('too much of everything', () => {
  const get = async (at: string, headers: Record<string, string> = {}) => {
    const request = httpRequest(api.url + at, { headers: { Authorization: `Bearer ${api.admin}`, ...headers } });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };

  test('headers', async () => {
    expect(await get('/v1/campaigns', { 'X-Large': 'x'.repeat(20_000) })).toBe(431);
    expect(await get('/v1/campaigns', Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`x-${n}`, 'y'])))).toBe(431);
    expect(await get('/v1/campaigns', Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`x-${n}`, 'y'])))).toBe(200);
  });

  test('a path, and parameters', async () => {
    expect(await get(`/v1/campaigns/${'1'.repeat(20_000)}`)).toBe(431);
    expect(await get(`/v1/campaigns/${'1'.repeat(10_000)}`)).toBe(404);
    expect(await get(`/${'a/'.repeat(7_000)}`)).toBe(404);
    expect(await get(`/v1/campaigns?${'limit=1&'.repeat(1_500)}`)).toBe(400);
    expect(await get(`/v1/campaigns?${'a[b]'.repeat(2_000)}=1`)).toBe(400);
  });

  const deep = (n: number) => ({ arrays: '['.repeat(n) + ']'.repeat(n), objects: '{"a":'.repeat(n) + '1' + '}'.repeat(n) });
  test('nesting, in every body that is read', async () => {
    for (const route of api.routes.filter(({ body }) => body)) {
      const at = route.path.replace('{number}', '+4722865000').replace('{country}', 'NO').replace(/\{\w+\}/g, campaign.id);
      for (const nested of [...Object.values(deep(100_000)), `{"rules": ${deep(90_000).arrays}, "name": ${deep(90_000).objects}}`]) {
        // With a key, as it makes the body go into hashes.
        const headers = { ...json, 'Idempotency-Key': `deep-${nested.length}` };
        const { status } = await api.call(route.method, at, undefined, { raw: nested, headers });
        expect([400, 404, ...(route.whenLate === 'carried_out' ? [413] : [])], `${route.method} ${at}`).toContain(status);
      }
    }
  });

  test.each(['application/json', 'application/x-ndjson'])('nesting in a list, %s', async (type) => {
    const before = process.memoryUsage().rss;
    for (const raw of [deep(500_000).arrays, `[${deep(180_000).objects}]`, '['.repeat(3_000_000), '{"a":'.repeat(600_000)]) {
      const headers = { 'Content-Type': type };
      const { status } = await api.call('POST', `/v1/campaigns/${campaign.id}/imports?mode=add`, undefined, { raw, headers });
      expect([400, 413]).toContain(status);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(600_000_000);
  });

  test('numbers and names in JSON', async () => {
    const raw = `{"name": "x", "country": "NO", "zone": "Europe/Oslo", "rules": {"max_attempts": 1e${'9'.repeat(1000)}}}`;
    expect((await api.call('POST', '/v1/campaigns', undefined, { raw, headers: json })).status).toBe(400);
    const names = `{${Array.from({ length: 60_000 }, (_, n) => `"k${n}":1`).join(',')}}`;
    const answer = await api.call('POST', '/v1/campaigns', undefined, { raw: names, headers: json });
    expect(answer.status).toBe(400);
    expect(answer.text.length).toBeLessThan(100_000);
  });
});

describe('paths and methods', () => {
  test.each(['/', '/v1', '/v1/', '/v2/campaigns', '/v1/campaign', '/admin', '/.env', '/v1/campaigns/1/2/3', '/v1/campaigns/%2e%2e'])(
    '%s is not there, and says so without a key',
    async (path) => {
      const answer = await api.call('GET', path, undefined, { key: null });
      expect([404, 401]).toContain(answer.status);
      expect(answer.headers.get('Content-Type')).toContain('application/problem+json');
    },
  );

  test('a method that a path does not know', async () => {
    const answer = await api.call('DELETE', `/v1/campaigns/${campaign.id}`);
    expect(answer.status).toBe(405);
    expect(answer.headers.get('Allow')).toBe('GET, PATCH');
    expect(answer.body).toMatchObject({ code: 'METHOD_NOT_ALLOWED', status: 405 });
    expect((await api.call('GET', `/v1/campaigns/${campaign.id}/start`)).headers.get('Allow')).toBe('POST');
    const options = await fetch(`${api.url}/v1/campaigns`, { method: 'OPTIONS' });
    expect(options.status).toBe(204);
    expect(options.headers.get('Allow')).toBe('POST, GET');
    expect((await api.call('TRACEX', '/v1/campaigns').catch(() => ({ status: 400 }))).status).toBeGreaterThanOrEqual(400);
  });

  test('HEAD is answered like GET, without a body and without an end to wait for', async () => {
    for (const path of ['/v1/campaigns', '/v1/call-events/stream', '/v1/call-events?format=csv']) {
      const answer = await fetch(api.url + path, { method: 'HEAD', headers: { Authorization: `Bearer ${api.admin}` } });
      expect(answer.status).toBe(200);
      expect(await answer.text()).toBe('');
    }
  });

  test('a path that can not be decoded', async () => {
    const answer = await api.call('GET', '/v1/contacts/%E0%A4%A');
    expect(answer.status).toBe(400);
  });
});

describe('headers', () => {
  test('are those of a server that gives nothing away', async () => {
    for (const path of ['/v1/campaigns', '/nowhere', '/healthz', '/docs/', '/openapi.json']) {
      const { headers } = await api.call('GET', path);
      expect(headers.get('X-Powered-By')).toBeNull();
      expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
      expect(headers.get('Content-Security-Policy')).toContain("default-src 'none'");
      expect(headers.get('Access-Control-Allow-Origin')).toBeNull();
    }
    expect((await api.call('GET', '/v1/campaigns')).headers.get('Cache-Control')).toBe('no-store');
  });
});

describe('the documentation', () => {
  test('is served whole from here', async () => {
    const page = await api.call('GET', '/docs/', undefined, { key: null });
    expect(page.status).toBe(200);
    expect(page.headers.get('Content-Security-Policy')).toContain("script-src 'self'");
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file!);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      expect(file).toMatch(/^\/docs\//);
      expect((await api.call('GET', file, undefined, { key: null })).status).toBe(200);
    }
    expect(page.text).not.toMatch(/<script>|style=|onload=/);
    const { body } = await api.call('GET', '/openapi.json', undefined, { key: null });
    expect(body.openapi).toMatch(/^3\.1/);
    expect(body.components.securitySchemes.key).toMatchObject({ type: 'http', scheme: 'bearer' });
  });
});

describe('hostile input on every route', () => {
  const ids = ['abc', '0', '-1', '1e3', '99999999999999999999', '%00', "1'--", '../../etc/passwd', '٣', 'null'];
  const bodies = [null, [], 'x', 7, true, {}, { id: {} }, { name: { $gt: '' } }, { '\u0000': 1 }, { __proto__: null }];
  const queries = ['', '?limit=NaN', '?cursor=%00', '?after=%F0%9F%8E%A7', '?q=%27%3B--', '?limit[]=1', '?kind=call&kind=%00', '?constructor=1'];

  test('never fails in the server, and never does anything', async () => {
    const tables = ['campaign', 'contact', 'agent', 'api_key', 'dispositions', 'do_not_call', 'webhook'];
    const state = async () => {
      const answers = await Promise.all(tables.map((table) => api.db.pool.query(`SELECT * FROM ${table} ORDER BY 1`)));
      return answers.map(({ rows }) => rows);
    };
    const before = await state();
    for (const route of api.routes) {
      if (route.path.endsWith('/imports') || route.path === '/readyz') continue;
      const path = (id: string) => route.path.replace(/\{\w+\}/g, () => (route.path.includes('{number}') ? '0' : encodeURIComponent(id)));
      const stream = route.produces?.includes('text/event-stream') === true;
      // A stream that is open has no end to wait for.
      for (const id of route.params ? ids : stream ? [] : ['']) {
        const answer = await api.call(route.method, path(id), route.body ? {} : undefined);
        if (route.params) expect([400, 404, 409, 503], `${route.method} ${path(id)}`).toContain(answer.status);
      }
      for (const body of route.body ? bodies : []) {
        const answer = await api.call(route.method, path('2000000000'), body);
        expect([400, 404], `${route.method} ${route.path} ${JSON.stringify(body)}`).toContain(answer.status);
      }
      for (const query of stream ? ['?after=%00', '?kind=x&after=x'] : queries) {
        const answer = await api.call(route.method, path('2000000000') + query, route.body ? {} : undefined);
        expect(answer.status, `${route.method} ${route.path}${query}`).not.toBe(500);
      }
    }
    expect(await state()).toEqual(before);
  });
});
