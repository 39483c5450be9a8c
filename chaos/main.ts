/** Process entry of the chaos: `npm run chaos`. */
import { cpSync, existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { installAsterisk, NoAsterisk } from '../dev/asterisk/install.ts';
import { type Say, since } from '../dev/process.ts';
import { throwAwayDataDir } from '../dev/throw-away.ts';
import { type Options, play, type Report } from './play.ts';

const HELP = `Kills, freezes, cuts off and slows everything while calls are made, and then checks that nobody was called twice, nobody
is stuck and nothing is lost. Checked against the switches' own records.

  npm run chaos [-- --seconds 300 --kills 60 --seed 7 --contacts 2000 --agents 100 --asterisk --json]

  --seconds N     how long faults go on; some minutes more are needed until all is at rest
  --kills N       how many processes are killed in that time; freezes, cuts and slow wires come besides
  --seed N        the same faults again, at the same times; unset, one is drawn
  --contacts N    how long the list is; --agents N   how many simulated agents call it
  --asterisk      the second switch is a private Asterisk and not a simulated one; its record is that of the phones which it
                  calls over SIP. On first use it is unpacked from Debian packages; where there are none the code of exit is 2
  --json          the report as one JSON object

Runs three workers, the API, two switches, PostgreSQL and Temporal of its own on this machine, which are gone afterwards.
The code of exit is 1 if anything was violated; the logs of all processes are kept then.
`;

const number = (name: string, text: string, least: number): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) throw new Error(`--${name} is ${text}: it must be a whole number from ${least} on`);
  return value;
};

function readArguments(): (Options & { json: boolean }) | null {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '300' },
      kills: { type: 'string', default: '60' },
      seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 999_999)) },
      contacts: { type: 'string', default: '2000' },
      agents: { type: 'string', default: '100' },
      asterisk: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  return {
    seconds: number('seconds', values.seconds, 1),
    kills: number('kills', values.kills, 0),
    seed: number('seed', values.seed, 0),
    contacts: number('contacts', values.contacts, 1),
    agents: number('agents', values.agents, 1),
    asterisk: values.asterisk,
    json: values.json,
  };
}

async function main(): Promise<void> {
  const options = readArguments();
  if (!options) return void process.stdout.write(HELP);
  const startedAt = performance.now();
  const say: Say = (line) => void process.stderr.write(`${since(startedAt).padStart(7)}  ${line}\n`);
  const stopped = new AbortController();
  for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
    process.once(name, () => {
      process.exitCode = code;
      stopped.abort(new Error('stopped'));
    });
  }
  if (options.asterisk) await bringAsterisk(say);
  const { dataDir, release } = throwAwayDataDir('chaos');
  try {
    const report = await play(options, { dataDir, say, stopped: stopped.signal });
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : asText(report));
    if (report.violations > 0) {
      process.exitCode = 1;
      say(`The logs of all processes are kept in ${keep(dataDir, options.seed)}`);
    }
  } catch (error) {
    if (!stopped.signal.aborted) {
      process.exitCode = 2;
      say(`The run broke off: ${error instanceof Error ? error.message : String(error)}`);
      say(`The logs of all processes are kept in ${keep(dataDir, options.seed)}`);
    }
  }
  await Promise.race([release(), sleep(30_000, undefined, { ref: false })]);
  process.exit();
}

/** Before anything else is started. */
async function bringAsterisk(say: Say): Promise<void> {
  try {
    await installAsterisk(say);
  } catch (error) {
    throw error instanceof NoAsterisk ? new Error(`--asterisk: this machine can't have one: ${error.message}`) : error;
  }
}

function keep(dataDir: string, seed: number): string {
  const kept = path.resolve('.data', `chaos-${seed}`);
  cpSync(path.join(dataDir, 'logs'), kept, { recursive: true });
  const asterisk = path.join(dataDir, 'asterisk', 'log');
  if (existsSync(asterisk)) cpSync(asterisk, path.join(kept, 'asterisk'), { recursive: true });
  return kept;
}

function asText({ checks, figures, violations, repeat, faults }: Report): string {
  const line = ({ what, looked, violations: found }: Report['checks'][number]): string =>
    [`${String(found.length).padStart(7)}  ${what} (${looked} looked at)`, ...found.slice(0, 10).map((one) => `           ${one}`)].join('\n');
  const shown = Object.entries(figures).map(([name, value]) => `  ${name.padEnd(34)}${value}`);
  const verdict = violations === 0 ? 'Every check is at zero.' : `${violations} violations. Once more: ${repeat}`;
  return [`\nFaults: ${faults}`, ...shown, '', 'violations', ...checks.map(line), '', verdict, ''].join('\n');
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
});
