/** docs/domain.md, "Retries and caps". */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LEG_CODES, type LegCode } from '../../domain/codes.ts';
import { alternate, type AttemptHistory, nextStep } from '../../domain/retry.ts';
import { type CampaignRules, campaignRulesSchema, defaultRules } from '../../domain/rules.ts';

const EXHAUSTED = { kind: 'done', reason: 'attempts_exhausted' };
const GIVEN_UP = { kind: 'done', reason: 'numbers_given_up' };

/** A contact with two numbers, called once, at the first. */
const once: AttemptHistory = { attempts: 1, granted: 0, codes: {}, phones: { 1: true, 2: true }, lastPhone: 1 };
const rulesWith = (rules: object): CampaignRules => campaignRulesSchema.parse(rules);

describe('the delay', () => {
  test.each<[LegCode, number]>([
    ['b', 15],
    ['t', 60],
    ['h', 60],
    ['c', 5],
    ['q', 5],
    ['e', 60],
    ['k', 60],
  ])('after %s is %i minutes by default', (code, minutes) => {
    const step = nextStep(defaultRules(), { ...once, codes: { [code]: 1 } }, code);
    expect(step).toEqual({ kind: 'retry', delaySec: minutes * 60, phone: 2 });
  });

  test.each(['b', 't', 'h', 'c', 'q', 'e'] as const)('after %s is the one of its own rule', (code) => {
    const rules = rulesWith({ retry: { [code]: { delay_sec: 7 } } });
    expect(nextStep(rules, once, code)).toMatchObject({ delaySec: 7 });
    for (const other of LEG_CODES) {
      // An answer that nobody took, or that is marked as unanswered, is retried as `t`.
      const same = other === code || (other === 'k' && code === 't');
      if (!same) expect(nextStep(rules, once, other), other).not.toMatchObject({ delaySec: 7 });
    }
  });
});

describe('how often', () => {
  const twice = rulesWith({ max_attempts: 100, retry: { b: { max: 2 }, t: { max: 2 }, c: { max: 0 } } });
  test.each<[string, LegCode, AttemptHistory['codes'], 'retry' | 'done']>([
    ['the first', 'b', { b: 1 }, 'retry'],
    ['the second', 'b', { b: 2 }, 'retry'],
    ['the third, of two retries', 'b', { b: 3 }, 'done'],
    ['other codes do not count', 'b', { b: 2, t: 9, c: 9, e: 9 }, 'retry'],
    ['none', 'c', { c: 1 }, 'done'],
    ['no limit', 'e', { e: 99 }, 'retry'],
    ['h has a rule of its own', 'h', { h: 9, t: 9 }, 'retry'],
    ['q has a rule of its own', 'q', { q: 9, c: 9 }, 'retry'],
    ['abandoned or marked as unanswered, by the rule of t', 'k', { k: 2 }, 'retry'],
    ['the same, once too often', 'k', { k: 3 }, 'done'],
    ['with those that rang out', 'k', { k: 1, t: 2 }, 'done'],
    ['and the other way round', 't', { k: 1, t: 2 }, 'done'],
    ['an outcome that is not written yet', 'b', {}, 'retry'],
    ['the same, without a retry', 'c', {}, 'done'],
    ['the same, by the rule of t', 'k', { t: 2 }, 'done'],
  ])('%s: %s', (_what, code, codes, kind) => {
    expect(nextStep(twice, { ...once, codes }, code).kind).toBe(kind);
  });

  test.each(LEG_CODES)('max_attempts is above every rule: %s', (code) => {
    const rules = rulesWith({ max_attempts: 3 });
    expect(nextStep(rules, { ...once, attempts: 2 }, code).kind).toBe('retry');
    expect(nextStep(rules, { ...once, attempts: 3 }, code)).toEqual(EXHAUSTED);
    // Lowered meanwhile.
    expect(nextStep(rules, { ...once, attempts: 4 }, code)).toEqual(EXHAUSTED);
  });
});

describe('two numbers', () => {
  test.each<[string, AttemptHistory['phones'], 1 | 2, 1 | 2 | null]>([
    ['alternate', { 1: true, 2: true }, 1, 2],
    ['and back', { 1: true, 2: true }, 2, 1],
    ['only one', { 1: true, 2: false }, 1, 1],
    ['the first just given up', { 1: false, 2: true }, 1, 2],
    ['the second just given up', { 1: true, 2: false }, 2, 1],
    ['the first given up before', { 1: false, 2: true }, 2, 2],
    ['both given up', { 1: false, 2: false }, 1, null],
    ['both given up', { 1: false, 2: false }, 2, null],
  ])('%s', (_what, phones, lastPhone, next) => {
    expect(alternate(phones, lastPhone)).toBe(next);
    const step = nextStep(defaultRules(), { ...once, phones, lastPhone }, 'e');
    expect(step).toEqual(next === null ? GIVEN_UP : { kind: 'retry', delaySec: 3600, phone: next });
  });
});

const code = fc.constantFrom(...LEG_CODES);
const rule = fc.record({
  delay_sec: fc.nat(86_400),
  max: fc.option(fc.nat(5)),
});
const anyRules = fc
  .record({
    max_attempts: fc.integer({ min: 1, max: 20 }),
    retry: fc.record({ b: rule, t: rule, h: rule, c: rule, q: rule, e: rule }),
  })
  .map(rulesWith);

test('whatever the rules and outcomes: by the delay and maximum of each code, never more attempts than allowed, never a number given up', () => {
  const outcome = fc.record({ code, givenUp: fc.boolean() });
  const numbers = fc.record({ 1: fc.constant(true), 2: fc.boolean() });
  fc.assert(
    fc.property(anyRules, fc.nat(3), numbers, fc.array(outcome, { minLength: 24, maxLength: 24 }), (rules, granted, phones, outcomes) => {
      const history: AttemptHistory = { attempts: 0, granted, codes: {}, phones: { ...phones }, lastPhone: 1 };
      const retries: Partial<Record<LegCode, number>> = {};
      for (const { code, givenUp } of outcomes) {
        history.attempts += 1;
        history.codes[code] = (history.codes[code] ?? 0) + 1;
        if (givenUp) history.phones[history.lastPhone] = false;
        const step = nextStep(rules, history, code);
        if (step.kind === 'done') break;
        expect(history.phones[step.phone]).toBe(true);
        history.lastPhone = step.phone;
        // An answer that was none retries as one that rang out.
        const applied = code === 'k' ? 't' : code;
        retries[applied] = (retries[applied] ?? 0) + 1;
        const { delay_sec, max } = rules.retry[applied];
        expect(step.delaySec).toBe(delay_sec);
        if (max !== null) expect(retries[applied]).toBeLessThanOrEqual(max);
      }
      expect(history.attempts).toBeLessThanOrEqual(rules.max_attempts + granted);
    }),
  );
});
