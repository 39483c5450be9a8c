import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DialRecord } from '../../telephony/simulator/dial-record.ts';
import { scriptSchema, type BehaviourInput } from '../../telephony/simulator/script.ts';
import { SimulatedSwitch, type SwitchClock } from '../../telephony/simulator/switch.ts';
import type { LegFact, Originate } from '../../telephony/telephony.ts';

const log = pino({ level: 'silent' });
const CONTACT = '+4722000001';
const START = 1_700_000_000_000;

const answers: BehaviourInput = { then: { kind: 'answers', after: 4, talks: 30 } };
const ringsOut: BehaviourInput = { then: { kind: 'silent' } };
const noReply: BehaviourInput = { trying: null, alerting: null, then: { kind: 'silent' } };
const manual: BehaviourInput = { then: { kind: 'manual' } };

describe('a call', () => {
  it('is told from trying to the far end hanging up', () => {
    const { dial, clock, told } = rig(answers);

    expect(dial('c')).toBe('accepted');
    clock.advance(60_000);

    expect(told()).toEqual([
      'c trying +100',
      'c alerting +1000',
      'c answered +5000',
      'c media_up +5100',
      'c ended answered by remote, setup 1000 alert 4000 +35000',
    ]);
  });

  it('runs at the given speed, its durations in real time', () => {
    const { dial, clock, told } = rig(answers, { speed: 10 });

    dial('c');
    clock.advance(6_000);

    expect(told().at(-1)).toBe('c ended answered by remote, setup 100 alert 400 +3500');
  });

  it('is dialled once, however often it is asked for', () => {
    const { dial, clock, record, told } = rig({ then: { kind: 'answers', after: 4, talks: 2 } });

    dial('c');
    expect(dial('c')).toBe('known');
    clock.advance(60_000);

    expect(dial('c'), 'after its end').toBe('known');
    clock.advance(9 * 60_000);
    expect(dial('c'), 'ten minutes later').toBe('known');
    expect(record.list(0, 10)).toHaveLength(1);
    expect(told().filter((fact) => fact.includes('ended'))).toHaveLength(1);
  });

  it('is refused when its time to be sent has passed, by the clock of the switch', () => {
    const { dial, clock, record } = rig(answers);
    clock.advance(5_001);

    expect(dial('c', { notAfter: START + 5_000 })).toBe('too_late');
    expect(record.list(0, 10)).toEqual([]);
  });
});

describe('the timers', () => {
  it('end a set-up without a sign', () => {
    const { dial, clock, told } = rig(noReply);
    dial('c');
    clock.advance(60_000);
    expect(told()).toEqual(['c ended setup by timer, setup 20000 alert 0 +20000']);
  });

  it('end the alerting', () => {
    const { dial, clock, told } = rig(ringsOut);
    dial('c');
    clock.advance(60_000);
    expect(told().at(-1)).toBe('c ended alerting by timer, setup 1000 alert 30000 +31000');
  });

  it('start the ring timer once: by early media, not again by the 180 after it', () => {
    const { dial, clock, told } = rig({ earlyMedia: 2, alerting: 5, then: { kind: 'silent' } });
    dial('c');
    clock.advance(60_000);
    expect(told()).toEqual([
      'c trying +100',
      'c early_media +2000',
      'c alerting +2000',
      'c ended alerting by timer, setup 2000 alert 30000 +32000',
    ]);
  });

  it('wait for the 180 on a trunk where early media is no alerting', () => {
    const { dial, clock, told, simulated } = rig({ earlyMedia: 2, alerting: 5, then: { kind: 'silent' } });
    simulated.script = { ...simulated.script, earlyMediaAlerts: false };
    dial('c');
    clock.advance(60_000);
    expect(told().slice(1)).toEqual([
      'c early_media +2000',
      'c alerting +5000',
      'c ended alerting by timer, setup 5000 alert 30000 +35000',
    ]);
  });

  it('do not reach into a talk', () => {
    const { dial, clock, simulated } = rig({ then: { kind: 'answers', after: 4, talks: null } });
    dial('c');
    clock.advance(3_600_000);
    expect(simulated.status('c')).toBe('answered');
  });
});

