/** Calling hours: examples of each rule, and random ones against an oracle that looks at the clock minute by minute. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CallingRules,
  everOpens,
  type Hours,
  hoursSchema,
  isOpen,
  type LegalHours,
  legalHoursSchema,
  nextTimeOfDay,
  openWindow,
  WEEKDAYS,
} from '../../domain/hours.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const all = [...WEEKDAYS];
const always: LegalHours = legalHoursSchema.parse({ periods: [{ days: all, from: '00:00', to: '24:00' }] });
const daily = (from: string, to: string, more: object = {}): Hours =>
  hoursSchema.parse({ periods: [{ days: all, from, to }], ...more });
const law = (from: string, to: string, holidays: object[] = []): LegalHours =>
  legalHoursSchema.parse({ periods: [{ days: all, from, to }], holidays });

const rules = (more: Partial<CallingRules> = {}): CallingRules => ({
  campaign: null,
  legal: always,
  zones: ['Europe/Oslo'],
  earliest: null,
  latest: null,
  ...more,
});

/** `open until …`, `holiday until …`, `unknown_zone for good`; times in UTC. */
function told(asked: CallingRules, at: string): string {
  const window = openWindow(asked, Date.parse(at));
  const iso = (ms: number) => new Date(ms).toISOString().replace(/:00\.000Z$/, 'Z');
  if (isOpen(window)) return `open until ${iso(window.openUntil)}`;
  return `${window.reason} ${window.opensAt === null ? 'for good' : `until ${iso(window.opensAt)}`}`;
}

describe('periods', () => {
  const office = rules({
    campaign: hoursSchema.parse({
      periods: [
        { days: ['mon', 'tue', 'wed', 'thu'], from: '09:00', to: '12:00' },
        { days: ['mon', 'tue', 'wed', 'thu'], from: '13:00', to: '20:00' },
        { days: ['fri'], from: '09:00', to: '15:30' },
      ],
    }),
  });

  test.each([
    ['2026-12-01T07:59:59.999Z', 'outside_hours until 2026-12-01T08:00Z'],
    ['2026-12-01T08:00Z', 'open until 2026-12-01T11:00Z'],
    ['2026-12-01T10:59:59.999Z', 'open until 2026-12-01T11:00Z'],
    ['2026-12-01T11:00Z', 'outside_hours until 2026-12-01T12:00Z'],
    // Friday closes early, and opens again on Monday.
    ['2026-12-04T14:29Z', 'open until 2026-12-04T14:30Z'],
    ['2026-12-04T14:30Z', 'outside_hours until 2026-12-07T08:00Z'],
    // In summer the same wall clock is an hour earlier by UTC.
    ['2026-07-01T06:30Z', 'outside_hours until 2026-07-01T07:00Z'],
  ])('at %s: %s', (at, answer) => expect(told(office, at)).toBe(answer));

  test('that overlap or touch count as one', () => {
    const campaign = hoursSchema.parse({
      periods: [
        { days: ['tue'], from: '09:00', to: '12:00' },
        { days: ['mon', 'tue'], from: '11:00', to: '13:00' },
        { days: ['tue'], from: '13:00', to: '24:00' },
        { days: ['wed'], from: '00:00', to: '01:00' },
      ],
    });
    expect(told(rules({ campaign }), '2026-12-01T09:00Z')).toBe('open until 2026-12-02T00:00Z');
  });

  test('over midnight belong to the day on which they begin', () => {
    const campaign = hoursSchema.parse({ periods: [{ days: ['fri'], from: '20:00', to: '02:00' }] });
    expect(told(rules({ campaign }), '2026-12-04T19:00Z')).toBe('open until 2026-12-05T01:00Z');
    expect(told(rules({ campaign }), '2026-12-05T00:30Z')).toBe('open until 2026-12-05T01:00Z');
    expect(told(rules({ campaign }), '2026-12-04T00:30Z')).toBe('outside_hours until 2026-12-04T19:00Z');
  });

  test('that never close are open for as long as it looks, those that never meet are closed for good', () => {
    expect(told(rules(), '2026-12-01T00:00Z')).toBe('open until 2027-12-02T00:00Z');
    const never = rules({ campaign: daily('06:00', '08:00'), legal: law('08:00', '21:00') });
    expect(told(never, '2026-12-01T06:00Z')).toBe('outside_hours for good');
    expect(told(rules({ zones: ['Asia/Tokyo', 'America/New_York'], legal: law('08:00', '18:00') }), '2026-12-01T06:00Z')).toBe(
      'outside_hours for good',
    );
  });
});

