/** The one clock: SQL never says now(); statements take the time from here, and tests set it. */
export interface Clock {
  now(): Date;
}
export const systemClock: Clock = { now: () => new Date() };
