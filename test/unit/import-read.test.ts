import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type Format, readRows, type SourceRow, Unreadable } from '../../api/imports/read.ts';

/** The rows of a file that arrives in chunks of `size` bytes. */
async function read(file: string | Buffer, format: Format, size = 65_536): Promise<SourceRow[]> {
  const bytes = Buffer.from(file as string);
  const count = Math.ceil(bytes.length / size);
  const chunks = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
  const rows: SourceRow[] = [];
  for await (const batch of readRows(Readable.from(chunks), format)) rows.push(...batch);
  return rows;
}

async function failure(file: string | Buffer, format: Format, size?: number): Promise<{ line: number; reason: string }> {
  const error = await read(file, format, size).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof Unreadable)) throw new Error('was read', { cause: error });
  return { line: error.line, reason: error.message };
}

const csv = (file: string | Buffer, size?: number) => read(file, 'csv', size);
const cells = async (file: string, size?: number) => (await csv(file, size)).map((row) => row.value);
const lines = async (file: string, size?: number) => (await csv(file, size)).map((row) => row.line);

describe('CSV', () => {
  const table = [
    ['phone_num', 'var1', 'var2'],
    ['+4722865000', 'Åse', 'Bø 🎈'],
  ];

  it.each([
    ['comma', ','],
    ['semicolon', ';'],
    ['tab', '\t'],
  ])('is read with a %s between the cells', async (_name, delimiter) => {
    const file = table.map((row) => row.join(delimiter)).join('\n');
    expect(await cells(file)).toEqual(table);
  });

  it('takes the delimiter from the header, not from what is in quotes or in the rows', async () => {
    expect(await cells('phone_num;"a,b,c,d"\n1,2,3,4;5')).toEqual([
      ['phone_num', 'a,b,c,d'],
      ['1,2,3,4', '5'],
    ]);
    expect(await cells('phone_num\n22;86;50')).toEqual([['phone_num'], ['22;86;50']]);
  });

  it.each(['\n', '\r\n', '\r'])('knows line ends %j, with and without a last one', async (end) => {
    expect(await cells(`a,b${end}1,2${end}3,4`)).toEqual([['a', 'b'], ['1', '2'], ['3', '4']]);
    expect(await lines(`a,b${end}1,2${end}3,4${end}`)).toEqual([1, 2, 3]);
  });

  it('knows line ends that are mixed', async () => {
    expect(await cells('a,b\r\n1,2\n3,4\r\n')).toEqual([['a', 'b'], ['1', '2'], ['3', '4']]);
  });

  it('leaves out a byte order mark and empty lines', async () => {
    expect(await csv('\uFEFFa,b\n\n1,2\n\n\n3,4\n')).toEqual([
      { line: 1, value: ['a', 'b'] },
      { line: 3, value: ['1', '2'] },
      { line: 6, value: ['3', '4'] },
    ]);
  });

  it('reads quotes, with delimiters, quotes and line breaks inside', async () => {
    expect(await cells('a;b\n"1;2";"say ""hi"""\n"line 1\nline 2";x')).toEqual([
      ['a', 'b'],
      ['1;2', 'say "hi"'],
      ['line 1\nline 2', 'x'],
    ]);
  });

  it.each(['\n', '\r\n'])('names the line on which a row begins, whatever is quoted before it (%j)', async (end) => {
    const file = ['a,b', `"1${end}${end}2",x`, '', '3,4', `5,"6${end}7"`, '8,9'].join(end);
    expect(await lines(file)).toEqual([1, 2, 6, 7, 9]);
    expect(await lines(file, 3)).toEqual([1, 2, 6, 7, 9]);
  });

  it('is the same in chunks of one byte, characters cut in pieces', async () => {
    const file = '\uFEFFnavn;b\r\n"Åse; 🎈\r\nBø";"€"\r\nx;y\r\n';
    expect(await csv(file, 1)).toEqual(await csv(file));
    expect(await cells(file, 1)).toEqual([['navn', 'b'], ['Åse; 🎈\r\nBø', '€'], ['x', 'y']]);
  });

  it.each([
    ['1,2\n3,4"5\n6,7', 3, 'has a quote where none may be'],
    ['1,2\n\n"3" 4,5\n', 4, 'has a quote where none may be'],
    ['1,2\n"3,4\n5,6\n', 3, 'opens a quote that is never closed'],
  ])('can not be read on after a quote that is wrong: %j', async (rows, line, reason) => {
    const found = await failure(`a,b\n${rows}`, 'csv');
    expect(found.line).toBe(line);
    expect(found.reason).toContain(reason);
  });

  it('stops at a quote that swallows a megabyte', async () => {
    const found = await failure(`a\n1\n"${'x\n'.repeat(700_000)}`, 'csv');
    expect(found).toEqual({ line: 3, reason: expect.stringContaining('longer than 1 MiB') as string });
  });

  it('is nothing if it is empty', async () => {
    expect(await csv('')).toEqual([]);
    expect(await csv('\uFEFF')).toEqual([]);
  });
});