describe('holidays', () => {
  const holidays = [{ date: '2026-12-24', periods: [{ from: '10:00', to: '12:00' }] }, { date: '2026-12-25' }];

  test.each([
    ['2026-12-24T08:30Z', 'holiday until 2026-12-24T09:00Z'],
    ['2026-12-24T09:00Z', 'open until 2026-12-24T11:00Z'],
    ['2026-12-24T11:00Z', 'holiday until 2026-12-26T08:00Z'],
    ['2026-12-25T12:00Z', 'holiday until 2026-12-26T08:00Z'],
  ])('at %s: %s', (at, answer) => {
    expect(told(rules({ campaign: daily('09:00', '20:00', { holidays }) }), at)).toBe(answer);
    expect(told(rules({ legal: law('09:00', '20:00', holidays) }), at)).toBe(answer);
  });

  test('nothing runs into one from the day before; what begins on one runs on', () => {
    const night = (...dates: object[]) => rules({ campaign: daily('20:00', '02:00', { holidays: dates }) });
    const closed = night({ date: '2026-12-25' });
    expect(told(closed, '2026-12-24T22:00Z')).toBe('open until 2026-12-24T23:00Z');
    expect(told(closed, '2026-12-24T23:00Z')).toBe('holiday until 2026-12-26T19:00Z');
    const own = night({ date: '2026-12-25', periods: [{ from: '22:00', to: '04:00' }] });
    expect(told(own, '2026-12-24T23:00Z')).toBe('holiday until 2026-12-25T21:00Z');
    expect(told(own, '2026-12-25T22:00Z')).toBe('open until 2026-12-26T03:00Z');
  });
});

describe('the season', () => {
  const season = (from: string, to: string) => rules({ campaign: daily(from, to, { from_date: '2026-12-01', to_date: '2026-12-03' }) });

  test.each([
    ['2026-11-30T12:00Z', 'out_of_season until 2026-12-01T08:00Z'],
    ['2026-12-03T18:00Z', 'open until 2026-12-03T19:00Z'],
    ['2026-12-03T19:00Z', 'outside_hours for good'],
    ['2026-12-04T12:00Z', 'out_of_season for good'],
    ['2024-11-30T12:00Z', 'out_of_season for good'],
  ])('at %s: %s', (at, answer) => expect(told(season('09:00', '20:00'), at)).toBe(answer));

  test('its last night runs on, the night before it does not', () => {
    expect(told(season('20:00', '02:00'), '2026-12-03T23:30Z')).toBe('open until 2026-12-04T01:00Z');
    expect(told(season('20:00', '02:00'), '2026-12-01T00:30Z')).toBe('outside_hours until 2026-12-01T19:00Z');
  });
});

