/**
 * The hand-written SQL of the API, as functions: what is set-wise, guarded or hot. Ordinary reads and writes go through
 * Prisma. Every statement takes the time as a parameter: one clock. Names begin with `api_`, as matching uses the same
 * connections.
 */
import type { StoredRules } from '../domain/rules-of-call.ts';
import { HAS_ROOM, IS_DUE, RULES_AT_FIRST_OFFER } from '../matching/sql.ts';
import type { Sql } from '../prisma/tx.ts';
import { isCorrectable, SEEN_CONTACT } from './waits-sql.ts';

// ---- keys and tickets -----------------------------------------------------------------------------------------------

export const validKey = (hash: string): Sql => ({
  name: 'api_valid_key',
  text: `SELECT id, role, agent_id FROM api_key WHERE hash = $1 AND revoked_at IS NULL`,
  values: [hash],
});

export const ensureAdminKey = (hash: string, now: Date): Sql => ({
  text: `INSERT INTO api_key (name, role, hash, created_at) VALUES ('administrator', 'admin', $1, $2)
         ON CONFLICT (hash) DO UPDATE SET role = 'admin', agent_id = NULL, revoked_at = NULL`,
  values: [hash, now],
});

/** Of these keys, those that are revoked. */
export const revokedKeys = (ids: number[]): Sql => ({
  name: 'api_revoked_keys',
  text: `SELECT id FROM api_key WHERE id = ANY($1::int[]) AND revoked_at IS NOT NULL`,
  values: [ids],
});

export const validTicket = (hash: string, now: Date): Sql => ({
  name: 'api_valid_ticket',
  text: `SELECT t.agent_id, t.key_id FROM stream_ticket t JOIN api_key k ON k.id = t.key_id AND k.revoked_at IS NULL
         WHERE t.hash = $1 AND t.expires_at > $2`,
  values: [hash, now],
});

export const writeTicket = (hash: string, agentId: number, keyId: number, expiresAt: Date): Sql => ({
  text: `INSERT INTO stream_ticket (hash, agent_id, key_id, expires_at) VALUES ($1, $2, $3, $4)`,
  values: [hash, agentId, keyId, expiresAt],
});

// ---- idempotent requests --------------------------------------------------------------------------------------------

/**
 * Takes the key for this request: 1 row when it is ours, 0 when another request has it. One left by a process that died
 * in the middle (`abandonedBefore`) is taken over, but only by the same request.
 */
export const takeRequest = (keyId: number, key: string, fingerprint: string, now: Date, abandonedBefore: Date): Sql => ({
  name: 'api_take_request',
  text: `INSERT INTO idempotent_request AS r (key_id, key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (key_id, key) DO UPDATE SET created_at = $4
           WHERE r.status IS NULL AND r.created_at < $5 AND r.fingerprint = $3`,
  values: [keyId, key, fingerprint, now, abandonedBefore],
});

export const findRequest = (keyId: number, key: string): Sql => ({
  name: 'api_find_request',
  text: `SELECT fingerprint, status, body FROM idempotent_request WHERE key_id = $1 AND key = $2`,
  values: [keyId, key],
});

/** `takenAt` makes sure that only who has taken it writes its answer. */
export const answerRequest = (keyId: number, key: string, takenAt: Date, status: number, body: unknown): Sql => ({
  name: 'api_answer_request',
  text: `UPDATE idempotent_request SET status = $4, body = $5 WHERE key_id = $1 AND key = $2 AND created_at = $3`,
  values: [keyId, key, takenAt, status, JSON.stringify(body)],
});

export const dropRequest = (keyId: number, key: string, takenAt: Date): Sql => ({
  name: 'api_drop_request',
  text: `DELETE FROM idempotent_request WHERE key_id = $1 AND key = $2 AND created_at = $3 AND status IS NULL`,
  values: [keyId, key, takenAt],
});

/** Two years and some weeks, in which the second one is looked at. */
const AUDIT_DAYS = 800;

