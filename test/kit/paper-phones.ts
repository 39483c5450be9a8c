/**
 * Whole calls on a real database in skipped time: the product's own matching, activities and sweep, a clock that the test
 * sets, and phones of paper, which answer in no time what the test says. What Temporal would do between the steps of a
 * contact is done here, so weeks take seconds.
 */
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { createCallActivities } from '../../activities/calls.ts';
import { createContactActivities, type Decision } from '../../activities/contacts.ts';
import { registerDisposition, type Said } from '../../activities/dispositions.ts';
import { legId } from '../../domain/ids.ts';
import { queueDue } from '../../matching/due.ts';
import type { LegEnd, Originate, Telephony } from '../../telephony/telephony.ts';
import type { Matcher, OpenOffer, Queue } from './queue.ts';

/** What a contact's phone does: a SIP answer that fails the call, or a talk. */
export type Outcome = 486 | 480 | 404 | 'rings_out' | 'talks';

const ENDS: Readonly<Record<Exclude<Outcome, 'talks'>, LegEnd>> = {
  486: { by: 'remote', sip: 486, phase: 'setup', setupMs: 0, alertMs: 0 },
  480: { by: 'remote', sip: 480, phase: 'alerting', setupMs: 0, alertMs: 0 },
  404: { by: 'remote', sip: 404, phase: 'setup', setupMs: 0, alertMs: 0 },
  rings_out: { by: 'timer', phase: 'alerting', setupMs: 0, alertMs: 0 },
};

export interface Talk {
  callId: string;
  contactId: string;
  agentId: number;
}

export interface PaperOptions {
  /** Asked once for each leg to a contact. */
  answer(number: string): Outcome;
  /** What the agent registers after a talk; null: nothing. */
  dispose?(talk: Talk): Omit<Said, keyof Talk | 'requestId' | 'by' | 'canComment'> | null;
  /** How long each call takes, s. */
  callSec?: number;
}

export class PaperPhones {
  readonly #queue: Queue;
  readonly #worker: Matcher;
  readonly #options: PaperOptions;
  readonly #calls: ReturnType<typeof createCallActivities>;
  readonly #contacts: ReturnType<typeof createContactActivities>;

  constructor(queue: Queue, worker: Matcher, options: PaperOptions) {
    this.#queue = queue;
    this.#worker = worker;
    this.#options = options;
    const log = pino({ level: 'silent' });
    this.#calls = createCallActivities({ ...worker, telephony: this.#phones(), log });
    this.#contacts = createContactActivities(worker);
  }

  /** Until nothing is left to do by then: calls are made, and the time between them is skipped. */
  async run(until: Date): Promise<void> {
    const { clock } = this.#queue;
    for (;;) {
      await this.#worker.sweep();
      await this.#queueDue();
      const offers = await this.#queue.offers();
      for (const offer of offers) await this.#carryOut(offer);
      if (offers.length > 0) continue;
      const next = await this.#nextTime();
      if (next === null || next > until) return clock.pass((until.getTime() - clock.now().getTime()) / 1000);
      clock.pass(Math.max(1, Math.ceil((next.getTime() - clock.now().getTime()) / 1000)));
    }
  }

  async #queueDue(): Promise<void> {
    for (;;) {
      const next = await queueDue({ ...this.#worker, workflows: { campaignChanged: () => Promise.resolve() } });
      if (next === null || next > this.#queue.clock.now()) return;
    }
  }

  async #carryOut(offer: OpenOffer): Promise<void> {
    const offerId = offer.id;
    const rung = await run(() => this.#calls.ring({ offerId }));
    if (rung.kind !== 'answered') return;
    const dialled = await run(() => this.#calls.dial({ offerId, refusal: null }));
    this.#queue.clock.pass(this.#options.callSec ?? 20);
    const [agentLeg, contactLeg] = [legId(offer.call_id, offer.offer_no, 'agent'), legId(offer.call_id, offer.offer_no, 'contact')];
    if (dialled.kind === 'talking') {
      for (const leg of [contactLeg, agentLeg]) {
        await this.#worker.legs.end(leg, { by: 'command', why: 'agent_hang_up', phase: 'answered', setupMs: 0, alertMs: 0 });
      }
      await this.#register({ callId: offer.call_id, contactId: offer.contact_id, agentId: offer.agent_id });
    }
    const decision: Decision | null = dialled.kind === 'refused' ? { kind: 'refused', reason: dialled.reason } : null;
    const [contact] = await this.#queue.rows<{ round: number }>(`SELECT round FROM contact WHERE id = $1`, [offer.contact_id]);
    await this.#contacts.conclude({ contactId: offer.contact_id, round: contact!.round, callId: offer.call_id, decision });
  }

  async #register(talk: Talk): Promise<void> {
    const said = this.#options.dispose?.(talk);
    if (!said) return;
    const { callId, agentId } = talk;
    await registerDisposition(this.#worker.db, { ...said, canComment: true, callId, agentId, requestId: callId, by: `agent:${agentId}` });
  }

  /** When anybody's wait, rest or hours are over next. */
  async #nextTime(): Promise<Date | null> {
    const [row] = await this.#queue.rows<{ at: Date | null }>(
      `SELECT min(at) AS at FROM (
         SELECT wait_until AS at FROM contact WHERE state = 'waiting'
         UNION ALL SELECT due_at FROM hours_window UNION ALL SELECT state_until FROM agent
         UNION ALL SELECT reserved_until FROM contact WHERE state = 'queued'
         UNION ALL SELECT reoffer_at FROM offer) AS times WHERE at > $1`,
      [this.#queue.clock.now()],
    );
    return row!.at;
  }

  #phones(): Telephony {
    const { legs } = this.#worker;
    const at = () => this.#queue.clock.now().getTime();
    const originate = async ({ legId: id, party, to }: Originate) => {
      const outcome = party === 'agent' ? 'talks' : this.#options.answer(to);
      if (outcome === 'talks') await legs.apply({ type: 'answered', legId: id, at: at() });
      else await legs.end(id, ENDS[outcome]);
      return 'accepted' as const;
    };
    const hangUp = async (id: string) => {
      await legs.end(id, { by: 'command', why: 'call_over', phase: 'answered', setupMs: 0, alertMs: 0 });
      return 'ended' as const;
    };
    const done = () => Promise.resolve();
    const phones: Partial<Telephony> = {
      capabilities: { mediaUp: false } as Telephony['capabilities'],
      originate,
      hangUp,
      join: done,
      endTogether: done,
      status: () => Promise.resolve('absent'),
    };
    return phones as Telephony;
  }
}

const run = <T>(activity: () => Promise<T>): Promise<T> =>
  new MockActivityEnvironment().run<[], T, () => Promise<T>>(activity);
