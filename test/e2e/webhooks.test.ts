/** Delivering to webhooks, by the workers' own code on a real database, to receivers of the test's own over HTTP. */
import { pino } from 'pino';
import type { Pool } from 'pg';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { eventsMessage, testMessage } from '../../api/schemas/webhooks.ts';
import { createPool } from '../../prisma/client.ts';
import { createAddresses } from '../../webhooks/addresses.ts';
import { createDeliveries, type Deliveries } from '../../webhooks/deliveries.ts';
import { begin } from '../../webhooks/sql.ts';
import { writeEvents, writeMany } from '../kit/events.ts';
import { eventually } from '../kit/eventually.ts';
import { startReceiver } from '../kit/receiver.ts';
import { type Api, type Json, makeCampaign, startTestApi } from './api-server.ts';

const LOOPBACK = createAddresses(['127.0.0.0/8', '::1']);
const DAY_SEC = 86_400;

/** What the product has logged. */
let logged = '';
const log = pino({ level: 'trace' }, { write: (line: string) => void (logged += line) });

/** An API with a clock that runs, and can be set on. */
async function start() {
  const api = await startTestApi({ addresses: LOOPBACK });
  let aheadMs = 0;
  api.db.clock = { now: () => new Date(Date.now() + aheadMs) };
  return { api, pass: (seconds: number) => void (aheadMs += seconds * 1000) };
}

interface Worker extends Deliveries {
  /** Statements whose names are here fail. */
  failing: Set<string>;
}

/** A worker as far as webhooks go, with its own connections; it looks when the test tells it to. */
function worker(api: Api, holder: string, addresses = LOOPBACK): Worker {
  const pool = createPool((api.db.pool.options as { connectionString: string }).connectionString, { max: 3 });
  const failing = new Set<string>();
  type Ask = (statement: { name?: string }) => Promise<never>;
  const unlessFailing = (ask: Ask): Ask => (statement) =>
    failing.has(statement.name ?? '') ? Promise.reject(new Error('the database is away')) : ask(statement);
  const broken = {
    query: unlessFailing(pool.query.bind(pool)),
    async connect() {
      const client = await pool.connect();
      return { query: unlessFailing(client.query.bind(client)), release: client.release.bind(client) };
    },
  } as unknown as Pool;
  const deliveries = createDeliveries({ pool: broken, clock: api.db.clock, addresses, holder, log });
  onTestFinished(async () => {
    await deliveries.stop();
    await pool.end();
  });
  return { ...deliveries, failing };
}

/** Workers look again and again until something is so. */
async function until(condition: () => unknown, ...workers: Worker[]): Promise<void> {
  await eventually(async () => {
    for (const each of workers) await each.look();
    return condition();
  });
}

const make = async (api: Api, url: string, more: object = {}): Promise<Json> =>
  (await api.call('POST', '/v1/webhooks', { url, position: '0', ...more })).body;
const show = async (api: Api, { id }: Json): Promise<Json> => (await api.call('GET', `/v1/webhooks/${id}`)).body;
const tell = async (api: Api, { id }: Json, what: string, body?: object): Promise<Json> =>
  (await api.call('POST', `/v1/webhooks/${id}/${what}`, body)).body;
const attempts = async (api: Api, { id }: Json): Promise<Json[]> =>
  (await api.call('GET', `/v1/webhooks/${id}/deliveries?limit=1000`)).body.items;
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);
const ALL = ['call', 'agent', 'disposition', 'wrap_up'] as const;

