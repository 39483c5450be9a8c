/**
 * Eight matchers at once, random edges, no sweep: nobody twice, and nobody left out when it is quiet.
 *
 * What happened is told by a record that the database itself keeps (triggers), not by the code under test. The steps come
 * from a seed; how they interleave does not.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as legSql from '../../activities/sql.ts';
import { endCalls, enqueueContacts } from '../../matching/queue.ts';
import { type Held, holdStatus, leaveQueue } from '../../matching/sql.ts';
import { inTx } from '../../prisma/tx.ts';
import { seededRandom } from '../../telephony/simulator/script.ts';
import { dial, endOffer, type Matcher, type OpenOffer, Queue, TestClock } from '../kit/queue.ts';

const MATCHERS = 8;
const AGENTS = 200;
const CONTACTS = 5_000;
/** Many short rounds: what one edge leaves behind, a later one would find. */
const ROUNDS = 150;
/** Steps of each matcher in a round. */
const STEPS = 3;
const SEED = 20_300_107;

let queue: Queue;
let matchers: Matcher[];
/** One campaign with a long queue, where agents are scarce, and two that agents wait for. */
let campaigns: number[];
let agents: number[];
/** Contacts that are not in the queue yet, and how many come at once. */
let upcoming: { campaign: number; ids: string[]; page: number }[];
/** Offers that a step is about to end. */
const taken = new Set<string>();

beforeAll(async () => {
  // Every reading of the clock is another moment, and an hour lasts longer than the test: whatever time alone brings
  // (a call offered again, the end of a rest) is left to the sweep, which is off.
  queue = await Queue.open(new TestClock(1));
  matchers = Array.from({ length: MATCHERS }, () => queue.matcher());
  const rules = { reoffer_after_sec: 3600, rest_sec: 600 };
  const [long, dry, other] = [await queue.campaign({ rules }), await queue.campaign({ rules }), await queue.campaign({ rules })];
  campaigns = [long, dry, other];
  const profiles = [{ [long]: 1 }, { [long]: 2, [dry]: 1 }, { [dry]: 1 }, { [dry]: 1, [other]: 2 }, { [dry]: 2, [other]: 1 }];
  agents = [];
  for (let n = 0; n < AGENTS; n++) agents.push(await queue.agent({ serves: profiles[n % profiles.length]! }));
  upcoming = [];
  for (const [campaign, part, page] of [[long, 0.8, 100], [dry, 0.1, 2], [other, 0.1, 2]] as const) {
    const list = Array.from({ length: CONTACTS * part }, (_, n) => ({ priority: n % 3, place: (n * 7) % 100 }));
    upcoming.push({ campaign, page, ids: await queue.contacts(campaign, list) });
  }
  await keepRecord();
}, 60_000);
afterAll(() => queue?.close());

