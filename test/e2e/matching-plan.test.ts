/** The pick is an index look-up, however long the queue (SQL1): the plans of matching/sql.ts with 1,000,000 queued rows. */
import type { PoolClient } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { neverOpen, unservedCampaigns } from '../../api/open-problems-sql.ts';
import { updateRules } from '../../api/sql.ts';
import { campaignRulesSchema } from '../../domain/rules.ts';
import * as sql from '../../matching/sql.ts';
import type { Sql } from '../../prisma/tx.ts';
import { NODE, Queue } from '../kit/queue.ts';

const QUEUED = 1_000_000;
/** Campaigns beside the big one, with a short queue each. */
const SMALL = 20;
const AGENTS = 300;
const READY = 200;
/** Offers and legs of earlier calls. */
const HISTORY = 100_000;
/** Queues that each agent serves: the big one and small ones. */
const SERVED = 5;
/** Hours profiles of each queue. */
const PROFILES = 4;
/** Those whose hours are open: the head of each is looked at. */
const OPEN = PROFILES - 1;
/** At the head of the big queue: contacts that the picky agent has rejected, then numbers in use. */
const REJECTED = 100;
const IN_USE = 10;
const HEAD = REJECTED + IN_USE;

/**
 * Pages of one descent of an index and the row it leads to: four levels hold more than 10^9 entries. To look at a contact
 * costs four at most: to itself, to an offer that may forbid it, to one that is still open, to a leg on its number. An agent and each queue served
 * cost two more: the profile and the campaign.
 */
const DESCENT = 5;
const pagesOf = (contacts: number, queues: number) => 4 * DESCENT * contacts + 2 * DESCENT * (queues + 1);

let queue: Queue;
let client: PoolClient;
let big: number;
let small: number[];
/** Ready the longest, and has rejected the head of the big queue. */
let picky: number;
let other: number;

beforeAll(async () => {
  queue = await Queue.open();
  big = await queue.campaign();
  small = [];
  for (let n = 0; n < SMALL; n++) small.push(await queue.campaign());
  client = await queue.pool.connect();
  // The foreign keys of rows made here need no checking.
  await client.query(`SET session_replication_role = replica`);
  await load();
}, 120_000);

afterAll(async () => {
  client?.release();
  await queue?.close();
});

