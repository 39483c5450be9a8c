/** The hand-written SQL of matching, as functions. Every statement takes the time as a parameter: one clock. */
import { MAX_PER_NUMBER_PER_DAY, MIN_GAP_SEC, RESERVE_SEC } from '../domain/rules.ts';
import type { ContactState } from '../domain/states.ts';
import type { Sql } from '../prisma/tx.ts';
import { DISABLED, ENDED_AS_LISTED, isListed, listedBy } from './do-not-call.ts';

/** Classes of advisory locks, so that a campaign's id never meets a number's hash. */
const LOCK = { queue: 1, number: 2, everyNumber: 3 } as const;

/**
 * One queue's lock, to the end of the transaction. Rows are locked plainly and not with SKIP LOCKED: two matchers that
 * skip each other's locks both find nothing, and nobody comes back for the pair.
 */
export const lockQueue = (campaignId: number): Sql => ({
  name: 'lock_queue',
  text: `SELECT pg_advisory_xact_lock(${LOCK.queue}, $1)`,
  values: [campaignId],
});

/**
 * The locks of every queue whose campaign calls or still rings someone, in that same order, and which these are. A campaign
 * that has ended may still ring; a draft does not.
 */
export const lockQueuesInUse = (): Sql => ({
  name: 'lock_queues_in_use',
  text: `SELECT id, pg_advisory_xact_lock(${LOCK.queue}, id)
         FROM (SELECT id FROM campaign
               WHERE status = 'running' OR lets_reschedules OR EXISTS (SELECT 1 FROM offer WHERE campaign_id = campaign.id AND ended_at IS NULL)
               ORDER BY id) AS in_use`,
  values: [],
});

/** The locks of every queue that an agent serves, always in the same order, so that two can't wait for each other. */
export const lockQueuesOfAgent = (agentId: number): Sql => ({
  name: 'lock_queues_of_agent',
  text: `SELECT pg_advisory_xact_lock(${LOCK.queue}, campaign_id)
         FROM (SELECT campaign_id FROM agent_queue WHERE agent_id = $1 ORDER BY campaign_id) AS served`,
  values: [agentId],
});

/** The locks on phone numbers, always in the same order, so that two can't wait for each other: dial and do-not-call take them. */
export const lockNumbers = (e164s: string[]): Sql => ({
  name: 'lock_numbers',
  text: `SELECT pg_advisory_xact_lock(${LOCK.number}, lock)
         FROM (SELECT DISTINCT hashtext(n) AS lock FROM unnest($1::text[]) AS n ORDER BY lock) AS wanted`,
  values: [e164s],
});

/**
 * A file lists so many numbers that they can't be locked one by one: it takes this lock just before it commits, and each dial,
 * which shares it with the others and takes it last, has read the list before that and written its leg, or reads it after.
 */
export const lockAgainstDials: Sql = { text: `SELECT pg_advisory_xact_lock(${LOCK.everyNumber}, 0)`, values: [] };
export const shareDials: Sql = {
  name: 'share_dials',
  text: `SELECT pg_advisory_xact_lock_shared(${LOCK.everyNumber}, 0)`,
  values: [],
};

/** `queue_rank` of a due reschedule, or of who is to be called now. */
export const RESCHEDULE_RANK = 1;

/** The number that contact `c` is called on next, and its hours profile; as in the indexes. */
export const NEXT_NUMBER = `(CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END)`;
export const NEXT_HOURS = `(CASE c.next_phone WHEN 2 THEN c.hours_2 ELSE c.hours_1 END)`;

/** What a contact is picked with. */
const CANDIDATE = `c.id, c.call_id, c.round, c.offer_no, c.attempts, c.queue_rank, c.priority, c.place`;

/**
 * Contact `c` may be offered to agent `a`; $1 is the time. OFFSET 0 keeps the conditions what they are, a probe for each
 * contact read: as a join the planner may turn them round and read a whole table first.
 */
const ALLOWED = `
  NOT EXISTS (SELECT 1 FROM offer o
              WHERE o.call_id = c.call_id AND o.agent_id = a.id AND o.reoffer_at > $1 OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM offer o WHERE o.contact_id = c.id AND o.ended_at IS NULL OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM leg l WHERE l.ciq = 'c' AND l.ended_at IS NULL AND l.destination = ${NEXT_NUMBER} OFFSET 0)
  AND (c.reserved_for IS NULL OR c.reserved_for = a.id OR c.reserved_until <= $1
       OR EXISTS (SELECT 1 FROM agent r WHERE r.id = c.reserved_for AND r.state = 'logged_off'))`;

/** Contacts in a former order that a pick looks at. */
const FORMER_AT_ONCE = 200;

/** Ranks that window `w` lets through: a reschedule needs the legal hours only, and is all that a pause may let through. */
const RANKS = `c.queue_rank BETWEEN 0 AND CASE WHEN w.open_until > $1 AND cp.status = 'running' THEN 3 ELSE 1 END`;

