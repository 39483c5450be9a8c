/**
 * What any adapter of the telephony port must do (telephony/telephony.ts), told once. An adapter's test calls
 * `telephonyContract` with a rig: its switch, phones whose behaviour can be set, and a connection that can be cut.
 * Times are real and short; an adapter that declares a capability is held to it.
 */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { BehaviourInput } from '../../telephony/simulator/script.ts';
import type { EndWhy, LegFact, LegPhase, Originate, Telephony } from '../../telephony/telephony.ts';
import { eventually } from './eventually.ts';

export interface ContractPhone {
  /** From the next call to it on; times in seconds. */
  behave(behaviour: BehaviourInput): Promise<void>;
  /** These reject when the phone is in no state for it. */
  answer(): Promise<void>;
  reject(): Promise<void>;
  hangUp(): Promise<void>;
  press(digit: string): Promise<void>;
  /** Its far end puts us on hold, or takes us back. */
  hold(on: boolean): Promise<void>;
  /** What the phone's call is like at the switch now. */
  hears(): Promise<Hearing>;
}

export interface Hearing {
  mix: string | null;
  onHold: boolean;
  sound: string | null;
  /** Keys that were sent to it. */
  keysHeard: string;
  /** Name of the recording of its mix. */
  recording: string | null;
}

