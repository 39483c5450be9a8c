/** What goes in and out, written once: validation, types and the OpenAPI document come from here. */
import { z } from 'zod';
import { LEG_CODES, RESULT_REASONS } from '../domain/codes.ts';
import { isCountry, NUMBER_PROBLEM_TEXT, parseNumber } from '../domain/numbers.ts';
import { campaignRulesSchema, NO_COUNTRY } from '../domain/rules.ts';
import { NO_TIME_OF_DAY, TIME_OF_DAY } from '../domain/time-of-day.ts';
import { topicsRule } from '../domain/topics.ts';
import {
  AGENT_STATES,
  CAMPAIGN_STATUSES,
  CONTACT_STATES,
  DISPOSITION_ACTIONS,
  ENDED_REASONS,
  WAIT_REASONS,
} from '../domain/states.ts';
import { ROLES } from './auth.ts';

z.config({ customError: inWords });

/** What Zod says of a mistake in its own terms, in words that go on from the name of the field. */
function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') {
    return issue.input === undefined ? 'is missing' : `must be ${TYPES[issue.expected] ?? `of type ${issue.expected}`}`;
  }
  if (issue.code === 'invalid_value') return `must be ${issue.values.map(String).join(' or ')}`;
  const verb = issue.code.startsWith('too_') && 'origin' in issue && issue.origin !== 'number' ? 'have' : 'be';
  if (issue.code === 'too_small') return `must ${verb} ${issue.minimum} or more`;
  if (issue.code === 'too_big') return `must ${verb} ${issue.maximum} or less`;
  return undefined;
}
const TYPES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

// ---- building blocks ------------------------------------------------------------------------------------------------

/** Text that PostgreSQL can keep: no NUL, no half of a surrogate pair. */
export const text = (min: number, max: number) =>
  z
    .string()
    .min(min, min === 1 ? 'must not be empty' : `must have at least ${min} characters`)
    .max(max, `must have at most ${max} characters`)
    .refine((value) => !value.includes('\0') && value.isWellFormed(), 'must not contain NUL or broken characters');

/** A name that people read: something must be left of it without spaces. */
const label = text(1, 200).refine((value) => value.trim() !== '', 'must not be blank');

const MAX_INT = 2n ** 31n - 1n;
const MAX_BIGINT = 2n ** 63n - 1n;

const anId = (max: bigint) =>
  z
    .string()
    .regex(/^[1-9]\d{0,18}$/, { error: 'is not an id', abort: true })
    .refine((value) => BigInt(value) <= max, 'is not an id');
/** Id of a campaign, agent or key, as a number inside. */
export const intId = anId(MAX_INT).transform(Number).meta({ examples: ['7'] });
/** Id of a contact, call or offer: up to 19 digits, more than a JSON number carries. */
export const bigId = anId(MAX_BIGINT).meta({ examples: ['7000001'] });

/** Ids as they are given out. */
export const id = z.string().regex(/^\d{1,19}$/).meta({ examples: ['7'] });
export const time = z.iso
  .datetime()
  .refine((text) => text >= '1970', 'must be 1970 or later')
  .describe('ISO 8601, UTC');

export const zone = text(1, 64)
  .refine(isZone, 'is not an IANA time zone such as Europe/Oslo')
  .meta({ description: 'IANA time zone', examples: ['Europe/Oslo'] });

function isZone(value: string): boolean {
  // An offset such as +01:00 is known to Intl, but is no zone: it has no summer.
  if (!/^[A-Za-z]/.test(value)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: value });
    return true;
  } catch {
    return false;
  }
}

export const country = z
  .string()
  .refine(isCountry, NO_COUNTRY)
  .meta({ description: 'ISO 3166-1 alpha-2', examples: ['NO'] });

/** A number in E.164; national notation is a mistake where no country is at hand. */
const e164 = z
  .string()
  .max(32, 'is not a phone number')
  .transform((value, context) => {
    const read = value.startsWith('+') ? parseNumber(value, 'ZZ') : { problem: 'no_plus' as const };
    if ('e164' in read) return read.e164;
    const message =
      read.problem === 'no_plus' ? 'must be in E.164, such as +4722865000' : NUMBER_PROBLEM_TEXT[read.problem];
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  })
  .meta({ description: 'E.164', examples: ['+4722865000'] });

