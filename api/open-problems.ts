/**
 * What a person must decide or look at now (docs/operations.md, "Problems"): reckoned from the rows when it is asked for, so
 * that one that is over is gone by itself. What the product can put right it does, and records as a repair.
 */
import type { Db, Sql } from '../prisma/tx.ts';
import { importRuns } from './imports/sql.ts';
import * as sql from './open-problems-sql.ts';
import type { Action, OpenProblem, ProblemKind } from './schemas/problems.ts';

export interface Found {
  items: OpenProblem[];
  more: ProblemKind[];
}

export interface ProblemDeps {
  db: Pick<Db, 'pool' | 'clock'>;
  /** Rejects while Temporal does not answer. */
  checkTemporal: () => Promise<void>;
  /** The migrations that this process knows. */
  migrations: readonly string[];
}

type Told = Omit<OpenProblem, 'kind' | 'since'>;
type Rows = { since: Date | null }[];

/** One kind: its rows, and each in words. */
interface Kind {
  kind: ProblemKind;
  rows: (deps: ProblemDeps) => Promise<Rows>;
  tell: (row: never) => Told;
}

const kind = <R extends { since: Date | null }>(
  name: ProblemKind,
  rows: (deps: ProblemDeps) => Promise<R[]>,
  tell: (row: R) => Told,
): Kind => ({ kind: name, rows, tell });

const found =
  <R extends object>(find: (now: Date) => Sql) =>
  async ({ db }: ProblemDeps): Promise<R[]> =>
    (await db.pool.query<R>(find(db.clock.now()))).rows;

const call = (method: NonNullable<Action['method']>, path: string, says: string, body: Action['body'] = null): Action => ({
  says,
  method,
  path: `/v1${path}`,
  body,
});
const outside = (says: string): Action => ({ says, method: null, path: null, body: null });

const about = (kind: Told['subject']['kind'], id: string | number) => ({ kind, id: String(id) });
const at = (time: Date): string => time.toISOString();

