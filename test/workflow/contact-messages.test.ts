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
  ['release', 'ringing'],
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

  it('releases', async () => {
    const contact = await rig.ringing();
    await contact.tell('release', contact.argument('release'));
    await contact.reaches('queued');

    expect(contact.asked.at(-1)).toBe('endOffer 1 agent_released sparing agent_answered by key:3');
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
    expect(contact.asked.slice(-2)).toEqual(['register done of agent 7', 'conclude']);
  });

  it('disposes with topics', async () => {
    const contact = await rig.wrapUp();
    await contact.tell('dispose', { ...contact.argument('dispose'), topics: ['sale', 'sale.new'] });

    expect(await contact.closed()).toBe('done: answered');
    expect(contact.asked).toContain('register done (sale, sale.new) of agent 7');
  });

  it.each([['a text'], [['Kari Nordmann']], [[7]], [Array(51).fill('a')]])('topics %j are none', async (topics) => {
    const contact = await rig.wrapUp();
    await contact.tell('dispose', { ...contact.argument('dispose'), topics });
    await understood(contact, 'signal dispose refused: topics must be a list of topic keys, or left out', 1);
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

  it('Disable that makes no sense is noted, and harms nothing', async () => {
    const contact = await rig.queued();
    for (const content of Object.values(NONSENSE)) await contact.tell('disable', ...content);
    await contact.tell('disable', { reason: 'whatever', by: 'me' });
    await understood(contact, 'signal disable refused', Object.keys(NONSENSE).length + 1);

    await contact.rings();
  });

  it('that is refused says what is missing', async () => {
    const contact = await rig.wrapUp();
    const { callId, agentId } = contact.offer;
    await contact.tell('dispose', { callId, agentId });
    await understood(contact, 'signal dispose refused: action must be one of done, mark_as_unanswered, reschedule, do_not_call', 1);
  });
});

describe('a cancellation of the workflow, by hand', () => {
  it('disables the contact', async () => {
    const contact = await rig.queued();
    await contact.handle.cancel();

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked).toEqual(['conclude final disabled by operator']);
  });

  it('ends in order what rings', async () => {
    const contact = await rig.dialling();
    await contact.handle.cancel();

    expect(await contact.closed()).toBe('disabled: disabled');
    expect(contact.asked.slice(2)).toEqual([
      'endOffer 1 disabled sparing contact_answered',
      'conclude final disabled by operator',
    ]);
  });

  it('does not cut a talk, and clicks are still answered', async () => {
    const contact = await rig.talking();
    await contact.handle.cancel();
    await contact.talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('disabled: disabled');
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
    await contact.tell('legEnded', { offerNo: 7, wrapUpUntil: 0 });
    await contact.tell('wrapUpEnded', { callId: '7' });
    await contact.agentAnswers();
    await contact.contactAnswers();
    await contact.tell('legEnded', { offerNo: 7, wrapUpUntil: 0 });
    await contact.talkEnds();
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: 0 });
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });

  it.each<[string, Setting]>([
    ['offered', 'queued'],
    ['legEnded', 'talking'],
    ['nodeLost', 'dialling'],
    ['agentGone', 'ringing'],
    ['withdraw', 'ringing'],
    ['wrapUpEnded', 'wrapUp'],
  ])('that makes no sense is noted, and harms nothing: %s', async (name, setting) => {
    const contact = await rig[setting]();
    const { phase } = await contact.view();
    const asked = [...contact.asked];
    for (const content of Object.values(NONSENSE)) await contact.tell(name, ...content);
    await understood(contact, `signal ${name} refused`, Object.keys(NONSENSE).length);

    await contact.reaches(phase);
    expect(contact.asked).toEqual(asked);
  });

  it('that speaks of an offer that there is not harms nothing', async () => {
    const contact = await rig.queued();
    await contact.tell('offered', { offerNo: 99 });
    await contact.reaches('queued');
    await contact.rings();
    await contact.tell('offered', { offerNo: 99 });
    await contact.hasAsked('outcomeOf 1');
    await contact.missed();
    await contact.rings();

    expect(contact.asked).toEqual(['standing', 'ring 1', 'outcomeOf 1', 'ring 2']);
  });

  it('that the legs of a talk have ended, before it began, harms nothing', async () => {
    const contact = await rig.dialling();
    await contact.tell('legEnded', { offerNo: 1, wrapUpUntil: 0 });
    await contact.hasAsked('outcomeOf 1');
    await (await contact.contactAnswers()).talkEnds();
    await contact.click('dispose');

    expect(await contact.closed()).toBe('done: answered');
  });

  it('withdraw of an offer that is still to come ends that one only', async () => {
    const contact = await rig.queued();
    await contact.tell('withdraw', { offerNo: 1, why: 'campaign_paused' });
    await contact.offered();

    await contact.hasAsked('takeBack 1 campaign_paused');
  });
});
