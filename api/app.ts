/** The Express application: every route registered from its description, and errors told as problems. */
import express, { type ErrorRequestHandler, type Express, type NextFunction, type Request, type Response } from 'express';
import helmet from 'helmet';
import type { z } from 'zod';
import { AppError } from '../domain/errors.ts';
import { createAgentStreams } from './agent-streams.ts';
import { type AnyInput, audited } from './audit.ts';
import { type Auth, type Caller, createAuth } from './auth.ts';
import { docsPage } from './docs.ts';
import { doNotCallRoutes } from './do-not-call/routes.ts';
import { createEventStreams } from './event-streams.ts';
import type { Deps, Input, Reply, Route } from './http.ts';
import { idempotencyKey, once, requestKey } from './idempotency.ts';
import { whereJsonBreaks } from './json-position.ts';
import { importRoutes, uploadTurns } from './imports/routes.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { asAppError, invalidInput, notFound, sendProblem } from './problems.ts';
import { createPunctual, type Punctual } from './punctual.ts';
import { mayTakeLong, mustComeWithin } from './slow.ts';
import { agentRoutes } from './routes/agents.ts';
import { auditRoutes } from './routes/audit.ts';
import { callEventRoutes } from './routes/call-events.ts';
import { callRoutes } from './routes/calls.ts';
import { campaignRoutes } from './routes/campaigns.ts';
import { contactRoutes } from './routes/contacts.ts';
import { healthRoutes } from './routes/health.ts';
import { keyRoutes } from './routes/keys.ts';
import { legalHoursRoutes } from './routes/legal-hours.ts';
import { offerRoutes } from './routes/offers.ts';
import { problemRoutes } from './routes/problems.ts';
import { reopeningRoutes } from './routes/reopenings.ts';
import { reportRoutes } from './routes/reports.ts';
import { supervisionRoutes } from './routes/supervision.ts';
import { rulesVersionRoutes } from './routes/rules-versions.ts';
import { simulatorRoutes } from './routes/simulator.ts';
import { waitRoutes } from './routes/waits.ts';
import { webhookRoutes } from './routes/webhooks.ts';
import { measureRepairs } from './repair-metrics.ts';
import { measureWebhooks } from './webhook-metrics.ts';
import { talkRoutes } from './routes/talks.ts';

const VERSION = '0.1.0';
const JSON_LIMIT = '1mb';
/** Of what is read before it is known who asks. */
const SHORT_JSON_LIMIT = '16kb';
/** For a body of that size, also over a slow line. */
const JSON_WITHIN_MS = 30_000;
const TAKEN_WITHIN_MS = 60_000;
/** Answers are data: a browser that is made to show one as a page must load and run nothing. */
const NOTHING_TO_SHOW = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] };

/** Every route of the API, in the order of its documentation. */
export function allRoutes(deps: Deps, metrics: Metrics): Route[] {
  const inTurn = uploadTurns();
  return [
    ...campaignRoutes(deps),
    ...rulesVersionRoutes(deps),
    ...contactRoutes(deps),
    ...waitRoutes(deps),
    ...reopeningRoutes(deps),
    ...importRoutes(deps, { inTurn }),
    ...agentRoutes(deps, createAgentStreams(deps)),
    ...supervisionRoutes(deps),
    ...offerRoutes(deps),
    ...callRoutes(deps),
    ...talkRoutes(deps),
    ...doNotCallRoutes(deps, inTurn),
    ...callEventRoutes(deps, createEventStreams(deps)),
    ...webhookRoutes(deps),
    ...reportRoutes(deps),
    ...simulatorRoutes(deps),
    ...legalHoursRoutes(deps),
    ...keyRoutes(deps),
    ...problemRoutes(deps),
    ...auditRoutes(deps),
    ...healthRoutes(deps, metrics),
  ];
}

export function createApp(deps: Deps, bodyWithinMs = JSON_WITHIN_MS): Express {
  const app = express();
  const auth = createAuth(deps.db);
  const metrics = createMetrics();
  measureWebhooks(metrics.registry, deps.db);
  measureRepairs(metrics.registry, deps.db);
  const routes = allRoutes(deps, metrics);
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(mustComeWithin(bodyWithinMs));
  app.use(helmet({ contentSecurityPolicy: { useDefaults: false, directives: NOTHING_TO_SHOW } }));
  app.use('/docs', ...docsPage());
  app.use('/v1', (_req, res, next) => (res.set('Cache-Control', 'no-store'), next()));
  const document = Buffer.from(JSON.stringify(openApiDocument(routes, VERSION)));
  app.get('/openapi.json', (_req, res) => void mustBeTaken(res).type('json').send(document));
  const punctual = createPunctual(deps.log);
  for (const route of routes) register(app, { deps, auth, metrics, punctual }, route);
  for (const [path, methods] of methodsByPath(routes)) app.all(path, refuseMethod(methods));
  app.use((_req, _res, next) => next(notFound('path')));
  app.use(tellProblem(deps));
  return app;
}

const expressPath = (path: string): string => path.replace(/\{(\w+)\}/g, ':$1');

interface Parts {
  deps: Deps;
  auth: Auth;
  metrics: Metrics;
  punctual: Punctual;
}

