/** Nothing personal enters Temporal: every history of real calls is searched for what is known of the people in them. */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

let system: System;
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({ speed: 1, script: { contacts: [{ weight: 1, behaviour: manual }] } });
}, 90_000);
afterAll(() => system?.stop());

const ANNA = '+4722400001';
const BO = '+4722400002';
const PERSONAL = ['22400001', '22400002', '22400003', '98765432', 'Åse Ødegård', 'Storgata 17', 'wants a call from her son', 'sold-gold-plan', 'Smithson'];

it('no number, name, comment or variable is in any history', async () => {
  const scene = await setScene(system, {
    contacts: [
      { phone_num: ANNA, variables: { var1: 'Åse Ødegård', var2: 'Storgata 17' } },
      { phone_num: BO, variables: { var1: 'Åse Ødegård' } },
    ],
    agent: { name: 'Agent Smithson' },
    rules: { wrap_up_sec: 600 },
  });
  const { key, phone } = scene.agents[0]!;
  await scene.ready();
  const first = await scene.ringing();
  await scene.phone(phone, 'answer');
  await scene.phone(ANNA, 'answer');
  await scene.until('talking');
  const click = (what: string, body?: unknown) =>
    eventually(async () => (await system.api('POST', `/calls/${first.call}/${what}`, body, { key })).status === 200);
  await click('dtmf', { digits: '98765432' });
  await click('transfer', { mode: 'attended', to: { number: '+4722400003' } });
  await click('take-back');
  await scene.phone(ANNA, 'hang-up');
  await scene.until('wrap_up');
  const said = { action: 'done', topics: ['sold-gold-plan'], comment: 'wants a call from her son' };
  await system.ok('POST', `/calls/${first.call}/disposition`, said, { key, idempotencyKey: 'Smithson-22400001' });
  await scene.until('done');
  await scene.ready();
  const second = await scene.ringing();
  await system.ok('POST', `/offers/${second.offer}/cancel`, {}, { key });
  await scene.until('disabled', 1);

  const text = await allHistories(scene.campaign);
  // The search can find: ids, which belong there, are found.
  expect(text.includes(first.call), 'the search finds what is there').toBe(true);
  for (const word of PERSONAL) expect(text.includes(word), `"${word}" is in a history`).toBe(false);

  // Both persons are erased: nothing of them is left in the database, and every event is still there.
  const events = async () => (await system.ok('GET', '/call-events?limit=1000')).items;
  const before = await events();
  expect(await wordsFound(), 'the search finds what is there').toEqual(OF_THE_PERSONS);
  expect((await system.api('POST', `/contacts/${scene.contacts[0]}/erase`, {})).body.detail).toContain('within 24 hours');
  await system.sql.query(`UPDATE leg SET created_at = created_at - interval '25 h'`);
  for (const contact of scene.contacts) {
    expect((await system.api('POST', `/contacts/${contact}/erase`, {})).status).toBe(200);
    expect((await system.api('POST', `/contacts/${contact}/erase`, {})).status, 'a repeat').toBe(200);
    expect((await system.api('GET', `/contacts/${contact}`)).status).toBe(404);
  }
  expect(await wordsFound()).toEqual([]);
  const kept = (all: Record<string, unknown>[]) => all.map(({ position, kind, result_code, topics, at }) => ({ position, kind, result_code, topics, at }));
  expect(kept(await events())).toEqual(kept(before));
});

it('a person who is being called is not erased', async () => {
  const scene = await setScene(system, { contacts: [{ phone_num: '+4722400009' }] });
  await scene.until('queued');
  const answer = await system.api('POST', `/contacts/${scene.contacts[0]}/erase`, {});
  expect(answer).toMatchObject({ status: 409, body: { code: 'CONFLICT', state: 'queued' } });
  expect((await scene.contact()).phone_num).toBe('+4722400009');
});

const OF_THE_PERSONS = ['22400001', '22400002', '22400003', 'Åse Ødegård', 'Storgata 17', 'wants a call from her son'];

/** Those that are anywhere in the database; answers kept for a day's repeats are left out. */
async function wordsFound(): Promise<string[]> {
  const { rows: tables } = await system.sql.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables
     WHERE table_schema = 'public' AND table_name NOT IN ('idempotent_request', '_prisma_migrations')`,
  );
  const texts = await Promise.all(
    tables.map(async ({ name }) => (await system.sql.query<{ text: string }>(`SELECT t::text AS text FROM "${name}" t`)).rows),
  );
  const all = texts.flat().map(({ text }) => text).join('\n');
  return OF_THE_PERSONS.filter((word) => all.includes(word));
}

/** Every event of every workflow of a campaign, payloads decoded, as one text. */
async function allHistories(campaign: string): Promise<string> {
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  try {
    const client = new Client({ connection });
    const texts: string[] = [];
    const { rows } = await system.sql.query(`SELECT id, round FROM contact WHERE campaign_id = $1`, [campaign]);
    const ids = [`campaign/${campaign}`, ...rows.map((row) => `contact/${row.id}/${row.round}`)];
    for (const id of ids) {
      const handle = client.workflow.getHandle(id);
      texts.push(readable(await handle.fetchHistory()), readable(await handle.describe()));
    }
    return texts.join('\n');
  } finally {
    await connection.close();
  }
}

/** JSON in which the payloads' data, bytes or base64, is readable. */
function readable(value: unknown): string {
  return JSON.stringify(value, (key, part: unknown) => {
    if (part instanceof Uint8Array) return Buffer.from(part).toString('utf8');
    if (key === 'data' && typeof part === 'string') return Buffer.from(part, 'base64').toString('utf8');
    return typeof part === 'bigint' ? part.toString() : part;
  });
}
