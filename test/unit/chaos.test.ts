import { describe, expect, it } from 'vitest';
import { History } from '../../chaos/history.ts';
import { dialsOfInvites, type Invite, type SentLeg } from '../../chaos/invites.ts';
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

describe('the leg that an INVITE was for', () => {
  const NUMBER = '+4722100000';
  let seq = 0;
  const invite = (at: number, endedAt: number | null = at + 1_000, to = NUMBER): Invite => ({
    seq: (seq += 1),
    at,
    party: 'contact',
    to,
    answeredAt: null,
    endedAt,
  });
  const leg = (id: string, createdAt: number, changes: Partial<SentLeg> = {}): SentLeg => ({
    id,
    destination: NUMBER,
    createdAt,
    notAfter: createdAt + 5_000,
    endedAt: createdAt + 5_000,
    ...changes,
  });
  const legsOf = (invites: Invite[], legs: SentLeg[]): string[] =>
    dialsOfInvites(invites, legs, () => false).map(({ legId }) => legId.replace(/, by .*/, ''));

  it('is the one of its number and time', () => {
    const legs = [leg('first', 1_000), leg('second', 20_000), leg("another's", 1_000, { destination: '+4722100001' })];
    expect(legsOf([invite(20_100), invite(1_100)], legs)).toEqual(['first', 'second']);
  });

  it('is none that another INVITE was for already', () => {
    expect(legsOf([invite(1_100), invite(1_900)], [leg('first', 1_000)])).toEqual(['first', 'unknown']);
  });

  it.each([
    ['before it was on record', 999, {}],
    ['long after it might be sent', 8_001, {}],
    ['long after it was over', 3_501, { endedAt: 1_500 }],
    ['at another number', 1_100, { destination: '2001' }],
  ])('is none %s', (_when, at, changes) => {
    expect(legsOf([invite(at)], [leg('first', 1_000, changes)])).toEqual(['unknown']);
  });

  it('is the one whose time is up first, where two offers follow each other at once', () => {
    const legs = [leg('second', 1_600), leg('first', 1_000, { endedAt: 1_500 })];
    expect(legsOf([invite(1_700), invite(1_900)], legs)).toEqual(['first', 'second']);
  });

  it("names the INVITE that is nobody's", () => {
    const [dial] = dialsOfInvites([invite(0)], [], () => false);
    expect(dial!.legId).toBe('unknown, by an INVITE to +4722100000 at 1970-01-01T00:00:00.000Z');
  });

  it('has ended when its phone has heard so, but for the way there; of what nobody could end, nothing is said', () => {
    const endOf = (invited: Invite, wasAway = false): number | null =>
      dialsOfInvites([invited], [leg('first', 1_000)], () => wasAway)[0]!.endedAt;
    expect(endOf(invite(1_100, 4_000))).toBe(3_500);
    expect(endOf(invite(1_100, 1_200))).toBe(1_100);
    expect(endOf(invite(1_100, null))).toBeNull();
    expect(endOf(invite(1_100, 4_000), true)).toBeNull();
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
    ['answered', 'a talk that did not count, and no attempt is left', [leg('b'), leg('t'), leg('k'), said('mark_as_unanswered')]],
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
