/** Decisions that end a call or a contact: disable and its like, and the campaign's stop (docs/domain.md, "Campaign control"). */
import { describe, expect, it } from 'vitest';
import { contactRig, noAnswer } from '../kit/contact-rig.ts';

const rig = contactRig();
const DAY = 86_400_000;

describe('Disable', () => {
  it('ends a contact in the queue', async () => {
    const contact = await rig.queued();
    await contact.click('disable', { reason: 'list_replaced', by: 'import' });

    expect(await contact.closed()).toBe('disabled: list_replaced');
    expect(contact.asked).toEqual(['conclude final list_replaced by import']);
  });

  it('ends a contact that waits', async () => {
    const contact = await rig.waiting(Date.now() + DAY);
    await contact.click('disable');

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual(['conclude final disabled by key:1']);
  });

  it("ends an offer while the agent's phone rings", async () => {
    const contact = await rig.ringing();
    await contact.click('disable', { reason: 'deleted' });

    expect(await contact.closed()).toBe('disabled: deleted');
    expect(contact.asked).toEqual([
      'ring 1',
      'endOffer 1 deleted sparing contact_answered',
      'conclude final deleted by key:1',
    ]);
  });

  it("ends a dial while the contact's phone rings", async () => {
    const contact = await rig.dialling();
    await contact.click('disable', { reason: 'do_not_call' });

    expect(await contact.closed()).toBe('disabled: do_not_call');
    expect(contact.asked.slice(-2)).toEqual([
      'endOffer 1 do_not_call sparing contact_answered',
      'conclude final do_not_call by key:1',
    ]);
  });

  it('is what ends the contact when the dial is refused for it', async () => {
    const contact = await rig.dialling();
    contact.endings.push('over');
    contact.standings.push({ at: 'closed', state: 'disabled', reason: 'deleted' });
    const answer = contact.click('disable', { reason: 'deleted' });
    await contact.hasAsked('endOffer 1 deleted sparing contact_answered');
    contact.dial().ends({ kind: 'refused', reason: 'deleted' });
    await answer;

    expect(contact.asked.at(-1)).toBe('conclude final deleted by key:1');
  });

  it('never cuts a talk', async () => {
    const contact = await rig.talking();
    await contact.click('disable');
    await contact.reaches('talking');
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude final disabled by key:1']);
  });

  it("that crosses the contact's answer waits for the talk's end", async () => {
    const contact = await rig.dialling();
    contact.endings.push('answered');
    const answer = contact.click('disable');
    await contact.hasAsked('endOffer 1 disabled sparing contact_answered');
    await contact.contactAnswers();
    await answer;
    await (await contact.talkEnds()).click('dispose');

    expect(await contact.closed()).toBe('disabled: disabled');
  });

  it('in wrap-up waits for its end', async () => {
    const contact = await rig.wrapUp();
    await contact.click('disable');
    await contact.reaches('wrap_up');
    await contact.click('dispose', { action: 'mark_as_unanswered' });

    expect(await contact.closed()).toBe('disabled: disabled');
  });

  it('for a list that was replaced lets a phone that rings ring on', async () => {
    const contact = await rig.dialling();
    await contact.tell('disable', { reason: 'list_replaced', by: 'import' });
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('disabled: list_replaced');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude final list_replaced by import']);
  });

  it('takes an offer back when matching was faster', async () => {
    const contact = await rig.queued();
    const { promise: concluded, resolve: conclude } = Promise.withResolvers<{ at: 'offered' }>();
    contact.standings.push(concluded);
    const answer = contact.click('disable');
    await contact.hasAsked('conclude final disabled by key:1');
    contact.isReserved();
    conclude({ at: 'offered' });
    await answer;

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual([
      'conclude final disabled by key:1',
      'takeBack 1 disabled',
      'conclude final disabled by key:1',
    ]);
  });

  it('takes an offer back when matching was faster, and its signal too', async () => {
    const contact = await rig.queued();
    const { promise: concluded, resolve: conclude } = Promise.withResolvers<{ at: 'offered' }>();
    contact.standings.push(concluded);
    const answer = contact.click('disable');
    await contact.hasAsked('conclude final disabled by key:1');
    await contact.offered();
    conclude({ at: 'offered' });
    await answer;

    expect(contact.asked).toContain('takeBack 1 disabled');
    expect(contact.asked).not.toContain('ring 1');
  });

  it.each(['campaign_ended', 'list_replaced', 'do_not_call'] as const)('gives its reason: %s', async (reason) => {
    const contact = await rig.ringing();
    await contact.tell('disable', { reason, by: 'import' });

    expect(await contact.closed()).toBe(`disabled: ${reason}`);
    const why = reason === 'campaign_ended' ? 'campaign_paused' : reason;
    expect(contact.asked[1]).toBe(`endOffer 1 ${why} sparing contact_answered`);
  });

  it('is what do-not-call after an earlier call means, even while the next one rings', async () => {
    const contact = await rig.ringing();
    await contact.click('dispose', { callId: '1', action: 'do_not_call' });

    expect(await contact.closed()).toBe('disabled: do_not_call');
    expect(contact.asked.at(-1)).toBe('conclude final do_not_call by agent:7');
  });

  it('is carried out by the offer itself when the node did not answer', async () => {
    const contact = await rig.ringing();
    contact.endings.push(noAnswer());
    await contact.tell('disable', contact.argument('disable'));
    await contact.hasAsked('endOffer 1 disabled sparing contact_answered');
    contact.ring().ends({ kind: 'over', code: 't', reason: 'ring_timeout', endsCall: false });

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(await contact.details()).toContain('signal disable refused: the telephony node did not answer in time');
  });
});

