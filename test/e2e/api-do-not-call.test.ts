/** The do-not-call list over the API: one number, files, history, export; and what becomes of contacts in the rows. */
import { Readable } from 'node:stream';
import { beforeEach, describe, expect, test } from 'vitest';
import { listNumbers } from '../../activities/do-not-call.ts';
import { AppError } from '../../domain/errors.ts';
import { inTx } from '../../prisma/tx.ts';
import { type Answer, type Json, makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';
import { makeCall } from './api-rows.ts';

const api = await startTestApi();
const { pool } = api.db;
const closed = new AppError('CONTACT_CLOSED', 'nothing is under way', { state: 'closed' });

beforeEach(async () => {
  api.workflows.updates.length = 0;
  api.workflows.campaigns.length = 0;
  api.workflows.onUpdate = () => undefined;
  await pool.query(`TRUNCATE do_not_call, do_not_call_removed, do_not_call_pending`);
});

let next = 0;
/** Valid Norwegian mobile numbers. */
const mobile = (n = ++next) => `+47${41_000_000 + n}`;
const at = (number: string, query = '') => `/v1/do-not-call/${encodeURIComponent(number)}${query}`;
const put = (number: string, query = '', body: object = {}) => api.call('PUT', at(number, query), body);
const fields = ({ body }: Answer) => body.issues?.map(({ field }: { field: string }) => field);
const load = (file: string, query = '', type = 'text/csv') =>
  api.call('POST', `/v1/do-not-call/import${query}`, undefined, { raw: file, headers: { 'Content-Type': type } });
const csv = (...rows: string[]) => `${rows.join('\n')}\n`;
const listed = async () =>
  (await pool.query<{ number: string }>(`SELECT number FROM do_not_call ORDER BY number`)).rows.map(({ number }) => number);
const row = async (id: string): Promise<Json> => (await pool.query(`SELECT * FROM contact WHERE id = $1`, [id])).rows[0];
const becomes = (id: string, state: string) => pool.query(`UPDATE contact SET state = $2 WHERE id = $1`, [id, state]);
const is = { state: 'disabled', ended_reason: 'do_not_call' };

describe('a number', () => {
  test('is listed, read, taken off and listed again: who, when and why are remembered', async () => {
    const [manager, other] = [await api.key('manager'), await api.key('manager')];
    const number = mobile();
    const before = Date.now();
    const made = await api.call('PUT', at(number), { comment: 'by letter' }, { key: manager });
    expect(made.status).toBe(201);
    expect(made.headers.get('Location')).toBe(at(number));
    expect(made.body).toMatchObject({ number, source: 'api', comment: 'by letter', contact_id: null });
    const { added_by, added_at } = made.body;
    expect(added_by).toMatch(/^key:\d+$/);
    expect(Math.abs(Date.parse(added_at) - before)).toBeLessThan(10_000);

    expect((await api.call('DELETE', at(number, '?comment=a%20mistake'), undefined, { key: other })).status).toBe(204);
    expect(await listed()).toEqual([]);
    expect((await put(number)).status).toBe(201);
    const { body } = await api.call('GET', at(number));
    expect(body).toMatchObject({ number, listed: true });
    expect(body.history).toMatchObject([
      { action: 'added', comment: null, source: 'api' },
      { action: 'removed', comment: 'a mistake', source: null },
      { action: 'added', comment: 'by letter', source: 'api', by: added_by, at: added_at },
    ]);
    expect(body.history[1].by).not.toBe(added_by);
    await api.call('DELETE', at(number, '?comment=x'));
    const gone = (await api.call('GET', at(number))).body;
    expect(gone.listed).toBe(false);
    expect(gone.history.map(({ action }: Json) => action)).toEqual(['removed', 'added', 'removed', 'added']);
  });

  test('that is listed stays as it is', async () => {
    const number = mobile();
    const first = await put(number, '', { comment: 'first' });
    const again = await put(number, '', { comment: 'second' });
    expect([again.status, again.body]).toEqual([200, first.body]);
  });

  test('may be in national notation where a country is given, and of a kind that is never dialled', async () => {
    expect((await put('22 86 50 01', '?country=NO')).body.number).toBe('+4722865001');
    expect((await api.call('GET', at('22865001', '?country=NO'))).body.number).toBe('+4722865001');
    expect((await api.call('DELETE', at('22865001', '?country=NO&comment=x'))).status).toBe(204);
    expect((await put('+4782012345')).body.number).toBe('+4782012345');
  });

  test.each([
    ['22865001', '', {}, ['number']],
    ['+4711', '', {}, ['number']],
    ['nobody', '?country=NO', {}, ['number']],
    ['+4722865001;ext=7', '', {}, ['number']],
    ['+4722865001', '?country=no', {}, ['country']],
    ['+4722865001', '', { comment: '' }, ['comment']],
    ['+4722865001', '', { comment: 'x'.repeat(1001) }, ['comment']],
    ['+4722865001', '', { reason: 'x' }, ['reason']],
  ])('%s%s with %j is refused for %j', async (number, query, body, expected) => {
    const answer = await put(number, query, body);
    expect(answer.status).toBe(400);
    expect(fields(answer)).toEqual(expected);
    expect(await listed()).toEqual([]);
  });

  test('is not taken off without a reason, nor when it is not listed', async () => {
    const number = mobile();
    await put(number);
    const answer = await api.call('DELETE', at(number));
    expect([answer.status, fields(answer)]).toEqual([400, ['comment']]);
    expect(await listed()).toEqual([number]);
    expect((await api.call('DELETE', at(mobile(), '?comment=x'))).status).toBe(404);
    expect((await api.call('GET', at(mobile()))).status).toBe(404);
  });

  test('is listed by two at once, and once', async () => {
    const number = mobile();
    const answers = await Promise.all(Array.from({ length: 8 }, () => put(number)));
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array<number>(7).fill(200), 201]);
  });
});

