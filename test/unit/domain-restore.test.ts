import { describe, expect, it } from 'vitest';
import { contactLegsIn, dueAtOf, type Evidence, judge, type RestoredRow } from '../../domain/restore.ts';

const row = (state: RestoredRow['state'], more: Partial<RestoredRow> = {}): RestoredRow => ({
  round: 1,
  state,
  wait_reason: null,
  ended_reason: null,
  closed_at: null,
  ...more,
});
const retry = row('waiting', { wait_reason: 'retry_delay' });
const done = row('done', { closed_at: new Date() });
const nothing: Evidence = { open: [], ended: null, dials: 0 };
const queued: Evidence = { ...nothing, open: [{ round: 1, state: 'queued' }] };
const waiting: Evidence = { ...nothing, open: [{ round: 1, state: 'waiting' }] };
const answered = { state: 'done', reason: 'answered' } as const;
const ended: Evidence = { ...nothing, ended: { round: 1, ...answered } };

const says = (at: RestoredRow | null, evidence: Evidence, isOlder: boolean) => {
  const found = judge(at, evidence, isOlder);
  return found && [found.what, found.measure, ...(found.as ? [found.as.reason] : [])].join(' ');
};

describe('a database that is older than Temporal', () => {
  it.each<[string, RestoredRow | null, Evidence, string | null]>([
    ['queued in both', row('queued'), queued, null],
    ['not started yet', row('new'), nothing, null],
    ['waiting for its campaign in both', row('waiting', { wait_reason: 'campaign_not_running' }), queued, null],
    ['finished in both', done, ended, null],
    ['dialled since, and still open', row('queued'), { ...waiting, dials: 1 }, 'dialled close'],
    ['dialled since, and finished', row('queued'), { ...ended, dials: 1 }, 'dialled close answered'],
    ['new then, dialled since', row('new'), { ...waiting, dials: 2 }, 'dialled close'],
    ['finished, called again and dialled since', done, { open: [{ round: 2, state: 'waiting' }], ended: null, dials: 1 }, 'dialled close'],
    ['its newer round goes on', row('queued'), { ...ended, open: [{ round: 2, state: 'queued' }], dials: 1 }, 'dialled close'],
    ['finished since without a dial', row('queued'), ended, 'ended close answered'],
    ['in a call then, finished since', row('talking'), ended, 'ended close answered'],
    ['in a call then, and open', row('offered'), waiting, 'in_call close'],
    ['wrapping up then', row('wrap_up'), waiting, 'in_call close'],
    ['about to be finished, as by a reconciliation that was interrupted', row('queued', { ended_reason: 'disabled' }), queued, 'in_call close'],
    ['waiting for a retry', retry, waiting, 'other_time restart'],
    ['queued then, waiting since', row('queued'), waiting, 'other_time restart'],
    ['started since', row('new'), queued, null],
    ['enabled since', row('queued'), { ...nothing, open: [{ round: 2, state: 'queued' }] }, 'no_workflow restart'],
    ['imported since', null, { ...waiting, dials: 1 }, 'unknown_contact end'],
  ])('%s', (_what, at, evidence, expected) => expect(says(at, evidence, true)).toBe(expected));
});

describe('a Temporal that is older than the database, or lost', () => {
  it.each<[string, RestoredRow, Evidence, string | null]>([
    ['queued in both', row('queued'), queued, null],
    ['not started yet', row('new'), nothing, null],
    ['the feed was just starting it', row('starting'), nothing, null],
    ['queued', row('queued'), nothing, 'no_workflow restart'],
    ['waiting for a retry', retry, nothing, 'no_workflow restart'],
    ['queued there, waiting for a retry by now', retry, queued, 'other_time restart'],
    ['waiting there, queued by now', row('queued'), waiting, 'other_time restart'],
    ['in a call', row('talking'), queued, 'other_time restart'],
    ['in a call, lost', row('dialling'), nothing, 'no_workflow restart'],
    ['finished by now', done, queued, 'left_over end'],
    ['in another round by now', row('queued', { round: 2 }), queued, 'no_workflow restart'],
    ['in two rounds', row('queued'), { ...queued, open: [...queued.open, { round: 2, state: 'queued' }] }, 'other_time restart'],
  ])('%s', (_what, at, evidence, expected) => expect(says(at, evidence, false)).toBe(expected));
});

it('a workflow counts the time of a retry and a reschedule itself, and of nothing else', () => {
  const until = new Date(1_000_000);
  const due = (state: RestoredRow['state'], wait_reason: string | null) => dueAtOf({ state, wait_reason, wait_until: until });
  expect(due('waiting', 'retry_delay')).toBe(1_000_000);
  expect(due('waiting', 'rescheduled')).toBe(1_000_000);
  expect(due('new', null)).toBe(1_000_000);
  expect(due('waiting', 'cap')).toBeNull();
  expect(due('queued', null)).toBeNull();
});

describe("a switch's own record", () => {
  it('names the legs of contacts, in whatever text', () => {
    const cdr = '"","dialwright","","","","PJSIP/carrier-00000002","ANSWERED","dialwright.17000002-3-2",""';
    const line = '{"type":"dialled","seq":1,"legId":"17000001-12-2","to":"+4722865018"}';
    expect(contactLegsIn([cdr, line, line].join('\n'))).toEqual(['17000002-3-2', '17000001-12-2']);
  });

  it('and not those of agents, of transfers, or other numbers', () => {
    expect(contactLegsIn('17000001-1-1 17000001-1-3 2026-11-30 17000001-1-21 1-2-2 17000001-1-2-9')).toEqual([]);
  });
});