export interface ContractRig {
  /** Not started: the suite listens first. */
  telephony: Telephony;
  phone(number: string): ContractPhone;
  /** Cuts the connection between adapter and switch until it is mended. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

type Ended = Extract<LegFact, { type: 'ended' }>;

const manual: BehaviourInput = { alerting: 0.05, media: 0.02, then: { kind: 'manual' } };
const noReply: BehaviourInput = { trying: null, alerting: null, then: { kind: 'silent' } };
const phases: [LegPhase, BehaviourInput][] = [
  ['setup', noReply],
  ['alerting', manual],
  ['answered', { alerting: 0.02, media: 0.01, then: { kind: 'answers', after: 0.02, talks: null } }],
];

export function telephonyContract(name: string, makeRig: () => Promise<ContractRig>): void {
  describe(`telephony port: ${name}`, () => {
    const suite = new Suite();
    beforeAll(async () => suite.open(await makeRig()));
    afterAll(() => suite.rig.close());

    aCall(suite);
    failures(suite);
    timers(suite);
    hangingUp(suite);
    questions(suite);
    endingTogether(suite);
    inATalk(suite);
    delivery(suite);
  });
}

function aCall(suite: Suite): void {
  describe('a call', () => {
    it('is told in order, from the first sign to the one end', async () => {
      const leg = await suite.dial({ alerting: 0.05, media: 0.02, then: { kind: 'answers', after: 0.1, talks: 0.2 } });

      const ended = await suite.ended(leg);

      const told = suite.factsOf(leg).map((fact) => (fact.type === 'progress' ? fact.phase : fact.type));
      const media = suite.can.mediaUp ? ['media_up'] : [];
      expect(told.filter((what) => what !== 'trying')).toEqual(['alerting', 'answered', ...media, 'ended']);
      expect(ended).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(ended.setupMs).toBeGreaterThanOrEqual(40);
      expect(ended.alertMs).toBeGreaterThanOrEqual(90);
      expect(ended.setupMs! + ended.alertMs!).toBeLessThan(2_000);
      expect(suite.factsOf(leg).map(({ at }) => at)).toEqual(
        suite
          .factsOf(leg)
          .map(({ at }) => at)
          .sort(),
      );
    });

    it('is sent once, however often it is asked for', async () => {
      const leg = suite.leg();
      await leg.phone.behave({ alerting: 0.02, then: { kind: 'answers', after: 0.05, talks: 0.05 } });

      const answers = await Promise.all([1, 2, 3].map(() => suite.telephony.originate(leg.originate)));
      await suite.ended(leg.id);

      expect(answers.sort()).toEqual(['accepted', 'known', 'known']);
      expect(await suite.telephony.originate(leg.originate), 'after its end').toBe('known');
      expect(suite.factsOf(leg.id).filter(({ type }) => type === 'ended')).toHaveLength(1);
    });

    it('is never sent after its time', async () => {
      const leg = suite.leg({ notAfter: Date.now() - 1 });

      expect(await suite.telephony.originate(leg.originate)).toBe('too_late');

      expect(await suite.telephony.status(leg.id)).toBe('absent');
      expect(suite.factsOf(leg.id)).toEqual([]);
    });

    it('says that early media runs, which counts as alerting', async ({ skip }) => {
      skip(!suite.can.earlyMedia, 'the adapter reports no early media');
      const leg = await suite.dial({ alerting: null, earlyMedia: 0.05, then: { kind: 'manual' } });

      await suite.heard(leg, 'alerting');

      expect(suite.factsOf(leg)).toContainEqual(expect.objectContaining({ type: 'progress', phase: 'early_media' }));
      expect(await suite.telephony.status(leg)).toBe('alerting');
    });

    it('passes on the keys that are pressed', async () => {
      const leg = await suite.dial(manual);
      await suite.heard(leg, 'alerting');
      await suite.phoneOf(leg).answer();
      for (const digit of ['1', '#']) await suite.phoneOf(leg).press(digit);

      await eventually(() => suite.factsOf(leg).filter(({ type }) => type === 'dtmf').length === 2);

      expect(suite.factsOf(leg).flatMap((fact) => (fact.type === 'dtmf' ? [fact.digit] : []))).toEqual(['1', '#']);
    });
  });
}

function failures(suite: Suite): void {
  describe('a phone that refuses', () => {
    const fails = (sip: number, q850?: number): BehaviourInput['then'] => ({ kind: 'fails', after: 0.05, sip, q850 });
    it.each<[string, BehaviourInput, object]>([
      ['busy', { alerting: null, then: fails(486) }, { phase: 'setup', sip: 486 }],
      ['declined while alerting', { alerting: 0.02, then: fails(603, 21) }, { phase: 'alerting', sip: 603, q850: 21 }],
      [
        'no answer, by the network',
        { alerting: 0.02, then: fails(480, 19) },
        { phase: 'alerting', sip: 480, q850: 19 },
      ],
      ['a number not in use', { alerting: null, then: fails(404, 1) }, { phase: 'setup', sip: 404, q850: 1 }],
      ['a trunk without room', { alerting: null, then: fails(503) }, { phase: 'setup', sip: 503 }],
    ])('%s', async (_how, behaviour, expected: { q850?: number }) => {
      const leg = await suite.dial(behaviour);

      const ended = await suite.ended(leg);

      const { q850, ...rest } = expected;
      expect(ended).toMatchObject({ by: 'remote', ...rest, ...(suite.can.reason && q850 ? { q850 } : {}) });
    });

    it('rejects by hand', async () => {
      const leg = await suite.dial(manual);
      await suite.heard(leg, 'alerting');

      await suite.phoneOf(leg).reject();

      expect(await suite.ended(leg)).toMatchObject({ phase: 'alerting', by: 'remote' });
    });
  });
}

function timers(suite: Suite): void {
  describe('the timers', () => {
    it('end a set-up that takes too long', async ({ skip }) => {
      skip(!suite.can.separateSetupTimer, 'the adapter has no set-up timer of its own');
      const leg = await suite.dial(noReply, { setupMs: 150 });

      const ended = await suite.ended(leg);

      expect(ended).toMatchObject({ phase: 'setup', by: 'timer', alertMs: 0 });
      expect(ended.setupMs).toBeGreaterThanOrEqual(140);
      expect(ended.sip, 'the far end has sent nothing').toBeUndefined();
    });

    it('end the alerting, counted once, from its first sign', async () => {
      const early = suite.can.earlyMedia ? { earlyMedia: 0.05, alerting: 0.4 } : { alerting: 0.05 };
      const leg = await suite.dial({ ...early, then: { kind: 'silent' } }, { ringMs: 600 });

      const ended = await suite.ended(leg);

      expect(ended).toMatchObject({ phase: 'alerting', by: 'timer' });
      expect(ended.alertMs).toBeGreaterThanOrEqual(590);
      expect(ended.alertMs, 'not started again').toBeLessThan(900);
      const alerting = suite.factsOf(leg).filter((fact) => fact.type === 'progress' && fact.phase === 'alerting');
      expect(alerting).toHaveLength(1);
    });

    it('leave an answered call alone', async () => {
      const leg = await suite.dial(phases[2]![1], { setupMs: 300, ringMs: 300 });
      const other = await suite.dial(noReply, { setupMs: 700 });
      await suite.ended(other);

      expect(await suite.telephony.status(leg)).toBe('answered');
    });
  });
}

function hangingUp(suite: Suite): void {
  describe('hangUp', () => {
    it.each(phases)('in %s', async (phase, behaviour) => {
      const leg = await suite.dialUntil(phase, behaviour);

      expect(await suite.telephony.hangUp(leg, 'agent_hang_up')).toBe('ended');

      expect(await suite.ended(leg)).toMatchObject({ phase, by: 'command', why: 'agent_hang_up' });
      expect(await suite.telephony.hangUp(leg, 'agent_hang_up'), 'once more').toBe('ended');
      expect(await suite.telephony.status(leg)).toBe('absent');
    });

    it.each(phases)('unless answered, in %s', async (phase, behaviour) => {
      const leg = await suite.dialUntil(phase, behaviour);

      const answer = await suite.telephony.hangUp(leg, 'agent_cancel', { unlessAnswered: true });

      expect(answer).toBe(phase === 'answered' ? 'answered' : 'ended');
      if (phase === 'answered') expect(await suite.telephony.status(leg)).toBe('answered');
      else expect(await suite.ended(leg)).toMatchObject({ phase, by: 'command', why: 'agent_cancel' });
    });

    it('of a leg not sent yet keeps it from ever being sent', async () => {
      const leg = suite.leg();

      expect(await suite.telephony.hangUp(leg.id, 'agent_cancel')).toBe('absent');

      expect(await suite.telephony.originate(leg.originate)).toBe('too_late');
      expect(await suite.telephony.status(leg.id)).toBe('absent');
    });

    it.each([false, true])(
      'at the very moment of the answer tells one story (unlessAnswered: %s)',
      async (unlessAnswered) => {
        const legs = await Promise.all(Array.from({ length: 20 }, () => suite.dialUntil('alerting', manual)));

        const answers = await Promise.all(
          legs.map(async (leg, index) => {
            // A phone that was hung up first can't be answered, which is one of the two stories.
            const pickUp = (): Promise<void> =>
              suite
                .phoneOf(leg)
                .answer()
                .catch(() => {});
            const hangUp = () => suite.telephony.hangUp(leg, 'agent_cancel', { unlessAnswered });
            return index % 2
              ? (await Promise.all([pickUp(), hangUp()]))[1]
              : (await Promise.all([hangUp(), pickUp()]))[0];
          }),
        );

        for (const [index, leg] of legs.entries()) {
          if (answers[index] === 'answered') {
            expect(unlessAnswered).toBe(true);
            await suite.heard(leg, 'answered');
            expect(await suite.telephony.status(leg)).toBe('answered');
          } else {
            const ended = await suite.ended(leg);
            expect(ended).toMatchObject({ by: 'command', why: 'agent_cancel' });
            const isTold = suite.factsOf(leg).some(({ type }) => type === 'answered');
            if (isTold) expect(ended.phase).toBe('answered');
            // Not told, its answer may still have crossed our hang-up on the wire.
            else expect(['alerting', 'answered']).toContain(ended.phase);
            if (unlessAnswered) expect(isTold).toBe(false);
          }
        }
      },
    );
  });
}

function questions(suite: Suite): void {
  describe('the switch', () => {
    it.each(phases)('knows a leg in %s, by name and in its list', async (phase, behaviour) => {
      const leg = await suite.dialUntil(phase, behaviour);

      expect(await suite.telephony.status(leg)).toBe(phase);
      expect(await suite.telephony.list()).toContainEqual({ legId: leg, phase });
    });

    it('is certain about a leg it never had, and about one that is over', async () => {
      const leg = await suite.dial({ alerting: null, then: { kind: 'fails', after: 0, sip: 486 } });
      await suite.ended(leg);

      expect(await suite.telephony.status(leg)).toBe('absent');
      expect(await suite.telephony.status(suite.leg().id)).toBe('absent');
      expect((await suite.telephony.list()).map(({ legId }) => legId)).not.toContain(leg);
    });

    it('takes an answered leg into a mix and out of it, any number of times', async () => {
      const leg = await suite.dialUntil('answered', phases[2]![1]);
      const mix = `mix-${leg}`;

      await suite.telephony.join(mix, leg);
      await suite.telephony.join(mix, leg);
      await suite.telephony.leave(mix, leg);
      await suite.telephony.leave(mix, leg);
      await suite.telephony.hangUp(leg, 'call_over');
      await suite.telephony.join(mix, leg);

      expect(await suite.ended(leg)).toMatchObject({ by: 'command', why: 'call_over' });
    });

    it('has a leg in its mix before it is answered, so that its early media is heard there', async ({ skip }) => {
      skip(!suite.can.earlyMedia, 'the adapter lets no early media be heard');
      const mix = `mix-${suite.leg().id}`;
      const leg = await suite.dial({ alerting: null, earlyMedia: 0.05, then: { kind: 'manual' } }, { mix });
      await suite.heard(leg, 'alerting');
      expect(await suite.phoneOf(leg).hears()).toMatchObject({ mix });

      await suite.phoneOf(leg).answer();
      await suite.heard(leg, 'answered');
      await suite.telephony.join(mix, leg);

      expect(await suite.phoneOf(leg).hears()).toMatchObject({ mix });
    });
  });
}

function endingTogether(suite: Suite): void {
  describe('legs that end together', () => {
    const pair = async (): Promise<[string, string]> => {
      const legs = await Promise.all([suite.dialUntil('alerting', manual), suite.dialUntil('alerting', manual)]);
      await Promise.all(legs.map((leg) => suite.phoneOf(leg).answer()));
      await Promise.all(legs.map((leg) => suite.heard(leg, 'answered')));
      for (const leg of legs) await suite.telephony.join(`mix-${legs[0]}`, leg);
      await suite.telephony.endTogether(`mix-${legs[0]}`, [
        { legId: legs[0], why: 'agent_hang_up' },
        { legId: legs[1], why: 'call_over' },
      ]);
      return legs;
    };

    it.each<[string, 0 | 1, EndWhy]>([
      ['the first hangs up', 0, 'agent_hang_up'],
      ['the second hangs up', 1, 'call_over'],
    ])('%s', async (_who, first, why) => {
      const legs = await pair();

      await suite.phoneOf(legs[first]).hangUp();

      expect(await suite.ended(legs[first])).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(await suite.ended(legs[1 - first]!)).toMatchObject({ phase: 'answered', by: 'command', why });
    });

    it('our own hang-up takes the other along, with its reason', async () => {
      const legs = await pair();

      await suite.telephony.hangUp(legs[0], 'agent_lost');

      expect(await suite.ended(legs[1])).toMatchObject({ by: 'command', why: 'agent_lost' });
    });

    it('no longer, after an empty list', async () => {
      const legs = await pair();
      await suite.telephony.endTogether(`mix-${legs[0]}`, []);

      await suite.phoneOf(legs[0]).hangUp();
      await suite.ended(legs[0]);

      expect(await suite.telephony.status(legs[1])).toBe('answered');
    });

    it.each<[string, (leg: string) => Promise<unknown>]>([
      ['hangs up', (leg) => suite.phoneOf(leg).hangUp()],
      ['is hung up by us', (leg) => suite.telephony.hangUp(leg, 'call_over')],
    ])('but for one that was left out of a newer list, when it %s', async (_how, end) => {
      const [left, stays] = await pair();
      await suite.telephony.endTogether(`mix-${left}`, [{ legId: stays, why: 'call_over' }]);

      await end(left);
      await suite.ended(left);

      expect(await suite.telephony.status(stays)).toBe('answered');
    });

    /** Somebody (`asked`) whose end the other does not share, and who ends with the other. */
    const oneWay = async () => {
      const [other, asked] = await pair();
      const bind = () =>
        suite.telephony.endTogether(`mix-${other}`, [
          { legId: other, why: 'call_over' },
          { legId: asked, why: null },
        ]);
      return { other, asked, bind };
    };

