/** Contacts who are due, on a real database (matching/due.ts): very many in one second, and who is due but can't be called. */
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { setStatus } from '../../api/sql.ts';
import { queueDue } from '../../matching/due.ts';
import { dueContacts, lockDue, nextDueAt } from '../../matching/sql.ts';
import type { Sql } from '../../prisma/tx.ts';
import { type Matcher, Queue } from '../kit/queue.ts';

const MANY = 2_000;
const IN_A_MINUTE = 60;

let queue: Queue;
let worker: Matcher;
/** Campaigns whose workflows were told. */
let changed: string[];

beforeEach(async () => {
  queue = await Queue.open();
  worker = queue.matcher();
  changed = [];
  onTestFinished(() => queue.close());
});

/** Contacts of a campaign who are due in a minute. */
async function waiting(campaign: number, many: number, { reason = 'retry_delay', rank = 2 } = {}): Promise<string[]> {
  const contacts = await queue.contacts(campaign, Array.from({ length: many }, () => ({ rank })));
  await queue.pool.query(`UPDATE contact SET state = 'waiting', wait_reason = $2, wait_until = $3 WHERE id = ANY($1)`, [
    contacts,
    reason,
    dueAt(),
  ]);
  return contacts;
}
const dueAt = () => new Date(queue.clock.now().getTime() + IN_A_MINUTE * 1_000);

const queuePage = (by: Matcher) => queueDue({ ...by, workflows: { campaignChanged: (id) => Promise.resolve(void changed.push(id)) } });

/** As a worker does it, page by page. Returns when somebody is due next. */
async function queueAll(by: Matcher): Promise<Date | null> {
  for (;;) {
    const next = await queuePage(by);
    if (next === null || next > queue.clock.now()) return next;
  }
}

