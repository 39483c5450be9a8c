/**
 * The telephony port: what the dialler asks of a switch, and what a switch tells.
 *
 * An adapter owns the phones: set-up and ring timers, who ended which leg in which phase, "end together". It reports
 * facts and decides nothing about campaigns. Every command is idempotent. `test/kit/telephony-contract.ts` is the suite
 * that any adapter must pass.
 */
import type { LegEnding, ResultReason } from '../domain/codes.ts';

/** Why we end a leg: recorded as the leg's `result_reason` when our command is what ended it. */
export type EndWhy = ResultReason | 'call_over';

export interface Originate {
  /** `legId()` of domain/ids.ts. A second `originate` of the same leg does nothing and answers `known`. */
  legId: string;
  /** Whose phone: an agent's or a contact's. */
  party: 'agent' | 'contact';
  /** E.164 number, or an agent's extension. */
  to: string;
  /** Number shown to the called party. */
  from: string | null;
  /** Longest set-up (until alerting), in ms; the adapter ends the leg then (`by: 'timer'`, phase `setup`). */
  setupMs: number;
  /** Longest alerting, in ms, started once; the adapter ends the leg then (`by: 'timer'`, phase `alerting`). */
  ringMs: number;
  /** The phone must not pass the call on to another one: whoever answers is who was called, never an agent's voicemail. */
  noDivert: boolean;
  /**
   * The mix that the leg is put into before it is sent, so that those in it hear its early media (ring-back,
   * announcements); null: none. The leg counts as joined from the start: a `join` at its answer is a repeat.
   */
  mix: string | null;
  /** Epoch ms after which the switch itself must refuse to send this leg, so a worker that was frozen can't dial. */
  notAfter: number;
}

/** `accepted`: sent now · `known`: this leg was sent before · `too_late`: `notAfter` has passed, never sent. */
export type OriginateAnswer = 'accepted' | 'known' | 'too_late';

/** `ended`: it is ended (now or before) · `answered`: left alone as asked · `absent`: the switch does not know it, and
 * will now refuse to originate it. */
export type HangUpAnswer = 'ended' | 'answered' | 'absent';

export type LegPhase = 'setup' | 'alerting' | 'answered';

/** `absent`: the switch is certain that it has no such leg now. `cannot-tell` counts as dialled. */
export type LegStatus = LegPhase | 'absent' | 'cannot-tell';

interface FactBase {
  legId: string;
  /** The switch's time, epoch ms. */
  at: number;
}

export type LegFact =
  /** `alerting` at the first 180, or early media where the trunk counts it as such; said once. */
  | (FactBase & { type: 'progress'; phase: 'trying' | 'alerting' | 'early_media' })
  | (FactBase & { type: 'answered' })
  /** Audio runs both ways: the called party can hear us. */
  | (FactBase & { type: 'media_up' })
  | (FactBase & { type: 'dtmf'; digit: string })
  | (FactBase & { type: 'held'; on: boolean })
  | (FactBase & LegEnd & { type: 'ended' });

/** How a leg ended. Both times are null where the switch does not know them any more: then what it told before counts. */
export interface LegEnd extends LegEnding {
  /** From originate to the first alerting, or to the end if it never alerted. */
  setupMs: number | null;
  /** From alerting to the answer or the end; 0 if it never alerted. */
  alertMs: number | null;
}

/** What the adapter can do; the product says so where it can't. */
export interface Capabilities {
  callerId: boolean;
  /** Reports the cause of a failed leg beyond the SIP code. */
  reason: boolean;
  /** Reports early media, and lets it be heard in the mix of `originate`; otherwise that mix holds from the answer on. */
  earlyMedia: boolean;
  /** Reports `media_up`; otherwise `answered` counts as such. */
  mediaUp: boolean;
  separateSetupTimer: boolean;
  /** Keys that were pressed while nobody listened are told on reconnection. */
  remembersKeys: boolean;
  /** Each of the commands of that name; a command that can't be carried out rejects with CONFLICT. */
  noDivert: boolean;
  hold: boolean;
  play: boolean;
  sendDtmf: boolean;
  record: boolean;
}

export interface Telephony {
  readonly capabilities: Capabilities;
  originate(leg: Originate): Promise<OriginateAnswer>;
  /**
   * Ends a leg. With `unlessAnswered`, only the switch knows who was first: an answered leg is left alone. An answer that
   * crosses our hang-up on the wire is told as the end alone: phase `answered`, by `command`, and no fact `answered`.
   */
  hangUp(legId: string, why: EndWhy, options?: { unlessAnswered?: boolean }): Promise<HangUpAnswer>;
  /** Puts an answered leg into a mix (audio of all its legs together); a leg is in one mix at most. */
  join(mix: string, legId: string): Promise<void>;
  leave(mix: string, legId: string): Promise<void>;
  /**
   * When the first of `legIds` ends, the switch ends the others, by itself. `why` is what the others' end carries if
   * the first was ended by its far end (an agent who hangs up: `agent_hang_up`); null: its end, whoever brought it about,
   * leaves the others alone, while it still ends with them (somebody who is asked to take a talk). A leg that was not sent
   * yet is bound when it is; if another one has ended by then, it is never sent (`too_late`). What was said of the mix before
   * is undone, so an empty list undoes it all.
   */
  endTogether(mix: string, legIds: { legId: string; why: EndWhy | null }[]): Promise<void>;
  /** Puts an answered leg on hold (it hears nothing of its mix, and is not heard) or takes it back; a repeat does nothing. */
  hold(legId: string, on: boolean): Promise<void>;
  /** Plays a sound to an answered leg over and over (`music`), in place of the one before; null: none any more. */
  play(legId: string, sound: string | null): Promise<void>;
  /** Sends keys (0-9 * # A-D) to the far end of an answered leg. The same `key` once more sends nothing. */
  sendDtmf(legId: string, digits: string, key: string): Promise<void>;
  /**
   * Records a mix under this name (letters, digits, hyphens, dots), from now until null or the end of its last leg; a
   * repeat goes on with the same one. For a mix without legs it does nothing.
   */
  record(mix: string, name: string | null): Promise<void>;
  /** A switch that remembers how an absent leg ended, which nobody was told, tells it now as a fact. */
  status(legId: string): Promise<LegStatus>;
  /** Every live leg of this application. */
  list(): Promise<{ legId: string; phase: LegPhase }[]>;
  /**
   * Facts of each leg in order, at least once: a fact counts as delivered when `listener` has resolved; what ended or
   * happened while nobody listened is delivered on reconnection as far as the switch remembers it.
   */
  onFact(listener: (fact: LegFact) => Promise<void>): void;
  /**
   * Called when the connection to the switch comes up, or is lost or can't be made; `why` then says what to check, in words
   * that anybody may read: no address, no secret.
   */
  onConnection(listener: (up: boolean, why?: string) => void): void;
  /** Connects; resolves when commands are possible for the first time. */
  start(): Promise<void>;
  close(): Promise<void>;
}
