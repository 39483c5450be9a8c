/**
 * Who changed what. The row is written before the request is carried out, since what it changes is in many transactions, and some of
 * it in workflows: so nothing is changed without one, and one without a status says that the outcome is unknown. What an
 * agent does itself has rows of its own in the raw data, with its name.
 */
import { inAnyCase } from '../prisma/deadline.ts';
import type { Db } from '../prisma/tx.ts';
import { by } from './auth.ts';
import type { Deps, Input, Reply, Route } from './http.ts';
import { asAppError, PROBLEMS } from './problems.ts';

/** What requests are about, by the beginning of their path. */
const SUBJECT_OF = {
  '/v1/campaigns': 'campaign',
  '/v1/contacts': 'contact',
  '/v1/agents': 'agent',
  '/v1/stop': 'campaign',
  '/v1/offers': 'offer',
  '/v1/calls': 'call',
  '/v1/do-not-call': 'do_not_call',
  '/v1/webhooks': 'webhook',
  '/v1/legal-hours': 'legal_hours',
  '/v1/keys': 'key',
  '/v1/nodes': 'node',
} as const;
export type Subject = (typeof SUBJECT_OF)[keyof typeof SUBJECT_OF];
export const SUBJECTS = [...new Set(Object.values(SUBJECT_OF))];

/** Null if nothing of the kind is recorded. Throws for a route of which nobody has said what it changes. */
export function subjectOf({ method, path, lasting = true, subject }: Route): Subject | null {
  if (method === 'get' || !lasting) return null;
  const found = subject ?? Object.entries(SUBJECT_OF).find(([beginning]) => path === beginning || path.startsWith(`${beginning}/`))?.[1];
  if (!found) throw new Error(`${method} ${path}: SUBJECT_OF does not say what it changes`);
  return found;
}

export type AnyInput = Input<Record<string, unknown>, Record<string, unknown>, unknown>;

/** Carries the request out with a row about it. */
export async function audited(
  { db, log }: Pick<Deps, 'db' | 'log'>,
  route: Route,
  input: AnyInput,
  work: () => Promise<Reply | 'sent'>,
): Promise<Reply | 'sent'> {
  const subject = subjectOf(route);
  if (subject === null || input.caller.role === 'agent' || input.query.dryRun === true) return work();
  const { id } = await write(db, route, subject, input);
  const close = (status: number, made?: unknown) =>
    inAnyCase(async () => await db.prisma.audit.update({ where: { id }, data: { status, ...(typeof made === 'string' && { subjectId: made }) } }))
      .catch((error: unknown) => log.warn({ err: error, audit: String(id) }, 'the outcome of a request is not on record'));
  try {
    const reply = await work();
    const { status, body } = reply === 'sent' ? { status: input.res.statusCode, body: null } : reply;
    await close(status, idInPath(route, input) === null ? (body as { id?: unknown } | null)?.id : undefined);
    return reply;
  } catch (error) {
    await close(PROBLEMS[asAppError(error)?.code ?? 'INTERNAL'].status);
    throw error;
  }
}

function write(db: Db, route: Route, subject: Subject, input: AnyInput) {
  return db.prisma.audit.create({
    data: {
      at: db.clock.now(),
      by: by(input.caller),
      method: route.method.toUpperCase(),
      route: route.path,
      subject,
      subjectId: idInPath(route, input),
      fields: [...Object.keys(input.query).filter((name) => name in input.req.query), ...fieldsOf(input.req.body)],
    },
    select: { id: true },
  });
}

/** Numbers and external ids are somebody's: of those the route says enough. */
function idInPath({ subject }: Route, { params }: AnyInput): string | null {
  if (subject) return null; // the path has the id of something else
  const id = params.id ?? params.call_id ?? params.country ?? params.name;
  // PostgreSQL takes no NUL; whatever was asked for with one is found nowhere.
  return typeof id === 'string' || typeof id === 'number' ? String(id).replaceAll('\0', '') : null;
}

/** The names of what was given, those of an object in it as `rules.max_attempts`: all of them ours, as others are refused. */
function fieldsOf(body: unknown, depth = 2): string[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body) || depth === 0) return [];
  return Object.entries(body).flatMap(([name, value]) => {
    const inner = fieldsOf(value, depth - 1);
    return inner.length > 0 ? inner.map((field) => `${name}.${field}`) : [name];
  });
}
