import { describe, expect, it } from 'vitest';
import {
  defaultScript,
  phoneFor,
  scriptSchema,
  type Phone,
  type ScriptInput,
} from '../../telephony/simulator/script.ts';

const script = (input: ScriptInput) => scriptSchema.parse(input);
const busy = { alerting: null, then: { kind: 'fails', after: 1, sip: 486 } } as const;
const answers = { then: { kind: 'answers', after: [2, 12], talks: [8, 40] } } satisfies ScriptInput['agents'];

describe('a dial', () => {
  it('is drawn from seed, number and how often the number was dialled, and from nothing else', () => {
    const mix = defaultScript();
    const draw = (number: string, nth: number) => phoneFor(mix, 'contact', number, nth);

    const first = draw('+4722000001', 1);
    draw('+4722000002', 1);

    expect(draw('+4722000001', 1)).toEqual(first);
    expect(draw('+4722000001', 2)).not.toEqual(first);
    expect(phoneFor({ ...mix, seed: 2 }, 'contact', '+4722000001', 1)).not.toEqual(first);
  });

  it('draws each range within its bounds', () => {
    const phones = drawMany(script({ contacts: [{ weight: 1, behaviour: answers }] }), 200);

    const times = phones.map(({ then }) => (then.kind === 'answers' ? then.after : Number.NaN));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(2);
    expect(Math.min(...times)).toBeLessThan(3);
    expect(Math.max(...times)).toBeLessThanOrEqual(12);
    expect(Math.max(...times)).toBeGreaterThan(11);
  });

  it('takes the behaviour of its number before any other', () => {
    const own = script({ numbers: { '+4722000001': busy, '100': busy } });

    expect(phoneFor(own, 'contact', '+4722000001', 1).then).toMatchObject({ sip: 486 });
    expect(phoneFor(own, 'agent', '100', 1).then).toMatchObject({ sip: 486 });
    expect(phoneFor(own, 'agent', '101', 1).then).toEqual({ kind: 'manual' });
  });

  it('takes the n-th behaviour of a list, and the last one ever after', () => {
    const own = script({ numbers: { '+4722000001': [busy, answers] } });

    const kinds = [1, 2, 3].map((nth) => phoneFor(own, 'contact', '+4722000001', nth).then.kind);

    expect(kinds).toEqual(['fails', 'answers', 'answers']);
  });

  it('does not take a number for a property of every object', () => {
    expect(phoneFor(script({}), 'agent', 'constructor', 1).then).toEqual({ kind: 'manual' });
  });
});

describe('the default script', () => {
  it('answers a little over half of the calls, as the demo promises', () => {
    const phones = drawMany(defaultScript(), 5000);
    const share = (matches: (phone: Phone) => boolean) => (100 * phones.filter(matches).length) / phones.length;

    expect(share(({ then }) => then.kind === 'answers')).toBeCloseTo(57, -1);
    expect(share(({ then }) => then.kind === 'voicemail')).toBeCloseTo(6, -0.5);
    expect(share(({ then, alerting }) => then.kind === 'silent' && alerting !== null)).toBeCloseTo(15, -1);
    expect(share(({ then }) => then.kind === 'fails' && [486, 603].includes(then.sip))).toBeCloseTo(12, -1);
    expect(share(({ earlyMedia }) => earlyMedia !== null)).toBeCloseTo(12, -1);
  });
});

describe('a script that is wrong', () => {
  it.each<[string, unknown]>([
    ['an unknown word', { contact: [] }],
    ['no contacts to draw from', { contacts: [] }],
    ['a weight of nothing', { contacts: [{ weight: 0, behaviour: busy }] }],
    ['a range from high to low', { agents: { alerting: [3, 1], then: { kind: 'manual' } } }],
    ['a time before the dial', { agents: { alerting: -1, then: { kind: 'manual' } } }],
    ['a SIP status that ends no call', { agents: { then: { kind: 'fails', after: 1, sip: 183 } } }],
    ['an empty list of behaviours', { numbers: { '100': [] } }],
  ])('is refused: %s', (_what, input) => {
    expect(scriptSchema.safeParse(input).success).toBe(false);
  });
});

function drawMany(from: ReturnType<typeof script>, count: number): Phone[] {
  return Array.from({ length: count }, (_, index) => phoneFor(from, 'contact', `+47220${index}`, 1));
}