describe('the list', () => {
  test('comes in pages, by prefix and time, and as CSV', async () => {
    const numbers = [mobile(1), mobile(2), mobile(3), '+4670123456', '+46701234567', '+15005550006'];
    for (const [n, number] of numbers.entries()) {
      const when = new Date(Date.UTC(2026, 10, 29, 8, n));
      await pool.query(
        `INSERT INTO do_not_call (number, added_by, added_at, source, comment) VALUES ($1, 'key:1', $2, 'import', $3)`,
        [number, when, n === 0 ? 'a "b", c' : null],
      );
    }
    const read = async (query: string) => {
      const { body } = await api.call('GET', `/v1/do-not-call?${query}`);
      return { numbers: body.items.map(({ number }: Json) => number), next: body.next };
    };
    const sorted = numbers.toSorted();
    expect(await read('')).toEqual({ numbers: sorted, next: null });
    const first = await read('limit=4');
    expect(first.numbers).toEqual(sorted.slice(0, 4));
    expect(await read(`limit=4&cursor=${first.next}`)).toEqual({ numbers: sorted.slice(4), next: null });
    expect((await read('prefix=%2B467')).numbers).toEqual(['+4670123456', '+46701234567']);
    expect((await read('prefix=%2B4641')).numbers).toEqual([]);
    expect((await read('prefix=%2B47&limit=2')).numbers).toEqual([mobile(1), mobile(2)]);
    expect((await read('since=2026-11-29T08:04:00Z')).numbers).toEqual(['+15005550006', '+46701234567']);
    expect((await read('since=2026-11-29T09:04:00%2B01:00&prefix=%2B46')).numbers).toEqual(['+46701234567']);

    const file = await api.call('GET', '/v1/do-not-call', undefined, { headers: { Accept: 'text/csv' } });
    expect(file.headers.get('Content-Disposition')).toContain('do-not-call.csv');
    const lines = file.text.trim().split('\n');
    expect(lines).toHaveLength(7);
    expect(lines[0]).toBe('number,added_at,added_by,source,comment,contact_id');
    expect(lines).toContain(`${mobile(1)},2026-11-29T08:00:00.000Z,key:1,import,"a ""b"", c",`);
    expect((await api.call('GET', '/v1/do-not-call?format=csv&limit=1')).text.trim().split('\n')).toHaveLength(2);
    const formula = mobile();
    await api.call('PUT', `/v1/do-not-call/${encodeURIComponent(formula)}`, { comment: '=1+1' });
    const { text } = await api.call('GET', `/v1/do-not-call?format=csv&prefix=${encodeURIComponent(formula)}`);
    expect(text).toContain(`${formula},`);
    expect(text).toContain("'=1+1");
  });

  test('of more than a page is in the CSV as a whole', async () => {
    await load(csv('number', ...Array.from({ length: 2500 }, (_, n) => mobile(n + 1))));
    const { text } = await api.call('GET', '/v1/do-not-call?format=csv&prefix=%2B47');
    const numbers = text.trim().split('\n').slice(1).map((line) => line.split(',')[0]);
    expect(numbers).toEqual(await listed());
  });

  test.each([
    ['prefix=47', ['prefix']],
    ['prefix=%2B47%25', ['prefix']],
    ['since=yesterday', ['since']],
    ['since=2026-11-29', ['since']],
    ['limit=0', ['limit']],
    ['cursor=x', ['cursor']],
    ['q=1', ['q']],
  ])('%s is refused', async (query, expected) => {
    const answer = await api.call('GET', `/v1/do-not-call?${query}`);
    expect([answer.status, fields(answer)]).toEqual([400, expected]);
  });
});

