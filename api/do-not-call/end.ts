/** What the API does for the contacts of numbers that it has just listed; a worker does it should the API die over it. */
import { randomUUID } from 'node:crypto';
import { beingCalled, endListed } from '../../activities/do-not-call.ts';
import { AppError, isContactClosed } from '../../domain/errors.ts';
import { disable } from '../../workflows/contact/messages.ts';
import type { Deps } from '../http.ts';
import { listChanged } from '../tell.ts';

type EndDeps = Pick<Deps, 'db' | 'workflows' | 'log'>;

/** Calls to Temporal under way at once. */
const CONCURRENCY = 32;

/**
 * Ends the contacts of these numbers, as far as they are listed, and waits for the end of the calls under way that have not
 * been answered. Throws UNAVAILABLE when one of these could not be ended in time; a worker goes on with it.
 */
export async function endContactsOf(deps: EndDeps, numbers: string[]): Promise<void> {
  const campaigns = await endListed(deps.db, numbers);
  await endCallsTo(deps, numbers);
  await Promise.all(campaigns.map((id) => listChanged(deps, id)));
}

/**
 * Ends offers and unanswered legs to listed contacts; `numbers` null: to all of them. A dial that had been decided before the
 * number was listed may be on its way to the switch: once its offer is ended, it is not sent any more.
 */
export async function endCallsTo({ db, workflows, log }: EndDeps, numbers: string[] | null): Promise<void> {
  const queue = (await beingCalled(db, numbers)).values();
  let failed = 0;
  const lane = async () => {
    for (const { contact, message } of queue) {
      await workflows.update(contact, disable, message, randomUUID()).catch((error: unknown) => {
        if (isContactClosed(error)) return;
        failed++;
        log.warn({ err: error, contact: contact.contactId }, 'a listed contact was not told; a worker repeats it');
      });
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  if (failed === 0) return;
  const detail = `listed, but ${failed} calls under way could not be ended in time; repeat the request to know when they are`;
  throw new AppError('UNAVAILABLE', detail);
}
