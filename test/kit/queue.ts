/**
 * Queue, agents and matchers on a real database, without Temporal and switch: a clock that the test sets, workflows that
 * only listen, phones that end as the test says. The code under test is the product's own, edges included.
 */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import type { Pool } from 'pg';
import type { z } from 'zod';
import { createLegBook, type LegBook } from '../../activities/legs.ts';
import * as legSql from '../../activities/sql.ts';
import { insertCampaign, setStatus, updateRules } from '../../api/sql.ts';
import type { Clock } from '../../config/clock.ts';
import { legId } from '../../domain/ids.ts';
import { campaignRulesSchema } from '../../domain/rules.ts';
import { type AgentRow, changeAgent } from '../../matching/agents.ts';
import { placeContacts } from '../../matching/hours.ts';
import { createMatching, type Matching } from '../../matching/matching.ts';
import { enqueueContacts } from '../../matching/queue.ts';
import { lockAgentOfOffer } from '../../matching/sql.ts';
import { matchingSteps } from '../../matching/sweep.ts';
import { createPool, createPrisma } from '../../prisma/client.ts';
import { type Db, inTx } from '../../prisma/tx.ts';
import type { LegEnd } from '../../telephony/telephony.ts';
import type { Workflows } from '../../workflows/client.ts';
import { freshDatabase } from './database.ts';

/** A clock that stands still until it is set on; with `tickMs`, it also goes on by that whenever it is read. */
export class TestClock implements Clock {
  #ms = Date.UTC(2030, 0, 7, 9);
  readonly #tickMs: number;

  constructor(tickMs = 0) {
    this.#tickMs = tickMs;
  }

  now(): Date {
    this.#ms += this.#tickMs;
    return new Date(this.#ms);
  }

  pass(seconds: number): void {
    this.#ms += seconds * 1000;
  }
}

/** What one worker process has of matching. */
export interface Matcher {
  db: Db;
  matching: Matching;
  legs: LegBook;
  sweep(): Promise<void>;
}

export interface OpenOffer {
  id: string;
  call_id: string;
  contact_id: string;
  campaign_id: number;
  offer_no: number;
  agent_id: number;
  node: string;
}

export interface NewCampaign {
  rules?: z.input<typeof campaignRulesSchema>;
}

export interface NewAgent {
  /** Queues served, with the agent's priority of each. */
  serves: Record<number, number>;
}

export interface NewContact {
  rank?: number;
  priority?: number;
  /** Its place among equals, in seconds: lower first. */
  place?: number;
  phone?: string;
  phone2?: string;
  zone?: string;
  variables?: Record<string, string>;
}

export const NODE = 'node-1';

/** How the phone of an agent ends that is rung for an offer. */
export const AGENT_PHONE = {
  rejects: { by: 'command', why: 'agent_reject', phase: 'alerting', setupMs: 0, alertMs: 0 },
  ringsOut: { by: 'timer', phase: 'alerting', setupMs: 0, alertMs: 0 },
  isBusy: { by: 'remote', sip: 486, phase: 'setup', setupMs: 0, alertMs: 0 },
  hangsUp: { by: 'remote', phase: 'answered', setupMs: 0, alertMs: 0 },
} as const satisfies Record<string, LegEnd>;

export class Queue {
  readonly url: string;
  readonly clock: TestClock;
  readonly pool: Pool;
  /** Warnings and errors of the product: matching swallows what fails and leaves it to the sweep. */
  readonly complaints: string[] = [];
  /** Temporal is away: nothing can be told. */
  isAway = false;
  /** What the workflows were told, oldest first. */
  readonly told: { name: string; contactId: string; argument: unknown }[] = [];
  readonly #matchers: Matcher[] = [];
  #phone = 0;

  private constructor(url: string, clock: TestClock) {
    this.url = url;
    this.clock = clock;
    this.pool = createPool(url, { max: 4 });
  }

  /** An empty queue with one node that can be reached. */
  static async open(clock = new TestClock()): Promise<Queue> {
    const queue = new Queue(await freshDatabase(), clock);
    await queue.node(NODE);
    return queue;
  }

