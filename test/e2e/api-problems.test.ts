/** What a person must look at: each kind appears with what can be done about it, and is gone when that has been done. */
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { carryOutStops } from '../../activities/campaigns.ts';
import { holdNode, trunkWorks } from '../../activities/sql.ts';
import { openCampaign } from '../../api/imports/sql.ts';
import { AppError } from '../../domain/errors.ts';
import { recordRepair } from '../../prisma/repairs.ts';
import { inTx } from '../../prisma/tx.ts';
import { ANY_TIME } from '../../matching/legal-hours.ts';
import { placeContacts } from '../../matching/hours.ts';
import { enqueueContacts } from '../../matching/queue.ts';
import { type Json, makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';
import { type CallOptions, makeCall } from './api-rows.ts';

let isTemporalAway = false;
const checkTemporal = () => (isTemporalAway ? Promise.reject(new Error('away')) : Promise.resolve());
const api = await startTestApi({ checkTemporal });
const { pool } = api.db;

beforeEach(() => {
  isTemporalAway = false;
  api.workflows.onUpdate = () => undefined;
});

const ago = (seconds: number): Date => new Date(Date.now() - seconds * 1000);
const set = (table: string, id: string | number, values: Record<string, unknown>) => {
  const columns = Object.keys(values).map((column, n) => `${column} = $${n + 2}`);
  return pool.query(`UPDATE ${table} SET ${columns.join(', ')} WHERE id = $1`, [id, ...Object.values(values)]);
};

async function problems(kind: string, id?: string): Promise<Json[]> {
  const { body } = await api.call('GET', '/v1/problems');
  return body.items.filter((item: Json) => item.kind === kind && (id === undefined || item.subject.id === String(id)));
}

/** The only one of this kind and subject. */
async function problem(kind: string, subject: string, id: string): Promise<Json> {
  const found = await problems(kind, id);
  expect(found).toHaveLength(1);
  expect(found[0].subject.kind).toBe(subject);
  return found[0];
}

const isGone = async (kind: string, id: string) => expect(await problems(kind, id)).toEqual([]);

/** Sends the request that a problem offers; `body`: what is to be filled in. */
async function carryOut({ actions }: Json, method: string, path: RegExp, body?: object, options = {}): Promise<Json> {
  const action = actions.find((offered: Json) => offered.method === method && path.test(offered.path));
  expect(action, `${method} ${path} is offered`).toBeDefined();
  const answer = await api.call(method, action.path, body ?? action.body ?? undefined, options);
  expect(answer.status, answer.text).toBeLessThan(300);
  return answer.body;
}

/** A contact of a campaign that runs, in its queue. */
async function queued(campaign: Json, more: object = {}): Promise<Json> {
  const contact = await makeContact(api, campaign, more);
  await set('contact', contact.id, { state: 'starting' });
  await placeContacts(api.db, Number(campaign.id), [contact.id]);
  await inTx(api.db, (tx) => enqueueContacts(tx, [contact.id], 'starting'));
  return contact;
}

async function running(more: object = {}): Promise<Json> {
  const campaign = await makeCampaign(api, more);
  await api.call('POST', `/v1/campaigns/${campaign.id}/start`);
  return campaign;
}

/** A call whose leg to the contact has ended so, an hour ago; the contact waits for its retry. */
async function legThat(ended: { code: string; reason?: string; response?: number }, more: Partial<CallOptions> = {}, campaign?: Json) {
  const contact = await makeContact(api, campaign ?? (await running()));
  const agent = await makeAgent(api);
  const { callId } = await makeCall(api, { contact, agent, callNo: 1, ended: true, code: ended.code, ...more });
  await pool.query(
    `UPDATE leg SET result_reason = $2, result_response = $3, created_at = $4, ended_at = $4, originating = $5 WHERE call_id = $1 AND ciq = 'c'`,
    [callId, ended.reason ?? null, ended.response ?? null, ago(3600), campaign?.caller_id ?? null],
  );
  await set('contact', contact.id, { queue_rank: 2, wait_reason: 'retry_delay', wait_until: ago(-3600) });
  return { contact, callId, agent };
}

test('nothing is wrong in the beginning', async () => {
  expect((await api.call('GET', '/v1/problems')).body).toEqual({ items: [], more: [] });
});

describe('of nodes', () => {
  const node = (name: string, until: Date, more: Record<string, unknown> = {}) =>
    pool.query(`INSERT INTO node (name, holder, lease_until, ready_since, failing_since, trouble, away_since, errors_in_row, errors_since)
                VALUES ($1, 'worker-1', $2, $3, $4, $5, $6, 5, $4)`, [
      name,
      until,
      more.ready_since ?? null,
      more.failing_since ?? null,
      more.trouble ?? null,
      more.away_since ?? null,
    ]);
  const hold = (name: string, up: boolean) =>
    pool.query(holdNode(new Date(), name, 'worker-1', ago(-60), { up, trouble: null }, { maxCalls: null, callsPerSecond: null }));

  test('node_away: held by nobody for 30 s; its worker ends it, or forgetting it', async () => {
    await node('east/1', ago(20));
    await isGone('node_away', 'east/1');
    await pool.query(`UPDATE node SET lease_until = $1`, [ago(40)]);
    const found = await problem('node_away', 'node', 'east/1');
    expect(found.says).toContain('nobody is called');
    expect(Date.parse(found.since)).toBeLessThan(Date.now() - 35_000);
    await hold('east/1', true);
    await isGone('node_away', 'east/1');
    expect((await api.call('DELETE', '/v1/nodes/east%2F1')).status).toBe(409);

    await pool.query(`UPDATE node SET lease_until = $1`, [ago(40)]);
    await carryOut(await problem('node_away', 'node', 'east/1'), 'DELETE', /nodes/);
    await isGone('node_away', 'east/1');
    expect((await api.call('DELETE', '/v1/nodes/east%2F1')).status).toBe(404);
  });

  test('a node with a call that is open is not forgotten', async () => {
    await node('sim-1', ago(40));
    const contact = await makeContact(api, await running());
    const { callId } = await makeCall(api, { contact, agent: await makeAgent(api), callNo: 1 });
    expect((await api.call('DELETE', '/v1/nodes/sim-1')).status).toBe(409);
    await pool.query(`UPDATE offer SET ended_at = $2 WHERE call_id = $1`, [callId, new Date()]);
    expect((await api.call('DELETE', '/v1/nodes/sim-1')).status).toBe(409);
    await pool.query(`UPDATE leg SET ended_at = $2 WHERE call_id = $1`, [callId, new Date()]);
    expect((await api.call('DELETE', '/v1/nodes/sim-1')).status).toBe(204);
    await pool.query(`UPDATE agent SET state = 'logged_off', offer_id = NULL`);
  });

  test('node_trouble: its worker has not reached the switch for 10 s, and why; gone when it does', async () => {
    await hold('west', false);
    await isGone('node_trouble', 'west');
    await pool.query(`UPDATE node SET away_since = $1, trouble = 'check ARI_URL' WHERE name = 'west'`, [ago(60)]);
    const found = await problem('node_trouble', 'node', 'west');
    expect(found).toMatchObject({ says: expect.stringContaining('check ARI_URL') as string, actions: [{ method: null, path: null }] });
    expect(Date.parse(found.since)).toBeLessThan(Date.now() - 55_000);
    await hold('west', true);
    await isGone('node_trouble', 'west');
    await pool.query(`DELETE FROM node`);
  });

  test('trunk_failing: until a call goes through', async () => {
    await node('north', ago(-60), { ready_since: ago(600), failing_since: ago(300) });
    const found = await problem('trunk_failing', 'node', 'north');
    expect(found.says).toContain('5 calls in a row');
    await pool.query(trunkWorks('north', new Date()));
    await isGone('trunk_failing', 'north');
    await pool.query(`DELETE FROM node`);
  });

  test('of more than a hundred, a hundred are given, and that there are more', async () => {
    await pool.query(`INSERT INTO node (name, holder, lease_until) SELECT 'n' || n, 'gone', $1 FROM generate_series(1, 101) AS n`, [ago(60)]);
    const { body } = await api.call('GET', '/v1/problems');
    expect(body.items.filter(({ kind }: Json) => kind === 'node_away')).toHaveLength(100);
    expect(body.more).toEqual(['node_away']);
    await pool.query(`DELETE FROM node`);
  });
});

describe('of what is around', () => {
  test('temporal_away: until it answers', async () => {
    isTemporalAway = true;
    expect(await problem('temporal_away', 'installation', 'temporal')).toMatchObject({ since: null });
    isTemporalAway = false;
    await isGone('temporal_away', 'temporal');
  });

  test('release_behind: the database has a migration that the API does not know', async () => {
    const name = '29991231000000_of_tomorrow';
    await pool.query(`INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('x', 'x', $1, $2)`, [name, ago(60)]);
    await problem('release_behind', 'installation', name);
    await pool.query(`DELETE FROM _prisma_migrations WHERE id = 'x'`);
    await isGone('release_behind', name);
  });

  test('schema_behind: it lacks one', async () => {
    const { rows } = await pool.query(`UPDATE _prisma_migrations SET finished_at = NULL
      WHERE migration_name = (SELECT max(migration_name) FROM _prisma_migrations) RETURNING migration_name`);
    await problem('schema_behind', 'installation', rows[0].migration_name);
    await pool.query(`UPDATE _prisma_migrations SET finished_at = $1 WHERE finished_at IS NULL`, [new Date()]);
    await isGone('schema_behind', rows[0].migration_name);
  });

  test('webhook_paused: by its receiver, not by a person', async () => {
    const { body: webhook } = await api.call('POST', '/v1/webhooks', { url: 'https://example.com/rows' });
    await api.call('POST', `/v1/webhooks/${webhook.id}/pause`);
    await isGone('webhook_paused', webhook.id);
    await set('webhook', webhook.id, { paused_reason: 'failing' });
    await carryOut(await problem('webhook_paused', 'webhook', webhook.id), 'POST', /resume/);
    await isGone('webhook_paused', webhook.id);
    await set('webhook', webhook.id, { state: 'paused', paused_reason: 'gone', paused_at: new Date() });
    await carryOut(await problem('webhook_paused', 'webhook', webhook.id), 'DELETE', /webhooks/);
    await isGone('webhook_paused', webhook.id);
  });
});

describe('of campaigns', () => {
  test('stop_open: until a worker carries it out', async () => {
    const campaign = await running();
    await api.call('POST', `/v1/campaigns/${campaign.id}/stop`);
    await isGone('stop_open', campaign.id);
    await set('campaign', campaign.id, { updated_at: ago(20) });
    await problem('stop_open', 'campaign', campaign.id);
    await carryOutStops(api);
    await isGone('stop_open', campaign.id);
    const { body } = await api.call('GET', '/v1/repairs?cause=stop_unattended');
    expect(body.items).toMatchObject([{ subject: { kind: 'campaign', id: campaign.id }, worker: null }]);
  });

  test('calls_refused: until another number is shown', async () => {
    const campaign = await running({ caller_id: '+4722999900' });
    await legThat({ code: 'e', response: 608 }, {}, campaign);
    await legThat({ code: 'e', response: 608 }, {}, campaign);
    const found = await problem('calls_refused', 'campaign', campaign.id);
    expect(found.says).toContain('2 within a day');
    expect(found.says).toContain('+4722999900');
    await carryOut(found, 'PATCH', /campaigns/, { caller_id: '+4722999901' });
    await isGone('calls_refused', campaign.id);
  });

  test('nobody_logged_on: somebody could be called; an agent who logs on ends it, or a pause', async () => {
    const campaign = await running();
    await isGone('nobody_logged_on', campaign.id);
    await queued(campaign);
    const found = await problem('nobody_logged_on', 'campaign', campaign.id);
    expect(found.says).toContain('no agent serves it');
    await carryOut(found, 'POST', /pause/);
    await isGone('nobody_logged_on', campaign.id);

    const other = await running();
    await queued(other);
    const agent = await makeAgent(api);
    const offered = (await problem('nobody_logged_on', 'campaign', other.id)).actions.find(({ method }: Json) => method === 'PATCH');
    await api.call('PATCH', offered.path.replace('<agent>', agent.id), offered.body);
    expect((await problem('nobody_logged_on', 'campaign', other.id)).says).toContain('none of its 1 agents is logged on');
    await api.call('PUT', `/v1/agents/${agent.id}/state`, { state: 'ready' });
    await isGone('nobody_logged_on', other.id);
  });

  test('never_open: the times of a contact and the law never meet, or a rule can not be read', async () => {
    const noon = { periods: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], from: '11:00', to: '12:00' }], holidays: [] };
    expect((await api.call('PUT', '/v1/legal-hours/NO', noon)).status).toBe(200);
    onTestFinished(() => void api.call('PUT', '/v1/legal-hours/NO', ANY_TIME));
    const campaign = await running();
    const contact = await queued(campaign, { earliest: '14:00', latest: '15:00' });
    const found = await problem('never_open', 'campaign', campaign.id);
    expect(found.says).toContain(`contact ${contact.id}`);
    await carryOut(found, 'PATCH', /contacts/);
    await isGone('never_open', campaign.id);

    const unreadable = await running();
    await pool.query(`UPDATE legal_hours SET hours = '{"periods": 7}' WHERE country = 'NO'`);
    await queued(unreadable);
    const rule = await problem('never_open', 'campaign', unreadable.id);
    expect(rule.says).toContain('unreadable_rule');
    await carryOut(rule, 'PUT', /legal-hours/, ANY_TIME);
    await isGone('never_open', unreadable.id);
  });

  test('import_broken_off: its process has died; another import ends it', async () => {
    const campaign = await makeCampaign(api);
    await pool.query(
      `INSERT INTO import (campaign_id, mode, bad_rows, started_by, started_at, phase, rows, seen_at)
       VALUES ($1, 'add', 'reject', 'key:1', $2, 'reading', 10, $2)`,
      [campaign.id, ago(60)],
    );
    await inTx(api.db, async (tx) => {
      expect(await tx.row(openCampaign(Number(campaign.id), { dryRun: false }))).toMatchObject({ free: true });
      await isGone('import_broken_off', campaign.id);
    });
    const found = await problem('import_broken_off', 'campaign', campaign.id);
    const raw = 'external_id,phone_num\nA-1,22865000\n';
    await carryOut(found, 'POST', /imports/, undefined, { raw, headers: { 'Content-Type': 'text/csv' } });
    await isGone('import_broken_off', campaign.id);
  });
});

