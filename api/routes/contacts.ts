/** Contacts: the rows of a campaign's list, one by one. Whole lists go through imports. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { lookAt } from '../../activities/do-not-call-sql.ts';
import { repair, repairTools } from '../../activities/repair.ts';
import { type LegCode, SIP_TABLE } from '../../domain/codes.ts';
import { numbersOf } from '../../domain/do-not-call.ts';
import { AppError, isContactClosed } from '../../domain/errors.ts';
import { NUMBER_PROBLEM_TEXT, parseNumber, readNumber } from '../../domain/numbers.ts';
import { type CampaignRules, withDefaults } from '../../domain/rules.ts';
import { CONTACT_STATES, type ContactState, type EndedReason, type WaitReason } from '../../domain/states.ts';
import { NO_TIME_LEFT } from '../../domain/time-of-day.ts';
import { ownNumbers } from '../../prisma/own-numbers.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { disable, moved } from '../../workflows/contact/messages.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { endContactsOf } from '../do-not-call/end.ts';
import { created, type Deps, noContent, ok, page, readCursor, route, type Route } from '../http.ts';
import { invalid, isTaken, notFound } from '../problems.ts';
import {
  bigIdParams,
  contact,
  contactChange,
  contactDetail,
  type ContactJson,
  contactPut,
  erasure,
  externalId,
  idParams,
  intId,
  listOf,
  listQuery,
  text,
} from '../schemas.ts';
import { ERASURES, eraseContact, recordingsOf, wasJustCalled } from '../erasure-sql.ts';
import * as sql from '../sql.ts';
import type { Seen } from '../waits-sql.ts';
import { listChanged } from '../tell.ts';
import { createTurns } from '../turns.ts';

export interface ContactRow extends sql.ContactData, Partial<Seen> {
  id: string;
  campaign_id: number;
  external_id: string | null;
  state: ContactState;
  state_since: Date;
  round: number;
  attempts: number;
  call_id: string | null;
  given_up_1: boolean;
  given_up_2: boolean;
  wait_reason: WaitReason | null;
  wait_until: Date | null;
  scheduled_at: Date | null;
  /** Attempts over `max_attempts`. */
  granted: number;
  last_code: LegCode | null;
  ended_reason: EndedReason | null;
  ended_by: string | null;
  ended_at: Date | null;
  closed_at: Date | null;
  deleted_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

const TAG = 'Contacts';
const CALLS_SHOWN = 100;
const LISTS_AT_ONCE = 4;
const LISTS_WAITING = 100;
/** States in which a number is, or is about to be, dialled. */
const NUMBERS_IN_USE: readonly ContactState[] = ['offered', 'dialling', 'talking'];

const listFilter = listQuery.extend({
  state: z.enum(CONTACT_STATES).optional(),
  q: text(1, 200).optional().describe('Beginning of the external id or of a number'),
});
const keyParams = z.object({ id: intId, external_id: z.string() });

