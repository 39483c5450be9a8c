/**
 * Hears from PostgreSQL that there is something new to read: one connection of its own a process, made again when it
 * breaks. What it hears is only a hint; readers also look by themselves from time to time.
 */
import pg from 'pg';
import type { Logger } from 'pino';
import { EVENTS_CHANNEL } from '../prisma/events.ts';

/** Agents who have news, or null: anyone may. */
export type Hint = readonly number[] | null;

export interface Listener {
  /** `closed` is called once, when there will be no more hints. */
  subscribe(hint: (agents: Hint) => void, closed: () => void): void;
  close(): Promise<void>;
}

const RECONNECT_MS = 1_000;

export function createListener(url: string, log: Logger): Listener {
  const subscribers: { hint: (agents: Hint) => void; closed: () => void }[] = [];
  const say = (agents: Hint) => subscribers.forEach(({ hint }) => hint(agents));
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closing = false;

  async function connect(): Promise<void> {
    const next = new pg.Client({ connectionString: url, application_name: 'dialwright-listen', keepAlive: true });
    client = next;
    next.on('notification', ({ payload }) => say(payload ? payload.split(',').map(Number) : null));
    next.on('error', () => undefined); // followed by `end`
    next.once('end', again);
    try {
      await next.connect();
      await next.query(`LISTEN ${EVENTS_CHANNEL}`);
      say(null); // something may have been said while nobody listened
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
    subscribe: (hint, closed) => void subscribers.push({ hint, closed }),
    async close() {
      closing = true;
      clearTimeout(timer);
      subscribers.forEach(({ closed }) => closed());
      await client?.end().catch(() => undefined);
    },
  };
}
