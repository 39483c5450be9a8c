/**
 * A campaign of two weeks over two changes of the clock, in skipped time: each call that was made is asserted against the
 * rules by another clock than the product's, that of `Intl`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ANY_COUNTRY, putLegalHours } from '../../matching/legal-hours.ts';
import { type Outcome, PaperPhones } from '../kit/paper-phones.ts';
import { Queue } from '../kit/queue.ts';

/** Europe changes its clocks on 31 March, Sydney on 7 April. */
const FROM = Date.UTC(2030, 2, 27);
const UNTIL = new Date(Date.UTC(2030, 3, 10));
const ZONES = ['Europe/Oslo', 'Europe/London', 'America/New_York', 'Asia/Tokyo', 'Australia/Sydney'];
const CONTACTS = 200;
const MAX_ATTEMPTS = 4;
const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri'];
const RULES = {
  max_attempts: MAX_ATTEMPTS,
  max_per_number_per_day: 2,
  min_gap_sec: 1800,
  retry: { b: { delay_sec: 900 }, t: { delay_sec: 40 * 3600 }, c: { delay_sec: 60 } },
  hours: {
    periods: [
      { days: ['mon', 'tue', 'wed', 'thu', 'fri'] as const, from: '09:30', to: '12:00' },
      { days: ['mon', 'tue', 'wed', 'thu', 'fri'] as const, from: '16:00', to: '22:00' },
    ],
    holidays: [{ date: '2030-04-01' }],
  },
};
/** Legal hours end before the campaign's. */
const LEGAL = { periods: [{ days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const, from: '09:00', to: '20:30' }] };

interface Dialled {
  contact: string;
  zone: string;
  number: string;
  at: Date;
  code: string;
}

let queue: Queue;
let dialled: Dialled[];
const rescheduled = new Map<string, number>();

beforeAll(async () => {
  queue = await Queue.open();
  queue.clock.pass((FROM - queue.clock.now().getTime()) / 1000);
  const hours = { ...LEGAL, periods: LEGAL.periods.map((period) => ({ ...period, days: [...period.days] })), holidays: [] };
  await queue.pool.query(putLegalHours(queue.clock.now(), ANY_COUNTRY, hours, 'test'));
  const periods = RULES.hours.periods.map((period) => ({ ...period, days: [...period.days] }));
  const campaign = await queue.campaign({ rules: { ...RULES, hours: { ...RULES.hours, periods } } });
  const worker = queue.matcher();
  for (let n = 0; n < 3; n++) {
    const agent = await queue.agent({ serves: { [campaign]: 1 } });
    await worker.matching.setAgentState(agent, 'ready', 'test');
  }
  const later = [new Date(UNTIL.getTime() + 86_400_000)];
  await queue.pool.query(`UPDATE agent SET lease_until = $1`, later);
  await queue.pool.query(`UPDATE node SET lease_until = $1`, later);
  const contacts = Array.from({ length: CONTACTS }, (_, n) => ({ zone: ZONES[n % ZONES.length]! }));
  await queue.enqueue(worker, await queue.contacts(campaign, contacts));
  const phones = new PaperPhones(queue, worker, {
    answer: scripted(),
    // Every third talk is to be gone on with at a time that lies outside of the campaign's periods.
    dispose: ({ contactId }) => {
      if (Number(contactId) % 3 !== 0 || rescheduled.has(contactId)) return { action: 'done', topics: [], comment: null, reschedule: null };
      const at = new Date(Math.ceil(queue.clock.now().getTime() / 86_400_000 + 1) * 86_400_000 + LAWFUL_UTC_HOUR[zoneOf(contactId)]! * 3_600_000);
      rescheduled.set(contactId, at.getTime());
      return { action: 'reschedule', topics: [], comment: null, reschedule: { at, toMyself: false } };
    },
  });
  const zones = await queue.rows<{ id: string; zone: string }>(`SELECT id, zone FROM contact`);
  const zoneOf = (id: string) => zones.find((row) => row.id === id)!.zone;
  await phones.run(UNTIL);
  dialled = await queue.rows<Dialled>(
    `SELECT l.contact_id AS contact, c.zone, l.destination AS number, l.created_at AS at, l.result_code AS code
     FROM leg l JOIN contact c ON c.id = l.contact_id WHERE l.ciq = 'c' ORDER BY l.created_at`,
  );
}, 240_000);
afterAll(() => queue?.close());

