/** Every activity and transaction of the code is one at which test/storm/crash-points.test.ts crashes, or has its reason. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { activitiesOfCode, ROOT, transactionsOfCode } from '../kit/crash/code.ts';
import { plan, reachedBy } from '../kit/crash/points.ts';
import { NOT_REACHED, REACHED } from '../kit/crash/reached.ts';
import { SCENARIOS } from '../kit/crash/scenarios.ts';

const code = [...activitiesOfCode(), ...transactionsOfCode().map(({ name }) => name)];

describe('the crash points', () => {
  test('are all activities and transactions of the code', () => {
    expect([...REACHED, ...Object.keys(NOT_REACHED)].toSorted()).toEqual(code.toSorted());
    expect(activitiesOfCode()).toContain('dial');
    expect(code).toContain('activities/legs.ts end');
  });

  test('that are left out name a test that there is', () => {
    const named = Object.values(NOT_REACHED).map((why) => /test\/\S+\.ts/.exec(why)?.[0] ?? why);
    expect(named.filter((file) => !existsSync(path.join(ROOT, file)))).toEqual([]);
  });
});

describe('the plan', () => {
  const [scenario] = SCENARIOS;
  const [{ place, name }] = transactionsOfCode() as [{ place: string; name: string }];
  const run = [
    'before activity ring #1',
    `before COMMIT of ${place} #1`,
    `after COMMIT of ${place} #1`,
    'before switch originate agent #1',
    'after activity ring #1',
    'before statement of worker/node.ts:1 #1',
    'before statement of worker/node.ts:1 #2',
    'before activity ring #2',
  ];
  const planned = (share: number) =>
    plan([{ scenario: scenario!, runs: [run, run] }], ['before statement of worker/node.ts:1 #7'], { seed: 1, share });

  test('kills at each point the first time, of two with nothing between them at the first, and once at what comes again and again', () => {
    expect(planned(0).map(({ point, how, isSure }) => [point, how, isSure])).toEqual([
      [run[0], 'killed', true],
      [run[1], 'killed', true],
      [run[2], 'killed', true],
      [run[4], 'killed', true],
    ]);
  });

  test('kills at a share of the later times, and freezes at a share of all, by the seed', () => {
    expect(planned(1).filter(({ how }) => how === 'killed').map(({ point }) => point)).toContain('before activity ring #2');
    expect(planned(1).filter(({ how }) => how === 'frozen').map(({ point }) => point)).toEqual(run.filter((_, n) => n !== 6));
    expect(planned(0.3)).toEqual(planned(0.3));
    expect(planned(1).filter(({ point, isSure }) => isSure && !point.endsWith(' #1'))).toEqual([]);
  });

  test('names what is reached', () => {
    expect(reachedBy(run)).toEqual([name, 'ring'].toSorted());
  });
});
