/** Where a number is, and whose clock counts. */
import { getCountries, getExampleNumber } from 'libphonenumber-js/max';
import examples from 'libphonenumber-js/examples.mobile.json' with { type: 'json' };
import { describe, expect, test } from 'vitest';
import { isZone, stretchAt } from '../../domain/zone-time.ts';
import data from '../../domain/zone-prefixes.json' with { type: 'json' };
import { countryOfNumber, placeOf, zonesOfNumber } from '../../domain/zones.ts';

describe('the zones of a number', () => {
  test.each([
    ['a country with one clock', '+4722865000', 'Europe/Oslo'],
    ['whatever the names', '+447911123456', 'Europe/London'],
    ['an area code, mobile or fixed', '+12125551234', 'America/New_York'],
    ['an area code that is an island', '+14413701234', 'Atlantic/Bermuda'],
    ['an area code on both sides of a border', '+12705551234', 'America/New_York'],
    ['an area: its neighbours, too', '+73012212121', 'Asia/Irkutsk Asia/Krasnoyarsk Asia/Yakutsk'],
    ['and not those beyond', '+61298765432', 'Australia/Adelaide Australia/Brisbane Australia/Lord_Howe Australia/Sydney'],
    ['a mobile with an area code', '+5511961234567', 'America/Manaus America/Noronha America/Sao_Paulo'],
    ['a mobile without: all of the country', '+34612345678', 'Atlantic/Canary Europe/Madrid'],
    ['of no country', '+80012345678', ''],
    ['nothing at all', '+', ''],
  ])('%s: %s', (_what, number, zones) => expect(zonesOfNumber(number).join(' ')).toBe(zones));

  test('a mobile may be anywhere in a country of many zones', () => {
    expect(zonesOfNumber('+79161234567')).toEqual(expect.arrayContaining(['Europe/Moscow', 'Europe/Kaliningrad', 'Asia/Anadyr']));
    expect(zonesOfNumber('+61412345678')).toEqual(expect.arrayContaining(['Australia/Perth', 'Australia/Lord_Howe']));
  });

  test.each([
    ['Saratov, which libphonenumber puts an hour west', '+78452212121', 'Europe/Saratov'],
    ['Kaliningrad, which it puts into Bucharest', '+74012212121', 'Europe/Kaliningrad'],
    ['Recife, which it puts on an island', '+558132121212', 'America/Recife'],
    ['Punta Arenas', '+56612212121', 'America/Punta_Arenas'],
    ['Chihuahua', '+526144101010', 'America/Chihuahua'],
    ['Iqaluit', '+18679791234', 'America/Iqaluit'],
    ['Casablanca', '+212522123456', 'Africa/Casablanca'],
    ['Tripoli', '+218212345678', 'Africa/Tripoli'],
    ['Algiers', '+213551234567', 'Africa/Algiers'],
    ['Managua', '+50521234567', 'America/Managua'],
    ['Gaza', '+970599123456', 'Asia/Gaza'],
  ])('has the true clock of %s', (_what, number, zone) => {
    expect(zonesOfNumber(number).map(clockOf)).toContain(clockOf(zone));
  });

  test('a mobile number has every clock of its country (a newer Node may have more: run dev/zone-prefixes.ts)', () => {
    // In its legal time China has one zone.
    const lawful = (zone: string) => zone !== 'Asia/Urumqi';
    const missing = getCountries().flatMap((country) => {
      const { number, countryCallingCode } = getExampleNumber(country, examples)!;
      if (MOBILES_HAVE_AREAS.includes(countryCallingCode)) return [];
      const known = zonesOfNumber(number).map(clockOf);
      return zonesOfCountry(country).filter((zone) => lawful(zone) && !known.includes(clockOf(zone)));
    });
    expect(missing).toEqual([]);
  });

  test('every country has some, and Node knows them all', () => {
    const without = getCountries().filter((country) => zonesOfNumber(getExampleNumber(country, examples)!.number).length === 0);
    expect(without).toEqual([]);
    const zones = new Set(Object.keys(data.prefixes).flatMap((list) => list.split('&')));
    expect([...zones].filter((zone) => !isZone(zone))).toEqual([]);
    expect(zones.size).toBeGreaterThan(200);
  });
});

