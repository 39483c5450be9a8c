/** What an agent registers after a talk, written before it is told: by the API, or for an operator's signal. */
import { AppError } from '../domain/errors.ts';
import type { DispositionAction } from '../domain/states.ts';
import { lockNumber } from '../matching/sql.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import * as sql from './sql.ts';

export interface Said {
  callId: string;
  agentId: number;
  action: DispositionAction;
  topics: string[];
  comment: string | null;
  /** The same one once more changes nothing. */
  requestId: string;
  /** Who says so: `agent:7`, `key:3`, `operator`. */
  by: string;
}

/**
 * Writes the disposition, and the numbers that must not be called, in one transaction; a repeat changes nothing. Throws
 * NOT_FOUND, CONFLICT for an agent who was not connected, and CALL_OVER once the contact's next call has started.
 */
export async function registerDisposition(db: Db, said: Said): Promise<sql.CallToDispose> {
  const { callId, agentId, action, topics, comment, requestId } = said;
  return inTx(db, async (tx) => {
    const call = await tx.row<sql.CallToDispose>(sql.lockCallToDispose(callId));
    if (!call) throw new AppError('NOT_FOUND', 'there is no such call');
    await mustHaveTalked(tx, call, said);
    if (await tx.row(sql.findDisposition(callId, agentId, requestId))) return call;
    const { contact_id, campaign_id } = call;
    const row = { call_id: callId, agent_id: agentId, contact_id, campaign_id, at: tx.now };
    tx.record({ table: 'dispositions', row: { ...row, action, topics, comment, request_id: requestId } });
    if (action === 'do_not_call') await listNumbers(tx, call, said.by);
    return call;
  });
}

async function mustHaveTalked(tx: Tx, call: sql.CallToDispose, { callId, agentId, action }: Said): Promise<void> {
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

/** The dial takes the same locks: after this commit none of the numbers is dialled. */
async function listNumbers(tx: Tx, { contact_id, phone_num, phone_2 }: sql.CallToDispose, addedBy: string): Promise<void> {
  const numbers = [phone_num, phone_2].filter((number) => number !== null);
  // Always in the same order, so that two can't wait for each other.
  for (const number of numbers.toSorted()) {
    await tx.run(lockNumber(number));
    await tx.run(sql.listNumber(tx.now, number, contact_id, addedBy));
  }
}
