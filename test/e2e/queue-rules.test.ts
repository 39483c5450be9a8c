/** Who of a queue may be offered, and in which order: calling hours, caps, order, filter and promises (docs/domain.md). */
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { setStatus, updateRules } from '../../api/sql.ts';
import { ANY_COUNTRY, putLegalHours } from '../../matching/legal-hours.ts';
import { closeLegalWindows } from '../../matching/hours-sql.ts';
import { claimPage } from '../../activities/sql.ts';
import { isTimeToDial, placeContacts } from '../../matching/hours.ts';
import { reorderNew } from '../../matching/sql.ts';
import { campaignRulesSchema } from '../../domain/rules.ts';
import { inTx } from '../../prisma/tx.ts';
import { leaveQueueForCap } from '../../matching/caps.ts';
import { enqueueContacts } from '../../matching/queue.ts';
import { dial, endOffer, type Matcher, type NewCampaign, type NewContact, Queue } from '../kit/queue.ts';
import { settleQueue } from '../kit/settle.ts';

const ALL_WEEK = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
const open = (from: string, to: string) => ({ periods: [{ days: [...ALL_WEEK], from, to }] });

let queue: Queue;
let worker: Matcher;

beforeEach(async () => {
  queue = await Queue.open(); // Monday, 09:00 UTC
  worker = queue.matcher();
  onTestFinished(() => queue.close());
});

/** A campaign with one ready agent; nothing is matched before there are contacts. */
async function campaignWith(rules: NewCampaign['rules'] = {}) {
  const campaign = await queue.campaign({ rules });
  const agent = await queue.agent({ serves: { [campaign]: 1 } });
  await worker.matching.setAgentState(agent, 'ready', 'test');
  await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
  await queue.pool.query(`UPDATE node SET lease_until = 'infinity'`);
  const add = async (contacts: NewContact[]) => {
    const ids = await queue.contacts(campaign, contacts);
    await queue.enqueue(worker, ids);
    return ids;
  };
  const offered = async () => {
    await worker.matching.matchCampaign(campaign);
    return (await queue.offerOf(agent))?.contact_id;
  };
  return { campaign, agent, add, offered };
}

const stateOf = async (contact: string) =>
  (await queue.rows<{ state: string; wait_reason: string | null; wait_until: Date | null }>(
    `SELECT state, wait_reason, wait_until FROM contact WHERE id = $1`,
    [contact],
  ))[0]!;

describe('calling hours', () => {
  it('each contact is offered by the clock of its own place', async () => {
    const { add, offered, agent } = await campaignWith({ hours: open('09:00', '11:00') });
    const [newYork, oslo] = await add([
      { zone: 'America/New_York' }, // 04:00
      { zone: 'Europe/Oslo', place: 9 }, // 10:00
    ]);
    expect(await offered()).toBe(oslo);
    await endOffer(worker, (await queue.offerOf(agent))!, 'ringsOut');

    queue.clock.pass(2 * 3600);
    await worker.sweep();
    expect(await queue.offerOf(agent), 'Oslo has closed, New York has not opened').toBeUndefined();
    queue.clock.pass(3 * 3600);
    await worker.sweep();
    expect((await queue.offerOf(agent))?.contact_id).toBe(newYork);
  });

  it('a window that nobody has renewed is closed', async () => {
    const { add, offered } = await campaignWith({ hours: open('09:00', '11:00') });
    await add([{ zone: 'Europe/Oslo' }]);
    queue.clock.pass(3600);
    expect(await offered()).toBeUndefined();
  });

  it.each(['Mars/Olympus', ''])('a contact in the zone "%s" is not offered', async (zone) => {
    const { add, offered } = await campaignWith();
    await add([{ zone }]);
    expect(await offered()).toBeUndefined();
  });

  it('a change of the legal hours closes at once, and the dial asks once more', async () => {
    const { add, offered, agent } = await campaignWith();
    await add([{ zone: 'Europe/Oslo' }]);
    expect(await offered()).toBeDefined();
    const offer = (await queue.offerOf(agent))!;
    const isTime = () => inTx(worker.db, (tx) => isTimeToDial(tx, offer.id));
    expect(await isTime()).toBe(true);

    await queue.pool.query(putLegalHours(queue.clock.now(), ANY_COUNTRY, { ...open('18:00', '20:00'), holidays: [] }, 'test'));
    await queue.pool.query(closeLegalWindows(queue.clock.now(), ANY_COUNTRY));
    expect(await isTime()).toBe(false);
    await endOffer(worker, offer, 'rejects');
    queue.clock.pass(60);
    await worker.sweep();
    expect(await queue.offerOf(agent)).toBeUndefined();
  });
});

