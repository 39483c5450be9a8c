/** The union of error codes against the one table that maps it to HTTP (house rule ERR1). */
import { describe, expect, test } from 'vitest';
import { PROBLEMS } from '../../api/problems.ts';
import { AppError, ERROR_CODES } from '../../domain/errors.ts';

/** Codes that only HTTP has. */
const OF_HTTP = ['METHOD_NOT_ALLOWED', 'INTERNAL'];

describe('error codes', () => {
  test('have a status each, and there is no other', () => {
    expect(Object.keys(PROBLEMS).toSorted()).toEqual([...ERROR_CODES, ...OF_HTTP].toSorted());
    expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
  });

  test.each(ERROR_CODES)('%s is the client\'s mistake, or may be repeated', (code) => {
    const { status, title, retryAfter } = PROBLEMS[code];
    expect(title).not.toBe('');
    if (status === 503) expect(retryAfter).toBeGreaterThan(0);
    else expect([status >= 400, status < 500]).toEqual([true, true]);
  });
});

test('an error carries its code, and details when there are some', () => {
  const conflict = new AppError('CONFLICT', 'the campaign is running', { state: 'running' });
  expect(conflict).toBeInstanceOf(Error);
  expect(conflict).toMatchObject({ name: 'AppError', code: 'CONFLICT', details: { state: 'running' } });
  expect(new AppError('NOT_FOUND', 'there is no such call').details).toEqual({});
});
