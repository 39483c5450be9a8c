/** Who gets which contact, and over which node: the product's matching on a real database, its time set by the test. */
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { endUnrungOffers } from '../../activities/lost.ts';
import { bookLeg } from '../../activities/sql.ts';
import type { LegEnding } from '../../domain/codes.ts';
import { matchPaced } from '../../matching/sweep.ts';
import { inTx } from '../../prisma/tx.ts';
import { eventually } from '../kit/eventually.ts';
import { dial, endOffer, type Matcher, type NewAgent, NODE, Queue, sendLeg } from '../kit/queue.ts';

let queue: Queue;
let one: Matcher;

async function open(): Promise<void> {
  queue = await Queue.open();
  one = queue.matcher();
}

afterEach(async () => {
  const { complaints } = queue;
  await queue.close();
  expect(complaints.filter((line) => !line.includes('the trunk is failing'))).toEqual([]);
});

/** An agent who has been ready since now. */
async function readyAgent(serves: NewAgent['serves']): Promise<number> {
  const id = await queue.agent({ serves });
  await one.matching.setAgentState(id, 'ready', 'test');
  queue.clock.pass(1);
  return id;
}

const agents = async () => (await queue.offers()).map((offer) => offer.agent_id);
const contacts = async () => (await queue.offers()).map((offer) => offer.contact_id);

/** Contacts in the queue, matched. */
async function queued(campaign: number, list: Parameters<Queue['contacts']>[1]): Promise<string[]> {
  const ids = await queue.contacts(campaign, list);
  await queue.enqueue(one, ids);
  await one.matching.matchCampaign(campaign);
  return ids;
}

/** The contacts in the order in which one agent gets them, each left ringing while the next agent comes. */
async function order(serves: NewAgent['serves'], count: number): Promise<string[]> {
  for (let n = 0; n < count; n++) await readyAgent(serves);
  return contacts();
}

