/** Answers as CSV, written in pieces. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Options, stringify } from 'csv-stringify';
import type { Request, Response } from 'express';

export function wantsCsv(req: Request, format: 'json' | 'csv' | undefined): boolean {
  if (format) return format === 'csv';
  return req.accepts(['application/json', 'text/csv']) === 'text/csv';
}

/** How values are written. */
export const CAST = { date: (at: Date) => at.toISOString(), boolean: (value: boolean) => String(value) };

/** `file`: the name under which browsers save it. */
export async function sendCsv(
  res: Response,
  file: string,
  columns: string[],
  rows: Iterable<object> | AsyncIterable<object>,
  options: Options = {},
): Promise<'sent'> {
  res.status(200).type('text/csv').set('Content-Disposition', `attachment; filename="${file}"`);
  const csv = stringify({ header: true, columns, cast: CAST, ...options });
  // A client that goes away in the middle is no error.
  await pipeline(Readable.from(rows), csv, res).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
  return 'sent';
}
