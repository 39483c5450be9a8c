/**
 * Eight matchers at once, random edges, no sweep: nobody twice, and nobody left out when it is quiet.
 *
 * What happened is told by a record that the database itself keeps (triggers), not by the code under test. The steps come
 * from a seed; how they interleave does not.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as legSql from '../../activities/sql.ts';
import { endCalls, enqueueContacts } from '../../matching/queue.ts';
import { holdStatus, leaveQueue } from '../../matching/sql.ts';
import { inTx } from '../../prisma/tx.ts';
import { seededRandom } from '../../telephony/simulator/script.ts';
import { dial, endOffer, type Matcher, type OpenOffer, Queue, TestClock } from '../kit/queue.ts';

const MATCHERS = 8;
const AGENTS = 200;
const CONTACTS = 5_000;
const ROUNDS = 16;
/** Steps of each matcher in a round. */
const STEPS = 40;
const SEED = 20_300_107;

let queue: Queue;
let matchers: Matcher[];
let campaigns: number[];
let agents: number[];
/** Contacts that are not in the queue yet. */
let upcoming: { campaign: number; ids: string[] }[];
/** Offers that a step is about to end. */
const taken = new Set<string>();

beforeAll(async () => {
  // Every reading of the clock is another moment, and an hour lasts longer than the test: whatever time alone brings
  // (a call offered again, the end of a rest) is left to the sweep, which is off.
  queue = await Queue.open(new TestClock(1));
  matchers = Array.from({ length: MATCHERS }, () => queue.matcher());
  const rules = { reoffer_after_sec: 3600, rest_sec: 600 };
  campaigns = [await queue.campaign({ rules }), await queue.campaign({ rules })];
  const [first, second] = campaigns as [number, number];
  agents = [];
  for (let n = 0; n < AGENTS; n++) {
    const serves = [{ [first]: 1 }, { [second]: 1 }, { [first]: 1, [second]: 2 }, { [first]: 2, [second]: 1 }][n % 4]!;
    agents.push(await queue.agent({ serves }));
  }
  upcoming = [];
  for (const campaign of campaigns) {
    const list = Array.from({ length: CONTACTS / 2 }, (_, n) => ({ priority: n % 3, place: (n * 7) % 100 }));
    upcoming.push({ campaign, ids: await queue.contacts(campaign, list) });
  }
  await keepRecord();
}, 60_000);
afterAll(() => queue?.close());

/** Every change of state of a contact, agent or campaign, and every opening and closing of an offer, in order. */
async function keepRecord(): Promise<void> {
  await queue.pool.query(`
    CREATE TABLE record (n bigserial, xact xid8 DEFAULT pg_current_xact_id(), what text, id bigint, was text, is_now text);
    CREATE FUNCTION record_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO record (what, id, was, is_now) VALUES (tg_argv[0], new.id, old.state, new.state);
      RETURN NULL;
    END $$;
    CREATE FUNCTION record_status() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO record (what, id, was, is_now) VALUES ('campaign', new.id, old.status, new.status);
      RETURN NULL;
    END $$;
    CREATE FUNCTION record_offer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO record (what, id, is_now) VALUES ('offer', new.id, CASE WHEN new.ended_at IS NULL THEN 'open' ELSE 'over' END);
      RETURN NULL;
    END $$;
    CREATE TRIGGER record AFTER UPDATE OF state ON contact FOR EACH ROW EXECUTE FUNCTION record_state('contact');
    CREATE TRIGGER record AFTER UPDATE OF state ON agent FOR EACH ROW EXECUTE FUNCTION record_state('agent');
    CREATE TRIGGER record AFTER UPDATE OF status ON campaign FOR EACH ROW EXECUTE FUNCTION record_status();
    CREATE TRIGGER record AFTER INSERT OR UPDATE OF ended_at ON offer FOR EACH ROW EXECUTE FUNCTION record_offer()`);
}

// ---- random steps ---------------------------------------------------------------------------------------------------

type Random = () => number;

const oneOf = <T>(items: readonly T[], random: Random): T => items[Math.floor(random() * items.length)]!;

type Step = (matcher: Matcher, random: Random) => Promise<void>;

/** As activities/campaigns.ts feeds a list. */
const feed: Step = async ({ db, matching }, random) => {
  const { campaign, ids } = oneOf(upcoming, random);
  const page = ids.splice(0, 1 + Math.floor(random() * 20));
  await inTx(db, async (tx) => {
    const running = (await tx.row<{ status: string }>(holdStatus(campaign)))?.status === 'running';
    await tx.run(legSql.startedWaiting(tx.now, page, running));
    await enqueueContacts(tx, page, 'starting');
  });
  await matching.matchCampaign(campaign);
};

const wish: Step = async ({ matching }, random) => {
  const want = oneOf(['ready', 'ready', 'ready', 'ready', 'paused', 'logged_off'] as const, random);
  await matching.setAgentState(oneOf(agents, random), want, 'test');
};

