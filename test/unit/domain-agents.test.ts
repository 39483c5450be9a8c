/** docs/domain.md, "The offer", last column of the table, and "Agents". */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterCallWithoutTalk,
  afterFailedOffer,
  afterTalk,
  type AgentAfter,
  type AgentCounters,
  mustConfirm,
} from '../../domain/agents.ts';
import { LEG_CODES, type LegCode, RESULT_REASONS, type ResultReason } from '../../domain/codes.ts';
import { campaignRulesSchema, defaultRules } from '../../domain/rules.ts';

const rules = defaultRules();
const counted = (missedInRow: number, errorsInRow: number): AgentCounters => ({
  missedInRow,
  errorsInRow,
  nextState: null,
});
/** One missed call and one error so far: far from both limits. */
const agent = counted(1, 1);

/** State, cause, seconds of rest; missed and errors in a row. */
type Row = [AgentAfter['state'], string, number | null, number, number];
const row = ({ state, cause, forSec, missedInRow, errorsInRow }: AgentAfter): Row =>
  [state, cause, forSec, missedInRow, errorsInRow];

type Ending = [LegCode, ResultReason | null];

test.each([
  ['an extension', '1001', false, false],
  ['an extension that may answer by itself', '1001', true, true],
  ['a telephone number', '+4722865000', false, true],
  ['a telephone number, asked for besides', '+4722865000', true, true],
])('%s: must confirm', (_phone, phone, confirm, expected) => {
  expect(mustConfirm({ phone, confirm })).toBe(expected);
});

describe('after an offer that was not answered', () => {
  test.each<[string, Ending, Row]>([
    ['clicks Reject', ['b', 'agent_reject'], ['ready', 'agent_reject', null, 0, 0]],
    ['rings out', ['t', 'ring_timeout'], ['no_answer', 'ring_timeout', 10, 2, 0]],
    ['does not confirm', ['t', 'not_confirmed'], ['no_answer', 'not_confirmed', 10, 2, 0]],
    ['rings out by the network', ['t', null], ['no_answer', 'no_answer', 10, 2, 0]],
    ['phone busy', ['b', null], ['busy', 'phone_busy', 10, 0, 2]],
    ['phone error', ['e', null], ['error', 'phone_error', 10, 0, 2]],
    ['phone does not even ring', ['c', 'setup_timeout'], ['error', 'setup_timeout', 10, 0, 2]],
    ['no audio', ['e', 'no_media'], ['error', 'no_media', 10, 0, 2]],
    ['clicks Cancel', ['h', 'agent_cancel'], ['ready', 'agent_cancel', null, 1, 1]],
    ['clicks Cancel in set-up', ['q', 'agent_cancel'], ['ready', 'agent_cancel', null, 1, 1]],
    ['logs off', ['h', 'agent_logged_off'], ['logged_off', 'agent_logged_off', null, 1, 1]],
    ['lease lapses', ['q', 'agent_lost'], ['logged_off', 'agent_lost', null, 1, 1]],
    ['is released', ['h', 'agent_released'], ['ready', 'agent_released', null, 1, 1]],
    ['contact disabled', ['h', 'disabled'], ['ready', 'disabled', null, 1, 1]],
    ['list replaced', ['q', 'list_replaced'], ['ready', 'list_replaced', null, 1, 1]],
    ['campaign stopped', ['h', 'campaign_paused'], ['ready', 'campaign_paused', null, 1, 1]],
    ['withdrawn', ['h', null], ['ready', 'withdrawn', null, 1, 1]],
    ['switch lost, not counted', ['e', 'switch_lost'], ['ready', 'switch_lost', null, 1, 1]],
    ['unknown, not counted', ['e', 'unknown'], ['ready', 'unknown', null, 1, 1]],
  ])('%s', (_what, ending, expected) => {
    expect(row(afterFailedOffer(rules, agent, ...ending))).toEqual(expected);
  });

  test('a campaign may pause who rejects, and rest longer', () => {
    const strict = campaignRulesSchema.parse({ after_reject: 'paused', rest_sec: 45 });
    expect(row(afterFailedOffer(strict, agent, 'b', 'agent_reject'))).toEqual(['paused', 'agent_reject', null, 0, 0]);
    expect(afterFailedOffer(strict, agent, 't', 'ring_timeout').forSec).toBe(45);
    expect(afterFailedOffer(strict, agent, 'e', null).forSec).toBe(45);
  });
});

