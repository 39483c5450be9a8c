/**
 * Writes domain/zone-prefixes.json: in which zones a phone number may be, by how it begins (docs/dependencies.md, "Data").
 *
 *     node dev/zone-prefixes.ts <resources/timezones/map_data.txt of a release of libphonenumber> <its name, v9.0.43>
 *
 * libphonenumber's list is a statistic, and now and then an hour off: it has no Saratov, puts Recife on an island and Libya
 * into Bucharest. So a country's zones are Node's, and an area counts in all of them that are within an hour of the list's.
 * In North America the list is finer than area codes, and is believed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCountries, getCountryCallingCode } from 'libphonenumber-js/max';
import { apart, isZone, stretchAt } from '../domain/zone-time.ts';

const FILE = join(import.meta.dirname, '../domain/zone-prefixes.json');
const HOUR = 3_600_000;
/** In its legal time China has one zone. */
const NOT_LEGAL = ['Asia/Urumqi'];
/** The whole Canadian north, of which the list knows the west. */
const CORRECTED: Readonly<Record<string, readonly string[]>> = {
  1867: ['America/Whitehorse', 'America/Edmonton', 'America/Winnipeg', 'America/Iqaluit'],
};

const [path, release] = process.argv.slice(2);
if (!path || !release) throw new Error('usage: node dev/zone-prefixes.ts map_data.txt v9.0.43');

const listed = new Map<string, readonly string[]>();
for (const line of readFileSync(path, 'utf8').split('\n')) {
  const [, prefix, zones] = /^(\d+)\|(\S+)$/.exec(line) ?? [];
  if (prefix !== undefined && zones !== undefined) listed.set(prefix, zones.split('&'));
}
if (listed.size === 0) throw new Error(`there is no line such as 47|Europe/Oslo in ${path}`);
for (const [prefix, zones] of Object.entries(CORRECTED)) {
  for (const finer of listed.keys()) if (finer.startsWith(prefix)) listed.delete(finer);
  listed.set(prefix, zones);
}
const named = new Set([...listed.values()].flat());

/** All zones of the countries with a calling code, one for each clock; names of the list first. */
function zonesOfCode(code: string): string[] {
  const countries = getCountries().filter((country) => getCountryCallingCode(country) === code);
  const zones = countries.flatMap(zonesOfCountry).filter((zone) => !NOT_LEGAL.includes(zone));
  return onePerClock([...zones.filter((zone) => named.has(zone)), ...zones.sort()]);
}

/** As Node has them; the types do not know the method yet. */
function zonesOfCountry(country: string): string[] {
  const locale = new Intl.Locale(`und-${country}`) as Intl.Locale & { getTimeZones(): string[] | undefined };
  return locale.getTimeZones() ?? [];
}

/** The first of each. */
function onePerClock(zones: readonly string[]): string[] {
  return [...new Map(zones.toReversed().map((zone) => [clockOf(zone), zone])).values()].sort();
}

/** All that a zone's clock does in two years. */
function clockOf(zone: string): string {
  const stretches: string[] = [];
  for (let at = Date.UTC(2026, 0, 1); at < Date.UTC(2028, 0, 1); at = stretchAt(zone, at).to) {
    stretches.push(`${at} ${stretchAt(zone, at).offset}`);
  }
  return stretches.join();
}

const byPrefix = new Map<string, string[]>();
for (const code of new Set(getCountries().map((country) => getCountryCallingCode(country)))) {
  const ofCountry = zonesOfCode(code);
  const zones = ofCountry.length > 0 ? ofCountry : onePerClock(listed.get(code) ?? []);
  if (zones.length > 0) byPrefix.set(code, zones);
}
for (const [prefix, zones] of [...listed].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const code = [1, 2, 3].map((length) => prefix.slice(0, length)).find((digits) => byPrefix.has(digits));
  if (code === undefined) throw new Error(`no country has ${prefix}`);
  if (prefix === code) continue;
  const near = byPrefix.get(code)!.filter((zone) => zones.some((other) => apart([zone, other]) <= HOUR));
  const counting = code === '1' ? onePerClock(zones) : near;
  if (counting.length > 0 && String(counting) !== String(parentOf(prefix))) byPrefix.set(prefix, counting);
}

/** What holds for a prefix without an entry of its own. */
function parentOf(prefix: string): string[] | undefined {
  for (let length = prefix.length - 1; length > 0; length--) {
    const found = byPrefix.get(prefix.slice(0, length));
    if (found) return found;
  }
  return undefined;
}

const unknown = [...byPrefix.values()].flat().filter((zone) => !isZone(zone));
if (unknown.length > 0) throw new Error(`Node does not know ${unknown.join(', ')}`);

const prefixes: Record<string, string> = {};
for (const [prefix, zones] of byPrefix) {
  const joined = zones.join('&');
  prefixes[joined] = joined in prefixes ? `${prefixes[joined]} ${prefix}` : prefix;
}
const source = `libphonenumber ${release}, resources/timezones/map_data.txt (Apache-2.0), changed by dev/zone-prefixes.ts`;
writeFileSync(FILE, `${JSON.stringify({ source, prefixes }, null, 2)}\n`);
