/**
 * Contacts whose workflow was ended by other hands (terminated in the Temporal UI, or failed by a defect). Nobody else will
 * finish them, so their rows are closed here; a row whose workflow lives is never touched.
 */
import type { Logger } from 'pino';
import type { ResultReason } from '../domain/codes.ts';
import type { Matching } from '../matching/matching.ts';
import { recordRepair } from '../prisma/repairs.ts';
import { type Db, inTx } from '../prisma/tx.ts';
import type { ContactRef, Workflows } from '../workflows/client.ts';
import { type ConcludeInput, type ContactActivities, createContactActivities } from './contacts.ts';
import { createLegBook, type LegBook, lostEnd } from './legs.ts';
import { endWithoutSwitch } from './lost.ts';
import * as sql from './sql.ts';
import { strandedOffers } from './transfer-sql.ts';

export interface RepairDeps {
  db: Db;
  legs: Pick<LegBook, 'end'>;
  conclude: ContactActivities['conclude'];
  workflows: Pick<Workflows, 'endedByForce' | 'isRunning'>;
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
      const row = (await db.pool.query<sql.ContactRow>(sql.lockContact(contact.contactId, contact.round))).rows[0];
      // Reset by hand, or started anew after a restore, its next run takes care of it.
      if (!row || row.closed_at || (await workflows.isRunning(contact))) continue;
      const outcome = await repair(deps, contact);
      if (outcome === 'repaired') log.error({ ...contact }, 'the workflow of a contact was ended by force: disabled');
      if (outcome === 'later' && endedAt < next) next = endedAt;
    }
    since = next;
  };
}

/** What the API repairs with, for a supervisor who can't wait for the sweep. */
export function repairTools(deps: { db: Db; matching: Matching; workflows: Workflows; log: Logger }) {
  const legs = createLegBook(deps);
  const contacts = createContactActivities({ ...deps, legs });
  return { db: deps.db, legs, conclude: (input: ConcludeInput) => contacts.conclude(input) };
}

/**
 * Closes a contact whose workflow is no more; `later`: a talk is never cut, nor its wrap-up. `by`: the supervisor who frees the
 * agent; `closedBy`: who wants the contact closed.
 */
export async function repair(
  deps: Pick<RepairDeps, 'db' | 'legs' | 'conclude'>,
  { contactId, round }: ContactRef,
  { by = null, closedBy = 'system' }: { by?: string | null; closedBy?: string } = {},
): Promise<'repaired' | 'later' | 'nothing'> {
  const { db, conclude } = deps;
  const read = async () => (await db.pool.query<sql.ContactRow>(sql.lockContact(contactId, round))).rows[0];
  let contact = await read();
  if (contact?.state === 'talking' && !contact.closed_at) {
    await endStranded(deps, contact.call_id!);
    contact = await read();
  }
  if (!contact || contact.closed_at) return 'nothing';
  const callId = contact.call_id;
  // A talk is never cut, and what the agent registers after it counts.
  if (contact.state === 'talking') return 'later';
  if (callId && (await db.pool.query(sql.isWrappingUp(callId))).rowCount) return 'later';
  await endOpenOffer(deps, contactId, by);
  const final = { kind: 'final', reason: 'disabled', by: closedBy } as const;
  let standing = await conclude({ contactId, round, callId, decision: contact.state === 'wrap_up' ? null : final });
  // Marked as unanswered: there is no workflow to wait for the retry.
  if (standing.at === 'waiting') standing = await conclude({ contactId, round, callId, decision: final });
  if (standing.at !== 'closed') return 'later';
  await inTx(db, (tx) => recordRepair(tx, { cause: 'workflow_closed', subject: `contact/${contactId}/${round}` }));
  return 'repaired';
}

/** A contact on the line whom no agent is with, and to whom nobody would ever come: the workflow was to bring one. */
async function endStranded(deps: Pick<RepairDeps, 'db' | 'legs'>, callId: string): Promise<void> {
  const { rows } = await deps.db.pool.query<{ id: string }>(strandedOffers(callId));
  if (rows.length === 0) return;
  for (const { id } of rows) await endWithoutSwitch(deps, id, 'disabled', byHand('disabled'));
  await inTx(deps.db, (tx) => recordRepair(tx, { cause: 'contact_stranded', subject: `call/${callId}` }));
}

const byHand = (why: ResultReason) => (leg: sql.LegRow) => ({ ...lostEnd(leg), by: 'command' as const, why });

/** Frees the agent. What still rings at the switch is hung up by whoever holds the node: no call owns it any more. */
export async function endOpenOffer(deps: Pick<RepairDeps, 'db' | 'legs'>, contactId: string, by: string | null): Promise<void> {
  const why: ResultReason = 'disabled';
  const offer = (await deps.db.pool.query<sql.OpenOfferRow>(sql.openOfferOf(contactId))).rows[0];
  if (!offer) return;
  await deps.db.pool.query(sql.withdrawOffer(offer.id, why, by));
  await endWithoutSwitch(deps, offer.id, why, byHand(why));
}
