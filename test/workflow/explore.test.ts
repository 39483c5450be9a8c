import { describe, expect, it } from 'vitest';
import { contactRig, type ContactRig } from '../kit/contact-rig.ts';
import { historyText } from '../kit/history.ts';
const rig = contactRig();
const where: [string, keyof ContactRig][] = [['reject','ringing'],['cancel','ringing'],['accept','ringing'],['hangUp','dialling'],['dispose','wrapUp'],['extendWrapUp','wrapUp'],['disable','queued' as never],['offered','queued' as never],['legEnded','talking'],['legEnded','ringing'],['wrapUpEnded','wrapUp'],['agentGone','ringing'],['withdraw','ringing']];
const contents: Record<string, [unknown?]> = { nothing: [], null: [null], text: ['text'], number: [7], empty: [{}], list: [[]], foreign: [{ offerNo: 99, agentId: '99', callId: '99', by: 'x', reason: 'x', why: 'x', action: 'x', until: 'x', talked: 'x', wrapUpUntil: 'x' }] };
describe('explore', () => {
  for (const [name, phase] of where) for (const [what, content] of Object.entries(contents))
  it(`${name} in ${phase} with ${what}`, async () => {
    const contact = await (rig as any)[phase]();
    const before = (await contact.view()).phase;
    const asked = contact.asked.length;
    await contact.tell(name, ...content);
    await contact.tell('agentGone', { offerNo: 98 });
    await new Promise((r) => setTimeout(r, 700));
    const details = await Promise.race([contact.details().catch((e: any) => `DEAD ${e.message}`), new Promise((r) => setTimeout(() => r('DEAD no answer'), 2000))]);
    const view = await Promise.race([contact.view().catch((e: any) => `DEAD`), new Promise((r) => setTimeout(() => r('DEAD no answer'), 1000))]);
    const d = await contact.handle.describe();
    console.log(`RESULT ${name}/${what}: ${before}->${(view as any).phase ?? view} ${d.status.name} asked ${contact.asked.slice(asked)} | ${(details as string).split('\n').at(-1)}`);
  });
});
