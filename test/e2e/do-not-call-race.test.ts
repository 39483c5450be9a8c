/**
 * Listing against the dial, at random moments: after the answer of the API no leg is sent, by the switch's own record. Then
 * a large file against a campaign that is being called.
 */
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { seededRandom } from '../../telephony/simulator/script.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene, storyOf } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

const AGENTS = 8;
/** `RACES=2000` for figures. */
const RACES = Number(process.env.RACES ?? 160);
const SEED = Number(process.env.RACES_SEED ?? Math.floor(Math.random() * 1e9));
/** From the agent's leg on: the agent answers within 0.2 s, the dial comes some 50 ms later. */
const LATEST_MS = 1_000;
const PHONES = { contact: { trying: 0.01, alerting: 0.05, media: 0 }, agent: { trying: 0, alerting: 0.01, media: 0 } };

let system: System;
beforeAll(async () => {
  system = await startSystem({
    speed: 1,
    script: {
      contacts: [{ weight: 1, behaviour: { ...PHONES.contact, then: { kind: 'silent' } } }],
      agents: { ...PHONES.agent, then: { kind: 'answers', after: [0, 0.2] } },
    },
  });
}, 90_000);
afterAll(() => system?.stop());

let next = 22510000;
const number = () => `+47${next++}`;

interface DialledLeg {
  to: string;
  at: number;
  party: string;
}
async function dials(): Promise<DialledLeg[]> {
  const all: Json[] = [];
  for (let after: string | null = '0'; after !== null; ) {
    const page: Json = await system.ok('GET', `/simulator/dials?limit=1000&after=${after}`);
    all.push(...page.items);
    after = page.next;
  }
  return all.map(({ to, at, party }) => ({ to, party, at: Date.parse(at) })).filter(({ party }) => party === 'contact');
}

/** They stay logged on until the test is over. */
async function ready(s: Scene): Promise<void> {
  for (let n = 0; n < s.agents.length; n++) await s.ready(n);
  onTestFinished(s.staysOn());
}

it(`${RACES} listings while the contact is being offered and dialled (seed ${SEED})`, async () => {
  const random = seededRandom(String(SEED));
  const contacts = Array.from({ length: RACES }, () => ({ phone_num: number(), phone_2: number() }));
  const s = await setScene(system, { agents: AGENTS, contacts, rules: { ring_sec: 60 } });
  const byId = new Map(s.contacts.map((id, n) => [id, contacts[n]!]));
  const ways = [
    ({ phone_num }: Json) => system.ok('PUT', `/do-not-call/${encodeURIComponent(phone_num)}`),
    ({ phone_2 }: Json) => system.ok('PUT', `/do-not-call/${encodeURIComponent(phone_2)}`),
    ({ phone_2 }: Json) => system.ok('POST', '/do-not-call/import', `number\n${phone_2}\n`),
  ];
  const answeredAt = new Map<string, number>();
  const listings: Promise<void>[] = [];
  const list = async (id: string) => {
    const dueAt = performance.now() + random() * LATEST_MS;
    const way = ways[Math.floor(random() * ways.length)]!;
    await eventually(() => performance.now() >= dueAt, { everyMs: 1 });
    await way(byId.get(id));
    answeredAt.set(id, Date.now());
  };
  const begun = new Set<string>();
  await ready(s);
  await eventually(
    async () => {
      const { rows } = await system.sql.query(`SELECT contact_id FROM leg WHERE ciq = 'a' AND campaign_id = $1`, [s.campaign]);
      for (const { contact_id } of rows) {
        if (begun.has(contact_id)) continue;
        begun.add(contact_id);
        listings.push(list(contact_id));
      }
      return begun.size === RACES;
    },
    { withinMs: 60_000 + RACES * 500, everyMs: 20 },
  );
  await Promise.all(listings);

  const sent = await dials();
  const late = s.contacts.flatMap((id) => {
    const { phone_num, phone_2 } = byId.get(id)!;
    const legs = sent.filter(({ to }) => to === phone_num || to === phone_2);
    return legs.filter(({ at }) => at > answeredAt.get(id)!).map(({ at }) => at - answeredAt.get(id)!);
  });
  expect(late, 'ms after the answer').toEqual([]);
  const stories = new Map<string, number>();
  for (const id of s.contacts) {
    await eventually(async () => {
      const { rows } = await system.sql.query(`SELECT state, ended_reason, closed_at FROM contact WHERE id = $1`, [id]);
      expect(rows).toMatchObject([{ state: 'disabled', ended_reason: 'do_not_call', closed_at: expect.any(Date) }]);
      return true;
    });
    const story = await storyOf(system, id);
    expect(story).toMatch(/^i q:q a:[hqk](\(do_not_call\))?( c:[hqk]\((do_not_call|abandoned)\))? q:d\(do_not_call\)$/);
    stories.set(story, (stories.get(story) ?? 0) + 1);
  }
  console.log(Object.fromEntries(stories));
  // It was a race: some were dialled, and some were not.
  const called = [...stories].filter(([story]) => story.includes(' c:')).reduce((sum, [, n]) => sum + n, 0);
  expect(called).toBeGreaterThan(RACES / 10);
  expect(RACES - called).toBeGreaterThan(RACES / 10);
  expect(sent.length).toBe(called);
  const { rows: free } = await system.sql.query(`SELECT DISTINCT state FROM agent`);
  expect(free).toEqual([{ state: 'ready' }]);
}, 120_000 + RACES * 1000);

