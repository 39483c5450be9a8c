import { createReadStream } from 'node:fs';
import path from 'node:path';
import { parsePhoneNumberFromString } from 'libphonenumber-js/max';
import { describe, expect, it } from 'vitest';
import { Columns } from '../../api/imports/columns.ts';
import type { Problem } from '../../api/imports/problems.ts';
import { readRows } from '../../api/imports/read.ts';
import { type ContactRow, createRowReader } from '../../api/imports/rows.ts';
import { demoList as demo } from '../../dev/demo.ts';

const SAMPLE = path.resolve(import.meta.dirname, '../../samples/contacts.csv');

async function readSample(): Promise<{ rows: ContactRow[]; problems: Problem[] }> {
  const problems: Problem[] = [];
  const columns = new Columns({ map: [], ignore: [] });
  const campaign = { country: demo.country, countries: demo.countries!, own: new Set<string>() };
  const readRow = createRowReader({ format: 'csv', columns, campaign }, (problem) => problems.push(problem));
  const rows: ContactRow[] = [];
  for await (const batch of readRows(createReadStream(SAMPLE), 'csv')) {
    for (const source of batch) {
      const row = readRow(source);
      if (typeof row === 'object') rows.push(row);
    }
  }
  return { rows, problems };
}

describe('samples/contacts.csv', () => {
  it('is a list that the demo takes whole, with all that real lists have', async () => {
    const { rows, problems } = await readSample();
    expect(problems).toEqual([]);
    expect(rows.length).toBeGreaterThanOrEqual(500);
    expect(new Set(rows.map((row) => row.listKey)).size).toBe(rows.length);
    const numbers = rows.flatMap((row) => [row.phoneNum!, row.phone2]).filter((number) => number !== null);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(new Set(numbers.map((number) => parsePhoneNumberFromString(number)!.country)).size).toBeGreaterThanOrEqual(5);
    expect(new Set(rows.map((row) => row.zone)).size).toBeGreaterThanOrEqual(5);
    for (const has of [
      (row: ContactRow) => row.phone2 !== null,
      (row: ContactRow) => row.zone === null,
      (row: ContactRow) => row.priority !== 0,
      (row: ContactRow) => /[åøæö]/.test(row.variables.var1!),
      (row: ContactRow) => Object.values(row.variables).some((value) => value.includes('\n')),
      (row: ContactRow) => Object.values(row.variables).some((value) => value.includes(';')),
    ]) {
      expect(rows.filter(has).length).toBeGreaterThan(10);
    }
  });
});