describe('contacts of a number that is listed', () => {
  const STATES = ['new', 'starting', 'waiting', 'offered', 'dialling', 'talking', 'wrap_up'] as const;
  const ENDED_HERE: readonly string[] = ['new', 'waiting'];

  test.each(STATES)('%s, over all campaigns and by either number', async (state) => {
    const [one, two] = [await makeCampaign(api), await makeCampaign(api)];
    const [number, other] = [mobile(), mobile()];
    const contacts = [
      await makeContact(api, one, { phone_num: number }),
      await makeContact(api, two, { phone_num: other, phone_2: number }),
    ];
    const bystander = await makeContact(api, one, { phone_num: other });
    for (const { id } of [...contacts, bystander]) await becomes(id, state);
    api.workflows.campaigns.length = 0;

    const { body } = await put(number);

    for (const { id } of contacts) {
      const after = await row(id);
      expect(after).toMatchObject({ ended_reason: 'do_not_call', ended_by: body.added_by });
      expect(after.state).toBe(ENDED_HERE.includes(state) ? 'disabled' : state);
      // Nobody else would close a contact that has no workflow.
      expect(after.closed_at !== null).toBe(state === 'new');
    }
    expect(await row(bystander.id)).toMatchObject({ state, ended_reason: null });
    expect(api.workflows.campaigns.sort()).toEqual(state === 'new' ? [] : [one.id, two.id].sort());
  });

  test('queued: the call ends with its `d`', async () => {
    const campaign = await makeCampaign(api);
    const contact = await makeContact(api, campaign, { phone_num: mobile() });
    const { callId } = await makeCall(api, { contact, callNo: 1, queued: true });
    await put(contact.phone_num);
    expect(await row(contact.id)).toMatchObject(is);
    const { rows } = await pool.query(`SELECT event_type, result_code, result_reason FROM call_events WHERE call_id = $1`, [callId]);
    expect(rows).toEqual([{ event_type: 'q', result_code: 'd', result_reason: 'do_not_call' }]);
    expect((await pool.query(`SELECT end_code FROM call WHERE call_id = $1`, [callId])).rows).toEqual([{ end_code: 'd' }]);
  });

  test.each(['done', 'disabled'])('%s stays so', async (state) => {
    const contact = await makeContact(api, await makeCampaign(api), { phone_num: mobile() });
    const ended = [contact.id, state, state === 'done' ? 'answered' : 'list_replaced'];
    await pool.query(`UPDATE contact SET state = $2, ended_reason = $3, closed_at = now() WHERE id = $1`, ended);
    await put(contact.phone_num);
    expect(await row(contact.id)).toMatchObject({ state, ended_reason: ended[2] });
  });

  async function beingOffered() {
    const campaign = await makeCampaign(api);
    const agent = await makeAgent(api, [campaign]);
    const contact = await makeContact(api, campaign, { phone_num: mobile() });
    await makeCall(api, { contact, agent, callNo: 1 });
    return contact;
  }

  test('who are being offered are told before the answer; a repeat tells them again', async () => {
    const [contact, other] = [await beingOffered(), await beingOffered()];
    const { body } = await put(contact.phone_num);
    const told = {
      contact: { contactId: contact.id, round: 1 },
      name: 'disable',
      argument: { reason: 'do_not_call', by: body.added_by },
      key: expect.any(String),
    };
    expect(api.workflows.updates).toEqual([told]);
    await put(contact.phone_num);
    expect(api.workflows.updates).toEqual([told, told]);
    expect(await row(other.id)).toMatchObject({ state: 'offered', ended_reason: null });
    // What was made here has to end somehow, for the tests to come.
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
  });

  test('who have closed at that moment need not be told', async () => {
    const contact = await beingOffered();
    api.workflows.onUpdate = () => Promise.reject(closed);
    expect((await put(contact.phone_num)).status).toBe(201);
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
  });

  test('when the workflows are away: it is listed, and the answer says that the rest is not known', async () => {
    const contact = await beingOffered();
    api.workflows.onUpdate = () => Promise.reject(new AppError('UNAVAILABLE', 'Temporal is away'));
    const answer = await put(contact.phone_num);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('Retry-After')).toBe('2');
    expect(answer.body.detail).toMatch(/^listed, but 1 call/);
    expect(await listed()).toEqual([contact.phone_num]);
    expect(await row(contact.id)).toMatchObject({ state: 'offered', ended_reason: 'do_not_call' });
    // A worker goes on with it.
    expect((await pool.query(`SELECT number FROM do_not_call_pending`)).rows).toEqual([{ number: contact.phone_num }]);
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
  });

  test('are told even if their campaign can not be', async () => {
    const contact = await makeContact(api, await makeCampaign(api), { phone_num: mobile() });
    await becomes(contact.id, 'waiting');
    api.workflows.away = new Error('Temporal is away');
    expect((await put(contact.phone_num)).status).toBe(201);
    api.workflows.away = null;
    expect(await row(contact.id)).toMatchObject(is);
  });

  test('are a thousand, in pages', async () => {
    const { id } = await makeCampaign(api);
    const number = mobile();
    await pool.query(
      `INSERT INTO contact (campaign_id, list_key, phone_num, state, state_since, place, created_at, updated_at)
       SELECT $1, n, $2, 'waiting', now(), now(), now(), now() FROM generate_series(1, 1234) AS n`,
      [id, number],
    );
    await put(number);
    const { rows } = await pool.query(`SELECT state, ended_reason, count(*)::int AS n FROM contact WHERE campaign_id = $1 GROUP BY 1, 2`, [id]);
    expect(rows).toEqual([{ ...is, n: 1234 }]);
    expect((await pool.query(`SELECT revision FROM campaign WHERE id = $1`, [id])).rows).toEqual([{ revision: 1 }]);
  });
});

