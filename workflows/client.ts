/**
 * The only door to the workflows from outside: typed calls, and failures as AppError codes.
 *
 * A repeat is harmless: starts reject duplicates, signals carry numbers that the workflow has seen before, updates carry
 * the request's key as update id. Only one whose outcome has stayed unknown is carried out once more.
 */
import {
  type Client,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowIdConflictPolicy,
  WorkflowIdReusePolicy,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  isGrpcServiceError,
} from '@temporalio/client';
import {
  ApplicationFailure,
  type SearchAttributePair,
  type SignalDefinition,
  TypedSearchAttributes,
  type UpdateDefinition,
} from '@temporalio/common';
import { AppError, ERROR_CODES, type ErrorCode } from '../domain/errors.ts';
import { campaignWorkflowId, contactOfWorkflow, contactWorkflowId } from '../domain/ids.ts';
import * as campaignMessages from './campaign/messages.ts';
import type * as contactMessages from './contact/messages.ts';
import { attribute } from './attributes.ts';

/** Of whoever connects: gRPC's own longest wait is two minutes, and after an outage nobody would be told anything for so long. */
export const RECONNECTS_SOON = { channelArgs: { 'grpc.max_reconnect_backoff_ms': 2_000 } };

/** Longest an update is waited for; after that its outcome is unknown to the caller (503). */
const UPDATE_DEADLINE_MS = 10_000;
/** The same for a start or a signal: what waits for a server that does not answer takes memory. */
const TELL_DEADLINE_MS = 10_000;

/** A contact's workflow of one round. */
export interface ContactRef {
  contactId: string;
  round: number;
}

export interface CampaignRef {
  campaignId: string;
}

/** `at_work`: a task or an activity of it is under way, or to be repeated · `waits` · `closed`: it is no more, or never was. */
export type WorkflowStanding = 'at_work' | 'waits' | 'closed';

export interface Workflows {
  /** Starts a contact's workflow; `existed` when this round was started before. */
  startContact(input: contactMessages.ContactInput): Promise<'started' | 'existed'>;
  /**
   * Starts it anew from its row, ending what may run of this round: it was of another time (after a restore). Its first task
   * comes so much later, or with its first signal.
   */
  restartContact(input: contactMessages.ContactInput, startsAfterMs: number): Promise<void>;
  /** Waits, so long at most, until a worker has carried out the first task of a contact's workflow; false if none has. */
  takenUp(contact: ContactRef, withinMs: number): Promise<boolean>;
  /** Tells the campaign's workflow to bring every row into line, starting it if need be. */
  campaignChanged(campaignId: string): Promise<void>;
  /** Sends a signal; `closed` when the workflow is no more (nothing was done). */
  signal<A>(contact: ContactRef, definition: SignalDefinition<[A]>, argument: A): Promise<'told' | 'closed'>;
  /** Whether anybody carries a workflow on. */
  standing(workflow: ContactRef | CampaignRef): Promise<WorkflowStanding>;
  /** Contacts whose workflow was ended since then by other hands than its own: terminated, or failed. */
  endedByForce(since: Date): AsyncIterable<ContactRef & { endedAt: Date }>;
  /** Whether a contact's workflow runs: one that was ended by force may have been reset, or started anew. */
  isRunning(contact: ContactRef): Promise<boolean>;
  /** Carries out an update and returns its answer; throws AppError. `key` makes a repeat the same update; it enters Temporal. */
  update<R, A>(contact: ContactRef, definition: UpdateDefinition<R, [A]>, argument: A, key: string): Promise<R>;
}

export function createWorkflows(client: Client, taskQueue: string): Workflows {
  const handle = (contact: ContactRef) => client.workflow.getHandle(idOf(contact));
  const inTime = <T>(tell: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + TELL_DEADLINE_MS, tell);
  const asContact = (input: contactMessages.ContactInput) => {
    const attributes: SearchAttributePair[] = [
      { key: attribute.campaignId, value: input.campaignId },
      { key: attribute.contactState, value: input.dueAt === null ? 'queued' : 'waiting' },
    ];
    return {
      taskQueue,
      workflowId: idOf(input),
      args: [input],
      staticSummary: `Contact ${input.contactId} of campaign ${input.campaignId}, round ${input.round}`,
      typedSearchAttributes: new TypedSearchAttributes(attributes),
    };
  };
  return {
    async startContact(input) {
      try {
        const options = { ...asContact(input), workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE };
        await inTime(() => client.workflow.start('contact', options));
        return 'started';
      } catch (error) {
        if (error instanceof WorkflowExecutionAlreadyStartedError) return 'existed';
        throw asAppError(error);
      }
    },

    async restartContact(input, startsAfterMs) {
      try {
        await client.workflow.start('contact', {
          ...asContact(input),
          ...(startsAfterMs > 0 && { startDelay: startsAfterMs }),
          workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.TERMINATE_EXISTING,
        });
      } catch (error) {
        throw asAppError(error);
      }
    },

    takenUp: (contact, withinMs) => takenUp(client, idOf(contact), withinMs),

    async campaignChanged(campaignId) {
      try {
        const options = {
          taskQueue,
          workflowId: campaignWorkflowId(campaignId),
          workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
          args: [{ campaignId } satisfies campaignMessages.CampaignInput],
          signal: campaignMessages.changed,
          staticSummary: `Campaign ${campaignId}`,
          typedSearchAttributes: new TypedSearchAttributes([{ key: attribute.campaignId, value: campaignId }]),
        };
        await inTime(() => client.workflow.signalWithStart('campaign', options));
      } catch (error) {
        throw asAppError(error);
      }
    },

    async signal(contact, definition, argument) {
      try {
        await inTime(() => handle(contact).signal(definition, argument));
        return 'told';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return 'closed';
        throw asAppError(error);
      }
    },

    standing: (workflow) =>
      inTime(() => standing(client, 'campaignId' in workflow ? campaignWorkflowId(workflow.campaignId) : idOf(workflow))),

    endedByForce: (since) => endedByForce(client, taskQueue, since),

    isRunning: async (contact) => (await inTime(() => standing(client, idOf(contact)))) !== 'closed',

    update: (contact, definition, argument, key) => update(client, idOf(contact), definition, argument, key),
  };
}

