/** docs/domain.md, "Result codes": the table written out once more, as what the code is held against. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LegCode, type LegEnding, legResult, RESULT_REASONS, type ResultReason } from '../../domain/codes.ts';

const PLAIN = { numberGivenUp: false, proposeDoNotCall: false, alarm: false };
const GIVEN_UP = { ...PLAIN, numberGivenUp: true };
const OBJECTS = { ...PLAIN, numberGivenUp: true, proposeDoNotCall: true };
const ALARM = { ...PLAIN, alarm: true };
type Flags = typeof PLAIN;

/** Code before alerting, code after, and what else follows. */
type Expected = [LegCode, LegCode, Flags];

const SIP: [number, Expected][] = [
  [404, ['e', 'e', GIVEN_UP]],
  [408, ['c', 't', PLAIN]],
  [410, ['e', 'e', GIVEN_UP]],
  [480, ['c', 't', PLAIN]],
  [484, ['e', 'e', GIVEN_UP]],
  [485, ['e', 'e', GIVEN_UP]],
  [486, ['b', 'b', PLAIN]],
  [487, ['c', 't', PLAIN]],
  [504, ['c', 't', PLAIN]],
  [600, ['b', 'b', PLAIN]],
  [603, ['b', 'b', PLAIN]],
  [604, ['e', 'e', GIVEN_UP]],
  [607, ['b', 'b', OBJECTS]],
  [608, ['e', 'e', ALARM]],
];
const Q850: [number, Expected][] = [
  [1, ['e', 'e', GIVEN_UP]],
  [17, ['b', 'b', PLAIN]],
  [18, ['c', 'c', PLAIN]],
  [19, ['t', 't', PLAIN]],
  [20, ['c', 'c', PLAIN]],
  [21, ['b', 'b', PLAIN]],
  [22, ['e', 'e', GIVEN_UP]],
  [28, ['e', 'e', GIVEN_UP]],
];
const OUR_FAULT: Expected = ['e', 'e', PLAIN];

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const ALL_SIP = range(300, 699);
const ALL_Q850 = range(1, 127);
const sipExpected = new Map(SIP);
const q850Expected = new Map(Q850);

/** How the far end's words read, in both phases. */
function remote(words: Pick<LegEnding, 'sip' | 'q850'>): Expected {
  const before = legResult({ phase: 'setup', by: 'remote', ...words });
  const alerting = legResult({ phase: 'alerting', by: 'remote', ...words });
  const { numberGivenUp, proposeDoNotCall, alarm } = alerting;
  expect(before).toMatchObject({ numberGivenUp, proposeDoNotCall, alarm, reason: null });
  return [before.code, alerting.code, { numberGivenUp, proposeDoNotCall, alarm }];
}

describe('what the far end says', () => {
  test.each(SIP)('SIP %i', (sip, expected) => {
    expect(remote({ sip })).toEqual(expected);
  });

  test('every other SIP code is our fault or the trunk\'s', () => {
    const others = ALL_SIP.filter((sip) => !sipExpected.has(sip));
    expect(others).toHaveLength(400 - SIP.length);
    expect(others.filter((sip) => JSON.stringify(remote({ sip })) !== JSON.stringify(OUR_FAULT))).toEqual([]);
  });

  test.each(Q850)('Q.850 %i, which beats any SIP code', (q850, expected) => {
    expect(remote({ q850 })).toEqual(expected);
    const others = ALL_SIP.filter((sip) => sip !== 607 && sip !== 608);
    for (const sip of others) expect(remote({ sip, q850 }), `SIP ${sip}`).toEqual(expected);
  });

  test.each(Q850)('Q.850 %i decides the code, but what 607 and 608 ask for is not lost', (q850, [before, alerting]) => {
    expect(remote({ sip: 607, q850 })).toMatchObject([before, alerting, { numberGivenUp: true, proposeDoNotCall: true }]);
    expect(remote({ sip: 608, q850 })).toMatchObject([before, alerting, { alarm: true }]);
  });

  test('any other Q.850 cause leaves it to the SIP code', () => {
    const silent = fc.constantFrom(...ALL_Q850.filter((cause) => !q850Expected.has(cause)));
    fc.assert(
      fc.property(silent, fc.constantFrom(...ALL_SIP), (q850, sip) => {
        expect(remote({ sip, q850 })).toEqual(sipExpected.get(sip) ?? OUR_FAULT);
      }),
    );
  });

  test('nothing at all', () => {
    expect(remote({})).toEqual(OUR_FAULT);
  });

  test.each([
    ['the SIP code', { sip: 404 }, 404],
    ['the cause of a network without SIP', { q850: 1 }, 1],
    ['the SIP code, where a cause explains it', { sip: 404, q850: 1 }, 404],
    ['nothing', {}, null],
  ])('is the response: %s', (_what, words, response) => {
    expect(legResult({ phase: 'setup', by: 'remote', ...words }).response).toBe(response);
  });
});

