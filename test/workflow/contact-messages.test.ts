/** Messages come twice, late, by hand and wrong; none may harm (docs/architecture.md, "Workflows"). */
import { describe, expect, it } from 'vitest';
import { type Click, contactRig, type ContactRig, type TestContact } from '../kit/contact-rig.ts';
import { eventually } from '../kit/eventually.ts';
import { historyText } from '../kit/history.ts';

const rig = contactRig();

type Setting = Exclude<keyof ContactRig, 'waiting'>;
const NONSENSE: Record<string, [unknown?]> = {
  'no content': [],
  null: [null],
  'a text': ['text'],
  'a number': [7],
  'an empty object': [{}],
  'a list': [[]],
};
const FOREIGN = { offerNo: 99, agentId: '99', callId: '99' };

/** Where a click would be accepted, if it were right. */
const CLICKS: [Click, Setting][] = [
  ['reject', 'ringing'],
  ['cancel', 'ringing'],
  ['accept', 'ringing'],
  ['hangUp', 'dialling'],
  ['dispose', 'wrapUp'],
  ['extendWrapUp', 'wrapUp'],
];

/** Sends it, and waits until the workflow has understood it: a question sent after it is answered from then on. */
async function understood(contact: TestContact, refused: string, times: number): Promise<void> {
  await eventually(
    async () => {
      const lines = (await contact.details()).split('\n').filter((line) => line.includes(refused));
      return lines.length === times;
    },
    { withinMs: 3_000 },
  );
}

describe('a click as a signal', () => {
  it('rejects', async () => {
    const contact = await rig.ringing();
    await contact.tell('reject', contact.argument('reject'));
    await contact.reaches('queued');

    expect(contact.asked.at(-1)).toBe('endOffer 1 agent_reject sparing agent_answered');
  });

  it('cancels', async () => {
    const contact = await rig.ringing();
    await contact.tell('cancel', contact.argument('cancel'));

    expect(await contact.closed()).toBe('disabled: agent_cancel');
  });

  it('accepts', async () => {
    const contact = await rig.ringing();
    await contact.tell('accept', contact.argument('accept'));

    await contact.hasAsked('confirm 1');
  });

  it('hangs up', async () => {
    const contact = await rig.dialling();
    await contact.tell('hangUp', contact.argument('hangUp'));

    await contact.hasAsked('endOffer 1 agent_hang_up sparing nothing');
  });

  it('extends the wrap-up, and disposes', async () => {
    const contact = await rig.wrapUp();
    const until = Date.now() + 90_000;
    await contact.tell('extendWrapUp', { ...contact.argument('extendWrapUp'), until });
    await eventually(async () => (await contact.view()).wrapUpUntil === until);
    await contact.tell('dispose', contact.argument('dispose'));

    expect(await contact.closed()).toBe('done: answered');
  });

  it('disables', async () => {
    const contact = await rig.queued();
    await contact.tell('disable', contact.argument('disable'));

    expect(await contact.closed()).toBe('disabled: disabled');
  });

  it.each(CLICKS)('that makes no sense is noted, and harms nothing: %s', async (name, setting) => {
    const contact = await rig[setting]();
    const { phase } = await contact.view();
    const asked = [...contact.asked];
    for (const content of Object.values(NONSENSE)) await contact.tell(name, ...content);
    await contact.tell(name, { ...contact.argument(name), ...FOREIGN });
    await understood(contact, `signal ${name} refused`, Object.keys(NONSENSE).length + 1);

    expect(await contact.view()).toMatchObject({ phase });
    expect(contact.asked).toEqual(asked);
    await contact.tell(name, contact.argument(name));
    await eventually(async () => contact.asked.length > asked.length || name === 'extendWrapUp');
  });

  it.fails.each(Object.keys(NONSENSE).slice(2))('Disable as %s is noted, and harms nothing', async (what) => {
    const contact = await rig.queued();
    await contact.tell('disable', ...NONSENSE[what]!);
    await understood(contact, 'signal disable refused', 1);

    await contact.rings();
  });

  it('Disable without content is noted, and harms nothing', async () => {
    const contact = await rig.queued();
    await contact.tell('disable');
    await contact.tell('disable', null);
    await understood(contact, 'signal disable refused', 2);

    await contact.rings();
  });

  it.fails('Dispose without an action is noted, and harms nothing', async () => {
    const contact = await rig.wrapUp();
    const { callId, agentId } = contact.offer;
    await contact.tell('dispose', { callId, agentId });
    await understood(contact, 'signal dispose refused', 1);
  });
});