describe('what is posted', () => {
  test('is every row as the API gives it, once, in order, in signed batches', async () => {
    const { api } = await start();
    for (let n = 0; n < 25; n++) await writeEvents(api.db, [...ALL, 'call', 'call', 'agent', 'call', 'call', 'wrap_up']);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    await until(() => receiver.messages.length === 3, worker(api, 'a'));
    await eventually(async () => (await show(api, webhook)).behind === 0);

    const items = receiver.messages.flatMap(({ body }) => body.data.items);
    expect(items).toEqual((await api.call('GET', '/v1/call-events?limit=1000')).body.items);
    expect(receiver.positions()).toEqual(upTo(250));
    expect(receiver.messages.map(({ body: { data } }) => [data.after, data.next, data.items.length])).toEqual([
      ['0', '100', 100],
      ['100', '200', 100],
      ['200', '250', 50],
    ]);
    for (const message of receiver.messages) {
      eventsMessage.parse(message.body);
      expect(message.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Dialwright' });
      expect(receiver.isSignedWith(webhook.secret, message)).toBe(true);
      expect(receiver.isSignedWith('whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', message)).toBe(false);
      expect(receiver.isSignedWith(webhook.secret, { ...message, text: message.text.replace('"after"', '"After"') })).toBe(false);
    }
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(3);
    expect(receiver.connections).toBe(1);
    const log = await attempts(api, webhook);
    expect(log.map(({ first_position, last_position, events, attempt, delivered, status, error }) => [
      ...[first_position, last_position, events, attempt, delivered, status, error],
    ])).toEqual([
      ['201', '250', 50, 1, true, 204, null],
      ['101', '200', 100, 1, true, 204, null],
      ['1', '100', 100, 1, true, 204, null],
    ]);
    expect(log.map(({ delivery_id }) => delivery_id).reverse()).toEqual(receiver.messages.map(({ id }) => id));
  });

  test('goes on with what comes, from now on where no position is given', async () => {
    const { api } = await start();
    await writeEvents(api.db, ALL);
    const receiver = await startReceiver();
    await make(api, receiver.url, { position: undefined });
    const a = worker(api, 'a');
    for (const last of [5, 6, 7]) {
      await writeEvents(api.db, ['call']);
      await until(() => receiver.positions().at(-1) === last, a);
    }
    expect(receiver.positions()).toEqual([5, 6, 7]);
  });

  test('is exactly what the filter asks for', async () => {
    const { api } = await start();
    const [one, two, three] = [await makeCampaign(api), await makeCampaign(api), await makeCampaign(api)];
    for (const { id } of [one, two, three, one]) await writeEvents(api.db, ALL, Number(id));
    const wanted = {
      dispositions: { kinds: ['disposition'] },
      two: { campaign_ids: [two.id] },
      'calls and wrap-ups of one and three': { kinds: ['call', 'wrap_up'], campaign_ids: [three.id, one.id] },
    };
    const expected = {
      dispositions: [3, 7, 11, 15],
      two: [5, 7, 8],
      'calls and wrap-ups of one and three': [1, 4, 9, 12, 13, 16],
    };
    const found: Record<string, number[]> = {};
    const a = worker(api, 'a');
    for (const [name, filter] of Object.entries(wanted)) {
      const receiver = await startReceiver();
      const webhook = await make(api, receiver.url, filter);
      await until(async () => (await show(api, webhook)).behind === 0, a);
      found[name] = receiver.positions();
    }
    expect(found).toEqual(expected);
  });

  test('is found among many rows that are not asked for', async () => {
    const { api } = await start();
    const [one, two] = [await makeCampaign(api), await makeCampaign(api)];
    await writeMany(api.db, 12_000, Number(one.id));
    await writeEvents(api.db, ['call'], Number(two.id));
    await writeMany(api.db, 7_000, Number(one.id));
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url, { campaign_ids: [two.id] });
    await until(async () => (await show(api, webhook)).behind === 0, worker(api, 'a'));
    expect(receiver.positions()).toEqual([12_001]);
    expect((await show(api, webhook)).position).toBe('19001');
    expect(receiver.messages[0]!.body.data).toMatchObject({ after: '10000', next: '15000' });
  });

  test('has 256 kB at most, but one row at least', async () => {
    const { api } = await start();
    await writeEvents(api.db, Array(8).fill('disposition'));
    await api.db.pool.query(`UPDATE dispositions SET comment = repeat('ø', 50000) WHERE position <> 5`);
    await api.db.pool.query(`UPDATE dispositions SET comment = repeat('ø', 200000) WHERE position = 5`);
    const receiver = await startReceiver();
    await make(api, receiver.url);
    await until(() => receiver.positions().length === 8, worker(api, 'a'));
    expect(receiver.messages.map(({ body }) => body.data.items.length)).toEqual([2, 2, 1, 2, 1]);
    expect(receiver.positions()).toEqual(upTo(8));
  });
});