/**
 * The most urgent contact of campaign `cp` that agent `a` may be offered; $1 is the time. The index contact_queue holds each
 * hours profile's contacts in their order: for every profile whose hours are open it is read from its head until one is
 * allowed. Hours are asked here and not written to the contacts, so that who is late to renew a window leaves it closed.
 *
 * The second half is for contacts that still stand in a former order: after a change of order or filter, or of their data, the
 * campaign's workflow rewrites them. The best of them have been rewritten with the change (`firstInOrder`), so that a look at
 * some of the others is enough until it has; profile by profile, in the order of the index, as by statistics from before the
 * change there is nobody to be sorted. Otherwise it finds nothing.
 */
const MOST_URGENT = `
  SELECT * FROM (
    SELECT head.* FROM hours_window w CROSS JOIN LATERAL (
      SELECT ${CANDIDATE}, c.sort_key FROM contact c
      WHERE c.campaign_id = cp.id AND c.state = 'queued' AND c.order_version = cp.order_version AND c.is_included
        AND ${NEXT_HOURS} = w.profile_id AND ${RANKS} AND ${ALLOWED}
      ORDER BY c.queue_rank, c.sort_key, c.place, c.id
      LIMIT 1
    ) head
    WHERE w.campaign_id = cp.id AND w.legal_until > $1
    UNION ALL
    SELECT former.* FROM (
      SELECT ${CANDIDATE}, contact_sort_key(c.variables, c.priority, c.created_at, cp.rules -> 'order') AS sort_key
      FROM (
        SELECT c.* FROM hours_window w CROSS JOIN LATERAL (
          SELECT c.* FROM contact c
          WHERE c.campaign_id = cp.id AND c.state = 'queued' AND c.order_version < cp.order_version
            AND ${NEXT_HOURS} = w.profile_id AND ${RANKS} AND contact_included(c.variables, cp.rules -> 'filter')
          ORDER BY c.order_version LIMIT ${FORMER_AT_ONCE}
        ) c
        WHERE w.campaign_id = cp.id AND w.legal_until > $1
        LIMIT ${FORMER_AT_ONCE}
      ) c
      WHERE ${ALLOWED}
      ORDER BY c.queue_rank, sort_key, c.place, c.id
      LIMIT 1
    ) former
  ) urgent
  ORDER BY queue_rank, sort_key, place, id
  LIMIT 1`;

/** Ready and logged on; a campaign that calls now and has a contact for this agent. */
const SERVING = `
  FROM agent a
  JOIN agent_queue aq ON aq.agent_id = a.id
  JOIN campaign cp ON cp.id = aq.campaign_id AND (cp.status = 'running' OR cp.status = 'paused' AND cp.lets_reschedules)
  CROSS JOIN LATERAL (${MOST_URGENT}) c
  WHERE a.state = 'ready' AND a.lease_until > $1`;

/** The rules of call `k` as they were at its first offer (docs/domain.md, "Rules in force"); null before that. */
export const RULES_AT_FIRST_OFFER = `(
  SELECT v.rules FROM rules_version v WHERE v.campaign_id = k.campaign_id AND v.version = k.rules_version)`;

const PICKED = `a.id AS agent_id, cp.id AS campaign_id, c.id AS contact_id, c.call_id, c.round, cp.rules_version,
  coalesce((SELECT ${RULES_AT_FIRST_OFFER} FROM call k WHERE k.call_id = c.call_id), cp.rules) AS rules,
  c.offer_no + 1 AS offer_no, c.attempts + 1 AS attempt`;

/** The longest-idle ready agent for whom a contact of this campaign is callable, with the most urgent such contact. */
export const pickForCampaign = (now: Date, campaignId: number): Sql => ({
  name: 'pick_for_campaign',
  text: `SELECT ${PICKED} ${SERVING} AND cp.id = $2 ORDER BY a.since LIMIT 1`,
  values: [now, campaignId],
});

/** The most urgent contact for one ready agent over all the queues served. */
export const pickForAgent = (now: Date, agentId: number): Sql => ({
  name: 'pick_for_agent',
  text: `SELECT ${PICKED} ${SERVING} AND a.id = $2
         ORDER BY c.queue_rank, aq.priority, c.priority DESC, c.place, c.id LIMIT 1`,
  values: [now, agentId],
});

/** Calls up at a node: those with an offer that is not over, and those one of whose legs has outlived it. */
const CALLS_UP = `(
  SELECT count(*) FROM (SELECT call_id FROM offer WHERE offer.node = node.name AND ended_at IS NULL
                        UNION SELECT call_id FROM leg WHERE leg.node = node.name AND ended_at IS NULL) AS up)`;

/** It has fewer calls up than it may. */
export const HAS_ROOM = `(node.max_calls IS NULL OR ${CALLS_UP} < node.max_calls)`;

/** As calls a second it may begin one more by now. */
export const IS_DUE = `(node.calls_per_second IS NULL OR node.next_call_at IS NULL OR node.next_call_at <= $1)`;

