/**
 * Recordings of talks, begun beside the call: it neither waits for them nor suffers from them. The name stands in the row
 * of the contact's leg before the switch is asked, so that no recording is there of which the call's facts know nothing.
 */
import type { Logger } from 'pino';
import type { LegBook } from '../activities/legs.ts';
import * as sql from '../activities/sql.ts';
import { AppError } from '../domain/errors.ts';
import type { Db } from '../prisma/tx.ts';
import type { Telephony } from '../telephony/telephony.ts';

export interface RecordingDeps {
  legs: Pick<LegBook, 'notRecorded'>;
  telephony: Pick<Telephony, 'capabilities' | 'record'>;
  log: Logger;
}

/**
 * Records the talk of a call; never rejects. What a switch refuses is logged, and the name taken back. One that does not
 * answer may record all the same: the name stays, and resumeRecordings asks again when the switch is back.
 */
export async function recordTalk({ legs, telephony, log }: RecordingDeps, callId: string, name: string): Promise<void> {
  try {
    if (!telephony.capabilities.record) throw new AppError('CONFLICT', 'this switch can not record');
    await telephony.record(callId, name);
  } catch (error) {
    if (error instanceof AppError && error.code === 'UNAVAILABLE') {
      log.warn({ err: error, call: callId }, 'it is unknown whether the switch records the call');
      return;
    }
    log.error({ err: error, call: callId }, 'the call is not recorded');
    await legs.notRecorded(callId).catch((failed: unknown) => log.error({ err: failed, call: callId }, 'not written'));
  }
}

/** Of the talks under way at a node: who wrote the name may have died, or lost the switch, before it was recorded. */
export async function resumeRecordings(deps: RecordingDeps & { db: Db; name: string }): Promise<void> {
  const { rows } = await deps.db.pool.query<sql.LegRow>(sql.openLegsOfNode(deps.name));
  for (const { call_id: callId, recording } of rows) if (recording) await recordTalk(deps, callId, recording);
}
