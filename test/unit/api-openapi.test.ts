import type express from 'express';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { allRoutes, createApp } from '../../api/app.ts';
import type { Deps, Route } from '../../api/http.ts';
import { createMetrics } from '../../api/metrics.ts';
import { openApiDocument } from '../../api/openapi.ts';
import { PROBLEMS } from '../../api/problems.ts';

const deps = {
  telephony: { simulatorUrl: 'http://127.0.0.1:1' },
  listen: { subscribe: () => undefined, close: () => Promise.resolve() },
  log: pino({ level: 'silent' }),
} as unknown as Deps;

interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  parameters?: { name: string; in: string }[];
  requestBody?: object;
  responses: Record<string, { content?: Record<string, unknown> }>;
  security?: unknown[];
}
type Document = { openapi: string; paths: Record<string, Record<string, Operation>>; components: Record<string, object> };

const routes: Route[] = allRoutes(deps, createMetrics());
const document = JSON.parse(JSON.stringify(openApiDocument(routes, '1.0.0'))) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

/** What Express has been told, as `get /v1/campaigns/{id}`; the page and the document itself are no part of the API. */
function registered(app: express.Express): string[] {
  const { stack } = app.router as unknown as { stack: { route?: { path: string; methods: Record<string, boolean> } }[] };
  return stack
    .map(({ route }) => ({ path: route?.path ?? '', methods: Object.keys(route?.methods ?? {}) }))
    .filter(({ path, methods }) => methods.length === 1 && path !== '/openapi.json') // with all methods: what refuses them
    .map(({ path, methods }) => `${methods[0]} ${path.replace(/:(\w+)/g, '{$1}')}`);
}

describe('the OpenAPI document', () => {
  test('has every registered route, and no other', () => {
    const documented = operations.map(({ path, method }) => `${method} ${path}`);
    expect(registered(createApp(deps)).sort()).toEqual(documented.sort());
    expect(documented.length).toBeGreaterThan(40);
  });

  test('is of version 3.1, with a summary, an id and a success for each operation', () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, method, operation } of operations) {
      expect(operation.summary, `${method} ${path}`).toBeTruthy();
      expect(Object.keys(operation.responses).some((status) => status.startsWith('2'))).toBe(true);
    }
  });

  test('declares the parameters that its paths name', () => {
    for (const { path, operation } of operations) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name }) => name).sort(), path).toEqual(named.sort());
    }
  });

  test('refers to nothing that is not there', () => {
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(50);
    expect(references.length).toBe([...text.matchAll(/"\$ref"/g)].length);
    for (const [, kind, name] of references) expect(document.components[kind!], name).toHaveProperty(name!);
  });

  test('tells the roles and the errors of each route', () => {
    for (const route of routes) {
      const operation = document.paths[route.path]![route.method]!;
      const statuses = Object.keys(operation.responses).map(Number);
      for (const code of route.fails ?? []) expect(statuses, `${route.path} ${code}`).toContain(PROBLEMS[code].status);
      if (route.roles === 'anyone') expect(operation.security).toEqual([]);
      else expect(operation.description).toContain(route.roles.join(', '));
    }
  });

  test('routes that change something are for nobody who only reads', () => {
    for (const { method, path, roles } of routes) {
      // The check only reads, though it is asked for like something that is done.
      if (method !== 'get' && !path.endsWith('/check')) expect(roles, `${method} ${path}`).not.toContain('operator');
    }
  });

  test('without the simulator there is nothing under /v1/simulator', () => {
    const real = allRoutes({ ...deps, telephony: { simulatorUrl: null } }, createMetrics());
    expect(real.filter(({ path }) => path.startsWith('/v1/simulator'))).toEqual([]);
  });
});