/** 13:30 there, or thereabouts: between the campaign's periods, within the legal hours. */
const LAWFUL_UTC_HOUR: Record<string, number> = {
  'Europe/Oslo': 11.5,
  'Europe/London': 12.5,
  'America/New_York': 17.5,
  'Asia/Tokyo': 4.5,
  'Australia/Sydney': 3.5,
};

function scripted(): (number: string) => Outcome {
  const outcomes: Outcome[] = ['rings_out', 486, 480, 'talks', 'rings_out', 'rings_out', 486];
  let n = 0;
  return () => outcomes[n++ % outcomes.length]!;
}

function wallClock({ zone, at }: Pick<Dialled, 'zone' | 'at'>) {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(at);
  const part = (type: string) => parts.find((found) => found.type === type)!.value;
  return { day: part('weekday'), date: `${part('year')}-${part('month')}-${part('day')}`, time: `${part('hour')}:${part('minute')}` };
}

const keepsPromise = ({ contact, at }: Dialled) => rescheduled.has(contact) && at.getTime() >= rescheduled.get(contact)!;

describe('a campaign of two weeks', () => {
  it('calls in every zone, on both sides of every change of the clock', () => {
    expect(dialled.length).toBeGreaterThan(CONTACTS * 1.5);
    for (const zone of ZONES) {
      const dates = dialled.filter((leg) => leg.zone === zone).map((leg) => wallClock(leg).date);
      expect(dates.some((date) => date < '2030-03-31'), zone).toBe(true);
      expect(dates.some((date) => date > '2030-03-31'), zone).toBe(true);
    }
  });

  it('never outside the legal hours, and outside its own only where that was agreed', () => {
    for (const leg of dialled) {
      const { day, date, time } = wallClock(leg);
      const shown = `${leg.zone} ${day} ${date} ${time}`;
      expect(time >= '09:00' && time < '20:30', shown).toBe(true);
      const isOpen = WEEKDAYS.includes(day) && date !== '2030-04-01' && ((time >= '09:30' && time < '12:00') || time >= '16:00');
      if (!keepsPromise(leg)) expect(isOpen, shown).toBe(true);
    }
    expect(dialled.filter((leg) => keepsPromise(leg) && wallClock(leg).time >= '12:00' && wallClock(leg).time < '16:00').length).toBeGreaterThan(5);
  });

  it('offers nobody outside of these hours either', async () => {
    const offers = await queue.rows<{ contact: string; zone: string; at: Date }>(
      `SELECT o.contact_id AS contact, c.zone, o.created_at AS at FROM offer o JOIN contact c ON c.id = o.contact_id`,
    );
    expect(offers.length).toBeGreaterThanOrEqual(dialled.length);
    for (const offer of offers) {
      const { time } = wallClock(offer);
      expect(time >= '09:00' && time < '20:30', `${offer.zone} ${time}`).toBe(true);
    }
  });

  it('waits after each result as its rule says', () => {
    const waits: Record<string, number> = { b: 900, t: 40 * 3600, c: 60 };
    let checked = 0;
    for (const contact of new Set(dialled.map((leg) => leg.contact))) {
      const legs = dialled.filter((leg) => leg.contact === contact);
      legs.slice(1).forEach((leg, n) => {
        const wait = waits[legs[n]!.code];
        if (wait === undefined) return;
        checked++;
        expect(leg.at.getTime() - legs[n]!.at.getTime()).toBeGreaterThanOrEqual(wait * 1000);
      });
    }
    expect(checked).toBeGreaterThan(CONTACTS / 4);
  });

  it('no number more often than twice in 24 hours, or within the gap, and nobody more often than allowed', () => {
    for (const contact of new Set(dialled.map((leg) => leg.contact))) {
      const times = dialled.filter((leg) => leg.contact === contact).map(({ at }) => at.getTime());
      expect(times.length).toBeLessThanOrEqual(MAX_ATTEMPTS + (rescheduled.has(contact) ? 1 : 0));
      times.forEach((at, n) => {
        if (n >= 1) expect(at - times[n - 1]!).toBeGreaterThanOrEqual(1800_000);
        if (n >= 2) expect(at - times[n - 2]!).toBeGreaterThanOrEqual(86_400_000);
      });
    }
  });

  it('ends everyone, with a reason', async () => {
    const states = await queue.rows<{ state: string; reason: string; n: number }>(
      `SELECT state, ended_reason AS reason, count(*)::int AS n FROM contact GROUP BY 1, 2`,
    );
    expect(states.every(({ state }) => state === 'done')).toBe(true);
    expect(states.map(({ reason }) => reason).sort()).toEqual(['answered', 'attempts_exhausted']);
    expect(queue.complaints).toEqual([]);
  });
});
