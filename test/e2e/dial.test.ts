/**
 * The dial, line by line: its activity on a real database and the simulated switch, with the agent gone, or the worker
 * frozen, before any of its commands. The book's time is set by the test.
 */
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createCallActivities, type EndOutcome } from '../../activities/calls.ts';
import type { DialOutcome } from '../../activities/offers.ts';
import { legId } from '../../domain/ids.ts';
import { createSimulatorTelephony } from '../../telephony/simulator/adapter.ts';
import type { Telephony } from '../../telephony/telephony.ts';
import { eventually } from '../kit/eventually.ts';
import { type Matcher, type OpenOffer, Queue } from '../kit/queue.ts';
import { SimulatorProcess } from '../kit/simulator.ts';
import { storyOf } from '../kit/scene.ts';

const log = pino({ level: 'silent' });
const AGENT = '1';
const CONTACT = '+4722000099';
/** What is asked of the switch to dial a contact, in this order. */
const LINES = ['join', 'endTogether', 'originate'] as const;
type Command = (typeof LINES)[number];

let queue: Queue;
let worker: Matcher;
let simulator: SimulatorProcess;
let telephony: Telephony;
let offer: OpenOffer;
/** The activities over a switch of which each command is announced first. */
const activities = (before: (command: Command) => unknown = () => {}) => {
  const announced = new Proxy(telephony, {
    get(target, name: Command) {
      const command: unknown = target[name];
      if (!LINES.includes(name)) return typeof command === 'function' ? (command.bind(target) as unknown) : command;
      return async (...args: unknown[]) => {
        await before(name);
        return (command as (...args: unknown[]) => Promise<unknown>).apply(target, args);
      };
    },
  });
  return createCallActivities({ ...worker, telephony: announced, log });
};
const run = <T>(activity: () => Promise<T>) => new MockActivityEnvironment().run<[], T, () => Promise<T>>(activity);
const dial = (before?: (command: Command) => unknown): Promise<DialOutcome> =>
  run(() => activities(before).dial({ offerId: offer.id, refusal: null }));
const contactLeg = () => legId(offer.call_id, offer.offer_no, 'contact');
const dialledToContact = async () => (await simulator.dials()).filter(({ party }) => party === 'contact').length;
const story = () => storyOf({ sql: queue.pool }, offer.contact_id);
const agentHangsUp = () => simulator.phone(AGENT, 'hang-up');

/** An agent who has answered the offer of a contact. */
beforeEach(async () => {
  queue = await Queue.open();
  worker = queue.matcher();
  simulator = await SimulatorProcess.start();
  await simulator.behave(AGENT, { trying: 0, alerting: 0, media: 0, then: { kind: 'answers', after: 0 } });
  await simulator.behave(CONTACT, { trying: 0, alerting: 0, media: 0, then: { kind: 'manual' } });
  telephony = createSimulatorTelephony({ url: simulator.url, log });
  // The switch's own time is another one.
  telephony.onFact(async (fact) => void (await worker.legs.apply({ ...fact, at: queue.clock.now().getTime() })));
  await telephony.start();
  onTestFinished(async () => {
    await telephony.close();
    await simulator.close();
    await queue.close();
  });
  const campaign = await queue.campaign();
  const agent = await queue.agent({ serves: { [campaign]: 1 } });
  await worker.matching.setAgentState(agent, 'ready', 'test');
  await queue.enqueue(worker, await queue.contacts(campaign, [{ phone: CONTACT }]));
  await worker.matching.matchCampaign(campaign);
  offer = (await queue.offerOf(agent))!;
  expect(await run(() => activities().ring({ offerId: offer.id }))).toEqual({ kind: 'answered' });
});

