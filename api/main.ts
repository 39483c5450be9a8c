/** The API's process: `node api/main.ts`. */
import { readFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { systemClock } from '../config/clock.ts';
import { type Config, ConfigError, loadConfig, requireRuntime, type RuntimeConfig } from '../config/config.ts';
import { endAtLast } from '../config/ending.ts';
import { createLogger, type Logger, withoutShapes } from '../config/log.ts';
import { createMatching } from '../matching/matching.ts';
import { createPool, createPrisma } from '../prisma/client.ts';
import { givenUp } from '../prisma/deadline.ts';
import type { Db } from '../prisma/tx.ts';
import { createAddresses } from '../webhooks/addresses.ts';
import { createWorkflows, RECONNECTS_SOON, type Workflows } from '../workflows/client.ts';
import { ensureAdminKey, newKey } from './auth.ts';
import { createListener } from './listener.ts';
import { startApi } from './server.ts';

const HELP = `Dialwright's HTTP API.

  node api/main.ts

Settings are environment variables: DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TELEPHONY, SIMULATOR_URL, HOST,
PORT, DATA_DIR, DIALWRIGHT_ADMIN_KEY, WEBHOOK_NETWORKS, LOG_LEVEL; docs/configuration.md says what each is. SIGTERM or SIGINT ends it in order.
`;

const POOL_SIZE = 20;
const PRISMA_POOL_SIZE = 5;
/** Longer than anybody waits to hear whether Temporal answers. */
const CHECK_DEADLINE_MS = 5_000;

/** The administrator's key: given, or made at the first start and kept where only this user can read it. */
async function adminKey({ adminKey: given, dataDir }: Config, log: Logger): Promise<string> {
  if (given) return given;
  const file = path.join(dataDir, 'admin-key');
  await mkdir(dataDir, { recursive: true });
  try {
    // `wx`: of two processes that start at once, one makes it and the other reads it.
    await writeFile(file, `${newKey()}\n`, { mode: 0o600, flag: 'wx' });
    log.info({ file }, "administrator's key made");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return (await readFile(file, 'utf8')).trim();
}

async function run(config: RuntimeConfig, log: Logger): Promise<void> {
  const pool = createPool(config.databaseUrl, { max: POOL_SIZE, name: 'dialwright-api' });
  const prisma = createPrisma(config.databaseUrl, { max: PRISMA_POOL_SIZE, name: 'dialwright-api' });
  const db: Db = { pool, prisma, clock: systemClock };
  await ensureAdminKey(db, await adminKey(config, log));

  // Lazy: the API starts, and says why it is not ready, while Temporal is away.
  const connection = Connection.lazy({ address: config.temporalAddress, ...RECONNECTS_SOON });
  const askTemporal = async () =>
    void (await connection.workflowService.describeNamespace({ namespace: config.temporalNamespace }));
  const client = new Client({ connection, namespace: config.temporalNamespace });
  const workflows = punctualWorkflows(client, createWorkflows(client, config.taskQueue));
  const server = await startApi(
    {
      db,
      workflows,
      matching: createMatching({ db, workflows, log }),
      checkTemporal: () => connection.withDeadline(Date.now() + CHECK_DEADLINE_MS, askTemporal),
      telephony: { simulatorUrl: config.telephony === 'simulator' ? (config.simulatorUrl ?? null) : null },
      addresses: createAddresses(config.webhookNetworks),
      listen: createListener(config.databaseUrl, log),
      log,
    },
    config,
  );

  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT']) process.once(name, resolve);
  });
  log.info({ signal }, 'API ends');
  endAtLast(log);
  await server.close();
  await connection.close();
  log.info('Temporal connection closed');
  await prisma.$disconnect();
  await pool.end();
  log.info('database connections closed');
}

/** A click that nobody waits for any more is taken back, unless Temporal has it already. */
function punctualWorkflows(client: Client, workflows: Workflows): Workflows {
  return {
    ...workflows,
    update: (...click) => client.withAbortSignal(givenUp(), () => workflows.update(...click)),
  };
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(HELP);
    return;
  }
  const config = loadConfig();
  const log = createLogger('api', config.logLevel);
  await run(requireRuntime(config), log);
}

main().catch((error: unknown) => {
  process.stderr.write(withoutShapes(`${error instanceof ConfigError ? error.message : String((error as Error).stack ?? error)}\n`));
  process.exit(1);
});
