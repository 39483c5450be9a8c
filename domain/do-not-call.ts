/** The do-not-call list: how a number gets onto it, and how one is read (docs/domain.md, "Do-not-call"). Pure. */
import { parsePhoneNumberFromString, type CountryCode } from 'libphonenumber-js/max';
import { NUMBER_PROBLEM_TEXT } from './numbers.ts';

/** How a number got onto the list: by itself, in a file, or by what an agent registered after a talk. */
export const LISTING_SOURCES = ['api', 'import', 'disposition'] as const;
export type ListingSource = (typeof LISTING_SOURCES)[number];

/**
 * Reads a number as people write it; a national one needs `country` (ISO 3166 alpha-2). `reason` goes on from the name of
 * the field. A kind of number that is never dialled may be listed all the same: lists of others have them.
 */
export function readListed(text: string, country: string | undefined): { e164: string } | { reason: string } {
  if (country === undefined && !text.trim().startsWith('+')) {
    return { reason: 'must be in E.164, such as +4722865000, where no country is given' };
  }
  const parsed = parsePhoneNumberFromString(text, country as CountryCode | undefined);
  if (!parsed) return { reason: NUMBER_PROBLEM_TEXT.not_a_number };
  if (!parsed.isValid()) return { reason: NUMBER_PROBLEM_TEXT.not_valid };
  if (parsed.ext) return { reason: NUMBER_PROBLEM_TEXT.has_extension };
  return { e164: parsed.number };
}

/** Every number of a contact: the person objects, so none of them is called. */
export const numbersOf = ({ phone_num, phone_2 }: { phone_num: string; phone_2: string | null }): string[] =>
  phone_2 === null ? [phone_num] : [phone_num, phone_2];