describe('a receiver that fails', () => {
  test('gets the same again, with the same id, until it takes it; then what comes after', async () => {
    const { api, pass } = await start();
    await writeMany(api.db, 150);
    const receiver = await startReceiver();
    const answers = [500, 404, 302];
    receiver.answer = () => answers.shift() ?? 200;
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    for (let n = 1; n <= 3; n++) {
      await until(async () => (await attempts(api, webhook)).length === n, a);
      const { failing_since, last_error, next_attempt_at, position, state } = await show(api, webhook);
      expect({ last_error, position, state }).toEqual({ last_error: ['500', '404', '302'][n - 1], position: '0', state: 'active' });
      expect(new Date(next_attempt_at).getTime()).toBeGreaterThan(new Date(failing_since).getTime());
      // Not before its time, however often somebody looks.
      for (let looks = 0; looks < 3; looks++) await a.look();
      expect(receiver.messages).toHaveLength(n);
      pass(5);
    }
    await until(async () => (await show(api, webhook)).behind === 0, a);
    const [first, ...others] = receiver.messages;
    expect(others.map(({ id }) => id === first!.id)).toEqual([true, true, true, false]);
    expect(others.map(({ text }) => text === first!.text)).toEqual([true, true, true, false]);
    expect((await attempts(api, webhook)).map(({ attempt, status }) => [attempt, status]).reverse()).toEqual([
      [1, 500],
      [2, 404],
      [3, 302],
      [4, 200],
      [1, 200],
    ]);
    expect(await show(api, webhook)).toMatchObject({ failing_since: null, last_error: null, next_attempt_at: null, position: '150' });
  });

  test('that asks for time gets it', async () => {
    const { api, pass } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    receiver.answer = () => (res) => void res.writeHead(503, { 'Retry-After': '120' }).end('later');
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(async () => (await attempts(api, webhook)).length === 1, a);
    const { failing_since, next_attempt_at } = await show(api, webhook);
    expect(new Date(next_attempt_at).getTime() - new Date(failing_since).getTime()).toBeGreaterThanOrEqual(120_000);
    pass(100);
    await a.look();
    expect(receiver.messages).toHaveLength(1);
    pass(25);
    await until(() => receiver.messages.length === 2, a);
  });

  test('for a day is given up with the reason, and goes on from its position when it is resumed', async () => {
    const { api, pass } = await start();
    await writeMany(api.db, 120);
    const receiver = await startReceiver();
    receiver.answer = () => 500;
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    let n = 0;
    const attempt = () => until(async () => (await attempts(api, webhook)).length > n && (n = (await attempts(api, webhook)).length), a);
    await attempt();
    pass(DAY_SEC / 2);
    await attempt();
    expect(await show(api, webhook)).toMatchObject({ state: 'active', last_error: '500' });
    pass(DAY_SEC / 2);
    await attempt();
    const paused = await show(api, webhook);
    expect(paused).toMatchObject({ state: 'paused', paused_reason: 'failing', last_error: '500', position: '0', next_attempt_at: null });
    pass(DAY_SEC);
    await writeMany(api.db, 30);
    for (let looks = 0; looks < 3; looks++) await a.look();
    expect(receiver.messages).toHaveLength(3);

    receiver.answer = () => 200;
    expect(await tell(api, webhook, 'resume')).toMatchObject({ state: 'active', paused_reason: null, paused_at: null });
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.positions().slice(-150)).toEqual(upTo(150));
    expect(receiver.messages[3]!.id).toBe(receiver.messages[0]!.id);
    expect(logged).toContain('"reason":"failing","msg":"a webhook is paused');
  });

  test('after it was resumed has a day again', async () => {
    const { api, pass } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    receiver.answer = () => 500;
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(() => receiver.messages.length === 1, a);
    pass(DAY_SEC + 1);
    await until(async () => (await show(api, webhook)).state === 'paused', a);
    await tell(api, webhook, 'resume');
    await until(async () => (await attempts(api, webhook)).length === 3, a);
    expect(await show(api, webhook)).toMatchObject({ state: 'active', last_error: '500' });
  });

  test('and says that it is gone is posted nothing more', async () => {
    const { api, pass } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    receiver.answer = () => 410;
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(async () => (await show(api, webhook)).state === 'paused', a);
    pass(DAY_SEC);
    await a.look();
    expect(receiver.messages).toHaveLength(1);
    expect(await show(api, webhook)).toMatchObject({ paused_reason: 'gone', last_error: '410', position: '0' });
  });

  test('or is slow holds up nobody else', async () => {
    const { api } = await start();
    await writeMany(api.db, 250);
    const [silent, failing, well] = [await startReceiver(), await startReceiver(), await startReceiver()];
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    silent.answer = () => released.then(() => 200);
    failing.answer = () => 500;
    const waits = await make(api, silent.url);
    await make(api, failing.url);
    await make(api, well.url);
    const a = worker(api, 'a');
    await until(() => well.positions().length === 250, a);
    expect(silent.positions()).toEqual(upTo(100));
    expect(await attempts(api, waits)).toEqual([]);
    release();
    await until(() => silent.positions().length === 250, a);
    expect(silent.positions()).toEqual(upTo(250));
    expect(silent.mostAtOnce).toBe(1);
  });

  test('is on record with what was wrong, and no log has its address or what was posted', async () => {
    const { api } = await start();
    await writeEvents(api.db, ALL);
    const plain = await startReceiver();
    const gone = await startReceiver({ tls: true });
    const hangsUp = await startReceiver();
    hangsUp.answer = () => (res) => res.destroy();
    const babbles = await startReceiver();
    babbles.answer = () => (res) => void res.socket!.end('HTTP/1.1 two hundred\r\n\r\n');
    const upgrades = await startReceiver();
    upgrades.answer = () => (res) => void res.socket!.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
    const expected = {
      [plain.url.replace('http:', 'https:')]: 'tls',
      [gone.url]: 'tls',
      [hangsUp.url]: 'broke_off',
      [babbles.url]: 'bad_answer',
      [upgrades.url]: 'broke_off',
      'http://localhost:1/hook': 'not_connected',
      'https://no-such-host.invalid/hook': 'name_not_found',
    };
    const webhooks = await Promise.all(Object.keys(expected).map((url) => make(api, url)));
    logged = '';
    const a = worker(api, 'a');
    for (const webhook of webhooks) await until(async () => (await attempts(api, webhook)).length > 0, a);
    const found = await Promise.all(webhooks.map(async (webhook) => [webhook.url, (await attempts(api, webhook)).at(-1)!.error]));
    expect(Object.fromEntries(found)).toEqual(expected);
    expect((await show(api, webhooks[0])).last_error).toBe('tls');
    expect(logged).not.toMatch(/localhost|no-such-host|127\.0\.0\.1|22865000|Ola said/);
  });
});

