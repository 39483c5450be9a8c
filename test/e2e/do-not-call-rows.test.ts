/**
 * What workers do for numbers that were listed, on a real database with a clock that the test sets: pending numbers in
 * pages, several workers at once, a worker that dies over it; and the plans with a million contacts and a million numbers.
 */
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createListings, endListed, listNumbers, OWN_TIME_MS } from '../../activities/do-not-call.ts';
import * as sql from '../../activities/do-not-call-sql.ts';
import * as callSql from '../../activities/sql.ts';
import { enqueue } from '../../matching/sql.ts';
import { type Db, inTx, type Sql } from '../../prisma/tx.ts';
import { type Matcher, Queue } from '../kit/queue.ts';
import { storyOf } from '../kit/scene.ts';

const LISTING = { source: 'api', by: 'key:7', comment: null, contactId: null } as const;
const log = pino({ level: 'silent' });
const numbers = (from: number, count: number) => Array.from({ length: count }, (_, n) => `+47${from + n}`);

let queue: Queue;
let matcher: Matcher;
let db: Db;
const open = async () => {
  queue = await Queue.open();
  matcher = queue.matcher(6);
  ({ db } = matcher);
};
const list = (listed: string[]) => inTx(db, (tx) => listNumbers(tx, listed, LISTING));
const pending = async () =>
  (await queue.rows<{ number: string }>(`SELECT number FROM do_not_call_pending ORDER BY id`)).map(({ number }) => number);
const revision = async (campaign: number) =>
  (await queue.rows<{ revision: number }>(`SELECT revision FROM campaign WHERE id = $1`, [campaign]))[0]!.revision;
const states = async () =>
  queue.rows<{ state: string; ended_reason: string | null; n: number }>(
    `SELECT state, ended_reason, count(*)::int AS n FROM contact GROUP BY 1, 2 ORDER BY 1`,
  );

/** A worker's share; `campaigns`: whom it told. */
function worker(fails: () => boolean = () => false) {
  const campaigns: string[] = [];
  const workflows = {
    signal: async (contact: { contactId: string }, { name }: { name: string }, argument: unknown) => {
      if (fails()) throw new Error('Temporal is away');
      queue.told.push({ name, contactId: contact.contactId, argument });
      return 'told' as const;
    },
    campaignChanged: async (id: string) => {
      if (fails()) throw new Error('Temporal is away');
      campaigns.push(id);
    },
  };
  const page = createListings({ db, workflows, log });
  const untilDry = async () => {
    while (await page());
  };
  return { campaigns, page, untilDry };
}

