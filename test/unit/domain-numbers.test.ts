/** docs/domain.md, "Numbers": E.164 inside, national notation in the campaign's country, costly and short ones refused. */
import fc from 'fast-check';
import { getCountries, getExampleNumber } from 'libphonenumber-js/max';
import examples from 'libphonenumber-js/mobile/examples';
import { describe, expect, test } from 'vitest';
import { parseNumber, readNumber, whyNotDialled } from '../../domain/numbers.ts';

const COUNTRIES = getCountries();

describe('as people write it', () => {
  test.each([
    ['22 22 22 22', 'NO', '+4722222222'],
    ['222 22 222', 'NO', '+4722222222'],
    ['+47 912 34 567', 'NO', '+4791234567'],
    ['0047 91234567', 'NO', '+4791234567'],
    ['tel:+47-912-34-567', 'NO', '+4791234567'],
    ['２２２２２２２２', 'NO', '+4722222222'],
    ['070-123 45 67', 'SE', '+46701234567'],
    ['020 7946 0018', 'GB', '+442079460018'],
    ['(212) 736-5000', 'US', '+12127365000'],
    ['011 47 22 22 22 22', 'US', '+4722222222'],
    ['030 901820', 'DE', '+4930901820'],
    ['01 42 68 53 00', 'FR', '+33142685300'],
    // Italy keeps the zero.
    ['06 6982 1234', 'IT', '+390669821234'],
    ['800 12 345', 'NO', '+4780012345'],
  ])('%s in %s is %s', (text, country, e164) => {
    expect(parseNumber(text, country)).toEqual({ e164 });
  });

  test.each([
    ['+44 (0)20 7946 0018', '+442079460018'],
    ['+46 70 123 45 67', '+46701234567'],
    ['+1 (212) 736-5000', '+12127365000'],
  ])('with a country of its own, %s is the same everywhere', (text, e164) => {
    for (const country of COUNTRIES) expect(parseNumber(text, country), country).toEqual({ e164 });
  });

  test('each country\'s mobile number, national and international, and E.164 stays as it is', () => {
    for (const country of COUNTRIES) {
      const example = getExampleNumber(country, examples)!;
      const read = { e164: example.number };
      expect(parseNumber(example.formatNational(), country)).toEqual(read);
      for (const abroad of ['NO', 'US']) {
        expect(parseNumber(example.formatInternational(), abroad)).toEqual(read);
        expect(parseNumber(example.number, abroad)).toEqual(read);
      }
    }
  });
});

describe('never dialled', () => {
  const EMERGENCY = ['000', '08', '100', '101', '102', '110', '111', '112', '113', '115', '117', '118', '119', '122', '15'];
  const MORE = ['17', '18', '190', '191', '192', '193', '199', '911', '933', '988', '995', '997', '998', '999'];

  test.each([...EMERGENCY, ...MORE])('emergency: %s in any country', (text) => {
    const read = COUNTRIES.map((country) => parseNumber(text, country));
    expect(read.filter((number) => 'e164' in number)).toEqual([]);
    expect(read).toContainEqual({ problem: 'short_number' });
  });

  test.each([
    ['+47112', 'NO'],
    ['+1911', 'US'],
    ['+44 999', 'GB'],
    ['1881', 'NO'],
    ['118500', 'GB'],
    ['3949', 'FR'],
    ['411', 'US'],
  ])('emergency with a country, and service numbers: %s in %s', (text, country) => {
    expect(parseNumber(text, country)).toEqual({ problem: expect.stringMatching(/^(not_|short_)/) });
  });

  test.each([
    ['premium rate', '829 12 345', 'NO'],
    ['premium rate, from abroad', '+47 829 12 345', 'SE'],
    ['premium rate', '0939 123 4567', 'SE'],
    ['premium rate', '90 12 34 56', 'DK'],
    ['premium rate', '0600 12345', 'FI'],
    ['premium rate', '0906 123 4567', 'GB'],
    ['premium rate', '1-900-234-5678', 'US'],
    ['premium rate', '0900 1 234567', 'DE'],
    ['premium rate', '08 99 12 34 56', 'FR'],
    ['premium rate of no country', '+979 123 456 789', 'NO'],
    ['shared cost', '0845 123 4567', 'GB'],
    ['shared cost', '0180 5 123456', 'DE'],
    ['shared cost', '13 11 14', 'AU'],
    ['a pager', '07640 123456', 'GB'],
    ['a mailbox', '0860 79 123 45 67', 'CH'],
    ['shared cost of no country', '+808 1234 5678', 'NO'],
  ])('%s: %s in %s', (_what, text, country) => {
    expect(parseNumber(text, country)).toEqual({ problem: 'not_callable' });
  });
});