  async close(): Promise<void> {
    for (const { db } of this.#matchers) await Promise.all([db.pool.end(), db.prisma.$disconnect()]);
    await this.pool.end();
  }

  /** A matcher as in a worker of its own, with its own connections. */
  matcher(connections = 3): Matcher {
    const db: Db = {
      pool: createPool(this.url, { max: connections }),
      prisma: createPrisma(this.url, { max: 1 }),
      clock: this.clock,
      worker: `worker-${this.#matchers.length + 1}`,
    };
    const log = pino({ level: 'warn' }, { write: (line: string) => void this.complaints.push(line) });
    const signal: Workflows['signal'] = async ({ contactId }, { name }, argument) => {
      if (this.isAway) throw new Error('Temporal is away');
      this.told.push({ name, contactId, argument });
      return 'told';
    };
    const deps = { db, workflows: { signal }, log };
    const matching = createMatching(deps);
    const legs = createLegBook({ ...deps, matching });
    const matcher = { db, matching, legs, sweep: () => sweepOnce(matchingSteps(deps, matching)) };
    this.#matchers.push(matcher);
    return matcher;
  }

  async rows<T extends object>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await this.pool.query<T>(text, values)).rows;
  }

  /** A node that can be reached, for longer than any test; without limits, unless some are given. */
  async node(name: string, limits: Partial<legSql.NodeLimits> = {}): Promise<void> {
    const until = new Date(this.clock.now().getTime() + 86_400_000);
    const all = { maxCalls: null, callsPerSecond: null, ...limits };
    await this.pool.query(legSql.holdNode(this.clock.now(), name, 'the test', until, { up: true, trouble: null }, all));
  }

  async campaign({ rules = {} }: NewCampaign = {}): Promise<number> {
    const now = this.clock.now();
    const settings = { name: 'test', queueKey: `__Dialer${randomUUID()}`, country: 'NO', zone: 'Europe/Oslo' };
    const numbers = { serviceNum: null, callerId: null };
    const [row] = (
      await this.pool.query<{ id: number }>(
        insertCampaign(now, { ...settings, ...numbers, rules: campaignRulesSchema.parse({ max_per_number_per_day: 100, min_gap_sec: 0, ...rules }), by: 'the test' }),
      )
    ).rows;
    await this.pool.query(setStatus(now, row!.id, 'running', false));
    return row!.id;
  }

  /** The next version of a campaign's rules. */
  async edit(campaign: number, rules: NewCampaign['rules']): Promise<void> {
    await this.pool.query(updateRules(this.clock.now(), campaign, campaignRulesSchema.parse(rules), 'the test'));
  }

