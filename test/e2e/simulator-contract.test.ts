import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createSimulatorTelephony } from '../../telephony/simulator/adapter.ts';
import { TelephonyUnavailable } from '../../telephony/unavailable.ts';
import type { LegFact, Originate, Telephony } from '../../telephony/telephony.ts';
import { eventually } from '../kit/eventually.ts';
import { SimulatorProcess } from '../kit/simulator.ts';
import { telephonyContract } from '../kit/telephony-contract.ts';
import { Wire } from '../kit/wire.ts';

const log = pino({ level: 'silent' });
const MAIN = path.resolve(import.meta.dirname, '../../telephony/simulator/main.ts');

telephonyContract('simulator', async () => {
  const simulator = await SimulatorProcess.start();
  const wire = await Wire.to(simulator.url);
  const telephony = createSimulatorTelephony({ url: wire.url, log });
  return {
    telephony,
    phone: (number) => ({
      behave: (behaviour) => simulator.behave(number, behaviour),
      answer: () => simulator.phone(number, 'answer'),
      reject: () => simulator.phone(number, 'reject'),
      hangUp: () => simulator.phone(number, 'hang-up'),
      press: (digit) => simulator.phone(number, 'digit', { digit }),
      hold: (on) => simulator.phone(number, 'hold', { on }),
      hears: () => simulator.legAt(number),
    }),
    cut: () => wire.cut(),
    mend: () => wire.mend(),
    async close() {
      await telephony.close();
      await wire.close();
      await simulator.close();
    },
  };
});

describe('the simulator process', () => {
  let simulator: SimulatorProcess;
  beforeEach(async () => {
    simulator = await SimulatorProcess.start({ speed: 50 });
    return () => simulator.close();
  });

  it('runs its script at the speed it was given', async () => {
    const { telephony, facts } = await worker(simulator.url);
    await simulator.behave('+4722000001', { then: { kind: 'answers', after: 5, talks: 10 } });

    await telephony.originate(leg('c'));

    const ended = await endOf(facts, 'c');
    expect(ended.at - facts[0]!.at).toBeLessThan(3_000);
    expect(ended).toMatchObject({ phase: 'answered', by: 'remote' });
  });

  it('keeps the record of its dials when it is killed, and reports its legs as lost when it is back', async () => {
    const { telephony, facts } = await worker(simulator.url);
    await telephony.originate(leg('a', { party: 'agent', to: '100' }));
    await eventually(() => facts.length > 1);

    await simulator.kill('SIGKILL');
    await simulator.restart();

    expect(await endOf(facts, 'a')).toMatchObject({ phase: 'alerting', by: 'switch', why: 'switch_lost' });
    expect(await telephony.status('a')).toBe('absent');
    expect(await simulator.dials()).toMatchObject([{ seq: 1, legId: 'a', party: 'agent', to: '100', end: null }]);
    expect(facts.filter(({ type }) => type === 'ended')).toHaveLength(1);
  });

  it('gives to a second worker what the first one had not taken, and what follows; all back when that one goes', async () => {
    const first = await worker(simulator.url);
    first.holdFacts();
    await first.telephony.originate(leg('a', { party: 'agent', to: '100' }));
    await eventually(() => first.facts.length > 0);

    const second = await worker(simulator.url);
    await eventually(() => second.facts.length === 2);
    await first.telephony.hangUp('a', 'agent_lost');
    await endOf(second.facts, 'a');
    await eventually(async () => (await simulator.factsWaiting()) === 0);
    first.takeFacts();
    await second.telephony.close();
    await first.telephony.originate(leg('b', { party: 'agent', to: '101' }));
    await eventually(async () => first.facts.length > 1 && (await simulator.factsWaiting()) === 0);
    await first.telephony.close();

    expect(second.facts.map(({ type }) => type)).toEqual(['progress', 'progress', 'ended']);
    // Of the other's leg only what it held when it was replaced, and above all no end of its own making.
    expect(first.facts.filter(({ legId }) => legId === 'a')).toHaveLength(1);
    expect(first.facts.some(({ legId }) => legId === 'b')).toBe(true);
  });

  it('gives a fact again to nobody who still holds it, nor to one whose acknowledgement got lost', async () => {
    const wire = await Wire.to(simulator.url);
    onTestFinished(() => wire.close());
    const { telephony, facts, connection, holdFacts, takeFacts } = await worker(wire.url);
    const breakConnection = async (meanwhile = (): void => {}): Promise<void> => {
      wire.cut();
      await eventually(() => connection.at(-1) === false);
      meanwhile();
      wire.mend();
      await eventually(() => connection.at(-1) === true);
    };
    holdFacts();
    await telephony.originate(leg('a', { party: 'agent', to: '100' }));
    await eventually(() => facts.length > 0);
    await eventually(async () => (await telephony.status('a')) === 'alerting');

    await breakConnection();
    expect(await simulator.factsWaiting(), 'held, so not acknowledged').toBe(2);
    await breakConnection(takeFacts);

    await eventually(async () => (await simulator.factsWaiting()) === 0);
    expect(facts.map((fact) => fact.type === 'progress' && fact.phase)).toEqual(['trying', 'alerting']);
  });

  it('stops cleanly when asked to', async () => {
    await worker(simulator.url);
    expect(await simulator.kill('SIGTERM')).toBe(0);
  });

  it('explains itself, and refuses a script that is none', () => {
    const help = spawnSync(process.execPath, [MAIN, '--help'], { encoding: 'utf8' });
    expect(help).toMatchObject({ status: 0, stdout: expect.stringContaining('SIMULATOR_URL') as string });

    const bad = spawnSync(process.execPath, [MAIN, import.meta.filename], { encoding: 'utf8' });
    expect(bad.status).toBe(1);
    expect(bad.stderr).not.toBe('');
  });
});

