/** What of a campaign may be called again by one decision, and what not (docs/domain.md, "Reopening"). */
import type { DispositionAction, EndedReason } from './states.ts';

/** Who must not be called, or was deleted, is called again by no decision about many; a campaign ends for good. */
export const REOPENABLE = [
  'answered',
  'attempts_exhausted',
  'numbers_given_up',
  'agent_cancel',
  'disabled',
  'list_replaced',
  'number_not_allowed',
] as const satisfies readonly EndedReason[];

/** Why a contact that is named stays closed: its last call is being finished, or nothing of it may be dialled. */
export const NOT_REOPENED = ['closing', 'do_not_call', 'numbers_given_up', 'attempts_exhausted'] as const;
export type NotReopened = (typeof NOT_REOPENED)[number];

/** Everything that is given must hold; one of several values is enough. */
export interface ReopeningFilter {
  ended_reason: (typeof REOPENABLE)[number][];
  /** Of the last contact leg; `none`: never called. */
  last_code?: string[] | undefined;
  external_ids?: string[] | undefined;
  /** ISO 8601; inclusive. */
  ended_after?: string | undefined;
  /** ISO 8601; exclusive. */
  ended_before?: string | undefined;
  /** Equal, all of them. */
  variables?: Record<string, string> | undefined;
  /** What was registered last of the contact, by whatever call; topics by their keys. */
  disposition?: { action?: DispositionAction[] | undefined; topics?: string[] | undefined } | undefined;
}

/** How many contacts for each reason. */
export type Counts = Partial<Record<string, number>>;
