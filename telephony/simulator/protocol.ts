/**
 * What runs over the WebSocket between the simulator and its adapters: JSON objects, in order. A client's command gets
 * one answer with its `id`. Facts go to the client that subscribed last; it acknowledges each by its `seq`.
 */
import { z } from 'zod';
import { RESULT_REASONS } from '../../domain/codes.ts';
import type { NumberedFact } from './fact-queue.ts';

export const SWITCH_PATH = '/switch';

const id = z.int();
const legId = z.string().min(1).max(100);
const mix = z.string().min(1).max(100);
const name = z.string().min(1).max(200);
const why = z.enum([...RESULT_REASONS, 'call_over']);
const ms = z.number().min(0).max(86_400_000);
const originate = z.strictObject({
  legId,
  party: z.enum(['agent', 'contact']),
  to: z.string().min(1).max(100),
  from: z.string().max(100).nullable(),
  setupMs: ms,
  ringMs: ms,
  noDivert: z.boolean(),
  mix: mix.nullable(),
  notAfter: z.number(),
});

export const clientMessageSchema = z.discriminatedUnion('type', [
  /** Answered with the live legs, after every fact that waits: who is absent then without an `ended` is lost. */
  z.strictObject({ type: z.literal('subscribe'), id }),
  z.strictObject({ type: z.literal('ack'), seq: z.int() }),
  /** Answered with `{ answer, leg }`: what the port answers, and the leg's snapshot if it lives. */
  z.strictObject({ type: z.literal('originate'), id, leg: originate }),
  z.strictObject({ type: z.literal('hangUp'), id, legId, why, unlessAnswered: z.boolean() }),
  z.strictObject({ type: z.literal('join'), id, mix, legId }),
  z.strictObject({ type: z.literal('leave'), id, mix, legId }),
  z.strictObject({ type: z.literal('endTogether'), id, mix, legs: z.array(z.strictObject({ legId, why: why.nullable() })) }),
  z.strictObject({ type: z.literal('hold'), id, legId, on: z.boolean() }),
  z.strictObject({ type: z.literal('play'), id, legId, sound: name.nullable() }),
  z.strictObject({ type: z.literal('sendDtmf'), id, legId, digits: z.string().regex(/^[0-9*#A-D]{1,50}$/), key: name }),
  z.strictObject({ type: z.literal('record'), id, mix, name: name.nullable() }),
  z.strictObject({ type: z.literal('status'), id, legId }),
  z.strictObject({ type: z.literal('list'), id }),
]);
export type ClientMessage = z.infer<typeof clientMessageSchema>;
export type Command = Exclude<ClientMessage, { type: 'ack' }>;

export type ServerMessage =
  /** First of all. `boot` is another one after each restart: its facts are numbered from 1 again. */
  | { type: 'hello'; boot: string }
  | { type: 'answer'; id: number; result: unknown }
  | { type: 'refused'; id: number | null; code: string; message: string }
  | ({ type: 'fact' } & NumberedFact)
  /** Another client has subscribed since. */
  | { type: 'replaced' }
  /** The subscriber is gone: whoever wants the facts may subscribe. */
  | { type: 'vacant' };