const MOBILES_HAVE_AREAS: readonly string[] = ['1', '52', '54', '55', '62'];

function zonesOfCountry(country: string): string[] {
  return (new Intl.Locale(`und-${country}`) as Intl.Locale & { getTimeZones(): string[] | undefined }).getTimeZones() ?? [];
}

/** All that a zone's clock does in a year. */
function clockOf(zone: string): string {
  let told = '';
  for (let at = Date.UTC(2027, 0, 1); at < Date.UTC(2028, 0, 1); at = stretchAt(zone, at).to) told += JSON.stringify(stretchAt(zone, at));
  return told;
}

test.each([
  ['+4722865000', 'NO'],
  ['+12125551234', 'US'],
  ['+14165551234', 'CA'],
  ['+77012345678', 'KZ'],
  ['+80012345678', null],
])('the country of %s: %s', (number, country) => expect(countryOfNumber(number)).toBe(country));

describe('whose clock counts', () => {
  const oslo = 'Europe/Oslo';

  test("the contact's own, known or not", () => {
    expect(placeOf('America/Chicago', '+4722865000', oslo)).toEqual({ zones: ['America/Chicago'], from: 'contact' });
    expect(placeOf('Mars/Olympus', '+4722865000', oslo)).toEqual({ zones: ['Mars/Olympus'], from: 'contact' });
    expect(placeOf('', '+4722865000', oslo)).toEqual({ zones: [''], from: 'contact' });
  });

  test("else its number's, all of them", () => {
    expect(placeOf(null, '+12125551234', oslo)).toEqual({ zones: ['America/New_York'], from: 'number' });
    expect(placeOf(null, '+34612345678', oslo)).toEqual({ zones: ['Atlantic/Canary', 'Europe/Madrid'], from: 'number' });
    expect(placeOf(null, '+79161234567', 'Europe/Moscow').zones).toContain('Asia/Anadyr');
  });

  test("else the campaign's", () => {
    expect(placeOf(null, '+80012345678', oslo)).toEqual({ zones: [oslo], from: 'campaign' });
  });

  test("toll-free numbers of North America: the campaign's, if that is there", () => {
    const tollFree = '+18005551234';
    expect(placeOf(null, tollFree, 'America/Chicago')).toEqual({ zones: ['America/Chicago'], from: 'campaign' });
    // Not in the list by name, but by its clock.
    expect(placeOf(null, tollFree, 'America/Detroit')).toEqual({ zones: ['America/Detroit'], from: 'campaign' });
    for (const elsewhere of [oslo, 'Mars/Olympus']) {
      expect(placeOf(null, tollFree, elsewhere)).toEqual({ zones: zonesOfNumber(tollFree), from: 'number' });
    }
  });
});

describe('what a zone does', () => {
  const at = (iso: string) => Date.parse(iso);

  test('changes to the second, and is cut at New Year', () => {
    expect(stretchAt('Europe/Oslo', at('2026-03-29T00:59:59.999Z'))).toEqual({ from: at('2026-01-01'), to: at('2026-03-29T01:00Z'), offset: 3_600_000 });
    expect(stretchAt('Europe/Oslo', at('2026-03-29T01:00Z'))).toEqual({ from: at('2026-03-29T01:00Z'), to: at('2026-10-25T01:00Z'), offset: 7_200_000 });
    expect(stretchAt('Europe/Oslo', at('2026-12-31T23:59:59.999Z')).to).toBe(at('2027-01-01'));
    // Changes at midnight UTC of 1 January, on the seam of two years.
    expect(stretchAt('Africa/Juba', at('2021-01-31T20:59:59Z'))).toMatchObject({ to: at('2021-01-31T21:00Z'), offset: 10_800_000 });
  });

  test('twice within five weeks, in Morocco', () => {
    expect(stretchAt('Africa/Casablanca', at('2025-03-01'))).toEqual({ from: at('2025-02-23T02:00Z'), to: at('2025-04-06T02:00Z'), offset: 0 });
  });

  test('an offset is no zone, nor is a name that nobody knows', () => {
    expect(['Europe/Oslo', 'UTC', 'asia/kathmandu'].filter(isZone)).toHaveLength(3);
    expect(['+01:00', '-0500', '', 'Europe/Olso', 'GMT+25', 'constructor'].filter(isZone)).toEqual([]);
  });
});