export function contactRoutes(deps: Deps): Route[] {
  const { db } = deps;
  // Where few match, a page reads the whole list.
  const inTurn = createTurns(LISTS_AT_ONCE, LISTS_WAITING, 'too many lists are asked for at once');
  return [
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/contacts',
      tag: TAG,
      summary: 'List the contacts of a campaign',
      roles: READERS,
      params: idParams,
      query: listFilter,
      response: listOf(contact),
      whenLate: 'waited_for',
      async handle({ params: { id }, query: { cursor, limit, ...filter } }) {
        const list = sql.listContacts(db.clock.now(), id, readCursor(cursor), limit + 1, filter);
        const { rows } = await inTurn(() => db.pool.query<ContactRow>(list));
        if (rows.length === 0) await campaignOf(deps, id);
        return ok(page(rows.map(contactJson), limit));
      },
    }),
    route({
      method: 'put',
      path: '/v1/campaigns/{id}/contacts/by-external-id/{external_id}',
      tag: TAG,
      summary: 'Add a contact, or replace its data',
      description:
        'A contact that is there keeps its id, history and place. One that is disabled or done is not revived.',
      roles: MANAGERS,
      subject: 'contact',
      params: keyParams,
      body: contactPut,
      response: contact,
      statuses: [200, 201],
      fails: ['CONFLICT'],
      async handle({ params: { id, external_id }, body }) {
        if (!externalId.safeParse(external_id).success) throw invalid('external_id', 'must have 1 to 200 characters');
        const { row, isNew } = await put(deps, id, external_id, body);
        if (!isNew) return ok(contactJson(row));
        return created(contactJson(row), `/v1/contacts/${row.id}`);
      },
    }),
    route({
      method: 'get',
      path: '/v1/contacts/{id}',
      tag: TAG,
      summary: 'Read a contact with its calls, offers and legs, and what it waits for',
      roles: READERS,
      params: bigIdParams,
      response: contactDetail,
      async handle({ params: { id } }) {
        const row = await find(deps, id);
        const { rows } = await db.pool.query<CallShown>(sql.callsOfContact(id, CALLS_SHOWN));
        const legs = rows.flatMap((call) => call.legs);
        const do_not_call_proposed = legs.some((leg) => SIP_TABLE[leg.result_response as number]?.proposeDoNotCall);
        return ok({ ...contactJson(row), do_not_call_proposed, calls: rows.map(callJson) });
      },
    }),
    route({
      method: 'patch',
      path: '/v1/contacts/{id}',
      tag: TAG,
      summary: 'Change a contact; numbers not while it is being offered or called',
      roles: MANAGERS,
      params: bigIdParams,
      body: contactChange,
      response: contact,
      fails: ['CONFLICT'],
      async handle({ params: { id }, body }) {
        return ok(contactJson(await afterWrite(deps, await change(deps, id, body))));
      },
    }),
    ...endingRoutes(deps),
  ];
}

async function change(deps: Deps, id: string, body: z.output<typeof contactChange>) {
  const campaign = await campaignOf(deps, (await find(deps, id)).campaign_id);
  return inTx(deps.db, async (tx) => {
    const changes = await readNumbers(tx, body, campaign);
    const row = await tx.row<ContactRow>(sql.lockContact(id));
    if (!row || row.deleted_at) throw notFound('contact');
    return write(tx, row, { ...row, ...changes });
  });
}

/** Disable, delete, enable. */
function endingRoutes(deps: Deps): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/contacts/{id}/disable',
      tag: TAG,
      summary: 'No further calls to this contact; an offer or an unanswered leg ends at once, a talk is not cut',
      roles: MANAGERS,
      params: bigIdParams,
      response: contact,
      fails: ['CONFLICT', 'CONTACT_CLOSED'],
      whenLate: 'carried_out',
      async handle({ params: { id }, caller, requestKey }) {
        const row = await endContact(deps, id, { reason: 'disabled', by: by(caller) }, requestKey);
        if (row.state === 'done') {
          throw new AppError('CONFLICT', 'the contact is done, so it is not called any more', { state: row.state });
        }
        return ok(contactJson(row));
      },
    }),
    route({
      method: 'delete',
      path: '/v1/contacts/{id}',
      tag: TAG,
      summary: 'Take a contact off the list; its calls stay in the raw data',
      roles: MANAGERS,
      params: bigIdParams,
      fails: ['CONTACT_CLOSED'],
      whenLate: 'carried_out',
      async handle({ params: { id }, caller, requestKey }) {
        await endContact(deps, id, { reason: 'deleted', by: by(caller) }, requestKey);
        await db.pool.query(sql.markDeleted(db.clock.now(), id));
        return noContent;
      },
    }),
    route({
      method: 'post',
      path: '/v1/contacts/{id}/erase',
      tag: TAG,
      summary: 'Erase a person: blank everything personal of a contact, in the raw data too',
      description:
        'For good. Only where no call is under way: delete or disable it first. A number on the do-not-call list stays there. ' +
        'Recordings are files of the switch: their names are in the answer, for you to delete.',
      roles: MANAGERS,
      params: bigIdParams,
      response: erasure,
      fails: ['CONFLICT'],
      handle: async ({ params: { id }, caller }) => ok(await inTx(db, (tx) => erase(tx, id, by(caller)))),
    }),
    route({
      method: 'post',
      path: '/v1/contacts/{id}/enable',
      tag: TAG,
      summary: 'Put a disabled contact back into the list, at its old place',
      roles: MANAGERS,
      params: bigIdParams,
      response: contact,
      fails: ['CONFLICT'],
      async handle({ params: { id } }) {
        const row = await inTx(db, (tx) => enable(tx, id));
        await listChanged(deps, row.campaign_id);
        return ok(contactJson(row));
      },
    }),
  ];
}

