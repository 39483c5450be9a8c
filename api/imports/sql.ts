/** The hand-written SQL of the import, as functions. Every statement takes the time as a parameter: one clock. */
import type { CampaignRules } from '../../domain/rules.ts';
import { EVENTS_CHANNEL } from '../../prisma/events.ts';
import type { Sql } from '../../prisma/tx.ts';
import type { ImportCounts } from './load.ts';
import type { ContactRow } from './rows.ts';
import type { BadRows, Mode } from './schemas.ts';

/** Class of the advisory locks of imports; 1 and 2 are those of matching (matching/sql.ts). */
const IMPORT_LOCK = 3;

export interface OpenCampaign {
  country: string;
  rules: CampaignRules;
  status: string;
  free: boolean;
  /** Null: not on record. */
  import_id: number | null;
}

/**
 * The campaign, whether this transaction got the lock that lets one import at a time run on it, and the id of this import.
 * A dry run takes no lock and is not on record.
 */
export const openCampaign = (campaignId: number, { dryRun }: { dryRun: boolean }): Sql => ({
  text: `SELECT country, rules, status,
                ${dryRun ? 'true' : `pg_try_advisory_xact_lock(${IMPORT_LOCK}, id)`} AS free,
                ${dryRun ? 'NULL' : `nextval(pg_get_serial_sequence('import', 'id'))::int`} AS import_id
         FROM campaign WHERE id = $1`,
  values: [campaignId],
});

/** From here on PostgreSQL itself sees to it that no table but the temporary ones is written. */
export const writeNothing: Sql = { text: `SET TRANSACTION READ ONLY`, values: [] };

// ---- the record of imports ------------------------------------------------------------------------------------------

export type ImportPhase = 'reading' | 'merging';

export interface NewImport {
  id: number;
  campaignId: number;
  mode: string;
  badRows: string;
  /** Who: `key:3`. */
  by: string;
  startedAt: Date;
}

/** Nothing if its end was faster. Whoever has the lock tells of those before it that have left no end. */
export const beginImport = (begun: NewImport): Sql => ({
  text: `WITH broken_off AS (
           UPDATE import SET ended_at = seen_at, result = 'broken_off'
           WHERE campaign_id = $2 AND id < $1 AND ended_at IS NULL
         )
         INSERT INTO import (id, campaign_id, mode, bad_rows, started_by, started_at, phase, rows, seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'reading', 0, $6) ON CONFLICT (id) DO NOTHING`,
  values: [begun.id, begun.campaignId, begun.mode, begun.badRows, begun.by, begun.startedAt],
});

export const noteImport = (now: Date, id: number, phase: ImportPhase, rows: number): Sql => ({
  text: `UPDATE import SET phase = $3, rows = $4, seen_at = $1 WHERE id = $2 AND ended_at IS NULL`,
  values: [now, id, phase, rows],
});

/** Also if its beginning could not be written. */
export const endImport = (
  now: Date,
  begun: NewImport,
  end: { result: 'done' | 'failed'; reason: string | null; rows: number; counts: object | null },
): Sql => ({
  text: `INSERT INTO import AS i (id, campaign_id, mode, bad_rows, started_by, started_at, phase, rows, seen_at, ended_at,
           result, reason, counts)
         VALUES ($2, $3, $4, $5, $6, $7, 'merging', $8, $1, $1, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET rows = $8, seen_at = $1, ended_at = $1, result = $9, reason = $10, counts = $11
           WHERE i.ended_at IS NULL`,
  values: [
    now,
    begun.id,
    begun.campaignId,
    begun.mode,
    begun.badRows,
    begun.by,
    begun.startedAt,
    end.rows,
    end.result,
    end.reason,
    end.counts,
  ],
});

export interface ImportRow {
  id: number;
  mode: Mode;
  bad_rows: BadRows;
  started_by: string;
  started_at: Date;
  phase: ImportPhase;
  rows: number;
  seen_at: Date;
  ended_at: Date | null;
  result: 'done' | 'failed' | 'broken_off' | null;
  reason: string | null;
  counts: ImportCounts | null;
}

export const listImports = (campaignId: number, before: number, limit: number): Sql => ({
  text: `SELECT id, mode, bad_rows, started_by, started_at, phase, rows, seen_at, ended_at, result, reason, counts
         FROM import WHERE campaign_id = $1 AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`,
  values: [campaignId, before, limit],
});

