/**
 * What must be true of a contact whose calls are over, by the switch's own record and by the rows. Returns what is not, in
 * words.
 */
import type { WorkflowHandle } from '@temporalio/client';
import { contactWorkflowId, campaignWorkflowId, callOfLeg, contactOfCall } from '../../../domain/ids.ts';
import type { RepairCause } from '../../../domain/repairs.ts';
import type { Dial } from '../../../telephony/simulator/dial-record.ts';
import { eventually } from '../eventually.ts';
import { storyOf } from '../scene.ts';
import type { Stage } from './play.ts';

const COMPLETES_WITHIN_MS = 30_000;

/** What is put right when a worker has died or was frozen, by where domain/repairs.ts says that one looks. */
export const OF_A_DEAD_WORKER: readonly RepairCause[] = [
  'node_lapsed',
  'agent_held',
  'leg_adopted',
  'leg_not_sent',
  'leg_unknown',
  'offer_not_rung',
  'offer_not_told',
  'talk_end_not_told',
  'webhook_lapsed',
];

/** `explained`: repairs that may have been made; others are wrong. */
export async function whatIsWrong(stage: Stage, explained: readonly RepairCause[]): Promise<string[]> {
  const { rows } = await stage.lane.db.pool.query<{ wrong: string }>(WRONG, [
    stage.contactId,
    stage.scene.agents.map(({ id }) => id),
    explained,
  ]);
  return [...(await ofSwitch(stage)), ...rows.map(({ wrong }) => wrong), ...(await ofEnd(stage)), ...(await ofTemporal(stage))];
}

const isContactLeg = ({ legId }: Dial): boolean => legId.endsWith('-2');

/** Contact legs per call; every dial has its leg and its event, and both tell the same of it. */
async function ofSwitch({ lane, contactId }: Stage): Promise<string[]> {
  const dials = lane.record.list(0, 1_000_000).filter(({ legId }) => contactOfCall(callOfLeg(legId)) === contactId);
  const wrong: string[] = [];
  const legsTo = Map.groupBy(dials.filter(isContactLeg), ({ legId }) => callOfLeg(legId));
  for (const [call, legs] of legsTo) if (legs.length > 1) wrong.push(`call ${call}: the contact was dialled ${legs.length} times`);
  if (new Set(dials.map(({ legId }) => legId)).size < dials.length) wrong.push('a leg was dialled twice');
  const { rows } = await lane.db.pool.query<{ id: string; code: string; reason: string | null; events: number }>(LEGS, [contactId]);
  const told = new Map(rows.map((row) => [row.id, row]));
  for (const { legId, answeredAt, endedAt } of dials) {
    const row = told.get(legId);
    told.delete(legId);
    if (!row) wrong.push(`${legId} was dialled and has no row`);
    else if (row.events !== 1) wrong.push(`${legId} was dialled and has ${row.events} events`);
    else if (endedAt === null) wrong.push(`${legId} has not ended at the switch`);
    else if (isAnswered(row) !== (answeredAt !== null)) {
      wrong.push(`${legId} was ${answeredAt === null ? 'not ' : ''}answered at the switch, and is told as ${row.code}(${row.reason})`);
    } else if (['unknown', 'switch_lost'].includes(row.reason ?? '')) {
      wrong.push(`${legId} was dialled and is told as ${row.reason}`);
    }
  }
  for (const { id, events, code } of told.values()) {
    if (events !== 1) wrong.push(`${id} was not dialled and has ${events} events`);
    if (code === 'k') wrong.push(`${id} was not dialled and is told as answered`);
  }
  return wrong;
}

/** A phone that was picked up and not confirmed, or heard nothing, is no answer. */
const isAnswered = ({ code, reason }: { code: string; reason: string | null }): boolean =>
  code === 'k' || reason === 'not_confirmed' || reason === 'no_media';

async function ofEnd({ lane, contactId, scenario }: Stage): Promise<string[]> {
  const { rows } = await lane.db.pool.query<{ end: string }>(
    `SELECT concat_ws(' ', state, ended_reason) AS end FROM contact WHERE id = $1`,
    [contactId],
  );
  const story = await storyOf({ sql: lane.db.pool }, contactId);
  const wrong: string[] = [];
  if (rows[0]?.end !== scenario.end) wrong.push(`the contact is "${rows[0]?.end}", not "${scenario.end}"`);
  if (!scenario.story.test(story)) wrong.push(`that is not explained by "${story}"`);
  return wrong;
}

async function ofTemporal(stage: Stage): Promise<string[]> {
  // They end after the rows that say so: what the dead worker was at is tried again when it has sent no heartbeat for a while.
  const isOver = async () => (await openAtTemporal(stage)).length === 0;
  await eventually(isOver, { withinMs: COMPLETES_WITHIN_MS, everyMs: 200 }).catch(() => undefined);
  const open = await openAtTemporal(stage);
  return open.length === 0 ? [] : [...open, `the contact's history ends with ${await lastOf(contactAt(stage))}`];
}

