/**
 * The bytes of an upload → its rows as they stand in the file. Only the syntax is judged here; what a row means is in
 * rows.ts. One chunk is held at a time, so the size of the file does not matter.
 */
import { isUtf8 } from 'node:buffer';
import { JSONParser } from '@streamparser/json';
import { parse as csvParser, type CsvError } from 'csv-parse';
import { AppError } from '../../domain/errors.ts';

export const FORMATS = ['csv', 'json', 'ndjson'] as const;
export type Format = (typeof FORMATS)[number];

export interface SourceRow {
  /** Line on which the row begins, from 1; of a JSON array, which item it is. */
  line: number;
  /** The cells of a CSV row (the first row is the header), or a JSON value. */
  value: unknown;
  /** Why the row can't be read, where the next one can be. */
  broken?: string;
}

/** From here on the rows of the file can't be told apart. */
export class Unreadable extends Error {
  readonly line: number;
  constructor(line: number, reason: string) {
    super(reason);
    this.name = 'Unreadable';
    this.line = line;
  }
}

type Chunks = AsyncIterable<Buffer>;
type Batches = AsyncGenerator<SourceRow[]>;

export const MAX_FILE_BYTES = 1_000_000_000;
/** Of one row; also what a quote that is never closed may swallow before it is noticed. */
const MAX_ROW_BYTES = 1_048_576;
const ROW_TOO_LONG = 'is longer than 1 MiB (is a quote or bracket not closed?)';

/** Yields the rows of one chunk at a time. Throws {@link Unreadable}, and AppError TOO_LARGE beyond 1 GB. */
export function readRows(body: AsyncIterable<Uint8Array>, format: Format): Batches {
  const readers = { csv: readCsv, json: readJsonArray, ndjson: readJsonLines };
  return readers[format](utf8(body));
}

// ---- bytes ----------------------------------------------------------------------------------------------------------

const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** Passes UTF-8 on without its byte order mark, cut between characters; anything else ends the reading. */
async function* utf8(body: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let rest = Buffer.alloc(0);
  let line = 1;
  let offset = 0;
  for await (const chunk of body) {
    const bytes = Buffer.concat([rest, chunk]);
    if (offset + bytes.length > MAX_FILE_BYTES) throw new AppError('TOO_LARGE', 'an import may have 1 GB at most');
    const end = endOfCharacters(bytes);
    const whole = bytes.subarray(0, end);
    if (!isUtf8(whole)) throw notUtf8(whole, line, offset);
    yield offset === 0 && whole.subarray(0, 3).equals(BOM) ? whole.subarray(3) : whole;
    line += newlines(whole);
    offset += end;
    rest = bytes.subarray(end);
  }
  if (rest.length > 0) throw notUtf8(rest, line, offset);
}

