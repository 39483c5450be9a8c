/** The contract of the telephony port, kept by the adapter, a real Asterisk and real SIP phones. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe } from 'vitest';
import { writeTone } from '../../dev/sip/tone.ts';
import { Names } from '../../telephony/asterisk/names.ts';
import { AsteriskRig, whyNoAsterisk } from '../kit/asterisk.ts';
import { type ContractRig, numberOf, telephonyContract } from '../kit/telephony-contract.ts';
import { Wire } from '../kit/wire.ts';

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
  let wire!: Wire;
  const through = async (origin: string) => (wire = await Wire.to(origin)).url;
  const rig = await AsteriskRig.open({ sounds: SOUNDS, music: Object.fromEntries(music), through });
  const { telephony, phones, asterisk, ari } = rig;
  const names = new Names('dialwright');

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
      await rig.close();
      await wire.close();
      for (const [, folder] of music) rmSync(folder, { recursive: true });
    },
  };
}
