/** Workflow histories as tests read and keep them. */
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
type Event = NonNullable<History['events']>[number];
type Named = { name: string };
/** What of any event's attributes is read here. */
interface Attributes {
  signalName: string;
  activityType: Named;
  scheduledEventId: unknown;
  acceptedEventId: unknown;
  acceptedRequest: { input: Named };
  outcome: { failure?: unknown };
  details: { data?: { payloads: { data: Uint8Array }[] } };
}

/**
 * A history as a line of text, a word an event: `Started Task Signal(offered) Task Attributes Schedule(ring) …`.
 * `Task` alone stands for the three events of a workflow task; `Local` is a local activity, `Patch` what `patched` notes.
 */
export function historyText(history: History, fromEvent = 0): string {
  const events = history.events ?? [];
  const words = events.map((event) => word(event, events)).slice(fromEvent);
  return words.join(' ').replaceAll('TaskScheduled TaskStarted TaskCompleted', 'Task');
}

export const countEvents = (history: History): number => history.events?.length ?? 0;

const WORDS: Record<string, (attributes: Attributes, byId: (id: unknown) => Attributes) => string> = {
  workflowExecutionStarted: () => 'Started',
  workflowExecutionCompleted: () => 'Completed',
  workflowExecutionFailed: () => 'Failed',
  workflowExecutionContinuedAsNew: () => 'ContinuedAsNew',
  workflowTaskScheduled: () => 'TaskScheduled',
  workflowTaskStarted: () => 'TaskStarted',
  workflowTaskCompleted: () => 'TaskCompleted',
  workflowTaskFailed: () => 'TaskFailed',
  workflowTaskTimedOut: () => 'TaskTimedOut',
  workflowExecutionSignaled: ({ signalName }) => `Signal(${signalName})`,
  workflowExecutionUpdateAccepted: ({ acceptedRequest }) => `Update(${acceptedRequest.input.name})`,
  workflowExecutionUpdateCompleted: ({ acceptedEventId, outcome }, byId) =>
    `${outcome.failure ? 'Refused' : 'Done'}(${byId(acceptedEventId).acceptedRequest.input.name})`,
  upsertWorkflowSearchAttributes: () => 'Attributes',
  markerRecorded: ({ details }) => (details.data ? `Local(${activityOf(details.data)})` : 'Patch'),
  timerStarted: () => 'Timer',
  timerFired: () => 'TimerFired',
  timerCanceled: () => 'TimerCanceled',
  activityTaskScheduled: ({ activityType }) => `Schedule(${activityType.name})`,
  activityTaskStarted: () => 'ActivityStarted',
  activityTaskCompleted: ended('Result'),
  activityTaskFailed: ended('ActivityFailed'),
  activityTaskTimedOut: ended('ActivityTimedOut'),
  activityTaskCanceled: ended('ActivityCanceled'),
  activityTaskCancelRequested: ended('CancelActivity'),
};

function ended(what: string) {
  return ({ scheduledEventId }: Attributes, byId: (id: unknown) => Attributes): string =>
    `${what}(${byId(scheduledEventId).activityType.name})`;
}

function word(event: Event, events: Event[]): string {
  const byId = (id: unknown): Attributes => attributesOf(events[Number(id) - 1]!);
  const kind = kindOf(event);
  return WORDS[kind]?.(attributesOf(event), byId) ?? kind;
}

/** `workflowExecutionStarted` …: which one of an event's attributes is set is its type. */
function kindOf(event: Event): string {
  const key = Object.keys(event).find((name) => name.endsWith('EventAttributes') && event[name as keyof Event]);
  return key?.replace('EventAttributes', '') ?? 'Unknown';
}

const attributesOf = (event: Event): Attributes =>
  event[`${kindOf(event)}EventAttributes` as keyof Event] as unknown as Attributes;

function activityOf({ payloads }: NonNullable<Attributes['details']['data']>): string {
  const marker = JSON.parse(Buffer.from(payloads[0]!.data).toString('utf8')) as { activity_type: string };
  return marker.activity_type;
}

// ---- stored histories (test/replay) -----------------------------------------------------------------------------------

/** A folder a release, and in each what its code has written: `0.1.0/a-call--is-….json`. */
export const HISTORIES = path.resolve(import.meta.dirname, '../replay/histories');
const { version } = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string };
/** Of the release that is being made. */
export const RELEASE = path.join(HISTORIES, version);
/** In each folder: the files that are never to go or to change, as `sha256sum` writes it. */
export const SUMS = 'SHA256SUMS';

/** `HISTORIES=write` (npm run histories): the workflow tier keeps the history of every path that has no file yet. */
export const writesHistories = process.env.HISTORIES === 'write';

/**
 * Keeps a history for the replay gate, an event a line. A file that is there stays as it is: it was written by the code
 * of its day, and running workflows of that day must still be understood.
 * Constants that were lowered go into its name: `long--is-continued.CHANGES_A_RUN=3.json`.
 */
export function keepHistory(name: string, history: History, lowered: Record<string, number> = {}): void {
  const constants = Object.entries(lowered).map(([constant, value]) => `.${constant}=${value}`);
  const file = `${name}${constants.join('')}.json`;
  if (existsSync(path.join(RELEASE, file))) return;
  const { events } = JSON.parse(historyToJSON(history)) as { events: object[] };
  const text = `{"events":[\n${events.map((event) => JSON.stringify(event, withoutNoise)).join(',\n')}\n]}\n`;
  mkdirSync(RELEASE, { recursive: true });
  writeFileSync(path.join(RELEASE, file), text);
  appendFileSync(path.join(RELEASE, SUMS), `${sha256(text)}  ${file}\n`);
}

export const sha256 = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex');

/** Every stored history, by its path below HISTORIES. */
export const storedHistories = (): string[] =>
  readdirSync(HISTORIES, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.json')).toSorted();

/** The constants that were lowered when this file was written. */
export function loweredIn(file: string): Record<string, number> {
  const constants = file.matchAll(/\.([A-Z_]+)=(\d+)/g);
  return Object.fromEntries([...constants].map(([, constant, value]) => [constant, Number(value)]));
}

/** What replay does not read: ids of the server's, sizes, who did it and where. */
const NOISE = [
  'eventLinks',
  'header',
  'historySizeBytes',
  'identity',
  'meteringMetadata',
  'requestId',
  'stackTrace',
  'stickyAttributes',
  'taskId',
  'version',
  'workerVersion',
];
const withoutNoise = (key: string, value: unknown): unknown => (NOISE.includes(key) || isSticky(value) ? undefined : value);
const isSticky = (value: unknown) => (value as { kind?: string } | null)?.kind === 'TASK_QUEUE_KIND_STICKY';

/** A test's name as a file's. */
export const slug = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll("'", '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
