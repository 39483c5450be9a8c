/** Reports: what is asked for, and what each figure is (docs/domain.md, "Reports"). */
import { z } from 'zod';
import { LEG_CODES } from '../../domain/codes.ts';
import { AGENT_STATES, type AgentState, DISPOSITION_ACTIONS } from '../../domain/states.ts';
import { intId, time, zone } from '../schemas.ts';

const NO_TIME = 'must be a time such as 2026-11-24T09:00:00Z, or a date such as 2026-11-24';
/** A date is its beginning in the zone, so it stays a text until the zone is known. */
const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()], { error: NO_TIME })
  .refine((text) => text >= '1970', 'must be 1970 or later');

export const INTERVALS = ['none', 'quarter', 'hour', 'day'] as const;

export const reportQuery = z.strictObject({
  from: moment.describe('A time, or a date, which begins at its midnight in the zone'),
  to: moment.describe('Where it ends, itself not counted; a time or a date likewise'),
  interval: z.enum(INTERVALS).default('none').describe('`quarter`: 15 minutes; by the clock of the zone'),
  zone: zone.optional().describe("IANA time zone; the campaign's, or that of all campaigns if they have the same, if left out"),
  campaign_id: intId.optional(),
  agent_id: intId.optional(),
  format: z.enum(['json', 'csv']).optional().describe('In place of Accept'),
});
export type ReportQuery = z.output<typeof reportQuery>;

const count = z.int().min(0);
const seconds = z.number().min(0);

/** What all reports begin with. */
const place = {
  start: time,
  end: time,
  local_start: z.string().describe('By the clock of the zone, without offset'),
};
const ofCampaign = { campaign_id: z.string(), campaign_name: z.string() };
const ofAgent = { agent_id: z.string(), agent_name: z.string() };

const each = <N extends string, T extends z.ZodType>(names: readonly N[], field: (name: N) => [string, T]) =>
  Object.fromEntries(names.map(field)) as Record<string, T>;

const legs = {
  offers: count.describe("Agents' phones rung for an offer; the six after it add up to it"),
  offers_answered: count,
  offers_rejected: count.describe('By a click on Reject'),
  offers_missed: count.describe('Rang out, or not confirmed'),
  offers_busy: count.describe('Busy, or declined at the phone'),
  offers_failed: count.describe('Phone error, no audio, set-up timeout, switch lost'),
  offers_withdrawn: count.describe('By a decision, a log-off or a release'),
  contact_legs: count.describe('Contacts dialled; the codes after it add up to it'),
  ...each(LEG_CODES, (code) => [`contact_legs_${code}`, count]),
  talks: count.describe('Contacts who were connected with an agent: contact_legs_k without abandoned'),
  talk_sec: seconds,
  abandoned: count.describe('Contacts whose answer crossed our hang-up'),
  abandoned_share: z.number().min(0).max(1).nullable().describe('abandoned / contact_legs_k; null if nobody answered'),
};
const afterTalks = {
  wrap_ups: count,
  wrap_up_sec: seconds,
  wrap_ups_unregistered: count.describe('Without a disposition'),
  dispositions: count.describe('Those that count; the actions after it add up to it'),
  ...each(DISPOSITION_ACTIONS, (action) => [`dispositions_${action}`, count]),
};
const inStates = <T extends z.ZodType>(states: readonly AgentState[], field: T) =>
  each(states, (state) => [`in_${state}_sec`, field]);

const ENGAGED: readonly AgentState[] = ['reserved', 'connecting', 'connected', 'wrap_up'];
const noCampaigns = seconds.nullable().describe('null where one campaign is asked for: this time belongs to none');

export const campaignReportRow = z
  .strictObject({ ...place, ...ofCampaign, ...legs, ...afterTalks, ...inStates(ENGAGED, seconds.describe('Of all agents, for this campaign')) })
  .meta({ id: 'CampaignReportRow' });
export const agentReportRow = z
  .strictObject({
    ...place,
    ...ofAgent,
    ...legs,
    ...afterTalks,
    ...inStates(AGENT_STATES.filter((state) => !ENGAGED.includes(state)), noCampaigns),
    ...inStates(ENGAGED, seconds),
  })
  .meta({ id: 'AgentReportRow' });
export const topicReportRow = z
  .strictObject({
    ...place,
    ...ofCampaign,
    action: z.enum(DISPOSITION_ACTIONS),
    topic: z.string().nullable().describe('null: registered without a topic'),
    dispositions: count.describe('One with several topics counts for each of them'),
  })
  .meta({ id: 'TopicReportRow' });

export const reportOf = <T extends z.ZodType>(row: T) =>
  z.strictObject({
    from: time,
    to: time,
    interval: z.enum(INTERVALS),
    zone: z.string(),
    items: z.array(row).describe('At most 10,000, by start and then by id; what has nothing to tell is left out'),
  });
