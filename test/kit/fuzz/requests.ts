/** Requests to every route: as the document has them, and spoilt. */
import fc from 'fast-check';
import type { ApiDocument, Operation, Parameter, Schema } from './document.ts';
import { importFiles } from './files.ts';
import { hostileTexts, jsonOf, oddPercents, spoilt, spoiltText } from './hostile.ts';
import { type Described, type Known, valuesOf } from './values.ts';

export interface FuzzRequest {
  operation: Operation;
  /** Whose key, by name. */
  who: string;
  /** Path and query as they are sent. */
  target: string;
  headers: Record<string, string>;
  body: Buffer | null;
}

/** Values by the name of their field or parameter. */
type Named = Readonly<Record<string, readonly unknown[]>>;

/** What there is to be asked for, and what reads well, as no schema can say it. */
export interface There {
  everywhere: Named;
  /** By the folder that a path begins with (`campaigns` of /v1/campaigns/{id}), or by the route (`DELETE /v1/contacts/{id}`). */
  in: Readonly<Record<string, Named>>;
}

/** Keys by name, each as often as it is to be used. */
export type Callers = readonly string[];

export function requestsTo(document: ApiDocument, there: There, callers: Callers): fc.Arbitrary<FuzzRequest> {
  return fc.oneof(...document.operations.map((operation) => requestsOf(operation, document.schemas, there, callers)));
}

function requestsOf(
  operation: Operation,
  schemas: Record<string, Schema>,
  there: There,
  callers: Callers,
): fc.Arbitrary<FuzzRequest> {
  const described = { schemas, known: knownIn(operation, there) };
  const inPlace = (place: Parameter['in']) => operation.parameters.filter((parameter) => parameter.in === place);
  const types = Object.keys(operation.bodies);
  return fc
    .record({
      who: fc.constantFrom(...callers),
      path: fc.tuple(...inPlace('path').map((parameter) => pathPieces(described, parameter))),
      query: queries(described, inPlace('query')),
      headers: headers(inPlace('header'), types),
      body: types.length === 0 ? fc.constant(null) : bodies(described, operation.bodies),
    })
    .map(({ who, path, query, headers, body }) => {
      let at = 0;
      const target = `${operation.path.replace(/\{\w+\}/g, () => path[at++]!)}${query}`;
      const type: Record<string, string> = body ? { 'Content-Type': body.type } : {};
      return readable({ operation, who, target, headers: { ...type, ...headers }, body: body?.bytes ?? null });
    });
}

function knownIn({ method, path }: Operation, there: There): Known {
  const [, folder = ''] = /^\/v1\/([\w-]+)/.exec(path) ?? [];
  const all = { ...there.everywhere, ...there.in[folder], ...there.in[`${method} ${path}`] };
  return Object.fromEntries(Object.entries(all).map(([name, values]) => [name, fc.constantFrom(...values)]));
}

// ---- pieces ---------------------------------------------------------------------------------------------------------

/** Of the 16 KB that Node reads of a request's head. */
const MOST_CHARACTERS = 3_000;

const encoded = (value: unknown): string =>
  encodeURIComponent(String(value).toWellFormed().slice(0, MOST_CHARACTERS).toWellFormed());

/** A piece without characters is another path. */
const pathPieces = (described: Described, { schema, name }: Parameter): fc.Arbitrary<string> =>
  fc
    .oneof(
      { weight: 12, arbitrary: valuesOf(described, schema, name).map(encoded) },
      { weight: 2, arbitrary: hostileTexts.map(encoded) },
      { weight: 1, arbitrary: oddPercents },
    )
    .map((piece) => piece || '%20');

