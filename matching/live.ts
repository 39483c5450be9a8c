/**
 * Agents for contacts who are on the line already: the agent a talk is transferred to, or whoever serves the queue in which
 * the contact waits. These go before everything else, whatever becomes of the campaign, its hours and its list meanwhile.
 */
import type { Sql, Tx } from '../prisma/tx.ts';
import { recordAgentEvent } from './agents.ts';
import type { Announcement } from './tell.ts';

/** A talk that an agent is to be asked to take. */
export interface LiveTalk {
  transfer_id: string;
  call_id: string;
  contact_id: string;
  campaign_id: number;
  /** Where the contact's leg is. */
  node: string;
  rules: { agent_ring_sec: number };
}

export type PickedTalk = LiveTalk & { agent_id: number };

/** The contact who waits first, and the ready agent who has been idle longest; not one who has just turned that contact down. */
const PICK = `SELECT t.id AS transfer_id, t.call_id, t.contact_id, o.campaign_id, o.node, cp.rules, a.id AS agent_id
  FROM transfer t
  JOIN offer o ON o.id = t.offer_id
  JOIN campaign cp ON cp.id = o.campaign_id
  JOIN agent_queue aq ON aq.campaign_id = t.queue_id
  JOIN agent a ON a.id = aq.agent_id AND a.state = 'ready' AND a.lease_until > $1
  WHERE t.state = 'queued' AND EXISTS (SELECT 1 FROM leg WHERE call_id = t.call_id AND ciq = 'c' AND ended_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM offer x WHERE x.call_id = t.call_id AND x.agent_id = a.id AND x.reoffer_at > $1)`;
/** Whom a number or an agent did not take goes before those who were sent to a queue. */
const ORDER = `ORDER BY t.to_number IS NULL AND t.to_agent_id IS NULL, t.created_at, aq.priority, a.since LIMIT 1`;

export const liveForQueue = (now: Date, campaignId: number): Sql => ({
  name: 'live_for_queue',
  text: `${PICK} AND t.queue_id = $2 ${ORDER}`,
  values: [now, campaignId],
});

export const liveForAgent = (now: Date, agentId: number): Sql => ({
  name: 'live_for_agent',
  text: `${PICK} AND a.id = $2 ${ORDER}`,
  values: [now, agentId],
});

/** Ready agents for whom a contact waits on the line: none when every edge has done its work. */
export const agentsForLive = (now: Date): Sql => ({
  name: 'agents_for_live',
  text: `SELECT DISTINCT agent_id FROM (${PICK}) AS waiting`,
  values: [now],
});

/**
 * Reserves the agent and writes the offer, like `reserve` of sql.ts; the contact's state stays. No row: one of them was taken.
 * The contact comes before the transfer, as where the contact hangs up.
 */
const reserveForTalk = (now: Date, talk: LiveTalk, agentId: number, deadline: Date, announcedAt: Date | null): Sql => ({
  name: 'reserve_for_talk',
  text: `
    WITH agent AS (
      UPDATE agent SET state = 'reserved', since = greatest(since, $1), cause = 'transfer', state_until = NULL,
        offer_id = nextval(pg_get_serial_sequence('offer', 'id')), updated_at = $1
      WHERE id = $2 AND state = 'ready' AND lease_until > $1
      RETURNING id, offer_id, since, old.since AS from_since
    ), contact AS (
      UPDATE contact c SET offer_no = offer_no + 1, updated_at = $1 FROM agent WHERE c.id = $4
      RETURNING c.id, c.offer_no, c.round, c.attempts
    ), transfer AS (
      UPDATE transfer t SET state = 'ringing', target_offer_id = agent.offer_id FROM agent, contact
      WHERE t.id = $3 AND t.state IN ('requested', 'queued')
      RETURNING t.id
    ), made AS (
      INSERT INTO offer (id, call_id, contact_id, campaign_id, offer_no, agent_id, node, created_at, deadline, announced_at,
        transfer_id)
      SELECT agent.offer_id, $5, contact.id, $6, contact.offer_no, agent.id, $7, $1, $8, $9, transfer.id
      FROM agent, contact, transfer
      RETURNING id
    )
    SELECT made.id AS offer_id, agent.since, agent.from_since, contact.offer_no, contact.round, contact.attempts AS attempt
    FROM made, agent, contact`,
  values: [
    now,
    agentId,
    talk.transfer_id,
    talk.contact_id,
    talk.call_id,
    talk.campaign_id,
    talk.node,
    deadline,
    announcedAt,
  ],
});

/** The transfer for which an agent was asked; no row for the offer of a queued call. */
export const transferOfOffer = (offerId: string): Sql => ({
  text: `SELECT transfer_id AS id FROM offer WHERE id = $1 AND transfer_id IS NOT NULL`,
  values: [offerId],
});

/** The contact whom the agent of this offer was to take waits on, at the old place. */
export const backToLiveQueue = (transferId: string, offerId: string): Sql => ({
  text: `UPDATE transfer SET state = 'queued', target_offer_id = NULL, leg_id = NULL
         WHERE id = $1 AND target_offer_id = $2 AND state = 'ringing' AND queued_at IS NOT NULL`,
  values: [transferId, offerId],
});

interface Reserved {
  offer_id: string;
  since: Date;
  from_since: Date;
  offer_no: number;
  round: number;
  attempt: number;
}

/**
 * Asks this agent to take the talk; null when the agent or the contact was taken meanwhile: the caller rolls back. `isKnown`:
 * it is the workflow that asks, so nobody need tell it.
 */
export async function offerTalk(tx: Tx, talk: LiveTalk, agentId: number, isKnown: boolean): Promise<Announcement | null> {
  const deadline = new Date(tx.now.getTime() + talk.rules.agent_ring_sec * 1000);
  const made = await tx.row<Reserved>(reserveForTalk(tx.now, talk, agentId, deadline, isKnown ? tx.now : null));
  if (!made) return null;
  const { since, from_since, ...offer } = made;
  recordAgentEvent(
    tx,
    { id: agentId, state: 'ready', since: from_since },
    { at: since, state: 'reserved', cause: 'transfer', offer_id: offer.offer_id, call_id: talk.call_id, result_code: null },
  );
  const { call_id, contact_id, node } = talk;
  return { ...offer, call_id, contact_id, node, agent_id: agentId };
}
