/**
 * Two Asterisks on one trunk, a worker at each; agents at telephone numbers, who confirm by a key. Calls are spread over both,
 * and when one Asterisk dies the other's calls go on.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scriptOf, type SipPhone, SipPhones } from '../../dev/sip/phones.ts';
import type { BehaviourInput } from '../../telephony/simulator/script.ts';
import { whyNoAsterisk } from '../kit/asterisk.ts';
import { MortalAsterisk } from '../kit/asterisk-worker.ts';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { ownNode, startSystem, type System } from '../kit/system.ts';

/** From the death of a switch until its agents are free (docs/architecture.md, "When something dies"). */
const FREE_WITHIN_MS = 10_000;
const SECOND = ownNode('second');
const answers: BehaviourInput = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'answers', after: 0.1, talks: null } };
const confirms: BehaviourInput = {
  ...answers,
  then: { kind: 'answers', after: 0.1, talks: null, presses: { digit: '1', after: 0.3 } },
};

describe.skipIf(await whyNoAsterisk())('two Asterisks', { timeout: 90_000 }, () => {
  let carrier: SipPhones;
  let asterisks: MortalAsterisk[];
  let system: System;
  let numbers = 0;

  beforeAll(async () => {
    carrier = await SipPhones.open({ otherwise: scriptOf(answers) });
    asterisks = [await MortalAsterisk.start(carrier.address), await MortalAsterisk.start(carrier.address)];
    const [first, second] = asterisks.map(({ running }) => ({
      TELEPHONY: 'asterisk',
      ARI_URL: running.ariUrl,
      ARI_PASSWORD: running.ariPassword,
      ASTERISK_TRUNK: 'PJSIP/{number}@carrier',
    }));
    system = await startSystem({ settings: first });
    await system.addWorker('worker-2', { ...second, TELEPHONY_NODE: SECOND });
    await nodesReady(2);
  }, 120_000);
  afterAll(async () => {
    await system?.stop();
    for (const asterisk of asterisks ?? []) await asterisk.stop();
    carrier?.close();
  });

  const nodesReady = (count: number) =>
    eventually(
      async () => {
        const ready = 'SELECT 1 FROM node WHERE ready_since IS NOT NULL AND lease_until > now()';
        return (await system.sql.query(ready)).rowCount === count;
      },
      { withinMs: 60_000 },
    );
  const nextNumber = () => `+4722${String((numbers += 1)).padStart(6, '0')}`;

  interface Talk {
    agent: SipPhone;
    contact: SipPhone;
  }

  /** As many talks, one after the other, each of an agent at a telephone number. */
  const talks = async (count: number): Promise<{ scene: Scene; phones: Talk[] }> => {
    const contacts = Array.from({ length: count }, nextNumber);
    const scene = await setScene(system, { agents: count, contacts: contacts.map((phone_num) => ({ phone_num })) });
    const phones: Talk[] = [];
    for (const [index, { id }] of scene.agents.entries()) {
      const agent = carrier.phone(nextNumber());
      await agent.behave(confirms);
      await system.ok('PATCH', `/agents/${id}`, { phone: agent.number });
      await scene.ready(index);
      await scene.until('talking', index);
      phones.push({ agent, contact: carrier.phone(contacts[index]!) });
    }
    return { scene, phones };
  };
  /** The node of each contact's leg, in the order of the list. */
  const nodesOf = async ({ contacts }: Scene): Promise<string[]> => {
    const nodes = `SELECT node FROM leg WHERE ciq = 'c' AND contact_id = ANY($1) ORDER BY contact_id`;
    return (await system.sql.query<{ node: string }>(nodes, [contacts])).rows.map(({ node }) => node);
  };
  const hearEachOther = ({ agent, contact }: Talk) =>
    eventually(() => {
      const [agentCall, contactCall] = [agent.calls.at(-1)!, contact.calls.at(-1)!];
      const tones = [agentCall.tone, contactCall.tone];
      return agentCall.loudest(tones) === contactCall.tone && contactCall.loudest(tones) === agentCall.tone;
    });

  it('share the calls; one dies: its calls end and their agents are free, the other goes on and takes what comes', async () => {
    const { scene, phones } = await talks(2);
    const nodes = await nodesOf(scene);
    expect(new Set(nodes).size).toBe(2);
    for (const talk of phones) await hearEachOther(talk);
    const lost = nodes.findIndex((node) => node !== SECOND);

    await asterisks[0]!.kill();
    await scene.agentIs('wrap_up', lost, FREE_WITHIN_MS);
    await scene.story('i q:q a:k(switch_lost) c:k(switch_lost)', lost);

    const kept = 1 - lost;
    await hearEachOther(phones[kept]!);
    const later = await talks(2);
    expect(await nodesOf(later.scene)).toEqual([SECOND, SECOND]);
    await phones[kept]!.agent.hangUp();
    await scene.until('wrap_up', kept);
    await scene.story('i q:q a:k c:k(agent_hang_up)', kept);
    for (const [index, { contact }] of later.phones.entries()) {
      await contact.hangUp();
      await later.scene.until('wrap_up', index);
    }
    expect(carrier.calls().map(({ number }) => number)).toHaveLength(8);

    await asterisks[0]!.restart();
    await nodesReady(2);
  });
});
