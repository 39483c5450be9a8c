/**
 * Races on the wire: what two sides do at the same time ends as one story that both of them tell, whoever was first. Each
 * race is run many times, its two acts up to 60 ms apart. A failure names its seed: RACES_SEED plays the same distances.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { SipCall } from '../../dev/sip/call.ts';
import { VARIABLE } from '../../telephony/asterisk/names.ts';
import type { HangUpAnswer } from '../../telephony/telephony.ts';
import { AriEvents, late, swapped, twice } from '../kit/ari-events.ts';
import { AsteriskRig, type Ended, whyNoAsterisk } from '../kit/asterisk.ts';
import { eventually } from '../kit/eventually.ts';
import { APART_MS, nothingLeft, Run } from '../kit/race.ts';

const SEED = Number(process.env.RACES_SEED ?? Date.now() % 1_000_000);
const RUNS = 100;
const AT_ONCE = 20;
const YEAR_S = 31_536_000;

// What a phone does, and what a person does there as far as it is still possible.
const silent = (): void => {};
const tries = (call: SipCall): void => call.respond(100);
const rings = (call: SipCall): void => call.respond(180);
const answers = (call: SipCall): void => call.respond(200);
const ring = (call: SipCall): void => void (call.state === 'setup' && rings(call));
const pickUp = (call: SipCall): void => void (call.state !== 'ended' && answers(call));
const bye = (call: SipCall): void => void (call.state === 'talking' && call.bye().catch(() => {}));
const reinvite = (call: SipCall, hold: boolean): void =>
  void (call.state === 'talking' && call.reinvite({ hold }).catch(() => {}));

/** Plays all runs, some at a time, and asks each whether both sides tell the same story. */
async function playAll(rig: AsteriskRig, play: (run: Run, n: number) => Promise<unknown>): Promise<Run[]> {
  const runs = Array.from({ length: RUNS }, (_, n) => new Run(rig, SEED + n));
  const next = runs.entries();
  const errors: unknown[] = [];
  const player = async (): Promise<void> => {
    for (const [n, run] of next) {
      if (errors.length > 0) return;
      await run.explain(() => play(run, n).then(() => run.settled())).catch((error) => errors.push(error));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, player));
  // What a failed run leaves must not fill the switch.
  if (errors.length > 0) for (const run of runs) await run.hangUpAll().catch(() => {});
  if (errors.length > 0) throw errors[0];
  await nothingLeft(rig);
  for (const run of runs) await run.explain(async () => run.judge());
  return runs;
}