const LISTED = 100_000;
const CALLED = 400;

it(`a file of ${LISTED} numbers against a campaign that is being called`, async () => {
  const contacts = Array.from({ length: 20 }, () => ({ phone_num: number() }));
  const s = await setScene(system, { agents: AGENTS, contacts, rules: { ring_sec: 15, retry: { t: { delay_sec: 1 } }, max_attempts: 100 } });
  const rows = Array.from({ length: CALLED }, () => number());
  await system.ok('POST', `/campaigns/${s.campaign}/imports`, ['phone', ...rows, ''].join('\n'));
  // And a list beside it that nobody calls yet.
  const { id: beside } = await system.ok('POST', '/campaigns', { name: 'Beside', country: 'NO', zone: 'Europe/Oslo' });
  const large = Array.from({ length: LISTED - CALLED }, (_, n) => `+47${23_000_000 + n}`);
  await system.ok('POST', `/campaigns/${beside}/imports`, ['phone', ...large, ''].join('\n'));
  await ready(s);
  const count = async (campaign: string, which: string): Promise<number> =>
    (await system.sql.query(`SELECT count(*)::int AS n FROM contact WHERE campaign_id = $1 AND ${which}`, [campaign])).rows[0]!.n;
  await eventually(async () => (await count(s.campaign, `state = 'queued'`)) > CALLED / 2, { withinMs: 60_000 });
  await eventually(async () => (await count(s.campaign, `state = 'dialling'`)) >= AGENTS / 2, { withinMs: 30_000 });

  const startedAt = performance.now();
  const answer = await system.ok('POST', '/do-not-call/import?country=NO', ['number', ...rows, ...large, ''].join('\n'));
  const [answeredAt, tookMs] = [Date.now(), performance.now() - startedAt];
  expect(answer).toMatchObject({ rows: LISTED, added: LISTED, contacts: LISTED });

  await eventually(async () => (await count(s.campaign, `phone_num = ANY('{${rows.join(',')}}') AND ended_reason IS NULL`)) === 0, { withinMs: 60_000 });
  await eventually(async () => (await system.sql.query(`SELECT 1 FROM do_not_call_pending LIMIT 1`)).rowCount === 0, { withinMs: 60_000 });
  const endedMs = Date.now() - answeredAt;
  expect(await count(beside, `state = 'disabled' AND ended_reason = 'do_not_call' AND closed_at IS NOT NULL`)).toBe(large.length);
  const wanted = new Set(rows);
  expect((await dials()).filter(({ to, at }) => wanted.has(to) && at > answeredAt)).toEqual([]);
  // Their workflows are told by the campaign, and the others are called on.
  await eventually(async () => (await count(s.campaign, `ended_reason = 'do_not_call' AND closed_at IS NULL`)) === 0, { withinMs: 60_000 });
  const closedMs = Date.now() - answeredAt;
  expect(await count(s.campaign, `ended_reason = 'do_not_call'`)).toBe(CALLED);
  const since = Date.now();
  await eventually(async () => (await dials()).some(({ at, to }) => at > since && contacts.some(({ phone_num }) => phone_num === to)), {
    withinMs: 60_000,
  });
  console.log({ tookMs: Math.round(tookMs), endedMs, closedMs });
}, 300_000);
