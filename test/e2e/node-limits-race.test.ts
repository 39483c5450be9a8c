/**
 * Eight matchers at once over four queues and three nodes with limits, calls that begin and end at random: at no moment has
 * a node more than it may, and all of it is used. How many were up is told by a record that the database keeps itself.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { matchPaced } from '../../matching/sweep.ts';
import { seededRandom } from '../../telephony/simulator/script.ts';
import { dial, endOffer, type Matcher, NODE, Queue, TestClock } from '../kit/queue.ts';

const MATCHERS = 8;
const CAMPAIGNS = 4;
const AGENTS = 60;
const CONTACTS = 2_000;
const ROUNDS = 40;
/** Steps of each matcher in a round. */
const STEPS = 3;
const SEED = 20_300_108;
const MOST: Record<string, number> = { [NODE]: 7, 'node-2': 4, 'node-3': 6 };
const PACED = 'node-3';
const PER_SECOND = 20;

let queue: Queue;
let matchers: Matcher[];
let campaigns: number[];
let agents: number[];
const taken = new Set<string>();

beforeAll(async () => {
  // Time goes on with every look at the clock: some seconds pass in the test.
  queue = await Queue.open(new TestClock(1));
  for (const [node, maxCalls] of Object.entries(MOST)) {
    await queue.node(node, { maxCalls, callsPerSecond: node === PACED ? PER_SECOND : null });
  }
  matchers = Array.from({ length: MATCHERS }, () => queue.matcher());
  campaigns = [];
  for (let n = 0; n < CAMPAIGNS; n++) campaigns.push(await queue.campaign({ rules: { reoffer_after_sec: 1, rest_sec: 0 } }));
  agents = [];
  for (let n = 0; n < AGENTS; n++) {
    agents.push(await queue.agent({ serves: { [campaigns[n % CAMPAIGNS]!]: 1, [campaigns[(n + 1) % CAMPAIGNS]!]: 2 } }));
  }
  for (const campaign of campaigns) {
    const list = Array.from({ length: CONTACTS / CAMPAIGNS }, () => ({}));
    await queue.enqueue(matchers[0]!, await queue.contacts(campaign, list));
  }
  // The opening of an offer is under the node's lock, so the order of the record is that in which they were counted.
  await queue.pool.query(`
    CREATE TABLE record (n bigserial, node text, change int);
    CREATE FUNCTION record_offer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO record (node, change) VALUES (new.node, CASE WHEN new.ended_at IS NULL THEN 1 ELSE -1 END);
      RETURN NULL;
    END $$;
    CREATE TRIGGER record AFTER INSERT OR UPDATE OF ended_at ON offer FOR EACH ROW EXECUTE FUNCTION record_offer()`);
}, 60_000);
afterAll(() => queue?.close());

type Step = (matcher: Matcher, random: () => number) => Promise<unknown>;
const oneOf = <T>(items: readonly T[], random: () => number): T => items[Math.floor(random() * items.length)]!;

const wish: Step = ({ matching }, random) =>
  matching.setAgentState(oneOf(agents, random), random() < 0.9 ? 'ready' : 'paused', 'test');
const matchOne: Step = ({ matching }, random) => matching.matchCampaign(oneOf(campaigns, random));
const due: Step = ({ db, matching }) => matchPaced({ db }, matching);

/** A call ends, rejected or after a talk, and its agent is ready again. */
const end: Step = async (matcher, random) => {
  const free = (await queue.offers()).filter(({ id }) => !taken.has(id));
  if (free.length === 0) return;
  const offer = oneOf(free, random);
  taken.add(offer.id);
  if (random() < 0.5) return endOffer(matcher, offer, 'rejects');
  const call = await dial(matcher, offer);
  await call.answer();
  await call.end({ by: 'remote', phase: 'answered' });
  await matcher.matching.setAgentState(offer.agent_id, 'ready', 'test');
};

const STEP: readonly Step[] = [wish, wish, matchOne, due, end, end, end, end];

it('every node carries as many calls as it may, and no more at any moment', { timeout: 60_000 }, async () => {
  const random = matchers.map((_, n) => seededRandom(`${SEED} ${n}`));
  for (const agent of agents) await matchers[0]!.matching.setAgentState(agent, 'ready', 'test');
  for (let round = 0; round < ROUNDS; round++) {
    await matchers[0]!.matching.renewLease(agents);
    await Promise.all(
      matchers.map(async (matcher, n) => {
        for (let step = 0; step < STEPS; step++) await oneOf(STEP, random[n]!)(matcher, random[n]!);
      }),
    );
  }
  expect(queue.complaints).toEqual([]);
  const reached = await queue.rows<{ node: string; most: number }>(
    `SELECT node, max(up)::int AS most FROM (SELECT node, sum(change) OVER (PARTITION BY node ORDER BY n) AS up FROM record) AS running
     GROUP BY node`,
  );
  expect(Object.fromEntries(reached.map(({ node, most }) => [node, most]))).toEqual(MOST);
});

it('calls a second are not exceeded in any second, and not left unused', async () => {
  const made = await queue.rows<{ at: Date }>(`SELECT created_at AS at FROM offer WHERE node = $1 ORDER BY created_at`, [PACED]);
  const times = made.map(({ at }) => at.getTime());
  const inSecondFrom = times.map((from) => times.filter((at) => at >= from && at < from + 1000).length);
  // A quarter of a second is made up for, and one is the first.
  expect(Math.max(...inSecondFrom)).toBeLessThanOrEqual(PER_SECOND * 1.25 + 1);
  expect(times.length).toBeGreaterThan(2 * PER_SECOND);
});
