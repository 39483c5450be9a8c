/** A minute of `npm run chaos`, as people run it: everything is killed, frozen and cut off, and nothing is wrong after it. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Report } from '../../chaos/play.ts';

const MAIN = path.resolve(import.meta.dirname, '../../chaos/main.ts');
const run = promisify(execFile);
const chaos = (...args: string[]) =>
  run(process.execPath, [MAIN, ...args], { maxBuffer: 100_000_000 }).catch((error: unknown) => error as { code: number; stdout: string; stderr: string });

it('a minute of chaos violates nothing', { timeout: 600_000 }, async () => {
  const { stdout, stderr } = await chaos('--seconds', '60', '--kills', '12', '--contacts', '400', '--agents', '40', '--json');
  const report = stdout ? (JSON.parse(stdout) as Report) : null;
  expect(report, stderr).not.toBeNull();
  const { checks, violations, repeat, figures } = report!;
  expect(checks.flatMap(({ what, violations: found }) => found.slice(0, 5).map((one) => `${what}: ${one}`)), `${repeat}\n${stderr}`).toEqual([]);
  expect(violations).toBe(0);
  // It has really been called, and every check has looked at something.
  expect(figures['dials to contacts']).toBeGreaterThan(50);
  for (const { what, looked } of checks) expect(looked, what).toBeGreaterThan(0);
});

it('says what is wrong with its options, and how it is used', async () => {
  expect(await chaos('--seconds', 'soon')).toMatchObject({ code: 2, stderr: '--seconds is soon: it must be a whole number from 1 on\n' });
  expect((await chaos('--help')).stdout).toContain('npm run chaos');
});
