/** docs/domain.md, "Topics". */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DISPOSITION_ACTIONS, type DispositionAction } from '../../domain/states.ts';
import { judge, type Said, type Topic, type TopicsRule, topicsRule } from '../../domain/topics.ts';

const topic = (key: string, more: object = {}) => ({ key, label: key.toUpperCase(), ...more });
const rule = (more: object = {}): TopicsRule => topicsRule.parse(more);

/** sale (new, renewal) · callback, which needs one of (busy, away) · no, asking for a comment (price) · never: do_not_call */
const TREE = [
  topic('sale', { children: [topic('new', { action: 'done' }), topic('renewal')] }),
  topic('callback', { required: true, children: [topic('busy', { action: 'mark_as_unanswered' }), topic('away')] }),
  topic('no', { comment: 'required', children: [topic('price')] }),
  topic('never', { action: 'do_not_call' }),
];
const said = (topics: string[], action: DispositionAction | null = 'done', comment: string | null = null): Said => ({
  action,
  topics,
  comment,
});
const issues = (of: TopicsRule, what: Said, asksComment?: boolean) => {
  const judged = judge(of, what, asksComment);
  return 'issues' in judged ? judged.issues.map(({ field, reason }) => `${field} ${reason}`) : judged;
};

describe('without a tree', () => {
  test('topics are any texts, and a comment may be', () => {
    expect(issues(rule(), said(['sale', 'ø!'], 'done', 'x'))).toEqual(said(['sale', 'ø!'], 'done', 'x'));
    expect(issues(rule(), said([]))).toEqual(said([]));
  });

  test('a comment may be required, or not allowed', () => {
    expect(issues(rule({ comment: 'required' }), said([], 'done', '  '))).toEqual(['comment is missing']);
    expect(issues(rule({ comment: 'none' }), said([], 'done', 'x'))).toEqual(['comment is not allowed in this campaign']);
    expect(issues(rule({ comment: 'none' }), said([], 'done', ' '))).toEqual(said([]));
  });
});

describe('with a tree', () => {
  const tree = rule({ tree: TREE });

  test.each([[[]], [['sale']], [['renewal']], [['sale', 'new']], [['callback', 'away']], [['away']], [['renewal', 'away']]])(
    '%j is accepted',
    (topics) => expect(issues(tree, said(topics))).toEqual(said(topics)),
  );

  test('a topic that is said twice is registered once', () => {
    expect(issues(tree, said(['away', 'away']))).toEqual(said(['away']));
  });

  test('what is not known is refused, each by its place, and what was written is told apart', () => {
    const judged = judge(tree, said(['sale', 'x', 'Sale']));
    const reason = 'is not a topic of this campaign';
    expect(judged).toEqual({
      issues: [
        { field: 'topics.1', reason, written: 'x' },
        { field: 'topics.2', reason, written: 'Sale' },
      ],
    });
  });

  test('what a topic requires below it is named', () => {
    expect(issues(tree, said(['sale', 'callback']))).toEqual(['topics must have one below callback: busy, away']);
  });

  test('one of them may be required, and is named', () => {
    const required = rule({ tree: TREE, required: true });
    expect(issues(required, said([]))).toEqual(['topics must have one of sale, callback, no, never']);
    expect(issues(required, said(['sale']))).toEqual(said(['sale']));
  });

  test('of many only so many are named', () => {
    const many = Array.from({ length: 30 }, (_, n) => topic(`t${n}`));
    const [missing] = issues(rule({ tree: many, required: true }), said([])) as string[];
    expect(missing).toMatch(/^topics must have one of t0, .* t19, …$/);
  });

  test('a topic asks for a comment, also for those below it', () => {
    for (const chosen of ['no', 'price']) {
      expect(issues(tree, said([chosen]))).toEqual(['comment is missing: no asks for one']);
      expect(issues(tree, said([chosen], 'done', 'too dear'))).toEqual(said([chosen], 'done', 'too dear'));
    }
  });

  test('who can write no comment is asked for none', () => {
    expect(issues(tree, said(['no']), false)).toEqual(said(['no']));
    expect(issues(rule({ comment: 'required' }), said([]), false)).toEqual(said([]));
  });
});

describe('the action', () => {
  const tree = rule({ tree: TREE });

  test('is what a topic means, where none is said', () => {
    expect(issues(tree, said(['busy'], null))).toEqual(said(['busy'], 'mark_as_unanswered'));
    expect(issues(tree, said(['sale'], null))).toEqual(['action is missing: no topic says it']);
  });

  test('does not contradict a topic, nor topics each other', () => {
    expect(issues(tree, said(['busy'], 'done'))).toEqual(['action contradicts: the topics mean mark_as_unanswered']);
    expect(issues(tree, said(['busy', 'new'], null))).toEqual([
      'topics contradict each other: the topics mean mark_as_unanswered and done',
    ]);
  });

  test.each<[string, Said, string[], string | null]>([
    ['said without the topic that is required', said([], 'do_not_call'), [], null],
    ['meant by a topic', said(['never'], null), ['never'], null],
    ['meant by a topic, though another action is said', said(['never'], 'done'), ['never'], null],
    ['beside a topic that means something else', said(['never', 'busy'], null), ['never', 'busy'], null],
    ['with topics that are not known', said(['x', 'sale'], 'do_not_call'), ['sale'], null],
    ['with a topic that requires one below it', said(['callback'], 'do_not_call'), ['callback'], null],
    ['with a comment where none may be', said([], 'do_not_call', 'x'), [], null],
  ])('do_not_call is never refused: %s', (_what, what, topics, comment) => {
    const strict = rule({ tree: TREE.filter(({ key }) => key !== 'no'), required: true, comment: 'none' });
    expect(judge(strict, what)).toEqual({ action: 'do_not_call', topics, comment });
  });
});