describe('the dial', () => {
  it('sends the contact into the mix in which the agent waits, bound already', async () => {
    const commands: Command[] = [];
    const outcome = dial((command) => commands.push(command));
    await eventually(() => simulator.legAt(CONTACT));

    expect(commands).toEqual(LINES);
    for (const phone of [AGENT, CONTACT]) expect(await simulator.legAt(phone)).toMatchObject({ mix: offer.call_id });
    await eventually(async () => (await simulator.legAt(CONTACT)).phase === 'alerting');
    await agentHangsUp();
    expect(await outcome).toEqual({ kind: 'failed', code: 'h', reason: 'agent_hang_up' });
  });

  it.each(LINES)('never sends the contact of an agent who hangs up before `%s`', async (line) => {
    const outcome = await dial((command) => command === line && agentHangsUp());

    expect(outcome).toEqual({ kind: 'failed', code: 'q', reason: 'agent_hang_up' });
    expect(await dialledToContact()).toBe(0);
    await eventually(async () => expect(await story()).toBe('i q:q a:k c:q(agent_hang_up)'));
  });

  it.each(LINES)('is named as unknown, and never sent again, by a worker that dies before `%s`', async (line) => {
    void dial((command) => command === line && new Promise(() => {}));
    await eventually(async () => (await queue.rows('SELECT 1 FROM leg WHERE id = $1', [contactLeg()])).length === 1);
    const repeat = dial();

    let outcome: DialOutcome | null = null;
    void repeat.then((answer) => (outcome = answer));
    await eventually(() => {
      queue.clock.pass(1);
      worker.legs.nudge(contactLeg());
      return outcome;
    });

    expect(outcome).toEqual({ kind: 'failed', code: 'e', reason: 'unknown' });
    expect(await dialledToContact()).toBe(0);
    await eventually(async () => expect(await simulator.legAt(AGENT)).toBeUndefined());
  });

  it.each(LINES)('is bound by its repeat when a worker that was frozen before `%s` sends it late', async (line) => {
    const thaw = Promise.withResolvers<void>();
    const late = dial((command) => command === line && thaw.promise);
    await eventually(async () => (await queue.rows('SELECT 1 FROM leg WHERE id = $1', [contactLeg()])).length === 1);
    const repeat = dial();
    thaw.resolve();
    await eventually(async () => (await simulator.legAt(CONTACT))?.phase === 'alerting');

    await agentHangsUp();

    const expected = { kind: 'failed', code: 'h', reason: 'agent_hang_up' };
    expect(await Promise.all([late, repeat])).toEqual([expected, expected]);
    expect(await dialledToContact()).toBe(1);
  });

  it('ends with the agent even where the switch has forgotten that they are bound', async () => {
    const outcome = dial();
    await eventually(async () => (await simulator.legAt(CONTACT))?.phase === 'alerting');
    await telephony.endTogether(offer.call_id, []);

    await agentHangsUp();

    expect(await outcome).toEqual({ kind: 'failed', code: 'h', reason: 'agent_hang_up' });
  });

  it('is ended by a decision whose maker has died before the switch was asked', async () => {
    const outcome = dial();
    await eventually(async () => (await simulator.legAt(CONTACT))?.phase === 'alerting');

    await queue.rows(`UPDATE offer SET withdrawn = 'agent_cancel' WHERE id = $1`, [offer.id]);

    expect(await outcome).toEqual({ kind: 'failed', code: 'h', reason: 'agent_cancel' });
  });

  it('ends as abandoned when the answer crosses the hang-up, with no time spoken', async () => {
    await simulator.behave(CONTACT, { trying: 0, alerting: 0, crosses: true, then: { kind: 'manual' } });
    const outcome = dial();
    await eventually(async () => (await simulator.legAt(CONTACT))?.phase === 'alerting');

    const end: EndOutcome = await run(() =>
      activities().endOffer({ offerId: offer.id, why: 'agent_cancel', spare: 'contact_answered' }),
    );

    expect(end).toBe('ended');
    expect(await outcome).toEqual({ kind: 'failed', code: 'k', reason: 'abandoned' });
    const rows = await queue.rows(
      `SELECT result_reason, dte_speak_start, duration_speak_sec FROM call_events WHERE ciq = 'c'`,
    );
    expect(rows).toEqual([{ result_reason: 'abandoned', dte_speak_start: null, duration_speak_sec: 0 }]);
  });
});

