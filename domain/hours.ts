/**
 * Calling hours (docs/domain.md, "Calling hours"): when somebody may be called, by the clock on their own wall.
 *
 * - `hoursSchema`, `legalHoursSchema`: what is stored, and which contradictions are refused when it is saved.
 * - `openWindow(rules, at)`: is it open at that instant, and when does that next change, to the millisecond.
 * - `everOpens(rules, from, to)`: would it open at all in that time.
 * - `nextTimeOfDay(time, zone, at)`: when a clock comes to it next.
 *
 * Not for workflows: the zones come from the machine, and change with it.
 */
import { z } from 'zod';
import type { CLOSED_REASONS } from './states.ts';
import { isZone, stretchAt } from './zone-time.ts';

// ---- what is stored -------------------------------------------------------------------------------------------------

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

const TIME = /^([01]\d|2[0-3]):[0-5]\d$/;
const CLOSING_TIME = /^(([01]\d|2[0-3]):[0-5]\d|24:00)$/;
/** Local time from which something is open: `HH:MM`. */
export const openingTime = z
  .string()
  .regex(TIME, { error: 'must be a time from 00:00 to 23:59', abort: true })
  .meta({ examples: ['09:00'] });
/** Local time until which something is open: `HH:MM`, or `24:00`. */
export const closingTime = z
  .string()
  .regex(CLOSING_TIME, { error: 'must be a time from 00:00 to 24:00', abort: true })
  .describe('Before `from`: it runs into the next day, and belongs to the day on which it begins')
  .meta({ examples: ['20:00'] });

const date = z.iso.date({ error: 'must be a date such as 2026-12-24', abort: true });

const periodFields = { from: openingTime, to: closingTime };
const SAME = 'is the same as from, so nothing is ever open: for a whole day say 00:00 to 24:00';
const opens = ({ from, to }: { from: string; to: string }) => from !== to;

const period = z
  .strictObject({ days: z.array(z.enum(WEEKDAYS)).min(1, { error: 'must name at least one day', abort: true }), ...periodFields })
  .refine(opens, { path: ['to'], error: SAME });

const holiday = z.strictObject({
  date: date.describe('Local date'),
  periods: z
    .array(z.strictObject(periodFields).refine(opens, { path: ['to'], error: SAME }))
    .max(20)
    .default([])
    .describe('What is open on that day all the same; empty: nothing'),
});

const common = {
  periods: z
    .array(period)
    .min(1, { error: 'must have at least one period', abort: true })
    .max(100)
    .describe('Periods of the week; those that overlap count as one'),
  holidays: z
    .array(holiday)
    .max(1000)
    .default([])
    .superRefine((holidays, context) => {
      const seen = new Set<string>();
      for (const [i, { date }] of holidays.entries()) {
        if (seen.has(date)) context.addIssue({ code: 'custom', path: [i, 'date'], message: 'is there twice' });
        seen.add(date);
      }
    })
    .describe('Dates with hours of their own'),
};

/** Hours of a campaign. Dates and times are of the contact's place. */
export const hoursSchema = z
  .strictObject({
    ...common,
    from_date: date.nullable().default(null).describe('First local date of the season; null: any'),
    to_date: date.nullable().default(null).describe('Last local date of the season, inclusive; null: none'),
  })
  .superRefine(refuseContradictions);
/** Legal hours of a country: the same without a season. */
export const legalHoursSchema = z.strictObject(common);

export type Hours = z.output<typeof hoursSchema>;
export type LegalHours = z.output<typeof legalHoursSchema>;

/** What is well-formed and never opens is a mistake of whoever wrote it. */
function refuseContradictions(hours: Hours, context: z.RefinementCtx): void {
  const { from_date, to_date, periods } = hours;
  if (from_date === null || to_date === null) return;
  const refuse = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message });
  const first = dayNumber(from_date);
  const last = dayNumber(to_date);
  if (first > last) return refuse(['to_date'], `is before from_date, ${from_date}`);
  for (const [i, { days }] of periods.entries()) {
    const occurs = days.some((day) => first + ((WEEKDAYS.indexOf(day) - weekdayOf(first) + 7) % 7) <= last);
    if (!occurs) refuse(['periods', i, 'days'], `never comes from ${from_date} to ${to_date}`);
  }
  const compiled = compile(hours);
  // Only holidays close whole days, so this ends soon.
  for (let day = first; day <= last; day++) if (beginning(compiled, day).heads.length > 0) return;
  refuse(['periods'], `open on no day from ${from_date} to ${to_date}: all are holidays`);
}