const NO_PHONE = 'must be an extension of 2 to 10 digits, or a callable number in E.164 such as +4722865000';
const phone = z
  .union([z.string().regex(/^\d{2,10}$/, NO_PHONE), e164], { error: NO_PHONE })
  .describe('An extension of the switch, or a telephone number, which is reached through the trunk');

/** As people write it; read in the campaign's country by the route. */
const writtenNumber = text(1, 40).meta({ examples: ['22 86 50 00', '+4722865000'] });

export const variables = z
  .record(z.string().regex(/^var([1-9]|[12]\d|30)$/), text(0, 1000), {
    error: (issue) => (issue.code === 'invalid_key' ? 'is not one of var1 to var30' : undefined),
  })
  .meta({ description: 'Shown to the agent: var1 to var30', examples: [{ var1: 'Kari', var2: 'Invoice 1041' }] });

export const idParams = z.object({ id: intId });
export const bigIdParams = z.object({ id: bigId });
export const callParams = z.object({ call_id: bigId });

export const limit = z.coerce
  .number('must be a whole number')
  .int('must be a whole number')
  .min(1, 'must be 1 to 1000')
  .max(1000, 'must be 1 to 1000');
export const listQuery = z.strictObject({
  limit: limit.default(100),
  cursor: text(1, 100).optional().describe('`next` of the page before'),
});

/** Query parameter of what can be tried first; `what` it is. */
export const dryRun = (what: string) =>
  z
    .enum(['true', 'false'])
    .default('false')
    .transform((value) => value === 'true')
    .describe(`\`true\`: answers as the ${what} would, and writes nothing`);

export const listOf = <T extends z.ZodType>(item: T) =>
  z.strictObject({
    items: z.array(item),
    next: z.string().nullable().describe('`cursor` of the next page; null at the end'),
  });

const NO_POSITION = 'is not a position: a whole number, 0 or more';
export const position = z
  .string()
  .regex(/^\d{1,19}$/, { error: NO_POSITION, abort: true })
  .refine((value) => BigInt(value) <= MAX_BIGINT, NO_POSITION)
  .meta({ examples: ['0'] });

const nothingLeftOut = <T extends z.ZodObject>(schema: T) =>
  schema.refine((value) => Object.keys(value).length > 0, 'must name at least one field to change');

export const count = z.int().min(0);

// ---- campaigns ------------------------------------------------------------------------------------------------------

const queueKey = text(9, 100).regex(/^__Dialer[\w.-]*$/, 'must start with __Dialer and go on with letters, digits, _ . -');
const campaignFields = {
  name: label,
  country,
  zone,
  service_num: e164.nullable().describe("The campaign's access number: destination of the queued events"),
  caller_id: e164.nullable().describe('Shown to the contact'),
};

export const newCampaign = z
  .strictObject({
    ...campaignFields,
    service_num: campaignFields.service_num.optional(),
    caller_id: campaignFields.caller_id.optional(),
    queue_key: queueKey.optional().describe('Derived from the name if left out'),
    rules: campaignRulesSchema.prefault({}),
  })
  .meta({ id: 'NewCampaign' });

export const campaignChange = nothingLeftOut(
  z
    .strictObject({
      ...campaignFields,
      rules: z
        .record(z.string(), z.unknown())
        .describe('Rules to change, as in a new campaign; those not given stay as they are'),
    })
    .partial(),
).meta({ id: 'CampaignChange' });

export const campaign = z
  .strictObject({
    id,
    ...campaignFields,
    service_num: z.string().nullable(),
    caller_id: z.string().nullable(),
    queue_key: z.string(),
    status: z.enum(CAMPAIGN_STATUSES),
    stop_requested: z.boolean().describe('Stopped: unanswered legs are being ended'),
    rules: campaignRulesSchema,
    rules_version: count.describe('Which version of the rules this is'),
    settled: z.boolean().describe('The last change has been carried out on every contact'),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'Campaign' });
export type CampaignJson = z.input<typeof campaign>;

const WHY_NOT = [
  'campaign_not_running',
  'list_empty',
  'list_loading',
  'no_contact_queued',
  'no_agent_assigned',
  'nobody_logged_on',
  'no_agent_ready',
  'no_node_ready',
  'trunk_failing',
  'nodes_at_limit',
] as const;
export type WhyNot = (typeof WHY_NOT)[number];

