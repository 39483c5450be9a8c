import { describe, expect, test } from 'vitest';
import { inTx } from '../../prisma/tx.ts';
import { lockQueue } from '../../matching/sql.ts';
import { eventually } from '../kit/eventually.ts';
import { makeCampaign, startTestApi } from './api-server.ts';

const api = await startTestApi();

async function scene() {
  const campaign = await makeCampaign(api, { rules: { ring_sec: 40 } });
  const path = `/v1/campaigns/${campaign.id}`;
  const edit = (rules: object, key = api.admin) => api.call('PATCH', path, { rules }, { key });
  const list = async () => (await api.call('GET', `${path}/rules-versions`)).body.items;
  return { campaign, path, edit, list };
}

describe('versions of the rules', () => {
  test('are made with the campaign and with every change, by whom and when', async () => {
    const { campaign, path, edit, list } = await scene();
    const manager = await api.key('manager');
    const [{ id }] = (await api.db.pool.query(`SELECT max(id) AS id FROM api_key`)).rows;
    const before = Date.now();
    expect((await edit({ ring_sec: 50 }, manager)).body).toMatchObject({ rules_version: 2 });
    const items = await list();
    expect(items).toEqual([
      { version: 1, at: campaign.created_at, by: 'key:1' },
      { version: 2, at: expect.any(String), by: `key:${id}` },
    ]);
    expect(Date.parse(items[1].at)).toBeGreaterThanOrEqual(before);
    for (const [version, ring_sec] of [[1, 40], [2, 50]]) {
      const { body } = await api.call('GET', `${path}/rules-versions/${version}`);
      expect(body).toEqual({ ...items[version! - 1], rules: { ...campaign.rules, ring_sec } });
    }
  });

  test('are not made by what changes no rule', async () => {
    const { campaign, path, edit, list } = await scene();
    api.workflows.campaigns.length = 0;
    await edit({ ring_sec: 40, retry: { b: campaign.rules.retry.b } });
    await edit({});
    await api.call('PATCH', path, { name: 'Another', zone: 'Europe/Stockholm' });
    expect((await edit({ ring_sec: 0 })).status).toBe(400);
    expect(await list()).toHaveLength(1);
    expect((await api.call('GET', path)).body).toMatchObject({ rules_version: 1, settled: true, name: 'Another' });
    expect(api.workflows.campaigns).toEqual([]);
  });

  test('have no gap and lose no change when several edit at once', async () => {
    const { campaign, path, edit, list } = await scene();
    const changes = [{ ring_sec: 41 }, { setup_sec: 21 }, { rest_sec: 11 }, { confirm_sec: 12 }, { wrap_up_sec: 31 }];
    await Promise.all(changes.map((change) => edit(change)));
    expect((await list()).map(({ version }: { version: number }) => version)).toEqual([1, 2, 3, 4, 5, 6]);
    const now = (await api.call('GET', path)).body;
    expect(now.rules).toEqual({ ...campaign.rules, ...Object.assign({}, ...changes) });
    expect((await api.call('GET', `${path}/rules-versions/6`)).body.rules).toEqual(now.rules);
  });

  test('go page by page', async () => {
    const { path, edit } = await scene();
    for (const ring_sec of [20, 21, 22]) await edit({ ring_sec });
    const seen: number[] = [];
    let cursor = '';
    do {
      const { body } = await api.call('GET', `${path}/rules-versions?limit=3${cursor && `&cursor=${cursor}`}`);
      seen.push(...body.items.map(({ version }: { version: number }) => version));
      cursor = body.next;
    } while (cursor);
    expect(seen).toEqual([1, 2, 3, 4]);
  });

  test.each(['0', 'x', '2', '99999999999', '1.5', '-1'])('%s is none', async (version) => {
    const { path } = await scene();
    expect((await api.call('GET', `${path}/rules-versions/${version}`)).status).toBe(404);
    expect((await api.call('GET', `/v1/campaigns/2000000000/rules-versions`)).status).toBe(404);
  });

  test('a version waits for the match that is under way: after its answer nobody is first offered under the old one', async () => {
    const { campaign, edit, list } = await scene();
    let editing: Promise<unknown> | undefined;
    await inTx(api.db, async (tx) => {
      await tx.run(lockQueue(Number(campaign.id)));
      editing = edit({ ring_sec: 33 });
      await eventually(async () => {
        const { rowCount } = await api.db.pool.query(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`);
        return rowCount;
      });
      expect(await list()).toHaveLength(1);
    });
    await editing;
    expect(await list()).toHaveLength(2);
  });
});
