/** After a restore, while no worker runs: `node worker/reconcile-main.ts` (docs/operations.md, "Restoring"). */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Difference, Survey } from '../activities/restore.ts';
import { ConfigError, loadConfig, requireServers } from '../config/config.ts';
import { createLogger } from '../config/log.ts';
import { STANDING_MEANS } from '../domain/fence.ts';
import { contactLegsIn, type What } from '../domain/restore.ts';
import { type Outcome, reconcileRestored, type ReconcileOptions } from './reconcile.ts';

const HELP = `Brings PostgreSQL and Temporal into line after one of them, or both, was restored from a backup. Stop workers and API first.

  npm run reconcile -- [--dry-run] [--json] [--restored WHAT] [--dialled FILE]... [--without-record]

  --dry-run         lists what is different and changes nothing
  --json            one JSON object instead of lines
  --restored WHAT   postgresql, temporal or both. Needed where both were restored; else it is seen which one is older
  --dialled FILE    a switch's own record of calls, in which ids of legs stand: Asterisk's Master.csv,
                    simulator-dials.jsonl. Who was dialled by it is not dialled again
  --without-record  there is no such record, and Temporal no longer knows everybody who was dialled

  DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TASK_QUEUE as for the workers
`;

const MEANS: Readonly<Record<What, string>> = {
  dialled: 'dialled, of which the database does not know',
  in_call: 'was in a call when the database was saved',
  ended: 'has ended since the database was saved',
  unknown_contact: 'is not in the database',
  no_workflow: 'had no workflow',
  other_time: 'its workflow may be of another time',
  left_over: 'is finished, and a workflow of it was left',
};

function didOf({ measure, as, row }: Difference): string {
  if (measure === 'restart') return 'workflow started anew';
  if (measure === 'end' || !row) return 'workflow ended';
  if (row.closed_at) return 'written down';
  return as ? `${as.state}: ${as.reason}` : 'disabled until a person enables it';
}

const report = (difference: Difference) => {
  const { contactId, round, what, measure, dials, row } = difference;
  const calls = dials.map(({ legId, trace }) => ({ leg: legId, at: trace ? new Date(trace.at).toISOString() : null }));
  return { contact: contactId, round, campaign: row?.campaign_id ?? null, what, measure, done: didOf(difference), dials: calls };
};

function line(difference: Difference): string {
  const { contact, round, what, done, dials } = report(difference);
  const when = dials.map(({ leg, at }) => `${leg}${at ? ` at ${at}` : ''}`).join(', ');
  return `contact/${contact}/${round}: ${MEANS[what]}${when && ` (${when})`}: ${done}`;
}

/** Each contact only of a dry run: the others were told when they were done. */
function lines({ contacts, toPause, unknownCampaigns, looked }: Survey, isDryRun: boolean): string[] {
  const counts = Object.entries(Object.groupBy(contacts, ({ what }) => what)).map(([what, all]) => `${all.length} ${what}`);
  return [
    ...(isDryRun ? contacts.map(line) : []),
    ...toPause.map((id) => `campaign/${id}: paused; what people have decided since the database was saved is lost`),
    ...unknownCampaigns.map((id) => `campaign/${id}: is not in the database: workflow ended`),
    `${looked} contacts looked at; different: ${counts.join(', ') || 'none'}`,
  ];
}

function text({ standing, savedAt, survey }: Outcome, isDryRun: boolean): string[] {
  if (!survey) return ['PostgreSQL and Temporal are in step: there is nothing to do. Where both were restored, say --restored both.'];
  const why = standing === 'in_step' || standing === 'new' ? 'Restored, as you say' : STANDING_MEANS[standing];
  return [`${why}; workers last worked with this database ${savedAt ? `at ${savedAt.toISOString()}` : 'at no time'}`, ...lines(survey, isDryRun)];
}

function json({ standing, savedAt, survey }: Outcome, isDryRun: boolean): string {
  const { contacts = [], toPause = [], unknownCampaigns = [], looked = 0 } = survey ?? {};
  const campaigns = { paused: toPause, unknown: unknownCampaigns };
  return JSON.stringify({ standing, savedAt, isDryRun, looked, contacts: contacts.map(report), campaigns });
}

function optionsOf(args: string[]): ReconcileOptions & { isJson: boolean; isHelp: boolean } {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      restored: { type: 'string' },
      dialled: { type: 'string', multiple: true },
      'without-record': { type: 'boolean', default: false },
    },
  });
  const { restored = null } = values;
  const isKnown = (word: string | null): word is ReconcileOptions['restored'] =>
    word === null || ['postgresql', 'temporal', 'both'].includes(word);
  if (!isKnown(restored)) throw new ConfigError(['--restored: expected postgresql, temporal or both']);
  const dialled = values.dialled?.flatMap((file) => contactLegsIn(readFileSync(file, 'utf8'))) ?? null;
  const isWithoutRecord = values['without-record'];
  return { restored, dialled, isWithoutRecord, isDryRun: values['dry-run'], isJson: values.json, isHelp: values.help };
}

async function main(): Promise<void> {
  const { isJson, isHelp, ...options } = optionsOf(process.argv.slice(2));
  if (isHelp) return void process.stdout.write(HELP);
  const config = requireServers(loadConfig());
  // What is printed is the list.
  const log = createLogger('reconcile', 'silent');
  const tell = (difference: Difference) => void (isJson || process.stdout.write(`${line(difference)}\n`));
  const outcome = await reconcileRestored(config, options, log, tell);
  process.stdout.write(`${isJson ? json(outcome, options.isDryRun) : text(outcome, options.isDryRun).join('\n')}\n`);
}

main().catch((error: unknown) => {
  const isDefect = error instanceof TypeError && !('code' in error);
  process.stderr.write(`${isDefect ? error.stack : (error as Error).message}\n`);
  process.exitCode = 1;
});
