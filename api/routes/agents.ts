/** Agents: who they are, what they want, and the stream that their desktop follows. */
import type { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { nextTimeOfDay } from '../../domain/hours.ts';
import type { AgentState } from '../../domain/states.ts';
import type { AgentView } from '../../matching/matching.ts';
import { Prisma, type Agent, type AgentQueue } from '../../prisma/generated/client.ts';
import type { Db } from '../../prisma/tx.ts';
import type { AgentStreams } from '../agent-streams.ts';
import { by, hashSecret, MANAGERS, mustBeOwn, newTicket, READERS, type Role } from '../auth.ts';
import { created, type Deps, ok, page, readIntCursor, route, type Route } from '../http.ts';
import { notFound } from '../problems.ts';
import {
  agent,
  agentChange,
  type AgentJson,
  agentStreamQuery,
  agentView,
  agentWish,
  heartbeat,
  idParams,
  listOf,
  listQuery,
  newAgent,
  streamTicket,
} from '../schemas.ts';
import { resumeAt } from '../resume.ts';
import * as sql from '../sql.ts';
import { openEventStream } from '../sse.ts';

const OWN_OR_READERS: readonly Role[] = [...READERS, 'agent'];
const OWN_OR_MANAGERS: readonly Role[] = [...MANAGERS, 'agent'];
const TICKET_MS = 60_000;

export function agentRoutes(deps: Deps, streams: AgentStreams): Route[] {
  const { db, matching } = deps;

  const read = async (id: number): Promise<AgentJson> => {
    const row = await db.prisma.agent.findUnique({ where: { id }, include });
    if (!row) throw notFound('agent');
    return (await agentsJson(db, [row]))[0]!;
  };

  return [
    route({
      method: 'post',
      path: '/v1/agents',
      tag: 'Agents',
      summary: 'Create an agent, logged off',
      roles: MANAGERS,
      body: newAgent,
      response: agent,
      statuses: [201],
      fails: ['CONFLICT'],
      async handle({ body, requestKey }) {
        const before = await db.prisma.agent.findUnique({ where: { requestKey }, include });
        const made = before ?? (await createAgent(db, body, requestKey));
        return created((await agentsJson(db, [made]))[0]!, `/v1/agents/${made.id}`);
      },
    }),
    route({
      method: 'get',
      path: '/v1/agents',
      tag: 'Agents',
      summary: 'List agents',
      roles: READERS,
      query: listQuery,
      response: listOf(agent),
      async handle({ query: { cursor, limit } }) {
        const where = { id: { gt: readIntCursor(cursor) } };
        const rows = await db.prisma.agent.findMany({ where, include, orderBy: { id: 'asc' }, take: limit + 1 });
        return ok(page(await agentsJson(db, rows), limit));
      },
    }),
    route({
      method: 'get',
      path: '/v1/agents/{id}',
      tag: 'Agents',
      summary: 'Read an agent',
      roles: OWN_OR_READERS,
      params: idParams,
      response: agent,
      async handle({ params: { id }, caller }) {
        mustBeOwn(caller, id);
        return ok(await read(id));
      },
    }),
    route({
      method: 'patch',
      path: '/v1/agents/{id}',
      tag: 'Agents',
      summary: 'Change an agent; `queues` replaces the whole profile',
      roles: MANAGERS,
      params: idParams,
      body: agentChange,
      response: agent,
      fails: ['CONFLICT'],
      async handle({ params: { id }, body }) {
        await changeAgent(db, id, body);
        await matching.matchAgent(id);
        return ok(await read(id));
      },
    }),
    ...presence(deps),
    streamRoute(streams),
  ];
}

function streamRoute(streams: AgentStreams): Route {
  return route({
    method: 'get',
    path: '/v1/agents/{id}/stream',
    tag: 'Agents',
    summary: 'Follow an agent: screen-pop at the offer, every change of state after it',
    description:
      'Server-Sent Events. `state` (AgentNews) for every change, followed by `offer` (ScreenPop) when the agent is ' +
      'reserved. Without Last-Event-ID it begins with the present state; with it, every change after that one comes. ' +
      'While it is open, the agent stays logged on (not for an operator, who only reads).',
    roles: OWN_OR_READERS,
    ticket: true,
    params: idParams,
    query: agentStreamQuery,
    statuses: [200],
    produces: ['text/event-stream'],
    async handle({ params: { id }, query, caller, req, res }) {
      mustBeOwn(caller, id);
      const reader = { agentId: id, keyId: caller.keyId, renews: caller.role !== 'operator' };
      await streams.open(reader, resumeAt(req, query.after), () => openEventStream(req, res));
      return 'sent';
    },
  });
}

/** What keeps an agent logged on, and what the agent wants. */
function presence({ db, matching }: Deps): Route[] {
  const mustExist = async (id: number): Promise<void> => {
    if (!(await db.prisma.agent.findUnique({ where: { id }, select: { id: true } }))) throw notFound('agent');
  };
  return [
    route({
      method: 'put',
      path: '/v1/agents/{id}/state',
      tag: 'Agents',
      summary: 'Log on (ready or paused), pause, log off',
      description:
        'At once, or, while an offer or a call is under way, after its end (next_state). `ready` ends a wrap-up; ' +
        '`logged_off` withdraws an offer that rings.',
      roles: OWN_OR_MANAGERS,
      params: idParams,
      body: agentWish,
      response: agentView,
      async handle({ params: { id }, body, caller }) {
        mustBeOwn(caller, id);
        const cause = caller.role === 'agent' ? 'agent' : 'supervisor';
        return ok(viewJson(await matching.setAgentState(id, body.state, cause, by(caller))));
      },
    }),
    route({
      method: 'post',
      path: '/v1/agents/{id}/heartbeat',
      tag: 'Agents',
      summary: 'Stay logged on for another 30 s; not needed while the stream is open',
      roles: OWN_OR_MANAGERS,
      params: idParams,
      response: heartbeat,
      repeats: 'natural',
      lasting: false,
      async handle({ params: { id }, caller }) {
        mustBeOwn(caller, id);
        const renewed = await matching.renewLease([id]);
        if (renewed.length === 0) await mustExist(id);
        return ok({ logged_on: renewed.length > 0 });
      },
    }),
    route({
      method: 'post',
      path: '/v1/agents/{id}/stream-ticket',
      tag: 'Agents',
      summary: 'A ticket for opening the stream from a browser, which can send no header',
      description: 'Valid for 60 s from now; an open stream stays open. Coming back later needs a new ticket and `after`.',
      roles: OWN_OR_MANAGERS,
      params: idParams,
      response: streamTicket,
      statuses: [201],
      repeats: 'natural',
      lasting: false,
      async handle({ params: { id }, caller }) {
        mustBeOwn(caller, id);
        await mustExist(id);
        const ticket = newTicket();
        const expiresAt = new Date(db.clock.now().getTime() + TICKET_MS);
        await db.pool.query(sql.writeTicket(hashSecret(ticket), id, caller.keyId, expiresAt));
        return { status: 201, body: { ticket, expires_at: expiresAt.toISOString() } };
      },
    }),
  ];
}

// ---- rows -----------------------------------------------------------------------------------------------------------

const include = { queues: { orderBy: { campaignId: 'asc' } } } as const;
type AgentRow = Agent & { queues: AgentQueue[] };

function createAgent(
  db: Db,
  { queues, daily_log_off, ...settings }: z.output<typeof newAgent>,
  requestKey: string,
): Promise<AgentRow> {
  const now = db.clock.now();
  const data = { ...settings, ...logOffOf(daily_log_off, now), requestKey };
  const times = { since: now, createdAt: now, updatedAt: now };
  const profile = { create: queues.map(queueRow) };
  return written(db.prisma.agent.create({ data: { ...data, ...times, cause: 'created', queues: profile }, include }));
}

function changeAgent(db: Db, id: number, { queues, daily_log_off, ...data }: z.output<typeof agentChange>): Promise<AgentRow> {
  const now = db.clock.now();
  const profile = queues && { deleteMany: {}, create: queues.map(queueRow) };
  const logOff = daily_log_off === undefined ? {} : logOffOf(daily_log_off, now);
  const change = { ...data, ...logOff, updatedAt: now, queues: profile };
  return written(db.prisma.agent.update({ where: { id }, data: change, include }));
}

function logOffOf(daily: z.output<typeof newAgent>['daily_log_off'], now: Date) {
  if (!daily) return { logOffTime: null, logOffZone: null, logOffAt: null };
  const at = nextTimeOfDay(daily.time, daily.zone, now.getTime());
  return { logOffTime: daily.time, logOffZone: daily.zone, logOffAt: at === null ? null : new Date(at) };
}

const queueRow = ({ campaign_id, priority }: { campaign_id: number; priority: number }) => ({
  campaignId: campaign_id,
  priority,
});

/** What Prisma refuses, in terms of the request. */
async function written<T>(write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    if (!(error instanceof Prisma.PrismaClientKnownRequestError)) throw error;
    if (error.code === 'P2025') throw notFound('agent');
    if (error.code === 'P2002') {
      const reason = 'is the phone of another agent';
      throw new AppError('CONFLICT', `phone ${reason}`, { issues: [{ field: 'phone', reason }] });
    }
    if (error.code === 'P2003') {
      const reason = 'names a campaign that does not exist';
      throw new AppError('INVALID', `queues ${reason}`, { issues: [{ field: 'queues', reason }] });
    }
    throw error;
  }
}

