/** The rows for readers: raw call data, agent events, dispositions and wrap-ups, by position. */
import type { Response } from 'express';
import { type EventRow, readEvents } from '../../prisma/event-rows.ts';
import type { Db } from '../../prisma/tx.ts';
import { READERS } from '../auth.ts';
import { sendCsv, wantsCsv } from '../csv.ts';
import type { EventStreams } from '../event-streams.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { invalid } from '../problems.ts';
import { mustHaveBeenReached, resumeAt } from '../resume.ts';
import { CALL_EVENT_COLUMNS, type EventKind, eventPage, eventsQuery, eventStreamQuery } from '../schemas.ts';
import { openEventStream } from '../sse.ts';

const TAG = 'Raw data';
const DEFAULT_LIMIT = 100;
const CSV_PAGE = 1000;

export function callEventRoutes({ db }: Deps, streams: EventStreams): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/call-events',
      tag: TAG,
      summary: 'Read on from a position: call events, agent events, dispositions, wrap-ups',
      description:
        'Rows are never changed, and come in the order of their positions. Ask again with `after` = `next`: none is ' +
        'missed and none comes twice. As text/csv: call events only, with exactly their columns, and without `limit` all ' +
        'there are; the position of the last row is where to go on.',
      roles: READERS,
      query: eventsQuery,
      response: eventPage,
      produces: ['text/csv'],
      whenLate: 'waited_for',
      async handle({ query: { after, limit, kind, format }, req, res }) {
        await mustHaveBeenReached(db, 'after', after);
        if (wantsCsv(req, format)) return sendEvents(db, res, after, limit, kind);
        const { items, next } = await readEvents(db, kind, after, limit ?? DEFAULT_LIMIT);
        return ok({ items, next });
      },
    }),
    route({
      method: 'get',
      path: '/v1/call-events/stream',
      tag: TAG,
      summary: 'The same as a stream, as it happens',
      description:
        'Server-Sent Events: `call`, `agent`, `disposition`, `wrap_up`, each with its position as id. Begins after ' +
        'Last-Event-ID or `after`; without either, with what happens from now on.',
      roles: READERS,
      query: eventStreamQuery,
      statuses: [200],
      produces: ['text/event-stream'],
      async handle({ query: { after, kind }, caller, req, res }) {
        const from = resumeAt(req, after);
        const last = await mustHaveBeenReached(db, 'after', from ?? '0');
        streams.open(caller.keyId, kind, from ?? last, openEventStream(req, res));
        return 'sent';
      },
    }),
  ];
}

async function sendEvents(
  db: Db,
  res: Response,
  after: string,
  limit: number | undefined,
  kinds: readonly EventKind[],
): Promise<'sent'> {
  if (!kinds.includes('call')) throw invalid('kind', 'must be call for text/csv: other kinds have other columns');
  const first = await readEvents(db, ['call'], after, Math.min(limit ?? CSV_PAGE, CSV_PAGE));
  const rows = async function* (): AsyncGenerator<EventRow> {
    let page = first;
    yield* page.items;
    // A limit is never more than one page.
    while (page.more && limit === undefined) {
      page = await readEvents(db, ['call'], page.next, CSV_PAGE);
      yield* page.items;
    }
  };
  return sendCsv(res, 'call-events.csv', CALL_EVENT_COLUMNS, rows());
}
