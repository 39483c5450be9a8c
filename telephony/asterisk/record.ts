/** What dialwright.conf has written down of a leg that ended, be it that nobody listened. */
import { RESULT_REASONS } from '../../domain/codes.ts';
import type { EndWhy, LegPhase } from '../telephony.ts';
import type { ChannelEnd } from './leg.ts';

export interface EndRecord extends ChannelEnd {
  phase: LegPhase;
  /** It was ended by the end of another leg, for this reason. */
  why: EndWhy | null;
}

const PHASES: Readonly<Record<string, LegPhase>> = { Up: 'answered', Ringing: 'alerting' };

/** `<epoch s>|<channel state>|<Q.850 cause>|<why>|SIP <status> <text of the far end>`; null for anything else. */
export function readRecord(text: string): EndRecord | null {
  const [at = '', state = '', cause = '', why = '', tech = ''] = text.split('|');
  if (!/^\d+$/.test(at)) return null;
  const sip = Number(/^SIP (\d{3})/.exec(tech)?.[1] ?? 0);
  return {
    at: Number(at) * 1000,
    phase: PHASES[state] ?? 'setup',
    cause: Number(cause) || 0,
    ...(sip >= 300 ? { sip } : {}),
    why: isWhy(why) ? why : null,
  };
}

function isWhy(text: string): text is EndWhy {
  return text === 'call_over' || (RESULT_REASONS as readonly string[]).includes(text);
}
