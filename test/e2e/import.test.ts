import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { importRoutes } from '../../api/imports/routes.ts';
import { sessionId } from '../../domain/ids.ts';
import { CONTACT_STATES } from '../../domain/states.ts';
import { lockQueue } from '../../matching/sql.ts';
import { eventually } from '../kit/eventually.ts';
import { type Answer, type Api, type Json, makeCampaign, startTestApi } from './api-server.ts';

let api: Api;
let pool: Pool;
/** Id of this test's campaign, in Norway; it may call Sweden too. */
let id: string;

beforeAll(async () => {
  api = await startTestApi();
  ({ pool } = api.db);
});
beforeEach(async () => {
  id = (await makeCampaign(api, { rules: { countries: ['NO', 'SE'] } })).id;
  api.workflows.campaigns.length = 0;
});
afterEach(() => eventually(() => pool.idleCount === pool.totalCount)); // every connection is back in the pool

const path = (query = '', campaign = id) => `/v1/campaigns/${campaign}/imports${query}`;

const load = (file: string, query = '', type = 'text/csv'): Promise<Answer> =>
  api.call('POST', path(query), undefined, { raw: file, headers: { 'Content-Type': type } });

/** Imports a file that must be good. */
async function loaded(file: string, query = '', type?: string): Promise<Json> {
  const { status, body } = await load(file, query, type);
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

/** Valid Norwegian mobile numbers, in order. */
const mobile = (n: number) => `+47${40_000_000 + n}`;
const csv = (...rows: string[]) => `${rows.join('\n')}\n`;

/** Resolves when a connection to this database is in such a state. */
const sessions = (condition: string) =>
  eventually(async () => {
    const here = `datname = current_database() AND ${condition}`;
    return (await pool.query(`SELECT FROM pg_stat_activity WHERE ${here}`)).rowCount;
  });

const contacts = async (columns = '*'): Promise<Json[]> =>
  (await pool.query<Json>(`SELECT ${columns} FROM contact WHERE campaign_id = $1 ORDER BY id`, [id])).rows;
const campaign = async (): Promise<Json> => (await pool.query<Json>(`SELECT * FROM campaign WHERE id = $1`, [id])).rows[0];

async function setContact(key: string, values: Record<string, unknown>): Promise<string> {
  const names = Object.keys(values);
  const set = names.map((name, i) => `${name} = $${i + 3}`).join(', ');
  const { rows } = await pool.query<{ id: string }>(
    `UPDATE contact SET ${set} WHERE campaign_id = $1 AND list_key = $2 RETURNING id`,
    [id, key, ...Object.values(values)],
  );
  return rows[0]!.id;
}

/** Puts a contact into the queue as matching does; returns the id of its call. */
async function queue(key: string, queuedAt: Date): Promise<string> {
  const contactId = await setContact(key, { state: 'queued', call_no: 1 });
  const callId = `${contactId}000001`;
  await setContact(key, { call_id: callId });
  await pool.query(
    `INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at)
     SELECT call_id, id, campaign_id, 1, attempts + 1, phone_num, $2 FROM contact WHERE id = $1`,
    [contactId, queuedAt],
  );
  return callId;
}

describe('a new list', () => {
  it('is in the list as it stands in the file, in its order', async () => {
    const file = csv(
      'external_id;phone;phone_2;timezone;priority;var1;var2',
      'C-2;400 00 002;+46 8 505 78 000;Europe/Oslo;5;Åse;"a;b ""c""\nd\\e\t"',
      'C-1;+4740000001;;;;Bø;',
      ';40000003;;;-5;;',
    );
    expect(await loaded(file)).toEqual({
      dry_run: false,
      mode: 'add',
      rows: 3,
      added: 3,
      updated: 0,
      unchanged: 0,
      disabled: 0,
      skipped: 0,
      closed: 0,
      do_not_call: 0,
      problems: [],
    });
    const rows = await contacts();
    const columns = ['list_key', 'external_id', 'phone_num', 'phone_2', 'zone', 'priority', 'variables'];
    expect(rows.map((row) => columns.map((column) => row[column] as unknown))).toEqual([
      ['C-2', 'C-2', mobile(2), '+46850578000', 'Europe/Oslo', 5, { var1: 'Åse', var2: 'a;b "c"\nd\\e\t' }],
      ['C-1', 'C-1', mobile(1), null, null, 0, { var1: 'Bø' }],
      [mobile(3), null, mobile(3), null, null, -5, {}],
    ]);
    const [first] = rows;
    expect(first).toMatchObject({ state: 'new', round: 1, attempts: 0, next_phone: 1, queue_rank: 3, closed_at: null });
    expect(new Set(rows.flatMap((row) => [row.place, row.state_since, row.created_at].map(Number))).size).toBe(1);
  });

  it.each([
    ['application/json', (rows: object[]) => JSON.stringify(rows)],
    ['application/x-ndjson', (rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n')],
  ])('may be %s', async (type, write) => {
    const rows = [
      { external_id: 'C-1', phone_num: '40000001', variables: { var1: 'Åse "x"\n' } },
      { phone: 40000002, var2: 'y' },
    ];
    expect(await loaded(write(rows), '', type)).toMatchObject({ rows: 2, added: 2 });
    expect(await contacts('list_key, variables')).toEqual([
      { list_key: 'C-1', variables: { var1: 'Åse "x"\n' } },
      { list_key: mobile(2), variables: { var2: 'y' } },
    ]);
  });

  it('tells the campaign, which has one more revision', async () => {
    await loaded(csv('phone', mobile(1)));
    expect(await campaign()).toMatchObject({ revision: 1, settled_revision: 0 });
    expect(api.workflows.campaigns).toEqual([id]);
  });

  it('is there even if the campaign can not be told', async () => {
    api.workflows.away = new Error('Temporal is away');
    expect(await loaded(csv('phone', mobile(1)))).toMatchObject({ added: 1 });
    api.workflows.away = null;
  });

  it('counts those who must not be called, and takes them', async () => {
    await pool.query(`INSERT INTO do_not_call VALUES ($1, NULL, 'key:1', now()), ($2, NULL, 'key:1', now())`, [
      mobile(70),
      mobile(71),
    ]);
    const file = csv('phone,phone_2', `${mobile(70)},`, `${mobile(72)},${mobile(71)}`, `${mobile(73)},`);
    expect(await loaded(file)).toMatchObject({ added: 3, do_not_call: 2 });
  });
});

describe('a file that is bad', () => {
  const FILE = csv(
    'id,phone,priority',
    `A,${mobile(1)},0`,
    'B,12345,0',
    `C,${mobile(3)},high`,
    `A,${mobile(4)},0`,
    `,${mobile(5)},0`,
    `D,${mobile(6)}`,
    `,${mobile(5)},0`,
    `A,${mobile(8)},0`,
  );
  const PROBLEMS = [
    { field: 'line 3, phone_num', line: 3, column: 'phone_num', reason: 'is not a valid number of its country' },
    { field: 'line 4, priority', line: 4, column: 'priority', reason: 'is not a whole number from -1000 to 1000' },
    { field: 'line 5, external_id', line: 5, column: 'external_id', reason: 'is the same as in line 2' },
    { field: 'line 7', line: 7, column: null, reason: 'has 2 cells, the header has 3' },
    { field: 'line 8, phone_num', line: 8, column: 'phone_num', reason: 'is the same as in line 6' },
    { field: 'line 9, external_id', line: 9, column: 'external_id', reason: 'is the same as in line 2' },
  ];

  it('is refused with all that is wrong, and nothing is imported', async () => {
    const { status, body } = await load(FILE);
    expect(status).toBe(400);
    expect(body).toMatchObject({
      code: 'INVALID',
      detail: '6 of 8 rows are bad, with 6 problems; nothing was imported',
    });
    expect(body.issues).toEqual(PROBLEMS);
    expect(await contacts()).toEqual([]);
    expect((await campaign()).revision).toBe(0);
    expect(api.workflows.campaigns).toEqual([]);
  });

  it('may be imported without its bad rows', async () => {
    expect(await loaded(FILE, '?bad_rows=skip')).toMatchObject({ rows: 8, added: 2, skipped: 6, problems: PROBLEMS });
    expect(await contacts('phone_num')).toEqual([{ phone_num: mobile(1) }, { phone_num: mobile(5) }]);
  });

  it('leaves the list as it is', async () => {
    await loaded(csv('id,phone,var1', `A,${mobile(1)},one`));
    const before = await contacts();
    expect((await load(csv('id,phone,var1', `A,${mobile(2)},two`, 'B,x,'), '?mode=replace')).status).toBe(400);
    expect(await contacts()).toEqual(before);
  });

  it('shows the first thousand problems and counts all', async () => {
    const { body } = await load(csv('phone', ...Array.from({ length: 1234 }, (_, n) => String(n % 10))));
    expect(body.detail).toBe(
      '1234 of 1234 rows are bad, with 1234 problems, the first 1000 of which are shown; nothing was imported',
    );
    expect(body.issues).toHaveLength(1000);
    expect(body.issues[999]).toMatchObject({ line: 1001 });
  });

  it.each([
    ['a header that is not known', csv('phone,Navn', `${mobile(1)},Kari`), 'line 1, column 2', '"Navn" is not a known column'],
    ['an unfinished quote', csv('phone,var1', `${mobile(1)},"Kari`), 'line 2', 'opens a quote that is never closed'],
  ])('can not be used with %s, not even without bad rows', async (_name, file, field, reason) => {
    const { status, body } = await load(file, '?bad_rows=skip');
    expect(status).toBe(400);
    expect(body.issues).toEqual([expect.objectContaining({ field, reason: expect.stringContaining(reason) as string })]);
    expect(await contacts()).toEqual([]);
  });

  it('says what was wrong before it could not be read any more', async () => {
    const { body } = await load(csv('phone,var1', `12,a`, `${mobile(1)},"b`));
    expect(body.issues.map(({ field }: { field: string }) => field)).toEqual(['line 2, phone_num', 'line 3']);
  });

  it('says so even when there are a thousand problems before that', async () => {
    const { body } = await load(csv('phone,var1', ...Array.from({ length: 1234 }, () => '12,a'), `${mobile(1)},"b`));
    expect(body.issues).toHaveLength(1000);
    expect(body.issues.at(-1)).toMatchObject({ field: 'line 1236' });
    expect(body.detail).toContain('line 1236: opens a quote');
  });

  it.each(['', 'phone,var1\n', 'phone,var1\n,\n\n'])('never empties a list: %j', async (file) => {
    await loaded(csv('phone', mobile(1)));
    const { status, body } = await load(file, '?mode=replace');
    expect([status, body.detail]).toEqual([400, 'the file has no rows; nothing was imported']);
    expect(await contacts('state')).toEqual([{ state: 'new' }]);
  });

  it('is refused, not skipped, when no row of it is good', async () => {
    await loaded(csv('phone', mobile(1)));
    expect((await load(csv('phone', 'x', 'y'), '?mode=replace&bad_rows=skip')).status).toBe(400);
    expect(await contacts('state')).toEqual([{ state: 'new' }]);
  });
});

describe('a contact that is in the list already', () => {
  it('is unchanged by the same file again', async () => {
    const file = csv('id,phone,var1', `A,${mobile(1)},one`, `,${mobile(2)},two`);
    await loaded(file);
    const before = await contacts();
    expect(await loaded(file)).toMatchObject({ rows: 2, added: 0, updated: 0, unchanged: 2 });
    expect(await loaded(file, '?mode=replace')).toMatchObject({ added: 0, updated: 0, unchanged: 2, disabled: 0 });
    expect(await contacts()).toEqual(before);
  });

  it('keeps id, history and place and takes everything else', async () => {
    await loaded(csv('id,phone,phone_2,zone,priority,var1', `A,${mobile(1)},${mobile(2)},Europe/Oslo,7,old`));
    const history = { attempts: 2, last_code: 'b', round: 2, queue_rank: 2, state: 'waiting', wait_reason: 'retry_delay' };
    await setContact('A', { ...history, place: new Date('2026-01-01'), next_phone: 2 });
    const [before] = await contacts();
    const file = csv('id,phone,phone_2,var2', `A,${mobile(1)},${mobile(3)},new`, `B,${mobile(4)},,`);
    expect(await loaded(file)).toMatchObject({ added: 1, updated: 1, unchanged: 0 });
    const [after] = await contacts();
    expect(after).toEqual({
      ...before,
      phone_2: mobile(3),
      zone: null,
      priority: 0,
      variables: { var2: 'new' },
      order_version: -1,
      updated_at: after.updated_at,
    });
  });

  it.each([
    ['the same', [1, 2], { given_up_1: true, given_up_2: true, next_phone: 2 }],
    ['another first', [3, 2], { given_up_1: false, given_up_2: true, next_phone: 2 }],
    ['another second', [1, 3], { given_up_1: true, given_up_2: false, next_phone: 2 }],
    ['no second', [1, null], { given_up_1: true, given_up_2: false, next_phone: 1 }],
  ])('has given up its numbers, if they are %s', async (_name, [first, second], expected) => {
    await loaded(csv('id,phone,phone_2', `A,${mobile(1)},${mobile(2)}`));
    await setContact('A', { given_up_1: true, given_up_2: true, next_phone: 2 });
    await loaded(csv('id,phone,phone_2,var1', `A,${mobile(first!)},${second ? mobile(second) : ''},x`));
    expect(await contacts('given_up_1, given_up_2, next_phone')).toEqual([expected]);
  });

  it.each(['done', 'disabled'])('is not revived if it is %s', async (state) => {
    await loaded(csv('id,phone,var1', `A,${mobile(1)},old`));
    await setContact('A', { state, ended_reason: 'answered', ended_at: new Date(), closed_at: new Date() });
    expect(await loaded(csv('id,phone,var1', `A,${mobile(1)},new`), '?mode=replace')).toMatchObject({ updated: 1 });
    expect(await contacts('state, ended_reason, variables')).toEqual([
      { state, ended_reason: 'answered', variables: { var1: 'new' } },
    ]);
  });

  it('waits in the queue with a call to the number that it has now', async () => {
    await loaded(csv('id,phone', `A,${mobile(1)}`));
    const call = await queue('A', new Date());
    await loaded(csv('id,phone', `A,${mobile(2)}`));
    const { rows } = await pool.query(`SELECT number, ended_at FROM call WHERE call_id = $1`, [call]);
    expect(rows).toEqual([{ number: mobile(2), ended_at: null }]);
  });

  it('is counted as closed when it is done or disabled, and stays so', async () => {
    await loaded(csv('phone', mobile(1), mobile(2), mobile(3)));
    await pool.query(`UPDATE contact SET state = 'done', closed_at = now() WHERE phone_num = $1`, [mobile(1)]);
    expect(await loaded(csv('phone,var1', `${mobile(1)},new`, mobile(2) + ','))).toMatchObject({ updated: 1, unchanged: 1, closed: 1 });
    expect((await contacts('state')).map(({ state }) => state as string)).toEqual(['done', 'new', 'new']);
  });

  it('is a new one if it was deleted', async () => {
    await loaded(csv('id,phone', `A,${mobile(1)}`));
    await setContact('A', { state: 'disabled', deleted_at: new Date() });
    expect(await loaded(csv('id,phone', `A,${mobile(1)}`), '?mode=replace')).toMatchObject({ added: 1, updated: 0 });
    expect(await contacts('state')).toEqual([{ state: 'disabled' }, { state: 'new' }]);
  });

  it('of another campaign is another one', async () => {
    await loaded(csv('id,phone', `A,${mobile(1)}`));
    const other = id;
    id = (await makeCampaign(api)).id;
    expect(await loaded(csv('id,phone', `A,${mobile(2)}`), '?mode=replace')).toMatchObject({ added: 1, disabled: 0 });
    id = other;
    expect(await contacts('phone_num, state')).toEqual([{ phone_num: mobile(1), state: 'new' }]);
  });
});

describe('replacing a list', () => {
  const queuedAt = new Date('2026-03-01T10:00:00Z');
  const ONE_OF_EACH = csv('id,phone', ...CONTACT_STATES.map((state, n) => `${state},${mobile(n)}`));

  /** A list with a contact in each state, and one that is in the new file as well. */
  async function prepare(): Promise<string> {
    await loaded(`${ONE_OF_EACH}stays,${mobile(50)}\n`);
    for (const state of CONTACT_STATES) await setContact(state, { state, state_since: queuedAt });
    await setContact('waiting', { wait_reason: 'retry_delay', wait_until: new Date() });
    for (const state of ['done', 'disabled']) {
      await setContact(state, { ended_reason: 'answered', ended_by: 'system', ended_at: queuedAt, closed_at: queuedAt });
    }
    return queue('queued', queuedAt);
  }

  const replace = () => loaded(csv('id,phone', `stays,${mobile(50)}`), '?mode=replace');
  const stateOf = async (key: string) => (await contacts()).find((row) => row.list_key === key);

  it('ends those that are not in the file, each as its state allows', async () => {
    await prepare();
    const others = ['starting', 'offered', 'dialling', 'talking', 'wrap_up'];
    expect(await replace()).toMatchObject({ rows: 1, unchanged: 1, disabled: 3 + others.length });
    for (const state of ['new', 'waiting', 'queued']) {
      const row = await stateOf(state);
      const ended = { ended_reason: 'list_replaced', ended_by: 'key:1', wait_reason: null, wait_until: null };
      expect(row).toMatchObject({ state: 'disabled', ...ended });
      expect(row.ended_at).toEqual(row.state_since);
      // A workflow runs for those that were taken up: it is told, and closes the row.
      expect(row.closed_at).toEqual(state === 'new' ? row.ended_at : null);
    }
    for (const state of others) {
      const intention = { ended_reason: 'list_replaced', ended_by: 'key:1', ended_at: expect.any(Date) as Date };
      expect(await stateOf(state)).toMatchObject({ state, state_since: queuedAt, closed_at: null, ...intention });
    }
    for (const state of ['done', 'disabled']) {
      expect(await stateOf(state)).toMatchObject({ state, ended_reason: 'answered', ended_at: queuedAt });
    }
    expect(await stateOf('stays')).toMatchObject({ state: 'new', ended_reason: null });
  });

  it('ends queued calls with their event, at the next position', async () => {
    const call = await prepare();
    const { rows: before } = await pool.query<{ last: string }>(`SELECT last FROM event_position`);
    await replace();
    const { ended_at: endedAt, id: contactId } = await stateOf('queued');
    const { rows: calls } = await pool.query(`SELECT * FROM call WHERE call_id = $1`, [call]);
    expect(calls[0]).toMatchObject({ ended_at: endedAt, end_code: 'd', end_reason: 'list_replaced', next_sequence: 4 });
    const { rows: events } = await pool.query(`SELECT * FROM call_events WHERE campaign_id = $1`, [id]);
    const { queue_key: queueKey } = await campaign();
    const position = String(BigInt(before[0]!.last) + 1n);
    expect(events).toEqual([
      {
        position,
        call_id: call,
        call_sequence: 3,
        event_type: 'q',
        internal_iq_session_id: sessionId(call, 'queueing'),
        ciq: null,
        dte_start: queuedAt,
        duration_tot_sec: Math.round((endedAt.getTime() - queuedAt.getTime()) / 1000),
        dte_speak_start: null,
        duration_speak_sec: 0,
        setup_ms: null,
        alert_ms: null,
        source: mobile(CONTACT_STATES.indexOf('queued')),
        destination: queueKey,
        originating: null,
        service_num: null,
        queue_key: queueKey,
        agent_id: null,
        result_code: 'd',
        result_response: null,
        result_reason: 'list_replaced',
        answered: false,
        call_transfer: 0,
        hold: 0,
        consult: 0,
        caller_on_hold_sec: 0,
        leg_type: null,
        dte_scheduled_callback: null,
        request_id: null,
        contact_id: contactId,
        campaign_id: Number(id),
        attempt: 1,
        recording: null,
      },
    ]);
    const { rows: after } = await pool.query<{ last: string }>(`SELECT last FROM event_position`);
    expect(after[0]!.last).toBe(position);
  });

  it('gives many events positions without a gap, in the order of the list', async () => {
    const keys = Array.from({ length: 50 }, (_, n) => `K${n}`);
    await loaded(csv('id,phone', ...keys.map((key, n) => `${key},${mobile(n)}`), `stays,${mobile(50)}`));
    for (const key of keys) await queue(key, queuedAt);
    await replace();
    const { rows } = await pool.query<{ position: string; source: string }>(
      `SELECT position, source FROM call_events WHERE campaign_id = $1 ORDER BY position`,
      [id],
    );
    expect(rows.map(({ source }) => source)).toEqual(keys.map((_, n) => mobile(n)));
    expect(Number(rows[49]!.position) - Number(rows[0]!.position)).toBe(49);
  });

  it('changes nothing the second time', async () => {
    await prepare();
    await replace();
    const before = await contacts();
    expect(await replace()).toMatchObject({ unchanged: 1, disabled: 0 });
    expect(await contacts()).toEqual(before);
  });

  it('spares a contact whose row is bad, if it can be told which that is', async () => {
    await loaded(csv('id,phone', `A,${mobile(1)}`, `B,${mobile(2)}`, `C,${mobile(3)}`));
    const file = csv('id,phone', 'A,12345', `B,${mobile(2)}`);
    expect(await loaded(file, '?mode=replace&bad_rows=skip')).toMatchObject({ unchanged: 1, skipped: 1, disabled: 1 });
    expect(await contacts('list_key, state, phone_num')).toEqual([
      { list_key: 'A', state: 'new', phone_num: mobile(1) },
      { list_key: 'B', state: 'new', phone_num: mobile(2) },
      { list_key: 'C', state: 'disabled', phone_num: mobile(3) },
    ]);
  });

  it('is done after all when others stand in the way', async () => {
    await prepare();
    const other = await pool.connect();
    try {
      // The other never gives way, so it is the import that is undone.
      await other.query(`SET deadlock_timeout = '1h'; BEGIN`);
      await other.query(`UPDATE contact SET attempts = 1 WHERE campaign_id = $1 AND list_key = 'waiting'`, [id]);
      const replacing = replace();
      await sessions(`wait_event_type = 'Lock'`);
      await other.query(lockQueue(Number(id)));
      await other.query('COMMIT; RESET deadlock_timeout');
      expect(await replacing).toMatchObject({ disabled: 8 });
    } finally {
      other.release();
    }
    expect(await stateOf('waiting')).toMatchObject({ state: 'disabled', attempts: 1 });
    expect((await campaign()).revision).toBe(2);
  });
});

describe('columns with names of their own', () => {
  const FILE = csv('Kundenr;Mobil nr;Navn, fornavn;Åpent fra;Til;Sum', 'A;400 00 001;Nordmann, Åse;9:00;15:30;7');
  const told = (parts: [string, string][]) => `?${new URLSearchParams(parts).toString()}`;

  it('are those that the request says', async () => {
    const query = told([
      ['map', 'external_id=Kundenr'],
      ['map', 'phone_num=mobil NR'],
      ['map', 'var1=Navn, fornavn'],
      ['map', 'earliest=Åpent fra'],
      ['map', 'latest=Til'],
      ['ignore', 'Sum'],
    ]);
    expect(await loaded(FILE, query)).toMatchObject({ rows: 1, added: 1 });
    expect(await contacts('external_id, phone_num, variables, earliest, latest')).toEqual([
      { external_id: 'A', phone_num: mobile(1), variables: { var1: 'Nordmann, Åse' }, earliest: '09:00', latest: '15:30' },
    ]);
  });

  it('may be said in an address that nothing was encoded in', async () => {
    expect(await loaded(csv('Tlf,Navn', `${mobile(1)},Kari`), '?map=phone_num=Tlf&map=var1=Navn')).toMatchObject({ added: 1 });
    expect(await contacts('variables')).toEqual([{ variables: { var1: 'Kari' } }]);
  });

  it('are an error by name where nothing is said of them', async () => {
    const { status, body } = await load(FILE, told([['map', 'phone_num=Mobil nr']]));
    expect(status).toBe(400);
    expect(body.issues.map(({ column }: { column: string }) => column)).toEqual(['Kundenr', 'Navn, fornavn', 'Åpent fra', 'Til', 'Sum']);
    expect(await contacts()).toEqual([]);
  });

  it.each(['?map=phone', '?map=', '?map=var1=a&map=var1=b', '?map=a=b', '?map=var1=a&ignore=a', `?map=var1=${'x'.repeat(500)}`])(
    'make no sense as %s',
    async (query) => {
      const { status, body } = await load(csv('phone', mobile(1)), query);
      expect([status, body.code]).toEqual([400, 'INVALID']);
      expect(body.issues[0].field).toMatch(/^(map|ignore)/);
    },
  );
});

describe('the hours of a contact', () => {
  it('are taken in, and a change of them is one', async () => {
    await loaded(csv('phone,earliest,latest', `${mobile(1)},08:00,12:00`, `${mobile(2)},,`));
    expect(await loaded(csv('phone,earliest,latest', `${mobile(1)},08:00,12:30`, `${mobile(2)},,`))).toMatchObject({ updated: 1, unchanged: 1 });
    expect(await contacts('earliest, latest')).toEqual([
      { earliest: '08:00', latest: '12:30' },
      { earliest: null, latest: null },
    ]);
    expect(await loaded(csv('phone', mobile(1), mobile(2)))).toMatchObject({ updated: 1, unchanged: 1 });
    expect(await contacts('earliest')).toEqual([{ earliest: null }, { earliest: null }]);
  });
});

describe('numbers that the campaign may not call', () => {
  it('are refused with the reason', async () => {
    await pool.query(`UPDATE campaign SET caller_id = $2 WHERE id = $1`, [id, mobile(900_091)]);
    await pool.query(
      `INSERT INTO agent (name, phone, since, cause, created_at, updated_at) VALUES ('a', $1, now(), 'created', now(), now())`,
      [mobile(900_092)],
    );
    const other = await makeCampaign(api, { service_num: mobile(900_093) });
    const numbers = ['112', '+4582345678', mobile(900_091), mobile(900_092), other.service_num as string, '+4682912345', mobile(1)];
    const { body } = await load(csv('phone', ...numbers));
    expect(body.issues.map(({ line, reason }: Json) => `${line} ${reason}`)).toEqual([
      expect.stringMatching(/^2 is too short .* emergency/),
      expect.stringMatching(/^3 is of a country that the campaign may not call/),
      expect.stringMatching(/^4 is a number of our own/),
      expect.stringMatching(/^5 is a number of our own/),
      expect.stringMatching(/^6 is a number of our own/),
    ]);
    await pool.query(`DELETE FROM agent`);
  });

  it('are those of other countries, unless the campaign says so', async () => {
    id = (await makeCampaign(api)).id;
    const file = csv('phone,phone_2', `${mobile(1)},+46701234567`);
    expect((await load(file)).body.issues[0].field).toBe('line 2, phone_2');
    await api.call('PATCH', `/v1/campaigns/${id}`, { rules: { countries: ['NO', 'SE'] } });
    expect(await loaded(file)).toMatchObject({ added: 1 });
  });
});

describe('a dry run', () => {
  const tables = ['contact', 'call', 'call_events', 'campaign', 'event_position', 'import'];
  const everything = () =>
    Promise.all(tables.map(async (table) => (await pool.query<Json>(`SELECT * FROM ${table} ORDER BY 1`)).rows));

  const number = fc.integer({ min: 0, max: 11 }).map((n) => (n > 9 ? `4${n}` : mobile(n)));
  const row = fc.record({
    id: fc.constantFrom('A', 'B', 'C', 'D', 'E', ''),
    number,
    second: fc.oneof({ weight: 3, arbitrary: fc.constant('') }, number),
    name: fc.constantFrom('', 'x', 'y'),
  });
  const file = fc.array(row, { maxLength: 8 }).map((rows) =>
    csv('id,phone,phone_2,var1', ...rows.map((one) => [one.id, one.number, one.second, one.name].join(','))),
  );
  const query = fc.tuple(fc.constantFrom('add', 'replace'), fc.constantFrom('skip', 'skip', 'reject'));

  it('answers as the import then does, and writes nothing', { timeout: 120_000 }, async () => {
    const ending = fc.constantFrom(...CONTACT_STATES);
    await fc.assert(
      fc.asyncProperty(file, fc.array(ending, { maxLength: 8 }), file, query, async (first, states, second, [mode, badRows]) => {
        id = (await makeCampaign(api)).id;
        await load(first, '?bad_rows=skip');
        for (const [n, { id: contact }] of (await contacts('id')).entries()) {
          const state = states[n] ?? 'new';
          const reason = state === 'done' || state === 'disabled' ? 'disabled' : n === 3 ? 'list_replaced' : null;
          await pool.query(`UPDATE contact SET state = $2, ended_reason = $3 WHERE id = $1`, [contact, state, reason]);
        }
        const how = `?mode=${mode}&bad_rows=${badRows}`;
        const before = await everything();
        const told = api.workflows.campaigns.length;
        const dry = await load(second, `${how}&dryRun=true`);
        expect(await everything()).toEqual(before);
        expect(api.workflows.campaigns).toHaveLength(told);

        const real = await load(second, how);
        expect(dry.status).toBe(real.status);
        if (real.status === 200) expect(dry.body).toEqual({ ...real.body, dry_run: true });
        else expect(dry.body).toEqual(real.body);
      }),
      { numRuns: 60 },
    );
  });

  it('says what is bad as the import does', async () => {
    const bad = csv('id,phone', `A,${mobile(1)}`, 'B,12345', `A,${mobile(2)}`);
    expect((await load(bad, '?dryRun=true')).body).toEqual((await load(bad)).body);
    expect(await loaded(bad, '?dryRun=true&bad_rows=skip')).toMatchObject({ dry_run: true, rows: 3, added: 1, skipped: 2 });
    expect((await load(csv('phone', mobile(1)), '?dryRun=yes')).body.issues[0].field).toBe('dryRun');
    await api.call('POST', `/v1/campaigns/${id}/end`);
    expect((await load(bad, '?dryRun=true')).body).toMatchObject({ code: 'CONFLICT', state: 'ended' });
  });

  it('holds nobody up, and nobody holds it up', async () => {
    await loaded(csv('phone', mobile(1)));
    const { upload: real, answer: realAnswer } = open();
    real.write('phone,var1\n' + PAGE);
    await underWay();
    const { upload, answer } = open(undefined, {}, '?dryRun=true&mode=replace');
    upload.write('phone,var1\n' + PAGE);
    await sessions(`state = 'idle in transaction' AND query LIKE 'COPY import_stage%'`);
    const { rows } = await pool.query<Json>(
      `SELECT locktype, mode FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE query LIKE 'COPY import_stage%' AND (locktype = 'advisory' OR relation = 'contact'::regclass OR relation = 'campaign'::regclass)
         AND mode NOT IN ('AccessShareLock')`,
    );
    expect(rows).toEqual([]);
    real.end();
    expect(await realAnswer).toMatchObject({ body: { added: 19_999, updated: 1 } });
    expect((await api.call('POST', `/v1/campaigns/${id}/start`)).status).toBe(200);
    upload.end();
    expect(await answer).toMatchObject({ status: 200, body: { dry_run: true, added: 0, updated: 0, unchanged: 20_000, disabled: 0 } });
  });
});

describe('the request', () => {
  it.each([
    ['application/xml', {}],
    ['text/csv; charset=iso-8859-1', {}],
    ['text/csv', { 'Content-Encoding': 'gzip' }],
  ])('is refused if it is %s %j', async (type, headers) => {
    const options = { raw: csv('phone', mobile(1)), headers: { 'Content-Type': type, ...headers } };
    expect((await api.call('POST', path(), undefined, options)).status).toBe(415);
  });

  it('has a mode that is known', async () => {
    const { status, body } = await load(csv('phone', mobile(1)), '?mode=merge');
    expect([status, body.issues[0].field]).toEqual([400, 'mode']);
  });

  it('needs the role of a manager', async () => {
    const options = { raw: csv('phone', mobile(1)), headers: { 'Content-Type': 'text/csv' } };
    expect((await api.call('POST', path(), undefined, { ...options, key: await api.key('operator') })).status).toBe(403);
    expect((await api.call('POST', path(), undefined, { ...options, key: await api.key('manager') })).status).toBe(200);
  });

  it('is for a campaign that is there and has not ended', async () => {
    const options = { raw: csv('phone', mobile(1)), headers: { 'Content-Type': 'text/csv' } };
    expect((await api.call('POST', path('', '999999'), undefined, options)).status).toBe(404);
    await api.call('POST', `/v1/campaigns/${id}/end`);
    const { status, body } = await load(options.raw);
    expect([status, body.code, body.state]).toEqual([409, 'CONFLICT', 'ended']);
  });
});

/** An upload in pieces, over a connection of its own. */
function open(agent?: Agent, headers: Record<string, string> = {}, query = '') {
  const upload = request(new URL(path(query), api.url), {
    method: 'POST',
    headers: { Authorization: `Bearer ${api.admin}`, 'Content-Type': 'text/csv', ...headers },
    ...(agent ? { agent } : {}),
  });
  const answer = once(upload, 'response').then(async ([response]: IncomingMessage[]) => {
    const body: Json = JSON.parse(await text(response!));
    return { status: response!.statusCode, body };
  });
  answer.catch(() => undefined);
  return { upload, answer };
}

const PAGE = csv(...Array.from({ length: 20_000 }, (_, n) => `${mobile(n)},${'x'.repeat(100)}`));
/** Resolves when a page of this upload has reached the list, where nobody sees it yet. */
const underWay = () => sessions(`state = 'idle in transaction' AND query LIKE 'INSERT INTO contact%'`);

describe('an upload', () => {
  it('keeps a second one off its campaign, and only there', async () => {
    const { upload, answer } = open();
    upload.write('phone,var1\n' + PAGE);
    await underWay();
    const second = await load(csv('phone', mobile(1)));
    expect([second.status, second.body.code]).toEqual([409, 'IMPORT_RUNNING']);
    const first = id;
    id = (await makeCampaign(api)).id;
    expect(await loaded(csv('phone', mobile(1)))).toMatchObject({ added: 1 });
    id = first;
    upload.end();
    expect(await answer).toMatchObject({ status: 200, body: { added: 20_000 } });
    expect(await loaded(csv('phone', mobile(1)))).toMatchObject({ added: 0, updated: 1 });
  });

  it('that breaks off leaves nothing behind', async () => {
    const { upload, answer } = open();
    upload.write('phone,var1\n' + PAGE);
    await underWay();
    upload.destroy();
    await expect(answer).rejects.toThrow();
    await eventually(() => pool.idleCount === pool.totalCount);
    expect(await contacts()).toEqual([]);
    expect(await loaded(csv('phone', mobile(1)))).toMatchObject({ added: 1 });
  });

  it('that stands still is ended', async () => {
    const [route] = importRoutes(api.deps, { idleMs: 20 });
    const req = Object.assign(new PassThrough(), { headers: {}, is: () => 'text/csv' });
    req.write('phone\n');
    const query = { mode: 'add', bad_rows: 'reject', dryRun: false, map: [], ignore: [] };
    const input = { params: { id: Number(id) }, query, caller: { keyId: 1 }, req };
    await expect(route!.handle(input as never)).rejects.toMatchObject({ code: 'INVALID', message: expect.stringContaining('broke off') });
    expect(req.destroyed).toBe(true);
  });

  it('is answered before its end if that is clear, and the connection goes on', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const { upload, answer } = open(agent);
    upload.write(`phone,Navn\n${mobile(1)},Kari\n`);
    expect(await answer).toMatchObject({ status: 400 });
    const { socket } = upload;
    for (let i = 0; i < 10; i++) upload.write(PAGE);
    upload.end();
    const { upload: next, answer: nextAnswer } = open(agent);
    next.end(csv('phone', mobile(1)));
    expect(await nextAnswer).toMatchObject({ status: 200, body: { added: 1 } });
    expect(next.socket).toBe(socket);
    agent.destroy();
  });

  it('of more than 1 GB is refused unread', async () => {
    const { upload, answer } = open(undefined, { 'Content-Length': '1000000001' });
    upload.write('phone\n');
    expect(await answer).toMatchObject({ status: 413, body: { code: 'TOO_LARGE' } });
    upload.destroy();
  });

  it('finds the campaign ended at its end', async () => {
    const { upload, answer } = open();
    upload.write('phone,var1\n' + PAGE);
    await underWay();
    await api.call('POST', `/v1/campaigns/${id}/end`);
    upload.end();
    expect(await answer).toMatchObject({ status: 409, body: { state: 'ended' } });
    expect(await contacts()).toEqual([]);
  });

  it('of 100,000 rows is not held in memory', { timeout: 120_000 }, async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const used = () => {
      gc();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = used();
    let most = 0;
    let bytes = 0;
    function* file() {
      yield 'phone_num,external_id,var1,var2,var3\n';
      for (let n = 0; n < 100_000; n += 100) {
        if (n % 5_000 === 0) most = Math.max(most, used());
        const rows = Array.from({ length: 100 }, (_, i) => `${mobile(n + i)},C-${n + i},${'abcdefgh '.repeat(60)},Åse,Oslo`);
        const piece = csv(...rows);
        bytes += piece.length;
        yield piece;
      }
    }
    const { upload, answer } = open();
    Readable.from(file(), { objectMode: false, highWaterMark: 65_536 }).pipe(upload);
    expect(await answer).toMatchObject({ status: 200, body: { rows: 100_000, added: 100_000 } });
    expect(bytes).toBeGreaterThan(50_000_000);
    expect(most - before).toBeLessThan(20_000_000);
  });
});

describe('how far an import is', () => {
  const imports = async (query = '', key = api.admin): Promise<Json> =>
    (await api.call('GET', path(query), undefined, { key })).body;
  const latest = async (): Promise<Json> => (await imports()).items[0];
  /** How the latest one stands, when it has come so far. */
  const until = (isSo: (latest: Json) => boolean) =>
    eventually(async () => {
      const item = await latest();
      if (!item || !isSo(item)) throw new Error(`the latest import is ${JSON.stringify(item)}`);
      return item;
    });

  it('is seen by others while it is uploaded, and what came of it afterwards', async () => {
    expect(await imports()).toEqual({ items: [], next: null });
    const { upload, answer } = open();
    upload.write('phone,var1\n' + PAGE);
    await underWay();
    const running = await until(({ rows }) => rows > 0);
    expect(running).toEqual({
      id: expect.any(String) as string,
      state: 'running',
      phase: 'reading',
      rows: expect.any(Number) as number,
      mode: 'add',
      bad_rows: 'reject',
      started_by: 'key:1',
      started_at: expect.any(String) as string,
      seen_at: expect.any(String) as string,
      ended_at: null,
      reason: null,
      counts: null,
    });
    expect((await imports('', await api.key('operator'))).items[0].state).toBe('running');
    // Whoever is refused for it is not on record.
    expect((await load(csv('phone', mobile(1)))).body.code).toBe('IMPORT_RUNNING');
    upload.end();
    const { body } = await answer;
    const { dry_run: _, mode: _mode, rows: _rows, problems: _problems, ...counts } = body;
    const { items } = await imports();
    expect(items).toHaveLength(1);
    expect(items[0]).toMatchObject({ id: running.id, state: 'done', phase: null, rows: 20_000, counts });
    expect(items[0].ended_at >= running.started_at).toBe(true);
  });

  it('is merging while it waits for those who work with the list', async () => {
    await loaded(csv('phone', mobile(1)));
    const other = await pool.connect();
    try {
      await other.query('BEGIN');
      await other.query(lockQueue(Number(id)));
      const replacing = loaded(csv('phone', mobile(2)), '?mode=replace');
      expect(await until(({ phase }) => phase === 'merging')).toMatchObject({ state: 'running', rows: 1, mode: 'replace' });
      await other.query('COMMIT');
      expect(await replacing).toMatchObject({ added: 1, disabled: 1 });
    } finally {
      other.release();
    }
    expect(await latest()).toMatchObject({ state: 'done', counts: { added: 1, disabled: 1 } });
  });

  it('is why it has failed', async () => {
    await load(csv('phone', '12345', mobile(1)), '?bad_rows=reject');
    expect(await latest()).toMatchObject({
      state: 'failed',
      rows: 2,
      reason: '1 of 2 rows are bad, with 1 problems; nothing was imported',
      counts: null,
    });
    await load(csv('Tlf', mobile(1)));
    expect(await latest()).toMatchObject({ state: 'failed', reason: "the header of the file can't be used: see issues" });
    const { upload, answer } = open();
    upload.write('phone,var1\n' + PAGE);
    await underWay();
    upload.destroy();
    await expect(answer).rejects.toThrow();
    expect(await until(({ ended_at }) => ended_at)).toMatchObject({ state: 'failed', reason: 'the upload broke off; nothing was imported' });
  });

  it('is nothing of a dry run', async () => {
    await loaded(csv('phone', mobile(1)), '?dryRun=true');
    expect(await imports()).toEqual({ items: [], next: null });
  });

  it('is broken off when the connection went with its process, and stays so', async () => {
    const { rows } = await pool.query<Json>(
      `INSERT INTO import (campaign_id, mode, bad_rows, started_by, started_at, phase, rows, seen_at)
       VALUES ($1, 'add', 'skip', 'key:1', now(), 'reading', 7, now()) RETURNING id, seen_at`,
      [id],
    );
    const brokenOff = { id: String(rows[0].id), state: 'broken_off', phase: null, rows: 7, ended_at: rows[0].seen_at.toISOString() };
    expect((await imports()).items).toMatchObject([brokenOff]);
    await loaded(csv('phone', mobile(1)));
    expect((await imports()).items).toMatchObject([{ state: 'done' }, brokenOff]);
    expect((await pool.query(`SELECT result FROM import ORDER BY id DESC LIMIT 2`)).rows).toEqual([{ result: 'done' }, { result: 'broken_off' }]);
  });

  it('is done even if nothing could be written while it ran', async () => {
    const query = pool.query.bind(pool);
    pool.query = ((statement: Json, ...more: Json[]) =>
      /^(WITH broken_off|UPDATE import)/.test(statement.text ?? '')
        ? Promise.reject(new Error('no connection is free'))
        : query(statement, ...more)) as typeof pool.query;
    try {
      expect(await loaded(csv('phone', mobile(1)))).toMatchObject({ added: 1 });
    } finally {
      pool.query = query;
    }
    expect(await latest()).toMatchObject({ state: 'done', rows: 1, counts: { added: 1 } });
  });

  it('is listed page by page, of this campaign only', async () => {
    for (let n = 0; n < 3; n++) await loaded(csv('phone', mobile(n)));
    const all = (await imports()).items.map((item: Json) => item.id as string);
    expect(all).toHaveLength(3);
    expect(all.map(Number)).toEqual(all.map(Number).toSorted((a: number, b: number) => b - a));
    const first = await imports('?limit=2');
    const second = await imports(`?limit=2&cursor=${first.next}`);
    expect([...first.items, ...second.items].map((item: Json) => item.id as string)).toEqual(all);
    expect(second.next).toBeNull();
    expect((await api.call('GET', path('', '2000000000'))).status).toBe(404);
    expect((await api.call('GET', path('?cursor=x'))).status).toBe(400);
  });
});
