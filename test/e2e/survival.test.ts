/**
 * The worker dies (SIGKILL) or freezes (SIGSTOP, longer than every timeout) in the middle of a call, while the switch and
 * its phones go on: right end, right codes, nobody dialled twice by the switch's own record.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

let system: System;
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 90_000);
afterAll(() => system?.stop());

let next = 22300000;
const number = () => `+47${next++}`;
/** Takes over: the dead activity is noticed by its heartbeat (10 s), the lease and the start of a process come before. */
const RECOVERY_MS = 40_000;

async function scene(contact: string): Promise<Scene> {
  const made = await setScene(system, { contacts: [{ phone_num: contact }] });
  await made.ready();
  return made;
}

/** A simulated phone is in this state at the switch itself, whatever the worker does. */
const phoneIs = (phone: string, state: string, withinMs = 10_000) =>
  eventually(
    async () => {
      const answer = await fetch(`${system.simulatorUrl}/phones/${encodeURIComponent(phone)}`);
      const body = (await answer.json()) as { state: string };
      if (body.state !== state) throw new Error(`phone ${phone} is ${body.state}, not ${state}`);
      return true;
    },
    { withinMs },
  );

async function whileAway(how: 'kill' | 'freeze', scene: Scene, meanwhile: () => Promise<void>) {
  const stop = scene.staysOn();
  try {
    if (how === 'kill') await system.worker.kill();
    else system.worker.signal('SIGSTOP');
    await meanwhile();
  } finally {
    if (how === 'kill') await system.worker.restart();
    else system.worker.signal('SIGCONT');
    stop();
  }
}

describe.each(['kill', 'freeze'] as const)('%s', (how) => {
  /** Longer than the heartbeat timeout, the node's lease and `notAfter`, where the worker is frozen. */
  const longAway = async () => {
    if (how === 'kill') return;
    const until = Date.now() + 16_000;
    await eventually(() => Date.now() > until, { withinMs: 20_000, everyMs: 250 });
  };

  it('while the agent’s phone rings: the ringing goes on, the call is made', async () => {
    const anna = number();
    const s = await scene(anna);
    await s.ringing();
    const { phone } = s.agents[0]!;
    await whileAway(how, s, async () => {
      await phoneIs(phone, 'ringing');
      await longAway();
      await s.phone(phone, 'answer');
    });
    await s.until('dialling', 0, RECOVERY_MS);
    await s.phone(anna, 'answer');
    await s.until('talking', 0, RECOVERY_MS);
    await s.phone(anna, 'hang-up');
    await s.until('wrap_up', 0, RECOVERY_MS);
    await s.story('i q:q a:k c:k');
    expect(await s.dialled(anna)).toBe(1);
    const rings = await system.ok('GET', '/simulator/dials?limit=1000');
    expect(rings.items.filter((dial: { to: string }) => dial.to === phone)).toHaveLength(1);
  });

  it('while the agent’s phone rings and rings out meanwhile: a missed call, the contact waits in the queue', async () => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }], rules: { agent_ring_sec: 5, reoffer_after_sec: 600 } });
    await s.ready();
    await s.ringing();
    await whileAway(how, s, async () => {
      await phoneIs(s.agents[0]!.phone, 'idle', 10_000);
      await longAway();
    });
    await s.until('queued', 0, RECOVERY_MS);
    await s.story('i q:q a:t(ring_timeout)');
    await s.agentIs('ready', 0, RECOVERY_MS);
    expect(await s.dialled(anna)).toBe(0);
  });

  it('while the contact’s phone rings: answered all the same, dialled once', async () => {
    const anna = number();
    const s = await scene(anna);
    await s.ringing();
    await s.phone(s.agents[0]!.phone, 'answer');
    await s.until('dialling');
    await phoneIs(anna, 'ringing');
    await whileAway(how, s, async () => {
      await longAway();
      await s.phone(anna, 'answer');
    });
    await s.until('talking', 0, RECOVERY_MS);
    await s.agentIs('connected', 0, RECOVERY_MS);
    await s.phone(s.agents[0]!.phone, 'hang-up');
    await s.until('wrap_up', 0, RECOVERY_MS);
    await s.story('i q:q a:k c:k(agent_hang_up)');
    expect(await s.dialled(anna)).toBe(1);
  });

  it('while they talk: the talk goes on and ends right', async () => {
    const anna = number();
    const s = await scene(anna);
    await s.ringing();
    await s.phone(s.agents[0]!.phone, 'answer');
    await s.until('dialling');
    await s.phone(anna, 'answer');
    await s.until('talking');
    await whileAway(how, s, async () => {
      await longAway();
      await s.phone(anna, 'hang-up');
    });
    await s.until('wrap_up', 0, RECOVERY_MS);
    await s.story('i q:q a:k c:k');
    await s.agentIs('wrap_up', 0, RECOVERY_MS);
    expect(await s.dialled(anna)).toBe(1);
  });
});

describe('a recording', () => {
  const ask = async (path: string) => (await (await fetch(`${system.simulatorUrl}${path}`)).json()) as Json;
  const recordingAt = async (phone: string) =>
    (await ask('/legs')).legs.find(({ to }: { to: string }) => to === phone)?.recording as string | undefined;

  it.each<[string, boolean]>([
    ['before the contact answered', false],
    ['after the answer was written, and before it was recorded', true],
  ])('is begun when the worker is back that died %s', async (_when, talks) => {
    const anna = number();
    const s = await setScene(system, { contacts: [{ phone_num: anna }], rules: { record_calls: !talks } });
    await s.ready();
    const { call } = await s.ringing();
    await s.phone(s.agents[0]!.phone, 'answer');
    await s.until('dialling');
    await phoneIs(anna, 'ringing'); // a worker that dies before it has dialled does not dial
    const answers = () => s.phone(anna, 'answer');
    if (talks) {
      await answers();
      await s.until('talking');
      // The answer does not come again.
      await eventually(async () => (await ask('/healthz')).factsWaiting === 0);
    }
    await whileAway('kill', s, async () => {
      if (!talks) await answers();
      else await system.sql.query(`UPDATE leg SET recording = 'call-' || call_id WHERE call_id = $1 AND ciq = 'c'`, [call]);
    });

    await eventually(async () => (await recordingAt(anna)) === `call-${call}`, { withinMs: RECOVERY_MS });
    await s.phone(anna, 'hang-up');
    await s.until('wrap_up', 0, RECOVERY_MS);
    const { rows } = await system.sql.query(`SELECT recording FROM call_events WHERE call_id = $1 AND ciq = 'c'`, [call]);
    expect(rows).toEqual([{ recording: `call-${call}` }]);
  });
});
