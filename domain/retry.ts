/** What follows a call in which a leg to the contact was sent (docs/domain.md, "Retries and caps"). */
import type { LegCode } from './codes.ts';
import type { CampaignRules } from './rules.ts';

export interface AttemptHistory {
  /** Contact legs sent so far, the last one included; an unknown outcome counts. */
  attempts: number;
  /** Attempts over `max_attempts`: one for each reschedule agreed in a talk, and those of reopenings. */
  granted: number;
  /** How often each code has ended a contact leg since the contact was last reopened, the last one included. */
  codes: Partial<Record<LegCode, number>>;
  /** Which of the numbers exist and may still be dialled. */
  phones: { 1: boolean; 2: boolean };
  /** The number of the last leg. */
  lastPhone: 1 | 2;
}

export type NextStep =
  | { kind: 'retry'; delaySec: number; phone: 1 | 2 }
  | { kind: 'done'; reason: 'attempts_exhausted' | 'numbers_given_up' };

/** The code whose rule applies: an abandoned answer and "mark as unanswered" (both `k`) retry as `t`. */
const ruleOf = (code: LegCode): Exclude<LegCode, 'k'> => (code === 'k' ? 't' : code);

/** The other number if there is one, else the same; null when all are given up. */
export function alternate(phones: AttemptHistory['phones'], last: 1 | 2): 1 | 2 | null {
  const other = last === 1 ? 2 : 1;
  if (phones[other]) return other;
  return phones[last] ? last : null;
}

export function nextStep(rules: CampaignRules, history: AttemptHistory, code: LegCode): NextStep {
  const phone = alternate(history.phones, history.lastPhone);
  if (phone === null) return { kind: 'done', reason: 'numbers_given_up' };
  const applied = ruleOf(code);
  const rule = rules.retry[applied];
  // The last outcome may not be written yet.
  const times: AttemptHistory['codes'] = { [code]: 1, ...history.codes };
  const retried = (times[applied] ?? 0) + (applied === 't' ? (times.k ?? 0) : 0) - 1;
  if (history.attempts >= rules.max_attempts + history.granted || (rule.max !== null && retried >= rule.max)) {
    return { kind: 'done', reason: 'attempts_exhausted' };
  }
  return { kind: 'retry', delaySec: rule.delay_sec, phone };
}
