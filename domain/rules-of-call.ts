/** Under which rules a call is made (docs/domain.md, "Rules in force"). Pure. */
import { type CampaignRules, withDefaults } from './rules.ts';

/**
 * From when each rule holds. `now`: it protects the people who are called, so whatever the call began with, it is what the
 * campaign says at the moment of the check. `first_offer`: it stays for the call, and no edit upsets what is under way.
 */
const HOLDS_FROM: Readonly<Record<keyof CampaignRules, 'first_offer' | 'now'>> = {
  max_attempts: 'now',
  max_per_number_per_day: 'now',
  min_gap_sec: 'now',
  hours: 'now',
  countries: 'now',
  order: 'now',
  filter: 'now',
  retry: 'first_offer',
  agent_ring_sec: 'first_offer',
  setup_sec: 'first_offer',
  ring_sec: 'first_offer',
  confirm_sec: 'first_offer',
  reoffer_after_sec: 'first_offer',
  rest_sec: 'first_offer',
  missed_limit: 'first_offer',
  missed_action: 'first_offer',
  error_limit: 'first_offer',
  after_reject: 'first_offer',
  wrap_up_sec: 'first_offer',
  topics: 'first_offer',
  reschedule: 'first_offer',
  record_calls: 'first_offer',
};

export interface StoredRules {
  /** The campaign's, as they are now. */
  rules: CampaignRules;
  /** As they were then; null for a call that has not been offered, or was before rules had versions. */
  rules_at_first_offer: CampaignRules | null;
}

export function rulesOfCall({ rules, rules_at_first_offer }: StoredRules): CampaignRules {
  const current = withDefaults(rules);
  if (!rules_at_first_offer) return current;
  const kept = Object.entries(withDefaults(rules_at_first_offer)).filter(
    ([name]) => HOLDS_FROM[name as keyof CampaignRules] === 'first_offer',
  );
  return { ...current, ...Object.fromEntries(kept) };
}