    it.each<[string, (leg: string) => Promise<unknown>]>([
      ['hangs up', (leg) => suite.phoneOf(leg).hangUp()],
      ['is hung up by us', (leg) => suite.telephony.hangUp(leg, 'call_over')],
    ])('one without a reason leaves the others alone when it %s, also if that is said after its end', async (_how, end) => {
      const { other, asked, bind } = await oneWay();
      await bind();

      await end(asked);
      await suite.ended(asked);
      await bind();

      expect(await suite.telephony.status(other)).toBe('answered');
    });

    it('one without a reason ends with the others', async () => {
      const { other, asked, bind } = await oneWay();
      await bind();

      await suite.phoneOf(other).hangUp();

      expect(await suite.ended(asked)).toMatchObject({ phase: 'answered', by: 'command', why: 'call_over' });
    });

    it('one without a reason that has ended keeps none from being sent', async () => {
      const gone = await suite.dialUntil('alerting', manual);
      await suite.phoneOf(gone).reject();
      await suite.ended(gone);
      const { id, originate, phone } = suite.leg();
      await phone.behave(manual);

      await suite.telephony.endTogether(`mix-${gone}`, [
        { legId: gone, why: null },
        { legId: id, why: 'call_over' },
      ]);

      expect(await suite.telephony.originate(originate)).toBe('accepted');
      await suite.heard(id, 'alerting');
      await suite.telephony.hangUp(id, 'call_over');
    });

