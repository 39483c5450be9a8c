/** Who hears what, and how soon: the adapter, a real Asterisk and real SIP phones. Times are those of the phones. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { ARI_USER, type RunningAsterisk } from '../../dev/asterisk/server.ts';
import type { Span } from '../../dev/sip/audio.ts';
import type { SipCall } from '../../dev/sip/call.ts';
import { type CallScript, SipPhones } from '../../dev/sip/phones.ts';
import { RATE, samplesIn, tonesIn, writeTone } from '../../dev/sip/tone.ts';
import { createAsteriskTelephony } from '../../telephony/asterisk/adapter.ts';
import { Ari } from '../../telephony/asterisk/ari.ts';
import type { LegFact, Telephony } from '../../telephony/telephony.ts';
import { freshAsterisk, whyNoAsterisk } from '../kit/asterisk.ts';
import { eventually } from '../kit/eventually.ts';

/** In Hz: what Asterisk plays to one who is held, and its tones while a call is being set up and rings. */
const [MUSIC, SETUP, RING_BACK] = [480, 300, 425];
/** Seconds: long enough for a busy machine, short enough for a test. */
const RTP_TIMEOUTS = { talk: 3, hold: 6 };
/** What the machine may be late by where the promise is not a time. */
const BUSY_MS = 1_000;

interface Leg {
  legId: string;
  call: SipCall;
}

const picksUp: CallScript = (call) => {
  call.respond(180);
  call.respond(200);
};

