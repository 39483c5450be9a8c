/**
 * What the adapter asks of Asterisk about its channels and bridges. A channel or bridge that is no more is no error: its end
 * is an event on its way.
 */
import type { Originate } from '../telephony.ts';
import { type Ari, AriRefused } from './ari.ts';
import type { Bridge, Channel } from './ari-types.ts';
import { Names, readPlan, VARIABLE } from './names.ts';
import type { Plan } from './leg.ts';
import { type EndRecord, readRecord } from './record.ts';

/** Where dialwright.conf begins: run for each channel that ends. */
const DIALPLAN = { context: 'dialwright', extension: 'ended' } as const;
/** A section of indications.conf (docs/telephony.md). An Asterisk without it plays its ordinary ring-back instead. */
const SETUP_TONES = 'dialwright';
/** Asterisk itself ends a dial that no worker ends, so long after its timers. */
const DIAL_GRACE_MS = 5_000;

export class AsteriskChannels {
  readonly names: Names;
  readonly #ari: Ari;
  readonly #app: string;
  /** Recordings under way that this process has begun, by mix. */
  readonly #recordings = new Map<string, string>();
  /** Bridges that are there, or are being made. */
  readonly #bridges = new Map<string, Promise<unknown>>();
  /** Bridges that are being taken away. */
  readonly #going = new Map<string, Promise<unknown>>();

  constructor(ari: Ari, app: string) {
    this.#ari = ari;
    this.#app = app;
    this.names = new Names(app);
  }

