import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

let system: System;
beforeAll(async () => {
  const manual = { alerting: 0.1, trying: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 90_000);
afterAll(() => system?.stop());

const ANNA = '+4722123456';

describe('a call', () => {
  it('is offered, answered, talked and disposed of', async () => {
    const scene = await setScene(system, { contacts: [{ phone_num: ANNA }] });
    await scene.ready();
    const { call } = await scene.ringing();
    await scene.phone(scene.agents[0]!.phone, 'answer');
    await scene.until('dialling');
    await scene.phone(ANNA, 'answer');
    await scene.until('talking');
    await scene.agentIs('connected');
    await scene.phone(ANNA, 'hang-up');
    await scene.until('wrap_up');
    await scene.agentIs('wrap_up');
    const { key } = scene.agents[0]!;
    await system.ok('POST', `/calls/${call}/disposition`, { action: 'done', topics: ['sold'] }, { key });
    await scene.until('done');
    expect(await scene.events()).toBe('i q:q a:k c:k');
    await scene.ready();
    await scene.agentIs('ready');
    expect(await scene.dialled(ANNA)).toBe(1);
  });
});
