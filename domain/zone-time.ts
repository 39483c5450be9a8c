/** Clocks on walls: what an IANA zone's clock shows at an instant, exact at both ends of summer time. */
import { tzOffset } from '@date-fns/tz';

const SECOND = 1_000;
const DAY = 86_400 * SECOND;

/** A stretch of time in which a zone's clock stands at one distance from UTC. All in ms. */
export interface Stretch {
  from: number;
  /** Excluded. */
  to: number;
  /** Wall clock minus UTC. */
  offset: number;
}

/** Zones that were asked for, by year. The zone data of the running Node does not change. */
const known = new Map<string, Map<number, Stretch[]>>();

/**
 * Whether Node knows the IANA zone. An offset such as `+01:00` is no zone: it has no summer. Node is asked itself, since the
 * library reads an offset out of any name that has one.
 */
export function isZone(zone: string): boolean {
  if (known.has(zone)) return true;
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    return false;
  }
  known.set(zone, new Map());
  return true;
}

/** The stretch in which an instant (epoch ms) lies; one that goes on over New Year (UTC) is cut there. */
export function stretchAt(zone: string, at: number): Stretch {
  const stretches = stretchesOf(zone, new Date(at).getUTCFullYear());
  for (const stretch of stretches) if (at < stretch.to) return stretch;
  throw new RangeError(`no time ${at} in ${zone}`);
}

/** A winter's and a summer's day, on which clocks that are not the same show it. */
const DAYS = [Date.UTC(2026, 0, 15), Date.UTC(2026, 6, 15)] as const;

/** How far the clocks of zones are apart at most, ms. */
export function apart(zones: readonly string[]): number {
  const distances = DAYS.map((day) => {
    const offsets = zones.map((zone) => stretchAt(zone, day).offset);
    return Math.max(...offsets) - Math.min(...offsets);
  });
  return Math.max(...distances);
}

function stretchesOf(zone: string, year: number): Stretch[] {
  if (!isZone(zone)) throw new RangeError(`no zone ${zone}`);
  const years = known.get(zone)!;
  let stretches = years.get(year);
  if (!stretches) years.set(year, (stretches = measure(zone, year)));
  return stretches;
}

/** Looks once a day: Morocco changed its clocks twice within five weeks. Twice within a day no zone does. */
function measure(zone: string, year: number): Stretch[] {
  const end = Date.UTC(year + 1, 0, 1);
  let current: Stretch = { from: Date.UTC(year, 0, 1), to: end, offset: offsetAt(zone, Date.UTC(year, 0, 1)) };
  const stretches = [current];
  for (let day = current.from; day < end; day += DAY) {
    const offset = offsetAt(zone, day + DAY);
    if (offset === current.offset) continue;
    current.to = firstWith(zone, offset, day, day + DAY);
    if (current.to >= end) break;
    current = { from: current.to, to: end, offset };
    stretches.push(current);
  }
  current.to = end;
  return stretches;
}

/** The first second after `before` at which the offset holds that holds at `after`. */
function firstWith(zone: string, offset: number, before: number, after: number): number {
  let [low, high] = [before / SECOND, after / SECOND];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(zone, middle * SECOND) === offset) high = middle;
    else low = middle;
  }
  return high * SECOND;
}

function offsetAt(zone: string, at: number): number {
  const offset = Math.round(tzOffset(zone, new Date(at)) * 60) * SECOND;
  if (Number.isNaN(offset)) throw new RangeError(`no zone ${zone}, or no time ${at}`);
  return offset;
}
