/** What an agent asks in a talk. */
import { z } from 'zod';
import { intId, text } from '../schemas.ts';

export const newTransfer = z
  .strictObject({
    mode: z
      .enum(['blind', 'attended'])
      .describe('blind: the agent leaves at once · attended: speaks with the target first, the contact on hold'),
    to: z
      .strictObject({
        agent_id: intId.optional().describe('An agent who is ready'),
        number: text(1, 50).optional().describe("A telephone number; national notation is of the campaign's country"),
        campaign_id: intId.optional().describe('The queue of a campaign: whoever serves it and is ready first'),
      })
      .refine((to) => Object.values(to).filter((value) => value !== undefined).length === 1, {
        error: 'must have one of agent_id, number, campaign_id',
      }),
  })
  .meta({ id: 'NewTransfer' });

export const keys = z
  .strictObject({
    digits: z
      .string()
      .regex(/^[0-9*#A-D]{1,50}$/, 'must be 1 to 50 keys: 0-9, *, #, A-D')
      .describe('Sent in this order; not kept'),
  })
  .meta({ id: 'Keys' });
