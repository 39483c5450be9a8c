import { describe, expect, it } from 'vitest';
import { deadlineOf, inAnyCase, mustBeInTime, TooLate, within } from '../../prisma/deadline.ts';

/** A promise, and what resolves it. */
function gate(): { opens: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opens: promise, open: resolve };
}

describe('work that is waited for only so long', () => {
  it('gives what it gives in time, and fails as it fails', async () => {
    expect(await within(1_000, () => Promise.resolve(7))).toBe(7);
    await expect(within(1_000, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  it('is left when the time is up, and may go no further then', async () => {
    const { opens, open } = gate();
    let outcome: unknown;
    const work = async () => {
      mustBeInTime();
      await opens;
      mustBeInTime();
    };
    const left = within(1, () => work().catch((error: unknown) => (outcome = error)));
    await expect(left).rejects.toBeInstanceOf(TooLate);
    open();
    await opens;
    await expect.poll(() => outcome).toBeInstanceOf(TooLate);
  });

  it('goes on if it carries on whatever the answer', async () => {
    const { opens, open } = gate();
    let isLate: boolean | undefined;
    const left = within(1, () => opens.then(() => (isLate = deadlineOf()())), { carriesOn: true });
    await expect(left).rejects.toBeInstanceOf(TooLate);
    open();
    await expect.poll(() => isLate).toBe(false);
  });

  it('can still write down how it has ended', async () => {
    const { opens, open } = gate();
    let written = false;
    const left = within(1, () =>
      opens.then(() =>
        inAnyCase(async () => {
          mustBeInTime();
          written = true;
        }),
      ),
    );
    await expect(left).rejects.toBeInstanceOf(TooLate);
    open();
    await expect.poll(() => written).toBe(true);
  });

  it('is told apart from work for which somebody waits, also where that calls it back', async () => {
    const isTooLate: (() => boolean)[] = [];
    const { opens, open } = gate();
    const left = within(1, () => (isTooLate.push(deadlineOf()), opens));
    await expect(left).rejects.toBeInstanceOf(TooLate);
    await within(1_000, () => (isTooLate.push(deadlineOf()), Promise.resolve()));
    open();
    expect(isTooLate.map((ask) => ask())).toEqual([true, false]);
    expect(deadlineOf()()).toBe(false);
  });
});