describe('an update', () => {
  it('with the same id is one update', async () => {
    const contact = await rig.ringing();
    const answers = await Promise.all([1, 2, 3].map(() => contact.click('reject', {}, 'key-1')));

    expect(answers).toEqual([{ done: true }, { done: true }, { done: true }]);
    expect(contact.asked.filter((what) => what.startsWith('endOffer'))).toHaveLength(1);
    expect(historyText(await contact.history()).match(/Update\(reject\)/g)).toHaveLength(1);
  });

  it('whose answer got lost is answered as before when it is repeated', async () => {
    const contact = await rig.wrapUp();
    const { until } = contact.argument('extendWrapUp') as { until: number };
    await contact.click('extendWrapUp', { until }, 'key-2');
    await contact.click('extendWrapUp', { until: until + 1 }, 'key-2');

    expect(await contact.view()).toMatchObject({ wrapUpUntil: until });
  });
});

describe('a fact', () => {
  it('of another offer or call is not taken for this one', async () => {
    const contact = await rig.ringing();
    await contact.tell('legEnded', { offerNo: 7, talked: true, wrapUpUntil: 0 });
    await contact.tell('wrapUpEnded', { callId: '7' });
    await contact.agentAnswers();
    await contact.contactAnswers();
    await contact.tell('legEnded', { offerNo: 7, talked: true, wrapUpUntil: 0 });
    await contact.talkEnds();
    await contact.tell('legEnded', { offerNo: 1, talked: true, wrapUpUntil: 0 });
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });

  it.each<[string, Setting]>([
    ['legEnded', 'talking'],
    ['agentGone', 'ringing'],
    ['withdraw', 'ringing'],
  ])('that makes no sense harms nothing: %s', async (name, setting) => {
    const contact = await rig[setting]();
    const { phase } = await contact.view();
    const asked = [...contact.asked];
    for (const content of Object.values(NONSENSE)) await contact.tell(name, ...content);

    await contact.reaches(phase);
    expect(contact.asked).toEqual(asked);
    if (name === 'legEnded') await contact.talkEnds();
    else await contact.missed();
  });

  it('wrapUpEnded that makes no sense harms nothing', async () => {
    const contact = await rig.wrapUp();
    for (const content of Object.values(NONSENSE).slice(2)) await contact.tell('wrapUpEnded', ...content);
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });

  it.fails.each(['no content', 'null'])('wrapUpEnded with %s harms nothing', async (what) => {
    const contact = await rig.wrapUp();
    await contact.tell('wrapUpEnded', ...NONSENSE[what]!);

    await contact.reaches('wrap_up', { withinMs: 2_000 });
  });

  it.fails.each(['no content', 'null'])('offered with %s harms nothing', async (what) => {
    const contact = await rig.queued();
    await contact.tell('offered', ...NONSENSE[what]!);

    await contact.reaches('queued', { withinMs: 2_000 });
  });

  it.fails('offered with a number from nowhere does not shut out the real offers', async () => {
    const contact = await rig.queued();
    await contact.tell('offered', { ...contact.offer, offerNo: 99, node: 'nowhere' });
    await contact.offered();

    await contact.hasAsked('ring 1', { withinMs: 2_000 });
  });

  it.fails('offered with an offer that does not exist harms nothing', async () => {
    const contact = await rig.queued();
    await contact.tell('offered', { ...contact.offer, offerId: '0', offerNo: 1 });
    await contact.reaches('queued');

    expect((await contact.handle.describe()).status.name).toBe('RUNNING');
  });

  it.fails('withdraw without an offer number does not spoil the next stop', async () => {
    const contact = await rig.queued();
    await contact.tell('withdraw', {});
    await contact.tell('withdraw', { offerNo: 1, why: 'campaign_paused' });
    await contact.offered();

    await contact.hasAsked('takeBack 1 campaign_paused', { withinMs: 2_000 });
  });
});
