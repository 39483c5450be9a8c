/** How simulated agents behave: weights of what they choose, and ranges, in seconds, of how long they take. */
import { z } from 'zod';

const range = z.tuple([z.number().min(0), z.number().min(0)]).refine(([low, high]) => low <= high, 'low before high');
const weight = z.number().min(0).default(0);
const somePositive = (weights: Record<string, number>): boolean => Object.values(weights).some((value) => value > 0);

export const agentBehaviourSchema = z.strictObject({
  /** From the offer on the screen to what is done about it. */
  think: range,
  offer: z
    .strictObject({
      answer: weight,
      /** Lets the phone ring out. */
      ignore: weight,
      reject: weight,
      cancel: weight,
      /** Answers, and hangs up while the contact's phone rings. */
      answerAndHangUp: weight,
      logOff: weight,
    })
    .refine(somePositive, 'one weight above 0 at least'),
  /** From the answer to that early hang-up. */
  patience: range,
  /** Which share of the talks the agent ends (the contact ends the others), and when. */
  hangUpFirst: z.strictObject({ share: z.number().min(0).max(1), after: range }),
  /** From the end of the call to its disposition. */
  wrapUp: range,
  disposition: z
    .strictObject({
      done: weight,
      mark_as_unanswered: weight,
      do_not_call: weight,
      /** Registers nothing and waits until the wrap-up ends by itself. */
      none: weight,
    })
    .refine(somePositive, 'one weight above 0 at least'),
  topics: z.array(z.string()),
  /** From being logged off or paused to being ready again. */
  away: range,
});
export type AgentBehaviour = z.infer<typeof agentBehaviourSchema>;

/** People on an ordinary day. */
export function defaultAgentBehaviour(): AgentBehaviour {
  return {
    think: [1, 5],
    offer: { answer: 86, ignore: 4, reject: 4, cancel: 2, answerAndHangUp: 2, logOff: 2 },
    patience: [2, 10],
    hangUpFirst: { share: 0.25, after: [5, 30] },
    wrapUp: [3, 20],
    disposition: { done: 85, mark_as_unanswered: 8, do_not_call: 3, none: 4 },
    topics: ['Informed', 'Wants an offer', 'Not interested'],
    away: [20, 90],
  };
}

/** For benchmarks: takes every call at once and is done with it at once. */
export function eagerAgentBehaviour(): AgentBehaviour {
  return {
    think: [0, 0],
    offer: { answer: 1, ignore: 0, reject: 0, cancel: 0, answerAndHangUp: 0, logOff: 0 },
    patience: [0, 0],
    hangUpFirst: { share: 0, after: [0, 0] },
    wrapUp: [0, 0],
    disposition: { done: 1, mark_as_unanswered: 0, do_not_call: 0, none: 0 },
    topics: [],
    away: [1, 2],
  };
}
