/** How legs and mixes are called at Asterisk: by names that only this installation's application has. */
import { randomUUID } from 'node:crypto';
import type { EndWhy } from '../telephony.ts';
import type { Plan } from './leg.ts';

/** Variables of a leg's channel; dialwright.conf reads the first two. */
export const VARIABLE = {
  /** Its own id. */
  leg: 'DIALWRIGHT_LEG',
  /** Which channels end with it, and why: {@link bond}. */
  bond: 'DIALWRIGHT_BOND',
  /** {@link Plan} as JSON. */
  plan: 'DIALWRIGHT_PLAN',
  /** Since when it alerts, epoch ms. */
  alerting: 'DIALWRIGHT_ALERTING',
  /** Keys of the requests that have sent digits, `&` between them. */
  keys: 'DIALWRIGHT_KEYS',
  /** Which section of indications.conf its tones are from; empty: the default one. */
  tones: 'CHANNEL(tonezone)',
  /** Asterisk hangs the channel up after so many seconds. */
  limit: 'TIMEOUT(absolute)',
} as const;

export class Names {
  readonly #prefix: string;

  /** `app`: name of the Stasis application. */
  constructor(app: string) {
    this.#prefix = `${app}.`;
  }

  /** Asterisk refuses one that another channel's begins with; those of domain/ids.ts never do. */
  channel(legId: string): string {
    return this.#prefix + legId;
  }

  bridge(mix: string): string {
    return this.#prefix + mix;
  }

  /** The leg of a channel, or the mix of a bridge; null if it is none of ours. */
  own(id: string): string | null {
    return id.startsWith(this.#prefix) ? id.slice(this.#prefix.length) : null;
  }

  /** A channel that calls nobody, to look at Asterisk itself. */
  probe(): string {
    return `probe-${this.#prefix}${randomUUID()}`;
  }

  isProbe(id: string): boolean {
    return id.startsWith(`probe-${this.#prefix}`);
  }

  /** The global variable in which dialwright.conf says how a leg ended. */
  record(legId: string): string {
    return `DIALWRIGHT_${this.channel(legId)}`;
  }

  /** The global variable that holds the name of a mix's recording, for a worker that takes it over. */
  recording(mix: string): string {
    return `DIALWRIGHT_RECORDING_${this.bridge(mix)}`;
  }
}

/** Names of the channels that are to end with another one, for `why`. */
export const bond = (why: EndWhy, channels: string[]): string => (channels.length > 0 ? [why, ...channels].join('&') : '');

/** The plan that a channel carries; null if it carries none, or one that can't be read. */
export function readPlan(text: string): Plan | null {
  try {
    const { party, setupMs, ringMs } = JSON.parse(text) as Plan;
    return { party, setupMs, ringMs };
  } catch {
    return null;
  }
}
