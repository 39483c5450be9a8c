import { describe, expect, test } from 'vitest';
import { whereJsonBreaks } from '../../api/json-position.ts';

describe('whereJsonBreaks', () => {
  test.each([
    ['{"a": x}', 1, 7],
    ['{"a": 1,}', 1, 9],
    ['{"a" 1}', 1, 6],
    ["{'a': 1}", 1, 2],
    ['{\n  "a": 1,\n  "b": tru\n}', 3, 8],
    ['[1, 2', 1, 6],
    ['[1 2]', 1, 4],
    ['{"a": "b}', 1, 7],
    ['{"a": "tab\there"}', 1, 7],
    ['{"a": 01}', 1, 8],
    ['[]]', 1, 3],
    ['{"a":1} {', 1, 9],
    ['', 1, 1],
    ['{"a":[}]', 1, 7],
  ])('%j breaks in line %i, column %i', (text, line, column) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    expect(whereJsonBreaks(text)).toEqual({ line, column });
  });

  test('a megabyte of open brackets ends', () => {
    expect(whereJsonBreaks('['.repeat(1_000_000))).toEqual({ line: 1, column: 1_000_001 });
  });

  test('what is JSON is read to its end', () => {
    const text = JSON.stringify({ a: [1, -2.5e3, 'x"\\ü', true, null, { b: {} }, []] }, null, 1);
    const at = whereJsonBreaks(text);
    expect(at.line).toBe(text.split('\n').length);
    expect(at.column).toBe(2);
  });
});
