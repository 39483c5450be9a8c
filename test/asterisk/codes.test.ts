/** The table of result codes (docs/domain.md) row by row from the wire: what a SIP phone does, and what that counts as. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { SipCall } from '../../dev/sip/call.ts';
import type { CallScript } from '../../dev/sip/phones.ts';
import { Softphone } from '../../dev/sip/softphone.ts';
import { type LegResult, legResult } from '../../domain/codes.ts';
import type { AsteriskSettings } from '../../telephony/asterisk/adapter.ts';
import type { Originate, Telephony } from '../../telephony/telephony.ts';
import { AsteriskRig, StasisApp, whyNoAsterisk } from '../kit/asterisk.ts';
import { eventually } from '../kit/eventually.ts';

/** The shortest that Asterisk takes: Timer B comes before the set-up timer of a leg, 10 s where a test says nothing. */
const TIMERS = { t1: 100, b: 6_400 };

describe.skipIf(await whyNoAsterisk())('result codes on the wire', () => {
  let rig: AsteriskRig;

  beforeAll(async () => {
    rig = await AsteriskRig.open({ timers: TIMERS });
    await rig.telephony.start();
  });
  afterAll(() => rig?.close());

  /** Calls a phone that is played by the script. */
  const dial = async (script: CallScript, changes: Partial<Originate> = {}, telephony: Telephony = rig.telephony) => {
    const leg = rig.leg(changes);
    rig.phones.onInvite(leg.to, script);
    onTestFinished(async () => void (await telephony.hangUp(leg.legId, 'call_over')));
    expect(await telephony.originate(leg)).toBe('accepted');
    return leg;
  };
  /** Over another trunk: one of the adapter's settings. */
  const dialOver = async (settings: Partial<AsteriskSettings>, changes: Partial<Originate> = {}) => {
    const telephony = rig.adapter({ app: `trunk-${rig.leg().legId}`, ...settings });
    await telephony.start();
    onTestFinished(() => telephony.close());
    return dial(() => {}, changes, telephony);
  };
  const call = async ({ to }: Originate): Promise<SipCall> => rig.phones.called(to);

  /** What becomes of the leg, and that it was dialled once. */
  const result = async ({ legId, to }: Originate): Promise<LegResult & { story: string }> => {
    const ended = await rig.ended(legId);
    expect(ended.q850, 'Asterisk tells no cause beside a SIP answer').toBeUndefined();
    expect(rig.phones.invites(to), 'INVITEs').toBeLessThanOrEqual(1);
    return { ...legResult(ended), story: rig.story(legId) };
  };

  const givenUp = { numberGivenUp: true };
  const ROWS: [sip: number, before: string, alerting: string, also?: Partial<LegResult>][] = [
    [486, 'b', 'b'],
    [600, 'b', 'b'],
    [603, 'b', 'b'],
    [607, 'b', 'b', { numberGivenUp: true, proposeDoNotCall: true }],
    [608, 'e', 'e', { alarm: true }],
    [408, 'c', 't'],
    [480, 'c', 't'],
    [487, 'c', 't'],
    [504, 'c', 't'],
    [404, 'e', 'e', givenUp],
    [410, 'e', 'e', givenUp],
    [484, 'e', 'e', givenUp],
    [485, 'e', 'e', givenUp],
    [604, 'e', 'e', givenUp],
    ...[300, 305, 380, 400, 402, 403, 405, 406, 413, 414, 415, 416, 420, 421, 423, 433, 436, 481, 482, 483].map(other),
    ...[488, 489, 491, 493, 500, 501, 502, 503, 505, 513, 580, 606, 699].map(other),
  ];
  function other(sip: number): [number, 'e', 'e'] {
    return [sip, 'e', 'e'];
  }

  describe.each([
    ['alone', []],
    ['with a Reason header', ['Reason: Q.850;cause=18;text="No user responding"']],
  ])('a final answer %s', (_how, headers) => {
    it.each(ROWS)('%i: %s before alerting, %s after', async (sip, before, alerting, also = {}) => {
      const refuse = (...signs: number[]): CallScript => (invited) => {
        for (const sign of signs) invited.respond(sign);
        invited.respond(sip, { headers });
      };
      const legs = await Promise.all([dial(refuse(100)), dial(refuse(180))]);

      const results = await Promise.all(legs.map(result));

      const no = { numberGivenUp: false, proposeDoNotCall: false, alarm: false };
      const said = { response: sip, reason: null, ...no, ...also };
      expect(results).toEqual([
        { ...said, code: before, story: 'ended' },
        { ...said, code: alerting, story: 'alerting ended' },
      ]);
    });
  });

  it('a Reason header of a final answer does not reach us: the capability says so', async () => {
    const app = await StasisApp.open(rig.asterisk);
    onTestFinished(() => app.close());
    const { to } = rig.leg();
    rig.phones.onInvite(to, (invited) => invited.respond(486, { headers: ['Reason: Q.850;cause=1'] }));

    await app.dial(`PJSIP/${to}@carrier`, to);

    expect(await app.event('ChannelDestroyed', to)).toMatchObject({ tech_cause: 486, cause: 17 });
    expect(rig.telephony.capabilities.reason).toBe(false);
  });

  it.each([
    [401, 'WWW-Authenticate'],
    [407, 'Proxy-Authenticate'],
  ])('%i: e, for a trunk that asks for a password that Asterisk does not have', async (sip, header) => {
    const leg = await dial((invited) => {
      invited.respond(sip, { headers: [`${header}: Digest realm="carrier", nonce="0815", algorithm=MD5, qop="auth"`] });
    });

    expect(await result(leg)).toMatchObject({ code: 'e', response: sip, story: 'ended' });
  });

  it.each([300, 301, 302, 305, 380])('%i: e, and its target is never dialled', async (sip) => {
    const target = rig.leg().to;
    const contact = `Contact: <sip:${target}@${rig.phones.address}>`;
    const legs = await Promise.all([
      dial((invited) => invited.respond(sip, { headers: [contact] })),
      dial((invited) => {
        invited.respond(180);
        invited.respond(sip, { headers: [contact] });
      }),
    ]);

    const results = await Promise.all(legs.map(result));

    expect(results.map(({ code, response }) => [code, response])).toEqual([['e', sip], ['e', sip]]);
    expect(await channelsLeft()).toEqual([]);
    expect(rig.phones.invites(target)).toBe(0);
  });

  const SDP = { sdp: true };
  const cancelled = (sign: number): string => `<INVITE >${sign} <CANCEL >200 >487 <ACK`;
  const timers = { setupMs: 400, ringMs: 500 };
  const setupOver = { code: 'c', reason: 'setup_timeout', response: null, story: 'ended' };
  /** Asterisk tells both signs of one message, in any order. */
  const eitherFirst = expect.stringMatching(/^(early_media )?alerting ended$/);
  const rangOut = { code: 't', reason: 'ring_timeout', response: null, story: 'alerting ended' };
  it.each<[string, CallScript, object, string]>([
    ['nothing', () => {}, setupOver, '<INVITE'],
    ['100', (c) => c.respond(100), setupOver, cancelled(100)],
    ['181', (c) => c.respond(181), setupOver, cancelled(181)],
    ['182', (c) => c.respond(182), setupOver, cancelled(182)],
    ['183 without SDP', (c) => c.respond(183), setupOver, cancelled(183)],
    ['183 with SDP', (c) => c.respond(183, SDP), { ...rangOut, story: 'early_media alerting ended' }, cancelled(183)],
    ['180', (c) => c.respond(180), rangOut, cancelled(180)],
    ['180 with SDP', (c) => c.respond(180, SDP), { ...rangOut, story: eitherFirst }, cancelled(180)],
  ])('%s, and then nothing: our timer', async (_what, script, expected, wire) => {
    const leg = await dial(script, timers);

    expect(await result(leg)).toMatchObject(expected);
    const phone = await call(leg);
    await eventually(() => withoutRepeats(phone) === wire);
  });

  it('180 again and again, and 183 between them: t, the ring timer counts once', async () => {
    const leg = await dial((c) => {
      c.respond(180);
      for (const s of [0.2, 0.4, 0.6]) c.after(s, () => c.respond(180));
      c.after(0.3, () => c.respond(183, SDP));
    }, { ringMs: 700 });

    expect(await result(leg)).toMatchObject({ ...rangOut });
    const { alertMs } = await rig.ended(leg.legId);
    expect(alertMs).toBeGreaterThanOrEqual(690);
    expect(alertMs).toBeLessThan(1_000);
  });

  it('no reply until SIP Timer B: c by 408, from whoever does not reply', async () => {
    const { sipPort, softphonePassword } = rig.asterisk;
    const softphone = await Softphone.open({ sipPort, account: '1001', password: softphonePassword });
    await softphone.register();
    softphone.close();

    const legs = await Promise.all([
      dial(() => {}), // a carrier's phone
      dial(() => {}, { party: 'agent', to: '1001' }), // a softphone that was registered and is gone
      dialOver({ trunk: `PJSIP/carrier/sip:{number}@127.0.0.1:${await closedPort()}` }), // over UDP nobody refuses
    ]);
    const results = await Promise.all(legs.map(result));

    for (const each of results) expect(each).toMatchObject({ code: 'c', response: 408, reason: null, story: 'ended' });
  });

  describe('nobody to be called:', () => {
    const said = () => rig.log.join('');

    it('a name that does not resolve: e', async () => {
      const leg = await dialOver({ trunk: 'PJSIP/carrier/sip:{number}@no.such.host.invalid' });

      expect(await result(leg)).toMatchObject({ code: 'e', response: 503, story: 'ended' });
    });

    it('an endpoint that Asterisk does not have: e at once, and the log names the setting', async () => {
      const leg = await dialOver({ trunk: 'PJSIP/{number}@nowhere' });

      expect(await result(leg)).toMatchObject({ code: 'e', response: null, story: 'ended' });
      expect((await rig.ended(leg.legId)).setupMs).toBeLessThan(1_000);
      expect(said()).toContain('check ASTERISK_TRUNK');
    });

    it('a softphone that is not registered: e at once, and the log says so', async () => {
      const leg = await dial(() => {}, { party: 'agent', to: '1002' });

      expect(await result(leg)).toMatchObject({ code: 'e', response: null, story: 'ended' });
      expect(said()).toContain('check ASTERISK_AGENTS');
    });
  });

  describe('an answer: k', () => {
    it.each([
      ['whatever Reason the BYE has', ['Reason: Q.850;cause=17']],
      ['by a plain BYE', []],
    ])('%s', async (_how, headers) => {
      const leg = await dial((c) => c.respond(200));
      await rig.heard(leg.legId, 'answered');

      await (await call(leg)).bye(headers);

      expect(await result(leg)).toMatchObject({ code: 'k', response: 200, reason: null, story: 'answered ended' });
    });

    it('by another phone than the one that rang, where the call was forked', async () => {
      const leg = await dial((c) => {
        c.respond(180);
        c.forkAnswer();
      });
      await rig.heard(leg.legId, 'answered');
      const [fork] = (await call(leg)).forks;
      await fork!.waitFor('ack');

      await fork!.bye();

      expect(await result(leg)).toMatchObject({ code: 'k', story: 'alerting answered ended' });
    });

    it('by two phones, where the call was forked: the first one talks, the second is not heard', async () => {
      const leg = await dial((c) => {
        c.respond(180);
        c.respond(200);
        c.forkAnswer();
      });
      const first = await call(leg);
      const [second] = first.forks;
      // Asterisk takes what the second one repeats for what the first one does.
      await eventually(() => first.story.includes('<ACK*'));

      expect(first.state).toBe('talking');
      // Neither ACK nor BYE comes from Asterisk: it gives up by itself (RFC 3261, 13.3.1.4).
      expect(second!.story).toMatch(/^<INVITE( >200\*?)+$/);
      await first.bye();
      expect(await result(leg)).toMatchObject({ code: 'k', story: 'alerting answered ended' });
    });
  });

  describe('the agent hangs up', () => {
    it.each<[string, number, { code: string; story: string }]>([
      ['before the contact rings: q', 100, { code: 'q', story: 'ended' }],
      ['while it rings: h', 180, { code: 'h', story: 'alerting ended' }],
    ])('%s', async (_when, sign, expected) => {
      const agent = await dial((c) => c.respond(200), { party: 'agent' });
      await rig.heard(agent.legId, 'answered');
      const mix = `mix-${agent.legId}`;
      await rig.telephony.join(mix, agent.legId);
      const contact = rig.leg({ mix });
      await rig.telephony.endTogether(mix, [
        { legId: agent.legId, why: 'agent_hang_up' },
        { legId: contact.legId, why: 'call_over' },
      ]);
      rig.phones.onInvite(contact.to, (c) => c.respond(sign));
      await rig.telephony.originate(contact);
      const phone = await call(contact);
      if (expected.story !== 'ended') await rig.heard(contact.legId, 'alerting');

      await (await call(agent)).bye();

      expect(await result(contact)).toMatchObject({ ...expected, reason: 'agent_hang_up', response: null });
      expect(await result(agent)).toMatchObject({ code: 'k', reason: null });
      await eventually(() => withoutRepeats(phone) === cancelled(sign));
      await eventually(async () => (await channelsLeft()).length === 0);
    });
  });

  it.each([
    ["the campaign's", '+4721000001', '<sip:+4721000001@'],
    ["the settings'", null, '<sip:+4721999999@'],
  ])('the number shown is %s caller id', async (_whose, from, shown) => {
    const leg = await dialOver({ callerId: '+4721999999' }, { from });

    const { invite } = await call(leg);

    expect(invite.get('from')).toContain(shown);
    expect(invite.get('p-asserted-identity')).toContain(shown);
  });

  it('nobody in all these tests was dialled twice, and nothing is left', async () => {
    const numbers = rig.phones.calls().map(({ number }) => number);
    expect(numbers.length).toBeGreaterThan(100);
    expect(numbers.filter((number, n) => numbers.indexOf(number) !== n)).toEqual([]);
    await eventually(async () => (await channelsLeft()).length === 0);
    expect(await rig.ari.ask('GET /bridges')).toEqual([]);
    expect(await rig.telephony.list()).toEqual([]);
  });

  const channelsLeft = async () => (await rig.ari.ask('GET /channels')).map(({ name }) => name);
});

/** Without retransmissions. */
const withoutRepeats = (call: SipCall): string => call.story.replaceAll(/ \S+\*/g, '');

/** Of UDP, which nobody listens on. */
async function closedPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise<void>((closed) => socket.close(() => closed()));
  return port;
}
