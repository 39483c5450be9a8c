/**
 * A rolling restart under load: each worker and the API is ended by SIGTERM and started again in turn, while calls are made.
 * No call fails, none is cut, and a client that does as it is told (Retry-After) gets every answer.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Json, type Process, startSystem, type System } from '../kit/system.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const CONTACTS = 480;
const AGENTS = 24;
/** Longest that a process may take from SIGTERM to its end. */
const DRAINED_WITHIN_MS = 30_000;

let system: System;
let agents: ChildProcess | undefined;
beforeAll(async () => {
  // Agents answer at once; contacts after some 2 s, and talk for some 3 s.
  const phone = { trying: 0, alerting: 0.2, media: 0.05, then: { kind: 'answers', after: [1, 3], talks: [2, 4] } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: phone }] } });
}, 90_000);
afterAll(async () => {
  agents?.kill('SIGKILL');
  await system?.stop();
});

async function startAgents(campaign: string): Promise<void> {
  const accounts = [];
  for (let n = 0; n < AGENTS; n++) {
    const phone = String(700 + n);
    const agent = await system.ok('POST', '/agents', { name: `Agent ${phone}`, phone, queues: [{ campaign_id: campaign, priority: 1 }] });
    const { key } = await system.ok('POST', '/keys', { name: `agent ${phone}`, role: 'agent', agent_id: agent.id });
    accounts.push({ id: agent.id, key, phone });
  }
  const file = path.join(system.dataDir, 'agents.json');
  writeFileSync(file, JSON.stringify({ baseUrl: system.baseUrl, behaviour: 'eager', agents: accounts }));
  const log = createWriteStream(path.join(system.dataDir, 'agents.log'));
  agents = spawn(process.execPath, [path.join(ROOT, 'telephony/simulator/agents-main.ts'), file], {
    env: { PATH: process.env.PATH!, LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  agents.stdout!.pipe(log, { end: false });
  agents.stderr!.pipe(log, { end: false });
}

/** Waits until a worker has said `times` times that it works: whoever restarts the next one before leaves nobody. */
async function worksAgain(log: string, times: number): Promise<void> {
  const said = () => readFileSync(path.join(system.dataDir, log), 'utf8').split('"worker started"').length - 1;
  await eventually(() => said() >= times, { withinMs: 60_000, everyMs: 100 });
}

/** Writes and reads over and over; a 503 waits as it says, a connection that is refused is tried again. */
function client(campaign: string) {
  const seen: Record<string, number> = {};
  const failures: string[] = [];
  let stopping = false;
  let n = 0;
  const ask = async (method: string, urlPath: string, body?: unknown): Promise<void> => {
    for (;;) {
      const answer = await system.api(method, urlPath, body).catch(() => null);
      seen[answer?.status ?? 'refused'] = (seen[answer?.status ?? 'refused'] ?? 0) + 1;
      if (answer && answer.status < 300) return;
      const wait = answer?.headers.get('retry-after');
      if (answer && (answer.status !== 503 || !wait)) return void failures.push(`${method} ${urlPath}: ${answer.status}`);
      await sleep(wait ? Number(wait) * 1000 : 100);
    }
  };
  const loop = (async () => {
    while (!stopping) {
      n += 1;
      await ask('PUT', `/campaigns/${campaign}/contacts/by-external-id/row-1`, { phone_num: '+4722700000', variables: { var1: String(n) } });
      await ask('GET', `/campaigns/${campaign}/stats`);
      await ask('PUT', `/do-not-call/${encodeURIComponent(`+47228${50_000 + n}`)}`, { comment: 'rolling' });
    }
  })();
  return {
    seen,
    failures,
    async stop() {
      stopping = true;
      await loop;
      return n;
    },
  };
}

it('workers and API restarted one after the other: no call fails, no client sees a failure', async () => {
  const second = await system.addWorker('worker-2');
  await worksAgain('worker-2.log', 1);
  // Agents hear of an offer by the API, which on a busy machine is away for as long as phones ring as a rule.
  const rules = { wrap_up_sec: 2, agent_ring_sec: 60, max_attempts: 1, max_per_number_per_day: 100, min_gap_sec: 0 };
  const campaign: string = (await system.ok('POST', '/campaigns', { name: 'Rolling', country: 'NO', zone: 'Europe/Oslo', rules })).id;
  const rows = Array.from({ length: CONTACTS }, (_, n) => `row-${n + 1},+47227${String(n).padStart(5, '0')}`);
  await system.ok('POST', `/campaigns/${campaign}/imports?mode=add`, ['external_id,phone_num', ...rows].join('\n'));
  await startAgents(campaign);
  await system.ok('POST', `/campaigns/${campaign}/start`);
  const counted = async (state: string): Promise<number> => {
    const { rows: [row] } = await system.sql.query(`SELECT count(*)::int AS n FROM contact WHERE campaign_id = $1 AND state = $2`, [campaign, state]);
    return row.n;
  };
  await eventually(async () => (await counted('talking')) > 3, { withinMs: 30_000 });
  const user = client(campaign);

  /** Before the next one goes. */
  const callsAreMade = async (): Promise<void> => {
    const before = await counted('done');
    await eventually(async () => (await counted('done')) >= before + 15, { withinMs: 60_000 });
  };
  const drained: Record<string, number> = {};
  const restart = async (name: string, process: Process): Promise<void> => {
    const stoppedAt = performance.now();
    await process.stop();
    drained[name] = Math.max(drained[name] ?? 0, Math.round(performance.now() - stoppedAt));
    await process.restart();
  };
  for (const round of [1, 2]) {
    for (const [log, worker] of [['worker.log', system.worker], ['worker-2.log', second]] as const) {
      await restart(log, worker);
      await worksAgain(log, round + 1);
      await callsAreMade();
    }
    if (round === 1) await restart('api.log', system.apiProcess);
    await eventually(async () => (await fetch(`${system.baseUrl}/readyz`)).ok, { withinMs: 30_000 });
  }
  await eventually(async () => (await counted('done')) === CONTACTS, { withinMs: 120_000, everyMs: 200 });
  const asked = await user.stop();

  console.log('rolling restart:', JSON.stringify({ drained, asked, seen: user.seen }));
  expect(user.failures).toEqual([]);
  for (const [name, ms] of Object.entries(drained)) expect(ms, name).toBeLessThan(DRAINED_WITHIN_MS);
  const { rows: legs } = await system.sql.query(
    `SELECT ciq, result_code, result_reason, count(*)::int AS n FROM call_events
     WHERE campaign_id = $1 AND event_type = 'c' GROUP BY 1, 2, 3`,
    [campaign],
  );
  expect(legs.filter(({ ciq }) => ciq === 'c')).toEqual([{ ciq: 'c', result_code: 'k', result_reason: null, n: CONTACTS }]);
  expect(legs.filter(({ ciq, result_code }) => ciq === 'a' && result_code !== 'k')).toEqual([]);
  // By the switch: each dialled once, answered, and ended by its own hanging up.
  const dials: Json[] = [];
  for (let after = 0; ; ) {
    const { items } = await system.ok('GET', `/simulator/dials?limit=1000&after=${after}`);
    if (items.length === 0) break;
    dials.push(...items);
    after = items.at(-1).seq;
  }
  const contacts = dials.filter(({ party }) => party === 'contact');
  expect(contacts).toHaveLength(CONTACTS);
  expect(new Set(contacts.map(({ to }) => to)).size).toBe(CONTACTS);
  expect(contacts.filter(({ end }) => end?.by !== 'remote' || end?.phase !== 'answered')).toEqual([]);
}, 400_000);
