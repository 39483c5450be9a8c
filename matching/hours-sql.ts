/** The hand-written SQL of calling hours, as functions; the pick itself, which asks the windows, is in sql.ts. */
import type { LegalHours } from '../domain/hours.ts';
import type { CampaignRules } from '../domain/rules.ts';
import type { Sql } from '../prisma/tx.ts';

// ---- contacts and their profiles ------------------------------------------------------------------------------------

export interface Unplaced {
  id: string;
  phone_num: string;
  phone_2: string | null;
  zone: string | null;
  earliest: string | null;
  latest: string | null;
}

const UNPLACED = `SELECT id, phone_num, phone_2, zone, earliest, latest FROM contact
  WHERE campaign_id = $1 AND (hours_1 IS NULL OR (phone_2 IS NOT NULL AND hours_2 IS NULL))`;

/**
 * Contacts of a campaign whose numbers have no hours profile yet: they are new, or what it depends on was changed. `isNew`:
 * those that no workflow has taken up, else the others. Nobody is placed who is done: that is for when they are to be called again.
 */
export const unplaced = (campaignId: number, isNew: boolean, limit: number): Sql => ({
  name: 'unplaced',
  text: `${UNPLACED} AND closed_at IS NULL AND (state = 'new') = $2 ORDER BY id LIMIT $3`,
  values: [campaignId, isNew, limit],
});

export const unplacedOf = (campaignId: number, contactIds: string[]): Sql => ({
  name: 'unplaced_of',
  text: `${UNPLACED} AND id = ANY($2::bigint[])`,
  values: [campaignId, contactIds],
});

/** What a profile is, as it is stored. */
export interface Profile {
  zones: readonly string[];
  country: string;
  earliest: string;
  latest: string;
}

/** The ids of these profiles, in their order; those that there are not yet are made. */
export const profileIds = (profiles: Profile[]): Sql => ({
  name: 'profile_ids',
  text: `
    WITH wanted AS (
      SELECT n, ARRAY(SELECT jsonb_array_elements_text(p.zones)) AS zones, p.country, p.earliest, p.latest
      FROM ROWS FROM (jsonb_to_recordset($1) AS (zones jsonb, country text, earliest text, latest text))
        WITH ORDINALITY AS p (zones, country, earliest, latest, n)
    ), made AS (
      INSERT INTO hours_profile (zones, country, earliest, latest)
      SELECT DISTINCT zones, country, earliest, latest FROM wanted
      ON CONFLICT (zones, country, earliest, latest) DO UPDATE SET country = excluded.country
      RETURNING id, zones, country, earliest, latest
    )
    SELECT made.id FROM wanted JOIN made USING (zones, country, earliest, latest) ORDER BY n`,
  values: [JSON.stringify(profiles)],
});

/** Gives contacts their profiles, and new ones their place in the list, unless what these depend on was changed meanwhile. `hours2` 0: there is no second number. */
export const place = (contacts: Unplaced[], hours1: number[], hours2: number[]): Sql => ({
  name: 'place_contacts',
  text: `UPDATE contact c SET hours_1 = p.hours_1, hours_2 = nullif(p.hours_2, 0),
           sort_key = CASE c.state WHEN 'new' THEN contact_sort_key(c.variables, c.priority, c.created_at, cp.rules -> 'order')
                                   ELSE c.sort_key END,
           is_included = CASE c.state WHEN 'new' THEN contact_included(c.variables, cp.rules -> 'filter') ELSE c.is_included END,
           order_version = CASE c.state WHEN 'new' THEN cp.order_version ELSE c.order_version END
         FROM campaign cp, jsonb_to_recordset($1) AS was (id bigint, phone_num text, phone_2 text, zone text, earliest text, latest text),
           unnest($2::bigint[], $3::int[], $4::int[]) AS p (id, hours_1, hours_2)
         WHERE c.id = was.id AND p.id = was.id AND cp.id = c.campaign_id
           AND (c.phone_num, c.phone_2, c.zone, c.earliest, c.latest)
               IS NOT DISTINCT FROM (was.phone_num, was.phone_2, was.zone, was.earliest, was.latest)`,
  values: [JSON.stringify(contacts), contacts.map(({ id }) => id), hours1, hours2],
});

// ---- windows --------------------------------------------------------------------------------------------------------

/** Windows of these profiles, closed until they are reckoned. */
export const openWindows = (now: Date, campaignId: number, profileIds: number[]): Sql => ({
  name: 'open_windows',
  text: `INSERT INTO hours_window (campaign_id, profile_id, due_at) SELECT $2, id, $1 FROM unnest($3::int[]) AS id
         ON CONFLICT DO NOTHING`,
  values: [now, campaignId, profileIds],
});

/** Profile `p` with the legal hours of its country. */
const PROFILE = `p.zones, p.country, p.earliest, p.latest,
  coalesce((SELECT hours FROM legal_hours WHERE country = p.country),
           (SELECT hours FROM legal_hours WHERE country = '*')) AS legal`;
const HOURS_OF_CALL = `${PROFILE}, cp.rules, cp.zone AS campaign_zone`;

/** Campaigns with windows that are to be reckoned anew. */
export const campaignsDue = (now: Date): Sql => ({
  name: 'campaigns_due',
  text: `SELECT DISTINCT w.campaign_id AS id FROM hours_window w JOIN campaign cp ON cp.id = w.campaign_id
         WHERE w.due_at <= $1 AND cp.status <> 'ended'`,
  values: [now],
});

