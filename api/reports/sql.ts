/**
 * The hand-written SQL of reports, as functions; over the raw data alone. Nothing here is a prepared statement: what is asked
 * for ranges from an hour to a year, and one plan does not fit all.
 */
import { LEG_CODES } from '../../domain/codes.ts';
import { AGENT_ENGAGED, AGENT_STATES, DISPOSITION_ACTIONS } from '../../domain/states.ts';
import type { Sql } from '../../prisma/tx.ts';

// ---- time ------------------------------------------------------------------------------------------------------------

/** The zone in which this transaction reads wall clocks; an unknown one is SQLSTATE 22023. */
export const useZone = (zone: string): Sql => ({ text: `SELECT set_config('TimeZone', $1, true)`, values: [zone] });

/** Clocks are set by multiples of it everywhere, and every interval is made of it. */
const QUARTER = `interval '15 minutes'`;

/** The first moment of a date by the zone's clock: midnight, or what comes after it where the clock leaps over midnight. */
export const startOfDate = (date: string): Sql => ({
  text: `SELECT min(t) AS at
         FROM generate_series($1::date::timestamp AT TIME ZONE 'UTC' - interval '1 day',
                              $1::date::timestamp AT TIME ZONE 'UTC' + interval '1 day', ${QUARTER}) AS t
         WHERE t::date >= $1::date`,
  values: [date],
});

/** What the quarters of one interval have in common; an hour that the clock shows twice is two. */
const TOGETHER = {
  none: `()`,
  quarter: `t`,
  hour: `date_trunc('hour', t::timestamp), t::timestamp - (t AT TIME ZONE 'UTC')`,
  day: `t::date`,
} as const;
export type Interval = keyof typeof TOGETHER;

export interface Start {
  start: Date;
  /** By the zone's clock, without offset. */
  local: string;
}

/** Where the intervals between two times begin; the first one is cut by `from`. */
export const intervalStarts = (from: Date, to: Date, interval: Interval): Sql => ({
  text: `SELECT start, to_char(start::timestamp, 'YYYY-MM-DD"T"HH24:MI:SS') AS local
         FROM (SELECT greatest(min(t), $1) AS start
               FROM generate_series(date_bin(${QUARTER}, $1::timestamptz, timestamptz '2000-01-01 00:00Z'), $2::timestamptz, ${QUARTER}) AS t
               WHERE t < $2 GROUP BY ${TOGETHER[interval]}) AS started
         ORDER BY start`,
  values: [from, to],
});

// ---- what is asked for -----------------------------------------------------------------------------------------------

/** `starts` are those of the intervals, from the first on. */
export interface Asked {
  from: Date;
  to: Date;
  starts: Date[];
  campaignId: number | null;
  agentId: number | null;
}

/** A row is one interval (`n`, from 1) of one campaign or agent (`id`). */
export type By = 'campaign_id' | 'agent_id';

/** No more rows than this are answered; one more is read to see that. */
export const MAX_ROWS = 10_000;

const asked = (text: string, { from, to, starts, campaignId, agentId }: Asked): Sql => ({
  text: `${text} LIMIT ${MAX_ROWS + 1}`,
  values: [from, to, starts, campaignId, agentId],
});

const during = (column: string): string =>
  `${column} >= $1 AND ${column} < $2 AND ($4::int IS NULL OR campaign_id = $4) AND ($5::int IS NULL OR agent_id = $5)`;
const nth = (time: string): string => `width_bucket(${time}, $3::timestamptz[])`;

const countIf = (name: string, condition: string): string => `count(*) FILTER (WHERE ${condition})::int AS ${name}`;

/** The zones that campaigns have: of one, or of all. */
export const zonesOf = (campaignId: number | null): Sql => ({
  text: `SELECT DISTINCT zone FROM campaign WHERE $1::int IS NULL OR id = $1 ORDER BY zone`,
  values: [campaignId],
});

export const campaignNames = (ids: number[]): Sql => ({
  text: `SELECT id, name FROM campaign WHERE id = ANY($1::int[])`,
  values: [ids],
});

export const agentNames = (ids: number[]): Sql => ({
  text: `SELECT id, name FROM agent WHERE id = ANY($1::int[])`,
  values: [ids],
});

// ---- calls -----------------------------------------------------------------------------------------------------------

const AGENT_LEG = `leg_type = 'agent'`;
const CONTACT_LEG = `leg_type = 'contact'`;
const WAS_REJECTED = `result_reason IS NOT DISTINCT FROM 'agent_reject'`;

const legsIf = (name: string, condition: string): string =>
  `coalesce(sum(legs) FILTER (WHERE ${condition}), 0)::int AS ${name}`;

/** Legs, each in the interval in which it was written. They are counted by kind first: a pass with one test a leg, not 20. */
export const legs = (by: By, ask: Asked): Sql =>
  asked(
    `SELECT n, id,
       ${legsIf('offers', AGENT_LEG)},
       ${legsIf('offers_answered', `${AGENT_LEG} AND result_code = 'k'`)},
       ${legsIf('offers_rejected', `${AGENT_LEG} AND result_code = 'b' AND ${WAS_REJECTED}`)},
       ${legsIf('offers_missed', `${AGENT_LEG} AND result_code = 't'`)},
       ${legsIf('offers_busy', `${AGENT_LEG} AND result_code = 'b' AND NOT ${WAS_REJECTED}`)},
       ${legsIf('offers_failed', `${AGENT_LEG} AND result_code IN ('c', 'e')`)},
       ${legsIf('offers_withdrawn', `${AGENT_LEG} AND result_code IN ('h', 'q')`)},
       ${legsIf('contact_legs', CONTACT_LEG)},
       ${LEG_CODES.map((code) => legsIf(`contact_legs_${code}`, `${CONTACT_LEG} AND result_code = '${code}'`)).join(', ')},
       ${legsIf('abandoned', `${CONTACT_LEG} AND result_reason = 'abandoned'`)},
       coalesce(sum(speak_sec) FILTER (WHERE ${CONTACT_LEG}), 0)::float8 AS talk_sec
     FROM (SELECT ${nth('dte_start')} AS n, ${by} AS id, leg_type, result_code, result_reason, count(*) AS legs,
             sum(duration_speak_sec) AS speak_sec
           FROM call_events WHERE event_type = 'c' AND ${during('dte_start')} AND ${by} IS NOT NULL
           GROUP BY 1, 2, 3, 4, 5) AS kind
     GROUP BY 1, 2`,
    ask,
  );