/** What nobody will ask for again: answers older than a day, tickets that have expired, who changed what years ago. */
export const forget = (now: Date): Sql[] => [
  {
    text: `DELETE FROM idempotent_request WHERE created_at < $1`,
    values: [new Date(now.getTime() - 86_400_000)],
  },
  { text: `DELETE FROM stream_ticket WHERE expires_at < $1`, values: [now] },
  // The request was given up, and never repeated; it may name somebody's number.
  { text: `DELETE FROM transfer WHERE state = 'requested' AND created_at < $1`, values: [new Date(now.getTime() - 86_400_000)] },
  { text: `DELETE FROM audit WHERE at < $1`, values: [new Date(now.getTime() - AUDIT_DAYS * 86_400_000)] },
  ...['campaign', 'agent', 'api_key'].map((table) => ({
    text: `UPDATE ${table} SET request_key = NULL WHERE request_key IS NOT NULL AND created_at < $1`,
    values: [new Date(now.getTime() - 86_400_000)],
  })),
];

// ---- campaigns ------------------------------------------------------------------------------------------------------

/** NO KEY: an import that is under way refers to the row for as long as it is uploaded, and must not hold up the stop. */
export const lockCampaign = (id: number): Sql => ({
  name: 'api_lock_campaign',
  text: `SELECT status, stop_requested, rules, country, zone FROM campaign WHERE id = $1 FOR NO KEY UPDATE`,
  values: [id],
});

/** The rules of a call, whose campaign is locked as by `lockCampaign`. */
export const lockCampaignOf = (callId: string): Sql => ({
  name: 'api_lock_campaign_of',
  text: `SELECT cp.status, cp.rules, ${RULES_AT_FIRST_OFFER} AS rules_at_first_offer
         FROM call k JOIN campaign cp ON cp.id = k.campaign_id WHERE k.call_id = $1 FOR NO KEY UPDATE OF cp`,
  values: [callId],
});

export const setStatus = (now: Date, id: number, status: string, stopRequested: boolean): Sql => ({
  name: 'api_set_status',
  text: `UPDATE campaign SET status = $3, stop_requested = $4 OR (stop_requested AND $3 <> 'running'),
           lets_reschedules = $3 = 'paused' AND NOT $4 AND coalesce((rules -> 'reschedule' ->> 'while_paused')::boolean, false),
           revision = revision + 1, updated_at = $1
         WHERE id = $2`,
  values: [now, id, status, stopRequested],
});

/**
 * The emergency stop of these campaigns, all whose queues are locked, as `setStatus` stops each: those that run or, though
 * they are paused, call back; and those that still ring someone although they are paused or have ended.
 */
export const stopCampaigns = (now: Date, ids: number[]): Sql => ({
  name: 'api_stop_campaigns',
  text: `UPDATE campaign SET status = CASE status WHEN 'running' THEN 'paused' ELSE status END, stop_requested = true,
           lets_reschedules = false, revision = revision + 1, updated_at = $1
         WHERE id = ANY($2::int[])
           AND (status = 'running' OR lets_reschedules OR EXISTS (SELECT 1 FROM offer WHERE campaign_id = campaign.id AND ended_at IS NULL
                                                AND state <> 'talking'))
         RETURNING id`,
  values: [now, ids],
});

/** Locks are waited for so long in this transaction; then SQLSTATE 55P03. */
export const shortWaits: Sql = { text: `SET LOCAL lock_timeout = '3s'`, values: [] };

export const statusOf = (id: number): Sql => ({
  name: 'api_status_of',
  text: `SELECT status FROM campaign WHERE id = $1`,
  values: [id],
});

/** The list or the rules changed: the campaign's workflow has something to carry out. */
export const bumpRevision = (now: Date, id: number): Sql => ({
  name: 'api_bump_revision',
  text: `UPDATE campaign SET revision = revision + 1, updated_at = $1 WHERE id = $2`,
  values: [now, id],
});

export interface NewCampaignRow {
  name: string;
  queueKey: string;
  country: string;
  zone: string;
  serviceNum: string | null | undefined;
  callerId: string | null | undefined;
  rules: object;
  /** Who makes it. */
  by: string;
  requestKey?: string;
}

