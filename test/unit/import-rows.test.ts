import { describe, expect, it } from 'vitest';
import { Columns } from '../../api/imports/columns.ts';
import type { Problem } from '../../api/imports/problems.ts';
import type { Format } from '../../api/imports/read.ts';
import { type ContactRow, createRowReader } from '../../api/imports/rows.ts';
import { NUMBER_PROBLEM_TEXT } from '../../domain/numbers.ts';

const columns = new Columns({ map: [], ignore: [] });
const NORWAY = { country: 'NO', countries: ['NO', 'SE'], own: new Set(['+4722865099']) };

/** Reads CSV rows below a header (lines 2, 3, …), or JSON items (1, 2, …), with the problems found. */
function readAll(header: string[] | null, values: unknown[], format: Format = header ? 'csv' : 'json') {
  const problems: Problem[] = [];
  const readRow = createRowReader({ format, columns, campaign: NORWAY }, (problem) => problems.push(problem));
  if (header) expect(readRow({ line: 1, value: header })).toBe('blank');
  const first = header ? 2 : 1;
  return { rows: values.map((value, i) => readRow({ line: first + i, value })), problems };
}

const csvRow = (header: string[], cells: string[]): ContactRow => {
  const { rows, problems } = readAll(header, [cells]);
  expect(problems).toEqual([]);
  return rows[0] as ContactRow;
};

/** The one problem of a row, as `[column, reason]`. */
function problemOf(header: string[], cells: string[]): [string | null, string] {
  const { problems } = readAll(header, [cells]);
  expect(problems).toHaveLength(1);
  const { field, line, column, reason } = problems[0]!;
  expect(line).toBe(2);
  expect(field).toBe(column === null ? 'line 2' : `line 2, ${column}`);
  return [column, reason];
}

const PLAIN = {
  line: 2,
  listKey: '+4722865000',
  externalId: null,
  phoneNum: '+4722865000',
  phone2: null,
  variables: {},
  zone: null,
  priority: 0,
  earliest: null,
  latest: null,
};

describe('a row', () => {
  it('needs no more than a number', () => {
    expect(csvRow(['phone_num'], ['22 86 50 00'])).toEqual(PLAIN);
  });

  it('may say everything', () => {
    const header = ['var2', 'external_id', 'phone', 'phone_2', 'timezone', 'priority', 'earliest', 'Latest', 'var1'];
    const numbers = ['+47 22 86 50 00', '0046 8 505 78 000'];
    const cells = [' two ', ' C-1 ', ...numbers, ' Europe/Oslo ', '-10', ' 17:30', '08:00 ', 'Åse "Bø"\n'];
    expect(csvRow(header, cells)).toEqual({
      line: 2,
      listKey: 'C-1',
      externalId: 'C-1',
      phoneNum: '+4722865000',
      phone2: '+46850578000',
      variables: { var2: ' two ', var1: 'Åse "Bø"\n' },
      zone: 'Europe/Oslo',
      priority: -10,
      earliest: '17:30',
      latest: '08:00',
    });
  });

  it('may leave everything else blank', () => {
    const header = ['phone_num', 'phone_2', 'external_id', 'zone', 'priority', 'earliest', 'latest', 'var1'];
    expect(csvRow(header, ['22865000', '', ' ', '', ' ', '', ' ', ' '])).toEqual(PLAIN);
  });

  it('has no second number that is the first', () => {
    expect(csvRow(['phone_num', 'phone_2'], ['22865000', '+47 22 86 50 00']).phone2).toBeNull();
  });

  it.each([
    ['08:30', '08:30'],
    ['8:30', '08:30'],
    ['08:30:00', '08:30'],
    ['8:30:00', '08:30'],
    ['00:00', '00:00'],
    ['23:59', '23:59'],
  ])('may be called from %j on', (written, earliest) => {
    expect(csvRow(['phone_num', 'earliest'], ['22865000', written])).toEqual({ ...PLAIN, earliest });
    expect(csvRow(['phone_num', 'latest'], ['22865000', written])).toEqual({ ...PLAIN, latest: earliest });
  });

  it('is none when all its cells are blank', () => {
    expect(readAll(['phone_num', 'var1'], [['', ' '], [''], ['', '', '']])).toEqual({
      rows: ['blank', 'blank', 'blank'],
      problems: [],
    });
  });
});