// ---- the question and its answers -----------------------------------------------------------------------------------

export interface CallingRules {
  /** The campaign's rule `hours`; null: no periods of its own. */
  campaign: Hours | null;
  /** Of the contact's country, else of `*`. Nothing overrides them. */
  legal: LegalHours;
  /** IANA zones of the contact (`placeOf` of domain/zones.ts): open only when open in all of them. */
  zones: readonly string[];
  /** The contact's own, local `HH:MM`; earliest after latest: over midnight. Null: no wish. */
  earliest: string | null;
  /** Excluded, as the end of any period; may be `24:00`. */
  latest: string | null;
}

export type ClosedReason = (typeof CLOSED_REASONS)[number];

export interface Open {
  /** Epoch ms of the first instant at which it is closed again; a year from now if it does not close before. */
  openUntil: number;
}
export interface Closed {
  /** Epoch ms of the first instant at which it is open; null: not within a year. */
  opensAt: number | null;
  /** Why not now. */
  reason: ClosedReason;
  /** Whose rule that is; null for the zone. */
  by: 'legal' | 'campaign' | 'contact' | null;
  /** In which of the zones; null: there is none. */
  zone: string | null;
}
export type Window = Open | Closed;

export const isOpen = (window: Window): window is Open => 'openUntil' in window;

const MINUTE = 60_000;
const DAY = 86_400_000;
/** How far it looks, in ms: a leap year. */
const HORIZON = 366 * DAY;

/**
 * Whether somebody may be called at `at` (epoch ms). What can't be read is closed, for good, with the reason: it never
 * throws. The wall clock alone decides: an hour that comes twice (summer time ends) is open twice or not at all, one that is
 * left out is not open.
 */
export function openWindow(rules: CallingRules, at: number): Window {
  let by: Closed['by'] = null;
  try {
    const unknown = rules.zones.find((zone) => !isZone(zone));
    if (unknown !== undefined || rules.zones.length === 0) return closedForGood('unknown_zone', null, unknown);
    by = 'legal';
    const legal = compiled(legalHoursSchema, rules.legal);
    by = 'campaign';
    const campaign = rules.campaign === null ? null : compiled(hoursSchema, rules.campaign);
    by = 'contact';
    const contact = contactIntervals(rules.earliest, rules.latest);
    by = null;
    return windowOf({ legal, campaign, contact }, rules.zones, at);
  } catch {
    return closedForGood('unreadable_rule', by);
  }
}

/** Whether there is an instant in [from, to), epoch ms, at which it is open. */
export function everOpens(rules: CallingRules, from: number, to: number): boolean {
  for (let at = from; at < to; at += HORIZON) {
    const window = openWindow(rules, at);
    if (isOpen(window)) return true;
    if (window.opensAt !== null) return window.opensAt < to;
  }
  return false;
}

/** The next instant after `at` (epoch ms) at which a zone's wall clock comes to a time of day; null for what can't be read. */
export function nextTimeOfDay(time: string, zone: string, at: number): number | null {
  const minute = { days: [...WEEKDAYS], from: time, to: time === '23:59' ? '24:00' : clock(minuteOf(time) + 1) };
  const rules = { campaign: null, legal: { periods: [minute], holidays: [] }, zones: [zone], earliest: null, latest: null };
  const now = openWindow(rules, at);
  const next = isOpen(now) ? openWindow(rules, now.openUntil) : now;
  return isOpen(next) ? null : next.opensAt;
}

const clock = (minutes: number): string =>
  [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':');

const closedForGood = (reason: ClosedReason, by: Closed['by'], zone: string | null = null): Closed => ({
  opensAt: null,
  reason,
  by,
  zone,
});

