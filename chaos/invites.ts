/** Which leg an INVITE was for. Phones over SIP are told no leg, so it is known by its number and its time. */
import type { Dial } from '../bench/kit.ts';

/** What a phone was called, as it has noted it itself; times in epoch ms. */
export interface Invite {
  /** 1..n */
  seq: number;
  at: number;
  party: 'agent' | 'contact';
  to: string;
  answeredAt: number | null;
  /** Null also of one that was up when its switch died. */
  endedAt: number | null;
}

/** A leg that may have been sent to that switch, as our rows have it. */
export interface SentLeg {
  id: string;
  destination: string;
  createdAt: number;
  notAfter: number;
  endedAt: number | null;
}

/** So much later an INVITE may come than it may be sent: a slow wire, and phones and Asterisk on a busy machine. */
const LATE_MS = 2_000;
/** So much later than others a phone hears that its leg has ended. */
const HEARD_LATE_MS = 500;

/**
 * Each INVITE as a dial of its leg. One that none accounts for, because there is none, it is over, it is too late for it, or
 * another INVITE was for it already, has a leg of which nobody knows.
 *
 * `wasAway`: the switch could not do or tell anything at that moment. A leg that ended then in our rows went on there.
 */
export function dialsOfInvites(
  invites: readonly Invite[],
  legs: readonly SentLeg[],
  wasAway: (at: number) => boolean,
): (Dial & Invite)[] {
  const byNumber = Map.groupBy(legs, ({ destination }) => destination);
  const inOrder = invites.toSorted((a, b) => a.at - b.at);
  return inOrder.map((invite) => {
    const left = byNumber.get(invite.to) ?? [];
    const leg = legOf(invite, left);
    if (!leg) return { ...invite, legId: `unknown, by an INVITE to ${invite.to} at ${new Date(invite.at).toISOString()}` };
    left.splice(left.indexOf(leg), 1);
    const saysNothing = invite.endedAt === null || (leg.endedAt !== null && wasAway(leg.endedAt));
    const endedAt = saysNothing ? null : Math.max(invite.at, invite.endedAt! - HEARD_LATE_MS);
    return { ...invite, legId: leg.id, endedAt };
  });
}

/** Of several the one whose time is up first: it can be the leg of no later one. */
function legOf({ at }: Invite, legs: readonly SentLeg[]): SentLeg | undefined {
  const until = ({ notAfter, endedAt }: SentLeg): number => Math.min(notAfter, endedAt ?? Infinity) + LATE_MS;
  return legs.filter((leg) => leg.createdAt <= at && at <= until(leg)).sort((a, b) => until(a) - until(b))[0];
}
