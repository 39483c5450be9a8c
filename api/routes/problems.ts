/** What a person must look at now, and what the product has put right by itself. */
import { AppError } from '../../domain/errors.ts';
import { REPAIRS, type RepairCause } from '../../domain/repairs.ts';
import { within } from '../../prisma/deadline.ts';
import { knownMigrations } from '../../prisma/release.ts';
import { MANAGERS, READERS } from '../auth.ts';
import { type Deps, noContent, ok, readTimeCursor, route, type Route, timeCursor } from '../http.ts';
import { openProblems } from '../open-problems.ts';
import { forgetNode } from '../open-problems-sql.ts';
import { notFound } from '../problems.ts';
import { listRepairs, type RepairRow } from '../repairs-sql.ts';
import { listOf } from '../schemas.ts';
import { nodeParams, problems, repair, type RepairJson, repairQuery } from '../schemas/problems.ts';

const TAG = 'Operation';
/** So that there is time left to say that it does not answer. */
const TEMPORAL_WITHIN_MS = 1_000;

export function problemRoutes(deps: Deps): Route[] {
  const { db } = deps;
  const migrations = knownMigrations();
  return [
    route({
      method: 'get',
      path: '/v1/problems',
      tag: TAG,
      summary: 'What a person must decide or look at now, each with what can be done about it',
      description: 'Reckoned from how things are at this moment: what is over is not there any more.',
      roles: READERS,
      response: problems,
      handle: async () => ok(await openProblems({ db, checkTemporal: () => within(TEMPORAL_WITHIN_MS, deps.checkTemporal), migrations })),
    }),
    route({
      method: 'get',
      path: '/v1/repairs',
      tag: TAG,
      summary: 'What had gone wrong and was put right, the latest first',
      description: 'A healthy installation has none. Why each was made, and what to look at, is in docs/operations.md.',
      roles: READERS,
      query: repairQuery,
      response: listOf(repair),
      async handle({ query: { cursor, limit, ...filter } }) {
        const before = cursor === undefined ? null : readTimeCursor(cursor);
        const { rows } = await db.pool.query<RepairRow>(listRepairs(before, limit + 1, filter));
        const shown = rows.slice(0, limit);
        return ok({ items: shown.map(repairJson), next: rows.length > limit ? timeCursor(shown.at(-1)!) : null });
      },
    }),
    route({
      method: 'delete',
      path: '/v1/nodes/{name}',
      tag: TAG,
      summary: 'Forget a telephony node that is not coming back',
      description: 'Refused while a worker holds it, or a call is open on it. A worker that takes it up makes it anew.',
      roles: MANAGERS,
      params: nodeParams,
      fails: ['CONFLICT'],
      async handle({ params: { name } }) {
        if ((await db.pool.query(forgetNode(db.clock.now(), name))).rowCount) return noContent;
        const node = await db.prisma.node.findUnique({ where: { name }, select: { name: true } });
        if (!node) throw notFound('node');
        throw new AppError('CONFLICT', 'a worker holds the node, or a call is open on it: stop its workers, and wait 30 s');
      },
    }),
  ];
}

/** A cause of a later release is given as it is. */
const UNKNOWN = { found: 'something that this release does not know', done: 'it was put right', look: 'the release notes' };

function repairJson({ id, at, cause, subject, worker }: RepairRow): RepairJson {
  const meaning = REPAIRS[cause as RepairCause] ?? UNKNOWN;
  return { id, at: at.toISOString(), cause, subject: subjectOf(subject), ...meaning, worker };
}

/** Of a contact without the round; a node's name may have strokes. */
function subjectOf(subject: string): RepairJson['subject'] {
  const [kind = '', ...rest] = subject.split('/');
  return { kind, id: kind === 'contact' ? rest[0]! : rest.join('/') };
}