/** With the first version of its rules; 0 rows when another campaign has the queue key. */
export const insertCampaign = (now: Date, campaign: NewCampaignRow): Sql => ({
  text: `WITH made AS (
           INSERT INTO campaign (name, queue_key, country, zone, service_num, caller_id, rules, created_at, updated_at, request_key)
           VALUES ($2, $3, $4, $5, $6, $7, $8, $1, $1, $10) ON CONFLICT (queue_key) DO NOTHING
           RETURNING id, rules, rules_version
         )
         INSERT INTO rules_version (campaign_id, version, rules, at, by)
         SELECT id, rules_version, rules, $1, $9 FROM made RETURNING campaign_id AS id`,
  values: [
    now,
    campaign.name,
    campaign.queueKey,
    campaign.country,
    campaign.zone,
    campaign.serviceNum ?? null,
    campaign.callerId ?? null,
    JSON.stringify(campaign.rules),
    campaign.by,
    campaign.requestKey ?? null,
  ],
});

const SETTINGS = ['name', 'country', 'zone', 'service_num', 'caller_id'] as const;

/** What is undefined stays. */
export const updateCampaign = (
  now: Date,
  id: number,
  settings: Partial<Record<(typeof SETTINGS)[number], string | null>>,
): Sql => {
  const given = SETTINGS.filter((column) => settings[column] !== undefined);
  const assignments = given.map((column, i) => `${column} = $${i + 3}, `);
  return {
    text: `UPDATE campaign SET ${assignments.join('')}updated_at = $1 WHERE id = $2`,
    values: [now, id, ...given.map((column) => settings[column])],
  };
};

/**
 * The campaign's rules and their next version, in one. An edit of order or filter is a new version of the order, too: contacts
 * that stand in a former one are sorted anew.
 */
export const updateRules = (now: Date, id: number, rules: object, by: string): Sql => ({
  text: `WITH changed AS (
           UPDATE campaign SET rules = $3, rules_version = rules_version + 1, revision = revision + 1, updated_at = $1,
             order_version = order_version + CASE WHEN (rules -> 'order', rules -> 'filter')
               IS DISTINCT FROM ($3::jsonb -> 'order', $3::jsonb -> 'filter') THEN 1 ELSE 0 END
           WHERE id = $2 RETURNING id, rules, rules_version
         )
         INSERT INTO rules_version (campaign_id, version, rules, at, by)
         SELECT id, rules_version, rules, $1, $4 FROM changed`,
  values: [now, id, JSON.stringify(rules), by],
});

/** The caps of a campaign were changed: a page of those who wait for one is looked at again; those after `after`. */
export const lookAtCapsAgain = (now: Date, id: number, after: string, limit: number): Sql => ({
  text: `UPDATE contact SET wait_until = $1
         WHERE id IN (SELECT id FROM contact WHERE campaign_id = $2 AND state = 'waiting' AND wait_reason = 'cap' AND id > $3
                      ORDER BY id LIMIT $4)
           AND state = 'waiting' AND wait_reason = 'cap'
         RETURNING id`,
  values: [now, id, after, limit],
});

export const queueKeysLike = (prefix: string): Sql => ({
  text: `SELECT queue_key FROM campaign WHERE starts_with(queue_key, $1)`,
  values: [prefix],
});

export interface CountRow {
  state: string;
  code: string;
  reason: string;
  n: number;
}

/** The list in one pass, so that every way of counting it adds up to the same. */
export const countContacts = (now: Date, campaignId: number): Sql => ({
  name: 'api_count_contacts',
  text: `SELECT seen_state AS state, coalesce(last_code, 'none') AS code,
           CASE seen_state WHEN 'waiting' THEN coalesce(seen_reason, 'none') ELSE 'none' END AS reason, count(*)::int AS n
         FROM ${SEEN_CONTACT} contact WHERE campaign_id = $2 AND deleted_at IS NULL GROUP BY 1, 2, 3`,
  values: [now, campaignId],
});

export const maxAttempts = (campaignId: number): Sql => ({
  text: `SELECT (rules ->> 'max_attempts')::int AS max_attempts FROM campaign WHERE id = $1`,
  values: [campaignId],
});

export const countAgents = (campaignId: number): Sql => ({
  name: 'api_count_agents',
  text: `SELECT a.state, count(*)::int AS n FROM agent_queue q JOIN agent a ON a.id = q.agent_id
         WHERE q.campaign_id = $1 GROUP BY 1`,
  values: [campaignId],
});

