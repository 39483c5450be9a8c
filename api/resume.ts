import type { Request } from 'express';
import { invalid } from './problems.ts';
import { position } from './schemas.ts';

/** Where a stream goes on: the header that browsers send when they come back, else the query's `after`. */
export function resumeAt(req: Request, after: string | undefined): string | undefined {
  const header = req.get('Last-Event-ID');
  if (header === undefined || header === '') return after;
  if (!position.safeParse(header).success) throw invalid('Last-Event-ID', 'is not an id of this stream: a whole number');
  return header;
}
