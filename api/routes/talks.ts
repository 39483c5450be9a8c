/** What an agent does in a talk: hold, keys, transfers. */
import type { z } from 'zod';
import { dropKeys, dropTransfer, storeKeys, storeTransfer } from '../../activities/transfer-sql.ts';
import { AppError } from '../../domain/errors.ts';
import { NUMBER_PROBLEM_TEXT, parseNumber, readNumber } from '../../domain/numbers.ts';
import { type CampaignRules, withDefaults } from '../../domain/rules.ts';
import { ownNumbers } from '../../prisma/own-numbers.ts';
import { inAnyCase } from '../../prisma/deadline.ts';
import { type Db, inTx, type Sql } from '../../prisma/tx.ts';
import { completeTransfer, hold, resume, sendKeys, takeBack, transfer } from '../../workflows/contact/messages.ts';
import { MANAGERS, type Role } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { invalid } from '../problems.ts';
import { callParams, done } from '../schemas.ts';
import { keys, newTransfer } from '../schemas/transfers.ts';
import type { OfferRow } from '../sql.ts';
import { offerInCall, refOf } from './calls.ts';

const OWN_OR_MANAGERS: readonly Role[] = [...MANAGERS, 'agent'];
const TAG = 'Offers and calls';

const CLICKS = [
  { name: 'hold', summary: 'Put the contact on hold, with music', update: hold },
  { name: 'resume', summary: 'Take the contact back from hold', update: resume },
  {
    name: 'complete-transfer',
    summary: 'Leave the contact to the target of the transfer; one that has not answered yet goes on ringing',
    update: completeTransfer,
  },
  {
    name: 'take-back',
    summary: 'End the transfer: the agent is with the contact again, the target is hung up',
    update: takeBack,
  },
] as const;

export function talkRoutes(deps: Deps): Route[] {
  const { db, workflows } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/calls/{call_id}/transfer',
      tag: TAG,
      summary: 'Hand the talk on to an agent, a number or a queue',
      description:
        'Answered when the contact hears music and does not end with the agent any more. Refused (409) when the agent is ' +
        'not ready, or nobody else who serves the queue is logged on.',
      roles: OWN_OR_MANAGERS,
      params: callParams,
      body: newTransfer,
      response: done,
      fails: ['CONFLICT', 'CALL_OVER', 'CONTACT_CLOSED'],
      async handle({ params: { call_id }, body, caller, requestKey }) {
        const offer = await offerInCall(deps, call_id, caller);
        const target = await targetOf(db, offer, body.to);
        const { id: offerId, agent_id: agentId, contact_id: contactId } = offer;
        const wanted = { requestKey, callId: call_id, contactId, offerId, agentId, mode: body.mode, ...target };
        // Stored first: a number is somebody's, so only its id enters Temporal.
        const { rows } = await db.pool.query<{ id: string }>(storeTransfer(db.clock.now(), wanted));
        const transferId = rows[0]!.id;
        const argument = { callId: call_id, agentId: String(agentId), transferId };
        return ok(await orDropped(db, dropTransfer(transferId), () => workflows.update(refOf(offer), transfer, argument, requestKey)));
      },
    }),
    ...CLICKS.map(({ name, summary, update }) =>
      route({
        method: 'post',
        path: `/v1/calls/{call_id}/${name}`,
        tag: TAG,
        summary,
        roles: OWN_OR_MANAGERS,
        params: callParams,
        response: done,
        fails: ['CONFLICT', 'CALL_OVER', 'CONTACT_CLOSED'],
        async handle({ params: { call_id }, caller, requestKey }) {
          const offer = await offerInCall(deps, call_id, caller);
          const argument = { callId: call_id, agentId: String(offer.agent_id) };
          return ok(await workflows.update(refOf(offer), update, argument, requestKey));
        },
      }),
    ),
    route({
      method: 'post',
      path: '/v1/calls/{call_id}/dtmf',
      tag: TAG,
      summary: 'Send keys into the talk',
      roles: OWN_OR_MANAGERS,
      params: callParams,
      body: keys,
      response: done,
      fails: ['CONFLICT', 'CALL_OVER', 'CONTACT_CLOSED'],
      async handle({ params: { call_id }, body, caller, requestKey }) {
        const offer = await offerInCall(deps, call_id, caller);
        // They may say anything, a card's number too: stored first, so that only their id enters Temporal.
        const { rows } = await db.pool.query<{ id: string }>(storeKeys(db.clock.now(), requestKey, call_id, body.digits));
        const keysId = rows[0]!.id;
        const argument = { callId: call_id, agentId: String(offer.agent_id), keysId };
        return ok(await orDropped(db, dropKeys(keysId), () => workflows.update(refOf(offer), sendKeys, argument, requestKey)));
      },
    }),
  ];
}

/** What was stored is dropped if it is refused for good. What is unknown may still be done, and a repeat asks for the same. */
async function orDropped<T>({ pool }: Db, drop: Sql, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError && error.code !== 'UNAVAILABLE') await inAnyCase(() => pool.query(drop));
    throw error;
  }
}

type Target = z.output<typeof newTransfer>['to'];

async function targetOf(db: Db, offer: OfferRow, { agent_id, number, campaign_id }: Target) {
  const { prisma } = db;
  const nobody = { toAgentId: null, toNumber: null, queueId: null };
  if (agent_id !== undefined) {
    if (agent_id === offer.agent_id) throw invalid('to.agent_id', 'is the agent who transfers');
    if (!(await prisma.agent.findUnique({ where: { id: agent_id }, select: { id: true } }))) {
      throw invalid('to.agent_id', 'names no agent');
    }
    return { ...nobody, toAgentId: agent_id };
  }
  if (campaign_id !== undefined) {
    if (!(await prisma.campaign.findUnique({ where: { id: campaign_id }, select: { id: true } }))) {
      throw invalid('to.campaign_id', 'names no campaign');
    }
    return { ...nobody, queueId: campaign_id };
  }
  const own = await prisma.contact.findUniqueOrThrow({
    where: { id: BigInt(offer.contact_id) },
    select: { campaign: { select: { country: true, rules: true } } },
  });
  return { ...nobody, toNumber: await callableNumber(db, number!, own.campaign) };
}

/** The one place that says which numbers a talk may be handed on to: those that its campaign might call. */
async function callableNumber(db: Db, text: string, { country, rules }: { country: string; rules: unknown }): Promise<string> {
  const { countries } = withDefaults(rules as CampaignRules);
  const parsed = parseNumber(text, country);
  const own = await inTx(db, (tx) => ownNumbers(tx, 'e164' in parsed ? [parsed.e164] : []));
  const read = readNumber(text, { country, countries, own });
  if ('problem' in read) throw invalid('to.number', NUMBER_PROBLEM_TEXT[read.problem]);
  return read.e164;
}
