/**
 * What each message must look like. Operators write them by hand in the Temporal UI: one that makes no sense is refused
 * with a sentence that says what is missing, before it can touch anything.
 */
import { ApplicationFailure } from '@temporalio/workflow';
import type { ErrorCode } from '../../domain/errors.ts';
import { DISPOSITION_ACTIONS } from '../../domain/states.ts';
import { TOPIC_KEY } from '../../domain/topics.ts';
import { DISABLE_REASONS } from './messages.ts';

interface Field {
  fits: (value: unknown) => boolean;
  expected: string;
}

const text: Field = {
  fits: (value) => typeof value === 'string' && value.length > 0 && value.length <= 100,
  expected: 'a text',
};
const id: Field = {
  fits: (value) => typeof value === 'string' && /^\d{1,19}$/.test(value),
  expected: 'an id (digits, in quotes)',
};
const number: Field = {
  fits: (value) => Number.isSafeInteger(value) && (value as number) > 0,
  expected: 'a whole number from 1',
};
/** The longest time that an ISO date can say. */
const LAST_MS = 8.64e15;
const time: Field = {
  fits: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= LAST_MS,
  expected: 'a time in ms since 1970',
};
const oneOf = (words: readonly string[]): Field => ({
  fits: (value) => words.includes(value as string),
  expected: `one of ${words.join(', ')}`,
});

const topicKeys: Field = {
  fits: (value) => value === undefined || (Array.isArray(value) && value.length <= 50 && value.every(isTopicKey)),
  expected: 'a list of topic keys, or left out',
};
const isTopicKey = (value: unknown): boolean => typeof value === 'string' && TOPIC_KEY.test(value);

const offerAnswer = { offerNo: number, agentId: id };
const callAnswer = { callId: id, agentId: id };

const SHAPES = {
  offered: { offerNo: number },
  legEnded: { offerNo: number, wrapUpUntil: time },
  nodeLost: { offerNo: number },
  agentGone: { offerNo: number, why: oneOf(['agent_logged_off', 'agent_lost']) },
  wrapUpEnded: { callId: id },
  moved: {},
  withdraw: { offerNo: number, why: oneOf(['campaign_paused']) },
  reject: offerAnswer,
  cancel: offerAnswer,
  release: { ...offerAnswer, by: text },
  accept: offerAnswer,
  hangUp: callAnswer,
  hold: callAnswer,
  resume: callAnswer,
  transfer: { ...callAnswer, transferId: id },
  completeTransfer: callAnswer,
  takeBack: callAnswer,
  sendKeys: { ...callAnswer, keysId: id },
  dispose: { ...callAnswer, action: oneOf(DISPOSITION_ACTIONS), topics: topicKeys },
  extendWrapUp: { ...callAnswer, until: time },
  disable: { reason: oneOf(DISABLE_REASONS), by: text },
} satisfies Record<string, Record<string, Field>>;
export type MessageName = keyof typeof SHAPES;

/** Throws INVALID, naming each field that is missing or wrong. Values are not repeated: they may be anything. */
export function checkShape(name: MessageName, argument: unknown): void {
  const given = (typeof argument === 'object' && argument !== null ? argument : {}) as Record<string, unknown>;
  const wrong = Object.entries<Field>(SHAPES[name]).filter(([field, { fits }]) => !fits(given[field]));
  if (wrong.length === 0) return;
  const sentence = wrong.map(([field, { expected }]) => `${field} must be ${expected}`).join('; ');
  throw ApplicationFailure.nonRetryable(sentence, 'INVALID' satisfies ErrorCode);
}
