/** Who changed what and when (api/audit.ts), for administrators. */
import type { z } from 'zod';
import type { Audit } from '../../prisma/generated/client.ts';
import type { Subject } from '../audit.ts';
import { ADMINS } from '../auth.ts';
import { type Deps, ok, page, readCursor, route, type Route } from '../http.ts';
import { listOf } from '../schemas.ts';
import { auditQuery, auditRow } from '../schemas/audit.ts';

export function auditRoutes({ db }: Deps): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/audit',
      tag: 'Keys',
      summary: 'Who changed what and when, the latest first',
      description:
        'A row for each request that might have changed something, but for those of agents: what they do is in the raw data. ' +
        'Names of fields only, never what was in them.',
      roles: ADMINS,
      query: auditQuery,
      response: listOf(auditRow),
      async handle({ query: { cursor, limit, by, subject, subject_id, from, to } }) {
        const rows = await db.prisma.audit.findMany({
          where: {
            ...(cursor === undefined ? {} : { id: { lt: readCursor(cursor) } }),
            at: { gte: from, lt: to },
            by,
            subject,
            subjectId: subject_id,
          },
          orderBy: { id: 'desc' },
          take: limit + 1,
        });
        return ok(page(rows.map(auditJson), limit));
      },
    }),
  ];
}

function auditJson({ id, at, subject, subjectId, ...row }: Audit): z.input<typeof auditRow> {
  return { ...row, id: String(id), at: at.toISOString(), subject: subject as Subject, subject_id: subjectId };
}