  /** An agent who is logged off. */
  async agent({ serves }: NewAgent): Promise<number> {
    const [row] = await this.rows<{ id: number }>(
      `INSERT INTO agent (name, phone, since, cause, created_at, updated_at)
       VALUES ('test', $1, $2, 'created', $2, $2) RETURNING id`,
      [String(++this.#phone), this.clock.now()],
    );
    await this.pool.query(
      `INSERT INTO agent_queue (agent_id, campaign_id, priority)
       SELECT $1, key::int, value::int FROM jsonb_each_text($2)`,
      [row!.id, serves],
    );
    return row!.id;
  }

  /** Contacts whose workflows have been started, the next step being the queue. */
  async contacts(campaign: number, contacts: NewContact[]): Promise<string[]> {
    const numbered = contacts.map((contact) => ({ phone: `+47${22_000_000 + ++this.#phone}`, ...contact }));
    const rows = await this.rows<{ id: string }>(
      `INSERT INTO contact (campaign_id, list_key, phone_num, phone_2, zone, variables, state, state_since, priority,
         queue_rank, place, created_at, updated_at)
       SELECT $1, gen_random_uuid(), c.phone, c."phone2", c.zone, coalesce(c.variables, '{}'), 'starting', $3,
         coalesce(c.priority, 0), coalesce(c.rank, 3), $3::timestamptz + coalesce(c.place, 0) * interval '1 s', $3, $3
       FROM jsonb_to_recordset($2) AS c (phone text, "phone2" text, zone text, variables jsonb, priority int, rank int, place int)
       RETURNING id`,
      [campaign, JSON.stringify(numbered), this.clock.now()],
    );
    const ids = rows.map((row) => row.id);
    await placeContacts({ pool: this.pool, clock: this.clock }, campaign, ids);
    return ids;
  }

  /** Puts contacts into the queue; no match is run. */
  async enqueue({ db }: Matcher, contacts: string[]): Promise<void> {
    await inTx(db, (tx) => enqueueContacts(tx, contacts, 'starting'));
  }

  /** Open offers, oldest first. */
  offers(): Promise<OpenOffer[]> {
    return this.rows<OpenOffer>(
      `SELECT id, call_id, contact_id, campaign_id, offer_no, agent_id, node FROM offer WHERE ended_at IS NULL ORDER BY id`,
    );
  }

  /** The only open offer of an agent, or undefined. */
  async offerOf(agent: number): Promise<OpenOffer | undefined> {
    return (await this.offers()).find((offer) => offer.agent_id === agent);
  }
}

/** Rings the agent's phone for an offer and lets it end so; returns when every edge of that has run. */
export async function endOffer({ db, legs }: Matcher, offer: OpenOffer, how: keyof typeof AGENT_PHONE): Promise<void> {
  const leg = await sendLeg(db, offer, 'agent');
  if (how === 'hangsUp') await agentAnswers(db, legs, offer, leg);
  await legs.end(leg, AGENT_PHONE[how]);
}

/** The agent answers and the contact is dialled; returns how to end that: the contact's leg, then the agent's. */
export async function dial({ db, legs }: Matcher, offer: OpenOffer) {
  const agentLeg = await sendLeg(db, offer, 'agent');
  await agentAnswers(db, legs, offer, agentLeg);
  await inTx(db, async (tx) => {
    await tx.run(legSql.setOfferState(tx.now, offer.id, 'dialling'));
    await tx.run(legSql.countAttempt(tx.now, offer.contact_id));
  });
  const contactLeg = await sendLeg(db, offer, 'contact');
  return {
    answer: () => legs.apply({ type: 'answered', legId: contactLeg, at: db.clock.now().getTime() }),
    agentGoes: () => legs.end(agentLeg, AGENT_PHONE.hangsUp),
    async end(how: Pick<LegEnd, 'by' | 'phase' | 'sip' | 'why'>): Promise<void> {
      await legs.end(contactLeg, { ...how, setupMs: 0, alertMs: 0 });
      await legs.end(agentLeg, { by: 'command', why: 'call_over', phase: 'answered', setupMs: 0, alertMs: 0 });
    },
  };
}

export async function sendLeg(db: Db, offer: OpenOffer, party: 'agent' | 'contact'): Promise<string> {
  const id = legId(offer.call_id, offer.offer_no, party);
  await inTx(db, async (tx) => {
    const context = (await tx.row<legSql.CallContext>(legSql.callContext(offer.id)))!;
    const { attempt, number: source } = context;
    const leg = { id, offer, attempt, source, originating: null, notAfter: tx.now };
    const to = party === 'agent' ? TO_AGENT(context.phone) : TO_CONTACT(source);
    await tx.row(legSql.insertLeg(tx.now, { ...leg, ...to }));
  });
  return id;
}

const TO_AGENT = (destination: string) => ({ ciq: 'a', legType: 'agent', destination }) as const;
const TO_CONTACT = (destination: string) => ({ ciq: 'c', legType: 'contact', destination }) as const;

/** As activities/calls.ts notes it. */
async function agentAnswers(db: Db, legs: LegBook, offer: OpenOffer, leg: string): Promise<void> {
  await legs.apply({ type: 'answered', legId: leg, at: db.clock.now().getTime() });
  await inTx(db, async (tx) => {
    await tx.run(legSql.setOfferState(tx.now, offer.id, 'answered'));
    const agent = await tx.row<AgentRow>(lockAgentOfOffer(offer.agent_id, offer.id));
    if (agent) await changeAgent(tx, agent, { state: 'connecting', cause: 'answered', callId: offer.call_id });
  });
}

async function sweepOnce(steps: ReturnType<typeof matchingSteps>): Promise<void> {
  for (const step of Object.values(steps)) await step();
}
