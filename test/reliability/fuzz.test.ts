/**
 * Thousands of requests that nobody would think of, made of the API's own description, to the API as a process of its own.
 * A failure is shown small; FUZZ_SEED=… makes the same requests again, FUZZ_REQUESTS=… more of them, FUZZ_LOG=1 tells what came
 * of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { startApiProcess } from '../kit/api-process.ts';
import { eventually } from '../kit/eventually.ts';
import { Client, type FuzzAnswer, isRefused, shown, wrongWith } from '../kit/fuzz/answers.ts';
import { type ApiDocument, type Operation, readDocument } from '../kit/fuzz/document.ts';
import { importFiles } from '../kit/fuzz/files.ts';
import { type FuzzRequest, requestsTo } from '../kit/fuzz/requests.ts';
import { checksumOf, checksums } from '../kit/fuzz/rows.ts';
import { makeWorld, type World } from '../kit/fuzz/world.ts';
import { SimulatorProcess } from '../kit/simulator.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000_000);
const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 10_000);
const UPLOADS = Math.ceil(REQUESTS / 30);
/** Requests at the same time. */
const LANES = 4;
/** What a process may take on top, whatever it is asked; a leak of 30 kB a request would be more. */
const MORE_MEMORY_MB = 300;
const log = process.env.FUZZ_LOG ? console.log : () => undefined;

const CALLERS = [...Array<string>(12).fill('admin'), ...Array<string>(4).fill('agent'), 'manager', 'manager', 'operator', 'operator', 'nobody', 'unknown'];

const simulator = await SimulatorProcess.start({ speed: 20 });
// Not within a hook: what it leaves to be done after all would not be done.
const api = await startApiProcess({ settings: { SIMULATOR_URL: simulator.url } });
let client: Client;
let world: World;
let document: ApiDocument;

beforeAll(async () => {
  world = await makeWorld(api);
  client = new Client(api.url, world.keys);
  document = readDocument(await (await fetch(`${api.url}/openapi.json`)).text());
  return async () => {
    client.close();
    await simulator.close();
  };
});

/** Each lane has its share of what is made up, one after the other. */
const inLanes = <T>(many: number, made: fc.Arbitrary<T>, look: (made: T, lane: number) => Promise<void>): Promise<unknown> =>
  Promise.all(
    Array.from({ length: LANES }, (_, lane) =>
      fc.assert(fc.asyncProperty(made, (one) => look(one, lane)), { seed: SEED + lane, numRuns: Math.ceil(many / LANES) }),
    ),
  );

const nameOf = ({ method, path }: Operation): string => `${method} ${path}`;

describe(`requests made of the API's description (seed ${SEED})`, () => {
  const asked = new Map<string, Map<number, number>>();

  function note(request: FuzzRequest, answer: FuzzAnswer): void {
    const name = nameOf(request.operation);
    const statuses = asked.get(name) ?? new Map<number, number>();
    asked.set(name, statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1));
  }

  it('each has an answer that is documented, and none of them harms the process', { timeout: REQUESTS * 30 }, async () => {
    const before = api.memoryMb();
    await inLanes(REQUESTS, requestsTo(document, world.there, CALLERS), async (request) => {
      const answer = await client.ask(request);
      note(request, answer);
      const wrong = wrongWith(request, answer);
      if (wrong === null) return;
      // The process writes its log a moment later.
      if (answer.status === 500) await eventually(() => api.log().includes('"level":50')).catch(() => undefined);
      throw new Error(`${wrong}\n${shown(request, answer)}\n${answer.status >= 500 ? api.log() : ''}`);
    });
    const after = api.memoryMb();
    log(`memory of the process: ${before} MB before, ${after} MB after`);
    for (const [name, statuses] of asked) log(name, Object.fromEntries([...statuses].sort(([a], [b]) => a - b)));
    expect(after - before).toBeLessThan(MORE_MEMORY_MB);
    expect((await fetch(`${api.url}/healthz`)).status).toBe(200);
  });

  it('reach every route, and are carried out where no workflow is needed', () => {
    const done = (operation: Operation) => [...(asked.get(nameOf(operation))?.keys() ?? [])].some((status) => status < 300);
    const never = document.operations.filter((operation) => !done(operation)).map(nameOf);
    const left = never.filter((name) => !NEEDS_WORKFLOW.test(name));
    // By chance some are always refused: one in ten at most, or the requests are no good.
    expect(left.length, left.join(', ')).toBeLessThanOrEqual(document.operations.length / 10);
  });

  it('change nothing if they are refused', { timeout: REQUESTS * 30 }, async () => {
    const sums = await checksums(api.sql);
    let before = await sums();
    let refused = 0;
    // One after the other, with nobody else about: so what has changed was this one.
    // A stream goes on after its answer: it keeps an agent logged on.
    const operations = document.operations.filter(({ answers }) => !answers[200]?.['text/event-stream']);
    const property = fc.asyncProperty(requestsTo({ ...document, operations }, world.there, CALLERS), async (request) => {
      const answer = await client.ask(request);
      const after = await sums();
      if (isRefused(answer)) {
        refused++;
        if (!isDeepStrictEqual(after, before)) await changesNothing(request, sums);
      }
      before = await sums();
    });
    await fc.assert(property, { seed: SEED + LANES, numRuns: Math.ceil(REQUESTS / 6) });
    log(`${refused} refused requests have changed nothing`);
    expect(refused).toBeGreaterThan(REQUESTS / 20);
  });
});
/** What an earlier request has set off may go on after its answer: so it is asked again when all is quiet. */
async function changesNothing(request: FuzzRequest, sums: () => Promise<Record<string, string>>): Promise<void> {
  const quiet = await eventually(async () => {
    const first = await sums();
    await sleep(100);
    return isDeepStrictEqual(await sums(), first) ? first : null;
  });
  const answer = await client.ask(request);
  if (isRefused(answer)) expect(await sums(), shown(request, answer)).toEqual(quiet);
}

