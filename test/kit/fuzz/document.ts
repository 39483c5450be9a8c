/** What the API says of itself at /openapi.json, as whoever has nothing else reads it. */
import { z } from 'zod';

/** The subset of JSON Schema that the document is written in. */
export interface Schema {
  $ref?: string;
  type?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  not?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  propertyNames?: Schema;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  format?: string;
  examples?: unknown[];
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema: Schema;
}

type Content = Record<string, { schema: Schema }>;

export interface Operation {
  method: string;
  /** `/v1/campaigns/{id}` */
  path: string;
  parameters: Parameter[];
  /** By content type; none: the request has no body. */
  bodies: Record<string, Schema>;
  /** By status: what the answer may be, by content type. */
  answers: Record<number, Record<string, z.ZodType>>;
}

interface Written {
  paths: Record<string, Record<string, WrittenOperation>>;
  components: { schemas: Record<string, Schema> };
}
interface WrittenOperation {
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
}

export interface ApiDocument {
  operations: Operation[];
  schemas: Record<string, Schema>;
}

export function readDocument(text: string): ApiDocument {
  const { paths, components } = JSON.parse(text) as Written;
  const { schemas } = components;
  const checks = new Map<string, z.ZodType>();
  const check = (schema: Schema): z.ZodType => {
    const key = JSON.stringify(schema);
    if (!checks.has(key)) checks.set(key, checkOf(schema, schemas));
    return checks.get(key)!;
  };
  const answersOf = ({ responses }: WrittenOperation) =>
    Object.fromEntries(
      Object.entries(responses).map(([status, { content = {} }]) => [
        Number(status),
        Object.fromEntries(Object.entries(content).map(([type, { schema }]) => [type, check(schema)])),
      ]),
    );
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, written]): Operation => {
      const content = Object.entries(written.requestBody?.content ?? {});
      const bodies = Object.fromEntries(content.map(([type, { schema }]) => [type, schema]));
      return { method: method.toUpperCase(), path, parameters: written.parameters ?? [], bodies, answers: answersOf(written) };
    }),
  );
  return { operations, schemas };
}

/** A schema of the document as a check: it stands alone, with all it refers to, and puts nothing in by default. */
function checkOf(schema: Schema, schemas: Record<string, Schema>): z.ZodType {
  const alone = JSON.stringify({ ...schema, $defs: schemas }, (name, value: unknown) =>
    name === 'default' && !isSchema(value) ? undefined : value,
  );
  return z.fromJSONSchema(JSON.parse(alone.replaceAll('#/components/schemas/', '#/$defs/')) as never);
}

/** A property may have the name `default`; then its value is a schema. */
const isSchema = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('type' in value || '$ref' in value || 'anyOf' in value);
