// A list brought to the API as a campaign. Every step looks first at what is there, so that a start that was killed in
// the middle is carried on by the next one.

import { createHash } from 'node:crypto';
import { createReadStream, existsSync, openAsBlob, rmSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { widenForDemo } from '../matching/legal-hours.ts';
import { type ApiClient, ApiProblem } from './api-client.ts';
import { ensureAgents, serve } from './demo-agents.ts';
import { readState, type Say, since, writeState } from './process.ts';

const SAMPLE = path.resolve(import.meta.dirname, '../samples/contacts.csv');
const MOST_PROBLEMS_SHOWN = 50;

const FORMATS: Record<string, string> = {
  '.json': 'application/json',
  '.ndjson': 'application/x-ndjson',
  '.jsonl': 'application/x-ndjson',
};

/** Simulated phones are patient, those who watch a demo are not: what comes back comes back within minutes. */
const RULES = {
  max_attempts: 3,
  retry: {
    b: { delay_sec: 60 },
    t: { delay_sec: 120 },
    h: { delay_sec: 120 },
    c: { delay_sec: 60 },
    q: { delay_sec: 60 },
    e: { delay_sec: 120 },
  },
  max_per_number_per_day: 6,
  min_gap_sec: 60,
  wrap_up_sec: 20,
};

/** A list to be called. */
export interface List {
  /** Absolute path. */
  file: string;
  /** Of the campaign. */
  name: string;
  /** ISO 3166 country of its national numbers. */
  country: string;
  /** ISO 3166 countries whose numbers may be called; left out: `country` only. */
  countries?: string[];
  /** IANA zone of those contacts who have none of their own. */
  zone: string;
}

interface Unfinished {
  list: List;
  queueKey: string;
}

export interface Campaign {
  id: string;
  name: string;
  status: string;
  queue_key: string;
}

interface Context {
  api: ApiClient;
  databaseUrl: string;
  dataDir: string;
  say: Say;
}

/** The list can't be used; the message says why, line by line. */
export class BadList extends Error {
  override readonly name = 'BadList';
}

/** The list that a start without one brings to an empty database. */
export const demoList: List = {
  file: SAMPLE,
  name: 'Demo',
  country: 'NO',
  countries: ['NO', 'SE', 'DK', 'DE', 'GB', 'FR', 'US', 'AU'],
  zone: 'Europe/Oslo',
};

/** Who looks at simulated phones does so at any time of day; before real ones the hours are the default again. */
export async function widenLegalHours({ databaseUrl, say }: Context): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query(widenForDemo(new Date()));
    if (rowCount) say('Simulated phones may be called at any time of day; for real ones legal hours are 8 to 21 until you set yours');
  } finally {
    await client.end();
  }
}

/**
 * Makes a campaign of a list, with agents, and starts it; does what is left to do when an earlier start was
 * interrupted. The same file twice is the same campaign: nobody wants all of its people called a second time.
 *
 * Throws BadList with every bad row; nothing is left behind then.
 */
export async function load(context: Context, list: List): Promise<void> {
  const { api, dataDir, say } = context;
  const startedAt = performance.now();
  const queueKey = await queueKeyOf(list);
  writeState(unfinishedFile(dataDir), { list, queueKey } satisfies Unfinished);
  const { campaign, made } = await ensureCampaign(api, list, queueKey);
  if (!made && campaign.status !== 'draft') {
    say(`${path.basename(list.file)} was loaded before, as campaign ${campaign.id}; it is ${campaign.status}`);
  } else {
    const { rows } = await importList(context, list, campaign);
    say(`Campaign "${campaign.name}" has ${rows} contacts from ${path.basename(list.file)} (${since(startedAt)})`);
  }
  await serve(api, await ensureAgents(api), campaign.id);
  if (campaign.status === 'draft') await api.post(`/v1/campaigns/${campaign.id}/start`);
  rmSync(unfinishedFile(dataDir), { force: true });
}

/** The list that an interrupted start has not loaded to the end. One that was changed or removed since is given up. */
export async function unfinishedList(context: Context): Promise<List | undefined> {
  const { api, dataDir, say } = context;
  const unfinished = readState<Unfinished>(unfinishedFile(dataDir));
  if (!unfinished) return undefined;
  const { list, queueKey } = unfinished;
  if (existsSync(list.file) && (await queueKeyOf(list)) === queueKey) return list;
  const campaign = (await api.all<Campaign>('/v1/campaigns')).find((one) => one.queue_key === queueKey);
  if (campaign?.status === 'draft') await discard(context, campaign);
  rmSync(unfinishedFile(dataDir), { force: true });
  say(`${list.file}, which the last start had not finished loading, is gone or was changed: given up`);
  return undefined;
}

function unfinishedFile(dataDir: string): string {
  return path.join(dataDir, 'loading.json');
}

/** The campaign's key tells what was loaded: by content, as a corrected file is another list under the same name. */
async function queueKeyOf({ file, name }: List): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const readable = name.replace(/[^A-Za-z0-9]+/g, '_').slice(0, 60);
  return `__Dialer_${readable}_${hash.digest('hex').slice(0, 12)}`;
}

async function ensureCampaign(
  api: ApiClient,
  { name, country, countries, zone }: List,
  queueKey: string,
): Promise<{ campaign: Campaign; made: boolean }> {
  const found = (await api.all<Campaign>('/v1/campaigns')).find((one) => one.queue_key === queueKey);
  if (found) return { campaign: found, made: false };
  const numbers = { caller_id: '+4722865001', service_num: '+4722865000' };
  const settings = { name, country, zone, queue_key: queueKey, ...numbers, rules: { ...RULES, countries } };
  return { campaign: await api.post<Campaign>('/v1/campaigns', settings), made: true };
}

async function importList(context: Context, { file }: List, campaign: Campaign): Promise<{ rows: number }> {
  const type = FORMATS[path.extname(file).toLowerCase()] ?? 'text/csv';
  try {
    return await context.api.post(`/v1/campaigns/${campaign.id}/imports`, await openAsBlob(file, { type }));
  } catch (error) {
    if (!(error instanceof ApiProblem) || error.isPassing) throw error;
    await discard(context, campaign);
    rmSync(unfinishedFile(context.dataDir), { force: true });
    throw badList(file, error);
  }
}

function badList(file: string, { message, issues }: ApiProblem): BadList {
  const shown = issues.slice(0, MOST_PROBLEMS_SHOWN).map(({ field, reason }) => `  ${field}: ${reason}`);
  const more = issues.length > shown.length ? [`  … and ${issues.length - shown.length} more`] : [];
  const why = message.replace(/^POST \S+: /, '');
  return new BadList([`${file} can't be loaded: ${why}`, ...shown, ...more].join('\n'));
}

/** A campaign once made stays in the books, and the API has no way round that. This one was never more than a draft. */
async function discard({ databaseUrl }: Context, { id }: Campaign): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(
      `WITH draft AS (
         SELECT id FROM campaign WHERE id = $1 AND status = 'draft'
           AND NOT EXISTS (SELECT FROM contact WHERE campaign_id = campaign.id)
           AND NOT EXISTS (SELECT FROM agent_queue WHERE campaign_id = campaign.id)
       ), versions AS (DELETE FROM rules_version USING draft WHERE campaign_id = draft.id)
       DELETE FROM campaign USING draft WHERE campaign.id = draft.id`,
      [id],
    );
  } finally {
    await client.end();
  }
}