/** Reachable, and its trunk works or may be probed: the time has come, and the probe before it has had its answer. */
const REACHABLE = `node.lease_until > $1 AND node.ready_since IS NOT NULL
  AND (node.failing_since IS NULL
       OR node.probe_at <= $1
          AND NOT EXISTS (SELECT 1 FROM offer probe WHERE probe.node = node.name AND probe.ended_at IS NULL
                            AND probe.created_at > node.failing_since))`;

const USABLE = `${REACHABLE} AND ${IS_DUE} AND ${HAS_ROOM}`;

/**
 * The node for the next offer: one whose probe is due, else the one with the fewest calls up. `rationed`: so many may use
 * it and no more, so it is to be taken by `lockNode` and `takeNode`.
 */
export const pickNode = (now: Date): Sql => ({
  name: 'pick_node',
  text: `SELECT name, failing_since IS NOT NULL OR max_calls IS NOT NULL OR calls_per_second IS NOT NULL AS rationed
         FROM node WHERE ${USABLE} ORDER BY failing_since, ${CALLS_UP}, name LIMIT 1`,
  values: [now],
});

/**
 * Over all queues only one transaction at a time makes a call of this node, to its end. A statement of its own: what
 * waited for a row within a statement would go on to count by the snapshot from before the wait.
 */
export const lockNode = (node: string): Sql => ({
  name: 'lock_node',
  text: `SELECT 1 FROM node WHERE name = $1 FOR NO KEY UPDATE`,
  values: [node],
});

/** So much of its time a node may make up for: what was late by less is not lost to its calls a second. */
const CATCH_UP = `interval '250 ms'`;

/** Takes a call of a locked node; 0 rows when others were faster. A failing trunk has its next probe at `probeAt`. */
export const takeNode = (now: Date, node: string, probeAt: Date): Sql => ({
  name: 'take_node',
  text: `UPDATE node SET probe_at = CASE WHEN failing_since IS NOT NULL THEN $3::timestamptz END,
           next_call_at = greatest(next_call_at, $1::timestamptz - ${CATCH_UP}) + interval '1 s' / calls_per_second
         WHERE name = $2 AND ${USABLE}`,
  values: [now, node, probeAt],
});

/** From when a node that only its calls a second hold back may begin one; null while there is none with such a limit. */
export const nextCallAt = (now: Date): Sql => ({
  name: 'next_call_at',
  text: `SELECT min(coalesce(next_call_at, $1)) AS at FROM node
         WHERE calls_per_second IS NOT NULL AND ${REACHABLE} AND ${HAS_ROOM}`,
  values: [now],
});

/** The agent who has been ready longest of those for whom some contact is callable, whether or not there is a node. */
export const waitingAgent = (now: Date): Sql => ({
  name: 'waiting_agent',
  text: `SELECT ready.id FROM agent ready
         WHERE ready.state = 'ready' AND EXISTS (SELECT 1 ${SERVING} AND a.id = ready.id)
         ORDER BY ready.since LIMIT 1`,
  values: [now],
});

/** Ready agents for whom some contact is callable, longest idle first: none when every edge has done its work. */
export const agentsToMatch = (now: Date): Sql => ({
  name: 'agents_to_match',
  text: `SELECT ready.id FROM agent ready
         WHERE ready.state = 'ready' AND EXISTS (SELECT 1 ${SERVING} AND a.id = ready.id) AND EXISTS (SELECT 1 FROM node WHERE ${USABLE})
         ORDER BY ready.since`,
  values: [now],
});

export interface Picked {
  agent_id: number;
  campaign_id: number;
  /** The campaign's of now: under these a call is made that is offered for the first time. */
  rules_version: number;
  /** Under which this call is made. */
  rules: { agent_ring_sec: number };
  contact_id: string;
  call_id: string;
  round: number;
  offer_no: number;
  attempt: number;
}

/**
 * Reserves agent and contact and writes the offer. Returns no row when one of them was taken or changed meanwhile: the
 * caller rolls back and picks again. The agent comes first, since two queues may pick the same one: the second waits for
 * the row and finds it taken, where an offer inserted first would break the unique index and end its matching. A call that
 * is offered for the first time gets the rules under which it is made.
 */
export const reserve = (now: Date, picked: Picked, node: string, deadline: Date): Sql => ({
  name: 'reserve',
  text: `
    WITH agent AS (
      UPDATE agent SET state = 'reserved', since = greatest(since, $1), cause = 'offer', state_until = NULL,
        offer_id = nextval(pg_get_serial_sequence('offer', 'id')), updated_at = $1
      WHERE id = $2 AND state = 'ready'
      RETURNING id, offer_id, since, old.since AS from_since
    ), contact AS (
      UPDATE contact c SET state = 'offered', state_since = $1, offer_no = $5, updated_at = $1
      FROM agent WHERE c.id = $3 AND c.state = 'queued' AND c.call_id = $4
      RETURNING c.id, c.campaign_id
    ), made AS (
      INSERT INTO offer (id, call_id, contact_id, campaign_id, offer_no, agent_id, node, created_at, deadline)
      SELECT agent.offer_id, $4, contact.id, contact.campaign_id, $5, agent.id, $6, $1, $7 FROM agent, contact
      RETURNING id
    ), ruled AS (
      UPDATE call SET rules_version = $8 FROM contact WHERE call_id = $4 AND rules_version IS NULL
    )
    SELECT made.id AS offer_id, agent.since, agent.from_since FROM made, agent`,
  values: [
    now,
    picked.agent_id,
    picked.contact_id,
    picked.call_id,
    picked.offer_no,
    node,
    deadline,
    picked.rules_version,
  ],
});