/** The most urgent first. */
const KINDS: Kind[] = [
  kind('stop_open', found<sql.OfCampaign>(sql.openStops), ({ campaign_id }) => ({
    subject: about('campaign', campaign_id),
    says: `The emergency stop of campaign ${campaign_id} is not carried out: phones that rang may still ring.`,
    actions: [outside('Start a worker, and see that it reaches PostgreSQL and Temporal: it carries the stop out within a second.')],
  })),
  kind('temporal_away', temporalAway, () => ({
    subject: about('installation', 'temporal'),
    says: 'Temporal does not answer: nobody new is offered or dialled.',
    actions: [outside('See that Temporal runs and that this API reaches TEMPORAL_ADDRESS.')],
  })),
  kind('node_away', found<sql.AwayNode>(sql.awayNodes), ({ name, holder, is_last }) => ({
    subject: about('node', name),
    says:
      `No worker holds the node ${name}, which ${holder} held last` +
      `${is_last ? ', and no other node takes calls: nobody is called' : ''}.`,
    actions: [
      outside(`Start a worker with TELEPHONY_NODE=${name}.`),
      call('DELETE', `/nodes/${encodeURIComponent(name)}`, 'Forget the node: it is not coming back.'),
    ],
  })),
  kind('node_trouble', found<sql.NodeInTrouble>(sql.nodesInTrouble), ({ name, trouble }) => ({
    subject: about('node', name),
    says: `The node ${name} can't reach its switch, and takes no calls: ${trouble ?? 'it has not been connected yet'}.`,
    actions: [outside("See that the switch runs and that the node's worker reaches it; the worker tries again by itself.")],
  })),
  kind('trunk_failing', found<sql.FailingTrunk>(sql.failingTrunks), ({ name, errors_in_row }) => ({
    subject: about('node', name),
    says: `The trunk of the node ${name} is failing: ${errors_in_row} calls in a row; one a minute probes it.`,
    actions: [outside('See with its carrier; the first probe that goes through ends it.')],
  })),
  kind('calls_refused', found<sql.RefusedCalls>(sql.refusedCalls), ({ campaign_id, caller_id, n }) => ({
    subject: about('campaign', campaign_id),
    says:
      `The network refuses calls of campaign ${campaign_id} (608), ${n} within a day: an analytics engine rejects ` +
      `${caller_id ?? 'the number that the switch shows'}.`,
    actions: [
      call('PATCH', `/campaigns/${campaign_id}`, 'Show another number.', { caller_id: '<another number of yours>' }),
      outside('Have the number cleared by your carrier; a day after the last refusal this is gone.'),
    ],
  })),
  kind('schema_behind', schemaBehind, ({ name }) => ({
    subject: about('installation', name),
    says: `The database lacks the migration ${name}, which this API needs.`,
    actions: [outside('Prepare the servers for this release: node dev/prepare.ts.')],
  })),
  kind('release_behind', releaseBehind, ({ name }) => ({
    subject: about('installation', name),
    says: `The database has the migration ${name}, which this API does not know: it is of an earlier release.`,
    actions: [outside('Replace this API by one of the release that the database was prepared for.')],
  })),
  kind('nobody_logged_on', found<sql.Unserved>(sql.unservedCampaigns), ({ campaign_id, agents }) => ({
    subject: about('campaign', campaign_id),
    says:
      agents === 0
        ? `Campaign ${campaign_id} has contacts who could be called now, and no agent serves it.`
        : `Campaign ${campaign_id} has contacts who could be called now, and none of its ${agents} agents is logged on.`,
    actions: [
      call('PATCH', '/agents/<agent>', 'Let an agent serve it; its other queues are to be named as well.', {
        queues: [{ campaign_id: String(campaign_id) }],
      }),
      outside('Have an agent who serves it log on.'),
      call('POST', `/campaigns/${campaign_id}/pause`, 'Pause it.'),
    ],
  })),
  kind('never_open', found<sql.NeverOpen>(sql.neverOpen), (row) => ({
    subject: about('campaign', row.campaign_id),
    says: `Contacts of campaign ${row.campaign_id} are never callable (${row.why}), such as contact ${row.contact_id}.`,
    actions: neverOpenActions(row),
  })),
  kind('import_broken_off', brokenImports, ({ campaign_id }) => ({
    subject: about('campaign', campaign_id),
    says: `The last import of campaign ${campaign_id} has broken off with its process: nothing of it is in the list.`,
    actions: [call('POST', `/campaigns/${campaign_id}/imports`, 'Send the file again.')],
  })),
  kind('workflow_closed', found<sql.ClosedContact>(sql.closedContacts), ({ contact_id, round }) => ({
    subject: about('contact', contact_id),
    says:
      `Contact ${contact_id} was disabled, as its workflow contact/${contact_id}/${round} had been ended by hand, ` +
      'had failed or was lost.',
    actions: [
      call('POST', `/contacts/${contact_id}/enable`, 'Call it again, at its old place.'),
      call('DELETE', `/contacts/${contact_id}`, 'Take it off the list.'),
    ],
  })),
  kind('contact_stuck', found<sql.ClosedContact>(sql.stuckContacts), ({ contact_id, round, since }) => ({
    subject: about('contact', contact_id),
    says:
      `Contact ${contact_id} (workflow contact/${contact_id}/${round}) was due at ${at(since)}, and no worker has queued it.`,
    actions: [
      outside('See that workers run, and what their logs say of contacts who are due.'),
      call('POST', `/contacts/${contact_id}/disable`, 'Close it; enabled after that, it is called again.'),
    ],
  })),
  kind('outcome_unclear', found<sql.UnclearOutcome>(sql.unclearOutcomes), ({ contact_id, since, due_at }) => ({
    subject: about('contact', contact_id),
    says:
      `Whether contact ${contact_id} was reached by the call that was lost at ${at(since)} is not known. It counts as an attempt; ` +
      (due_at ? `the next one is due at ${at(due_at)}.` : 'the next one follows by its rules.'),
    actions: [
      call('POST', `/contacts/${contact_id}/disable`, 'Do not call it again.'),
      call('POST', `/contacts/${contact_id}/call-now`, 'Call it again before all others.'),
    ],
  })),
  kind('objected', found<sql.Objection>(sql.objections), ({ contact_id, number }) => ({
    subject: about('contact', contact_id),
    says: `The network says that contact ${contact_id} does not want to be called on ${number} (607).`,
    actions: [
      call('PUT', `/do-not-call/${encodeURIComponent(number)}`, 'List the number: nobody calls it any more.', { comment: '607' }),
    ],
  })),
  kind('agent_set_aside', found<sql.SetAside>(sql.agentsSetAside), ({ agent_id, state, cause }) => ({
    subject: about('agent', agent_id),
    says:
      cause === 'missed_limit'
        ? `Agent ${agent_id} has missed too many calls in a row, and is ${inWords(state)}.`
        : `The phone of agent ${agent_id} has failed too often in a row: the agent is ${inWords(state)}.`,
    actions: [
      call('PUT', `/agents/${agent_id}/state`, 'Make the agent ready, once agent and phone are there.', { state: 'ready' }),
      outside('The agent becomes ready; a phone that fails is to be mended first.'),
    ],
  })),
  kind('agent_stuck', found<sql.OfAgent>(sql.stuckAgents), ({ agent_id }) => ({
    subject: about('agent', agent_id),
    says: `Agent ${agent_id} is engaged by an offer that is over, and gets no other: that is a defect.`,
    actions: [call('POST', `/agents/${agent_id}/release`, 'Free the agent.')],
  })),
  kind('webhook_paused', found<sql.PausedWebhook>(sql.pausedWebhooks), ({ webhook_id, why }) => ({
    subject: about('webhook', webhook_id),
    says:
      why === 'gone'
        ? `Webhook ${webhook_id} is paused: its receiver said that it is gone (410).`
        : `Webhook ${webhook_id} is paused: its receiver has taken nothing for too long.`,
    actions: [
      call('POST', `/webhooks/${webhook_id}/resume`, 'Go on from where it stopped.'),
      call('DELETE', `/webhooks/${webhook_id}`, 'Remove it: nobody is to get these rows.'),
    ],
  })),
];

