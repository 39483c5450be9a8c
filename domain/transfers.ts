/** A talk that is handed on (docs/domain.md, "Transfers"): what is next, by what there is. Pure. */

export type TransferState =
  /** Wanted, and not begun. */
  | 'requested'
  /** The contact waits in a queue for an agent. */
  | 'queued'
  /** The target is being called. */
  | 'ringing'
  /** The agent speaks with the target, the contact is on hold. */
  | 'consulting'
  /** Over: contact and target talk · the agent has taken the contact back · nobody took it · the contact has hung up. */
  | 'completed'
  | 'taken_back'
  | 'failed'
  | 'over';

export interface TransferNow {
  state: TransferState;
  mode: 'blind' | 'attended';
  /** Legs that are up. */
  isContactThere: boolean;
  isAgentThere: boolean;
  /** `there`: answered, can be heard and, where that is asked, confirmed. `none`: nobody is being asked any more. */
  target: 'calling' | 'there' | 'none';
}

/**
 * `connect` contact and target · `consult` · `give_back` to the agent · `queue` the contact, whom nobody has · `stay` in the
 * queue · `end`, as the contact has · `wait`.
 */
export type TransferStep = 'connect' | 'consult' | 'give_back' | 'queue' | 'stay' | 'end' | 'wait';

export function transferStep({ state, mode, isContactThere, isAgentThere, target }: TransferNow): TransferStep {
  if (!isContactThere || state === 'over') return 'end';
  if (state === 'completed') return 'connect';
  if (state === 'taken_back' || state === 'failed') return 'give_back';
  if (state === 'queued') return 'stay';
  // Who transfers blind leaves, be it that the leg is still ending.
  const isAlone = mode === 'blind' || !isAgentThere;
  if (target === 'none') return isAlone ? 'queue' : 'give_back';
  if (target === 'calling') return 'wait';
  if (isAlone) return 'connect';
  return state === 'consulting' ? 'wait' : 'consult';
}
