/** Rows that matching, activities and telephony would have written. */
import type { Pool } from 'pg';
import { callId as idOfCall, legId } from '../../domain/ids.ts';

export interface CallMade {
  callId: string;
  offerId: string;
}

export interface CallOptions {
  contact: { id: string; campaign_id: string; phone_num: string };
  agent?: { id: string; phone: string };
  callNo: number;
  /** Waits in the queue: no offer yet. */
  queued?: boolean;
  /** The contact has answered. */
  talked?: boolean;
  /** Offer, legs and call have ended, the contact's leg with `code`. */
  ended?: boolean;
  code?: string;
}

/** The contact's `callNo`-th call with one offer: ringing, talking or ended. */
export async function makeCall(api: { db: { pool: Pool } }, options: CallOptions): Promise<CallMade> {
  const { contact, agent, callNo, queued = false, talked = false, ended = false, code = talked ? 'k' : 't' } = options;
  const { pool } = api.db;
  const callId = idOfCall(contact.id, callNo);
  const at = new Date();
  const state = queued ? 'queued' : talked ? 'talking' : 'offered';
  await pool.query(`UPDATE contact SET state = $3, call_id = $2, call_no = $4, offer_no = $4 WHERE id = $1`, [
    contact.id,
    callId,
    ended ? 'waiting' : state,
    callNo,
  ]);
  await pool.query(
    `INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at, ended_at, end_code)
     VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)`,
    [callId, contact.id, contact.campaign_id, callNo, contact.phone_num, at, ended ? at : null, ended ? code : null],
  );
  if (queued || !agent) return { callId, offerId: '' };
  const offer = await pool.query<{ id: string }>(
    `INSERT INTO offer (call_id, contact_id, campaign_id, offer_no, agent_id, node, state, created_at, deadline, ended_at)
     VALUES ($1, $2, $3, $4, $5, 'sim-1', $6, $7, $8, $9) RETURNING id`,
    [callId, contact.id, contact.campaign_id, callNo, agent.id, state, at, new Date(at.getTime() + 20_000), ended ? at : null],
  );
  const offerId = offer.rows[0]!.id;
  const legs = talked || ended ? (['agent', 'contact'] as const) : (['agent'] as const);
  await pool.query('UPDATE call SET next_sequence = $2 WHERE call_id = $1', [callId, 3 + legs.length]);
  for (const party of legs) {
    const answered = party === 'agent' ? talked || ended : talked || code === 'k';
    await pool.query(
      `INSERT INTO leg (id, call_id, offer_id, contact_id, campaign_id, agent_id, ciq, leg_type, sequence, attempt, node, source,
         destination, not_after, created_at, answered_at, ended_at, result_code)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'sim-1', $11, $12, $13, $13, $14, $15, $16)`,
      [
        legId(callId, callNo, party),
        callId,
        offerId,
        contact.id,
        contact.campaign_id,
        agent.id,
        party[0],
        party,
        party === 'agent' ? 3 : 4,
        callNo,
        contact.phone_num,
        party === 'agent' ? agent.phone : contact.phone_num,
        at,
        answered ? at : null,
        ended ? at : null,
        ended ? (party === 'agent' ? 'k' : code) : null,
      ],
    );
  }
  if (!ended) {
    await pool.query(`UPDATE agent SET state = $3, offer_id = $2, since = $4, cause = 'test' WHERE id = $1`, [
      agent.id,
      offerId,
      talked ? 'connected' : 'reserved',
      at,
    ]);
  }
  return { callId, offerId };
}