describe("the contact's own hours", () => {
  test.each([
    ['10:00', '16:00', '2026-12-01T08:59Z', 'outside_hours until 2026-12-01T09:00Z'],
    ['10:00', '16:00', '2026-12-01T09:00Z', 'open until 2026-12-01T15:00Z'],
    [null, '10:00', '2026-12-01T08:00Z', 'open until 2026-12-01T09:00Z'],
    ['19:00', null, '2026-12-01T18:00Z', 'open until 2026-12-01T19:00Z'],
    // Over midnight: an evening and a morning, within the campaign's day.
    ['19:00', '10:00', '2026-12-01T09:00Z', 'outside_hours until 2026-12-01T18:00Z'],
    ['19:00', '10:00', '2026-12-01T08:00Z', 'open until 2026-12-01T09:00Z'],
    ['10:00', '24:00', '2026-12-01T18:30Z', 'open until 2026-12-01T19:00Z'],
    ['21:00', '22:00', '2026-12-01T18:30Z', 'outside_hours for good'],
  ])('%s to %s, at %s: %s', (earliest, latest, at, answer) => {
    expect(told(rules({ campaign: daily('09:00', '20:00'), earliest, latest }), at)).toBe(answer);
  });
});

test('who closes it is told: what lasts longest, the law first', () => {
  const why = (more: Partial<CallingRules>) => {
    const window = openWindow(rules(more), Date.parse('2026-12-25T02:00Z'));
    return isOpen(window) ? 'open' : `${window.by} ${window.reason} ${window.zone}`;
  };
  const campaign = daily('09:00', '20:00');
  const legal = law('08:00', '21:00');
  expect(why({ campaign })).toBe('campaign outside_hours Europe/Oslo');
  expect(why({ campaign, legal })).toBe('legal outside_hours Europe/Oslo');
  expect(why({ earliest: '10:00' })).toBe('contact outside_hours Europe/Oslo');
  expect(why({ campaign: daily('09:00', '20:00', { holidays: [{ date: '2026-12-25' }] }), legal })).toBe(
    'campaign holiday Europe/Oslo',
  );
  expect(why({ campaign: { ...campaign, to_date: '2026-12-24' }, legal: law('08:00', '21:00', [{ date: '2026-12-25' }]) })).toBe(
    'campaign out_of_season Europe/Oslo',
  );
  expect(why({ legal, zones: ['Asia/Tokyo', 'Europe/Oslo'] })).toBe('legal outside_hours Europe/Oslo');
});

describe('when the clocks change', () => {
  // Oslo: on 29 March 2026 02:00 becomes 03:00 (01:00 UTC), on 25 October 03:00 becomes 02:00 (01:00 UTC).
  test.each([
    ['an hour left out within: that much shorter', '00:00', '04:00', '2026-03-29T00:00Z', 'open until 2026-03-29T02:00Z'],
    ['beginning in the hour left out: from the hour after', '02:30', '04:00', '2026-03-29T00:59Z', 'outside_hours until 2026-03-29T01:00Z'],
    ['ending in the hour left out: where it is left out', '00:00', '02:30', '2026-03-29T00:00Z', 'open until 2026-03-29T01:00Z'],
    ['all of it left out: not on that day', '02:15', '02:45', '2026-03-29T00:00Z', 'outside_hours until 2026-03-30T00:15Z'],
    ['the hour that comes twice within: that much longer', '00:00', '04:00', '2026-10-24T22:00Z', 'open until 2026-10-25T03:00Z'],
    ['ending in the hour that comes twice: once', '00:00', '02:30', '2026-10-25T00:00Z', 'open until 2026-10-25T00:30Z'],
    ['… closed until its clock comes back', '00:00', '02:30', '2026-10-25T00:30Z', 'outside_hours until 2026-10-25T01:00Z'],
    ['… and twice', '00:00', '02:30', '2026-10-25T01:00Z', 'open until 2026-10-25T01:30Z'],
    ['beginning in it: closed again in between', '02:30', '08:00', '2026-10-25T00:30Z', 'open until 2026-10-25T01:00Z'],
    ['… until it begins once more', '02:30', '08:00', '2026-10-25T01:00Z', 'outside_hours until 2026-10-25T01:30Z'],
    ['over midnight into it', '22:00', '02:00', '2026-10-24T21:00Z', 'open until 2026-10-25T00:00Z'],
  ])('%s', (_what, from, to, at, answer) => expect(told(rules({ campaign: daily(from, to) }), at)).toBe(answer));

  test('by half an hour, in Lord Howe', () => {
    // On 5 April 2026 02:00 becomes 01:30 (4 April 15:00 UTC).
    const howe = rules({ zones: ['Australia/Lord_Howe'], campaign: daily('01:45', '03:00') });
    expect(told(howe, '2026-04-04T14:45Z')).toBe('open until 2026-04-04T15:00Z');
    expect(told(howe, '2026-04-04T15:00Z')).toBe('outside_hours until 2026-04-04T15:15Z');
  });

  test('by a whole day, as Samoa had none of 30 December 2011', () => {
    const apia = rules({ zones: ['Pacific/Apia'], campaign: hoursSchema.parse({ periods: [{ days: ['fri'], from: '09:00', to: '12:00' }] }) });
    expect(told(apia, '2011-12-30T00:00Z')).toBe('outside_hours until 2012-01-05T19:00Z');
  });
});

