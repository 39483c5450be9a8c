/** Workers and switches that die, answers that overtake each other, and lives longer than a history should be. */
import { describe, expect, it } from 'vitest';
import { contactRig, refusal } from '../kit/contact-rig.ts';
import { historyText } from '../kit/history.ts';

const rig = contactRig();
const DAY = 86_400_000;

describe('a worker', () => {
  it("that fails while the agent's phone rings is followed by another, and the answer counts", async () => {
    const contact = await rig.ringing();
    contact.ring().stumbles();
    await contact.hasAsked('ring 1 again');
    await contact.agentAnswers();

    expect(contact.asked).toEqual(['ring 1', 'ring 1 again', 'dial 1']);
  });

  it("that fails while the contact's phone rings is followed by another, and the answer counts", async () => {
    const contact = await rig.dialling();
    contact.dial().stumbles();
    await contact.hasAsked('dial 1 again');
    await contact.contactAnswers();

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'dial 1 again']);
  });

  it('that is frozen is followed by another once its heartbeats are missed', async () => {
    const contact = await rig.ringing();
    contact.ring().dead = true;
    await contact.hasAsked('ring 1 again', { withinMs: 20_000 });
    contact.ring().dead = false;
    await contact.agentAnswers();

    expect(contact.asked).toEqual(['ring 1', 'ring 1 again', 'dial 1']);
  });
});

describe('a node that is lost', () => {
  it("while the agent's phone rings: the call goes on to the next agent", async () => {
    const contact = await rig.ringing();
    contact.ring().dead = true;
    contact.rowsSay.set(1, { kind: 'over', code: 'e', reason: 'switch_lost', endsCall: false });
    await contact.tell('nodeLost', { offerNo: 1 });
    await contact.reaches('queued');
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'outcomeOf 1', 'ring 2']);
    expect(await contact.details()).toContain('agent 7: `e` error, or number not in use (switch_lost)');
  });

  it("while the contact's phone rings: the outcome is unknown, and nobody is dialled again at once", async () => {
    const contact = await rig.dialling();
    contact.dial().dead = true;
    contact.rowsSay.set(1, { kind: 'failed', code: 'e', reason: 'unknown' });
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.tell('nodeLost', { offerNo: 1 });
    await contact.reaches('waiting');

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'outcomeOf 1', 'conclude']);
    expect(await contact.details()).toContain('contact: `e` error, or number not in use (unknown)');
  });

  it('while they talk: the talk is over once its legs are', async () => {
    const contact = await rig.talking();
    await contact.tell('nodeLost', { offerNo: 1 });
    await contact.hasAsked('outcomeOf 1');
    await contact.talkEnds(0);

    expect(await contact.closed()).toBe('done: answered');
  });

  it('is noticed by the next offer too', async () => {
    const contact = await rig.ringing();
    contact.ring().dead = true;
    contact.rowsSay.set(1, { kind: 'over', code: 'e', reason: 'switch_lost', endsCall: false });
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'outcomeOf 1', 'ring 2']);
    expect((await contact.view()).offer).toEqual(contact.offer);
  });

  it('after it has refused the dial: the call ends with that reason', async () => {
    const contact = await rig.ringing();
    contact.ring().dead = true;
    contact.rowsSay.set(1, { kind: 'refused', reason: 'do_not_call' });
    contact.standings.push({ at: 'closed', state: 'disabled', reason: 'do_not_call' });
    await contact.tell('nodeLost', { offerNo: 1 });

    expect(await contact.closed()).toBe('disabled: do_not_call');
    expect(contact.asked).toEqual(['ring 1', 'outcomeOf 1', 'conclude refused do_not_call']);
  });

  it('is waited for when the rows say that it is not', async () => {
    const contact = await rig.ringing();
    await contact.tell('nodeLost', { offerNo: 1 });
    await contact.hasAsked('outcomeOf 1');
    await contact.agentAnswers();

    expect(contact.asked).toEqual(['ring 1', 'outcomeOf 1', 'dial 1']);
  });
});

describe('the end of a talk', () => {
  it('that overtakes the answer to the dial is the end of a talk', async () => {
    const contact = await rig.dialling();
    contact.dial().deaf = true;
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'outcomeOf 1', 'conclude']);
  });

  it('that overtakes the answer to the dial is not waited for by who has disposed of it', async () => {
    const contact = await rig.dialling();
    contact.dial().deaf = true;
    await contact.click('dispose');
    contact.rowsSay.set(1, { kind: 'talking' });
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: Date.now() + DAY });

    expect(await contact.closed()).toBe('done: answered');
    expect(await contact.details()).not.toContain('no disposition was registered');
  });

  it('told before its offer is taken up, by a workflow that was started anew in the middle of it, ends it', async () => {
    const contact = await rig.queued();
    contact.rowsSay.set(1, { kind: 'talking' });
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: Date.now() });
    await contact.offered();

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.filter((what) => what !== 'ring 1')).toEqual(['outcomeOf 1', 'conclude']);
  });

  it('together with the end of the wrap-up is the end of both', async () => {
    const contact = await rig.talking();
    await contact.tell('wrapUpEnded', { callId: contact.offer.callId });
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: Date.now() + DAY });

    expect(await contact.closed()).toBe('done: answered');
  });

  it('told by hand while they talk ends nothing', async () => {
    const contact = await rig.talking();
    contact.standings.push({ at: 'talking' });
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: 0 });
    await contact.hasAsked('conclude');
    await contact.reaches('talking');
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });
});

describe('what is queued', () => {
  it('is shown as queued after an offer that failed', async () => {
    const contact = await rig.ringing();
    await contact.missed();

    expect(await contact.attribute('ContactState')).toBe('queued');
  });

  it('is shown as waiting after a retry, until it is offered', async () => {
    const contact = await rig.waiting(Date.now() - 50);
    expect(await contact.attribute('ContactState')).toBe('waiting');
    await contact.rings();

    expect(await contact.attribute('ContactState')).toBe('offered');
  });
});

describe('a step', () => {
  it('is repeated until the database answers', async () => {
    const contact = await rig.queued();
    contact.standings.push(new Error('the database is away'), new Error('still'));
    await contact.click('disable');

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual(Array(3).fill('conclude final disabled by key:1'));
  });
});

describe('the offer after', () => {
  it('is waited for in the queue, whatever was clicked before', async () => {
    const contact = await rig.ringing();
    await contact.missed();

    expect(await refusal(contact.click('cancel'))).toBe('OFFER_OVER (queued)');
    await contact.rings();
    expect(historyText(await contact.history())).not.toContain('TaskFailed');
  });
});
