/**
 * The result codes: one table for the whole product (docs/domain.md, "Dialling the contact" and "The offer").
 */

/** `result_code` of a leg. */
export const LEG_CODES = ['k', 't', 'h', 'q', 'b', 'c', 'e'] as const;
export type LegCode = (typeof LEG_CODES)[number];

/**
 * `result_code` of a queue event: `q` queued, `d` ended by a decision; of a contact who waits on the line `k` an agent
 * answered, `h` the contact hung up, `t` waited too long for the agent who took it back, `s` nobody is logged on, `e` error.
 */
export type QueueCode = 'q' | 'd' | LiveCode;
export type LiveCode = 'k' | 'h' | 's' | 'e';

export const CODE_MEANING: Readonly<Record<LegCode | 'd', string>> = {
  k: 'answered',
  t: 'alerting timeout',
  h: 'hung up by the agent while alerting',
  q: 'hung up by the agent during set-up',
  b: 'busy or rejected',
  c: 'set-up timeout',
  e: 'error, or number not in use',
  d: 'ended by a decision',
};

/** Our own reasons, `result_reason`. */
export const RESULT_REASONS = [
  'ring_timeout',
  'setup_timeout',
  'agent_hang_up',
  'agent_cancel',
  'agent_reject',
  'not_confirmed',
  'agent_logged_off',
  'agent_lost',
  'agent_released',
  'no_media',
  'do_not_call',
  'number_not_allowed',
  'disabled',
  'deleted',
  'list_replaced',
  'campaign_paused',
  'hours',
  'cap',
  'number_in_use',
  'rescheduled',
  'abandoned',
  'switch_lost',
  'unknown',
] as const;
export type ResultReason = (typeof RESULT_REASONS)[number];

/** How a leg ended: the part of the port's report that decides the code. */
export interface LegEnding {
  /** The phase in which it ended. */
  phase: 'setup' | 'alerting' | 'answered';
  /** Who ended it: the adapter's own timer, a `hangUp` command or "end together", the far end, or the switch itself. */
  by: 'timer' | 'command' | 'remote' | 'switch';
  /** Of the command that ended it (`by: 'command'`), or `switch_lost` (`by: 'switch'`). */
  why?: ResultReason | 'call_over';
  /** SIP status the far end sent, if it did. */
  sip?: number;
  /** Q.850 cause of a `Reason` header or of the network. */
  q850?: number;
}

export interface LegResult {
  code: LegCode;
  /** The integer the far end sent: its SIP status, else the Q.850 cause of a network without SIP; null for neither. */
  response: number | null;
  reason: ResultReason | null;
  /** This number is not to be dialled again (404, 410, 607 and their like). */
  numberGivenUp: boolean;
  /** The called person objects: do-not-call is proposed (607, RFC 8197). */
  proposeDoNotCall: boolean;
  /** Something that people who run the system must look at (608, RFC 8688). */
  alarm: boolean;
}

type Row = Partial<Pick<LegResult, 'numberGivenUp' | 'proposeDoNotCall' | 'alarm'>> & {
  before: LegCode;
  alerting: LegCode;
};
const both = (code: LegCode, extra: Omit<Row, 'before' | 'alerting'> = {}): Row => ({
  before: code,
  alerting: code,
  ...extra,
});
const silence: Row = { before: 'c', alerting: 't' };
const givenUp = { numberGivenUp: true };

/** Q.850 causes (ITU-T Q.850), of a `Reason` header (RFC 3326) or of the network. */
export const Q850_TABLE: Readonly<Record<number, Row>> = {
  17: both('b'),
  21: both('b'),
  19: both('t'),
  18: both('c'),
  20: both('c'),
  1: both('e', givenUp),
  22: both('e', givenUp),
  28: both('e', givenUp),
};

/** SIP final responses; all that is not listed is `e`: our fault or the trunk's. A 3xx target is never dialled. */
export const SIP_TABLE: Readonly<Record<number, Row>> = {
  486: both('b'),
  600: both('b'),
  603: both('b'),
  607: both('b', { numberGivenUp: true, proposeDoNotCall: true }),
  608: both('e', { alarm: true }),
  408: silence,
  480: silence,
  487: silence,
  504: silence,
  404: both('e', givenUp),
  410: both('e', givenUp),
  484: both('e', givenUp),
  485: both('e', givenUp),
  604: both('e', givenUp),
};

/**
 * Commands of ours that mean something else than `h`/`q`. `not_confirmed` and `no_media` end a phone that was picked up,
 * but no agent was there: not `k`.
 */
const COMMAND_CODE: Partial<Record<ResultReason, LegCode>> = { agent_reject: 'b', not_confirmed: 't', no_media: 'e' };

/**
 * The code of an ended leg: first why we ended it (our timers, our command), then Q.850, then the SIP code.
 * An answered leg is `k` whatever ended it: in a race the wire decides.
 */
export function legResult(end: LegEnding): LegResult {
  const base: LegResult = {
    code: 'e',
    response: end.sip ?? end.q850 ?? null,
    reason: null,
    numberGivenUp: false,
    proposeDoNotCall: false,
    alarm: false,
  };
  const reason = end.why && end.why !== 'call_over' ? end.why : null;
  const commanded = end.by === 'command' && reason ? COMMAND_CODE[reason] : undefined;
  if (commanded) return { ...base, code: commanded, response: null, reason };
  if (end.phase === 'answered') return { ...base, code: 'k', response: 200, reason };
  if (end.by === 'timer') {
    return end.phase === 'alerting'
      ? { ...base, code: 't', response: null, reason: 'ring_timeout' }
      : { ...base, code: 'c', response: null, reason: 'setup_timeout' };
  }
  if (end.by === 'command') {
    return { ...base, code: end.phase === 'alerting' ? 'h' : 'q', response: null, reason };
  }
  if (end.by === 'switch') return { ...base, code: 'e', reason: reason ?? 'unknown' };
  const byCause = end.q850 === undefined ? undefined : Q850_TABLE[end.q850];
  const bySip = end.sip === undefined ? undefined : SIP_TABLE[end.sip];
  const row = byCause ?? bySip;
  if (!row) return base;
  // The cause decides the code, but what only 607 and 608 can say is not lost beside it.
  const said = bySip?.proposeDoNotCall || bySip?.alarm ? { ...bySip, ...byCause } : row;
  return {
    ...base,
    code: end.phase === 'alerting' ? row.alerting : row.before,
    numberGivenUp: said.numberGivenUp ?? false,
    proposeDoNotCall: said.proposeDoNotCall ?? false,
    alarm: said.alarm ?? false,
  };
}
