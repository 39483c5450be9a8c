/** What the phones of dev/sip do that no well-behaved switch provokes; the rest is in test/asterisk. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { requestOf, SipMessage, token, viaOf } from '../../dev/sip/message.ts';
import { SipPhones } from '../../dev/sip/phones.ts';
import { samplesOf, tonePackets, toneSamples, tonesIn, writeTone } from '../../dev/sip/tone.ts';
import { HOST, SipTransport } from '../../dev/sip/transport.ts';
import { eventually } from '../kit/eventually.ts';

const SDP = `v=0\r\no=- 1 1 IN IP4 ${HOST}\r\ns=-\r\nc=IN IP4 ${HOST}\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n`;

/** A caller by hand, which acknowledges only what it is told to. */
async function caller(phones: SipPhones) {
  const transport = new SipTransport(() => {});
  await transport.open(0);
  onTestFinished(() => transport.close());
  const to = { address: HOST, port: Number(phones.address.split(':')[1]) };
  const callId = token();
  const ask = (method: string, cseq: number, tag = '', content = {}) => {
    const whom = `To: <sip:100@${HOST}>${tag && `;tag=${tag}`}`;
    const dialog = [`From: <sip:me@${HOST}>;tag=me`, whom, `Call-ID: ${callId}`, `CSeq: ${cseq} ${method}`];
    const headers = [viaOf(transport.address), ...dialog];
    return requestOf(method, `sip:100@${phones.address}`, headers, content);
  };
  const invite = ask('INVITE', 1, '', {
    type: 'application/sdp',
    body: SDP,
    headers: [`Contact: <sip:me@${transport.address}>`, 'Supported: timer', 'Session-Expires: 1800'],
  });
  const request = (message: SipMessage) => transport.request(message, to);
  return { ask, invite, request, send: (message: SipMessage) => transport.send(message, to) };
}

async function opened(): Promise<SipPhones> {
  const phones = await SipPhones.open();
  onTestFinished(() => phones.close());
  return phones;
}

