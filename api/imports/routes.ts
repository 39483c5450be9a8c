/** `POST /v1/campaigns/{id}/imports`: a whole list in one request, streamed. */
import type { Request } from 'express';
import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { by, MANAGERS } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { idParams } from '../schemas.ts';
import { listChanged } from '../tell.ts';
import { importList } from './load.ts';
import { type Format, MAX_FILE_BYTES } from './read.ts';

const FORMAT_OF: Readonly<Record<string, Format>> = {
  'text/csv': 'csv',
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
};

/** An upload that stands still this long is ended: it holds a database connection. */
const IDLE_MS = 30_000;

const DESCRIPTION = `The body is \`text/csv\` with a header, \`application/json\` with an array of objects, or
\`application/x-ndjson\` with an object a line; UTF-8, at most 1 GB and 2,000,000 rows. CSV cells are separated by comma,
semicolon or tab.

Columns: \`phone_num\` (required), \`phone_2\`, \`external_id\`, \`zone\` (IANA), \`priority\` (-1000 to 1000, higher
first) and \`var1\` to \`var30\`. National numbers are of the campaign's country. The key of a row is \`external_id\`, else
the number: a contact that is in the list already keeps its id, history and place and takes everything else from the row.

An import is done whole or not at all. A bad row is reported with line, column and reason (the first 1,000) and nothing is
imported, unless \`bad_rows=skip\`. With \`mode=replace\` contacts that are not in the file become disabled. The same
file again changes nothing.`;

const query = z.strictObject({
  mode: z.enum(['add', 'replace']).default('add').describe('`replace`: contacts not in the file become disabled'),
  bad_rows: z.enum(['reject', 'skip']).default('reject').describe('`skip`: import the good rows, report the others'),
});

const count = z.int().min(0);
const answer = z
  .strictObject({
    mode: z.enum(['add', 'replace']),
    rows: count.describe('Rows of the file: added + updated + unchanged + skipped'),
    added: count,
    updated: count,
    unchanged: count,
    skipped: count.describe('Bad rows left out'),
    closed: count.describe('Contacts of the file that are done or disabled; an import does not call them again'),
    disabled: count.describe('Contacts not in the file (`mode=replace`); those in a call when it is over'),
    do_not_call: count.describe('Rows with a number that must not be called; they are in the list, and not dialled'),
    problems: z
      .array(
        z.strictObject({
          field: z.string(),
          reason: z.string(),
          line: z.int().describe('From 1; of a JSON array, which item'),
          column: z.string().nullable(),
        }),
      )
      .describe('Why rows were skipped, the first 1,000'),
  })
  .meta({ id: 'ImportAnswer' });

/** `idleMs`: see {@link IDLE_MS}. */
export function importRoutes(
  deps: Pick<Deps, 'db' | 'workflows' | 'matching' | 'log'>,
  { idleMs = IDLE_MS }: { idleMs?: number } = {},
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
      query,
      consumes: Object.keys(FORMAT_OF),
      response: answer,
      fails: ['CONFLICT', 'IMPORT_RUNNING', 'TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'],
      repeats: 'natural',
      async handle({ params: { id }, query: { mode, bad_rows }, caller, req }) {
        const file = { format: formatOf(req), body: uploaded(req, idleMs) };
        const done = await importList(deps, { campaignId: id, mode, badRows: bad_rows, by: by(caller), ...file });
        await listChanged(deps, id);
        return ok(done);
      },
    }),
  ];
}

function formatOf(req: Request): Format {
  const format = FORMAT_OF[req.is(Object.keys(FORMAT_OF)) || ''];
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = req.headers;
  const [, charset = 'utf-8'] = /charset="?([\w-]+)/i.exec(type) ?? [];
  if (!format) throw unsupported(`send the list as one of ${Object.keys(FORMAT_OF).join(', ')}`);
  if (!/^utf-?8$/i.test(charset)) throw unsupported('save the list as UTF-8');
  if (encoding !== 'identity') throw unsupported('send the list uncompressed');
  if (Number(req.headers['content-length']) > MAX_FILE_BYTES) throw new AppError('TOO_LARGE', 'a list may have 1 GB at most');
  return format;
}

const unsupported = (what: string) => new AppError('UNSUPPORTED_MEDIA_TYPE', what);

/** The body as it arrives. Once it is no more wanted the rest is thrown away, so that the client gets to read the answer. */
async function* uploaded(req: Request, idleMs: number): AsyncGenerator<Buffer> {
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
