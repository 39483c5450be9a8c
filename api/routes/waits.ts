/** Whom to call back when, whom to call now, and when a list will be called. */
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../../domain/errors.ts';
import { numbersOf } from '../../domain/do-not-call.ts';
import { isOpen, openWindow } from '../../domain/hours.ts';
import type { CampaignStatus, ContactState } from '../../domain/states.ts';
import { mustBeLawful, placeContacts, rulesOfProfiles } from '../../matching/hours.ts';
import { endCalls } from '../../matching/queue.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { moved } from '../../workflows/contact/messages.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { type Deps, ok, readTimeCursor, route, type Route, timeCursor } from '../http.ts';
import { invalid, notFound } from '../problems.ts';
import { bigIdParams, contact, idParams, listOf } from '../schemas.ts';
import { campaignCheck, newReschedule, reschedule, rescheduleQuery } from '../schemas/waits.ts';
import * as sql from '../sql.ts';
import { listChanged } from '../tell.ts';
import * as waits from '../waits-sql.ts';
import { type ContactRow, contactJson, findContact } from './contacts.ts';

const TAG = 'Contacts';

export function waitRoutes(deps: Deps): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/reschedules',
      tag: TAG,
      summary: 'Whom a campaign is to call back, the next one first',
      roles: READERS,
      params: idParams,
      query: rescheduleQuery,
      response: listOf(reschedule),
      async handle({ params: { id }, query: { cursor, limit, agent_id } }) {
        const after = cursor === undefined ? null : readTimeCursor(cursor);
        const { rows } = await db.pool.query<RescheduleRow>(waits.listReschedules(id, after, limit + 1, agent_id));
        if (rows.length === 0) await mustExist(deps, id);
        const shown = rows.slice(0, limit);
        return ok({ items: shown.map(rescheduleJson), next: rows.length > limit ? placeOf(shown.at(-1)!) : null });
      },
    }),
    route({
      method: 'put',
      path: '/v1/contacts/{id}/reschedule',
      tag: TAG,
      summary: 'Call a contact back at a time, or move that to another one',
      description: 'A contact that is done is called once more, in a new round, if its attempts allow it.',
      roles: MANAGERS,
      params: bigIdParams,
      body: newReschedule,
      response: contact,
      fails: ['CONFLICT'],
      async handle({ params: { id }, body }) {
        const { campaign_id } = await findContact(db, id);
        // The hours of a contact that has just been added may not be known yet.
        await placeContacts(db, campaign_id, [id]);
        await inTx(db, (tx) => setReschedule(tx, id, body.at, body.agent_id));
        return ok(await told(deps, id));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/contacts/{id}/reschedule',
      tag: TAG,
      summary: 'Do not call back: who has talked is done, everyone else is called like the rest of the list',
      roles: MANAGERS,
      params: bigIdParams,
      response: contact,
      fails: ['CONFLICT'],
      async handle({ params: { id }, caller }) {
        await inTx(db, async (tx) => {
          const row = await lockContact(tx, id);
          const changed = await tx.row<{ was: ContactState }>(waits.cancelReschedule(tx.now, id, by(caller)));
          if (!changed) throw notNow(row, 'it has no reschedule that could be taken back');
          await leaveQueue(tx, row, changed.was);
        });
        return ok(await told(deps, id));
      },
    }),
    route({
      method: 'post',
      path: '/v1/contacts/{id}/call-now',
      tag: TAG,
      summary: 'Call a contact before all others, as soon as an agent is ready',
      description: "Outside of the campaign's own hours too; legal hours, caps and do-not-call hold as always.",
      roles: MANAGERS,
      params: bigIdParams,
      response: contact,
      fails: ['CONFLICT'],
      async handle({ params: { id } }) {
        await inTx(db, async (tx) => {
          const row = await lockCallable(tx, id);
          if (!(await tx.row(waits.callNow(tx.now, id)))) throw notNow(row, 'it can not be called now');
        });
        return ok(await told(deps, id));
      },
    }),
    checkRoute(deps),
  ];
}

