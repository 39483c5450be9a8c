/**
 * Temporal's side of the fence: a number kept in its own store. It ends the workflow id of a schedule that never runs, since that
 * is as durable as the workflows, fills no history and needs no worker, and nobody changes it by pausing or resuming.
 */
import { randomUUID } from 'node:crypto';
import { type Client, isGrpcServiceError, ScheduleAlreadyRunning } from '@temporalio/client';
import { asAppError } from './client.ts';

export interface TemporalFence {
  /** The number; null: this Temporal knows of no such installation. Throws AppError. */
  read(): Promise<number | null>;
  /** Counts up only, and who has been frozen in between writes nothing. Throws AppError. */
  write(beat: number): Promise<void>;
}

const ANSWERS_WITHIN_MS = 5_000;

const NOTE = 'By its action a restored backup is recognised, and it never runs: leave it alone';

/** One for each task queue, which is what tells installations on the same namespace apart. */
export function createTemporalFence(client: Client, taskQueue: string): TemporalFence {
  const { schedule, workflowService, options } = client;
  const at = { namespace: options.namespace, scheduleId: `fence/${taskQueue}` };

  const inTime = <T>(ask: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + ANSWERS_WITHIN_MS, ask);
  const idOf = (beat: number): string => `${at.scheduleId}/${beat}`;

  function beatOf(found: Awaited<ReturnType<typeof workflowService.describeSchedule>>['schedule']): number {
    const [, beat] = /\/(\d+)$/.exec(found?.action?.startWorkflow?.workflowId ?? '') ?? [];
    if (beat === undefined) throw new Error(`the schedule ${at.scheduleId} was changed by hand, and can't be read`);
    return Number(beat);
  }

  async function make(beat: number): Promise<void> {
    const never = { type: 'startWorkflow' as const, workflowType: 'fence', taskQueue, workflowId: idOf(beat) };
    const made = { scheduleId: at.scheduleId, spec: {}, action: never, state: { paused: true, note: NOTE } };
    await inTime(() => schedule.create(made)).catch((error: unknown) => {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    });
  }

  async function find() {
    try {
      return await inTime(() => workflowService.describeSchedule(at));
    } catch (error) {
      if (isGrpcServiceError(error) && Number(error.code) === NOT_FOUND) return null;
      throw asAppError(error);
    }
  }

  return {
    async read() {
      const found = await find();
      return found && beatOf(found.schedule);
    },

    async write(beat) {
      const found = await find();
      if (!found) return make(beat);
      if (beatOf(found.schedule) >= beat) return;
      const { conflictToken, schedule: before } = found;
      const action = { startWorkflow: { ...before?.action?.startWorkflow, workflowId: idOf(beat) } };
      const changed = { ...before, action, state: { paused: true, notes: NOTE } };
      // Not the SDK's update, which overwrites what another process has written since it looked.
      await inTime(() => workflowService.updateSchedule({ ...at, schedule: changed, conflictToken, requestId: randomUUID() }));
    },
  };
}

/** gRPC's number. */
const NOT_FOUND = 5;
