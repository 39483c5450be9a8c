/**
 * Hears from PostgreSQL that there is something new to read: one connection of its own a process, made again when it
 * breaks. What it hears is only a hint; readers also look by themselves from time to time.
 */
import pg from 'pg';
import type { Logger } from 'pino';
import { EVENTS_CHANNEL } from '../prisma/events.ts';
import { KEYS_CHANNEL } from './keys-sql.ts';

/** Agents who have news, or null: anyone may. */
export type Hint = readonly number[] | null;

export interface Subscriber {
  hint(agents: Hint): void;
  /** A key may have been revoked. */
  keysChanged(): void;
  /** Called once, when there will be no more hints. */
  closed(): void;
}

export interface Listener {
  subscribe(subscriber: Subscriber): void;
  close(): Promise<void>;
}

const RECONNECT_MS = 1_000;

export function createListener(url: string, log: Logger): Listener {
  const subscribers: Subscriber[] = [];
  const say = (agents: Hint) => subscribers.forEach((subscriber) => subscriber.hint(agents));
  const sayKeysChanged = () => subscribers.forEach((subscriber) => subscriber.keysChanged());
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing = false;

  async function connect(): Promise<void> {
    const next = new pg.Client({ connectionString: url, application_name: 'dialwright-listen', keepAlive: true });
    client = next;
    next.on('notification', ({ channel, payload }) => {
      if (channel === KEYS_CHANNEL) sayKeysChanged();
      else say(payload ? payload.split(',').map(Number) : null);
    });
    next.on('error', () => undefined); // followed by `end`
    next.once('end', again);
    try {
      await next.connect();
      await next.query(`LISTEN ${EVENTS_CHANNEL}; LISTEN ${KEYS_CHANNEL}`);
      // Something may have been said while nobody listened.
      say(null);
      sayKeysChanged();
    } catch (error) {
      log.warn({ err: error }, 'cannot listen for events; trying again');
      await next.end().catch(() => undefined);
      again();
    }
  }

  function again(): void {
    if (closing) return;
    clearTimeout(timer);
    timer = setTimeout(() => void connect(), RECONNECT_MS);
  }

  void connect();
  return {
    subscribe: (subscriber) => void subscribers.push(subscriber),
    async close() {
      closing = true;
      clearTimeout(timer);
      subscribers.forEach((subscriber) => subscriber.closed());
      await client?.end().catch(() => undefined);
    },
  };
}
