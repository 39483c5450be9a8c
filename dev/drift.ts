// Do the migrations still make what the schema says? `npm run drift`
//
// Runs every migration against an empty database, then compares what they make with prisma/schema.prisma. On a
// throw-away embedded PostgreSQL, or in two throw-away databases on the server of DATABASE_URL.
// Exit code: 0 they agree, 2 they differ, 1 a migration (or the check itself) failed.

import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { migrate, runPrisma } from './migrate.ts';
import { startPostgres } from './postgres.ts';
import { since } from './process.ts';
import { throwAwayDataDir } from './throw-away.ts';

const HELP = `Usage: node dev/drift.ts [--help]

Checks that prisma/migrations run on an empty database and make what prisma/schema.prisma says.
Uses the server of DATABASE_URL if set (in databases of its own), else a PostgreSQL of its own.
Indexes, constraints and functions written by hand in a migration are not compared.
`;

const DIFF = [
  'migrate',
  'diff',
  '--from-migrations',
  'prisma/migrations',
  '--to-schema',
  'prisma/schema.prisma',
  '--exit-code',
];
const DIFFERENT = 2;

/** Prints what it finds; resolves to the process's exit code. */
async function checkDrift(serverUrl: string): Promise<number> {
  const startedAt = performance.now();
  return withDatabases(serverUrl, async (empty, shadow) => {
    const applied = await migrate(empty);
    console.log(`${applied.length} migration(s) run on an empty database`);
    const { code, output } = await runPrisma(DIFF, empty, [0, DIFFERENT], { SHADOW_DATABASE_URL: shadow });
    if (code === 0) {
      console.log(`No drift: they make what prisma/schema.prisma says (${since(startedAt)})`);
      return 0;
    }
    console.error(`Drift: from what prisma/migrations make to what prisma/schema.prisma says it is\n\n${output}\n`);
    console.error('Write a migration (npm run prisma -- migrate dev), or correct the schema.');
    return DIFFERENT;
  });
}

/** Two empty databases on a server, gone afterwards. */
async function withDatabases<T>(serverUrl: string, work: (one: string, other: string) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  const names = ['one', 'other'].map((which) => `drift_${which}_${randomBytes(6).toString('hex')}`);
  try {
    const urls: string[] = [];
    for (const name of names) {
      await admin.query(`create database "${name}" template template0`);
      const url = new URL(serverUrl);
      url.pathname = `/${name}`;
      urls.push(url.href);
    }
    const [one = '', other = ''] = urls;
    return await work(one, other);
  } finally {
    for (const name of names) await admin.query(`drop database if exists "${name}" with (force)`);
    await admin.end();
  }
}

async function onThrowAwayServer<T>(work: (url: string) => Promise<T>): Promise<T> {
  const { dataDir, release } = throwAwayDataDir('drift');
  try {
    const { url } = await startPostgres({ dataDir, log: () => undefined, ephemeral: true });
    return await work(url);
  } finally {
    await release();
  }
}

if (process.argv.includes('--help')) {
  console.log(HELP);
} else {
  const given = process.env.DATABASE_URL;
  process.exitCode = await (given ? checkDrift(given) : onThrowAwayServer(checkDrift)).catch((error: Error) => {
    console.error(`The drift check failed: ${error.message}`);
    return 1;
  });
}
