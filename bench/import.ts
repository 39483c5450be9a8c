// Rows a second from an HTTP request into a list, beside a bare COPY of the same rows into an equal table; and what a large
// list costs in memory.

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { Figure } from './figure.ts';
import { type Product, quantile, type Rig, seconds } from './kit.ts';

const ROWS = 100_000;
/** Measured in turns, so that what else the machine does meets both; the medians are compared. */
const ROUNDS = 5;
const CHUNK = 65_536;
const MANY_ROWS = 1_000_000;
const LOOK_EVERY_MS = 200;

export async function benchImport({ sql, product, say }: Rig): Promise<Figure[]> {
  const api = await product();
  await sql.query(`CREATE TABLE bare_contact (LIKE contact INCLUDING ALL);
                   ALTER TABLE bare_contact ADD FOREIGN KEY (campaign_id) REFERENCES campaign (id)`);
  const people = [...makePeople(ROWS)];
  const file = [HEADER, ...people.map(csvLine), ''].join('\n');
  const imported: number[] = [];
  const copied: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const campaign = await makeEmptyCampaign(api, round);
    copied.push(ROWS / (await seconds(() => copyBare(sql, campaign, people))));
    imported.push(ROWS / (await seconds(() => importFile(api, campaign, file, ROWS))));
    say(`import ${Math.round(imported.at(-1)!)} rows/s, bare COPY ${Math.round(copied.at(-1)!)}`);
  }
  await sql.query('DROP TABLE bare_contact');
  const memory = await manyRows(api, say);
  return [
    {
      name: 'rows imported',
      value: quantile(imported, 0.5),
      unit: '/s',
      limit: quantile(copied, 0.5),
      limitIs: 'bare COPY of the same rows',
      aim: { of: 'ratio', atLeast: 0.5 },
    },
    {
      name: 'memory, 1,000,000 rows',
      value: memory.most,
      unit: 'MB',
      limit: memory.before,
      limitIs: 'the API before it, having imported 100,000 five times',
      aim: { of: 'ratio', atMost: 1.5 },
    },
  ];
}

/** Resident memory of the API, in MB, before and at most while many rows are imported, and counted again in a dry run. */
async function manyRows(api: Product, say: Rig['say']): Promise<{ before: number; most: number }> {
  const campaign = await makeEmptyCampaign(api, ROUNDS);
  const before = await api.memory();
  let most = before;
  let isOver = false;
  const looking = (async () => {
    // A connection that was kept may just have been closed: the next look asks by another.
    for (; !isOver; await sleep(LOOK_EVERY_MS)) most = Math.max(most, await api.memory().catch(() => 0));
  })();
  const took = await seconds(() => importFile(api, campaign, Readable.from(fileOf(MANY_ROWS)), MANY_ROWS));
  say(`${MANY_ROWS} rows in ${took.toFixed(1)} s, ${Math.round(most)} MB at most`);
  const again = await seconds(() => api.ask('POST', `/campaigns/${campaign}/imports?mode=replace&dryRun=true`, Readable.from(fileOf(MANY_ROWS))));
  isOver = true;
  await looking;
  say(`the same as a dry run in ${again.toFixed(1)} s, ${Math.round(most)} MB at most`);
  return { before, most };
}

/** The file in pieces, made as it is sent. */
function* fileOf(rows: number): Generator<Buffer> {
  let lines = [HEADER];
  for (const person of makePeople(rows)) {
    lines.push(csvLine(person));
    if (lines.length < 500) continue;
    yield Buffer.from(`${lines.join('\n')}\n`);
    lines = [];
  }
  yield Buffer.from(lines.map((line) => `${line}\n`).join(''));
}

async function makeEmptyCampaign(api: Product, round: number): Promise<string> {
  const { id } = await api.ask<{ id: string }>('POST', '/campaigns', {
    name: `Import ${round}`,
    country: 'NO',
    zone: 'Europe/Oslo',
    rules: { countries: ['NO', 'SE'] },
  });
  return id;
}