describe('a switch that is away', () => {
  it('costs its legs after five seconds, once, and they are hung up when it is back', async () => {
    const simulator = await SimulatorProcess.start({ speed: 50 });
    onTestFinished(() => simulator.close());
    const { telephony, facts, connection } = await worker(simulator.url);
    await telephony.originate(leg('a', { party: 'agent', to: '100', ringMs: 3_600_000 }));
    await eventually(() => facts.length === 2);

    simulator.freeze();
    const frozenAt = Date.now();
    await expect(telephony.hangUp('x', 'call_over')).rejects.toThrow(TelephonyUnavailable);
    expect(await telephony.status('a')).toBe('cannot-tell');
    const ended = await endOf(facts, 'a');
    expect(ended).toMatchObject({ phase: 'alerting', by: 'switch', why: 'switch_lost' });
    expect(ended.at - frozenAt, 'agents are free within 10 s').toBeLessThan(10_000);
    expect(connection.at(-1)).toBe(false);

    simulator.thaw();
    await eventually(async () => (await telephony.status('a')) === 'absent');
    await telephony.originate(leg('b', { party: 'agent', to: '100' }));
    await eventually(() => facts.some(({ legId }) => legId === 'b'));
    expect(facts.filter(({ legId }) => legId === 'a').map(({ type }) => type)).toEqual([
      'progress',
      'progress',
      'ended',
    ]);
    expect((await simulator.dials())[0]?.end).toMatchObject({ by: 'command', why: 'switch_lost' });
  });
});

describe('the HTTP interface', () => {
  let simulator: SimulatorProcess;
  beforeEach(async () => {
    simulator = await SimulatorProcess.start({ speed: 50 });
    return () => simulator.close();
  });

  it('says what a phone is doing when it can do no such thing', async () => {
    expect(await simulator.call('POST', '/phones/100/answer')).toEqual({
      status: 409,
      body: {
        type: 'about:blank',
        title: 'CONFLICT',
        status: 409,
        detail: 'this phone is not ringing: it is idle',
        state: 'idle',
      },
    });
  });

  it.each<[string, string, object | undefined, string]>([
    ['PUT', '/script', { contacts: [{ weight: -1 }] }, 'contacts.0.weight'],
    ['POST', '/phones/100/digit', { digit: '12' }, 'digit'],
    ['GET', '/dials?limit=0', undefined, 'limit'],
  ])('refuses %s %s with the reason', async (method, resource, body, field) => {
    const answer = await simulator.call(method, resource, body);

    expect(answer.status).toBe(400);
    expect((answer.body as { issues: object[] }).issues).toContainEqual(expect.objectContaining({ field }));
  });

  it('shows what was dialled in pages, and who is on the line', async () => {
    const { telephony } = await worker(simulator.url);
    for (const [id, to] of Object.entries({ a: '100', b: '101', c: '102' })) {
      await telephony.originate(leg(id, { party: 'agent', to }));
    }

    const page = await simulator.call('GET', '/dials?after=1&limit=1');
    expect(page.body).toMatchObject({ dials: [{ seq: 2, legId: 'b', to: '101', answeredAt: null }] });
    const { legs } = (await simulator.call('GET', '/legs')).body as { legs: object[] };
    expect(legs).toHaveLength(3);
    expect(legs[0]).toMatchObject({ legId: 'a', party: 'agent', to: '100', script: 'manual' });
  });
});

function leg(legId: string, changes: Partial<Originate> = {}): Originate {
  return {
    legId,
    party: 'contact',
    to: '+4722000001',
    from: null,
    setupMs: 20_000,
    ringMs: 3_600_000,
    noDivert: false,
    mix: null,
    notAfter: Date.now() + 5_000,
    ...changes,
  };
}

/** A worker as the switch sees it: connected, noting facts as they come, and taking them unless told to hold them. */
async function worker(url: string) {
  const facts: LegFact[] = [];
  const connection: boolean[] = [];
  let held = Promise.withResolvers<void>();
  held.resolve();
  const telephony: Telephony = createSimulatorTelephony({ url, log });
  telephony.onFact((fact) => {
    facts.push(fact);
    return held.promise;
  });
  telephony.onConnection((up) => connection.push(up));
  await telephony.start();
  onTestFinished(async () => {
    held.resolve();
    await telephony.close();
  });
  const holdFacts = (): void => void (held = Promise.withResolvers());
  return { telephony, facts, connection, holdFacts, takeFacts: () => held.resolve() };
}

async function endOf(facts: LegFact[], legId: string): Promise<Extract<LegFact, { type: 'ended' }>> {
  const ended = await eventually(() => facts.find((fact) => fact.legId === legId && fact.type === 'ended'), {
    withinMs: 15_000,
  });
  return ended as Extract<LegFact, { type: 'ended' }>;
}
