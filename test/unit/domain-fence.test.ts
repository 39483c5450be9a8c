import { describe, expect, it } from 'vitest';
import { standingOf } from '../../domain/fence.ts';

const at = (beat: number, temporal: number | null, reconciling: string | null = null) => standingOf({ beat, reconciling }, temporal);

describe('the fence', () => {
  it('is open while both have counted alike, or PostgreSQL has just counted', () => {
    expect(at(7, 7)).toBe('in_step');
    expect(at(7, 6)).toBe('in_step');
    expect(at(1, 0)).toBe('in_step');
  });

  it('is open where nobody has counted yet', () => {
    expect(at(0, null)).toBe('new');
  });

  it('is shut for a database that Temporal is ahead of, be it by one', () => {
    expect(at(7, 8)).toBe('postgresql_older');
    expect(at(0, 3)).toBe('postgresql_older');
  });

  it('is shut for a Temporal that is behind by more than what was under way', () => {
    expect(at(7, 5)).toBe('temporal_older');
    expect(at(7, null)).toBe('temporal_lost');
  });

  it('is shut until a reconciliation is through', () => {
    expect(at(7, 7, 'both')).toBe('reconciling');
  });
});
