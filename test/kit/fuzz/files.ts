/** Files for imports: as people's programs write them, and what becomes of them on the way. */
import fc from 'fast-check';
import { stringify } from 'csv-stringify/sync';
import { type Format, FORMATS } from '../../../api/imports/read.ts';

export interface ImportFile {
  format: Format;
  bytes: Buffer;
  /** As it was written, while nothing has happened to it: the cells of each row by column. */
  rows: Record<string, string>[] | null;
}

const texts = fc.oneof(
  { weight: 3, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.constantFrom('a;b,c\td', 'say "hi"', 'two\nlines', 'two\r\nlines', ' ', "=1+1", '\\N', '\\.', 'Åse Bø', '🎈', '\u2028') },
);
const numbers = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 45_000_000, max: 47_999_999 }).map((n) => `+47${n}`) },
  { weight: 2, arbitrary: fc.integer({ min: 40_000_000, max: 40_000_020 }).map((n) => String(n).replace(/(...)(..)(...)/, '$1 $2 $3')) },
  { weight: 1, arbitrary: fc.constantFrom('', '112', '+46 8 505 78 000', 'x', '+4722865000 ', '0047 22 86 50 00', '1e8', '９０００００００') },
);
const COLUMNS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  phone_num: numbers,
  phone_2: fc.oneof(fc.constant(''), numbers),
  external_id: fc.oneof(fc.uuid(), fc.integer({ min: 1, max: 30 }).map((n) => `C-${n}`), texts),
  zone: fc.constantFrom('', 'Europe/Oslo', 'Europe/Stockholm', 'UTC', 'Mars'),
  priority: fc.constantFrom('', '0', '-1000', '1000', '+5', '1001', '1.5'),
  earliest: fc.constantFrom('', '08:00', '9:00', '09:00:00', '24:00'),
  latest: fc.constantFrom('', '20:00', '24:00', '8:00'),
  var1: texts,
  var2: texts,
  var30: texts,
};

const tables = fc
  .subarray(Object.keys(COLUMNS).filter((name) => name !== 'phone_num'), { maxLength: 5 })
  .chain((names) => {
    const columns = ['phone_num', ...names];
    const row = fc.tuple(...columns.map((name) => COLUMNS[name]!));
    return fc.array(row, { minLength: 1, maxLength: 12 }).map((rows) => rows.map((cells) => Object.fromEntries(columns.map((name, i) => [name, cells[i]!]))));
  });

const writtenIn = (formats: readonly Format[]) => fc
  .record({
    rows: tables,
    format: fc.constantFrom(...formats),
    delimiter: fc.constantFrom(',', ';', '\t'),
    lineEnd: fc.constantFrom('\n', '\r\n', '\r'),
    bom: fc.boolean(),
    quoted: fc.boolean(),
    lastEnd: fc.boolean(),
  })
  .map(({ rows, format, bom, ...how }): ImportFile => ({ format, rows, bytes: Buffer.from((bom ? '\ufeff' : '') + WRITERS[format](rows, how)) }));

interface How {
  delimiter: string;
  lineEnd: string;
  quoted: boolean;
  lastEnd: boolean;
}
const WRITERS: Readonly<Record<Format, (rows: Record<string, string>[], how: How) => string>> = {
  csv: (rows, { delimiter, lineEnd, quoted, lastEnd }) => {
    // A line end inside a cell is quoted whichever it is.
    const text = stringify(rows, { header: true, delimiter, record_delimiter: lineEnd, quoted, quoted_match: /[\r\n]/ });
    return lastEnd ? text : text.slice(0, -lineEnd.length);
  },
  json: (rows, { quoted }) => JSON.stringify(rows, null, quoted ? 1 : 0),
  ndjson: (rows, { lastEnd, lineEnd }) => rows.map((row) => JSON.stringify(row)).join(lineEnd.replace(/^\r$/, '\n')) + (lastEnd ? '\n' : ''),
};

// ---- what becomes of them -------------------------------------------------------------------------------------------

type Change = (bytes: Buffer, at: number, much: number) => Buffer;

