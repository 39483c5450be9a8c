// Brings PostgreSQL and Temporal that somebody else runs to where API and workers can start: `node dev/prepare.ts`
//
// In order and once before every new release; done again it changes nothing. `npm start` does the same by itself.

import { type Config, ConfigError, loadConfig } from '../config/config.ts';
import { migrate } from './migrate.ts';
import { since } from './process.ts';
import { prepareTemporal } from './temporal.ts';

const HELP = `Usage: node dev/prepare.ts [database] [temporal] [--help]

  database   applies the migrations of prisma/migrations to DATABASE_URL
  temporal   makes the namespace TEMPORAL_NAMESPACE with the search attributes on the server of TEMPORAL_ADDRESS

Without an argument: both.
`;

const PARTS = { database: prepareDatabase, temporal: prepareNamespace };
type Part = keyof typeof PARTS;

async function prepareDatabase({ databaseUrl }: Config): Promise<string> {
  if (!databaseUrl) throw new ConfigError(['DATABASE_URL: is not set; expected the database to be migrated']);
  const applied = await migrate(databaseUrl, console.log);
  return `${applied.length} migration(s) applied`;
}

async function prepareNamespace({ temporalAddress, temporalNamespace }: Config): Promise<string> {
  if (!temporalAddress) throw new ConfigError(['TEMPORAL_ADDRESS: is not set; expected the server to be prepared']);
  await prepareTemporal(temporalAddress, temporalNamespace);
  return `namespace ${temporalNamespace} has its search attributes`;
}

async function main(args: string[]): Promise<void> {
  const isPart = (argument: string): argument is Part => Object.hasOwn(PARTS, argument);
  if (args.some((argument) => !isPart(argument))) {
    process.stdout.write(HELP);
    if (!args.includes('--help')) process.exitCode = 1;
    return;
  }
  const config = loadConfig();
  for (const part of args.length > 0 ? args.filter(isPart) : (Object.keys(PARTS) as Part[])) {
    const startedAt = performance.now();
    console.log(`${part}: ${await PARTS[part](config)} (${since(startedAt)})`);
  }
}

main(process.argv.slice(2)).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
