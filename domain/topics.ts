/** What agents may register of a talk: a campaign's tree of topics (docs/domain.md, "Topics"). Pure. */
import { z } from 'zod';
import type { DispositionAction } from './states.ts';

/** Levels of a tree, and topics in it. A schema that went on for ever would break on a body that does. */
const MAX_LEVELS = 4;
const MAX_TOPICS = 200;

/** Actions that need nothing but their name. */
const IMPLIED_ACTIONS = ['done', 'mark_as_unanswered', 'do_not_call'] as const satisfies readonly DispositionAction[];

// Types and not interfaces, as they are kept as JSON: only these fit the database client's.
export type Topic = {
  key: string;
  label: string;
  required: boolean;
  comment: 'optional' | 'required';
  action: (typeof IMPLIED_ACTIONS)[number] | null;
  children: Topic[];
};

export type TopicsRule = {
  required: boolean;
  comment: 'optional' | 'required' | 'none';
  tree: Topic[];
};

export const TOPIC_KEY = /^[A-Za-z0-9][\w.-]{0,63}$/;

function levels(left: number): z.ZodType<Topic> {
  const children: z.ZodType<Topic[]> =
    left > 1
      ? z.array(levels(left - 1)).default([])
      : z.array(z.never()).max(0, `is too deep: a tree has ${MAX_LEVELS} levels at most`).default([]);
  return z.strictObject({
    key: z
      .string()
      .regex(TOPIC_KEY, 'must be 1 to 64 letters, digits, _ . - and begin with a letter or digit')
      .describe('What is registered; keep it when the label changes'),
    label: z
      .string()
      .max(200, 'must have at most 200 characters')
      .refine((label) => label.trim() !== '', 'must not be blank')
      .refine((label) => !label.includes('\0') && label.isWellFormed(), 'must not contain NUL or broken characters')
      .describe('What the agent reads'),
    required: z.boolean().default(false).describe('Who chooses it must choose one below it too'),
    comment: z.enum(['optional', 'required']).default('optional').describe('For it and what is below it'),
    action: z.enum(IMPLIED_ACTIONS).nullable().default(null).describe('What it means for the contact; only without children'),
    children,
  });
}

export const topicsRule = z
  .strictObject({
    required: z.boolean().default(false).describe('One must be registered'),
    comment: z.enum(['optional', 'required', 'none']).default('optional').describe('none: nothing may be written'),
    tree: z.array(levels(MAX_LEVELS)).default([]).describe('Empty: topics are any texts'),
  })
  .superRefine((rule, context) => {
    for (const { path, reason } of contradictions(rule)) context.addIssue({ code: 'custom', path, message: reason });
  });

interface Contradiction {
  path: (string | number)[];
  reason: string;
}

function contradictions(rule: TopicsRule): Contradiction[] {
  const found: Contradiction[] = [];
  const keys = new Set<string>();
  const look = (topics: Topic[], path: (string | number)[]): void =>
    topics.forEach((topic, index) => {
      const say = (field: string, reason: string) => found.push({ path: [...path, index, field], reason });
      if (keys.has(topic.key)) say('key', 'is the key of another topic');
      keys.add(topic.key);
      if (topic.required && topic.children.length === 0) say('required', 'needs topics below it to choose from');
      if (topic.action && topic.children.length > 0) say('action', 'is for a topic without children only');
      if (topic.comment === 'required' && rule.comment === 'none') {
        say('comment', 'contradicts the comment of the whole tree, which is none');
      }
      look(topic.children, [...path, index, 'children']);
    });
  look(rule.tree, ['tree']);
  if (rule.required && rule.tree.length === 0) found.push({ path: ['required'], reason: 'needs a tree to choose from' });
  if (keys.size > MAX_TOPICS) found.push({ path: ['tree'], reason: `must have ${MAX_TOPICS} topics or less` });
  return found;
}

// ---- what was registered ----------------------------------------------------------------------------------------------

/** What an agent registers; `action` null: the topics say it. */
export interface Said {
  action: DispositionAction | null;
  topics: string[];
  comment: string | null;
}

export interface Issue {
  field: string;
  /** What is missing by its name in the tree, and never what somebody has written. */
  reason: string;
  written?: string;
}