    it('at once, if one has ended before the command came', async () => {
      const [gone, there] = [await suite.dialUntil('alerting', manual), await suite.dialUntil('alerting', manual)];
      await suite.phoneOf(gone).reject();
      await suite.ended(gone);

      await suite.telephony.endTogether(`mix-${gone}`, [
        { legId: gone, why: 'agent_hang_up' },
        { legId: there, why: 'call_over' },
      ]);

      expect(await suite.ended(there)).toMatchObject({ phase: 'alerting', by: 'command', why: 'agent_hang_up' });
    });

    /** A leg in a talk, and one that is not sent yet. */
    const boundBefore = async () => {
      const first = await suite.dialUntil('answered', phases[2]![1]);
      const second = suite.leg({ mix: `mix-${first}` });
      await second.phone.behave(manual);
      const bind = () =>
        suite.telephony.endTogether(`mix-${first}`, [
          { legId: first, why: 'agent_hang_up' },
          { legId: second.id, why: 'call_over' },
        ]);
      return { first, second, bind };
    };

    it('one that is sent after it was bound goes with the first', async () => {
      const { first, second, bind } = await boundBefore();
      await suite.telephony.join(`mix-${first}`, first);
      await bind();
      expect(await suite.telephony.originate(second.originate)).toBe('accepted');
      await suite.heard(second.id, 'alerting');

      await suite.phoneOf(first).hangUp();

      expect(await suite.ended(second.id)).toMatchObject({ phase: 'alerting', by: 'command', why: 'agent_hang_up' });
    });

