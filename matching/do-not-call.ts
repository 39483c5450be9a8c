/** Do-not-call where contacts enter the queue (docs/domain.md, "Do-not-call"): conditions and assignments, as SQL. */

/**
 * One of a contact's numbers is listed: the person objects, so none of them is called. `contact` is the row's name in the
 * statement. OFFSET 0 keeps it what it is, a look-up for each contact; as a join the planner may read the whole list.
 */
export const isListed = (contact: string): string =>
  `EXISTS (SELECT FROM do_not_call d WHERE d.number IN (${contact}.phone_num, ${contact}.phone_2) OFFSET 0)`;

/** Who listed the contact: the first of its numbers, if both are. */
export const listedBy = (contact: string): string =>
  `(SELECT d.added_by FROM do_not_call d WHERE d.number IN (${contact}.phone_num, ${contact}.phone_2)
    ORDER BY d.added_at LIMIT 1)`;

/** What ends a contact as listed; $1 is the time. */
export const ENDED_AS_LISTED = `ended_reason = 'do_not_call', ended_at = $1, updated_at = $1`;
/** And where it is in no call. */
export const DISABLED = `state = 'disabled', state_since = $1, wait_reason = NULL, wait_until = NULL`;
