/** Process entry of the benchmarks: `npm run bench`. */
import { parseArgs } from 'node:util';
import { since } from '../dev/process.ts';
import { benchCalls } from './calls.ts';
import { benchFeed } from './feed.ts';
import { asJson, asTable, type Figure } from './figure.ts';
import { benchImport } from './import.ts';
import { type Rig, withRig } from './kit.ts';
import { benchLatency } from './latency.ts';

const BENCHES: { name: string; about: string; run: (rig: Rig) => Promise<Figure[]> }[] = [
  { name: 'import', about: 'rows a second into a list, beside a bare COPY', run: benchImport },
  { name: 'feed', about: 'contact workflows started a second, beside bare starts', run: benchFeed },
  { name: 'latency', about: 'ready to ring and answer to dial, beside one bare hop', run: benchLatency },
  { name: 'calls', about: 'whole calls a second with 200 agents, and events a call', run: benchCalls },
];

const HELP = `Measures this machine: every figure beside its bare limit, taken in the same run. About 5 minutes for all.

  npm run bench                    all of them, as a table
  npm run bench -- feed calls      some of them
  npm run bench -- --json          one JSON object a line: name, value, unit, limit, ratio

${BENCHES.map(({ name, about }) => `  ${name.padEnd(9)} ${about}`).join('\n')}

On a PostgreSQL and a Temporal of its own, which are gone afterwards. Progress goes to standard error.
`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const unknown = positionals.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) throw new Error(`There is no ${unknown.join(', ')}; see npm run bench -- --help`);
  const wanted = BENCHES.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const startedAt = performance.now();
  const say = (line: string): void => void process.stderr.write(`${since(startedAt).padStart(7)}  ${line}\n`);
  const figures: Figure[] = [];
  await withRig(say, async (rig) => {
    for (const { name, run } of wanted) {
      say(`— ${name}`);
      const found = await run(rig);
      figures.push(...found);
      if (values.json) process.stdout.write(asJson(found));
    }
  });
  if (!values.json) process.stdout.write(asTable(figures));
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