/** As a table for a join: the window `w` of contact `c`'s next number, whose hours are shut for it until `shut_until`. */
export const WINDOW_OF_CONTACT = `LATERAL (
  SELECT CASE c.queue_rank WHEN 1 THEN w.legal_why ELSE w.why END AS why,
    (CASE c.queue_rank WHEN 1 THEN w.legal_until ELSE w.open_until END > $1) IS NOT TRUE AS is_shut,
    CASE c.queue_rank WHEN 1 THEN w.legal_opens_at ELSE w.opens_at END AS shut_until
  FROM hours_window w
  WHERE w.campaign_id = c.campaign_id AND w.profile_id = CASE c.next_phone WHEN 2 THEN c.hours_2 ELSE c.hours_1 END
) w ON true`;

export interface DueWindow extends Profile {
  profile_id: number;
  legal: LegalHours | null;
}

/** Windows of a campaign that are due, with the legal hours of each one's country. */
export const dueWindows = (now: Date, campaignId: number, limit: number): Sql => ({
  name: 'due_windows',
  text: `SELECT w.profile_id, ${PROFILE}
         FROM hours_window w JOIN hours_profile p ON p.id = w.profile_id
         WHERE w.campaign_id = $2 AND w.due_at <= $1 LIMIT $3`,
  values: [now, campaignId, limit],
});

/** Every window of a campaign, as dueWindows gives those that are due. */
export const windowsOf = (campaignId: number): Sql => ({
  text: `SELECT w.profile_id, ${PROFILE}
         FROM hours_window w JOIN hours_profile p ON p.id = w.profile_id WHERE w.campaign_id = $1`,
  values: [campaignId],
});

export const readHours = (campaignId: number): Sql => ({
  text: `SELECT rules, zone, country FROM campaign WHERE id = $1`,
  values: [campaignId],
});

/**
 * What the hours of a campaign depend on, held against a change to the end of the transaction: so that no window is reckoned
 * by rules that have been changed meanwhile.
 */
export const holdHours = (campaignId: number): Sql => ({
  name: 'hold_hours',
  text: `SELECT rules, zone FROM campaign WHERE id = $1 FOR SHARE`,
  values: [campaignId],
});

/** Legal hours are changed under this row's lock. */
export const holdLegalHours: Sql = {
  name: 'hold_legal_hours',
  text: `SELECT 1 FROM legal_hours WHERE country = '*' FOR SHARE`,
  values: [],
};

export interface Reckoned {
  profile_id: number;
  open_until: string | null;
  opens_at: string | null;
  legal_until: string | null;
  legal_opens_at: string | null;
  why: string | null;
  legal_why: string | null;
  due_at: string;
}

export const writeWindows = (campaignId: number, windows: Reckoned[]): Sql => ({
  name: 'write_windows',
  text: `UPDATE hours_window w SET open_until = r.open_until, opens_at = r.opens_at, legal_until = r.legal_until,
           legal_opens_at = r.legal_opens_at, why = r.why, legal_why = r.legal_why, due_at = r.due_at
         FROM jsonb_to_recordset($2) AS r (profile_id int, open_until timestamptz, opens_at timestamptz,
           legal_until timestamptz, legal_opens_at timestamptz, why text, legal_why text, due_at timestamptz)
         WHERE w.campaign_id = $1 AND w.profile_id = r.profile_id`,
  values: [campaignId, JSON.stringify(windows)],
});

/** The hours of a campaign are being changed: closed until its windows are reckoned anew. */
export const closeWindows = (now: Date, campaignId: number): Sql => ({
  name: 'close_windows',
  text: `UPDATE hours_window SET open_until = NULL, opens_at = NULL, legal_until = NULL, legal_opens_at = NULL, due_at = $1
         WHERE campaign_id = $2`,
  values: [now, campaignId],
});

/** Whoever changes legal hours waits for those who reckon by them, and they for the change. */
export const lockLegalHours: Sql = {
  text: `SELECT 1 FROM legal_hours WHERE country = '*' FOR UPDATE`,
  values: [],
};

/** Legal hours of a country are being changed, or (`*`) those of all countries without their own. */
export const closeLegalWindows = (now: Date, country: string): Sql => ({
  text: `UPDATE hours_window w SET open_until = NULL, opens_at = NULL, legal_until = NULL, legal_opens_at = NULL, due_at = $1
         FROM hours_profile p WHERE p.id = w.profile_id AND (p.country = $2 OR $2 = '*')`,
  values: [now, country],
});

// ---- one contact, exactly -------------------------------------------------------------------------------------------

export interface HoursOfCall extends Profile {
  rules: CampaignRules;
  campaign_zone: string;
  legal: LegalHours | null;
  /** It is to be called at an agreed time, or now: the campaign's own periods are not asked. */
  is_rescheduled: boolean;
}

/** What the hours of a contact's next number depend on; no row: it has no profile yet, or there is no such contact. */
export const hoursOfContact = (contactId: string): Sql => ({
  name: 'hours_of_contact',
  text: `SELECT ${HOURS_OF_CALL}, true AS is_rescheduled
         FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
         JOIN hours_profile p ON p.id = CASE c.next_phone WHEN 2 THEN c.hours_2 ELSE c.hours_1 END
         WHERE c.id = $1`,
  values: [contactId],
});

/** What the hours of the call of an offer depend on; no row: its number has no profile. */
export const hoursOfOffer = (offerId: string): Sql => ({
  name: 'hours_of_offer',
  text: `SELECT ${HOURS_OF_CALL}, c.queue_rank = 1 AS is_rescheduled
         FROM offer o JOIN call k ON k.call_id = o.call_id JOIN contact c ON c.id = o.contact_id
         JOIN campaign cp ON cp.id = o.campaign_id
         JOIN hours_profile p ON p.id = CASE WHEN k.number = c.phone_2 THEN c.hours_2 WHEN k.number = c.phone_num THEN c.hours_1 END
         WHERE o.id = $1`,
  values: [offerId],
});
