/** `/v1/campaigns/{id}/imports`: a whole list in one request, streamed; and how far it is, for others. */
import type { Request } from 'express';
import { AppError } from '../../domain/errors.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { type Deps, ok, page, readIntCursor, route, type Route } from '../http.ts';
import { notFound } from '../problems.ts';
import { idParams, listOf, listQuery } from '../schemas.ts';
import { listChanged } from '../tell.ts';
import { createTurns, type Turns } from '../turns.ts';
import { Columns } from './columns.ts';
import { importList } from './load.ts';
import { type Format, MAX_FILE_BYTES } from './read.ts';
import { listImports } from './record.ts';
import { importAnswer, importQuery, importState } from './schemas.ts';

const FORMAT_OF: Readonly<Record<string, Format>> = {
  'text/csv': 'csv',
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
};

/** An upload that stands still this long is ended: it holds a database connection. */
export const IDLE_MS = 30_000;

const DESCRIPTION = `The body is \`text/csv\` with a header, \`application/json\` with an array of objects, or
\`application/x-ndjson\` with an object a line; UTF-8, at most 1 GB and 2,000,000 rows. CSV cells are separated by comma,
semicolon or tab.

Columns: \`phone_num\` (required), \`phone_2\`, \`external_id\`, \`zone\` (IANA), \`priority\` (-1000 to 1000, higher
first), \`earliest\` and \`latest\` (HH:MM) and \`var1\` to \`var30\`. A file with other names says which is which by
\`map\` and \`ignore\`; a column that nobody knows is an error. National numbers are of the campaign's country. The key of
a row is \`external_id\`, else the number: a contact that is in the list already keeps its id, history and place and takes
everything else from the row.

An import is done whole or not at all. A bad row is reported with line, column and reason (the first 1,000) and nothing is
imported, unless \`bad_rows=skip\`. With \`mode=replace\` contacts that are not in the file become disabled. The same
file again changes nothing. With \`dryRun=true\` nothing is written, and the answer is the one that the import would give.`;

/** Each upload holds a database connection from its first byte to its last: the others are for what is urgent. */
const UPLOADS_AT_ONCE = 6;
export const uploadTurns = (): Turns => createTurns(UPLOADS_AT_ONCE, 0, 'too many uploads are under way');

/** `idleMs`: see {@link IDLE_MS}. */
export function importRoutes(
  deps: Pick<Deps, 'db' | 'workflows' | 'matching' | 'log'>,
  { idleMs = IDLE_MS, inTurn = uploadTurns() }: { idleMs?: number; inTurn?: Turns } = {},
): Route[] {
  return [
    route({
      method: 'post',
      path: '/v1/campaigns/{id}/imports',
      tag: 'Contacts',
      summary: 'Import a list',
      description: DESCRIPTION,
      roles: MANAGERS,
      params: idParams,
      query: importQuery,
      consumes: Object.keys(FORMAT_OF),
      response: importAnswer,
      fails: ['CONFLICT', 'IMPORT_RUNNING', 'TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
      repeats: 'natural',
      whenLate: 'waited_for',
      async handle({ params: { id }, query: { mode, bad_rows, dryRun, ...mapping }, caller, req }) {
        const file = { format: formatOf(req), columns: new Columns(mapping), body: uploaded(req, idleMs) };
        const how = { mode, badRows: bad_rows, dryRun };
        const done = await inTurn(() => importList(deps, { campaignId: id, by: by(caller), ...how, ...file }));
        if (!dryRun) await listChanged(deps, id);
        return ok(done);
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/imports',
      tag: 'Contacts',
      summary: 'List the imports of a campaign, the latest first: how far the running one is, and what came of the others',
      roles: READERS,
      params: idParams,
      query: listQuery,
      response: listOf(importState),
      async handle({ params: { id }, query: { cursor, limit } }) {
        const items = await listImports(deps.db.pool, id, readIntCursor(cursor), limit + 1);
        if (items.length === 0 && !(await deps.db.prisma.campaign.findUnique({ where: { id }, select: { id: true } }))) {
          throw notFound('campaign');
        }
        return ok(page(items, limit));
      },
    }),
  ];
}

const formatOf = (req: Request): Format => FORMAT_OF[typeOf(req, Object.keys(FORMAT_OF))]!;

/** Which of these types an upload is of; throws UNSUPPORTED_MEDIA_TYPE and TOO_LARGE. */
export function typeOf(req: Request, types: string[]): string {
  const found = req.is(types);
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = req.headers;
  const [, charset = 'utf-8'] = /charset="?([\w-]+)/i.exec(type) ?? [];
  if (!found) throw unsupported(`send the list as ${types.length > 1 ? 'one of ' : ''}${types.join(', ')}`);
  if (!/^utf-?8$/i.test(charset)) throw unsupported('save the list as UTF-8');
  if (encoding !== 'identity') throw unsupported('send the list uncompressed');
  if (Number(req.headers['content-length']) > MAX_FILE_BYTES) throw new AppError('TOO_LARGE', 'a list may have 1 GB at most');
  return found;
}

const unsupported = (what: string) => new AppError('UNSUPPORTED_MEDIA_TYPE', what);

/** The body as it arrives. Once it is no more wanted the rest is thrown away, so that the client gets to read the answer. */
export async function* uploaded(req: Request, idleMs: number): AsyncGenerator<Buffer> {
  const idle = setTimeout(() => req.destroy(new Error('the upload stands still')), idleMs);
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      idle.refresh();
      yield chunk as Buffer;
    }
  } catch {
    throw new AppError('INVALID', 'the upload broke off; nothing was imported');
  } finally {
    clearTimeout(idle);
    req.resume();
  }
}
