/**
 * What an agent does with the contact on the line: hold, resume, keys. Commands to the switch, each repeatable: the row says
 * first what is to be so, and a repeat says it to the switch again.
 */
import { ApplicationFailure } from '@temporalio/common';
import { legId } from '../domain/ids.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import type { EndWhy, Telephony } from '../telephony/telephony.ts';
import * as sql from './sql.ts';
import * as transferSql from './transfer-sql.ts';

export interface TalkDeps {
  db: Db;
  telephony: Telephony;
}

/** What a contact hears who is on hold. */
const MUSIC = 'music';

export type TalkActivities = ReturnType<typeof createTalkActivities>;

export function createTalkActivities({ db, telephony }: TalkDeps) {
  return {
    /** Puts the contact of an agent's talk on hold, with music, or takes the contact back. */
    async hold({ offerId, on }: { offerId: string; on: boolean }): Promise<void> {
      if (!telephony.capabilities.hold) throw conflict('this switch can put nobody on hold');
      const talk = await inTx(db, async (tx) => {
        const found = await lockTalk(tx, offerId);
        // One that comes late must not bring the contact into a consultation.
        if (await tx.row(transferSql.openTransferOf(found.offer.call_id))) throw conflict('the talk is being transferred');
        if (on) await tx.run(transferSql.noteHeld(tx.now, found.offer.call_id, found.agentLeg));
        else await tx.run(transferSql.noteTakenFromHold(tx.now, found.offer.call_id));
        return found;
      });
      if (on) await holdContact(telephony, talk.contactLeg.id);
      else await takeFromHold(telephony, talk.contactLeg);
    },

    /** Sends keys to the far end of an agent's talk. They are in their row until they have been sent: never twice. */
    async sendKeys({ offerId, keysId }: { offerId: string; keysId: string }): Promise<void> {
      if (!telephony.capabilities.sendDtmf) throw conflict('this switch can send no keys');
      const keys = (await db.pool.query<{ call_id: string; digits: string | null }>(transferSql.keysToSend(keysId))).rows[0];
      if (!keys) throw ApplicationFailure.nonRetryable('there are no such keys', 'NOT_FOUND');
      if (keys.digits === null) return;
      const to = await inTx(db, async (tx) => {
        const { offer, contactLeg } = await lockTalk(tx, offerId);
        if (keys.call_id !== offer.call_id) throw conflict('these keys are for another call');
        return partnerOf(await tx.row<transferSql.TransferRow>(transferSql.openTransferOf(offer.call_id)), contactLeg);
      });
      await telephony.sendDtmf(to, keys.digits, keysId);
      await db.pool.query(transferSql.forgetKeys(keysId));
    },
  };
}

/** Whom the agent speaks with: the target of a transfer, else the contact. */
function partnerOf(transfer: transferSql.TransferRow | undefined, contactLeg: sql.LegRow): string {
  if (!transfer) return contactLeg.id;
  if (transfer.state !== 'consulting' || transfer.leg_id === null) throw conflict('nobody is there to hear them');
  return transfer.leg_id;
}

export const conflict = (message: string, state = 'talking') => ApplicationFailure.nonRetryable(message, 'CONFLICT', state);

export interface Talk {
  offer: sql.OfferRow;
  agentLeg: string;
  contactLeg: sql.LegRow;
}

/** The talk of an agent's offer, locked against its end. Throws CONFLICT when there is none any more. */
export async function lockTalk(tx: Tx, offerId: string): Promise<Talk> {
  const offer = await tx.row<sql.OfferRow>(sql.lockOffer(offerId));
  if (!offer) throw ApplicationFailure.nonRetryable('there is no such offer', 'NOT_FOUND');
  // The contact's end is written under the lock of the first agent's offer, which may be another one.
  await tx.run(transferSql.lockContactLeg(offer.call_id));
  const contactLeg = await tx.row<sql.LegRow>(sql.contactLegOfCall(offer.call_id));
  if (offer.state !== 'talking' || offer.ended_at || !contactLeg || contactLeg.ended_at) {
    throw conflict('the talk is over', 'ended');
  }
  return { offer, agentLeg: legId(offer.call_id, offer.offer_no, 'agent'), contactLeg };
}

export async function holdContact(telephony: Telephony, contactLeg: string): Promise<void> {
  await telephony.hold(contactLeg, true);
  await telephony.play(contactLeg, MUSIC);
}

/** Back into the mix: said as well, since a process that took the leg over does not know that it was on hold. */
export async function takeFromHold(telephony: Telephony, { id, call_id: mix }: Pick<sql.LegRow, 'id' | 'call_id'>): Promise<void> {
  await telephony.play(id, null);
  await telephony.hold(id, false);
  await telephony.join(mix, id);
}

/** Contact and partner hear each other and end together. `why`: what the contact's leg says when the partner hangs up. */
export async function connectWith(
  telephony: Telephony,
  contactLeg: Pick<sql.LegRow, 'id' | 'call_id' | 'recording'>,
  partner: { legId: string; why: EndWhy },
): Promise<void> {
  const mix = contactLeg.call_id;
  await telephony.join(mix, partner.legId);
  await telephony.endTogether(mix, [partner, { legId: contactLeg.id, why: 'call_over' }]);
  await takeFromHold(telephony, contactLeg);
}
