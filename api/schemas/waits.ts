/** What goes in and out where contacts wait: reschedules, and the check of a list. */
import { z } from 'zod';
import { CAMPAIGN_STATUSES, CONTACT_STATES } from '../../domain/states.ts';
import { id, intId, listQuery, time } from '../schemas.ts';

const future = time.transform((text) => new Date(text));

export const newReschedule = z
  .strictObject({
    at: future.describe('When to call back; within the legal hours of the contact, not necessarily those of the campaign'),
    agent_id: intId.nullable().default(null).describe('The agent who is to call back; null: anyone'),
  })
  .meta({ id: 'NewReschedule' });

export const rescheduleQuery = listQuery.extend({ agent_id: intId.optional().describe('Promised by this agent') });

export const reschedule = z
  .strictObject({
    id: id.describe('Of the contact'),
    external_id: z.string().nullable(),
    at: time,
    number: z.string().describe('That will be called'),
    agent_id: id.nullable().describe('Who has promised it; null: anyone'),
    state: z.enum(CONTACT_STATES),
  })
  .meta({ id: 'Reschedule' });

const count = z.int().min(0);
export const campaignCheck = z
  .strictObject({
    status: z.enum(CAMPAIGN_STATUSES),
    contacts: count,
    callable_now: count.describe('As far as hours, filter and caps go, were the campaign running'),
    callable_later: z
      .array(z.strictObject({ from: time, contacts: count }))
      .describe('From which full hour on how many more will be callable'),
    never: z.array(z.strictObject({ reason: z.string(), contacts: count })).describe('How many will not be called, and why'),
    being_called: count.describe('Just now: offered, dialled, talking or in wrap-up'),
    being_placed: count.describe('The hours of which are not known yet, as the list is just being loaded'),
  })
  .meta({ id: 'CampaignCheck' });