const find = ({ db }: Deps, id: string): Promise<ContactRow> => findContact(db, id);

/** The contact with what it waits for. Throws NOT_FOUND, also for one that was deleted. */
export async function findContact(db: Deps['db'], id: string): Promise<ContactRow> {
  const { rows } = await db.pool.query<ContactRow>(sql.findContact(db.clock.now(), id));
  if (!rows[0]) throw notFound('contact');
  return rows[0];
}

interface CampaignOfContact {
  status: string;
  country: string;
  /** Its rule: ISO 3166 countries that it may call. */
  countries: readonly string[] | null;
}

async function campaignOf({ db }: Deps, id: number): Promise<CampaignOfContact> {
  const row = await db.prisma.campaign.findUnique({ where: { id }, select: { country: true, status: true, rules: true } });
  if (!row) throw notFound('campaign');
  const { rules, ...campaign } = row;
  return { ...campaign, countries: withDefaults(rules as CampaignRules).countries };
}

// ---- data -----------------------------------------------------------------------------------------------------------

interface Numbers {
  phone_num?: string | undefined;
  phone_2?: string | null | undefined;
}

const NUMBERS = ['phone_num', 'phone_2'] as const;

/** The numbers in E.164; every one that can't be read, or that the campaign may not call, is reported. */
async function readNumbers<T extends Numbers>(tx: Tx, body: T, campaign: CampaignOfContact): Promise<T> {
  const parsed = NUMBERS.map((field) => parseNumber(body[field] ?? '', campaign.country));
  const own = await ownNumbers(tx, parsed.flatMap((read) => ('e164' in read ? [read.e164] : [])));
  const issues: { field: string; reason: string }[] = [];
  const result = { ...body };
  for (const field of NUMBERS) {
    const written = body[field];
    if (written === undefined || written === null) continue;
    const read = readNumber(written, { ...campaign, own });
    if ('e164' in read) result[field] = read.e164;
    else issues.push({ field, reason: NUMBER_PROBLEM_TEXT[read.problem] });
  }
  if (issues.length > 0) throw new AppError('INVALID', 'a number is not valid: see issues', { issues });
  return result;
}

function mustDiffer({ phone_num, phone_2, earliest, latest }: sql.ContactData): void {
  if (phone_num === phone_2) throw invalid('phone_2', 'is the same number as phone_num; leave one out');
  if (earliest !== null && earliest === latest) throw invalid('latest', NO_TIME_LEFT);
}

async function put(deps: Deps, campaignId: number, key: string, body: sql.ContactData): Promise<Written> {
  const campaign = await campaignOf(deps, campaignId);
  const { status } = campaign;
  if (status === 'ended') throw new AppError('CONFLICT', 'the campaign has ended; nothing is added to it', { state: status });
  const written = await inTx(deps.db, async (tx) => {
    // An import that has the same row may go on for minutes: nobody is to hold a connection for so long.
    await tx.run(sql.shortWaits);
    const data = await readNumbers(tx, body, campaign);
    mustDiffer(data);
    const made = await tx.row<ContactRow>(sql.insertContact(tx.now, campaignId, key, data));
    if (made) {
      await tx.run(sql.bumpRevision(tx.now, campaignId));
      return { row: made, isNew: true };
    }
    const row = await tx.row<ContactRow>(sql.lockContactByKey(campaignId, key));
    // Deleted between the two statements.
    if (!row) throw new AppError('UNAVAILABLE', 'the contact was being deleted; repeat the request');
    return { row: await write(tx, row, { ...row, ...data }), isNew: false };
  });
  return { ...written, row: await afterWrite(deps, written.row) };
}