const checkRoute = (deps: Deps): Route =>
  route({
    method: 'post',
    path: '/v1/campaigns/{id}/check',
    tag: 'Campaigns',
    summary: 'How much of the list will be callable, from when on, and how much never and why',
    roles: READERS,
    params: idParams,
    response: campaignCheck,
    repeats: 'natural',
    lasting: false,
    whenLate: 'waited_for',
    handle: async ({ params: { id } }) => ok(await check(deps, id)),
  });

// ---- called back, or now ----------------------------------------------------------------------------------------------

async function setReschedule(tx: Tx, id: string, at: Date, agentId: number | null): Promise<void> {
  const row = await lockCallable(tx, id);
  if (agentId !== null && !(await tx.row(waits.servesCampaign(agentId, row.campaign_id)))) {
    throw invalid('agent_id', 'names no agent who serves this campaign');
  }
  if (await tx.row(sql.listedNumber(numbersOf(row)))) {
    throw new AppError('CONFLICT', 'the contact must not be called: its number is on the do-not-call list', { state: row.state });
  }
  await tx.run(waits.useLastNumber(id));
  await mustBeLawful(tx, id, at, 'at');
  if (row.state === 'done') return again(tx, row, at, agentId);
  const changed = await tx.row<{ was: ContactState }>(waits.rescheduleContact(tx.now, id, at, agentId));
  if (!changed) throw notNow(row, 'it can not be called back');
  await leaveQueue(tx, row, changed.was);
  if (changed.was === 'new') await tx.run(sql.bumpRevision(tx.now, row.campaign_id));
}

async function again(tx: Tx, row: ContactRow, at: Date, agentId: number | null): Promise<void> {
  const { max_attempts } = (await tx.row<{ max_attempts: number }>(sql.maxAttempts(row.campaign_id)))!;
  if (row.attempts >= max_attempts + row.granted) {
    const detail = `it has been called ${row.attempts} times, as often as the campaign allows`;
    throw new AppError('CONFLICT', detail, { state: row.state });
  }
  if (row.given_up_1 && (row.phone_2 === null || row.given_up_2)) {
    throw new AppError('CONFLICT', 'its numbers are given up: they are not dialled again', { state: row.state });
  }
  if ((await tx.run(waits.rescheduleDone(tx.now, row.id, at, agentId, null))) === 0) throw notNow(row, 'it is still closing');
  await tx.run(sql.bumpRevision(tx.now, row.campaign_id));
}

/** Who was queued has an open call: it ends, and there will be a new one. */
async function leaveQueue(tx: Tx, row: ContactRow, was: ContactState): Promise<void> {
  if (was === 'queued') await endCalls(tx, [row.call_id!], 'rescheduled');
}

async function lockContact(tx: Tx, id: string): Promise<ContactRow> {
  const row = await tx.row<ContactRow>(sql.lockContact(id));
  if (!row || row.deleted_at) throw notFound('contact');
  return row;
}

/** The same of a campaign that still calls. One that ends in this very moment ends the contact as all others. */
async function lockCallable(tx: Tx, id: string): Promise<ContactRow> {
  const row = await lockContact(tx, id);
  const campaign = await tx.row<{ status: CampaignStatus }>(sql.statusOf(row.campaign_id));
  if (campaign?.status !== 'ended') return row;
  throw new AppError('CONFLICT', 'its campaign has ended and calls nobody any more', { state: row.state });
}

const WHAT_TO_DO: Partial<Record<ContactState, string>> = {
  starting: 'it is just being taken up: repeat the request',
  offered: 'it is just being called: try again after the call',
  dialling: 'it is just being called: try again after the call',
  talking: 'its agent can agree on it and register a disposition',
  wrap_up: 'its agent can register a disposition',
  done: 'it is done: reschedule it',
  disabled: 'enable it first',
};

