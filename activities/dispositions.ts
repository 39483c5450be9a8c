/** What an agent registers after a talk, written before it is told: by the API, or for an operator's signal. */
import { isDeepStrictEqual } from 'node:util';
import { numbersOf } from '../domain/do-not-call.ts';
import { AppError } from '../domain/errors.ts';
import { rulesOfCall, type StoredRules } from '../domain/rules-of-call.ts';
import type { DispositionAction } from '../domain/states.ts';
import { type Issue, judge, type Said as SaidOfCall } from '../domain/topics.ts';
import { mustBeLawful } from '../matching/hours.ts';
import { lockNumbers } from '../matching/sql.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import { listNumbers } from './do-not-call.ts';
import { numbersOfCall } from './do-not-call-sql.ts';
import * as sql from './sql.ts';

/** When the contact is to be called back, and whether by the agent who says so. */
export interface Reschedule {
  at: Date;
  toMyself: boolean;
}

export interface Said extends SaidOfCall {
  callId: string;
  agentId: number;
  /** False for an operator: what is written by hand must not pass through Temporal. */
  canComment: boolean;
  /** Of a reschedule. */
  reschedule: Reschedule | null;
  /** The same one once more changes nothing. */
  requestId: string;
  /** Who says so: `agent:7`, `key:3`, `operator`. */
  by: string;
}

/** The call, and the action that was registered: what was said, or what a topic means. `numbers`: listed by do_not_call. */
export type Registered = sql.CallToDispose & { action: DispositionAction; numbers: string[] };

/**
 * Writes the disposition, and the numbers that must not be called, in one transaction; a repeat changes nothing. Throws
 * NOT_FOUND, CONFLICT for an agent who was not connected, CALL_OVER once the contact's next call has started, TOPICS_MISMATCH
 * for what the call's topics do not allow, and IDEMPOTENCY_CONFLICT for a request that was another one before.
 */
export async function registerDisposition(db: Db, said: Said): Promise<Registered> {
  const { callId, agentId, requestId } = said;
  return inTx(db, async (tx) => {
    const ruled = await tx.row<StoredRules & { rules_version: number | null }>(sql.rulesOfCall(callId));
    if (!ruled) throw new AppError('NOT_FOUND', 'there is no such call');
    const judged = judge(rulesOfCall(ruled).topics, said, said.canComment);
    const action = 'issues' in judged ? said.action : judged.action;
    const called = action === 'do_not_call' ? await lockNumbersOf(tx, callId) : [];
    const call = (await tx.row<sql.CallToDispose>(sql.lockCallToDispose(callId)))!;
    if (call.is_erased) throw new AppError('CONFLICT', 'the contact of this call was erased', { state: call.state });
    await mustHaveTalked(tx, call, { callId, agentId, action });
    const numbers = [...new Set([...called, ...numbersOf(call)])];
    const before = await tx.row<sql.SaidBefore>(sql.findDisposition(callId, agentId, requestId));
    if ('issues' in judged) throw mismatch(judged.issues);
    if (before && isSame(before, judged, said.reschedule)) return { ...call, action: before.action, numbers };
    if (before) throw new AppError('IDEMPOTENCY_CONFLICT', 'this Idempotency-Key was used for another disposition of this call');
    const reschedule = judged.action === 'reschedule' ? said.reschedule : null;
    // An operator's signal has no place for it.
    if (judged.action === 'reschedule' && !reschedule) throw new AppError('INVALID', 'a reschedule needs its time: say it by the API');
    if (reschedule && call.is_over) {
      throw new AppError('CONFLICT', 'the campaign has ended and calls nobody any more: register something else', { state: call.state });
    }
    if (reschedule) await mustBeLawful(tx, call.contact_id, reschedule.at, 'reschedule.at');
    const { contact_id, campaign_id } = call;
    const scheduled = { reschedule_at: reschedule?.at ?? null, reschedule_to_agent: reschedule?.toMyself ?? null };
    const row = { call_id: callId, agent_id: agentId, contact_id, campaign_id, at: tx.now, request_id: requestId };
    tx.record({ table: 'dispositions', row: { ...row, ...judged, ...scheduled, rules_version: ruled.rules_version } });
    if (judged.action === 'do_not_call') {
      const { by, comment } = { by: said.by, comment: judged.comment };
      await listNumbers(tx, numbers, { source: 'disposition', by, comment, contactId: contact_id });
    }
    return { ...call, action: judged.action, numbers };
  });
}

/** What was registered before is what is said now. */
function isSame(before: sql.SaidBefore, now: Pick<sql.SaidBefore, 'action' | 'topics' | 'comment'>, reschedule: Reschedule | null): boolean {
  const { action, topics, comment, reschedule_at, reschedule_to_agent } = before;
  const told = { action, topics, comment, at: reschedule_at, toMyself: reschedule_to_agent };
  const { at = null, toMyself = null } = now.action === 'reschedule' ? (reschedule ?? {}) : {};
  return isDeepStrictEqual(told, { action: now.action, topics: now.topics, comment: now.comment, at, toMyself });
}

async function mustHaveTalked(
  tx: Tx,
  call: sql.CallToDispose,
  { callId, agentId, action }: Pick<Said, 'callId' | 'agentId' | 'action'>,
): Promise<void> {
  const talk = await tx.row<{ is_abandoned: boolean }>(sql.talkOf(callId, agentId));
  // Of an answer that nobody took there is nothing to register; but who must not be called must not be called.
  if (!talk || (talk.is_abandoned && action !== 'do_not_call')) {
    const detail = `agent ${agentId} was not connected with the contact in this call`;
    throw new AppError('CONFLICT', detail, { state: call.state });
  }
  if (action !== 'do_not_call' && call.newest !== callId) {
    const detail = "the contact's next call has started; only do_not_call is still accepted";
    throw new AppError('CALL_OVER', detail, { state: call.state });
  }
}

/** What was written goes to whoever wrote it only: the message may reach Temporal. */
function mismatch(found: Issue[]): AppError {
  const message = found.map(({ field, reason }) => `${field} ${reason}`).join('; ');
  const issues = found.map(({ field, reason, written }) => ({ field, reason: written ? `${reason}: ${written}` : reason }));
  return new AppError('TOPICS_MISMATCH', message, { issues });
}

/** Numbers before the contact, as the dial locks them: the contact's next call may be under way. */
async function lockNumbersOf(tx: Tx, callId: string): Promise<string[]> {
  const { numbers } = (await tx.row<{ numbers: string[] }>(numbersOfCall(callId))) ?? { numbers: [] };
  await tx.run(lockNumbers(numbers));
  return numbers;
}
