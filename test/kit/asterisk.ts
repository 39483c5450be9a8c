/**
 * The private Asterisk (dev/asterisk) for tests, alone or with phones and the adapter. Where a host can't have one, a file
 * of tests is skipped, but not in CI.
 */
import { pino } from 'pino';
import { installAsterisk, NoAsterisk } from '../../dev/asterisk/install.ts';
import { ARI_USER, type AsteriskOptions, type RunningAsterisk, startAsterisk } from '../../dev/asterisk/server.ts';
import { commandLine } from '../../dev/process.ts';
import { SipPhones, type SipPhonesOptions } from '../../dev/sip/phones.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import { type AsteriskSettings, createAsteriskTelephony } from '../../telephony/asterisk/adapter.ts';
import { Ari } from '../../telephony/asterisk/ari.ts';
import type { AriEvent } from '../../telephony/asterisk/ari-types.ts';
import type { LegFact, Originate, Telephony } from '../../telephony/telephony.ts';
import { eventually } from './eventually.ts';
import { numberOf } from './telephony-contract.ts';

const quiet = (): void => {};
/** Files of tests run side by side, each with an Asterisk: they are not to share ports. */
const FIRST_RTP_PORT = 20_000 + (process.pid % 3) * 4_000;

/** Why this host has no Asterisk; undefined where it has one. Throws in CI, which must not pass without. */
export async function whyNoAsterisk(): Promise<string | undefined> {
  try {
    await installAsterisk(quiet);
    return undefined;
  } catch (error) {
    if (!(error instanceof NoAsterisk) || process.env.CI) throw error;
    process.stderr.write(`Tests with a real Asterisk are skipped: ${error.message}\n`);
    return error.message;
  }
}

/** An Asterisk with data of its own, which `stop` removes; it lives no longer than this process. */
export async function freshAsterisk(
  options: Pick<AsteriskOptions, 'carrier' | 'timers' | 'rtpTimeouts' | 'music'>,
): Promise<RunningAsterisk> {
  const { dataDir, release } = throwAwayDataDir('asterisk');
  const given = { dataDir, log: quiet, anyPorts: true, firstRtpPort: FIRST_RTP_PORT };
  const asterisk = await startAsterisk({ ...given, ...options });
  const stop = async (): Promise<void> => {
    await asterisk.stop();
    await release();
  };
  return { ...asterisk, stop };
}

export interface RigOptions extends Pick<AsteriskOptions, 'timers' | 'music'>, Pick<SipPhonesOptions, 'sounds'> {
  /** Puts something between adapter and ARI: given ARI's origin, it gives the one that the adapter connects to. */
  through?: (origin: string) => Promise<string>;
}

export type Ended = Extract<LegFact, { type: 'ended' }>;

/** An Asterisk, phones behind its trunk, and an adapter (not started) whose facts are kept. */
export class AsteriskRig {
  readonly phones: SipPhones;
  readonly asterisk: RunningAsterisk;
  readonly telephony: Telephony;
  /** To ask Asterisk itself; it hears no events. */
  readonly ari: Ari;
  /** Of all adapters, as they came. */
  readonly facts: LegFact[] = [];
  /** Lines of the adapters' log, as JSON; ASTERISK_LOG=debug shows them. */
  readonly log: string[] = [];
  readonly #origin: string;
  readonly #adapters: Telephony[] = [];
  readonly #run = Date.now();
  #legs = 0;

  static async open({ sounds = {}, through, ...options }: RigOptions = {}): Promise<AsteriskRig> {
    const phones = await SipPhones.open({ sounds });
    const asterisk = await freshAsterisk({ carrier: phones.address, ...options });
    const { origin } = new URL(asterisk.ariUrl);
    return new AsteriskRig(phones, asterisk, through ? await through(origin) : origin);
  }

