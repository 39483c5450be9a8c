/** What is asked of an agent during an offer, and what becomes of them after it (docs/domain.md, "The offer"). Pure. */
import type { LegCode, ResultReason } from './codes.ts';
import { isTelephoneNumber } from './numbers.ts';
import type { CampaignRules } from './rules.ts';
import type { AgentState } from './states.ts';

export interface AgentCounters {
  missedInRow: number;
  errorsInRow: number;
  /** What the agent wished for while engaged. */
  nextState: 'paused' | 'logged_off' | null;
}

export interface AgentAfter {
  state: AgentState;
  cause: string;
  /** Seconds until the state ends by itself; null: it lasts. */
  forSec: number | null;
  missedInRow: number;
  errorsInRow: number;
  nextState: 'paused' | 'logged_off' | null;
}

/**
 * True when the agent must confirm before the contact is dialled. A telephone number (E.164) is reached through the trunk,
 * where nothing keeps a voicemail from answering: it is always asked, whatever `confirm` says. An extension has no `+`.
 */
export function mustConfirm({ phone, confirm }: { phone: string; confirm: boolean }): boolean {
  return confirm || isTelephoneNumber(phone);
}

/** An offer whose agent's leg was not answered: `code` and `reason` of that leg. */
export function afterFailedOffer(
  rules: CampaignRules,
  agent: AgentCounters,
  code: LegCode,
  reason: ResultReason | null,
): AgentAfter {
  const after = byCode(rules, agent, code, reason);
  if (agent.nextState === null) return after;
  // A wish to leave is granted now; a log-off by a counter is stronger than a wished pause.
  const state = after.state === 'logged_off' ? 'logged_off' : agent.nextState;
  return { ...after, state, forSec: null, nextState: null };
}

function byCode(
  rules: CampaignRules,
  { missedInRow, errorsInRow }: AgentCounters,
  code: LegCode,
  reason: ResultReason | null,
): AgentAfter {
  const same = { missedInRow, errorsInRow, nextState: null, forSec: null };
  // What counts ends the row of the other kind: three missed in a row are three without anything between.
  const anew = { ...same, missedInRow: 0, errorsInRow: 0 };
  const cause = reason ?? CAUSE[code];
  if (reason === 'agent_reject') {
    return { ...anew, state: rules.after_reject, cause };
  }
  if (reason === 'agent_logged_off' || reason === 'agent_lost') return { ...same, state: 'logged_off', cause };
  if (reason === 'switch_lost' || reason === 'unknown') {
    // Our fault or the trunk's, never the agent's.
    return { ...same, state: 'ready', cause };
  }
  if (code === 't') {
    const missed = missedInRow + 1;
    if (missed >= rules.missed_limit) {
      return { ...anew, state: rules.missed_action, cause: 'missed_limit' };
    }
    return { ...anew, state: 'no_answer', cause, forSec: rules.rest_sec, missedInRow: missed };
  }
  if (code === 'b' || code === 'e' || code === 'c') {
    const errors = errorsInRow + 1;
    if (errors >= rules.error_limit) return { ...anew, state: 'logged_off', cause: 'error_limit' };
    return { ...anew, state: code === 'b' ? 'busy' : 'error', cause, forSec: rules.rest_sec, errorsInRow: errors };
  }
  return { ...same, state: 'ready', cause };
}

const CAUSE: Readonly<Record<LegCode, string>> = {
  k: 'call_over',
  t: 'no_answer',
  h: 'withdrawn',
  q: 'withdrawn',
  b: 'phone_busy',
  c: 'phone_error',
  e: 'phone_error',
};

/** An agent who had answered and whose call ended without a talk: nothing to wrap up, nothing counted against them. */
export function afterCallWithoutTalk(agent: AgentCounters, cause: string): AgentAfter {
  return { state: agent.nextState ?? 'ready', cause, forSec: null, missedInRow: 0, errorsInRow: 0, nextState: null };
}

/** After a talk: wrap-up, even for one who wishes to leave (the wish is kept). */
export function afterTalk(rules: CampaignRules, agent: AgentCounters): AgentAfter {
  const forSec = rules.wrap_up_sec;
  return { state: 'wrap_up', cause: 'talk_ended', forSec, missedInRow: 0, errorsInRow: 0, nextState: agent.nextState };
}
