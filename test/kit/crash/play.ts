/**
 * One contact's calls, played to their end whatever happens to the workers: agents and phones do what is next by what there
 * is, over and over until it is done, as people do whose click was not answered.
 */
import { randomUUID } from 'node:crypto';
import { AppError } from '../../../domain/errors.ts';
import type { ContactState, AgentState } from '../../../domain/states.ts';
import type { TransferState } from '../../../domain/transfers.ts';
import type { BehaviourInput } from '../../../telephony/simulator/script.ts';
import { eventually } from '../eventually.ts';
import { isLate } from '../system.ts';
import type { Lane } from './lane.ts';

export interface Agent {
  id: number;
  phone: string;
}

/** What there is, by the rows. */
export interface Now {
  contact: {
    state: ContactState;
    wait_reason: string | null;
    call_id: string | null;
    offer_no: number;
    round: number;
    is_closed: boolean;
  };
  agents: {
    id: number;
    phone: string;
    state: AgentState;
    /** Tells one stay in a state from another. */
    since: string;
    offer_id: string | null;
    call_id: string | null;
    offer_state: string | null;
  }[];
  /** Of the present call, open ones only. */
  legs: { id: string; ciq: 'a' | 'c' | null; leg_type: string; offer_id: string; is_alerting: boolean; is_answered: boolean }[];
  /** The present call's latest. */
  transfer: { state: TransferState } | null;
  open_offers: number;
  open_legs: number;
  is_settled: boolean;
  numbers_pending: number;
}

export interface Act {
  /** Done once by that name. */
  name: string;
  /** `key` is the same until there is an answer. Resolves to a status of HTTP, 503 for none. */
  run(key: string): Promise<number>;
}

export interface Scenario {
  name: string;
  /** Settings of each agent. The first one serves the campaign, further ones as `serves` says. */
  agents: { serves: 'campaign' | 'other' | 'none'; confirm?: boolean }[];
  rules?: object;
  agentsPhone?: BehaviourInput;
  /** Of the contact, dial by dial. */
  phone: BehaviourInput | BehaviourInput[];
  /** What is to be done now, beside what all agents do. */
  acts(stage: Stage): (Act | false | undefined)[];
  /** Who does not stay ready, and who registers nothing by the API. */
  isAway?(stage: Stage): boolean;
  register?(stage: Stage, agent: Now['agents'][number]): Act | null;
  /** How it ends, whatever crashes: the contact's state and reason, and its events in short words (`storyOf`). */
  end: string;
  story: RegExp;
}

export interface Scene {
  campaign: string;
  other: string;
  agents: Agent[];
}

/** Attempts, rests and waits never end a play. */
const RULES = {
  max_attempts: 50,
  max_per_number_per_day: 100,
  min_gap_sec: 0,
  reoffer_after_sec: 1,
  rest_sec: 0,
  missed_limit: 100,
  error_limit: 100,
  wrap_up_sec: 15,
  retry: Object.fromEntries([...'bthcqe'].map((code) => [code, { delay_sec: 0 }])),
};

/** Campaigns and agents of a scenario in a lane, made once. */
export async function sceneOf(lane: Lane, scenario: Scenario): Promise<Scene> {
  const campaign = async (name: string) => {
    const rules = { ...RULES, ...scenario.rules };
    const { id } = await lane.ok('POST', '/campaigns', { name, country: 'NO', zone: 'Europe/Oslo', caller_id: '+4722999900', rules });
    return id as string;
  };
  const scene: Scene = { campaign: await campaign(scenario.name), other: await campaign(`${scenario.name}, another`), agents: [] };
  const queueOf = { campaign: [scene.campaign], other: [scene.other], none: [] };
  for (const { serves, confirm = false } of scenario.agents) {
    const phone = String(2000 + lane.agents.length);
    if (scenario.agentsPhone) lane.behave(phone, scenario.agentsPhone);
    const queues = queueOf[serves].map((campaign_id) => ({ campaign_id, priority: 1 }));
    const { id } = await lane.ok('POST', '/agents', { name: `Agent ${phone}`, phone, confirm, queues });
    scene.agents.push({ id: Number(id), phone });
    lane.agents.push(Number(id));
    await lane.ok('PUT', `/agents/${id}/state`, { state: 'ready' });
  }
  await lane.ok('POST', `/campaigns/${scene.campaign}/start`);
  return scene;
}