export const campaignStats = z
  .strictObject({
    status: z.enum(CAMPAIGN_STATUSES),
    contacts: count.describe('The list; each of the three groups adds up to it'),
    by_state: z.record(z.enum(CONTACT_STATES), count),
    by_result_code: z.partialRecord(z.enum([...LEG_CODES, 'none']), count).describe('Last contact leg; `none`: no leg yet'),
    by_wait_reason: z.partialRecord(z.enum([...WAIT_REASONS, 'none']), count).describe('`none`: not waiting'),
    abandoned: count.describe('Contacts whose answer crossed our hang-up'),
    agents_by_state: z.partialRecord(z.enum(AGENT_STATES), count).describe('Of the agents who serve this campaign'),
    why_not_dialling: z
      .array(z.strictObject({ code: z.enum(WHY_NOT), text: z.string() }))
      .describe('Why no further contact is being offered; empty when nothing stands in the way'),
  })
  .meta({ id: 'CampaignStats' });

// ---- contacts -------------------------------------------------------------------------------------------------------

const timeOfDay = z.string().regex(TIME_OF_DAY, NO_TIME_OF_DAY).nullable().meta({ examples: ['08:30'] });
const contactFields = {
  phone_num: writtenNumber.describe("Read in the campaign's country"),
  phone_2: writtenNumber.nullable(),
  variables,
  zone: zone.nullable().describe("The contact's own zone; null: its number's, else the campaign's"),
  priority: z.int().min(-1000).max(1000).describe('Higher first'),
  earliest: timeOfDay.describe('From when on in the day it may be called, local time; null: no limit of its own'),
  latest: timeOfDay.describe('Until when; before `earliest`: over midnight'),
};

export const externalId = text(1, 200);
/** A PUT says the whole: what it leaves out is emptied. */
export const contactPut = z
  .strictObject({
    phone_num: contactFields.phone_num,
    phone_2: contactFields.phone_2.default(null),
    variables: contactFields.variables.default({}),
    zone: contactFields.zone.default(null),
    priority: contactFields.priority.default(0),
    earliest: contactFields.earliest.default(null),
    latest: contactFields.latest.default(null),
  })
  .meta({ id: 'ContactPut' });
export const contactChange = nothingLeftOut(z.strictObject(contactFields).partial()).meta({ id: 'ContactChange' });

const contactShape = {
  id,
  campaign_id: id,
  external_id: z.string().nullable(),
  phone_num: z.string(),
  phone_2: z.string().nullable(),
  given_up: z.array(z.string()).describe('Numbers that are not dialled again'),
  variables: z.record(z.string(), z.string()),
  zone: z.string().nullable(),
  priority: z.int(),
  earliest: z.string().nullable(),
  latest: z.string().nullable(),
  state: z.enum(CONTACT_STATES),
  since: time,
  wait_reason: z.enum(WAIT_REASONS).nullable(),
  waits_until: time.nullable(),
  scheduled_at: time.nullable().describe('When it is to be called back'),
  attempts: count,
  call_id: id.nullable().describe('The open call, else the last'),
  last_code: z.enum(LEG_CODES).nullable(),
  ended_reason: z.enum(ENDED_REASONS).nullable(),
  ended_by: z.string().nullable(),
  ended_at: time.nullable(),
  created_at: time,
  updated_at: time,
};
export const contact = z.strictObject(contactShape).meta({ id: 'Contact' });
export type ContactJson = z.input<typeof contact>;

const legCode = z.enum(LEG_CODES).nullable();
const endCode = z.enum([...LEG_CODES, 'd']).nullable();
const reason = z.enum(RESULT_REASONS).nullable();
const recording = z
  .string()
  .nullable()
  .describe('Name of the recording of the talk, under which the switch keeps it; null: not recorded');

export const contactDetail = z
  .strictObject({
    ...contactShape,
    do_not_call_proposed: z
      .boolean()
      .describe('The called person objects (SIP 607, RFC 8197): the number is given up, do-not-call is proposed'),
    calls: z
      .array(
        z.strictObject({
          call_id: id,
          attempt: count,
          number: z.string(),
          queued_at: time,
          ended_at: time.nullable(),
          end_code: endCode,
          end_reason: z.string().nullable(),
          rules_version: count.nullable().describe('Under which it is made: of its first offer; null before'),
          recording,
          offers: z.array(
            z.strictObject({
              id,
              offer_no: count,
              agent_id: id,
              state: z.string(),
              created_at: time,
              deadline: time,
              answered_at: time.nullable(),
              accepted_at: time.nullable(),
              ended_at: time.nullable(),
              result_code: endCode,
              result_reason: reason,
            }),
          ),
          legs: z.array(
            z.strictObject({
              id: z.string(),
              offer_id: id,
              ciq: z.enum(['a', 'c']).nullable(),
              leg_type: z.string(),
              sequence: count,
              agent_id: id,
              destination: z.string(),
              created_at: time,
              alerting_at: time.nullable(),
              answered_at: time.nullable(),
              ended_at: time.nullable(),
              result_code: legCode,
              result_response: z.int().nullable(),
              result_reason: reason,
            }),
          ),
        }),
      )
      .describe('The latest 100, newest first'),
  })
  .meta({ id: 'ContactDetail' });

