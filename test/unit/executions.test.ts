/** What a history says of dials: read from those that the workflows have written. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { describe, expect, it } from 'vitest';
import { toldBy } from '../../workflows/executions.ts';
import { HISTORIES, storedHistories } from '../kit/history.ts';

const told = (file: string) => toldBy(historyFromJSON(JSON.parse(readFileSync(path.join(HISTORIES, file), 'utf8'))).events ?? []);
const files = storedHistories();
const named = (start: string) => files.find((file) => path.basename(file).startsWith(start))!;

describe('a history', () => {
  it('says whom it has dialled, when, and how it has ended', () => {
    const { dials, closed } = told(named('a-call--is-offered-answered-dialled-talked'));
    expect(dials).toMatchObject([{ offerNo: 1, agentId: '7', attempt: 1, at: expect.any(Number), answeredAt: expect.any(Number) }]);
    expect(dials[0]!.callId).toMatch(/^\d+000001$/);
    expect(new Date(dials[0]!.at).getUTCFullYear()).toBe(2026);
    expect(closed).toEqual({ state: 'done', reason: 'answered' });
  });

  it('says that a dial was refused, which is none', () => {
    expect(told(named('a-call--is-refused-for-good'))).toEqual({ dials: [], closed: { state: 'disabled', reason: 'do_not_call' } });
  });

  it('says nothing of dials where agents have not answered', () => {
    expect(told(named('disable--ends-an-offer-while-the-agents-phone-rings'))).toMatchObject({ dials: [] });
  });

  it('has an offer for each dial, on every path', () => {
    for (const file of files) expect(() => told(file), file).not.toThrow();
  });
});
