/**
 * Temporal's side of the fence: a number kept in its own store. It is the note of a schedule that never runs, since that is
 * as durable as the workflows, fills no history and needs no worker.
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

const noteOf = (beat: number): string => `beat ${beat}; by it a restored backup is recognised: leave it alone`;
const beatOf = (note: string | null | undefined): number => Number(/^beat (\d+)/.exec(note ?? '')?.[1] ?? 0);

/** One for each task queue, which is what tells installations on the same namespace apart. */
export function createTemporalFence(client: Client, taskQueue: string): TemporalFence {
  const { schedule, workflowService, options } = client;
  const at = { namespace: options.namespace, scheduleId: `fence/${taskQueue}` };

  async function make(beat: number): Promise<void> {
    const never = { type: 'startWorkflow' as const, workflowType: 'fence', taskQueue, workflowId: at.scheduleId };
    const state = { paused: true, note: noteOf(beat) };
    await schedule.create({ scheduleId: at.scheduleId, spec: {}, action: never, state }).catch((error: unknown) => {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    });
  }

  async function find() {
    try {
      return await client.withDeadline(Date.now() + ANSWERS_WITHIN_MS, () => workflowService.describeSchedule(at));
    } catch (error) {
      if (isGrpcServiceError(error) && Number(error.code) === NOT_FOUND) return null;
      throw asAppError(error);
    }
  }

  return {
    async read() {
      const found = await find();
      return found && beatOf(found.schedule?.state?.notes);
    },

    async write(beat) {
      const found = await find();
      if (!found) return make(beat);
      if (beatOf(found.schedule?.state?.notes) >= beat) return;
      const { conflictToken } = found;
      const changed = { ...found.schedule, state: { ...found.schedule?.state, notes: noteOf(beat) } };
      // Not the SDK's update, which overwrites what another process has written since it looked.
      await workflowService.updateSchedule({ ...at, schedule: changed, conflictToken, requestId: randomUUID() });
    },
  };
}

/** gRPC's number. */
const NOT_FOUND = 5;
