/** Process entry of a worker: `node worker/main.ts`. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { loadConfig, requireWorker } from '../config/config.ts';
import { endAtLast } from '../config/ending.ts';
import { createLogger, withoutShapes } from '../config/log.ts';
import { startWorker } from './worker.ts';

const HELP = `A Dialwright worker: carries out contacts and campaigns, and holds a telephony node.

  node worker/main.ts

  DATABASE_URL, TEMPORAL_ADDRESS   what it works with (required)
  TELEPHONY         simulator (unset) or asterisk
  SIMULATOR_URL     the simulated switch (required)
  ARI_URL, ARI_USER, ARI_PASSWORD, ARI_APP                          Asterisk's REST interface (the first and third required)
  ASTERISK_TRUNK, ASTERISK_AGENTS, ASTERISK_CALLER_ID,
  ASTERISK_EARLY_MEDIA_ALERTS                                       where calls are sent (the first is required)
  WORKER_ID         its name, other than any other worker's; unset: the host name
  TELEPHONY_NODE    the switch it may hold
  TELEPHONY_MAX_CALLS, TELEPHONY_CALLS_PER_SECOND   what that may carry; unset: no limit
  WEBHOOK_NETWORKS  networks that webhooks may reach although they are not public, such as 10.20.0.0/16
  LOG_LEVEL         fatal, error, warn, info, debug or trace
`;

async function main(): Promise<void> {
  if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) {
    process.stdout.write(HELP);
    return;
  }
  const config = requireWorker(loadConfig());
  const log = createLogger('worker', config.logLevel);
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message, meta }) =>
      log[level === 'ERROR' ? 'error' : 'warn']({ source: 'temporal', ...meta }, message),
    ),
    // Signals are handled here, so that everything stops in order.
    shutdownSignals: [],
  });
  const worker = await startWorker(config, log);
  log.info({ node: config.telephonyNode }, 'worker started');
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      log.info({ signal }, 'worker stops');
      endAtLast(log);
      void worker.stop();
    });
  }
  await worker.finished;
}

main().catch((error: unknown) => {
  process.stderr.write(withoutShapes(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`));
  process.exit(1);
});
