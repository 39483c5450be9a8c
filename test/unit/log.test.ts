/** What must not get into a log, whatever is logged. */
import { describe, expect, test } from 'vitest';
import { createLogger } from '../../config/log.ts';

/** The lines that `write` logs, parsed, and as one text. */
function logged(write: (log: ReturnType<typeof createLogger>) => void) {
  const lines: string[] = [];
  write(createLogger('test', 'debug', { write: (line) => void lines.push(line) }));
  return { text: lines.join(''), lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

const failure = (properties: object, message = 'it failed') => Object.assign(new Error(message), properties);
const thrownBy = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return error;
  }
};

describe('a log', () => {
  test.each([
    ['a number', '+4722865026'],
    ['an API key', 'dw_0123456789abcdef0123456789abcdef0123456789a'],
    ["a webhook's secret", 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
  ])('has no %s in it, wherever it stands', (_what, word) => {
    const { text } = logged((log) => {
      log.info({ word, deep: { deep: { deep: word } } }, `about\n${word}`);
      log.warn({ err: new Error(`about ${word}`, { cause: new Error(word) }) }, 'failed');
    });
    expect(text).not.toContain(word);
    expect(text.match(/\[private\]/g)!.length).toBeGreaterThanOrEqual(5);
  });

  test('has no password of a URL in it, but its host', () => {
    const { lines } = logged((log) => log.info({ url: 'postgresql://dialwright:geheim@db.example:5432/x' }, 'see https://a:b@example.org/'));
    expect(lines[0]).toMatchObject({ url: 'postgresql://[private]@db.example:5432/x', msg: 'see https://[private]@example.org/' });
    const url = 'http://127.0.0.1:3000/v1/agents?x=a@b';
    expect(logged((log) => log.info({ url }, '')).lines[0]).toMatchObject({ url });
  });

  test.each(['phone', 'phone_num', 'number', 'variables', 'comment', 'detail', 'secret', 'token', 'authorization', 'key'])('has no %s in it', (name) => {
    const { text } = logged((log) => log.info({ [name]: 'Åse Ødegård', row: { [name]: 'Åse Ødegård' } }, 'a row'));
    expect(text).not.toContain('Åse');
  });

  test('says of an error what it is and where, and nothing that a driver hangs onto it', () => {
    const refused = failure({ code: '23514', detail: 'Failing row contains (Åse)', constraint: 'broken', table: 'contact' });
    const wrapped = failure({ code: 'P2010', meta: { driverAdapterError: { cause: { detail: 'Åse' } } }, cause: refused }, 'refused');
    const { lines, text } = logged((log) => log.error({ err: wrapped }, 'a request failed'));
    expect(lines[0]!.err).toMatchObject({
      ...{ type: 'Error', code: 'P2010', message: 'refused', stack: expect.stringContaining('log.test.ts') as string },
      cause: { code: '23514', constraint: 'broken', table: 'contact' },
    });
    expect(text).not.toContain('Åse');
    const several = new AggregateError([refused, failure({ code: 'ECONNREFUSED', address: '127.0.0.1' })], 'none of them');
    expect(logged((log) => log.warn({ err: several }, '')).lines[0]!.err).toMatchObject({
      errors: [{ code: '23514' }, { code: 'ECONNREFUSED', address: '127.0.0.1' }],
    });
  });

  test.each([
    ['JSON', thrownBy(() => JSON.parse('{"name": "Åse Ødegård", x}'))],
    ['a URL', thrownBy(() => new URL('Åse Ødegård'))],
    ['a value', failure({ code: '22P02' }, 'invalid input syntax for type bigint: "Åse Ødegård"')],
  ])('does not quote %s that could not be read', (_what, err) => {
    const { text, lines } = logged((log) => log.warn({ err }, 'failed'));
    expect(text).not.toMatch(/Åse|degård/);
    expect((lines[0]!.err as { type: string }).type).toMatch(/Error$/);
  });

  test('takes whatever is thrown', () => {
    const { lines } = logged((log) => ['text', null, 7, { phone: 'Åse' }].forEach((err) => log.warn({ err }, 'failed')));
    expect(lines.map(({ err }) => err)).toEqual(['text', { type: 'object' }, { type: 'number' }, { type: 'object' }]);
    const circle = failure({});
    circle.cause = circle;
    expect(logged((log) => log.warn({ err: circle }, 'failed')).lines).toHaveLength(1);
  });
});
