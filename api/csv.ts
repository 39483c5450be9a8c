/** Answers as CSV, written in pieces. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { stringify } from 'csv-stringify';
import type { Request, Response } from 'express';

export function wantsCsv(req: Request, format: 'json' | 'csv' | undefined): boolean {
  if (format) return format === 'csv';
  return req.accepts(['application/json', 'text/csv']) === 'text/csv';
}

/**
 * What a spreadsheet takes for a formula (OWASP, "CSV Injection"), also by the wide signs of Asian keyboards; and after what cuts
 * cells in the spreadsheets of other countries. Quotes may vanish with that cut, so that what is behind them begins the cell.
 */
const FORMULA = /(?<=^|[;\t\r\n])(?="*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])/g;
/** A number of E.164 is read by other programs, and comes to no more than itself in a spreadsheet: it stays as it is. */
const NUMBER = /^\+\d{1,15}$/;

const noFormula = (text: string): string => (NUMBER.test(text) ? text : text.replace(FORMULA, "'"));

/** How values are written: every text goes through the one that lets no formula out. */
const CAST = { date: (at: Date) => at.toISOString(), boolean: (value: boolean) => String(value), string: noFormula };

/** `file`: the name under which browsers save it. */
export async function sendCsv(
  res: Response,
  file: string,
  columns: string[],
  rows: Iterable<object> | AsyncIterable<object>,
): Promise<'sent'> {
  res.status(200).type('text/csv').set('Content-Disposition', `attachment; filename="${file}"`);
  const csv = stringify({ header: true, columns, cast: CAST });
  // A client that goes away in the middle is no error.
  await pipeline(Readable.from(rows), csv, res).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
  });
  return 'sent';
}
