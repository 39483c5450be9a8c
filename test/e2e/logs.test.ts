/**
 * Nothing personal and no secret is in any log: a whole call, and whatever goes wrong around one, with every process at its most
 * talkative; then all that the processes have written is searched for what is known of people, and for what lets others in.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type Scene, setScene } from '../kit/scene.ts';
import { startSystem, type System } from '../kit/system.ts';

const PEOPLE = {
  number: '22400001',
  target: '22400003',
  refused: '22400666',
  keys: '98765432',
  name: 'Åse Ødegård',
  street: 'Storgata 17',
  comment: 'wants a call from her son',
  agent: 'Smithson',
  external: 'customer-4711-aa',
};
const SECRETS = { receiver: 'geheim-token-of-the-receiver', wrongKey: 'dw_wrong_but_perhaps_of_elsewhere', database: 'sehr-geheim' };
/** Added as they are made. */
const WORDS: string[] = [...Object.values(PEOPLE), ...Object.values(SECRETS)];

let system: System;
let receiver: ReturnType<typeof createServer>;
beforeAll(async () => {
  const manual = { trying: 0, alerting: 0.05, media: 0, then: { kind: 'manual' } };
  system = await startSystem({
    speed: 1,
    script: { contacts: [{ weight: 1, behaviour: manual }] },
    settings: { LOG_LEVEL: 'debug', WEBHOOK_NETWORKS: '127.0.0.0/8' },
  });
  // Answers nothing but a failure that quotes what it was sent.
  receiver = createServer((req, res) => void req.pipe(res.writeHead(500)));
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
}, 90_000);
afterAll(async () => {
  receiver?.closeAllConnections();
  receiver?.close();
  await system?.stop();
});

it('no number, name, comment, variable, key or secret is in any log', async () => {
  WORDS.push(system.adminKey, new URL(system.databaseUrl).password);
  const { port } = receiver.address() as AddressInfo;
  for (const url of [`http://localhost:${port}/${SECRETS.receiver}`, `http://127.0.0.1:1/?token=${SECRETS.receiver}`]) {
    WORDS.push((await system.ok('POST', '/webhooks', { url })).secret);
  }
  const scene = await setScene(system, {
    contacts: [{ phone_num: `+47${PEOPLE.number}`, variables: { var1: PEOPLE.name, var2: PEOPLE.street } }],
    agent: { name: `Agent ${PEOPLE.agent}` },
    rules: { wrap_up_sec: 600 },
  });
  WORDS.push(scene.agents[0]!.key);

  await badInput(scene);
  await refusedRows(scene);
  await call(scene);
  await databaseAway();
  await simulatorAway(scene);
  await startsThatFail();

  const { messages, text } = logs();
  // What went wrong is told, in so far as it may be.
  expect(messages).toEqual(
    expect.arrayContaining(['a request failed', 'activity failed', 'the switch can not be reached; retrying', 'cannot listen for events; trying again']),
  );
  expect(text).toContain('broken_by_the_test');
  expect(WORDS.length).toBeGreaterThan(15);
  expect(WORDS.filter((word) => word === '' || text.includes(word))).toEqual([]);
});

/** Everything that people get wrong, with what is theirs in it. */
async function badInput({ campaign }: Scene): Promise<void> {
  const contact = { phone_num: PEOPLE.number, variables: { var1: PEOPLE.name, var31: PEOPLE.street } };
  const answers = [
    await system.api('PUT', `/campaigns/${campaign}/contacts/by-external-id/${PEOPLE.external}`, contact),
    await system.api('POST', `/campaigns/${campaign}/imports?mode=add`, `phone_num,var1\n${PEOPLE.number},"${PEOPLE.name}\n"x,`),
    await system.api('POST', `/campaigns/${campaign}/imports?mode=add`, `phone_num;var1;${PEOPLE.name}\n${PEOPLE.number};x;y\n`),
    await system.api('GET', `/do-not-call/${encodeURIComponent(`+47${PEOPLE.number}`)}`),
    await system.api('POST', `/do-not-call/import?comment=${encodeURIComponent(PEOPLE.comment)}`, `number\n${PEOPLE.name}\n`),
    await system.api('GET', `/campaigns/${campaign}/contacts?q=${PEOPLE.number}&name=${encodeURIComponent(PEOPLE.name)}`),
    await system.api('GET', `/people/${PEOPLE.number}/${encodeURIComponent(PEOPLE.name)}`),
    await system.api('GET', '/campaigns', undefined, { key: SECRETS.wrongKey }),
    await system.api('POST', '/keys', { name: PEOPLE.name, role: PEOPLE.agent }, { idempotencyKey: PEOPLE.external }),
    await system.api('POST', '/webhooks', { url: `https://${PEOPLE.agent}:${SECRETS.database}@example.org/` }),
  ];
  expect(answers.filter(({ status }) => status < 400 || status >= 500).map(({ status }) => status)).toEqual([]);
  const broken = { method: 'POST', headers: { authorization: `Bearer ${system.adminKey}`, 'content-type': 'application/json' } };
  expect((await fetch(`${system.baseUrl}/v1/campaigns`, { ...broken, body: `{"name": "${PEOPLE.name}", ${PEOPLE.number}` })).status).toBe(400);
}

