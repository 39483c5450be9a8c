// How the calling goes, in one line.

import type pg from 'pg';
import type { ApiClient } from './api-client.ts';

interface Stats {
  by_state: Record<string, number>;
  why_not_dialling: { text: string }[];
}

export interface Progress {
  /** Contacts by state, over all campaigns that are not drafts or ended. */
  states: Record<string, number>;
  /** Contacts dialled in the last minute. */
  callsPerMinute: number;
  /** When the first contact was dialled since the start. */
  firstCallAt: Date | null;
  /** Why nothing is under way; '' when something is. */
  whyNot: string;
}

/** The states in the order of a contact's life, and what they are called here. */
const SHOWN: [string, string][] = [
  ['queued', 'queued'],
  ['offered', 'offered'],
  ['dialling', 'dialling'],
  ['talking', 'talking'],
  ['wrap_up', 'wrap-up'],
  ['waiting', 'waiting'],
  ['done', 'done'],
  ['disabled', 'disabled'],
];
/** Seen only while a list is being fed to Temporal. */
const LOADING = ['new', 'starting'];
const UNDER_WAY = ['offered', 'dialling', 'talking', 'wrap_up'];

// A leg is what was sent to the switch; the events would tell of it only at its end.
const CALLS = `SELECT count(*) FILTER (WHERE created_at > $1)::int AS minute,
                      min(created_at) FILTER (WHERE created_at >= $2) AS first
                 FROM leg WHERE ciq = 'c'`;

export async function readProgress(api: ApiClient, pool: pg.Pool, startedAt: Date): Promise<Progress> {
  const campaigns = await api.all<{ id: string; status: string }>('/v1/campaigns');
  const active = campaigns.filter(({ status }) => status === 'running' || status === 'paused');
  const [stats, calls] = await Promise.all([
    Promise.all(active.map(({ id }) => api.get<Stats>(`/v1/campaigns/${id}/stats`))),
    pool.query<{ minute: number; first: Date | null }>(CALLS, [new Date(Date.now() - 60_000), startedAt]),
  ]);
  const states: Record<string, number> = {};
  for (const { by_state } of stats) {
    for (const [state, n] of Object.entries(by_state)) states[state] = (states[state] ?? 0) + n;
  }
  const idle = UNDER_WAY.every((state) => !states[state]);
  const reasons = new Set(stats.flatMap(({ why_not_dialling: [first] }) => (first ? [first.text] : [])));
  const whyNot = active.length === 0 ? 'no campaign is running' : [...reasons].join('; ');
  const { minute = 0, first = null } = calls.rows[0] ?? {};
  return { states, callsPerMinute: minute, firstCallAt: first, whyNot: idle ? whyNot : '' };
}

/** One line; where it is too long for `columns`, what is 0 is left out. */
export function progressLine({ states, callsPerMinute, whyNot }: Progress, columns: number): string {
  const loading = LOADING.reduce((sum, state) => sum + (states[state] ?? 0), 0);
  const counts = SHOWN.map(([state, name]): [string, number] => [name, states[state] ?? 0]);
  if (loading > 0) counts.unshift(['loading', loading]);
  const line = (shown: [string, number][]): string => {
    const parts = [`${callsPerMinute} calls/min`, ...shown.map(([name, n]) => `${name} ${n}`), whyNot];
    return parts.filter(Boolean).join(' · ');
  };
  const whole = line(counts);
  return whole.length < columns ? whole : line(counts.filter(([, n]) => n > 0));
}
