/** The rules of a campaign: one schema gives validation, types, defaults and the API's documentation. */
import { z } from 'zod';
import { hoursSchema } from './hours.ts';
import { filterSchema, orderSchema } from './order.ts';
import { isCountry } from './numbers.ts';
import { topicsRule } from './topics.ts';

const seconds = (min: number, max: number) => z.number().int().min(min).max(max);

const retryRule = (delaySec: number) =>
  z
    .object({
      delay_sec: seconds(0, 30 * 86_400)
        .default(delaySec)
        .describe('How long to wait before the next attempt, seconds'),
      max: z
        .number()
        .int()
        .min(0)
        .max(100)
        .nullable()
        .default(null)
        .describe('How many retries for this code; null: as many as max_attempts allows'),
    })
    .strict()
    .prefault({});

const minutes = (n: number) => n * 60;

/** Of a campaign whose stored rules do not say. */
export const MAX_PER_NUMBER_PER_DAY = 3;
export const MIN_GAP_SEC = minutes(5);
export const RESERVE_SEC = minutes(10);
/** Of a country code that is none. */
export const NO_COUNTRY = 'is not an ISO 3166 country code, two capital letters such as NO';

export const campaignRulesSchema = z
  .object({
    max_attempts: z.number().int().min(1).max(100).default(5).describe('Hard cap on contact legs sent to one contact'),
    retry: z
      .object({
        b: retryRule(minutes(15)).describe('busy or rejected'),
        t: retryRule(minutes(60)).describe('alerting timeout, and marked as unanswered'),
        h: retryRule(minutes(60)).describe('hung up by the agent while alerting'),
        c: retryRule(minutes(5)).describe('set-up timeout'),
        q: retryRule(minutes(5)).describe('hung up by the agent during set-up'),
        e: retryRule(minutes(60)).describe('error; a number given up is never dialled again'),
      })
      .strict()
      .prefault({}),
    agent_ring_sec: seconds(5, 120).default(20).describe("How long the agent's phone rings"),
    setup_sec: seconds(5, 60).default(20).describe("Longest set-up of the contact's leg, until it alerts"),
    ring_sec: seconds(15, 120).default(30).describe("How long the contact's phone rings"),
    confirm_sec: seconds(3, 60).default(10).describe('How long an agent who must confirm has for it'),
    reoffer_after_sec: seconds(1, 3600)
      .default(60)
      .describe('From when an agent who rejected or missed a call may be offered it again'),
    rest_sec: seconds(0, 600).default(10).describe('Rest in no_answer, busy or error before the agent is ready again'),
    missed_limit: z.number().int().min(1).max(100).default(3).describe('Missed offers in a row, then missed_action'),
    missed_action: z.enum(['paused', 'logged_off']).default('paused'),
    error_limit: z.number().int().min(1).max(100).default(5).describe('Phone errors in a row, then logged off'),
    after_reject: z.enum(['ready', 'paused']).default('ready').describe('State of an agent who clicked Reject'),
    wrap_up_sec: seconds(0, 3600).default(30).describe('Time for the disposition after a talk'),
    max_per_number_per_day: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(MAX_PER_NUMBER_PER_DAY)
      .describe('How often a number may be dialled in any 24 hours, by whatever campaign'),
    min_gap_sec: seconds(0, 86_400)
      .default(MIN_GAP_SEC)
      .describe('Wait after a number was dialled, by whatever campaign, before this one dials it'),
    hours: hoursSchema
      .nullable()
      .default(null)
      .describe("The campaign's calling hours, within the legal hours of the contact's country; null: those alone"),
    order: orderSchema,
    filter: filterSchema,
    reschedule: z
      .object({
        reserve_sec: seconds(0, 86_400)
          .default(RESERVE_SEC)
          .describe('How long a reschedule "to myself" waits for that agent before anyone may take it'),
        while_paused: z.boolean().default(false).describe('Whether due reschedules are called while the campaign is paused'),
      })
      .strict()
      .prefault({}),
    countries: z
      .array(z.string().refine(isCountry, NO_COUNTRY))
      .min(1, 'must name one country or more; null: the campaign\'s own')
      .max(250)
      .nullable()
      .default(null)
      .describe("Countries (ISO 3166-1 alpha-2) whose numbers may be called; null: only the campaign's own"),
    topics: topicsRule.prefault({}).describe('What agents may register of a talk'),
    record_calls: z.boolean().default(false).describe('Whether talks are recorded, by a switch that can'),
  })
  .strict()
  .superRefine(refuseLongerThanSeason);

/** A wait that is over only after the campaign is a mistake of whoever wrote it. */
function refuseLongerThanSeason(
  { hours, min_gap_sec, retry, max_attempts }: Pick<CampaignRules, 'hours' | 'min_gap_sec' | 'retry' | 'max_attempts'>,
  context: z.core.$RefinementCtx,
): void {
  if (!hours?.from_date || !hours.to_date) return;
  const days = (Date.parse(hours.to_date) - Date.parse(hours.from_date)) / 86_400_000 + 1;
  // One that ends before it begins is refused as such.
  if (days < 1) return;
  const waits: [path: string[], seconds: number][] = [
    ['min_gap_sec', min_gap_sec] as const,
    ...Object.entries(retry).map(([code, { delay_sec, max }]) => [`retry.${code}.delay_sec`, max === 0 ? 0 : delay_sec] as const),
  ].map(([field, seconds]) => [field.split('.'), seconds]);
  for (const [path, seconds] of max_attempts === 1 ? waits.slice(0, 1) : waits) {
    if (seconds < days * 86_400) continue;
    const message = `is as long as the whole campaign, ${days} day${days === 1 ? '' : 's'} from ${hours.from_date} to ${hours.to_date}`;
    context.addIssue({ code: 'custom', path, message });
  }
}

export type CampaignRules = z.infer<typeof campaignRulesSchema>;
/** Every rule at its default. */
export const defaultRules = (): CampaignRules => campaignRulesSchema.parse({});

/** Rules as stored, with those that came later at their default. */
export function withDefaults(stored: CampaignRules): CampaignRules {
  const defaults = defaultRules();
  return {
    ...defaults,
    ...stored,
    retry: { ...defaults.retry, ...stored.retry },
    reschedule: { ...defaults.reschedule, ...stored.reschedule },
  };
}
