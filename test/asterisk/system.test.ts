/**
 * The whole product on a real Asterisk: an agent on a softphone, contacts behind the trunk. What the phones see is compared
 * with what is told of the call, also when the worker or Asterisk dies in the middle of it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type SipPhone, SipPhones } from '../../dev/sip/phones.ts';
import { Softphone } from '../../dev/sip/softphone.ts';
import type { BehaviourInput } from '../../telephony/simulator/script.ts';
import { whyNoAsterisk } from '../kit/asterisk.ts';
import { MortalAsterisk } from '../kit/asterisk-worker.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

const manual: BehaviourInput = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
const busy: BehaviourInput = { trying: 0, alerting: null, then: { kind: 'fails', after: 0, sip: 486 } };
const AGENT = '1001';
const OTHER_AGENT = '1002';
const FREE_MS = 10_000;
/** A dead activity is noticed by its heartbeat (10 s); the lease and the start of a process come before. */
const RECOVERY_MS = 40_000;
/** Of a node (worker/node.ts). */
const LEASE_MS = 8_000;

describe.skipIf(await whyNoAsterisk())('the whole product on a real Asterisk', { timeout: 120_000 }, () => {
  let carrier: SipPhones;
  let asterisk: MortalAsterisk;
  let softphone: Softphone;
  let otherSoftphone: Softphone;
  let system: System;
  let contacts = 0;

  beforeAll(async () => {
    carrier = await SipPhones.open();
    asterisk = await MortalAsterisk.start(carrier.address);
    const { sipPort, softphonePassword, ariUrl, ariPassword } = asterisk.running;
    softphone = await Softphone.open({ sipPort, account: AGENT, password: softphonePassword });
    await softphone.register();
    await softphone.phone.behave(manual);
    otherSoftphone = await Softphone.open({ sipPort, account: OTHER_AGENT, password: softphonePassword });
    await otherSoftphone.register();
    await otherSoftphone.phone.behave(manual);
    const ari = { ARI_URL: ariUrl, ARI_PASSWORD: ariPassword, ASTERISK_TRUNK: 'PJSIP/{number}@carrier' };
    system = await startSystem({ settings: { TELEPHONY: 'asterisk', ...ari } });
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    softphone?.close();
    otherSoftphone?.close();
    await asterisk?.stop();
    carrier?.close();
  });
  /** There are two softphones, and a phone is one agent's: the next one can have it. */
  const passOn = () => system.sql.query(`UPDATE agent SET phone = phone || '-' || id WHERE phone = ANY($1)`, [[AGENT, OTHER_AGENT]]);
  afterEach(passOn);

  const callTo = async (behaviour: BehaviourInput) => {
    const number = `+4722${String((contacts += 1)).padStart(6, '0')}`;
    const contact = carrier.phone(number);
    await contact.behave(behaviour);
    const scene = await setScene(system, { contacts: [{ phone_num: number }], agent: { phone: AGENT } });
    const before = softphone.phone.calls.length;
    await scene.ready();
    await eventually(() => softphone.phone.calls.length > before && softphone.phone.calls.at(-1)!.state === 'ringing');
    return { scene, contact };
  };
  /** The agent answers, and the contact's phone rings. */
  const contactRings = async () => {
    const { scene, contact } = await callTo(manual);
    await softphone.phone.answer();
    await rings(contact);
    await scene.until('dialling');
    return { scene, contact };
  };
  const talk = async () => {
    const { scene, contact } = await contactRings();
    await contact.answer();
    await scene.until('talking');
    await hearEachOther(contact);
    return { scene, contact };
  };
  /** Since then a worker has taken up the node, or renewed its hold, and its Asterisk can be reached. */
  const held = (since: number) =>
    eventually(
      async () => {
        const lease = 'SELECT 1 FROM node WHERE ready_since IS NOT NULL AND lease_until > $1';
        return (await system.sql.query(lease, [new Date(since + LEASE_MS)])).rowCount;
      },
      { withinMs: RECOVERY_MS },
    );
  const legsOver = () =>
    eventually(
      async () => (await system.sql.query('SELECT 1 FROM leg WHERE ended_at IS NULL')).rowCount === 0,
      { withinMs: FREE_MS },
    );
  const rings = (phone: SipPhone) => eventually(() => phone.calls.at(-1)?.state === 'ringing');
  const hearEachOther = (contact: SipPhone) => speak(softphone.phone, contact);
  const speak = (one: SipPhone, other: SipPhone) =>
    eventually(
      () => {
        const [oneCall, otherCall] = [one.calls.at(-1)!, other.calls.at(-1)!];
        const tones = [oneCall.tone, otherCall.tone];
        return oneCall.loudest(tones) === otherCall.tone && otherCall.loudest(tones) === oneCall.tone;
      },
      { withinMs: RECOVERY_MS },
    );
  /** Neither hears the other any more; until then what was said before still counts as heard. */
  const apart = (one: SipPhone, other: SipPhone) =>
    eventually(() => {
      const [oneCall, otherCall] = [one.calls.at(-1)!, other.calls.at(-1)!];
      return oneCall.loudest([otherCall.tone]) === null && otherCall.loudest([oneCall.tone]) === null;
    });
  const over = (...phones: SipPhone[]) =>
    eventually(() => phones.every((phone) => phone.calls.at(-1)!.state === 'ended'), { withinMs: FREE_MS });
  /** Kills the worker and starts it again; the agent stays logged on. */
  const killWorker = async (scene: Scene, meanwhile: () => Promise<unknown> = () => Promise.resolve()) => {
    const stop = scene.staysOn();
    try {
      await system.worker.kill();
      await meanwhile();
      await system.worker.restart();
    } finally {
      stop();
    }
  };

  it('a call: the agent, then the contact, who hear each other until one of them hangs up', async () => {
    const { scene, contact } = await talk();

    await contact.hangUp();

    await over(softphone.phone);
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k');
    expect(contact.calls).toHaveLength(1);
    expect(contact.calls[0]!.invite.get('from')).toContain('+4722999900');
  });

  it('the agent hangs up: the contact is hung up at once', async () => {
    const { scene, contact } = await talk();

    await softphone.phone.hangUp();

    await over(contact);
    await scene.until('wrap_up');
    await scene.story('i q:q a:k c:k(agent_hang_up)');
  });

  it('a busy contact: the agent is free, the contact waits for its retry', async () => {
    const { scene } = await callTo(busy);

    await softphone.phone.answer();

    await scene.until('waiting');
    await over(softphone.phone);
    await scene.story('i q:q a:k c:b');
  });

  it('an agent who rejects on the phone: nobody is called', async () => {
    const { scene, contact } = await callTo(manual);

    await softphone.phone.reject();

    await scene.until('queued');
    await scene.story('i q:q a:b');
    expect(contact.calls).toHaveLength(0);
  });

  describe('the worker is killed', () => {
    it('in a talk, and started again: the talk goes on and ends right', async () => {
      const { scene, contact } = await talk();

      await killWorker(scene, () => hearEachOther(contact));
      await held(Date.now());
      await hearEachOther(contact);
      await contact.hangUp();

      await over(softphone.phone);
      await scene.until('wrap_up', 0, RECOVERY_MS);
      await scene.story('i q:q a:k c:k');
      expect(contact.calls).toHaveLength(1);
    });

    it('in a talk that ends meanwhile: the other leg ends at once, and both are told', async () => {
      const { scene, contact } = await talk();

      await killWorker(scene, async () => {
        await softphone.phone.hangUp();
        await contact.calls[0]!.waitFor('BYE', { withinMs: 1_000 });
      });

      await held(Date.now());
      await legsOver();
      await scene.agentIs('wrap_up', 0, FREE_MS);
      await scene.until('wrap_up', 0, RECOVERY_MS);
      await scene.story('i q:q a:k c:k(agent_hang_up)');
      // Told by one worker, ended under another: how long it rang is on record all the same.
      const times = `SELECT setup_ms, alert_ms FROM call_events WHERE contact_id = $1 AND event_type = 'c'`;
      for (const { setup_ms, alert_ms } of (await system.sql.query(times, [scene.contacts[0]])).rows) {
        expect(setup_ms).toBeGreaterThan(0);
        // One that is picked up at its first ring has rung for no time that could be measured; null is what is not known.
        expect(alert_ms).toBeGreaterThanOrEqual(0);
      }
      expect(contact.calls).toHaveLength(1);
    });

    it('while the contact rings, who answers meanwhile: one call, and they talk', async () => {
      const { scene, contact } = await contactRings();

      await killWorker(scene, () => contact.answer());

      await scene.until('talking', 0, RECOVERY_MS);
      await hearEachOther(contact);
      await softphone.phone.hangUp();
      await over(contact);
      await scene.until('wrap_up', 0, RECOVERY_MS);
      await scene.story('i q:q a:k c:k(agent_hang_up)');
      expect(contact.calls).toHaveLength(1);
    });

    it('while the contact rings and goes on ringing: one call', async () => {
      const { scene, contact } = await contactRings();

      await killWorker(scene);
      await held(Date.now());
      await contact.reject();

      await over(softphone.phone);
      await scene.until('waiting', 0, RECOVERY_MS);
      await scene.story('i q:q a:k c:b');
      expect(contact.calls).toHaveLength(1);
    });
  });

  describe('a transfer', () => {
    const click = async (scene: Scene, what: string, body?: unknown) => {
      const { rows } = await system.sql.query(`SELECT call_id FROM contact WHERE id = $1`, [scene.contacts[0]]);
      await eventually(async () => {
        const { status, body: answer } = await system.api('POST', `/calls/${rows[0].call_id}/${what}`, body, { key: scene.agents[0]!.key });
        if (status === 409 && answer.state === 'dialling') return false;
        expect(status, JSON.stringify(answer)).toBe(200);
        return true;
      });
    };
    /** The contact is on hold, the agent speaks with a number. */
    const consulting = async () => {
      const { scene, contact } = await talk();
      const target = carrier.phone(`+4722${String((contacts += 1)).padStart(6, '0')}`);
      await target.behave(manual);
      await click(scene, 'transfer', { mode: 'attended', to: { number: target.number } });
      await rings(target);
      await target.answer();
      await hearEachOther(target);
      await eventually(async () => {
        const { rows } = await system.sql.query(`SELECT state FROM transfer WHERE contact_id = $1`, [scene.contacts[0]]);
        return rows[0].state === 'consulting';
      });
      // The contact hears neither of them.
      const tones = [softphone.phone, target].map((phone) => phone.calls.at(-1)!.tone);
      await eventually(() => contact.calls.at(-1)!.loudest(tones) === null);
      return { scene, contact, target };
    };

    it('attended and completed: the contact is on hold, then talks with the number', async () => {
      const { scene, contact, target } = await consulting();

      await click(scene, 'complete-transfer');

      await over(softphone.phone);
      await speak(contact, target);
      await scene.agentIs('wrap_up');
      await target.hangUp();
      await over(contact);
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k n:k');
    });

    it('attended and taken back: they talk as before, and end together', async () => {
      const { scene, contact, target } = await consulting();

      await click(scene, 'take-back');

      await over(target);
      await hearEachOther(contact);
      await contact.hangUp();
      await over(softphone.phone);
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k n:k(agent_hang_up)');
    });

    it('blind: the agent is off the line, the contact waits and then talks with the number', async () => {
      const { scene, contact } = await talk();
      const target = carrier.phone(`+4722${String((contacts += 1)).padStart(6, '0')}`);
      await target.behave(manual);

      await click(scene, 'transfer', { mode: 'blind', to: { number: target.number } });
      await over(softphone.phone);
      await rings(target);
      await target.answer();

      await speak(contact, target);
      await contact.hangUp();
      await over(target);
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k n:k');
    });

    /** One more agent of the campaign, on the other softphone. */
    const another = async (scene: Scene, state: 'ready' | 'paused') => {
      const queues = [{ campaign_id: scene.campaign, priority: 1 }];
      const agent = await system.ok('POST', '/agents', { name: 'Other', phone: OTHER_AGENT, queues });
      const { key } = await system.ok('POST', '/keys', { name: 'other', role: 'agent', agent_id: agent.id });
      const is = (want: string) => system.ok('PUT', `/agents/${agent.id}/state`, { state: want }, { key });
      await is(state);
      return { id: agent.id as string, is };
    };
    const other = () => otherSoftphone.phone;

    it('to an agent: the contact waits and then talks with that one', async () => {
      const { scene, contact } = await talk();
      const { id } = await another(scene, 'ready');

      await click(scene, 'transfer', { mode: 'blind', to: { agent_id: id } });
      await over(softphone.phone);
      await rings(other());
      await other().answer();

      await speak(contact, other());
      await contact.hangUp();
      await over(other());
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k a:k');
    });

    it('to an agent who does not answer: back to the one who has asked', async () => {
      const { scene, contact } = await talk();
      const { id } = await another(scene, 'ready');

      await click(scene, 'transfer', { mode: 'attended', to: { agent_id: id } });
      await rings(other());
      await apart(softphone.phone, contact);
      await other().reject();

      await hearEachOther(contact);
      await softphone.phone.hangUp();
      await over(contact);
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k(agent_hang_up) a:b');
    });

    it('to a queue: the contact waits until an agent is ready', async () => {
      const { scene, contact } = await talk();
      const { is } = await another(scene, 'paused');

      await click(scene, 'transfer', { mode: 'blind', to: { campaign_id: scene.campaign } });
      await over(softphone.phone);
      expect((await scene.contact()).state).toBe('talking');
      await is('ready');
      await rings(other());
      await other().answer();

      await speak(contact, other());
      await contact.hangUp();
      await over(other());
      await scene.until('wrap_up');
      await scene.story('i q:q a:k c:k q:k a:k');
    });

    it('nobody: on hold, back, and keys to the contact', async () => {
      const { scene, contact } = await talk();
      const tone = softphone.phone.calls.at(-1)!.tone;

      await click(scene, 'hold');
      await eventually(() => contact.calls.at(-1)!.loudest([tone]) === null);
      await click(scene, 'resume');
      await hearEachOther(contact);
      await click(scene, 'dtmf', { digits: '42' });
      await eventually(() => contact.calls.at(-1)!.keysHeard === '42');

      await contact.hangUp();
      await over(softphone.phone);
      await scene.until('wrap_up');
    });

    it('whose worker is killed while agent and number speak, and the agent hangs up meanwhile, is completed', async () => {
      const { scene, contact, target } = await consulting();

      await killWorker(scene, () => softphone.phone.hangUp());

      await speak(contact, target);
      await scene.agentIs('wrap_up', 0, RECOVERY_MS);
      await contact.hangUp();
      await over(target);
      await scene.until('wrap_up', 0, RECOVERY_MS);
      await scene.story('i q:q a:k c:k n:k');
    });
  });

  describe('Asterisk is killed', () => {
    it.each([
      ['in a talk', talk, 'wrap_up', 'i q:q a:k(switch_lost) c:k(switch_lost)'],
      ['while the contact rings', contactRings, 'waiting', 'i q:q a:k(switch_lost) c:e(switch_lost)'],
    ] as const)('%s: the agent is free within 10 s, and the next call is made', async (_when, until, state, story) => {
      const { scene, contact } = await until();

      const from = Date.now();
      await asterisk.kill();
      await legsOver();
      await scene.until(state, 0, FREE_MS);
      expect(Date.now() - from).toBeLessThan(FREE_MS);
      await scene.story(story);
      await asterisk.restart();
      await softphone.register();
      for (const phone of [softphone.phone, contact]) phone.calls.at(-1)!.end();
      await held(Date.now());

      expect(contact.calls).toHaveLength(1);
      await passOn();
      const next = await talk();
      await next.contact.hangUp();
      await next.scene.until('wrap_up');
    });
  });

  it('a channel of ours that no call owns is hung up', async () => {
    const stray = carrier.phone(`+4722${String((contacts += 1)).padStart(6, '0')}`);
    await stray.behave({ ...manual, then: { kind: 'answers', after: 0, talks: null } });
    const channelId = 'dialwright.stray-1-2';
    const query = new URLSearchParams({ endpoint: `PJSIP/${stray.number}@carrier`, app: 'dialwright', channelId });
    const { ariUrl, ariPassword } = asterisk.running;
    const authorization = `Basic ${Buffer.from(`dialwright:${ariPassword}`).toString('base64')}`;

    await fetch(`${ariUrl}/channels?${query.toString()}`, { method: 'POST', headers: { authorization } });
    const call = await carrier.called(stray.number);

    await call.waitFor('BYE', { withinMs: 25_000 });
  });
});