const end: Step = async (matcher, random) => {
  const offer = await takeOffer(random);
  if (!offer) return;
  await endOffer(matcher, offer, oneOf(['rejects', 'rejects', 'rejects', 'ringsOut', 'isBusy', 'hangsUp'], random));
  taken.delete(offer.id);
};

const talk: Step = async (matcher, random) => {
  const offer = await takeOffer(random);
  if (!offer) return;
  const call = await dial(matcher, offer);
  await call.answer();
  await call.end({ by: 'remote', phase: 'answered' });
  await matcher.matching.setAgentState(offer.agent_id, 'ready', 'test');
  taken.delete(offer.id);
};

async function takeOffer(random: Random): Promise<OpenOffer | undefined> {
  const free = (await queue.offers()).filter(({ id }) => !taken.has(id));
  if (free.length === 0) return undefined;
  const offer = oneOf(free, random);
  taken.add(offer.id);
  return offer;
}

/** As api/routes/campaigns.ts and activities/campaigns.ts pause and resume. */
const control: Step = async ({ db, matching }, random) => {
  const campaign = oneOf(campaigns, random);
  const to = await inTx(db, async (tx) => {
    await matching.lockQueue(tx, campaign);
    const set = `UPDATE campaign SET status = CASE status WHEN 'running' THEN 'paused' ELSE 'running' END WHERE id = $1 RETURNING status`;
    return (await tx.row<{ status: string }>({ text: set, values: [campaign] }))!.status;
  });
  if (to === 'running') await matching.matchCampaign(campaign);
  await inTx(db, async (tx) => {
    const { status } = (await tx.row<{ status: string }>(holdStatus(campaign)))!;
    if (status === 'running') {
      const waiting = await tx.rows<{ id: string }>(legSql.waitingForCampaign(campaign, CONTACTS));
      await enqueueContacts(tx, waiting.map(({ id }) => id), 'resumed');
    } else {
      const left = await tx.rows<{ call_id: string }>(leaveQueue(tx.now, campaign, 20));
      await endCalls(tx, left.map((row) => row.call_id), 'campaign_paused');
    }
  });
  await matching.matchCampaign(campaign);
};

const match: Step = async ({ matching }, random) => {
  if (random() < 0.5) await matching.matchCampaign(oneOf(campaigns, random));
  else await matching.matchAgent(oneOf(agents, random));
};

/** By turns contacts are scarce, so that agents wait, and agents are, so that contacts wait. */
const STEPS_OF: readonly (readonly Step[])[] = [
  [feed, feed, wish, wish, end, end, end, talk, talk, talk, talk, talk, match],
  [feed, feed, feed, feed, feed, wish, wish, end, end, end, end, talk, match],
];

// ---- the run --------------------------------------------------------------------------------------------------------

interface Quiet {
  ready: number;
  queued: number;
  /** Pairs of a ready agent and a contact that may be offered to that agent. */
  missed: number;
}

/** Written without a look at matching/sql.ts: from docs/domain.md. */
async function whenQuiet(): Promise<Quiet> {
  const [row] = await queue.rows<Quiet>(
    `SELECT (SELECT count(*)::int FROM agent WHERE state = 'ready') AS ready,
            (SELECT count(*)::int FROM contact WHERE state = 'queued') AS queued,
            (SELECT count(*)::int FROM agent a JOIN agent_queue aq ON aq.agent_id = a.id
               JOIN campaign cp ON cp.id = aq.campaign_id JOIN contact c ON c.campaign_id = cp.id
             WHERE a.state = 'ready' AND a.lease_until > $1 AND cp.status = 'running' AND c.state = 'queued'
               AND c.call_id NOT IN (SELECT call_id FROM offer WHERE agent_id = a.id AND reoffer_at > $1)) AS missed`,
    [queue.clock.now()],
  );
  return row!;
}

it(`never offers anyone twice, and leaves no pair behind (seed ${SEED})`, { timeout: 120_000 }, async () => {
  const quiet: Quiet[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await matchers[0]!.matching.renewLease(agents);
    const steps = STEPS_OF[round % 2]!;
    await Promise.all(
      matchers.map(async (matcher, n) => {
        const random = seededRandom(`${SEED}/${round}/${n}`);
        for (let step = 0; step < STEPS; step++) {
          // Seldom, or nothing else would happen: a paused campaign has no offers.
          const next = random() < 0.02 ? control : oneOf(steps, random);
          await next(matcher, random);
        }
      }),
    );
    quiet.push(await whenQuiet());
  }
  expect(queue.complaints).toEqual([]);
  expect(quiet.map(({ missed }) => missed)).toEqual(quiet.map(() => 0));
  // Otherwise this would prove nothing.
  expect(quiet.some(({ ready }) => ready > 0)).toBe(true);
  expect(quiet.some(({ queued }) => queued > 0)).toBe(true);
});