describe('a contact that comes to a listed number', () => {
  test.each(['waiting', 'queued'])('by PATCH, while %s, is disabled at once', async (state) => {
    const contact = await makeContact(api, await makeCampaign(api), { phone_num: mobile() });
    if (state === 'queued') await makeCall(api, { contact, callNo: 1, queued: true });
    else await becomes(contact.id, state);
    const number = mobile();
    await put(number);
    api.workflows.campaigns.length = 0;
    const { body } = await api.call('PATCH', `/v1/contacts/${contact.id}`, { phone_2: number });
    expect(body).toMatchObject({ ...is, phone_2: number });
    expect(new Set(api.workflows.campaigns)).toEqual(new Set([contact.campaign_id]));
    // Should the API die before that, a worker does it.
    expect((await pool.query(`SELECT FROM do_not_call_pending WHERE number = $1`, [number])).rowCount).toBe(2);
  });

  test('by PUT: a new one, and one that is in the list', async () => {
    const campaign = await makeCampaign(api);
    const number = mobile();
    await put(number);
    expect(await makeContact(api, campaign, { phone_num: number })).toMatchObject(is);
    const contact = await makeContact(api, campaign, { phone_num: mobile() });
    const path = `/v1/campaigns/${campaign.id}/contacts/by-external-id/${contact.external_id}`;
    expect((await api.call('PUT', path, { phone_num: number })).body).toMatchObject(is);
  });

  test('by an import, while it is queued: it is left to a worker', async () => {
    const campaign = await makeCampaign(api);
    const contact = await makeContact(api, campaign, { phone_num: mobile() });
    await makeCall(api, { contact, callNo: 1, queued: true });
    const number = mobile();
    await put(number);
    await pool.query(`DELETE FROM do_not_call_pending`);
    const file = csv('id,phone,phone_2', `${contact.external_id},${contact.phone_num},${number}`, `new,${mobile()},`);
    const headers = { 'Content-Type': 'text/csv' };
    expect((await api.call('POST', `/v1/campaigns/${campaign.id}/imports`, undefined, { raw: file, headers })).status).toBe(200);
    expect((await pool.query(`SELECT number FROM do_not_call_pending`)).rows).toEqual([{ number }]);
  });

  test('can be enabled when the number was taken off, and not before', async () => {
    const contact = await makeContact(api, await makeCampaign(api), { phone_num: mobile() });
    await put(contact.phone_num);
    const enable = () => api.call('POST', `/v1/contacts/${contact.id}/enable`);
    expect((await enable()).body).toMatchObject({ code: 'CONFLICT', state: 'disabled' });
    await api.call('DELETE', at(contact.phone_num, '?comment=consent%20of%20today'));
    expect(await row(contact.id)).toMatchObject(is);
    expect((await enable()).body).toMatchObject({ state: 'new', ended_reason: null });
  });
});

