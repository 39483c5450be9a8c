/** What a benchmark says of a figure: its ratio to the bare limit, whether the aim is met, and how it is printed. */
import { describe, expect, test } from 'vitest';
import { asJson, asTable, type Figure, isMet } from '../../bench/figure.ts';

const figure = (changes: Partial<Figure> = {}): Figure => ({
  name: 'rows imported',
  value: 25_000,
  unit: '/s',
  limit: 50_000,
  limitIs: 'bare COPY',
  aim: { of: 'ratio', atLeast: 0.5 },
  ...changes,
});

const parsed = (text: string): unknown[] => text.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);

describe('an aim', () => {
  test.each([
    [{ of: 'ratio', atLeast: 0.5 }, true],
    [{ of: 'ratio', atLeast: 0.51 }, false],
    [{ of: 'ratio', atMost: 0.5 }, true],
    [{ of: 'ratio', atMost: 0.49 }, false],
    [{ of: 'value', atLeast: 25_000 }, true],
    [{ of: 'value', atLeast: 25_001 }, false],
    [{ of: 'value', atMost: 25_000 }, true],
    [{ of: 'value', atMost: 24_999 }, false],
  ] as const)('%j is met by half of the limit: %s', (aim, met) => {
    expect(isMet(figure({ aim }))).toBe(met);
  });

  test('is judged by what was measured, not by what is printed', () => {
    const almost = figure({ value: 24_999, aim: { of: 'ratio', atLeast: 0.5 } });
    expect(parsed(asJson([almost]))).toMatchObject([{ ratio: 0.5 }]);
    expect(isMet(almost)).toBe(false);
  });

  test('is not met by a figure without samples', () => {
    expect(isMet(figure({ value: NaN }))).toBe(false);
    expect(isMet(figure({ value: NaN, aim: { of: 'value', atMost: 1 } }))).toBe(false);
  });
});

describe('--json', () => {
  test('is an object a line: name, value, unit, limit, ratio', () => {
    const text = asJson([figure(), figure({ name: 'history, p50', value: 36, unit: 'events', limit: 42 })]);
    expect(text.endsWith('}\n')).toBe(true);
    expect(parsed(text)).toEqual([
      { name: 'rows imported', value: 25_000, unit: '/s', limit: 50_000, ratio: 0.5 },
      { name: 'history, p50', value: 36, unit: 'events', limit: 42, ratio: 0.857 },
    ]);
  });

  test('has three digits of each number', () => {
    const [line] = parsed(asJson([figure({ value: 28_412.7, limit: 0.123456 })]));
    expect(line).toMatchObject({ value: 28_400, limit: 0.123, ratio: 230_000 });
  });

  test('is nothing when nothing was measured', () => {
    expect(asJson([])).toBe('');
  });
});

describe('the table', () => {
  test('has a line a figure, with its aim and whether it is met', () => {
    const slow = figure({ name: 'calls', value: 9.87654, limit: 30, aim: { of: 'value', atLeast: 12 } });
    expect(asTable([figure(), slow]).split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['figure', 'value', 'unit', 'limit', 'which is', 'ratio', 'aim'],
      ['rows imported', '25000', '/s', '50000', 'bare COPY', '0.5', 'ratio ≥ 0.5', 'met'],
      ['calls', '9.88', '/s', '30', 'bare COPY', '0.329', 'value ≥ 12', 'missed'],
      [''],
    ]);
  });

  test('has its columns in line', () => {
    const lines = asTable([figure(), figure({ name: 'a longer name than that' })]).trimEnd().split('\n');
    expect(new Set(lines.map((line) => line.indexOf('/s')).slice(1)).size).toBe(1);
  });
});