// ---- trees ----------------------------------------------------------------------------------------------------------

const problems = (more: object): string[] => {
  const read = topicsRule.safeParse(more);
  return read.success ? [] : read.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
};
const nested = (levels: number): object => topic(`l${levels}`, levels > 1 ? { children: [nested(levels - 1)] } : {});

describe('a tree', () => {
  test.each<[string, object, string]>([
    ['with a key twice', { tree: [topic('a', { children: [topic('b')] }), topic('b')] }, 'tree.1.key: is the key of another topic'],
    ['that requires what is not there', { tree: [topic('a', { required: true })] }, 'tree.0.required: needs topics below it to choose from'],
    ['required and empty', { required: true }, 'required: needs a tree to choose from'],
    [
      'with an action above others',
      { tree: [topic('a', { action: 'done', children: [topic('b')] })] },
      'tree.0.action: is for a topic without children only',
    ],
    [
      'that asks for a comment where none may be',
      { comment: 'none', tree: [topic('a', { children: [topic('b', { comment: 'required' })] })] },
      'tree.0.children.0.comment: contradicts the comment of the whole tree, which is none',
    ],
    ['of 5 levels', { tree: [nested(5)] }, 'tree.0.children.0.children.0.children.0.children: is too deep: a tree has 4 levels at most'],
    ['of 201 topics', { tree: Array.from({ length: 201 }, (_, n) => topic(`t${n}`)) }, 'tree: must have 200 topics or less'],
    ['with a blank label', { tree: [topic('a', { label: ' ' })] }, 'tree.0.label: must not be blank'],
    ['with a label that can not be kept', { tree: [topic('a', { label: 'a\0' })] }, 'tree.0.label: must not contain NUL or broken characters'],
  ])('%s is refused', (_what, more, expected) => expect(problems(more)).toEqual([expected]));

  test.each(['', ' ', 'a b', '-a', 'ø', 'a'.repeat(65), 'a\0'])('key %j is refused', (key) => {
    expect(problems({ tree: [topic('ok', { label: 'ok' }), { key, label: 'x' }] })).toEqual([
      'tree.1.key: must be 1 to 64 letters, digits, _ . - and begin with a letter or digit',
    ]);
  });

  test('of 200 topics and 4 levels is taken', () => {
    expect(problems({ tree: [nested(4), ...Array.from({ length: 196 }, (_, n) => topic(`t${n}`))] })).toEqual([]);
  });

  test('that has no end in sight is refused, and breaks nothing', () => {
    let endless: object = topic('x');
    for (let n = 0; n < 50_000; n++) endless = topic('x', { children: [endless] });
    expect(problems({ tree: [endless] }).some((problem) => problem.includes('is too deep'))).toBe(true);
  });
});

// ---- any tree, any registration ---------------------------------------------------------------------------------------

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const anyTopic = (depth: number): fc.Arbitrary<object> =>
  fc.record({
    key: fc.constantFrom(...KEYS),
    label: fc.constant('x'),
    required: fc.boolean(),
    comment: fc.constantFrom('optional', 'required'),
    action: fc.constantFrom(null, null, 'done', 'mark_as_unanswered', 'do_not_call'),
    children: depth > 1 ? fc.array(anyTopic(depth - 1), { maxLength: 2 }) : fc.constant([]),
  });
const anyRule = fc
  .record({ required: fc.boolean(), comment: fc.constantFrom('optional', 'required', 'none'), tree: fc.array(anyTopic(3), { maxLength: 3 }) })
  .map((raw) => topicsRule.safeParse(raw))
  .filter((read) => read.success)
  .map((read) => read.data);
const anySaid: fc.Arbitrary<Said> = fc.record({
  action: fc.constantFrom(null, ...DISPOSITION_ACTIONS),
  topics: fc.array(fc.constantFrom(...KEYS, 'unknown'), { maxLength: 4 }),
  comment: fc.constantFrom(null, '', 'x'),
});
const all = (topics: Topic[]): Topic[] => topics.flatMap((one) => [one, ...all(one.children)]);

test('whatever the tree: do_not_call is never refused, and what is accepted fits', () => {
  fc.assert(
    fc.property(anyRule, anySaid, (tree, what) => {
      const judged = judge(tree, what);
      if ('issues' in judged) {
        expect(what.action).not.toBe('do_not_call');
        expect(judged.issues.length).toBeGreaterThan(0);
        expect(JSON.stringify(judged.issues.map(({ reason }) => reason))).not.toContain('unknown');
        return;
      }
      const known = new Map(all(tree.tree).map((one) => [one.key, one]));
      const chosen = judged.topics.flatMap((key) => known.get(key) ?? []);
      if (tree.tree.length > 0) expect(chosen).toHaveLength(judged.topics.length);
      if (tree.comment === 'none') expect(judged.comment).toBeNull();
      if (judged.action === 'do_not_call') return;
      expect(judged.topics).toEqual([...new Set(what.topics)]);
      expect(chosen.every(({ action }) => action === null || action === judged.action)).toBe(true);
      if (tree.required) expect(judged.topics).not.toEqual([]);
      if (tree.comment === 'required' || chosen.some(({ comment }) => comment === 'required')) expect(judged.comment).toBe('x');
      const isComplete = (one: Topic) => !one.required || all(one.children).some(({ key }) => judged.topics.includes(key));
      expect(chosen.every(isComplete)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});