/** Contacts whose answer crossed our hang-up, over all calls. */
export const countAbandoned = (campaignId: number): Sql => ({
  name: 'api_count_abandoned',
  text: `SELECT count(*)::int AS n FROM call_events
         WHERE campaign_id = $1 AND ciq = 'c' AND result_reason = 'abandoned'`,
  values: [campaignId],
});

export interface NodesReady {
  n: number;
  /** Those whose trunk works. */
  working: number;
  /** Those of them that are not at a limit of theirs. */
  free: number;
}

export const nodesReady = (now: Date): Sql => ({
  name: 'api_nodes_ready',
  text: `SELECT count(*)::int AS n, count(*) FILTER (WHERE failing_since IS NULL)::int AS working,
                count(*) FILTER (WHERE failing_since IS NULL AND ${IS_DUE} AND ${HAS_ROOM})::int AS free
         FROM node WHERE lease_until > $1 AND ready_since IS NOT NULL`,
  values: [now],
});

/** Nodes that are held and can't reach their switch, and why. */
export const nodeTroubles = (now: Date): Sql => ({
  name: 'api_node_troubles',
  text: `SELECT name, trouble FROM node WHERE lease_until > $1 AND trouble IS NOT NULL ORDER BY name`,
  values: [now],
});

// ---- contacts -------------------------------------------------------------------------------------------------------

/** A page of the list by id; `q` is the beginning of an external id or of a number, `+` and spaces as people write them. */
export const listContacts = (
  now: Date,
  campaignId: number,
  after: bigint,
  limit: number,
  filter: { state?: string | undefined; q?: string | undefined },
): Sql => {
  const q = filter.q ?? null;
  const number = q === null ? null : q.replace(/[\s()./-]/g, '').replace(/^00/, '+');
  return {
    text: `SELECT * FROM ${SEEN_CONTACT} contact
           WHERE campaign_id = $2 AND deleted_at IS NULL AND id > $3
             AND ($4::text IS NULL OR seen_state = $4)
             AND ($5::text IS NULL OR starts_with(external_id, $5)
                  OR ($6 <> '' AND (starts_with(phone_num, $6) OR starts_with(phone_2, $6)
                                    OR starts_with(phone_num, '+' || $6) OR starts_with(phone_2, '+' || $6))))
           ORDER BY id LIMIT $7`,
    values: [now, campaignId, String(after), filter.state ?? null, q, number, limit],
  };
};

export const findContact = (now: Date, id: string): Sql => ({
  name: 'api_find_contact',
  text: `SELECT * FROM ${SEEN_CONTACT} contact WHERE id = $2 AND deleted_at IS NULL`,
  values: [now, id],
});

export const lockContact = (id: string): Sql => ({
  name: 'api_lock_contact',
  text: `SELECT * FROM contact WHERE id = $1 FOR NO KEY UPDATE`,
  values: [id],
});

export const lockContactByKey = (campaignId: number, listKey: string): Sql => ({
  text: `SELECT * FROM contact WHERE campaign_id = $1 AND list_key = $2 AND deleted_at IS NULL FOR NO KEY UPDATE`,
  values: [campaignId, listKey],
});

export interface ContactData {
  phone_num: string;
  phone_2: string | null;
  variables: Record<string, string>;
  zone: string | null;
  priority: number;
  earliest: string | null;
  latest: string | null;
}

/** 0 rows when somebody else has inserted the same row of the list meanwhile. */
export const insertContact = (now: Date, campaignId: number, externalId: string, data: ContactData): Sql => ({
  text: `INSERT INTO contact (campaign_id, list_key, external_id, phone_num, phone_2, variables, zone, priority,
           earliest, latest, state_since, place, created_at, updated_at)
         VALUES ($2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $1, $1, $1, $1)
         ON CONFLICT (campaign_id, list_key) WHERE deleted_at IS NULL DO NOTHING RETURNING *`,
  values: [
    now,
    campaignId,
    externalId,
    data.phone_num,
    data.phone_2,
    JSON.stringify(data.variables),
    data.zone,
    data.priority,
    data.earliest,
    data.latest,
  ],
});

/**
 * New data for a row of the list; id, history and place stay. A number that is another one now has not been given up,
 * and a second number that is gone can't be the next one.
 */
