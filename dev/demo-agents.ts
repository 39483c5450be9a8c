// The simulated agents of a demo. Every step looks first at what is there, so that a start that was killed in the
// middle is carried on by the next one.

import path from 'node:path';
import { type ApiClient, ApiProblem } from './api-client.ts';
import { readState, writeState } from './process.ts';

const NAMES = [
  'Ingrid Solberg',
  'Lars Øverland',
  'Amina Haddad',
  'Jonas Lindqvist',
  'Sofie Mikkelsen',
  'Mateusz Nowak',
  'Kaisa Virtanen',
  'Thomas Bergström',
  'Nora Aasen',
  'Emil Dahl',
];
const FIRST_EXTENSION = 1001;

export interface Agent {
  id: string;
  name: string;
  phone: string;
  queues: { campaign_id: string; priority: number }[];
}

interface Account {
  id: string;
  key: string;
  phone: string;
}

/** What telephony/simulator/agents-main.ts reads. */
interface AgentsFile {
  baseUrl: string;
  agents: Account[];
}

const ROLL = NAMES.map((name, index) => ({ name, phone: String(FIRST_EXTENSION + index) }));

/** The simulated agents that there are: known by name and extension, as somebody else may have such an extension. */
async function simulatedAgents(api: ApiClient): Promise<Agent[]> {
  const all = await api.all<Agent>('/v1/agents');
  return all.filter((agent) => ROLL.some(({ name, phone }) => agent.name === name && agent.phone === phone));
}

/** Makes those of the ten that are not there. */
export async function ensureAgents(api: ApiClient): Promise<Agent[]> {
  const there = await simulatedAgents(api);
  const missing = ROLL.filter(({ phone }) => !there.some((agent) => agent.phone === phone));
  return [...there, ...(await Promise.all(missing.map((agent) => api.post<Agent>('/v1/agents', agent))))];
}

/** Puts a campaign on top of the agents' profiles. */
export async function serve(api: ApiClient, agents: Agent[], id: string): Promise<void> {
  const others = agents.filter(({ queues }) => !queues.some(({ campaign_id }) => campaign_id === id));
  await Promise.all(
    others.map((agent) => {
      const below = agent.queues.map((queue) => ({ ...queue, priority: Math.min(queue.priority + 1, 100) }));
      return api.patch(`/v1/agents/${agent.id}`, { queues: [{ campaign_id: id, priority: 1 }, ...below] });
    }),
  );
}

/**
 * Writes the accounts of the simulated agents for their process, with a key for each; undefined when there are none.
 * Keys that are kept and still good stay; one that was lost is revoked when its agent gets another.
 */
export async function writeAgents(api: ApiClient, dataDir: string): Promise<string | undefined> {
  const agents = await simulatedAgents(api);
  if (agents.length === 0) return undefined;
  const file = path.join(dataDir, 'agents.json');
  const kept = readState<AgentsFile>(file)?.agents ?? [];
  const accounts = await Promise.all(agents.map(({ id, phone }) => keepAccount(api, { id, phone }, kept)));
  const lost = accounts.filter(({ key }) => key === '').map(({ id }) => id);
  if (lost.length > 0) await revokeKeys(api, lost);
  for (const account of accounts) if (account.key === '') account.key = await makeKey(api, account);
  writeState(file, { baseUrl: api.url, agents: accounts } satisfies AgentsFile);
  return file;
}

/** With the key it had, or '' when there is no good one. */
async function keepAccount(api: ApiClient, { id, phone }: Omit<Account, 'key'>, kept: Account[]): Promise<Account> {
  const key = kept.find((account) => account.id === id && account.phone === phone)?.key ?? '';
  return { id, phone, key: key !== '' && (await isGood(api.as(key), id)) ? key : '' };
}

async function isGood(api: ApiClient, id: string): Promise<boolean> {
  try {
    await api.get(`/v1/agents/${id}`);
    return true;
  } catch (error) {
    if (error instanceof ApiProblem && !error.isPassing) return false;
    throw error;
  }
}

const KEY_NAME = 'simulated agent';

async function makeKey(api: ApiClient, { id }: Account): Promise<string> {
  const made = await api.post<{ key: string }>('/v1/keys', { name: KEY_NAME, role: 'agent', agent_id: id });
  return made.key;
}

async function revokeKeys(api: ApiClient, agentIds: string[]): Promise<void> {
  const keys = await api.all<{ id: string; name: string; agent_id: string; revoked_at: string | null }>('/v1/keys');
  const old = keys.filter(
    (key) => key.name === KEY_NAME && key.revoked_at === null && agentIds.includes(key.agent_id),
  );
  for (const { id } of old) await api.delete(`/v1/keys/${id}`);
}
