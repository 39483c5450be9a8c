import { describe, expect, it } from 'vitest';
import { contactRig } from '../kit/contact-rig.ts';
import { countEvents, historyText } from '../kit/history.ts';

const rig = contactRig();

describe('a call', () => {
  it('is offered, answered, talked and disposed of', async () => {
    const contact = await rig.wrapUp();
    await contact.click('dispose');
    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude']);
    const h = await contact.history();
    console.log(historyText(h), countEvents(h), await contact.details());
  });
  it('fails', async () => {
    const contact = await rig.ringing();
    await contact.missed();
    const h = await contact.history();
    console.log(historyText(h), countEvents(h), await contact.details(), await contact.attribute('ContactState'));
  });
});