describe('what is not UTF-8', () => {
  const latin1 = Buffer.from('navn;tlf\nKåre;1\nÅse;2\n', 'latin1');

  it.each([1, 5, 65_536])('is refused with line and byte (chunks of %i)', async (size) => {
    expect(await failure(latin1, 'csv', size)).toEqual({
      line: 2,
      reason: 'byte 11 of the file (0xE5) is not UTF-8: save the file as UTF-8',
    });
  });

  it('is found behind a replacement character that stands in the file itself', async () => {
    const file = Buffer.concat([Buffer.from('a\n\uFFFD\n'), Buffer.from([0xff])]);
    expect(await failure(file, 'ndjson')).toMatchObject({ line: 3, reason: expect.stringContaining('byte 7 ') as string });
  });

  it('is found in a last character that is cut off', async () => {
    const file = Buffer.from('a\nÅ').subarray(0, 3);
    expect(await failure(file, 'csv')).toMatchObject({ line: 2, reason: expect.stringContaining('byte 3 ') as string });
  });

  it('is UTF-16 as spreadsheets write it', async () => {
    const file = Buffer.from('\uFEFFphone_num\n', 'utf16le');
    expect(await failure(file, 'csv')).toMatchObject({ line: 1, reason: expect.stringContaining('(0xFF)') as string });
  });
});

describe('what is wrong', () => {
  it.each<[Format, string]>([
    ['csv', 'a\n1\n2\n3"\n4\n'],
    ['json', '[{"a":1},{"a":2},{"a":3},{"a":}]'],
  ])('does not keep the rows before it back: %s', async (format, file) => {
    let rows = 0;
    const reading = (async () => {
      for await (const batch of readRows(Readable.from([Buffer.from(file)]), format)) rows += batch.length;
    })();
    await expect(reading).rejects.toThrow(Unreadable);
    expect(rows).toBe(3);
  });
});

describe('JSON lines', () => {
  it('are read one by one, blank lines left out', async () => {
    const file = '\uFEFF{"a":1}\r\n\n{"b":"Å\\n"}\n  \n{"c":null}';
    const rows = [
      { line: 1, value: { a: 1 } },
      { line: 3, value: { b: 'Å\n' } },
      { line: 5, value: { c: null } },
    ];
    expect(await read(file, 'ndjson')).toEqual(rows);
    expect(await read(file, 'ndjson', 1)).toEqual(rows);
  });

  it('may be broken one by one', async () => {
    expect(await read('{"a":1}\n{"a":\n{"a":3}\n', 'ndjson')).toEqual([
      { line: 1, value: { a: 1 } },
      { line: 2, value: null, broken: 'is not well-formed JSON' },
      { line: 3, value: { a: 3 } },
    ]);
  });

  it('have an end', async () => {
    expect(await failure(`{}\n{"a":"${'x'.repeat(1_100_000)}`, 'ndjson')).toMatchObject({ line: 2 });
  });
});

describe('a JSON array', () => {
  it('is read item by item, in chunks of any size', async () => {
    const file = '\uFEFF \n[ {"a": 1, "b": {"c": [1, "]"]}},\n {"a": "Å 🎈 \\" \\u00e5"} ] \n';
    const rows = [
      { line: 1, value: { a: 1, b: { c: [1, ']'] } } },
      { line: 2, value: { a: 'Å 🎈 " å' } },
    ];
    expect(await read(file, 'json')).toEqual(rows);
    expect(await read(file, 'json', 1)).toEqual(rows);
  });

  it('may be empty', async () => {
    expect(await read('[]', 'json')).toEqual([]);
    expect(await read('', 'json')).toEqual([]);
  });

  it.each([
    ['{"phone_num":"1"}', 1, 'is not in an array'],
    ['"phone_num"', 1, 'is not in an array'],
    ['[{"a":1},{"a":}]', 2, 'is not well-formed JSON'],
    ['[{"a":1},]', 2, 'is not well-formed JSON'],
    ['[{"a":1}] [', 2, 'is not well-formed JSON'],
    ['[{"a":1},{"a":2}', 3, 'the array is not closed'],
    ['[{"a":1},{"a":', 2, 'the array is not closed'],
  ])('ends where it is wrong: %s', async (file, item, reason) => {
    const found = await failure(file, 'json');
    expect(found).toEqual({ line: item, reason: expect.stringContaining(reason) as string });
  });

  it('has no item without end', async () => {
    expect(await failure(`[{},{"a":"${'x'.repeat(1_200_000)}"}]`, 'json')).toMatchObject({ line: 2 });
    const big = JSON.stringify(Array.from({ length: 3000 }, () => ({ a: 'x'.repeat(1000) })));
    expect(await read(big, 'json')).toHaveLength(3000);
  });
});
