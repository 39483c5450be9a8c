/** The simulator's HTTP interface: phones for people and tests, the script, and what was dialled. */
import express, { type ErrorRequestHandler, type Express } from 'express';
import type { Logger } from '../../config/log.ts';
import { z } from 'zod';
import { AppError, type ErrorCode, type ErrorDetails } from '../../domain/errors.ts';
import type { DialRecord } from './dial-record.ts';
import { scriptSchema } from './script.ts';
import type { SimulatedSwitch } from './switch.ts';

const digitSchema = z.strictObject({ digit: z.string().regex(/^[0-9*#A-D]$/, 'one of 0-9 * # A-D') });
const holdSchema = z.strictObject({ on: z.boolean() });
const pageSchema = z.strictObject({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(10_000).default(1000),
});

export function createControl(deps: { simulated: SimulatedSwitch; record: DialRecord; log: Logger }): Express {
  const { simulated, record, log } = deps;
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ limit: '20mb' }));

  const acts = {
    answer: (number: string) => simulated.answerPhone(number),
    reject: (number: string) => simulated.rejectPhone(number),
    'hang-up': (number: string) => simulated.hangUpPhone(number),
    digit: (number: string, body: unknown) => simulated.pressKey(number, valid(digitSchema, body).digit),
    hold: (number: string, body: unknown) => simulated.holdPhone(number, valid(holdSchema, body).on),
  };
  for (const [name, act] of Object.entries(acts)) {
    app.post(`/phones/:number/${name}`, (request, response) => {
      act(request.params.number, request.body);
      response.json({ state: simulated.phoneState(request.params.number) });
    });
  }
  app.get('/phones/:number', (request, response) => {
    response.json({ state: simulated.phoneState(request.params.number) });
  });
  app.get('/script', (_request, response) => {
    response.json(simulated.script);
  });
  app.put('/script', (request, response) => {
    simulated.script = valid(scriptSchema, request.body);
    response.json(simulated.script);
  });
  app.get('/dials', (request, response) => {
    const { after, limit } = valid(pageSchema, request.query);
    response.json({ dials: record.list(after, limit) });
  });
  app.get('/legs', (_request, response) => {
    response.json({ legs: simulated.describe() });
  });
  app.get('/healthz', (_request, response) => {
    response.json({ status: 'ok', factsWaiting: simulated.facts.size });
  });
  app.use(() => {
    throw new AppError('NOT_FOUND', 'no such resource');
  });
  app.use(problems(log));
  return app;
}

function valid<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input ?? {});
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) => ({ field: path.join('.'), reason: message }));
  throw new AppError('INVALID', 'the request is not well-formed', { issues });
}

const STATUS: Partial<Record<ErrorCode, number>> = { INVALID: 400, NOT_FOUND: 404, CONFLICT: 409 };

/** `application/problem+json` (RFC 9457). */
function problems(log: Logger): ErrorRequestHandler {
  return (error: Error & { statusCode?: number }, _request, response, _next) => {
    const { status, title, details } = problemOf(error);
    if (status === 500) log.error({ err: error }, 'a request failed');
    const detail = status === 500 ? 'internal error' : error.message;
    response
      .status(status)
      .type('application/problem+json')
      .json({ type: 'about:blank', title, status, detail, ...details });
  };
}

/** Errors of Express's own body parser carry a status of theirs. */
function problemOf(error: Error & { statusCode?: number }): { status: number; title: string; details?: ErrorDetails } {
  if (error instanceof AppError) {
    return { status: STATUS[error.code] ?? 500, title: error.code, details: error.details };
  }
  const status = error.statusCode ?? 500;
  return status < 500 ? { status, title: 'INVALID' } : { status: 500, title: 'INTERNAL' };
}
