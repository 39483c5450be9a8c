/**
 * Legal hours in the database, as SQL: one row a country, `*` for those without. Each change is one statement that writes
 * its own history, so there is none without the other; a repeat changes nothing and leaves no trace.
 */
import { type LegalHours, WEEKDAYS } from '../domain/hours.ts';
import type { Sql } from '../prisma/tx.ts';

/** Every country without hours of its own. */
export const ANY_COUNTRY = '*';

export interface LegalHoursRow {
  /** ISO 3166-1 alpha-2, or `*`. */
  country: string;
  /** As stored: `openWindow` reads it with care. */
  hours: LegalHours;
  updated_by: string;
  updated_at: Date;
}

/**
 * Those that hold for a country; of a number that has none (`null`), those of `*`. Give `hours` to `openWindow` as it is:
 * without a row, too (undefined), nobody is called.
 */
export const legalHoursOf = (country: string | null): Sql => ({
  name: 'matching_legal_hours_of',
  text: `SELECT country, hours, updated_by, updated_at FROM legal_hours WHERE country IN ($1, '*')
          ORDER BY country = '*' LIMIT 1`,
  values: [country ?? ANY_COUNTRY],
});

/** All rows, `*` first: a few hundred at most. */
export const allLegalHours: Sql = {
  name: 'matching_all_legal_hours',
  text: `SELECT country, hours, updated_by, updated_at FROM legal_hours ORDER BY country <> '*', country`,
  values: [],
};

/** 1 row when that is a change. */
export const putLegalHours = (now: Date, country: string, hours: LegalHours, by: string): Sql => ({
  text: `WITH put AS (
           INSERT INTO legal_hours AS l (country, hours, updated_by, updated_at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (country) DO UPDATE SET hours = $2, updated_by = $3, updated_at = $4 WHERE l.hours <> $2
           RETURNING *
         )
         INSERT INTO legal_hours_change (country, hours, changed_by, changed_at) SELECT * FROM put`,
  values: [country, JSON.stringify(hours), by, now],
});

/** Whole days: for phones that nobody minds ringing at night, since they are simulated. */
export const ANY_TIME: LegalHours = {
  periods: [{ days: [...WEEKDAYS], from: '00:00', to: '24:00' }],
  holidays: [],
};
/** As in the migration that made the table. */
const DEFAULT: LegalHours = { ...ANY_TIME, periods: [{ days: [...WEEKDAYS], from: '08:00', to: '21:00' }] };
const DEMO = 'demo';

/** No law holds anybody back, at any time of day: for simulated phones. */
export const widenHours = (now: Date, by: string): Sql => putLegalHours(now, ANY_COUNTRY, ANY_TIME, by);

/** Before a demo on simulated phones, which is looked at at any time of day. */
export const widenForDemo = (now: Date): Sql => widenHours(now, DEMO);

/** Before real phones: hours that only a demo has widened are the default again. 1 row if so. */
export const narrowAfterDemo = (now: Date): Sql => {
  const { text, values } = putLegalHours(now, ANY_COUNTRY, DEFAULT, 'system');
  return { text: text.replace('WHERE l.hours <> $2', `WHERE l.updated_by = '${DEMO}'`), values };
};

/** 1 row when it had some. */
export const removeLegalHours = (now: Date, country: string, by: string): Sql => ({
  text: `WITH gone AS (DELETE FROM legal_hours WHERE country = $1 RETURNING country)
         INSERT INTO legal_hours_change (country, changed_by, changed_at) SELECT country, $2, $3 FROM gone`,
  values: [country, by, now],
});
