/** The hand-written SQL of do-not-call, as functions. Every statement takes the time as a parameter: one clock. */
import type { ListingSource } from '../domain/do-not-call.ts';
import { ENDED_AS_LISTED, isListed, listedBy } from '../matching/do-not-call.ts';
import type { Sql } from '../prisma/tx.ts';

export interface Listing {
  source: ListingSource;
  /** Who: `key:3`, `agent:7`, `operator`. */
  by: string;
  comment: string | null;
  /** Whose numbers they are, where a disposition says so. */
  contactId: string | null;
}

/**
 * Puts these numbers onto the list; the others stay as they are. Returns how many were not on it. In the order of numbers,
 * so that two who list several can't wait for each other. `dueAt`: see {@link claimPending}.
 */
export const addNumbers = (now: Date, numbers: string[], listing: Listing, dueAt: Date): Sql => ({
  name: 'add_numbers',
  text: `
    WITH added AS (
      INSERT INTO do_not_call (number, contact_id, added_by, added_at, source, comment)
      SELECT n, $3, $4, $1, $5, $6 FROM unnest($2::text[]) AS n ORDER BY n
      ON CONFLICT (number) DO NOTHING RETURNING number
    )
    INSERT INTO do_not_call_pending (number, due_at) SELECT number, $7 FROM added`,
  values: [now, numbers, listing.contactId, listing.by, listing.source, listing.comment, dueAt],
});

/** The numbers of a call's contact, and the one that was called: the contact may have got others since. */
export const numbersOfCall = (callId: string): Sql => ({
  name: 'numbers_of_call',
  text: `SELECT ARRAY(SELECT number FROM unnest(ARRAY[c.phone_num, c.phone_2, k.number]) AS number WHERE number IS NOT NULL
                      UNION SELECT destination FROM leg WHERE call_id = $1 AND ciq = 'c') AS numbers
         FROM call k JOIN contact c ON c.id = k.contact_id WHERE k.call_id = $1`,
  values: [callId],
});

/** Takes a number off the list; it is remembered with who, when and why. 0 rows when it was not on it. */
export const removeNumber = (now: Date, number: string, by: string, comment: string): Sql => ({
  text: `
    WITH gone AS (DELETE FROM do_not_call WHERE number = $2 RETURNING *)
    INSERT INTO do_not_call_removed (number, contact_id, added_by, added_at, source, comment, removed_by, removed_at,
      removed_comment)
    SELECT number, contact_id, added_by, added_at, source, comment, $3, $1, $4 FROM gone`,
  values: [now, number, by, comment],
});

/** These numbers have come to a contact that may be queued already: those that are listed are pending. */
export const lookAt = (now: Date, numbers: string[]): Sql => ({
  text: `INSERT INTO do_not_call_pending (number, due_at)
         SELECT number, $1 FROM do_not_call WHERE number = ANY($2::text[])`,
  values: [now, numbers],
});

// ---- what follows for the contacts ----------------------------------------------------------------------------------

export interface Pending {
  id: string;
  number: string;
}

/**
 * The next numbers whose contacts are to be ended, after that id. Each is claimed until `until`: workers share them, and
 * what one that died has left is due again then.
 */
export const claimPending = (now: Date, after: string, until: Date, limit: number): Sql => ({
  name: 'claim_pending',
  text: `UPDATE do_not_call_pending SET due_at = $3
         WHERE id IN (SELECT id FROM do_not_call_pending WHERE id > $2 AND due_at <= $1
                      ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
         RETURNING id, number`,
  values: [now, after, until, limit],
});

export const deletePending = (ids: string[]): Sql => ({
  name: 'delete_pending',
  text: `DELETE FROM do_not_call_pending WHERE id = ANY($1::bigint[])`,
  values: [ids],
});

/**
 * Contacts with one of the numbers in $2 whose round is not closed, by the index of each column. OFFSET 0 keeps it so: by
 * statistics that are older than a large listing, the index of what is being ended looks empty, and would be read whole.
 */
const found = (which: string): string => {
  const by = (column: string): string => `
    SELECT c.id, c.campaign_id
    FROM (SELECT * FROM contact WHERE ${column} = ANY($2::text[]) AND closed_at IS NULL OFFSET 0) AS c WHERE ${which}`;
  return `${by('phone_num')} UNION ${by('phone_2')}`;
};