describe.skipIf(await whyNoAsterisk())('audio', () => {
  let musicFolder: string;
  let phones: SipPhones;
  let asterisk: RunningAsterisk;
  let telephony: Telephony;
  const facts: LegFact[] = [];
  let calls = 0;

  beforeAll(async () => {
    musicFolder = mkdtempSync(path.join(tmpdir(), 'dialwright-music-'));
    writeTone(path.join(musicFolder, 'tone.wav'), MUSIC, 2);
    phones = await SipPhones.open();
    const music = { default: musicFolder };
    asterisk = await freshAsterisk({ carrier: phones.address, music, rtpTimeouts: RTP_TIMEOUTS });
    telephony = await started();
  });
  afterAll(async () => {
    await telephony?.close();
    await asterisk?.stop();
    phones?.close();
    rmSync(musicFolder, { recursive: true });
  });

  const account = () => ({ url: asterisk.ariUrl, user: ARI_USER, password: asterisk.ariPassword, app: 'dialwright' });
  const ari = () => new Ari(account(), pino({ level: 'silent' }), { up() {}, down() {}, event() {} });
  const started = async (): Promise<Telephony> => {
    const endpoints = { trunk: 'PJSIP/{number}@carrier', agents: 'PJSIP/{extension}' };
    const settings = { ...account(), ...endpoints, callerId: null, earlyMediaAlerts: true };
    const made = createAsteriskTelephony(settings, pino({ level: process.env.ASTERISK_LOG ?? 'silent' }));
    made.onFact(async (fact) => void facts.push(fact));
    await made.start();
    return made;
  };

  // Of one length: Asterisk takes no id for a channel that the id of another one begins with.
  const nextId = () => String((calls += 1)).padStart(4, '0');

  const factsOf = (legId: string) => facts.filter((fact) => fact.legId === legId);
  const fact = <T extends LegFact['type']>(type: T, { legId }: Pick<Leg, 'legId'>, withinMs = 10_000) =>
    eventually(() => {
      const found = factsOf(legId).find((each): each is Extract<LegFact, { type: T }> => each.type === type);
      if (found) return found;
      throw new Error(`no ${type} of ${legId}`);
    }, { withinMs });

  const dial = async (legId: string, mix: string | null, script: CallScript): Promise<Leg> => {
    const number = `+4722${legId.replace(/\D/g, '').padStart(6, '0')}${legId.startsWith('a') ? 1 : 2}`;
    phones.onInvite(number, script);
    onTestFinished(() => telephony.hangUp(legId, 'call_over').then(() => {}, () => {}));
    const timers = { setupMs: 20_000, ringMs: 20_000, notAfter: Date.now() + 10_000 };
    const whom = { party: legId.startsWith('a') ? 'agent' : 'contact', to: number, from: null, noDivert: false } as const;
    expect(await telephony.originate({ legId, ...whom, mix, ...timers })).toBe('accepted');
    return { legId, call: await phones.called(number) };
  };

  /** As activities/calls.ts does it: once the agent has audio, both legs are bound and the contact's is sent. */
  const callTo = async (script: (call: SipCall, agent: SipCall) => ReturnType<CallScript>, agentScript: CallScript = picksUp) => {
    const n = nextId();
    const mix = `mix-${n}`;
    const agent = await dial(`a-${n}`, null, agentScript);
    await fact('media_up', agent);
    await telephony.join(mix, agent.legId);
    await telephony.endTogether(mix, [
      { legId: agent.legId, why: 'agent_hang_up' },
      { legId: `c-${n}`, why: 'call_over' },
    ]);
    const dialledAt = Date.now();
    const contact = await dial(`c-${n}`, mix, (call) => script(call, agent.call));
    return { mix, agent, contact, dialledAt };
  };
  const talk = async (agentScript?: CallScript) => {
    const call = await callTo(picksUp, agentScript);
    await bothHear(call);
    return call;
  };

  const hearsNow = (one: Leg, other: Leg) => one.call.hears([other.call.tone]).length > 0;
  const bothHear = ({ agent, contact }: { agent: Leg; contact: Leg }) =>
    eventually(() => hearsNow(agent, contact) && hearsNow(contact, agent));
  const sentAt = ({ call }: Leg, status: string) => call.wire.find(({ dir, what }) => dir === 'out' && what === status)!.at;
  const lengthOf = ({ from, to }: Span) => to - from;

  describe("the agent's leg", () => {
    it.each([0, 0.4])('has media when its phone sends audio, %d s after the answer', async (audioFrom) => {
      const agent = await dial(`a-${nextId()}`, null, (call) => {
        call.respond(180);
        call.audioFrom = audioFrom;
        call.answer();
      });

      const { at } = await fact('media_up', agent);

      const late = at - agent.call.rtp.firstSentAt!;
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThan(150 + BUSY_MS);
      expect(factsOf(agent.legId).map((each) => each.type)).toEqual(['progress', 'answered', 'media_up']);
    });

    it('has none when its phone never sends any', async () => {
      const agent = await dial(`a-${nextId()}`, null, (call) => {
        call.audioFrom = null;
        call.answer();
      });

      // Asterisk itself gives it up.
      expect(await fact('ended', agent)).toMatchObject({ phase: 'answered' });

      expect(factsOf(agent.legId).map((each) => each.type)).toEqual(['answered', 'ended']);
    });
  });

  describe('while the contact is called', () => {
    it('the agent hears that it is being set up, then ring-back, and from the answer on the contact alone', async () => {
      const { agent, contact, dialledAt } = await callTo((call) => {
        call.after(2.5, () => call.respond(180));
        call.audioFrom = 0.8;
        call.after(3.2, () => call.answer());
      });
      await bothHear({ agent, contact });

      const [setup, ringBack] = [agent.call.heard(SETUP), agent.call.heard(RING_BACK)];
      const [rang, answered] = [sentAt(contact, '180'), sentAt(contact, '200')];
      expect(setup[0]!.from - dialledAt).toBeLessThan(BUSY_MS);
      expect(setup.length).toBeGreaterThan(1);
      expect(setup.at(-1)!.to).toBeLessThan(rang + 100);
      expect(ringBack[0]!.from - rang).toBeLessThan(BUSY_MS);
      // It would last for a second: the answer has ended it, before the phone said anything.
      expect(ringBack.at(-1)!.to).toBeLessThan(answered + 250);
      expect(lengthOf(ringBack[0]!)).toBeLessThan(900);
    });

    it('so it is for the agent, too, when the worker dies meanwhile', async () => {
      const { agent, contact } = await callTo((call) => call.respond(100));
      await eventually(() => agent.call.hears([SETUP]).length > 0);
      await telephony.close();
      contact.call.answer();

      await bothHear({ agent, contact });

      telephony = await started();
      expect(agent.call.heard(SETUP).at(-1)!.to).toBeLessThan(sentAt(contact, '200') + 250);
    });

    it('early media reaches the agent, in place of ring-back', async () => {
      const { agent, contact } = await callTo((call) => {
        call.after(0.1, () => call.respond(180));
        call.after(0.4, () => call.respond(183, { sdp: true }));
        call.after(1.5, () => call.respond(180));
        call.after(2.5, () => call.answer());
      });
      await eventually(() => contact.call.state === 'talking');
      await bothHear({ agent, contact });

      const announced = sentAt(contact, '183');
      const ringBack = agent.call.heard(RING_BACK);
      const announcement = agent.call.heard(contact.call.tone);
      expect(ringBack[0]!.from).toBeLessThan(announced);
      expect(ringBack.at(-1)!.to - announced).toBeLessThan(250);
      expect(announcement[0]!.from - announced).toBeLessThan(BUSY_MS);
      // The second 180 and the answer change nothing of what is heard.
      expect(Math.max(...announcement.slice(1).map(({ from }, n) => from - announcement[n]!.to), 0)).toBeLessThan(300);
    });

    it('what the agent hears of it ends with it, where the agent stays', async () => {
      const { mix, agent, contact } = await callTo((call) => call.after(0.5, () => call.respond(486)));
      await telephony.endTogether(mix, []);

      await fact('ended', contact);

      expect(agent.call.heard(SETUP).length).toBe(1);
      await eventually(() => Date.now() - agent.call.rtp.lastReceivedAt! > 500);
      expect(factsOf(agent.legId).at(-1)).toMatchObject({ type: 'media_up' });
    });
  });

  describe('from the answer on', () => {
    const afterRinging: CallScript = (call) => {
      call.respond(180);
      call.after(0.3, () => call.answer());
    };
    const atOnce: CallScript = (call) => call.respond(200);
    const afterAnnouncement: CallScript = (call) => {
      call.respond(183, { sdp: true, audio: false });
      call.after(0.3, () => call.answer());
    };

    // 60 ms of it pass until the phones know a tone; so the promise holds with a reserve.
    it('each hears the other within 200 ms, however it came to the answer', async () => {
      const delays: number[] = [];
      for (let round = 0; round < 4; round += 1) {
        const scripts = Array<CallScript[]>(4).fill([afterRinging, atOnce, afterAnnouncement]).flat();
        const made = await Promise.all(scripts.map(async (script) => callTo(script)));
        for (const call of made) {
          await bothHear(call);
          const { agent, contact } = call;
          const answered = sentAt(contact, '200');
          const heard = (one: Leg, other: Leg) => Math.max(one.call.heard(other.call.tone)[0]!.from - answered, 0);
          delays.push(heard(agent, contact), heard(contact, agent));
          expect(agent.call.rtp.longestGapMs).toBeLessThan(1_000);
          await telephony.hangUp(agent.legId, 'call_over');
        }
      }

      delays.sort((a, b) => a - b);
      expect(delays[delays.length / 2]).toBeLessThan(200);
      expect(delays.at(-1)).toBeLessThan(200 + BUSY_MS);
    });

    it('hardly a packet is lost', async () => {
      let sentBefore = 0;
      const { agent, contact } = await callTo((call, agentCall) => {
        call.respond(200);
        sentBefore = agentCall.rtp.sent;
      });
      const receivedBefore = agent.call.rtp.received;
      await eventually(() => contact.call.rtp.sent >= 150);
      for (const { call } of [agent, contact]) call.talk(false);

      await eventually(() => contact.call.rtp.received >= 0.98 * (agent.call.rtp.sent - sentBefore));
      await eventually(() => agent.call.rtp.received - receivedBefore >= 0.98 * contact.call.rtp.sent);
      expect(agent.call.rtp.lost).toBeLessThan(3);
      expect(contact.call.rtp.lost).toBeLessThan(3);
      expect(contact.call.rtp.longestGapMs).toBeLessThan(1_000);
    });

    it('A-law and µ-law hear each other', async () => {
      const { agent, contact } = await talk((call) => {
        call.law = 'ulaw';
        return picksUp(call);
      });

      expect([agent.call.law, contact.call.law]).toEqual(['ulaw', 'alaw']);
    });

    it('keys reach the other side, each once', async () => {
      const { agent, contact } = await talk();

      for (const key of '15#') await contact.call.press(key);
      await agent.call.press('7');

      await eventually(() => agent.call.keysHeard === '15#' && contact.call.keysHeard === '7');
      expect(factsOf(contact.legId).flatMap((each) => (each.type === 'dtmf' ? each.digit : []))).toEqual(['1', '5', '#']);
      await bothHear({ agent, contact });
    });
  });

  describe('when a phone', () => {
    it('sends no more, and never hangs up, the call ends by itself', async () => {
      const { agent, contact } = await talk();
      contact.call.talk(false);
      const silentAt = Date.now();

      const ended = await fact('ended', contact);

      expect(ended).toMatchObject({ phase: 'answered' });
      expect(ended.at - silentAt).toBeGreaterThan(RTP_TIMEOUTS.talk * 1000 - 1000);
      expect(await fact('ended', agent)).toMatchObject({ phase: 'answered', by: 'command', why: 'call_over' });
      expect(agent.call.state).toBe('ended');
    });

    it.each(['sendonly', 'inactive'] as const)('holds, the other one hears music until it is back: %s', async (direction) => {
      const { agent, contact } = await talk();

      await contact.call.reinvite({ hold: direction === 'inactive' ? 'inactive' : true });
      expect(await fact('held', contact)).toMatchObject({ on: true });
      await eventually(() => agent.call.loudest([MUSIC, contact.call.tone]) === MUSIC);
      await contact.call.reinvite();

      await eventually(() => factsOf(contact.legId).some((each) => each.type === 'held' && !each.on));
      await eventually(() => agent.call.loudest([MUSIC, contact.call.tone]) === contact.call.tone);
      await bothHear({ agent, contact });
      expect(agent.call.rtp.longestGapMs).toBeLessThan(1_000);
    });

    it('holds for good, its silence is borne for longer than in a talk', async () => {
      const { agent, contact } = await talk();
      await contact.call.reinvite({ hold: true });
      const { at } = await fact('held', contact);

      const ended = await fact('ended', contact, 15_000);

      expect(ended.at - at).toBeGreaterThan(RTP_TIMEOUTS.hold * 1000 - 1000);
      await fact('ended', agent);
    });

    it.each(['agent', 'contact'] as const)('moves its audio, both still hear each other: %s', async (who) => {
      const call = await talk();
      const { call: moving } = call[who];
      const before = moving.rtp.received;

      await moving.reinvite({ move: true });

      await eventually(() => moving.rtp.received > before + 25);
      await bothHear(call);
    });

    // A fax machine's carrier does so.
    it('offers a fax, it is refused and the call goes on', async () => {
      const call = await talk();

      const media = ['m=image 9 udptl t38', 'a=T38FaxVersion:0', 'a=T38FaxRateManagement:transferredTCF'];
      await expect(call.contact.call.reinvite({ media })).rejects.toThrow('refused with 488');

      const before = call.agent.call.rtp.received;
      await eventually(() => call.agent.call.rtp.received > before + 25);
      await bothHear(call);
    });

    it('is called, Asterisk offers to keep a session timer', async () => {
      const { contact } = await talk();

      expect(contact.call.invite.get('supported')).toContain('timer');
      expect(contact.call.invite.get('session-expires')).toBe('1800');
      expect(contact.call.invite.get('min-se')).toBe('90');
    });
  });

  describe('a recording', () => {
    const fileOf = (name: string) => path.join(asterisk.recordings, `${name}.wav`);
    const seconds = (name: string) => samplesIn(fileOf(name)).length / RATE;
    const running = async (recordingName: string) => {
      const live = await ari().ask('GET /recordings/live/{recordingName}', { path: { recordingName } }).catch(() => null);
      return live !== null;
    };
    /** Where both are first heard, in s. */
    const bothFrom = (name: string, ...legs: Leg[]) => {
      const samples = samplesIn(fileOf(name));
      const step = RATE / 50;
      for (let n = 0; n + 4 * step <= samples.length; n += step) {
        if (tonesIn(samples.subarray(n, n + 4 * step), legs.map(({ call }) => call.tone)).length === legs.length) return n / RATE;
      }
      return Infinity;
    };

    it('has both from its start, and ends with the call', async () => {
      const { mix, agent, contact } = await talk();
      const name = `whole-${mix}`;
      await telephony.record(mix, name);
      const startedAt = Date.now();
      await eventually(() => Date.now() - startedAt > 2_000);

      await contact.call.bye();
      const took = (Date.now() - startedAt) / 1000;
      await fact('ended', agent);

      await eventually(() => bothFrom(name, agent, contact) < 0.3);
      expect(seconds(name)).toBeGreaterThan(took - 0.5);
      expect(seconds(name)).toBeLessThan(took + BUSY_MS / 1000);
    });

    it('goes on where it was stopped, under the same name', async () => {
      const { mix, agent, contact } = await talk();
      const name = `parts-${mix}`;
      const recordMore = async (before: number) => {
        await telephony.record(mix, name);
        await eventually(() => seconds(name) > before);
        await telephony.record(mix, null);
        return seconds(name);
      };
      const first = await recordMore(0);
      const start = samplesIn(fileOf(name)).subarray(0, RATE);

      const both = await recordMore(first);

      expect(both).toBeGreaterThan(first);
      expect(samplesIn(fileOf(name)).subarray(0, RATE)).toEqual(start);
      expect(bothFrom(name, agent, contact)).toBeLessThan(0.3);
    });

    it('goes on without its worker; the next one ends it, and may go on with it', async () => {
      const call = await talk();
      const name = `taken-over-${call.mix}`;
      await telephony.record(call.mix, name);
      await telephony.close();
      const before = await eventually(() => seconds(name));
      await eventually(() => seconds(name) > before);
      telephony = await started();
      await bothHear(call);

      await telephony.record(call.mix, null);

      expect(await running(name)).toBe(false);
      await telephony.record(call.mix, name);
      expect(await running(name)).toBe(true);
    });
  });
});