interface Written {
  row: ContactRow;
  isNew: boolean;
}

/** `before` must be locked by this transaction. */
async function write(tx: Tx, before: ContactRow, after: sql.ContactData): Promise<ContactRow> {
  const numbersChange = before.phone_num !== after.phone_num || before.phone_2 !== after.phone_2;
  mustDiffer(after);
  if (numbersChange && NUMBERS_IN_USE.includes(before.state)) {
    const detail = 'its numbers can not be changed while the contact is being called; try again after the call';
    throw new AppError('CONFLICT', detail, { state: before.state });
  }
  const row = await tx.row<ContactRow>(sql.updateContact(tx.now, before.id, after)).catch((error: unknown) => {
    // A row without an external id is known by its number.
    if (!isTaken(error, 'contact_list_key')) throw error;
    const issue = { field: 'phone_num', reason: 'is the number of another contact of this list' };
    throw new AppError('CONFLICT', `${issue.field} ${issue.reason}`, { issues: [issue] });
  });
  if (numbersChange) {
    await tx.run(sql.updateQueuedNumber(before.id));
    await tx.run(lookAt(tx.now, numbersOf(after)));
  }
  // Its hours and its place in the queue may be others now.
  await tx.run(sql.bumpRevision(tx.now, before.campaign_id));
  return row!;
}

/**
 * A contact that was just written: ended if a number of it is listed, which is looked at after that commit, since the list may
 * change at the same moment. Its campaign is told. Returns it as it is then.
 */
async function afterWrite(deps: Deps, row: ContactRow): Promise<ContactRow> {
  const { rowCount } = await deps.db.pool.query(sql.listedNumber(numbersOf(row)));
  if (rowCount && !row.closed_at) await endContactsOf(deps, numbersOf(row));
  await listChanged(deps, row.campaign_id);
  return find(deps, row.id);
}

// ---- end and return -------------------------------------------------------------------------------------------------

interface Ending {
  reason: 'disabled' | 'deleted';
  by: string;
}

/** How long a contact that is just being taken up by its workflow is waited for. */
const STARTING_TRIES = 20;
const STARTING_PAUSE_MS = 100;

/**
 * Ends what is under way for a contact, and returns its row as it is then: disabled, or done before. A contact that no
 * workflow has taken up is ended here, every other by its workflow, which owns it.
 */
async function endContact(deps: Deps, id: string, ending: Ending, requestKey: string): Promise<ContactRow> {
  const { db, workflows } = deps;
  for (let tries = 0; tries < STARTING_TRIES; tries++) {
    const row = await find(deps, id);
    if (row.closed_at) return row;
    if (row.state === 'new') {
      await db.pool.query(sql.endNewContact(db.clock.now(), id, ending.reason, ending.by));
      continue;
    }
    if (row.state !== 'starting') {
      const contact = { contactId: id, round: row.round };
      const closed = await workflows.update(contact, disable, ending, requestKey).then(
        () => false,
        async (error: unknown) => {
          if (isContactClosed(error)) return true;
          // It may have closed the row, and have been dropped with its task then: a repeat finds the row closed and tells nobody.
          await workflows.signal(contact, moved, {}).catch(() => undefined);
          throw error;
        },
      );
      const after = await find(deps, id);
      if (!closed || after.state === 'disabled' || after.state === 'done') return after;
      if (after.state !== 'starting' && after.state !== 'new') {
        // Its workflow is no more, so it is closed here.
        const outcome = await repair(repairTools(deps), contact, { closedBy: ending.by });
        if (outcome === 'repaired') return find(deps, id);
        throw new AppError('CONTACT_CLOSED', 'nothing is under way for this contact', { state: after.state });
      }
    }
    await sleep(STARTING_PAUSE_MS);
  }
  throw new AppError('UNAVAILABLE', 'the contact is just being taken up; repeat the request', { state: 'starting' });
}

