/** Clicks that come late, twice or from the wrong hand are refused with a definite code, and leave no trace. */
import { describe, expect, it } from 'vitest';
import { type Click, contactRig, refusal } from '../kit/contact-rig.ts';

const rig = contactRig({ keeps: false });

describe('a click', () => {
  const offerClicks: Click[] = ['reject', 'cancel', 'accept', 'release'];

  it('on an offer that is over is refused', async () => {
    const contact = await rig.ringing();
    await contact.missed();

    for (const click of offerClicks) expect(await refusal(contact.click(click))).toBe('OFFER_OVER (queued)');
    expect(contact.asked).toEqual(['ring 1']);
  });

  it('on an earlier offer is refused, and does not touch the next one', async () => {
    const contact = await rig.ringing();
    await (await contact.missed()).rings();

    for (const click of offerClicks) {
      expect(await refusal(contact.click(click, { offerNo: 1, agentId: '7' }))).toBe('OFFER_OVER (ringing)');
    }
    expect(contact.asked).toEqual(['ring 1', 'ring 2']);
  });

  it("on another agent's offer is refused", async () => {
    const contact = await rig.ringing();

    for (const click of offerClicks) {
      expect(await refusal(contact.click(click, { agentId: '8' }))).toBe('FORBIDDEN (ringing)');
    }
    expect(contact.asked).toEqual(['ring 1']);
  });

  it('on an answered offer is refused, but for Cancel', async () => {
    const contact = await rig.dialling();

    expect(await refusal(contact.click('reject'))).toBe('CONFLICT (dialling)');
    expect(await refusal(contact.click('accept'))).toBe('CONFLICT (dialling)');
  });

  it('on a call that is over is refused', async () => {
    const contact = await rig.queued();
    contact.offer = { ...contact.offer, callId: '1' };

    expect(await refusal(contact.click('hangUp'))).toBe('CALL_OVER (queued)');
    expect(await refusal(contact.click('dispose'))).toBe('CALL_OVER (queued)');
    expect(await refusal(contact.click('extendWrapUp'))).toBe('CONFLICT (queued)');
  });

  it("on another agent's call is refused", async () => {
    const contact = await rig.dialling();

    expect(await refusal(contact.click('hangUp', { agentId: '8' }))).toBe('FORBIDDEN (dialling)');
  });

  it('to hang up while nothing is dialled is refused', async () => {
    const contact = await rig.ringing();

    expect(await refusal(contact.click('hangUp'))).toBe('CONFLICT (ringing)');
  });

  it('of disposition when the next call has started is refused, but for do-not-call', async () => {
    const contact = await rig.ringing();
    const before = '1';

    expect(await refusal(contact.click('dispose', { callId: before }))).toBe('CALL_OVER (ringing)');
    await contact.click('dispose', { callId: before, action: 'do_not_call' });
    expect(await contact.closed()).toBe('disabled: do_not_call');
    expect(contact.asked.at(-1)).toBe('conclude final do_not_call by agent:7');
  });

  it('of disposition for a call that only rings is refused', async () => {
    const contact = await rig.ringing();

    expect(await refusal(contact.click('dispose'))).toBe('CALL_OVER (ringing)');
  });

  it('on a contact that is closed is refused', async () => {
    const contact = await rig.queued();
    await contact.click('disable');
    await contact.closed();

    for (const click of [...offerClicks, 'hangUp', 'dispose', 'extendWrapUp', 'disable'] as Click[]) {
      expect(await refusal(contact.click(click))).toBe('CONTACT_CLOSED (closed)');
    }
  });

  it("on another agent's wrap-up is refused", async () => {
    const contact = await rig.wrapUp();

    expect(await refusal(contact.click('extendWrapUp', { agentId: '8' }))).toBe('FORBIDDEN (wrap_up)');
  });
});

describe('an update that makes no sense', () => {
  it.each<[Click, 'ringing' | 'dialling' | 'wrapUp']>([
    ['reject', 'ringing'],
    ['cancel', 'ringing'],
    ['accept', 'ringing'],
    ['hangUp', 'dialling'],
    ['dispose', 'wrapUp'],
    ['extendWrapUp', 'wrapUp'],
  ])('is refused, and harms nothing: %s', async (name, setting) => {
    const contact = await rig[setting]();
    for (const content of [null, 'text', {}, 7]) await expect(contact.ask(name, content)).rejects.toThrow();

    await contact.click(name);
  });

  it.each([null, 'text', {}, 7, { reason: 'whatever', by: 'me' }])('Disable is refused as INVALID: %j', async (content) => {
    const contact = await rig.queued();

    expect(await refusal(contact.ask('disable', content))).toMatch(/^INVALID/);
    await contact.rings();
  });
});
