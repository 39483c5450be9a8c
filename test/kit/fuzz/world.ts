/** Something of everything that the API knows, in every state that it can be in without a worker. */
import { makeCall } from '../../e2e/api-rows.ts';
import type { ApiProcess } from '../api-process.ts';
import type { Json } from '../system.ts';
import type { There } from './requests.ts';

export interface World {
  /** By the name of the caller. */
  keys: Record<string, string>;
  there: There;
}

const OUT_OF_REACH = 1_700_000_000;
const TOPICS = { tree: [{ key: 'sold', label: 'Sold', action: 'done' }, { key: 'no', label: 'No', children: [{ key: 'price', label: 'Price' }] }] };

export async function makeWorld(api: ApiProcess): Promise<World> {
  const ask = async (method: string, path: string, body?: unknown): Promise<Json> => {
    const headers = { Authorization: `Bearer ${api.adminKey}`, ...(body ? { 'Content-Type': 'application/json' } : {}) };
    const answer = await fetch(`${api.url}/v1${path}`, { method, headers, body: body ? JSON.stringify(body) : null });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  };
  // Out of reach of ids that are made up: nobody is to revoke the keys that are asked with.
  await api.sql.query(`UPDATE api_key SET id = id + ${OUT_OF_REACH}`);

  const campaigns: string[] = [];
  for (const rules of [{}, { countries: ['NO', 'SE'] }, { topics: TOPICS }, {}, {}, {}]) {
    campaigns.push((await ask('POST', '/campaigns', { name: `Campaign ${campaigns.length}`, country: 'NO', zone: 'Europe/Oslo', rules })).id);
  }
  const [draft, running, paused, ended, toEnd, list] = campaigns as [string, string, string, string, string, string];
  const agents: Json[] = [];
  for (const phone of ['2001', '2002', '2003', '+4722865001']) {
    const queues = [draft, running, paused].map((campaign_id) => ({ campaign_id }));
    agents.push(await ask('POST', '/agents', { name: `Agent ${phone}`, phone, queues }));
  }
  const contacts: Json[] = [];
  const add = async (campaign: string, phone_2: string | null = null) => {
    const n = contacts.length;
    const path = `/campaigns/${campaign}/contacts/by-external-id/ext-${n}`;
    contacts.push(await ask('PUT', path, { phone_num: `+47487654${n + 10}`, phone_2, variables: { var1: `Kari ${n}` } }));
  };
  for (const campaign of [draft, draft, ended]) await add(campaign);
  for (let n = 0; n < 9; n++) await add(running, n === 8 ? '+4640000000' : null);
  for (let n = 0; n < 3; n++) await add(paused);
  for (let n = 0; n < 6; n++) await add(toEnd);
  const calls = await makeCalls(api, contacts.slice(3), agents);
  await makeCall({ db: { pool: api.sql } }, { contact: contacts.at(-1), callNo: 1, queued: true });
  for (const [campaign, control] of [[running, 'start'], [paused, 'start'], [paused, 'pause'], [ended, 'end']] as const) {
    await ask('POST', `/campaigns/${campaign}/${control}`);
  }
  const reopening = await ask('POST', `/campaigns/${running}/reopen`, { ended_reason: ['answered'] });
  const webhooks: Json[] = [];
  for (const path of ['a', 'b', 'c', 'd']) webhooks.push(await ask('POST', '/webhooks', { url: `https://example.org/${path}` }));
  for (const number of ['+4740000090', '+4740000091']) await ask('PUT', `/do-not-call/${encodeURIComponent(number)}`, { comment: 'asked' });
  const spare: Json[] = [];
  for (const name of ['spare', 'other']) spare.push(await ask('POST', '/keys', { name, role: 'operator' }));
  const keys: Record<string, string> = { admin: api.adminKey, unknown: 'dw_unknown' };
  for (const role of ['manager', 'operator', 'agent']) {
    const own = role === 'agent' ? { agent_id: agents[1].id } : {};
    keys[role] = (await ask('POST', '/keys', { name: role, role, ...own })).key;
    await api.sql.query(`UPDATE api_key SET id = id + ${OUT_OF_REACH} WHERE name = $1`, [role]);
  }

  const ids = (rows: Json[]): string[] => rows.map((row) => row.id);
  const numbers = ['+4740000090', '40 00 00 91', contacts[0].phone_num, '22865026', '+4640000000'];
  const some = [draft, running, paused];
  const kept = ids(contacts).slice(0, -6);
  const toLose = { id: ids(contacts).slice(-6) };
  return {
    keys,
    there: {
      everywhere: {
        campaign_id: some,
        agent_id: ids(agents),
        call_id: calls.map((call) => call.callId),
        reopening_id: [reopening.id],
        version: ['1', '2'],
        external_id: ['ext-0', 'ext-3', 'ext-5', 'ext-9', 'new-1', 'new-2'],
        phone_num: [...numbers, '+4740000055', '+4740000056', '+4740000057'],
        phone_2: [null, '+4740000058', '+4640000001'],
        service_num: [null, '+4722865000'],
        caller_id: [null, '+4722865000', '+4622865000'],
        phone: ['2001', '2004', '2005', '2006', '+4722865002'],
        number: numbers,
        zone: ['Europe/Oslo', 'America/New_York', 'UTC'],
        country: ['NO', 'SE', 'US'],
        countries: [['NO'], ['NO', 'SE'], null],
        cursor: ['0', '1', draft, contacts[4].id, '4740000090'].map((id) => Buffer.from(`id:${id}`).toString('base64url')),
        after: ['0', '1', '3'],
        position: ['0', '1', '3'],
        q: ['ext-', '+47', '4000'],
        url: ['https://example.org/c', 'https://example.org/d?x=1'],
        at: ['2031-03-03T10:00:00Z', new Date(Date.now() + 3_600_000).toISOString()],
        map: ['phone_num=Mobile', ['phone_num=Mobile', 'var1=Name'], 'phone_num='],
        ignore: ['', 'Mobile'],
      },
      in: {
        campaigns: { id: [...some, ended] },
        // What can't be undone is done to some: the others are to stay for what else is asked.
        'POST /v1/campaigns/{id}/end': { id: [toEnd, ended] },
        'POST /v1/campaigns/{id}/imports': { id: [list] },
        contacts: { id: kept },
        'DELETE /v1/contacts/{id}': toLose,
        'POST /v1/contacts/{id}/erase': toLose,
        calls: { topics: [[], ['sold'], ['no', 'price']] },
        agents: { id: ids(agents) },
        offers: { id: calls.map((call) => call.offerId).filter((id) => id !== '') },
        webhooks: { id: ids(webhooks.slice(2)) },
        'DELETE /v1/webhooks/{id}': { id: ids(webhooks.slice(0, 2)) },
        keys: { id: ids(spare) },
        simulator: { number: ['2001', '2002', '2003', contacts[0].phone_num] },
        'legal-hours': { country: ['SE', 'DE', 'XX'] },
        reports: { from: ['2026-11-01', '2026-11-02T00:00:00Z'], to: ['2026-11-30', '2026-12-01T00:00:00+01:00'] },
      },
    },
  };
}

