/** What a contact costs in history events: a list of a million must fit (docs/architecture.md, "Workflows"). */
import { describe, expect, it } from 'vitest';
import { contactRig } from '../kit/contact-rig.ts';
import { countEvents, historyText } from '../kit/history.ts';

const rig = contactRig({ keeps: false });

describe('the history', () => {
  it('of the first wait has at most 5 events', async () => {
    const contact = await rig.queued();

    const history = await contact.history();
    expect(historyText(history)).toBe('Started Task');
    expect(countEvents(history)).toBe(4);
  });

  it('grows by at most 16 events a failed offer', async () => {
    const contact = await rig.queued();
    const before = countEvents(await contact.history());
    await contact.rings();
    await contact.missed();

    const history = await contact.history();
    expect(historyText(history, before)).toBe(
      'Signal(offered) Task Local(openOffer) Attributes Schedule(ring) ActivityStarted Result(ring) Task Attributes',
    );
    expect(countEvents(history) - before).toBe(13);
  });

  it('of a whole answered and disposed call has at most 42 events', async () => {
    const contact = await rig.wrapUp();
    await contact.click('dispose');
    await contact.closed();

    const history = await contact.history();
    expect(historyText(history)).toBe(
      [
        'Started Task',
        'Signal(offered) Task Local(openOffer) Attributes Schedule(ring) ActivityStarted Result(ring) Task',
        'Attributes Schedule(dial) ActivityStarted Result(dial) Task Attributes',
        'Signal(legEnded) Task Attributes Timer',
        'Task Update(dispose) TimerCanceled Done(dispose) Local(conclude) Attributes Completed',
      ].join(' '),
    );
    expect(countEvents(history)).toBe(39);
  });
});