  private constructor(phones: SipPhones, asterisk: RunningAsterisk, origin: string) {
    this.phones = phones;
    this.asterisk = asterisk;
    this.#origin = origin;
    this.telephony = this.adapter();
    const settings = { ...this.#account, url: asterisk.ariUrl };
    this.ari = new Ari(settings, pino({ level: 'silent' }), { up: quiet, down: quiet, event: quiet });
  }

  /** One more, not started; two at a time need an `app` each. */
  adapter(changes: Partial<AsteriskSettings> = {}): Telephony {
    const settings: AsteriskSettings = {
      ...this.#account,
      url: `${this.#origin}/ari`,
      trunk: 'PJSIP/{number}@carrier',
      agents: 'PJSIP/{extension}',
      callerId: null,
      earlyMediaAlerts: true,
      ...changes,
    };
    const telephony = createAsteriskTelephony(settings, this.#logger());
    telephony.onFact(async (fact) => void this.facts.push(fact));
    this.#adapters.push(telephony);
    return telephony;
  }

  /** A leg to a number of its own. */
  leg(changes: Partial<Originate> = {}): Originate {
    const legId = `${this.#run}-${(this.#legs += 1)}-2`;
    return {
      legId,
      party: 'contact',
      to: numberOf(legId),
      from: '+4721000000',
      setupMs: 10_000,
      ringMs: 10_000,
      noDivert: false,
      mix: null,
      notAfter: Date.now() + 10_000,
      ...changes,
    };
  }

  factsOf(legId: string): LegFact[] {
    return this.facts.filter((fact) => fact.legId === legId);
  }

  /** `early_media alerting answered ended`; keys, holds and audio are left out. */
  story(legId: string): string {
    const steps = this.factsOf(legId).flatMap((fact) => {
      if (fact.type === 'progress') return [fact.phase];
      return fact.type === 'answered' || fact.type === 'ended' ? [fact.type] : [];
    });
    return steps.join(' ');
  }

  async heard(legId: string, step: string): Promise<void> {
    await eventually(() => this.story(legId).split(' ').includes(step));
  }

  ended(legId: string): Promise<Ended> {
    return eventually(() => {
      const ended = this.factsOf(legId).find(({ type }) => type === 'ended');
      if (!ended) throw new Error(`${legId} has not ended: ${this.story(legId)}`);
      return ended as Ended;
    });
  }

  /** Asterisk's process is gone, though nobody has stopped it. */
  hasCrashed(): boolean {
    return commandLine(this.asterisk.pid) === '';
  }

  /** The adapters first: whatever lies between them and Asterisk may be closed after that. */
  async close(): Promise<void> {
    for (const telephony of this.#adapters) await telephony.close();
    await this.asterisk.stop();
    this.phones.close();
  }

  #logger() {
    const level = process.env.ASTERISK_LOG;
    const write = (line: string): void => {
      this.log.push(line);
      if (level) process.stderr.write(line);
    };
    return pino({ level: level ?? 'info' }, { write });
  }

  get #account() {
    return { user: ARI_USER, password: this.asterisk.ariPassword, app: 'dialwright' };
  }
}

/** A Stasis application that notes its events, for tests that command Asterisk themselves. */
export class StasisApp {
  readonly events: AriEvent[] = [];
  readonly ari: Ari;
  readonly #app = 'test';

  static async open({ ariUrl, ariPassword }: RunningAsterisk): Promise<StasisApp> {
    const app = new StasisApp(ariUrl, ariPassword);
    await new Promise<void>((up) => {
      app.#up = up;
      app.ari.open();
    });
    return app;
  }

  #up = quiet;

  private constructor(url: string, password: string) {
    const settings = { url, user: ARI_USER, password, app: this.#app };
    this.ari = new Ari(settings, pino({ level: 'silent' }), {
      up: () => this.#up(),
      down: quiet,
      event: (event) => void this.events.push(event),
    });
  }

  /** Calls, as an adapter does: a channel first, which is dialled once it is ours. */
  async dial(endpoint: string, channelId: string): Promise<void> {
    await this.ari.ask('POST /channels/create', { query: { endpoint, app: this.#app, channelId } });
    await this.event('StasisStart', channelId);
    await this.ari.ask('POST /channels/{channelId}/dial', { path: { channelId }, query: { timeout: 30 } });
  }

  /** The events of a type about a channel, so far. */
  eventsOf<T extends AriEvent['type']>(type: T, channelId: string): Extract<AriEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<AriEvent, { type: T }> => {
      const { channel, peer } = event as { channel?: { id: string }; peer?: { id: string } };
      return event.type === type && (channel ?? peer)?.id === channelId;
    });
  }

  event<T extends AriEvent['type']>(type: T, channelId: string): Promise<Extract<AriEvent, { type: T }>> {
    return eventually(() => {
      const [event] = this.eventsOf(type, channelId);
      if (event) return event;
      throw new Error(`no ${type} of ${channelId}`);
    });
  }

  close(): Promise<void> {
    return this.ari.close();
  }
}
