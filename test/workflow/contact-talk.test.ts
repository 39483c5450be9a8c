/** What an agent does with the contact on the line (docs/domain.md, "Transfers"). */
import { describe, expect, it } from 'vitest';
import { contactRig, noAnswer, refusal } from '../kit/contact-rig.ts';

const rig = contactRig();

describe('in a talk', () => {
  it('the contact is put on hold and taken back, and keys are sent', async () => {
    const contact = await rig.talking();
    await contact.click('hold');
    await contact.click('resume');
    await contact.click('sendKeys', { keysId: '42' });
    await contact.talkEnds();

    expect(contact.asked.slice(2)).toEqual(['hold 1', 'resume 1', 'sendKeys 42 1']);
    expect(await refusal(contact.click('hold'))).toBe('CONFLICT (wrap_up)');
  });

  it('only: before the answer each is refused', async () => {
    const contact = await rig.dialling();
    for (const click of ['hold', 'resume', 'sendKeys'] as const) {
      expect(await refusal(contact.click(click))).toBe('CONFLICT (dialling)');
    }
  });

  it('of another agent each is refused', async () => {
    const contact = await rig.talking();
    expect(await refusal(contact.click('hold', { agentId: '99' }))).toBe('FORBIDDEN (talking)');
  });

  it('a node that does not answer leaves it unknown', async () => {
    const contact = await rig.talking();
    contact.commands.push(noAnswer());
    expect(await refusal(contact.click('hold'))).toBe('UNAVAILABLE (talking)');
  });

  it('what was left unknown is done when the same request is repeated, and then not again', async () => {
    const contact = await rig.talking();
    const click = () => contact.click('hold', {}, 'one-request');
    contact.commands.push(noAnswer(), noAnswer());
    expect(await refusal(click())).toBe('UNAVAILABLE (talking)');
    expect(await refusal(click())).toBe('UNAVAILABLE (talking)');
    await click();
    await click();

    expect(contact.asked.slice(2)).toEqual(['hold 1', 'hold 1', 'hold 1']);
  });
});