/** The indexes that a statement is to read, by its plan. */
async function indexesOf({ name, text, values }: Sql, mode: string): Promise<string[]> {
  const client = await queue.pool.connect();
  try {
    await client.query(`SET plan_cache_mode = ${mode}`);
    await client.query(`PREPARE plan_${name} AS ${text}`);
    const literals = values.map((value) => client.escapeLiteral(value instanceof Date ? value.toISOString() : Array.isArray(value) ? `{${value.join()}}` : String(value)));
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN EXECUTE plan_${name} (${literals.join()})`);
    return rows.flatMap((row) => /Index (?:Only )?Scan(?: Backward)? using (\w+)|Bitmap Index Scan on (\w+)/.exec(row['QUERY PLAN'])?.slice(1) ?? []).filter(Boolean);
  } finally {
    client.release(true);
  }
}

const states = () =>
  queue.rows<{ state: string; why: string | null; n: number }>(
    `SELECT state, wait_reason AS why, count(*)::int AS n FROM contact GROUP BY 1, 2 ORDER BY 1, 2`,
  );

describe('contacts who are due in the same second', () => {
  it('are queued once, by however many workers, and no workflow is woken for it', async () => {
    const campaign = await queue.campaign();
    await waiting(campaign, MANY);
    const second = dueAt();
    expect(await queueAll(worker), 'nobody is due yet').toEqual(second);
    expect(await states()).toEqual([{ state: 'waiting', why: 'retry_delay', n: MANY }]);

    queue.clock.pass(IN_A_MINUTE + 7);
    const workers = [worker, queue.matcher(), queue.matcher()];
    expect(await Promise.all(workers.map(queueAll))).toEqual([null, null, null]);
    expect(await states()).toEqual([{ state: 'queued', why: null, n: MANY }]);
    const [made] = await queue.rows(
      `SELECT count(*)::int AS calls, count(DISTINCT contact_id)::int AS called,
         (SELECT count(*)::int FROM call_events) AS events, (SELECT min(place) FROM contact) AS first,
         (SELECT max(place) FROM contact) AS last FROM call`,
    );
    expect(made).toEqual({ calls: MANY, called: MANY, events: 2 * MANY, first: second, last: second });
    expect(queue.told).toEqual([]);
  });

  // Statistics are of before they came to wait: by these the index of who is due has nobody in it, and may be read whole a page.
  it.each(['force_custom_plan', 'force_generic_plan'])('are found page by page in their index, and locked by their ids: %s', async (mode) => {
    const contacts = await queue.contacts(await queue.campaign(), Array.from({ length: MANY }, () => ({})));
    await queue.pool.query('ANALYZE contact');
    await queue.pool.query(`UPDATE contact SET state = 'waiting', wait_reason = 'retry_delay', wait_until = $1`, [queue.clock.now()]);
    const now = queue.clock.now();
    expect(await indexesOf(dueContacts(now, 500), mode)).toContain('contact_due');
    expect(await indexesOf(nextDueAt(now), mode)).toEqual(['contact_due']);
    expect(await indexesOf(lockDue(now, contacts.slice(0, 500)), mode)).toEqual(['contact_pkey']);
  });

  it('are offered meanwhile', async () => {
    const campaign = await queue.campaign();
    const agent = await queue.agent({ serves: { [campaign]: 1 } });
    await worker.matching.setAgentState(agent, 'ready', 'test');
    await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
    const contacts = await waiting(campaign, MANY);
    queue.clock.pass(IN_A_MINUTE);
    await queuePage(worker);
    expect(contacts).toContain((await queue.offerOf(agent))?.contact_id);
  });
});

describe('who is due and is not called', () => {
  it('waits for a campaign that is paused, unless it is a promise that this lets through', async () => {
    const campaign = await queue.campaign({ rules: { reschedule: { while_paused: true } } });
    await waiting(campaign, 2);
    await waiting(campaign, 1, { reason: 'rescheduled', rank: 1 });
    await queue.pool.query(setStatus(queue.clock.now(), campaign, 'paused', false));
    queue.clock.pass(IN_A_MINUTE);
    await queueAll(worker);
    expect(await states()).toEqual([
      { state: 'queued', why: null, n: 1 },
      { state: 'waiting', why: 'campaign_not_running', n: 2 },
    ]);
  });

  it('is left alone in a campaign that has ended, and keeps nobody from the queue', async () => {
    const ended = await queue.campaign();
    await waiting(ended, 600);
    await queue.pool.query(setStatus(queue.clock.now(), ended, 'ended', false));
    await waiting(await queue.campaign(), 1);
    queue.clock.pass(IN_A_MINUTE);
    expect(await queueAll(worker), 'nor is it looked for again at once').toBeNull();
    expect(await states()).toEqual([
      { state: 'queued', why: null, n: 1 },
      { state: 'waiting', why: 'retry_delay', n: 600 },
    ]);
  });

  it('is disabled where its number has been listed, and its workflow hears of it', async () => {
    const campaign = await queue.campaign();
    const [contact] = await waiting(campaign, 2);
    await queue.pool.query(
      `INSERT INTO do_not_call (number, added_by, added_at, source) SELECT phone_num, 'key:1', $2, 'api' FROM contact WHERE id = $1`,
      [contact, queue.clock.now()],
    );
    queue.clock.pass(IN_A_MINUTE);
    await queueAll(worker);
    expect(await states()).toMatchObject([{ state: 'disabled', n: 1 }, { state: 'queued', n: 1 }]);
    expect(changed).toEqual([String(campaign)]);
  });

  it.each(['is put off in the very moment', 'is held by an import'])('%s: nobody waits for that', async (what) => {
    const [contact] = await waiting(await queue.campaign(), 2);
    queue.clock.pass(IN_A_MINUTE);
    const later = dueAt();
    const client = await queue.pool.connect();
    await client.query('BEGIN');
    await client.query(`UPDATE contact SET wait_until = $2 WHERE id = $1`, [contact, later]);
    expect(await queueAll(worker)).toBeNull();
    expect(await states()).toMatchObject([{ state: 'queued', n: 1 }, { state: 'waiting', n: 1 }]);

    const isPutOff = what.startsWith('is put off');
    await client.query(isPutOff ? 'COMMIT' : 'ROLLBACK');
    client.release();
    expect(await queueAll(worker)).toEqual(isPutOff ? later : null);
    expect(await states()).toMatchObject(isPutOff ? [{ state: 'queued', n: 1 }, { state: 'waiting', n: 1 }] : [{ state: 'queued', n: 2 }]);
  });
});
