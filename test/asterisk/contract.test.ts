/** The contract of the telephony port, kept by the adapter, a real Asterisk and real SIP phones. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { describe } from 'vitest';
import { ARI_USER } from '../../dev/asterisk/server.ts';
import { createAsteriskTelephony } from '../../telephony/asterisk/adapter.ts';
import { Ari } from '../../telephony/asterisk/ari.ts';
import { Names } from '../../telephony/asterisk/names.ts';
import { freshAsterisk, whyNoAsterisk } from '../kit/asterisk.ts';
import { Wire } from '../kit/simulator.ts';
import { SipPhones } from '../kit/sip/phones.ts';
import { writeTone } from '../kit/sip/tone.ts';
import { type ContractRig, numberOf, telephonyContract } from '../kit/telephony-contract.ts';

/** By sound: its tone in Hz. */
const SOUNDS = { music: 400, 'please-wait': 480 };

describe.skipIf(await whyNoAsterisk())('with a real Asterisk', () => {
  telephonyContract('asterisk', asteriskRig);
});

async function asteriskRig(): Promise<ContractRig> {
  const music = Object.entries(SOUNDS).map(([sound, hz]) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'dialwright-music-'));
    writeTone(path.join(folder, 'tone.wav'), hz, 2);
    return [sound === 'music' ? 'default' : sound, folder] as const;
  });
  const phones = await SipPhones.open({ sounds: SOUNDS });
  const asterisk = await freshAsterisk({ carrier: phones.address, music: Object.fromEntries(music) });
  const wire = await Wire.to(new URL(asterisk.ariUrl).origin);
  const names = new Names('dialwright');
  const account = { user: ARI_USER, password: asterisk.ariPassword, app: 'dialwright' };
  const telephony = createAsteriskTelephony(
    {
      ...account,
      url: `${wire.url}/ari`,
      trunk: 'PJSIP/{number}@carrier',
      agents: 'PJSIP/{extension}',
      callerId: null,
      earlyMediaAlerts: true,
    },
    pino({ level: process.env.ASTERISK_LOG ?? 'silent' }),
  );
  const ari = new Ari({ ...account, url: asterisk.ariUrl }, pino({ level: 'silent' }), { up() {}, down() {}, event() {} });

  /** What only Asterisk knows: the bridge that the phone's channel is in, and that bridge's recording. */
  const atAsterisk = async (number: string) => {
    const isItsLeg = (channelId: string) => numberOf(names.own(channelId)!) === number;
    const bridge = (await ari.ask('GET /bridges')).find(({ channels }) => channels.some(isItsLeg));
    return { mix: bridge ? names.own(bridge.id) : null, recording: await runningRecording() };
  };
  const runningRecording = async () => {
    for (const file of readdirSync(asterisk.recordings)) {
      const recordingName = path.parse(file).name;
      const live = await ari.ask('GET /recordings/live/{recordingName}', { path: { recordingName } }).catch(() => null);
      if (live) return recordingName;
    }
    return null;
  };
  return {
    telephony,
    phone: (number) => {
      const phone = phones.phone(number);
      return Object.assign(phone, {
        hears: async () => ({ ...(await Object.getPrototypeOf(phone).hears.call(phone)), ...(await atAsterisk(number)) }),
      });
    },
    cut: () => wire.cut(),
    mend: () => wire.mend(),
    async close() {
      await telephony.close();
      await wire.close();
      await asterisk.stop();
      phones.close();
      for (const [, folder] of music) rmSync(folder, { recursive: true });
    },
  };
}
