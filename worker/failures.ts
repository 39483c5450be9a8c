/** What of a failed activity enters Temporal: a code, never the text of a database error, which may quote a row. */
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import type { Logger } from 'pino';
import { AppError } from '../domain/errors.ts';

/** Logs the whole error here and passes its code on; the retry policy of the activity decides what follows. */
export function failuresAsCodes(log: Logger): ActivityInterceptorsFactory {
  return ({ info }) => ({
    inbound: {
      async execute(input, next) {
        try {
          return await next(input);
        } catch (error) {
          if (error instanceof TemporalFailure) throw error;
          log.warn({ err: error, activity: info.activityType, attempt: info.attempt }, 'activity failed');
          throw ApplicationFailure.retryable('the step failed; the worker log says why', codeOf(error));
        }
      },
    },
  });
}

function codeOf(error: unknown): string {
  if (error instanceof AppError) return error.code;
  const code = (error as { code?: unknown } | null)?.code;
  // SQLSTATE or a system error such as ECONNREFUSED.
  return typeof code === 'string' && /^[A-Z0-9_]{5,30}$/.test(code) ? code : 'UNEXPECTED';
}
