/**
 * The simulator's script: how phones behave when they are called. Every random choice is drawn from (seed, number, n-th
 * dial of that number), so a run can be repeated whatever the order of the dials. All times are in seconds, and run
 * faster by the simulator's speed.
 */
import { z } from 'zod';

const second = z.number().min(0).max(86_400);
/** A time, or a range from which each dial draws its own. */
const seconds = z.union([second, z.tuple([second, second]).refine(([low, high]) => low <= high, 'low before high')]);
const never = z.null();

const outcomeSchema = z.discriminatedUnion('kind', [
  /** Picks up `after` alerting and hangs up after `talks`; with null it talks until the other side hangs up. */
  z.strictObject({
    kind: z.literal('answers'),
    after: seconds,
    talks: z.union([seconds, never]).default(null),
    /** Presses this key so long after the answer, as a person does who is asked to confirm. */
    presses: z.strictObject({ digit: z.string().regex(/^[0-9*#A-D]$/), after: seconds }).optional(),
  }),
  /** As `answers`, by a machine: it talks but never confirms. */
  z.strictObject({ kind: z.literal('voicemail'), after: seconds, talks: seconds }),
  /** The far end or the network refuses, with a SIP status and possibly a `Reason: Q.850` (RFC 3326). */
  z.strictObject({
    kind: z.literal('fails'),
    after: seconds,
    sip: z.int().min(300).max(699),
    q850: z.int().min(1).max(127).optional(),
  }),
  /** Does nothing more: an alerting phone rings out, one that never alerted gives no reply at all. */
  z.strictObject({ kind: z.literal('silent') }),
  /** Does nothing by itself; the HTTP interface answers, rejects, hangs up and presses keys. */
  z.strictObject({ kind: z.literal('manual') }),
]);

export const behaviourSchema = z.strictObject({
  /** From the dial to 100 Trying; null: none. */
  trying: z.union([seconds, never]).default(0.1),
  /** From the dial to 183 with SDP, which counts as alerting; null: none. */
  earlyMedia: z.union([seconds, never]).default(null),
  /** From the dial to 180 Ringing; null: none. */
  alerting: z.union([seconds, never]).default(1),
  /** From the answer until audio runs both ways; null: it never does. */
  media: z.union([seconds, never]).default(0.1),
  /** Whoever answers is another one, to whom the phone passes the call on: not done where that is forbidden (it rings out). */
  diverts: z.boolean().default(false),
  /** Picks up at the moment of our hang-up: while alerting, its answer crosses that on the wire. */
  crosses: z.boolean().default(false),
  /** What then happens; its `after` counts from the last of the above that came before the answer. */
  then: outcomeSchema,
});
export type Behaviour = z.infer<typeof behaviourSchema>;
export type BehaviourInput = z.input<typeof behaviourSchema>;

export const scriptSchema = z.strictObject({
  seed: z.int().default(1),
  /** The trunk's carrier rings by early media only: 18x with SDP counts as alerting. */
  earlyMediaAlerts: z.boolean().default(true),
  /** False: it refuses to record, as a switch whose disk is full. */
  records: z.boolean().default(true),
  /** By number, agents' and contacts' alike. In a list, the n-th dial takes the n-th behaviour; the last one stays. */
  numbers: z.record(z.string(), z.union([behaviourSchema, z.array(behaviourSchema).min(1)])).default({}),
  /** All other contacts' numbers: one is drawn for each dial. */
  contacts: z
    .array(z.strictObject({ weight: z.number().positive(), behaviour: behaviourSchema }))
    .min(1)
    .prefault(() => defaultMix()),
  /** All other phones of agents. */
  agents: behaviourSchema.prefault({ alerting: 0.3, then: { kind: 'manual' } }),
});
export type Script = z.infer<typeof scriptSchema>;
export type ScriptInput = z.input<typeof scriptSchema>;

/** A phone for one dial: every range drawn to a number of seconds. */
export interface Phone {
  trying: number | null;
  earlyMedia: number | null;
  alerting: number | null;
  media: number | null;
  diverts: boolean;
  crosses: boolean;
  then: Outcome;
}
export type Outcome =
  | { kind: 'answers' | 'voicemail'; after: number; talks: number | null; presses?: { digit: string; after: number } }
  | { kind: 'fails'; after: number; sip: number; q850?: number }
  | { kind: 'silent' }
  | { kind: 'manual' };

/** How `number` behaves when dialled for the `nth` time (from 1). */
export function phoneFor(script: Script, party: 'agent' | 'contact', number: string, nth: number): Phone {
  const random = seededRandom(`${script.seed}/${number}/${nth}`);
  const own = Object.hasOwn(script.numbers, number) ? script.numbers[number] : undefined;
  if (Array.isArray(own)) return draw(own[Math.min(nth, own.length) - 1]!, random);
  if (own) return draw(own, random);
  if (party === 'agent') return draw(script.agents, random);
  return draw(pickWeighted(script.contacts, random).behaviour, random);
}

function draw(behaviour: Behaviour, random: () => number): Phone {
  const time = (value: z.infer<typeof seconds>): number =>
    typeof value === 'number' ? value : value[0] + random() * (value[1] - value[0]);
  const maybe = (value: z.infer<typeof seconds> | null): number | null => (value === null ? null : time(value));
  const { then } = behaviour;
  const phone = {
    trying: maybe(behaviour.trying),
    earlyMedia: maybe(behaviour.earlyMedia),
    alerting: maybe(behaviour.alerting),
    media: maybe(behaviour.media),
    diverts: behaviour.diverts,
    crosses: behaviour.crosses,
  };
  switch (then.kind) {
    case 'answers': {
      const { presses, ...rest } = then;
      const key = presses && { presses: { digit: presses.digit, after: time(presses.after) } };
      return { ...phone, then: { ...rest, after: time(then.after), talks: maybe(then.talks), ...key } };
    }
    case 'voicemail':
      return { ...phone, then: { ...then, after: time(then.after), talks: time(then.talks) } };
    case 'fails':
      return { ...phone, then: { ...then, after: time(then.after) } };
    default:
      return { ...phone, then };
  }
}

export function pickWeighted<T extends { weight: number }>(items: readonly T[], random: () => number): T {
  let left = random() * items.reduce((sum, item) => sum + item.weight, 0);
  for (const item of items) {
    left -= item.weight;
    if (left < 0) return item;
  }
  return items.at(-1)!;
}

/** A generator of numbers in [0, 1) that is a function of its seed alone: FNV-1a into mulberry32. */
export function seededRandom(seed: string): () => number {
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(seed)) state = Math.imul(state ^ byte, 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The demo's script: contacts as an outbound team meets them on a weekday, agents that wait for a click. */
export function defaultScript(): Script {
  return scriptSchema.parse({});
}

function defaultMix(): { weight: number; behaviour: BehaviourInput }[] {
  const alerting: [number, number] = [0.8, 3];
  const answers: BehaviourInput['then'] = { kind: 'answers', after: [2, 12], talks: [8, 40] };
  const fails = (sip: number, q850?: number): BehaviourInput['then'] => ({ kind: 'fails', after: [0.3, 2], sip, q850 });
  return [
    { weight: 45, behaviour: { alerting, then: answers } },
    { weight: 8, behaviour: { alerting: null, earlyMedia: alerting, then: answers } },
    // Most mobiles: early media first, 180 after it.
    { weight: 4, behaviour: { alerting: [3.5, 5], earlyMedia: alerting, then: answers } },
    { weight: 9, behaviour: { alerting: null, then: fails(486) } },
    { weight: 3, behaviour: { alerting, then: { kind: 'fails', after: [2, 10], sip: 603, q850: 21 } } },
    { weight: 15, behaviour: { alerting, then: { kind: 'silent' } } },
    { weight: 6, behaviour: { alerting, then: { kind: 'voicemail', after: [15, 22], talks: [5, 25] } } },
    { weight: 2, behaviour: { alerting: null, then: fails(404, 1) } },
    { weight: 2, behaviour: { alerting: null, then: fails(480, 20) } },
    { weight: 1, behaviour: { alerting: null, then: fails(503, 34) } },
    { weight: 2, behaviour: { alerting, then: { kind: 'fails', after: [20, 28], sip: 480, q850: 19 } } },
    { weight: 1, behaviour: { trying: null, alerting: null, then: { kind: 'silent' } } },
    { weight: 2, behaviour: { alerting: null, then: { kind: 'silent' } } },
  ];
}
