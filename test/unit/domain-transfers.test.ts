import { describe, expect, it } from 'vitest';
import { transferStep, type TransferNow } from '../../domain/transfers.ts';
import { MOST_NUMBER_TRANSFERS, callOfLeg, transferLegId } from '../../domain/ids.ts';

const ringing: TransferNow = { state: 'ringing', mode: 'attended', isContactThere: true, isAgentThere: true, target: 'calling' };

describe('what is next of a transfer', () => {
  it.each<[string, Partial<TransferNow>, string]>([
    ['the target rings', {}, 'wait'],
    ['the target answers the agent', { target: 'there' }, 'consult'],
    ['they speak', { state: 'consulting', target: 'there' }, 'wait'],
    ['the agent hangs up while they speak', { state: 'consulting', target: 'there', isAgentThere: false }, 'connect'],
    ['the target hangs up while they speak', { state: 'consulting', target: 'none' }, 'give_back'],
    ['both hang up while they speak', { state: 'consulting', target: 'none', isAgentThere: false }, 'queue'],
    ['the target does not answer the agent', { target: 'none' }, 'give_back'],
    ['the agent hangs up while the target rings', { isAgentThere: false }, 'wait'],
    ['and the target answers then', { isAgentThere: false, target: 'there' }, 'connect'],
    ['and the target does not answer then', { isAgentThere: false, target: 'none' }, 'queue'],
    ['blind, the target answers before the agent is off the line', { mode: 'blind', target: 'there' }, 'connect'],
    ['blind, the target does not answer', { mode: 'blind', target: 'none' }, 'queue'],
    ['the contact waits in a queue', { state: 'queued', target: 'none' }, 'stay'],
    ['it was completed, and is said once more', { state: 'completed', target: 'there' }, 'connect'],
    ['it was taken back, and is said once more', { state: 'taken_back', target: 'calling' }, 'give_back'],
    ['the contact has hung up, whatever was to be', { state: 'completed', isContactThere: false }, 'end'],
    ['it is over', { state: 'over' }, 'end'],
  ])('%s', (_what, changes, step) => {
    expect(transferStep({ ...ringing, ...changes })).toBe(step);
  });
});

describe('a leg to a number that a talk is transferred to', () => {
  it('has a number of its own in the offer, from 3 on, and of one digit', () => {
    expect(transferLegId('1000001', 2, 1)).toBe('1000001-2-3');
    expect(transferLegId('1000001', 2, MOST_NUMBER_TRANSFERS)).toBe('1000001-2-9');
    for (const nth of [0, MOST_NUMBER_TRANSFERS + 1]) expect(() => transferLegId('1000001', 2, nth)).toThrow(RangeError);
  });

  it('says whose it is', () => {
    expect(callOfLeg('1000001-2-3')).toBe('1000001');
  });
});
