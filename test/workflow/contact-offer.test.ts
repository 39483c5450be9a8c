/** One agent being asked to take one call (docs/domain.md, "The offer"), and what ends it: clicks, phones, decisions. */
import { ApplicationFailure } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { contactRig, noAnswer, refusal } from '../kit/contact-rig.ts';

const rig = contactRig();

describe('an offer', () => {
  it('that is rejected goes back to the queue, and to the next agent', async () => {
    const contact = await rig.ringing();
    await contact.click('reject');
    await contact.reaches('queued');
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'endOffer 1 agent_reject sparing agent_answered', 'ring 2']);
    expect(contact.offer.agentId).toBe('8');
    expect(await contact.details()).toContain('agent 7: `b` busy or rejected (agent_reject)');
  });

  it('of which a supervisor frees the agent goes back to the queue, and to the next agent', async () => {
    const contact = await rig.ringing();
    await contact.click('release');
    await contact.reaches('queued');
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'endOffer 1 agent_released sparing agent_answered by key:3', 'ring 2']);
    expect(await contact.details()).toContain('agent 7: `h` hung up by the agent while alerting (agent_released)');
  });

  it('that is answered as a supervisor frees the agent stays answered', async () => {
    const contact = await rig.ringing();
    contact.endings.push('answered');

    expect(await refusal(contact.click('release'))).toBe('CONFLICT (ringing)');
    await contact.agentAnswers();
    expect(await refusal(contact.click('release'))).toBe('CONFLICT (dialling)');
    await contact.contactAnswers();
    expect(await refusal(contact.click('release'))).toBe('OFFER_OVER (talking)');
  });

  it('that rings out goes back to the queue', async () => {
    const contact = await rig.ringing();
    await contact.missed();
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'ring 2']);
  });

  it('is answered at last after many were missed', async () => {
    const contact = await rig.ringing();
    for (let missed = 0; missed < 5; missed++) await (await contact.missed()).rings();
    await contact.agentAnswers();

    expect(contact.asked).toEqual(['ring 1', 'ring 2', 'ring 3', 'ring 4', 'ring 5', 'ring 6', 'dial 6']);
  });

  it('ends when its agent has gone', async () => {
    const contact = await rig.ringing();
    await contact.tell('agentGone', { offerNo: 1, why: 'agent_logged_off' });
    await contact.reaches('queued');

    expect(contact.asked.at(-1)).toBe('endOffer 1 agent_logged_off sparing agent_answered');
  });

  it('goes on when an agent of another offer has gone, or its own after the answer', async () => {
    const contact = await rig.ringing();
    await contact.tell('agentGone', { offerNo: 7, why: 'agent_lost' });
    await contact.agentAnswers();
    await contact.tell('agentGone', { offerNo: 1, why: 'agent_lost' });
    await contact.contactAnswers();

    expect(contact.asked).toEqual(['ring 1', 'dial 1']);
  });

  it('is confirmed by its agent', async () => {
    const contact = await rig.ringing();
    await contact.click('accept');

    expect(contact.asked.at(-1)).toBe('confirm 1');
    await contact.agentAnswers();
  });

  it('is not confirmed before the phone is picked up', async () => {
    const contact = await rig.ringing();
    contact.confirmations.push(ApplicationFailure.nonRetryable('the phone has not been picked up yet', 'CONFLICT', 'ringing'));

    expect(await refusal(contact.click('accept'))).toBe('CONFLICT (ringing)');
    await contact.agentAnswers();
  });

  it('is offered once, however often it is told', async () => {
    const contact = await rig.ringing();
    await contact.tell('offered', { offerNo: 1 });
    await contact.missed();
    await contact.tell('offered', { offerNo: 1 });
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'ring 2']);
  });

  it('that is over when it is told leaves the contact where its row says', async () => {
    const contact = await rig.ringing();
    await contact.missed();
    // Reserved still, by the offer that it has run: that is over soon.
    contact.standings.push({ at: 'offered' }, { at: 'waiting', dueAt: Date.now() + 60_000 });
    for (const times of [1, 2]) {
      await contact.tell('offered', { offerNo: 9 });
      await contact.hasAskedTimes('standing', times);
    }
    await contact.reaches('waiting');

    expect(contact.asked).toEqual(['ring 1', 'standing', 'standing']);
  });

  it('that was taken back with a task that failed: the contact is closed, as its row is', async () => {
    const contact = await rig.queued();
    contact.standings.push({ at: 'closed', state: 'disabled', reason: 'disabled' });
    await contact.tell('offered', { offerNo: 9 });

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual(['standing']);
  });

  it('that is answered as the agent clicks Reject stays answered', async () => {
    const contact = await rig.ringing();
    contact.endings.push('answered');

    expect(await refusal(contact.click('reject'))).toBe('CONFLICT (ringing)');
    await contact.agentAnswers();
  });

  it('that is over as the agent clicks Reject is over', async () => {
    const contact = await rig.ringing();
    contact.endings.push('over');

    expect(await refusal(contact.click('reject'))).toBe('OFFER_OVER (ringing)');
    await contact.missed();
  });

  it('whose node does not answer leaves the outcome of a click unknown', async () => {
    const contact = await rig.ringing();
    contact.endings.push(noAnswer());
    contact.confirmations.push(noAnswer());

    expect(await refusal(contact.click('reject'))).toBe('UNAVAILABLE (ringing)');
    expect(await refusal(contact.click('accept'))).toBe('UNAVAILABLE (ringing)');
    await contact.agentAnswers();
  });
});

describe('Cancel', () => {
  it("while the agent's phone rings ends the call, and the contact", async () => {
    const contact = await rig.ringing();
    await contact.click('cancel');

    expect(await contact.closed()).toBe('disabled: agent_cancel');
    expect(contact.asked).toEqual([
      'ring 1',
      'endOffer 1 agent_cancel sparing contact_answered',
      'conclude final agent_cancel by agent:7',
    ]);
  });

  it("while the contact's phone rings ends the call, and the contact", async () => {
    const contact = await rig.dialling();
    await contact.click('cancel');

    expect(await contact.closed()).toBe('disabled: agent_cancel');
    expect(contact.asked.at(-1)).toBe('conclude final agent_cancel by agent:7');
  });

  it("that crosses the contact's answer comes too late, and changes nothing", async () => {
    const contact = await rig.dialling();
    contact.endings.push('answered');

    expect(await refusal(contact.click('cancel'))).toBe('CANCEL_TOO_LATE (dialling)');
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');
    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.at(-1)).toBe('conclude');
  });

  it('that crosses the end of the ringing is carried out nevertheless', async () => {
    const contact = await rig.ringing();
    contact.endings.push('over');
    await contact.click('cancel');
    contact.ring().ends({ kind: 'over', code: 't', reason: 'ring_timeout', endsCall: false });

    expect(await contact.closed()).toBe('disabled: agent_cancel');
    expect(contact.asked.at(-1)).toBe('conclude final agent_cancel by agent:7');
  });

  it.each(['talking', 'wrapUp'] as const)('in %s comes too late', async (phase) => {
    const contact = await rig[phase]();

    expect(await refusal(contact.click('cancel'))).toMatch(/^CANCEL_TOO_LATE/);
  });

  it('whose outcome stayed unknown does not disable a contact who has answered', async () => {
    const contact = await rig.dialling();
    contact.endings.push(noAnswer());
    expect(await refusal(contact.click('cancel'))).toBe('UNAVAILABLE (dialling)');
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });
});