/** Reasons of ours that have a code of their own, whatever the phase; any other is `q` in set-up and `h` while alerting. */
const OWN_CODE: Partial<Record<ResultReason, LegCode>> = { agent_reject: 'b', not_confirmed: 't', no_media: 'e' };

describe('why we ended it', () => {
  test.each<[LegEnding['phase'], LegCode, ResultReason]>([
    ['setup', 'c', 'setup_timeout'],
    ['alerting', 't', 'ring_timeout'],
  ])('our timer, %s → %s', (phase, code, reason) => {
    expect(legResult({ phase, by: 'timer' })).toEqual({ ...PLAIN, code, reason, response: null });
  });

  test.each(RESULT_REASONS)('our command: %s', (why) => {
    const own = OWN_CODE[why];
    const ended = (phase: LegEnding['phase']) => legResult({ phase, by: 'command', why });
    const result = { ...PLAIN, reason: why, response: null };
    expect(ended('setup')).toEqual({ ...result, code: own ?? 'q' });
    expect(ended('alerting')).toEqual({ ...result, code: own ?? 'h' });
    expect(ended('answered')).toEqual({ ...result, code: own ?? 'k', response: own ? null : 200 });
  });

  test.each(['setup', 'alerting'] as const)('the end of the other leg is no reason: %s', (phase) => {
    const code = phase === 'setup' ? 'q' : 'h';
    expect(legResult({ phase, by: 'command', why: 'call_over' })).toMatchObject({ code, reason: null });
  });

  test.each([
    ['setup', 'unknown'],
    ['alerting', 'switch_lost'],
  ] as const)('the switch lost it: %s', (phase, why) => {
    expect(legResult({ phase, by: 'switch', why })).toMatchObject({ ...PLAIN, code: 'e', reason: why });
    expect(legResult({ phase, by: 'switch' })).toMatchObject({ ...PLAIN, code: 'e', reason: 'unknown' });
  });
});

const phase = fc.constantFrom('setup', 'alerting', 'answered');
const words = fc.record({ sip: fc.integer({ min: 100, max: 699 }), q850: fc.integer({ min: 1, max: 127 }) });
const why = fc.constantFrom(...RESULT_REASONS, 'call_over' as const);

test('our own reasons beat whatever the far end says', () => {
  const by = fc.constantFrom('timer', 'command', 'switch');
  fc.assert(
    fc.property(fc.record({ phase, by, why }), words, (end, said) => {
      expect({ ...legResult({ ...end, ...said }), response: null }).toEqual({ ...legResult(end), response: null });
    }),
  );
});

test('an answered leg is k, whoever ended it, but for an agent who was not there', () => {
  const by = fc.constantFrom('timer', 'command', 'switch', 'remote');
  fc.assert(
    fc.property(by, why, words, (by, why, said) => {
      const own = by === 'command' && why !== 'call_over' ? OWN_CODE[why] : undefined;
      expect(legResult({ phase: 'answered', by, why, ...said }).code).toBe(own ?? 'k');
    }),
  );
});