async function load(): Promise<void> {
  const now = queue.clock.now();
  const run = (text: string, values: unknown[]) => client.query(text, values);
  // Places in another order than the rows lie in: what comes from the head of the queue lies all over the table.
  await run(
    `INSERT INTO contact (id, campaign_id, list_key, phone_num, state, state_since, call_no, call_id, place, created_at, updated_at,
       hours_1, order_version, sort_key)
     SELECT n, CASE WHEN n <= $2 THEN $3 ELSE ($4::int[])[n % $5 + 1] END, n, '+47' || 100000000 + n, 'queued', $1, 1,
       n * 1000000 + 1, $1::timestamptz + (n * 7919 % $2) * interval '1 s', $1, $1,
       n / $5 % $6 + 1, 1, contact_sort_key('{}', 0, $1, '[]')
     FROM generate_series(1, $2::bigint + $5 * 1000) AS n`,
    [now, QUEUED, big, small, SMALL, PROFILES],
  );
  await run(
    `INSERT INTO hours_profile (id, zones, country, earliest, latest)
     SELECT p, '{}', 'NO', lpad(p::text, 2, '0') || ':00', '' FROM generate_series(1, $1::int) AS p`,
    [PROFILES],
  );
  // The hours of the last profile are shut.
  await run(
    `INSERT INTO hours_window (campaign_id, profile_id, open_until, legal_until, due_at)
     SELECT cp.id, p, CASE WHEN p < $2 THEN $1::timestamptz + interval '1 h' END, CASE WHEN p < $2 THEN $1::timestamptz + interval '1 h' END,
       $1::timestamptz + interval '1 h'
     FROM campaign cp, generate_series(1, $2::int) AS p`,
    [now, PROFILES],
  );
  await run(
    `INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at)
     SELECT call_id, id, campaign_id, 1, 1, phone_num, $1 FROM contact`,
    [now],
  );
  const agents = await run(
    `INSERT INTO agent (name, phone, state, since, cause, lease_until, created_at, updated_at)
     SELECT 'test', n, CASE WHEN n <= $2 THEN 'ready' ELSE 'paused' END, $1::timestamptz + n * interval '1 s', 'test',
       $1::timestamptz + interval '1 day', $1, $1
     FROM generate_series(1, $3::int) AS n RETURNING id`,
    [now, READY, AGENTS],
  );
  [picky, other] = agents.rows.map((row: { id: number }) => row.id) as [number, number];
  // Everyone serves the big campaign, and others after it.
  await run(
    `INSERT INTO agent_queue (agent_id, campaign_id, priority)
     SELECT id, $1, 1 FROM agent
     UNION ALL SELECT id, ($2::int[])[(id + 5 * n) % $3 + 1], 2 FROM agent, generate_series(1, $4::int - 1) AS n`,
    [big, small, SMALL, SERVED],
  );
  await run(
    `INSERT INTO offer (call_id, contact_id, campaign_id, offer_no, agent_id, node, created_at, deadline, ended_at,
       result_code, reoffer_at)
     SELECT c.call_id, c.id, campaign_id, 1, $3::int + n % $4::int, $5, $1, $1, $1, 't', $1
     FROM generate_series(1, $2::bigint) AS n JOIN contact c ON c.id = n * 10`,
    [now, HISTORY, picky, AGENTS, NODE],
  );
  await run(
    `INSERT INTO leg (id, call_id, offer_id, contact_id, campaign_id, agent_id, ciq, leg_type, sequence, attempt, node,
       source, destination, not_after, created_at, ended_at)
     SELECT o.call_id || '-0-2', o.call_id, o.id, o.contact_id, o.campaign_id, agent_id, 'c', 'contact', 1, 1, $2, '', phone_num,
       $1, $1, $1
     FROM offer o JOIN contact c ON c.id = o.contact_id`,
    [now, NODE],
  );
  await run(
    `INSERT INTO offer (call_id, contact_id, campaign_id, offer_no, agent_id, node, created_at, deadline, ended_at,
       result_code, reoffer_at)
     SELECT call_id, id, campaign_id, 2, $3, $4, $1, $1, $1, 'b', $1::timestamptz + interval '1 h'
     FROM contact WHERE campaign_id = $2 ORDER BY place LIMIT $5`,
    [now, big, picky, NODE, REJECTED],
  );
  await run(
    `INSERT INTO leg (id, call_id, offer_id, contact_id, campaign_id, agent_id, ciq, leg_type, sequence, attempt, node,
       source, destination, not_after, created_at)
     SELECT 'in-use-' || id, 0, 0, id, campaign_id, $3, 'c', 'other', 1, 1, $4, '', phone_num, $1, $1
     FROM contact WHERE campaign_id = $2 ORDER BY place OFFSET $5 LIMIT $6`,
    [now, big, other, NODE, REJECTED, IN_USE],
  );
}

// ---- reading a plan -------------------------------------------------------------------------------------------------

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Rows Removed by Filter'?: number;
  'Actual Rows': number;
  'Actual Loops': number;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  Plans?: PlanNode[];
}

interface Plan {
  pages: number;
  /** Tables read from end to end. */
  scanned: string[];
  indexes: string[];
  /** Most rows that one step sorted. */
  sorted: number;
  /** Contacts looked at. */
  contacts: number;
}

const MODES = ['force_custom_plan', 'force_generic_plan'] as const;