const idOf = ({ contactId, round }: ContactRef): string => contactWorkflowId(contactId, round);

async function standing(client: Client, workflowId: string): Promise<WorkflowStanding> {
  try {
    const { status, raw } = await client.workflow.getHandle(workflowId).describe();
    if (status.name !== 'RUNNING') return 'closed';
    return raw.pendingWorkflowTask || raw.pendingActivities?.length ? 'at_work' : 'waits';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'closed';
    throw asAppError(error);
  }
}

async function* endedByForce(client: Client, taskQueue: string, since: Date): AsyncIterable<ContactRef & { endedAt: Date }> {
  const query = [
    `WorkflowType = 'contact' AND TaskQueue = '${taskQueue}'`,
    `ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')`,
    `CloseTime >= '${since.toISOString()}'`,
  ].join(' AND ');
  for await (const { workflowId, closeTime } of client.workflow.list({ query })) {
    const contact = contactOfWorkflow(workflowId);
    if (contact) yield { ...contact, endedAt: closeTime ?? since };
  }
}

async function update<R, A>(
  client: Client,
  workflowId: string,
  definition: UpdateDefinition<R, [A]>,
  argument: A,
  key: string,
): Promise<R> {
  const askedAt = Date.now();
  const deadline = askedAt + UPDATE_DEADLINE_MS;
  const workflow = client.workflow.getHandle(workflowId);
  const ask = (updateId: string) => () => workflow.executeUpdate(definition, { args: [argument], updateId });
  for (let nth = 1; ; ) {
    try {
      return await client.withDeadline(deadline, ask(nth === 1 ? key : `${key}-${nth}`));
    } catch (error) {
      if (Date.now() >= deadline) throw asAppError(error);
      // What an earlier request was told stands under its id: the deed is asked for under the next one.
      if (wasUnknownAt(error) < askedAt) nth += 1;
      else if (!isGivenUp(error)) throw asAppError(error);
    }
  }
}

/** When the workflow said that the outcome of an update is unknown, in epoch ms; else never. */
function wasUnknownAt(error: unknown): number {
  const failure = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
  if (!(failure instanceof ApplicationFailure) || failure.type !== 'UNAVAILABLE') return Infinity;
  const [, at = Infinity] = (failure.details ?? []) as [string?, number?];
  return at;
}

/** Follows a workflow's history to the end of its first task. */
async function takenUp(client: Client, workflowId: string, withinMs: number): Promise<boolean> {
  const { namespace } = client.options;
  let nextPageToken: Uint8Array | undefined;
  const nextEvents = () =>
    client.workflowService.getWorkflowExecutionHistory({
      namespace,
      execution: { workflowId },
      waitNewEvent: true,
      ...(nextPageToken && { nextPageToken }),
    });
  const deadline = Date.now() + withinMs;
  try {
    for (;;) {
      const page = await client.withDeadline(deadline, nextEvents);
      const isTaken = page.history?.events?.some((event) => event.workflowTaskCompletedEventAttributes);
      // Of one that has closed there is no more to come.
      if (isTaken || !page.nextPageToken?.length) return true;
      nextPageToken = page.nextPageToken;
    }
  } catch (error) {
    if (isGrpcServiceError(error) && Number(error.code) === DEADLINE_EXCEEDED) return false;
    throw asAppError(error);
  }
}

/**
 * The server has dropped the update together with the workflow task that carried it, since a signal came in between: it
 * was not accepted, and is asked for again under the same id.
 */
function isGivenUp(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && Number(cause.code) === FAILED_PRECONDITION && cause.details.includes('workflow task failure');
}
/** gRPC's numbers. */
const DEADLINE_EXCEEDED = 4;
const FAILED_PRECONDITION = 9;

const isErrorCode = (text: unknown): text is ErrorCode => ERROR_CODES.includes(text as ErrorCode);

/** Temporal's failures as the product's codes: what the workflow said, closed, or outcome unknown. */
export function asAppError(error: unknown): unknown {
  if (error instanceof WorkflowUpdateFailedError) {
    const cause = error.cause;
    if (cause instanceof ApplicationFailure && isErrorCode(cause.type)) {
      const [state] = (cause.details ?? []) as [string?];
      return new AppError(cause.type, cause.message, state === undefined ? {} : { state });
    }
    // The workflow ended while it carried the update out.
    return new AppError('CONTACT_CLOSED', 'the contact was finished at the same moment', { state: 'closed' });
  }
  if (error instanceof WorkflowNotFoundError) {
    return new AppError('CONTACT_CLOSED', 'nothing is under way for this contact', { state: 'closed' });
  }
  if (
    error instanceof WorkflowUpdateRPCTimeoutOrCancelledError ||
    error instanceof ServiceError ||
    isGrpcServiceError(error)
  ) {
    return new AppError('UNAVAILABLE', 'the workflow service did not answer in time; repeat with the same key');
  }
  return error;
}
