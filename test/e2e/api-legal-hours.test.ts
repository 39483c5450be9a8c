/** Legal hours over the API: who sets them, what is refused, and what is on record. */
import { describe, expect, test } from 'vitest';
import { WEEKDAYS } from '../../domain/hours.ts';
import { legalHoursOf } from '../../matching/legal-hours.ts';
import { startTestApi } from './api-server.ts';

const api = await startTestApi();
// The other tests have phones that may ring at any time: here it is as the migrations leave it, by their own record.
await api.db.pool.query(`DELETE FROM legal_hours_change WHERE id > (SELECT min(id) FROM legal_hours_change)`);
await api.db.pool.query(`UPDATE legal_hours SET hours = (SELECT hours FROM legal_hours_change), updated_by = 'system'`);
const manager = await api.key('manager');
const hours = (from: string, to: string, more: object = {}) => ({ periods: [{ days: [...WEEKDAYS], from, to }], ...more });
const put = (country: string, body: unknown, key = manager) => api.call('PUT', `/v1/legal-hours/${country}`, body, { key });
const list = async () => (await api.call('GET', '/v1/legal-hours')).body.items;
const changes = async (country: string) => (await api.call('GET', `/v1/legal-hours/${country}/changes`)).body.items;
const inForce = async (country: string | null) => (await api.db.pool.query(legalHoursOf(country))).rows[0];

test('from the start every country has narrow ones', async () => {
  const [row, ...others] = await list();
  expect(others).toEqual([]);
  expect(row).toMatchObject({ country: '*', ...hours('08:00', '21:00', { holidays: [] }), updated_by: 'system' });
  expect(await changes('*')).toMatchObject([{ country: '*', hours: hours('08:00', '21:00', { holidays: [] }), changed_by: 'system' }]);
});

test('a country gets its own, changes them and loses them, and all of it is on record', async () => {
  const first = hours('09:00', '21:00', { holidays: [{ date: '2026-12-25', periods: [] }] });
  const { status, body } = await put('NO', first);
  expect(status).toBe(200);
  expect(body).toMatchObject({ country: 'NO', ...first });
  expect(await inForce('NO')).toMatchObject({ country: 'NO', hours: first });
  expect(await inForce('SE')).toMatchObject({ country: '*' });
  expect(await inForce(null)).toMatchObject({ country: '*' });

  const second = hours('09:00', '20:00', { holidays: [] });
  await put('NO', second, api.admin);
  // A repeat is no change.
  expect((await put('NO', second)).body.updated_by).not.toBe(body.updated_by);
  expect((await list()).map(({ country }: { country: string }) => country)).toEqual(['*', 'NO']);

  for (const _ of ['once', 'and its repeat']) {
    expect((await api.call('DELETE', '/v1/legal-hours/NO', undefined, { key: manager })).status).toBe(204);
  }
  expect(await inForce('NO')).toMatchObject({ country: '*' });
  const told = await changes('NO');
  expect(told.map(({ hours: set }: { hours: unknown }) => set)).toEqual([first, second, null]);
  const [by, admin, last] = told.map(({ changed_by }: { changed_by: string }) => changed_by);
  expect([by, last]).toEqual([body.updated_by, body.updated_by]);
  expect(by).toMatch(/^key:\d+$/);
  expect(admin).not.toBe(by);
});

test('what is left out has its default', async () => {
  expect((await put('DK', hours('09:00', '20:00'))).body.holidays).toEqual([]);
});

describe('refused', () => {
  test.each<[string, object]>([
    ['periods', {}],
    ['periods', { periods: [] }],
    ['periods.0.to', hours('09:00', '09:00')],
    ['periods.0.from', hours('9', '21:00')],
    ['from_date', hours('09:00', '21:00', { from_date: '2026-01-01' })],
    ['holidays.0.date', hours('09:00', '21:00', { holidays: [{ date: '2026-13-01' }] })],
  ])('%s', async (field, body) => {
    const answer = await put('FI', body);
    expect(answer.status).toBe(400);
    expect(answer.body.issues.map((issue: { field: string }) => issue.field)).toEqual([field]);
    expect(await changes('FI')).toEqual([]);
  });

  test.each(['ZZ', 'no', 'NOR', '%2A%2A', '47'])('%s is no country', async (country) => {
    const answer = await put(country, hours('09:00', '21:00'));
    expect(answer.status).toBe(404);
    expect(answer.body.detail).toContain('two capital letters');
    expect((await api.call('DELETE', `/v1/legal-hours/${country}`)).status).toBe(404);
  });

  test('to take away what is not there, or what holds for all others', async () => {
    expect((await api.call('DELETE', '/v1/legal-hours/IS')).body).toMatchObject({ status: 404, detail: 'IS has no legal hours of its own' });
    expect((await api.call('DELETE', '/v1/legal-hours/*')).status).toBe(409);
    expect(await inForce('IS')).toMatchObject({ country: '*' });
  });
});

test("those of all others are changed, encoded or not; many changes come in pages", async () => {
  for (const hour of ['09', '10', '11']) expect((await put('%2A', hours(`${hour}:00`, '20:00'))).status).toBe(200);
  expect((await list())[0]).toMatchObject({ country: '*', ...hours('11:00', '20:00') });
  const first = (await api.call('GET', '/v1/legal-hours/*/changes?limit=3')).body;
  const rest = (await api.call('GET', `/v1/legal-hours/*/changes?limit=3&cursor=${first.next}`)).body;
  const opened = [...first.items, ...rest.items].map(({ hours: set }) => set.periods[0].from);
  expect([opened, rest.next]).toEqual([['08:00', '09:00', '10:00', '11:00'], null]);
});

test('two at once: one after the other, both on record', async () => {
  await Promise.all(['07:00', '08:00'].map((from) => put('SE', hours(from, '20:00'))));
  const told = await changes('SE');
  expect(told).toHaveLength(2);
  expect((await inForce('SE')).hours).toEqual(told[1].hours);
});

test("a campaign's own hours: saved with the rules, refused with path and reason", async () => {
  const body = { name: 'Hours', country: 'NO', zone: 'Europe/Oslo', rules: { hours: hours('09:00', '20:00', { to_date: '2099-12-31' }) } };
  const { status, body: campaign } = await api.call('POST', '/v1/campaigns', body);
  expect(status).toBe(201);
  expect(campaign.rules.hours).toEqual({ ...hours('09:00', '20:00'), holidays: [], from_date: null, to_date: '2099-12-31' });
  const patch = (change: object | null) => api.call('PATCH', `/v1/campaigns/${campaign.id}`, { rules: { hours: change } });
  const refused = await patch({ from_date: '2100-01-01' });
  expect(refused.status).toBe(400);
  expect(refused.body.issues).toEqual([{ field: 'rules.hours.to_date', reason: 'is before from_date, 2100-01-01' }]);
  expect((await patch({ from_date: '2026-12-01' })).body.rules.hours.from_date).toBe('2026-12-01');
  expect((await patch(null)).body.rules.hours).toBeNull();
});
