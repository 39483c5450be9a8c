/** The do-not-call list: read, add, take off, and files of numbers (docs/domain.md, "Do-not-call"). */
import type { Response } from 'express';
import type { z } from 'zod';
import { listNumbers } from '../../activities/do-not-call.ts';
import { removeNumber } from '../../activities/do-not-call-sql.ts';
import { readListed } from '../../domain/do-not-call.ts';
import { lockNumbers } from '../../matching/sql.ts';
import { inTx } from '../../prisma/tx.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { sendCsv, wantsCsv } from '../csv.ts';
import { created, type Deps, noContent, ok, page, readCursor, route, type Route } from '../http.ts';
import { IDLE_MS, typeOf, uploaded } from '../imports/routes.ts';
import { invalid, notFound } from '../problems.ts';
import {
  countryQuery,
  listing,
  LISTING_COLUMNS,
  listings,
  listingsQuery,
  newListing,
  numberHistory,
  numberParams,
  numbersImportAnswer,
  numbersImportQuery,
  removalQuery,
} from '../schemas/do-not-call.ts';
import type { Turns } from '../turns.ts';
import { endCallsTo, endContactsOf } from './end.ts';
import { importNumbers } from './load.ts';
import * as sql from './sql.ts';

const TAG = 'Do-not-call';
const DEFAULT_LIMIT = 100;
const CSV_PAGE = 1000;
const HISTORY_SHOWN = 1000;

const IMPORT_DESCRIPTION = `The body is \`text/csv\` with a header: \`number\` (required) and \`comment\`; UTF-8, at most 1,000,000
numbers. National numbers are read in \`country\`, if one is given. A number that is listed already stays as it is.

It is done whole or not at all. A bad row is reported with line, column and reason (the first 1,000) and nothing is listed,
unless \`bad_rows=skip\`. When the answer comes none of the numbers is dialled any more and calls under way that were not
answered have ended; contacts that wait are ended within seconds, in pages. The same file again changes nothing.`;

export function doNotCallRoutes(deps: Deps, inTurn: Turns): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'get',
      path: '/v1/do-not-call',
      tag: TAG,
      summary: 'List the numbers that must not be called',
      description: 'As text/csv: all there are, unless `limit` is given.',
      roles: READERS,
      query: listingsQuery,
      response: listings,
      produces: ['text/csv'],
      whenLate: 'waited_for',
      async handle({ query: { cursor, limit, since, format, prefix }, req, res }) {
        const filter = { ...(prefix !== undefined && { prefix }), ...(since !== undefined && { since: new Date(since) }) };
        const after = `+${readCursor(cursor)}`;
        const read = async (from: string, most: number) =>
          (await db.pool.query<sql.ListingRow>(sql.listListings(from, most, filter))).rows;
        if (wantsCsv(req, format)) return sendListings(res, read, after, limit);
        const most = limit ?? DEFAULT_LIMIT;
        // The digits of the last number are where the next page begins.
        const rows = (await read(after, most + 1)).map((row) => ({ ...listingJson(row), id: row.number.slice(1) }));
        const { items, next } = page(rows, most);
        return ok({ items: items.map(({ id: _id, ...item }) => item), next });
      },
    }),
    route({
      method: 'get',
      path: '/v1/do-not-call/{number}',
      tag: TAG,
      summary: 'Read what has happened to a number: who added it and took it off, when and why',
      roles: READERS,
      params: numberParams,
      query: countryQuery,
      response: numberHistory,
      async handle({ params, query }) {
        const number = readNumber(params.number, query.country);
        const { rows } = await db.pool.query<sql.HistoryRow>(sql.historyOf(number, HISTORY_SHOWN));
        if (rows.length === 0) throw notFound('number on the do-not-call list, now or before');
        const history = rows.map((row) => ({ ...row, at: row.at.toISOString() }));
        return ok({ number, listed: rows[0]!.action === 'added', history });
      },
    }),
    route({
      method: 'post',
      path: '/v1/do-not-call/import',
      tag: TAG,
      summary: 'List a file of numbers',
      description: IMPORT_DESCRIPTION,
      roles: MANAGERS,
      query: numbersImportQuery,
      consumes: ['text/csv'],
      response: numbersImportAnswer,
      fails: ['TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
      repeats: 'natural',
      whenLate: 'waited_for',
      async handle({ query: { bad_rows: badRows, comment = null, ...query }, caller, req }) {
        typeOf(req, ['text/csv']);
        const file = { ...query, comment, badRows, by: by(caller), body: uploaded(req, IDLE_MS) };
        const done = await inTurn(() => importNumbers(db, file));
        if (!query.dryRun) {
          await endCallsTo(deps, null);
          await db.pool.query(sql.analyzeList);
        }
        return ok(done);
      },
    }),
    ...singleRoutes(deps),
  ];
}

/** Add, take off. */
function singleRoutes(deps: Deps): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'put',
      path: '/v1/do-not-call/{number}',
      tag: TAG,
      summary: 'List a number: its contacts are not called any more, in no campaign and on none of their numbers',
      description:
        'When the answer comes nobody with this number is offered or dialled any more, and calls that were not answered ' +
        'have ended; a talk is not cut. A number that is listed already stays as it is.',
      roles: MANAGERS,
      params: numberParams,
      query: countryQuery,
      body: newListing,
      response: listing,
      statuses: [200, 201],
      whenLate: 'carried_out',
      async handle({ params, query, body: { comment }, caller }) {
        const number = readNumber(params.number, query.country);
        const { row, isNew } = await inTx(db, async (tx) => {
          const added = await listNumbers(tx, [number], { source: 'api', by: by(caller), comment, contactId: null });
          return { row: (await tx.row<sql.ListingRow>(sql.findListing(number)))!, isNew: added > 0 };
        });
        // A repeat as well: the first try may not have come so far.
        await endContactsOf(deps, [number]);
        return isNew ? created(listingJson(row), `/v1/do-not-call/${encodeURIComponent(number)}`) : ok(listingJson(row));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/do-not-call/{number}',
      tag: TAG,
      summary: 'Take a number off the list; contacts that it has disabled stay so until they are enabled',
      roles: MANAGERS,
      params: numberParams,
      query: removalQuery,
      async handle({ params, query, caller }) {
        const number = readNumber(params.number, query.country);
        const removed = await inTx(db, async (tx) => {
          await tx.run(lockNumbers([number]));
          return tx.run(removeNumber(tx.now, number, by(caller), query.comment));
        });
        if (removed === 0) throw notFound('number on the do-not-call list');
        return noContent;
      },
    }),
  ];
}

function readNumber(written: string, country: string | undefined): string {
  const read = readListed(written, country);
  if ('reason' in read) throw invalid('number', read.reason);
  return read.e164;
}

const listingJson = (row: sql.ListingRow): z.input<typeof listing> => ({ ...row, added_at: row.added_at.toISOString() });

async function sendListings(
  res: Response,
  read: (after: string, most: number) => Promise<sql.ListingRow[]>,
  after: string,
  limit: number | undefined,
): Promise<'sent'> {
  const first = await read(after, limit ?? CSV_PAGE);
  const rows = async function* (): AsyncGenerator<sql.ListingRow> {
    let rest = first;
    yield* rest;
    // A limit is never more than one page.
    while (rest.length === CSV_PAGE && limit === undefined) {
      rest = await read(rest.at(-1)!.number, CSV_PAGE);
      yield* rest;
    }
  };
  return sendCsv(res, 'do-not-call.csv', [...LISTING_COLUMNS], rows());
}