describe('what must not be reached', () => {
  const PUBLIC_ONLY = createAddresses([]);

  test('is not reached by a name that leads there, be it that it led elsewhere before', async () => {
    const { api, pass } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url.replace('http:', 'https:'));
    const { port } = new URL(receiver.url);
    const rebound = await make(api, `https://receiver.example:${port}/`);
    let asked = 0;
    /** Public at first, ours when it is asked again. */
    const resolve = ((host: string, options: object, callback: (...found: unknown[]) => void) => {
      asked++;
      callback(null, [{ address: asked === 1 ? '192.0.0.8' : '127.0.0.1', family: 4 }]);
    }) as never;
    const strict = worker(api, 'a', PUBLIC_ONLY);
    await until(async () => (await attempts(api, webhook)).length === 1, strict);
    expect((await attempts(api, webhook))[0]).toMatchObject({ status: null, error: 'address_not_allowed', delivered: false });
    const fooled = worker(api, 'b', createAddresses([], resolve));
    pass(60);
    for (const n of [2, 3]) {
      await until(async () => (await attempts(api, rebound)).length >= n, fooled);
      pass(600);
    }
    const errors = (await attempts(api, rebound)).map(({ error }) => error as string);
    expect(new Set(errors.slice(0, 2))).toEqual(new Set(['address_not_allowed']));
    expect(receiver.connections).toBe(0);
  });

  test('is not reached by a redirect', async () => {
    const { api } = await start();
    await writeEvents(api.db, ['call']);
    const [other, receiver] = [await startReceiver(), await startReceiver()];
    receiver.answer = () => (res) => void res.writeHead(307, { Location: other.url }).end();
    const webhook = await make(api, receiver.url);
    await until(async () => (await attempts(api, webhook)).length === 1, worker(api, 'a'));
    expect((await attempts(api, webhook))[0]).toMatchObject({ status: 307, delivered: false });
    expect(other.connections).toBe(0);
  });
});

