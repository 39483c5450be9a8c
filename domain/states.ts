/** The words for states; the same in the database, the API and the workflows (docs/domain.md). */

export const CONTACT_STATES = [
  'new',
  'starting',
  'waiting',
  'queued',
  'offered',
  'dialling',
  'talking',
  'wrap_up',
  'done',
  'disabled',
] as const;
export type ContactState = (typeof CONTACT_STATES)[number];

/** Why the calling hours are closed (domain/hours.ts). */
export const CLOSED_REASONS = ['outside_hours', 'holiday', 'out_of_season', 'unknown_zone', 'unreadable_rule'] as const;

/** Why a `waiting` contact is not callable now. */
export const WAIT_REASONS = [
  'campaign_not_running',
  ...CLOSED_REASONS,
  'retry_delay',
  'rescheduled',
  'cap',
  'filtered',
  'number_in_use',
  'waiting_for_agent',
  'trunk_failing',
] as const;
export type WaitReason = (typeof WAIT_REASONS)[number];

/** Why a contact is `done` or `disabled` for good (or until it is enabled again). */
export const ENDED_REASONS = [
  'answered',
  'attempts_exhausted',
  'numbers_given_up',
  'agent_cancel',
  'do_not_call',
  'number_not_allowed',
  'disabled',
  'deleted',
  'list_replaced',
  'campaign_ended',
] as const;
export type EndedReason = (typeof ENDED_REASONS)[number];

/** What a contact is that has ended for this reason: called enough is done, everything else is disabled. */
export const endStateOf = (reason: string): 'done' | 'disabled' =>
  CALLED_ENOUGH.includes(reason) ? 'done' : 'disabled';
const CALLED_ENOUGH: readonly string[] = ['answered', 'attempts_exhausted', 'numbers_given_up'] satisfies EndedReason[];

export const AGENT_STATES = [
  'logged_off',
  'ready',
  'reserved',
  'connecting',
  'connected',
  'wrap_up',
  'paused',
  'no_answer',
  'busy',
  'error',
] as const;
export type AgentState = (typeof AGENT_STATES)[number];

/** States in which an agent has an offer or a call: a wish to leave waits for its end. */
export const AGENT_ENGAGED: readonly AgentState[] = ['reserved', 'connecting', 'connected', 'wrap_up'];
/** States that end by themselves at `state_until`. */
export const AGENT_RESTING: readonly AgentState[] = ['no_answer', 'busy', 'error'];

export const CAMPAIGN_STATUSES = ['draft', 'running', 'paused', 'ended'] as const;
export type CampaignStatus = (typeof CAMPAIGN_STATUSES)[number];

export const DISPOSITION_ACTIONS = ['done', 'mark_as_unanswered', 'reschedule', 'do_not_call'] as const;
export type DispositionAction = (typeof DISPOSITION_ACTIONS)[number];