export interface EndedContact {
  /** How many were looked at: some may have been ended by others meanwhile. */
  looked_at: number;
  /** Both null in the one row that comes when none was ended. */
  call_id: string | null;
  /** The state that it was in. */
  was: string | null;
}

/** States that end here; in the others the contact's workflow is at work, and gets the intention. */
const ENDED_HERE = `c.state IN ('new', 'waiting', 'queued')`;

/**
 * Ends contacts with these numbers, as far as they are listed, over all campaigns. Who is offered, being called or talking
 * keeps the state: the workflow disables it. A contact without a workflow (`new`) is closed at once. In the order of ids, so
 * that two can't wait for each other.
 */
export const endListed = (now: Date, numbers: string[], limit: number): Sql => ({
  name: 'end_listed',
  text: `
    WITH page AS (
      SELECT id FROM contact
      WHERE id IN (SELECT id FROM (${found(`c.ended_reason IS NULL AND ${isListed('c')}`)}) AS f ORDER BY id LIMIT $3)
      ORDER BY id FOR NO KEY UPDATE
    ), ended AS (
      UPDATE contact c SET ${ENDED_AS_LISTED}, ended_by = ${listedBy('c')},
        state = CASE WHEN ${ENDED_HERE} THEN 'disabled' ELSE c.state END,
        state_since = CASE WHEN ${ENDED_HERE} THEN $1 ELSE c.state_since END,
        wait_reason = CASE WHEN ${ENDED_HERE} THEN NULL ELSE c.wait_reason END,
        wait_until = CASE WHEN ${ENDED_HERE} THEN NULL ELSE c.wait_until END,
        closed_at = CASE c.state WHEN 'new' THEN $1 END
      FROM page WHERE c.id = page.id AND c.ended_reason IS NULL AND c.closed_at IS NULL AND ${isListed('c')}
      RETURNING c.call_id, old.state AS was
    )
    SELECT looked_at, call_id, was FROM (SELECT count(*)::int AS looked_at FROM page) AS p LEFT JOIN ended ON true`,
  values: [now, numbers, limit],
});

/**
 * Campaigns with contacts of these numbers that are final, or are to be, while their workflow still runs: they have a
 * change to carry out, the drain. Apart from the contacts, since who queues contacts locks campaign and contacts in the
 * other order.
 */
export const bumpUndrained = (now: Date, numbers: string[]): Sql => ({
  name: 'bump_undrained',
  text: `
    WITH undrained AS (
      SELECT id FROM campaign WHERE id IN (SELECT campaign_id FROM (${found('c.ended_reason IS NOT NULL')}) AS f)
      ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE campaign SET revision = revision + 1, updated_at = $1 FROM undrained WHERE campaign.id = undrained.id
    RETURNING campaign.id`,
  values: [now, numbers],
});

export interface BeingCalled {
  id: string;
  round: number;
  /** Who listed it, and when. */
  by: string;
  listed_at: Date;
  offer_id: string;
  offered_at: Date;
  /** A decision to end the offer is stored. */
  is_decided: boolean;
}

/**
 * Listed contacts that are being offered or called and have not answered; `numbers` null: whichever they have. The number that
 * is being called may be none of theirs any more.
 */
export const beingCalled = (numbers: string[] | null): Sql => ({
  name: 'being_called',
  text: `SELECT c.id, c.round, listed.added_by AS by, listed.added_at AS listed_at, o.id AS offer_id, o.created_at AS offered_at,
           o.withdrawn IS NOT NULL AS is_decided
         FROM offer o
         JOIN contact c ON c.id = o.contact_id
         JOIN call k ON k.call_id = o.call_id
         CROSS JOIN LATERAL (SELECT added_by, added_at FROM do_not_call d WHERE d.number IN (c.phone_num, c.phone_2, k.number)
                             ORDER BY added_at LIMIT 1) AS listed
         WHERE o.ended_at IS NULL AND o.state <> 'talking' AND o.transfer_id IS NULL AND c.closed_at IS NULL
           AND ($1::text[] IS NULL OR c.phone_num = ANY($1) OR c.phone_2 = ANY($1) OR k.number = ANY($1))`,
  values: [numbers],
});
