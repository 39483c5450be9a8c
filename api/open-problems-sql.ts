/**
 * The hand-written SQL of what people are to look at, as functions: each finds the rows that are in that state now. Every one
 * starts from an index of the few rows that can be, and stops at `LIMIT`. $1 is the time.
 */
import { NEXT_HOURS } from '../matching/sql.ts';
import type { Sql } from '../prisma/tx.ts';

/** Of each kind no more are told at once. */
export const MOST = 100;
const LIMIT = `LIMIT ${MOST + 1}`;

const find = (now: Date, text: string): Sql => ({ text, values: [now] });

// ---- nodes ------------------------------------------------------------------------------------------------------------

export interface AwayNode {
  name: string;
  holder: string;
  since: Date;
  /** No other node takes calls. */
  is_last: boolean;
}

const TAKES_CALLS = (node: string): string => `${node}.lease_until > $1 AND ${node}.ready_since IS NOT NULL`;

/** Held by nobody, for longer than a worker takes to be started anew. */
export const awayNodes = (now: Date): Sql =>
  find(now, `SELECT name, holder, lease_until AS since, NOT EXISTS (SELECT 1 FROM node n WHERE ${TAKES_CALLS('n')}) AS is_last
             FROM node WHERE lease_until <= $1::timestamptz - interval '30 s' ORDER BY lease_until ${LIMIT}`);

export interface NodeInTrouble {
  name: string;
  trouble: string | null;
  since: Date | null;
}

/** Held by a worker that can't reach its switch, for longer than it takes to connect. */
export const nodesInTrouble = (now: Date): Sql =>
  find(now, `SELECT name, trouble, away_since AS since FROM node
             WHERE lease_until > $1 AND ready_since IS NULL
               AND (away_since IS NULL OR away_since <= $1::timestamptz - interval '10 s') ORDER BY away_since, name ${LIMIT}`);

export interface FailingTrunk {
  name: string;
  since: Date;
  errors_in_row: number;
}

export const failingTrunks = (now: Date): Sql =>
  find(now, `SELECT name, failing_since AS since, errors_in_row FROM node
             WHERE ${TAKES_CALLS('node')} AND failing_since IS NOT NULL ORDER BY failing_since ${LIMIT}`);

/** A node that nobody holds, and on which nothing is open, is forgotten. */
export const forgetNode = (now: Date, name: string): Sql => ({
  text: `DELETE FROM node WHERE name = $2 AND lease_until <= $1
           AND NOT EXISTS (SELECT 1 FROM offer WHERE offer.node = $2 AND ended_at IS NULL)
           AND NOT EXISTS (SELECT 1 FROM leg WHERE leg.node = $2 AND ended_at IS NULL)`,
  values: [now, name],
});

// ---- calls ------------------------------------------------------------------------------------------------------------

export interface RefusedCalls {
  campaign_id: number;
  caller_id: string | null;
  since: Date;
  n: number;
}

/** 608 within a day, for the number that the campaign still shows. */
export const refusedCalls = (now: Date): Sql =>
  find(now, `SELECT l.campaign_id, cp.caller_id, min(l.ended_at) AS since, count(*)::int AS n
             FROM leg l JOIN campaign cp ON cp.id = l.campaign_id AND cp.status <> 'ended'
             WHERE l.ciq = 'c' AND l.result_response = 608 AND l.ended_at > $1::timestamptz - interval '1 day'
               AND l.originating IS NOT DISTINCT FROM cp.caller_id
             GROUP BY 1, 2 ORDER BY 3 ${LIMIT}`);

export interface Objection {
  contact_id: string;
  number: string;
  since: Date;
}

/** 607 within a month: nobody has listed the number, nor taken it off the list since then. */
export const objections = (now: Date): Sql =>
  find(now, `SELECT l.contact_id, l.destination AS number, min(l.ended_at) AS since
             FROM leg l JOIN contact c ON c.id = l.contact_id AND c.erased_at IS NULL
             WHERE l.ciq = 'c' AND l.result_response = 607 AND l.ended_at > $1::timestamptz - interval '30 days'
               AND NOT EXISTS (SELECT 1 FROM do_not_call d WHERE d.number = l.destination)
               AND NOT EXISTS (SELECT 1 FROM do_not_call_removed d WHERE d.number = l.destination AND d.removed_at > l.ended_at)
             GROUP BY 1, 2 ORDER BY 3 ${LIMIT}`);