// ---- days -----------------------------------------------------------------------------------------------------------

/** [from, to) in minutes of a day. Lists of them are sorted and do not touch. */
type Interval = readonly [from: number, to: number];

/** What begins on a day: its own part, and what of it runs into the next. */
interface Beginning {
  heads: readonly Interval[];
  tails: readonly Interval[];
}
const NOTHING: Beginning = { heads: [], tails: [] };
const WHOLE_DAY = 1440;

/** Hours made ready for asking. Days are counted from 1 January 1970. */
interface Compiled {
  first: number;
  last: number;
  /** From Monday on. */
  week: Beginning[];
  /** What is open on each weekday when neither it nor the day before is anything special. */
  usual: (readonly Interval[])[];
  holidays: Map<number, Beginning>;
}

interface Rules {
  legal: Compiled;
  campaign: Compiled | null;
  contact: readonly Interval[];
}

const dayNumber = (date: string): number => Date.parse(date) / DAY;
/** 0 is Monday: 1 January 1970 was a Thursday. */
const weekdayOf = (day: number): number => (((day + 3) % 7) + 7) % 7;
const minuteOf = (time: string): number => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** Rules are read from the database as one object for many contacts: each is made ready once. */
const ready = new WeakMap<object, Compiled>();

function compiled(schema: z.ZodType<Hours | LegalHours>, stored: Hours | LegalHours): Compiled {
  let rule = ready.get(stored);
  if (!rule) ready.set(stored, (rule = compile(schema.parse(stored))));
  return rule;
}

function compile(hours: Hours | LegalHours): Compiled {
  const { from_date = null, to_date = null } = hours as Partial<Hours>;
  const week = WEEKDAYS.map((day) => beginningOf(hours.periods.filter(({ days }) => days.includes(day))));
  return {
    first: from_date === null ? -Infinity : dayNumber(from_date),
    last: to_date === null ? Infinity : dayNumber(to_date),
    week,
    usual: week.map(({ heads }, day) => union([...heads, ...week[(day + 6) % 7]!.tails])),
    holidays: new Map(hours.holidays.map(({ date, periods }) => [dayNumber(date), beginningOf(periods)])),
  };
}

function beginningOf(periods: { from: string; to: string }[]): Beginning {
  const heads: Interval[] = [];
  const tails: Interval[] = [];
  for (const { from, to } of periods) {
    const [opens, closes] = [minuteOf(from), minuteOf(to)];
    heads.push([opens, closes > opens ? closes : WHOLE_DAY]);
    if (closes < opens && closes > 0) tails.push([0, closes]);
  }
  return { heads: union(heads), tails: union(tails) };
}

/** What begins on a day: nothing out of season; a holiday's own periods in place of the weekday's. */
function beginning({ first, last, holidays, week }: Compiled, day: number): Beginning {
  if (day < first || day > last) return NOTHING;
  return holidays.get(day) ?? week[weekdayOf(day)]!;
}

/** What is open on a day. Into a holiday nothing runs from the day before. */
function openOn(rule: Compiled, day: number): readonly Interval[] {
  const { first, last, holidays, usual } = rule;
  const isUsual = day > first && day <= last && !holidays.has(day) && !holidays.has(day - 1);
  if (isUsual) return usual[weekdayOf(day)]!;
  const { heads } = beginning(rule, day);
  return holidays.has(day) ? heads : union([...heads, ...beginning(rule, day - 1).tails]);
}

function contactIntervals(earliest: string | null, latest: string | null): readonly Interval[] {
  const from = openingTime.parse(earliest ?? '00:00');
  const to = closingTime.parse(latest ?? '24:00');
  if (from === to) throw new RangeError(SAME);
  const { heads, tails } = beginningOf([{ from, to }]);
  return union([...heads, ...tails]);
}