  /**
   * Makes the channel of a leg, calling nobody yet. Asterisk takes it away at `notAfter`, unless it was dialled. `bond` as
   * in names.ts. Throws {@link AriRefused}: 409 where the channel is there already, 500 where there is no such endpoint.
   */
  async create(leg: Originate, endpoint: string, bond: string): Promise<Channel> {
    const { legId, from, party, setupMs, ringMs, notAfter } = leg;
    const plan: Plan = { party, setupMs, ringMs };
    const shown = from === null ? {} : { 'CONNECTEDLINE(num,i)': from, 'CONNECTEDLINE(pres,i)': 'allowed' };
    const variables = {
      [VARIABLE.leg]: this.names.channel(legId),
      [VARIABLE.plan]: JSON.stringify(plan),
      [VARIABLE.bond]: bond,
      [VARIABLE.limit]: secondsUntil(notAfter),
      'CHANNEL(hangup_handler_push)': `${DIALPLAN.context},${DIALPLAN.extension},1`,
      ...shown,
    };
    const query = { endpoint, app: this.#app, channelId: this.names.channel(legId) };
    return this.#ari.ask('POST /channels/create', { query, body: { variables } });
  }

  /** As `create` has said it. The limit counts from when Asterisk hears of it: this is for what was long on its way. */
  async limit({ legId, notAfter }: Originate): Promise<void> {
    await this.set(legId, VARIABLE.limit, secondsUntil(notAfter));
  }

  /** It may stay as long as it lasts. */
  async liftLimit(legId: string): Promise<void> {
    await this.set(legId, VARIABLE.limit, String(LIFTED_S));
  }

  /** So too of one that is no more, and of one whose limit an earlier release has taken off. */
  async isLifted(legId: string): Promise<boolean> {
    const seconds = Number(await this.get(legId, VARIABLE.limit));
    return seconds === 0 || seconds > LIFTED_S / 2;
  }

  /** Sends the INVITE. False if there is no such channel any more, or it is ending: nobody was called. */
  async dial({ legId, setupMs, ringMs }: Originate): Promise<boolean> {
    const path = { channelId: this.names.channel(legId) };
    const timeout = Math.ceil((setupMs + ringMs + DIAL_GRACE_MS) / 1000);
    const asked = this.#ari.ask('POST /channels/{channelId}/dial', { path, query: { timeout } });
    const answer = await ifThere(asked, LEFT, UNTAKEN);
    return answer !== 'absent';
  }

  async hangUp(legId: string): Promise<'ended' | 'absent'> {
    const answer = await ifThere(this.#ari.ask('DELETE /channels/{channelId}', { path: this.#path(legId) }));
    return answer === 'absent' ? 'absent' : 'ended';
  }

  async set(legId: string, variable: string, value: string): Promise<void> {
    const query = { variable, value };
    const path = this.#path(legId);
    await ifThere(this.#ari.ask('POST /channels/{channelId}/variable', { path, query }), LEFT, LEAVES);
  }

  /** Empty if the channel has no such variable, or is no more. */
  async get(legId: string, variable: string): Promise<string> {
    const query = { variable };
    const path = this.#path(legId);
    const answer = await ifThere(this.#ari.ask('GET /channels/{channelId}/variable', { path, query }), LEFT);
    return answer === 'absent' ? '' : answer.value;
  }

  /** Null if it is no more. */
  async find(legId: string): Promise<Channel | null> {
    const answer = await ifThere(this.#ari.ask('GET /channels/{channelId}', { path: this.#path(legId) }));
    return answer === 'absent' ? null : answer;
  }

  async plan(legId: string): Promise<Plan | null> {
    return readPlan(await this.get(legId, VARIABLE.plan));
  }

  /** Puts a channel into the bridge of a mix, which is made on the way. */
  async join(mix: string, legId: string): Promise<void> {
    await this.#bridge(mix);
    const query = { channel: this.names.channel(legId), inhibitConnectedLineUpdates: true };
    const path = { bridgeId: this.names.bridge(mix) };
    await ifThere(this.#ari.ask('POST /bridges/{bridgeId}/addChannel', { path, query }), ...LEAVING);
  }

  async leave(mix: string, legId: string): Promise<void> {
    const path = { bridgeId: this.names.bridge(mix) };
    const query = { channel: this.names.channel(legId) };
    await ifThere(this.#ari.ask('POST /bridges/{bridgeId}/removeChannel', { path, query }), ...LEAVING);
  }

  /** Its recording ends with it. */
  async removeBridge(mix: string): Promise<void> {
    // One that is being made is not there yet.
    const made = Promise.resolve(this.#bridges.get(mix)).catch(() => {});
    this.#bridges.delete(mix);
    const path = { bridgeId: this.names.bridge(mix) };
    const gone = made.then(() => ifThere(this.#ari.ask('DELETE /bridges/{bridgeId}', { path })));
    this.#going.set(mix, gone);
    await gone.finally(() => this.#going.get(mix) === gone && this.#going.delete(mix));
    if (this.#recordings.has(mix)) await this.#forgetRecording(mix);
  }

  /**
   * A soft tone every two seconds, which Asterisk itself ends with the first thing that there is to be heard: ring-back,
   * audio or the answer of another leg of its mix. It is a ring-back too, with the tones of a section of our own.
   */
  async playSetup(legId: string): Promise<void> {
    await this.set(legId, VARIABLE.tones, SETUP_TONES);
    await ifThere(this.#ari.ask('POST /channels/{channelId}/ring', { path: this.#path(legId) }));
    await this.set(legId, VARIABLE.tones, '');
  }

  /** Neither that nor ring-back any more. */
  async stopRinging(legId: string): Promise<void> {
    await ifThere(this.#ari.ask('DELETE /channels/{channelId}/ring', { path: this.#path(legId) }));
  }

  async play(legId: string, mohClass: string | null): Promise<void> {
    const path = this.#path(legId);
    if (mohClass === null) await ifThere(this.#ari.ask('DELETE /channels/{channelId}/moh', { path }), LEFT);
    else await ifThere(this.#ari.ask('POST /channels/{channelId}/moh', { path, query: { mohClass } }), LEFT);
  }

  /** The key is noted first: digits are rather not sent at all than twice. */
  async sendDtmf(legId: string, digits: string, key: string): Promise<void> {
    const sent = (await this.get(legId, VARIABLE.keys)).split('&');
    if (sent.includes(key)) return;
    await this.set(legId, VARIABLE.keys, [...sent, key].join('&'));
    const query = { dtmf: digits };
    await ifThere(this.#ari.ask('POST /channels/{channelId}/dtmf', { path: this.#path(legId), query }), LEFT);
  }

  /** One that runs already goes on. */
  async record(mix: string, name: string): Promise<void> {
    if (this.#recordings.get(mix) === name) return;
    const path = { bridgeId: this.names.bridge(mix) };
    const query = { name, format: 'wav', ifExists: 'append' } as const;
    // The name first: what runs can then be stopped by a worker that has not begun it.
    await this.#setGlobal(this.names.recording(mix), name);
    const answer = await ifThere(this.#ari.ask('POST /bridges/{bridgeId}/record', { path, query }).catch(unlessStatus(409)));
    // Of a bridge that is not there it is begun when it is asked for again.
    if (answer === 'absent') await this.#forgetRecording(mix);
    else this.#recordings.set(mix, name);
  }

  async stopRecording(mix: string): Promise<void> {
    const recordingName = this.#recordings.get(mix) ?? (await this.#getGlobal(this.names.recording(mix)));
    if (recordingName === '') return;
    await ifThere(this.#ari.ask('POST /recordings/live/{recordingName}/stop', { path: { recordingName } }));
    await this.#forgetRecording(mix);
  }

  /** Whether audio comes from the far end. */
  async hasAudio(legId: string): Promise<boolean> {
    const answer = await this.#ari
      .ask('GET /channels/{channelId}/rtp_statistics', { path: this.#path(legId) })
      .catch(unlessStatus(404));
    return (answer?.rxcount ?? 0) > 0;
  }

  /** Channels and bridges of ours, and which events we want. */
  async survey(events: readonly string[]): Promise<{ channels: Channel[]; bridges: Bridge[] }> {
    const filter = { allowed: events.map((type) => ({ type })) };
    const path = { applicationName: this.#app };
    await this.#ari.ask('PUT /applications/{applicationName}/eventFilter', { path, body: filter as object });
    const [channels, bridges] = await Promise.all([this.#ari.ask('GET /channels'), this.#ari.ask('GET /bridges')]);
    const isOurs = ({ id }: { id: string }): boolean => this.names.own(id) !== null;
    return { channels: channels.filter(isOurs), bridges: bridges.filter(isOurs) };
  }

  /** How a leg ended, as dialwright.conf has it; null if it does not know the leg. */
  async recordOf(legId: string): Promise<EndRecord | null> {
    return readRecord(await this.#getGlobal(this.names.record(legId)));
  }

  async forgetRecord(legId: string): Promise<void> {
    await this.#deleteGlobal(this.names.record(legId));
  }

  /** Whether Asterisk has dialwright.conf: a channel is asked, which calls nobody. */
  async hasDialplan(): Promise<boolean> {
    const channelId = this.names.probe();
    const { context, extension } = DIALPLAN;
    const query = { endpoint: `Local/${extension}@${context}`, app: this.#app, channelId };
    await this.#ari.ask('POST /channels/create', { query });
    try {
      const variable = `DIALPLAN_EXISTS(${context},${extension})`;
      return (await this.#ari.ask('GET /channels/{channelId}/variable', { path: { channelId }, query: { variable } })).value === '1';
    } finally {
      await ifThere(this.#ari.ask('DELETE /channels/{channelId}', { path: { channelId } }));
    }
  }

  async #forgetRecording(mix: string): Promise<void> {
    this.#recordings.delete(mix);
    await this.#deleteGlobal(this.names.recording(mix));
  }

  async #getGlobal(variable: string): Promise<string> {
    return (await this.#ari.ask('GET /asterisk/variable', { query: { variable } })).value;
  }

  /** Without a value: an empty one would stay. */
  async #deleteGlobal(variable: string): Promise<void> {
    await this.#ari.ask('POST /asterisk/variable', { query: { variable } });
  }

  async #setGlobal(variable: string, value: string): Promise<void> {
    await this.#ari.ask('POST /asterisk/variable', { query: { variable, value } });
  }

  #path(legId: string): { channelId: string } {
    return { channelId: this.names.channel(legId) };
  }

  /** Made once; one that is there is taken as it is. */
  #bridge(mix: string): Promise<unknown> {
    const known = this.#bridges.get(mix);
    if (known) return known;
    const path = { bridgeId: this.names.bridge(mix) };
    // dtmf_events: two phones are not short-circuited, which would hide the keys from us.
    const gone = Promise.resolve(this.#going.get(mix)).catch(() => {});
    const query = { type: 'mixing,dtmf_events' };
    // 409: an earlier worker has made it.
    const made = gone.then(() => this.#ari.ask('POST /bridges/{bridgeId}', { path, query })).catch(unlessStatus(409));
    this.#bridges.set(mix, made);
    made.catch(() => this.#bridges.delete(mix));
    return made;
  }
}

/** A channel that has just left our application: it is hung up. */
const LEFT = 409;
/** Its thread takes no command any more. */
const UNTAKEN = 500;
/** It leaves in the very moment in which a variable is set. */
const LEAVES = 400;
/** Of a bridge: no such channel, the bridge is cleared away after it, or it has left our application or this bridge. */
const LEAVING = [LEAVES, LEFT, 422] as const;

/**
 * Ten years. Not 0, Asterisk's "never": it looks at the limit twice without a lock, first whether there is one and then
 * whether that is past, and hangs up a channel whose limit becomes 0 between the two.
 */
const LIFTED_S = 315_360_000;
/** Never 0, which would mean no limit. */
const secondsUntil = (at: number): string => (Math.max(1, at - Date.now()) / 1000).toFixed(3);

/** `absent` when there is no such channel or bridge (any more), or it is ending: a 404, or one of `others`. */
async function ifThere<T>(answer: Promise<T>, ...others: number[]): Promise<T | 'absent'> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof AriRefused && [404, ...others].includes(error.status)) return 'absent';
    throw error;
  }
}

function unlessStatus(...statuses: number[]) {
  return (error: unknown): undefined => {
    if (error instanceof AriRefused && statuses.includes(error.status)) return undefined;
    throw error;
  };
}