export const updateContact = (now: Date, id: string, data: ContactData): Sql => ({
  text: `UPDATE contact SET phone_num = $3, phone_2 = $4, variables = $5, zone = $6, priority = $7, earliest = $8,
           latest = $9, updated_at = $1,
           list_key = CASE WHEN external_id IS NULL THEN $3 ELSE list_key END,
           given_up_1 = given_up_1 AND phone_num = $3,
           given_up_2 = given_up_2 AND phone_2 IS NOT DISTINCT FROM $4 AND $4 IS NOT NULL,
           next_phone = CASE WHEN $4::text IS NULL THEN 1 ELSE next_phone END,
           wait_until = CASE WHEN wait_reason = 'cap' THEN $1 ELSE wait_until END,
           hours_1 = CASE WHEN (phone_num, zone, earliest, latest) IS NOT DISTINCT FROM ($3, $6, $8, $9) THEN hours_1 END,
           hours_2 = CASE WHEN (phone_2, zone, earliest, latest) IS NOT DISTINCT FROM ($4, $6, $8, $9) THEN hours_2 END, order_version = -1
         WHERE id = $2 RETURNING *`,
  values: [
    now,
    id,
    data.phone_num,
    data.phone_2,
    JSON.stringify(data.variables),
    data.zone,
    data.priority,
    data.earliest,
    data.latest,
  ],
});

/** The call that a queued contact waits with is to the number that it has now. */
export const updateQueuedNumber = (id: string): Sql => ({
  text: `UPDATE call SET number = CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END
         FROM contact c WHERE c.id = $1 AND c.state = 'queued' AND call.call_id = c.call_id`,
  values: [id],
});

/** Ends a contact that no workflow has taken up yet. */
export const endNewContact = (now: Date, id: string, reason: string, by: string): Sql => ({
  text: `UPDATE contact SET state = 'disabled', state_since = $1, ended_reason = $3, ended_by = $4, ended_at = $1,
           closed_at = $1, wait_reason = NULL, wait_until = NULL, updated_at = $1
         WHERE id = $2 AND state = 'new'`,
  values: [now, id, reason, by],
});

export const markDeleted = (now: Date, id: string): Sql => ({
  text: `UPDATE contact SET deleted_at = $1, updated_at = $1 WHERE id = $2 AND deleted_at IS NULL`,
  values: [now, id],
});

/** Whoever is put back into the list is called like the rest of it, whatever was agreed before. */
const NOT_RESCHEDULED = `queue_rank = CASE WHEN attempts > 0 THEN 2 ELSE 3 END, scheduled_at = NULL, reserved_for = NULL,
  reserved_until = NULL`;

/** Back into the list, in a new round and at its old place; 0 rows unless it is disabled and its workflow has closed. */
export const enableContact = (now: Date, id: string): Sql => ({
  text: `UPDATE contact SET state = 'new', state_since = $1, round = round + 1, ended_reason = NULL, ended_by = NULL,
           ended_at = NULL, closed_at = NULL, wait_reason = NULL, wait_until = NULL, ${NOT_RESCHEDULED}, updated_at = $1
         WHERE id = $2 AND state = 'disabled' AND closed_at IS NOT NULL AND deleted_at IS NULL`,
  values: [now, id],
});

export const listedNumber = (numbers: string[]): Sql => ({
  text: `SELECT number FROM do_not_call WHERE number = ANY($1::text[]) LIMIT 1`,
  values: [numbers],
});

/** The latest calls of a contact with their offers and legs, newest first. */
export const callsOfContact = (id: string, limit: number): Sql => ({
  text: `SELECT k.*,
           (SELECT recording FROM leg WHERE call_id = k.call_id AND leg_type = 'contact') AS recording,
           coalesce((SELECT json_agg(o ORDER BY o.offer_no) FROM (
             SELECT id::text, offer_no, agent_id::text, state, created_at, deadline, answered_at, accepted_at, ended_at,
               result_code, result_reason
             FROM offer WHERE call_id = k.call_id) o), '[]') AS offers,
           coalesce((SELECT json_agg(l ORDER BY l.sequence) FROM (
             SELECT id, offer_id::text, ciq, leg_type, sequence, agent_id::text, destination, created_at, alerting_at,
               answered_at, ended_at, result_code, result_response, result_reason
             FROM leg WHERE call_id = k.call_id) l), '[]') AS legs
         FROM (SELECT call_id, attempt, number, queued_at, ended_at, end_code, end_reason, rules_version
               FROM call WHERE contact_id = $1 ORDER BY call_no DESC LIMIT $2) k`,
  values: [id, limit],
});