describe('caps of a number', () => {
  const PHONE = '+4722000001';

  it('the gap begins with the end of a talk, however long that is', async () => {
    const talker = await campaignWith({ min_gap_sec: 600 });
    await talker.add([{ phone: PHONE }]);
    expect(await talker.offered()).toBeDefined();
    const call = await dial(worker, (await queue.offerOf(talker.agent))!);
    await call.answer();
    const { campaign } = await campaignWith({ min_gap_sec: 600 });
    const [waiting] = await queue.contacts(campaign, [{ phone: PHONE }]);
    queue.clock.pass(1_200);
    await queue.enqueue(worker, [waiting!]);
    expect(await stateOf(waiting!)).toMatchObject({ wait_reason: 'cap', wait_until: new Date(queue.clock.now().getTime() + 600_000) });
    queue.clock.pass(300);
    await call.end({ by: 'remote', phase: 'answered' });
    queue.clock.pass(301);
    await worker.sweep();
    expect((await stateOf(waiting!)).wait_reason).toBe('cap');
    queue.clock.pass(300);
    await worker.sweep();
    expect((await stateOf(waiting!)).state).not.toBe('waiting');
  });

  it('of a promise to call back ends while the campaign is paused, if it lets these through', async () => {
    const { campaign, agent } = await campaignWith({ min_gap_sec: 600, reschedule: { while_paused: true } });
    const [promised, other] = await queue.contacts(campaign, [{ rank: 1 }, {}]);
    await queue.pool.query(`UPDATE contact SET state = 'waiting', wait_reason = 'cap', wait_until = $2 WHERE id = ANY($1)`, [
      [promised, other],
      queue.clock.now(),
    ]);
    await queue.pool.query(setStatus(queue.clock.now(), campaign, 'paused', false));
    await worker.sweep();
    expect((await queue.offerOf(agent))?.contact_id).toBe(promised);
    expect((await stateOf(other!)).state).toBe('waiting');
  });

  it('whose number was just dialled by another campaign leaves the queue, and comes back by itself', async () => {
    const { campaign, add, offered, agent } = await campaignWith({ min_gap_sec: 600 });
    const other = await campaignWith({ min_gap_sec: 600 });
    const [mine] = await add([{ phone: PHONE }]);
    await other.add([{ phone: PHONE }]);
    expect(await other.offered()).toBeDefined();
    const call = await dial(worker, (await queue.offerOf(other.agent))!);
    await call.end({ by: 'remote', phase: 'setup', sip: 486 });

    await leaveQueueForCap(worker.db, PHONE);
    expect(await stateOf(mine!)).toMatchObject({ state: 'waiting', wait_reason: 'cap' });
    expect(await offered()).toBeUndefined();
    queue.clock.pass(601);
    await worker.sweep();
    expect((await queue.offerOf(agent))?.contact_id).toBe(mine);
    expect(campaign).not.toBe(other.campaign);
  });

  it('counts over all campaigns and both columns, in any 24 hours', async () => {
    const { add, agent, offered } = await campaignWith({ max_per_number_per_day: 2, min_gap_sec: 0 });
    for (let n = 0; n < 2; n++) {
      const [contact] = await add([{ phone: `+472200010${n}`, phone2: PHONE, rank: 2 }]);
      await queue.pool.query(`UPDATE contact SET next_phone = 2 WHERE id = $1`, [contact]);
      await queue.pool.query(`UPDATE call SET number = $2 WHERE contact_id = $1`, [contact, PHONE]);
      expect(await offered()).toBe(contact);
      const call = await dial(worker, (await queue.offerOf(agent))!);
      await call.end({ by: 'remote', phase: 'setup', sip: 486 });
      await queue.pool.query(`UPDATE contact SET state = 'done', closed_at = now() WHERE id = $1`, [contact]);
      queue.clock.pass(3600);
    }
    const [third] = await add([{ phone: PHONE }]);
    const { state, wait_until } = await stateOf(third!);
    expect(state).toBe('waiting');
    const [first] = await queue.rows<{ at: Date }>(`SELECT min(created_at) AS at FROM leg WHERE destination = $1`, [PHONE]);
    expect(wait_until!.getTime()).toBe(first!.at.getTime() + 86_400_000);
  });
});

