/** Repairs of agents and offers that only rows and the time are needed for: what is late is on record, what is due is not. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createCallActivities } from '../../activities/calls.ts';
import { legId } from '../../domain/ids.ts';
import type { Telephony } from '../../telephony/telephony.ts';
import { dial, type Matcher, Queue } from '../kit/queue.ts';

let queue: Queue;
let workers: [Matcher, Matcher];
let agent: number;
const opened: Queue[] = [];
beforeEach(async () => {
  queue = await Queue.open();
  opened.push(queue);
  workers = [queue.matcher(), queue.matcher()];
});
afterAll(() => Promise.all(opened.map((one) => one.close())));

interface RepairRow {
  cause: string;
  subject: string;
  worker: string | null;
}
const repairs = () => queue.rows<RepairRow>(`SELECT cause, subject, worker FROM repair ORDER BY id`);
const causes = async () => (await repairs()).map(({ cause, subject }) => `${cause} ${subject}`);
/** Two workers at once, as ever. */
const sweep = () => Promise.all(workers.map((worker) => worker.sweep()));
const ready = () => workers[0].matching.setAgentState(agent, 'ready', 'agent');

/** An agent who serves a campaign, and one of its contacts in the queue. */
async function begin(rules: object = {}): Promise<number> {
  const campaign = await queue.campaign({ rules });
  agent = await queue.agent({ serves: { [campaign]: 1 } });
  await queue.enqueue(workers[0], await queue.contacts(campaign, [{}]));
  return campaign;
}

describe('an offer', () => {
  it('whose workflow was not told: told after 3 s, and on record once', async () => {
    await begin();
    queue.isAway = true;
    await ready();
    queue.isAway = false;
    queue.clock.pass(2);
    await sweep();
    expect(queue.told).toEqual([]);
    queue.clock.pass(2);
    await sweep();
    await sweep();

    const offer = await queue.offerOf(agent);
    expect(queue.told.map(({ name }) => name)).toContain('offered');
    expect(await repairs()).toEqual([
      { cause: 'offer_not_told', subject: `offer/${offer!.id}`, worker: expect.stringMatching(/^worker-[12]$/) as string },
    ]);
  });

  it('that is told at once is nothing to be repaired', async () => {
    await begin();
    await ready();
    queue.clock.pass(4);
    await sweep();
    expect(await causes()).toEqual([]);
  });

  it('whose agent leaves, which its workflow was not told: told after 3 s, and on record once', async () => {
    await begin();
    await ready();
    const offer = await queue.offerOf(agent);
    queue.isAway = true;
    await workers[0].matching.setAgentState(agent, 'logged_off', 'agent');
    queue.isAway = false;
    queue.clock.pass(4);
    await sweep();
    await sweep();
    expect(await causes()).toEqual([`leaving_not_told offer/${offer!.id}`]);
  });
});

describe('an agent', () => {
  /** In wrap-up, for so many seconds. */
  async function wrapUp(wrap_up_sec: number): Promise<void> {
    await begin({ wrap_up_sec });
    await ready();
    const call = await dial(workers[0], (await queue.offerOf(agent))!);
    await call.answer();
    await call.end({ by: 'remote', phase: 'answered' });
    expect((await queue.rows<{ state: string }>(`SELECT state FROM agent`))[0]!.state).toBe('wrap_up');
  }

  it('whose wrap-up ends is ready: nothing to be repaired', async () => {
    await wrapUp(5);
    queue.clock.pass(6);
    await sweep();
    expect((await queue.rows<{ state: string }>(`SELECT state FROM agent`))[0]!.state).toBe('ready');
    expect(await causes()).toEqual([]);
  });

  it('whose wrap-up nobody has ended for 10 s is on record once', async () => {
    await wrapUp(5);
    queue.clock.pass(16);
    await sweep();
    expect(await causes()).toEqual([`agent_held agent/${agent}`]);
  });

  it('who is free and whose lease lapses is logged off: nothing to be repaired', async () => {
    await begin();
    await queue.rows(`UPDATE campaign SET status = 'paused'`);
    await ready();
    queue.clock.pass(31);
    await sweep();
    expect(await queue.rows(`SELECT state, cause FROM agent`)).toEqual([{ state: 'logged_off', cause: 'agent_lost' }]);
    expect(await causes()).toEqual([]);
  });

  it('whose lease lapses in a call is on record once', async () => {
    await begin();
    await ready();
    const call = await dial(workers[0], (await queue.offerOf(agent))!);
    await call.answer();
    queue.clock.pass(31);
    await sweep();
    await sweep();
    expect(await causes()).toEqual([`agent_lost agent/${agent}`]);
  });

  it('who logs off by the time of day is nothing to be repaired; one whom nobody has logged off for 10 min is', async () => {
    await begin();
    await queue.rows(`UPDATE campaign SET status = 'paused'`);
    const at = (seconds: number) =>
      queue.rows(`UPDATE agent SET log_off_time = '17:00', log_off_zone = 'Europe/Oslo', log_off_at = $1`, [
        new Date(queue.clock.now().getTime() - seconds * 1000),
      ]);
    await ready();
    await at(1);
    await sweep();
    expect(await queue.rows(`SELECT state, cause FROM agent`)).toEqual([{ state: 'logged_off', cause: 'time_of_day' }]);
    expect(await causes()).toEqual([]);

    await ready();
    await at(601);
    await sweep();
    expect(await causes()).toEqual([`log_off_missed agent/${agent}`]);
  });
});

describe('a leg', () => {
  it('that the switch refuses, since it comes too late, is on record', async () => {
    await begin();
    await ready();
    const offer = (await queue.offerOf(agent))!;
    const telephony = {
      capabilities: { mediaUp: true },
      originate: () => Promise.resolve('too_late'),
      status: () => Promise.resolve('absent'),
    } as unknown as Telephony;
    const { ring } = createCallActivities({ ...workers[0], telephony, log: pino({ level: 'silent' }) });
    const outcome = await new MockActivityEnvironment().run(() => ring({ offerId: offer.id }));
    expect(outcome).toMatchObject({ kind: 'over', code: 'e', reason: 'unknown' });
    expect(await causes()).toEqual([`leg_not_sent leg/${legId(offer.call_id, offer.offer_no, 'agent')}`]);
  });
});
