import { describe, expect, it } from 'vitest';
import { History } from '../../chaos/history.ts';
import { countFaults, planOf } from '../../chaos/plan.ts';
import type { Told } from '../../chaos/witnesses.ts';

const victims = { processes: ['worker-1', 'api', 'postgres'], wires: ['worker-1 → postgres', 'reader → api'] };
const plan = (changes: Partial<Parameters<typeof planOf>[0]> = {}) =>
  planOf({ seed: 7, seconds: 300, kills: 60, ...victims, ...changes });

describe('the plan of a run', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(plan()).toEqual(plan());
    expect(plan({ seed: 8 })).not.toEqual(plan());
  });

  it('has the kills that were asked for, and the other faults besides', () => {
    expect(countFaults(plan())).toBe('60 kills, 20 freezes, 15 cuts, 10 silent cuts, 10 slow wires');
    expect(countFaults(plan({ kills: 1 }))).toBe('1 kill, 1 freeze, 1 cut, 1 silent cut, 1 slow wire');
    expect(plan({ kills: 0 })).toEqual([]);
  });

  it('is in the order of time, and no fault outlasts the run', () => {
    for (const seconds of [1, 10, 300]) {
      const faults = plan({ seconds });
      expect(faults.map(({ atMs }) => atMs)).toEqual(faults.map(({ atMs }) => atMs).toSorted((a, b) => a - b));
      for (const { atMs, forMs } of faults) expect(atMs + forMs).toBeLessThanOrEqual(seconds * 1000);
    }
  });

  it('freezes for 1 to 60 s, kills and freezes processes, and cuts wires', () => {
    const faults = plan({ kills: 600 });
    const freezes = faults.filter(({ how }) => how === 'freeze').map(({ forMs }) => forMs);
    expect(Math.min(...freezes)).toBeGreaterThanOrEqual(1_000);
    expect(Math.min(...freezes)).toBeLessThan(1_500);
    expect(Math.max(...freezes)).toBeLessThanOrEqual(60_000);
    expect(Math.max(...freezes)).toBeGreaterThan(50_000);
    for (const { how, victim } of faults) {
      expect(how === 'kill' || how === 'freeze' ? victims.processes : victims.wires).toContain(victim);
    }
  });
});

describe('what became of a contact', () => {
  let position = 0;
  const leg = (code: string, more: Partial<Told> = {}): Told => ({
    kind: 'call',
    position: String((position += 1)),
    call_id: '1000001',
    leg_type: 'contact',
    result_code: code,
    result_reason: null,
    result_response: null,
    destination: '+4722100000',
    ...more,
  });
  const said = (action: string): Told => ({ kind: 'disposition', position: String((position += 1)), call_id: '1000001', action });
  const contradiction = (reason: string, rows: Told[], { numbers = 1, isListed = false } = {}): string | null => {
    const history = new History();
    for (const row of rows) history.add(row);
    return history.contradicts({ id: '1', state: 'done', reason, numbers }, 3, isListed);
  };

  it.each([
    ['answered', 'a talk', [leg('b'), leg('k')]],
    ['answered', 'a talk that was marked, and then corrected', [leg('k'), said('mark_as_unanswered'), said('done')]],
    ['attempts_exhausted', 'as many legs as are allowed', [leg('b'), leg('t'), leg('b')]],
    ['numbers_given_up', 'a number that does not exist', [leg('e', { result_response: 404 })]],
    ['agent_cancel', 'a click', [leg('q', { leg_type: 'agent', result_reason: 'agent_cancel' })]],
    ['do_not_call', 'what was said in a talk', [leg('k'), said('do_not_call')]],
  ])('%s follows from %s', (reason, _why, rows) => {
    expect(contradiction(reason, rows)).toBeNull();
  });

  it('do_not_call follows from the list, too', () => {
    expect(contradiction('do_not_call', [], { isListed: true })).toBeNull();
  });

  it.each([
    ['answered', 'no talk', [leg('b')], 'its last leg ended in b'],
    ['answered', 'nothing at all', [], 'its last leg ended in nothing'],
    ['answered', 'somebody who was left alone', [leg('k', { result_reason: 'abandoned' })], 'its last leg ended in k'],
    ['answered', 'a talk that did not count', [leg('k'), said('mark_as_unanswered')], 'that talk was marked as unanswered'],
    ['attempts_exhausted', 'one call too few', [leg('b'), leg('t')], '2 legs, where 3 are allowed'],
    ['attempts_exhausted', 'one call too many', [leg('b'), leg('t'), leg('b'), leg('b')], '4 legs, where 3 are allowed'],
    ['numbers_given_up', 'a number that was only busy', [leg('b', { result_response: 486 })], '0 of its 1 numbers were given up'],
    ['agent_cancel', 'nobody', [leg('b')], 'nobody has cancelled'],
    ['do_not_call', 'nobody', [leg('k'), said('done')], 'nobody has listed it'],
    ['disabled', 'a repair', [leg('b')], 'nothing here ends a contact so'],
  ])('%s does not follow from %s', (reason, _why, rows, contradicted) => {
    expect(contradiction(reason, rows)).toBe(contradicted);
  });
});