export interface UnclearOutcome {
  contact_id: string;
  call_id: string;
  since: Date;
  due_at: Date | null;
}

/**
 * The last leg to a contact that is still to be called was lost, within a week: nobody has decided since, nor was it called
 * again. A leg that the switch has refused, as it came too late, has certainly not rung.
 */
export const unclearOutcomes = (now: Date): Sql =>
  find(now, `SELECT l.contact_id, l.call_id, l.ended_at AS since, c.wait_until AS due_at
             FROM leg l JOIN contact c ON c.id = l.contact_id
             WHERE l.ciq = 'c' AND l.result_code = 'e' AND l.result_reason IN ('unknown', 'switch_lost')
               AND l.ended_at > $1::timestamptz - interval '7 days'
               AND c.state IN ('new', 'waiting', 'queued') AND c.queue_rank <> 1 AND c.ended_reason IS NULL AND c.deleted_at IS NULL
               AND NOT EXISTS (SELECT 1 FROM leg later WHERE later.contact_id = c.id AND later.ciq = 'c' AND later.created_at > l.created_at)
               AND NOT EXISTS (SELECT 1 FROM repair r WHERE r.cause = 'leg_not_sent' AND r.subject = 'leg/' || l.id)
             ORDER BY l.ended_at ${LIMIT}`);

// ---- contacts and their workflows ---------------------------------------------------------------------------------------

export interface ClosedContact {
  contact_id: string;
  round: number;
  since: Date;
}

/** Disabled since their workflows were no more, within a month, and nobody has decided since. */
export const closedContacts = (now: Date): Sql =>
  find(now, `SELECT c.id AS contact_id, c.round, r.at AS since
             FROM repair r
             JOIN contact c ON c.id = split_part(r.subject, '/', 2)::bigint AND c.round = split_part(r.subject, '/', 3)::int
             JOIN campaign cp ON cp.id = c.campaign_id AND cp.status <> 'ended'
             WHERE r.cause = 'workflow_closed' AND r.at > $1::timestamptz - interval '30 days'
               AND c.state = 'disabled' AND c.ended_reason = 'disabled' AND c.ended_by = 'system' AND c.deleted_at IS NULL
             ORDER BY r.at, r.id ${LIMIT}`);

/** Due 5 min ago and not queued: every worker looks for them once a second. */
export const stuckContacts = (now: Date): Sql =>
  find(now, `SELECT id AS contact_id, round, wait_until AS since FROM contact
             WHERE state = 'waiting' AND wait_reason IN ('retry_delay', 'rescheduled', 'number_in_use')
               AND wait_until <= $1::timestamptz - interval '5 min' ORDER BY wait_until ${LIMIT}`);

// ---- campaigns --------------------------------------------------------------------------------------------------------

export interface OfCampaign {
  campaign_id: number;
  since: Date;
}

/** The latest import, whose process has died: the lock on the list that it held is gone. */
export const brokenImports = (now: Date): Sql =>
  find(now, `SELECT i.campaign_id, i.seen_at AS since
             FROM import i JOIN campaign cp ON cp.id = i.campaign_id AND cp.status <> 'ended'
             WHERE i.ended_at IS NULL AND i.seen_at <= $1
               AND NOT EXISTS (SELECT 1 FROM import newer WHERE newer.campaign_id = i.campaign_id AND newer.id > i.id)
             ORDER BY i.seen_at ${LIMIT}`);

/** A queued contact of campaign `cp` whose hours are those of profile `w.profile_id`. */
const QUEUED = (profile: string): string => `FROM contact c
  WHERE c.campaign_id = cp.id AND c.state = 'queued' AND c.order_version = cp.order_version AND c.is_included
    AND ${NEXT_HOURS} = ${profile}`;

export interface Unserved extends OfCampaign {
  /** Agents who serve its queue, none of whom is logged on. */
  agents: number;
}