    it.each(['before', 'after'])('one that is not sent yet never is, when the first ends %s they are bound', async (when) => {
      const { first, second, bind } = await boundBefore();
      if (when === 'after') await bind();
      await suite.phoneOf(first).hangUp();
      await suite.ended(first);
      if (when === 'before') await bind();

      expect(await suite.telephony.originate(second.originate)).toBe('too_late');

      expect(await suite.telephony.status(second.id)).toBe('absent');
      expect(suite.factsOf(second.id)).toEqual([]);
    });
  });
}

function inATalk(suite: Suite): void {
  describe('in a talk', () => {
    const talks: BehaviourInput = { alerting: 0.02, media: 0.01, then: { kind: 'answers', after: 0.02, talks: null } };
    const answered = () => suite.dialUntil('answered', talks);

    it('a leg is put on hold, and taken back', async ({ skip }) => {
      skip(!suite.can.hold, 'the adapter holds no legs');
      const leg = await answered();
      const partner = await answered();
      for (const each of [leg, partner]) await suite.telephony.join(`mix-${leg}`, each);
      for (const on of [true, true, false, false]) {
        await suite.telephony.hold(leg, on);
        await suite.hears(leg, on ? { onHold: true } : { onHold: false, mix: `mix-${leg}` });
      }
    });

    it('is one of two, while a third is on hold and comes back into their mix', async ({ skip }) => {
      skip(!suite.can.hold || !suite.can.play, 'the adapter holds no legs');
      const [contact, agent, asked] = [await answered(), await answered(), await answered()];
      const mix = `mix-${contact}`;
      for (const each of [contact, agent]) await suite.telephony.join(mix, each);
      await suite.telephony.hold(contact, true);
      await suite.telephony.play(contact, 'music');
      await suite.telephony.join(mix, asked);
      await suite.hears(contact, { sound: 'music' });
      await suite.hears(asked, { onHold: false, mix });
      // The agent leaves, the contact comes back to whoever was asked.
      await suite.telephony.hangUp(agent, 'call_over');
      await suite.ended(agent);
      await suite.telephony.play(contact, null);
      await suite.telephony.hold(contact, false);
      await suite.telephony.join(mix, contact);
      await suite.hears(contact, { onHold: false, sound: null, mix });
      await suite.hears(asked, { mix });
    });

    it('a sound is played until another one is, or none', async ({ skip }) => {
      skip(!suite.can.play, 'the adapter plays no sounds');
      const leg = await answered();
      for (const sound of ['music', 'music', 'please-wait', null]) {
        await suite.telephony.play(leg, sound);
        await suite.hears(leg, { sound });
      }
    });

    it('keys are sent, each request once', async ({ skip }) => {
      skip(!suite.can.sendDtmf, 'the adapter sends no keys');
      const leg = await answered();
      await suite.telephony.sendDtmf(leg, '12', 'first');
      await suite.telephony.sendDtmf(leg, '12', 'first');
      await suite.telephony.sendDtmf(leg, '#', 'second');
      await suite.hears(leg, { keysHeard: '12#' });
    });

    it('its mix is recorded, until that is ended', async ({ skip }) => {
      skip(!suite.can.record, 'the adapter records nothing');
      const leg = await answered();
      await suite.telephony.join(`mix-${leg}`, leg);
      for (const name of ['call-1', 'call-1', null]) {
        await suite.telephony.record(`mix-${leg}`, name);
        await suite.hears(leg, { recording: name });
      }
    });

    it('is told when the far end puts us on hold, and takes us back', async ({ skip }) => {
      skip(!suite.can.hold, 'the adapter knows of no hold');
      const leg = await answered();
      await suite.phoneOf(leg).hold(true);
      await suite.phoneOf(leg).hold(false);
      const held = () => suite.factsOf(leg).flatMap((fact) => (fact.type === 'held' ? [fact.on] : []));
      await eventually(() => held().length === 2);
      expect(held()).toEqual([true, false]);
    });

    it('only: before the answer each of these is refused, after the end it does nothing', async () => {
      const { telephony, can } = suite;
      const ringing = await suite.dialUntil('alerting', manual);
      const over = await answered();
      await telephony.hangUp(over, 'call_over');
      const commands: [boolean, (leg: string) => Promise<void>][] = [
        [can.hold, (leg) => telephony.hold(leg, true)],
        [can.play, (leg) => telephony.play(leg, 'music')],
        [can.sendDtmf, (leg) => telephony.sendDtmf(leg, '1', 'only')],
      ];
      for (const [, command] of commands.filter(([isThere]) => isThere)) {
        await expect(command(ringing)).rejects.toThrow();
        await command(over);
      }
    });
  });

  describe('a phone that passes calls on', () => {
    it('does not do so where that is forbidden', async ({ skip }) => {
      skip(!suite.can.noDivert, 'the adapter can not forbid it');
      const diverted: BehaviourInput = { alerting: 0.02, diverts: true, then: { kind: 'voicemail', after: 0.1, talks: 5 } };
      const leg = await suite.dial(diverted, { noDivert: true, ringMs: 400 });
      expect(await suite.ended(leg)).toMatchObject({ phase: 'alerting', by: 'timer' });
    });
  });
}

