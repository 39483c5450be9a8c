/** The API in this process, on a database of its own, with doubles for workflows; what each test of api-*.test.ts begins with. */
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, expect, onTestFinished } from 'vitest';
import { allRoutes } from '../../api/app.ts';
import { ensureAdminKey, hashSecret, type Role } from '../../api/auth.ts';
import type { Deps, Route } from '../../api/http.ts';
import { createListener } from '../../api/listener.ts';
import { createMetrics } from '../../api/metrics.ts';
import { problemSchema } from '../../api/problems.ts';
import { type Place, startApi } from '../../api/server.ts';
import { systemClock } from '../../config/clock.ts';
import { createMatching } from '../../matching/matching.ts';
import { createPool, createPrisma } from '../../prisma/client.ts';
import type { Db } from '../../prisma/tx.ts';
import { createAddresses } from '../../webhooks/addresses.ts';
import type { ContactRef, Workflows } from '../../workflows/client.ts';
import { freshDatabase } from '../kit/database.ts';
import { eventually } from '../kit/eventually.ts';

/** What workflows were asked for, and what they answer. */
export interface FakeWorkflows extends Workflows {
  campaigns: string[];
  updates: { contact: ContactRef; name: string; argument: unknown; key: string }[];
  signals: { contact: ContactRef; name: string }[];
  /** Called for each update; may throw, or change rows as the workflow would. */
  onUpdate: (name: string, argument: unknown, contact: ContactRef) => unknown;
  /** Thrown by campaignChanged. */
  away: Error | null;
}

