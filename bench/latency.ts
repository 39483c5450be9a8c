// How long an agent waits: from ready to the phone's ring, and from the answer to the contact's dial, beside one bare hop
// (a signal to a waiting workflow, up to the start of its activity) measured in turn with them.

import { callOfLeg } from '../domain/ids.ts';
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
  type Simulated,
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
      readyAt.push((await oneCall(rig, product, campaign, agent, n)).readyAt);
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

export interface OneCall {
  callId: string;
  /** When the agent became ready, by the clock of the switch's record: epoch ms. */
  readyAt: number;
}

/** A whole call, the campaign's `n`-th from 0. */
export async function oneCall(rig: Rig, product: Product, campaign: string, agent: AgentAccount, n: number): Promise<OneCall> {
  const readyAt = Date.now();
  // A 503 is an answer, too: it is asked once more, and the time goes on.
  await until('the agent is ready', 30_000, async () => {
    await product.ask('PUT', `/agents/${agent.id}/state`, { state: 'ready' }, agent.key);
    return true;
  });
  await until('the call is over', 30_000, async () => (await wrapUpOf(rig, agent)) !== undefined, 20);
  const callId = (await wrapUpOf(rig, agent))!;
  // So short a talk may be over before its workflow has heard that it began: until then, too early.
  await until('the disposition is taken', 30_000, async () => {
    await product.ask('POST', `/calls/${callId}/disposition`, { action: 'done', topics: [] }, agent.key);
    return true;
  });
  await until('the contact is closed', 30_000, async () => (await countContacts(rig.sql, campaign, 'done')) === n + 1, 20);
  return { callId, readyAt };
}

/** Calls of one agent as long as `goesOn`, the campaign's `from`-th and on; and how long after "ready" each phone was told to ring. */
export async function timedCalls(
  rig: Rig,
  product: Simulated,
  { campaign, agent, from }: { campaign: string; agent: AgentAccount; from: number },
  goesOn: (n: number) => boolean,
): Promise<(OneCall & { ringMs: number })[]> {
  const before = (await dials(product)).at(-1)?.seq ?? 0;
  const calls: OneCall[] = [];
  for (let n = 0; goesOn(n); n++) calls.push(await oneCall(rig, product, campaign, agent, from + n));
  const rings = (await dials(product)).filter(({ seq, party }) => seq > before && party === 'agent');
  const rungAt = new Map(rings.map(({ legId, at }) => [callOfLeg(legId), at]));
  return calls.map((call) => ({ ...call, ringMs: rungAt.get(call.callId)! - call.readyAt }));
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
