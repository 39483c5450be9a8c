/** One run of a race between a phone and Asterisk: what was dialled, and whether both sides tell the same story of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { SipCall } from '../../dev/sip/call.ts';
import type { CallScript } from '../../dev/sip/phones.ts';
import type { EndWhy, HangUpAnswer, Originate } from '../../telephony/telephony.ts';
import type { AsteriskRig, Ended } from './asterisk.ts';
import { eventually } from './eventually.ts';

/** Two acts that race are at most so far apart. */
export const APART_MS = 60;
/** A phone whose leg has ended knows it after so long. */
const SETTLED_WITHIN_MS = 4_000;

export interface Dialled {
  leg: Originate;
  call: SipCall;
}

export class Run {
  readonly rig: AsteriskRig;
  readonly seed: number;
  /** In the order in which they were thought of, dialled or not. */
  readonly legs: Originate[] = [];
  /** Of all that we did. */
  readonly #whys = new Set<EndWhy>();
  #state: number;

  constructor(rig: AsteriskRig, seed: number) {
    this.rig = rig;
    this.seed = seed;
    this.#state = seed;
  }

  /** mulberry32 */
  between(low: number, high: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return low + (((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * (high - low);
  }

  /** Both acts, up to {@link APART_MS} apart, either of them first. */
  async cross(one: () => unknown, other: () => unknown): Promise<void> {
    const apart = this.between(-APART_MS, APART_MS);
    const after = async (ms: number, act: () => unknown): Promise<void> => {
      if (ms > 0) await sleep(ms);
      await act();
    };
    await Promise.all([after(-apart, one), after(apart, other)]);
  }

  /** A leg whose end is looked at when the run is over. */
  leg(script: CallScript, changes: Partial<Originate> = {}): Originate {
    const leg = this.rig.leg(changes);
    this.legs.push(leg);
    this.rig.phones.onInvite(leg.to, script);
    return leg;
  }

  /** Resolves when the phone has given its first sign, if it gives one. */
  dial(script: CallScript, changes: Partial<Originate> = {}): Promise<Dialled> {
    return this.#send(this.leg(script, changes));
  }

  /** Puts the agent's leg into the mix of the contact's, and binds both. */
  async bind(agent: Originate, contact: Originate): Promise<void> {
    this.#whys.add('agent_hang_up').add('call_over');
    const mix = contact.mix!;
    await this.rig.telephony.join(mix, agent.legId);
    await this.rig.telephony.endTogether(mix, [
      { legId: agent.legId, why: 'agent_hang_up' },
      { legId: contact.legId, why: 'call_over' },
    ]);
  }

  /** An agent who has answered, and a contact that is bound to that one, and not sent yet: their legs end together. */
  async bound(contactDoes: CallScript): Promise<{ agent: Dialled; contact: Originate }> {
    const agent = await this.dial((call) => call.respond(200), { party: 'agent' });
    const contact = this.leg(contactDoes, { mix: `mix-${agent.leg.legId}` });
    await this.bind(agent.leg, contact);
    return { agent, contact };
  }

  /** Both are called; the contact's phone has given its first sign, if it gives one. */
  async pair(contactDoes: CallScript): Promise<{ agent: Dialled; contact: Dialled }> {
    const { agent, contact } = await this.bound(contactDoes);
    return { agent, contact: await this.#send(contact) };
  }

  async #send(leg: Originate): Promise<Dialled> {
    expect(await this.rig.telephony.originate(leg)).toBe('accepted');
    const call = await this.rig.phones.called(leg.to);
    if (call.state === 'ringing') await this.rig.heard(leg.legId, 'alerting');
    if (call.state === 'talking') await this.rig.heard(leg.legId, 'answered');
    return { leg, call };
  }

  hangUp({ legId }: Originate, options?: { unlessAnswered?: boolean }): Promise<HangUpAnswer> {
    this.#whys.add('agent_cancel');
    return this.rig.telephony.hangUp(legId, 'agent_cancel', options);
  }

  async hangUpAll(): Promise<void> {
    for (const leg of this.legs) await this.hangUp(leg);
  }

  /** All that were told: it should be one. */
  ends(leg: Originate): Ended[] {
    return this.rig.factsOf(leg.legId).filter((fact) => fact.type === 'ended');
  }

  calls(leg: Originate): SipCall[] {
    return this.rig.phones.calls(leg.to);
  }

  /** Every leg has ended, and its phone is on no call any more. */
  async settled(): Promise<void> {
    for (const leg of this.legs) if (this.calls(leg).length > 0) await this.rig.ended(leg.legId);
    const isUp = (call: SipCall): boolean => call.state !== 'ended';
    const look = (): boolean => !this.legs.flatMap((leg) => this.calls(leg)).some(isUp);
    await eventually(look, { withinMs: SETTLED_WITHIN_MS });
  }

  /** To be asked when nothing comes any more. */
  judge(): void {
    for (const leg of this.legs) this.#judge(leg);
  }

  #judge(leg: Originate): void {
    const calls = this.calls(leg);
    expect(calls.length, 'INVITEs').toBeLessThanOrEqual(1);
    const ends = this.ends(leg);
    expect(ends.length, 'ends').toBeLessThanOrEqual(1);
    const story = this.rig.story(leg.legId);
    if (ends.length === 1) expect(story, 'facts in order').toMatch(/^(early_media )?(alerting )?(answered )?ended$/);
    expect(this.rig.factsOf(leg.legId).at(-1)?.type, 'the last fact').toBe(ends.length ? 'ended' : undefined);
    const [call] = calls;
    if (!call) return;
    const [end] = ends as [Ended];
    expect(ends, 'the end of a leg that was dialled').toHaveLength(1);
    if (end.by === 'command') expect(this.#whys, 'what we did').toContain(end.why);
    agree(end, story, call);
  }

  /** Does `what`; if it fails, the error has the seed, and what happened on both sides. */
  async explain(what: () => Promise<void>): Promise<void> {
    try {
      await what();
    } catch (error) {
      if (error instanceof Error) error.message = `RACES_SEED=${this.seed}: ${error.message}\n${this.toString()}`;
      throw error;
    }
  }

  toString(): string {
    const told = this.legs.map((leg) => {
      const { phase = '', by = '', why = '', sip = '' } = this.ends(leg)[0] ?? {};
      const wire = this.calls(leg).map((call) => `${call.state} ${call.story}`);
      const story = `${this.rig.story(leg.legId)} (${phase} ${by} ${why}${sip})`;
      return `${leg.party} ${story} · phone ${wire.join(' | ') || 'not called'}`;
    });
    return told.join('\n');
  }
}

/** What the adapter has told of a leg, and what its phone has seen. */
function agree({ phase, by, sip }: Ended, story: string, call: SipCall): void {
  const wire = call.wire.filter(({ again }) => !again);
  const has = (dir: 'in' | 'out', method: string): number =>
    wire.filter((entry) => entry.dir === dir && entry.what === method).length;
  const ofInvite = wire.filter(({ message }) => message.cseq === call.invite.cseq);
  const final = ofInvite.find(({ dir, to, what }) => dir === 'out' && to === 'INVITE' && Number(what) >= 200);
  const isAcked = ofInvite.some(({ dir, what }) => dir === 'in' && what === 'ACK');
  const isAnswered = final?.what === '200';
  expect(final, 'the phone has said its last word').toBeDefined();
  expect(isAcked, 'its last word is acknowledged').toBe(true);
  if (isAnswered) {
    // Asterisk hangs up once more when a re-INVITE crosses its BYE.
    expect(has('in', 'BYE'), 'BYEs that came').toBeLessThanOrEqual(has('out', 'INVITE') > 0 ? 2 : 1);
    expect(has('in', 'BYE') + has('out', 'BYE'), 'BYEs').toBeGreaterThanOrEqual(1);
  } else {
    expect(has('in', 'BYE') + has('out', 'BYE'), 'BYEs').toBe(0);
    expect([phase === 'answered', story.includes('answered')], 'nobody has answered').toEqual([false, false]);
    if (by === 'remote') expect(sip).toBe(Number(final!.what));
    // Or it has refused by itself in that moment.
    else if (final!.what === '487') expect(has('in', 'CANCEL'), 'CANCELs').toBe(1);
  }
  // Asterisk gives up a channel with our hang-up: a 200 that is on its way then is taken and hung up without a word.
  if (isAnswered && by === 'remote') expect([phase, has('out', 'BYE')]).toEqual(['answered', 1]);
  if (isAnswered && phase !== 'answered') expect(has('in', 'BYE'), 'BYEs to an answer nobody is told of').toBe(1);
}

/** At the switch and at the adapter. */
export async function nothingLeft({ ari, telephony }: AsteriskRig): Promise<void> {
  await eventually(async () => {
    const left = {
      channels: (await ari.ask('GET /channels')).map(({ name }) => name),
      bridges: (await ari.ask('GET /bridges')).map(({ id }) => id),
      legs: await telephony.list(),
    };
    expect(left).toEqual({ channels: [], bridges: [], legs: [] });
    return true;
  });
}