export interface Reserved {
  offer_id: string;
  since: Date;
  /** When the agent had become ready. */
  from_since: Date;
}

/**
 * Open offers that the workflow may not have been told of; `before` leaves the matcher that made them time to do so. Whose
 * phone rings has been told, though whoever told it has not come round to saying so.
 */
export const unannounced = (before: Date): Sql => ({
  name: 'unannounced',
  text: `SELECT o.id AS offer_id, o.offer_no, o.call_id, o.agent_id, o.node, o.contact_id, c.round,
                c.attempts + 1 AS attempt
         FROM offer o JOIN contact c ON c.id = o.contact_id
         WHERE o.ended_at IS NULL AND o.announced_at IS NULL AND o.created_at <= $1
           AND NOT EXISTS (SELECT 1 FROM leg l WHERE l.offer_id = o.id)
         ORDER BY o.created_at LIMIT 500`,
  values: [before],
});

export const markAnnounced = (now: Date, offerId: string): Sql => ({
  name: 'mark_announced',
  text: `UPDATE offer SET announced_at = $1 WHERE id = $2 AND announced_at IS NULL`,
  values: [now, offerId],
});

// ---- agents ---------------------------------------------------------------------------------------------------------

export const AGENT_COLUMNS = `agent.id, agent.state, agent.since, agent.cause, agent.offer_id, agent.next_state,
  agent.next_by, agent.lease_until, agent.state_until, agent.missed_in_row, agent.errors_in_row`;

export const lockAgent = (agentId: number): Sql => ({
  name: 'lock_agent',
  text: `SELECT ${AGENT_COLUMNS} FROM agent WHERE id = $1 FOR UPDATE`,
  values: [agentId],
});

export const readAgent = (agentId: number): Sql => ({
  name: 'read_agent',
  text: `SELECT ${AGENT_COLUMNS} FROM agent WHERE id = $1`,
  values: [agentId],
});

/** The agent, if still engaged with this offer: a late release changes nothing. */
export const lockAgentOfOffer = (agentId: number, offerId: string): Sql => ({
  name: 'lock_agent_of_offer',
  text: `SELECT ${AGENT_COLUMNS} FROM agent WHERE id = $1 AND offer_id = $2 FOR UPDATE`,
  values: [agentId, offerId],
});

export interface AgentWrite {
  state: string;
  cause: string;
  offerId: string | null;
  nextState: string | null;
  stateUntil: Date | null;
  missedInRow: number;
  errorsInRow: number;
}

/** Who wanted the next state is known for as long as it is to come. */
export const writeAgent = (at: Date, agentId: number, to: AgentWrite): Sql => ({
  name: 'write_agent',
  text: `UPDATE agent SET state = $3, since = $1, cause = $4, offer_id = $5, next_state = $6, state_until = $7,
           missed_in_row = $8, errors_in_row = $9, updated_at = $1, next_by = CASE WHEN $6::text IS NOT NULL THEN next_by END
         WHERE id = $2`,
  values: [
    at,
    agentId,
    to.state,
    to.cause,
    to.offerId,
    to.nextState,
    to.stateUntil,
    to.missedInRow,
    to.errorsInRow,
  ],
});

/** `by`: who wants it; null: the system, or nobody any more. */
export const wishNextState = (now: Date, agentId: number, nextState: string | null, by: string | null): Sql => ({
  name: 'wish_next_state',
  text: `UPDATE agent SET next_state = $3, next_by = $4, updated_at = $1 WHERE id = $2`,
  values: [now, agentId, nextState, by],
});

/** Logged-on agents keep their lease; who is logged off must log on first. */
export const renewLeases = (until: Date, agentIds: number[]): Sql => ({
  name: 'renew_leases',
  text: `UPDATE agent SET lease_until = $1 WHERE id = ANY($2::int[]) AND state <> 'logged_off' RETURNING id`,
  values: [until, agentIds],
});

/** Agents whose wrap-up or rest is over. */
export const agentsDue = (now: Date): Sql => ({
  name: 'agents_due',
  text: `SELECT id FROM agent WHERE state_until <= $1 AND state IN ('wrap_up', 'no_answer', 'busy', 'error')`,
  values: [now],
});

export interface LogOffDue {
  id: number;
  time: string;
  zone: string;
  at: Date;
}

/** Agents who are to be logged off by now, as every day. */
export const logOffsDue = (now: Date): Sql => ({
  name: 'log_offs_due',
  text: `SELECT id, log_off_time AS time, log_off_zone AS zone, log_off_at AS at FROM agent WHERE log_off_at <= $1`,
  values: [now],
});

