/** How far a leg has come, and how long it took: what every adapter knows of its live legs. */
import type { LegPhase } from './telephony.ts';

/** A live leg, with epoch ms of what has happened to it. */
export interface LegSnapshot {
  legId: string;
  phase: LegPhase;
  startedAt: number;
  alertingAt: number | null;
  answeredAt: number | null;
}

/** `setupMs` and `alertMs` of a leg that ends at `endedAt`. */
export function legDurations(
  leg: Pick<LegSnapshot, 'startedAt' | 'alertingAt' | 'answeredAt'>,
  endedAt: number,
): { setupMs: number; alertMs: number } {
  const over = leg.answeredAt ?? endedAt;
  return {
    // A clock that is set back must not make a duration negative.
    setupMs: Math.max(0, (leg.alertingAt ?? over) - leg.startedAt),
    alertMs: leg.alertingAt === null ? 0 : Math.max(0, over - leg.alertingAt),
  };
}
