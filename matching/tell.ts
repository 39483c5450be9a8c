/** What matching tells the workflows. Every message is harmless when repeated; what is lost, the sweep repeats. */
import type { Logger } from 'pino';
import { agentGone, offered, wrapUpEnded } from '../workflows/contact/messages.ts';
import type { Workflows } from '../workflows/client.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import { type AgentRow, changeAgent, type EndedWrapUp } from './agents.ts';
import { endCalls } from './queue.ts';
import { backToLiveQueue, transferOfOffer } from './live.ts';
import * as sql from './sql.ts';

export interface TellDeps {
  db: Db;
  workflows: Pick<Workflows, 'signal'>;
  log: Logger;
}

/** An open offer, with what is needed to reach the contact's workflow. */
export interface Announcement {
  offer_id: string;
  offer_no: number;
  call_id: string;
  agent_id: number;
  node: string;
  contact_id: string;
  round: number;
  attempt: number;
}

/** Tells the contact's workflow of its offer, and says what became of it; never throws. `isLate`: nobody has told it in time. */
export async function announce(deps: TellDeps, offer: Announcement, isLate = false): Promise<'told' | 'withdrawn' | 'not_told'> {
  const { db, workflows, log } = deps;
  const contact = { contactId: offer.contact_id, round: offer.round };
  try {
    const told = await workflows.signal(contact, offered, { offerNo: offer.offer_no });
    if (told === 'closed') {
      log.error({ contact: offer.contact_id, round: offer.round }, 'an offered contact has no workflow');
      await inTx(db, (tx) => withdrawFromClosed(tx, offer));
      return 'withdrawn';
    }
    if (isLate) await inTx(db, (tx) => noteToldLate(tx, offer.offer_id));
    else await db.pool.query(sql.markAnnounced(db.clock.now(), offer.offer_id));
    return 'told';
  } catch (error) {
    log.warn({ err: error, offer: offer.offer_id }, 'offer not announced; the sweep repeats it');
    return 'not_told';
  }
}

/** On record only if whoever made the offer has not come round to it meanwhile. */
async function noteToldLate(tx: Tx, offerId: string): Promise<void> {
  const isFirst = (await tx.run(sql.markAnnounced(tx.now, offerId))) > 0;
  if (isFirst) await recordRepair(tx, { cause: 'offer_not_told', subject: `offer/${offerId}` });
}

/** An agent is not asked again for a contact on the line before the repair has come round to it. */
const LIVE_AGAIN_MS = 60_000;

/**
 * A queued contact without a running workflow (terminated by hand, or lost): the offer is taken back, the contact
 * disabled until a person enables it, and the repair is on record. One who waits on the line is left to the repair, which
 * ends the call.
 */
async function withdrawFromClosed(tx: Tx, offer: Announcement): Promise<void> {
  const transfer = await tx.row<{ id: string }>(transferOfOffer(offer.offer_id));
  const reofferAt = transfer ? new Date(tx.now.getTime() + LIVE_AGAIN_MS) : null;
  if ((await tx.run(sql.endOffer(tx.now, offer.offer_id, 'e', 'unknown', reofferAt))) === 0) return;
  if (transfer) await tx.run(backToLiveQueue(transfer.id, offer.offer_id));
  const agent = await tx.row<AgentRow>(sql.lockAgentOfOffer(offer.agent_id, offer.offer_id));
  if (agent) {
    const state = agent.next_state ?? 'ready';
    await changeAgent(tx, agent, { state, cause: 'unknown', offerId: null, nextState: null, callId: offer.call_id });
  }
  if (transfer) return;
  await tx.run(sql.closeLostContact(tx.now, offer.contact_id, offer.round));
  await endCalls(tx, [offer.call_id], 'disabled');
  await recordRepair(tx, { cause: 'workflow_closed', subject: `contact/${offer.contact_id}/${offer.round}` });
}

/**
 * Withdraws a ringing offer whose agent has left; the ids of the offers that were told. The wish to leave is stored: what is
 * not told, the sweep repeats.
 */
export async function tellGone(deps: TellDeps, agentId: number, why: 'agent_logged_off' | 'agent_lost'): Promise<string[]> {
  const { db, workflows, log } = deps;
  try {
    const { rows } = await db.pool.query<{ id: string; offer_no: number; contact_id: string; round: number }>(
      sql.offerOfAgent(agentId),
    );
    const told: string[] = [];
    for (const { id, contact_id, round, offer_no } of rows) {
      const answer = await workflows.signal({ contactId: contact_id, round }, agentGone, { offerNo: offer_no, why });
      if (answer === 'told') told.push(id);
    }
    return told;
  } catch (error) {
    log.warn({ err: error, agent: agentId }, 'a ringing offer was not told that its agent has left');
    return [];
  }
}

/** Spares the contact the rest of its wrap-up timer; the timer is the guarantee, so a failure is of no consequence. */
export async function tellWrapUpEnded(
  { workflows, log }: TellDeps,
  wrapUp: EndedWrapUp,
): Promise<void> {
  await workflows.signal(wrapUp, wrapUpEnded, { callId: wrapUp.callId, agentId: wrapUp.agentId }).catch((error: unknown) => {
    log.debug({ err: error }, 'end of wrap-up not told');
  });
}