const contactAt = ({ lane, contactId, now }: Stage): WorkflowHandle =>
  lane.client.workflow.getHandle(contactWorkflowId(contactId, now.contact.round));

/** What has not come to its end there, in words. */
export async function openAtTemporal(stage: Stage): Promise<string[]> {
  const { lane, scene } = stage;
  const campaign = lane.client.workflow.getHandle(campaignWorkflowId(scene.campaign));
  const { status } = await contactAt(stage).describe();
  const activities = (await campaign.describe()).raw.pendingActivities?.length ?? 0;
  return [
    ...(status.name === 'COMPLETED' ? [] : [`the contact's workflow is ${status.name}`]),
    ...(activities === 0 ? [] : [`${activities} activities of the campaign are under way`]),
  ];
}

/** What a workflow has come to, event by event. */
async function lastOf(workflow: WorkflowHandle): Promise<string> {
  const { events } = await workflow.fetchHistory();
  const told = (event: NonNullable<typeof events>[number]): string => {
    const kind = Object.keys(event).find((key) => key.endsWith('EventAttributes'))?.replace('EventAttributes', '');
    return `${new Date(Number(event.eventTime?.seconds) * 1000).toISOString().slice(11, 19)} ${kind}`;
  };
  return (events ?? []).slice(-10).map(told).join(', ');
}

const LEGS = `SELECT l.id, l.result_code AS code, l.result_reason AS reason,
    (SELECT count(*)::int FROM call_events e
     WHERE e.call_id = l.call_id AND e.call_sequence = l.sequence AND e.event_type = 'c' AND e.destination = l.destination
       AND e.result_code = l.result_code) AS events
  FROM leg l WHERE l.contact_id = $1`;

/** A row for each thing that is not as it must be. */
const WRONG = `
  SELECT 'offer ' || id || ' is open' AS wrong FROM offer WHERE contact_id = $1 AND ended_at IS NULL
  UNION ALL SELECT 'leg ' || id || ' is open' FROM leg WHERE contact_id = $1 AND ended_at IS NULL
  UNION ALL SELECT 'call ' || call_id || ' is open' FROM call WHERE contact_id = $1 AND ended_at IS NULL
  UNION ALL SELECT 'transfer ' || id || ' is ' || state FROM transfer
    WHERE contact_id = $1 AND ended_at IS NULL AND state <> 'requested'
  UNION ALL SELECT 'agent ' || id || ' is ' || state || ' with offer ' || coalesce(offer_id::text, 'none') FROM agent
    WHERE id = ANY($2::int[]) AND (state <> 'ready' OR offer_id IS NOT NULL)
  UNION ALL SELECT 'event ' || sequence || ' of call ' || call_id || ' is missing' FROM (
    SELECT call_id, generate_series(1, next_sequence - 1) AS sequence FROM call WHERE contact_id = $1) AS given
    WHERE NOT EXISTS (SELECT 1 FROM call_events e WHERE e.call_id = given.call_id AND e.call_sequence = given.sequence)
  UNION ALL SELECT 'event ' || call_sequence || ' of call ' || call_id || ' is there ' || count(*) || ' times' FROM call_events
    WHERE contact_id = $1 GROUP BY call_id, call_sequence HAVING count(*) > 1
  UNION ALL SELECT 'position ' || position || ' is followed by ' || next FROM (
    SELECT position, lead(position) OVER (ORDER BY position) AS next FROM (
      SELECT position FROM call_events UNION ALL SELECT position FROM agent_events
      UNION ALL SELECT position FROM dispositions UNION ALL SELECT position FROM wrap_ups) AS positions) AS numbered
    WHERE next <> position + 1
  UNION ALL SELECT 'agent ' || agent_id || ' goes on from ' || from_state || ' after ' || before FROM (
    SELECT agent_id, from_state, lag(state) OVER (PARTITION BY agent_id ORDER BY position) AS before FROM agent_events) AS events
    WHERE before <> from_state
  UNION ALL SELECT 'disposition of call ' || call_id || ' is there ' || count(*) || ' times' FROM dispositions
    WHERE contact_id = $1 GROUP BY call_id, agent_id HAVING count(*) > 1
  UNION ALL SELECT 'wrap-up of call ' || call_id || ' is there ' || count(*) || ' times' FROM wrap_ups
    WHERE contact_id = $1 GROUP BY call_id, agent_id HAVING count(*) > 1
  UNION ALL SELECT 'repaired: ' || cause || ' of ' || subject FROM repair
    WHERE cause <> ALL($3::text[])`;