const notNow = ({ state }: ContactRow, what: string): AppError =>
  new AppError('CONFLICT', `the contact is ${state}, so ${what}${WHAT_TO_DO[state] ? `; ${WHAT_TO_DO[state]}` : ''}`, { state });

/** Its workflow, or its campaign's, is told of what the row says by now; and the contact as it is then. */
async function told(deps: Deps, id: string): Promise<object> {
  const { db, workflows, matching, log } = deps;
  const row = await findContact(db, id);
  const { campaign_id, round, state } = row;
  if (state === 'new') await listChanged(deps, campaign_id);
  else {
    await workflows.signal({ contactId: id, round }, moved, {}).catch((error: unknown) => {
      log.warn({ err: error, contact: id }, 'a contact was not told that it was moved: in Temporal it waits for the time before');
    });
  }
  await matching.matchCampaign(campaign_id);
  return contactJson(await findContact(db, id));
}

// ---- the list of reschedules ------------------------------------------------------------------------------------------

interface RescheduleRow {
  id: string;
  scheduled_at: Date;
  reserved_for: number | null;
  state: ContactState;
  external_id: string | null;
  next_phone: 1 | 2;
  phone_num: string;
  phone_2: string | null;
}

const rescheduleJson = (row: RescheduleRow): object => ({
  id: row.id,
  external_id: row.external_id,
  at: row.scheduled_at.toISOString(),
  number: row.next_phone === 2 ? row.phone_2 : row.phone_num,
  agent_id: row.reserved_for === null ? null : String(row.reserved_for),
  state: row.state,
});

const placeOf = ({ scheduled_at: at, id }: RescheduleRow): string => timeCursor({ at, id });

async function mustExist({ db }: Deps, id: number): Promise<{ status: string }> {
  const row = await db.prisma.campaign.findUnique({ where: { id }, select: { status: true } });
  if (!row) throw notFound('campaign');
  return row;
}

// ---- the check --------------------------------------------------------------------------------------------------------

const HOUR_MS = 3_600_000;
const GROUPS = 200;

async function check(deps: Deps, id: number): Promise<object> {
  const { db } = deps;
  const { status } = await mustExist(deps, id);
  const now = db.clock.now().getTime();
  const { rows } = await db.pool.query<waits.Group>(waits.groupContacts(new Date(now), id));
  const profiles = await rulesOfProfiles(db, id);
  const never = new Map<string, number>();
  const later = new Map<number, number>();
  let callableNow = 0;
  let unplaced = 0;
  let beingCalled = 0;
  const add = <K>(to: Map<K, number>, key: K, n: number) => to.set(key, (to.get(key) ?? 0) + n);
  for (const [n, group] of rows.entries()) {
    // There may be very many, and each may take a look at a whole year: what else this process does goes on.
    if (n % GROUPS === GROUPS - 1) await setImmediate();
    const rules = group.profile_id === null ? undefined : profiles.get(group.profile_id);
    if (group.never !== null) add(never, group.never, group.n);
    else if (group.called) beingCalled += group.n;
    else if (rules === null) add(never, 'number_not_allowed', group.n);
    else if (!rules) unplaced += group.n;
    else {
      const from = Math.max(now, group.from?.getTime() ?? now);
      const window = openWindow(group.is_legal_only ? { ...rules, campaign: null } : rules, from);
      const at = isOpen(window) ? from : window.opensAt;
      if (at === null) add(never, (window as { reason: string }).reason, group.n);
      else if (at <= now) callableNow += group.n;
      else add(later, Math.floor(at / HOUR_MS) * HOUR_MS, group.n);
    }
  }
  return {
    status: status as CampaignStatus,
    contacts: rows.reduce((sum, { n }) => sum + n, 0),
    callable_now: callableNow,
    callable_later: [...later].sort(([a], [b]) => a - b).map(([at, contacts]) => ({ from: new Date(at).toISOString(), contacts })),
    never: [...never].sort(([, a], [, b]) => b - a).map(([reason, contacts]) => ({ reason, contacts })),
    being_called: beingCalled,
    being_placed: unplaced,
  };
}
