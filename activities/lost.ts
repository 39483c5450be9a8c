/**
 * Offers that nobody carries: their telephony node has no holder, so that no switch will say what has become of their phones,
 * or no workflow came round to ringing them.
 */
import type { Logger } from 'pino';
import type { ResultReason } from '../domain/codes.ts';
import { endsCall } from '../domain/offers.ts';
import type { Matching } from '../matching/matching.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx } from '../prisma/tx.ts';
import type { LegEnd } from '../telephony/telephony.ts';
import { nodeLost } from '../workflows/contact/messages.ts';
import type { Workflows } from '../workflows/client.ts';
import { type LegBook, lostEnd } from './legs.ts';
import { endUnrung, offerOver, type OfferOutcome } from './offers.ts';
import * as sql from './sql.ts';
import * as transferSql from './transfer-sql.ts';

export interface LostDeps {
  db: Db;
  legs: Pick<LegBook, 'end'>;
}

export interface UnrungDeps {
  db: Db;
  matching: Pick<Matching, 'matchAgent'>;
  log: Logger;
}

/** How long a node may be without a holder before what is open on it is given up. */
const NODE_GONE_AFTER_MS = 30_000;

const goneSince = ({ clock }: Db): Date => new Date(clock.now().getTime() - NODE_GONE_AFTER_MS);

/**
 * What has become of an offer, by its rows; null while it stands and its phones are to be waited for. On a node that is
 * lost it is ended first: `e` `switch_lost`, answered legs `k`.
 */
export async function outcomeOf({ db, legs }: LostDeps, offerId: string): Promise<OfferOutcome | null> {
  const found = (await db.pool.query<sql.OfferRow>(sql.readOffer(offerId))).rows[0];
  if (!found) return null;
  const isLost = (await db.pool.query(sql.isNodeLost(goneSince(db), found.node))).rowCount;
  if (isLost) {
    await endWithoutSwitch({ db, legs }, offerId, 'switch_lost', lostEnd);
    // Of a talk that was being handed on, the others' as well.
    const { rows } = await db.pool.query<{ id: string }>(transferSql.offersUpOfCall(found.call_id));
    for (const { id } of rows) await endWithoutSwitch({ db, legs }, id, 'switch_lost', lostEnd);
  }
  const offer = (await db.pool.query<sql.OfferRow>(sql.readOffer(offerId))).rows[0]!;
  if (offer.state === 'talking') return { kind: 'talking' };
  if (!offer.ended_at) return null;
  // The dial was refused, or would have been: that decision ends the call, and nobody else knows of it.
  if (offer.state === 'answered' && endsCall(offer.withdrawn)) {
    return { kind: 'refused', reason: offer.withdrawn as ResultReason };
  }
  if (offer.state !== 'dialling') return offerOver(offer);
  const leg = (await db.pool.query<sql.LegRow>(sql.contactLegOfCall(offer.call_id))).rows[0];
  return leg?.ended_at ? { kind: 'failed', code: leg.result_code!, reason: leg.result_reason } : null;
}

/**
 * Ends what is open of an offer when its switch is not asked: by `endOf` each leg and, if the phone was never rung, for
 * `why`. Repeatable.
 */
export async function endWithoutSwitch(
  { db, legs }: LostDeps,
  offerId: string,
  why: ResultReason,
  endOf: (leg: sql.LegRow) => LegEnd,
): Promise<void> {
  const { rows } = await db.pool.query<sql.LegRow>(sql.legsOfOffer(offerId));
  // The contact's first: what the agent is told is how that one ended.
  for (const leg of rows.toReversed()) {
    if (!leg.ended_at) await legs.end(leg.id, endOf(leg));
  }
  await inTx(db, async (tx) => {
    const offer = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
    if (offer && !offer.ended_at) await endUnrung(tx, offer, why);
  });
}

/** So long after a phone should have stopped ringing, nobody will come to ring it. */
const UNRUNG_AFTER_MS = 5_000;

/**
 * The sweep's share: offers that were never rung, since Temporal is away or has lost a task. Nobody was called, and the agent
 * must not wait for it; a workflow that comes later finds the offer over.
 */
export async function endUnrungOffers({ db, matching, log }: UnrungDeps): Promise<void> {
  const before = new Date(db.clock.now().getTime() - UNRUNG_AFTER_MS);
  const { rows } = await db.pool.query<{ id: string; agent_id: number }>(sql.unrungOffers(before));
  for (const { id, agent_id } of rows) {
    const isEnded = await inTx(db, async (tx) => {
      const offer = await tx.row<sql.OfferRow>(sql.lockOffer(id));
      // It may have been rung, or ended, at this very moment.
      if (!offer || offer.ended_at || (await tx.row(sql.legsOfOffer(id)))) return false;
      await endUnrung(tx, offer, (offer.withdrawn as ResultReason | null) ?? 'switch_lost');
      await recordRepair(tx, { cause: 'offer_not_rung', subject: `offer/${id}` });
      return true;
    });
    if (!isEnded) continue;
    log.error({ offer: id, agent: agent_id }, 'no workflow came to ring this offer: it is over');
    await matching.matchAgent(agent_id);
  }
}

/**
 * The sweep's share: the workflows of offers whose node is lost are told, again and again while something is open; they own what
 * follows. The own node is never among them: its holder asks the switch.
 */
export async function tellNodeLost(
  { db, workflows, log }: { db: Db; workflows: Pick<Workflows, 'signal'>; log: Logger },
  ownNode: string,
): Promise<void> {
  const { rows } = await db.pool.query<sql.LostOffer>(sql.lostOffers(goneSince(db), ownNode));
  for (const { id, contact_id, round, offer_no } of rows) {
    log.error({ offer: id }, 'nobody holds the node of this offer any more');
    try {
      const told = await workflows.signal({ contactId: contact_id, round }, nodeLost, { offerNo: offer_no });
      if (told === 'told') await inTx(db, (tx) => recordRepair(tx, { cause: 'node_lost', subject: `offer/${id}` }));
    } catch (error) {
      log.warn({ err: error, offer: id }, 'not told; the sweep repeats it');
    }
  }
}