function queries(described: Described, parameters: Parameter[]): fc.Arbitrary<string> {
  const given = parameters.map(({ name, required, schema }) => {
    const values = valuesOf(described, schema, name);
    const pairs = values.map((value) => [value].flat().map((one) => `${name}=${encoded(one)}`));
    return required ? pairs : fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: pairs });
  });
  const names = fc.constantFrom('limit', 'cursor', 'unknown', ...parameters.map(({ name }) => name));
  const odd = fc.oneof(
    fc.tuple(names, hostileTexts).map(([name, text]) => `${name}=${encoded(text)}`),
    fc.tuple(names, oddPercents).map(([name, odd]) => `${name}=${odd}`),
    fc.tuple(names, hostileTexts).map(([name, text]) => `${name}=1&${name}=${encoded(text)}`),
    names.chain((name) => fc.constantFrom(`${name}`, `${name}[]=1`, `${name}[a]=1`, `=${name}`, `${name}=1`.repeat(3), '&&&', '?', '#x')),
  );
  const oddOnes = fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(odd, { maxLength: 2 }) });
  return fc.tuple(fc.tuple(...given), oddOnes).map(([pairs, odds]) => {
    const text = [...pairs.flat(), ...odds].join('&').replace(/[^\x21-\x7e]/g, '');
    return text === '' ? '' : `?${text}`;
  });
}

const CONTENT_TYPES = [
  ...['text/plain', 'text/csv', 'application/xml', 'application/json; charset=utf-16', 'application/json; charset=x', ''],
  ...['application/JSON', 'multipart/form-data; boundary=x', 'application/json;;;', 'application/x-ndjson', 'application/vnd.api+json'],
];

/** Header values as HTTP lets them through. */
const oddHeaders = hostileTexts.map((text) => text.slice(0, MOST_CHARACTERS).replace(/[^\x20-\x7e\xa0-\xff]/g, ''));

function headers(parameters: Parameter[], bodyTypes: string[]): fc.Arbitrary<Record<string, string>> {
  const rarely = (values: fc.Arbitrary<string>, weight = 14) => fc.oneof({ weight, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: values });
  const known: Record<string, fc.Arbitrary<string | undefined>> = {
    'Idempotency-Key': fc.oneof(
      { weight: 6, arbitrary: fc.constant(undefined) },
      { weight: 3, arbitrary: fc.uuid() },
      { weight: 1, arbitrary: fc.constantFrom('again-1', 'again-2', '~'.repeat(255)) },
      { weight: 1, arbitrary: oddHeaders },
    ),
    'Last-Event-ID': rarely(fc.oneof(fc.constantFrom('0', '3', '99999'), oddHeaders), 3),
  };
  const declared = parameters.map(({ name }) => [name, known[name] ?? rarely(oddHeaders)] as const);
  const ofBody = bodyTypes.length === 0 ? {} : {
    'Content-Type': rarely(fc.constantFrom(...CONTENT_TYPES)),
    'Content-Encoding': rarely(fc.constantFrom('gzip', 'br', 'deflate', 'compress', 'identity', 'x, y'), 40),
  };
  const all = { ...Object.fromEntries(declared), ...ofBody, Accept: rarely(fc.constantFrom('text/csv', 'application/xml', '*/*;q=x', 'text/csv, application/json'), 6) };
  return fc.record(all).map((given) => Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Record<string, string>);
}

function bodies(described: Described, content: Record<string, Schema>): fc.Arbitrary<{ type: string; bytes: Buffer }> {
  const ofTypes = Object.entries(content).map(([type, schema]) =>
    (type === 'application/json' && schema.type !== 'string' ? jsonBodies(described, schema) : importFiles().map((file) => file.bytes)).map(
      (bytes) => ({ type, bytes }),
    ),
  );
  return fc.oneof(...ofTypes);
}

function jsonBodies(described: Described, schema: Schema): fc.Arbitrary<Buffer> {
  const values = valuesOf(described, schema);
  return fc.oneof(
    { weight: 6, arbitrary: values.map((value) => Buffer.from(jsonOf(value))) },
    { weight: 6, arbitrary: spoilt(values).map((value) => Buffer.from(jsonOf(value))) },
    { weight: 1, arbitrary: spoiltText(values.map(jsonOf)) },
  );
}

// ---- for people -----------------------------------------------------------------------------------------------------

const SHOWN = 600;

/** A failing case is shown as what was sent. */
function readable(request: FuzzRequest): FuzzRequest {
  return Object.assign(request, { [fc.toStringMethod]: () => asText(request) });
}

export function asText({ operation, who, target, headers, body }: FuzzRequest): string {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${shortened(value)}`);
  const text = body === null ? [] : [`${body.length} bytes: ${JSON.stringify(body.toString('utf8').slice(0, SHOWN))}`];
  return [`${operation.method} ${shortened(target)} as ${who}`, ...head, ...text].join('\n  ');
}

const shortened = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}… (${text.length})` : text);
