/** One leg at Asterisk, and what is read of it: without an Asterisk. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { endpointOf } from '../../telephony/asterisk/endpoints.ts';
import { Leg } from '../../telephony/asterisk/leg.ts';
import { bond, Names, readPlan } from '../../telephony/asterisk/names.ts';
import { readRecord } from '../../telephony/asterisk/record.ts';
import { timeOf } from '../../telephony/asterisk/time.ts';
import type { LegFact } from '../../telephony/telephony.ts';

describe('the record of dialwright.conf', () => {
  it.each([
    ['1795641452|Down|17||SIP 486 Busy Here', { phase: 'setup', cause: 17, sip: 486, why: null }],
    ['1795641452|Ringing|16|agent_hang_up|SIP 180 Ringing', { phase: 'alerting', cause: 16, why: 'agent_hang_up' }],
    ['1795641452|Up|16|call_over|SIP 200 OK', { phase: 'answered', cause: 16, why: 'call_over' }],
    ['1795641452|Up|16||', { phase: 'answered', cause: 16, why: null }],
  ])('%s', (text, expected) => {
    expect(readRecord(text)).toEqual({ at: 1_795_641_452_000, ...expected });
  });

  it('takes no reason from the text of the far end', () => {
    expect(readRecord('1795641452|Down|21||SIP 603 No|do_not_call')).toMatchObject({ sip: 603, why: null });
  });

  it.each(['', 'nothing', '|Up|16||'])('is none: %s', (text) => {
    expect(readRecord(text)).toBeNull();
  });
});

describe('an endpoint', () => {
  const patterns = { trunk: 'PJSIP/0{digits}@carrier', agents: 'PJSIP/agent-{extension}' };

  it('is the trunk for a number, and the phone for an extension', () => {
    expect(endpointOf(patterns, '+4722865018')).toBe('PJSIP/04722865018@carrier');
    expect(endpointOf({ ...patterns, trunk: 'PJSIP/{number}@carrier' }, '+47')).toBe('PJSIP/+47@carrier');
    expect(endpointOf(patterns, '1001')).toBe('PJSIP/agent-1001');
  });

  it.each(['1001@evil', '1001&PJSIP/2', '10/01', '', '+47 22', '1,2'])('is none for %s', (to) => {
    expect(() => endpointOf(patterns, to)).toThrow('neither a number nor an extension');
  });
});

it('names are known again, and only our own', () => {
  const names = new Names('dialwright');
  expect(names.own(names.channel('1-2-1'))).toBe('1-2-1');
  expect(names.own('other.1-2-1')).toBeNull();
  expect(names.own(names.probe())).toBeNull();
  expect(bond('agent_hang_up', ['PJSIP/a-1', 'PJSIP/b-2'])).toBe('agent_hang_up&PJSIP/a-1&PJSIP/b-2');
  expect(bond('agent_hang_up', [])).toBe('');
  expect(readPlan('{"party":"agent","setupMs":1,"ringMs":2}')).toEqual({ party: 'agent', setupMs: 1, ringMs: 2 });
  expect(readPlan('')).toBeNull();
  expect(timeOf('2026-01-31T12:00:00.250+0100')).toBe(Date.UTC(2026, 0, 31, 11, 0, 0, 250));
});

describe('a leg', () => {
  const begin = () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const facts: LegFact[] = [];
    const timedOut = vi.fn();
    const plan = { party: 'contact', setupMs: 1_000, ringMs: 2_000 } as const;
    const leg = new Leg('1-1-2', plan, 0, { fact: (fact) => void facts.push(fact), timedOut });
    leg.startSetup();
    return { leg, facts, timedOut, told: () => facts.map((fact) => (fact.type === 'progress' ? fact.phase : fact.type)) };
  };
  const over = { at: 9_000, cause: 16 };

  it('rings once, from its first sign on', () => {
    const { leg, told, timedOut } = begin();
    leg.earlyMedia(100, true);
    leg.alerting(500);
    vi.advanceTimersByTime(1_999);
    expect(timedOut).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(timedOut).toHaveBeenCalledOnce();
    expect(told()).toEqual(['early_media', 'alerting']);
  });

  it('early media is no sign of alerting where the trunk says so', () => {
    const { leg, told } = begin();
    leg.earlyMedia(100, false);
    expect(told()).toEqual(['early_media']);
    expect(leg.phase).toBe('setup');
  });

  it('an answer that crosses our hang-up is told by the end alone', () => {
    const { leg, facts, told } = begin();
    leg.alerting(500);
    leg.endedBy({ by: 'command', why: 'agent_cancel' });
    leg.answered(600);
    leg.over(over);
    expect(told()).toEqual(['alerting', 'ended']);
    expect(facts.at(-1)).toMatchObject({ phase: 'answered', by: 'command', why: 'agent_cancel' });
  });

  it('an answer counts although the hang-up of the far end was told first', () => {
    const { leg, facts, told } = begin();
    leg.alerting(500);
    leg.endedBy({ by: 'remote' });
    leg.answered(600);
    leg.over(over);
    expect(told()).toEqual(['alerting', 'answered', 'ended']);
    expect(facts.at(-1)).toMatchObject({ phase: 'answered', by: 'remote', setupMs: 500, alertMs: 100 });
  });

  it('the first who ends it has ended it; the end is told once, and nothing after it', () => {
    const { leg, facts, told } = begin();
    expect(leg.endedBy({ by: 'timer' })).toBe(true);
    expect(leg.endedBy({ by: 'remote' })).toBe(false);
    leg.over(over);
    leg.over(over);
    leg.lost(9_001, 'switch_lost');
    leg.answered(9_002);
    expect(told()).toEqual(['ended']);
    expect(facts[0]).toMatchObject({ by: 'timer', phase: 'setup' });
  });

  it.each([
    [{ cause: 17, sip: 486 }, { sip: 486 }],
    [{ cause: 17 }, { q850: 17 }],
    [{ cause: 0 }, {}],
  ])('ended by the far end with %o', (end, said) => {
    const { leg, facts } = begin();
    leg.over({ at: 300, ...end });
    const times = { setupMs: 300, alertMs: 0 };
    expect(facts).toEqual([{ type: 'ended', legId: '1-1-2', at: 300, phase: 'setup', by: 'remote', ...said, ...times }]);
  });
});
