import { describe, expect, test } from 'vitest';
import { inTx } from '../../prisma/tx.ts';
import { eventually } from '../kit/eventually.ts';
import { openSse, type Sse, startTestApi } from './api-server.ts';

const api = await startTestApi();

let made = 0;
/** Writes `count` rows in one transaction, one of each kind in turn. */
async function write(count: number): Promise<void> {
  await inTx(api.db, async (tx) => {
    for (let n = 0; n < count; n++, made++) {
      const call_id = '9223372036854775807';
      const ids = { call_id, contact_id: '9223372036854', campaign_id: 1, agent_id: 1 };
      const at = tx.now;
      if (made % 4 === 0) {
        tx.record({
          table: 'call_events',
          row: {
            ...ids,
            call_sequence: made + 1,
            event_type: 'c',
            internal_iq_session_id: 'S2',
            ciq: 'c',
            dte_start: at,
            duration_tot_sec: 3,
            dte_speak_start: null,
            duration_speak_sec: 0,
            setup_ms: 5,
            alert_ms: null,
            source: '+4722865000',
            destination: '+4722865000',
            originating: null,
            service_num: null,
            queue_key: '__Dialer, "quoted"\nnew line',
            result_code: 'b',
            result_response: 486,
            result_reason: null,
            answered: false,
            call_transfer: 0,
            hold: 0,
            consult: 0,
            caller_on_hold_sec: 0,
            leg_type: 'contact',
            dte_scheduled_callback: null,
            request_id: null,
            attempt: 1,
            recording: 'call-1',
          },
        });
      } else if (made % 4 === 1) {
        const row = { agent_id: 1, at, from_state: 'paused', state: 'ready', cause: 'agent', duration_ms: 2 ** 40 } as const;
        tx.record({ table: 'agent_events', row: { ...row, offer_id: null, call_id, result_code: null } });
      } else if (made % 4 === 2) {
        const later = { reschedule_at: null, reschedule_to_agent: null, rules_version: 2 };
        const row = { ...ids, at, action: 'done', topics: ['ø', 'x,y'], comment: 'line\nline', request_id: `r${made}`, ...later };
        tx.record({ table: 'dispositions', row });
      } else {
        tx.record({ table: 'wrap_ups', row: { ...ids, started_at: at, wrap_up_sec: 7, ended_by: 'timer', registered: true } });
      }
    }
  });
}
await write(40);

const read = async (query = '') => (await api.call('GET', `/v1/call-events${query}`)).body;
const positions = (items: { position: string }[]) => items.map(({ position }) => Number(position));
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);

describe('reading on', () => {
  test('gives every row once, in order, whatever the page', async () => {
    const seen: { position: string; kind: string }[] = [];
    let after = '0';
    for (;;) {
      const page = await read(`?after=${after}&limit=7`);
      seen.push(...page.items);
      if (page.items.length === 0) {
        expect(page.next).toBe(after);
        break;
      }
      after = page.next;
    }
    expect(positions(seen)).toEqual(upTo(40));
    expect(seen.slice(0, 4).map(({ kind }) => kind)).toEqual(['call', 'agent', 'disposition', 'wrap_up']);
  });

  test('keeps long ids and durations whole', async () => {
    const { items } = await read('?limit=4');
    expect(items[0]).toMatchObject({ call_id: '9223372036854775807', agent_id: '1', call_transfer: 0, answered: false });
    expect(items[0].dte_start).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(items[1].duration_ms).toBe(2 ** 40);
    expect(items[2]).toMatchObject({ topics: ['ø', 'x,y'], comment: 'line\nline' });
  });

  test('a filter by kinds goes on behind what it leaves out', async () => {
    const page = await read('?kind=wrap_up&limit=3');
    expect(positions(page.items)).toEqual([4, 8, 12]);
    expect(page.next).toBe('12');
    expect(positions((await read('?kind=wrap_up&kind=agent&after=12&limit=3')).items)).toEqual([14, 16, 18]);
    const end = await read('?kind=agent&after=38');
    expect(end).toEqual({ items: [], next: '40' });
  });

  test('while others write, nothing is missed and nothing comes twice', async () => {
    const from = made;
    let writing = true;
    const writers = Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < 25; n++) await write(1 + (n % 3));
      }),
    ).then(() => (writing = false));
    const seen: number[] = [];
    let after = String(from);
    while (writing || seen.length < made - from) {
      const page = await read(`?after=${after}&limit=10`);
      seen.push(...positions(page.items));
      after = page.next;
    }
    await writers;
    expect(seen).toEqual(upTo(made).slice(from));
  });

  test.each(['after=x', 'after=-1', 'after=9223372036854775807', 'limit=0', 'kind=sale', 'format=xml', 'kind='])(
    '?%s is refused',
    async (query) => {
      const answer = await api.call('GET', `/v1/call-events?${query}`);
      expect(answer.status).toBe(400);
      expect(answer.body.issues[0].field).toBe(query.split('=')[0]);
    },
  );
});

