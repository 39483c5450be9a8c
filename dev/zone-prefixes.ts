/**
 * Writes domain/zone-prefixes.json, which zones the beginning of a phone number belongs to, out of libphonenumber's own list
 * (docs/dependencies.md, "Data"):
 *
 *     node dev/zone-prefixes.ts <resources/timezones/map_data.txt of a release> <name of the release>
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isZone } from '../domain/zone-time.ts';

const FILE = join(import.meta.dirname, '../domain/zone-prefixes.json');

const [path, release] = process.argv.slice(2);
if (!path || !release) throw new Error('usage: node dev/zone-prefixes.ts map_data.txt v9.0.34');

const byZones = new Map<string, string[]>();
for (const line of readFileSync(path, 'utf8').split('\n')) {
  const [, prefix, zones] = /^(\d+)\|(\S+)$/.exec(line) ?? [];
  if (prefix === undefined || zones === undefined) continue;
  const unknown = zones.split('&').filter((zone) => !isZone(zone));
  if (unknown.length > 0) throw new Error(`Node does not know ${unknown.join(', ')} of ${prefix}`);
  const known = byZones.get(zones);
  if (known) known.push(prefix);
  else byZones.set(zones, [prefix]);
}
if (byZones.size === 0) throw new Error(`there is no line such as 47|Europe/Oslo in ${path}`);

const prefixes = Object.fromEntries([...byZones].map(([zones, list]) => [zones, list.join(' ')]));
const source = `resources/timezones/map_data.txt of google/libphonenumber ${release}, Apache-2.0, put in order by dev/zone-prefixes.ts`;
writeFileSync(FILE, `${JSON.stringify({ source, prefixes }, null, 2)}\n`);
