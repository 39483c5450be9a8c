/** Order and filter, which PostgreSQL carries out, against what docs/domain.md says of them; with random lists and rules. */
import fc from 'fast-check';
import type { Pool } from 'pg';
import type { z } from 'zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filterSchema, orderSchema } from '../../domain/order.ts';
import { createPool } from '../../prisma/client.ts';
import { freshDatabase } from '../kit/database.ts';

interface Row {
  variables: Record<string, string>;
  priority: number;
  /** ISO 8601 */
  created: string;
}
type Key = z.output<typeof orderSchema>[number];

let pool: Pool;
beforeAll(async () => {
  pool = createPool(await freshDatabase(), { max: 2 });
});
afterAll(() => pool?.end());

const letters = fc.string({ unit: fc.constantFrom('a', 'B', 'b', 'z', 'Æ', 'æ', 'Ö', 'ö', 'é', '😀', ' ', '0', '7', ',', '-'), maxLength: 4 });
const figures = fc.oneof(
  fc.integer({ min: -1_500, max: 1_500 }).map(String),
  fc.tuple(fc.integer({ min: -30, max: 30 }), fc.nat(99)).map(([whole, part]) => `${whole},${String(part).padStart(2, '0')}`),
  fc.constantFrom('+5', '-0', '1 000', '1.5', '5e3', '1,2,3', '٣', '.5', '5.'),
);
const value = fc.oneof(letters, figures);
const row: fc.Arbitrary<Row> = fc.record({
  variables: fc.dictionary(fc.constantFrom('var1', 'var2', 'var3'), value, { maxKeys: 3 }),
  priority: fc.integer({ min: -3, max: 3 }),
  created: fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z', '2030-06-01T12:00:00.000Z'),
});
const key = fc.record(
  {
    by: fc.constantFrom('var1', 'var2', 'var3', 'priority', 'created'),
    direction: fc.constantFrom('asc', 'desc'),
    as: fc.constantFrom('text', 'number'),
  },
  { requiredKeys: ['by'] },
);
const order = fc.uniqueArray(key, { selector: ({ by }) => by, maxLength: 3 }).map((keys) => orderSchema.parse(keys));

describe('the order of the queue', () => {
  it('is by each key in turn, who has no value last', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 2, maxLength: 12 }), order, async (rows, keys) => {
        const bytes = await sortKeys(rows, keys);
        for (const [i, a] of rows.entries()) {
          for (const [j, b] of rows.entries()) {
            const [asSorted, asSaid] = [Math.sign(Buffer.compare(bytes[i]!, bytes[j]!)), compare(a, b, keys)];
            expect(asSorted, `${JSON.stringify(a)} ${JSON.stringify(b)}`).toBe(asSaid);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('is by the first 100 characters of a text', async () => {
    const text = (end: string): Row => ({ variables: { var1: 'x'.repeat(100) + end }, priority: 0, created: '2026-01-01T00:00:00Z' });
    const [a, b] = await sortKeys([text('a'), text('b')], orderSchema.parse([{ by: 'var1' }]));
    expect(a).toEqual(b);
  });
});

async function sortKeys(rows: Row[], keys: Key[]): Promise<Buffer[]> {
  const found = await pool.query<{ bytes: Buffer }>(
    `SELECT contact_sort_key(variables, priority, created, $2) AS bytes
     FROM ROWS FROM (jsonb_to_recordset($1) AS (variables jsonb, priority int, created timestamptz)) WITH ORDINALITY AS r (variables, priority, created, n)
     ORDER BY n`,
    [JSON.stringify(rows), JSON.stringify(keys)],
  );
  return found.rows.map(({ bytes }) => bytes);
}

/** -1, 0 or 1 */
function compare(a: Row, b: Row, keys: Key[]): number {
  const byPriority: Key = { by: 'priority', direction: 'desc', as: 'text' };
  for (const sortKey of keys.some(({ by }) => by === 'priority') ? keys : [byPriority, ...keys]) {
    const [one, other] = [valueOf(a, sortKey), valueOf(b, sortKey)];
    if (one === null && other === null) continue;
    if (one === null || other === null) return one === null ? 1 : -1;
    const by = typeof one === 'number' ? Math.sign(one - (other as number)) : Math.sign(Buffer.compare(one, other as Buffer));
    if (by !== 0) return sortKey.direction === 'desc' ? -by : by;
  }
  return 0;
}

const normal = (text: string): string => text.replace(/^ +| +$/g, '').toLowerCase();

function valueOf({ variables, priority, created }: Row, { by, as }: Key): number | Buffer | null {
  if (by === 'priority') return priority;
  if (by === 'created') return Date.parse(created);
  const text = normal(variables[by] ?? '');
  if (as === 'text') return text === '' ? null : Buffer.from(text);
  const figure = text.replaceAll(' ', '').replaceAll(',', '.');
  return /^[+-]?[0-9]{1,15}(\.[0-9]{1,15})?$/.test(figure) ? Number(figure) : null;
}

describe('the filter', () => {
  const word = fc.constantFrom('', 'Oslo', 'oslo ', 'BERGEN', 'Ås', 'ås', 'ÖL', 'x');
  const condition = fc.record({
    variable: fc.constantFrom('var1', 'var2', 'var3'),
    values: fc.array(word, { minLength: 1, maxLength: 3 }),
  });
  const conditions = fc.array(condition, { maxLength: 2 });

  it('lets in whom every condition of include and none of exclude is true of', async () => {
    const variables = fc.dictionary(fc.constantFrom('var1', 'var2', 'var3'), word, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(variables, conditions, conditions, async (of, include, exclude) => {
        const filter = filterSchema.safeParse({ include, exclude });
        fc.pre(filter.success); // one that lets nobody in is refused
        const holds = ({ variable, values }: { variable: string; values: string[] }) =>
          values.some((one) => normal(one) === normal(of[variable] ?? ''));
        const { rows } = await pool.query<{ is: boolean }>(`SELECT contact_included($1, $2) AS is`, [
          of,
          JSON.stringify(filter.data),
        ]);
        expect(rows[0]!.is).toBe(include.every(holds) && !exclude.some(holds));
      }),
      { numRuns: 500 },
    );
  });
});