/** With the calls of the offers that are under way. */
async function agentsJson(db: Db, rows: AgentRow[]): Promise<AgentJson[]> {
  const offerIds = rows.flatMap(({ offerId }) => (offerId === null ? [] : [offerId]));
  const where = { id: { in: offerIds } };
  const offers = offerIds.length > 0 ? await db.prisma.offer.findMany({ where, select: { id: true, callId: true } }) : [];
  const callOf = new Map(offers.map(({ id, callId }) => [id, callId]));
  return rows.map((row) => agentJson(row, row.offerId === null ? undefined : callOf.get(row.offerId)));
}

function agentJson(row: AgentRow, callId: bigint | undefined): AgentJson {
  return {
    id: String(row.id),
    name: row.name,
    phone: row.phone,
    confirm: row.confirm,
    daily_log_off: row.logOffTime && row.logOffZone ? { time: row.logOffTime, zone: row.logOffZone } : null,
    ...viewJson({
      state: row.state as AgentState,
      next_state: row.nextState,
      since: row.since,
      state_until: row.stateUntil,
    }),
    cause: row.cause,
    offer_id: row.offerId === null ? null : String(row.offerId),
    call_id: callId === undefined ? null : String(callId),
    queues: row.queues.map(({ campaignId, priority }) => ({ campaign_id: String(campaignId), priority })),
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}

export function viewJson({ state, next_state, since, state_until }: AgentView) {
  return {
    state,
    since: since.toISOString(),
    until: state_until?.toISOString() ?? null,
    next_state: next_state as 'paused' | 'logged_off' | null,
  };
}
