/** JSON Schema → values that fit it, for property tests: as far as a schema can say what fits. */
import fc from 'fast-check';
import type { Schema } from './document.ts';

/** By the name of a field or parameter: what is there, or reads well, which no schema can say. */
export type Known = Readonly<Record<string, fc.Arbitrary<unknown>>>;

export interface Described {
  schemas: Readonly<Record<string, Schema>>;
  known: Known;
}

const MOST_ITEMS = 4;
const MOST_CHARACTERS = 40;

/** Values of a field `name` that has this schema. */
export function valuesOf(described: Described, schema: Schema, name = ''): fc.Arbitrary<unknown> {
  const bySchema = plain(described, schema, name);
  const known = Object.hasOwn(described.known, name) ? described.known[name] : undefined;
  const examples = schema.examples?.length ? fc.constantFrom(...schema.examples) : undefined;
  const better = known ?? examples;
  return better ? fc.oneof({ weight: 5, arbitrary: better }, { weight: 1, arbitrary: bySchema }) : bySchema;
}

function plain(described: Described, schema: Schema, name: string): fc.Arbitrary<unknown> {
  if (schema.$ref) return valuesOf(described, described.schemas[schema.$ref.split('/').at(-1)!]!, name);
  const some = schema.anyOf ?? schema.oneOf;
  if (some) return fc.oneof(...some.map((one) => valuesOf(described, one, name)));
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'object':
      return objects(described, schema);
    case 'array':
      return arrays(described, schema, name);
    case 'string':
      return strings(schema);
    case 'integer':
      return fc.integer({ min: Math.max(schema.minimum ?? 0, -(2 ** 31)), max: Math.min(schema.maximum ?? 1_000, 2 ** 31 - 1) });
    case 'number':
      return fc.oneof(fc.integer({ min: schema.minimum ?? 1, max: schema.maximum ?? 1_000 }), fc.double({ noNaN: true }));
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objects(described: Described, schema: Schema): fc.Arbitrary<unknown> {
  const { properties, required = [], additionalProperties, propertyNames } = schema;
  if (!properties && typeof additionalProperties === 'object') {
    const keys = propertyNames ? (valuesOf(described, propertyNames) as fc.Arbitrary<string>) : fc.string({ maxLength: 10 });
    return fc.dictionary(keys, valuesOf(described, additionalProperties), { maxKeys: 3 });
  }
  const fields = Object.entries(properties ?? {}).map(([name, field]) => {
    const values = valuesOf(described, field, name);
    // Fields that may be left out mostly are: each is one more that has to fit the others.
    return [name, required.includes(name) ? values : fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, values)];
  });
  return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, { noNullPrototype: true });
}

function arrays(described: Described, { items = {}, minItems = 0, maxItems = MOST_ITEMS }: Schema, name: string): fc.Arbitrary<unknown> {
  if (items.not) return fc.constant([]);
  const maxLength = Math.max(minItems, Math.min(maxItems, MOST_ITEMS));
  // Of a list of ids each item is known by the list's name.
  return fc.array(valuesOf(described, items, name.replace(/s$/, '')), { minLength: minItems, maxLength });
}

const AT = { min: new Date('2020-01-01'), max: new Date('2036-01-01'), noInvalidDate: true };

function strings({ format, pattern, minLength = 0, maxLength = MOST_CHARACTERS }: Schema): fc.Arbitrary<string> {
  if (format === 'date-time') return fc.date(AT).map((date) => date.toISOString());
  if (format === 'date') return fc.date(AT).map((date) => date.toISOString().slice(0, 10));
  if (pattern) return fc.stringMatching(new RegExp(pattern), { size: '-1' });
  return fc.string({ unit: 'grapheme', minLength, maxLength: Math.max(minLength, Math.min(maxLength, MOST_CHARACTERS)) });
}
