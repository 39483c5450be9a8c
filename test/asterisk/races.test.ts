/**
 * Races on the wire: what two sides do at the same time ends as one story that both of them tell, whoever was first. Each race
 * is run many times, its two acts up to 60 ms apart. A failure names its seed: RACES_SEED plays the same distances again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HangUpAnswer } from '../../telephony/telephony.ts';
import { AsteriskRig, whyNoAsterisk } from '../kit/asterisk.ts';
import { eventually } from '../kit/eventually.ts';
import { APART_MS, nothingLeft, Run } from '../kit/race.ts';
import type { SipCall } from '../kit/sip/call.ts';
import type { CallScript } from '../kit/sip/phones.ts';

const SEED = Number(process.env.RACES_SEED ?? Date.now() % 1_000_000);
const RUNS = 100;
const AT_ONCE = 20;

// What a phone does, and what a person does there as far as it is still possible.
const silent: CallScript = () => {};
const rings: CallScript = (call) => call.respond(180);
const answers: CallScript = (call) => call.respond(200);
const ring = (call: SipCall): void => void (call.state === 'setup' && rings(call));
const pickUp = (call: SipCall): void => void (call.state !== 'ended' && answers(call));
const bye = (call: SipCall): void => void (call.state === 'talking' && call.bye().catch(() => {}));
const reinvite = (call: SipCall, hold: boolean): void =>
  void (call.state === 'talking' && call.reinvite({ hold }).catch(() => {}));

describe.skipIf(await whyNoAsterisk())('on the wire', () => {
  let rig: AsteriskRig;
  beforeAll(async () => {
    rig = await AsteriskRig.open();
    await rig.telephony.start();
  });
  afterAll(() => rig?.close());

  const race = (what: string, play: (run: Run) => Promise<unknown>): void =>
    it(what, async () => {
      const runs = Array.from({ length: RUNS }, (_, n) => new Run(rig, SEED + n));
      const next = runs.values();
      const errors: unknown[] = [];
      const player = async (): Promise<void> => {
        for (const run of next) await run.explain(() => play(run).then(() => run.settled())).catch((e) => errors.push(e));
      };
      await Promise.all(Array.from({ length: AT_ONCE }, player));
      // What a failed run leaves must not fill the switch.
      if (errors.length > 0) await Promise.all(runs.map((run) => run.hangUpAll()));
      if (errors.length > 0) throw errors[0];
      await nothingLeft(rig);
      for (const run of runs) await run.explain(async () => run.judge());
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
      expect(call.story().replaceAll(' <INVITE*', '')).toMatch(/^<INVITE >180 <CANCEL >200 >487/);
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
      const answer = await Promise.all([rig.telephony.originate(leg), sleep(run.between(0, APART_MS)).then(() => run.hangUp(leg))]);
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
      const send = async (): Promise<void> => void expect(await rig.telephony.originate(contact)).toMatch(/^accepted$|^too_late$/);
      await run.cross(() => bye(agent.call), send);
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

    race('in the mix of an agent who hangs up at once', async (run) => {
      const { agent } = await run.pair((invited) => void setTimeout(() => answers(invited), run.between(0, 5)));
      await sleep(run.between(0, 20));
      bye(agent.call);
    });
  });
});

/** For people: which ends a race has had, and how often. */
function outcomes(runs: Run[]): string {
  const all = Object.entries(Object.groupBy(runs.map(String), (outcome) => outcome));
  return all.map(([outcome, same = []]) => `${same.length} × ${outcome}\n`).join('');
}
