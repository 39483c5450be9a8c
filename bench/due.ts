// Very many contacts, each with its workflow, come due in the same second: how soon all of them are queued, beside the same
// rows written by plain SQL; and how calls, the API and memory do meanwhile.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Figure } from './figure.ts';
import {
  type AgentAccount,
  countContacts,
  dials,
  makeAgent,
  makeCampaign,
  type Product,
  progress,
  quantile,
  type Rig,
  seconds,
  type Simulated,
  until,
} from './kit.ts';
import { timedCalls } from './latency.ts';

/** All numbers that makeCampaign has for one digit. */
export const MOST_CONTACTS = 100_000;
/** Of the campaign that is called meanwhile. */
const LIVE = 1_000;
/** Calls before it, with nothing due. */
const CALLS = 40;
/** Nobody is due before everything is ready for it. */
const FAR_AHEAD = '1 day';
/** Before the second in which they are due, there is time to write that. */
const WRITTEN_WITHIN_MS = 10_000;
const QUEUED_WITHIN_MS = 600_000;
/** Of the feed, at least. */
const STARTED_A_SECOND = 20;
/** A request of each sort, and a look at the memory, with so much between them. */
const LOOK_EVERY_MS = 200;
const ANSWERED_WITHIN_MS = 2_000;

export async function benchDue(rig: Rig, contacts: number): Promise<Figure[]> {
  const { sql, say } = rig;
  const product = await rig.product();
  const live = await makeLive(rig, product);
  const list = await makeWaiting(rig, product, contacts);
  const first = await makeAgent(product, list, '1001');
  const look = <T>(work: () => Promise<T>) => watched(product, list, work);

  const before = await look(() => timedCalls(rig, product, { ...live, from: 0 }, (n) => n < CALLS));
  say(`${CALLS} calls with nothing due; now ${contacts} contacts are due in one second`);
  await sql.query(`CREATE TABLE waiting_contact AS SELECT * FROM contact WHERE campaign_id = ${Number(list)}`);
  const dueAt = await letThemBeDue(rig, product, { list, contacts, first });
  let isOver = false;
  const during = await look(async () => {
    const calling = timedCalls(rig, product, { ...live, from: CALLS }, () => !isOver);
    await until('all are queued', QUEUED_WITHIN_MS, () => areQueued(rig, list, contacts), 250).finally(() => (isOver = true));
    return calling;
  });
  const doneAt = await mustBeQueuedOnce(rig, list, contacts);
  const took = (doneAt - dueAt) / 1000;
  const calls = during.result.filter(({ readyAt }) => readyAt >= dueAt && readyAt <= doneAt);
  say(`all were queued ${took.toFixed(1)} s later; ${calls.length} calls meanwhile; ${during.refused} requests were refused (503)`);
  say(`the slowest answer was that of GET ${during.slowest.path}`);
  const bare = await writeBare(rig, list);
  return [
    {
      name: 'contacts queued, all due in one second',
      value: contacts / took,
      unit: '/s',
      limit: contacts / bare,
      limitIs: 'the same rows by plain SQL, in one transaction',
    },
    {
      name: 'repairs meanwhile',
      value: await countRepairs(rig, dueAt),
      unit: '',
      limit: contacts,
      limitIs: 'the contacts',
      aim: { of: 'value', atMost: 0 },
    },
    {
      name: "due → an agent's phone told to ring, the first",
      value: (await firstRing(rig, product, list)) - dueAt,
      unit: 'ms',
      limit: quantile(ringsOf(before.result), 0.5),
      limitIs: 'ready → ring with nothing due, p50',
    },
    ...beside(before, { ...during, result: calls }),
  ];
}

const ringsOf = (calls: { ringMs: number }[]): number[] => calls.map(({ ringMs }) => ringMs);

