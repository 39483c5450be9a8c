/**
 * Every id that is derived rather than given, so that a step done twice meets its own trace.
 * Ids travel as strings: a `call_id` has up to 19 digits, more than a JSON number carries.
 */

/** Calls of one contact that a call id has room for. */
const CALLS_PER_CONTACT = 1_000_000n;
/** The greatest `bigint` of PostgreSQL. */
const MOST = 2n ** 63n - 1n;

/** `call_id` of a contact's n-th call (from 1): a number of up to 19 digits, new for each call. RangeError beyond that. */
export function callId(contactId: string | bigint, callNo: number): string {
  if (callNo < 1 || BigInt(callNo) >= CALLS_PER_CONTACT) throw new RangeError(`call number ${callNo} is out of range`);
  const id = BigInt(contactId) * CALLS_PER_CONTACT + BigInt(callNo);
  if (id > MOST) throw new RangeError(`contact ${contactId} is out of range`);
  return id.toString();
}

/** The contact whose call this is. */
export function contactOfCall(id: string | bigint): string {
  return (BigInt(id) / CALLS_PER_CONTACT).toString();
}

/** `call_id` + the contact's offer number + leg number within the offer: 1 the agent's, 2 the contact's. */
export function legId(call: string, offerNo: number, party: 'agent' | 'contact'): string {
  return `${call}-${offerNo}-${party === 'agent' ? 1 : 2}`;
}

/** The call whose leg this is. */
export const callOfLeg = (leg: string): string => leg.split('-')[0]!;

/** Numbers that one agent can transfer one talk to: leg numbers have one digit, since no name may begin with another one. */
export const MOST_NUMBER_TRANSFERS = 7;

/** The leg to the n-th number (from 1) that the agent of an offer transfers the talk to: leg number 3, 4, … RangeError beyond. */
export function transferLegId(call: string, offerNo: number, nth: number): string {
  if (nth < 1 || nth > MOST_NUMBER_TRANSFERS) throw new RangeError(`transfer ${nth} is out of range`);
  return `${call}-${offerNo}-${2 + nth}`;
}

/** Session S1 of a call, the queueing; S2, every leg. */
export function sessionId(call: string, part: 'queueing' | 'legs'): string {
  return `${call}-${part === 'queueing' ? 'S1' : 'S2'}`;
}

/** Name of the recording of a call's talk: letters, digits, hyphens, as every switch takes it. */
export const recordingName = (call: string): string => `call-${call}`;

export const contactWorkflowId = (contactId: string, round: number): string => `contact/${contactId}/${round}`;
/** The contact and round of such an id; null for any other. */
export function contactOfWorkflow(workflowId: string): { contactId: string; round: number } | null {
  const [, contactId, round] = /^contact\/(\d{1,19})\/(\d{1,9})$/.exec(workflowId) ?? [];
  return contactId && round ? { contactId, round: Number(round) } : null;
}
export const campaignWorkflowId = (campaignId: string): string => `campaign/${campaignId}`;

/** Task queue of the activities that must run where a switch's event connection is. */
export const nodeTaskQueue = (node: string): string => `telephony/${node}`;
