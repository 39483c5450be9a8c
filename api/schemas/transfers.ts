/** What an agent asks in a talk. */
import { z } from 'zod';

export const keys = z
  .strictObject({
    digits: z
      .string()
      .regex(/^[0-9*#A-D]{1,50}$/, 'must be 1 to 50 keys: 0-9, *, #, A-D')
      .describe('Sent in this order; not kept'),
  })
  .meta({ id: 'Keys' });
