/**
 * Calling hours (docs/domain.md, "Calling hours"). Each number of a contact has a profile: its zones, its country, and the
 * contact's own times. For each profile in a campaign there is a window, open until some time or closed: the pick asks it
 * (sql.ts), the sweep renews it, and the dial reckons it once more from the rules themselves.
 */
import { AppError } from '../domain/errors.ts';
import { type CallingRules, isOpen, openWindow, type Window } from '../domain/hours.ts';
import { withDefaults, type CampaignRules } from '../domain/rules.ts';
import { countryOfNumber, zonesIn, zonesOfNumber } from '../domain/zones.ts';
import { type Db, inTx, type Tx } from '../prisma/tx.ts';
import * as sql from './hours-sql.ts';

/** Profiles that are made and found in one statement. */
const PAGE = 500;
/** The same of a list that is being taken up: it is placed faster than it is started. */
const NEW_PAGE = 2_000;
/** Windows reckoned at a time: each may take a look at a whole year. */
const WINDOWS = 200;
/** A window that stays as it is for a year is looked at again after this long: zones change with the machine's data. */
const AGAIN_MS = 86_400_000;
/** Nobody keeps a promise for longer. */
const FURTHEST_MS = 366 * 86_400_000;

/**
 * Gives contacts their profiles, with windows for them: some that are named, or the next page of those that no workflow
 * has taken up (`new`), or of the others (`live`). Returns how many; a repeat goes on where it was.
 */
export async function placeContacts(db: Pick<Db, 'pool' | 'clock'>, campaignId: number, which: 'live' | 'new' | string[]): Promise<number> {
  const wanted = typeof which === 'string' ? sql.unplaced(campaignId, which === 'new', which === 'new' ? NEW_PAGE : PAGE) : sql.unplacedOf(campaignId, which);
  const placed = await inTx(db, async (tx) => {
    const contacts = await tx.rows<sql.Unplaced>(wanted);
    if (contacts.length === 0) return 0;
    const profiles = contacts.map(profilesOf);
    const ids = (await tx.rows<{ id: number }>(sql.profileIds(profiles.flat()))).map(({ id }) => id);
    const first: number[] = [];
    const second: number[] = [];
    let next = 0;
    for (const { length } of profiles) {
      first.push(ids[next]!);
      second.push(length === 2 ? ids[next + 1]! : 0);
      next += length;
    }
    await tx.run(sql.place(contacts, first, second));
    await tx.run(sql.openWindows(tx.now, campaignId, [...new Set(ids)]));
    return contacts.length;
  });
  if (placed > 0) await renewWindowsOf(db, campaignId);
  return placed;
}

/** Of the first number, and of the second one if there is one. */
function profilesOf({ phone_num, phone_2, zone, earliest, latest }: sql.Unplaced): sql.Profile[] {
  const numbers = phone_2 === null ? [phone_num] : [phone_num, phone_2];
  return numbers.map((number) => ({
    zones: zone === null ? zonesOfNumber(number) : [zone],
    country: countryOfNumber(number) ?? '',
    earliest: earliest ?? '',
    latest: latest ?? '',
  }));
}

/** Reckons the windows whose time has come, of every campaign; the sweep's share of this file. */
export async function renewWindows(db: Pick<Db, 'pool' | 'clock'>): Promise<void> {
  const { rows } = await db.pool.query<{ id: number }>(sql.campaignsDue(db.clock.now()));
  for (const { id } of rows) await renewWindowsOf(db, id);
}

/** The same of one campaign. What they depend on is held meanwhile: whoever changes it closes them, and comes after. */
export async function renewWindowsOf(db: Pick<Db, 'pool' | 'clock'>, campaignId: number): Promise<void> {
  while ((await inTx(db, (tx) => renewPage(tx, campaignId))) === WINDOWS) {
    // The next page.
  }
}