export const erasure = z
  .strictObject({ recordings: z.array(z.string()).describe('Names of recordings that the switch still has') })
  .meta({ id: 'Erasure' });

// ---- agents ---------------------------------------------------------------------------------------------------------

const queues = z
  .array(
    z.strictObject({
      campaign_id: intId,
      priority: z.int().min(1).max(100).default(1).describe('1 first'),
    }),
  )
  .max(500)
  .refine((list) => new Set(list.map((queue) => queue.campaign_id)).size === list.length, 'names a campaign twice');

const confirm = z
  .boolean()
  .describe(
    'The phone may answer by itself: it must be confirmed before the contact is dialled. ' +
      'Shown as it was set; an agent whose phone is a telephone number must always confirm',
  );
const dailyLogOff = z
  .strictObject({ time: z.string().regex(TIME_OF_DAY, NO_TIME_OF_DAY).meta({ examples: ['18:00'] }), zone })
  .nullable()
  .describe('Logged off every day at this local time, after the call; null: at none');
export const newAgent = z
  .strictObject({ name: label, phone, confirm: confirm.default(false), queues: queues.default([]), daily_log_off: dailyLogOff.default(null) })
  .meta({ id: 'NewAgent' });
export const agentChange = nothingLeftOut(
  z.strictObject({ name: label, phone, confirm, queues, daily_log_off: dailyLogOff }).partial(),
).meta({ id: 'AgentChange' });

const agentState = {
  state: z.enum(AGENT_STATES),
  since: time,
  until: time.nullable().describe('When it ends by itself'),
  next_state: z.enum(['paused', 'logged_off']).nullable().describe('What follows the offer or call'),
};
export const agent = z
  .strictObject({
    id,
    name: z.string(),
    phone: z.string(),
    confirm,
    daily_log_off: dailyLogOff,
    ...agentState,
    cause: z.string(),
    offer_id: id.nullable(),
    call_id: id.nullable().describe('Of the offer under way'),
    queues: z.array(z.strictObject({ campaign_id: id, priority: z.int() })),
    created_at: time,
    updated_at: time,
  })
  .meta({ id: 'Agent' });
export type AgentJson = z.input<typeof agent>;

export const agentWish = z.strictObject({ state: z.enum(['ready', 'paused', 'logged_off']) }).meta({ id: 'AgentWish' });
export const agentView = z.strictObject(agentState).meta({ id: 'AgentView' });
export const heartbeat = z
  .strictObject({ logged_on: z.boolean().describe('False: logged off, set the state to ready or paused to log on') })
  .meta({ id: 'Heartbeat' });
export const streamTicket = z
  .strictObject({ ticket: z.string().describe('For `?ticket=` of the stream'), expires_at: time })
  .meta({ id: 'StreamTicket' });

/** Data of the event `state`. */
export const agentNews = z
  .strictObject({
    ...agentState,
    cause: z.string(),
    call_id: id.nullable(),
    offer_id: id.nullable(),
    result_code: legCode.describe('Of the leg that led to the change'),
  })
  .meta({ id: 'AgentNews' });
/** Data of the event `offer`: the screen-pop. */
export const screenPop = z
  .strictObject({
    offer_id: id,
    call_id: id,
    contact_id: id,
    campaign_id: id,
    deadline: time.describe("When the agent's phone stops ringing"),
    ended_at: time.nullable().describe('Not null when it is read after its end'),
    is_live: z.boolean().describe('The contact is on the line: a talk that is handed on. It can not be cancelled'),
    number: z.string().describe('To be dialled'),
    variables: z.record(z.string(), z.string()),
    attempt: count,
    history: z.array(z.strictObject({ at: time, code: legCode })).describe('The last calls to this contact'),
    topics: topicsRule.describe('What may be registered afterwards'),
    zones: z.array(z.string()).describe('In which the contact may be'),
    local_time: z.string().nullable().describe("Now at the contact's, without offset; null: the clocks of its zones differ"),
  })
  .meta({ id: 'ScreenPop' });