const NEEDS_WORKFLOW = /\/(offers|calls|simulator\/phones)\//;

describe(`files sent to be imported (seed ${SEED})`, () => {
  const TYPES = { csv: 'text/csv', json: 'application/json', ndjson: 'application/x-ndjson' };
  const uploads = fc.record({
    file: importFiles(),
    mode: fc.constantFrom('add', 'add', 'replace'),
    badRows: fc.constantFrom('reject', 'skip'),
    dryRun: fc.constantFrom('false', 'false', 'false', 'true'),
  });
  const operationOf = (path: string) => document.operations.find((operation) => nameOf(operation) === `POST ${path}`)!;

  /** The answer, of which nothing is wrong. */
  async function upload(operation: Operation, target: string, type: string, body: Buffer): Promise<FuzzAnswer> {
    const request = { operation, who: 'admin', target, headers: { 'Content-Type': type }, body };
    const answer = await client.ask(request);
    const wrong = wrongWith(request, answer);
    if (wrong !== null || answer.status === 503) throw new Error(`${wrong}\n${shown(request, answer)}\n${api.log()}`);
    return answer;
  }

  it('are in the list as a whole or not at all, and the same one again changes nothing', { timeout: 120_000 }, async () => {
    // An import is one at a time.
    const lists = await Promise.all(Array.from({ length: LANES }, () => newCampaign()));
    const operation = operationOf('/v1/campaigns/{id}/imports');
    let [done, refused] = [0, 0];
    const before = api.memoryMb();
    await inLanes(UPLOADS, uploads, async ({ file, mode, badRows, dryRun }, lane) => {
      const target = `/v1/campaigns/${lists[lane]}/imports?mode=${mode}&bad_rows=${badRows}&dryRun=${dryRun}`;
      const send = () => upload(operation, target, TYPES[file.format], file.bytes);
      const rows = () => checksumOf(api.sql, 'contact', `campaign_id = ${lists[lane]}`);
      const rowsBefore = await rows();
      const answer = await send();
      const said = JSON.parse(answer.text) as Record<string, number>;
      if (isRefused(answer) || dryRun === 'true') {
        refused++;
        expect(await rows()).toBe(rowsBefore);
        return;
      }
      done++;
      expect(said.added! + said.updated! + said.unchanged! + said.skipped!).toBe(said.rows);
      expect(parseInt(await rows()) - parseInt(rowsBefore)).toBe(said.added);
      expect(JSON.parse((await send()).text)).toMatchObject({ added: 0, updated: 0, disabled: 0, unchanged: said.rows! - said.skipped! });
    });
    log(`uploads: ${done} done, ${refused} refused or tried; memory ${before} MB before, ${api.memoryMb()} MB after`);
    expect(done).toBeGreaterThan(UPLOADS / 10);
    expect(refused).toBeGreaterThan(UPLOADS / 10);
    expect(api.memoryMb() - before).toBeLessThan(MORE_MEMORY_MB);
  });

  it('are on the do-not-call list as a whole or not at all', { timeout: 120_000 }, async () => {
    const operation = operationOf('/v1/do-not-call/import');
    const property = fc.asyncProperty(uploads, async ({ file, badRows, dryRun }) => {
      const bytes = Buffer.from(file.bytes.toString('latin1').replace('phone_num', 'number').replace('external_id', 'comment'), 'latin1');
      const rows = () => checksumOf(api.sql, 'do_not_call');
      const before = await rows();
      const answer = await upload(operation, `/v1/do-not-call/import?country=NO&bad_rows=${badRows}&dryRun=${dryRun}`, 'text/csv', bytes);
      const said = JSON.parse(answer.text) as Record<string, number>;
      const added = isRefused(answer) || dryRun === 'true' ? 0 : said.added!;
      expect(parseInt(await rows()) - parseInt(before)).toBe(added);
      if (added === 0) expect(await rows()).toBe(before);
    });
    await fc.assert(property, { seed: SEED, numRuns: Math.ceil(UPLOADS / 4) });
  });

  async function newCampaign(): Promise<string> {
    const body = JSON.stringify({ name: 'Files', country: 'NO', zone: 'Europe/Oslo', rules: { countries: ['NO', 'SE'] } });
    const headers = { Authorization: `Bearer ${api.adminKey}`, 'Content-Type': 'application/json' };
    const answer = await fetch(`${api.url}/v1/campaigns`, { method: 'POST', headers, body });
    return ((await answer.json()) as { id: string }).id;
  }
});
