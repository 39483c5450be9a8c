/** What an agent says to an offer. */
import { AppError } from '../../domain/errors.ts';
import { accept, cancel, reject } from '../../workflows/contact/messages.ts';
import { MANAGERS, mustBeOwn } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { idempotencyKey } from '../idempotency.ts';
import { notFound } from '../problems.ts';
import { bigIdParams, done } from '../schemas.ts';
import * as sql from '../sql.ts';

const ANSWERS = [
  {
    name: 'accept',
    summary: "Confirm that a person has answered the agent's phone",
    update: accept,
    fails: [],
  },
  {
    name: 'reject',
    summary: 'Turn the offer down: the call goes back to its place',
    update: reject,
    fails: [],
  },
  {
    name: 'cancel',
    summary: 'The contact is not to be called: the call ends and the contact is disabled',
    update: cancel,
    fails: ['CANCEL_TOO_LATE'],
  },
] as const;

export function offerRoutes({ db, workflows }: Deps): Route[] {
  return ANSWERS.map(({ name, summary, update, fails }) =>
    route({
      method: 'post',
      path: `/v1/offers/{id}/${name}`,
      tag: 'Offers and calls',
      summary,
      roles: [...MANAGERS, 'agent'],
      params: bigIdParams,
      response: done,
      fails: ['OFFER_OVER', 'CONTACT_CLOSED', ...fails],
      async handle({ params, caller, req, requestKey }) {
        const { rows } = await db.pool.query<sql.OfferRow>(sql.findOffer(params.id));
        const offer = rows[0];
        if (!offer) throw notFound('offer');
        mustBeOwn(caller, offer.agent_id);
        const over = new AppError('OFFER_OVER', 'this offer has ended', { state: 'ended' });
        // A repeat with the same key asks for the answer that got lost: the click may be what has ended the offer.
        if (offer.ended_at && idempotencyKey(req) === undefined) throw over;
        const contact = { contactId: offer.contact_id, round: offer.round };
        const answer = { offerNo: offer.offer_no, agentId: String(offer.agent_id) };
        const answered = workflows.update(contact, update, answer, requestKey).catch((error: unknown) => {
          throw offer.ended_at && error instanceof AppError && error.code === 'CONTACT_CLOSED' ? over : error;
        });
        return ok(await answered);
      },
    }),
  );
}