describe('a phone that passes calls on', () => {
  const diverted: BehaviourInput = { diverts: true, then: { kind: 'voicemail', after: 4, talks: 10 } };

  it('is answered by another one', () => {
    const { dial, clock, told } = rig(diverted);
    dial('c');
    clock.advance(5_000);
    expect(told().at(-1)).toBe('c answered +5000');
  });

  it('rings out where that is forbidden', () => {
    const { dial, clock, told } = rig(diverted);
    dial('c', { noDivert: true });
    clock.advance(60_000);
    expect(told().at(-1)).toContain('ended alerting by timer');
  });
});

describe('a phone that refuses', () => {
  it.each<[string, BehaviourInput, string]>([
    ['busy', fails(486, { alerting: null }), 'setup by remote 486, setup 2100 alert 0 +2100'],
    ['with a cause', fails(480, { q850: 19 }), 'alerting by remote 480/19, setup 1000 alert 2000 +3000'],
    [
      'after early media',
      fails(404, { alerting: null, earlyMedia: 1, q850: 1 }),
      'alerting by remote 404/1, setup 1000 alert 2000 +3000',
    ],
  ])('%s', (_how, behaviour, ended) => {
    const { dial, clock, told } = rig(behaviour);
    dial('c');
    clock.advance(60_000);
    expect(told().at(-1)).toBe(`c ended ${ended}`);
  });
});

describe('hangUp', () => {
  it.each<[string, BehaviourInput, number, string]>([
    ['set-up', manual, 500, 'setup'],
    ['alerting', manual, 3_000, 'alerting'],
    ['a talk', answers, 10_000, 'answered'],
  ])('ends %s', (_phase, behaviour, after, phase) => {
    const { dial, clock, simulated, told } = rig(behaviour);
    dial('c');
    clock.advance(after);

    expect(simulated.hangUp('c', 'agent_hang_up')).toBe('ended');

    expect(told().at(-1)).toMatch(`c ended ${phase} by command agent_hang_up`);
    expect(simulated.status('c')).toBe('absent');
    expect(simulated.hangUp('c', 'agent_hang_up'), 'once more').toBe('ended');
    clock.advance(60_000);
    expect(told().filter((fact) => fact.includes('ended'))).toHaveLength(1);
  });

  it('leaves an answered leg alone when asked to', () => {
    const { dial, clock, simulated } = rig(answers);
    dial('c');
    clock.advance(4_999);
    clock.advance(1);

    expect(simulated.hangUp('c', 'agent_cancel', { unlessAnswered: true })).toBe('answered');
    expect(simulated.status('c')).toBe('answered');
  });

  it('is crossed by an answer on the wire: told as the end alone', () => {
    const { dial, clock, simulated, record, told } = rig({ crosses: true, then: { kind: 'manual' } });
    dial('c');
    clock.advance(3_000);

    expect(simulated.hangUp('c', 'agent_cancel', { unlessAnswered: true })).toBe('ended');

    expect(told().slice(2)).toEqual(['c ended answered by command agent_cancel, setup 1000 alert 2000 +3000']);
    expect(record.list(0, 1)).toMatchObject([{ answeredAt: START + 3_000 }]);
  });

  it('of a leg that is not there yet keeps it from ever being dialled', () => {
    const { dial, simulated, record } = rig(answers);

    expect(simulated.hangUp('c', 'agent_cancel')).toBe('absent');

    expect(dial('c')).toBe('too_late');
    expect(simulated.hangUp('c', 'agent_cancel')).toBe('absent');
    expect(record.list(0, 10)).toEqual([]);
  });
});

