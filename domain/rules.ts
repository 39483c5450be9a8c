/** The rules of a campaign: one schema gives validation, types, defaults and the API's documentation. */
import { z } from 'zod';

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
    record_calls: z.boolean().default(false).describe('Whether talks are recorded, by a switch that can'),
  })
  .strict();

export type CampaignRules = z.infer<typeof campaignRulesSchema>;
/** Every rule at its default. */
export const defaultRules = (): CampaignRules => campaignRulesSchema.parse({});

/** Rules as stored, with those that came later at their default. */
export function withDefaults(stored: CampaignRules): CampaignRules {
  const defaults = defaultRules();
  return { ...defaults, ...stored, retry: { ...defaults.retry, ...stored.retry } };
}
