/** Process entry of the benchmarks: `npm run bench`. */
import { parseArgs } from 'node:util';
import { since } from '../dev/process.ts';
import { benchAsterisk } from './asterisk.ts';
import { benchCalls } from './calls.ts';
import { benchDue, MOST_CONTACTS } from './due.ts';
import { benchFeed } from './feed.ts';
import { asJson, asTable, type Figure } from './figure.ts';
import { benchImport } from './import.ts';
import { type Rig, withRig } from './kit.ts';
import { benchLatency } from './latency.ts';
import { benchWebhooks } from './webhooks.ts';

interface Bench {
  name: string;
  about: string;
  run: (rig: Rig, contacts: number) => Promise<Figure[]>;
  /** Takes so long that it is run only when it is named. */
  longestMs?: number;
}

const BENCHES: Bench[] = [
  { name: 'import', about: 'rows a second into a list, beside a bare COPY', run: benchImport },
  { name: 'feed', about: 'contact workflows started a second, beside bare starts', run: benchFeed },
  { name: 'latency', about: 'ready to ring and answer to dial, beside one bare hop', run: benchLatency },
  { name: 'calls', about: 'whole calls a second with 200 agents, and events a call', run: benchCalls },
  { name: 'webhooks', about: 'rows a second to a webhook, beside bare POSTs, and how calls do meanwhile', run: benchWebhooks },
  { name: 'asterisk', about: 'calls a second over SIP, beside bare ARI, and answer to INVITE', run: benchAsterisk },
  { name: 'due', about: 'contacts due in the same second, beside plain SQL, and how calls do meanwhile', run: benchDue, longestMs: 7_200_000 },
];

/** Every wait has a deadline of its own; this is for what is not a wait. */
const LONGEST_MS = 400_000;
/** npm passes on a Ctrl-C that the terminal has sent to all already: two so close are one. */
const SAME_INTERRUPT_MS = 500;

const HELP = `Measures this machine: every figure beside its bare limit, taken in the same run. About 10 minutes for all.

  npm run bench                    all of them but the last, as a table
  npm run bench -- feed calls      some of them
  npm run bench -- due --contacts 5000
                                   100,000 unless said otherwise: their workflows alone take some 20 minutes
  npm run bench -- --json          one JSON object a line: name, value, unit, limit, ratio

${BENCHES.map(({ name, about }) => `  ${name.padEnd(9)} ${about}`).join('\n')}

Each on a PostgreSQL and a Temporal of its own, which are gone afterwards. Progress goes to standard error. The code of
exit tells whether all could be run, not whether the aims are met. Where a host can't have an Asterisk,
that one says so and is skipped. docs/benchmarks.md says how to read the figures.
`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean' }, contacts: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const unknown = positionals.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) throw new Error(`There is no ${unknown.join(', ')}; see npm run bench -- --help`);
  const wanted = BENCHES.filter(({ name, longestMs }) => (positionals.length === 0 ? !longestMs : positionals.includes(name)));
  const contacts = Number(values.contacts ?? MOST_CONTACTS);
  if (!Number.isInteger(contacts) || contacts < 1 || contacts > MOST_CONTACTS) {
    throw new Error(`--contacts takes a whole number, 1 to ${MOST_CONTACTS}`);
  }
  const startedAt = performance.now();
  const say = (line: string): void => void process.stderr.write(`${since(startedAt).padStart(7)}  ${line}\n`);
  const stopped = stopOnSignals(say);
  const figures: Figure[] = [];
  for (const { name, run, longestMs = LONGEST_MS } of wanted) {
    say(`— ${name}`);
    const timeUp = setTimeout(() => stopped.abort(new Error(`${name} hangs`)), longestMs);
    try {
      const found = await withRig(say, stopped.signal, (rig) => run(rig, contacts));
      figures.push(...found);
      if (values.json) process.stdout.write(asJson(found));
    } catch (error) {
      say(`${name} could not be run: ${messageOf(error)}`);
      process.exitCode ??= 1;
      if (stopped.signal.aborted) break;
    } finally {
      clearTimeout(timeUp);
    }
  }
  if (!values.json && figures.length > 0) process.stdout.write(asTable(figures));
  // What a bench has left half done would hold the process.
  if (process.exitCode) process.exit();
}

/** Ctrl-C ends everything in order; a second one at once, and the data directory's leash does the rest. */
function stopOnSignals(say: (line: string) => void): AbortController {
  const stopped = new AbortController();
  let stoppedAt: number | undefined;
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
    process.on(signal, () => {
      if (stoppedAt !== undefined && performance.now() - stoppedAt < SAME_INTERRUPT_MS) return;
      if (stoppedAt !== undefined) process.exit(code);
      stoppedAt = performance.now();
      process.exitCode = code;
      say('Stopping');
      stopped.abort(new Error('stopped'));
    });
  }
  return stopped;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

main().catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
});
