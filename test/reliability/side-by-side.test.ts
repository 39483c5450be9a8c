/**
 * An upgrade under way: a worker of the last release beside one of today's, on the database that today's migrations have made.
 * Each takes calls over from the other. The last release is the newest tag `v*` before this commit; before there is one, what stood before the last
 * migration, where the code of then and the rows of now differ most. `RELEASE=<commit>` names any commit.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Process, startSystem, type System } from '../kit/system.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const lastMigration = () => git('log', '--first-parent', '--max-count=1', '--format=%H', '--', 'prisma/migrations');
const release =
  process.env.RELEASE ??
  git('describe', '--tags', '--abbrev=0', '--match', 'v*', 'HEAD^') ??
  git('rev-parse', '--verify', '--quiet', `${lastMigration()}^`);
if (!release) process.stderr.write('Tests with the last release are skipped: this clone has no tag v*, and not the last migration\'s parent\n');

/** Null when it fails: of a clone that is shallow, or of files without one. */
function git(...args: string[]): string | null {
  try {
    return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

/** Its files beside the packages of today. */
function checkOut(commit: string): string {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'dialwright-release-'));
  execFileSync('sh', ['-c', `git archive "$1" | tar -x -C "$2"`, 'sh', commit, dir], { cwd: ROOT });
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(dir, 'node_modules'));
  execFileSync(process.execPath, ['node_modules/prisma/build/index.js', 'generate'], { cwd: dir, stdio: 'ignore' });
  return dir;
}

describe.skipIf(!release)('a worker of the last release and one of today', () => {
  let system: System;
  let former: string;
  let today: Process;
  let before: Process;
  let next = 22900000;

  beforeAll(async () => {
    former = checkOut(release!);
    const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
    system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
    today = system.worker;
    before = await system.addWorker('worker-before', {}, former);
    await runs('worker-before');
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    if (former) rmSync(former, { recursive: true, force: true });
  });

  const runs = (name: string) =>
    eventually(
      async () => (await system.sql.query(`SELECT 1 FROM pg_stat_activity WHERE application_name = $1`, [`worker ${name}`])).rowCount,
      { withinMs: 30_000 },
    );
  const holder = async (): Promise<string> =>
    (await system.sql.query<{ holder: string }>(`SELECT holder FROM node WHERE lease_until > now()`)).rows[0]?.holder ?? '';

  async function callAt(stage: 'ringing' | 'talking'): Promise<{ scene: Scene; contact: string }> {
    const contact = `+47${next++}`;
    const scene = await setScene(system, { contacts: [{ phone_num: contact }], rules: { wrap_up_sec: 1 } });
    await scene.ready();
    await scene.ringing();
    if (stage === 'talking') await answer(scene, contact);
    return { scene, contact };
  }
  async function answer(scene: Scene, contact: string): Promise<void> {
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling', 0, 40_000);
    await eventually(async () => (await scene.dialled(contact)) === 1, { withinMs: 20_000 });
    await scene.phone(contact, 'answer');
    await scene.until('talking', 0, 40_000);
  }

  it.each(['today', 'before'])('the one of %s ends amid calls: the other one brings them to their end', async (which) => {
    const [ending, name] = which === 'today' ? [today, 'worker-1'] : [before, 'worker-before'];
    const other = name === 'worker-1' ? 'worker-before' : 'worker-1';
    // It holds the node, so that its calls have to be taken over.
    if ((await holder()) !== name) {
      const [there, itsName] = name === 'worker-1' ? [before, 'worker-before'] : [today, 'worker-1'];
      await there.stop();
      await eventually(async () => (await holder()) === name, { withinMs: 20_000 });
      await there.restart();
      await runs(itsName);
    }
    const [ringing, talking] = [await callAt('ringing'), await callAt('talking')];
    await ending.stop();
    await eventually(async () => (await holder()) === other, { withinMs: 20_000 });
    await answer(ringing.scene, ringing.contact);
    for (const { scene, contact } of [ringing, talking]) {
      await scene.phone(contact, 'hang-up');
      await scene.until('done', 0, 40_000);
      await scene.story('i q:q a:k c:k');
      expect(await scene.dialled(contact)).toBe(1);
    }
    await ending.restart();
    await runs(name);
  }, 180_000);
});
