/** One report: what is asked for is made precise, read on one snapshot of the raw data, and put together row by row. */
import { AppError } from '../../domain/errors.ts';
import { AGENT_ENGAGED, AGENT_STATES } from '../../domain/states.ts';
import { inSnapshot, type Snapshot, TOO_SLOW } from '../../prisma/snapshot.ts';
import type { Db } from '../../prisma/tx.ts';
import { invalid } from '../problems.ts';
import { agentReportRow, campaignReportRow, type ReportQuery, topicReportRow } from '../schemas/reports.ts';
import * as sql from './sql.ts';

export type Row = Record<string, string | number | null>;

export interface Report {
  from: string;
  to: string;
  interval: sql.Interval;
  zone: string;
  items: Row[];
}

export const KINDS = ['campaigns', 'agents', 'topics'] as const;
export type Kind = (typeof KINDS)[number];

const MAX_DAYS = 400;
const MAX_INTERVALS = 3_000;
/** Of one statement; what takes longer is not for an API. */
const STATEMENT_MS = 20_000;

/** Throws INVALID for what makes no sense or is too much, and UNAVAILABLE for what takes too long. */
export async function makeReport(db: Db, kind: Kind, query: ReportQuery): Promise<Report> {
  try {
    return await inSnapshot(db.pool, STATEMENT_MS, async (snapshot) => {
      const asked = await precisely(snapshot, query);
      const rows = await FIGURES[kind](snapshot, asked, db.clock.now());
      if (rows.length > sql.MAX_ROWS) throw tooMuch('interval', `gives more than ${sql.MAX_ROWS} rows`);
      const { from, to, interval, zone } = asked;
      return { from: from.toISOString(), to: to.toISOString(), interval, zone, items: await named(snapshot, kind, asked, rows) };
    });
  } catch (error) {
    if ((error as { code?: string }).code !== TOO_SLOW) throw error;
    throw new AppError('UNAVAILABLE', `this report takes longer than ${STATEMENT_MS / 1000} s: ask for a shorter time`);
  }
}

const tooMuch = (field: string, reason: string): AppError =>
  invalid(field, `${reason}: ask for a longer interval, a shorter time, or one campaign or agent`);

// ---- what is asked for -----------------------------------------------------------------------------------------------

interface Precise extends sql.Asked {
  interval: sql.Interval;
  zone: string;
  intervals: sql.Start[];
}

async function precisely(snapshot: Snapshot, query: ReportQuery): Promise<Precise> {
  const zone = await zoneOf(snapshot, query);
  await snapshot.rows(sql.useZone(zone)).catch((error: unknown) => {
    const isUnknown = (error as { code?: string }).code === '22023';
    throw isUnknown ? invalid('zone', `is not known to the database: ${zone}`) : error;
  });
  if (query.agent_id !== undefined && (await snapshot.rows(sql.agentNames([query.agent_id]))).length === 0) {
    throw invalid('agent_id', 'names no agent');
  }
  const from = await momentOf(snapshot, 'from', query.from);
  const to = await momentOf(snapshot, 'to', query.to);
  if (from >= to) throw invalid('to', 'must be after from');
  if (to.getTime() - from.getTime() > MAX_DAYS * 86_400_000) throw invalid('to', `is more than ${MAX_DAYS} days after from`);
  const intervals = await snapshot.rows<sql.Start>(sql.intervalStarts(from, to, query.interval));
  if (intervals.length > MAX_INTERVALS) throw tooMuch('interval', `gives ${intervals.length} intervals, more than ${MAX_INTERVALS}`);
  const { interval, campaign_id: campaignId = null, agent_id: agentId = null } = query;
  return { from, to, interval, zone, intervals, starts: intervals.map(({ start }) => start), campaignId, agentId };
}

/** As given, else the one that the campaigns in question have. */
async function zoneOf(snapshot: Snapshot, { zone, campaign_id, interval }: ReportQuery): Promise<string> {
  const zones = await snapshot.rows<{ zone: string }>(sql.zonesOf(campaign_id ?? null));
  if (campaign_id !== undefined && zones.length === 0) throw invalid('campaign_id', 'names no campaign');
  if (zone !== undefined) return zone;
  if (zones.length === 1) return zones[0]!.zone;
  if (zones.length > 1 && interval !== 'none') {
    const some = zones.slice(0, 3).map((row) => row.zone).join(', ');
    throw invalid('zone', `must be given, as campaigns are in different ones: ${some}${zones.length > 3 ? ' …' : ''}`);
  }
  return 'UTC';
}