describe('several workers', () => {
  test('never deliver the same thing at once, and nothing twice', async () => {
    const { api } = await start();
    await writeMany(api.db, 3_000);
    const receivers = [await startReceiver(), await startReceiver(), await startReceiver()];
    const webhooks: Json[] = [];
    for (const { url } of receivers) webhooks.push(await make(api, url));
    const workers = ['a', 'b', 'c'].map((holder) => worker(api, holder));
    const allDone = async () => (await Promise.all(webhooks.map((webhook) => show(api, webhook)))).every(({ behind }) => behind === 0);
    await eventually(
      async () => {
        await Promise.all(workers.map((each) => each.look()));
        return allDone();
      },
      { withinMs: 30_000, everyMs: 5 },
    );
    for (const receiver of receivers) {
      expect(receiver.positions()).toEqual(upTo(3_000));
      expect(receiver.mostAtOnce).toBe(1);
    }
  });

  test('leave a webhook to who delivers, and take it over with the same delivery once that is dead', async () => {
    const { api, pass } = await start();
    await writeMany(api.db, 150);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const [a, b] = [worker(api, 'a'), worker(api, 'b')];
    // Sent, answered, and dead before that is written.
    a.failing.add('webhooks_delivered').add('webhooks_release');
    await a.look();
    await eventually(() => receiver.messages.length === 1);
    for (let looks = 0; looks < 3; looks++) await b.look();
    expect(receiver.messages).toHaveLength(1);
    expect(await show(api, webhook)).toMatchObject({ position: '0', behind: 150 });
    pass(21);
    await until(async () => (await show(api, webhook)).behind === 0, b);
    const [first, again, next] = receiver.messages;
    expect([again!.id, again!.text]).toEqual([first!.id, first!.text]);
    expect(next!.id).not.toBe(first!.id);
    expect(receiver.positions()).toEqual([...upTo(100), ...upTo(150)]);
    expect((await attempts(api, webhook)).map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test('a worker that is back takes its own at once', async () => {
    const { api } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    a.failing.add('webhooks_delivered').add('webhooks_release');
    await until(() => receiver.messages.length === 1, a);
    await until(async () => (await show(api, webhook)).behind === 0, worker(api, 'a'));
    expect(receiver.messages[1]!.id).toBe(receiver.messages[0]!.id);
  });

  test('one that wakes up after its lease has gone changes nothing and sends nothing', async () => {
    const { api, pass } = await start();
    await writeMany(api.db, 150);
    const receiver = await startReceiver();
    let release = (): void => undefined;
    const frozen = new Promise<void>((resolve) => (release = resolve));
    receiver.answer = () => (receiver.messages.length === 1 ? frozen.then(() => 200) : 200);
    const webhook = await make(api, receiver.url);
    const [a, b] = [worker(api, 'a'), worker(api, 'b')];
    await until(() => receiver.messages.length === 1, a);
    pass(21);
    await until(async () => (await show(api, webhook)).behind === 0, b);
    release();
    await until(async () => (await attempts(api, webhook)).length === 3, a);
    await writeMany(api.db, 10);
    await until(async () => (await show(api, webhook)).behind === 0, a, b);
    expect(receiver.positions()).toEqual([...upTo(100), ...upTo(160)]);
    expect(await show(api, webhook)).toMatchObject({ position: '160', last_error: null });
  });

  test('one that stops breaks off what takes too long, and another goes on at once', async () => {
    const { api } = await start();
    await writeMany(api.db, 150);
    const receiver = await startReceiver();
    receiver.answer = () => (receiver.messages.length === 1 ? new Promise<never>(() => undefined) : 200);
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(() => receiver.messages.length === 1, a);
    await a.stop();
    await until(async () => (await show(api, webhook)).behind === 0, worker(api, 'b'));
    expect(receiver.messages[1]!.id).toBe(receiver.messages[0]!.id);
    expect(await attempts(api, webhook)).toHaveLength(2);
  });

  test('a database that is away for a moment holds nothing up for good', async () => {
    const { api } = await start();
    await writeMany(api.db, 150);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    for (const name of ['webhooks_begin', 'webhooks_delivered', 'webhooks_release', 'last_position', 'events_of_call_events']) {
      a.failing.add(name);
      for (let looks = 0; looks < 3; looks++) await a.look();
      a.failing.clear();
      await writeMany(api.db, 10);
    }
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect([...new Set(receiver.positions())]).toEqual(upTo(200));
  });
});

describe('control', () => {
  test('a pause holds everything until it is resumed, and what was to be repeated keeps its id', async () => {
    const { api } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    receiver.answer = () => 500;
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(async () => (await attempts(api, webhook)).length === 1, a);
    expect(await tell(api, webhook, 'pause')).toMatchObject({ state: 'paused', paused_reason: 'manual' });
    const { paused_at } = await show(api, webhook);
    expect((await tell(api, webhook, 'pause')).paused_at).toBe(paused_at);
    await writeEvents(api.db, ALL);
    for (let looks = 0; looks < 3; looks++) await a.look();
    expect(receiver.messages).toHaveLength(1);
    receiver.answer = () => 200;
    await tell(api, webhook, 'resume');
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.messages[1]!.id).toBe(receiver.messages[0]!.id);
    expect(receiver.positions()).toEqual([1, 1, 2, 3, 4, 5]);
  });

  test('a pause in the middle of many lets the batch under way finish', async () => {
    const { api } = await start();
    await writeMany(api.db, 2_000);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    receiver.answer = async () => {
      if (receiver.messages.length === 3) await tell(api, webhook, 'pause');
      return 200;
    };
    const a = worker(api, 'a');
    await until(async () => (await show(api, webhook)).position === '300', a);
    for (let looks = 0; looks < 3; looks++) await a.look();
    expect(receiver.positions()).toEqual(upTo(300));
  });

  test('replay goes back, in new deliveries, also in the middle of one', async () => {
    const { api } = await start();
    await writeMany(api.db, 250);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(await tell(api, webhook, 'replay', { position: '120' })).toMatchObject({ position: '120', behind: 130 });
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.positions().slice(250)).toEqual(upTo(250).slice(120));
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(5);

    const before = receiver.messages.length;
    receiver.answer = async () => {
      if (receiver.messages.length === before + 1) await tell(api, webhook, 'replay', { position: '240' });
      return 200;
    };
    await tell(api, webhook, 'replay', { position: '0' });
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.positions().slice(380)).toEqual([...upTo(100), ...upTo(250).slice(240)]);
    expect((await attempts(api, webhook)).length).toBe(receiver.messages.length);
  });

  test('replay ahead passes over what is never taken', async () => {
    const { api } = await start();
    await writeMany(api.db, 130);
    const receiver = await startReceiver();
    receiver.answer = ({ body }) => (body.data.after === '0' ? 422 : 200);
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    await until(async () => (await attempts(api, webhook)).length === 1, a);
    await tell(api, webhook, 'replay', { position: '100' });
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.positions().slice(100)).toEqual(upTo(130).slice(100));
    expect((await api.call('POST', `/v1/webhooks/${webhook.id}/replay`, { position: '131' })).body.issues).toEqual([
      { field: 'position', reason: 'is ahead of the last position, which is 130' },
    ]);
  });

  test('after a rotation both secrets sign for a day, then the new one alone', async () => {
    const { api, pass } = await start();
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    const next = async () => {
      await writeEvents(api.db, ['call']);
      const count = receiver.messages.length;
      await until(() => receiver.messages.length > count, a);
      return receiver.messages.at(-1)!;
    };
    const signers = async (...secrets: string[]) => {
      const message = await next();
      // A receiver has the same clock.
      const seconds = Number(message.headers['webhook-timestamp']);
      vi.useFakeTimers({ now: seconds * 1000, toFake: ['Date'] });
      const found = secrets.map((secret) => receiver.isSignedWith(secret, message));
      vi.useRealTimers();
      expect(String(message.headers['webhook-signature']).split(' ')).toHaveLength(found.filter(Boolean).length);
      return found;
    };
    const second = await tell(api, webhook, 'rotate-secret', {});
    expect(second.secret).not.toBe(webhook.secret);
    expect(second.old_secrets_until).not.toBeNull();
    expect(await signers(webhook.secret, second.secret)).toEqual([true, true]);
    // Asked twice, nobody is left without a secret that is good.
    const third = await tell(api, webhook, 'rotate-secret', {});
    expect(await signers(webhook.secret, second.secret, third.secret)).toEqual([true, true, true]);
    pass(DAY_SEC + 1);
    expect(await signers(webhook.secret, second.secret, third.secret)).toEqual([false, false, true]);
    expect((await show(api, webhook)).old_secrets_until).toBeNull();
    // What has become known must not sign any longer.
    const fourth = await tell(api, webhook, 'rotate-secret', { old_valid_sec: 60 });
    const fifth = await tell(api, webhook, 'rotate-secret', { old_valid_sec: 0 });
    expect(await signers(third.secret, fourth.secret, fifth.secret)).toEqual([false, false, true]);
    for (let n = 0; n < 8; n++) await tell(api, webhook, 'rotate-secret', {});
    expect(String((await next()).headers['webhook-signature']).split(' ')).toHaveLength(6);
  });

  test('a test is posted once, signed, also while the webhook is paused, and moves nothing', async () => {
    const { api, pass } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    await tell(api, webhook, 'pause');
    const { delivery_id } = await tell(api, webhook, 'test');
    expect((await tell(api, webhook, 'test')).delivery_id).toBe(delivery_id);
    const a = worker(api, 'a');
    await until(async () => (await attempts(api, webhook)).length === 1, a);
    const [message] = receiver.messages;
    testMessage.parse(message!.body);
    expect(message!.id).toBe(delivery_id);
    expect(receiver.isSignedWith(webhook.secret, message!)).toBe(true);
    expect((await attempts(api, webhook))[0]).toMatchObject({ delivery_id, type: 'test', events: 0, first_position: null, status: 204 });

    receiver.answer = () => 500;
    expect((await tell(api, webhook, 'test')).delivery_id).not.toBe(delivery_id);
    await until(async () => (await attempts(api, webhook)).length === 2, a);
    pass(3_600);
    for (let looks = 0; looks < 3; looks++) await a.look();
    expect(receiver.messages).toHaveLength(2);
    expect(await show(api, webhook)).toMatchObject({ position: '0', state: 'paused', paused_reason: 'manual', last_error: null });
  });

  test('another filter holds from the position on; another URL gets what was being repeated', async () => {
    const { api } = await start();
    await writeEvents(api.db, [...ALL, ...ALL]);
    const [old, other] = [await startReceiver(), await startReceiver()];
    old.answer = () => 500;
    const webhook = await make(api, old.url);
    const a = worker(api, 'a');
    await until(async () => (await attempts(api, webhook)).length === 1, a);
    await api.call('PATCH', `/v1/webhooks/${webhook.id}`, { url: other.url });
    other.answer = () => 500;
    await until(async () => (await attempts(api, webhook)).length === 2, a);
    expect(other.messages[0]!.id).toBe(old.messages[0]!.id);
    other.answer = () => 200;
    await api.call('PATCH', `/v1/webhooks/${webhook.id}`, { kinds: ['wrap_up', 'call'] });
    await tell(api, webhook, 'resume');
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(other.positions().slice(8)).toEqual([1, 4, 5, 8]);
    expect(other.messages[1]!.id).not.toBe(other.messages[0]!.id);
  });

  test('what is changed between reading and sending is not sent as it was', async () => {
    const { api } = await start();
    await writeEvents(api.db, [...ALL, ...ALL]);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    // The change comes just before the batch is written down.
    const { rows } = await api.db.pool.query(`SELECT * FROM webhook WHERE id = $1`, [webhook.id]);
    await api.call('PATCH', `/v1/webhooks/${webhook.id}`, { kinds: ['call'] });
    const now = new Date();
    await api.db.pool.query(`UPDATE webhook SET holder = 'a', lease_until = $2 WHERE id = $1`, [webhook.id, now]);
    expect((await api.db.pool.query(begin(rows[0], 'a', now, now, { id: 'msg_x', next: '8' }))).rowCount).toBe(0);
    await until(async () => (await show(api, webhook)).behind === 0, a);
    expect(receiver.positions()).toEqual([1, 5]);
  });

  test('one that is deleted in the middle is posted nothing more, and harms nobody', async () => {
    const { api } = await start();
    await writeMany(api.db, 500);
    const receiver = await startReceiver();
    const webhook = await make(api, receiver.url);
    receiver.answer = async () => {
      if (receiver.messages.length === 2) await api.call('DELETE', `/v1/webhooks/${webhook.id}`);
      return 200;
    };
    const a = worker(api, 'a');
    await until(async () => (await api.call('GET', `/v1/webhooks/${webhook.id}`)).status === 404, a);
    for (let looks = 0; looks < 3; looks++) await a.look();
    expect(receiver.messages).toHaveLength(2);
    expect((await api.db.pool.query(`SELECT 1 FROM webhook_delivery`)).rowCount).toBe(0);
  });

  test('the log keeps the latest 1,000 attempts of each webhook, for 30 days', async () => {
    const { api, pass } = await start();
    const [one, two] = [await make(api, 'http://localhost:1/'), await make(api, 'http://localhost:2/')];
    const write = (id: string, count: number) =>
      api.db.pool.query(
        `INSERT INTO webhook_delivery (webhook_id, delivery_id, type, attempt, events, at, duration_ms, status)
         SELECT $1, 'msg_' || n, 'events', 1, 1, $3, 1, 200 FROM generate_series(1, $2::int) n`,
        [id, count, api.db.clock.now()],
      );
    await write(one.id, 1_500);
    await write(two.id, 20);
    const a = worker(api, 'a');
    await a.cutLogs();
    const kept = await attempts(api, one);
    expect(kept.map(({ delivery_id }) => delivery_id)).toEqual(upTo(1_500).slice(500).reverse().map((n) => `msg_${n}`));
    expect(await attempts(api, two)).toHaveLength(20);
    pass(29 * DAY_SEC);
    await write(two.id, 3);
    pass(DAY_SEC + 60);
    await a.cutLogs();
    expect([(await attempts(api, one)).length, (await attempts(api, two)).length]).toEqual([0, 3]);
  });
});

