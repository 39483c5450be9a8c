/** The documents are kept true by what can be checked cheaply: names, defaults, routes, links. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { allRoutes } from '../../api/app.ts';
import type { Deps } from '../../api/http.ts';
import { createMetrics } from '../../api/metrics.ts';
import { PROBLEMS } from '../../api/problems.ts';
import { PROBLEM_KINDS } from '../../api/schemas/problems.ts';
import { CALL_EVENT_COLUMNS } from '../../api/schemas.ts';
import { LEG_CODES, RESULT_REASONS } from '../../domain/codes.ts';
import { REPAIRS } from '../../domain/repairs.ts';
import { defaultRules } from '../../domain/rules.ts';
import {
  AGENT_STATES,
  CAMPAIGN_STATUSES,
  CONTACT_STATES,
  DISPOSITION_ACTIONS,
  ENDED_REASONS,
  WAIT_REASONS,
} from '../../domain/states.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');
const DOCUMENTS = [
  ...readdirSync(ROOT).filter((file) => file.endsWith('.md')),
  ...readdirSync(path.join(ROOT, 'docs')).flatMap((file) => (file.endsWith('.md') ? [`docs/${file}`] : [])),
];

/** The part of a document under a heading. */
function section(file: string, heading: string): string {
  const [, text] = read(file).split(`\n## ${heading}\n`);
  if (text === undefined) throw new Error(`${file} has no section "${heading}"`);
  return text.split('\n## ')[0]!;
}

/** Cells of a table's rows, without the ticks of names. */
function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) => line.split(' | ').map((cell) => cell.replace(/^\| |`| \|$/g, '')));
}

/** What stands in ticks. */
const named = (text: string): Set<string> => new Set([...text.matchAll(/`([^`\n]+)`/g)].map(([, name]) => name!));

describe('docs/configuration.md', () => {
  test('has every setting, and no other', () => {
    const settings = [...read('config/config.ts').matchAll(/^ {2}([A-Z][A-Z0-9_]*):/gm)].map(([, name]) => name!);
    const documented = rows(section('docs/configuration.md', 'Settings')).map(([name]) => name!);
    expect(documented.toSorted()).toEqual(settings.toSorted());
    expect(settings.length).toBeGreaterThan(10);
  });

  test.each(['README.md', 'docs/operations.md'])('has what %s names', (file) => {
    const known = named(read('docs/configuration.md'));
    const variables = [...named(read(file))].filter((name) => /^[A-Z]{2,}(_[A-Z]+)+$/.test(name));
    expect(variables.filter((name) => !known.has(name))).toEqual([]);
  });
});

describe('docs/dependencies.md', () => {
  test.each([
    ['dependencies', 'In production'],
    ['devDependencies', 'For development, tests and `npm start`'],
  ])('has a line for each of the %s, and for no other', (kind, heading) => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    const documented = rows(section('docs/dependencies.md', heading)).map(([name]) => name!);
    expect(documented.toSorted()).toEqual(Object.keys(manifest[kind]!).toSorted());
  });
});

describe('docs/domain.md', () => {
  const words = { CONTACT_STATES, WAIT_REASONS, ENDED_REASONS, AGENT_STATES, CAMPAIGN_STATUSES, DISPOSITION_ACTIONS };

  test.each(Object.entries({ ...words, LEG_CODES, RESULT_REASONS }))('explains every word of %s', (_name, all) => {
    const explained = named(read('docs/domain.md'));
    expect(all.filter((word) => !explained.has(word))).toEqual([]);
  });

  test('has the columns of the raw data, in their order', () => {
    const [, table = ''] = section('docs/domain.md', 'Raw data').split('| column | meaning |');
    const columns = table.split('\n\n')[0]!.split('\n').flatMap((line) => [...named(line.split(' | ')[0]!)]);
    expect(columns).toEqual(CALL_EVENT_COLUMNS);
  });

  test('has every rule with its default', () => {
    // A rule within a rule stands as `retry.b.delay_sec`; the maxima of retries are told in a sentence.
    const flat = (value: unknown, name: string): [string, string][] => {
      if (value === null) return name.startsWith('retry.') ? [] : [[name, 'null']];
      if (typeof value !== 'object' || Array.isArray(value)) return [[name, JSON.stringify(value).replaceAll('"', '')]];
      return Object.entries(value).flatMap(([key, inner]) => flat(inner, name === '' ? key : `${name}.${key}`));
    };
    const documented = rows(section('docs/domain.md', 'Rules of a campaign')).map(([name, value]) => [name!, value!]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(flat(defaultRules(), '')));
  });
});

