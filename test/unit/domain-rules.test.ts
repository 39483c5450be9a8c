/** docs/domain.md, "Rules of a campaign". */
import { describe, expect, test } from 'vitest';
import { campaignRulesSchema, defaultRules } from '../../domain/rules.ts';

const problems = (rules: unknown): string[] => {
  const read = campaignRulesSchema.safeParse(rules);
  if (read.success) return [];
  return read.error.issues.flatMap((issue) => {
    const at = issue.path.map(String);
    if (issue.code !== 'unrecognized_keys') return [at.join('.')];
    return issue.keys.map((key) => [...at, key].join('.'));
  });
};

/** `retry.b.max`, 3 → `{ retry: { b: { max: 3 } } }` */
const at = (path: string, value: unknown): unknown =>
  path.split('.').reduceRight<unknown>((inner, name) => ({ [name]: inner }), value);

test('defaults', () => {
  const after = (minutes: number) => ({ delay_sec: minutes * 60, max: null });
  expect(defaultRules()).toEqual({
    max_attempts: 5,
    retry: { b: after(15), t: after(60), h: after(60), c: after(5), q: after(5), e: after(60) },
    agent_ring_sec: 20,
    setup_sec: 20,
    ring_sec: 30,
    confirm_sec: 10,
    reoffer_after_sec: 60,
    rest_sec: 10,
    missed_limit: 3,
    missed_action: 'paused',
    error_limit: 5,
    after_reject: 'ready',
    wrap_up_sec: 30,
    max_per_number_per_day: 3,
    min_gap_sec: 300,
    hours: null,
    order: [],
    filter: { include: [], exclude: [] },
    reschedule: { reserve_sec: 600, while_paused: false },
    countries: null,
    topics: { required: false, comment: 'optional', tree: [] },
    record_calls: false,
  });
});

test('what is given is kept, the rest keeps its default, also inside', () => {
  const rules = campaignRulesSchema.parse({ ring_sec: 45, retry: { b: { max: 2 } } });
  const { retry, ...others } = defaultRules();
  expect(rules).toEqual({ ...others, ring_sec: 45, retry: { ...retry, b: { delay_sec: 900, max: 2 } } });
});

test.each<[string, object, string[]]>([
  ['a gap as long as the campaign', { min_gap_sec: 86_400 }, ['min_gap_sec']],
  ['delays that are over after it', { retry: { b: { delay_sec: 86_400 }, t: { delay_sec: 200_000 } } }, ['retry.b.delay_sec', 'retry.t.delay_sec']],
  ['delays of retries that there are not', { retry: { b: { delay_sec: 86_400, max: 0 } } }, []],
  ['delays where there is one attempt', { max_attempts: 1, retry: { b: { delay_sec: 86_400 } } }, []],
  ['what ends before', { min_gap_sec: 86_399 }, []],
])('%s: %j in a campaign of one day', (_what, rules, expected) => {
  const hours = { periods: [{ days: ['mon'], from: '09:00', to: '17:00' }], from_date: '2030-01-07', to_date: '2030-01-07' };
  expect(problems({ hours, ...rules })).toEqual(expected);
});

test.each<[string, object, string[]]>([
  ['values that no contact can have both', { include: [{ variable: 'var1', values: ['a'] }, { variable: 'var1', values: ['B'] }] }, ['filter.include.1.values']],
  ['values that are excluded, too', { include: [{ variable: 'var1', values: ['A'] }], exclude: [{ variable: 'var1', values: ['a'] }] }, ['filter.include.0.values']],
  ['values of which some are left', { include: [{ variable: 'var1', values: ['a', 'b'] }], exclude: [{ variable: 'var1', values: ['a'] }] }, []],
  ['other variables', { include: [{ variable: 'var1', values: ['a'] }, { variable: 'var2', values: ['b'] }] }, []],
])('a filter with %s', (_what, filter, expected) => {
  expect(problems({ filter })).toEqual(expected);
});

test('defaults are nobody\'s to change', () => {
  defaultRules().retry.b.max = 1;
  expect(defaultRules().retry.b.max).toBeNull();
});

const DAYS_30 = 30 * 86_400;
const CODES = ['b', 't', 'h', 'c', 'q', 'e'];

describe('ranges', () => {
  test.each<[string, number, number]>([
    ['max_attempts', 1, 100],
    ...CODES.map((code): [string, number, number] => [`retry.${code}.delay_sec`, 0, DAYS_30]),
    ...CODES.map((code): [string, number, number] => [`retry.${code}.max`, 0, 100]),
    ['agent_ring_sec', 5, 120],
    ['setup_sec', 5, 60],
    // A contact's phone rings for 15 s at least.
    ['ring_sec', 15, 120],
    ['confirm_sec', 3, 60],
    ['reoffer_after_sec', 1, 3600],
    ['rest_sec', 0, 600],
    ['missed_limit', 1, 100],
    ['error_limit', 1, 100],
    ['wrap_up_sec', 0, 3600],
  ])('%s: %i to %i', (path, min, max) => {
    expect([min, max].flatMap((value) => problems(at(path, value)))).toEqual([]);
    for (const value of [min - 1, max + 1, min + 0.5, String(min), Number.NaN, true, {}]) {
      expect(problems(at(path, value)), JSON.stringify(value)).toEqual([path]);
    }
  });

  test.each([
    ['missed_action', ['paused', 'logged_off'], ['ready', 'no_answer', null]],
    ['after_reject', ['ready', 'paused'], ['logged_off', '', null]],
  ])('%s', (path, allowed, refused) => {
    expect(allowed.flatMap((value) => problems(at(path, value)))).toEqual([]);
    expect(refused.flatMap((value) => problems(at(path, value)))).toEqual(refused.map(() => path));
  });

  test('calls are recorded or not', () => {
    expect([true, false].flatMap((value) => problems({ record_calls: value }))).toEqual([]);
    for (const value of ['yes', 1, null]) expect(problems({ record_calls: value })).toEqual(['record_calls']);
  });

  test('countries are named, or only the campaign\'s own', () => {
    for (const value of [null, ['NO'], ['NO', 'SE', 'AX']]) expect(problems({ countries: value })).toEqual([]);
    for (const value of [[], 'NO', true]) expect(problems({ countries: value })).toEqual(['countries']);
    for (const value of ['no', 'NOR', 'XX', '', 47]) expect(problems({ countries: ['NO', value] })).toEqual(['countries.1']);
  });

  test('only a maximum may be null', () => {
    expect(problems(at('retry.b.max', null))).toEqual([]);
    expect(problems(at('retry.b.delay_sec', null))).toEqual(['retry.b.delay_sec']);
    expect(problems({ max_attempts: null, retry: null })).toEqual(['max_attempts', 'retry']);
  });
});

test.each(['max_atempts', 'retry.z', 'retry.k', 'retry.b.delay', 'retry.b.delay_min'])('%s is not known', (path) => {
  expect(problems(at(path, {}))).toEqual([path]);
});