describe('of contacts', () => {
  const gone = () => {
    api.workflows.onUpdate = () => {
      throw new AppError('CONTACT_CLOSED', 'nothing is under way', { state: 'closed' });
    };
  };

  test.each([
    ['POST', /enable/],
    ['DELETE', /contacts/],
  ])('workflow_closed: disabled by a repair; %s %s ends it', async (method, path) => {
    const contact = await makeContact(api, await running());
    await set('contact', contact.id, { state: 'disabled', ended_reason: 'disabled', ended_by: 'system', ended_at: new Date(), closed_at: new Date() });
    await isGone('workflow_closed', contact.id);
    await inTx(api.db, (tx) => recordRepair(tx, { cause: 'workflow_closed', subject: `contact/${contact.id}/1` }));
    const found = await problem('workflow_closed', 'contact', contact.id);
    expect(found.says).toContain(`contact/${contact.id}/1`);
    await carryOut(found, method, path);
    await isGone('workflow_closed', contact.id);
  });

  test('contact_stuck: due 5 min ago, and no worker has queued it; disabling it ends it', async () => {
    const contact = await makeContact(api, await running());
    await set('contact', contact.id, { state: 'waiting', wait_reason: 'retry_delay', wait_until: ago(200) });
    await isGone('contact_stuck', contact.id);
    await set('contact', contact.id, { wait_until: ago(400) });
    const found = await problem('contact_stuck', 'contact', contact.id);
    gone();
    await carryOut(found, 'POST', /disable/);
    await isGone('contact_stuck', contact.id);
    // A person has decided so.
    await isGone('workflow_closed', contact.id);
  });

  test.each([
    ['unknown', 'call-now'],
    ['switch_lost', 'disable'],
  ])('outcome_unclear: the last leg was lost (%s); %s ends it', async (reason, act) => {
    const { contact } = await legThat({ code: 'e', reason });
    const found = await problem('outcome_unclear', 'contact', contact.id);
    expect(found.says).toContain('the next one is due at');
    api.workflows.onUpdate = () => set('contact', contact.id, { state: 'disabled', ended_reason: 'disabled', closed_at: new Date() });
    await carryOut(found, 'POST', new RegExp(act));
    await isGone('outcome_unclear', contact.id);
  });

  test('a leg that has certainly not been sent, and one that was followed by another, are clear', async () => {
    const { contact, callId, agent } = await legThat({ code: 'e', reason: 'unknown' });
    const other = await legThat({ code: 'e', reason: 'unknown' });
    await makeCall(api, { contact, agent, callNo: 2, ended: true });
    await isGone('outcome_unclear', contact.id);
    const { rows } = await pool.query(`SELECT id FROM leg WHERE call_id = $1 AND ciq = 'c'`, [other.callId]);
    await inTx(api.db, (tx) => recordRepair(tx, { cause: 'leg_not_sent', subject: `leg/${rows[0].id}` }));
    await isGone('outcome_unclear', other.contact.id);
    expect(callId).not.toBe(other.callId);
  });

  test('objected: the network says that the person does not want to be called; listing the number ends it', async () => {
    const { contact } = await legThat({ code: 'b', response: 607 });
    const found = await problem('objected', 'contact', contact.id);
    await carryOut(found, 'PUT', /do-not-call/);
    await isGone('objected', contact.id);
    // Whoever takes it off the list has decided, too.
    await api.call('DELETE', `/v1/do-not-call/${encodeURIComponent(contact.phone_num)}?comment=asked`);
    await isGone('objected', contact.id);
  });
});