describe('a file', () => {
  test('is listed as a whole; what was there stays, and each number counts once', async () => {
    const [one, two, three] = [mobile(), mobile(), mobile()];
    await put(one, '', { comment: 'before' });
    const campaign = await makeCampaign(api);
    await makeContact(api, campaign, { phone_num: mobile(), phone_2: two });
    await makeContact(api, campaign, { phone_num: two });
    const file = csv('Phone Number;comment', `${one};`, `${two};"a; ""b"""`, `;`, `${three};`, `${two};later`);
    const { status, body } = await load(file, '?comment=the%20register');
    expect(status).toBe(200);
    expect(body).toEqual({
      dry_run: false,
      rows: 4,
      added: 2,
      already_listed: 1,
      repeated: 1,
      skipped: 0,
      contacts: 2,
      problems: [],
    });
    const { rows } = await pool.query(`SELECT number, source, comment, added_by FROM do_not_call ORDER BY number`);
    expect(rows).toMatchObject([
      { number: one, source: 'api', comment: 'before' },
      { number: two, source: 'import', comment: 'a; "b"' },
      { number: three, source: 'import', comment: 'the register' },
    ]);
    expect((await load(file)).body).toMatchObject({ rows: 4, added: 0, already_listed: 3, repeated: 1, contacts: 2 });
  });

  test('tried out lists nothing', async () => {
    const [one, two] = [mobile(), mobile()];
    await put(one);
    await makeContact(api, await makeCampaign(api), { phone_num: two });
    const { body } = await load(csv('number', one, two, two), '?dryRun=true');
    expect(body).toMatchObject({ dry_run: true, rows: 3, added: 1, already_listed: 1, repeated: 1, contacts: 1 });
    expect(await listed()).toEqual([one]);
    expect(await pool.query(`SELECT FROM do_not_call_pending`)).toMatchObject({ rowCount: 1 });
  });

  test('may have national numbers where a country is given', async () => {
    expect((await load(csv('number', '22 86 50 01', '+46701234567'), '?country=NO')).body.added).toBe(2);
    expect(await listed()).toEqual(['+46701234567', '+4722865001']);
    expect((await load(csv('number', '22 86 50 01'))).body.issues[0].reason).toContain('no country is given');
  });

  const BAD = csv('number,comment', mobile(90), '12345,', `${mobile(91)},${'x'.repeat(1001)}`, `${mobile(92)},a,b`, ',lost', `${mobile(93)},`);
  const PROBLEMS = [
    ['line 2', 'has 1 cells, the header has 2'],
    ['line 3, number', 'must be in E.164, such as +4722865000, where no country is given'],
    ['line 4, comment', 'is longer than 1000 characters'],
    ['line 5', 'has 3 cells, the header has 2'],
    ['line 6, number', 'is missing'],
  ];

  test.each(['', '?dryRun=true'])('with bad rows is not listed, and says which%s', async (query) => {
    const { status, body } = await load(BAD, query);
    expect(status).toBe(400);
    expect(body.detail).toBe('5 of 6 rows are bad, with 5 problems; nothing was imported');
    expect(body.issues.map(({ field, reason }: Json) => [field, reason])).toEqual(PROBLEMS);
    expect(body.issues[1]).toMatchObject({ line: 3, column: 'number' });
    expect(await listed()).toEqual([]);
  });

  test('with bad rows may be listed without them', async () => {
    const { body } = await load(BAD, '?bad_rows=skip');
    expect(body).toMatchObject({ rows: 6, added: 1, skipped: 5 });
    expect(body.problems.map(({ field, reason }: Json) => [field, reason])).toEqual(PROBLEMS);
    expect(await listed()).toEqual([mobile(93)]);
  });

  test.each([
    ['', 'the file has no rows'],
    ['number\n', 'the file has no rows'],
    ['number,age\n+4722865001,7\n', 'header'],
    ['number,phone\n+4722865001,7\n', 'header'],
    ['comment\nx\n', 'header'],
    [`number\n${mobile()}\n"open\n`, "can't be read to its end"],
    [Buffer.from('number\n\xff\n', 'latin1').toString('latin1'), 'is not'],
  ])('%j can not be used', async (file, why) => {
    const answer = await api.call('POST', '/v1/do-not-call/import', undefined, {
      raw: Buffer.from(file, 'latin1'),
      headers: { 'Content-Type': 'text/csv' },
    });
    expect(answer.status).toBe(400);
    expect(answer.body.detail + JSON.stringify(answer.body.issues)).toContain(why);
    expect(await listed()).toEqual([]);
  });

  test.each(['application/json', 'application/x-ndjson', 'text/plain', 'text/csv; charset=iso-8859-1'])('of %s is not read', async (type) => {
    const { status, body } = await load('[]', '', type);
    expect([status, body.code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  test('ends what is being offered before its answer', async () => {
    const campaign = await makeCampaign(api);
    const agents = [await makeAgent(api, [campaign]), await makeAgent(api, [campaign])];
    const contacts = [];
    for (const agent of agents) {
      const contact = await makeContact(api, campaign, { phone_num: mobile(), phone_2: mobile() });
      await makeCall(api, { contact, agent, callNo: 1 });
      contacts.push(contact);
    }
    const { body } = await load(csv('number', contacts[0].phone_2));
    expect(body).toMatchObject({ added: 1, contacts: 1 });
    expect(api.workflows.updates).toMatchObject([{ contact: { contactId: contacts[0].id }, name: 'disable' }]);
    api.workflows.onUpdate = () => Promise.reject(new AppError('UNAVAILABLE', 'Temporal is away'));
    expect((await load(csv('number', contacts[1].phone_num))).status).toBe(503);
    expect(await listed()).toContain(contacts[1].phone_num);
    await pool.query(`UPDATE offer SET ended_at = now() WHERE ended_at IS NULL`);
  });

  test('that arrives slowly holds nobody up who lists one of its numbers', async () => {
    const number = mobile();
    const meanwhile = Promise.withResolvers<void>();
    const slowly = async function* () {
      yield `number\n${number}\n`;
      await meanwhile.promise;
      yield `${mobile()}\n`;
    };
    const upload = fetch(`${api.url}/v1/do-not-call/import`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${api.admin}`, 'Content-Type': 'text/csv' },
      body: Readable.from(slowly()),
      duplex: 'half',
    });
    expect((await put(number)).status).toBe(201);
    meanwhile.resolve();
    expect(await (await upload).json()).toMatchObject({ rows: 2, added: 1, already_listed: 1 });
  });

  test('beside others who list the same numbers in another order: nobody fails', async () => {
    const numbers = Array.from({ length: 300 }, () => mobile());
    const files = Array.from({ length: 4 }, (_, n) => load(csv('number', ...(n % 2 ? numbers : numbers.toReversed()))));
    const pairs = numbers.slice(0, -1).map((number, n) =>
      inTx(api.db, (tx) => listNumbers(tx, [numbers[n + 1]!, number], { source: 'disposition', by: 'agent:1', comment: null, contactId: null })),
    );
    const answers = await Promise.all(files);
    await Promise.all(pairs);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await listed()).toEqual(numbers);
  });
});
