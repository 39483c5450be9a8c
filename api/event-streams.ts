/** Streams of the rows for readers: each from its own position, page by page, at the pace at which it is read. */
import { type EventKind, readEvents } from '../prisma/event-rows.ts';
import type { Deps } from './http.ts';
import type { EventStream } from './sse.ts';
import { createStreams } from './streams.ts';

const PAGE = 500;

interface Reader {
  kinds: readonly EventKind[];
  stream: EventStream;
  keyId: number;
  position: string;
  reading: boolean;
  /** There was a hint while it was reading. */
  again: boolean;
}

export interface EventStreams {
  open(keyId: number, kinds: readonly EventKind[], after: string, stream: EventStream): void;
}

export function createEventStreams(deps: Pick<Deps, 'db' | 'listen' | 'log'>): EventStreams {
  const { db, log } = deps;
  const streams = createStreams<Reader>(deps, { hint: () => streams.open.forEach((reader) => void read(reader)) });

  async function read(reader: Reader): Promise<void> {
    reader.again = true;
    if (reader.reading) return;
    reader.reading = true;
    try {
      while (reader.again && !reader.stream.closed) {
        reader.again = false;
        await readToEnd(reader);
      }
    } catch (error) {
      log.warn({ err: error }, 'events could not be read; the next look repeats it');
    } finally {
      reader.reading = false;
    }
  }

  async function readToEnd(reader: Reader): Promise<void> {
    for (let more = true; more && !reader.stream.closed; ) {
      const page = await readEvents(db, reader.kinds, reader.position, PAGE);
      reader.stream.send(...page.items.map((item) => ({ id: item.position, event: item.kind, data: item })));
      reader.position = page.next;
      more = page.more;
      await reader.stream.drained();
    }
  }

  return {
    open(keyId, kinds, after, stream) {
      const reader: Reader = { keyId, kinds, stream, position: after, reading: false, again: false };
      streams.add(reader);
      void read(reader);
    },
  };
}
