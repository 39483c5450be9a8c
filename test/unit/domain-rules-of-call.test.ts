/** docs/domain.md, "Rules in force". */
import { describe, expect, test } from 'vitest';
import { type CampaignRules, defaultRules } from '../../domain/rules.ts';
import { rulesOfCall } from '../../domain/rules-of-call.ts';

const then: CampaignRules = { ...defaultRules(), max_attempts: 2, ring_sec: 60, record_calls: true };
const now: CampaignRules = { ...defaultRules(), max_attempts: 7, ring_sec: 15, wrap_up_sec: 5 };

test('a call keeps the rules of its first offer', () => {
  const { max_attempts: _, ...kept } = rulesOfCall({ rules: now, rules_at_first_offer: then });
  const { max_attempts: __, ...expected } = then;
  expect(kept).toEqual(expected);
});

describe.each([
  ['lowered', 1],
  ['raised', 9],
])('the cap on attempts, %s meanwhile', (_what, max_attempts) => {
  test('is the one of now', () => {
    const rules = rulesOfCall({ rules: { ...now, max_attempts }, rules_at_first_offer: then });
    expect(rules.max_attempts).toBe(max_attempts);
  });
});

test('before its first offer a call has the rules of now', () => {
  expect(rulesOfCall({ rules: now, rules_at_first_offer: null })).toEqual(now);
});

test('what a stored version lacks is at its default, not as it is now', () => {
  const { wrap_up_sec: _, ...old } = then;
  const rules = rulesOfCall({ rules: now, rules_at_first_offer: old as CampaignRules });
  expect(rules.wrap_up_sec).toBe(defaultRules().wrap_up_sec);
});