function delivery(suite: Suite): void {
  describe('facts', () => {
    it('come again until they are taken, and the next one waits', async () => {
      const leg = suite.leg();
      await leg.phone.behave({
        trying: null,
        alerting: 0.02,
        media: null,
        then: { kind: 'answers', after: 0, talks: 0 },
      });
      suite.refuseOnce(leg.id);

      await suite.telephony.originate(leg.originate);
      await suite.ended(leg.id);

      expect(suite.factsOf(leg.id).map(({ type }) => type)).toEqual(['progress', 'answered', 'ended']);
      expect(suite.refused.get(leg.id)).toBe(1);
    });

    it('of what happened while the connection was cut come when it is back, in order and each once', async () => {
      const leg = await suite.dialUntil('alerting', manual);
      const live = await suite.dialUntil('alerting', manual);

      suite.cut();
      await eventually(() => suite.connection.at(-1) === false);
      await suite.phoneOf(leg).answer();
      await suite.phoneOf(leg).press('5');
      await suite.phoneOf(leg).hangUp();
      expect(await suite.telephony.status(leg)).toBe('cannot-tell');
      await expect(suite.telephony.list()).rejects.toThrow();
      suite.rig.mend();
      await suite.ended(leg);

      const told = suite.factsOf(leg).map(({ type }) => type);
      const keys = suite.can.remembersKeys ? ['dtmf'] : [];
      expect(told.filter((type) => type !== 'media_up' && type !== 'progress')).toEqual(['answered', ...keys, 'ended']);
      expect(suite.connection.at(-1)).toBe(true);
      expect(await suite.telephony.status(live), 'a leg that lived on').toBe('alerting');
      expect(suite.factsOf(live).some(({ type }) => type === 'ended')).toBe(false);
    });
  });
}