/** What the statement did when it was executed as the prepared statement that it is in the product. */
async function planOf({ name, text, values }: Sql, mode: (typeof MODES)[number]): Promise<Plan> {
  await client.query(`SET plan_cache_mode = ${mode}`);
  await client.query(`PREPARE plan_${name} AS ${text}`);
  try {
    const literals = values.map((value) => client.escapeLiteral(value instanceof Date ? value.toISOString() : String(value)));
    const explain = `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) EXECUTE plan_${name} (${literals.join(', ')})`;
    const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(explain);
    const root = rows[0]!['QUERY PLAN'][0].Plan;
    const nodes = all(root);
    return {
      pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'],
      scanned: nodes.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name']!),
      indexes: nodes.flatMap((node) => node['Index Name'] ?? []),
      sorted: Math.max(0, ...nodes.filter((node) => node['Node Type'].includes('Sort')).map(inputOf)),
      contacts: nodes.filter((node) => node['Relation Name'] === 'contact').reduce((sum, node) => sum + readBy(node), 0),
    };
  } finally {
    await client.query(`DEALLOCATE plan_${name}`);
  }
}

const all = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(all)];
const inputOf = ({ Plans = [] }: PlanNode): number =>
  Plans.reduce((most, plan) => Math.max(most, plan['Actual Rows'] * plan['Actual Loops']), 0);
