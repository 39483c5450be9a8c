/** A talk that its agent hands on (docs/domain.md, "Transfers"). */
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { contactRig, refusal, type TestContact } from '../kit/contact-rig.ts';

const rig = contactRig();
const DAY = 86_400_000;

/** Agent 7 has begun a transfer, and the contact hears music. */
async function transferring(begins: Partial<TestContact['begins']> = {}): Promise<TestContact> {
  const contact = await rig.talking();
  contact.begins = { at: 'ringing', offer: null, ...begins };
  await contact.click('transfer');
  return contact;
}
const transferred = (contact: TestContact) => contact.asked.slice(2);

describe('a transfer', () => {
  it('to a number is answered when the contact is unlinked, and carried to its end', async () => {
    const contact = await transferring();
    await contact.hasAsked('carry 1');
    contact.carried().ends({ kind: 'connected', offer: null });
    await eventually(async () => (await contact.details()).includes('agent 7 has handed the talk on to a number'));
    await contact.talkEnds();

    expect(transferred(contact)).toEqual(['beginTransfer 1', 'unlink 1', 'carry 1']);
    await contact.click('dispose');
    expect(await contact.closed()).toBe('done: answered');
  });

  it('to an agent: the talk is that agent’s, and so is the last word', async () => {
    const contact = await rig.talking();
    const second = contact.asks('42');
    contact.begins = { at: 'ringing', offer: second };
    await contact.click('transfer');
    await contact.hasAsked('carry 1');
    contact.carried().ends({ kind: 'connected', offer: second });
    await contact.click('dispose', { action: 'mark_as_unanswered' });
    await contact.tell('wrapUpEnded', { callId: contact.offer.callId, agentId: '7' });
    await contact.untilHeld(() => contact.click('hold', { agentId: '42' }));
    expect(await refusal(contact.click('hold'))).toBe('FORBIDDEN (talking)');
    await contact.talkEnds();
    expect((await contact.view()).phase, 'the first agent has said enough').toBe('wrap_up');
    await contact.click('extendWrapUp', { agentId: '7', until: Date.now() + DAY });
    expect((await contact.view()).wrapUpUntil).toBeLessThan(Date.now() + DAY / 2);
    await contact.click('dispose', { agentId: '42' });

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.at(-1)).toBe('conclude');
  });

  it('asks an agent who rejects: the offer is ended, the call is not', async () => {
    const contact = await rig.talking();
    const second = contact.asks('42');
    contact.begins = { at: 'ringing', offer: second };
    await contact.click('transfer');
    await contact.hasAsked('carry 1');
    const answer = { offerNo: second.offerNo, agentId: '42' };
    expect(await refusal(contact.click('cancel', answer))).toBe('CANCEL_TOO_LATE (talking)');
    expect(await refusal(contact.click('reject', { ...answer, agentId: '43' }))).toBe('FORBIDDEN (talking)');
    contact.endings.push('ended');
    await contact.click('reject', answer);
    contact.carried().ends({ kind: 'back' });
    await contact.untilHeld(() => contact.click('hold'));

    expect(contact.asked).toContain(`endOffer ${second.offerNo} agent_reject sparing agent_answered`);
    expect(await refusal(contact.click('reject', answer))).toBe('OFFER_OVER (talking)');
    expect(await contact.details()).toContain('agent 7 has the contact back');
  });

  it('ends the offer of an agent who has logged off', async () => {
    const contact = await rig.talking();
    const second = contact.asks('42');
    contact.begins = { at: 'ringing', offer: second };
    await contact.click('transfer');
    contact.endings.push('ended');
    await contact.tell('agentGone', { offerNo: second.offerNo, why: 'agent_logged_off' });

    await contact.hasAsked(`endOffer ${second.offerNo} agent_logged_off sparing agent_answered`);
  });

  it('to a queue waits for an agent, and for the next one', async () => {
    const contact = await transferring({ at: 'queued' });
    contact.asksNext = contact.asks('42');
    await contact.tell('offered', { offerNo: contact.asksNext.offerNo });
    await contact.hasAsked('carry 1');
    contact.carried().ends({ kind: 'queued' });
    contact.carriesAnew();
    contact.asksNext = contact.asks('43');
    await contact.tell('offered', { offerNo: contact.asksNext.offerNo });
    await contact.hasAskedTimes('carry 1', 2);
    contact.carried().ends({ kind: 'connected', offer: contact.asksNext });
    await contact.untilHeld(() => contact.click('hold', { agentId: '43' }));

    expect(await contact.details()).toContain('the contact waits in the queue');
  });

  it('to a queue is taken back while the contact waits', async () => {
    const contact = await transferring({ at: 'queued' });
    await contact.click('takeBack');
    // Done to its end by who carries it, be it that the click's own command was not.
    await contact.hasAsked('carry 1');
    contact.carried().ends({ kind: 'back' });
    await contact.untilHeld(() => contact.click('hold'));

    expect(transferred(contact)).toEqual(['beginTransfer 1', 'unlink 1', 'takeContactBack 1', 'carry 1', 'hold 1']);
  });

  it('to a queue is taken back by a click whose outcome is unknown: what the rows say is done', async () => {
    const contact = await transferring({ at: 'queued' });
    contact.commands.push(ApplicationFailure.nonRetryable('the node is away', 'AWAY'));
    expect(await refusal(contact.click('takeBack'))).toBe('UNAVAILABLE (talking)');
    await contact.hasAsked('carry 1');
    contact.carried().ends({ kind: 'back' });
    await contact.untilHeld(() => contact.click('hold'));
    expect(transferred(contact)).toEqual(['beginTransfer 1', 'unlink 1', 'takeContactBack 1', 'carry 1', 'hold 1']);
  });

  it('is completed and taken back by who has begun it alone', async () => {
    const contact = await transferring();
    await contact.hasAsked('carry 1');
    expect(await refusal(contact.click('takeBack', { agentId: '8' }))).toBe('FORBIDDEN (talking)');
    await contact.click('completeTransfer');
    expect(transferred(contact)).toEqual(['beginTransfer 1', 'unlink 1', 'carry 1', 'completeTransfer 1']);
  });

  it('is refused by the rows: they talk on', async () => {
    const contact = await rig.talking();
    contact.begins = ApplicationFailure.nonRetryable('agent 42 is paused', 'CONFLICT', 'talking');
    expect(await refusal(contact.click('transfer'))).toBe('CONFLICT (talking)');
    await contact.click('hold');
    expect(transferred(contact)).toEqual(['beginTransfer 1', 'hold 1']);
  });

  it('is one at a time, and nothing else is done with the contact meanwhile', async () => {
    const contact = await transferring();
    expect(await refusal(contact.click('transfer', { transferId: `${contact.id}2` }))).toBe('CONFLICT (talking)');
    for (const click of ['hold', 'resume'] as const) expect(await refusal(contact.click(click))).toBe('CONFLICT (talking)');
    contact.carried().ends({ kind: 'back' });
    await contact.untilHeld(() => contact.click('hold'));
    for (const click of ['completeTransfer', 'takeBack'] as const) {
      expect(await refusal(contact.click(click))).toBe('CONFLICT (talking)');
    }
  });

  it('ends with the talk, in whatever it is', async () => {
    const contact = await transferring();
    await contact.hasAsked('carry 1');
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });

  it('whose node is lost ends as the rows say', async () => {
    const contact = await transferring();
    await contact.hasAsked('carry 1');
    contact.rowsSay.set(1, { kind: 'talking' });
    await contact.tell('nodeLost', { offerNo: 1 });
    await contact.hasAsked('outcomeOf 1');
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });
});
