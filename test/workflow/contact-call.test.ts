/** The way of a call that gets through to the contact, and of one that does not (docs/domain.md, "Life of a contact"). */
import { describe, expect, it } from 'vitest';
import { contactRig, refusal } from '../kit/contact-rig.ts';
import { countEvents, historyText } from '../kit/history.ts';

const rig = contactRig();
const SOON = 50;
const DAY = 86_400_000;

describe('a call', () => {
  it('is offered, answered, dialled, talked and disposed of', async () => {
    const contact = await rig.wrapUp();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude']);
  });

  it('tells its story to operators', async () => {
    const contact = await rig.wrapUp();
    const whileWrappingUp = await contact.details();
    await contact.click('dispose');
    await contact.closed();

    expect(whileWrappingUp).toMatch(/^\*\*wrap_up\*\* since .* UTC\n\nWaiting for: agent 7's disposition\n/);
    const story = (await contact.details()).split('\n').filter((line) => line.startsWith('- '));
    expect(story.map((line) => line.replace(/^- \S+ \S+ /, ''))).toEqual([
      `offered to agent 7 (offer 1, call ${contact.offer.callId})`,
      'agent 7 answered',
      'contact answered',
      'talk ended',
      'agent 7 registered done',
      'done: answered',
    ]);
    expect(await contact.attribute('ContactState')).toBe('done');
    expect(await contact.attribute('AgentId')).toBe('7');
    expect(await contact.attribute('Attempt')).toBe(1);
    expect(await contact.attribute('ResultCode')).toBe('k');
  });

  it('is disposed of while they still talk', async () => {
    const contact = await rig.talking();
    await contact.click('dispose');
    await contact.reaches('talking');
    await contact.talkEnds(SOON);

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.at(-1)).toBe('conclude');
  });

  it('is hung up by the agent while they talk', async () => {
    const contact = await rig.talking();
    contact.endings.push('ended');
    await contact.click('hangUp');
    await contact.talkEnds();

    expect(contact.asked.at(-1)).toBe('endOffer 1 agent_hang_up sparing nothing');
    expect(await refusal(contact.click('hangUp'))).toBe('CONFLICT (wrap_up)');
  });

  it('is hung up by the agent while the contact rings', async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.click('hangUp');
    await contact.reaches('waiting');

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'endOffer 1 agent_hang_up sparing nothing', 'conclude']);
  });

  it('is answered as the agent hangs up: the wire decides', async () => {
    const contact = await rig.dialling();
    contact.endings.push('ended');
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.click('hangUp');
    contact.dial().ends({ kind: 'failed', code: 'k', reason: 'abandoned' });
    await contact.reaches('waiting');

    expect(await contact.details()).toContain('contact: `k` answered (abandoned)');
  });

  it('comes back when its agent has hung up before the contact was dialled', async () => {
    const contact = await rig.dialling();
    contact.dial().ends({ kind: 'over', code: 'k', reason: null, endsCall: false });
    await contact.reaches('queued');
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'ring 2']);
  });

  it('is refused for good: do-not-call', async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'closed', state: 'disabled', reason: 'do_not_call' });
    contact.dial().ends({ kind: 'refused', reason: 'do_not_call' });

    expect(await contact.closed()).toBe('disabled: do_not_call');
    expect(contact.asked.at(-1)).toBe('conclude refused do_not_call');
    expect(await contact.details()).toContain('not dialled: do_not_call');
  });

  it('is refused for now: number in use', async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    contact.dial().ends({ kind: 'refused', reason: 'number_in_use' });
    await contact.reaches('waiting');
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude refused number_in_use', 'ring 2']);
  });
});