/** What is to be stored; or why it can't be. */
export type Judged = { action: DispositionAction; topics: string[]; comment: string | null } | { issues: Issue[] };

/**
 * Holds what was said against the tree. A person who must not be called must not be called: do_not_call, said or meant by a
 * topic, is never refused. What does not fit is left out then. `asksComment`: false for whoever can't write one.
 */
export function judge(rule: TopicsRule, said: Said, asksComment = true): Judged {
  const tree = pathsOf(rule.tree);
  const isFree = rule.tree.length === 0;
  const topics = [...new Set(said.topics)].filter((key) => isFree || tree.has(key));
  const comment = rule.comment === 'none' ? null : said.comment;
  const implied = [...new Set(topics.flatMap((key) => tree.get(key)?.at(-1)?.action ?? []))];
  if (said.action === 'do_not_call' || implied.includes('do_not_call')) return { action: 'do_not_call', topics, comment };
  const action = said.action ?? implied[0];
  const issues = [
    ...unknownTopics(rule, tree, said),
    ...missingTopics(rule, tree, topics),
    ...wrongComment(rule, tree, topics, said, asksComment),
    ...wrongAction(said, implied),
  ];
  return issues.length > 0 || !action ? { issues: issues.filter(isFirstOfField) } : { action, topics, comment };
}

const isFirstOfField = ({ field }: Issue, index: number, all: Issue[]) => all.findIndex((one) => one.field === field) === index;

/** Each topic by its key, with those above it: the topic itself last. */
type Paths = Map<string, Topic[]>;

function pathsOf(topics: Topic[], above: Topic[] = []): Paths {
  const paths = topics.map((topic) => [...above, topic]);
  return new Map(paths.flatMap((path) => [[path.at(-1)!.key, path], ...pathsOf(path.at(-1)!.children, path)]));
}

function unknownTopics({ tree: { length } }: TopicsRule, tree: Paths, { topics }: Said): Issue[] {
  if (length === 0) return [];
  const reason = 'is not a topic of this campaign';
  return topics.flatMap((key, index) => (tree.has(key) ? [] : [{ field: `topics.${index}`, reason, written: key }]));
}

function missingTopics(rule: TopicsRule, tree: Paths, topics: string[]): Issue[] {
  if (topics.length === 0) return rule.required ? [{ field: 'topics', reason: `must have one of ${names(rule.tree)}` }] : [];
  const chosen = topics.flatMap((key) => tree.get(key)?.at(-1) ?? []);
  const isBelow = (key: string, above: Topic) => tree.get(key)!.slice(0, -1).includes(above);
  const incomplete = chosen.filter((topic) => topic.required && !topics.some((key) => isBelow(key, topic)));
  return incomplete.map((topic) => ({ field: 'topics', reason: `must have one below ${topic.key}: ${names(topic.children)}` }));
}

const names = (topics: Topic[]): string =>
  topics.slice(0, MAX_NAMED).map(({ key }) => key).join(', ') + (topics.length > MAX_NAMED ? ', …' : '');
/** Names in a sentence. */
const MAX_NAMED = 20;

function wrongComment(rule: TopicsRule, tree: Paths, topics: string[], said: Said, asksComment: boolean): Issue[] {
  const isBlank = !said.comment?.trim();
  if (rule.comment === 'none') {
    return isBlank ? [] : [{ field: 'comment', reason: 'is not allowed in this campaign' }];
  }
  if (!isBlank || !asksComment) return [];
  const asking = topics.flatMap((key) => tree.get(key) ?? []).find((topic) => topic.comment === 'required');
  if (asking) return [{ field: 'comment', reason: `is missing: ${asking.key} asks for one` }];
  return rule.comment === 'required' ? [{ field: 'comment', reason: 'is missing' }] : [];
}

function wrongAction({ action }: Said, implied: DispositionAction[]): Issue[] {
  const meant = `the topics mean ${implied.join(' and ')}`;
  if (implied.length > 1) return [{ field: 'topics', reason: `contradict each other: ${meant}` }];
  if (action === null && implied.length === 0) return [{ field: 'action', reason: 'is missing: no topic says it' }];
  return action !== null && implied.length === 1 && implied[0] !== action ? [{ field: 'action', reason: `contradicts: ${meant}` }] : [];
}