const INSERTED = [
  ...['"', '""', '"\n', ',', ';', '\t', '\r', '\n', '\r\n', '\0', '\ufeff', '\u2028', '\u0085', '\x1a', "'", '\\', '\\"', '\\N\n', '\\.\n'],
  ...['{', '}', '[', ']', ':', 'null', '{"phone_num": 1e400}', '[[[[', '"\\ud800"', '"\\u0000"', '{"__proto__": {"phone_num": "40000001"}},', '\n\n\n'],
  ...['phone_num', ',phone_num', '=1+1', '+47', '\u202e', '\ufffd', 'é'.normalize('NFD')],
].map((text) => Buffer.from(text));
const BYTES = [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x80], [0xfe, 0xff], [0x00, 0x00]].map((bytes) => Buffer.from(bytes));
const PIECES = [...INSERTED, ...BYTES];

const splice = (bytes: Buffer, from: number, to: number, piece: Uint8Array): Buffer =>
  Buffer.concat([bytes.subarray(0, from), piece, bytes.subarray(to)]);
const recoded = (encoding: 'latin1' | 'utf16le'): Change => (bytes) => Buffer.from(bytes.toString('utf8'), encoding);

const CHANGES: readonly Change[] = [
  (bytes, at, much) => splice(bytes, at, at + 1, Buffer.from([much % 256])),
  (bytes, at, much) => splice(bytes, at, at + 1, Buffer.from([bytes[at]! ^ (1 << (much % 8))])),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, much) => splice(bytes, at, Math.min(bytes.length, at + 1 + (much % 30)), Buffer.alloc(0)),
  (bytes, at, much) => splice(bytes, at, at, bytes.subarray(at, at + 1 + (much % 60))),
  (bytes, at, much) => splice(bytes, at, at, PIECES[much % PIECES.length]!),
  (bytes, at, much) => splice(bytes, at, at, PIECES[much % PIECES.length]!),
  (bytes, at, much) => splice(bytes, at, at, Buffer.alloc(1 + (much % 3_000), 'x')),
  recoded('latin1'),
  recoded('utf16le'),
  (bytes) => Buffer.concat([Buffer.from([0xff, 0xfe]), recoded('utf16le')(bytes, 0, 0)]),
  (bytes) => Buffer.concat([Buffer.from([0xfe, 0xff]), recoded('utf16le')(bytes, 0, 0).swap16()]),
  (bytes) => Buffer.from(bytes.toString('latin1').replace(/\r\n|\r|\n/g, '\n').replace(/\n/g, '\r\n'), 'latin1'),
  (bytes, at) => Buffer.from(bytes.toString('latin1').replace(/\n/g, (end, place: number) => (place > at ? '\r' : end)), 'latin1'),
  (bytes, at) => Buffer.from(bytes.toString('latin1').replace(/phone_num|var1|external_id/, (name) => ['Mobile', 'phone', 'PHONE NUM', '', ' '][at % 5] ?? name), 'latin1'),
];

const changes = fc.array(fc.tuple(fc.constantFrom(...CHANGES), fc.nat(), fc.nat()), { minLength: 1, maxLength: 3 });

const changed = (formats: readonly Format[]) => fc.tuple(writtenIn(formats), changes).map(([file, list]): ImportFile => {
  const bytes = list.reduce((bytes, [change, at, much]) => (bytes.length === 0 ? bytes : change(bytes, at % bytes.length, much)), file.bytes);
  return { format: file.format, bytes, rows: null };
});

/** One file in eight is as it was written. */
export const importFiles = (formats: readonly Format[] = FORMATS): fc.Arbitrary<ImportFile> => fc
  .oneof({ weight: 1, arbitrary: writtenIn(formats) }, { weight: 7, arbitrary: changed(formats) })
  .map((file) => Object.assign(file, { [fc.toStringMethod]: () => `${file.format} in base64: ${file.bytes.toString('base64')}\n${JSON.stringify(file.bytes.toString('latin1').slice(0, 800))}` }));
