/** Phone numbers: E.164 inside, by libphonenumber. */
import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  parsePhoneNumberFromString,
  type PhoneNumber,
} from 'libphonenumber-js/max';

export type NumberProblem =
  | 'not_a_number'
  | 'short_number'
  | 'not_valid'
  | 'not_callable'
  | 'has_extension'
  | 'own_number'
  | 'country_not_allowed';

/** Types that no contact may have (docs/domain.md, "Numbers"): premium rate and shared cost cost the caller. */
const REFUSED_TYPES: readonly string[] = ['PREMIUM_RATE', 'SHARED_COST', 'PAGER', 'VOICEMAIL'];
/** Emergency numbers have three digits at most, the numbers of no person so few. */
const MOST_EMERGENCY_DIGITS = 3;

export const NUMBER_PROBLEM_TEXT: Readonly<Record<NumberProblem, string>> = {
  not_a_number: 'is not a phone number',
  short_number: 'is too short for the number of a person; emergency and service numbers are never dialled',
  not_valid: 'is not a valid number of its country',
  has_extension: 'has an extension, which can not be dialled: give the number that rings the person',
  not_callable: 'is a premium-rate, shared-cost or service number, which is never dialled',
  own_number: 'is a number of our own (service_num or caller_id of a campaign, or an agent\'s phone), which is never dialled',
  country_not_allowed: 'is of a country that the campaign may not call: its rule "countries" names those that it may',
};

/**
 * Reads a number as people write it; national numbers are of `country` (ISO 3166 alpha-2).
 * Emergency and other short numbers are not valid E.164 numbers and so are refused.
 */
export function parseNumber(text: string, country: string): { e164: string } | { problem: NumberProblem } {
  const read = parse(text, country);
  return 'problem' in read ? read : { e164: read.number };
}

function parse(text: string, country: string): PhoneNumber | { problem: NumberProblem } {
  const parsed = parsePhoneNumberFromString(text, country as CountryCode);
  if (!parsed) return { problem: 'not_a_number' };
  if (!parsed.isValid()) {
    return { problem: parsed.nationalNumber.length <= MOST_EMERGENCY_DIGITS ? 'short_number' : 'not_valid' };
  }
  // Without it somebody else would answer.
  if (parsed.ext) return { problem: 'has_extension' };
  if (REFUSED_TYPES.includes(parsed.getType() ?? '')) return { problem: 'not_callable' };
  return parsed;
}

/** What decides which numbers a campaign may dial (docs/domain.md, "Numbers"). */
export interface Dialling {
  /** ISO 3166 country in which its national numbers are read. */
  country: string;
  /** Its rule of this name; null: `country` only. */
  countries: readonly string[] | null;
  /** The system's own numbers, or those of them that are in question (prisma/own-numbers.ts). */
  own: ReadonlySet<string>;
}

/** Reads a number as people write it, if the campaign may dial it. */
export function readNumber(text: string, campaign: Dialling): { e164: string } | { problem: NumberProblem } {
  const read = parse(text, campaign.country);
  if ('problem' in read) return read;
  if (campaign.own.has(read.number)) return { problem: 'own_number' };
  if (!isOfOne(read, campaign.countries ?? [campaign.country])) return { problem: 'country_not_allowed' };
  return { e164: read.number };
}

/**
 * Why a campaign must not dial a number (E.164), or null: asked again where it is about to be dialled, as rules, agents
 * and other campaigns may have changed since it was taken in. Whom a call is transferred to is asked for, too.
 */
export function whyNotDialled(e164: string, campaign: Dialling): NumberProblem | null {
  const read = readNumber(e164, campaign);
  return 'problem' in read ? read.problem : null;
}

/**
 * True if it is a valid number of one of these countries. Some countries share a calling code and even numbers (Finland
 * and Åland, Norway and Svalbard): such a number is of each of them. One of no country (satellites, +800) is of none.
 */
function isOfOne(number: PhoneNumber, countries: readonly string[]): boolean {
  if (number.country !== undefined && countries.includes(number.country)) return true;
  return countries.some((country) => {
    if (!isCountry(country) || getCountryCallingCode(country) !== number.countryCallingCode) return false;
    const there = parsePhoneNumberFromString(number.number)!;
    there.country = country;
    return there.isValid();
  });
}

/** ISO 3166-1 alpha-2, in capitals, with a numbering plan that is known. */
export const isCountry = (text: string): text is CountryCode => isSupportedCountry(text);

/** A telephone number rather than an extension of the switch: numbers are stored as E.164, with their plus. */
export const isTelephoneNumber = (phone: string): boolean => phone.startsWith('+');
