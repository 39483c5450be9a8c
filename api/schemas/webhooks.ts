/** What goes in and out of the routes of webhooks. */
import { z } from 'zod';
import { DELIVERY_ERRORS, DELIVERY_TYPES, PAUSED_REASONS, WEBHOOK_STATES } from '../../domain/webhooks.ts';
import { EVENT_KINDS, eventPage, intId, position, text, time } from '../schemas.ts';

const isSet = (list: readonly unknown[]): boolean => new Set(list).size === list.length;

const fields = {
  url: text(1, 2000)
    .transform((value, context) => {
      if (URL.canParse(value)) return new URL(value);
      context.addIssue({ code: 'custom', message: 'is not a URL such as https://example.org/dialwright' });
      return z.NEVER;
    })
    .meta({ description: 'https; rows are posted to it', examples: ['https://example.org/dialwright'] }),
  kinds: z
    .array(z.enum(EVENT_KINDS))
    .min(1)
    .refine(isSet, 'names a kind twice')
    .describe('Kinds of rows; `agent` only without `campaign_ids`, as agent events are of no campaign'),
  campaign_ids: z
    .array(intId)
    .max(100)
    .refine(isSet, 'names a campaign twice')
    .describe('Rows of these campaigns only; empty: of every campaign'),
};

export const newWebhook = z
  .strictObject({
    url: fields.url,
    kinds: fields.kinds.optional().describe('All if left out; with `campaign_ids` all but `agent`'),
    campaign_ids: fields.campaign_ids.default([]),
    position: position.optional().describe('Position after which to begin, `0` for all there is; left out: from now on'),
  })
  .meta({ id: 'NewWebhook' });

export const webhookChange = z
  .strictObject(fields)
  .partial()
  .refine((value) => Object.keys(value).length > 0, 'must name at least one field to change')
  .meta({ id: 'WebhookChange' });

const id = z.string().regex(/^\d{1,19}$/).meta({ examples: ['7'] });
const webhookShape = {
  id,
  url: z.string(),
  kinds: z.array(z.enum(EVENT_KINDS)),
  campaign_ids: z.array(id),
  position: position.describe('Every row up to here was delivered, or was not asked for'),
  behind: z.int().min(0).describe('Positions after that: no more rows than these wait'),
  state: z.enum(WEBHOOK_STATES),
  paused_reason: z.enum(PAUSED_REASONS).nullable(),
  paused_at: time.nullable(),
  failing_since: time.nullable().describe('Since then every attempt has failed'),
  last_error: z.string().nullable().describe('Of the last attempt, if it failed: the status of the answer, or why there was none'),
  next_attempt_at: time.nullable().describe('While it fails'),
  old_secrets_until: time.nullable().describe('Until then secrets before the present one sign too; null: none does'),
  created_at: time,
  updated_at: time,
};
export const webhook = z.strictObject(webhookShape).meta({ id: 'Webhook' });
export type WebhookJson = z.input<typeof webhook>;
export const webhookWithSecret = z
  .strictObject({
    ...webhookShape,
    secret: z
      .string()
      .nullable()
      .describe('Of Standard Webhooks, `whsec_…`; shown this once, null when the request is repeated with its Idempotency-Key'),
  })
  .meta({ id: 'WebhookWithSecret' });

export const replay = z
  .strictObject({ position: position.describe('Position after which to go on, back or ahead; `0` for all there is') })
  .meta({ id: 'Replay' });
export const rotation = z
  .strictObject({
    old_valid_sec: z
      .int()
      .min(0)
      .max(604_800)
      .default(86_400)
      .describe('How long the secrets before it sign too, 0: not any more'),
  })
  .meta({ id: 'Rotation' });
export const testTaken = z
  .strictObject({ delivery_id: z.string().describe('Header `webhook-id` of the test; its outcome will be among the deliveries') })
  .meta({ id: 'TestTaken' });

export const delivery = z
  .strictObject({
    id,
    delivery_id: z.string().describe('Header `webhook-id`: the same for all attempts'),
    type: z.enum(DELIVERY_TYPES),
    attempt: z.int().min(1),
    first_position: position.nullable().describe('Of the rows in it; null in a test'),
    last_position: position.nullable(),
    events: z.int().min(0).describe('How many rows'),
    at: time,
    duration_ms: z.int().min(0),
    delivered: z.boolean().describe('It was answered with a status of 200 to 299'),
    status: z.int().nullable().describe('Of the answer; null: there was none'),
    error: z.enum(DELIVERY_ERRORS).nullable().describe('Why there was no answer'),
  })
  .meta({ id: 'Delivery' });
export type DeliveryJson = z.input<typeof delivery>;

// ---- what is posted -------------------------------------------------------------------------------------------------

export const eventsMessage = z
  .strictObject({
    type: z.literal('events'),
    timestamp: time.describe('When the batch was made'),
    data: z.strictObject({
      after: position.describe('`next` of the batch before, unless the webhook was replayed or changed'),
      next: position.describe('Every row up to here that was asked for has been in this batch or one before'),
      items: eventPage.shape.items.describe('By position'),
    }),
  })
  .meta({ id: 'EventsMessage' });
export const testMessage = z
  .strictObject({ type: z.literal('test'), timestamp: time, data: z.strictObject({}) })
  .meta({ id: 'TestMessage' });