/** It runs, its hours are open, somebody is callable, and nobody is logged on for it. OFFSET 0: a probe, whatever the list is. */
export const unservedCampaigns = (now: Date): Sql =>
  find(now, `SELECT cp.id AS campaign_id, served.agents, greatest(served.since, cp.updated_at) AS since
             FROM campaign cp CROSS JOIN LATERAL (
               SELECT count(*)::int AS agents, max(a.since) AS since,
                 count(*) FILTER (WHERE a.state <> 'logged_off' AND a.lease_until > $1) AS logged_on
               FROM agent_queue aq JOIN agent a ON a.id = aq.agent_id WHERE aq.campaign_id = cp.id) AS served
             WHERE cp.status = 'running' AND served.logged_on = 0
               AND EXISTS (SELECT 1 FROM hours_window w WHERE w.campaign_id = cp.id AND w.open_until > $1
                             AND EXISTS (SELECT 1 ${QUEUED('w.profile_id')} OFFSET 0))
             ORDER BY cp.id ${LIMIT}`);

export interface NeverOpen extends OfCampaign {
  why: string;
  country: string;
  /** One of them. */
  contact_id: string;
}

/** It runs, and has queued contacts whose hours will never open; by the hours that they have. */
export const neverOpen = (now: Date): Sql =>
  find(now, `SELECT cp.id AS campaign_id, w.why, p.country, one.id AS contact_id, one.state_since AS since
             FROM campaign cp
             JOIN hours_window w ON w.campaign_id = cp.id AND w.open_until IS NULL AND w.opens_at IS NULL AND w.why IS NOT NULL
             JOIN hours_profile p ON p.id = w.profile_id
             CROSS JOIN LATERAL (SELECT c.id, c.state_since ${QUEUED('w.profile_id')} LIMIT 1) AS one
             WHERE cp.status = 'running' AND w.due_at > $1
             ORDER BY cp.id, w.profile_id ${LIMIT}`);

/** Emergency stops that no worker has carried out, though each looks once a second. */
export const openStops = (now: Date): Sql =>
  find(now, `SELECT id AS campaign_id, updated_at AS since FROM campaign
             WHERE stop_requested AND updated_at <= $1::timestamptz - interval '10 s' ORDER BY updated_at ${LIMIT}`);

// ---- agents -----------------------------------------------------------------------------------------------------------

export interface OfAgent {
  agent_id: number;
  since: Date;
}

export interface SetAside extends OfAgent {
  state: string;
  cause: 'missed_limit' | 'error_limit';
}

/** Paused or logged off within a week, since they missed too many calls, or their phones failed too often. */
export const agentsSetAside = (now: Date): Sql =>
  find(now, `SELECT id AS agent_id, since, state, cause FROM agent
             WHERE state IN ('paused', 'logged_off') AND cause IN ('missed_limit', 'error_limit')
               AND since > $1::timestamptz - interval '7 days' ORDER BY since ${LIMIT}`);

/** Engaged by an offer that is over. */
export const stuckAgents = (now: Date): Sql =>
  find(now, `SELECT a.id AS agent_id, a.since FROM agent a LEFT JOIN offer o ON o.id = a.offer_id
             WHERE a.state IN ('reserved', 'connecting', 'connected') AND (o.id IS NULL OR o.ended_at IS NOT NULL)
               AND a.since <= $1::timestamptz - interval '10 s' ORDER BY a.since ${LIMIT}`);

// ---- webhooks, release --------------------------------------------------------------------------------------------------

export interface PausedWebhook {
  webhook_id: number;
  since: Date;
  why: 'failing' | 'gone';
}

/** Paused, and not by a person. */
export const pausedWebhooks = (now: Date): Sql => ({
  text: `SELECT id AS webhook_id, coalesce(paused_at, $1) AS since, paused_reason AS why FROM webhook
         WHERE state = 'paused' AND paused_reason <> 'manual' ORDER BY paused_at ${LIMIT}`,
  values: [now],
});

export interface Migration {
  name: string;
  since: Date;
}

export const appliedMigrations = (): Sql => ({
  text: `SELECT migration_name AS name, finished_at AS since FROM _prisma_migrations
         WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL ORDER BY migration_name`,
  values: [],
});
