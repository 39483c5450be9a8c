/** What goes in and out of the routes of legal hours. */
import { z } from 'zod';
import { legalHoursSchema } from '../../domain/hours.ts';
import { id, listOf, time } from '../schemas.ts';

const country = z.string().describe('ISO 3166-1 alpha-2, or `*`: every country without hours of its own').meta({ examples: ['NO'] });

export const countryParams = z.object({ country });

export const legalHoursPut = legalHoursSchema.meta({ id: 'LegalHoursPut' });

export const legalHours = z
  .strictObject({
    country,
    ...legalHoursSchema.shape,
    updated_by: z.string().describe('`key:3`, an API key, or `system`'),
    updated_at: time,
  })
  .meta({ id: 'LegalHours' });
export type LegalHoursJson = z.input<typeof legalHours>;
export const legalHoursList = listOf(legalHours);

export const legalHoursChange = z
  .strictObject({
    id,
    country,
    hours: legalHoursSchema.nullable().describe('As they are from then on; null: none of its own any more'),
    changed_by: z.string(),
    changed_at: time,
  })
  .meta({ id: 'LegalHoursChange' });
