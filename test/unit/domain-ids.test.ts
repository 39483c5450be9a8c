/** docs/domain.md, "Terms": ids are derived, so that a step done twice meets its own trace. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  callId,
  campaignWorkflowId,
  contactOfCall,
  contactWorkflowId,
  legId,
  nodeTaskQueue,
  recordingName,
  sessionId,
} from '../../domain/ids.ts';

/** The greatest contact id all of whose calls have an id that PostgreSQL's `bigint` holds. */
const LAST_CONTACT = 9_223_372_036_853n;
const contact = fc.bigInt({ min: 1n, max: LAST_CONTACT });
const callNo = fc.integer({ min: 1, max: 999_999 });

describe('call ids', () => {
  test.each<[string | bigint, number, string]>([
    ['1', 1, '1000001'],
    [42n, 7, '42000007'],
    [LAST_CONTACT, 999_999, '9223372036853999999'],
    // More than a JSON number carries.
    ['9007199254', 740_993, '9007199254740993'],
  ])('contact %s, call %i: %s', (contactId, n, id) => {
    expect(callId(contactId, n)).toBe(id);
  });

  test('have 19 digits at most, fit a bigint, and lead back to the contact', () => {
    fc.assert(
      fc.property(contact, callNo, (contactId, n) => {
        const id = callId(contactId, n);
        expect(id).toMatch(/^[1-9]\d{0,18}$/);
        expect(BigInt.asIntN(64, BigInt(id))).toBe(BigInt(id));
        expect(contactOfCall(id)).toBe(contactId.toString());
        expect(contactOfCall(BigInt(id))).toBe(contactId.toString());
      }),
    );
  });

  test('are new for each call, and grow with it', () => {
    fc.assert(
      fc.property(contact, callNo, contact, callNo, (a, n, b, m) => {
        const order = a === b ? n - m : a < b ? -1 : 1;
        expect(Math.sign(Number(BigInt(callId(a, n)) - BigInt(callId(b, m))))).toBe(Math.sign(order));
      }),
    );
  });

  test.each<[string, bigint, number]>([
    ['call 0', 1n, 0],
    ['a negative call', 1n, -1],
    ['a call too many', 1n, 1_000_000],
    ['half a call', 1n, 1.5],
    ['no call', 1n, Number.NaN],
    ['a contact too many', LAST_CONTACT + 2n, 1],
  ])('none for %s', (_what, contactId, n) => {
    expect(() => callId(contactId, n)).toThrow(RangeError);
  });
});

test('legs and sessions of a call', () => {
  expect(legId('42000007', 3, 'agent')).toBe('42000007-3-1');
  expect(legId('42000007', 3, 'contact')).toBe('42000007-3-2');
  expect(sessionId('42000007', 'queueing')).toBe('42000007-S1');
  expect(sessionId('42000007', 'legs')).toBe('42000007-S2');
});

test('the recording of a call', () => {
  expect(recordingName('9223372036853999999')).toBe('call-9223372036853999999');
});

test('workflows and task queues', () => {
  expect(contactWorkflowId('42', 2)).toBe('contact/42/2');
  expect(campaignWorkflowId('7')).toBe('campaign/7');
  expect(nodeTaskQueue('sim-1')).toBe('telephony/sim-1');
});