/** Repeated it finds nothing more. */
async function erase(tx: Tx, id: string, by: string): Promise<z.input<typeof erasure>> {
  const row = await tx.row<ContactRow>(sql.lockContact(id));
  if (!row) throw notFound('contact');
  if (!row.closed_at) {
    const detail = 'something is under way for this contact: delete it first, and repeat this when its last call is over';
    throw new AppError('CONFLICT', detail, { state: row.state });
  }
  const called = await tx.row<{ until: Date }>(wasJustCalled(tx.now, id));
  if (called) {
    const detail = `the contact was called within 24 hours, which the caps of its number need to know: from ${called.until.toISOString()} on`;
    throw new AppError('CONFLICT', detail, { state: row.state });
  }
  const recordings = await tx.rows<{ recording: string }>(recordingsOf(id));
  await tx.run(eraseContact(tx.now, id, by));
  for (const statement of ERASURES) await tx.run(statement(id));
  return { recordings: recordings.map(({ recording }) => recording) };
}

async function enable(tx: Tx, id: string): Promise<ContactRow> {
  const row = await tx.row<ContactRow>(sql.lockContact(id));
  if (!row || row.deleted_at) throw notFound('contact');
  if (row.state !== 'disabled') {
    throw new AppError('CONFLICT', `only a disabled contact can be enabled; this one is ${row.state}`, { state: row.state });
  }
  if (!row.closed_at) {
    const detail = 'the contact is still closing: its last call is being finished; repeat the request';
    throw new AppError('CONFLICT', detail, { state: 'closing' });
  }
  if ((await tx.row<{ status: string }>(sql.statusOf(row.campaign_id)))?.status === 'ended') {
    throw new AppError('CONFLICT', 'its campaign has ended and calls nobody any more', { state: row.state });
  }
  if (await tx.row(sql.listedNumber(numbersOf(row)))) {
    throw new AppError('CONFLICT', 'the contact must not be called: its number is on the do-not-call list', {
      state: row.state,
    });
  }
  await tx.run(sql.enableContact(tx.now, id));
  await tx.run(sql.bumpRevision(tx.now, row.campaign_id));
  return (await tx.row<ContactRow>(sql.lockContact(id)))!;
}

// ---- as JSON --------------------------------------------------------------------------------------------------------

const iso = (at: Date | string | null): string | null => (at === null ? null : new Date(at).toISOString());

export function contactJson(row: ContactRow): ContactJson {
  const givenUp = [row.given_up_1 ? row.phone_num : null, row.given_up_2 ? row.phone_2 : null];
  return {
    id: row.id,
    campaign_id: String(row.campaign_id),
    external_id: row.external_id,
    phone_num: row.phone_num,
    phone_2: row.phone_2,
    given_up: givenUp.filter((number) => number !== null),
    variables: row.variables,
    zone: row.zone,
    priority: row.priority,
    earliest: row.earliest,
    latest: row.latest,
    state: row.seen_state ?? row.state,
    since: row.state_since.toISOString(),
    wait_reason: row.seen_reason === undefined ? row.wait_reason : row.seen_reason,
    waits_until: iso(row.seen_until === undefined ? row.wait_until : row.seen_until),
    scheduled_at: iso(row.scheduled_at),
    attempts: row.attempts,
    call_id: row.call_id,
    last_code: row.last_code,
    ended_reason: row.ended_reason,
    ended_by: row.ended_by,
    ended_at: iso(row.ended_at),
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}

/** Offers and legs come as PostgreSQL's JSON, whose times have an offset in place of Z. */
interface CallShown {
  queued_at: Date;
  ended_at: Date | null;
  offers: Record<string, unknown>[];
  legs: Record<string, unknown>[];
}

function callJson(call: CallShown): object {
  return {
    ...call,
    queued_at: iso(call.queued_at),
    ended_at: iso(call.ended_at),
    offers: call.offers.map(isoTimes),
    legs: call.legs.map(isoTimes),
  };
}

function isoTimes(row: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(row).map(([name, value]) => {
    const isTime = name === 'deadline' || name.endsWith('_at');
    return [name, isTime ? iso(value as string | null) : value];
  });
  return Object.fromEntries(entries) as Record<string, unknown>;
}