describe('order and filter', () => {
  const orderOf = async (rules: NewCampaign['rules'], contacts: NewContact[]) => {
    const { add, offered, agent } = await campaignWith({ reoffer_after_sec: 3600, rest_sec: 0, missed_limit: 100, ...rules });
    const ids = await add(contacts);
    const order: number[] = [];
    for (let id = await offered(); id; id = await offered()) {
      order.push(ids.indexOf(id));
      await endOffer(worker, (await queue.offerOf(agent))!, 'rejects');
    }
    return order;
  };
  const vars = (...values: (string | undefined)[]) =>
    values.map((var1): NewContact => ({ variables: var1 === undefined ? {} : { var1 } }));

  it('by a text, whatever its case; who has none comes last', async () => {
    expect(await orderOf({ order: [{ by: 'var1' }] }, vars('b', undefined, 'A', ' c '))).toEqual([2, 0, 3, 1]);
  });

  it('the other way round, and who has none still comes last', async () => {
    expect(await orderOf({ order: [{ by: 'var1', direction: 'desc' }] }, vars('b', undefined, 'A', 'ab'))).toEqual([0, 3, 2, 1]);
  });

  it('by a number', async () => {
    const order = [{ by: 'var1', as: 'number' as const }];
    expect(await orderOf({ order }, vars('10', '9', '-1,5', '1 000', 'none', '9.25'))).toEqual([2, 1, 5, 0, 3, 4]);
  });

  it('by several keys, after the priority, unless that is one of them', async () => {
    const contacts = [
      { variables: { var1: 'a', var2: '2' }, priority: 0 },
      { variables: { var1: 'a', var2: '1' }, priority: 0 },
      { variables: { var1: 'b', var2: '1' }, priority: 5 },
    ];
    expect(await orderOf({ order: [{ by: 'var1' }, { by: 'var2' }] }, contacts)).toEqual([2, 1, 0]);
  });

  it('the rank comes before all keys', async () => {
    expect(await orderOf({ order: [{ by: 'var1' }] }, [{ variables: { var1: 'a' } }, { variables: { var1: 'z' }, rank: 2 }])).toEqual([1, 0]);
  });

  it('only those of the filter are offered', async () => {
    const filter = { include: [{ variable: 'var1', values: ['A', ''] }], exclude: [{ variable: 'var2', values: ['x'] }] };
    const contacts = [{ var1: 'a' }, { var1: 'b' }, {}, { var1: 'a', var2: 'X' }].map((variables) => ({ variables }) as NewContact);
    expect(await orderOf({ filter }, contacts)).toEqual([0, 2]);
  });

  it('a change is in effect on the next match, and the same after the queue was sorted anew', async () => {
    const { campaign, add, offered, agent } = await campaignWith({ reoffer_after_sec: 3600, rest_sec: 0, missed_limit: 100 });
    const ids = await add(vars('b', 'a', 'd', 'c'));
    const change = async (rules: NewCampaign['rules']) => {
      const all = campaignRulesSchema.parse({ max_per_number_per_day: 100, min_gap_sec: 0, reoffer_after_sec: 3600, rest_sec: 0, missed_limit: 100, ...rules });
      await queue.pool.query(updateRules(queue.clock.now(), campaign, all, 'the test'));
    };
    await change({ order: [{ by: 'var1' }], filter: { exclude: [{ variable: 'var1', values: ['c'] }], include: [] } });
    expect(await offered()).toBe(ids[1]);
    await endOffer(worker, (await queue.offerOf(agent))!, 'rejects');
    await settleQueue(worker.db, campaign);
    expect(await offered()).toBe(ids[0]);
    await endOffer(worker, (await queue.offerOf(agent))!, 'rejects');
    expect(await offered()).toBe(ids[2]);
    await endOffer(worker, (await queue.offerOf(agent))!, 'rejects');
    expect(await offered()).toBeUndefined();
  });
});

describe('a list that is taken up', () => {
  it('is in the order of the campaign as far as it has one, whom the filter leaves out last', async () => {
    const rules = { order: [{ by: 'var1' }], filter: { exclude: [{ variable: 'var1', values: ['a'] }], include: [] } };
    const campaign = await queue.campaign({ rules });
    const ids = await queue.contacts(campaign, ['c', 'b', 'a', 'd', 'b'].map((var1) => ({ variables: { var1 } })));
    const fresh = (which: string[]) =>
      queue.pool.query(`UPDATE contact SET state = 'new', order_version = 0, hours_1 = NULL WHERE id = ANY($1)`, [which]);
    await fresh(ids);
    const claim = async (limit: number) =>
      (await queue.rows<{ id: string }>(claimPage(queue.clock.now(), campaign, limit).text, [queue.clock.now(), campaign, limit])).map(({ id }) => ids.indexOf(id));
    // Not placed yet: as they stand in the file.
    expect((await claim(2)).sort()).toEqual([0, 1]);
    await fresh(ids);
    await placeContacts(worker.db, campaign, ids.slice(0, 4));
    // The last one has no place yet; who is left out comes after it.
    const claimed: number[] = [];
    for (let n = 0; n < ids.length; n++) {
      const [next] = await claim(1);
      claimed.push(next!);
      await queue.pool.query(`UPDATE contact SET state = 'waiting' WHERE state = 'starting'`);
    }
    expect(claimed).toEqual([1, 0, 3, 4, 2]);

    await fresh(ids);
    await placeContacts(worker.db, campaign, ids);
    await queue.edit(campaign, { order: [{ by: 'var1', direction: 'desc' }] });
    while ((await queue.pool.query(reorderNew(campaign, 2))).rowCount === 2);
    expect((await claim(2)).sort()).toEqual([0, 3]);
  });
});