// ---- offers and calls -----------------------------------------------------------------------------------------------

export interface OfferRow {
  id: string;
  offer_no: number;
  agent_id: number;
  call_id: string;
  contact_id: string;
  round: number;
  state: string;
  ended_at: Date | null;
  result_code: string | null;
}

const OFFER = `SELECT o.id, o.offer_no, o.agent_id, o.call_id, o.contact_id, c.round, o.state, o.ended_at, o.result_code
  FROM offer o JOIN contact c ON c.id = o.contact_id`;

export const findOffer = (id: string): Sql => ({
  name: 'api_find_offer',
  text: `${OFFER} WHERE o.id = $1`,
  values: [id],
});

/** Every offer of a call, the last first. */
export const offersOfCall = (callId: string): Sql => ({
  name: 'api_offers_of_call',
  text: `${OFFER} WHERE o.call_id = $1 ORDER BY o.offer_no DESC`,
  values: [callId],
});

export interface CallRow {
  call_id: string;
  contact_id: string;
  campaign_id: number;
  ended_at: Date | null;
  end_code: string | null;
}

export const findCall = (callId: string): Sql => ({
  name: 'api_find_call',
  text: `SELECT call_id, contact_id, campaign_id, ended_at, end_code FROM call WHERE call_id = $1`,
  values: [callId],
});

/** A contact that was to be called once more, and whose new round has not started. */
export const closeReopened = (now: Date, contactId: string, callId: string): Sql => ({
  text: `UPDATE contact SET state = 'done', state_since = $1, ended_reason = 'answered', ended_by = 'system', ended_at = $1,
           closed_at = $1, wait_reason = NULL, wait_until = NULL, scheduled_at = NULL, updated_at = $1
         WHERE id = $2 AND call_id = $3 AND state = 'new' AND ended_reason IS NULL`,
  values: [now, contactId, callId],
});

/** A talk that was thought to be over is to be repeated, in a new round, after `dueAt`; 0 rows if it may not be. */
export const reopenUnanswered = (now: Date, contactId: string, callId: string, dueAt: Date, phone: 1 | 2): Sql => ({
  text: `UPDATE contact SET state = 'new', state_since = $1, round = round + CASE state WHEN 'done' THEN 1 ELSE 0 END,
           queue_rank = 2, wait_until = $4, scheduled_at = NULL, reserved_for = NULL, reserved_until = NULL,
           next_phone = $5, wait_reason = NULL, ended_reason = NULL, ended_by = NULL, ended_at = NULL, closed_at = NULL,
           updated_at = $1
         WHERE id = $2 AND call_id = $3 AND ${isCorrectable('$3::bigint')}`,
  values: [now, contactId, callId, dueAt, phone],
});

export const closedContact = (contactId: string): Sql => ({
  name: 'api_closed_contact',
  text: `SELECT 1 FROM contact WHERE id = $1 AND closed_at IS NOT NULL`,
  values: [contactId],
});

/** Do-not-call said of a contact for whom no workflow is under way. */
export const listClosedContact = (now: Date, contactId: string, by: string): Sql => ({
  text: `UPDATE contact SET state = 'disabled', state_since = $1, ended_reason = 'do_not_call', ended_by = $3,
           ended_at = $1, closed_at = coalesce(closed_at, $1), wait_reason = NULL, wait_until = NULL, updated_at = $1
         WHERE id = $2 AND (closed_at IS NOT NULL OR state = 'new') AND ended_reason IS DISTINCT FROM 'do_not_call'`,
  values: [now, contactId, by],
});

/** When the wrap-up of this agent after this call ends; no row unless the agent is in it. */
export const wrapUpUntil = (agentId: number, callId: string): Sql => ({
  name: 'api_wrap_up_until',
  text: `SELECT a.state_until FROM agent a JOIN offer o ON o.id = a.offer_id
         WHERE a.id = $1 AND o.call_id = $2 AND a.state = 'wrap_up' AND a.state_until IS NOT NULL`,
  values: [agentId, callId],
});

