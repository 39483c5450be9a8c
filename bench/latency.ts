// How long an agent waits: from ready to the phone's ring, and from the answer to the contact's dial, beside one bare hop
// (a signal to a waiting workflow, up to the start of its activity) measured in turn with them.

import { withBare } from './bare.ts';
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
  until,
} from './kit.ts';

const CALLS = 150;
/** More than a worker keeps cached, as on any real list: contacts and bare workflows alike are read back when told. */
const WAITING = 450;

export async function benchLatency(rig: Rig): Promise<Figure[]> {
  const { sql, say } = rig;
  const product = await rig.product();
  return withBare(rig, async (bare) => {
    const campaign = await makeCampaign(product, 'Latency', '2', WAITING);
    const agent = await makeAgent(product, campaign, '1000');
    await product.ask('POST', `/campaigns/${campaign}/start`);
    await bare.prepareHops(WAITING);
    const areInState = async (state: string, count: number) => (await countContacts(sql, campaign, state)) === count;
    await until('all contacts are queued', 60_000, () => areInState('queued', WAITING));

    const hops: number[] = [];
    const readyAt: number[] = [];
    const tell = progress(say, 'calls timed', CALLS);
    const dialledBefore = (await dials(product)).at(-1)?.seq ?? 0;
    for (let n = 0; n < CALLS; n++) {
      hops.push(await bare.hop());
      readyAt.push(await oneCall(rig, product, campaign, agent, n));
      tell(n + 1);
    }

    const legs = (await dials(product)).filter(({ seq }) => seq > dialledBefore);
    const rings = legs.filter(({ party }) => party === 'agent');
    const toContact = legs.filter(({ party }) => party === 'contact');
    if (rings.length !== CALLS || toContact.length !== CALLS) {
      throw new Error(`${rings.length} agents rung and ${toContact.length} contacts dialled in ${CALLS} calls`);
    }
    const ring = rings.map(({ at }, n) => at - readyAt[n]!);
    const dial = toContact.map(({ at }, n) => at - rings[n]!.answeredAt!);
    return [
      ...figures('agent ready → phone told to ring', ring, hops, 2),
      ...figures('agent answers → contact dialled', dial, hops, 1.5),
    ];
  });
}

/** A whole call, the campaign's `n`-th from 0; returns when the agent became ready, by the clock of the switch's record. */
export async function oneCall(rig: Rig, product: Product, campaign: string, agent: AgentAccount, n: number): Promise<number> {
  const readyAt = Date.now();
  await product.ask('PUT', `/agents/${agent.id}/state`, { state: 'ready' }, agent.key);
  await until('the call is over', 30_000, async () => (await wrapUpOf(rig, agent)) !== undefined, 20);
  const call = await wrapUpOf(rig, agent);
  // So short a talk may be over before its workflow has heard that it began: until then, too early.
  await until('the disposition is taken', 30_000, async () => {
    await product.ask('POST', `/calls/${call}/disposition`, { action: 'done', topics: [] }, agent.key);
    return true;
  });
  await until('the contact is closed', 30_000, async () => (await countContacts(rig.sql, campaign, 'done')) === n + 1, 20);
  return readyAt;
}

/** The call after which the agent is in wrap-up. */
async function wrapUpOf({ sql }: Rig, agent: AgentAccount): Promise<string | undefined> {
  const { rows } = await sql.query<{ call_id: string }>(
    `SELECT o.call_id FROM agent a JOIN offer o ON o.id = a.offer_id WHERE a.id = $1 AND a.state = 'wrap_up'`,
    [agent.id],
  );
  return rows[0]?.call_id;
}

function figures(name: string, samples: number[], hops: number[], aim: number): Figure[] {
  return [0.5, 0.99].map((share) => ({
    name: `${name}, p${share * 100}`,
    value: quantile(samples, share),
    unit: 'ms',
    limit: quantile(hops, share),
    limitIs: 'one bare signal → activity hop',
    aim: { of: 'ratio', atMost: aim },
  }));
}