describe('phones over SIP', () => {
  it.each([486, 200])('repeat a %i until it is acknowledged', async (status) => {
    const phones = await opened();
    phones.onInvite('100', (call) => call.respond(status));
    const { ask, invite, request, send } = await caller(phones);

    const response = await request(invite);
    const [call] = phones.calls('100');
    await eventually(() => call!.story === `<INVITE >${status} >${status}* >${status}*`);
    send(ask('ACK', 1, response.tag('to')));
    await call!.waitFor('ack');

    const at = call!.wire.map((entry) => entry.at);
    expect(at[2]! - at[1]!).toBeGreaterThan(450);
    expect(at[3]! - at[2]!).toBeGreaterThan(950);
  });

  it('refresh the session, by UPDATE and by INVITE', async () => {
    const phones = await opened();
    phones.onInvite('100', (call) => call.respond(200));
    const { ask, invite, request, send } = await caller(phones);
    const tag = (await request(invite)).tag('to');
    send(ask('ACK', 1, tag));

    const headers = ['Session-Expires: 1800;refresher=uac'];
    const updated = await request(ask('UPDATE', 2, tag, { headers }));
    const onHold = { headers, type: 'application/sdp', body: `${SDP}a=sendonly\r\n` };
    const invited = await request(ask('INVITE', 3, tag, onHold));
    send(ask('ACK', 3, tag));

    expect([updated.status, updated.get('session-expires'), updated.body]).toEqual([200, '1800;refresher=uac', '']);
    expect(invited.body).toContain('a=recvonly');
    expect(phones.calls('100')[0]).toMatchObject({ isHeld: true, state: 'talking' });
    expect(phones.invites('100')).toBe(1);
  });

  it('say what they are when they can do no such thing, and what did not come', async () => {
    const phones = await opened();
    const phone = phones.phone('100');
    await expect(phone.answer()).rejects.toThrow('The phone 100 is not ringing: it is idle');
    const { invite, request } = await caller(phones);

    expect((await request(invite)).status).toBe(404);

    const [call] = phones.calls('100');
    expect(() => call!.respond(200)).toThrow("200 can't be sent: the call to 100 (ended) has been answered with 404");
    const missing = call!.waitFor('bye', { withinMs: 1 });
    await expect(missing).rejects.toThrow('no BYE within 1 ms; the wire had <INVITE >100 >404');
  });

  it('answer in the moment of a CANCEL, where they are to cross it', async () => {
    const phones = await opened();
    phones.behave('100', { trying: null, alerting: 0, crosses: true, then: { kind: 'silent' } });
    const { invite, request, send } = await caller(phones);
    const answered = request(invite);
    await eventually(() => phones.calls('100')[0]?.state === 'ringing');
    const [call] = phones.calls('100');

    const headers = invite.headers.map(([name, value]) => [name, name === 'CSeq' ? '1 CANCEL' : value] as const);
    send(new SipMessage(invite.start.replace('INVITE', 'CANCEL'), headers));

    expect((await answered).status).toBe(200);
    expect(call!.state).toBe('talking');
    expect(call!.story).toBe('<INVITE >180 <CANCEL >200 >200');
  });

  it('tell of their states, and know nothing of a call that was forgotten', async () => {
    const phones = await opened();
    const states: string[] = [];
    phones.onInvite('100', (call) => {
      call.onState = (state) => states.push(state);
      call.respond(180);
      call.answer();
    });
    const { ask, invite, request, send } = await caller(phones);
    const tag = (await request(invite)).tag('to');
    send(ask('ACK', 1, tag));
    expect((await request(ask('BYE', 2, tag))).status).toBe(200);
    expect(states).toEqual(['ringing', 'talking', 'ended']);

    phones.forget(phones.calls('100')[0]!);

    expect(phones.calls('100')).toEqual([]);
    expect((await request(ask('BYE', 3, tag))).status).toBe(481);
  });

  it('throw at the end what a script has thrown', async () => {
    const phones = await SipPhones.open();
    phones.onInvite('100', async (call) => {
      call.respond(486);
      throw new Error('a mistake of the test');
    });
    const { invite, request } = await caller(phones);
    await request(invite);

    expect(() => phones.close()).toThrow('a mistake of the test');
  });
});

describe('tones', () => {
  it.each(['alaw', 'ulaw'] as const)('are known again among their neighbours, silence and too little are none: %s', (law) => {
    const all = Array.from({ length: 70 }, (_, n) => 600 + 40 * n);
    const packets = (hz: number) => tonePackets(hz, law).map((packet) => samplesOf(packet, law));
    for (const hz of all) expect(tonesIn(Int16Array.from(packets(hz).flatMap((packet) => [...packet])), all)).toEqual([hz]);
    expect(tonesIn(new Int16Array(800), all)).toEqual([]);
    expect(tonesIn(packets(600)[0]!, all)).toEqual([]);
  });

  it.each(['alaw', 'ulaw'] as const)('are as loud after coding as before: %s', (law) => {
    const coded = samplesOf(Buffer.concat(tonePackets(1000, law)), law);
    toneSamples(1000, 800).forEach((sample, n) => expect(Math.abs(coded[n]! - sample)).toBeLessThan(300));
  });

  it('are written as WAV and as bare samples', () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'dialwright-tones-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const [wav, sln] = ['tone.wav', 'tone.sln'].map((name) => path.join(dir, name));

    writeTone(wav!, 400, 1);
    writeTone(sln!, 400, 1);

    expect(readFileSync(wav!)).toHaveLength(16_044);
    expect(readFileSync(wav!).subarray(44).equals(readFileSync(sln!))).toBe(true);
    expect(() => writeTone(path.join(dir, 'tone.mp3'), 400, 1)).toThrow('.wav or .sln');
  });
});
