/**
 * The replay gate: the histories of every path, as the code of every release wrote them, are understood by the code of today
 * (CONTRIBUTING, WF4). A new path adds a file (HISTORIES=write); a file that fails here is a running workflow that would
 * get stuck, so the code needs `patched`, not the file a refresh. None goes: workflows live as long as their contacts wait.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { beforeAll, describe, expect, it } from 'vitest';
import { workflowBundle } from '../kit/contact-rig.ts';
import { HISTORIES, loweredIn, RELEASE, sha256, storedHistories, SUMS } from '../kit/history.ts';

const files = storedHistories();
const read = (file: string): string => readFileSync(path.join(HISTORIES, file), 'utf8');

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- JSON of many shapes, changed at will
type Event = Record<string, any>;
type Tamper = (events: Event[]) => Event[];
const eventsOf = (file: string): Event[] => (JSON.parse(read(file)) as { events: Event[] }).events;

const errors = new Map<string, Error | undefined>();

beforeAll(async () => {
  const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' });
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter } } });
  // One worker for all the histories of a bundle: each alone would take longer than its replay.
  const bundles = Map.groupBy(files, (file) => JSON.stringify(loweredIn(file)));
  for (const [lowered, names] of bundles) {
    const histories = names.map((workflowId) => ({ workflowId, history: { events: eventsOf(workflowId) } }));
    const options = { workflowBundle: workflowBundle(JSON.parse(lowered) as object) };
    for await (const { workflowId, error } of Worker.runReplayHistories(options, histories)) errors.set(workflowId, error);
  }
});

describe('a stored history', () => {
  it('is there for every path', () => {
    expect(files.length).toBeGreaterThan(90);
  });

  it.each(files)('is understood: %s', (file) => {
    expect(errors.has(file), 'replayed').toBe(true);
    expect(errors.get(file)).toBeUndefined();
  });

  it('has nothing personal in it', () => {
    for (const file of files) {
      const payloads = [...read(file).matchAll(/"data":"([^"]+)"/g)];
      const texts = payloads.map(([, data]) => Buffer.from(data!, 'base64').toString('utf8'));
      expect(texts.join('\n'), file).not.toMatch(/\+\d{6}|@|comment|phone_num|var\d/i);
    }
  });
});

describe('the histories of a release', () => {
  const releases = readdirSync(HISTORIES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const sums = (release: string) =>
    readFileSync(path.join(HISTORIES, release, SUMS), 'utf8').trim().split('\n').map((line) => line.split('  ') as [string, string]);

  it.each(releases.map(({ name }) => name))('%s are all there, and as they were written', (release) => {
    for (const [sum, file] of sums(release)) {
      expect(existsSync(path.join(HISTORIES, release, file)), `${release}/${file} is gone: take it back from the repository`).toBe(true);
      expect(sha256(readFileSync(path.join(HISTORIES, release, file))), `${release}/${file} has been changed`).toBe(sum);
    }
  });

  it('are listed, so that none can go unseen', () => {
    const listed = releases.flatMap(({ name }) => sums(name).map(([, file]) => `${name}/${file}`));
    expect(files, `add what is new: sha256sum *.json > ${SUMS}`).toEqual(listed.toSorted());
  });

  it('of the release that is being made are there', () => expect(existsSync(RELEASE)).toBe(true));
});

describe('a tampered history', () => {
  const CALL = '0.1.0/a-call--is-offered-answered-dialled-talked-and-disposed-of.json';
  const edit = (kind: string, change: (attributes: Event) => void): Tamper => (events) => {
    const attributes = events.map((event) => event[`${kind}EventAttributes`] as Event | undefined).find(Boolean);
    change(attributes!);
    return events;
  };
  /** As if it had never been written: later events are numbered anew. */
  const without = (type: string): Tamper => (events) => {
    const at = events.findIndex(({ eventType }) => eventType === type);
    const shift = (id: string) => (Number(id) > at ? String(Number(id) - 1) : id);
    const text = JSON.stringify(events.toSpliced(at, 1));
    return JSON.parse(text.replaceAll(/(?<="\w*[eE]ventId":")\d+/g, shift)) as Event[];
  };

  it.each<[string, Tamper]>([
    ['another activity', edit('activityTaskScheduled', ({ activityType }) => (activityType.name = 'rang'))],
    ['another signal', edit('workflowExecutionSignaled', (signal) => (signal.signalName = 'offering'))],
    ['one command less', without('EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES')],
    ['no timer', without('EVENT_TYPE_TIMER_STARTED')],
  ])('is refused: %s', async (_what, tamper) => {
    const options = { workflowBundle: workflowBundle() };

    const replayed = Worker.runReplayHistory(options, { events: tamper(eventsOf(CALL)) });
    await expect(replayed).rejects.toThrow(DeterminismViolationError);
  });
});