/** One row if an import runs on this campaign: somebody's connection has its lock. */
export const importRuns = (campaignId: number): Sql => ({
  text: `SELECT FROM pg_locks
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND classid = ${IMPORT_LOCK} AND objid = $1::int::oid AND objsubid = 2 AND granted`,
  values: [campaignId],
});

// ---- the rows of the file -------------------------------------------------------------------------------------------

/** The file as it was read. The key on `line` gives a page to insertPage without looking at the rest. */
export const createStage: Sql = {
  text: `CREATE TEMP TABLE import_stage (
           line int PRIMARY KEY, list_key text NOT NULL, external_id text, phone_num text, phone_2 text,
           variables jsonb NOT NULL, zone text, priority int NOT NULL, earliest text, latest text
         ) ON COMMIT DROP`,
  values: [],
};

/** REPLACE: contacts that are not in the file, with the state that they were in. */
export const createMissing: Sql = {
  text: `CREATE TEMP TABLE import_missing (call_id bigint, was text NOT NULL) ON COMMIT DROP`,
  values: [],
};

export const COPY_STAGE = 'COPY import_stage FROM STDIN';

/** The transaction waits for an upload, which may stand still for as long as its route allows; it holds no locks of calls. */
export const waitForUpload: Sql = { text: `SET LOCAL idle_in_transaction_session_timeout = '2min'`, values: [] };
export const uploadIsThere: Sql = { text: `SET LOCAL idle_in_transaction_session_timeout TO DEFAULT`, values: [] };

/** A row of import_stage in COPY's text format. */
export const copyLine = (row: ContactRow): string =>
  `${row.line}\t${copyText(row.listKey)}\t${copyText(row.externalId)}\t${row.phoneNum ?? '\\N'}\t${row.phone2 ?? '\\N'}\t` +
  `${copyText(JSON.stringify(row.variables))}\t${copyText(row.zone)}\t${row.priority}\t` +
  `${row.earliest ?? '\\N'}\t${row.latest ?? '\\N'}\n`;

const COPY_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

export function copyText(value: string | null): string {
  return value === null ? '\\N' : value.replace(/[\\\n\r\t]/g, (char) => COPY_ESCAPES[char]!);
}

/** What a row of the file says of a contact. */
const DATA = ['external_id', 'phone_num', 'phone_2', 'variables', 'zone', 'priority', 'earliest', 'latest'];
const dataOf = (table: string): string => DATA.map((column) => `${table}.${column}`).join(', ');

/** Without it the planner takes a new table for a small one, and joins it row by row. */
export const analyzeStage: Sql = { text: `ANALYZE import_stage`, values: [] };

/**
 * Inserts the contacts of some lines that are not in the list yet. They stay invisible until COMMIT, and no row that
 * others work with is locked, so this may run while the upload does.
 */
export const insertPage = (now: Date, campaignId: number, fromLine: number, toLine: number): Sql => ({
  text: `INSERT INTO contact (campaign_id, list_key, ${DATA.join(', ')}, state_since, place, created_at, updated_at)
         SELECT $2, list_key, ${dataOf('s')}, $1, $1, $1, $1
         FROM import_stage s WHERE line BETWEEN $3 AND $4 AND phone_num IS NOT NULL
         ORDER BY line
         ON CONFLICT (campaign_id, list_key) WHERE deleted_at IS NULL DO NOTHING`,
  values: [now, campaignId, fromLine, toLine],
});

export interface Duplicate {
  line: number;
  /** Where the same contact stands first. */
  first: number;
  /** By its external_id, not its number. */
  by_id: boolean;
  /** How many there are, over the limit too. */
  total: number;
}

export const duplicates = (limit: number): Sql => ({
  text: `SELECT line, first, external_id IS NOT NULL AS by_id, count(*) OVER ()::int AS total
         FROM (SELECT line, external_id, min(line) OVER (PARTITION BY list_key) AS first
               FROM import_stage WHERE phone_num IS NOT NULL) AS good
         WHERE line > first ORDER BY line LIMIT $1`,
  values: [limit],
});

export const dropDuplicates: Sql = {
  text: `DELETE FROM import_stage s
         USING (SELECT list_key, min(line) AS first FROM import_stage WHERE phone_num IS NOT NULL
                GROUP BY list_key HAVING count(*) > 1) AS twice
         WHERE s.list_key = twice.list_key AND s.line > twice.first AND s.phone_num IS NOT NULL`,
  values: [],
};

