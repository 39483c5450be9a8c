/**
 * What is done with each contact when PostgreSQL and Temporal are of different times (docs/operations.md, "Restoring"). One
 * rule stands above all others: who can't be shown not to have been dialled is not dialled, a person decides.
 */
import type { ContactState, EndedReason } from './states.ts';

export interface RestoredRow {
  round: number;
  state: ContactState;
  wait_reason: string | null;
  /** It was to be finished; `closed_at`: it is. */
  ended_reason: string | null;
  closed_at: Date | null;
}

/** How a workflow has ended by itself. */
export interface End {
  state: 'done' | 'disabled';
  reason: EndedReason;
}

/** What Temporal, and the switch, know of a contact. */
export interface Evidence {
  /** Its open workflows; `state` as they have told it last. */
  open: { round: number; state: string | null }[];
  /** Its newest workflow of those that have ended since the database was saved. */
  ended: (End & { round: number }) | null;
  /** Legs to it that the database does not know. */
  dials: number;
}

export type What =
  /** It was dialled, and the database does not know of it. */
  | 'dialled'
  /** It was in a call when the database was saved; what came of it is lost. */
  | 'in_call'
  /** Its workflow has ended since then. */
  | 'ended'
  /** The database has no such contact (any more): it has come with a list that is lost. */
  | 'unknown_contact'
  /** Its workflow is missing. */
  | 'no_workflow'
  /** Its workflow may be of another time. */
  | 'other_time'
  /** It is finished, and a workflow of it was left. */
  | 'left_over';

export interface Finding {
  what: What;
  /** `close` for a person to decide, or as the workflow has ended · `restart` from the row · `end` workflows only. */
  measure: 'close' | 'restart' | 'end';
  as: End | null;
}

export const IN_CALL: readonly ContactState[] = ['offered', 'dialling', 'talking', 'wrap_up'];
/** No workflow has been started, or the feed starts it once more. */
const NOT_STARTED: readonly ContactState[] = ['new', 'starting'];
const TIMED: readonly (string | null)[] = ['retry_delay', 'rescheduled', 'number_in_use'];

/** Null: it is as it should be. `isOlder`: the database is the one that was restored. */
export function judge(row: RestoredRow | null, { open, ended, dials }: Evidence, isOlder: boolean): Finding | null {
  if (!row) return { what: 'unknown_contact', measure: 'end', as: null };
  const newest = open.every(({ round }) => round < (ended?.round ?? 0)) ? ended : null;
  const as = newest && newest.round >= row.round ? { state: newest.state, reason: newest.reason } : null;
  if (dials > 0) return { what: 'dialled', measure: 'close', as };
  if (row.closed_at) return open.length > 0 ? { what: 'left_over', measure: 'end', as: null } : null;
  if (isOlder && as) return { what: 'ended', measure: 'close', as };
  if (isOlder && (IN_CALL.includes(row.state) || row.ended_reason)) return { what: 'in_call', measure: 'close', as: null };
  const own = open.find(({ round }) => round === row.round);
  if (!own) return NOT_STARTED.includes(row.state) && open.length === 0 ? null : { what: 'no_workflow', measure: 'restart', as: null };
  // Only of who is queued does a workflow know nothing that could be of another time.
  const isQueued = !IN_CALL.includes(row.state) && !TIMED.includes(row.wait_reason) && own.state === 'queued';
  return isQueued && open.length === 1 ? null : { what: 'other_time', measure: 'restart', as: null };
}

/** When the contact is due, as its workflow shows it; null: its wait ends by something that happens. */
export function dueAtOf(row: Pick<RestoredRow, 'state' | 'wait_reason'> & { wait_until: Date | null }): number | null {
  const isTimed = NOT_STARTED.includes(row.state) || (row.state === 'waiting' && TIMED.includes(row.wait_reason));
  return isTimed ? (row.wait_until?.getTime() ?? null) : null;
}

/** Contacts' legs that a record of a switch names, whatever else stands in it: channel ids of a CDR, lines of JSON. */
export function contactLegsIn(text: string): string[] {
  return [...new Set([...text.matchAll(/(?<![\d-])\d{7,19}-\d{1,10}-2(?![\d-])/g)].map(([legId]) => legId))];
}