/** So many transactions stand before a lock. */
async function waiting(count: number): Promise<void> {
  await eventually(async () => {
    const held = await queue.rows(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return held.length === count;
  });
}

describe('the order', () => {
  it('takes the agent who has been ready longest', async () => {
    await open();
    const campaign = await queue.campaign();
    const serves = { [campaign]: 1 };
    const [anna, berit, carl] = [await readyAgent(serves), await readyAgent(serves), await readyAgent(serves)];
    await one.matching.setAgentState(anna, 'paused', 'test');
    queue.clock.pass(1);
    await one.matching.setAgentState(anna, 'ready', 'test');
    await queued(campaign, [{}, {}, {}]);
    expect(await agents()).toEqual([berit, carl, anna]);
  });

  it('takes agents alike over all campaigns they serve', async () => {
    await open();
    const [first, second] = [await queue.campaign(), await queue.campaign()];
    const both = await readyAgent({ [first]: 1, [second]: 1 });
    const single = await readyAgent({ [second]: 1 });
    await queued(second, [{}, {}]);
    expect(await agents()).toEqual([both, single]);
  });

  it('takes the most urgent contact: rank, then priority, then place, then id', async () => {
    await open();
    const campaign = await queue.campaign();
    const [last, sooner, early, late, urgent, retry, live] = await queued(campaign, [
      { place: 9 },
      { place: 5 },
      { place: 1, priority: 1 },
      { place: 1, priority: 1 },
      { place: 9, priority: 2 },
      { place: 9, rank: 2 },
      { place: 9, rank: 0 },
    ]);
    expect(await order({ [campaign]: 1 }, 7)).toEqual([live, retry, urgent, early, late, sooner, last]);
  });

  it("puts the rank first, then the agent's own priority of the queue, over all that the agent serves", async () => {
    await open();
    const [first, second] = [await queue.campaign(), await queue.campaign()];
    const [a1, a2] = await queued(second, [{ rank: 2, place: 9 }, { priority: 9 }]);
    const [b1, b2] = await queued(first, [{ place: 5 }, { rank: 2, place: 5 }]);
    expect(await order({ [first]: 1, [second]: 2 }, 4)).toEqual([b2, a1, b1, a2]);
  });

  it('gives a call that comes back its old place', async () => {
    await open();
    const campaign = await queue.campaign();
    const [head, next] = await queued(campaign, [{}, { place: 1 }]);
    await endOffer(one, (await queue.offerOf(await readyAgent({ [campaign]: 1 })))!, 'ringsOut');
    expect(await order({ [campaign]: 1 }, 2)).toEqual([head, next]);
  });
});

describe('who may be offered what', () => {
  it('an agent who rejected the only contact is offered it again after reoffer_after, by the sweep alone', async () => {
    await open();
    const campaign = await queue.campaign({ rules: { reoffer_after_sec: 60 } });
    const anna = await readyAgent({ [campaign]: 1 });
    const [contact] = await queued(campaign, [{}]);
    const first = (await queue.offerOf(anna))!;
    await endOffer(one, first, 'rejects');
    await one.matching.renewLease([anna]);
    queue.clock.pass(20);
    await one.matching.renewLease([anna]);
    queue.clock.pass(20);
    await one.matching.renewLease([anna]);
    queue.clock.pass(19);
    await one.sweep();
    expect(await queue.offers()).toEqual([]);
    queue.clock.pass(1);
    await one.sweep();
    expect(await queue.offers()).toMatchObject([
      { contact_id: contact, agent_id: anna, call_id: first.call_id, offer_no: 2 },
    ]);
  });

  it('goes to the next contact meanwhile, and to the next agent with the call', async () => {
    await open();
    const campaign = await queue.campaign();
    const anna = await readyAgent({ [campaign]: 1 });
    const [head, next] = await queued(campaign, [{}, {}]);
    await endOffer(one, (await queue.offerOf(anna))!, 'rejects');
    expect(await contacts()).toEqual([next]);
    const berit = await readyAgent({ [campaign]: 1 });
    expect((await queue.offerOf(berit))!.contact_id).toBe(head);
  });

  it('an agent who missed a call rests first, and is served again by the sweep', async () => {
    await open();
    const campaign = await queue.campaign({ rules: { rest_sec: 10, reoffer_after_sec: 1 } });
    const anna = await readyAgent({ [campaign]: 1 });
    await queued(campaign, [{}]);
    await endOffer(one, (await queue.offerOf(anna))!, 'ringsOut');
    queue.clock.pass(9);
    await one.sweep();
    expect(await queue.offers()).toEqual([]);
    queue.clock.pass(1);
    await one.sweep();
    expect(await agents()).toEqual([anna]);
  });

  it('a number that is in use is passed over, and offered by the sweep when it is free', async () => {
    await open();
    const campaign = await queue.campaign();
    const [anna, berit] = [await readyAgent({ [campaign]: 1 }), await readyAgent({ [campaign]: 1 })];
    await queued(campaign, [{ phone: '+4722999999' }]);
    const call = await dial(one, (await queue.offerOf(anna))!);
    const [same, other] = await queued(campaign, [{ phone: '+4722999999' }, {}]);
    expect((await queue.offerOf(berit))!.contact_id).toBe(other);
    const carl = await readyAgent({ [campaign]: 1 });
    await one.sweep();
    expect(await queue.offerOf(carl)).toBeUndefined();
    await call.answer();
    await call.end({ by: 'remote', phase: 'answered' });
    await one.sweep();
    expect((await queue.offerOf(carl))!.contact_id).toBe(same);
  });

  it('an agent whose lease has lapsed is offered nothing, and logged off by the sweep', async () => {
    await open();
    const campaign = await queue.campaign();
    const anna = await readyAgent({ [campaign]: 1 });
    queue.clock.pass(30);
    await queued(campaign, [{}]);
    expect(await queue.offers()).toEqual([]);
    await one.sweep();
    expect(await queue.rows(`SELECT state, cause FROM agent WHERE id = $1`, [anna])).toEqual([
      { state: 'logged_off', cause: 'agent_lost' },
    ]);
  });

  it('tells the workflow of each offer once, with its number', async () => {
    await open();
    const campaign = await queue.campaign();
    await readyAgent({ [campaign]: 1 });
    const [contact] = await queued(campaign, [{}]);
    queue.clock.pass(5);
    await one.sweep();
    expect(queue.told).toMatchObject([{ name: 'offered', contactId: contact, argument: { offerNo: 1 } }]);
  });
});

describe('an offer that no workflow comes to ring', () => {
  const log = pino({ level: 'silent' });
  const sweep = () => endUnrungOffers({ ...one, log });

  it('is over some seconds after its phone would have stopped: the agent is free, the call back at its place', async () => {
    await open();
    const campaign = await queue.campaign();
    const [contact] = await queued(campaign, [{}]);
    const agent = await readyAgent({ [campaign]: 1 });
    const [offer] = await queue.offers();
    queue.clock.pass(23);
    await sweep();
    expect(await queue.offers(), 'it may still come').toEqual([offer]);

    queue.clock.pass(3);
    await Promise.all([sweep(), sweep()]);
    expect(await queue.offers()).toEqual([]);
    const [row] = await queue.rows(`SELECT state, cause FROM agent WHERE id = $1`, [agent]);
    expect(row).toEqual({ state: 'ready', cause: 'switch_lost' });
    expect(await queue.rows(`SELECT state, call_id FROM contact WHERE id = $1`, [contact])).toEqual([
      { state: 'queued', call_id: offer!.call_id },
    ]);
    expect(await queue.rows('SELECT cause, subject FROM repair')).toEqual([
      { cause: 'offer_not_rung', subject: `offer/${offer!.id}` },
    ]);
    const another = await readyAgent({ [campaign]: 1 });
    expect(await agents()).toEqual([another]);
  });

  it('is left alone when its phone was rung', async () => {
    await open();
    const campaign = await queue.campaign();
    await queued(campaign, [{}]);
    await readyAgent({ [campaign]: 1 });
    const [offer] = await queue.offers();
    await sendLeg(one.db, offer!, 'agent');
    queue.clock.pass(60);
    await sweep();
    expect(await queue.offers()).toEqual([offer]);
  });
});

describe('pause', () => {
  it.each<[string, (matcher: Matcher, campaign: number, agent: number) => Promise<unknown>]>([
    ['of a campaign', ({ matching }, campaign) => matching.matchCampaign(campaign)],
    ['of an agent', ({ matching }, _campaign, agent) => matching.matchAgent(agent)],
  ])('holds the lock that a match %s takes: no offer after its answer', async (_name, match) => {
    await open();
    const campaign = await queue.campaign();
    const anna = await readyAgent({ [campaign]: 1 });
    await queue.enqueue(one, await queue.contacts(campaign, [{}]));
    let matched: Promise<unknown> | undefined;
    await inTx(one.db, async (tx) => {
      await one.matching.lockQueue(tx, campaign);
      matched = match(queue.matcher(), campaign, anna);
      await waiting(1);
      await tx.run({ text: `UPDATE campaign SET status = 'paused' WHERE id = $1`, values: [campaign] });
    });
    await matched;
    expect(await queue.offers()).toEqual([]);
  });
});

describe('the node', () => {
  it.each<[string, string]>([
    ['whose switch cannot be reached', `ready_since = NULL`],
    ['that nobody holds', `lease_until = '2000-01-01'`],
  ])('%s gets no offer; when it is back, the sweep makes it', async (_name, change) => {
    await open();
    const campaign = await queue.campaign();
    const anna = await readyAgent({ [campaign]: 1 });
    await queue.rows(`UPDATE node SET ${change}`);
    await queued(campaign, [{}]);
    await one.sweep();
    expect(await queue.offers()).toEqual([]);
    await queue.node(NODE);
    await one.sweep();
    expect(await agents()).toEqual([anna]);
  });

  it('with the fewest calls is taken, also while their phones do not ring yet', async () => {
    await open();
    const campaign = await queue.campaign();
    for (let n = 0; n < 6; n++) await readyAgent({ [campaign]: 1 });
    await queue.node('node-2');
    await queue.node('node-3');
    await queued(campaign, Array.from({ length: 6 }, () => ({})));
    expect((await queue.offers()).map((offer) => offer.node)).toEqual([NODE, 'node-2', 'node-3', NODE, 'node-2', 'node-3']);
  });

  it('with the fewest calls is taken, whatever legs they have', async () => {
    await open();
    await queue.node('node-2');
    const campaign = await queue.campaign();
    await queue.enqueue(one, await queue.contacts(campaign, [{}, {}, {}]));
    const nodes: string[] = [];
    for (let n = 0; n < 3; n++) {
      const offer = (await queue.offerOf(await readyAgent({ [campaign]: 1 })))!;
      nodes.push(offer.node);
      await dial(one, offer);
    }
    expect(nodes).toEqual([NODE, 'node-2', NODE]);
  });
});

describe('the limits of a node', () => {
  let campaign: number;

  /** So many agents, ready one after another, and more contacts than are needed; matched while the node takes nothing. */
  async function crowd(count: number, limits: Parameters<Queue['node']>[1]): Promise<number[]> {
    await open();
    campaign = await queue.campaign({ rules: { rest_sec: 0 } });
    await queue.enqueue(one, await queue.contacts(campaign, Array.from({ length: 100 }, () => ({}))));
    await queue.rows(`UPDATE node SET ready_since = NULL`);
    const ready: number[] = [];
    for (let n = 0; n < count; n++) ready.push(await readyAgent({ [campaign]: 1 }));
    await queue.node(NODE, limits);
    return ready;
  }

  it('as many calls at once: then the node is passed over, and another is taken', async () => {
    const [anna, berit, carl] = await crowd(3, { maxCalls: 2 });
    await one.matching.matchCampaign(campaign);
    expect(await agents()).toEqual([anna, berit]);
    await one.sweep();
    expect(await agents()).toEqual([anna, berit]);
    await queue.node('node-2');
    await one.sweep();
    expect(await queue.offerOf(carl!)).toMatchObject({ node: 'node-2' });
  });

  it('the room that a call leaves is for who has waited longest, at once', async () => {
    const [anna, berit, carl] = await crowd(3, { maxCalls: 2 });
    await one.matching.matchCampaign(campaign);
    await endOffer(one, (await queue.offerOf(anna!))!, 'rejects');
    expect(await agents()).toEqual([berit, carl]);
  });

  it("a contact's leg that outlives its offer is still a call", async () => {
    const [anna, berit] = await crowd(2, { maxCalls: 1 });
    await one.matching.matchCampaign(campaign);
    const call = await dial(one, (await queue.offerOf(anna!))!);
    await call.agentGoes();
    expect(await queue.offers()).toEqual([]);
    await one.sweep();
    expect(await queue.offers()).toEqual([]);
    await call.end({ by: 'remote', phase: 'alerting' });
    expect(await agents()).toEqual([berit]);
  });

  it('hold over several queues that find room for one more at the same moment', async () => {
    await crowd(0, { maxCalls: 1 });
    const campaigns = [campaign, await queue.campaign(), await queue.campaign()];
    await queue.rows(`UPDATE node SET ready_since = NULL`);
    for (const id of campaigns) {
      await queue.enqueue(one, await queue.contacts(id, [{}]));
      await readyAgent({ [id]: 1 });
    }
    await queue.node(NODE, { maxCalls: 1 });
    let matched: Promise<unknown> | undefined;
    await inTx(one.db, async (tx) => {
      await tx.run({ text: `SELECT 1 FROM node FOR UPDATE`, values: [] });
      matched = Promise.all(campaigns.map((id) => queue.matcher().matching.matchCampaign(id)));
      await waiting(campaigns.length);
    });
    await matched;
    expect(await queue.offers()).toHaveLength(1);
  });

  it('are those of the last hold: raised, lowered and taken away', async () => {
    await crowd(6, { maxCalls: 1 });
    for (const [limits, most] of [[{ maxCalls: 1 }, 1], [{ maxCalls: 3 }, 3], [{ maxCalls: 2 }, 3], [{}, 6]] as const) {
      await queue.node(NODE, limits);
      await one.sweep();
      expect(await queue.offers()).toHaveLength(most);
    }
  });

  it('a node without one is taken without waiting for others who take it', async () => {
    await crowd(2, {});
    await inTx(one.db, async (tx) => {
      await tx.run({ text: `SELECT 1 FROM node FOR UPDATE`, values: [] });
      await queue.matcher().matching.matchCampaign(campaign);
      expect(await queue.offers()).toHaveLength(2);
    });
  });

  describe('calls a second', () => {
    /** Time goes on as the worker's loop lets it (worker/sweep.ts). Returns after how many ms each offer was made. */
    async function pace(seconds: number): Promise<number[]> {
      const start = queue.clock.now().getTime();
      const made: number[] = [];
      for (;;) {
        const before = made.length;
        const nextAt = await matchPaced({ db: one.db }, one.matching);
        const elapsed = queue.clock.now().getTime() - start;
        const [count] = await queue.rows<{ n: number }>(`SELECT count(*)::int AS n FROM offer`);
        while (made.length < count!.n) made.push(elapsed);
        if (made.length > before) await one.matching.renewLease((await queue.rows<{ id: number }>(`SELECT id FROM agent`)).map(({ id }) => id));
        const pause = nextAt ? Math.min(1000, Math.max(1, nextAt.getTime() - queue.clock.now().getTime())) : 1000;
        if (elapsed + pause > seconds * 1000) return made;
        queue.clock.pass(pause / 1000);
      }
    }

    it('come one after another, evenly, and are all made', async () => {
      await crowd(30, { callsPerSecond: 4 });
      const made = await pace(5);
      // One is what was saved while nobody called.
      expect(made.slice(0, 4)).toEqual([0, 0, 250, 500]);
      expect(made).toHaveLength(4 * 5 + 2);
    });

    it('fewer than one: a pause of several seconds', async () => {
      await crowd(5, { callsPerSecond: 0.5 });
      expect(await pace(7)).toEqual([0, 1750, 3750, 5750].map((ms) => expect.closeTo(ms, -1)));
    });

    it('are not saved up while nobody calls, and the sweep makes no more', async () => {
      await crowd(10, { callsPerSecond: 2 });
      await one.sweep();
      await one.sweep();
      expect(await queue.offers()).toHaveLength(1);
      queue.clock.pass(10);
      await one.sweep();
      await one.sweep();
      expect(await queue.offers()).toHaveLength(2);
    });

    it('hold over several queues that find one due at the same moment', async () => {
      await crowd(4, { callsPerSecond: 1 });
      const other = await queue.campaign();
      await queue.enqueue(one, await queue.contacts(other, [{}]));
      await queue.rows(`UPDATE node SET ready_since = NULL`);
      await readyAgent({ [other]: 1 });
      await queue.node(NODE, { callsPerSecond: 1 });
      let matched: Promise<unknown> | undefined;
      await inTx(one.db, async (tx) => {
        await tx.run({ text: `SELECT 1 FROM node FOR UPDATE`, values: [] });
        matched = Promise.all([campaign, other].map((id) => queue.matcher().matching.matchCampaign(id)));
        await waiting(2);
      });
      await matched;
      expect(await queue.offers()).toHaveLength(1);
    });

    it('a full node is not due, and nobody waits for a moment that brings nothing', async () => {
      await crowd(3, { callsPerSecond: 10, maxCalls: 1 });
      expect(await pace(2)).toEqual([0]);
      expect(await matchPaced({ db: one.db }, one.matching)).toBeNull();
    });

    it('contacts of agents who answer in the same moment are dialled one after another', async () => {
      await crowd(4, { callsPerSecond: 4 });
      await pace(1);
      const now = queue.clock.now();
      const book = async (offer: string) => {
        const { rows } = await queue.pool.query<{ at: Date }>(bookLeg(now, offer, 'c'));
        return rows.map(({ at }) => at.getTime() - now.getTime());
      };
      const booked: number[] = [];
      for (const offer of await queue.offers()) {
        booked.push(...(await book(offer.id)));
      }
      expect(booked).toEqual([0, 250, 500, 750]);
      // Who finds the leg there after a crash has nothing to wait for, and neither has a node without the limit.
      const [first, second] = await queue.offers();
      await dial(one, first!);
      expect(await book(first!.id)).toEqual([]);
      await queue.node(NODE);
      expect(await book(second!.id)).toEqual([]);
    });
  });
});

describe('a failing trunk', () => {
  const TRUNK_FAILS = { by: 'remote', phase: 'setup', sip: 503 } as const;
  let campaign: number;
  const node = async () => (await queue.rows<{ errors_in_row: number; failing: boolean }>(
    `SELECT errors_in_row, failing_since IS NOT NULL AS failing FROM node`,
  ))[0]!;
  const failing = async () => (await node()).failing;

  /** One agent, ready, and more contacts than are needed. */
  async function line(): Promise<number> {
    await open();
    campaign = await queue.campaign({ rules: { rest_sec: 0 } });
    await queue.enqueue(one, await queue.contacts(campaign, Array.from({ length: 30 }, () => ({}))));
    return readyAgent({ [campaign]: 1 });
  }

  /** The contact of the newest open offer is dialled, and its leg ends so. */
  async function ends(how: LegEnding): Promise<void> {
    const call = await dial(one, (await queue.offers()).at(-1)!);
    if (how.phase === 'answered') await call.answer();
    queue.clock.pass(1);
    await call.end(how);
    // A wrap-up would keep the agent.
    for (const { id } of await queue.rows<{ id: number }>(`SELECT id FROM agent WHERE state = 'wrap_up'`)) {
      await one.matching.setAgentState(id, 'ready', 'test');
    }
  }

  async function fails(times: number): Promise<void> {
    for (let n = 0; n < times; n++) await ends(TRUNK_FAILS);
  }

  /** Time goes on while everyone stays logged on and the sweep runs, second by second. Returns the offers made. */
  async function pass(seconds: number): Promise<number> {
    const count = async () => Number((await queue.rows<{ n: string }>(`SELECT count(*) AS n FROM offer`))[0]!.n);
    const before = await count();
    const everyone = await queue.rows<{ id: number }>(`SELECT id FROM agent`);
    for (let second = 0; second < seconds; second++) {
      queue.clock.pass(1);
      await one.matching.renewLease(everyone.map(({ id }) => id));
      await one.sweep();
    }
    return (await count()) - before;
  }

  it('stops matching after five errors in a row, logs nobody off, and is alarmed once', async () => {
    const anna = await line();
    await fails(4);
    expect(await failing()).toBe(false);
    await ends(TRUNK_FAILS);
    expect(await failing()).toBe(true);
    expect(await queue.offers()).toEqual([]);
    await one.matching.matchCampaign(campaign);
    await one.matching.matchAgent(anna);
    expect(await pass(58)).toBe(0);
    expect(await queue.rows(`SELECT state FROM agent`)).toEqual([{ state: 'ready' }]);
    expect(queue.complaints).toHaveLength(1);
  });

  it.each<[string, LegEnding, 'resets' | 'says nothing']>([
    ['k', { by: 'remote', phase: 'answered' }, 'resets'],
    ['b', { by: 'remote', phase: 'setup', sip: 486 }, 'resets'],
    ['t', { by: 'timer', phase: 'alerting' }, 'resets'],
    ['h', { by: 'command', phase: 'alerting', why: 'agent_hang_up' }, 'resets'],
    ['c', { by: 'timer', phase: 'setup' }, 'says nothing'],
    ['q', { by: 'command', phase: 'setup', why: 'agent_hang_up' }, 'says nothing'],
    ['e of a number given up', { by: 'remote', phase: 'setup', sip: 404 }, 'says nothing'],
  ])('%s after four errors: %o %s', async (_name, how, effect) => {
    await line();
    await fails(4);
    await ends(how);
    expect((await node()).errors_in_row).toBe(effect === 'resets' ? 0 : 4);
    await ends(TRUNK_FAILS);
    expect(await failing()).toBe(effect === 'says nothing');
  });

  it('is not hidden by a call that was sent before the errors began', async () => {
    const anna = await line();
    const before = await dial(one, (await queue.offerOf(anna))!);
    queue.clock.pass(1);
    await readyAgent({ [campaign]: 1 });
    await fails(2);
    await before.end({ by: 'timer', phase: 'alerting' });
    // The next offer is again the newest.
    expect((await node()).errors_in_row).toBe(2);
    await fails(3);
    expect(await failing()).toBe(true);
  });

  it('gets one offer a minute, although several queues find it due at the same moment', async () => {
    await line();
    await fails(5);
    const campaigns = [campaign, await queue.campaign(), await queue.campaign()];
    const agents: number[] = [];
    for (const id of campaigns) {
      await queue.enqueue(one, await queue.contacts(id, [{}, {}]));
      agents.push(await readyAgent({ [id]: 1 }), await readyAgent({ [id]: 1 }));
    }
    queue.clock.pass(60);
    await one.matching.renewLease(agents);
    let matched: Promise<unknown> | undefined;
    await inTx(one.db, async (tx) => {
      await tx.run({ text: `SELECT 1 FROM node FOR UPDATE`, values: [] });
      matched = Promise.all(campaigns.map((id) => queue.matcher().matching.matchCampaign(id)));
      // Each has seen that the probe is due, and is about to take it.
      await waiting(campaigns.length);
    });
    await matched;
    expect(await queue.offers()).toHaveLength(1);
  });

  it('gets its next probe a minute after the last when that has failed, and none while it is open', async () => {
    await line();
    await readyAgent({ [campaign]: 1 });
    await fails(5);
    // Made before the trunk was known to fail, this one goes on, and its failure does not put the probe off.
    expect(await queue.offers()).toHaveLength(1);
    await fails(1);
    expect(await queue.offers()).toEqual([]);
    expect(await pass(58)).toBe(0);
    expect(await pass(1)).toBe(1);
    expect(await pass(30)).toBe(0);
    await fails(1);
    expect(await pass(28)).toBe(0);
    expect(await pass(1)).toBe(1);
    expect(await pass(100)).toBe(0);
    // Its minute is long over: the next one is sent as soon as this one is.
    await fails(1);
    expect(await queue.offers()).toHaveLength(1);
    expect(await pass(58)).toBe(0);
  });

  it('is probed again a minute later when the agent rejects the probe', async () => {
    await line();
    await fails(5);
    expect(await pass(60)).toBe(1);
    await endOffer(one, (await queue.offers())[0]!, 'rejects');
    expect(await pass(59)).toBe(0);
    expect(await pass(1)).toBe(1);
    expect(await failing()).toBe(true);
  });

  it('is used again by everyone as soon as the contact of the probe answers', async () => {
    await line();
    await fails(5);
    await readyAgent({ [campaign]: 1 });
    expect(await pass(60)).toBe(1);
    const probe = await dial(one, (await queue.offers())[0]!);
    expect(await failing()).toBe(true);
    await probe.answer();
    expect(await failing()).toBe(false);
    expect(await pass(1)).toBe(1);
  });

  it('does not keep offers from a node whose trunk works', async () => {
    await line();
    await fails(5);
    await queue.node('node-2');
    await readyAgent({ [campaign]: 1 });
    expect((await queue.offers()).map((offer) => offer.node)).toEqual(['node-2']);
  });
});
