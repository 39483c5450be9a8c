/** Phone numbers: E.164 inside, by libphonenumber. */
import { parsePhoneNumberFromString, type CountryCode } from 'libphonenumber-js/max';

export type NumberProblem = 'not_a_number' | 'not_valid' | 'not_callable' | 'has_extension';

/** Types that no contact may have (docs/domain.md, "Never dialled"): premium rate and shared cost cost the caller. */
const REFUSED_TYPES: readonly string[] = ['PREMIUM_RATE', 'SHARED_COST', 'PAGER', 'VOICEMAIL'];

export const NUMBER_PROBLEM_TEXT: Readonly<Record<NumberProblem, string>> = {
  not_a_number: 'is not a phone number',
  not_valid: 'is not a valid number of its country',
  has_extension: 'has an extension, which can not be dialled: give the number that rings the person',
  not_callable: 'is a premium-rate, shared-cost or service number, which is never dialled',
};

/**
 * Reads a number as people write it; national numbers are of `country` (ISO 3166 alpha-2).
 * Emergency and other short numbers are not valid E.164 numbers and so are refused as `not_valid`.
 */
export function parseNumber(text: string, country: string): { e164: string } | { problem: NumberProblem } {
  const parsed = parsePhoneNumberFromString(text, country as CountryCode);
  if (!parsed) return { problem: 'not_a_number' };
  if (!parsed.isValid()) return { problem: 'not_valid' };
  // Without it somebody else would answer.
  if (parsed.ext) return { problem: 'has_extension' };
  if (REFUSED_TYPES.includes(parsed.getType() ?? '')) return { problem: 'not_callable' };
  return { e164: parsed.number };
}

/** A telephone number rather than an extension of the switch: numbers are stored as E.164, with their plus. */
export const isTelephoneNumber = (phone: string): boolean => phone.startsWith('+');