/** Wrap-ups, each in the interval in which it began. */
export const wrapUps = (by: By, ask: Asked): Sql =>
  asked(
    `SELECT ${nth('started_at')} AS n, ${by} AS id, count(*)::int AS wrap_ups,
       ${countIf('wrap_ups_unregistered', 'NOT registered')}, sum(wrap_up_sec)::float8 AS wrap_up_sec
     FROM wrap_ups WHERE ${during('started_at')} GROUP BY 1, 2`,
    ask,
  );

/** Of what an agent has registered for a call, the one that counts: do-not-call, else the last. */
const COUNTS = `NOT EXISTS (
  SELECT 1 FROM dispositions o
  WHERE o.call_id = d.call_id AND o.agent_id = d.agent_id
    AND (o.action = 'do_not_call', o.position) > (d.action = 'do_not_call', d.position))`;

/** Dispositions, each in the interval in which it was registered. */
export const dispositions = (by: By, ask: Asked): Sql =>
  asked(
    `SELECT ${nth('at')} AS n, ${by} AS id, count(*)::int AS dispositions,
       ${DISPOSITION_ACTIONS.map((action) => countIf(`dispositions_${action}`, `action = '${action}'`)).join(', ')}
     FROM dispositions d WHERE ${during('at')} AND ${COUNTS} GROUP BY 1, 2`,
    ask,
  );

/** The same by campaign, action and topic; one with several topics counts for each of them. */
export const topics = (ask: Asked): Sql =>
  asked(
    `SELECT ${nth('at')} AS n, campaign_id AS id, action, topic, count(*)::int AS dispositions
     FROM dispositions d LEFT JOIN LATERAL unnest(topics) AS topic ON true
     WHERE ${during('at')} AND ${COUNTS} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`,
    ask,
  );

// ---- agents' states --------------------------------------------------------------------------------------------------

/**
 * The pieces of time that agents spent in a state within what is asked for, $5 being now: what each change has ended, and
 * what the last one has begun. Each is an index look-up and a walk from there, for one agent after the other.
 */
const PIECES = `
  SELECT agent.id AS agent_id, e.from_state AS state, e.call_id,
    greatest(e.at - e.duration_ms * interval '1 ms', $1) AS began, e.at AS ended
  FROM agent JOIN agent_events e ON e.agent_id = agent.id AND e.at > $1 AND e.at < $2
  WHERE $4::int IS NULL OR agent.id = $4
  UNION ALL
  SELECT agent.id, e.state, e.call_id, greatest(e.at, $1), least($2, $5::timestamptz)
  FROM agent CROSS JOIN LATERAL (
    SELECT * FROM agent_events WHERE agent_id = agent.id AND at < $2 ORDER BY at DESC, position DESC LIMIT 1) e
  WHERE ($4::int IS NULL OR agent.id = $4) AND greatest(e.at, $1) < least($2, $5::timestamptz)`;

/** Pieces of the states that belong to a call, with its campaign. */
const ENGAGED_PIECES = `
  SELECT piece.*, queued.campaign_id FROM (${PIECES}) AS piece
  JOIN call_events queued ON queued.call_id = piece.call_id AND queued.call_sequence = 1
  WHERE piece.state IN (${AGENT_ENGAGED.map((state) => `'${state}'`).join(', ')})
    AND ($6::int IS NULL OR queued.campaign_id = $6)`;

/** Seconds of a piece within the n-th interval; NULL, after the last one, cuts nothing. */
const PART = `date_part('epoch', least(ended, ($3::timestamptz[])[n + 1]) - greatest(began, ($3::timestamptz[])[n]))`;

/**
 * Seconds in each state, cut where the intervals begin; of one campaign or by campaign, those that belong to its calls.
 * Intervals in which an agent was logged off throughout are left out.
 */
export const states = (by: By, { from, to, starts, campaignId, agentId }: Asked, now: Date): Sql => {
  const isOfCalls = by === 'campaign_id' || campaignId !== null;
  const seconds = (state: string) =>
    `coalesce(round((sum(sec) FILTER (WHERE state = '${state}'))::numeric, 3), 0)::float8 AS in_${state}_sec`;
  return {
    text: `SELECT n, id, ${(isOfCalls ? AGENT_ENGAGED : AGENT_STATES).map(seconds).join(', ')}
           FROM (SELECT n, ${by} AS id, state, sum(${PART}) AS sec
                 FROM (SELECT piece.*, generate_series(${nth('began')}, ${nth(`ended - interval '1 ms'`)}) AS n
                       FROM (${isOfCalls ? ENGAGED_PIECES : PIECES}) AS piece) AS part
                 GROUP BY 1, 2, 3) AS spent
           GROUP BY 1, 2 HAVING bool_or(state <> 'logged_off' AND sec > 0) LIMIT ${MAX_ROWS + 1}`,
    values: [from, to, starts, agentId, now, ...(isOfCalls ? [campaignId] : [])],
  };
};