describe('docs/operations.md', () => {
  test('has every cause of a repair, in the words in which it is told', () => {
    const plain = (text: string) => text.replaceAll('`', '');
    const documented = rows(section('docs/operations.md', 'Repairs')).map(([cause, ...words]) => [cause!, words.map(plain)]);
    const told = Object.entries(REPAIRS).map(([cause, { found, done, look }]) => [cause, [found, done, look]]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(told));
  });

  test('has every kind of problem', () => {
    expect(rows(section('docs/operations.md', 'Problems')).map(([kind]) => kind)).toEqual(PROBLEM_KINDS);
  });
});

describe('routes', () => {
  const deps = {
    telephony: { simulatorUrl: 'http://127.0.0.1:1' },
    listen: { subscribe: () => undefined, close: () => Promise.resolve() },
    log: pino({ level: 'silent' }),
  } as unknown as Deps;
  const routes = allRoutes(deps, createMetrics()).map(({ method, path: at }) => `${method.toUpperCase()} ${at}`);
  const shape = (route: string): string => route.replace(/\{\w+\}/g, '{}');
  const shapes = new Set(routes.map(shape));
  const UNLISTED = new Set(['GET /docs', 'GET /openapi.json']);

  test.each(DOCUMENTS)('that %s names exist', (file) => {
    const text = file === 'docs/telephony.md' ? read(file).replace(/### HTTP interface[^]*?###/, '') : read(file);
    const told = [...named(text)].flatMap((name) => /^(GET|POST|PUT|PATCH|DELETE) \/[^\s?]*/.exec(name)?.[0] ?? []);
    expect(told.filter((route) => !shapes.has(shape(route)) && !UNLISTED.has(route))).toEqual([]);
  });

  test('are all in docs/api.md', () => {
    const told = named(section('docs/api.md', 'Resources'));
    expect(routes.filter((route) => !told.has(route))).toEqual([]);
  });

  test('that the examples call exist', () => {
    const commands = read('README.md').replaceAll('\\\n', ' ').split('\n').filter((line) => /curl .*\$API\//.test(line));
    const called = commands.map((command) => {
      const [, at = ''] = /\$API(\/[^\s"?]*)/.exec(command)!;
      const [, given] = /-X (\w+)/.exec(command) ?? [];
      const method = given ?? (/ (-d|--data-binary) /.test(`${command} `) ? 'POST' : 'GET');
      return `${method} ${at.replace(/\$\w+/g, '{}').replace('/phones/2001/', '/phones/{}/')}`;
    });
    expect(called.length).toBeGreaterThan(10);
    expect(called.filter((route) => !shapes.has(route))).toEqual([]);
  });

  test('have every error code in docs/api.md, with its status', () => {
    const documented = rows(section('docs/api.md', 'Errors')).map(([code, status]) => [code!, Number(status)]);
    expect(Object.fromEntries(documented)).toEqual(
      Object.fromEntries(Object.entries(PROBLEMS).map(([code, { status }]) => [code, status])),
    );
  });
});

describe('links', () => {
  /** As GitHub makes them of headings. */
  const anchorsOf = (file: string): string[] =>
    [...read(file).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'),
    );

  test.each(DOCUMENTS)('of %s lead somewhere', (file) => {
    const broken = [...read(file).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].filter(([, to, anchor]) => {
      const target = to === '' ? file : path.join(path.dirname(file), to!);
      if (!existsSync(path.join(ROOT, target))) return true;
      return anchor !== undefined && !anchorsOf(target).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test.each(DOCUMENTS)('of %s name folders and files that exist', (file) => {
    const ROOMS = /^(activities|api|bench|config|dev|domain|matching|prisma|telephony|test|worker|workflows)\/[\w./-]*$/;
    const missing = [...named(read(file))].filter((name) => ROOMS.test(name) && !existsSync(path.join(ROOT, name)));
    expect(missing).toEqual([]);
  });
});