/** 0 rows when another worker was faster, or the time was changed. */
export const setNextLogOff = (now: Date, agentId: number, next: Date | null): Sql => ({
  name: 'set_next_log_off',
  text: `UPDATE agent SET log_off_at = $3 WHERE id = $2 AND log_off_at <= $1`,
  values: [now, agentId, next],
});

/** Agents whose lease has lapsed and who have not been asked to leave for it yet. */
export const agentsLost = (now: Date): Sql => ({
  name: 'agents_lost',
  text: `SELECT id FROM agent
         WHERE lease_until <= $1 AND state <> 'logged_off' AND next_state IS DISTINCT FROM 'logged_off'`,
  values: [now],
});

/** Agents who are leaving while their phone rings, and whose offer should have been withdrawn by now. */
export const agentsLeaving = (now: Date, before: Date): Sql => ({
  name: 'agents_leaving',
  text: `SELECT id, lease_until <= $1 AS lost FROM agent
         WHERE state = 'reserved' AND next_state = 'logged_off' AND updated_at <= $2`,
  values: [now, before],
});

/** The open offer of an agent, with what is needed to reach its workflow. */
export const offerOfAgent = (agentId: number): Sql => ({
  name: 'offer_of_agent',
  text: `SELECT o.id, o.offer_no, o.contact_id, c.round FROM offer o JOIN contact c ON c.id = o.contact_id
         WHERE o.agent_id = $1 AND o.ended_at IS NULL`,
  values: [agentId],
});

/** What a wrap-up row needs of the offer that led to it. */
export const wrapUpOf = (offerId: string): Sql => ({
  name: 'wrap_up_of',
  text: `SELECT o.call_id, o.contact_id, o.campaign_id, c.round,
                EXISTS (SELECT 1 FROM dispositions d WHERE d.call_id = o.call_id AND d.agent_id = o.agent_id) AS registered
         FROM offer o JOIN contact c ON c.id = o.contact_id WHERE o.id = $1`,
  values: [offerId],
});

// ---- the queue ------------------------------------------------------------------------------------------------------

/** Contact `c` waits for a time; as in the index contact_due. */
const TIMED = `c.state = 'waiting' AND c.wait_reason IN ('retry_delay', 'rescheduled', 'number_in_use')`;

/** Which rows may go into the queue, by where they come from. */
export type Entering = 'starting' | 'due' | 'resumed' | 'capped' | 'refused';
const ENTERING: Readonly<Record<Entering, string>> = {
  starting: `c.state = 'starting' AND c.wait_until IS NULL`,
  // `starting`: its workflow found it due before the feed had written that it waits.
  due: `(${TIMED} OR c.state = 'starting' AND c.wait_until IS NOT NULL)`,
  resumed: `c.state = 'waiting' AND c.wait_reason = 'campaign_not_running'`,
  capped: `c.state = 'waiting' AND c.wait_reason = 'cap'`,
  refused: `c.state = 'offered'`,
};

/** Its place among equals in the queue. */
const PLACE: Readonly<Record<Entering, string>> = {
  starting: 'c.place',
  due: `CASE c.wait_reason WHEN 'number_in_use' THEN c.place ELSE least(c.wait_until, $1) END`,
  resumed: 'c.place',
  capped: 'c.place',
  refused: 'c.place',
};

/** Calls of contacts sent to a number; $1 is the time. */
const DIALLED = (number: string): string => `leg l WHERE l.ciq = 'c' AND l.leg_type = 'contact' AND l.destination = ${number}`;

/**
 * From when on a number may be dialled by a campaign with these rules, as far as its caps go; null: now or ever since ($1
 * is the time). Over all campaigns, whose own rules may be others (docs/domain.md, "Retries and caps").
 */
export const cappedUntil = (number: string, rules: string): string => `greatest(
  (SELECT l.created_at + interval '24 h' FROM ${DIALLED(number)} AND l.created_at > $1::timestamptz - interval '24 h'
   ORDER BY l.created_at DESC
   OFFSET coalesce((${rules} ->> 'max_per_number_per_day')::int, ${MAX_PER_NUMBER_PER_DAY}) - 1 LIMIT 1),
  (SELECT greatest(l.created_at, coalesce(l.ended_at, $1::timestamptz))
            + make_interval(secs => coalesce((${rules} ->> 'min_gap_sec')::int, ${MIN_GAP_SEC}))
   FROM ${DIALLED(number)} ORDER BY l.created_at DESC LIMIT 1))`;

/** From when on the number may be dialled by the campaign; a time that has passed, or null: by now. */
export const numberCappedUntil = (now: Date, number: string, campaignId: number): Sql => ({
  name: 'number_capped_until',
  text: `SELECT ${cappedUntil('$2::text', 'cp.rules')} AS until FROM campaign cp WHERE cp.id = $3`,
  values: [now, number, campaignId],
});

