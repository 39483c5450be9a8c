/** What all open streams of a sort have in common: hints, a slow look of their own, pings, keys revoked, the end. */
import type { Deps } from './http.ts';
import type { Hint } from './listener.ts';
import * as sql from './sql.ts';
import type { EventStream } from './sse.ts';

/** A hint may be lost, and a key be revoked, without being noticed for so long. */
const TICK_MS = 5_000;
const PING_TICKS = 3;

export interface Reader {
  stream: EventStream;
  /** The key with which it was opened, or its ticket was asked for. */
  keyId: number;
}

export interface Streams<R extends Reader> {
  readonly open: ReadonlySet<R>;
  add(reader: R): void;
}

export function createStreams<R extends Reader>(
  { db, listen, log }: Pick<Deps, 'db' | 'listen' | 'log'>,
  on: { hint(agents: Hint): void; tick?(tick: number): void },
): Streams<R> {
  const open = new Set<R>();
  let timer: NodeJS.Timeout | undefined;
  let ticks = 0;
  let isOver = false;

  listen.subscribe({
    hint: (agents) => on.hint(agents),
    keysChanged: endRevoked,
    closed() {
      isOver = true;
      open.forEach(({ stream }) => stream.end());
    },
  });

  function tick(): void {
    ticks++;
    if (ticks % PING_TICKS === 0) open.forEach(({ stream }) => stream.ping());
    endRevoked();
    on.tick?.(ticks);
    on.hint(null);
  }

  function endRevoked(): void {
    if (open.size === 0) return;
    endThoseRevoked().catch((error: unknown) => log.warn({ err: error }, 'keys could not be checked; will be repeated'));
  }

  async function endThoseRevoked(): Promise<void> {
    const { rows } = await db.pool.query<{ id: number }>(sql.revokedKeys([...open].map((reader) => reader.keyId)));
    const revoked = new Set(rows.map((row) => row.id));
    open.forEach(({ keyId, stream }) => revoked.has(keyId) && stream.end());
  }

  return {
    open,
    add(reader) {
      // It comes on a connection that its client has kept, and would hold up the end.
      if (isOver) return reader.stream.end();
      timer ??= setInterval(tick, TICK_MS);
      open.add(reader);
      reader.stream.onClose(() => {
        open.delete(reader);
        if (open.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      });
    },
  };
}
