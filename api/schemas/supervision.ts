/** What supervisors are answered. */
import { z } from 'zod';

export const stopped = z
  .strictObject({
    stopped: z
      .array(z.string().regex(/^\d{1,10}$/).meta({ examples: ['7'] }))
      .describe('Ids of the campaigns that this request has stopped: those that ran, or still rang someone'),
  })
  .meta({ id: 'Stopped' });