/** A date begins at its midnight in the zone. */
async function momentOf(snapshot: Snapshot, field: string, given: string): Promise<Date> {
  if (given.includes('T')) return new Date(given);
  const { at } = (await snapshot.rows<{ at: Date | null }>(sql.startOfDate(given)))[0]!;
  if (!at) throw invalid(field, 'is a date that the zone has not had');
  return at;
}

// ---- figures ---------------------------------------------------------------------------------------------------------

type Figures = (snapshot: Snapshot, asked: Precise, now: Date) => Promise<Row[]>;

const FIGURES: Readonly<Record<Kind, Figures>> = {
  campaigns: (snapshot, asked, now) => figuresBy(snapshot, 'campaign_id', asked, now),
  agents: async (snapshot, asked, now) =>
    (await figuresBy(snapshot, 'agent_id', asked, now)).map((row) => withLoggedOff(row, asked, now)),
  topics: (snapshot, asked) => snapshot.rows<Row>(sql.topics(asked)),
};

/** One row for each interval (`n`) of each campaign or agent (`id`) of which there is anything to tell. */
async function figuresBy(snapshot: Snapshot, by: sql.By, asked: Precise, now: Date): Promise<Row[]> {
  const rows = new Map<string, Row>();
  const parts = [sql.legs(by, asked), sql.wrapUps(by, asked), sql.dispositions(by, asked), sql.states(by, asked, now)];
  for (const part of parts) {
    for (const figures of await snapshot.rows<Row>(part)) {
      const key = `${figures.n} ${figures.id}`;
      rows.set(key, { ...rows.get(key), ...figures });
    }
  }
  return [...rows.values()].sort((a, b) => Number(a.n) - Number(b.n) || Number(a.id) - Number(b.id)).map(derived);
}

function derived(row: Row): Row {
  const { contact_legs_k: answered = 0, abandoned = 0 } = row as Record<string, number>;
  const share = answered > 0 ? Math.round((abandoned / answered) * 10_000) / 10_000 : null;
  return { ...row, talks: answered - abandoned, abandoned_share: share };
}

/** Who was in no other state was logged off throughout: the statement leaves such intervals out, there being so many. */
function withLoggedOff(row: Row, asked: Precise, now: Date): Row {
  if (asked.campaignId !== null) return { ...row, ...NO_STATES };
  if (row.in_logged_off_sec !== undefined) return row;
  const { start, end } = boundsOf(Number(row.n), asked);
  return { ...row, in_logged_off_sec: Math.max(0, Math.min(end.getTime(), now.getTime()) - start.getTime()) / 1000 };
}

/** States that belong to no campaign. */
const NO_STATES = Object.fromEntries(
  AGENT_STATES.filter((state) => !AGENT_ENGAGED.includes(state)).map((state) => [`in_${state}_sec`, null]),
);

// ---- rows ------------------------------------------------------------------------------------------------------------

function boundsOf(n: number, { intervals, to }: Precise): { start: Date; end: Date; local: string } {
  const { start, local } = intervals[n - 1]!;
  return { start, local, end: intervals[n]?.start ?? to };
}

/** Every column has its value: what was not counted is 0. */
async function named(snapshot: Snapshot, kind: Kind, asked: Precise, rows: Row[]): Promise<Row[]> {
  const [what, namesOf] = kind === 'agents' ? (['agent', sql.agentNames] as const) : (['campaign', sql.campaignNames] as const);
  const found = await snapshot.rows<{ id: number; name: string }>(namesOf([...new Set(rows.map((row) => Number(row.id)))]));
  const names = new Map(found.map(({ id, name }) => [id, name]));
  return rows.map(({ n, id, ...figures }) => {
    const { start, end, local } = boundsOf(Number(n), asked);
    const place = { start: start.toISOString(), end: end.toISOString(), local_start: local };
    const whose = { [`${what}_id`]: String(id), [`${what}_name`]: names.get(Number(id)) ?? '' };
    const cells: Row = { ...place, ...whose, ...figures };
    return Object.fromEntries(COLUMNS[kind].map((column) => [column, cells[column] === undefined ? 0 : cells[column]]));
  });
}

export const COLUMNS: Readonly<Record<Kind, string[]>> = {
  campaigns: Object.keys(campaignReportRow.shape),
  agents: Object.keys(agentReportRow.shape),
  topics: Object.keys(topicReportRow.shape),
};