describe('pending numbers', () => {
  beforeEach(async () => {
    await open();
    onTestFinished(() => queue.close());
  });

  it('are left to whoever listed them for a while, then a worker ends their contacts and tells the campaigns', async () => {
    const [one, two] = [await queue.campaign(), await queue.campaign()];
    const listed = numbers(22600000, 3);
    const contacts = [
      ...(await queue.contacts(one, listed.map((phone) => ({ phone })))),
      ...(await queue.contacts(two, [{ phone: listed[0]! }])),
    ];
    const [bystander] = await queue.contacts(two, [{ phone: '+4722699999' }]);
    await queue.enqueue(matcher, [...contacts, bystander!]);
    await list(listed);
    const before = [await revision(one), await revision(two)];
    const { untilDry, campaigns } = worker();
    await untilDry();
    expect(await pending()).toEqual(listed);

    queue.clock.pass(OWN_TIME_MS / 1000);
    await untilDry();
    expect(await pending()).toEqual([]);
    expect(await states()).toEqual([
      { state: 'disabled', ended_reason: 'do_not_call', n: 4 },
      { state: 'queued', ended_reason: null, n: 1 },
    ]);
    expect(campaigns.sort()).toEqual([one, two].map(String));
    for (const id of contacts) expect(await storyOf({ sql: queue.pool }, id)).toBe('i q:q q:d(do_not_call)');
    expect([await revision(one), await revision(two)]).toEqual(before.map((n) => n + 1));
  });

  it('whose worker died are due again: nothing is done twice, and nothing is lost', async () => {
    const campaign = await queue.campaign();
    const listed = numbers(22600000, 2);
    const contacts = await queue.contacts(campaign, listed.map((phone) => ({ phone })));
    await queue.enqueue(matcher, contacts);
    await list(listed);
    queue.clock.pass(OWN_TIME_MS / 1000);
    // It has claimed them and ended one contact; then it is dead.
    const until = new Date(queue.clock.now().getTime() + 30_000);
    expect((await db.pool.query(sql.claimPending(queue.clock.now(), '0', until, 10))).rowCount).toBe(2);
    await inTx(db, (tx) => tx.rows(sql.endListed(tx.now, [listed[0]!], 10)));
    const before = await revision(campaign);
    const { untilDry, campaigns } = worker();
    await untilDry();
    expect(await pending()).toEqual(listed);

    queue.clock.pass(31);
    await untilDry();
    expect(await pending()).toEqual([]);
    expect(await states()).toEqual([{ state: 'disabled', ended_reason: 'do_not_call', n: 2 }]);
    // The campaign has its drain to do, though the contacts had been ended before.
    expect([await revision(campaign), campaigns]).toEqual([before + 1, [String(campaign)]]);
  });

  it('that are taken off before concern nobody', async () => {
    const campaign = await queue.campaign();
    const [phone] = numbers(22600000, 1);
    await queue.enqueue(matcher, await queue.contacts(campaign, [{ phone: phone! }]));
    await list([phone!]);
    await db.pool.query(sql.removeNumber(queue.clock.now(), phone!, 'key:8', 'a mistake'));
    queue.clock.pass(10);
    await worker().untilDry();
    expect(await pending()).toEqual([]);
    expect(await states()).toEqual([{ state: 'queued', ended_reason: null, n: 1 }]);
  });

  it('are carried out in the rows while Temporal is away', async () => {
    const campaign = await queue.campaign();
    const listed = numbers(22600000, 2);
    const contacts = await queue.contacts(campaign, listed.map((phone) => ({ phone })));
    await queue.enqueue(matcher, contacts);
    const agent = await queue.agent({ serves: { [campaign]: 1 } });
    await matcher.matching.setAgentState(agent, 'ready', 'test');
    await list(listed);
    queue.clock.pass(10);
    let away = true;
    const { untilDry } = worker(() => away);
    queue.told.length = 0;
    await untilDry();
    expect(await pending()).toEqual([]);
    expect(await states()).toMatchObject([{ state: 'disabled' }, { state: 'offered', ended_reason: 'do_not_call' }]);
    expect(queue.told).toEqual([]);
    away = false;
    await untilDry();
    const { contact_id } = (await queue.offerOf(agent))!;
    const disable = { name: 'disable', contactId: contact_id, argument: { reason: 'do_not_call', by: 'key:7' } };
    expect(queue.told).toEqual([disable]);
    // Told until the decision stands.
    await untilDry();
    expect(queue.told).toEqual([disable, disable]);
    await db.pool.query(callSql.withdrawOffer((await queue.offerOf(agent))!.id, 'do_not_call'));
    await untilDry();
    expect(queue.told).toHaveLength(2);
  });

  it('are shared by workers: each is taken up by one, and all are done', async () => {
    const campaigns = [await queue.campaign(), await queue.campaign(), await queue.campaign()];
    const listed = numbers(22600000, 6_000);
    for (const [n, campaign] of campaigns.entries()) {
      const own = listed.filter((_, i) => i % 3 === n || i % 7 === 0);
      await queue.enqueue(matcher, await queue.contacts(campaign, own.map((phone) => ({ phone }))));
    }
    await list(listed);
    queue.clock.pass(OWN_TIME_MS / 1000);
    await Promise.all([worker(), worker(), worker()].map(({ untilDry }) => untilDry()));
    expect(await pending()).toEqual([]);
    expect(await states()).toMatchObject([{ state: 'disabled', ended_reason: 'do_not_call' }]);
    const [events] = await queue.rows<{ n: number; last: string; contacts: number }>(
      `SELECT count(*)::int AS n, max(position) AS last, count(DISTINCT contact_id)::int AS contacts FROM call_events
       WHERE result_code = 'd' AND result_reason = 'do_not_call'`,
    );
    const n = (await states())[0]!.n;
    expect(events).toMatchObject({ n, contacts: n });
  });
});

// ---- plans ------------------------------------------------------------------------------------------------------------

const CONTACTS = 1_000_000;
const PAGE = 500;