/** A rig with a listener that notes everything, and legs of its own for each test. */
class Suite {
  rig!: ContractRig;
  readonly connection: boolean[] = [];
  /** By leg: how many facts the listener has thrown back. */
  readonly refused = new Map<string, number>();
  #refuseNext = new Set<string>();
  #facts: LegFact[] = [];
  #legs = 0;
  #run = Date.now();

  async open(rig: ContractRig): Promise<void> {
    this.rig = rig;
    rig.telephony.onConnection((up) => this.connection.push(up));
    rig.telephony.onFact((fact) => this.#listen(fact));
    await rig.telephony.start();
  }

  get telephony(): Telephony {
    return this.rig.telephony;
  }

  get can(): Telephony['capabilities'] {
    return this.telephony.capabilities;
  }

  leg(changes: Partial<Originate> = {}): { id: string; originate: Originate; phone: ContractPhone } {
    this.#legs += 1;
    const id = `${this.#run}-${this.#legs}-2`;
    const to = numberOf(id);
    const notAfter = Date.now() + 10_000;
    const originate: Originate = {
      ...{ legId: id, party: 'contact', to, from: '+4721000000', setupMs: 5_000, ringMs: 8_000, noDivert: false, mix: null, notAfter },
      ...changes,
    };
    return { id, originate, phone: this.rig.phone(to) };
  }

  async dial(behaviour: BehaviourInput, changes: Partial<Originate> = {}): Promise<string> {
    const { id, originate, phone } = this.leg(changes);
    await phone.behave(behaviour);
    expect(await this.telephony.originate(originate)).toBe('accepted');
    // What a test leaves must not fill the switch.
    onTestFinished(() => this.telephony.hangUp(id, 'call_over').then(() => {}));
    return id;
  }

  async dialUntil(phase: LegPhase, behaviour: BehaviourInput): Promise<string> {
    const leg = await this.dial(behaviour);
    if (phase !== 'setup') await this.heard(leg, phase);
    return leg;
  }

  phoneOf(leg: string): ContractPhone {
    return this.rig.phone(numberOf(leg));
  }

  /** The phone comes to hear this. */
  async hears(leg: string, expected: Partial<Hearing>): Promise<void> {
    await eventually(async () => {
      expect(await this.phoneOf(leg).hears()).toMatchObject(expected);
      return true;
    });
  }

  factsOf(leg: string): LegFact[] {
    return this.#facts.filter(({ legId }) => legId === leg);
  }

  async heard(leg: string, what: string): Promise<void> {
    await eventually(() =>
      this.factsOf(leg).some((fact) => (fact.type === 'progress' ? fact.phase : fact.type) === what),
    );
  }

  async ended(leg: string): Promise<Ended> {
    const ended = await eventually(() => this.factsOf(leg).find((fact) => fact.type === 'ended'));
    return ended!;
  }

  /** The listener throws the leg's next fact back, once. */
  refuseOnce(leg: string): void {
    this.#refuseNext.add(leg);
  }

  cut(): void {
    this.rig.cut();
    onTestFinished(() => this.rig.mend());
  }

  async #listen(fact: LegFact): Promise<void> {
    if (this.#refuseNext.delete(fact.legId)) {
      this.refused.set(fact.legId, 1);
      throw new Error('not now');
    }
    await Promise.resolve();
    this.#facts.push(fact);
  }
}

/** Each leg has a number of its own, so tests don't meet. */
export function numberOf(leg: string): string {
  return `+4722${leg.split('-')[1]!.padStart(6, '0')}`;
}
