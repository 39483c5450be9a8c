import { describe, expect, it } from 'vitest';
import { carryOn, givenUp, inAnyCase, mustBeInTime, TooLate, within } from '../../prisma/deadline.ts';

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
    const left = within(1, () => opens.then(() => (isLate = givenUp().aborted)), { carriesOn: true });
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

  it.each(['before', 'while'])('goes on to its end once it has committed something, %s the time was up', async (when) => {
    const { opens, open } = gate();
    let isDone = false;
    const work = async () => {
      if (when === 'before') carryOn();
      await opens;
      if (when === 'while') carryOn();
      mustBeInTime();
      isDone = true;
    };
    await expect(within(1, work)).rejects.toBeInstanceOf(TooLate);
    open();
    await expect.poll(() => isDone).toBe(true);
  });

  it('is told apart from work for which somebody waits, also where that calls it back', async () => {
    const asked: AbortSignal[] = [];
    const { opens, open } = gate();
    const left = within(1, () => (asked.push(givenUp()), opens));
    await expect(left).rejects.toBeInstanceOf(TooLate);
    await within(1_000, () => (asked.push(givenUp()), Promise.resolve()));
    open();
    expect(asked.map(({ aborted }) => aborted)).toEqual([true, false]);
    expect(givenUp().aborted).toBe(false);
  });
});