// ---- offers and calls -----------------------------------------------------------------------------------------------

export const done = z.strictObject({ done: z.literal(true) }).meta({ id: 'Done' });

const forAgent = intId.optional().describe("Whose; needed with a manager's key, not with the agent's own");
export const newDisposition = z
  .strictObject({
    action: z
      .enum(DISPOSITION_ACTIONS)
      .optional()
      .describe('May be left out where one of the topics means one'),
    topics: z.array(text(1, 100)).max(50).default([]).describe("Keys of the campaign's topics; any texts where it has none"),
    comment: text(0, 4000).nullable().default(null),
    reschedule: z
      .strictObject({
        at: time.transform((at) => new Date(at)).describe('When to call back; within the legal hours of the contact'),
        to_myself: z.boolean().default(false).describe('By this agent, if ready then; else by anyone'),
      })
      .optional()
      .describe('For the action reschedule'),
    agent_id: forAgent,
  })
  .refine(({ action, reschedule }) => (action === 'reschedule') === (reschedule !== undefined), {
    path: ['reschedule'],
    message: 'goes with the action reschedule, and with no other',
  })
  .refine(({ action, topics }) => action !== undefined || topics.length > 0, { path: ['action'], error: 'is missing' })
  .meta({ id: 'NewDisposition' });
export const wrapUpExtension = z
  .strictObject({ seconds: z.int().min(1).max(3600), agent_id: forAgent })
  .meta({ id: 'WrapUpExtension' });
export const wrapUpEnd = z.strictObject({ until: time }).meta({ id: 'WrapUpEnd' });

// ---- events for readers ---------------------------------------------------------------------------------------------