function union(intervals: Interval[]): readonly Interval[] {
  const merged: [number, number][] = [];
  for (const [from, to] of intervals.toSorted((a, b) => a[0] - b[0])) {
    const before = merged.at(-1);
    if (before && from <= before[1]) before[1] = Math.max(before[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function intersection(a: readonly Interval[], b: readonly Interval[]): readonly Interval[] {
  const both: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [one, other] = [a[i]!, b[j]!];
    const [from, to] = [Math.max(one[0], other[0]), Math.min(one[1], other[1])];
    if (from < to) both.push([from, to]);
    if (one[1] < other[1]) i++;
    else j++;
  }
  return both;
}

function openOnAll({ legal, campaign, contact }: Rules, day: number): readonly Interval[] {
  const lawful = intersection(openOn(legal, day), contact);
  return campaign === null ? lawful : intersection(lawful, openOn(campaign, day));
}

// ---- time -----------------------------------------------------------------------------------------------------------

/** Open time, [from, to) in epoch ms. */
interface Span {
  from: number;
  to: number;
}

function windowOf(rules: Rules, zones: readonly string[], at: number): Window {
  if (!Number.isFinite(at)) throw new RangeError('no such time');
  const end = at + HORIZON;
  const span = nextSpan(rules, zones, at, end);
  if (span?.from !== at) return { opensAt: span?.from ?? null, ...whyClosed(rules, zones, at) };
  return { openUntil: span.to };
}

/** The next time, `at` included, at which it is open in all zones. */
function nextSpan(rules: Rules, zones: readonly string[], at: number, end: number): Span | null {
  const spans = new Map<string, Span>();
  for (;;) {
    let common: Span = { from: at, to: end };
    for (const zone of zones) {
      let span = spans.get(zone);
      if (!span || span.to <= at) {
        const next = nextSpanIn(rules, zone, at, end);
        if (next === null) return null;
        spans.set(zone, (span = next));
      }
      common = { from: Math.max(common.from, span.from), to: Math.min(common.to, span.to) };
    }
    if (common.from < common.to) return common;
    at = common.from;
  }
}

/** The same in one zone: days of its wall clock, stretch by stretch, put together where they touch. */
function nextSpanIn(rules: Rules, zone: string, at: number, end: number): Span | null {
  let found: Span | null = null;
  for (let from = at; from < end; ) {
    const { to: stretchEnd, offset } = stretchAt(zone, from);
    const until = Math.min(stretchEnd, end);
    for (let day = Math.floor((from + offset) / DAY); day * DAY - offset < until; day++) {
      const midnight = day * DAY - offset;
      for (const [opens, closes] of openOnAll(rules, day)) {
        const span = { from: Math.max(midnight + opens * MINUTE, from), to: Math.min(midnight + closes * MINUTE, until) };
        if (span.from >= span.to) continue;
        if (found === null) found = span;
        else if (span.from === found.to) found.to = span.to;
        else return found;
      }
      if (found !== null && found.to < midnight + DAY && found.to < until) return found;
    }
    from = until;
  }
  return found;
}

/** Of all that closes it at `at`, what lasts longest; the law before the campaign, the campaign before the contact. */
function whyClosed({ legal, campaign, contact }: Rules, zones: readonly string[], at: number): Omit<Closed, 'opensAt'> {
  const closed: Omit<Closed, 'opensAt'>[] = [];
  for (const zone of zones) {
    const wall = at + stretchAt(zone, at).offset;
    const day = Math.floor(wall / DAY);
    const minute = (wall - day * DAY) / MINUTE;
    const note = (by: 'legal' | 'campaign', rule: Compiled | null) => {
      if (rule && !contains(openOn(rule, day), minute)) closed.push({ reason: reasonOf(rule, day), by, zone });
    };
    note('legal', legal);
    note('campaign', campaign);
    if (!contains(contact, minute)) closed.push({ reason: 'outside_hours', by: 'contact', zone });
  }
  const order = ['out_of_season', 'holiday', 'outside_hours'];
  return closed.toSorted((a, b) => order.indexOf(a.reason) - order.indexOf(b.reason))[0]!;
}

const contains = (intervals: readonly Interval[], minute: number): boolean =>
  intervals.some(([from, to]) => from <= minute && minute < to);

function reasonOf({ first, last, holidays }: Compiled, day: number): ClosedReason {
  if (day < first || day > last) return 'out_of_season';
  return holidays.has(day) ? 'holiday' : 'outside_hours';
}
