/** The rules of a campaign as they once were. */
import { z } from 'zod';
import { campaignRulesSchema } from '../../domain/rules.ts';
import { count, idParams, time } from '../schemas.ts';

const versionShape = {
  version: count.describe('1, 2, 3 … without a gap'),
  at: time,
  by: z.string().describe('Who: `key:3`; `system`: made before versions were kept'),
};
export const rulesVersion = z.strictObject(versionShape).meta({ id: 'RulesVersion' });
export const rulesVersionDetail = z
  .strictObject({ ...versionShape, rules: campaignRulesSchema })
  .meta({ id: 'RulesVersionDetail' });

/** The greatest integer of PostgreSQL has ten digits. */
export const rulesVersionParams = idParams.extend({ version: z.string().regex(/^[1-9]\d{0,8}$/).transform(Number) });