describe('legs that end together', () => {
  const talk = (why: 'ours' | 'theirs') => {
    const parts = rig({ then: { kind: 'answers', after: 1, talks: why === 'theirs' ? 30 : null } });
    parts.dial('a', { party: 'agent', to: '100' });
    parts.dial('c');
    parts.clock.advance(1_500);
    parts.simulated.answerPhone('100');
    parts.clock.advance(1_500);
    parts.simulated.endTogether('m', [
      { legId: 'a', why: 'agent_hang_up' },
      { legId: 'c', why: 'call_over' },
    ]);
    return parts;
  };

  it('the agent hangs up: the contact goes with the reason agreed', () => {
    const { simulated, told } = talk('ours');
    simulated.hangUpPhone('100');
    expect(told().slice(-2)).toEqual([
      expect.stringMatching(/^a ended answered by remote,/),
      expect.stringMatching(/^c ended answered by command agent_hang_up,/),
    ]);
  });

  it('the contact hangs up: the agent goes with the reason agreed', () => {
    const { clock, told } = talk('theirs');
    clock.advance(60_000);
    expect(told().slice(-2)).toEqual([
      expect.stringMatching(/^c ended answered by remote,/),
      expect.stringMatching(/^a ended answered by command call_over,/),
    ]);
  });

  it('we hang up: the reason of the command goes for both', () => {
    const { simulated, told } = talk('ours');
    simulated.hangUp('a', 'agent_lost');
    expect(told().at(-1)).toMatch(/^c ended answered by command agent_lost,/);
  });

  it('an empty list undoes it', () => {
    const { simulated } = talk('ours');
    simulated.endTogether('m', []);
    simulated.hangUpPhone('100');
    expect(simulated.status('c')).toBe('answered');
  });

  it('one that had ended before the command ends the others now', () => {
    const { dial, clock, simulated } = rig(ringsOut);
    dial('a', { party: 'agent', to: '100' });
    dial('c');
    clock.advance(2_000);
    simulated.rejectPhone('100');

    simulated.endTogether('m', [
      { legId: 'a', why: 'agent_hang_up' },
      { legId: 'c', why: 'call_over' },
    ]);

    expect(simulated.status('c')).toBe('absent');
  });

  it('one that is not dialled yet never will be, once the other is gone', () => {
    const { dial, clock, simulated } = rig(answers);
    dial('a', { party: 'agent', to: '100' });
    simulated.endTogether('m', [
      { legId: 'a', why: 'agent_hang_up' },
      { legId: 'c', why: 'call_over' },
    ]);
    clock.advance(2_000);
    simulated.rejectPhone('100');

    expect(dial('c')).toBe('too_late');
  });
});

describe('a leg sent into a mix', () => {
  it('is in it from the start, keeps it alive, and joins it once more at its answer', () => {
    const { dial, clock, simulated } = rig(manual);
    dial('c', { mix: 'm' });
    const mix = () => simulated.describe()[0]!.mix;
    expect(mix()).toBe('m');
    simulated.record('m', 'call-1');
    expect(simulated.describe()[0]!.recording).toBe('call-1');

    clock.advance(2_000);
    simulated.answerPhone(CONTACT);
    simulated.join('m', 'c');

    expect(mix()).toBe('m');
  });
});

it('refuses to record where its script says so', () => {
  const { simulated } = rig(manual);
  simulated.script = { ...simulated.script, records: false };
  expect(() => simulated.record('m', 'call-1')).toThrow('can not be written');
});

describe('a phone under manual control', () => {
  it('is answered, presses a key and hangs up', () => {
    const { dial, clock, simulated, told } = rig(manual);
    dial('a', { party: 'agent', to: '100' });
    clock.advance(2_000);

    simulated.answerPhone('100');
    clock.advance(1_000);
    simulated.pressKey('100', '1');
    simulated.hangUpPhone('100');

    expect(told().slice(2)).toEqual([
      'a answered +2000',
      'a media_up +2100',
      'a dtmf 1 +3000',
      expect.stringMatching(/^a ended answered by remote,/),
    ]);
  });

  it('says what it is doing when it can do no such thing', () => {
    const { dial, clock, simulated } = rig(manual);
    const state = () => {
      try {
        simulated.answerPhone('100');
      } catch (error) {
        return (error as { details: { state: string } }).details.state;
      }
    };

    expect(state()).toBe('idle');
    dial('a', { party: 'agent', to: '100' });
    expect(state()).toBe('setup');
    clock.advance(2_000);
    expect(state()).toBeUndefined();
    expect(state()).toBe('talking');
  });

  it('of an agent has one line: a second call to it is busy', () => {
    const { dial, clock, told } = rig(manual);
    dial('a', { party: 'agent', to: '100' });
    clock.advance(2_000);

    dial('b', { party: 'agent', to: '100' });
    clock.advance(1_000);

    expect(told().at(-1)).toBe('b ended setup by remote 486, setup 100 alert 0 +2100');
  });
});