describe('an answer', () => {
  test('that never ends counts by its status, and is not read', async () => {
    const { api } = await start();
    await writeEvents(api.db, ['call']);
    const receiver = await startReceiver();
    let written = 0;
    receiver.answer = () => (res) => {
      res.writeHead(200);
      const more = (): void => {
        while (!res.destroyed && written < 50_000_000 && res.write(Buffer.alloc(16_384))) written += 16_384;
        if (!res.destroyed) res.once('drain', more);
      };
      more();
    };
    const webhook = await make(api, receiver.url);
    await until(async () => (await show(api, webhook)).behind === 0, worker(api, 'a'));
    expect(written).toBeLessThan(20_000_000);
  });

  test('to a connection that was kept and has just been closed is asked for again at once', async () => {
    const { api } = await start();
    const receiver = await startReceiver();
    // Closed by the other side as soon as it is used for the second time.
    const sockets = new Set<unknown>();
    receiver.answer = () => (res) => {
      if (sockets.has(res.socket)) return void res.socket!.destroy();
      sockets.add(res.socket);
      res.writeHead(200).end();
    };
    const webhook = await make(api, receiver.url);
    const a = worker(api, 'a');
    for (const last of [1, 2, 3]) {
      await writeEvents(api.db, ['call']);
      await until(async () => (await show(api, webhook)).position === String(last), a);
    }
    expect((await attempts(api, webhook)).map(({ status }) => status)).toEqual([200, 200, 200]);
  });
});