export class Stage {
  readonly lane: Lane;
  readonly scenario: Scenario;
  readonly scene: Scene;
  readonly number: string;
  contactId = '';
  now!: Now;
  readonly #done = new Set<string>();
  readonly #underWay = new Map<string, Promise<void>>();
  /** Of what was not answered: a repeat says that it is one. */
  readonly #keys = new Map<string, string>();
  /** What was not granted, with the last status. */
  readonly #refused = new Map<string, number>();

  constructor(lane: Lane, scenario: Scenario, scene: Scene, number: string) {
    this.lane = lane;
    this.scenario = scenario;
    this.scene = scene;
    this.number = number;
  }

  did = (name: string): boolean => this.#done.has(name);
  /** It may have had its effect, though there is no answer yet. */
  began = (name: string): boolean => this.#done.has(name) || this.#keys.has(name);

  /** Adds the contact and plays until all is over, and `step` says, told each time whether it is, that it may end. */
  async play(step: (isOver: boolean) => boolean, withinMs: number): Promise<void> {
    this.lane.behave(this.number, this.scenario.phone);
    const path = `/campaigns/${this.scene.campaign}/contacts/by-external-id/${randomUUID()}`;
    this.contactId = (await this.lane.ok('PUT', path, { phone_num: this.number })).id;
    await eventually(
      async () => {
        this.now = await this.#look();
        for (const act of this.#acts()) this.#begin(act);
        const unfinished = this.#unfinished();
        const mayEnd = step(unfinished.length === 0);
        if (unfinished.length > 0) throw new Error(`${this.scenario.name}: ${[...unfinished, ...this.#whatWasDone()].join(', ')}`);
        return mayEnd;
      },
      { withinMs, everyMs: 100 },
    );
    await Promise.all(this.#underWay.values());
  }

  /** A click, by the API. */
  click(name: string, urlPath: string, body?: unknown, method = 'POST'): Act {
    return {
      name,
      run: async (key) => {
        const answer = await this.lane.ask(method, urlPath, body, method === 'POST' ? key : undefined);
        return isLate(answer) ? 503 : answer.status;
      },
    };
  }

  /** A click in the present call, done once in it. */
  clickInCall(what: string, body?: unknown): Act {
    const call = this.now.contact.call_id;
    return this.click(`${what} in ${call}`, `/calls/${call}/${what}`, body);
  }

  /** What the person at a phone does, once in the present call. */
  atPhone(what: 'answerPhone' | 'hangUpPhone', phone: string, of = this.now.contact.call_id): Act {
    return {
      name: `${what} ${phone} in ${of}`,
      run: async () => {
        try {
          this.lane.simulated[what](phone);
          return 200;
        } catch (error) {
          if (!(error instanceof AppError)) throw error;
          return 409;
        }
      },
    };
  }

  /** The first of these that has not been done. */
  next(...acts: Act[]): Act | undefined {
    return acts.find(({ name }) => !this.did(name));
  }

  #acts(): Act[] {
    const { scenario, now } = this;
    const ofAgents = now.agents.flatMap((agent) => {
      const ready = this.click(`${agent.id} ready after ${agent.since}`, `/agents/${agent.id}/state`, { state: 'ready' }, 'PUT');
      if (['paused', 'logged_off'].includes(agent.state)) return scenario.isAway?.(this) ? [] : [ready];
      if (agent.state !== 'wrap_up') return [];
      const registers = scenario.register ? scenario.register(this, agent) : this.registers(agent);
      return registers ? [this.next(registers, ready)] : [];
    });
    return [...ofAgents, ...scenario.acts(this)].filter((act) => act !== undefined && act !== false);
  }

  registers({ id, call_id }: Now['agents'][number]): Act {
    return this.click(`${id} registers of ${call_id}`, `/calls/${call_id}/disposition`, { action: 'done', agent_id: String(id) });
  }

  #begin({ name, run }: Act): void {
    if (this.did(name) || this.#underWay.has(name)) return;
    const key = this.#keys.get(name) ?? randomUUID();
    this.#keys.set(name, key);
    const running = run(key).then(
      (status) => {
        // An answer of 5xx is none: the repeat has the same key.
        if (status < 500) this.#keys.delete(name);
        this.#refused.set(name, status);
        if (status >= 300) return;
        this.#done.add(name);
        this.#refused.delete(name);
      },
      () => undefined,
    );
    this.#underWay.set(name, running.finally(() => this.#underWay.delete(name)));
  }

  #whatWasDone(): string[] {
    const { transfer } = this.now;
    return [
      transfer ? `its transfer is ${transfer.state}` : '',
      ...[...this.#done].map((name) => `${name}: done`),
      ...[...this.#underWay.keys()].map((name) => `${name}: under way`),
      ...[...this.#refused].map(([name, status]) => `${name}: ${status}`),
    ].filter(Boolean);
  }

  /** In words, what there still is of the call. */
  #unfinished(): string[] {
    const { contact, agents, open_legs, open_offers, is_settled, numbers_pending } = this.now;
    const busy = agents.filter(({ state, offer_id }) => state !== 'ready' || offer_id !== null);
    const facts = this.lane.simulated.facts.size;
    return [
      contact.is_closed ? '' : `the contact is ${contact.state}`,
      ...busy.map(({ id, state, offer_id }) => `agent ${id} is ${state} with offer ${offer_id}`),
      open_offers ? `${open_offers} offers are open` : '',
      open_legs ? `${open_legs} legs are open` : '',
      this.lane.simulated.list().length ? 'the switch has legs' : '',
      facts ? `${facts} facts wait at the switch` : '',
      is_settled ? '' : 'the campaign is not settled',
      numbers_pending ? 'numbers are pending' : '',
    ].filter(Boolean);
  }

  async #look(): Promise<Now> {
    const { rows } = await this.lane.db.pool.query<{ now: Now }>(LOOK, [
      this.contactId,
      this.scene.agents.map(({ id }) => id),
      this.scene.campaign,
    ]);
    return rows[0]!.now;
  }
}

const LOOK = `SELECT json_build_object(
  'contact', (SELECT to_json(c) FROM (
    SELECT state, wait_reason, call_id::text, offer_no, round, closed_at IS NOT NULL AS is_closed FROM contact WHERE id = $1
  ) AS c),
  'agents', (SELECT json_agg(a ORDER BY id) FROM (
    SELECT a.id, a.phone, a.state, a.since, a.offer_id::text, o.call_id::text, o.state AS offer_state
    FROM agent a LEFT JOIN offer o ON o.id = a.offer_id WHERE a.id = ANY($2::int[])
  ) AS a),
  'legs', (SELECT coalesce(json_agg(l), '[]') FROM (
    SELECT l.id, l.ciq, l.leg_type, l.offer_id::text, l.alerting_at IS NOT NULL AS is_alerting, l.answered_at IS NOT NULL AS is_answered
    FROM leg l JOIN contact c ON c.call_id = l.call_id WHERE c.id = $1 AND l.ended_at IS NULL
  ) AS l),
  'transfer', (SELECT to_json(t) FROM (
    SELECT t.state FROM transfer t JOIN contact c ON c.call_id = t.call_id WHERE c.id = $1 ORDER BY t.id DESC LIMIT 1
  ) AS t),
  'open_offers', (SELECT count(*) FROM offer WHERE contact_id = $1 AND ended_at IS NULL),
  'open_legs', (SELECT count(*) FROM leg WHERE contact_id = $1 AND ended_at IS NULL),
  'is_settled', (SELECT revision = settled_revision FROM campaign WHERE id = $3),
  'numbers_pending', (SELECT count(*) FROM do_not_call_pending)
) AS now`;
