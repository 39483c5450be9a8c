// Whole calls a second with 200 agents who never hesitate, through the public API and its streams, every process on this
// machine; and how many events such a call leaves in its history.

import { contactWorkflowId } from '../domain/ids.ts';
import { withBare } from './bare.ts';
import type { Figure } from './figure.ts';
import {
  countContacts,
  dials,
  harmonicMean,
  inLanes,
  makeCampaign,
  progress,
  quantile,
  type Rig,
  type Simulated,
  startAgents,
  until,
} from './kit.ts';

const AGENTS = 200;
const CONTACTS = 1_400;
/** From the last one on there is a contact for every agent; the tail, when there is none, is not measured. */
const MEASURED = CONTACTS - AGENTS;
/** A slower machine is measured by what it has done until then. */
const LONGEST_MS = 120_000;
/** Bare calls in two halves, before and after. */
const BARE = 200;
const SAMPLED = 200;
/** What a whole answered call may leave (docs/testing.md, "Budgets"). */
const EVENTS_BUDGET = 42;

export async function benchCalls(rig: Rig): Promise<Figure[]> {
  const { sql, say } = rig;
  const product = await rig.product();
  return withBare(rig, async (bare) => {
    const campaign = await makeCampaign(product, 'Calls', '3', CONTACTS);
    await product.ask('POST', `/campaigns/${campaign}/start`);
    const areQueued = async () => (await countContacts(sql, campaign, 'queued')) === CONTACTS;
    await until('all contacts are queued', 120_000, areQueued);
    const before = await bare.calls(BARE, AGENTS);
    say(`bare calls: ${before.toFixed(0)}/s; now ${CONTACTS} contacts and ${AGENTS} agents`);
    const rate = await callAll(rig, product, campaign);
    const after = await bare.calls(BARE, AGENTS);
    const events = await historyLengths(rig, campaign);
    const budget = {
      unit: 'events',
      limit: EVENTS_BUDGET,
      limitIs: 'the budget',
      aim: { of: 'value', atMost: EVENTS_BUDGET },
    } as const;
    return [
      {
        name: `whole calls, ${AGENTS} agents`,
        value: rate,
        unit: '/s',
        limit: harmonicMean(before, after),
        limitIs: 'bare workflows with the same hops',
        aim: { of: 'value', atLeast: 12 },
      },
      { name: 'history of a whole call, p50', value: quantile(events, 0.5), ...budget },
      { name: 'history of a whole call, max', value: Math.max(...events), ...budget },
    ];
  });
}

/** Contacts closed a second, from the first agent's ring on: the ramp is counted. */
async function callAll(rig: Rig, product: Simulated, campaign: string): Promise<number> {
  const { sql, say } = rig;
  const dialledBefore = (await dials(product)).at(-1)?.seq ?? 0;
  const tell = progress(say, 'calls done', MEASURED);
  const phones = Array.from({ length: AGENTS }, (_, n) => String(1000 + n));
  const stopAgents = await startAgents(rig, product, campaign, phones);
  const deadline = performance.now() + LONGEST_MS;
  let done = 0;
  await until('the calls are done', 2 * LONGEST_MS, async () => {
    tell((done = await countContacts(sql, campaign, 'done')));
    return done >= MEASURED || performance.now() > deadline;
  }, 250);
  await stopAgents();
  if (done < AGENTS) throw new Error(`${done} calls in ${LONGEST_MS / 1000} s are too few to be measured`);
  const first = (await dials(product)).find(({ seq }) => seq > dialledBefore)!.at;
  const { rows } = await sql.query<{ closed_at: Date }>(
    `SELECT closed_at FROM contact WHERE campaign_id = $1 AND closed_at IS NOT NULL ORDER BY closed_at LIMIT $2`,
    [campaign, Math.min(done, MEASURED)],
  );
  return rows.length / ((rows.at(-1)!.closed_at.getTime() - first) / 1000);
}

async function historyLengths({ sql, client }: Rig, campaign: string): Promise<number[]> {
  const { rows } = await sql.query<{ id: string; round: number }>(
    `SELECT id, round FROM contact WHERE campaign_id = $1 AND state = 'done' AND last_code = 'k' AND offer_no = 1
     ORDER BY id`,
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