describe('what a campaign may dial', () => {
  const own = new Set<string>();

  test.each([
    ['its own country, where the rule names none', '22865000', 'NO', null, null],
    ['another country', '+46701234567', 'NO', null, 'country_not_allowed'],
    ['a country of the rule', '+46701234567', 'NO', ['NO', 'SE'], null],
    ['its own country, where the rule leaves it out', '22865000', 'NO', ['SE'], 'country_not_allowed'],
    ['another country of the same calling code', '+18095550123', 'US', null, 'country_not_allowed'],
    ['the same, when it is named', '+18095550123', 'US', ['US', 'DO'], null],
    ['an island with a plan of its own', '+447911123456', 'GB', null, 'country_not_allowed'],
    ['Svalbard, whose fixed numbers are its own', '+4779021000', 'NO', null, 'country_not_allowed'],
    ['Svalbard, whose mobile numbers are Norway\'s', '+4741234567', 'SJ', null, null],
    ['Åland, whose mobile numbers are Finland\'s', '0412345678', 'AX', null, null],
    ['a satellite, which is of no country', '+870773123456', 'NO', ['NO', 'US', 'GB'], 'country_not_allowed'],
    ['a number that is free of charge in every country', '+80012345678', 'NO', null, 'country_not_allowed'],
    ['what was taken in by an older plan', '+4712345678', 'NO', null, 'not_valid'],
    ['what has become premium rate', '+4782912345', 'NO', null, 'not_callable'],
    ['any number, if its country is none', '+4722865000', 'XX', null, 'country_not_allowed'],
  ])('%s: %s', (_what, text, country, countries, problem) => {
    const read = readNumber(text, { country, countries, own });
    expect('problem' in read ? read.problem : null).toBe(problem);
    if (!text.startsWith('+')) return;
    expect(whyNotDialled(text, { country, countries, own })).toBe(problem);
  });

  test('every country may call its own mobile numbers', () => {
    for (const country of COUNTRIES) {
      const { number } = getExampleNumber(country, examples)!;
      expect(whyNotDialled(number, { country, countries: null, own }), country).toBeNull();
    }
  });

  test('nobody is called at a number of our own', () => {
    const ours = { country: 'NO', countries: null, own: new Set(['+4722865000']) };
    expect(readNumber('22 86 50 00', ours)).toEqual({ problem: 'own_number' });
    expect(readNumber('22 86 50 01', ours)).toEqual({ e164: '+4722865001' });
  });
});

test('an extension would be lost on the way, and somebody else answer', () => {
  expect(parseNumber('22 86 50 00 ext 5', 'NO')).toEqual({ problem: 'has_extension' });
  expect(parseNumber('+4722865000;ext=5', 'ZZ')).toEqual({ problem: 'has_extension' });
});

describe('not a number', () => {
  test.each([
    ['', 'not_a_number'],
    ['   ', 'not_a_number'],
    ['+', 'not_a_number'],
    ['unknown', 'not_a_number'],
    ['+999 123456', 'not_a_number'],
    ['1234567', 'not_valid'],
    ['123456789', 'not_valid'],
    ['+47 1234567', 'not_valid'],
    ['1-800-FLOWERS', 'not_valid'],
    ['22222222 / 91234567', 'not_valid'],
  ])('%j in NO: %s', (text, problem) => {
    expect(parseNumber(text, 'NO')).toEqual({ problem });
  });

  test('a national number of no country', () => {
    expect(parseNumber('22222222', 'XX')).toEqual({ problem: 'not_a_number' });
  });

  test('any text is a problem or E.164, which reads as itself', () => {
    const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 5, maxLength: 12 });
    const signs = fc.string({ unit: fc.constantFrom(...'+0123456789 -()/;,.xe') });
    const text = fc.oneof(fc.string(), signs, digits, digits);
    fc.assert(
      fc.property(text, fc.constantFrom(...COUNTRIES), (text, country) => {
        const read = parseNumber(text, country);
        if ('problem' in read) return;
        expect(read.e164).toMatch(/^\+[1-9]\d{2,14}$/);
        expect(parseNumber(read.e164, country)).toEqual(read);
      }),
    );
  });
});