/**
 * Opens a new call for each of these contacts and puts them into the queue. The guard on the state makes a repeat change
 * nothing. A due retry gets the time at which it came due as its place; who waited for the campaign or a cap keeps the old
 * one. Whose number is capped waits for that instead, without a call (no row comes back of them). A reschedule is for the
 * agent who has promised it, for some time, unless that agent has left.
 * Who must not be called is disabled instead: the workflow learns of it by `ended_reason`.
 */
export const enqueue = (now: Date, contactIds: string[], from: Entering): Sql => ({
  name: `enqueue_${from}`,
  text: `
    WITH listed AS (
      UPDATE contact c SET ${DISABLED}, ${ENDED_AS_LISTED}, ended_by = ${listedBy('c')}
      WHERE c.id = ANY($2::bigint[]) AND ${ENTERING[from]} AND c.ended_reason IS NULL AND ${isListed('c')}
    ), candidate AS (
      SELECT c.id, cp.rules, cp.order_version, phone.next AS next_phone,
        ${cappedUntil('CASE phone.next WHEN 2 THEN c.phone_2 ELSE c.phone_num END', 'cp.rules')} AS capped_until,
        (SELECT true FROM agent r WHERE r.id = c.reserved_for AND r.state <> 'logged_off') AS has_agent
      FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
      CROSS JOIN LATERAL (
        SELECT CASE WHEN c.next_phone = 1 AND c.given_up_1 AND c.phone_2 IS NOT NULL AND NOT c.given_up_2 THEN 2
                    WHEN c.next_phone = 2 AND c.given_up_2 AND NOT c.given_up_1 THEN 1 ELSE c.next_phone END AS next) phone
      WHERE c.id = ANY($2::bigint[]) AND ${ENTERING[from]} AND c.ended_reason IS NULL AND NOT ${isListed('c')}
      FOR UPDATE OF c
    ), held AS (
      UPDATE contact c SET state = 'waiting', state_since = $1, wait_reason = 'cap', wait_until = k.capped_until,
        place = ${PLACE[from]}, next_phone = k.next_phone, updated_at = $1
      FROM candidate k WHERE c.id = k.id AND k.capped_until > $1
    ), entered AS (
      UPDATE contact c SET state = 'queued', state_since = $1, call_no = c.call_no + 1,
        call_id = c.id * 1000000 + c.call_no + 1, wait_reason = NULL, wait_until = NULL, place = ${PLACE[from]},
        next_phone = k.next_phone, updated_at = $1,
        sort_key = contact_sort_key(c.variables, c.priority, c.created_at, k.rules -> 'order'),
        is_included = contact_included(c.variables, k.rules -> 'filter'), order_version = k.order_version,
        reserved_for = CASE WHEN k.has_agent THEN c.reserved_for END,
        reserved_until = CASE WHEN k.has_agent THEN coalesce(c.reserved_until,
          $1::timestamptz + make_interval(secs => coalesce((k.rules -> 'reschedule' ->> 'reserve_sec')::int, ${RESERVE_SEC}))) END
      FROM candidate k WHERE c.id = k.id AND k.capped_until > $1 IS NOT TRUE
      RETURNING c.id, c.campaign_id, c.call_id, c.call_no, c.attempts + 1 AS attempt, c.variables, c.scheduled_at,
        CASE c.next_phone WHEN 2 THEN c.phone_2 ELSE c.phone_num END AS number
    ), opened AS (
      INSERT INTO call (call_id, contact_id, campaign_id, call_no, attempt, number, queued_at, scheduled_at)
      SELECT call_id, id, campaign_id, call_no, attempt, number, $1, scheduled_at FROM entered
    ), kept AS (
      INSERT INTO call_variables (call_id, name, value)
      SELECT call_id, v.key, v.value FROM entered, jsonb_each_text(variables) AS v
    )
    SELECT e.id AS contact_id, e.campaign_id, e.call_id, e.attempt, e.number, e.scheduled_at, cp.service_num, cp.queue_key
    FROM entered e JOIN campaign cp ON cp.id = e.campaign_id`,
  values: [now, contactIds],
});

export interface Entered {
  contact_id: string;
  campaign_id: number;
  call_id: string;
  attempt: number;
  number: string;
  /** The time agreed, of a call that keeps a reschedule. */
  scheduled_at: Date | null;
  service_num: string | null;
  queue_key: string;
}

/** Contacts who are due, the longest first. Who waits in a campaign that has ended is left to what ends all of its contacts. */
export const dueContacts = (now: Date, limit: number): Sql => ({
  name: 'due_contacts',
  text: `SELECT c.id, c.campaign_id FROM contact c JOIN campaign cp ON cp.id = c.campaign_id AND cp.status <> 'ended'
         WHERE ${TIMED} AND c.wait_until <= $1 AND c.ended_reason IS NULL
         ORDER BY c.wait_until LIMIT $2`,
  values: [now, limit],
});

/** When the next one is. */
export const nextDueAt = (now: Date): Sql => ({
  name: 'next_due_at',
  text: `SELECT min(c.wait_until) AS at FROM contact c WHERE ${TIMED} AND c.wait_until > $1`,
  values: [now],
});