describe('fails closed', () => {
  test.each([[['Mars/Olympus']], [['']], [['+01:00']], [['Europe/Oslo', 'Europe/Olso']], [['__proto__']]])('in the zones %j', (zones) => {
    expect(openWindow(rules({ zones }), 0)).toEqual({ opensAt: null, reason: 'unknown_zone', by: null, zone: zones.at(-1) });
  });

  test('in no zone', () => {
    expect(openWindow(rules({ zones: [] }), 0)).toEqual({ opensAt: null, reason: 'unknown_zone', by: null, zone: null });
  });

  test.each<[string, object]>([
    ['legal', { legal: undefined }],
    ['legal', { legal: null }],
    ['legal', { legal: { periods: [] } }],
    ['legal', { legal: { ...always, only_on_even_weeks: true } }],
    ['legal', { legal: { ...always, from_date: '2026-01-01' } }],
    ['campaign', { campaign: {} }],
    ['campaign', { campaign: 'always' }],
    ['campaign', { campaign: { ...daily('09:00', '20:00'), from_date: 'soon' } }],
    ['campaign', { campaign: { periods: [{ days: all, from: '09:00', to: '25:00' }] } }],
    ['contact', { earliest: '9' }],
    ['contact', { earliest: '10:00', latest: '10:00' }],
  ])('on what the %s says in a way that is not known: %j', (by, more) => {
    const window = openWindow({ ...rules(), ...more }, 0);
    expect(window).toEqual({ opensAt: null, reason: 'unreadable_rule', by, zone: null });
  });

  test('on whatever it is given', () => {
    const anything = fc.record({ campaign: fc.anything(), legal: fc.anything(), zones: fc.anything(), earliest: fc.anything(), latest: fc.anything() });
    fc.assert(fc.property(fc.oneof(anything, fc.anything()), fc.anything(), (given, at) => !isOpen(openWindow(given as CallingRules, at as number))));
    for (const at of [Number.NaN, Infinity, 9e15, '2026', undefined]) {
      expect(openWindow(rules(), at as number)).toEqual({ opensAt: null, reason: 'unreadable_rule', by: null, zone: null });
    }
  });
});