describe('the wrap-up', () => {
  it('ends by its timer', async () => {
    const contact = await rig.talking();
    await contact.talkEnds(SOON);

    expect(await contact.closed()).toBe('done: answered');
    expect(await contact.details()).toContain('no disposition was registered');
  });

  it('lasts longer when it was extended', async () => {
    const contact = await rig.wrapUp(6_000);
    const until = Date.now() + DAY;
    await contact.click('extendWrapUp', { until });

    expect(await contact.view()).toMatchObject({ phase: 'wrap_up', wrapUpUntil: until });
    await contact.click('dispose');
    expect(await contact.closed()).toBe('done: answered');
  });

  it('ends by the timer of its extension', async () => {
    const contact = await rig.talking();
    const until = Date.now() + 1_000;
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: until });
    await contact.reaches('wrap_up');
    await contact.click('extendWrapUp', { until: until + 500 });

    expect(await contact.closed()).toBe('done: answered');
    expect(Date.now()).toBeGreaterThanOrEqual(until + 500);
    expect(await contact.details()).toContain('no disposition was registered');
  });

  it('ends when the agent leaves it', async () => {
    const contact = await rig.wrapUp();
    await contact.tell('wrapUpEnded', { callId: '1' });
    await contact.reaches('wrap_up');
    await contact.tell('wrapUpEnded', { callId: contact.offer.callId });

    expect(await contact.closed()).toBe('done: answered');
  });
});

describe('a retry', () => {
  it('waits in its row, and is woken by the offer of its new call', async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    contact.dial().ends({ kind: 'failed', code: 'b', reason: null });
    await contact.reaches('waiting');
    const before = countEvents(await contact.history());
    const first = contact.offer.callId;
    await contact.rings();

    expect(contact.asked).toEqual(['ring 1', 'dial 1', 'conclude', 'ring 2']);
    expect(contact.offer.callId).not.toBe(first);
    expect(await contact.details()).toContain('contact: `b` busy or rejected');
    expect(historyText(await contact.history(), before)).toMatch(/^Signal\(offered\) Task Local\(openOffer\) Attributes Schedule\(ring\)/);
  });

  it('waits for days without a timer', async () => {
    const dueAt = Date.now() + 30 * DAY;
    const contact = await rig.waiting(dueAt);

    expect(historyText(await contact.history())).toBe('Started Task Patch Attributes');
    expect(await contact.view()).toMatchObject({ phase: 'waiting', dueAt });
    expect(await contact.details()).toContain(`Waiting for: the call at ${new Date(dueAt).toISOString()}`);
    await contact.click('disable');
    expect(await contact.closed()).toBe('disabled: disabled');
  });

  it('is offered when it is due, whenever that is', async () => {
    const contact = await rig.waiting(Date.now() - DAY);

    await contact.rings();
    expect(contact.asked).toEqual(['ring 1']);
  });

  it('that is told of an offer which there is not waits on', async () => {
    const dueAt = Date.now() + DAY;
    const contact = await rig.waiting(dueAt);
    contact.standings.push({ at: 'waiting', dueAt });
    await contact.tell('offered', { offerNo: 7 });
    await contact.hasAsked('standing');

    expect(await contact.view()).toMatchObject({ phase: 'waiting', dueAt });
    await contact.rings();
  });

  it('follows a talk that the agent marks as unanswered', async () => {
    const contact = await rig.wrapUp();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.click('dispose', { action: 'mark_as_unanswered' });

    await contact.reaches('waiting');
  });

  it('is given up when the agent corrects the disposition meanwhile', async () => {
    const contact = await rig.wrapUp();
    contact.standings.push({ at: 'waiting', dueAt: Date.now() + DAY });
    await contact.click('dispose', { action: 'mark_as_unanswered' });
    await contact.reaches('waiting');
    await contact.click('dispose', { action: 'done' });

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked.slice(-2)).toEqual(['conclude', 'conclude disposed']);
  });

  it('is never made when the attempts are exhausted', async () => {
    const contact = await rig.dialling();
    contact.standings.push({ at: 'closed', state: 'done', reason: 'attempts_exhausted' });
    contact.dial().ends({ kind: 'failed', code: 't', reason: 'ring_timeout' });

    expect(await contact.closed()).toBe('done: attempts_exhausted');
  });
});
