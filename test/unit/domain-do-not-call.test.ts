/** docs/domain.md, "Do-not-call": any number that a contact can have can be listed, however it is written. */
import { describe, expect, test } from 'vitest';
import { numbersOf, readListed } from '../../domain/do-not-call.ts';
import { parseNumber } from '../../domain/numbers.ts';

describe('a number to be listed', () => {
  test.each([
    ['+4722865000', undefined, '+4722865000'],
    [' +47 22 86 50 00 ', undefined, '+4722865000'],
    ['22 86 50 00', 'NO', '+4722865000'],
    ['070-123 45 67', 'SE', '+46701234567'],
    ['+46 70 123 45 67', 'NO', '+46701234567'],
  ])('%s (%s) is %s, as a contact has it', (text, country, e164) => {
    expect(readListed(text, country)).toEqual({ e164 });
    expect(parseNumber(text, country ?? 'ZZ')).toEqual({ e164 });
  });

  test.each(['82012345', '+4782012345'])('%s is one that no contact may have', (text) => {
    expect(parseNumber(text, 'NO')).toEqual({ problem: 'not_callable' });
    expect(readListed(text, 'NO')).toEqual({ e164: '+4782012345' });
  });

  test.each([
    ['22865000', undefined, 'where no country is given'],
    ['0047 22865000', undefined, 'where no country is given'],
    ['', undefined, 'where no country is given'],
    ['', 'NO', 'is not a phone number'],
    ['nobody', 'NO', 'is not a phone number'],
    ['112', 'NO', 'is not a valid number'],
    ['+4711', undefined, 'is not a valid number'],
    ['+4722865000;ext=7', undefined, 'has an extension'],
  ])('%j (%s) is refused', (text, country, why) => {
    expect(readListed(text, country)).toEqual({ reason: expect.stringContaining(why) });
  });
});

test('every number of a contact counts', () => {
  expect(numbersOf({ phone_num: '+4722865000', phone_2: null })).toEqual(['+4722865000']);
  expect(numbersOf({ phone_num: '+4722865000', phone_2: '+4722865001' })).toEqual(['+4722865000', '+4722865001']);
});
