/** The phones of dev/sip, called by a real Asterisk. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { RunningAsterisk } from '../../dev/asterisk/server.ts';
import { type CallScript, SipPhones } from '../../dev/sip/phones.ts';
import { Softphone } from '../../dev/sip/softphone.ts';
import { writeTone } from '../../dev/sip/tone.ts';
import type { BehaviourInput } from '../../telephony/simulator/script.ts';
import { freshAsterisk, StasisApp, whyNoAsterisk } from '../kit/asterisk.ts';
import { eventually } from '../kit/eventually.ts';

const manual: BehaviourInput = { trying: 0, alerting: 0.02, media: 0, then: { kind: 'manual' } };
const SOUNDS = { music: 400, wait: 500 };
const answers: BehaviourInput = { ...manual, then: { kind: 'answers', after: 0.02, talks: null } };

describe.skipIf(await whyNoAsterisk())('phones that a real Asterisk calls', () => {
  let asterisk: RunningAsterisk;
  let phones: SipPhones;
  let app: StasisApp;
  let numbers = 0;

  beforeAll(async () => {
    phones = await SipPhones.open({ sounds: SOUNDS });
    asterisk = await freshAsterisk({ carrier: phones.address, timers: { t1: 500, b: 32_000 } });
    app = await StasisApp.open(asterisk);
  });
  afterAll(async () => {
    await app?.close();
    await asterisk?.stop();
    phones?.close();
  });

  /** Calls a number of its own, which is the channel's id too; what a test leaves is hung up. */
  const dial = async (prepare: (number: string) => unknown, to?: string) => {
    const number = `+47220000${String((numbers += 1)).padStart(2, '0')}`;
    await prepare(number);
    onTestFinished(() => app.ari.ask('DELETE /channels/{channelId}', { path: { channelId: number } }).catch(() => {}));
    await app.dial(to ?? `PJSIP/${number}@carrier`, number);
    return number;
  };
  const dialTrunk = async (prepare: (number: string) => unknown) => {
    const number = await dial(prepare);
    return { number, phone: phones.phone(number), call: await phones.called(number) };
  };
  const dialPhone = (behaviour: BehaviourInput) => dialTrunk((number) => phones.behave(number, behaviour));
  const dialScript = (script: CallScript) => dialTrunk((number) => phones.onInvite(number, script));
  const talk = async () => {
    const dialled = await dialPhone(answers);
    await eventually(async () => (await channel(dialled.number)).state === 'Up');
    return dialled;
  };
  const channel = (channelId: string) => app.ari.ask('GET /channels/{channelId}', { path: { channelId } });

  it('ring, are picked up and hang up, all of it on record', async () => {
    const { number, phone, call } = await dialPhone(manual);
    await eventually(() => call.state === 'ringing');

    await phone.answer();
    await phone.hangUp();

    const { cause } = await app.event('ChannelDestroyed', number);
    expect(cause).toBe(16);
    expect(call.story).toBe('<INVITE >100 >180 >200 <ACK >BYE <200');
    expect(phones.invites(number)).toBe(1);
    await expect(phone.hangUp()).rejects.toThrow(`The phone ${number} is not talking: it is ended`);
  });

  it('refuse, with their reason', async () => {
    const { number, call } = await dialPhone({ alerting: null, then: { kind: 'fails', after: 0, sip: 486, q850: 17 } });

    expect(await app.event('ChannelDestroyed', number)).toMatchObject({ cause: 17, tech_cause: 486 });
    await call.waitFor('ack');
    expect(call.wire.find(({ what }) => what === '486')?.reason).toBe('Q.850;cause=17;text="User busy"');
  });

  it('are hung up while they ring', async () => {
    const { number, call } = await dialPhone(manual);
    await eventually(() => call.state === 'ringing');

    await app.ari.ask('DELETE /channels/{channelId}', { path: { channelId: number } });

    await call.waitFor('ack');
    expect(call.story).toBe('<INVITE >100 >180 <CANCEL >200 >487 <ACK');
  });

  it('hear each other in a bridge, each by its own tone', async () => {
    const [one, two] = [await talk(), await talk()];
    expect(one.call.tone).not.toBe(two.call.tone);
    const { id } = await app.ari.ask('POST /bridges', { query: { type: 'mixing' } });
    onTestFinished(() => app.ari.ask('DELETE /bridges/{bridgeId}', { path: { bridgeId: id } }));

    const channels = [one.number, two.number];
    await app.ari.ask('POST /bridges/{bridgeId}/addChannel', { path: { bridgeId: id }, query: { channel: channels } });

    const tones = [one.call.tone, two.call.tone];
    await eventually(() => one.call.loudest(tones) === two.call.tone && two.call.loudest(tones) === one.call.tone);
    await eventually(() => one.call.hears(tones).join() === String(two.call.tone));
    expect((await one.phone.hears()).onHold).toBe(false);
    const query = { channel: two.number };
    await app.ari.ask('POST /bridges/{bridgeId}/removeChannel', { path: { bridgeId: id }, query });
    await eventually(async () => (await two.phone.hears()).onHold);
    expect(two.call.loudest(tones)).toBeNull();
  });

  it('press keys, as events and by INFO', async () => {
    const { number, phone, call } = await talk();
    const digits = () => app.eventsOf('ChannelDtmfReceived', number).map(({ digit }) => digit).join('');
    for (const digit of '11#') await phone.press(digit);
    // Audio and signalling are two ways: what is sent on one of them may overtake the other.
    await eventually(() => digits().length === 3);
    await call.info('5');
    await eventually(() => digits().length === 4);
    expect(digits()).toBe('11#5');
  });

  it('hear the keys that are sent to them, each once', async () => {
    const { number, phone, call } = await talk();

    await app.ari.ask('POST /channels/{channelId}/dtmf', { path: { channelId: number }, query: { dtmf: '112#' } });

    await eventually(() => call.keysHeard.length >= 4);
    expect((await phone.hears()).keysHeard).toBe('112#');
  });

  it('put the other side on hold, and take it back', async () => {
    const { number, phone, call } = await talk();

    await phone.hold(true);
    await app.event('ChannelHold', number);
    await phone.hold(false);
    await app.event('ChannelUnhold', number);

    const versions = call.wire.flatMap(({ dir, message }) =>
      dir === 'out' && message.body ? [/^o=- \d+ (\d+)/m.exec(message.body)![1]] : [],
    );
    expect(versions).toEqual(['1', '2', '3']);
    expect(call.state).toBe('talking');
  });

  it('answer in the moment of the INVITE', async () => {
    const { number, call } = await dialScript((invited) => invited.respond(200));

    await call.waitFor('ack');
    await eventually(() => call.rtp.sent > 10);

    expect(call.story).toBe('<INVITE >200 <ACK');
    expect((await channel(number)).state).toBe('Up');
  });

  it('answer across a CANCEL, and are hung up by a BYE', async () => {
    const { number, call } = await dialScript((invited) => {
      invited.respond(180);
      invited.answerAcrossCancel();
    });
    await eventually(() => call.state === 'ringing');

    await app.ari.ask('DELETE /channels/{channelId}', { path: { channelId: number } });
    await call.waitFor('bye');

    expect(call.story).toBe('<INVITE >180 <CANCEL >200 >200 <ACK <BYE >200');
  });

  it('give early media', async () => {
    const { number, call } = await dialScript((invited) => {
      invited.respond(183);
      invited.respond(183, { sdp: true });
    });

    await eventually(() => call.rtp.sent > 10);

    expect((await channel(number)).state).not.toBe('Up');
    expect(phones.phone(number)).toMatchObject({ calls: [{ state: 'ringing' }] });
  });

  it('are heard reliably by whoever wants that (RFC 3262)', async () => {
    const headers = ['Require: 100rel', 'RSeq: 1'];
    const { call } = await dialScript((invited) => invited.respond(183, { sdp: true, headers }));

    expect((await call.waitFor('prack')).message.get('rack')).toMatch(/^1 \d+ INVITE$/);
  });

  it('refer the caller to another number', async () => {
    const headers = [`Contact: <sip:+4722999999@${phones.address}>`];
    const { number, call } = await dialScript((invited) => invited.respond(302, { headers }));

    await app.event('ChannelDestroyed', number);

    await call.waitFor('ack');
    expect(phones.invites('+4722999999')).toBe(0);
  });

  it('say nothing at all, and know retransmissions from a second call', async () => {
    const { number, call } = await dialPhone({ trying: null, alerting: null, then: { kind: 'silent' } });

    await eventually(() => call.wire.length === 3);

    expect(call.story).toBe('<INVITE <INVITE* <INVITE*');
    expect(phones.invites(number)).toBe(1);
  });

  it('answer twice, where a call was forked: the second one is never acknowledged', async () => {
    const { number, call } = await dialScript((invited) => {
      invited.respond(180);
      invited.respond(200);
      invited.forkAnswer();
    });
    const fork = call.forks[0]!;

    await eventually(() => fork.story === '<INVITE >200 >200*');
    await eventually(() => call.story.startsWith('<INVITE >180 >200 <ACK <ACK*'));

    expect((await channel(number)).state).toBe('Up');
    await eventually(() => call.rtp.sent > 10);
    await phones.phone(number).hangUp();
    await app.event('ChannelDestroyed', number);
    expect(fork.story).not.toMatch(/ACK|BYE/);
  });

  it('behave as they were told', async () => {
    const { number, call } = await dialPhone({
      trying: 0,
      earlyMedia: [0.02, 5],
      alerting: 0.1,
      media: null,
      then: { kind: 'answers', after: 0.1, talks: 0.8, presses: { digit: '7', after: 0.1 } },
    });

    await app.event('ChannelDestroyed', number);

    expect(call.story).toBe('<INVITE >100 >183 >180 >200 <ACK >BYE <200');
    expect(app.eventsOf('ChannelDtmfReceived', number).map(({ digit }) => digit)).toEqual(['7']);
    const at = (what: string) => call.wire.find((entry) => entry.what === what)!.at - call.wire[0]!.at;
    expect(at('180')).toBeGreaterThanOrEqual(99);
    expect(at('200') - at('180')).toBeGreaterThanOrEqual(98);
    expect(at('BYE') - at('200')).toBeGreaterThanOrEqual(798);
    // Early media, one key, and no audio after the answer.
    expect(call.rtp.sent).toBeLessThan((at('200') - at('183')) / 20 + 7 + 5);
  });

  it('know the sound that is played to them', async () => {
    const { number, phone } = await talk();
    const sounds = mkdtempSync(path.join(tmpdir(), 'dialwright-sounds-'));
    onTestFinished(() => rmSync(sounds, { recursive: true }));
    writeTone(path.join(sounds, 'music.wav'), SOUNDS.music, 5);
    writeTone(path.join(sounds, 'wait.sln'), SOUNDS.wait, 5);

    for (const sound of ['music', 'wait']) {
      const media = `sound:${path.join(sounds, sound)}`;
      const query = { media, playbackId: `${number}-${sound}` };
      await app.ari.ask('POST /channels/{channelId}/play', { path: { channelId: number }, query });
      await eventually(async () => (await phone.hears()).sound === sound);
      await app.ari.ask('DELETE /playbacks/{playbackId}', { path: { playbackId: query.playbackId } });
      await eventually(async () => (await phone.hears()).sound === null);
    }
  });

  it('are not in use, where nobody has said anything of them', async () => {
    const number = await dial(() => {});

    expect(await app.event('ChannelDestroyed', number)).toMatchObject({ cause: 1, tech_cause: 404 });
  });

  describe('a softphone', () => {
    const softphone = async (password: string) => {
      const { sipPort } = asterisk;
      const made = await Softphone.open({ sipPort, account: '1001', password, expires: 1 });
      onTestFinished(() => made.close());
      return made;
    };
    const state = async () =>
      (await app.ari.ask('GET /endpoints/{tech}/{resource}', { path: { tech: 'PJSIP', resource: '1001' } })).state;

    it('registers, is called, and goes', async () => {
      const soft = await softphone(asterisk.softphonePassword);
      await soft.phone.behave(answers);

      await soft.register();
      await eventually(async () => (await state()) === 'online');
      const { registeredAt } = soft;
      await eventually(() => soft.registeredAt! > registeredAt!);
      const number = await dial(() => {}, 'PJSIP/1001');
      await eventually(async () => (await channel(number)).state === 'Up');
      expect(soft.phones.invites('1001')).toBe(1);
      await soft.phone.hangUp();
      await app.event('ChannelDestroyed', number);
      await soft.unregister();
      await eventually(async () => (await state()) === 'offline');
    });

    it('is refused with a wrong password', async () => {
      const soft = await softphone('guessed');

      await expect(soft.register()).rejects.toThrow('The registration of 1001 was refused: 401 Unauthorized');
      expect(await state()).toBe('offline');
    });
  });
});