describe('facts', () => {
  it('wait for their acknowledgement, in order', () => {
    const { dial, clock, simulated } = rig(answers);
    dial('c');
    clock.advance(5_000);

    expect(simulated.facts.pending().map(({ seq }) => seq)).toEqual([1, 2, 3]);
    simulated.facts.acknowledge(2);
    expect(simulated.facts.pending().map(({ seq }) => seq)).toEqual([1, 3]);
  });

  it('are dropped when nobody has fetched them for an hour', () => {
    const { dial, clock, simulated } = rig(ringsOut);
    dial('c');
    clock.advance(2 * 3_600_000);
    dial('d');
    clock.advance(1_000);

    expect(simulated.facts.pending().map(({ fact }) => fact.legId)).toEqual(['d', 'd']);
  });
});

describe('the dial record', () => {
  it('outlives its process, its legs do not', () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'dials-'));
    onTestFinished(() => rmSync(dataDir, { recursive: true }));
    const first = rig({ then: { kind: 'answers', after: 4, talks: 30 } }, { dataDir });
    first.dial('c');
    expect(readFileSync(join(dataDir, 'simulator-dials.jsonl'), 'utf8'), 'before any fact').toContain('"legId":"c"');
    first.clock.advance(60_000);
    first.dial('d');
    // What a power cut leaves.
    appendFileSync(join(dataDir, 'simulator-dials.jsonl'), '{"type":"answ');

    const second = rig(answers, { dataDir });
    second.dial('e');

    expect(second.simulated.status('d')).toBe('absent');
    expect(rig(answers, { dataDir }).record.list(0, 10)).toMatchObject([
      { seq: 1, legId: 'c', to: CONTACT, answeredAt: START + 5_000, endedAt: START + 35_000, end: { by: 'remote' } },
      { seq: 2, legId: 'd', answeredAt: null, end: null },
      { seq: 3, legId: 'e' },
    ]);
    expect(second.record.timesDialled(CONTACT)).toBe(3);
  });
});

function fails(sip: number, { q850, ...rest }: { q850?: number } & Partial<BehaviourInput>): BehaviourInput {
  return { ...rest, then: { kind: 'fails', after: 2, sip, q850 } };
}

function rig(contact: BehaviourInput, { speed = 1, dataDir = null as string | null } = {}) {
  const clock = new FakeClock();
  const record = new DialRecord(dataDir, log);
  const script = scriptSchema.parse({ contacts: [{ weight: 1, behaviour: contact }], agents: manual });
  const simulated = new SimulatedSwitch({ script, record, log, clock, speed });
  const dial = (legId: string, changes: Partial<Originate> = {}) =>
    simulated.originate({
      legId,
      party: 'contact',
      to: CONTACT,
      from: null,
      setupMs: 20_000,
      ringMs: 30_000,
      noDivert: false,
      mix: null,
      notAfter: clock.now() + 5_000,
      ...changes,
    });
  return { simulated, record, clock, dial, told: () => simulated.facts.pending().map(({ fact }) => inWords(fact)) };
}

function inWords(fact: LegFact): string {
  const since = `+${fact.at - START}`;
  switch (fact.type) {
    case 'progress':
      return `${fact.legId} ${fact.phase} ${since}`;
    case 'dtmf':
      return `${fact.legId} dtmf ${fact.digit} ${since}`;
    case 'ended': {
      const cause = fact.why ?? [fact.sip, fact.q850].filter(Boolean).join('/');
      const how = `${fact.phase} by ${fact.by} ${cause}`.trim();
      return `${fact.legId} ended ${how}, setup ${fact.setupMs} alert ${fact.alertMs} ${since}`;
    }
    default:
      return `${fact.legId} ${fact.type} ${since}`;
  }
}

/** Time that moves when told to, and runs what is due on the way. */
class FakeClock implements SwitchClock {
  #now = START;
  #timers = new Set<{ at: number; fn: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimeout(ms: number, fn: () => void): () => void {
    const timer = { at: this.#now + ms, fn };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((one, other) => one.at - other.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = due.at;
      due.fn();
    }
    this.#now = until;
  }
}
