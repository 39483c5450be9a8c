/** What ends an offer, and what of it ends the call. Pure. */

/** Decisions after which the same call goes back to its place in the queue, to be offered to the next agent. */
const NEXT_AGENT: readonly string[] = ['agent_reject', 'agent_logged_off', 'agent_lost', 'agent_released', 'switch_lost'];

/** True when a withdrawn offer takes its call with it (cancel, disable, do-not-call, stop, a refused dial …). */
export function endsCall(withdrawn: string | null): boolean {
  return withdrawn !== null && !NEXT_AGENT.includes(withdrawn);
}