/** How many windows were due. */
async function renewPage(tx: Tx, campaignId: number): Promise<number> {
  const campaign = await tx.row<{ rules: CampaignRules; zone: string }>(sql.holdHours(campaignId));
  if (!campaign) return 0;
  await tx.run(sql.holdLegalHours);
  const due = await tx.rows<sql.DueWindow>(sql.dueWindows(tx.now, campaignId, WINDOWS));
  const { hours } = withDefaults(campaign.rules);
  const windows = due.map(({ profile_id, ...profile }) => {
    const rules = rulesOf(profile, hours, campaign.zone);
    const all = openWindow(rules, tx.now.getTime());
    const legal = hours === null ? all : openWindow({ ...rules, campaign: null }, tx.now.getTime());
    return reckoned(profile_id, all, legal, tx.now);
  });
  if (windows.length > 0) await tx.run(sql.writeWindows(campaignId, windows));
  return windows.length;
}

/** The calling rules of every profile that occurs in a campaign, by its id; null: numbers of its country may not be called. */
export async function rulesOfProfiles(db: Pick<Db, 'pool'>, campaignId: number): Promise<Map<number, CallingRules | null>> {
  const [campaign, profiles] = await Promise.all([
    db.pool.query<{ rules: CampaignRules; zone: string; country: string }>(sql.readHours(campaignId)),
    db.pool.query<sql.DueWindow>(sql.windowsOf(campaignId)),
  ]);
  const { rules, zone, country } = campaign.rows[0]!;
  const { hours, countries } = withDefaults(rules);
  const known = profiles.rows.map(({ profile_id, ...profile }) => {
    return [profile_id, (countries ?? [country]).includes(profile.country) ? rulesOf(profile, hours, zone) : null] as const;
  });
  return new Map(known);
}

function rulesOf(
  { zones, earliest, latest, legal }: Omit<sql.DueWindow, 'profile_id'>,
  hours: CampaignRules['hours'],
  campaignZone: string,
): CallingRules {
  return {
    campaign: hours,
    // Without legal hours that can be read nothing is lawful.
    legal: legal ?? { periods: [], holidays: [] },
    zones: zonesIn(zones, campaignZone),
    earliest: earliest || null,
    latest: latest || null,
  };
}

function reckoned(profile_id: number, all: Window, legal: Window, now: Date): sql.Reckoned {
  const at = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const changes = [all, legal].map((window) => (isOpen(window) ? window.openUntil : window.opensAt));
  const again = now.getTime() + AGAIN_MS;
  return {
    profile_id,
    open_until: at(isOpen(all) ? all.openUntil : null),
    opens_at: at(isOpen(all) ? null : all.opensAt),
    legal_until: at(isOpen(legal) ? legal.openUntil : null),
    legal_opens_at: at(isOpen(legal) ? null : legal.opensAt),
    why: isOpen(all) ? null : all.reason,
    legal_why: isOpen(legal) ? null : legal.reason,
    due_at: at(Math.min(again, ...changes.map((ms) => ms ?? again)))!,
  };
}

/**
 * A reschedule may lie outside the campaign's own periods, never outside the legal hours of the contact's place or its own
 * times. Throws INVALID with the next time that is possible, for the `field` in which it was given.
 */
export async function mustBeLawful(tx: Tx, contactId: string, at: Date, field: string): Promise<void> {
  const badTime = (reason: string) => new AppError('INVALID', `the time ${reason}`, { issues: [{ field, reason }] });
  if (at <= tx.now) throw badTime('is in the past');
  if (at.getTime() - tx.now.getTime() > FURTHEST_MS) throw badTime('is more than a year ahead');
  const call = await tx.row<sql.HoursOfCall>(sql.hoursOfContact(contactId));
  const window = call && openWindow(rulesOf(call, null, call.campaign_zone), at.getTime());
  if (window && isOpen(window)) return;
  const next = window?.opensAt ? `; the next time that is possible is ${new Date(window.opensAt).toISOString()}` : '';
  throw badTime(`is outside of the hours at which this contact may be called${next}`);
}

/** Whether the contact of an offer may be dialled by now, reckoned from the rules as they are; what can't be read is closed. */
export async function isTimeToDial(tx: Tx, offerId: string): Promise<boolean> {
  const call = await tx.row<sql.HoursOfCall>(sql.hoursOfOffer(offerId));
  if (!call) return false;
  const hours = call.is_rescheduled ? null : withDefaults(call.rules).hours;
  return isOpen(openWindow(rulesOf(call, hours, call.campaign_zone), tx.now.getTime()));
}
