/** What people are to look at, and what was put right. */
import { z } from 'zod';
import { REPAIR_CAUSES, REPAIR_SUBJECTS } from '../../domain/repairs.ts';
import { id, limit, text, time } from '../schemas.ts';

// ---- problems ---------------------------------------------------------------------------------------------------------

/** docs/operations.md, "Problems". */
export const PROBLEM_KINDS = [
  'stop_open',
  'node_away',
  'node_trouble',
  'trunk_failing',
  'calls_refused',
  'temporal_away',
  'release_behind',
  'schema_behind',
  'nobody_logged_on',
  'never_open',
  'import_broken_off',
  'workflow_closed',
  'contact_stuck',
  'outcome_unclear',
  'objected',
  'agent_set_aside',
  'agent_stuck',
  'webhook_paused',
] as const;
export type ProblemKind = (typeof PROBLEM_KINDS)[number];

const subjectKinds = [...REPAIR_SUBJECTS, 'installation'] as const;

const action = z
  .strictObject({
    says: z.string().describe('What it does, or what is to be done outside'),
    method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE']).nullable().describe('Null: it is done outside of this API'),
    path: z.string().nullable(),
    body: z.record(z.string(), z.unknown()).nullable().describe('A value such as `<zone>` is yours to fill in'),
  })
  .meta({ id: 'ProblemAction' });
export type Action = z.input<typeof action>;

export const problem = z
  .strictObject({
    kind: z.enum(PROBLEM_KINDS),
    since: time.nullable().describe('Null: not known'),
    subject: z.strictObject({ kind: z.enum(subjectKinds), id: z.string() }),
    says: z.string().describe('What is wrong, for people'),
    actions: z.array(action).min(1).describe('Any one of them makes it go away'),
  })
  .meta({ id: 'OpenProblem' });
export type OpenProblem = z.input<typeof problem>;

export const problems = z
  .strictObject({
    items: z.array(problem).describe('By kind, the most urgent first; within a kind the oldest first'),
    more: z.array(z.enum(PROBLEM_KINDS)).describe('Kinds of which there are more than the 100 that are given'),
  })
  .meta({ id: 'OpenProblems' });

export const nodeParams = z.object({ name: text(1, 200) });

// ---- repairs ----------------------------------------------------------------------------------------------------------

const moment = time.transform((at) => new Date(at)).optional();

export const repairQuery = z.strictObject({
  limit: limit.default(100),
  cursor: text(1, 100).optional().describe('`next` of the page before'),
  cause: z.enum(REPAIR_CAUSES).optional(),
  from: moment.describe('Made at that time or later'),
  to: moment.describe('Made before that time'),
});

export const repair = z
  .strictObject({
    id,
    at: time,
    cause: z.string().describe('docs/operations.md, "Repairs"'),
    subject: z.strictObject({ kind: z.string(), id: z.string() }),
    found: z.string().describe('What had gone wrong'),
    done: z.string().describe('What was done'),
    look: z.string().describe('What to look at'),
    worker: z.string().nullable().describe('The worker that did it; null: the API, for who asked'),
  })
  .meta({ id: 'Repair' });
export type RepairJson = z.input<typeof repair>;
