/** Rows as CSV, for those who ask for it. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { stringify } from 'csv-stringify';
import type { Request, Response } from 'express';

export function wantsCsv(req: Request, format: 'json' | 'csv' | undefined): boolean {
  if (format) return format === 'csv';
  return req.accepts(['application/json', 'text/csv']) === 'text/csv';
}

/** Sends the rows as they come, with a header of these columns, to be saved as `<name>.csv`. */
export async function sendCsv(
  res: Response,
  name: string,
  columns: readonly string[],
  rows: AsyncIterable<object>,
): Promise<'sent'> {
  res.status(200).type('text/csv').set('Content-Disposition', `attachment; filename="${name}.csv"`);
  const cast = { date: (at: Date) => at.toISOString(), boolean: (value: boolean) => String(value) };
  const csv = stringify({ header: true, columns, cast });
  // A client that goes away in the middle is no error.
  await pipeline(Readable.from(rows), csv, res).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
  return 'sent';
}