/**
 * Those of them who still are, locked to the end of the transaction: one may have been put off, or queued, meanwhile. Whom an
 * import or a click holds comes with the next look: to wait would hold up everybody, and imports lock contacts first. OFFSET 0
 * has them looked up by their ids: by statistics from before very many came to wait, the index of who is due looks empty, and
 * would be read whole for each page.
 */
export const lockDue = (now: Date, contactIds: string[]): Sql => ({
  name: 'lock_due',
  text: `SELECT c.id, c.queue_rank = ${RESCHEDULE_RANK} AS is_reschedule
         FROM (SELECT * FROM contact WHERE id = ANY($2::bigint[]) ORDER BY id OFFSET 0 FOR UPDATE SKIP LOCKED) AS c
         WHERE ${TIMED} AND c.wait_until <= $1 AND c.ended_reason IS NULL`,
  values: [now, contactIds],
});

/** A row if one of them has ended, and its workflow has not. */
export const someAreFinal = (contactIds: string[]): Sql => ({
  text: `SELECT 1 FROM contact WHERE id = ANY($1::bigint[]) AND ended_reason IS NOT NULL AND closed_at IS NULL LIMIT 1`,
  values: [contactIds],
});

/** They wait for their campaign to run again, at their old places; `from`: as far as they are in these states. */
export const waitForCampaign = (now: Date, contactIds: string[], from: ContactState[]): Sql => ({
  name: 'wait_for_campaign',
  text: `UPDATE contact SET state = 'waiting', state_since = $1, wait_reason = 'campaign_not_running', wait_until = NULL,
           updated_at = $1
         WHERE id = ANY($2::bigint[]) AND state = ANY($3::text[])`,
  values: [now, contactIds, from],
});

/** Contacts of campaigns that call them now, whose numbers may be dialled again by now. */
export const capsOver = (now: Date, limit: number): Sql => ({
  name: 'caps_over',
  text: `SELECT c.id, c.campaign_id, c.queue_rank = ${RESCHEDULE_RANK} AS is_reschedule
         FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
           AND (cp.status = 'running' OR cp.status = 'paused' AND cp.lets_reschedules AND c.queue_rank = ${RESCHEDULE_RANK})
         WHERE c.state = 'waiting' AND c.wait_reason = 'cap' AND c.wait_until <= $1 AND c.ended_reason IS NULL
         ORDER BY c.wait_until LIMIT $2`,
  values: [now, limit],
});

/**
 * Takes contacts out of the queue whose next number may not be dialled for now, since it was dialled as often, or as lately,
 * as their campaigns allow: they wait for that. Their calls are to be ended.
 */
export const leaveForCap = (now: Date, number: string, limit: number): Sql => ({
  name: 'leave_for_cap',
  text: `
    WITH capped AS (
      SELECT c.id, ${cappedUntil('$2::text', 'cp.rules')} AS until
      FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
      WHERE c.state = 'queued' AND ${NEXT_NUMBER} = $2
      ORDER BY c.id LIMIT $3 FOR UPDATE OF c
    )
    UPDATE contact c SET state = 'waiting', state_since = $1, wait_reason = 'cap', wait_until = capped.until, updated_at = $1
    FROM capped WHERE c.id = capped.id AND c.state = 'queued' AND capped.until > $1
    RETURNING c.id, c.call_id`,
  values: [now, number, limit],
});

export interface Held {
  status: 'draft' | 'running' | 'paused' | 'ended';
  lets_reschedules: boolean;
}

/** Whether contacts of the campaign may enter the queue; while it is paused perhaps those that keep a reschedule. */
export const callsNow = ({ status, lets_reschedules }: Held, isReschedule = false): boolean =>
  status === 'running' || (status === 'paused' && lets_reschedules && isReschedule);

/**
 * The status of a campaign, held against a change to the end of the transaction: who queues a contact and who pauses the
 * campaign take turns, so that no contact slips into the queue behind the pause.
 */
export const holdStatus = (campaignId: number): Sql => ({
  name: 'hold_status',
  text: `SELECT status, lets_reschedules FROM campaign WHERE id = $1 FOR SHARE`,
  values: [campaignId],
});

/** They are written under the queue's lock. */
const MOST_SORTED_FIRST = 5_000;

/** Who of a queue would be called first by another order and filter: so many for each hours profile. */
export const firstInOrder = (campaignId: number, order: object, filter: object, many: number): Sql => ({
  text: `SELECT id FROM (
           SELECT c.id, row_number() OVER (PARTITION BY ${NEXT_HOURS} ORDER BY c.queue_rank,
             contact_sort_key(c.variables, c.priority, c.created_at, $2), c.place, c.id) AS nth
           FROM contact c WHERE c.campaign_id = $1 AND c.state = 'queued' AND contact_included(c.variables, $3)) AS ranked
         WHERE nth <= $4 ORDER BY nth LIMIT ${MOST_SORTED_FIRST}`,
  values: [campaignId, JSON.stringify(order), JSON.stringify(filter), many],
});

