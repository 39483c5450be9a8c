/** The private Asterisk (dev/asterisk) for tests. Where a host can't have one they are skipped, except in CI. */
import { pino } from 'pino';
import { installAsterisk, NoAsterisk } from '../../dev/asterisk/install.ts';
import { ARI_USER, type AsteriskOptions, type RunningAsterisk, startAsterisk } from '../../dev/asterisk/server.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import { Ari } from '../../telephony/asterisk/ari.ts';
import type { AriEvent } from '../../telephony/asterisk/ari-types.ts';
import { eventually } from './eventually.ts';

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
export async function freshAsterisk(options: Pick<AsteriskOptions, 'carrier' | 'timers' | 'music'>): Promise<RunningAsterisk> {
  const { dataDir, release } = throwAwayDataDir('asterisk');
  const given = { dataDir, log: quiet, anyPorts: true, firstRtpPort: FIRST_RTP_PORT };
  const asterisk = await startAsterisk({ ...given, ...options });
  const stop = async (): Promise<void> => {
    await asterisk.stop();
    await release();
  };
  return { ...asterisk, stop };
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