describe('with a million contacts and a million listed numbers', () => {
  const plans: Record<string, string> = {};

  beforeAll(async () => {
    await open();
    const campaign = await queue.campaign();
    const client = await queue.pool.connect();
    await client.query(`SET session_replication_role = replica`);
    await client.query(
      `INSERT INTO contact (campaign_id, list_key, phone_num, phone_2, state, state_since, call_no, call_id, place, created_at, updated_at)
       SELECT $2, n, '+47' || 100000000 + n, CASE WHEN n % 5 = 0 THEN '+47' || 200000000 + n END, 'queued', $1, 1, n * 1000000 + 1, $1, $1, $1
       FROM generate_series(1, $3::bigint) AS n`,
      [queue.clock.now(), campaign, CONTACTS],
    );
    await client.query(
      `INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at)
       SELECT call_id, id, campaign_id, 1, 1, phone_num, $1 FROM contact`,
      [queue.clock.now()],
    );
    // Nine of ten are of people who are on no list; every tenth contact is met, some by their second number.
    await client.query(
      `INSERT INTO do_not_call (number, added_by, added_at, source)
       SELECT '+47' || CASE n % 2 WHEN 0 THEN 100000000 ELSE 200000000 END + n * 10, 'key:1', $1, 'import'
       FROM generate_series(1, $2::bigint) AS n`,
      [queue.clock.now(), CONTACTS],
    );
    client.release();
  }, 180_000);
  afterAll(() => queue?.close());

  async function explain(name: string, { text, values }: Sql): Promise<{ scanned: string[]; ms: number; pages: number }> {
    const client = await queue.pool.connect();
    try {
      await client.query('BEGIN');
      const literal = (value: unknown): string => {
        if (Array.isArray(value)) return `ARRAY[${value.map(literal).join(',')}]`;
        if (value instanceof Date) return `'${value.toISOString()}'::timestamptz`;
        return value === null ? 'NULL' : client.escapeLiteral(`${value as string}`);
      };
      const filled = text.replace(/\$(\d+)/g, (_, n: string) => literal(values[Number(n) - 1]));
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Json; 'Execution Time': number }] }>(
        `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${filled}`,
      );
      const [{ Plan, 'Execution Time': ms }] = rows[0]!['QUERY PLAN'];
      plans[name] = `${Math.round(ms)} ms, ${Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks']} pages`;
      const nodes = all(Plan);
      const scanned = nodes.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name']!);
      return { scanned, ms, pages: Plan['Shared Hit Blocks'] + Plan['Shared Read Blocks'] };
    } finally {
      await client.query('ROLLBACK');
      client.release();
    }
  }
  interface Json {
    'Node Type': string;
    'Relation Name'?: string;
    'Shared Hit Blocks': number;
    'Shared Read Blocks': number;
    Plans?: Json[];
  }
  const all = (node: Json): Json[] => [node, ...(node.Plans ?? []).flatMap(all)];

  const LARGE = ['contact', 'call', 'do_not_call'];
  /** The first listed numbers, every other one the second number of its contact. */
  const listed = (count: number) =>
    Array.from({ length: count }, (_, i) => `+47${(i % 2 ? 100_000_000 : 200_000_000) + (i + 1) * 10}`);
  const statements = (): Record<string, [Sql, number]> => {
    const now = queue.clock.now();
    const ids = Array.from({ length: PAGE }, (_, n) => String(n + 1));
    return {
      'a page of numbers ends its contacts': [sql.endListed(now, listed(PAGE), PAGE), 60_000],
      'their campaigns have a change': [sql.bumpUndrained(now, listed(PAGE)), 60_000],
      'who is being called with one of them': [sql.beingCalled(listed(PAGE)), 100],
      'who is being called': [sql.beingCalled(null), 100],
      'the dial asks for a number': [callSql.findListed('1', ['+47100000010', '+47200000010']), 40],
      'a page enters the queue': [enqueue(now, ids, 'resumed'), 20_000],
      'a page is claimed by the feed': [callSql.claimPage(now, 1, 50), 2_000],
    };
  };

  it.each(['before', 'after'])('every statement is a look-up, %s PostgreSQL has counted', async (when) => {
    if (when === 'after') await queue.rows('ANALYZE');
    for (const [name, [statement, most]] of Object.entries(statements())) {
      const { scanned, pages } = await explain(`${when}: ${name}`, statement);
      expect(scanned.filter((table) => LARGE.includes(table)), name).toEqual([]);
      expect(pages, name).toBeLessThan(most);
    }
    console.log(plans);
  });

  it('100,000 numbers end their contacts in pages', async () => {
    const met = listed(100_000);
    const startedAt = performance.now();
    let pages = 0;
    let longest = 0;
    for (let from = 0; from < met.length; from += PAGE) {
      const pageAt = performance.now();
      await endListed(db, met.slice(from, from + PAGE));
      longest = Math.max(longest, performance.now() - pageAt);
      pages++;
    }
    console.log({ ended: met.length, pages, ms: Math.round(performance.now() - startedAt), longestMs: Math.round(longest) });
    const { rows } = await queue.pool.query(`SELECT count(*)::int AS n FROM contact WHERE ended_reason = 'do_not_call'`);
    expect(rows).toEqual([{ n: met.length }]);
  });
});
