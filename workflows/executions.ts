/**
 * What Temporal knows of the contacts' workflows, for bringing a restored installation into line: which there are, what their
 * histories say of dials, and ending those that nobody needs.
 */
import { type Client, type WorkflowExecutionInfo, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import type { OpenOffer } from '../activities/contacts.ts';
import { contactOfWorkflow } from '../domain/ids.ts';
import { asAppError } from './client.ts';
import { attribute } from './attributes.ts';
import type { Closed } from './contact/life.ts';

/** One run of a contact's workflow. */
export interface Execution {
  contactId: string;
  round: number;
  workflowId: string;
  runId: string;
  isOpen: boolean;
  /** `ContactState`, as of its last change of phase. */
  state: string | null;
  /** Some agent was asked. Who was not has dialled nobody. */
  wasOffered: boolean;
}

/** A contact's leg that was sent, as far as a history says. */
export interface KnownDial extends OpenOffer {
  /** Epoch ms. */
  at: number;
  /** Since when they talked, if they did. */
  answeredAt: number | null;
}

/** What a run says: whom it has dialled, and how it has ended, if it has by itself. */
export interface Told {
  dials: KnownDial[];
  closed: Pick<Closed, 'state' | 'reason'> | null;
}

export interface Executions {
  /** Open runs; with `since` those too that have closed from then on. */
  contacts(since: Date | null): AsyncIterable<Execution>;
  told(run: Pick<Execution, 'workflowId' | 'runId'>): Promise<Told>;
  /** Ids of the campaigns that have an open workflow. */
  campaigns(): Promise<string[]>;
  /** Ends what may run under this id; nothing where nothing does. */
  end(workflowId: string): Promise<void>;
}

export function createExecutions(client: Client, taskQueue: string): Executions {
  const ofType = (type: string) => `WorkflowType = '${type}' AND TaskQueue = '${taskQueue}'`;
  const OPEN = `ExecutionStatus = 'Running'`;
  return {
    async *contacts(since) {
      // Two lists instead of one with OR, which some visibility stores read without an index. To some of them an open one closes last.
      const closed = since ? [`CloseTime >= '${since.toISOString()}' AND ExecutionStatus != 'Running'`] : [];
      for (const which of [OPEN, ...closed]) {
        const runs = client.workflow.list({ query: `${ofType('contact')} AND ${which}`, pageSize: 1_000 });
        for await (const run of runs) {
          const execution = executionOf(run);
          if (execution) yield execution;
        }
      }
    },

    async told({ workflowId, runId }) {
      const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      return toldBy(events ?? []);
    },

    async campaigns() {
      const ids: string[] = [];
      for await (const { workflowId } of client.workflow.list({ query: `${ofType('campaign')} AND ${OPEN}` })) {
        ids.push(workflowId.replace('campaign/', ''));
      }
      return ids;
    },

    async end(workflowId) {
      try {
        await client.workflow.getHandle(workflowId).terminate('of another time than the database: reconciled');
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw asAppError(error);
      }
    },
  };
}

function executionOf(run: WorkflowExecutionInfo): Execution | null {
  const contact = contactOfWorkflow(run.workflowId);
  if (!contact) return null;
  const { typedSearchAttributes: attributes, workflowId, runId, status } = run;
  return {
    ...contact,
    workflowId,
    runId,
    isOpen: status.name === 'RUNNING',
    state: attributes.get(attribute.contactState) ?? null,
    wasOffered: attributes.get(attribute.agentId) !== undefined,
  };
}

type Event = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];
type Payloads = { payloads?: { data?: Uint8Array | null }[] | null } | null | undefined;

/** Reads a history. A dial counts as sent unless its activity has said that it was not. */
export function toldBy(events: Event[]): Told {
  const offers = new Map<string, OpenOffer>();
  const dials = new Map<string, KnownDial & { isRefused: boolean }>();
  let closed: Told['closed'] = null;
  for (const event of events) {
    const { markerRecordedEventAttributes: marker, activityTaskScheduledEventAttributes: asked } = event;
    const { activityTaskCompletedEventAttributes: done, workflowExecutionCompletedEventAttributes: ended } = event;
    // The local steps that name an offer: openOffer, and those of transfers.
    const noted = valueOf<Partial<OpenOffer> & { offer?: OpenOffer }>(marker?.details?.result);
    for (const offer of [noted, noted?.offer]) if (isOffer(offer)) offers.set(offer.offerId, offer);
    if (asked?.activityType?.name === 'dial') {
      const { offerId } = valueOf<{ offerId: string }>(asked.input)!;
      const offer = offers.get(offerId);
      if (!offer) throw new Error(`a history dials offer ${offerId}, of which it says nothing`);
      dials.set(String(event.eventId), { ...offer, at: timeOf(event), answeredAt: null, isRefused: false });
    }
    const dial = done && dials.get(String(done.scheduledEventId));
    if (dial) {
      const { kind } = valueOf<{ kind: string }>(done.result)!;
      dial.isRefused = kind === 'refused' || kind === 'over';
      if (kind === 'talking') dial.answeredAt = timeOf(event);
    }
    if (ended) closed = valueOf<Closed>(ended.result);
  }
  const sent = [...dials.values()].filter(({ isRefused }) => !isRefused).map(({ isRefused: _, ...dial }) => dial);
  return { dials: sent, closed: closed && { state: closed.state, reason: closed.reason } };
}

const isOffer = (offer: Partial<OpenOffer> | null | undefined): offer is OpenOffer =>
  typeof offer?.offerId === 'string' && typeof offer.callId === 'string';

function valueOf<T>(found: Payloads): T | null {
  const data = found?.payloads?.[0]?.data;
  return data?.length ? (JSON.parse(Buffer.from(data).toString('utf8')) as T | null) : null;
}

const timeOf = ({ eventTime }: Event): number => Number(eventTime?.seconds ?? 0) * 1000 + Math.floor((eventTime?.nanos ?? 0) / 1e6);
