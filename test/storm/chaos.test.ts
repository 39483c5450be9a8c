/** A minute of `npm run chaos`, as people run it: everything is killed, frozen and cut off, and nothing is wrong after it. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import type { Report } from '../../chaos/play.ts';

const MAIN = path.resolve(import.meta.dirname, '../../chaos/main.ts');
const run = promisify(execFile);
const chaosIn = (env: NodeJS.ProcessEnv, ...args: string[]) =>
  // Ends in order, with all that it has started, before the test is given up.
  run(process.execPath, [MAIN, ...args], { maxBuffer: 100_000_000, env, timeout: 840_000, killSignal: 'SIGTERM' }).catch((error: unknown) => error as { code: number; stdout: string; stderr: string });
const chaos = (...args: string[]) => chaosIn(process.env, ...args);

it('a minute of chaos violates nothing', { timeout: 900_000 }, async () => {
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

it('says that this machine can have no Asterisk', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'dialwright-bare-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  // One without apt.
  for (const tool of ['bash', 'mkdir']) symlinkSync(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), path.join(dir, tool));

  const { code, stdout, stderr } = (await chaosIn({ PATH: dir, XDG_CACHE_HOME: dir }, '--asterisk')) as { code: number; stdout: string; stderr: string };

  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr.trim().split('\n').at(-1)).toBe("--asterisk: this machine can't have one: a Debian or Ubuntu is needed (apt-get is missing)");
});
