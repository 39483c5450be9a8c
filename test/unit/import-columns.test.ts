import { describe, expect, it } from 'vitest';
import { columnOf, Columns } from '../../api/imports/columns.ts';
import type { Problem } from '../../api/imports/problems.ts';
import type { Format } from '../../api/imports/read.ts';
import { type ContactRow, createRowReader } from '../../api/imports/rows.ts';
import { AppError } from '../../domain/errors.ts';

/** What is wrong, as `field reason`. */
function issuesOf(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof AppError && error.code === 'INVALID') {
      return error.details.issues!.map(({ field, reason }) => `${field} ${reason}`);
    }
    throw error;
  }
  throw new Error('nothing is wrong');
}

const said = (map: string[], ignore: string[] = []) => new Columns({ map, ignore });
const headerIssues = (header: string[], columns = said([])) => issuesOf(() => columns.readHeader(header));

describe('the header', () => {
  it.each([
    ['phone_num', 'phone_num'],
    ['Phone', 'phone_num'],
    ['NUMBER', 'phone_num'],
    [' phone number ', 'phone_num'],
    ['Phone-2', 'phone_2'],
    ['ID', 'external_id'],
    ['External ID', 'external_id'],
    ['TimeZone', 'zone'],
    ['Priority', 'priority'],
    ['VAR1', 'var1'],
    ['var30', 'var30'],
    ['Earliest', 'earliest'],
    ['LATEST', 'latest'],
  ])('%j stands for %s', (name, column) => {
    expect(columnOf(name)).toBe(column);
  });

  it.each(['var0', 'var31', 'var01', 'name', 'constructor', '__proto__', ''])('%j stands for nothing', (name) => {
    expect(columnOf(name)).toBeUndefined();
  });

  it('names every column that is not known, and those that are', () => {
    const allowed =
      'allowed are phone_num, phone_2, external_id, zone, priority, earliest, latest and var1 to var30; ' +
      'to take another one in say map=<one of these>=<its name>, to leave it out ignore=<its name>';
    expect(headerIssues(['phone_num', 'Fornavn', '', 'var31'])).toEqual([
      `line 1, column 2 "Fornavn" is not a known column; ${allowed}`,
      `line 1, column 3 has no name; ${allowed}`,
      `line 1, column 4 "var31" is not a known column; ${allowed}`,
    ]);
  });

  it('has each column once, whatever its name', () => {
    expect(headerIssues(['Phone', 'number', 'var1', 'var1'])).toEqual([
      'line 1, column 2 "number" is the same column as "Phone"',
      'line 1, column 4 "var1" is the same column as "var1"',
    ]);
  });

  it('has the number', () => {
    expect(headerIssues(['external_id', 'phone_2'])[0]).toMatch(/^line 1 has no column phone_num/);
  });
});

describe('a file with names of its own', () => {
  const columns = said(['phone_num=Mobil nr', 'external_id= Kundenr. ', 'var1=Navn', 'var2=a=b'], ['Kommentar', '']);

  it('has the columns that the request says', () => {
    const header = ['Kundenr.', 'MOBIL-NR', 'Navn ', 'a=b', 'kommentar', ' ', 'var3', 'Priority', ''];
    const expected = ['external_id', 'phone_num', 'var1', 'var2', null, null, 'var3', 'priority', null];
    expect(columns.readHeader(header)).toEqual(expected);
  });

  it('may write an accent in another way', () => {
    expect(said(['phone_num=N\u00famero']).of('Nu\u0301mero')).toBe('phone_num');
  });

  it('may give another meaning to a name that is known', () => {
    const other = said(['var1=id', 'external_id=Kunde'], ['number']);
    expect(other.readHeader(['id', 'Kunde', 'number', 'phone'])).toEqual(['var1', 'external_id', null, 'phone_num']);
  });

  it('has every column that was mapped, each once, and no other', () => {
    expect(headerIssues(['Mobil nr', 'mobil nr', 'phone', 'Kundenr.', 'Navn', 'Adresse'], columns)).toEqual([
      'line 1, column 2 "mobil nr" is the same column as "Mobil nr"',
      'line 1, column 3 "phone" is the same column as "Mobil nr"',
      expect.stringMatching(/^line 1, column 6 "Adresse" is not a known column; allowed are .* ignore=<its name>$/),
      'line 1 has no column "a=b", which is mapped to var2',
    ]);
  });

  it('still needs a number', () => {
    expect(headerIssues(['Navn'], said(['var1=Navn']))[0]).toMatch(/^line 1 has no column phone_num/);
    expect(headerIssues(['phone', 'Navn'], said(['var1=Navn'], ['phone']))[0]).toMatch(/^line 1 has no column phone_num/);
  });

  it('says which cells are left out', () => {
    const problems: Problem[] = [];
    const campaign = { country: 'NO', countries: null, own: new Set<string>() };
    const readAll = (format: Format, values: unknown[]) => {
      const read = createRowReader({ format, columns: said(['phone_num=Mobil', 'var1=Navn'], ['Sum']), campaign }, (p) => problems.push(p));
      return values.map((value, i) => read({ line: i + 1, value }) as ContactRow);
    };
    const expected = expect.objectContaining({ phoneNum: '+4722865000', variables: { var1: 'Kari' } }) as ContactRow;
    expect(readAll('csv', [['Sum', 'Navn', 'Mobil'], ['7', 'Kari', '22865000'], ['', '', '']])).toEqual(['blank', expected, 'blank']);
    expect(readAll('json', [{ Mobil: '22865000', sum: {}, Navn: 'Kari' }])).toEqual([expected]);
    expect(readAll('json', [{ Mobil: '22865000', variables: { Navn: 'Kari', Sum: 1 } }])).toEqual([expected]);
    expect(problems).toEqual([]);
    // What is left out is not blank: a line that holds nothing else is no empty one.
    expect(readAll('csv', [['Sum', 'Navn', 'Mobil'], ['7', '', '']])).toEqual(['blank', 'bad']);
    readAll('json', [{ Mobil: '22865000', Adresse: 'x' }]);
    expect(problems.map(({ column }) => column)).toEqual(['phone_num', 'Adresse']);
  });
});

describe('what is said of the columns', () => {
  it.each([
    [['Mobil'], [], /^map "Mobil" is not <column>=<name in the file>/],
    [['phone_num='], [], /^map "phone_num=" is not/],
    [['=Mobil'], [], /^map "=Mobil" begins with none of phone_num, .* and var1 to var30$/],
    [['Mobil=phone_num'], [], /^map "Mobil=phone_num" begins with none of/],
    [['var31=x'], [], /^map "var31=x" begins with none of/],
    [['__proto__=x'], [], /^map "__proto__=x" begins with none of/],
    [['phone=x'], [], /^map "phone=x" begins with none of/],
    [['var1=a', 'var1=b'], [], /^map "var1=b" is a second column for var1$/],
    [['var1=Navn', 'var2=NAVN'], [], /^map "var2=NAVN" is mapped to var1 already$/],
    [['var1=Navn'], ['navn'], /^ignore "navn" is mapped to var1$/],
  ])('%j, ignoring %j, makes no sense', (map, ignore, expected) => {
    expect(issuesOf(() => said(map, ignore))).toEqual([expect.stringMatching(expected)]);
  });

  it('is told whole', () => {
    expect(issuesOf(() => said(['x', 'var1=Navn', 'y=z'], ['Navn']))).toHaveLength(3);
  });

  it('may leave a column out twice, and one that is not there', () => {
    expect(said([], ['Sum', 'SUM', 'Rest']).readHeader(['phone', 'Sum'])).toEqual(['phone_num', null]);
  });
});