/** A row of the file and the contact in the list that it is about. */
const IS_ABOUT = `c.deleted_at IS NULL AND c.list_key = s.list_key`;
const IS_CHANGED = `(${dataOf('c')}) IS DISTINCT FROM (${dataOf('s')})`;
const IS_CLOSED = `c.state IN ('done', 'disabled')`;
/** REPLACE: in the list, not in the file, and not over or ending already. */
const IS_MISSING = `c.deleted_at IS NULL AND c.ended_reason IS NULL AND NOT ${IS_CLOSED}
  AND NOT EXISTS (SELECT FROM import_stage s WHERE s.list_key = c.list_key)`;

export const countDoNotCall: Sql = {
  text: `SELECT count(*)::int AS n FROM import_stage s
         WHERE phone_num IS NOT NULL AND (EXISTS (SELECT FROM do_not_call d WHERE d.number = s.phone_num)
                                          OR EXISTS (SELECT FROM do_not_call d WHERE d.number = s.phone_2))`,
  values: [],
};

/** Contacts of the file that are in the list and closed. */
export const countClosed = (campaignId: number): Sql => ({
  text: `SELECT count(*)::int AS n FROM import_stage s JOIN contact c ON ${IS_ABOUT}
         WHERE c.campaign_id = $1 AND ${IS_CLOSED} AND s.phone_num IS NOT NULL`,
  values: [campaignId],
});

export interface Changes {
  added: number;
  updated: number;
  closed: number;
  disabled: number;
}

/** What the file would do to the list as it is: by the conditions of the statements that would do it, in one snapshot. */
export const countChanges = (campaignId: number, mode: Mode): Sql => ({
  text: `SELECT count(*) FILTER (WHERE c.id IS NULL)::int AS added,
                count(*) FILTER (WHERE c.id IS NOT NULL AND ${IS_CHANGED})::int AS updated,
                count(*) FILTER (WHERE ${IS_CLOSED})::int AS closed,
                (SELECT count(*) FROM contact c WHERE c.campaign_id = $1 AND ${IS_MISSING} AND $2 = 'replace')::int AS disabled
         FROM import_stage s LEFT JOIN contact c ON c.campaign_id = $1 AND ${IS_ABOUT}
         WHERE s.phone_num IS NOT NULL`,
  values: [campaignId, mode],
});

// ---- the list -------------------------------------------------------------------------------------------------------

export const savepoint: Sql = { text: `SAVEPOINT merge`, values: [] };
export const rollbackToSavepoint: Sql = { text: `ROLLBACK TO SAVEPOINT merge`, values: [] };

/**
 * New data for contacts that are in the list, whatever their state; id, history and place stay. A number that is another
 * one now has not been given up, and a second number that is gone can't be the next one.
 */
export const updateChanged = (now: Date, campaignId: number): Sql => ({
  text: `UPDATE contact c SET ${DATA.map((column) => `${column} = s.${column}`).join(', ')}, updated_at = $1,
           given_up_1 = c.given_up_1 AND c.phone_num = s.phone_num,
           given_up_2 = c.given_up_2 AND c.phone_2 IS NOT DISTINCT FROM s.phone_2 AND s.phone_2 IS NOT NULL,
           next_phone = CASE WHEN s.phone_2 IS NULL THEN 1 ELSE c.next_phone END, order_version = -1,
           wait_until = CASE WHEN c.wait_reason = 'cap' THEN $1 ELSE c.wait_until END,
           hours_1 = CASE WHEN (c.phone_num, c.zone, c.earliest, c.latest) IS NOT DISTINCT FROM (s.phone_num, s.zone, s.earliest, s.latest) THEN c.hours_1 END,
           hours_2 = CASE WHEN (c.phone_2, c.zone, c.earliest, c.latest) IS NOT DISTINCT FROM (s.phone_2, s.zone, s.earliest, s.latest) THEN c.hours_2 END
         FROM import_stage s
         WHERE c.campaign_id = $2 AND ${IS_ABOUT} AND s.phone_num IS NOT NULL AND ${IS_CHANGED}`,
  values: [now, campaignId],
});

/** The calls that queued contacts wait with are to the numbers that they have now. */
export const updateQueuedNumbers = (now: Date, campaignId: number): Sql => ({
  text: `UPDATE call k SET number = CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END
         FROM contact c
         WHERE c.campaign_id = $2 AND c.state = 'queued' AND c.updated_at = $1 AND k.call_id = c.call_id
           AND k.number <> CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END`,
  values: [now, campaignId],
});

