import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { asAppError, invalidInput, isUnavailable } from '../../api/problems.ts';
import { AppError } from '../../domain/errors.ts';

const coded = (code: string, message = 'failed') => Object.assign(new Error(message), { code });

const saidByPostgres = (originalCode: string) =>
  Object.assign(coded('P2039'), { meta: { driverAdapterError: { cause: { originalCode } } } });

describe('what counts as unavailable', () => {
  test.each([
    ['refused', coded('ECONNREFUSED')],
    ['reset', coded('ECONNRESET')],
    ['server shutting down', coded('57P01')],
    ['server starting', coded('57P03')],
    ['connection failure', coded('08006')],
    ['too many connections', coded('53300')],
    ['deadlock after every repeat', coded('40P01')],
    ['Prisma: cannot reach', coded('P1001')],
    ['Prisma: closed', coded('P1017')],
    ['Prisma: no connection free', coded('P2024')],
    ['Prisma: what PostgreSQL says', saidByPostgres('57P03')],
    ['pg: no connection free', new Error('timeout exceeded when trying to connect')],
    ['pg: broken', new Error('Connection terminated unexpectedly')],
    ['in a cause', new Error('outer', { cause: new Error('middle', { cause: coded('ECONNREFUSED') }) })],
    ['one of several addresses', new AggregateError([coded('ECONNREFUSED')])],
  ])('%s', (_what, error) => {
    expect(isUnavailable(error)).toBe(true);
    expect(asAppError(error)?.code).toBe('UNAVAILABLE');
  });

  test.each([
    ['a syntax error in SQL', coded('42601')],
    ['a unique violation', coded('23505')],
    ['Prisma: a unique violation, as PostgreSQL says', saidByPostgres('23505')],
    ['a defect', new TypeError('x is undefined')],
    ['a string', 'failed'],
    ['nothing', undefined],
  ])('not %s', (_what, error) => {
    expect(isUnavailable(error)).toBe(false);
    expect(asAppError(error)).toBeNull();
  });

  test('a cause that is itself ends', () => {
    const error = new Error('round');
    error.cause = error;
    expect(isUnavailable(error)).toBe(false);
  });
});

test('issues name each field and each unknown one', () => {
  const schema = z.strictObject({ a: z.string(), list: z.array(z.strictObject({ n: z.int() })) });
  const read = schema.safeParse({ a: 1, list: [{ n: 1, x: 2 }, { n: 'y' }], b: 3 });
  const error = invalidInput(read.error!, 'body');
  expect(error).toBeInstanceOf(AppError);
  expect(error.details.issues?.map((issue) => issue.field).sort()).toEqual(['a', 'b', 'list.0.x', 'list.1.n']);
});