describe('what is refused when it is saved', () => {
  const mon = (more: object = {}) => ({ days: ['mon'], from: '09:00', to: '20:00', ...more });

  test.each<[string, object, string]>([
    ['periods', {}, 'Invalid input: expected array, received undefined'],
    ['periods', { periods: [] }, 'must have at least one period'],
    ['periods.0.days', { periods: [mon({ days: [] })] }, 'must name at least one day'],
    ['periods.0.from', { periods: [mon({ from: '9:00' })] }, 'must be a time from 00:00 to 23:59'],
    ['periods.0.from', { periods: [mon({ from: '24:00' })] }, 'must be a time from 00:00 to 23:59'],
    ['periods.0.to', { periods: [mon({ to: '24:01' })] }, 'must be a time from 00:00 to 24:00'],
    ['periods.1.to', { periods: [mon(), mon({ to: '09:00' })] }, 'is the same as from, so nothing is ever open: for a whole day say 00:00 to 24:00'],
    ['from_date', { periods: [mon()], from_date: '2026-02-30' }, 'must be a date such as 2026-12-24'],
    ['to_date', { periods: [mon()], from_date: '2026-12-02', to_date: '2026-12-01' }, 'is before from_date, 2026-12-02'],
    ['periods.1.days', { periods: [mon(), mon({ days: ['sat', 'sun'] })], from_date: '2026-11-30', to_date: '2026-12-04' }, 'never comes from 2026-11-30 to 2026-12-04'],
    ['periods', { periods: [mon()], from_date: '2026-12-01', to_date: '2026-12-08', holidays: [{ date: '2026-12-07' }] }, 'open on no day from 2026-12-01 to 2026-12-08: all are holidays'],
    ['holidays.1.date', { periods: [mon()], holidays: [{ date: '2026-12-25' }, { date: '2026-12-25', periods: [] }] }, 'is there twice'],
    ['holidays.0.periods.0.to', { periods: [mon()], holidays: [{ date: '2026-12-25', periods: [{ from: '10:00', to: '10:00' }] }] }, 'is the same as from, so nothing is ever open: for a whole day say 00:00 to 24:00'],
  ])('%s of %j', (path, hours, reason) => {
    const { error } = hoursSchema.safeParse(hours);
    expect(error?.issues.map((issue) => [issue.path.join('.'), issue.message])).toEqual([[path, reason]]);
  });

  test.each<[string, object]>([
    ['a day that comes just once', { periods: [mon()], from_date: '2026-11-30', to_date: '2026-11-30' }],
    ['a season of holidays with hours of their own', { periods: [mon()], from_date: '2026-12-01', to_date: '2026-12-08', holidays: [{ date: '2026-12-07', periods: [{ from: '10:00', to: '11:00' }] }] }],
    ['half a season', { periods: [mon()], from_date: '2026-12-01' }],
    ['to midnight and over it', { periods: [mon({ to: '24:00' }), mon({ to: '00:00' }), mon({ to: '08:59' })] }],
  ])('but not %s', (_what, hours) => expect(hoursSchema.safeParse(hours).error).toBeUndefined());

  test('legal hours have no season', () => {
    const { error } = legalHoursSchema.safeParse({ periods: [mon()], from_date: '2026-12-01' });
    expect(error?.issues[0]).toMatchObject({ code: 'unrecognized_keys', keys: ['from_date'] });
  });
});

// ---- random rules against the clock on the wall ---------------------------------------------------------------------

interface Wall {
  date: string;
  time: string;
}

const clocks = new Map<string, Intl.DateTimeFormat>();

/** What a wall clock shows, as Node's calendar says it. */
function wallAt(zone: string, at: number): Wall {
  let clock = clocks.get(zone);
  if (!clock) clocks.set(zone, (clock = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'short' })));
  const [date, time] = clock.format(at).split(' ') as [string, string];
  return { date, time };
}

const dayBefore = (date: string): string => new Date(Date.parse(date) - DAY).toISOString().slice(0, 10);
const weekday = (date: string) => WEEKDAYS[(new Date(date).getUTCDay() + 6) % 7]!;

function opensBy(hours: Partial<Hours> & LegalHours, { date, time }: Wall): boolean {
  const isHoliday = (day: string) => hours.holidays.find((holiday) => holiday.date === day);
  const begin = (day: string) => {
    if (hours.from_date && day < hours.from_date) return [];
    if (hours.to_date && day > hours.to_date) return [];
    return isHoliday(day)?.periods ?? hours.periods.filter(({ days }) => days.includes(weekday(day)));
  };
  const today = begin(date).some(({ from, to }) => from <= time && (to < from || time < to));
  return today || (!isHoliday(date) && begin(dayBefore(date)).some(({ from, to }) => to < from && time < to));
}

