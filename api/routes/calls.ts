/** What an agent does in and after a call. */
import { registerDisposition, type Registered, type Said } from '../../activities/dispositions.ts';
import { codesOfContact, contactLegOfCall, countGranted } from '../../activities/sql.ts';
import type { LegCode } from '../../domain/codes.ts';
import { AppError, isContactClosed } from '../../domain/errors.ts';
import { type AttemptHistory, nextStep } from '../../domain/retry.ts';
import { rulesOfCall, type StoredRules } from '../../domain/rules-of-call.ts';
import type { CampaignStatus } from '../../domain/states.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { dispose, extendWrapUp, hangUp } from '../../workflows/contact/messages.ts';
import { by, type Caller, MANAGERS, mustBeOwn, type Role } from '../auth.ts';
import { endContactsOf } from '../do-not-call/end.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { idempotencyKey } from '../idempotency.ts';
import { invalid, notFound } from '../problems.ts';
import { callParams, done, newDisposition, wrapUpEnd, wrapUpExtension } from '../schemas.ts';
import * as sql from '../sql.ts';
import { listChanged } from '../tell.ts';
import { rescheduleDone, useLastNumber } from '../waits-sql.ts';
import type { ContactRow } from './contacts.ts';

const OWN_OR_MANAGERS: readonly Role[] = [...MANAGERS, 'agent'];
const TAG = 'Offers and calls';

export function callRoutes(deps: Deps): Route[] {
  const { db, workflows } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/calls/{call_id}/hang-up',
      tag: TAG,
      summary: 'Hang up for the agent, before or after the contact has answered',
      roles: OWN_OR_MANAGERS,
      params: callParams,
      response: done,
      fails: ['CALL_OVER', 'CONTACT_CLOSED'],
      async handle({ params: { call_id }, caller, requestKey }) {
        const open = await offerInCall(deps, call_id, caller);
        const argument = { callId: call_id, agentId: String(open.agent_id) };
        return ok(await workflows.update(refOf(open), hangUp, argument, requestKey));
      },
    }),
    route({
      method: 'post',
      path: '/v1/calls/{call_id}/disposition',
      tag: TAG,
      summary: 'Register what came of the talk',
      description:
        "Accepted until the contact's next call has started, and if it fits the topics of the call's rules; do_not_call always: " +
        'what does not fit is left out then.',
      roles: OWN_OR_MANAGERS,
      params: callParams,
      body: newDisposition,
      response: done,
      fails: ['CONFLICT', 'CALL_OVER', 'TOPICS_MISMATCH'],
      async handle({ params: { call_id }, body, caller, req, requestKey }) {
        const agentId = agentOf(caller, body.agent_id);
        if (caller.role === 'agent') await offersOf(deps, call_id, caller);
        const requestId = idempotencyKey(req) ?? requestKey;
        const { action = null, topics, comment } = body;
        const reschedule = body.reschedule ? { at: body.reschedule.at, toMyself: body.reschedule.to_myself } : null;
        const said = { action, topics, comment, reschedule, canComment: true, callId: call_id, agentId, requestId, by: by(caller) };
        const registered = await registerDisposition(db, said);
        await tell(deps, { ...said, ...registered }, requestKey);
        if (registered.action === 'do_not_call') await endContactsOf(deps, registered.numbers);
        return ok({ done: true });
      },
    }),
    route({
      method: 'post',
      path: '/v1/calls/{call_id}/extend-wrap-up',
      tag: TAG,
      summary: 'More time for the disposition',
      roles: OWN_OR_MANAGERS,
      params: callParams,
      body: wrapUpExtension,
      response: wrapUpEnd,
      fails: ['CONFLICT', 'CONTACT_CLOSED'],
      async handle({ params: { call_id }, body, caller, requestKey }) {
        const agentId = agentOf(caller, body.agent_id);
        const offers = await offersOf(deps, call_id, caller);
        const offer = offers.find((row) => row.agent_id === agentId);
        const found = await db.pool.query<{ state_until: Date }>(sql.wrapUpUntil(agentId, call_id));
        if (!offer || !found.rows[0]) throw await notInWrapUp(deps, agentId);
        const until = new Date(found.rows[0].state_until.getTime() + body.seconds * 1000);
        // The contact first, by an absolute time: should what follows fail, a repeat says the same and harms nothing.
        const argument = { callId: call_id, agentId: String(agentId), until: until.getTime() };
        await workflows.update(refOf(offer), extendWrapUp, argument, requestKey);
        const extended = await db.pool.query(sql.extendWrapUp(db.clock.now(), agentId, call_id, until));
        if (extended.rowCount === 0) throw await notInWrapUp(deps, agentId);
        return ok({ until: until.toISOString() });
      },
    }),
  ];
}

export const refOf = ({ contact_id, round }: { contact_id: string; round: number }) => ({ contactId: contact_id, round });

/** The offers of a call, the last first. Throws NOT_FOUND, or FORBIDDEN for an agent who never had one. */
async function offersOf({ db }: Deps, callId: string, caller: Caller): Promise<sql.OfferRow[]> {
  const { rows } = await db.pool.query<sql.OfferRow>(sql.offersOfCall(callId));
  if (rows.length === 0) {
    const call = await db.pool.query<sql.CallRow>(sql.findCall(callId));
    if (call.rows.length === 0) throw notFound('call');
  }
  if (caller.role === 'agent' && !rows.some((row) => row.agent_id === caller.agentId)) {
    throw new AppError('FORBIDDEN', `agent ${caller.agentId} was not offered this call`);
  }
  return rows;
}