/** Never shortens: of two extensions the longer holds. */
export const extendWrapUp = (now: Date, agentId: number, callId: string, until: Date): Sql => ({
  name: 'api_extend_wrap_up',
  text: `UPDATE agent a SET state_until = greatest(a.state_until, $4), updated_at = $1
         FROM offer o WHERE o.id = a.offer_id AND a.id = $2 AND o.call_id = $3 AND a.state = 'wrap_up'`,
  values: [now, agentId, callId, until],
});

// ---- the stream of an agent -----------------------------------------------------------------------------------------

export interface AgentNow {
  state: string;
  since: Date;
  cause: string;
  state_until: Date | null;
  next_state: string | null;
  offer_id: string | null;
  call_id: string | null;
  /** Position of the agent's last event, `0` if there is none. */
  position: string;
  /** Position of the last event of all. */
  last: string;
}

/** The present state and the position it belongs to, in one snapshot. */
export const agentNow = (agentId: number): Sql => ({
  name: 'api_agent_now',
  text: `SELECT a.state, a.since, a.cause, a.state_until, a.next_state, a.offer_id, o.call_id,
           coalesce((SELECT position FROM agent_events e WHERE e.agent_id = a.id ORDER BY position DESC LIMIT 1), 0)
             AS position,
           (SELECT last FROM event_position WHERE id = 1) AS last
         FROM agent a LEFT JOIN offer o ON o.id = a.offer_id WHERE a.id = $1`,
  values: [agentId],
});

export interface AgentNews {
  /** Which of the readers, from 1. */
  nth: number;
  position: string;
  state: string;
  at: Date;
  cause: string;
  offer_id: string | null;
  call_id: string | null;
  result_code: string | null;
  until: Date | null;
  next_state: string | null;
}

/**
 * What is new for each of many readers, each from its own position on: one statement however many there are, and an
 * index look-up for each. What an agent's row says of the future holds only for the state it is in.
 */
export const agentNews = (agentIds: number[], after: string[], limit: number): Sql => ({
  name: 'api_agent_news',
  text: `SELECT reader.nth::int, e.position, e.state, e.at, e.cause, e.offer_id, e.call_id, e.result_code,
           CASE WHEN a.state = e.state AND a.since = e.at THEN a.state_until END AS until,
           CASE WHEN a.state = e.state AND a.since = e.at THEN a.next_state END AS next_state
         FROM unnest($1::int[], $2::bigint[]) WITH ORDINALITY AS reader (agent_id, after, nth)
         JOIN agent a ON a.id = reader.agent_id
         CROSS JOIN LATERAL (SELECT * FROM agent_events WHERE agent_id = reader.agent_id AND position > reader.after
                             ORDER BY position LIMIT $3) e
         ORDER BY e.position`,
  values: [agentIds, after, limit],
});

export interface ScreenPopRow extends StoredRules {
  offer_id: string;
  call_id: string;
  contact_id: string;
  campaign_id: number;
  deadline: Date;
  ended_at: Date | null;
  is_live: boolean;
  number: string;
  variables: Record<string, string>;
  attempt: number;
  /** The contact's own, if it has one. */
  contact_zone: string | null;
  campaign_zone: string;
  history: { at: string; code: string | null }[];
}

/** What agents are shown of the contacts they are offered. */
export const screenPops = (offerIds: string[]): Sql => ({
  name: 'api_screen_pops',
  text: `SELECT o.id AS offer_id, o.call_id, o.contact_id, o.campaign_id, o.deadline, o.ended_at, k.number, k.attempt,
           o.transfer_id IS NOT NULL AS is_live,
           c.variables, c.zone AS contact_zone, cp.zone AS campaign_zone, cp.rules, ${RULES_AT_FIRST_OFFER} AS rules_at_first_offer,
           coalesce((SELECT json_agg(h) FROM (
             SELECT created_at AS at, result_code AS code FROM leg
             WHERE contact_id = o.contact_id AND ciq = 'c' AND call_id <> o.call_id
             ORDER BY created_at DESC LIMIT 5) h), '[]') AS history
         FROM offer o JOIN call k ON k.call_id = o.call_id JOIN contact c ON c.id = o.contact_id
         JOIN campaign cp ON cp.id = o.campaign_id
         WHERE o.id = ANY($1::bigint[])`,
  values: [offerIds],
});
