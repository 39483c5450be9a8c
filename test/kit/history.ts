/** Workflow histories as tests read and keep them. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
type Event = NonNullable<History['events']>[number];
type Attributes = Record<string, any>;

/**
 * A history as a line of text, a word an event: `Started Task Signal(offered) Task Attributes Schedule(ring) …`.
 * `Task` alone stands for the three events of a workflow task; `Local` is a local activity.
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
  markerRecorded: ({ details }) => `Local(${decode(details.data).activity_type})`,
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

const attributesOf = (event: Event): Attributes => event[`${kindOf(event)}EventAttributes` as keyof Event] as Attributes;

function decode(payloads: { payloads: { data: Uint8Array }[] }): Attributes {
  return JSON.parse(Buffer.from(payloads.payloads[0]!.data).toString('utf8')) as Attributes;
}

// ---- stored histories (test/replay) -----------------------------------------------------------------------------------

export const HISTORIES = path.resolve(import.meta.dirname, '../replay/histories');

/** `HISTORIES=write` (npm run histories): the workflow tier keeps the history of every path that has no file yet. */
export const writesHistories = process.env.HISTORIES === 'write';

/**
 * Keeps a history for the replay gate, an event a line. A file that is there stays as it is: it was written by the code
 * of its day, and running workflows of that day must still be understood (delete it to have it written anew).
 */
export function keepHistory(name: string, history: History): void {
  const file = path.join(HISTORIES, `${name}.json`);
  if (existsSync(file)) return;
  const { events } = JSON.parse(historyToJSON(history)) as { events: object[] };
  mkdirSync(HISTORIES, { recursive: true });
  writeFileSync(file, `{"events":[\n${events.map((event) => JSON.stringify(event, withoutNoise)).join(',\n')}\n]}\n`);
}

/** What replay does not read. */
const NOISE = ['taskId', 'version', 'identity', 'historySizeBytes', 'meteringMetadata', 'requestId', 'eventLinks'];
function withoutNoise(key: string, value: unknown): unknown {
  if (NOISE.includes(key)) return undefined;
  return value;
}

/** A test's name as a file's. */
export const slug = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll("'", '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