/** How all else does while they are due, beside how it did before. */
function beside(before: Watched<{ ringMs: number }[]>, during: Watched<{ ringMs: number }[]>): Figure[] {
  const limitIs = 'the same with nothing due';
  return [
    ...[0.5, 0.95].map((share) => ({
      name: `agent ready → phone told to ring meanwhile, p${share * 100}`,
      value: quantile(ringsOf(during.result), share),
      unit: 'ms',
      limit: quantile(ringsOf(before.result), share),
      limitIs,
    })),
    {
      name: 'slowest answer of the API meanwhile',
      value: during.slowest.ms,
      unit: 'ms',
      limit: before.slowest.ms,
      limitIs,
      aim: { of: 'value', atMost: ANSWERED_WITHIN_MS },
    },
    ...(['worker', 'api'] as const).map((name): Figure => ({
      name: `memory of the ${name}, at most`,
      value: during.memory[name],
      unit: 'MB',
      limit: before.memory[name],
      limitIs,
      aim: { of: 'ratio', atMost: 1.5 },
    })),
  ];
}

/** A campaign that is called all the time, and the agent who does it. */
async function makeLive({ sql }: Rig, product: Simulated): Promise<{ campaign: string; agent: AgentAccount }> {
  const campaign = await makeCampaign(product, 'Live', '6', LIVE);
  const agent = await makeAgent(product, campaign, '1000');
  await product.ask('POST', `/campaigns/${campaign}/start`);
  const withinMs = 60_000 + (LIVE / STARTED_A_SECOND) * 1_000;
  await until('all contacts are queued', withinMs, async () => (await countContacts(sql, campaign, 'queued')) === LIVE);
  return { campaign, agent };
}

/** A campaign whose contacts wait for a retry far ahead, each with its open workflow. */
async function makeWaiting({ sql, say }: Rig, product: Simulated, contacts: number): Promise<string> {
  const list = await makeCampaign(product, 'Due', '5', contacts);
  await sql.query(`UPDATE contact SET wait_until = now() + interval '${FAR_AHEAD}', queue_rank = 2 WHERE campaign_id = $1`, [list]);
  const tell = progress(say, 'workflows that wait', contacts, 30_000);
  const took = await seconds(async () => {
    await product.ask('POST', `/campaigns/${list}/start`);
    await until('all contacts wait', 60_000 + (contacts / STARTED_A_SECOND) * 1_000, async () => {
      const waiting = await countContacts(sql, list, 'waiting');
      tell(waiting);
      return waiting === contacts;
    }, 1_000);
  });
  say(`${contacts} workflows were started and wait after ${took.toFixed(0)} s`);
  return list;
}

/** All in one second, for which an agent of theirs is ready; returns its beginning, epoch ms. */
async function letThemBeDue(
  { sql }: Rig,
  product: Product,
  { list, contacts, first }: { list: string; contacts: number; first: AgentAccount },
): Promise<number> {
  const dueAt = Math.ceil((Date.now() + WRITTEN_WITHIN_MS + contacts / 10) / 1000) * 1000;
  // Within that second, as retries of many calls are.
  await sql.query(
    `UPDATE contact SET wait_until = $2::timestamptz + (id % 1000) * interval '1 ms' WHERE campaign_id = $1`,
    [list, new Date(dueAt)],
  );
  if (Date.now() > dueAt) throw new Error('it took too long to write when they are due');
  await product.ask('PUT', `/agents/${first.id}/state`, { state: 'ready' }, first.key);
  await sleep(dueAt - Date.now());
  return dueAt;
}

async function areQueued({ sql }: Rig, list: string, contacts: number): Promise<boolean> {
  const { rows } = await sql.query<{ n: number }>(`SELECT count(*)::int AS n FROM call WHERE campaign_id = $1`, [list]);
  return rows[0]!.n >= contacts;
}

/** Returns when the last one was queued, epoch ms. */
async function mustBeQueuedOnce({ sql }: Rig, list: string, contacts: number): Promise<number> {
  const { rows } = await sql.query<{ calls: number; called: number; told: number; last: Date }>(
    `SELECT count(*)::int AS calls, count(DISTINCT contact_id)::int AS called, max(queued_at) AS last,
       (SELECT count(*)::int FROM call_events WHERE campaign_id = $1 AND call_sequence <= 2) AS told
     FROM call WHERE campaign_id = $1`,
    [list],
  );
  const { calls, called, told, last } = rows[0]!;
  if (calls !== contacts || called !== contacts || told !== 2 * contacts) {
    throw new Error(`${contacts} contacts have ${calls} calls (${called} of them one) and ${told} events`);
  }
  return last.getTime();
}