describe('the stop', () => {
  const stop = { offerNo: 1, why: 'campaign_paused' };

  it("ends an offer while the agent's phone rings; the contact waits for its campaign", async () => {
    const contact = await rig.ringing();
    contact.standings.push({ at: 'queue' });
    await contact.tell('withdraw', stop);
    await contact.reaches('queued');
    await contact.rings();

    expect(contact.asked).toEqual([
      'ring 1',
      'endOffer 1 campaign_paused sparing contact_answered',
      'conclude stopped',
      'ring 2',
    ]);
  });

  it("ends a dial while the contact's phone rings", async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.tell('withdraw', stop);
    await contact.reaches('waiting');

    expect(contact.asked.slice(-2)).toEqual(['endOffer 1 campaign_paused sparing contact_answered', 'conclude stopped']);
  });

  it("that crosses the contact's answer changes nothing", async () => {
    const contact = await rig.dialling();
    contact.endings.push('answered');
    await contact.tell('withdraw', stop);
    await contact.hasAsked('endOffer 1 campaign_paused sparing contact_answered');
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.at(-1)).toBe('conclude');
  });

  it('takes back an offer that is told only after it', async () => {
    const contact = await rig.queued();
    contact.standings.push({ at: 'queue' });
    await contact.tell('withdraw', stop);
    await contact.offered();
    await contact.hasAsked('conclude stopped');
    await contact.rings();

    expect(contact.asked).toEqual(['takeBack 1 campaign_paused', 'conclude stopped', 'ring 2']);
  });

  it('of an offer that is over changes nothing', async () => {
    const contact = await rig.ringing();
    await contact.missed();
    await contact.tell('withdraw', stop);
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'ring 2']);
  });

  it.each(['talking', 'wrapUp'] as const)('in %s changes nothing', async (phase) => {
    const contact = await rig[phase]();
    await contact.tell('withdraw', stop);
    if (phase === 'talking') await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude']);
  });

  it('that a node did not answer is forgotten when the contact answers', async () => {
    const contact = await rig.dialling();
    contact.endings.push(noAnswer());
    await contact.tell('withdraw', stop);
    await contact.hasAsked('endOffer 1 campaign_paused sparing contact_answered');
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');
    await contact.closed();

    // "stopped" would retry a contact who has talked and is disposed of.
    expect(contact.asked.at(-1)).toBe('conclude');
  });

  it('gives way to a Cancel', async () => {
    const contact = await rig.dialling();
    contact.endings.push('ended', 'ended');
    await contact.tell('withdraw', stop);
    await contact.hasAsked('endOffer 1 campaign_paused sparing contact_answered');
    await contact.click('cancel');
    contact.dial().ends({ kind: 'failed', code: 'h', reason: 'campaign_paused' });

    expect(await contact.closed()).toBe('disabled: agent_cancel');
  });

  it('gives way to Disable', async () => {
    const contact = await rig.ringing();
    contact.endings.push('ended');
    await contact.tell('withdraw', stop);
    await contact.hasAsked('endOffer 1 campaign_paused sparing contact_answered');
    await contact.click('disable');

    expect(await contact.closed()).toBe('disabled: disabled');
  });
});