/** Contacts that have a listed number now, and may be queued already: a worker ends them (activities/do-not-call.ts). */
export const lookAtChanged = (now: Date, campaignId: number): Sql => ({
  text: `INSERT INTO do_not_call_pending (number, due_at)
         SELECT d.number, $1 FROM contact c
         CROSS JOIN LATERAL (SELECT number FROM do_not_call WHERE number IN (c.phone_num, c.phone_2) OFFSET 0) AS d
         WHERE c.campaign_id = $2 AND c.updated_at = $1 AND c.closed_at IS NULL AND c.state <> 'new'`,
  values: [now, campaignId],
});

/** States that an import may end by itself; in the others the contact's workflow is at work. */
const ENDED_HERE = `c.state IN ('new', 'waiting', 'queued')`;

/**
 * REPLACE: ends the contacts that are not in the file. Who is offered, being called or talking keeps the state and gets
 * the intention: the campaign's drain tells the workflow. A contact without a workflow (`new`) is closed at once.
 */
export const endMissing = (now: Date, campaignId: number, by: string): Sql => ({
  text: `
    WITH missing AS (
      UPDATE contact c SET ended_reason = 'list_replaced', ended_by = $3, ended_at = $1, updated_at = $1,
        state = CASE WHEN ${ENDED_HERE} THEN 'disabled' ELSE c.state END,
        state_since = CASE WHEN ${ENDED_HERE} THEN $1 ELSE c.state_since END,
        wait_reason = CASE WHEN ${ENDED_HERE} THEN NULL ELSE c.wait_reason END,
        wait_until = CASE WHEN ${ENDED_HERE} THEN NULL ELSE c.wait_until END,
        closed_at = CASE c.state WHEN 'new' THEN $1 END
      WHERE c.campaign_id = $2 AND ${IS_MISSING}
      RETURNING c.call_id, old.state AS was
    )
    INSERT INTO import_missing (call_id, was) SELECT call_id, was FROM missing`,
  values: [now, campaignId, by],
});

/** The calls that were queued end with their contacts. */
export const endMissingCalls = (now: Date): Sql => ({
  text: `UPDATE call k SET ended_at = $1, end_code = 'd', end_reason = 'list_replaced', next_sequence = next_sequence + 1
         FROM import_missing m WHERE m.was = 'queued' AND k.call_id = m.call_id AND k.ended_at IS NULL`,
  values: [now],
});

/** 0 rows when the campaign was ended meanwhile. */
export const bumpRevision = (now: Date, campaignId: number): Sql => ({
  text: `UPDATE campaign SET revision = revision + 1, updated_at = $1 WHERE id = $2 AND status <> 'ended'`,
  values: [now, campaignId],
});

/**
 * The event `d` of each call that endMissingCalls has ended. The counter of positions is locked from here to COMMIT, and
 * whoever else writes events waits: so this comes last.
 */
export const writeMissingEvents = (now: Date): Sql => ({
  text: `
    WITH ended AS (
      SELECT k.*, cp.service_num, cp.queue_key
      FROM import_missing m JOIN call k ON k.call_id = m.call_id JOIN campaign cp ON cp.id = k.campaign_id
      WHERE m.was = 'queued' AND k.ended_at = $1 AND k.end_reason = 'list_replaced'
    ), taken AS (
      UPDATE event_position SET last = last + (SELECT count(*) FROM ended) WHERE id = 1 RETURNING old.last
    ), written AS (
      INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, dte_start,
        duration_tot_sec, duration_speak_sec, source, destination, service_num, queue_key, result_code, result_reason,
        answered, contact_id, campaign_id, attempt)
      SELECT taken.last + row_number() OVER (ORDER BY e.call_id), e.call_id, e.next_sequence - 1, 'q', e.call_id || '-S1',
        e.queued_at, greatest(0, round(extract(epoch FROM e.ended_at - e.queued_at))), 0, e.number,
        coalesce(e.service_num, e.queue_key), e.service_num, e.queue_key, 'd', 'list_replaced',
        false, e.contact_id, e.campaign_id, e.attempt
      FROM ended e CROSS JOIN taken
      RETURNING position
    )
    SELECT pg_notify('${EVENTS_CHANNEL}', '') WHERE EXISTS (SELECT FROM written)`,
  values: [now],
});