describe('in a row', () => {
  /** The states an agent goes through, one offer after the other. */
  function story(endings: Ending[], of = rules): string {
    let now: AgentCounters = counted(0, 0);
    const states: string[] = [];
    for (const ending of endings) {
      const after = afterFailedOffer(of, now, ...ending);
      states.push(after.state);
      now = after;
    }
    return states.join(' ');
  }
  const missed: Ending = ['t', 'ring_timeout'];
  const busy: Ending = ['b', null];
  const error: Ending = ['e', null];
  const reject: Ending = ['b', 'agent_reject'];
  const lost: Ending = ['e', 'switch_lost'];
  const cancel: Ending = ['h', 'agent_cancel'];

  test.each<[string, Ending[], string]>([
    ['three missed', [missed, missed, missed], 'no_answer no_answer paused'],
    ['and it begins anew', [missed, missed, missed, missed], 'no_answer no_answer paused no_answer'],
    ['five errors', [error, error, error, error, error], 'error error error error logged_off'],
    ['busy counts with errors', [busy, error, busy, error, busy], 'busy error busy error logged_off'],
    ['a reject breaks the row', [missed, missed, reject, missed], 'no_answer no_answer ready no_answer'],
    ['an error breaks a row of missed', [missed, missed, error, missed], 'no_answer no_answer error no_answer'],
    [
      'a miss breaks a row of errors',
      [error, error, error, error, missed, error],
      'error error error error no_answer error',
    ],
    ['a lost switch does not', [missed, missed, lost, missed], 'no_answer no_answer ready paused'],
    ['nor does a withdrawn offer', [missed, missed, cancel, missed], 'no_answer no_answer ready paused'],
  ])('%s', (_what, endings, states) => {
    expect(story(endings)).toBe(states);
  });

  test('limits and what they lead to are rules', () => {
    const strict = campaignRulesSchema.parse({ missed_limit: 1, missed_action: 'logged_off', error_limit: 2 });
    expect(story([missed], strict)).toBe('logged_off');
    expect(story([error, error], strict)).toBe('error logged_off');
  });

  test.each<[string, Ending, Row]>([
    ['missed', missed, ['paused', 'missed_limit', null, 0, 0]],
    ['errors', error, ['logged_off', 'error_limit', null, 0, 0]],
  ])('a limit of %s is the cause, lasts, and both counters start anew', (_what, ending, expected) => {
    expect(row(afterFailedOffer(rules, counted(2, 4), ...ending))).toEqual(expected);
  });
});

describe('a wish to leave', () => {
  const leaving = (nextState: 'paused' | 'logged_off'): AgentCounters => ({ ...agent, nextState });

  test('is granted after any offer, never ready or resting in between', () => {
    const ending = fc.tuple(fc.constantFrom(...LEG_CODES), fc.option(fc.constantFrom(...RESULT_REASONS)));
    const wish = fc.constantFrom('paused' as const, 'logged_off' as const);
    fc.assert(
      fc.property(wish, ending, (wish, ending) => {
        const plain = afterFailedOffer(rules, agent, ...ending);
        // Who is logged off by a counter, or has gone, is not brought back by a wished pause.
        const state = plain.state === 'logged_off' ? 'logged_off' : wish;
        const { cause, missedInRow, errorsInRow } = plain;
        const expected = { state, cause, missedInRow, errorsInRow, forSec: null, nextState: null };
        expect(afterFailedOffer(rules, leaving(wish), ...ending)).toEqual(expected);
      }),
    );
  });

  test.each(['paused', 'logged_off'] as const)('%s is granted after a call without a talk', (wish) => {
    expect(afterCallWithoutTalk(leaving(wish), 'ring_timeout')).toMatchObject({ state: wish, forSec: null, nextState: null });
  });

  test.each(['paused', 'logged_off'] as const)('%s waits for the end of the wrap-up', (wish) => {
    expect(afterTalk(rules, leaving(wish))).toMatchObject({ state: 'wrap_up', forSec: 30, nextState: wish });
  });
});

test('a call without a talk: ready at once, told why, nothing counted', () => {
  expect(row(afterCallWithoutTalk(agent, 'agent_cancel'))).toEqual(['ready', 'agent_cancel', null, 0, 0]);
});

test('a talk: wrap-up, nothing counted', () => {
  expect(row(afterTalk(rules, agent))).toEqual(['wrap_up', 'talk_ended', 30, 0, 0]);
  expect(afterTalk(campaignRulesSchema.parse({ wrap_up_sec: 0 }), agent).forSec).toBe(0);
});
