/** A campaign with agents and contacts on a running system, and what tests do with them, in the words of the domain. */
import { eventually } from './eventually.ts';
import type { Json, System } from './system.ts';

export interface SceneOptions {
  agents?: number;
  /** Rows of the list, at least `phone_num`. */
  contacts: { phone_num: string; phone_2?: string; priority?: number; variables?: Record<string, string> }[];
  rules?: object;
  /** Rows of agent settings by index, such as {confirm: true}. */
  agent?: Record<string, unknown>;
  start?: boolean;
}

export interface Scene {
  campaign: string;
  agents: { id: string; phone: string; key: string }[];
  contacts: string[];
  /** The agent logs on and is ready. */
  ready(agent?: number): Promise<void>;
  /** Its agents stay logged on, as their desktops would keep them, until the function that is returned is called. */
  staysOn(): () => void;
  /** The open offer of this agent, once the phone rings. */
  ringing(agent?: number): Promise<{ offer: string; call: string; contact: string }>;
  phone(number: string, what: 'answer' | 'reject' | 'hang-up' | 'digit', body?: unknown): Promise<void>;
  contact(index?: number): Promise<Json>;
  /** Waits until a contact is in this state. */
  until(state: string, index?: number, withinMs?: number): Promise<Json>;
  agentIs(state: string, index?: number, withinMs?: number): Promise<Json>;
  /** Waits until a contact's call events are these, in short words such as `i q:q a:b(agent_reject) a:k c:k`. */
  story(expected: string, index?: number): Promise<void>;
  /** What the switch dialled to contacts. */
  dialled(number?: string): Promise<number>;
}

let extension = 100;
/** Well within an agent's lease of 30 s. */
const HEARTBEAT_MS = 5_000;

export async function setScene(system: System, options: SceneOptions): Promise<Scene> {
  const { ok, sql } = system;
  const campaign = await ok('POST', '/campaigns', {
    name: `Scene ${extension}`,
    country: 'NO',
    zone: 'Europe/Oslo',
    caller_id: '+4722999900',
    // Tests dial the same number as often as they like; those of caps say otherwise.
    rules: { max_per_number_per_day: 100, min_gap_sec: 0, ...options.rules },
  });
  const agents: Scene['agents'] = [];
  for (let n = 0; n < (options.agents ?? 1); n++) {
    const phone = String(++extension);
    const queues = [{ campaign_id: campaign.id, priority: 1 }];
    const agent = await ok('POST', '/agents', { name: `Agent ${phone}`, phone, queues, ...options.agent });
    const key = await ok('POST', '/keys', { name: `agent ${phone}`, role: 'agent', agent_id: agent.id });
    agents.push({ id: agent.id, phone: agent.phone, key: key.key });
  }
  for (const [index, contact] of options.contacts.entries()) {
    await ok('PUT', `/campaigns/${campaign.id}/contacts/by-external-id/row-${index + 1}`, contact);
  }
  if (options.start !== false) await ok('POST', `/campaigns/${campaign.id}/start`);
  const contacts = (await sql.query(`SELECT id FROM contact WHERE campaign_id = $1 ORDER BY id`, [campaign.id])).rows;

  const scene: Scene = {
    campaign: campaign.id,
    agents,
    contacts: contacts.map((row) => row.id),
    async ready(index = 0) {
      const { id, key } = agents[index]!;
      await ok('PUT', `/agents/${id}/state`, { state: 'ready' }, { key });
    },
    staysOn() {
      const beat = ({ id, key }: Scene['agents'][number]) => system.api('POST', `/agents/${id}/heartbeat`, undefined, { key });
      const timer = setInterval(() => agents.forEach((agent) => void beat(agent).catch(() => undefined)), HEARTBEAT_MS);
      timer.unref();
      return () => clearInterval(timer);
    },
    async ringing(index = 0) {
      const { id, phone } = agents[index]!;
      return eventually(async () => {
        const { rows } = await sql.query(
          `SELECT o.id AS offer, o.call_id AS call, o.contact_id AS contact FROM offer o
           JOIN leg l ON l.offer_id = o.id AND l.ciq = 'a' AND l.alerting_at IS NOT NULL AND l.answered_at IS NULL
           WHERE o.agent_id = $1 AND o.ended_at IS NULL AND l.destination = $2`,
          [id, phone],
        );
        return rows[0];
      });
    },
    phone: (number, what, body) => eventually(async () => {
      await ok('POST', `/simulator/phones/${encodeURIComponent(number)}/${what}`, body);
      return true;
    }).then(() => undefined),
    contact: (index = 0) => ok('GET', `/contacts/${scene.contacts[index]}`),
    until: (state, index = 0, withinMs = 30_000) =>
      eventually(
        async () => {
          const contact = await scene.contact(index);
          // In the queue all the same, for others than those who have just turned it down.
          if (state === 'queued' && contact.wait_reason === 'waiting_for_agent') return contact;
          if (contact.state !== state) throw new Error(`contact is ${contact.state}, not ${state}`);
          return contact;
        },
        { withinMs },
      ),
    agentIs: (state, index = 0, withinMs = 30_000) =>
      eventually(
        async () => {
          const agent = await ok('GET', `/agents/${agents[index]!.id}`);
          if (agent.state !== state) throw new Error(`agent is ${agent.state}, not ${state}`);
          return agent;
        },
        { withinMs },
      ),
    story: (expected, index = 0) =>
      eventually(async () => {
        const events = await storyOf(system, scene.contacts[index]!);
        if (events !== expected) throw new Error(`the story is "${events}", not "${expected}"`);
        return true;
      }).then(() => undefined),
    async dialled(number) {
      const { items } = await ok('GET', '/simulator/dials?limit=1000');
      return items.filter((dial: Json) => dial.party === 'contact' && (!number || dial.to === number)).length;
    },
  };
  return scene;
}

export async function storyOf(system: Pick<System, 'sql'>, contact: string): Promise<string> {
  const { rows } = await system.sql.query(
    `SELECT event_type, ciq, result_code, result_reason FROM call_events WHERE contact_id = $1
     ORDER BY call_id, call_sequence`,
    [contact],
  );
  return rows
    .map(({ event_type, ciq, result_code, result_reason }) => {
      const what = event_type === 'c' ? (ciq ?? 'n') : event_type;
      return `${what}${result_code ? `:${result_code}` : ''}${result_reason ? `(${result_reason})` : ''}`;
    })
    .join(' ');
}