/** The agents here have no stream: they are logged off after their calls. */
async function countRepairs({ sql }: Rig, since: number): Promise<number> {
  const { rows } = await sql.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM repair WHERE at >= $1 AND cause <> 'agent_lost'`,
    [new Date(since)],
  );
  return rows[0]!.n;
}

/** When the first phone of the list's agents was rung, epoch ms. */
async function firstRing({ sql }: Rig, product: Simulated, list: string): Promise<number> {
  const { rows } = await sql.query<{ id: string }>(`SELECT id FROM leg WHERE campaign_id = $1 AND ciq = 'a' ORDER BY created_at LIMIT 1`, [list]);
  return (await dials(product)).find(({ legId }) => legId === rows[0]?.id)?.at ?? NaN;
}

/** Seconds in which plain SQL writes what queueing the list has written, into equal tables. */
async function writeBare({ sql }: Rig, list: string): Promise<number> {
  const tables = ['contact', 'call', 'call_variables', 'call_events'];
  for (const table of tables) await sql.query(`CREATE TABLE bare_${table} (LIKE ${table} INCLUDING ALL)`);
  await sql.query(`INSERT INTO bare_contact SELECT * FROM waiting_contact`);
  const client = await sql.connect();
  try {
    return await seconds(async () => {
      await client.query('BEGIN');
      await client.query(
        `UPDATE bare_contact SET state = 'queued', state_since = now(), call_no = call_no + 1, call_id = id * 1000000 + call_no + 1,
           wait_reason = NULL, wait_until = NULL, place = wait_until, updated_at = now()`,
      );
      await client.query(`INSERT INTO bare_call SELECT * FROM call WHERE campaign_id = $1`, [list]);
      await client.query(
        `INSERT INTO bare_call_variables SELECT v.* FROM call_variables v JOIN call k USING (call_id) WHERE k.campaign_id = $1`,
        [list],
      );
      await client.query(`INSERT INTO bare_call_events SELECT * FROM call_events WHERE campaign_id = $1 AND call_sequence <= 2`, [list]);
      await client.query('COMMIT');
    });
  } finally {
    client.release();
  }
}

// ---- what is seen meanwhile ------------------------------------------------------------------------------------------

interface Watched<T> {
  result: T;
  /** Of the API's answers to requests of every sort, one at a time. */
  slowest: { ms: number; path: string };
  /** How many were a 503. */
  refused: number;
  /** At most, MB. */
  memory: { worker: number; api: number };
}

/** Asks and looks for as long as `work` takes. */
async function watched<T>(product: Product, list: string, work: () => Promise<T>): Promise<Watched<T>> {
  const ofList = ['', '/stats', '/contacts?limit=50'].map((what) => `/campaigns/${list}${what}`);
  const paths = ['/campaigns', ...ofList, '/call-events?limit=1000', '/problems', '/repairs'];
  const memory = { worker: 0, api: 0 };
  let slowest = { ms: 0, path: '' };
  let refused = 0;
  let isOver = false;
  const asking = (async () => {
    for (let n = 0; !isOver; n++) {
      const path = paths[n % paths.length]!;
      const from = performance.now();
      const response = await product.get(path);
      await response.arrayBuffer();
      const ms = performance.now() - from;
      if (ms > slowest.ms) slowest = { ms, path };
      if (response.status === 503 && response.headers.has('retry-after')) refused += 1;
      else if (!response.ok) throw new Error(`GET ${path}: ${response.status}`);
      await sleep(LOOK_EVERY_MS / paths.length);
    }
  })();
  const looking = (async () => {
    for (; !isOver; await sleep(LOOK_EVERY_MS)) {
      const [worker, api] = await Promise.all([product.workerMemory(), product.memory().catch(() => 0)]);
      memory.worker = Math.max(memory.worker, worker);
      memory.api = Math.max(memory.api, api);
    }
  })();
  // One that fails ends the others, and is what is told.
  const working = work().finally(() => (isOver = true));
  const [result] = await Promise.all([working, asking, looking]);
  return { result, slowest, refused, memory };
}