/** The open offer of the caller in a call; for a manager that of whoever talks. Throws CALL_OVER when there is none. */
export async function offerInCall(deps: Deps, callId: string, caller: Caller): Promise<sql.OfferRow> {
  const open = (await offersOf(deps, callId, caller)).filter((offer) => !offer.ended_at);
  if (open.length === 0) throw new AppError('CALL_OVER', 'nobody is in this call', { state: 'ended' });
  const own = open.find((offer) => offer.agent_id === caller.agentId);
  const offer = own ?? open.find(({ state }) => state === 'talking') ?? open[0]!;
  mustBeOwn(caller, offer.agent_id);
  return offer;
}

function agentOf(caller: Caller, given: number | undefined): number {
  const agentId = given ?? caller.agentId;
  if (agentId === null) throw invalid('agent_id', 'must say which agent, as this key is not one of an agent');
  mustBeOwn(caller, agentId);
  return agentId;
}

async function notInWrapUp({ db }: Deps, agentId: number): Promise<AppError> {
  const agent = await db.prisma.agent.findUnique({ where: { id: agentId }, select: { state: true } });
  if (!agent) return invalid('agent_id', 'names no agent');
  return new AppError('CONFLICT', 'this agent is not in wrap-up after this call', { state: agent.state });
}

// ---- dispositions ---------------------------------------------------------------------------------------------------

/** The workflow decides what follows; for one that has closed, the row is changed here. */
async function tell(deps: Deps, said: Told, requestKey: string): Promise<void> {
  const { callId, agentId, action } = said;
  const disposed = { callId, agentId: String(agentId), action };
  // The row may have been closed before this was stored, by a worker that has died before its workflow knew of that.
  const isClosed = await deps.workflows.update(refOf(said), dispose, disposed, requestKey).then(
    async () => (await deps.db.pool.query(sql.closedContact(said.contact_id))).rowCount === 1,
    (error: unknown) => {
      if (isContactClosed(error)) return true;
      throw error;
    },
  );
  if (isClosed) await applyToClosed(deps, said);
}

type Told = Registered & Pick<Said, 'callId' | 'agentId' | 'reschedule' | 'by'>;

/** Changes nothing where it has been considered already. */
async function applyToClosed(deps: Deps, said: Told): Promise<void> {
  const { db } = deps;
  const { contact_id, campaign_id } = said;
  if (said.action === 'do_not_call') {
    await db.pool.query(sql.listClosedContact(db.clock.now(), contact_id, said.by));
  }
  // Marked as unanswered before, and not called again yet: a correction.
  if (said.action === 'done') {
    await inTx(db, async (tx) => {
      await tx.run(sql.closeReopened(tx.now, contact_id, said.callId));
      await tx.run(countGranted(contact_id));
    });
  }
  if (said.action === 'reschedule' && said.reschedule) {
    const { at, toMyself } = said.reschedule;
    const isOpen = await inTx(db, async (tx) => {
      await tx.run(useLastNumber(contact_id));
      const changed = await tx.run(rescheduleDone(tx.now, contact_id, at, toMyself ? said.agentId : null, said.callId));
      if (changed === 0) return false;
      await tx.run(countGranted(contact_id));
      await tx.run(sql.bumpRevision(tx.now, campaign_id));
      return true;
    });
    if (isOpen) await listChanged(deps, campaign_id);
  }
  if (said.action !== 'mark_as_unanswered') return;
  const reopened = await inTx(db, (tx) => reopen(tx, contact_id, said.callId));
  if (reopened) await listChanged(deps, campaign_id);
}

/** By the same rules as in the workflow; false if they allow no further attempt. */
async function reopen(tx: Tx, contactId: string, callId: string): Promise<boolean> {
  await tx.row<ContactRow>(sql.lockContact(contactId));
  // What was registered before, and is corrected by this, grants nothing any more.
  await tx.run(countGranted(contactId));
  const contact = (await tx.row<ContactRow>(sql.lockContact(contactId)))!;
  const campaign = (await tx.row<StoredRules & { status: CampaignStatus }>(sql.lockCampaignOf(callId)))!;
  const stays = async () => {
    await tx.run(sql.closeReopened(tx.now, contactId, callId));
    return false;
  };
  if (campaign.status === 'ended') return stays();
  const codes = await tx.rows<{ code: LegCode; times: number }>(codesOfContact(contact.id));
  const leg = await tx.row<{ destination: string }>(contactLegOfCall(callId));
  const history: AttemptHistory = {
    attempts: contact.attempts,
    granted: contact.granted,
    codes: Object.fromEntries(codes.map(({ code, times }) => [code, times])),
    phones: { 1: !contact.given_up_1, 2: contact.phone_2 !== null && !contact.given_up_2 },
    lastPhone: leg?.destination === contact.phone_2 ? 2 : 1,
  };
  const step = nextStep(rulesOfCall(campaign), history, 'k');
  if (step.kind === 'done') return stays();
  const dueAt = new Date(tx.now.getTime() + step.delaySec * 1000);
  if ((await tx.run(sql.reopenUnanswered(tx.now, contact.id, callId, dueAt, step.phone))) === 0) return false;
  await tx.run(sql.bumpRevision(tx.now, contact.campaign_id));
  return true;
}