/** Calls in every state, without the workflows that would have made them; and contacts that are done or disabled. */
async function makeCalls(api: ApiProcess, contacts: Json[], agents: Json[]) {
  const db = { db: { pool: api.sql } };
  const [ringing, talking, over, queued, wrappingUp, done, disabled] = contacts as [Json, Json, Json, Json, Json, Json, Json];
  const calls = [
    await makeCall(db, { contact: ringing, agent: agents[0], callNo: 1 }),
    await makeCall(db, { contact: talking, agent: agents[1], callNo: 1, talked: true }),
    await makeCall(db, { contact: over, agent: agents[2], callNo: 1, ended: true, code: 'b' }),
    await makeCall(db, { contact: queued, callNo: 1, queued: true }),
    await makeCall(db, { contact: wrappingUp, agent: agents[2], callNo: 1, talked: true, ended: true }),
    await makeCall(db, { contact: done, agent: agents[2], callNo: 1, talked: true, ended: true }),
  ];
  const end = (id: string, state: string, reason: string | null) =>
    api.sql.query(`UPDATE contact SET state = $2, ended_reason = $3, ended_at = $4, closed_at = $4 WHERE id = $1`, [id, state, reason, new Date()]);
  await end(done.id, 'done', 'answered');
  await end(disabled.id, 'disabled', 'disabled');
  await api.sql.query(`UPDATE agent SET state = 'wrap_up', since = $2, state_until = $3, offer_id = $4 WHERE id = $1`, [
    agents[2].id,
    new Date(),
    new Date(Date.now() + 3_600_000),
    calls[4]!.offerId,
  ]);
  return calls;
}
