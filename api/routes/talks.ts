/** What an agent does in a talk: hold, keys. */
import { forgetKeys, storeKeys } from '../../activities/transfer-sql.ts';
import { AppError } from '../../domain/errors.ts';
import { hold, resume, sendKeys } from '../../workflows/contact/messages.ts';
import { MANAGERS, type Role } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { callParams, done } from '../schemas.ts';
import { keys } from '../schemas/transfers.ts';
import { offerInCall, refOf } from './calls.ts';

const OWN_OR_MANAGERS: readonly Role[] = [...MANAGERS, 'agent'];
const TAG = 'Offers and calls';

const HOLDS = [
  { name: 'hold', summary: 'Put the contact on hold, with music', update: hold },
  { name: 'resume', summary: 'Take the contact back from hold', update: resume },
] as const;

export function talkRoutes(deps: Deps): Route[] {
  const { db, workflows } = deps;
  return [
    ...HOLDS.map(({ name, summary, update }) =>
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
        try {
          return ok(await workflows.update(refOf(offer), sendKeys, argument, requestKey));
        } catch (error) {
          // Refused for good. What is unknown may still be sent, and a repeat asks for the same.
          if (error instanceof AppError && error.code !== 'UNAVAILABLE') await db.pool.query(forgetKeys(keysId));
          throw error;
        }
      },
    }),
  ];
}
