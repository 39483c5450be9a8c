/** docs/domain.md, "Recording": what becomes of it when the switch can't, won't, or does not answer. */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { AppError } from '../../domain/errors.ts';
import type { Capabilities } from '../../telephony/telephony.ts';
import { TelephonyUnavailable } from '../../telephony/unavailable.ts';
import { recordTalk } from '../../worker/recordings.ts';

/** Records call 7; returns what the switch was asked, which calls' names were taken back, and what was logged. */
async function record({ can = true, fails = null as Error | null, databaseFails = false }) {
  const asked: [string, string | null][] = [];
  const takenBack: string[] = [];
  const said: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push((JSON.parse(line) as { msg: string }).msg) });
  await recordTalk(
    {
      log,
      telephony: {
        capabilities: { record: can } as Capabilities,
        record(mix, name) {
          asked.push([mix, name]);
          return fails ? Promise.reject(fails) : Promise.resolve();
        },
      },
      legs: {
        notRecorded(callId) {
          takenBack.push(callId);
          return databaseFails ? Promise.reject(new Error('the database is away')) : Promise.resolve();
        },
      },
    },
    '7',
    'call-7',
  );
  return { asked, takenBack, said };
}

test('the talk is recorded under its name', async () => {
  expect(await record({})).toEqual({ asked: [['7', 'call-7']], takenBack: [], said: [] });
});

test.each<[string, Parameters<typeof record>[0], number]>([
  ['that can not record is not asked', { can: false }, 0],
  ['that refuses', { fails: new AppError('CONFLICT', 'the disk is full') }, 1],
  ['that fails in its own way', { fails: new Error('no such module') }, 1],
])('by a switch %s: said once, and the name is taken back', async (_which, how, asked) => {
  const found = await record(how);
  expect(found).toMatchObject({ takenBack: ['7'], said: ['the call is not recorded'] });
  expect(found.asked).toHaveLength(asked);
});

test('by a switch that does not answer: it may be recorded all the same, so the name stays', async () => {
  const found = await record({ fails: new TelephonyUnavailable('no answer') });
  expect(found).toMatchObject({ takenBack: [], said: ['it is unknown whether the switch records the call'] });
});

test('nothing of it reaches the call, whatever else fails', async () => {
  expect((await record({ can: false, databaseFails: true })).said).toEqual(['the call is not recorded', 'not written']);
});