it('asked for, as the ring, by a workflow that comes only after the talk: they have talked, and nobody is called again', async () => {
  const outcome = dial();
  await eventually(() => simulator.legAt(CONTACT));
  await simulator.phone(CONTACT, 'answer');
  expect(await outcome).toEqual({ kind: 'talking' });
  await agentHangsUp();
  await eventually(async () => expect(await story()).toBe('i q:q a:k c:k(agent_hang_up)'));

  expect(await run(() => activities().ring({ offerId: offer.id }))).toEqual({ kind: 'answered' });
  expect(await dial()).toEqual({ kind: 'talking' });
  expect(await dialledToContact()).toBe(1);
  expect(await queue.rows('SELECT cause FROM repair')).toEqual([]);
});

describe('a number that the campaign must not dial any more', () => {
  it.each([
    ['of a country that its rule does not name', `UPDATE campaign SET rules = rules || '{"countries": ["SE"]}'`],
    ['of another country than its own', `UPDATE campaign SET country = 'SE', rules = rules - 'countries'`],
    ['that has become its caller id', `UPDATE campaign SET caller_id = '${CONTACT}'`],
    ['that has become an access number', `UPDATE campaign SET service_num = '${CONTACT}'`],
    [
      'that an agent has got',
      `INSERT INTO agent (name, phone, since, cause, created_at, updated_at)
       SELECT 'other', '${CONTACT}', since, 'created', created_at, updated_at FROM agent`,
    ],
    ['that is premium rate', `UPDATE call SET number = '+4782912345'`],
  ])('%s: no leg, no attempt', async (_what, change) => {
    await queue.rows(change);

    expect(await dial()).toEqual({ kind: 'refused', reason: 'number_not_allowed' });
    expect(await dial()).toEqual({ kind: 'refused', reason: 'number_not_allowed' });
    expect(await dialledToContact()).toBe(0);
    expect(await queue.rows('SELECT attempts FROM contact')).toEqual([{ attempts: 0 }]);
    await eventually(async () => expect(await simulator.legAt(AGENT)).toBeUndefined());
  });
});

it('of one number from two campaigns at the same moment is sent once: who is later is refused, and nothing is consumed', async () => {
  const campaign = await queue.campaign();
  const agent = await queue.agent({ serves: { [campaign]: 1 } });
  const [row] = await queue.rows<{ phone: string }>(`SELECT phone FROM agent WHERE id = $1`, [agent]);
  await simulator.behave(row!.phone, { trying: 0, alerting: 0, media: 0, then: { kind: 'answers', after: 0 } });
  await worker.matching.setAgentState(agent, 'ready', 'test');
  await queue.enqueue(worker, await queue.contacts(campaign, [{ phone: CONTACT }]));
  await worker.matching.matchCampaign(campaign);
  const other = (await queue.offerOf(agent))!;
  expect(await run(() => activities().ring({ offerId: other.id }))).toEqual({ kind: 'answered' });

  const offers = [offer, other];
  const dials = offers.map(({ id }) => run(() => activities().dial({ offerId: id, refusal: null })));
  const [later, outcome] = await Promise.race(dials.map(async (dialling, n) => [n, await dialling] as const));
  expect(outcome).toEqual({ kind: 'refused', reason: 'number_in_use' });
  await eventually(async () => (await dialledToContact()) === 1);
  const attempts = await queue.rows<{ attempts: number }>(`SELECT attempts FROM contact WHERE id = $1`, [offers[later]!.contact_id]);
  expect(attempts).toEqual([{ attempts: 0 }]);

  await simulator.phone(CONTACT, 'reject');
  expect(await dials[1 - later]).toMatchObject({ kind: 'failed', code: 'b' });
  expect(await dialledToContact()).toBe(1);
});