/** Sorts these contacts by the campaign's order and filter as they are now, as far as they are queued. */
export const reorderThese = (campaignId: number, contactIds: string[]): Sql => ({
  text: `UPDATE contact c SET order_version = cp.order_version,
           sort_key = contact_sort_key(c.variables, c.priority, c.created_at, cp.rules -> 'order'),
           is_included = contact_included(c.variables, cp.rules -> 'filter')
         FROM campaign cp WHERE cp.id = $1 AND c.id = ANY($2::bigint[]) AND c.campaign_id = $1 AND c.state = 'queued'`,
  values: [campaignId, contactIds],
});

/** Sorts queued contacts by the campaign's order and filter as they are now, if they still stand in a former one. */
export const reorderQueue = (campaignId: number, limit: number): Sql => ({
  name: 'reorder_queue',
  text: `
    WITH former AS (
      SELECT c.id FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
      WHERE c.campaign_id = $1 AND c.state = 'queued' AND c.order_version < cp.order_version
      LIMIT $2 FOR UPDATE OF c
    )
    UPDATE contact c SET order_version = cp.order_version,
      sort_key = contact_sort_key(c.variables, c.priority, c.created_at, cp.rules -> 'order'),
      is_included = contact_included(c.variables, cp.rules -> 'filter')
    FROM former, campaign cp WHERE c.id = former.id AND cp.id = $1 AND c.state = 'queued'`,
  values: [campaignId, limit],
});

/** The same of contacts that no workflow has taken up yet, as far as they had a place. */
export const reorderNew = (campaignId: number, limit: number): Sql => ({
  name: 'reorder_new',
  text: `
    WITH former AS (
      SELECT c.id FROM contact c
      WHERE c.campaign_id = $1 AND c.state = 'new' AND c.order_version <> 0
        AND c.order_version < (SELECT order_version FROM campaign WHERE id = $1)
      LIMIT $2 FOR UPDATE OF c
    )
    UPDATE contact c SET order_version = cp.order_version,
      sort_key = contact_sort_key(c.variables, c.priority, c.created_at, cp.rules -> 'order'),
      is_included = contact_included(c.variables, cp.rules -> 'filter')
    FROM former, campaign cp WHERE c.id = former.id AND cp.id = $1 AND c.state = 'new'`,
  values: [campaignId, limit],
});

/** Takes contacts out of the queue with their calls still open, into `waiting` for the campaign. */
export const leaveQueue = (now: Date, campaignId: number, limit: number): Sql => ({
  name: 'leave_queue',
  text: `
    WITH page AS (
      SELECT c.id FROM contact c JOIN campaign cp ON cp.id = c.campaign_id
      WHERE c.campaign_id = $2 AND c.state = 'queued' AND NOT (cp.lets_reschedules AND c.queue_rank = 1)
      ORDER BY c.id LIMIT $3 FOR UPDATE OF c
    )
    UPDATE contact c SET state = 'waiting', state_since = $1, wait_reason = 'campaign_not_running', wait_until = NULL,
      updated_at = $1
    FROM page WHERE c.id = page.id AND c.state = 'queued'
    RETURNING c.id, c.call_id`,
  values: [now, campaignId, limit],
});

/** Ends open calls by a decision; a call that is over already is left out. */
export const endCallsByDecision = (now: Date, callIds: string[], reason: string): Sql => ({
  name: 'end_calls_by_decision',
  text: `
    WITH ended AS (
      UPDATE call SET ended_at = $1, end_code = 'd', end_reason = $3, next_sequence = next_sequence + 1
      WHERE call_id = ANY($2::bigint[]) AND ended_at IS NULL
      RETURNING call_id, contact_id, campaign_id, attempt, number, queued_at, scheduled_at, next_sequence - 1 AS call_sequence
    )
    SELECT ended.*, cp.service_num, cp.queue_key FROM ended JOIN campaign cp ON cp.id = ended.campaign_id`,
  values: [now, callIds, reason],
});

export interface EndedCall extends Entered {
  queued_at: Date;
  call_sequence: number;
}

// ---- the end of an offer --------------------------------------------------------------------------------------------

/** Ends an open offer; 0 rows when it has ended already. */
export const endOffer = (
  now: Date,
  offerId: string,
  code: string,
  reason: string | null,
  reofferAt: Date | null,
): Sql => ({
  name: 'end_offer',
  text: `UPDATE offer SET ended_at = $1, result_code = $3, result_reason = $4, reoffer_at = $5
         WHERE id = $2 AND ended_at IS NULL`,
  values: [now, offerId, code, reason, reofferAt],
});

/** A contact whose workflow is no more although its row is not final: disabled until a person enables it. */
export const closeLostContact = (now: Date, contactId: string, round: number): Sql => ({
  text: `UPDATE contact SET state = 'disabled', state_since = $1, ended_reason = 'disabled', ended_by = 'system',
           ended_at = $1, closed_at = $1, wait_reason = NULL, wait_until = NULL, updated_at = $1
         WHERE id = $2 AND round = $3 AND closed_at IS NULL`,
  values: [now, contactId, round],
});
