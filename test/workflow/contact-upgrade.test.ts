/** Contacts who began to wait when each workflow had a timer for it, and are taken over by workers of today (`due_by_row`). */
import { beforeEach, describe, expect, it } from 'vitest';
import { contactRig } from '../kit/contact-rig.ts';
import { historyText } from '../kit/history.ts';

const rig = contactRig();
const DAY = 86_400_000;

beforeEach(() => rig.restart(['due_by_row', 'offered_before_timer']));

describe('a timer of the release before', () => {
  it('is kept: when it fires, the contact asks for its place', async () => {
    const contact = await rig.waiting(Date.now() + 50);
    await rig.restart();
    await contact.hasAsked('enqueueDue');
    await contact.rings();

    expect(contact.asked).toEqual(['enqueueDue', 'ring 1']);
  });

  it('keeps no offer waiting', async () => {
    const contact = await rig.waiting(Date.now() + DAY);
    expect(historyText(await contact.history())).toBe('Started Task Timer');
    await rig.restart();
    await contact.rings();

    expect(contact.asked).toEqual(['standing', 'ring 1']);
  });

  it('is the last one: moved, the contact waits by its row', async () => {
    const contact = await rig.waiting(Date.now() + DAY);
    await rig.restart();
    const dueAt = Date.now() + 2 * DAY;
    contact.standings.push({ at: 'waiting', dueAt });
    await contact.tell('moved', {});
    await contact.hasAsked('standing');
    expect(await contact.view()).toMatchObject({ phase: 'waiting', dueAt });
    // Who takes over next reads it all from the history.
    await rig.restart();
    await contact.rings();

    expect(contact.asked).toEqual(['standing', 'ring 1']);
    expect(historyText(await contact.history()).match(/\bTimer\b/g)).toHaveLength(1);
  });
});