/** PostgreSQL gives both as averages of a loop, rounded to two digits. */
const readBy = (node: PlanNode): number =>
  Math.floor((node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']);

/** Small tables may be read as a whole: agents, profiles, campaigns, nodes. These may not. */
const LARGE = ['contact', 'call', 'offer', 'leg'];

function expectLookUp(plan: Plan, most: { contacts: number; queues: number; sorted: number }): void {
  expect(plan.scanned.filter((table) => LARGE.includes(table))).toEqual([]);
  expect(plan.indexes).toContain('contact_queue');
  expect(plan.indexes).not.toContain('contact_campaign_id_state_id_idx');
  expect(plan.contacts).toBeGreaterThan(0);
  expect(plan.contacts).toBeLessThanOrEqual(most.contacts);
  expect(plan.sorted).toBeLessThanOrEqual(most.sorted);
  expect(plan.pages).toBeLessThanOrEqual(pagesOf(most.contacts, most.queues));
}

// ---- the plans ------------------------------------------------------------------------------------------------------

describe('with a million contacts in the queue', () => {
  // An import of a large list is matched before PostgreSQL has counted it. Which agent comes first it may then sort out
  // by asking for all of them.
  it.each(MODES)('and no statistics yet, every pick is a look-up (%s)', async (mode) => {
    const now = queue.clock.now();
    for (const pick of [sql.pickForCampaign(now, big), sql.pickForAgent(now, picky), sql.agentsToMatch(now)]) {
      const queues = OPEN * READY * SERVED;
      expectLookUp(await planOf(pick, mode), { contacts: HEAD + queues, queues, sorted: queues });
    }
  });

  describe.each(MODES)('and statistics (%s)', (mode) => {
    beforeAll(async () => void (await client.query(`ANALYZE`)));

    it('the pick of a campaign asks for the first agent, and passes over what is not allowed', async () => {
      const pick = sql.pickForCampaign(queue.clock.now(), big);
      expectLookUp(await planOf(pick, mode), { contacts: HEAD + OPEN, queues: OPEN, sorted: OPEN });
      const { rows } = await client.query<sql.Picked>(pick);
      const [next] = await queue.rows<{ id: string }>(
        `SELECT id FROM (SELECT * FROM contact WHERE campaign_id = $1 ORDER BY place OFFSET $2 LIMIT 100) AS after_head
         WHERE hours_1 < $3 ORDER BY place LIMIT 1`,
        [big, HEAD, PROFILES],
      );
      expect(rows).toMatchObject([{ agent_id: picky, contact_id: next!.id }]);
    });

    it('the pick of a small campaign beside it does not meet the big queue', async () => {
      const plan = await planOf(sql.pickForCampaign(queue.clock.now(), small[0]!), mode);
      expectLookUp(plan, { contacts: OPEN, queues: OPEN, sorted: OPEN });
    });

    it('the pick of an agent looks at the head of each queue served', async () => {
      const plan = await planOf(sql.pickForAgent(queue.clock.now(), other), mode);
      expectLookUp(plan, { contacts: OPEN * SERVED, queues: OPEN * SERVED, sorted: OPEN * SERVED });
    });

    it('the pick of an agent passes over what that agent has rejected, and numbers in use', async () => {
      const plan = await planOf(sql.pickForAgent(queue.clock.now(), picky), mode);
      expectLookUp(plan, { contacts: HEAD + OPEN * SERVED, queues: OPEN * SERVED, sorted: OPEN * SERVED });
    });

    it('the sweep looks at one contact for each ready agent', async () => {
      const plan = await planOf(sql.agentsToMatch(queue.clock.now()), mode);
      // What a filter removed is an average of the loops too, and rounded up.
      expectLookUp(plan, { contacts: HEAD + 2 * OPEN * READY, queues: OPEN * READY, sorted: OPEN * READY });
    });

    it.each([
      ['failing_since = NULL, probe_at = NULL, max_calls = NULL, calls_per_second = NULL'],
      [`failing_since = '2000-01-01', probe_at = '2000-01-01', max_calls = NULL`],
      [`failing_since = NULL, probe_at = NULL, max_calls = 1000, calls_per_second = 10`],
    ])('the node is found by what is open, not by history (%s)', async (is) => {
      await client.query(`UPDATE node SET ${is}`);
      for (const ask of [sql.pickNode(queue.clock.now()), sql.nextCallAt(queue.clock.now())]) {
        const plan = await planOf(ask, mode);
        expect(plan.scanned).toEqual(['node']);
        // Calls are counted for the limit and for the order: each time the open offers, and the open legs.
        expect(plan.pages).toBeLessThanOrEqual(2 * (DESCENT * 2 + IN_USE));
      }
    });

    it('who waits for a node is found by looking at the first who may be offered something', async () => {
      const plan = await planOf(sql.waitingAgent(queue.clock.now()), mode);
      expectLookUp(plan, { contacts: HEAD + OPEN * SERVED, queues: OPEN * SERVED, sorted: OPEN * SERVED });
      const { rows } = await client.query<{ id: number }>(sql.waitingAgent(queue.clock.now()));
      expect(rows).toEqual([{ id: picky }]);
    });
  });

  it('what a person must look at is found by a probe for each queue and its hours', async () => {
    const now = queue.clock.now();
    await client.query(`BEGIN; UPDATE agent SET state = 'logged_off'; UPDATE hours_window SET why = 'outside_hours', opens_at = NULL WHERE open_until IS NULL`);
    try {
      for (const mode of MODES) {
        for (const [name, find] of Object.entries({ unservedCampaigns, neverOpen })) {
          const plan = await planOf({ name, ...find(now) }, mode);
          const probes = (SMALL + 1) * PROFILES;
          expectLookUp(plan, { contacts: 2 * probes, queues: probes + AGENTS * SERVED, sorted: SMALL + 1 });
        }
      }
    } finally {
      await client.query(`ROLLBACK`);
    }
  });

  // The last: it leaves the queue in two orders.
  it('just after a change of the order the first by the new one is picked, and no more than some are looked at', async () => {
    const now = queue.clock.now();
    const [last] = await queue.rows<{ id: string }>(
      `UPDATE contact SET variables = '{"var1": "a"}'
       WHERE id = (SELECT id FROM contact WHERE campaign_id = $1 AND hours_1 < $2 ORDER BY place DESC LIMIT 1) RETURNING id`,
      [big, PROFILES],
    );
    const rules = campaignRulesSchema.parse({ order: [{ by: 'var1' }, { by: 'priority' }] });
    const { rows: first } = await client.query<{ id: string }>(sql.firstInOrder(big, rules.order, rules.filter, 200));
    expect(first.length).toBe(PROFILES * 200);
    await client.query(updateRules(now, big, rules, 'the test'));
    await client.query(sql.reorderThese(big, first.map(({ id }) => id)));

    const pick = sql.pickForCampaign(now, big);
    expect((await client.query<sql.Picked>(pick)).rows).toMatchObject([{ contact_id: last!.id }]);
    for (const mode of MODES) {
      const { pages } = await planOf(pick, mode);
      expect(pages).toBeLessThanOrEqual(pagesOf(OPEN + 200, OPEN) + 200);
    }
  });
});
