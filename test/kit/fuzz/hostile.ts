/** What nobody should send, and values spoilt by it. */
import fc from 'fast-check';

/** JSON that `JSON.stringify` would not write. */
class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const LENGTHS = [33, 41, 65, 101, 201, 257, 1_001, 4_001, 70_000];

export const hostileTexts: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    ...['', ' ', '\0', 'a\0b', '\ud800', 'x\udc00', '\ufeff', '\u202eabc', '\r\n', '\t', '"', "'", '\\', '`'],
    ...['__proto__', 'constructor', 'toString', 'null', 'undefined', 'true', 'NaN', 'Infinity', '[object Object]'],
    ...['0', '-0', '-1', '1e3', '0x10', '1.5', '٣', '007', '2147483648', '9223372036854775807', '9223372036854775808', '9'.repeat(40)],
    ...["'; DROP TABLE contact; --", '${7*7}', '%', '%00', '%s', '../../etc/passwd', '..', '.', '/', '<script>', '=1+1', 'a,b', '{a,b}'],
    ...['+47', '+', '+4799999999999999', '112', 'tel:+4722865000', '22865000;ext=1', '+47 22 86 50 26'],
    ...['1970-01-01T00:00:00Z', '0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999Z', '2030-02-30T00:00:00Z', '2030-01-01T00:00Z'],
    ...['2030-01-01T00:00:00.00000000000000001Z', '2030-01-01T00:00:00+23:59', '2030-01-01', '0000-01-01', '9999-12-31', '24:00', '00:00'],
    ...['Europe/Oslo\0', 'europe/oslo', 'Etc/GMT+12', 'UTC', 'posixrules', 'Factory', 'EST5EDT', '+01:00', '*', 'ZZ', 'no', 'AC'],
    ...['http://127.0.0.1/', 'https://[::1]/', 'https://user:pass@example.org', 'file:///etc/passwd', 'https://example.org:0/', 'https://xn--/'],
  ),
  fc.constantFrom(...LENGTHS).map((length) => 'x'.repeat(length)),
  fc.string({ unit: 'binary', maxLength: 30 }),
);

const hostileValues: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: hostileTexts },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      ...[null, true, false, 0, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e21, 1e308, [], {}, [[]], [null], { '': '' }],
      ...['1e400', '-0', '0.1e-400', '9223372036854775808', '1'.repeat(400), `${'['.repeat(3_000)}${']'.repeat(3_000)}`].map((text) => new Raw(text)),
      new Raw(`${'{"a":'.repeat(2_000)}1${'}'.repeat(2_000)}`),
      new Raw('{"__proto__": {"a": 1}}'),
      Array.from({ length: 1_500 }, (_, n) => n),
    ),
  },
);

// ---- values ---------------------------------------------------------------------------------------------------------

type Path = (string | number)[];

interface Spoiling {
  /** Which of the value's parts. */
  at: number;
  how: 'replace' | 'remove' | 'add' | 'repeat' | 'wrap';
  by: unknown;
  name: string;
}

const spoilings: fc.Arbitrary<Spoiling> = fc.record({
  at: fc.nat(200),
  how: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'add', 'repeat', 'wrap'),
  by: hostileValues,
  name: fc.oneof(hostileTexts, fc.constantFrom('id', 'state', 'agent_id', 'var31', 'var01')),
});

/** The same value with one to three of its parts spoilt. */
export const spoilt = (values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.tuple(values, fc.array(spoilings, { minLength: 1, maxLength: 3 })).map(([value, list]) => list.reduce(spoil, value));

function spoil(value: unknown, { at, how, by, name }: Spoiling): unknown {
  const paths = partsOf(value);
  const path = paths[at % paths.length]!;
  const change = (part: unknown): unknown => {
    if (how === 'wrap') return [part];
    if (how === 'add' && isObject(part)) return { ...part, [name]: by };
    if (how === 'repeat' && Array.isArray(part)) return [...(part as unknown[]), ...(part as unknown[])];
    return by;
  };
  return at_(value, path, how === 'remove' ? null : change);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Raw);

function partsOf(value: unknown, path: Path = []): Path[] {
  const inner = Array.isArray(value) ? [...(value as unknown[]).entries()].slice(0, 50) : isObject(value) ? Object.entries(value) : [];
  return [path, ...inner.filter(([, part]) => part !== undefined).flatMap(([name, part]) => partsOf(part, [...path, name]))];
}

/** With what is at `path` changed; null: taken away. */
function at_(value: unknown, [name, ...rest]: Path, change: ((part: unknown) => unknown) | null): unknown {
  if (name === undefined) return change ? change(value) : undefined;
  if (Array.isArray(value)) {
    const items = value as unknown[];
    if (rest.length === 0 && !change) return items.filter((_, index) => index !== name);
    return items.map((item, index) => (index === name ? at_(item, rest, change) : item));
  }
  const { [name]: part, ...others } = value as Record<string, unknown>;
  if (rest.length === 0 && !change) return others;
  return { ...others, [name]: at_(part, rest, change) };
}

// ---- texts ----------------------------------------------------------------------------------------------------------

/** As JSON; '' for nothing. */
export function jsonOf(value: unknown): string {
  const raws: string[] = [];
  const mark = (_name: string, part: unknown): unknown => (part instanceof Raw ? `\u0001raw ${raws.push(part.text) - 1}\u0001` : part);
  return (JSON.stringify(value, mark) ?? '').replace(/"\\u0001raw (\d+)\\u0001"/g, (_, n) => raws[Number(n)]!);
}

/** Bodies that are no JSON any more, or not the JSON they were. */
export const spoiltText = (texts: fc.Arbitrary<string>): fc.Arbitrary<Buffer> =>
  fc.tuple(texts, fc.nat(), fc.constantFrom(...TEXT_SPOILINGS)).map(([text, at, spoil]) => spoil(text, text.length === 0 ? 0 : at % text.length));

const TEXT_SPOILINGS: ((text: string, at: number) => Buffer)[] = [
  (text, at) => Buffer.from(text.slice(0, at)),
  (text) => Buffer.from(`\ufeff${text}`),
  (text) => Buffer.from(`${text}${text}`),
  (text) => Buffer.from(text, 'utf16le'),
  (text) => Buffer.from(text.replace('{', '{"name": "twice", ')),
  (text) => Buffer.from(text.replace('{', "{'name': 1, ")),
  (text, at) => Buffer.concat([Buffer.from(text.slice(0, at)), Buffer.from([0]), Buffer.from(text.slice(at))]),
  (text, at) => Buffer.concat([Buffer.from(text.slice(0, at)), Buffer.from([0xff, 0xc0, 0xaf]), Buffer.from(text.slice(at))]),
  () => Buffer.alloc(0),
  () => Buffer.from('['.repeat(100_000)),
  () => Buffer.from(`{"name":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
  () => Buffer.alloc(1_200_000, 0x20),
  () => Buffer.from('null'),
];

/** A piece of a path or query as it must not be written, or need not be. */
export const oddPercents = fc.constantFrom(
  ...['%', '%zz', '%E0%A4%A', '%C0%AF', '%ff', '%00', '%u0041', '%2e%2e', '%2F', '%25', '%F0%9F%8E%A7', '+', '%20', ';', '@', '!$&'],
);
