/** Legal hours: when people may be called, by country; the operator answers for what is written here. */
import { isSupportedCountry } from 'libphonenumber-js/max';
import { AppError } from '../../domain/errors.ts';
import type { LegalHours } from '../../domain/hours.ts';
import {
  allLegalHours,
  ANY_COUNTRY,
  legalHoursOf,
  type LegalHoursRow,
  putLegalHours,
  removeLegalHours,
} from '../../matching/legal-hours.ts';
import type { LegalHoursChange } from '../../prisma/generated/client.ts';
import { closeLegalWindows, lockLegalHours } from '../../matching/hours-sql.ts';
import { renewWindows } from '../../matching/hours.ts';
import { inTx } from '../../prisma/tx.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { type Deps, noContent, ok, page, readCursor, route, type Route } from '../http.ts';
import { notFound } from '../problems.ts';
import { listOf, listQuery } from '../schemas.ts';
import {
  countryParams,
  legalHours,
  legalHoursChange,
  type LegalHoursJson,
  legalHoursList,
  legalHoursPut,
} from '../schemas/legal-hours.ts';

const TAG = 'Legal hours';

export function legalHoursRoutes({ db }: Deps): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/legal-hours',
      tag: TAG,
      summary: 'All legal hours; `*` first, for countries without their own',
      roles: READERS,
      response: legalHoursList,
      async handle() {
        const { rows } = await db.pool.query<LegalHoursRow>(allLegalHours);
        return ok({ items: rows.map(legalHoursJson), next: null });
      },
    }),
    route({
      method: 'put',
      path: '/v1/legal-hours/{country}',
      tag: TAG,
      summary: 'Set the legal hours of a country, as a whole',
      description: 'They hold for what is offered and dialled from then on. What the law allows is for you to know.',
      roles: MANAGERS,
      params: countryParams,
      body: legalHoursPut,
      response: legalHours,
      async handle({ params: { country }, body, caller }) {
        mustBeCountry(country);
        await inTx(db, async (tx) => {
          await tx.run(lockLegalHours);
          await tx.run(putLegalHours(tx.now, country, body, by(caller)));
          await tx.run(closeLegalWindows(tx.now, country));
        });
        await renewWindows(db);
        const { rows } = await db.pool.query<LegalHoursRow>(legalHoursOf(country));
        return ok(legalHoursJson(rows[0]!));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/legal-hours/{country}',
      tag: TAG,
      summary: 'Take the hours of a country away: those of `*` hold for it',
      roles: MANAGERS,
      params: countryParams,
      fails: ['CONFLICT'],
      async handle({ params: { country }, caller }) {
        mustBeCountry(country);
        if (country === ANY_COUNTRY) {
          throw new AppError('CONFLICT', 'without the hours of * nobody could be called; put others in their place');
        }
        const removed = await inTx(db, async (tx) => {
          await tx.run(lockLegalHours);
          await tx.run(closeLegalWindows(tx.now, country));
          return tx.run(removeLegalHours(tx.now, country, by(caller)));
        });
        await renewWindows(db);
        const hadSome = removed === 1 || (await db.prisma.legalHoursChange.findFirst({ where: { country } }));
        if (!hadSome) throw new AppError('NOT_FOUND', `${country} has no legal hours of its own`);
        return noContent;
      },
    }),
    route({
      method: 'get',
      path: '/v1/legal-hours/{country}/changes',
      tag: TAG,
      summary: 'Who changed the legal hours of a country, and when',
      roles: READERS,
      params: countryParams,
      query: listQuery,
      response: listOf(legalHoursChange),
      async handle({ params: { country }, query: { cursor, limit } }) {
        mustBeCountry(country);
        const where = { country, id: { gt: readCursor(cursor) } };
        const rows = await db.prisma.legalHoursChange.findMany({ where, orderBy: { id: 'asc' }, take: limit + 1 });
        return ok(page(rows.map(changeJson), limit));
      },
    }),
  ];
}

function mustBeCountry(country: string): void {
  if (country === ANY_COUNTRY || isSupportedCountry(country)) return;
  throw notFound('country: give two capital letters of ISO 3166 such as NO, or * for all without hours of their own');
}

const legalHoursJson = ({ hours, updated_at, ...row }: LegalHoursRow): LegalHoursJson => ({
  ...row,
  ...hours,
  updated_at: updated_at.toISOString(),
});

function changeJson(row: LegalHoursChange) {
  return {
    id: String(row.id),
    country: row.country,
    hours: row.hours as LegalHours | null,
    changed_by: row.changedBy,
    changed_at: row.changedAt.toISOString(),
  };
}