function oracle({ campaign, legal, zones, earliest, latest }: CallingRules, at: number): boolean {
  return zones.every((zone) => {
    const wall = wallAt(zone, at);
    const [from, to] = [earliest ?? '00:00', latest ?? '24:00'];
    const wanted = from < to ? from <= wall.time && wall.time < to : from <= wall.time || wall.time < to;
    return wanted && opensBy(legal, wall) && (campaign === null || opensBy(campaign, wall));
  });
}

/** Clocks of every kind, and instants around which some of them change. */
const ZONES = ['Europe/Oslo', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/St_Johns', 'Africa/Casablanca', 'Pacific/Apia', 'Europe/Dublin', 'UTC', 'Pacific/Chatham', 'America/New_York'];
const CHANGES = ['2026-03-29T01:00Z', '2026-10-25T01:00Z', '2026-04-04T15:00Z', '2026-10-03T15:30Z', '2026-03-08T05:30Z', '2025-02-23T02:00Z', '2025-04-06T02:00Z', '2011-12-30T10:00Z', '2026-12-31T23:00Z', '2028-02-29T00:00Z'];

const two = (n: number) => String(n).padStart(2, '0');
const quarter = (max: number) => fc.integer({ min: 0, max }).map((n) => `${two(Math.floor(n / 4))}:${two((n % 4) * 15)}`);
const opening = fc.oneof(quarter(95), fc.constantFrom('00:00', '23:59', '02:30'));
const closing = fc.oneof(quarter(96), fc.constantFrom('24:00', '00:00', '00:01', '02:30'));
const times = fc.record({ from: opening, to: closing }).filter(({ from, to }) => from !== to);
const periods = (max: number) =>
  fc.array(fc.tuple(fc.subarray(all, { minLength: 1 }), times).map(([days, time]) => ({ days, ...time })), { minLength: 1, maxLength: max });

const instant = fc
  .tuple(fc.constantFrom(...CHANGES), fc.integer({ min: -2 * DAY, max: DAY }))
  .map(([change, apart]) => Date.parse(change) + apart);
const near = (at: number) => fc.integer({ min: -3, max: 4 }).map((days) => new Date(at + days * DAY).toISOString().slice(0, 10));
const holidays = (at: number) =>
  fc.uniqueArray(fc.record({ date: near(at), periods: fc.array(times, { maxLength: 2 }) }), { selector: ({ date }) => date, maxLength: 3 });
const season = (at: number) => fc.tuple(fc.option(near(at)), fc.option(near(at).map((date) => date)));

const asked = instant.chain((at) =>
  fc.record({
    at: fc.constant(at),
    rules: fc.record({
      campaign: fc.option(
        fc.tuple(periods(4), holidays(at), season(at)).map(([week, days, [from_date, to_date]]): Hours => ({ periods: week, holidays: days, from_date, to_date })),
        { freq: 4 },
      ),
      legal: fc.oneof(fc.constant(always), fc.record({ periods: periods(3), holidays: holidays(at) })),
      zones: fc.subarray(ZONES, { minLength: 1, maxLength: 3 }),
      earliest: fc.option(opening, { freq: 1 }),
      latest: fc.option(closing, { freq: 1 }),
    }),
  }),
);
/** As they can have been saved. */
const savable = asked.filter(
  ({ rules: { campaign, earliest, latest } }) =>
    (campaign === null || hoursSchema.safeParse(campaign).success) && (earliest ?? '00:00') !== (latest ?? '24:00'),
);

describe('whatever the rules, zones and time', () => {
  test('it is open when the clocks on all walls say so, and changes exactly when it says', () => {
    fc.assert(
      fc.property(savable, ({ rules: given, at }) => {
        const end = at + DAY;
        for (let from = at; from < end; ) {
          const window = openWindow(given, from);
          const open = isOpen(window);
          const change = open ? window.openUntil : (window.opensAt ?? end);
          expect(change).toBeGreaterThan(from);
          for (let minute = from; minute < Math.min(change, end); minute += MINUTE) {
            if (oracle(given, minute) !== open) expect.fail(`${new Date(minute).toISOString()} is ${open ? 'closed' : 'open'}`);
          }
          if (change >= end) return;
          expect(oracle(given, change - 1)).toBe(open);
          expect(oracle(given, change)).toBe(!open);
          const before = openWindow(given, change - 1);
          expect(isOpen(before)).toBe(open);
          expect(isOpen(before) ? before.openUntil : before.opensAt).toBe(change);
          from = change;
        }
      }),
      { numRuns: 100 },
    );
  }, 30_000);

  test('campaign, law, contact and every zone each have their say, and nobody else', () => {
    fc.assert(
      fc.property(savable, ({ rules: given, at }) => {
        const { campaign, legal, zones, earliest, latest } = given;
        const alone = zones.flatMap((zone) => [rules({ zones: [zone], campaign }), rules({ zones: [zone], legal }), rules({ zones: [zone], earliest, latest })]);
        const windows = alone.map((part) => openWindow(part, at));
        const together = openWindow(given, at);
        expect(isOpen(together)).toBe(windows.every(isOpen));
        if (isOpen(together)) expect(together.openUntil).toBe(Math.min(...windows.filter(isOpen).map(({ openUntil }) => openUntil)));
        else if (together.opensAt !== null) {
          for (const part of alone) expect(isOpen(openWindow(part, together.opensAt))).toBe(true);
        } else {
          expect(everOpens(given, at, at + 30 * DAY)).toBe(false);
        }
      }),
    );
  });

  test('it ever opens if some minute of the time is open', () => {
    fc.assert(
      fc.property(savable, fc.integer({ min: 1, max: 36 * 60 }), ({ rules: given, at }, minutes) => {
        const to = at + minutes * MINUTE;
        let some = oracle(given, at);
        // A change falls on a whole minute.
        for (let minute = Math.ceil(at / MINUTE) * MINUTE; minute < to && !some; minute += MINUTE) some = oracle(given, minute);
        expect(everOpens(given, at, to)).toBe(some);
      }),
    );
  });
});

test('it ever opens: also beyond a year, and not at the end itself', () => {
  const campaign = daily('09:00', '20:00', { from_date: '2028-06-01' });
  const from = Date.parse('2026-01-01');
  const opens = Date.parse('2028-06-01T07:00Z');
  expect(everOpens(rules({ campaign }), from, opens)).toBe(false);
  expect(everOpens(rules({ campaign }), from, opens + 1)).toBe(true);
  expect(everOpens(rules({ campaign }), opens, opens)).toBe(false);
});

test.each([
  ['18:00', 'Europe/Oslo', '2030-01-07T16:59:59.999Z', '2030-01-07T17:00:00.000Z'],
  ['18:00', 'Europe/Oslo', '2030-01-07T17:00:00.000Z', '2030-01-08T17:00:00.000Z'],
  ['23:59', 'Asia/Tokyo', '2030-01-07T00:00:00.000Z', '2030-01-07T14:59:00.000Z'],
  // On 31 March 2030 the clock leaps from 02:00 to 03:00.
  ['02:30', 'Europe/Oslo', '2030-03-30T12:00:00.000Z', '2030-04-01T00:30:00.000Z'],
])('%s comes next in %s after %s at %s', (time, zone, after, expected) => {
  expect(new Date(nextTimeOfDay(time, zone, Date.parse(after))!).toISOString()).toBe(expected);
});

test('a time of day that is none, or of no zone, never comes', () => {
  expect([nextTimeOfDay('x', 'Europe/Oslo', 0), nextTimeOfDay('10:00', 'Mars/Olympus', 0)]).toEqual([null, null]);
});
