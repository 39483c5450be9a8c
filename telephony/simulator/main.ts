/** Process entry of the simulated switch: `node telephony/simulator/main.ts [script.json]`. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../../config/config.ts';
import { createLogger } from '../../config/log.ts';
import { DialRecord } from './dial-record.ts';
import { scriptSchema, type Script } from './script.ts';
import { startSimulatorServer } from './server.ts';
import { SimulatedSwitch } from './switch.ts';

const DEFAULT_URL = 'http://127.0.0.1:3060';

const HELP = `A simulated telephone switch for demos, load and tests.

  node telephony/simulator/main.ts [script.json]

  script.json       how the phones behave (telephony/simulator/script.ts); without it, a realistic mix
  SIMULATOR_URL     where it listens, as http://host:port; unset: ${DEFAULT_URL}
  SIMULATOR_SPEED   how many times faster than real time its phones and timers run
  DATA_DIR          where the record of everything dialled is kept
`;

async function main(): Promise<void> {
  const [argument] = process.argv.slice(2);
  if (argument === '--help' || argument === '-h') {
    process.stdout.write(HELP);
    return;
  }
  const { dataDir, simulatorUrl = DEFAULT_URL, simulatorSpeed: speed, logLevel } = loadConfig();
  const log = createLogger('simulator', logLevel);
  const { hostname: host, port } = new URL(simulatorUrl);
  const script = readScript(argument);
  const record = new DialRecord(dataDir, log);
  const simulated = new SimulatedSwitch({ script, record, log, speed });
  const server = await startSimulatorServer({ simulated, record, log, host, port: Number(port || 80) });
  log.info({ port: server.port, speed }, 'the simulated switch listens');

  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'the simulated switch stops');
    await server.close();
    record.close();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(signal));
}

/** Throws with every reason when the file is no script. */
function readScript(path: string | undefined): Script {
  const parsed = scriptSchema.safeParse(path === undefined ? {} : JSON.parse(readFileSync(path, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new Error(`${path} is not a script:\n${z.prettifyError(parsed.error)}`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