describe('text/csv', () => {
  const COLUMNS =
    'position,call_id,call_sequence,event_type,internal_iq_session_id,ciq,dte_start,duration_tot_sec,dte_speak_start,' +
    'duration_speak_sec,setup_ms,alert_ms,source,destination,originating,service_num,queue_key,agent_id,result_code,' +
    'result_response,result_reason,answered,call_transfer,hold,consult,caller_on_hold_sec,leg_type,dte_scheduled_callback,' +
    'request_id,contact_id,campaign_id,attempt,recording';

  test('has the columns of the raw data, in their order, and every row', async () => {
    const answer = await api.call('GET', '/v1/call-events', undefined, { headers: { Accept: 'text/csv' } });
    expect(answer.headers.get('Content-Type')).toBe('text/csv; charset=utf-8');
    const [header, ...rows] = answer.text.split(/\n(?=\d|$)/);
    expect(header).toBe(COLUMNS);
    const calls = (await read('?kind=call&limit=1000')).items;
    expect(rows.filter(Boolean)).toHaveLength(calls.length);
    const first = calls[0];
    expect(rows[0]).toBe(
      `1,9223372036854775807,1,c,S2,c,${first.dte_start},3,,0,5,,+4722865000,+4722865000,,,` +
        `"__Dialer, ""quoted""\nnew line",1,b,486,,false,0,0,0,0,contact,,,9223372036854,1,1,call-1`,
    );
  });

  test('goes on after a position, and stops at a limit', async () => {
    const answer = await api.call('GET', '/v1/call-events?format=csv&after=1&limit=2');
    expect(answer.text.match(/^\d+,/gm)).toEqual(['5,', '9,']);
    expect((await api.call('GET', '/v1/call-events?format=csv&kind=agent')).status).toBe(400);
    const json = await api.call('GET', '/v1/call-events?format=json', undefined, { headers: { Accept: 'text/csv' } });
    expect(json.body.items.length).toBeGreaterThan(0);
  });

  test('streams more than a page', async () => {
    const own = await startTestApi();
    await own.db.pool.query(
      `INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, dte_start,
         duration_tot_sec, duration_speak_sec, answered, contact_id, campaign_id, attempt)
       SELECT n, n, 1, 'i', 'S1', $1, 0, 0, false, 1, 1, 1 FROM generate_series(1, 3456) n`,
      [new Date()],
    );
    await own.db.pool.query(`UPDATE event_position SET last = 3456`);
    const { text } = await own.call('GET', '/v1/call-events?format=csv');
    expect(text.match(/^\d+,/gm)!.map((cell) => parseInt(cell))).toEqual(upTo(3456));
  });
});

describe('stream', () => {
  const open = (query = '', headers: Record<string, string> = {}): Promise<Sse> =>
    openSse(`${api.url}/v1/call-events/stream${query}`, { Authorization: `Bearer ${api.admin}`, ...headers });

  test('catches up from a position, then follows', async () => {
    const sse = await open('?after=0');
    await eventually(() => sse.events.length === made);
    await write(5);
    await eventually(() => sse.events.length === made);
    expect(sse.events.map(({ id }) => Number(id))).toEqual(upTo(made));
    expect(sse.events[0]).toMatchObject({ event: 'call', data: { kind: 'call', position: '1' } });
  });

  test('without a position it begins now', async () => {
    const before = made;
    const sse = await open('?kind=call&kind=agent&kind=disposition&kind=wrap_up');
    await write(3);
    await eventually(() => sse.events.length === 3);
    expect(sse.events.map(({ id }) => Number(id))).toEqual([before + 1, before + 2, before + 3]);
  });

  test('goes on after Last-Event-ID without loss or repeat, while others write and it breaks', async () => {
    const from = made;
    let writing = true;
    const writers = Promise.all([1, 2, 3].map(async () => {
      for (let n = 0; n < 40; n++) await write(1);
    })).then(() => (writing = false));
    const seen: number[] = [];
    while (writing || seen.length < made - from) {
      const sse = await open('', { 'Last-Event-ID': String(seen.at(-1) ?? from) });
      await eventually(() => sse.events.length > 0 || (!writing && seen.length === made - from));
      sse.close();
      await sse.ended;
      seen.push(...sse.events.map(({ id }) => Number(id)));
    }
    await writers;
    expect(seen).toEqual(upTo(made).slice(from));
  });

  test('gives the kinds that are asked for', async () => {
    const sse = await open('?after=0&kind=disposition');
    await eventually(() => sse.events.length > 0);
    expect(new Set(sse.events.map(({ event }) => event))).toEqual(new Set(['disposition']));
  });

  test('a slow reader of much is waited for, and gets it whole', async () => {
    const own = await startTestApi();
    await own.db.pool.query(
      `INSERT INTO dispositions (position, call_id, agent_id, contact_id, campaign_id, at, action, topics, comment, request_id)
       SELECT n, n, 1, 1, 1, $1, 'done', '{}', repeat('x', 4000), n FROM generate_series(1, 4000) n`,
      [new Date()],
    );
    await own.db.pool.query(`UPDATE event_position SET last = 4000`);
    const sse = await openSse(`${own.url}/v1/call-events/stream?after=0`, { Authorization: `Bearer ${own.admin}` });
    await eventually(() => sse.events.length === 4000, { withinMs: 20_000 });
    expect(sse.events.map(({ id }) => Number(id))).toEqual(upTo(4000));
  });

  test.each(['?after=x', '?after=9000000000000000000'])('%s is refused', async (query) => {
    expect((await api.call('GET', `/v1/call-events/stream${query}`)).status).toBe(400);
  });
});
