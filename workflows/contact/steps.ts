/** The activities of a contact's life, each group with its retry policy and the reason for it. */
import { type ActivityOptions, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { CallActivities } from '../../activities/calls.ts';
import type { ContactActivities } from '../../activities/contacts.ts';
import type { TalkActivities } from '../../activities/talks.ts';
import type { TransferActivities, TransferSteps } from '../../activities/transfers.ts';
import { nodeTaskQueue } from '../../domain/ids.ts';

/** Only writes, each repeatable: repeated until the database answers. A code of ours is final. */
export const steps = proxyLocalActivities<ContactActivities & TransferSteps>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '100ms', maximumInterval: '10s', nonRetryableErrorTypes: ['NOT_FOUND', 'CONTACT_CLOSED', 'CONFLICT', 'CALL_OVER'] },
});

const PHONE: ActivityOptions = {
  startToCloseTimeout: '10m',
  // A worker that dies or freezes is noticed by this; another one adopts the leg by its id, so a repeat can't dial again.
  heartbeatTimeout: '10s',
  // Never given up: only the database and the switch know how the leg ended, and the sweep ends what no node carries.
  retry: { initialInterval: '200ms', maximumInterval: '5s', nonRetryableErrorTypes: ['NOT_FOUND'] },
};

/** Ringing, dialling and transfers on a node: they last as long as the phone rings, or the target is spoken with. */
export const phone = (node: string, summary: string) =>
  proxyActivities<Pick<CallActivities, 'ring' | 'dial'> & Pick<TransferActivities, 'unlink' | 'carryTransfer'>>({ ...PHONE, taskQueue: nodeTaskQueue(node), summary });

/** Commands to what rings or talks: the asker waits, so a node that does not answer in time means "unknown". */
export const command = (node: string, summary: string) =>
  proxyActivities<
    Pick<CallActivities, 'endOffer' | 'confirm'> & TalkActivities & Pick<TransferActivities, 'completeTransfer' | 'takeContactBack'>
  >({
    taskQueue: nodeTaskQueue(node),
    startToCloseTimeout: '5s',
    scheduleToCloseTimeout: '8s',
    retry: { initialInterval: '200ms', nonRetryableErrorTypes: ['NOT_FOUND'] },
    summary,
  });