/** Length without a last character that goes on in the next chunk. */
function endOfCharacters(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    // A lead byte says how many bytes its character has (RFC 3629, section 3).
    if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function newlines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

function notUtf8(bytes: Buffer, line: number, offset: number): Unreadable {
  const at = firstBadByte(bytes);
  const byte = bytes[at]!.toString(16).toUpperCase().padStart(2, '0');
  const where = `byte ${offset + at + 1} of the file (0x${byte})`;
  return new Unreadable(line + newlines(bytes.subarray(0, at)), `${where} is not UTF-8: save the file as UTF-8`);
}

function firstBadByte(bytes: Buffer): number {
  // The decoder puts U+FFFD where it can't go on; one that stands in the file itself is passed over.
  const text = bytes.toString('utf8');
  for (let i = text.indexOf('\uFFFD'); i !== -1; i = text.indexOf('\uFFFD', i + 1)) {
    const at = Buffer.byteLength(text.slice(0, i));
    if (!isUtf8(bytes.subarray(at, at + 3))) return at;
  }
  return bytes.length - 1;
}

// ---- CSV ------------------------------------------------------------------------------------------------------------

/** RFC 4180, with `;` or tab for the comma if the header has more of them, and any kind of line ends. */
async function* readCsv(chunks: Chunks): Batches {
  const [head, body] = await withFirstLine(chunks);
  let batch: SourceRow[] = [];
  const place = new CsvPlace();
  const parser = csvParser({
    delimiter: delimiterOf(head),
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW_BYTES,
    // Rows are taken here and not from the stream, which spares each of them its way through two buffers.
    on_record: (cells: string[]) => {
      batch.push({ line: place.of(cells, parser.info), value: cells });
      return null;
    },
  });
  parser.on('error', () => undefined); // write and end report it
  try {
    for await (const chunk of body) {
      await new Promise<void>((done, failed) => parser.write(chunk, (error) => (error ? failed(error) : done())));
      yield batch;
      batch = [];
    }
    await new Promise<void>((done, failed) => parser.once('error', failed).end(done));
    yield batch;
  } catch (error) {
    yield batch;
    throw csvFailure(error, place.next(parser.info));
  }
}

/** The file from its beginning again, with its first line known. */
async function withFirstLine(chunks: Chunks): Promise<[string, Chunks]> {
  const iterator = chunks[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    head = Buffer.concat([head, next.value]);
    if (/[\r\n]/.test(head.toString('latin1')) || head.length > MAX_ROW_BYTES) break;
  }
  const [line = ''] = head.toString('utf8').split(/[\r\n]/, 1);
  const all = async function* (): AsyncGenerator<Buffer> {
    try {
      yield head;
      yield* { [Symbol.asyncIterator]: () => iterator };
    } finally {
      await iterator.return?.(); // whoever stops at the first line ends the upload too
    }
  };
  return [line, all()];
}

function delimiterOf(header: string): string {
  const bare = header.replace(/"[^"]*"/g, '');
  const count = (delimiter: string) => bare.split(delimiter).length;
  return [',', ';', '\t'].reduce((best, delimiter) => (count(delimiter) > count(best) ? delimiter : best));
}

/**
 * Where rows begin. The parser counts the lines up to a row's end, and a CRLF inside quotes twice; so the line breaks of
 * a row are counted here wherever it has moved on by more than one line.
 */
class CsvPlace {
  #end = 0;
  #lines = 0;
  #empty = 0;

  /** The line on which the next row begins. */
  next(info: { empty_lines: number }): number {
    return this.#end + 1 + info.empty_lines - this.#empty;
  }

  /** The line on which this row, the next one, began. */
  of(cells: string[], info: { lines: number; empty_lines: number }): number {
    const begin = this.next(info);
    const breaks = info.lines === this.#lines + 1 ? 0 : (cells.join('').match(/\r\n|\r|\n/g)?.length ?? 0);
    this.#end = begin + breaks;
    this.#lines = info.lines;
    this.#empty = info.empty_lines;
    return begin;
  }
}

const QUOTE_INSIDE =
  'has a quote where none may be: put the whole cell in quotes and write each quote inside it twice (RFC 4180)';
const CSV_REASONS: Readonly<Record<string, string>> = {
  INVALID_OPENING_QUOTE: QUOTE_INSIDE,
  CSV_INVALID_CLOSING_QUOTE: QUOTE_INSIDE,
  CSV_QUOTE_NOT_CLOSED: 'opens a quote that is never closed',
  CSV_MAX_RECORD_SIZE: ROW_TOO_LONG,
};

function csvFailure(error: unknown, line: number): unknown {
  // Not the parser's own message: it quotes the cell.
  const reason = CSV_REASONS[(error as CsvError).code];
  return reason === undefined ? error : new Unreadable(line, reason);
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

async function* readJsonLines(chunks: Chunks): Batches {
  let read = 0;
  const numbered = (lines: string[]) =>
    lines.map((text, i) => ({ line: read + i + 1, text })).filter(({ text }) => text.trim() !== '');
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop()!;
    if (rest.length > MAX_ROW_BYTES) throw new Unreadable(read + lines.length + 1, ROW_TOO_LONG);
    yield numbered(lines).map(jsonLine);
    read += lines.length;
  }
  yield numbered([rest]).map(jsonLine);
}

function jsonLine({ line, text }: { line: number; text: string }): SourceRow {
  try {
    return { line, value: JSON.parse(text) as unknown };
  } catch {
    return { line, value: null, broken: 'is not well-formed JSON' };
  }
}

/** The parser takes a U+FEFF that begins a piece for a byte order mark, and drops it: in a text it is a character like others. */
const marksEscaped = (chunk: Buffer): Buffer =>
  chunk.includes(BOM) ? Buffer.from(chunk.toString('utf8').replaceAll('\ufeff', '\\ufeff')) : chunk;

async function* readJsonArray(chunks: Chunks): Batches {
  let batch: SourceRow[] = [];
  let items = 0;
  let begun = false;
  let unfinished = 0;
  const parser = new JSONParser({ paths: ['$.*'], keepStack: false });
  parser.onValue = ({ value }) => void batch.push({ line: ++items, value });
  for await (const chunk of chunks) {
    const first: string | undefined = begun ? undefined : /[^ \t\r\n]/.exec(chunk.toString('latin1'))?.[0];
    if (first !== undefined && first !== '[') throw new Unreadable(1, 'is not in an array: [{…}, {…}] is expected');
    begun ||= first !== undefined;
    try {
      parser.write(marksEscaped(chunk));
    } catch {
      yield batch;
      throw new Unreadable(items + 1, 'is not well-formed JSON');
    }
    unfinished = batch.length > 0 ? 0 : unfinished + chunk.length;
    if (unfinished > MAX_ROW_BYTES) throw new Unreadable(items + 1, ROW_TOO_LONG);
    yield batch;
    batch = [];
  }
  if (begun && !parser.isEnded) throw new Unreadable(items + 1, 'is missing: the array is not closed');
}