describe('of agents', () => {
  test.each([
    ['paused', 'missed_limit', 'has missed too many calls'],
    ['logged_off', 'error_limit', 'has failed too often'],
  ])('agent_set_aside: %s by %s, until ready', async (state, cause, says) => {
    const agent = await makeAgent(api);
    await set('agent', agent.id, { state, cause, since: ago(60) });
    const found = await problem('agent_set_aside', 'agent', agent.id);
    expect(found.says).toContain(says);
    await carryOut(found, 'PUT', /state/);
    await isGone('agent_set_aside', agent.id);
  });

  test('agent_stuck: engaged by an offer that is over; releasing ends it', async () => {
    const agent = await makeAgent(api);
    const contact = await makeContact(api, await running());
    const { offerId } = await makeCall(api, { contact, agent, callNo: 1, ended: true });
    await set('agent', agent.id, { state: 'connected', offer_id: offerId, since: ago(5) });
    await isGone('agent_stuck', agent.id);
    await set('agent', agent.id, { since: ago(20) });
    await carryOut(await problem('agent_stuck', 'agent', agent.id), 'POST', /release/);
    await isGone('agent_stuck', agent.id);
  });
});

describe('repairs', () => {
  test('are listed the latest first, page by page, by cause and time, and counted', async () => {
    await pool.query(`DELETE FROM repair`);
    const at = (second: number) => new Date(Date.UTC(2030, 0, 1, 0, 0, second));
    for (const second of [1, 2, 2, 3]) {
      const subject = `leg/${second}-${Math.random()}`;
      await pool.query(`INSERT INTO repair (at, cause, subject, occasion, worker) VALUES ($1, 'leg_adopted', $2, '', 'worker-1')`, [at(second), subject]);
    }
    // As an earlier release has written it, and as a later one may.
    await pool.query(`INSERT INTO repair (at, cause, subject) VALUES ($1, 'workflow_closed', 'contact/12/3')`, [at(4)]);
    await pool.query(`INSERT INTO repair (at, cause, subject) VALUES ($1, 'of_tomorrow', 'node/east/1')`, [at(5)]);

    const first = (await api.call('GET', '/v1/repairs?limit=3')).body;
    const second = (await api.call('GET', `/v1/repairs?limit=3&cursor=${first.next}`)).body;
    expect([...first.items, ...second.items].map((item: Json) => item.at)).toEqual([5, 4, 3, 2, 2, 1].map((s) => at(s).toISOString()));
    expect(second.next).toBeNull();
    expect(first.items[0].subject).toEqual({ kind: 'node', id: 'east/1' });
    expect(first.items[1]).toMatchObject({ subject: { kind: 'contact', id: '12' }, worker: null, found: expect.stringContaining('was no more') as string });

    const some = (query: string) => api.call('GET', `/v1/repairs?${query}`).then(({ body }) => body.items.length);
    expect(await some('cause=leg_adopted')).toBe(4);
    expect(await some(`from=${at(2).toISOString()}&to=${at(4).toISOString()}`)).toBe(3);
    expect(await some(`cause=leg_adopted&from=${at(3).toISOString()}`)).toBe(1);
    expect((await api.call('GET', '/v1/repairs?cause=whatever')).status).toBe(400);
    expect((await api.call('GET', '/v1/repairs?cursor=whatever')).body.issues).toMatchObject([{ field: 'cursor' }]);

    const { text } = await api.call('GET', '/metrics');
    expect(text).toContain('dialwright_repairs_total{cause="leg_adopted"} 4');
    expect(text).toContain('dialwright_repairs_total{cause="node_lost"} 0');
  });

  test('are recorded once, whoever comes second', async () => {
    const repair = { cause: 'node_lapsed', subject: 'node/east', occasion: '1' } as const;
    const record = (worker: string, occasion = '1') => inTx({ ...api.db, worker }, (tx) => recordRepair(tx, { ...repair, occasion }));
    const recorded = await Promise.all([record('worker-1'), record('worker-2')]);
    expect(recorded.toSorted()).toEqual([false, true]);
    expect(await record('worker-1', '2')).toBe(true);
  });
});
