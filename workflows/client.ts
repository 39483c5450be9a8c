/**
 * The only door to the workflows from outside: typed calls, and failures as AppError codes.
 *
 * A repeat is harmless: starts reject duplicates, signals carry numbers that the workflow has seen before, updates carry
 * the request's key as update id.
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

/** Longest an update is waited for; after that its outcome is unknown to the caller (503). */
const UPDATE_DEADLINE_MS = 10_000;

/** A contact's workflow of one round. */
export interface ContactRef {
  contactId: string;
  round: number;
}

export interface Workflows {
  /** Starts a contact's workflow; `existed` when this round was started before. */
  startContact(input: contactMessages.ContactInput): Promise<'started' | 'existed'>;
  /** Waits, so long at most, until a worker has carried out the first task of a contact's workflow; false if none has. */
  takenUp(contact: ContactRef, withinMs: number): Promise<boolean>;
  /** Tells the campaign's workflow to bring every row into line, starting it if need be. */
  campaignChanged(campaignId: string): Promise<void>;
  /** Sends a signal; `closed` when the workflow is no more (nothing was done). */
  signal<A>(contact: ContactRef, definition: SignalDefinition<[A]>, argument: A): Promise<'told' | 'closed'>;
  /** Contacts whose workflow was ended since then by other hands than its own: terminated, or failed. */
  endedByForce(since: Date): AsyncIterable<ContactRef & { endedAt: Date }>;
  /** Carries out an update and returns its answer; throws AppError. `key` makes a repeat the same update; it enters Temporal. */
  update<R, A>(contact: ContactRef, definition: UpdateDefinition<R, [A]>, argument: A, key: string): Promise<R>;
}

export function createWorkflows(client: Client, taskQueue: string): Workflows {
  const handle = ({ contactId, round }: ContactRef) => client.workflow.getHandle(contactWorkflowId(contactId, round));
  return {
    async startContact(input) {
      const attributes: SearchAttributePair[] = [
        { key: attribute.campaignId, value: input.campaignId },
        { key: attribute.contactState, value: input.dueAt === null ? 'queued' : 'waiting' },
      ];
      try {
        await client.workflow.start('contact', {
          taskQueue,
          workflowId: contactWorkflowId(input.contactId, input.round),
          workflowIdReusePolicy: WorkflowIdReusePolicy.REJECT_DUPLICATE,
          args: [input],
          staticSummary: `Contact ${input.contactId} of campaign ${input.campaignId}, round ${input.round}`,
          typedSearchAttributes: new TypedSearchAttributes(attributes),
        });
        return 'started';
      } catch (error) {
        if (error instanceof WorkflowExecutionAlreadyStartedError) return 'existed';
        throw asAppError(error);
      }
    },

    takenUp: (contact, withinMs) => takenUp(client, contactWorkflowId(contact.contactId, contact.round), withinMs),

    async campaignChanged(campaignId) {
      try {
        await client.workflow.signalWithStart('campaign', {
          taskQueue,
          workflowId: campaignWorkflowId(campaignId),
          workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
          args: [{ campaignId } satisfies campaignMessages.CampaignInput],
          signal: campaignMessages.changed,
          staticSummary: `Campaign ${campaignId}`,
          typedSearchAttributes: new TypedSearchAttributes([{ key: attribute.campaignId, value: campaignId }]),
        });
      } catch (error) {
        throw asAppError(error);
      }
    },

    async signal(contact, definition, argument) {
      try {
        await handle(contact).signal(definition, argument);
        return 'told';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return 'closed';
        throw asAppError(error);
      }
    },

    async *endedByForce(since) {
      const query = [
        `WorkflowType = 'contact' AND TaskQueue = '${taskQueue}'`,
        `ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')`,
        `CloseTime >= '${since.toISOString()}'`,
      ].join(' AND ');
      for await (const { workflowId, closeTime } of client.workflow.list({ query })) {
        const contact = contactOfWorkflow(workflowId);
        if (contact) yield { ...contact, endedAt: closeTime ?? since };
      }
    },

    async update(contact, definition, argument, key) {
      const deadline = Date.now() + UPDATE_DEADLINE_MS;
      const ask = () => handle(contact).executeUpdate(definition, { args: [argument], updateId: key });
      for (;;) {
        try {
          return await client.withDeadline(deadline, ask);
        } catch (error) {
          if (!isGivenUp(error) || Date.now() >= deadline) throw asAppError(error);
        }
      }
    },
  };
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