/** Every change of state of a contact, agent or campaign, and every opening and closing of an offer, in order. */
async function keepRecord(): Promise<void> {
  await queue.pool.query(`
    CREATE TABLE record (n bigserial, xact xid8 DEFAULT pg_current_xact_id(), what text, id bigint, was text, is_now text);
    CREATE INDEX ON record (what, id, n);
    CREATE INDEX ON record (xact);
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
  const { campaign, ids, page: most } = oneOf(upcoming, random);
  const page = ids.splice(0, 1 + Math.floor(random() * most));
  await inTx(db, async (tx) => {
    await tx.run(legSql.startedWaiting(tx.now, page, (await tx.row<Held>(holdStatus(campaign)))!));
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

/** Pauses are seldom, or nothing else would happen: a paused campaign has no offers. */
const STEPS_BY_WEIGHT: readonly [number, Step][] = [[0.02, control], [0.2, feed], [0.2, wish], [0.28, end], [0.2, talk], [0.1, match]];

function anyStep(random: Random): Step {
  let left = random();
  return STEPS_BY_WEIGHT.find(([weight]) => (left -= weight) < 0)?.[1] ?? match;
}

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
    `WITH waiting AS MATERIALIZED (
       SELECT a.id, cp.id AS campaign_id FROM agent a
       JOIN agent_queue aq ON aq.agent_id = a.id JOIN campaign cp ON cp.id = aq.campaign_id
       WHERE a.state = 'ready' AND a.lease_until > $1 AND cp.status = 'running'
     ), callable AS MATERIALIZED (
       SELECT campaign_id, call_id FROM contact
       WHERE state = 'queued' AND campaign_id IN (SELECT campaign_id FROM waiting)
     )
     SELECT (SELECT count(*)::int FROM agent WHERE state = 'ready') AS ready,
            (SELECT count(*)::int FROM contact WHERE state = 'queued') AS queued,
            (SELECT count(*)::int FROM waiting w JOIN callable c USING (campaign_id)
             WHERE NOT EXISTS (SELECT 1 FROM offer o
                               WHERE o.call_id = c.call_id AND o.agent_id = w.id AND o.reoffer_at > $1)) AS missed`,
    [queue.clock.now()],
  );
  return row!;
}

it('pairs all who arrive at the same moment', { timeout: 60_000 }, async () => {
  const [one, two] = [await queue.campaign(), await queue.campaign()];
  const four: number[] = [];
  for (let n = 0; n < 4; n++) four.push(await queue.agent({ serves: { [one]: 1 + (n % 2), [two]: 2 - (n % 2) } }));
  for (let turn = 0; turn < 100; turn++) {
    const arriving = (await Promise.all([one, one, two, two].map((campaign) => queue.contacts(campaign, [{}])))).flat();
    await Promise.all([
      ...arriving.map(async (contact, n) => {
        await queue.enqueue(matchers[n]!, [contact]);
        await matchers[n]!.matching.matchCampaign(n < 2 ? one : two);
      }),
      ...four.map((agent, n) => matchers[4 + n]!.matching.setAgentState(agent, 'ready', 'test')),
    ]);
    const offers = await queue.offers();
    expect(offers).toHaveLength(4);
    expect(new Set(offers.map((offer) => offer.agent_id))).toEqual(new Set(four));
    expect(new Set(offers.map((offer) => offer.contact_id))).toEqual(new Set(arriving));
    await Promise.all(offers.map((offer, n) => endOffer(matchers[n]!, offer, 'ringsOut')));
    await queue.pool.query(`UPDATE contact SET state = 'done' WHERE id = ANY($1)`, [arriving]);
  }
  await queue.pool.query(`UPDATE agent SET state = 'logged_off' WHERE id = ANY($1)`, [four]);
});

it(`never leaves a callable contact and a ready agent side by side (seed ${SEED})`, { timeout: 120_000 }, async () => {
  const quiet: Quiet[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await matchers[0]!.matching.renewLease(agents);
    await Promise.all(
      matchers.map(async (matcher, n) => {
        const random = seededRandom(`${SEED}/${round}/${n}`);
        for (let step = 0; step < STEPS; step++) await anyStep(random)(matcher, random);
      }),
    );
    quiet.push(await whenQuiet());
  }
  expect(queue.complaints).toEqual([]);
  expect(quiet.map(({ missed }) => missed)).toEqual(quiet.map(() => 0));
  // Both must wait at times, or there was nothing to leave behind.
  expect(quiet.filter(({ ready, queued }) => ready > 0 && queued > 0).length).toBeGreaterThan(ROUNDS / 2);
});

// These read what the run above has left: the record.

it('made offers of ready agents and queued contacts only, each in a transaction of its own', async () => {
  const made = await queue.rows<{ offers: number; right: number }>(
    `SELECT count(*)::int AS offers,
            (count(*) FILTER (WHERE agents = 1 AND contacts = 1 AND opened = 1))::int AS right
     FROM (SELECT count(*) FILTER (WHERE r.what = 'agent' AND r.id = o.agent_id AND r.was = 'ready' AND r.is_now = 'reserved') AS agents,
                  count(*) FILTER (WHERE r.what = 'contact' AND r.id = o.contact_id AND r.was = 'queued' AND r.is_now = 'offered') AS contacts,
                  count(*) FILTER (WHERE r.what = 'offer') AS opened
           FROM offer o JOIN record opening ON opening.what = 'offer' AND opening.id = o.id AND opening.is_now = 'open'
           JOIN record r ON r.xact = opening.xact GROUP BY o.id) AS one`,
  );
  expect(made[0]!.offers).toBeGreaterThan(500);
  expect(made[0]!.right).toBe(made[0]!.offers);
  // And nobody came to be reserved or offered but by one.
  const [entered] = await queue.rows<{ agents: number; contacts: number }>(
    `SELECT (count(*) FILTER (WHERE what = 'agent' AND is_now = 'reserved'))::int AS agents,
            (count(*) FILTER (WHERE what = 'contact' AND is_now = 'offered'))::int AS contacts FROM record`,
  );
  expect(entered).toEqual({ agents: made[0]!.offers, contacts: made[0]!.offers });
});

it.each(['agent_id', 'contact_id'])('had one open offer at most for each %s at every moment', async (who) => {
  const twice = await queue.rows(
    `SELECT * FROM (SELECT o.${who}, r.n, sum(CASE r.is_now WHEN 'open' THEN 1 ELSE -1 END) OVER (PARTITION BY o.${who} ORDER BY r.n) AS open
                    FROM record r JOIN offer o ON o.id = r.id WHERE r.what = 'offer') AS running
     WHERE open NOT IN (0, 1)`,
  );
  expect(twice).toEqual([]);
});

it('lost no change of a state: each follows the one before it', async () => {
  const lost = await queue.rows(
    `SELECT * FROM (SELECT what, id, n, was, lag(is_now) OVER (PARTITION BY what, id ORDER BY n) AS before FROM record
                    WHERE what <> 'offer') AS changes
     WHERE was <> before`,
  );
  expect(lost).toEqual([]);
});

it('numbered the offers of each contact without a gap', async () => {
  const gaps = await queue.rows(
    `SELECT contact_id, array_agg(offer_no ORDER BY id) AS numbers FROM offer GROUP BY contact_id
     HAVING min(offer_no) <> 1 OR max(offer_no) <> count(*)
       OR array_agg(offer_no ORDER BY id) <> array_agg(offer_no ORDER BY offer_no)`,
  );
  expect(gaps).toEqual([]);
  const [most] = await queue.rows<{ most: number }>(`SELECT max(offer_no) AS most FROM offer`);
  expect(most!.most).toBeGreaterThan(2);
});

it('made no offer of a campaign while it was paused', async () => {
  const [made] = await queue.rows<{ pauses: number; offers: number }>(
    `SELECT (SELECT count(*)::int FROM record WHERE what = 'campaign' AND is_now = 'paused') AS pauses,
            (SELECT count(*)::int FROM record r JOIN offer o ON o.id = r.id AND r.what = 'offer' AND r.is_now = 'open'
             WHERE (SELECT is_now FROM record s WHERE s.what = 'campaign' AND s.id = o.campaign_id AND s.n < r.n
                    ORDER BY s.n DESC LIMIT 1) = 'paused') AS offers`,
  );
  expect(made!.pauses).toBeGreaterThan(5);
  expect(made!.offers).toBe(0);
});

it('told the workflow of each offer once', async () => {
  const told = queue.told.filter(({ name }) => name === 'offered').map(({ contactId, argument }) => {
    return `${contactId}: ${(argument as { offerNo: number }).offerNo}`;
  });
  const made = await queue.rows<{ offer: string }>(`SELECT contact_id || ': ' || offer_no AS offer FROM offer`);
  expect(told.toSorted()).toEqual(made.map(({ offer }) => offer).toSorted());
});
