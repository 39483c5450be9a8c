/** A contact that is offered for weeks: its workflow hands over to a fresh run where nothing is open. */
import { describe, expect, it } from 'vitest';
import { contactRig, type TestContact } from '../kit/contact-rig.ts';
import { eventually } from '../kit/eventually.ts';
import { historyText } from '../kit/history.ts';

// With 11 events a failed offer: after the third.
const rig = contactRig({ lowered: { CONTINUE_AFTER_EVENTS: 32 } });

const runs = async (contact: TestContact): Promise<number> => (await contact.histories()).length;
/** The same code hands over in the same place: after the third missed offer. */
async function almostLong(): Promise<TestContact> {
  const contact = await rig.ringing();
  await (await contact.missed()).rings();
  await (await contact.missed()).rings();
  return contact;
}

describe('a long history', () => {
  it('is continued as new in the queue', async () => {
    const contact = await almostLong();
    expect(await runs(contact)).toBe(1);
    await contact.missed();

    await eventually(async () => (await runs(contact)) === 2);
    const [first, second] = await contact.histories();
    expect(historyText(first!)).toMatch(/Task ContinuedAsNew$/);
    expect(historyText(second!)).toBe('Started Task');
  });

  it('carries the number of the last offer, the call and the story', async () => {
    const contact = await almostLong();
    const last = contact.offer;
    await contact.missed();
    await eventually(async () => (await runs(contact)) === 2);
    await contact.tell('offered', { offerNo: last.offerNo });
    await contact.tell('wrapUpEnded', { callId: last.callId });
    await contact.reaches('queued');
    await contact.click('disable');
    await contact.closed();

    expect(contact.asked).toEqual(['ring 1', 'ring 2', 'ring 3', 'conclude final disabled by key:1']);
    expect(await contact.details()).toContain('offered to agent 7 (offer 1,');
  });

  it('goes on with the next offer, and to the end of the call', async () => {
    const contact = await almostLong();
    await contact.missed();
    await eventually(async () => (await runs(contact)) === 2);
    await contact.rings();
    await (await (await contact.agentAnswers()).contactAnswers()).talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toEqual(['ring 1', 'ring 2', 'ring 3', 'ring 4', 'dial 4', 'conclude']);
  });

  it('is continued as new where it waits for a time, too', async () => {
    const contact = await (await almostLong()).agentAnswers();
    const dueAt = Date.now() + 86_400_000;
    contact.standings.push({ at: 'waiting', dueAt });
    contact.dial().ends({ kind: 'failed', code: 'b', reason: null });

    await eventually(async () => (await runs(contact)) === 2);
    expect(await contact.view()).toMatchObject({ phase: 'waiting', dueAt });
    expect(await contact.attribute('ContactState')).toBe('waiting');
    await contact.rings();
  });

  it('is not handed over while something is open', async () => {
    const contact = await almostLong();
    await (await (await contact.agentAnswers()).contactAnswers()).talkEnds();

    expect(await runs(contact)).toBe(1);
    await contact.click('dispose');
    expect(await contact.closed()).toBe('done: answered');
  });

  it('does not lose the offer that comes while a click is still being answered', async () => {
    const contact = await almostLong();
    const { promise: ended, resolve: end } = Promise.withResolvers<'ended'>();
    contact.endings.push(ended);
    const answer = contact.click('reject');
    await contact.hasAsked('endOffer 3 agent_reject sparing agent_answered');
    // The phone is down before the command's own answer is back; matching is quick.
    contact.ring().ends({ kind: 'over', code: 'b', reason: 'agent_reject', endsCall: false });
    await eventually(async () => historyText(await contact.history()).endsWith('Result(ring) Task'));
    await contact.offered();
    await eventually(async () => historyText(await contact.history()).endsWith('Signal(offered) Task'));
    end('ended');
    await answer;

    await contact.hasAsked('ring 4', { withinMs: 3_000 });
  });

  it('does not lose the decision to disable that comes as the offer ends', async () => {
    const contact = await almostLong();
    contact.endings.push('over');
    await contact.tell('disable', contact.argument('disable'));
    await contact.hasAsked('endOffer 3 disabled sparing contact_answered');
    contact.ring().ends({ kind: 'over', code: 't', reason: 'ring_timeout', endsCall: false });

    await contact.hasAsked('conclude final disabled by key:1', { withinMs: 3_000 });
  });

  it('does not lose the stop of an offer that is still to be told', async () => {
    const contact = await almostLong();
    await contact.tell('withdraw', { offerNo: 4, why: 'campaign_paused' });
    await contact.missed();
    await eventually(async () => (await runs(contact)) === 2);
    await contact.offered();

    await contact.hasAsked('takeBack 4 campaign_paused', { withinMs: 3_000 });
  });
});
