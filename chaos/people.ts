/** A list, the people on it, and the agents who call them: short of patience, so that much happens in little time. */
import path from 'node:path';
import { inLanes } from '../bench/kit.ts';
import type { ApiClient } from '../dev/api-client.ts';
import { writeState } from '../dev/process.ts';
import { widenHours } from '../matching/legal-hours.ts';
import type { AgentBehaviour } from '../telephony/simulator/agent-behaviour.ts';
import type { BehaviourInput, ScriptInput } from '../telephony/simulator/script.ts';
import type { Stage } from './stage.ts';

const alerting: [number, number] = [0.5, 2];
const answers: BehaviourInput['then'] = { kind: 'answers', after: [1, 8], talks: [4, 40] };
const fails = (after: [number, number], sip: number, q850?: number): BehaviourInput['then'] => ({ kind: 'fails', after, sip, q850 });

/** Everything that can become of a call, a little of each; seconds before the switch's speed. */
export const PHONES: ScriptInput = {
  contacts: [
    { weight: 54, behaviour: { alerting, then: answers } },
    { weight: 10, behaviour: { alerting: null, earlyMedia: alerting, then: answers } },
    { weight: 4, behaviour: { alerting, crosses: true, then: { kind: 'silent' } } },
    { weight: 10, behaviour: { alerting: null, then: fails([0.3, 2], 486) } },
    { weight: 4, behaviour: { alerting, then: fails([1, 5], 603, 21) } },
    { weight: 10, behaviour: { alerting, then: { kind: 'silent' } } },
    { weight: 3, behaviour: { alerting: null, then: fails([0.3, 2], 404, 1) } },
    { weight: 3, behaviour: { alerting: null, then: fails([0.3, 2], 503, 34) } },
    { weight: 2, behaviour: { alerting: null, then: { kind: 'silent' } } },
  ],
  // At the switch, as real ones are: an agent may be called by either of them.
  agents: { alerting: 0.3, then: { kind: 'answers', after: [1, 8] } },
};

/** At a real switch they have ways of their own: some are hung up, busy, or ring out. */
export const AGENT_PHONES: ScriptInput['contacts'] = [
  { weight: 82, behaviour: { alerting: 0.3, then: { kind: 'answers', after: [1, 8] } } },
  { weight: 10, behaviour: { alerting: 0.3, then: { kind: 'answers', after: [1, 8], talks: [2, 40] } } },
  { weight: 4, behaviour: { alerting: null, then: fails([0.3, 2], 486) } },
  { weight: 4, behaviour: { alerting: 0.3, then: { kind: 'silent' } } },
];

const AGENTS: AgentBehaviour = {
  think: [0, 2],
  // Most let the phone be picked up; the click of the others meets its answer now and then.
  offer: { answer: 0, ignore: 86, reject: 7, cancel: 4, answerAndHangUp: 0, logOff: 3 },
  patience: [0, 2],
  hangUpFirst: { share: 0.4, after: [1, 20] },
  wrapUp: [0, 6],
  disposition: { done: 78, mark_as_unanswered: 12, do_not_call: 3, none: 7 },
  topics: [],
  away: [4, 20],
};

export const MAX_ATTEMPTS = 3;
const MIN_GAP_SEC = 5;
const RULES = {
  max_attempts: MAX_ATTEMPTS,
  retry: Object.fromEntries(['b', 't', 'h', 'c', 'q', 'e'].map((code) => [code, { delay_sec: 10 }])),
  max_per_number_per_day: 10,
  min_gap_sec: MIN_GAP_SEC,
  agent_ring_sec: 8,
  ring_sec: 20,
  setup_sec: 10,
  reoffer_after_sec: 2,
  rest_sec: 2,
  missed_limit: 5,
  wrap_up_sec: 6,
};

/** Makes the campaign with its list, not started, and returns its id. */
export async function makeList({ api, sql }: Stage, size: number): Promise<string> {
  await sql.query(widenHours(new Date(), 'chaos'));
  const { id } = await api.post<{ id: string }>('/v1/campaigns', { name: 'Chaos', country: 'NO', zone: 'Europe/Oslo', rules: RULES });
  const number = (area: string, n: number): string => `+47${area}${String(n).padStart(6, '0')}`;
  const row = (n: number): string => [number('22', 100_000 + n), n % 8 === 0 ? number('23', 100_000 + n) : '', `Person ${n}`].join(',');
  const csv = ['phone_num,phone_2,var1', ...Array.from({ length: size }, (_, n) => row(n)), ''].join('\n');
  await api.post(`/v1/campaigns/${id}/imports?mode=add`, new Blob([csv], { type: 'text/csv' }));
  return id;
}

/** Makes the agents and lets them work, in a process of their own. */
export async function startAgents(stage: Stage, campaign: string, count: number, seed: number): Promise<void> {
  const { api, dataDir, speed } = stage;
  const agents: { id: string; key: string; phone: string }[] = [];
  await inLanes(count, 8, async (n) => void agents.push(await makeAgent(api, campaign, String(2001 + n))));
  const file = path.join(dataDir, 'agents.json');
  writeState(file, { baseUrl: api.url, seed, behaviour: AGENTS, agents });
  stage.start('agents', ['telephony/simulator/agents-main.ts', file], { SIMULATOR_SPEED: String(speed) });
}

async function makeAgent(api: ApiClient, campaign: string, phone: string) {
  const queues = [{ campaign_id: campaign, priority: 1 }];
  const { id } = await api.post<{ id: string }>('/v1/agents', { name: `Agent ${phone}`, phone, queues });
  const { key } = await api.post<{ key: string }>('/v1/keys', { name: `agent ${phone}`, role: 'agent', agent_id: id });
  return { id, key, phone };
}
