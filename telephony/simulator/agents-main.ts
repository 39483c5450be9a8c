/** Process entry of the simulated agents: `node telephony/simulator/agents-main.ts agents.json`. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { loadConfig } from '../../config/config.ts';
import { createLogger } from '../../config/log.ts';
import { agentBehaviourSchema, defaultAgentBehaviour, eagerAgentBehaviour } from './agent-behaviour.ts';
import { runSimulatedAgents } from './agents.ts';

const HELP = `Simulated agents that work through Dialwright's public API.

  node telephony/simulator/agents-main.ts agents.json

  agents.json       { "baseUrl": "http://127.0.0.1:3000", "seed": 1, "behaviour": "default" | "eager" | {…},
                      "agents": [{ "id": "…", "key": "…", "phone": "…" }] }
  SIMULATOR_SPEED   how many times faster than people they act
`;

const behaviour = z.union([z.enum(['default', 'eager']), agentBehaviourSchema]).default('default');
const fileSchema = z.strictObject({
  baseUrl: z.url(),
  seed: z.int().default(1),
  behaviour: behaviour.transform((given) => {
    if (given === 'default') return defaultAgentBehaviour();
    return given === 'eager' ? eagerAgentBehaviour() : given;
  }),
  agents: z.array(z.strictObject({ id: z.string().min(1), key: z.string().min(1), phone: z.string().min(1) })).min(1),
});

async function main(): Promise<void> {
  const [argument] = process.argv.slice(2);
  if (argument === undefined || argument === '--help' || argument === '-h') {
    process.stdout.write(HELP);
    process.exitCode = argument === undefined ? 1 : 0;
    return;
  }
  const { simulatorSpeed: speed, logLevel } = loadConfig();
  const parsed = fileSchema.safeParse(JSON.parse(readFileSync(argument, 'utf8')));
  if (!parsed.success) throw new Error(`${argument}:\n${z.prettifyError(parsed.error)}`);

  const log = createLogger('agents', logLevel);
  const stopped = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopped.abort());
  log.info({ agents: parsed.data.agents.length, speed }, 'simulated agents log on');
  await runSimulatedAgents({ ...parsed.data, speed, signal: stopped.signal, log });
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