describe.skipIf(await whyNoAsterisk())('on the wire', () => {
  let rig: AsteriskRig;
  const open = async (): Promise<void> => {
    rig = await AsteriskRig.open();
    await rig.telephony.start();
  };
  beforeAll(open);
  afterAll(() => rig?.close());

  /** Asterisk 22 itself may crash here, once in thousands of races. What its calls become then is in survival.test.ts. */
  const again = async (what: string, play: (run: Run) => Promise<unknown>, error: unknown): Promise<Run[]> => {
    if (!rig.hasCrashed()) throw error;
    process.stderr.write(`Asterisk crashed while "${what}" was run, which is run again with another one\n`);
    await rig.close();
    await open();
    return playAll(rig, play);
  };

  const race = (what: string, play: (run: Run) => Promise<unknown>): void =>
    it(what, async () => {
      const runs = await playAll(rig, play).catch((error) => again(what, play, error));
      if (process.env.RACES_LOG) process.stderr.write(`${what}\n${outcomes(runs)}`);
    });

  describe('our hang-up', () => {
    race('crosses the answer', async (run) => {
      const { leg, call } = await run.dial(rings);
      await run.cross(() => run.hangUp(leg), () => pickUp(call));
    });

    race('that leaves an answered leg alone crosses the answer', async (run) => {
      const { leg, call } = await run.dial(rings);
      let said: HangUpAnswer | undefined;
      await run.cross(async () => (said = await run.hangUp(leg, { unlessAnswered: true })), () => pickUp(call));
      if (said !== 'answered') return expect(said).toBe('ended');
      expect([rig.story(leg.legId), call.state]).toEqual(['alerting answered', 'talking']);
      return run.hangUp(leg);
    });

    race('crosses the first 180', async (run) => {
      const { leg, call } = await run.dial(silent);
      await run.cross(() => run.hangUp(leg), () => ring(call));
      if (call.state === 'setup') ring(call);
    });

    race('comes before any sign of the phone: the CANCEL goes out with the first 180', async (run) => {
      const { leg, call } = await run.dial(silent);
      await run.hangUp(leg);
      await sleep(run.between(0, APART_MS));
      ring(call);
      await eventually(() => call.state === 'ended');
      expect(call.story.replaceAll(/ \S+\*/g, '')).toMatch(/^<INVITE >180 <CANCEL >200 >487/);
    });

    race('comes before the answer, the first that is heard of the phone', async (run) => {
      const { leg, call } = await run.dial(silent);
      await run.hangUp(leg);
      await sleep(run.between(0, APART_MS));
      pickUp(call);
    });

    race('crosses the BYE', async (run) => {
      const { leg, call } = await run.dial(answers);
      await run.cross(() => run.hangUp(leg), () => bye(call));
    });

    race('crosses the originate', async (run) => {
      const leg = run.leg(rings);
      const later = sleep(run.between(0, APART_MS)).then(() => run.hangUp(leg));
      const answer = await Promise.all([rig.telephony.originate(leg), later]);
      const [first] = rig.phones.calls(leg.to);
      if (first) return expect(answer).toEqual(['accepted', 'ended']);
    });
  });

  describe('our ring timer', () => {
    race('crosses the answer', async (run) => {
      const ringMs = 100;
      const { leg, call } = await run.dial(rings, { ringMs });
      await sleep(ringMs + run.between(-APART_MS, APART_MS));
      pickUp(call);
      await call.waitFor('ack');
      if (rig.story(leg.legId).includes('ended')) return expect(run.ends(leg)[0]!.by).toBe('timer');
      await eventually(() => /answered|ended/.test(rig.story(leg.legId)));
      return run.hangUp(leg);
    });
  });

  describe("the agent's BYE", () => {
    race("crosses the contact's answer", async (run) => {
      const { agent, contact } = await run.pair(rings);
      await run.cross(() => bye(agent.call), () => pickUp(contact.call));
      expect(await rig.ended(agent.leg.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(await rig.ended(contact.leg.legId)).toMatchObject({ by: 'command', why: 'agent_hang_up' });
    });

    race("crosses the originate of the contact's leg", async (run) => {
      const { agent, contact } = await run.bound(rings);
      await run.cross(() => bye(agent.call), async () => {
        expect(['accepted', 'too_late']).toContain(await rig.telephony.originate(contact));
      });
    });

    race('crosses the binding of the legs', async (run) => {
      const { leg, call } = await run.dial(answers, { party: 'agent' });
      await run.cross(() => bye(call), () => run.bind(leg, run.leg(rings, { mix: `mix-${leg.legId}` })));
    });

    race('crosses what is asked of its leg', async (run) => {
      const { agent } = await run.bound(rings);
      const { legId, mix } = { ...agent.leg, mix: `mix-${agent.leg.legId}` };
      const ask = async (): Promise<void> => {
        await rig.telephony.sendDtmf(legId, '1', 'key');
        await rig.telephony.play(legId, 'music');
        await rig.telephony.play(legId, null);
        await rig.telephony.hold(legId, true);
        await rig.telephony.hold(legId, false);
        await rig.telephony.record(mix, `record-${legId}`);
        await rig.telephony.leave(mix, legId);
      };
      await run.cross(() => bye(agent.call), ask);
    });

    race("crosses the contact's refusal", async (run) => {
      const { agent, contact } = await run.pair(rings);
      await run.cross(() => bye(agent.call), () => contact.call.state === 'ringing' && contact.call.respond(486));
    });

    race("crosses the contact's BYE", async (run) => {
      const { agent, contact } = await run.pair(answers);
      await run.cross(() => bye(agent.call), () => bye(contact.call));
      const ends = await Promise.all([agent, contact].map(({ leg }) => rig.ended(leg.legId)));
      expect(ends.map(({ by }) => by), 'one of them was first').toContain('remote');
    });
  });

  describe.each([
    ['a hold', true],
    ['a refresh of the session', false],
  ])('%s', (_what, hold) => {
    race('crosses our hang-up', async (run) => {
      const { leg, call } = await run.dial(answers);
      await run.cross(() => run.hangUp(leg), () => reinvite(call, hold));
    });

    race("crosses the other side's BYE", async (run) => {
      const { agent, contact } = await run.pair(answers);
      await run.cross(() => bye(agent.call), () => reinvite(contact.call, hold));
    });

    race('and the end of it crosses the BYE of the same side', async (run) => {
      const { call } = await run.dial(answers);
      reinvite(call, true);
      await run.cross(() => reinvite(call, false), () => bye(call));
    });
  });

  describe('a phone that picks up at once', () => {
    race('with a 200 alone is talked to', async (run) => {
      const after = run.between(0, 5);
      const { leg, call } = await run.dial((invited) => void setTimeout(() => answers(invited), after));
      await rig.heard(leg.legId, 'answered');
      bye(call);
      expect(await rig.ended(leg.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(rig.story(leg.legId)).toBe('answered ended');
    });

    race('with 180 and 200 in one burst is talked to', async (run) => {
      const { leg, call } = await run.dial((invited) => {
        rings(invited);
        answers(invited);
      });
      await rig.heard(leg.legId, 'answered');
      bye(call);
      expect(await rig.ended(leg.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(rig.story(leg.legId)).toBe('alerting answered ended');
    });

    it('keeps a limit that is years away: one that is taken off can end the call in that moment', async () => {
      const run = new Run(rig, SEED);
      const { leg } = await run.dial(answers);
      const path = { channelId: `dialwright.${leg.legId}` };
      const { value } = await rig.ari.ask('GET /channels/{channelId}/variable', { path, query: { variable: VARIABLE.limit } });
      expect(Number(value)).toBeGreaterThan(YEAR_S);
      await run.hangUp(leg);
      await run.settled();
    });

    race('in the mix of an agent who hangs up at once', async (run) => {
      const { agent } = await run.pair((invited) => void setTimeout(() => answers(invited), run.between(0, 5)));
      await sleep(run.between(0, 20));
      bye(agent.call);
    });
  });
});

describe.skipIf(await whyNoAsterisk())('calls come out the same', () => {
  type Outcome = [story: string, end: Partial<Ended>];
  /** What happens in a call, and what must be told of its legs. */
  const CALLS: [string, (run: Run) => Promise<unknown>, ...Outcome[]][] = [
    [
      'an answered one that the phone ends',
      async (run) => {
        const { call } = await run.dial(rings);
        pickUp(call);
        await call.waitFor('ack');
        bye(call);
      },
      ['alerting answered ended', { phase: 'answered', by: 'remote' }],
    ],
    [
      'an answered one that we end',
      async (run) => {
        const { leg, call } = await run.dial(rings);
        pickUp(call);
        await run.rig.heard(leg.legId, 'answered');
        await run.hangUp(leg);
      },
      ['alerting answered ended', { phase: 'answered', by: 'command', why: 'agent_cancel' }],
    ],
    [
      'one that is picked up at once',
      async (run) => bye((await run.dial(answers)).call),
      ['answered ended', { phase: 'answered', by: 'remote' }],
    ],
    [
      'a busy one',
      (run) => run.dial((call) => call.respond(486)),
      ['ended', { phase: 'setup', by: 'remote', sip: 486 }],
    ],
    [
      'a rejected one',
      async (run) => (await run.dial(rings)).call.respond(603),
      ['alerting ended', { phase: 'alerting', by: 'remote', sip: 603 }],
    ],
    [
      'one that rings out',
      (run) => run.dial(rings, { ringMs: 200 }),
      ['alerting ended', { phase: 'alerting', by: 'timer' }],
    ],
    ['one without a sign', (run) => run.dial(tries, { setupMs: 200 }), ['ended', { phase: 'setup', by: 'timer' }]],
    [
      'one with early media that we end',
      async (run) => {
        const { leg } = await run.dial((call) => call.respond(183, { sdp: true }));
        await run.hangUp(leg);
      },
      ['early_media alerting ended', { phase: 'alerting', by: 'command', why: 'agent_cancel' }],
    ],
    [
      'one whose agent goes while it rings',
      async (run) => bye((await run.pair(rings)).agent.call),
      ['answered ended', { phase: 'answered', by: 'remote' }],
      ['alerting ended', { phase: 'alerting', by: 'command', why: 'agent_hang_up' }],
    ],
    [
      'a talk that the contact ends',
      async (run) => bye((await run.pair(answers)).contact.call),
      ['answered ended', { phase: 'answered', by: 'command', why: 'call_over' }],
      ['answered ended', { phase: 'answered', by: 'remote' }],
    ],
  ];

  it('where Asterisk has ended a leg by itself, and it is asked for before anybody knows why', async () => {
    const agents = new Set<string>();
    const isAgent = (channelId: string): boolean => agents.has(channelId.replace('dialwright.', ''));
    let proxy!: AriEvents;
    const through = async (origin: string) => (proxy = await AriEvents.to(origin, late(isAgent, 60))).url;
    const rig = await AsteriskRig.open({ through });
    onTestFinished(async () => {
      await rig.close();
      await proxy.close();
    });
    await rig.telephony.start();

    const runs = await playAll(rig, async (run) => {
      const { agent, contact } = await run.pair(rings);
      const { legId } = contact.leg;
      agents.add(agent.leg.legId);
      bye(agent.call);
      const ask = async () => (await rig.telephony.status(legId)) === 'absent' && run.ends(contact.leg).length > 0;
      await eventually(ask, { everyMs: 1 });
    });

    for (const run of runs) {
      const [agent, contact] = run.legs;
      expect(run.ends(agent!)).toMatchObject([{ phase: 'answered' }]);
      expect(run.ends(contact!)).toMatchObject([{ phase: 'alerting', by: 'command', why: 'agent_hang_up' }]);
      expect(await run.hangUp(contact!)).toBe('ended');
    }
  });

  describe.each([
    ['where every event comes twice', twice],
    ['where events have changed places', swapped],
  ])('%s', (_how, makeTamper) => {
    let rig: AsteriskRig;
    let proxy: AriEvents;
    beforeAll(async () => {
      rig = await AsteriskRig.open({ through: async (origin) => (proxy = await AriEvents.to(origin, makeTamper)).url });
      await rig.telephony.start();
    });
    afterAll(async () => {
      await rig?.close();
      await proxy?.close();
    });

    it('all kinds of them, at the same time', async () => {
      const played = await playAll(rig, (run, n) => CALLS[n % CALLS.length]![1](run));
      for (const [n, run] of played.entries()) {
        const [, , ...expected] = CALLS[n % CALLS.length]!;
        await run.explain(async () => {
          const told = run.legs.map((leg) => [rig.story(leg.legId), run.ends(leg)[0]]);
          expect(told).toMatchObject(expected);
          // It is remembered as one that was dialled.
          for (const leg of run.legs) expect(await rig.telephony.originate(leg)).toBe('known');
        });
      }
    });
  });
});

/** For people: which ends a race has had, and how often. */
function outcomes(runs: Run[]): string {
  const all = Object.entries(Object.groupBy(runs.map(String), (outcome) => outcome));
  return all.map(([outcome, same = []]) => `${same.length} × ${outcome}\n`).join('');
}