/** PostgreSQL refuses rows, and quotes them: by `pg`, by Prisma and in a COPY. */
async function refusedRows({ campaign }: Scene): Promise<void> {
  await refuse('contact', `external_id IS DISTINCT FROM '${PEOPLE.external}'`);
  await refuse('agent', `name <> 'Agent ${PEOPLE.agent} II'`);
  await refuse('webhook', `kinds <> '{wrap_up}'`);
  const contact = { phone_num: `+47${PEOPLE.number}`, variables: { var1: PEOPLE.name, var2: PEOPLE.street } };
  const answers = [
    await system.api('PUT', `/campaigns/${campaign}/contacts/by-external-id/${PEOPLE.external}`, contact),
    await system.api('POST', `/campaigns/${campaign}/imports?mode=add`, `phone_num,external_id,var1\n${PEOPLE.number},${PEOPLE.external},${PEOPLE.name}\n`),
    await system.api('POST', '/agents', { name: `Agent ${PEOPLE.agent} II`, phone: `+47${PEOPLE.number}` }),
    await system.api('POST', '/webhooks', { url: `https://example.org/${SECRETS.receiver}`, kinds: ['wrap_up'] }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([500, 500, 500, 500]);
  for (const table of ['contact', 'agent', 'webhook']) await allow(table);
}

const refuse = (table: string, check: string) =>
  system.sql.query(`ALTER TABLE ${table} ADD CONSTRAINT broken_by_the_test CHECK (${check}) NOT VALID`);
const allow = (table: string) => system.sql.query(`ALTER TABLE ${table} DROP CONSTRAINT broken_by_the_test`);

/** From the offer to the disposition; the worker's rows are refused on the way, and written when it tries again. */
async function call(scene: Scene): Promise<void> {
  const { key, phone } = scene.agents[0]!;
  await refuse('leg', `ciq <> 'c'`);
  await scene.ready();
  const { call: id } = await scene.ringing();
  await scene.phone(phone, 'answer');
  await eventually(() => logs().messages.includes('activity failed'));
  await allow('leg');
  await scene.phone(`+47${PEOPLE.number}`, 'answer');
  await scene.until('talking');
  const click = (what: string, body?: unknown) =>
    eventually(async () => (await system.api('POST', `/calls/${id}/${what}`, body, { key })).status === 200);
  await click('dtmf', { digits: PEOPLE.keys });
  await click('transfer', { mode: 'attended', to: { number: `+47${PEOPLE.target}` } });
  await click('take-back');
  await scene.phone(`+47${PEOPLE.number}`, 'hang-up');
  await scene.until('wrap_up');
  await refuse('dispositions', `comment <> '${PEOPLE.comment}'`);
  const said = { action: 'done', topics: [PEOPLE.street], comment: PEOPLE.comment };
  expect((await system.api('POST', `/calls/${id}/disposition`, said, { key })).status).toBe(500);
  await allow('dispositions');
  await system.ok('POST', `/calls/${id}/disposition`, said, { key });
  await scene.until('done');
  // Both receivers have failed on rows of this call.
  await eventually(async () => (await system.sql.query(`SELECT 1 FROM webhook WHERE failing_since IS NOT NULL`)).rowCount === 2);
}

/** As when PostgreSQL restarts: every connection is cut, and for a while there is no other. */
async function databaseAway(): Promise<void> {
  const url = new URL(system.databaseUrl);
  const name = url.pathname.slice(1);
  url.pathname = '/postgres';
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  try {
    await admin.query(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS false`);
    await admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE '%dialwright%'`, [name]);
    await eventually(() => logs().messages.includes('cannot listen for events; trying again'));
    expect((await system.api('GET', '/campaigns')).status).toBe(503);
  } finally {
    await admin.query(`ALTER DATABASE "${name}" ALLOW_CONNECTIONS true`);
    await admin.end();
  }
  await eventually(async () => (await system.api('GET', '/campaigns')).status === 200);
}

async function simulatorAway({ contacts }: Scene): Promise<void> {
  await system.simulator.kill();
  await eventually(() => logs().messages.includes('the switch can not be reached; retrying'));
  expect((await system.api('POST', `/simulator/phones/${encodeURIComponent(`+47${PEOPLE.number}`)}/answer`)).status).toBe(503);
  expect((await system.api('GET', `/contacts/${contacts[0]}`)).status).toBe(200);
}

/** Processes with settings that lead nowhere say so and end, or try again. */
async function startsThatFail(): Promise<void> {
  const nowhere = `postgresql://${PEOPLE.agent}:${SECRETS.database}@127.0.0.1:1/dialwright`;
  const worker = await system.addWorker('nowhere', { DATABASE_URL: nowhere, DATA_DIR: system.dataDir });
  const wrong = await system.addWorker('wrong', { DATABASE_URL: nowhere.replace('postgresql:', 'mysql:') });
  await eventually(() => /ECONNREFUSED/.test(logs().text) && /DATABASE_URL/.test(logs().text), { withinMs: 30_000 });
  await Promise.all([worker.kill(), wrong.kill()]);
}

/** All that the processes have written so far. */
function logs(): { text: string; messages: string[] } {
  const files = readdirSync(system.dataDir).filter((file) => file.endsWith('.log'));
  const text = files.map((file) => readFileSync(path.join(system.dataDir, file), 'utf8')).join('\n');
  const messages = text.split('\n').flatMap((line) => /"msg":"([^"]*)"/.exec(line)?.[1] ?? []);
  return { text, messages };
}