export const EVENT_KINDS = ['call', 'agent', 'disposition', 'wrap_up'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

const flag = z.int();
const seconds = count;
const callEvent = z
  .strictObject({
    kind: z.literal('call'),
    position: id,
    call_id: id,
    call_sequence: count,
    event_type: z.enum(['i', 'q', 'c']),
    internal_iq_session_id: z.string(),
    ciq: z.enum(['a', 'c']).nullable(),
    dte_start: time,
    duration_tot_sec: seconds,
    dte_speak_start: time.nullable(),
    duration_speak_sec: seconds,
    setup_ms: count.nullable(),
    alert_ms: count.nullable(),
    source: z.string().nullable(),
    destination: z.string().nullable(),
    originating: z.string().nullable(),
    service_num: z.string().nullable(),
    queue_key: z.string().nullable(),
    agent_id: id.nullable(),
    result_code: z.string().nullable(),
    result_response: z.int().nullable(),
    result_reason: reason,
    answered: z.boolean(),
    call_transfer: flag,
    hold: flag,
    consult: flag,
    caller_on_hold_sec: seconds,
    leg_type: z.string().nullable(),
    dte_scheduled_callback: time.nullable(),
    request_id: z.string().nullable(),
    contact_id: id,
    campaign_id: id,
    attempt: count,
    recording,
  })
  .meta({ id: 'CallEvent' });
/** The columns of `call_events`, in the order of docs/domain.md. */
export const CALL_EVENT_COLUMNS = Object.keys(callEvent.shape).filter((name) => name !== 'kind');

const agentEvent = z
  .strictObject({
    kind: z.literal('agent'),
    position: id,
    agent_id: id,
    at: time,
    from_state: z.enum(AGENT_STATES),
    state: z.enum(AGENT_STATES),
    cause: z.string(),
    duration_ms: z.number().describe('How long from_state had lasted'),
    offer_id: id.nullable(),
    call_id: id.nullable(),
    result_code: legCode,
    changed_by: z.string().nullable().describe('Who wanted it: `agent:7`, `key:3`; null: it followed from a call or a timer'),
  })
  .meta({ id: 'AgentEvent' });
const dispositionEvent = z
  .strictObject({
    kind: z.literal('disposition'),
    position: id,
    call_id: id,
    agent_id: id,
    contact_id: id,
    campaign_id: id,
    at: time,
    action: z.enum(DISPOSITION_ACTIONS),
    topics: z.array(z.string()),
    comment: z.string().nullable(),
    request_id: z.string(),
    reschedule_at: time.nullable(),
    reschedule_to_agent: z.boolean().nullable().describe('Whether this agent is to call back'),
    rules_version: count.nullable().describe('Of the call: the version of the rules in which its topics stand'),
  })
  .meta({ id: 'DispositionEvent' });
const wrapUpEvent = z
  .strictObject({
    kind: z.literal('wrap_up'),
    position: id,
    call_id: id,
    agent_id: id,
    contact_id: id,
    campaign_id: id,
    started_at: time,
    wrap_up_sec: seconds,
    ended_by: z.string(),
    registered: z.boolean(),
  })
  .meta({ id: 'WrapUpEvent' });

export const EVENT_SCHEMAS = { call: callEvent, agent: agentEvent, disposition: dispositionEvent, wrap_up: wrapUpEvent };
export const eventPage = z.strictObject({
  items: z.array(z.discriminatedUnion('kind', [callEvent, agentEvent, dispositionEvent, wrapUpEvent])),
  next: position.describe('`after` of the next request, also when there is nothing new yet'),
});

const kinds = z
  .union([z.enum(EVENT_KINDS), z.array(z.enum(EVENT_KINDS))], { error: `must be one or more of ${EVENT_KINDS.join(', ')}` })
  .transform((value): readonly EventKind[] => (typeof value === 'string' ? [value] : value))
  .default(EVENT_KINDS)
  .describe('Repeatable; all kinds if left out');
export const eventsQuery = z.strictObject({
  after: position.default('0').describe('Position after which to begin'),
  limit: limit.optional().describe('100 if left out; text/csv: all there is'),
  kind: kinds,
  format: z.enum(['json', 'csv']).optional().describe('In place of Accept'),
});
export const eventStreamQuery = z.strictObject({ after: position.optional(), kind: kinds });
export const agentStreamQuery = z.strictObject({
  after: position.optional().describe('In place of the header Last-Event-ID'),
  ticket: z.string().optional().describe('In place of the header Authorization'),
});

// ---- keys, simulator, health ----------------------------------------------------------------------------------------

export const newKey = z
  .strictObject({
    name: label,
    role: z.enum(ROLES),
    agent_id: intId.optional().describe('The one agent that a key of role agent is for'),
  })
  .refine((key) => (key.role === 'agent') === (key.agent_id !== undefined), {
    path: ['agent_id'],
    error: 'must be given for the role agent, and only for it',
  })
  .meta({ id: 'NewKey' });
const keyShape = {
  id,
  name: z.string(),
  role: z.enum(ROLES),
  agent_id: id.nullable(),
  created_at: time,
  revoked_at: time.nullable(),
};
export const key = z.strictObject(keyShape).meta({ id: 'Key' });
export const keyMade = z
  .strictObject({
    ...keyShape,
    key: z.string().nullable().describe('Shown this once; null when the request is repeated with its Idempotency-Key'),
  })
  .meta({ id: 'KeyMade' });

export const phoneParams = z.object({ number: text(1, 32) });
export const digit = z.strictObject({ digit: z.string().regex(/^[0-9*#A-D]$/, 'must be one of 0-9 * # A-D') });
export const phoneState = z.looseObject({ state: z.string() }).meta({ id: 'PhoneState' });
export const dialsQuery = z.strictObject({
  after: z.coerce.number('must be a whole number').int().min(0).default(0),
  limit: limit.default(100),
});
export const dial = z
  .strictObject({
    seq: z.int().describe('1..n over all dials, without a gap'),
    at: time,
    leg_id: z.string(),
    party: z.enum(['agent', 'contact']),
    to: z.string(),
    from: z.string().nullable(),
    answered_at: time.nullable(),
    ended_at: time.nullable(),
    end: z.record(z.string(), z.unknown()).nullable().describe('How it ended, as the simulator knows it'),
  })
  .meta({ id: 'Dial' });
export const dialPage = z.strictObject({
  items: z.array(dial),
  next: z.string().nullable().describe('`after` of the next request; null at the end'),
});

export const alive = z.strictObject({ status: z.literal('ok') });
const part = z.strictObject({ ok: z.boolean(), why: z.string().optional() });
export const readiness = z
  .strictObject({
    ready: z.boolean().describe('PostgreSQL and Temporal answer'),
    postgresql: part,
    temporal: part,
    telephony: part.describe('A node with a live lease; without one nothing is dialled, but the API works'),
  })
  .meta({ id: 'Readiness' });
