/** The OpenAPI 3.1 document, made of the routes themselves. */
import { z } from 'zod';
import {
  createDocument,
  type ZodOpenApiContentObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiResponseObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi';
import type { ErrorCode } from '../domain/errors.ts';
import type { Method, Route } from './http.ts';
import { type ProblemCode, PROBLEMS, problemSchema } from './problems.ts';
import { eventsMessage, testMessage } from './schemas/webhooks.ts';

const STATUS_TEXT: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Taken; it is going to be done',
  204: 'Done; there is nothing to say',
  503: 'Not ready',
};

export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Partial<Record<Method, ZodOpenApiOperationObject>>> = {};
  for (const route of routes) paths[route.path] = { ...paths[route.path], [route.method]: operation(route) };
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'Dialwright',
      version,
      description:
        'An outbound preview dialler. Ids are strings, times ISO 8601 in UTC, lists `{items, next}`, errors RFC 9457. ' +
        'A POST may carry an Idempotency-Key: repeated with it, it is carried out once.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    security: [{ key: [] }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    paths,
    webhooks: { message: { post: webhookOperation } },
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key: `dw_…`' } },
    },
  });
}

/** What receivers of webhooks are asked. */
const webhookOperation: ZodOpenApiOperationObject = {
  operationId: 'webhook_message',
  summary: 'What is posted to a webhook',
  description: 'Signed by Standard Webhooks 1.0.0; `webhook-id` is the same when it is repeated.',
  security: [],
  requestParams: {
    header: z.object({
      'webhook-id': z.string(),
      'webhook-timestamp': z.string().describe('Of this attempt, in Unix seconds'),
      'webhook-signature': z.string().describe('`v1,…` for each valid secret, with spaces between them'),
    }),
  },
  requestBody: {
    required: true,
    content: { 'application/json': { schema: z.discriminatedUnion('type', [eventsMessage, testMessage]) } },
  },
  responses: { '2XX': { description: 'Taken; anything else is repeated' } },
};

function operation(route: Route): ZodOpenApiOperationObject {
  const { params, query, roles } = route;
  const open = roles === 'anyone';
  const headers = headersOf(route);
  return {
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    description: [route.description, open ? null : `Roles: ${roles.join(', ')}.`].filter(Boolean).join('\n\n'),
    ...(open ? { security: [] } : {}),
    requestParams: {
      ...(params ? { path: params } : {}),
      ...(query ? { query } : {}),
      ...(headers ? { header: headers } : {}),
    },
    ...requestBody(route),
    responses: { ...failures(route), ...successes(route) },
  };
}

/** `get /v1/contacts/{id}` → `get_contacts_id`. */
const operationId = ({ method, path }: Route): string =>
  [method, ...path.split('/').filter((part) => part !== '' && part !== 'v1')].join('_').replace(/[{}]/g, '').replace(/\W/g, '_');

function requestBody({ body, consumes }: Route): Pick<ZodOpenApiOperationObject, 'requestBody'> {
  const media: [string, z.ZodType][] = body ? [['application/json', body]] : (consumes ?? []).map((type) => [type, z.string()]);
  if (media.length === 0) return {};
  return { requestBody: { required: true, content: Object.fromEntries(media.map(([type, schema]) => [type, { schema }])) } };
}

function headersOf(route: Route): z.ZodObject | null {
  if (route.method === 'post' && route.repeats !== 'natural') {
    const key = z.string().min(1).max(255).optional().describe('Any visible ASCII, such as a UUID; kept a day');
    return z.object({ 'Idempotency-Key': key });
  }
  if (route.produces?.includes('text/event-stream')) {
    return z.object({ 'Last-Event-ID': z.string().optional().describe('Id of the last event that was read') });
  }
  return null;
}

function successes(route: Route): ZodOpenApiResponsesObject {
  const { response, statuses = [response ? 200 : 204] } = route;
  const media = (route.produces ?? []).map((type) => [type, { schema: z.string() }]);
  const json = response ? [['application/json', { schema: response }]] : [];
  const content = Object.fromEntries([...json, ...media]) as ZodOpenApiContentObject;
  return Object.fromEntries<ZodOpenApiResponseObject>(
    statuses.map((status) => [status, { description: STATUS_TEXT[status]!, ...(status === 204 ? {} : { content }) }]),
  );
}

/** Errors that a route can have because of what it is. */
function codesOf(route: Route): ProblemCode[] {
  const { params, query, body, method, roles, fails = [] } = route;
  const codes: (ProblemCode | false)[] = [
    // A path whose percent-encoding is none can't be read.
    (params !== undefined || query !== undefined || body !== undefined || method === 'post') && 'INVALID',
    roles !== 'anyone' && 'UNAUTHENTICATED',
    roles !== 'anyone' && 'FORBIDDEN',
    roles !== 'anyone' && 'TOO_MANY_REQUESTS',
    roles !== 'anyone' && 'UNAVAILABLE',
    params !== undefined && 'NOT_FOUND',
    body !== undefined && 'TOO_LARGE',
    body !== undefined && 'UNSUPPORTED_MEDIA_TYPE',
    method === 'post' && route.repeats !== 'natural' && 'IDEMPOTENCY_CONFLICT',
  ];
  return [...codes.filter((code) => code !== false), ...(fails satisfies ErrorCode[])];
}

function failures(route: Route): ZodOpenApiResponsesObject {
  const byStatus = Object.groupBy(codesOf(route), (code) => PROBLEMS[code].status);
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, codes = []]) => [
      status,
      {
        description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join('\n\n'),
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    ]),
  );
}