describe('a daily log-off', () => {
  const leaving = async () => {
    const scene = await campaignWith();
    const at = new Date(queue.clock.now().getTime() + 60_000); // 10:01 in Oslo
    await queue.pool.query(`UPDATE agent SET log_off_time = '10:01', log_off_zone = 'Europe/Oslo', log_off_at = $2 WHERE id = $1`, [scene.agent, at]);
    const agent = async () =>
      (await queue.rows<{ state: string; cause: string; next_state: string | null; log_off_at: Date }>(
        `SELECT state, cause, next_state, log_off_at FROM agent WHERE id = $1`,
        [scene.agent],
      ))[0]!;
    return { ...scene, at, leaves: agent };
  };

  it('comes at its time, and again the next day', async () => {
    const { leaves, at, agent } = await leaving();
    await worker.sweep();
    expect((await leaves()).state).toBe('ready');
    queue.clock.pass(60);
    await worker.sweep();
    const tomorrow = new Date(at.getTime() + 86_400_000);
    expect(await leaves()).toEqual({ state: 'logged_off', cause: 'time_of_day', next_state: null, log_off_at: tomorrow });
    // Whoever comes back stays, until then.
    await worker.matching.setAgentState(agent, 'ready', 'agent');
    await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
    await worker.sweep();
    expect((await leaves()).state).toBe('ready');
  });

  it('is after the call', async () => {
    const { leaves, add, offered, agent } = await leaving();
    await add([{}]);
    await offered();
    const call = await dial(worker, (await queue.offerOf(agent))!);
    await call.answer();
    queue.clock.pass(60);
    await worker.sweep();
    expect(await leaves()).toMatchObject({ state: 'connected', next_state: 'logged_off' });
    await call.end({ by: 'remote', phase: 'answered' });
    queue.clock.pass(60);
    await worker.sweep();
    expect((await leaves()).state).toBe('logged_off');
  });
});

describe('a promise to call back', () => {
  const promised = async () => {
    const scene = await campaignWith({ reschedule: { reserve_sec: 300 } });
    const other = await queue.agent({ serves: { [scene.campaign]: 1 } });
    const [contact] = await queue.contacts(scene.campaign, [{ rank: 1 }]);
    await queue.pool.query(
      `UPDATE contact SET state = 'waiting', wait_reason = 'rescheduled', wait_until = $2, scheduled_at = $2, reserved_for = $3 WHERE id = $1`,
      [contact, queue.clock.now(), other],
    );
    const due = () => inTx(worker.db, (tx) => enqueueContacts(tx, [contact!], 'due'));
    return { ...scene, other, contact: contact!, due };
  };

  it('is for anyone when its agent is logged off', async () => {
    const { due, offered, contact } = await promised();
    await due();
    expect(await offered()).toBe(contact);
  });

  it('waits for an agent who is logged on, then is for anyone', async () => {
    const { due, offered, contact, other, agent } = await promised();
    await worker.matching.setAgentState(other, 'paused', 'test');
    await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
    await due();
    expect(await offered()).toBeUndefined();
    queue.clock.pass(301);
    await worker.sweep();
    expect((await queue.offerOf(agent))?.contact_id).toBe(contact);
  });

  it('is for anyone as soon as its agent logs off', async () => {
    const { due, offered, contact, other } = await promised();
    await worker.matching.setAgentState(other, 'paused', 'test');
    await due();
    expect(await offered()).toBeUndefined();
    await worker.matching.setAgentState(other, 'logged_off', 'test');
    expect(await offered()).toBe(contact);
  });

  it('is for anyone when its agent turns it down', async () => {
    const { due, contact, other, agent } = await promised();
    await worker.matching.setAgentState(other, 'ready', 'test');
    await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
    await due();
    await worker.sweep();
    expect((await queue.offerOf(other))?.contact_id).toBe(contact);
    await endOffer(worker, (await queue.offerOf(other))!, 'rejects');
    await worker.sweep();
    expect((await queue.offerOf(agent))?.contact_id).toBe(contact);
  });
});