export function fakeWorkflows(): FakeWorkflows {
  const fake: FakeWorkflows = {
    campaigns: [],
    updates: [],
    signals: [],
    onUpdate: () => undefined,
    away: null,
    startContact: () => Promise.resolve('started'),
    restartContact: () => Promise.resolve(),
    isRunning: () => Promise.resolve(false),
    takenUp: () => Promise.resolve(true),
    campaignChanged(id) {
      if (fake.away) return Promise.reject(fake.away);
      fake.campaigns.push(id);
      return Promise.resolve();
    },
    signal(contact, { name }) {
      fake.signals.push({ contact, name });
      return Promise.resolve('told');
    },
    standing: () => Promise.resolve('waits'),
    async *endedByForce() {},
    async update(contact, definition, argument, key) {
      const { name } = definition;
      fake.updates.push({ contact, name, argument, key });
      return ((await fake.onUpdate(name, argument, contact)) ?? { done: true }) as never;
    },
  };
  return fake;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- bodies of any shape, checked by what tests expect
export type Json = any;

export interface Answer {
  status: number;
  body: Json;
  headers: Headers;
  text: string;
}

export interface Api {
  url: string;
  databaseUrl: string;
  db: Db;
  workflows: FakeWorkflows;
  deps: Deps;
  routes: Route[];
  admin: string;
  close(): Promise<void>;
  /** Sends a request with a key (the administrator's unless told), and checks the answer against the route's own schema. */
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer>;
  /** A new key of this role. */
  key(role: Role, agentId?: number): Promise<string>;
}

export interface CallOptions {
  key?: string | null;
  headers?: Record<string, string>;
  /** The body as it is, not as JSON. */
  raw?: string | Buffer;
}

/** `place`: other limits than usual. */
export async function startTestApi(overrides: Partial<Deps> = {}, place: Partial<Place> = {}): Promise<Api> {
  const url = await freshDatabase();
  const pool = createPool(url, { max: 10, name: 'test' });
  const prisma = createPrisma(url, { max: 3, name: 'test' });
  const db: Db = { pool, prisma, clock: systemClock };
  const log = pino({ level: 'silent' });
  const workflows = fakeWorkflows();
  const deps: Deps = {
    db,
    workflows,
    matching: createMatching({ db, workflows, log }),
    checkTemporal: () => Promise.resolve(),
    telephony: { simulatorUrl: null },
    addresses: createAddresses([]),
    listen: createListener(url, log),
    log,
    ...overrides,
  };
  const admin = `dw_admin_${randomUUID()}`;
  await ensureAdminKey(db, admin);
  const server = await startApi(deps, { host: '127.0.0.1', port: 0, ...place });
  const routes = allRoutes({ ...deps, listen: { subscribe: () => undefined, close: () => Promise.resolve() } }, createMetrics());
  let closed = false;
  const api: Api = {
    url: server.url,
    databaseUrl: url,
    db,
    workflows,
    deps,
    routes,
    admin,
    async close() {
      if (closed) return;
      closed = true;
      await server.close();
      await prisma.$disconnect();
      await pool.end();
    },
    async call(method, path, body, options = {}) {
      const answer = await send(api, method, path, body, options);
      checkAnswer(routes, method, path, answer);
      return answer;
    },
    async key(role, agentId) {
      const plain = `dw_${role}_${randomUUID()}`;
      await prisma.apiKey.create({
        data: { name: role, role, agentId: agentId ?? null, hash: hashSecret(plain), createdAt: new Date() },
      });
      return plain;
    },
  };
  afterAll(() => api.close());
  // The first request of a process takes its time, and is answered 503 on a busy machine.
  await eventually(async () => (await send(api, 'GET', '/v1/campaigns', undefined, {})).status === 200);
  return api;
}

async function send(api: Api, method: string, path: string, body: unknown, options: CallOptions): Promise<Answer> {
  const { key = api.admin, headers = {}, raw } = options;
  const response = await fetch(api.url + path, {
    method: method.toUpperCase(),
    headers: {
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    body: raw ?? (body === undefined ? null : JSON.stringify(body)),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('Content-Type') ?? '');
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
}

/** Every answer of every test is what the documentation says of it. */
function checkAnswer(routes: Route[], method: string, path: string, { status, body, headers }: Answer): void {
  expect(status, JSON.stringify(body)).not.toBe(500);
  const route = findRoute(routes, method, path);
  const documented = route?.statuses ?? [route?.response ? 200 : 204];
  if (status >= 400 && !documented.includes(status)) {
    expect(headers.get('Content-Type')).toBe('application/problem+json; charset=utf-8');
    problemSchema.parse(body);
    return;
  }
  if (!route) return;
  expect(documented).toContain(status);
  if (route.response && body !== undefined) route.response.parse(body);
}

export function findRoute(routes: Route[], method: string, path: string): Route | undefined {
  const [pathname] = path.split('?');
  const fits = (route: Route) => new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(pathname!);
  return routes.find((route) => route.method === method.toLowerCase() && fits(route));
}

// ---- rows that other parts would have written -----------------------------------------------------------------------

let names = 0;
export const unique = (prefix: string): string => `${prefix}${++names}`;

export async function makeCampaign(api: Api, more: object = {}): Promise<Json> {
  const body = { name: unique('Campaign '), country: 'NO', zone: 'Europe/Oslo', ...more };
  return (await api.call('POST', '/v1/campaigns', body)).body;
}

export async function makeAgent(api: Api, campaigns: { id: string }[] = []): Promise<Json> {
  const queues = campaigns.map(({ id }) => ({ campaign_id: id }));
  const body = { name: unique('Agent '), phone: String(1000 + ++names), queues };
  return (await api.call('POST', '/v1/agents', body)).body;
}

export async function makeContact(api: Api, campaign: { id: string }, more: object = {}): Promise<Json> {
  const phone_num = `+4790${String(100000 + ++names)}`;
  const path = `/v1/campaigns/${campaign.id}/contacts/by-external-id/${unique('ext-')}`;
  return (await api.call('PUT', path, { phone_num, variables: { var1: 'Kari' }, ...more })).body;
}

/** A closed stream of Server-Sent Events, read as far as it has come. */
export interface Sse {
  status: number;
  events: { id: string | undefined; event: string; data: Json }[];
  comments: number;
  ended: Promise<void>;
  close(): void;
}

export async function openSse(url: string, headers: Record<string, string>): Promise<Sse> {
  const { createParser } = await import('eventsource-parser');
  const abort = new AbortController();
  const response = await fetch(url, { headers, signal: abort.signal });
  const sse: Sse = { status: response.status, events: [], comments: 0, ended: Promise.resolve(), close: () => abort.abort() };
  const parser = createParser({
    onEvent: ({ id, event, data }) => void sse.events.push({ id, event: event ?? '', data: JSON.parse(data) }),
    onComment: () => void sse.comments++,
  });
  const decoder = new TextDecoder();
  sse.ended = (async () => {
    for await (const chunk of response.body!) parser.feed(decoder.decode(chunk, { stream: true }));
  })().catch(() => undefined);
  onTestFinished(() => abort.abort());
  return sse;
}

