/** Nothing personal enters Temporal: every history of real calls is searched for what is known of the people in them. */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
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
const PERSONAL = ['22400001', '22400002', 'Åse Ødegård', 'Storgata 17', 'wants a call from her son', 'sold-gold-plan', 'Smithson'];

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
});

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
