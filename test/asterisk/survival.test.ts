/** Connection, worker and Asterisk are cut, killed and frozen while legs are up: what the phones see, and what is told. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { SipPhones } from '../../dev/sip/phones.ts';
import type { BehaviourInput } from '../../telephony/simulator/script.ts';
import type { AsteriskSettings } from '../../telephony/asterisk/adapter.ts';
import type { Originate } from '../../telephony/telephony.ts';
import { AriProxy } from '../kit/ari-proxy.ts';
import { AsteriskRig, StasisApp, whyNoAsterisk } from '../kit/asterisk.ts';
import { AsteriskWorker, MortalAsterisk } from '../kit/asterisk-worker.ts';
import { eventually } from '../kit/eventually.ts';
import { numberOf } from '../kit/telephony-contract.ts';

const create = /^POST .*\/channels\/create$/;
const dial = /^POST .*\/channels\/[^/]+\/dial$/;
/** Past `notAfter`, as Asterisk sees it. */
const past = ({ notAfter }: Originate) => eventually(() => Date.now() > notAfter + 500);
const trying: BehaviourInput = { trying: 0, alerting: null, then: { kind: 'silent' } };
const manual: BehaviourInput = { trying: 0, alerting: 0.02, media: 0, then: { kind: 'manual' } };
const answers: BehaviourInput = { ...manual, then: { kind: 'answers', after: 0.02, talks: null } };
/** Agents must be free so soon after whatever happens. */
const free = { withinMs: 10_000 };