describe('a bad row', () => {
  const header = ['external_id', 'phone_num', 'phone_2', 'zone', 'priority', 'var1'];
  const good = ['C-1', '22865000', '', '', '', ''];
  const withCell = (column: string, value: string) => good.map((cell, i) => (header[i] === column ? value : cell));

  it.each([
    ['phone_num', '', 'is missing'],
    ['phone_num', 'Kari', 'is not a phone number'],
    ['phone_num', '1', 'is not a phone number'],
    ['phone_num', '+47 123', NUMBER_PROBLEM_TEXT.short_number],
    ['phone_num', '112', NUMBER_PROBLEM_TEXT.short_number],
    ['phone_num', '22 86 50 99', NUMBER_PROBLEM_TEXT.own_number],
    ['phone_num', '+45 32 12 34 56', NUMBER_PROBLEM_TEXT.country_not_allowed],
    ['phone_2', '+45 32 12 34 56', NUMBER_PROBLEM_TEXT.country_not_allowed],
    ['phone_num', '22 86 50 0', 'is not a valid number of its country'],
    ['phone_num', '829 00 000', 'is a premium-rate, shared-cost or service number, which is never dialled'],
    ['phone_2', '22 86', 'is not a valid number of its country'],
    ['zone', 'Norway/Oslo', 'is not an IANA time zone such as Europe/Oslo'],
    ['zone', '+01:00', 'is not an IANA time zone such as Europe/Oslo'],
    ['priority', '1001', 'is not a whole number from -1000 to 1000'],
    ['priority', '-1001', 'is not a whole number from -1000 to 1000'],
    ['priority', '1.5', 'is not a whole number from -1000 to 1000'],
    ['priority', 'high', 'is not a whole number from -1000 to 1000'],
    ['external_id', 'x'.repeat(201), 'is longer than 200 characters'],
    ['external_id', 'a\0b', 'contains NUL or a broken character'],
    ['var1', 'x'.repeat(1001), 'is longer than 1000 characters'],
    ['var1', 'a\0b', 'contains NUL or a broken character'],
  ])('says so of %s %j', (column, value, reason) => {
    expect(problemOf(header, withCell(column, value))).toEqual([column, reason]);
  });

  it.each(['24:00', '08:60', '8', '0830', '8.30', '08:30:15', '-1:00', '008:30', 'noon', '08:30 pm'])(
    'says so of the time %j',
    (written) => {
      for (const column of ['earliest', 'latest']) {
        expect(problemOf(['phone_num', column], ['22865000', written])).toEqual([column, 'is not a time of day such as 08:30']);
      }
    },
  );

  it('says so of a day without a time to call', () => {
    const [column, reason] = problemOf(['phone_num', 'earliest', 'latest'], ['22865000', '8:00', '08:00']);
    expect([column, reason]).toEqual(['latest', expect.stringContaining('is the same as earliest')]);
  });

  it.each([
    ['too many', [...good, ''], 'has 7 cells, the header has 6'],
    ['too few', good.slice(1), 'has 5 cells, the header has 6'],
  ])('has %s cells', (_name, cells, reason) => {
    expect(problemOf(header, cells)).toEqual([null, reason]);
  });

  it.each([
    ['priority', '1000', { priority: 1000 }],
    ['priority', '+5', { priority: 5 }],
    ['external_id', 'x'.repeat(200), { listKey: 'x'.repeat(200) }],
    ['var1', 'x'.repeat(1000), { variables: { var1: 'x'.repeat(1000) } }],
  ])('is not one with %s %j', (column, value, expected) => {
    expect(csvRow(header, withCell(column, value))).toMatchObject(expected);
  });

  it('says everything that is wrong', () => {
    const { problems } = readAll(header, [['C-1', 'x', 'y', 'z', 'p', 'v'.repeat(1001)]]);
    expect(problems.map((problem) => problem.column)).toEqual(['var1', 'phone_num', 'phone_2', 'zone', 'priority']);
  });

  it('keeps its key, if that can be read, and no number', () => {
    const { rows } = readAll(['id', 'phone', 'phone_2'], [['C-1', 'x', ''], ['', '22865000', 'x'], ['', 'x', '']]);
    expect(rows).toEqual([
      expect.objectContaining({ listKey: 'C-1', phoneNum: null }),
      expect.objectContaining({ listKey: '+4722865000', phoneNum: null }),
      'bad',
    ]);
  });
});

describe('a JSON row', () => {
  it('is like a CSV row, under the same names', () => {
    const { rows, problems } = readAll(null, [
      { External_ID: 17, Phone: '22865000', phone_2: null, priority: 5, var1: 'Åse', var2: 12.5, var3: true, var4: '' },
    ]);
    expect(problems).toEqual([]);
    expect(rows[0]).toEqual({
      ...PLAIN,
      line: 1,
      listKey: '17',
      externalId: '17',
      priority: 5,
      variables: { var1: 'Åse', var2: '12.5', var3: 'true' },
    });
  });

  it('may have its variables in an object of their own, as the API gives them', () => {
    const { rows, problems } = readAll(null, [{ phone_num: '22865000', variables: { var1: 'a', var2: 'b' } }]);
    expect(problems).toEqual([]);
    expect(rows[0]).toMatchObject({ variables: { var1: 'a', var2: 'b' } });
  });

  it.each<[string, unknown, string | null, string]>([
    ['no object', 'x', null, 'is not an object'],
    ['an array', [1], null, 'is not an object'],
    ['null', null, null, 'is not an object'],
    ['an unknown field', { phone: '22865000', Fornavn: 'x' }, 'Fornavn', 'is not a known field; allowed are phone_num'],
    ['a field twice', { phone: '22865000', number: '22865000' }, 'phone_num', 'is given twice, under two names'],
    ['an object', { phone: '22865000', var1: {} }, 'var1', 'is not a text, a number or true/false'],
    ['variables within variables', { phone: '22865000', variables: { variables: {} } }, 'variables', 'is not a known field'],
    ['half a surrogate pair', { phone: '22865000', var1: '\ud83c' }, 'var1', 'contains NUL or a broken character'],
    ['a number that is none', { phone: 12345 }, 'phone_num', 'is not a valid number of its country'],
  ])('is bad with %s', (_name, value, column, reason) => {
    const { problems } = readAll(null, [value]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ line: 1, column, field: column === null ? 'item 1' : `item 1, ${column}` });
    expect(problems[0]!.reason).toContain(reason);
  });

  it('is named by its line where it has one of its own', () => {
    const { problems } = readAll(null, [{ phone: 'x' }], 'ndjson');
    expect(problems[0]!.field).toBe('line 1, phone_num');
  });

  it('may be broken as a whole', () => {
    const problems: Problem[] = [];
    const readRow = createRowReader({ format: 'ndjson', columns, campaign: NORWAY }, (problem) => problems.push(problem));
    expect(readRow({ line: 7, value: null, broken: 'is not well-formed JSON' })).toBe('bad');
    expect(problems).toEqual([{ field: 'line 7', reason: 'is not well-formed JSON', line: 7, column: null }]);
  });
});