async function importFile(api: Product, campaign: string, file: string | Readable, rows: number): Promise<void> {
  const { added } = await api.ask<{ added: number }>('POST', `/campaigns/${campaign}/imports?mode=add`, file);
  if (added !== rows) throw new Error(`${added} rows were added instead of ${rows}`);
}

/** What the import writes, prepared beforehand, into a table with the same columns, indexes and foreign key. */
async function copyBare(sql: Rig['sql'], campaign: string, people: Person[]): Promise<void> {
  const now = new Date().toISOString();
  const rows = Buffer.from(people.map((person) => copyLine(campaign, person, now)).join(''));
  const client = await sql.connect();
  try {
    await pipeline(
      Array.from({ length: Math.ceil(rows.length / CHUNK) }, (_, i) => rows.subarray(i * CHUNK, (i + 1) * CHUNK)),
      client.query(
        copyFrom(`COPY bare_contact (campaign_id, list_key, external_id, phone_num, phone_2, variables, zone, priority,
                    state_since, place, created_at, updated_at) FROM STDIN`),
      ),
    );
  } finally {
    client.release();
  }
}

// ---- a list like those of customers ---------------------------------------------------------------------------------

interface Person {
  id: string;
  phone: string;
  phone2: string | null;
  zone: string | null;
  variables: string[];
}

const VARIABLES = 8;
const NAMED = Array.from({ length: VARIABLES }, (_, i) => `var${i + 1}`);
const HEADER = ['external_id,phone_num,phone_2,zone', ...NAMED].join(',');
const NAMES = ['Åse Nordmann', 'Kari Bø', 'Jonas Ødegård', 'Siri Hansen', 'Lars Grønli', 'Nina Dahl', 'Per Strømsnes'];
/** Of which Norway's mobile numbers begin. */
const MOBILE = ['40', '41', '45', '46', '47', '48'];
const PRODUCTS = ['Fibre 500', 'Fibre 1000', 'Mobile 20 GB', 'TV basic', 'Alarm', 'Electricity spot'];

/** People with mobile numbers of Norway and Sweden, a third of them with two; the same ones at every call. */
function* makePeople(count: number): Generator<Person> {
  const random = seeded(20_261_123);
  const pick = (from: readonly string[]): string => from[Math.floor(random() * from.length)]!;
  for (let n = 0; n < count; n++) {
    yield {
      id: `C-${1_000_000 + n}`,
      phone: `+47${MOBILE[n % MOBILE.length]}${String(Math.floor(n / MOBILE.length)).padStart(6, '0')}`,
      phone2: n % 3 === 0 ? `+4670${1_000_000 + n * 8}` : null,
      zone: n % 4 === 0 ? null : 'Europe/Oslo',
      variables: [
        pick(NAMES),
        `Storgata ${Math.ceil(random() * 200)}, 3rd floor`,
        `${String(Math.floor(random() * 9999)).padStart(4, '0')} Oslo`,
        pick(PRODUCTS),
        `2026-0${1 + (n % 9)}-${10 + (n % 19)}`,
        `${100 + (n % 900)} kr`,
        n % 2 === 0 ? 'yes' : 'no',
        `invoice ${n}`,
      ],
    };
  }
}

/** Numbers from 0 to 1, always the same ones (mulberry32). */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const csvLine = ({ id, phone, phone2, zone, variables }: Person): string =>
  [id, phone, phone2 ?? '', zone ?? '', ...variables.map(csvCell)].join(',');
const csvCell = (value: string): string => (value.includes(',') ? `"${value}"` : value);

function copyLine(campaign: string, { id, phone, phone2, zone, variables }: Person, now: string): string {
  const json = JSON.stringify(Object.fromEntries(variables.map((value, i) => [NAMED[i]!, value])));
  const cells = [campaign, id, id, phone, phone2 ?? '\\N', json, zone ?? '\\N', '0', now, now, now, now];
  return `${cells.join('\t')}\n`;
}