export async function openProblems(deps: ProblemDeps): Promise<Found> {
  const all = await Promise.all(KINDS.map(async (one) => ({ ...one, found: await one.rows(deps) })));
  return {
    items: all.flatMap(({ kind, tell, found }) => found.slice(0, sql.MOST).map((row) => asProblem(kind, row, tell))),
    more: all.filter(({ found }) => found.length > sql.MOST).map(({ kind }) => kind),
  };
}

const asProblem = (kind: ProblemKind, row: Rows[number], tell: Kind['tell']): OpenProblem => ({
  kind,
  since: row.since?.toISOString() ?? null,
  ...tell(row as never),
});

const inWords = (state: string): string => state.replaceAll('_', ' ');

// ---- what takes more than a look at the rows ----------------------------------------------------------------------------

const NOT_KNOWN = { since: null };

async function temporalAway({ checkTemporal }: ProblemDeps): Promise<(typeof NOT_KNOWN)[]> {
  return checkTemporal().then(
    () => [],
    () => [NOT_KNOWN],
  );
}

/** One that has just ended is no problem: so those without an end are looked at again once their lock was looked for. */
async function brokenImports(deps: ProblemDeps): Promise<sql.OfCampaign[]> {
  const find = found<sql.OfCampaign>(sql.brokenImports);
  const unfinished = await find(deps);
  const broken: number[] = [];
  for (const { campaign_id } of unfinished) {
    if ((await deps.db.pool.query(importRuns(campaign_id))).rows.length === 0) broken.push(campaign_id);
  }
  if (broken.length === 0) return [];
  return (await find(deps)).filter(({ campaign_id }) => broken.includes(campaign_id));
}

const applied = async ({ db }: ProblemDeps) => (await db.pool.query<sql.Migration>(sql.appliedMigrations())).rows;

async function schemaBehind(deps: ProblemDeps): Promise<{ name: string; since: null }[]> {
  const there = new Set((await applied(deps)).map(({ name }) => name));
  return deps.migrations.filter((name) => !there.has(name)).map((name) => ({ name, since: null }));
}

async function releaseBehind(deps: ProblemDeps): Promise<sql.Migration[]> {
  return (await applied(deps)).filter(({ name }) => !deps.migrations.includes(name));
}

/** By what keeps the hours shut. */
function neverOpenActions({ why, country, contact_id, campaign_id }: sql.NeverOpen): Action[] {
  const contact = (says: string, body: Action['body']) => call('PATCH', `/contacts/${contact_id}`, says, body);
  const leave = call('POST', `/contacts/${contact_id}/disable`, 'Do not call it.');
  if (why === 'unknown_zone') return [contact('Say where the contact is.', { zone: '<IANA zone>' }), leave];
  const law = call('PUT', `/legal-hours/${country || '*'}`, 'Set the legal hours of its country.', { periods: ['<period>'] });
  if (why === 'unreadable_rule') return [law, contact('Change its zone.', { zone: '<IANA zone>' }), leave];
  const rules = call('PATCH', `/campaigns/${campaign_id}`, 'Change the hours of the campaign.', { rules: { hours: '<hours>' } });
  return [contact('Change its own times; null: it has none.', { earliest: null, latest: null }), rules, law, leave];
}