describe.skipIf(await whyNoAsterisk())('with a real Asterisk', { timeout: 90_000 }, () => {
  let asterisk: MortalAsterisk;
  let phones: SipPhones;
  let count = 0;

  beforeAll(async () => {
    phones = await SipPhones.open();
    asterisk = await MortalAsterisk.start(phones.address);
  });
  afterAll(async () => {
    await asterisk?.stop();
    phones?.close();
  });

  /** A way to Asterisk for an application of its own, so that tests don't meet. */
  const way = async () => {
    const proxy = await AriProxy.to(asterisk.running.ariUrl);
    onTestFinished(() => proxy.close());
    return { proxy, settings: asterisk.settings(proxy.url, `test-${(count += 1)}`) };
  };
  const worksWith = (settings: AsteriskSettings) => {
    const worker = new AsteriskWorker(settings);
    onTestFinished(() => worker.kill());
    return worker;
  };
  const workerWith = async (settings: AsteriskSettings) => {
    const worker = worksWith(settings);
    await worker.telephony.start();
    return worker;
  };
  const connected = async () => {
    const { proxy, settings } = await way();
    return { proxy, settings, worker: await workerWith(settings) };
  };
  const legOf = (changes: Partial<Originate> = {}): Originate => {
    const legId = `survive-${(count += 1)}-2`;
    const times = { setupMs: 20_000, ringMs: 20_000, notAfter: Date.now() + 5_000 };
    return { legId, party: 'contact', to: numberOf(legId), from: null, noDivert: false, mix: null, ...times, ...changes };
  };
  const legAt = async (behaviour: BehaviourInput, changes?: Partial<Originate>) => {
    const leg = legOf(changes);
    const phone = phones.phone(leg.to);
    await phone.behave(behaviour);
    return { ...leg, phone, invites: () => phones.invites(leg.to), wire: () => phone.calls[0]!.wire.map(({ what }) => what) };
  };
  const dialled = async ({ telephony }: AsteriskWorker, behaviour: BehaviourInput, changes?: Partial<Originate>) => {
    const leg = await legAt(behaviour, changes);
    expect(await telephony.originate(leg)).toBe('accepted');
    await phones.called(leg.to);
    onTestFinished(() => phones.phone(leg.to).hangUp().catch(() => {}));
    return leg;
  };
  /** One leg in each phase. */
  const threeLegs = async (worker: AsteriskWorker, changes?: Partial<Originate>) => {
    const setup = await dialled(worker, trying, changes);
    const alerting = await dialled(worker, manual, changes);
    const answered = await dialled(worker, answers, changes);
    await worker.heard(alerting.legId, 'alerting');
    await worker.heard(answered.legId, 'answered');
    return { setup, alerting, answered };
  };
  /** An agent who talks, and the contact whose phone does `behaviour`, bound to each other. */
  const pair = async (worker: AsteriskWorker, behaviour: BehaviourInput) => {
    const agent = await dialled(worker, answers, { party: 'agent' });
    await worker.heard(agent.legId, 'answered');
    const mix = `mix-${agent.legId}`;
    const contact = await legAt(behaviour, { mix });
    await worker.telephony.join(mix, agent.legId);
    await worker.telephony.endTogether(mix, [
      { legId: agent.legId, why: 'agent_hang_up' },
      { legId: contact.legId, why: 'call_over' },
    ]);
    expect(await worker.telephony.originate(contact)).toBe('accepted');
    await phones.called(contact.to);
    return { agent, contact };
  };
  const down = (worker: AsteriskWorker) => eventually(() => !worker.isUp);
  const up = (worker: AsteriskWorker) => eventually(() => worker.isUp);

  describe('a setting is wrong', () => {
    const told = async (worker: AsteriskWorker, what: string) => {
      await eventually(() => worker.connection.some(({ up: isUp, why }) => !isUp && why?.includes(what)) || said(worker));
      expect(worker.connection.some(({ up: isUp }) => isUp)).toBe(false);
    };
    const said = ({ connection }: AsteriskWorker): never => {
      throw new Error(`it has said ${JSON.stringify(connection.at(-1))}`);
    };
    const configure = async (file: string, reload: string, from: string, to: string) => {
      await asterisk.configure(file, reload, (text) => text.replace(from, to));
      const mend = () => asterisk.configure(file, reload, (text) => text.replace(to, from));
      onTestFinished(mend);
      return mend;
    };

    it.each([
      ['no dialwright.conf', 'extensions.conf', 'dialplan reload', '#include dialwright.conf', ';none', 'dialwright.conf'],
      ['ARI is off', 'ari.conf', 'module reload res_ari.so', 'enabled = yes', 'enabled = no', 'ARI'],
      ['another user', 'ari.conf', 'module reload res_ari.so', '[dialwright]', '[nobody]', 'ARI_USER'],
      ['HTTP is off', 'http.conf', 'module reload http', 'enabled = yes', 'enabled = no', 'ARI_URL'],
    ])('%s: it is said what to check, and mended without a restart', async (_what, file, reload, from, to, hint) => {
      const mend = await configure(file, reload, from, to);
      const { settings } = await way();
      const worker = worksWith(settings);
      const started = worker.telephony.start();
      await told(worker, hint);

      await mend();

      await started;
      const leg = await dialled(worker, answers);
      await worker.heard(leg.legId, 'answered');
    });

    it.each([
      ['the password', { password: 'wrong' }, 'ARI_PASSWORD'],
      ['the path of the URL', { url: '/nowhere' }, 'ARI_URL'],
    ])('%s: it is said what to check', async (_what, wrong, hint) => {
      const { settings } = await way();
      const url = settings.url.replace(/\/ari$/, '');
      const worker = worksWith({ ...settings, ...wrong, url: 'url' in wrong ? url + wrong.url : settings.url });
      worker.telephony.start().catch(() => {});
      await told(worker, hint);
    });
  });

  describe('what is not ours', () => {
    it('is left alone, its channels and its bridges, and hung up only where it enters our application', async () => {
      const other = await StasisApp.open(asterisk.running);
      onTestFinished(() => other.close());
      const number = `+4722${String((count += 1)).padStart(6, '0')}`;
      const [theirs, stray] = [phones.phone(number), phones.phone(`${number}9`)];
      for (const phone of [theirs, stray]) await phone.behave(answers);
      await other.dial(`PJSIP/${number}@carrier`, 'theirs');
      await other.ari.ask('POST /bridges', { query: { type: 'mixing', bridgeId: 'their-bridge' } });
      onTestFinished(() => theirs.hangUp());

      const { proxy, settings, worker } = await connected();
      const query = { endpoint: `PJSIP/${stray.number}@carrier`, app: settings.app, channelId: 'stray' };
      await other.ari.ask('POST /channels', { query });
      const call = await phones.called(stray.number);
      await call.waitFor('BYE');
      proxy.cut();
      await down(worker);
      proxy.mend();
      await up(worker);
      await worker.kill();
      const next = await workerWith(settings);

      expect(await next.telephony.list()).toEqual([]);
      expect(theirs.calls[0]!.state).toBe('talking');
      expect((await other.ari.ask('GET /bridges')).map(({ id }) => id)).toContain('their-bridge');
    });
  });

  describe('the connection', () => {
    it('is cut: legs go on, and what became of them is told once it is back, each fact once and in order', async () => {
      const { proxy, worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker);
      const [busy, late] = [await dialled(worker, manual), await dialled(worker, trying)];
      await worker.heard(busy.legId, 'alerting');

      proxy.cut();
      await down(worker);
      await alerting.phone.answer();
      await answered.phone.hangUp();
      busy.phone.calls[0]!.respond(486);
      late.phone.calls[0]!.respond(180);
      for (const ended of [answered, busy]) await eventually(() => ended.phone.calls[0]!.state === 'ended');
      await expect(worker.telephony.originate(legOf())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(worker.telephony.list()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(await worker.telephony.status(setup.legId)).toBe('cannot-tell');
      proxy.mend();
      await up(worker);

      expect(await worker.ended(answered.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(await worker.ended(busy.legId)).toMatchObject({ phase: 'alerting', by: 'remote', sip: 486 });
      await worker.heard(alerting.legId, 'answered');
      expect(await worker.telephony.status(setup.legId)).toBe('setup');
      expect(await worker.telephony.hangUp(setup.legId, 'call_over')).toBe('ended');
      expect(await worker.ended(setup.legId)).toMatchObject({ phase: 'setup', by: 'command', why: 'call_over' });
      const told = [setup, alerting, answered, busy, late].map(({ legId }) => worker.story(legId));
      expect(told).toEqual(['ended', 'alerting answered', 'alerting answered ended', 'alerting ended', 'alerting']);
    });

    it.each<['rest' | 'events' | 'all', ('rest' | 'events')[]]>([
      ['all', []],
      ['rest', ['rest']],
      ['events', ['events']],
    ])('is cut (%s): a hang-up that is asked for meanwhile is carried out', async (_part, parts) => {
      const { proxy, worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker);

      proxy.cut(...parts);
      if (!parts.includes('rest')) await down(worker);
      const legs = [setup, alerting, answered];
      const asked = await Promise.allSettled(legs.map(({ legId }) => worker.telephony.hangUp(legId, 'agent_hang_up')));
      proxy.mend();

      for (const answer of asked) {
        if (answer.status === 'fulfilled') expect(answer.value).toBe('ended');
        else expect(answer.reason).toMatchObject({ code: 'UNAVAILABLE' });
      }
      for (const { legId } of legs) {
        expect(await worker.ended(legId)).toMatchObject({ by: 'command', why: 'agent_hang_up' });
      }
      await answered.phone.calls[0]!.waitFor('BYE');
      await alerting.phone.calls[0]!.waitFor('CANCEL');
      await setup.phone.calls[0]!.waitFor('CANCEL');
    });

    it('is cut for requests only: what happens is told as before, a dial has an unknown outcome', async () => {
      const { proxy, worker } = await connected();
      const { alerting, answered } = await threeLegs(worker);

      proxy.cut('rest');
      await answered.phone.hangUp();
      await alerting.phone.answer();

      expect(await worker.ended(answered.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      await worker.heard(alerting.legId, 'answered');
      const leg = await legAt(answers);
      await expect(worker.telephony.originate(leg)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      proxy.mend();
      expect(await worker.telephony.originate(leg), 'it counts as sent').toBe('known');
      expect(leg.invites()).toBe(0);
    });

    it('stays away: its legs are lost, once, and hung up when it is back', async () => {
      const { proxy, worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker);

      proxy.cut();
      for (const [phase, { legId }] of Object.entries({ setup, alerting, answered })) {
        expect(await worker.ended(legId, free)).toMatchObject({ phase, by: 'switch', why: 'switch_lost' });
      }
      for (const { phone } of [setup, alerting, answered]) expect(phone.calls[0]!.state).not.toBe('ended');
      proxy.mend();
      await up(worker);

      await answered.phone.calls[0]!.waitFor('BYE');
      await alerting.phone.calls[0]!.waitFor('CANCEL');
      await setup.phone.calls[0]!.waitFor('CANCEL');
      await eventually(async () => (await worker.telephony.list()).length === 0);
      for (const { legId } of [setup, alerting, answered]) {
        expect(worker.story(legId).match(/ended/g)).toHaveLength(1);
        expect(await worker.telephony.status(legId)).toBe('absent');
      }
    });

    it('is there, but Asterisk stands still: its legs are lost within 10 s, and hung up when it goes on', async () => {
      const { worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker);

      asterisk.freeze();
      onTestFinished(() => asterisk.thaw());
      await Promise.all([setup, alerting, answered].map(({ legId }) => worker.ended(legId, free)));
      asterisk.thaw();
      await up(worker);

      await answered.phone.calls[0]!.waitFor('BYE');
      await alerting.phone.calls[0]!.waitFor('CANCEL');
      for (const { legId } of [setup, alerting, answered]) expect(worker.story(legId).match(/ended/g)).toHaveLength(1);
    });
  });

  // A worker that was frozen and has lost its node; or a try of its own that a frozen Asterisk answers when it goes on.
  it('loses its events to a connection that goes again: has them back, with its legs and what became of them', async () => {
    const { settings, worker } = await connected();
    const { setup, alerting, answered } = await threeLegs(worker);

    const other = await workerWith(settings);
    await down(worker);
    expect(worker.connection.at(-1)!.why).toContain('ARI_APP');
    await other.kill();
    await answered.phone.hangUp();
    await alerting.phone.answer();
    await up(worker);

    // As whoever holds the node asks for each open leg when the switch is back.
    expect(await worker.telephony.status(answered.legId)).toBe('absent');
    expect(await worker.ended(answered.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
    await worker.heard(alerting.legId, 'answered');
    expect(await worker.telephony.status(setup.legId)).toBe('setup');
    await dialled(worker, answers).then(({ legId }) => worker.heard(legId, 'answered'));
  });

  it('that has its events back by another way than asking for them again is not cut for that any more', async () => {
    const { proxy, settings, worker } = await connected();
    const other = await workerWith(settings);
    await down(worker);
    await other.kill();
    proxy.cut();
    proxy.mend();
    await up(worker);

    const told = worker.connection.length;
    const until = Date.now() + 4_000;
    await eventually(() => Date.now() > until);
    expect(worker.connection.slice(told)).toEqual([]);
  });

  describe('Asterisk is killed', () => {
    it.each([
      ['and started at once', true],
      ['and stays away', false],
    ])('%s: its legs are lost, new calls work, and nobody is called again', async (_when, atOnce) => {
      const { worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker);
      const legs = [setup, alerting, answered];

      await asterisk.kill();
      if (atOnce) await asterisk.restart();
      const ended = await Promise.all(legs.map(({ legId }) => worker.ended(legId, free)));
      if (!atOnce) await asterisk.restart();
      await up(worker);

      expect(ended.map(({ phase }) => phase)).toEqual(['setup', 'alerting', 'answered']);
      for (const end of ended) expect(end).toMatchObject({ by: 'switch', why: 'switch_lost' });
      expect(await worker.telephony.list()).toEqual([]);
      for (const leg of legs) expect(await worker.telephony.originate(leg), 'asked again').toBe('known');
      const fresh = await dialled(worker, answers);
      await worker.heard(fresh.legId, 'answered');
      for (const { legId, invites } of legs) {
        expect(invites()).toBe(1);
        expect(worker.story(legId).match(/ended/g)).toHaveLength(1);
      }
    });
  });

  it('a mix that an earlier worker has made takes further legs from the next one', async () => {
    const rig = await AsteriskRig.open();
    onTestFinished(() => rig.close());
    await rig.telephony.start();
    const legs = [rig.leg({ party: 'agent' }), rig.leg({ party: 'agent' })];
    for (const leg of legs) {
      rig.phones.onInvite(leg.to, (call) => call.respond(200));
      await rig.telephony.originate(leg);
      await rig.heard(leg.legId, 'answered');
    }
    await rig.telephony.join('mix-1', legs[0]!.legId);
    await rig.telephony.close();

    const next = rig.adapter();
    await next.start();
    await next.join('mix-1', legs[1]!.legId);
    expect((await rig.ari.ask('GET /bridges')).map(({ channels }) => channels.length)).toEqual([2]);
  });

  describe('the worker is killed', () => {
    it('and another one has its legs, each in its phase, with timers that go on', async () => {
      const { settings, worker } = await connected();
      const legs = await threeLegs(worker, { setupMs: 5_000, ringMs: 5_000 });
      const { setup, alerting, answered } = legs;
      const rangAt = worker.factsOf(alerting.legId)[0]!.at;

      await worker.kill();
      const next = await workerWith(settings);

      const phases = Object.entries(legs).map(([phase, { legId }]) => ({ legId, phase }));
      const byLeg = (one: { legId: string }, other: { legId: string }) => one.legId.localeCompare(other.legId);
      expect((await next.telephony.list()).sort(byLeg)).toEqual(phases.sort(byLeg));
      for (const { legId, phase } of phases) expect(await next.telephony.status(legId)).toBe(phase);
      const rang = await next.ended(alerting.legId);
      expect(rang).toMatchObject({ phase: 'alerting', by: 'timer' });
      expect(rang.at - rangAt).toBeGreaterThanOrEqual(4_900);
      expect(rang.at - rangAt, 'not started anew').toBeLessThan(5_900);
      expect(rang.alertMs).toBeGreaterThanOrEqual(4_900);
      const silent = await next.ended(setup.legId);
      expect(silent).toMatchObject({ phase: 'setup', by: 'timer' });
      expect(silent.setupMs).toBeGreaterThanOrEqual(4_900);
      expect(silent.setupMs, 'not started anew').toBeLessThan(5_900);
      expect(await next.telephony.hangUp(answered.legId, 'agent_hang_up')).toBe('ended');
      expect(await next.ended(answered.legId)).toMatchObject({ phase: 'answered', by: 'command', why: 'agent_hang_up' });
      for (const leg of [setup, alerting, answered]) {
        expect(leg.invites()).toBe(1);
        expect(await next.telephony.originate(leg)).toBe('known');
      }
    });

    it('and what happens to its legs then is followed by another one', async () => {
      const { settings, worker } = await connected();
      const { setup, alerting } = await threeLegs(worker);
      await worker.kill();
      const next = await workerWith(settings);

      setup.phone.calls[0]!.respond(486);
      await alerting.phone.answer();

      expect(await next.ended(setup.legId)).toMatchObject({ phase: 'setup', by: 'remote', sip: 486 });
      await next.heard(alerting.legId, 'media_up').catch(() => {});
      await next.heard(alerting.legId, 'answered');
      await alerting.phone.hangUp();
      expect(await next.ended(alerting.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      expect(next.story(alerting.legId)).toBe('alerting answered ended');
    });

    it.each([
      ['the agent hangs up in the talk', answers, 'agent', 'contact', 'answered', 'agent_hang_up'],
      ['the contact hangs up', answers, 'contact', 'agent', 'answered', 'call_over'],
      ['the agent hangs up while the contact rings', manual, 'agent', 'contact', 'alerting', 'agent_hang_up'],
      ['the agent hangs up before the contact rings', trying, 'agent', 'contact', 'setup', 'agent_hang_up'],
    ] as const)('and %s: the other leg ends at once, without any worker', async (_what, behaviour, who, whose, phase, why) => {
      const { settings, worker } = await connected();
      const legs = await pair(worker, behaviour);
      if (behaviour === manual) await worker.heard(legs.contact.legId, 'alerting');
      if (behaviour === answers) await worker.heard(legs.contact.legId, 'answered');
      await worker.kill();

      await legs[who].phone.hangUp();
      await legs[whose].phone.calls[0]!.waitFor(phase === 'answered' ? 'BYE' : 'CANCEL', { withinMs: 1_000 });
      const next = await workerWith(settings);

      for (const { legId } of [legs.agent, legs.contact]) expect(await next.telephony.status(legId)).toBe('absent');
      expect(await next.ended(legs[whose].legId)).toMatchObject({ phase, by: 'command', why });
      expect(await next.ended(legs[who].legId)).toMatchObject({ phase: 'answered', by: 'remote' });
      for (const leg of [legs.agent, legs.contact]) {
        expect(leg.invites()).toBe(1);
        expect(await next.telephony.originate(leg)).toBe('known');
      }
    });

    it('and the far end refuses: its answer is known later', async () => {
      const { settings, worker } = await connected();
      const { setup, alerting } = await threeLegs(worker);
      await worker.kill();
      setup.phone.calls[0]!.respond(486);
      alerting.phone.calls[0]!.respond(603);
      for (const { phone } of [setup, alerting]) await phone.calls[0]!.waitFor('ACK');
      const next = await workerWith(settings);

      for (const { legId } of [setup, alerting]) expect(await next.telephony.status(legId)).toBe('absent');

      expect(await next.ended(setup.legId)).toMatchObject({ phase: 'setup', by: 'remote', sip: 486 });
      expect(await next.ended(alerting.legId)).toMatchObject({ phase: 'alerting', by: 'remote', sip: 603 });
    });

    it('and none comes: Asterisk ends the dial 5 s after its timers, a talk goes on', async () => {
      const { settings, worker } = await connected();
      const { setup, alerting, answered } = await threeLegs(worker, { setupMs: 1_000, ringMs: 1_000 });
      await worker.kill();

      await alerting.phone.calls[0]!.waitFor('CANCEL', { withinMs: 9_000 });
      await setup.phone.calls[0]!.waitFor('CANCEL', { withinMs: 9_000 });
      expect(answered.phone.calls[0]!.state).toBe('talking');
      const next = await workerWith(settings);
      for (const [phase, { legId }] of [['setup', setup], ['alerting', alerting]] as const) {
        expect(await next.telephony.status(legId)).toBe('absent');
        expect(await next.ended(legId)).toMatchObject({ phase, by: 'switch', why: 'unknown' });
      }
    });

    it.each([
      ['before its dial', 'request', 0],
      ['after its dial', 'answer', 1],
    ] as const)('%s, and none comes: Asterisk takes the channel away at its time', async (_when, part, invites) => {
      const { proxy, settings, worker } = await connected();
      const leg = await legAt(manual, { notAfter: Date.now() + 2_000 });
      const held = proxy.hold(part, dial);
      worker.telephony.originate(leg).catch(() => {});
      await held.reached;
      await worker.kill();
      await past(leg);

      const next = await workerWith(settings);
      expect(await next.telephony.status(leg.legId)).toBe('absent');

      expect(await next.ended(leg.legId)).toMatchObject({ by: 'switch', why: 'unknown' });
      expect(leg.invites()).toBe(invites);
      if (invites) await leg.phone.calls[0]!.waitFor('CANCEL');
    });

    it('between dial and answer, and another one comes in time: its leg stays', async () => {
      const { proxy, settings, worker } = await connected();
      const leg = await legAt(manual, { notAfter: Date.now() + 8_000 });
      const held = proxy.hold('answer', dial);
      worker.telephony.originate(leg).catch(() => {});
      await held.reached;
      await worker.kill();

      const next = await workerWith(settings);
      await next.heard(leg.legId, 'alerting');
      await past(leg);

      await leg.phone.answer();
      await next.heard(leg.legId, 'answered');
      expect(leg.invites()).toBe(1);
    });
  });

  describe('the worker freezes', () => {
    it.each([
      ['before its channel is asked for', 'request', create],
      ['before it knows of its channel', 'answer', create],
      ['while the dial is on its way', 'request', dial],
    ] as const)('%s: nobody is called when it goes on too late', async (_when, part, what) => {
      const { proxy, worker } = await connected();
      const leg = await legAt(answers, { notAfter: Date.now() + 2_000 });
      const held = proxy.hold(part, what);

      const answer = worker.telephony.originate(leg);
      await held.reached;
      worker.freeze();
      await past(leg);
      held.release();
      worker.thaw();

      const outcome = await answer.catch(({ code }: { code: string }) => code);
      expect(['too_late', 'UNAVAILABLE']).toContain(outcome);
      // Another call shows that whatever was on its way has come.
      const other = await dialled(worker, answers);
      await worker.heard(other.legId, 'answered');
      expect(await worker.telephony.status(leg.legId)).toBe('absent');
      if (outcome === 'too_late') expect(worker.story(leg.legId)).toBe('');
      expect(leg.invites()).toBe(0);
    });

    it('when its channel was long on the way: nobody is called when it goes on too late', async () => {
      const { proxy, worker } = await connected();
      const leg = await legAt(answers, { notAfter: Date.now() + 4_000 });
      const heldCreate = proxy.hold('request', create);
      const heldDial = proxy.hold('request', dial);

      const answer = worker.telephony.originate(leg);
      await heldCreate.reached;
      await eventually(() => Date.now() > leg.notAfter - 2_000);
      heldCreate.release();
      await heldDial.reached;
      worker.freeze();
      await past(leg);
      heldDial.release();
      worker.thaw();

      const outcome = await answer.catch(({ code }: { code: string }) => code);
      expect(['too_late', 'UNAVAILABLE']).toContain(outcome);
      expect(leg.invites()).toBe(0);
    });

    it('and another one takes over: the late dial of the first calls nobody twice', async () => {
      const { proxy, settings, worker } = await connected();
      const leg = await legAt(answers);
      const held = proxy.hold('request', create);
      const late = worker.telephony.originate(leg);
      late.catch(() => {});
      await held.reached;
      worker.freeze();

      const next = await workerWith({ ...settings, url: asterisk.running.ariUrl });
      expect(await next.telephony.originate(leg)).toBe('accepted');
      await next.heard(leg.legId, 'answered');
      held.release();
      worker.thaw();

      expect(await late.catch(({ code }: { code: string }) => code)).toMatch(/known|UNAVAILABLE|too_late/);
      const other = await dialled(next, answers);
      await next.heard(other.legId, 'answered');
      expect(leg.invites()).toBe(1);
      expect(await next.telephony.status(leg.legId)).toBe('answered');
      expect(worker.factsOf(leg.legId).filter(({ type }) => type === 'answered')).toEqual([]);
    });

    it('between channel and dial, and another one takes over: that leg ends, and nobody is called', async () => {
      const { proxy, settings, worker } = await connected();
      const leg = await legAt(answers, { notAfter: Date.now() + 4_000 });
      const held = proxy.hold('request', dial);
      const late = worker.telephony.originate(leg);
      late.catch(() => {});
      await held.reached;
      worker.freeze();

      const next = await workerWith({ ...settings, url: asterisk.running.ariUrl });
      expect(await next.telephony.originate(leg)).toBe('known');
      expect(await next.ended(leg.legId)).toMatchObject({ phase: 'setup' });
      held.release();
      worker.thaw();
      await late.catch(() => {});

      const other = await dialled(next, answers);
      await next.heard(other.legId, 'answered');
      expect(leg.invites()).toBe(0);
      expect(await next.telephony.status(leg.legId)).toBe('absent');
    });

    it.each([
      ['rings', trying, 180, 'alerting', 'alerting'],
      ['answers', manual, 200, 'answered', 'alerting answered'],
    ] as const)('longer than its timers, and the phone %s meanwhile: the leg goes on', async (_w, before, says, phase, story) => {
      const { worker } = await connected();
      const { legId, phone } = await dialled(worker, before, { setupMs: 2_000, ringMs: 4_000 });
      if (before === manual) await worker.heard(legId, 'alerting');

      worker.freeze();
      const until = Date.now() + 5_000;
      phone.calls[0]!.respond(says);
      await eventually(() => Date.now() > until);
      worker.thaw();

      await worker.heard(legId, phase);
      expect(await worker.telephony.status(legId)).toBe(phase);
      expect(worker.story(legId)).toBe(story);
      expect(phone.calls[0]!.state).not.toBe('ended');
    });

    it('for a minute in a talk, which goes on and is followed again', async () => {
      const { worker } = await connected();
      const legs = await pair(worker, answers);
      await worker.heard(legs.contact.legId, 'answered');

      const from = Date.now();
      worker.freeze();
      await eventually(() => Date.now() > from + 60_000, { withinMs: 61_000 });
      for (const { phone } of [legs.agent, legs.contact]) expect(phone.calls[0]!.state).toBe('talking');
      worker.thaw();

      await up(worker);
      await legs.agent.phone.hangUp();
      await legs.contact.phone.calls[0]!.waitFor('BYE');
      expect(await worker.ended(legs.contact.legId)).toMatchObject({ phase: 'answered', by: 'command', why: 'agent_hang_up' });
      expect(await worker.ended(legs.agent.legId)).toMatchObject({ phase: 'answered', by: 'remote' });
    });
  });
});
