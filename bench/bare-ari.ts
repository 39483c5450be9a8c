// Bare ARI on the same Asterisk, with the same phones: what the product's calls are held against.

import { pino } from 'pino';
import { ARI_USER, type RunningAsterisk } from '../dev/asterisk/server.ts';
import { Ari } from '../telephony/asterisk/ari.ts';
import type { AriEvent } from '../telephony/asterisk/ari-types.ts';
import { inLanes } from './kit.ts';

const APP = 'bare';
const CALL_WITHIN_MS = 20_000;
/** How often it is looked whether audio comes from the agent. */
const LOOK_EVERY_MS = 10;

export interface BareAri {
  /** Carries out a call to each number, `atOnce` at a time; returns calls a second, without those of the tail. */
  calls(numbers: readonly string[], atOnce: number): Promise<number>;
  close(): Promise<void>;
}

/** Endpoints of Asterisk: of any agent, and of a contact. */
export interface Ends {
  agent: string;
  contact: (number: string) => string;
}

export async function openBareAri({ ariUrl, ariPassword }: RunningAsterisk, ends: Ends): Promise<BareAri> {
  const waits = new Map<string, () => void>();
  const up = Promise.withResolvers<void>();
  const settings = { url: ariUrl, user: ARI_USER, password: ariPassword, app: APP };
  const ari = new Ari(settings, pino({ level: 'silent' }), {
    up: () => up.resolve(),
    down: (why) => up.reject(new Error(why)),
    event: (event) => waits.get(keyOf(event))?.(),
  });
  ari.open();
  await up.promise;
  const allowed = ['StasisStart', 'ChannelStateChange', 'ChannelDestroyed'].map((type) => ({ type }));
  const path = { applicationName: APP };
  await ari.ask('PUT /applications/{applicationName}/eventFilter', { path, body: { allowed } as object });
  const until = (id: string, what: string): Promise<void> => {
    const timely = Promise.withResolvers<void>();
    const timer = setTimeout(() => timely.reject(new Error(`no ${what} of a bare call`)), CALL_WITHIN_MS);
    waits.set(`${id} ${what}`, timely.resolve);
    return timely.promise.finally(() => {
      clearTimeout(timer);
      waits.delete(`${id} ${what}`);
    });
  };
  return {
    async calls(numbers, atOnce) {
      const from = performance.now();
      const done: number[] = [];
      await inLanes(numbers.length, atOnce, async (n) => {
        await callOne(ari, until, ends, numbers[n]!);
        done.push(performance.now());
      });
      const measured = Math.max(1, numbers.length - atOnce);
      return measured / ((done[measured - 1]! - from) / 1000);
    },
    close: () => ari.close(),
  };
}

/** The agent, then the contact, joined until one of them hangs up: nothing is stored, repeated or checked. */
async function callOne(
  ari: Ari,
  until: (id: string, what: string) => Promise<void>,
  ends: Ends,
  number: string,
): Promise<void> {
  const [agent, contact, bridgeId] = ['a', 'c', 'b'].map((kind) => `bare-${kind}${number}`) as [string, string, string];
  const agentPath = { path: { channelId: agent } };
  const shown = { 'CONNECTEDLINE(num,i)': number, 'CONNECTEDLINE(pres,i)': 'allowed' };
  const create = (channelId: string, endpoint: string, variables: Record<string, string>) =>
    Promise.all([
      until(channelId, 'StasisStart'),
      ari.ask('POST /channels/create', { query: { endpoint, app: APP, channelId }, body: { variables } }),
    ]);
  const dial = (channelId: string, what: string) =>
    Promise.all([until(channelId, what), ari.ask('POST /channels/{channelId}/dial', { path: { channelId }, query: {} })]);

  await create(agent, ends.agent, shown);
  await dial(agent, 'Up');
  while (((await ari.ask('GET /channels/{channelId}/rtp_statistics', agentPath)).rxcount ?? 0) === 0) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  await Promise.all([
    create(contact, ends.contact(number), {}),
    ari.ask('POST /bridges/{bridgeId}', { path: { bridgeId }, query: { type: 'mixing,dtmf_events' } }),
  ]);
  const channel = [agent, contact].join(',');
  await ari.ask('POST /bridges/{bridgeId}/addChannel', { path: { bridgeId }, query: { channel } });
  await dial(contact, 'ChannelDestroyed');
  await Promise.all([until(agent, 'ChannelDestroyed'), ari.ask('DELETE /channels/{channelId}', agentPath)]);
  await ari.ask('DELETE /bridges/{bridgeId}', { path: { bridgeId } });
}

/** `<channel> <what has become of it>` */
function keyOf(event: AriEvent): string {
  if (!('channel' in event) || !event.channel) return '';
  return `${event.channel.id} ${event.type === 'ChannelStateChange' ? event.channel.state : event.type}`;
}
