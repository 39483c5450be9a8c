/**
 * Where a contact is, by the clock (docs/domain.md, "Whose clock"): the zones of a phone number, its country, and which
 * zones count. Synchronous and without I/O: about 1 µs a number, 10 µs where the kind of number must be known.
 */
import { parsePhoneNumberFromString } from 'libphonenumber-js/max';
import data from './zone-prefixes.json' with { type: 'json' };
import { apart, isZone } from './zone-time.ts';

/** Zones by the beginning of a number, without its plus. */
const BY_PREFIX = new Map<string, Match>();
for (const [joined, prefixes] of Object.entries(data.prefixes)) {
  const zones = joined.split('&');
  for (const prefix of prefixes.split(' ')) BY_PREFIX.set(prefix, { prefix, zones });
}

/** In these an area code is part of mobile numbers too: North America, and those that libphonenumber names. */
const MOBILES_HAVE_AREAS: readonly string[] = ['1', '52', '54', '55', '62'];

/**
 * The IANA zones in which a number (E.164) may be, one for each clock; empty where nothing is known. An area is known to
 * within an hour only, so where a country has several clocks its neighbours are among them. A number without an area, such
 * as most mobile numbers, may be anywhere in its country: these are all zones of the country.
 */
export function zonesOfNumber(e164: string): readonly string[] {
  const digits = e164.slice(1);
  const country = match(digits, 1, 2, 3);
  const area = match(digits, 9, 8, 7, 6, 5, 4, 3, 2, 1);
  if (area === country || country === undefined || area === undefined) return country?.zones ?? [];
  return hasArea(e164, country.prefix) ? area.zones : country.zones;
}

interface Match {
  prefix: string;
  zones: readonly string[];
}

/** The first of these lengths at which the list knows the number. Every list of a country has one for its calling code. */
function match(digits: string, ...lengths: number[]): Match | undefined {
  for (const length of lengths) {
    const found = BY_PREFIX.get(digits.slice(0, length));
    if (found) return found;
  }
  return undefined;
}

/** Where fixed and mobile numbers look the same, as in Chile, one may be a mobile number. */
function hasArea(e164: string, callingCode: string): boolean {
  if (callingCode === '1') return true;
  const type = parsePhoneNumberFromString(e164)?.getType();
  const mayBeMobile = type === 'MOBILE' || type === 'FIXED_LINE_OR_MOBILE';
  return type === 'FIXED_LINE' || (mayBeMobile && MOBILES_HAVE_AREAS.includes(callingCode));
}

/** ISO 3166 country of a number (E.164), for its legal hours; null where it has none, such as +800. */
export const countryOfNumber = (e164: string): string | null => parsePhoneNumberFromString(e164)?.country ?? null;

export interface Place {
  /** All of them count: a call is made only when all are open. */
  zones: readonly string[];
  /** Who says so. */
  from: 'contact' | 'number' | 'campaign';
}

/**
 * Whose clock counts: the contact's own zone, else those of its number, else the campaign's. A contact's zone that is no
 * zone stays, and so keeps it from being called. Where a number's zones are more than half a day apart (North American
 * numbers without an area: toll-free and the like), hardly any time suits all of them: then the campaign's, if one of
 * them goes by the same clock.
 */
export function placeOf(contactZone: string | null, e164: string, campaignZone: string): Place {
  if (contactZone !== null) return { zones: [contactZone], from: 'contact' };
  const zones = zonesOfNumber(e164);
  const counting = zonesIn(zones, campaignZone);
  return { zones: counting, from: counting === zones ? 'number' : 'campaign' };
}

/** Which of the zones of a number count in a campaign: they themselves or, where they say too little, the campaign's. */
export function zonesIn(zones: readonly string[], campaignZone: string): readonly string[] {
  if (zones.length === 0) return [campaignZone];
  const isNear = isWide(zones) && isZone(campaignZone) && zones.some((zone) => apart([zone, campaignZone]) === 0);
  return isNear ? [campaignZone] : zones;
}

const HALF_A_DAY = 12 * 3_600_000;
const wide = new Map<readonly string[], boolean>();

/** Remembered, since the lists are few and the numbers many. */
function isWide(zones: readonly string[]): boolean {
  if (zones.length === 1) return false;
  let known = wide.get(zones);
  if (known === undefined) wide.set(zones, (known = apart(zones) > HALF_A_DAY));
  return known;
}
