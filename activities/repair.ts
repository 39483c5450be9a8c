/**
 * Contacts whose workflow was ended by other hands (terminated in the Temporal UI, or failed by a defect). Nobody else will
 * finish them, so their rows are closed here; a row whose workflow lives is never touched.
 */
import type { Logger } from 'pino';
import type { ResultReason } from '../domain/codes.ts';
import { recordRepair } from '../matching/sql.ts';
import type { Db } from '../prisma/tx.ts';
import type { ContactRef, Workflows } from '../workflows/client.ts';
import type { ContactActivities } from './contacts.ts';
import { type LegBook, lostEnd } from './legs.ts';
import { endWithoutSwitch } from './lost.ts';
import * as sql from './sql.ts';

export interface RepairDeps {
  db: Db;
  legs: Pick<LegBook, 'end'>;
  conclude: ContactActivities['conclude'];
  workflows: Pick<Workflows, 'endedByForce'>;
  log: Logger;
}

/** How far back the first look goes: a dev server forgets closed workflows after a day. */
const FIRST_LOOK_MS = 86_400_000;
/** Closed workflows can be found only after a while. */
const INDEXED_AFTER_MS = 60_000;

/** The sweep's share. Looks at what was ended since the last look; whoever talks or wraps up is looked at again. */
export function createRepairs(deps: RepairDeps): () => Promise<void> {
  const { db, workflows, log } = deps;
  let since = new Date(db.clock.now().getTime() - FIRST_LOOK_MS);
  return async () => {
    let next = new Date(db.clock.now().getTime() - INDEXED_AFTER_MS);
    for await (const { endedAt, ...contact } of workflows.endedByForce(since)) {
      const outcome = await repair(deps, contact);
      if (outcome === 'repaired') log.error({ ...contact }, 'the workflow of a contact was ended by force: disabled');
      if (outcome === 'later' && endedAt < next) next = endedAt;
    }
    since = next;
  };
}

async function repair(deps: RepairDeps, { contactId, round }: ContactRef): Promise<'repaired' | 'later' | 'nothing'> {
  const { db, conclude } = deps;
  const contact = (await db.pool.query<sql.ContactRow>(sql.lockContact(contactId, round))).rows[0];
  if (!contact || contact.closed_at) return 'nothing';
  const callId = contact.call_id;
  // A talk is never cut, and what the agent registers after it counts.
  if (contact.state === 'talking') return 'later';
  if (callId && (await db.pool.query(sql.isWrappingUp(callId))).rowCount) return 'later';
  await endOpenOffer(deps, contactId);
  const byHand = { kind: 'final', reason: 'disabled', by: 'system' } as const;
  let standing = await conclude({ contactId, round, callId, decision: contact.state === 'wrap_up' ? null : byHand });
  // Marked as unanswered: there is no workflow to wait for the retry.
  if (standing.at === 'waiting') standing = await conclude({ contactId, round, callId, decision: byHand });
  if (standing.at !== 'closed') return 'later';
  await db.pool.query(recordRepair(db.clock.now(), 'workflow_closed', `contact/${contactId}/${round}`));
  return 'repaired';
}

/** Frees the agent. What still rings at the switch is hung up by whoever holds the node: no call owns it any more. */
async function endOpenOffer(deps: RepairDeps, contactId: string): Promise<void> {
  const why: ResultReason = 'disabled';
  const offer = (await deps.db.pool.query<sql.OpenOfferRow>(sql.openOfferOf(contactId))).rows[0];
  if (!offer) return;
  await deps.db.pool.query(sql.withdrawOffer(offer.id, why));
  await endWithoutSwitch(deps, offer.id, why, (leg) => ({ ...lostEnd(leg), by: 'command', why }));
}