function register(app: Express, { deps, auth, metrics, punctual }: Parts, route: Route): void {
  const path = expressPath(route.path);
  const { whenLate, roles, body, consumes } = route;
  const guard = auth.guard(route);
  const known = async (req: Request, res: Response, next: NextFunction) => {
    if (roles !== 'anyone') await punctual(res, 'given_up', () => guard(req, res));
    next();
  };
  const answer = async (req: Request, res: Response) =>
    send(res, await punctual(res, whenLate, () => carryOut(deps, route, req, res)));
  // Nor is it given up while it is found out who asks: so its body, which is short, is read before.
  const answerSurely = async (req: Request, res: Response) => {
    const { params } = req; // Express takes them away when the answer is that it is late
    const work = () => guard(req, res).then(() => carryOut(deps, route, Object.assign(req, { params }), res));
    send(res, await punctual(res, whenLate, work));
  };
  const json = (limit: string) => [onlyJson, express.json({ limit, strict: false })];
  const handlers =
    whenLate === 'carried_out'
      ? [...(body ? json(SHORT_JSON_LIMIT) : []), answerSurely]
      : [known, ...(body ? json(JSON_LIMIT) : consumes ? [mayTakeLong] : []), answer];
  app[route.method](path, metrics.measure(route.path), ...handlers);
}

async function carryOut(deps: Deps, route: Route, req: Request, res: Response): Promise<Reply | 'sent'> {
  const caller = res.locals.caller as Caller;
  const key = route.method === 'post' ? idempotencyKey(req) : undefined;
  const input = {
    params: readParams(route, req),
    query: route.query ? readInput(route.query, req.query, 'query') : {},
    body: route.body ? readInput(route.body, req.body === undefined ? {} : req.body, 'body') : undefined,
    caller,
    requestKey: requestKey(req, caller, key),
    req,
    res,
  };
  const work = () => audited(deps, route, input as AnyInput, () => route.handle(input as Input<never, never, never>));
  return key === undefined || route.repeats === 'natural' ? work() : once(deps.db, route, req, caller, key, work);
}

/** What does not fit a path's parameters is no such thing. */
function readParams(route: Route, req: Request): unknown {
  const read = route.params?.safeParse(req.params);
  if (read && !read.success) throw notFound(route.path.match(/(\w+)s\/\{/)?.[1] ?? 'path');
  return read?.data ?? {};
}

function readInput(schema: z.ZodType, value: unknown, where: 'query' | 'body'): unknown {
  const read = schema.safeParse(value);
  if (!read.success) throw invalidInput(read.error, where);
  return read.data;
}

function send(res: Response, reply: Reply | 'sent'): void {
  if (reply === 'sent') return;
  mustBeTaken(res).status(reply.status).set(reply.headers ?? {});
  if (reply.body === undefined) res.end();
  else res.json(reply.body);
}

/** An answer that nobody reads is not kept for ever. */
function mustBeTaken(res: Response): Response {
  return res.setTimeout(TAKEN_WITHIN_MS, () => res.destroy());
}

function onlyJson(req: Request, _res: Response, next: NextFunction): void {
  // No body at all is refused field by field.
  if (req.get('Content-Length') !== '0' && req.is('application/json') === false) {
    throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'the body must be JSON; send Content-Type: application/json');
  }
  next();
}

function methodsByPath(routes: readonly Route[]): Map<string, string> {
  const byPath = new Map<string, string>();
  for (const { path, method } of routes) {
    const known = byPath.get(expressPath(path));
    byPath.set(expressPath(path), [...(known ? [known] : []), method.toUpperCase()].join(', '));
  }
  return byPath;
}

function refuseMethod(allow: string) {
  return (req: Request, res: Response): void => {
    res.set('Allow', allow);
    if (req.method === 'OPTIONS') res.status(204).end();
    else sendProblem(res, 'METHOD_NOT_ALLOWED', `${req.method} is not known here; there is ${allow}`);
  };
}

// ---- errors ---------------------------------------------------------------------------------------------------------

/** What Express and its body parser throw. */
interface HttpError {
  status?: number;
  type?: string;
  body?: unknown;
}

function tellProblem({ log }: Deps): ErrorRequestHandler {
  return (error: unknown, req, res, _next) => {
    // The path itself would name people: numbers and external ids.
    const at = { method: req.method, route: (req.route as { path?: string } | undefined)?.path };
    if (res.headersSent) {
      // The client sees a body that breaks off.
      log.error({ err: error, ...at }, 'an answer broke off');
      return void res.destroy();
    }
    const known = asAppError(error) ?? fromHttpError(error as HttpError);
    if (!known) {
      log.error({ err: error, ...at }, 'a request failed');
      return sendProblem(res, 'INTERNAL', 'this is a defect of ours; it is in the log');
    }
    if (known.code === 'UNAVAILABLE') log.warn({ err: error, ...at }, 'a request could not be carried out');
    if (known.code === 'IDEMPOTENCY_CONFLICT' && known.details.state === 'running') res.set('Retry-After', '1');
    if ('replayed' in known) res.set('Idempotent-Replay', 'true');
    sendProblem(res, known.code, known.message, known.details);
  };
}

function fromHttpError({ status, type, body }: HttpError): AppError | null {
  switch (type) {
    case 'entity.parse.failed': {
      const { line, column } = whereJsonBreaks(String(body));
      const reason = `is not JSON: line ${line}, column ${column} is where it goes wrong`;
      return new AppError('INVALID', `the body ${reason}`, { issues: [{ field: 'body', reason }] });
    }
    case 'entity.too.large':
      return new AppError('TOO_LARGE', `the body is larger than ${JSON_LIMIT} (${SHORT_JSON_LIMIT} where nothing long is expected); long lists go through imports`);
    case 'charset.unsupported':
    case 'encoding.unsupported':
      return new AppError('UNSUPPORTED_MEDIA_TYPE', 'the body must be UTF-8, plain or gzip, deflate, br');
    default:
      // A path that can't be decoded, a body that broke off or whose length was not the one announced.
      return status === 400 ? new AppError('INVALID', 'the request is not well-formed') : null;
  }
}
