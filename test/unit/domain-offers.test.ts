/** docs/domain.md, "The offer", second column of the table. */
import { expect, test } from 'vitest';
import type { ResultReason } from '../../domain/codes.ts';
import { endsCall } from '../../domain/offers.ts';

test.each<ResultReason>(['agent_reject', 'agent_logged_off', 'agent_lost', 'agent_released', 'switch_lost'])(
  'after %s the call goes back to its place',
  (reason) => {
    expect(endsCall(reason)).toBe(false);
  },
);

test.each<ResultReason>([
  'agent_cancel',
  'disabled',
  'deleted',
  'list_replaced',
  'campaign_paused',
  'do_not_call',
  'hours',
  'cap',
  'number_in_use',
  'unknown',
])('%s ends the call too', (reason) => {
  expect(endsCall(reason)).toBe(true);
});

test('an offer that nobody withdrew ends no call', () => {
  expect(endsCall(null)).toBe(false);
});
