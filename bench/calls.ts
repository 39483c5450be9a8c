// Whole calls a second with 200 agents who never hesitate, through the public API and its streams, every process on this
// machine; and how many events such a call leaves in its history.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { contactWorkflowId } from '../domain/ids.ts';
import { withBare } from './bare.ts';
import type { Figure } from './figure.ts';
import { dials, inLanes, makeAgent, makeCampaign, type Product, progress, quantile, type Rig, until } from './kit.ts';

const AGENTS = 200;
const CONTACTS = 1_500;
/** Bare calls in two halves, before and after. */
const BARE = 400;
const SAMPLED = 200;
/** What a whole answered call may leave (docs/architecture.md, "Workflows"). */
const EVENTS_AIM = 42;

export async function benchCalls(rig: Rig): Promise<Figure[]> {
  const product = await rig.product();
  return withBare(rig, async (bare) => {
    const campaign = await makeCampaign(product, 'Calls', '3', CONTACTS);
    await product.ask('POST', `/campaigns/${campaign}/start`);
    await until('all contacts are queued', 120_000, async () => (await countIn(rig, campaign, 'queued')) === CONTACTS);
    const before = await bare.calls(BARE, AGENTS);
    rig.say(`bare calls: ${before.toFixed(0)}/s; now ${CONTACTS} contacts and ${AGENTS} agents`);
    const rate = await callAll(rig, product, campaign);
    const after = await bare.calls(BARE, AGENTS);
    const events = await historyLengths(rig, campaign);
    const inEvents = { unit: 'events', limit: EVENTS_AIM, limitIs: 'the budget', aim: { of: 'value', atMost: EVENTS_AIM } } as const;
    return [
      {
        name: 'whole calls, 200 agents',
        value: rate,
        unit: '/s',
        limit: (2 * before * after) / (before + after),
        limitIs: 'bare workflows with the same hops',
        aim: { of: 'value', atLeast: 12 },
      },
      { name: 'history of a whole call, p50', value: quantile(events, 0.5), ...inEvents },
      { name: 'history of a whole call, max', value: Math.max(...events), ...inEvents },
    ];
  });
}

/** Calls a second from the first agent's ring to the last contact closed: ramp and tail are counted. */
async function callAll(rig: Rig, product: Product, campaign: string): Promise<number> {
  const dialledBefore = (await dials(product)).at(-1)?.seq ?? 0;
  const agents: { id: string; key: string; phone: string }[] = [];
  await inLanes(AGENTS, 8, async (n) => void agents.push(await makeAgent(product, campaign, String(1000 + n))));
  const file = path.join(rig.dataDir, 'agents.json');
  writeFileSync(file, JSON.stringify({ baseUrl: product.baseUrl, behaviour: 'eager', agents }), { mode: 0o600 });
  const tell = progress(rig.say, 'calls done', CONTACTS);
  const stopAgents = product.start('agents', ['telephony/simulator/agents-main.ts', file]);
  await until('every contact has been called', 180_000, async () => {
    const done = await countIn(rig, campaign, 'done');
    tell(done);
    return done === CONTACTS;
  }, 250);
  await stopAgents();
  const first = (await dials(product)).find(({ seq }) => seq > dialledBefore)!.at;
  const { rows } = await rig.sql.query<{ last: Date }>(
    `SELECT max(closed_at) AS last FROM contact WHERE campaign_id = $1`,
    [campaign],
  );
  return CONTACTS / ((rows[0]!.last.getTime() - first) / 1000);
}

async function countIn({ sql }: Rig, campaign: string, state: string): Promise<number> {
  const { rows } = await sql.query<{ found: number }>(
    `SELECT count(*)::int AS found FROM contact WHERE campaign_id = $1 AND state = $2`,
    [campaign, state],
  );
  return rows[0]!.found;
}

async function historyLengths({ sql, client }: Rig, campaign: string): Promise<number[]> {
  const { rows } = await sql.query<{ id: string; round: number }>(
    `SELECT id, round FROM contact WHERE campaign_id = $1 AND last_code = 'k' AND offer_no = 1 ORDER BY id`,
    [campaign],
  );
  const step = Math.max(1, Math.floor(rows.length / SAMPLED));
  const sampled = rows.filter((_, n) => n % step === 0);
  const lengths: number[] = [];
  await inLanes(sampled.length, 16, async (n) => {
    const { id, round } = sampled[n]!;
    lengths.push((await client.workflow.getHandle(contactWorkflowId(id, round)).describe()).historyLength);
  });
  return lengths;
}
