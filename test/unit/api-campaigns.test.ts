import { describe, expect, test } from 'vitest';
import { mergeRules, slug, whyNot } from '../../api/routes/campaigns.ts';
import { defaultRules } from '../../domain/rules.ts';
import { localTime } from '../../api/agent-streams.ts';

test.each([
  ['Winback 2026', 'Winback_2026'],
  ['Ærlig Åpning – høst!', 'rlig_Apning_h_st'],
  ['  spaces  ', 'spaces'],
  ['日本', 'campaign'],
  ['x'.repeat(200), 'x'.repeat(60)],
])('slug of %j', (name, expected) => {
  expect(slug(name)).toBe(expected);
});

describe('mergeRules', () => {
  const stored = { ...defaultRules(), max_attempts: 7 };

  test('keeps what is not given, also inside', () => {
    const merged = mergeRules(stored, { retry: { b: { delay_sec: 1 } }, ring_sec: 20 });
    expect(merged).toEqual({
      ...stored,
      ring_sec: 20,
      retry: { ...stored.retry, b: { ...stored.retry.b, delay_sec: 1 } },
    });
  });

  test.each([
    ['rules.max_attempts', { max_attempts: 0 }],
    ['rules.retry', { retry: null }],
    ['rules.retry.b.delay_sec', { retry: { b: { delay_sec: 'soon' } } }],
    ['rules.retry.z', { retry: { z: {} } }],
    ['rules.unknown', { unknown: 1 }],
    ['rules.__proto__', JSON.parse('{"__proto__": {"polluted": true}}')],
  ])('%s is named when wrong', (field, changes) => {
    let issues: { field: string }[] | undefined;
    try {
      mergeRules(stored, changes as Record<string, unknown>);
    } catch (error) {
      issues = (error as { details: { issues: { field: string }[] } }).details.issues;
    }
    expect(issues?.map((issue) => issue.field)).toEqual([field]);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

const WORKS = { n: 1, working: 1, free: 1 };

describe('whyNot', () => {
  const codes = (...of: Parameters<typeof whyNot>) => whyNot(...of).map(({ code }) => code);

  test('nothing when all is there', () => {
    expect(codes('running', { queued: 1 }, { ready: 1 }, WORKS)).toEqual([]);
  });
  test.each([
    [['campaign_not_running'], codes('paused', { queued: 1 }, { ready: 1 }, WORKS)],
    [['list_empty'], codes('running', { queued: 0 }, { ready: 1 }, WORKS)],
    [['list_loading'], codes('running', { new: 3, queued: 0 }, { ready: 1 }, WORKS)],
    [['no_contact_queued'], codes('running', { waiting: 3, queued: 0 }, { ready: 1 }, WORKS)],
    [['no_agent_assigned'], codes('running', { queued: 1 }, {}, WORKS)],
    [['nobody_logged_on'], codes('running', { queued: 1 }, { logged_off: 2 }, WORKS)],
    [['no_agent_ready'], codes('running', { queued: 1 }, { logged_off: 2, connected: 1 }, WORKS)],
    [['no_node_ready'], codes('running', { queued: 1 }, { ready: 1 }, { n: 0, working: 0, free: 0 })],
    [['trunk_failing'], codes('running', { queued: 1 }, { ready: 1 }, { n: 1, working: 0, free: 0 })],
    [['nodes_at_limit'], codes('running', { queued: 1 }, { ready: 1 }, { n: 2, working: 1, free: 0 })],
  ])('%j', (expected, found) => {
    expect(found).toEqual(expected);
  });
});

test('local time of a zone, over a change of date', () => {
  expect(localTime(new Date('2026-07-01T23:30:05Z'), ['Europe/Oslo', 'Europe/Paris'])).toBe('2026-07-02T01:30:05');
  expect(localTime(new Date('2026-07-01T00:00:00Z'), ['America/New_York'])).toBe('2026-06-30T20:00:00');
  expect(localTime(new Date(), ['America/New_York', 'America/Chicago'])).toBeNull();
  expect(localTime(new Date(), ['Mars/Olympus'])).toBeNull();
});
