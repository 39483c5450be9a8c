import type { Request } from 'express';
import { lastPosition } from '../prisma/event-rows.ts';
import type { Db } from '../prisma/tx.ts';
import { invalid } from './problems.ts';
import { position } from './schemas.ts';

/** Where a stream goes on: the header that browsers send when they come back, else the query's `after`. */
export function resumeAt(req: Request, after: string | undefined): string | undefined {
  const header = req.get('Last-Event-ID');
  if (header === undefined || header === '') return after;
  if (!position.safeParse(header).success) throw invalid('Last-Event-ID', 'is not an id of this stream: a whole number');
  return header;
}

/** A position in the future is one of another database: who read on from it would miss what comes before. */
export async function mustHaveBeenReached({ pool }: Db, field: string, after: string): Promise<string> {
  const last = await lastPosition(pool);
  if (BigInt(after) > BigInt(last)) throw invalid(field, `is ahead of the last position, which is ${last}`);
  return last;
}
