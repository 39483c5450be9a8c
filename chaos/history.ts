/** Whether what became of a contact follows from its history, as readers were told it, and from nothing else. */
import type { Told } from './witnesses.ts';

export interface Ended {
  id: string;
  /** `done` or `disabled`. */
  state: string;
  reason: string;
  numbers: number;
}

interface Leg {
  callId: string;
  code: string;
  reason: string | null;
  response: number | null;
  destination: string;
}

/** Answers of the far end after which a number is never dialled again (docs/domain.md, the result codes). */
const GIVEN_UP_SIP = [404, 410, 484, 485, 604, 607];
const GIVEN_UP_Q850 = [1, 22, 28];

/** All that was told of one contact. */
export class History {
  readonly #calls: Told[] = [];
  readonly #dispositions: Told[] = [];

  add(row: Told): void {
    if (row.kind === 'call') this.#calls.push(row);
    if (row.kind === 'disposition') this.#dispositions.push(row);
  }

  /** Why the end does not follow from it; null when it does. `listed`: numbers that must not be called. */
  contradicts(ended: Ended, maxAttempts: number, isListed: boolean): string | null {
    const legs = this.#contactLegs();
    const last = legs.at(-1);
    switch (ended.reason) {
      case 'answered':
        if (last?.code !== 'k' || last.reason === 'abandoned') return `its last leg ended in ${last?.code ?? 'nothing'}`;
        // Said after it was closed, it opens a new round if there is an attempt left.
        return this.#said(last.callId, 'mark_as_unanswered') && legs.length < maxAttempts ? 'that talk was marked as unanswered' : null;
      case 'attempts_exhausted':
        return legs.length === maxAttempts ? null : `${legs.length} legs, where ${maxAttempts} are allowed`;
      case 'numbers_given_up': {
        const given = new Set(legs.filter(isGivenUp).map(({ destination }) => destination));
        return given.size === ended.numbers ? null : `${given.size} of its ${ended.numbers} numbers were given up`;
      }
      case 'agent_cancel':
        return this.#calls.some((row) => row.result_reason === 'agent_cancel') ? null : 'nobody has cancelled';
      case 'do_not_call':
        return isListed || this.#dispositions.some((row) => row.action === 'do_not_call') ? null : 'nobody has listed it';
      default:
        return 'nothing here ends a contact so';
    }
  }

  /** Talks in which an agent said so, and did not say otherwise later. */
  #said(callId: string, action: string): boolean {
    return this.#dispositions.filter((row) => row.call_id === callId).at(-1)?.action === action;
  }

  #contactLegs(): Leg[] {
    return this.#calls
      .filter((row) => row.leg_type === 'contact' && row.result_code !== null)
      .map((row) => ({
        callId: row.call_id as string,
        code: row.result_code as string,
        reason: row.result_reason as string | null,
        response: row.result_response as number | null,
        destination: row.destination as string,
      }));
  }
}

const isGivenUp = ({ code, response }: Leg): boolean =>
  ['b', 'e'].includes(code) && response !== null && (response > 127 ? GIVEN_UP_SIP : GIVEN_UP_Q850).includes(response);
