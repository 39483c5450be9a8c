/** What `npm run audit` makes of the registry's answer. */
import { describe, expect, test } from 'vitest';
import { verdictOf } from '../../dev/audit.ts';

const counts = { info: 0, low: 1, moderate: 2, high: 0, critical: 0, total: 3 };
const holes = (level: string) => ({
  auditReportVersion: 2,
  vulnerabilities: {
    small: { name: 'small', severity: 'moderate', range: '<1.2.0' },
    large: { name: 'large', severity: level, range: '<=4.0.1' },
  },
  metadata: { vulnerabilities: counts },
});
const verdict = (answer: unknown) => verdictOf(JSON.stringify(answer));

describe('an audit', () => {
  test.each(['high', 'critical'])('with a hole of level %s fails, and names it', (level) => {
    const { passed, text } = verdict(holes(level));
    expect(passed).toBe(false);
    expect(text).toContain(`${level}: large <=4.0.1`);
    expect(text).not.toContain('small');
  });

  test('with lesser ones, or none, passes and counts them', () => {
    expect(verdict(holes('low'))).toEqual({ passed: true, text: expect.stringContaining('low 1, moderate 2, high 0') });
    expect(verdict({ vulnerabilities: {}, metadata: { vulnerabilities: { high: 0 } } })).toMatchObject({ passed: true });
  });

  test.each([
    ['a mirror that knows no such address', JSON.stringify({ message: 'request to https://mirror.example/-/npm/v1/security failed\n', method: 'POST' }), 'mirror.example'],
    ['an error of npm', JSON.stringify({ error: { code: 'ENOAUDIT', summary: 'audit endpoint returned an error' } }), 'audit endpoint'],
    ['nobody who answers', '', 'does not answer'],
    ['something else', 'null', 'does not answer'],
    ['a page', '<html>', 'does not answer'],
  ])('that was answered by %s is told as what it is: none', (_who, answer, why) => {
    const { passed, text } = verdictOf(answer);
    expect(passed).toBe(true);
    expect(text).toMatch(/^NOT AUDITED: .*offers no audit/);
    expect(text).toContain(why);
  });
});
