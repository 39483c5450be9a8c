/** Calling finished contacts of a campaign again, by one decision (docs/domain.md, "Reopening"). */
import { z } from 'zod';
import { add } from '../../activities/reopening.ts';
import * as reopenings from '../../activities/reopening-sql.ts';
import { AppError } from '../../domain/errors.ts';
import { inTx, type Tx } from '../../prisma/tx.ts';
import { by, MANAGERS, READERS } from '../auth.ts';
import { type Deps, ok, page, readCursor, route, type Route } from '../http.ts';
import { notFound } from '../problems.ts';
import { newReopening, reopening, reopeningEffect, reopeningParams, reopenQuery } from '../schemas/reopenings.ts';
import { idParams, listOf, listQuery } from '../schemas.ts';
import * as sql from '../sql.ts';
import { listChanged } from '../tell.ts';

export function reopeningRoutes(deps: Deps): Route[] {
  const { db } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/campaigns/{id}/reopen',
      tag: 'Campaigns',
      summary: 'Call finished contacts again: those that the filter names and that may be called',
      description:
        'Taken at once and carried out in the background; `GET …/reopenings/{reopening_id}` says how far it is. With ' +
        '`dryRun=true` the answer (200) says what it would do.',
      roles: MANAGERS,
      params: idParams,
      query: reopenQuery,
      body: newReopening,
      response: z.union([reopening, reopeningEffect]),
      statuses: [202, 200],
      fails: ['CONFLICT'],
      whenLate: 'waited_for',
      async handle({ params: { id }, query: { dryRun }, body: { extra_attempts: extraAttempts, ...filter }, caller, requestKey }) {
        if (dryRun) return ok(await effect(deps, { campaignId: id, filter, extraAttempts, at: db.clock.now() }));
        const wanted = { campaignId: id, filter, extraAttempts, by: by(caller), requestKey };
        const row = await inTx(db, (tx) => decide(tx, wanted));
        await listChanged(deps, id);
        return { status: 202, body: reopeningJson(row), headers: { Location: `/v1/campaigns/${id}/reopenings/${row.id}` } };
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/reopenings',
      tag: 'Campaigns',
      summary: 'List the reopenings of a campaign, the first one first',
      roles: READERS,
      params: idParams,
      query: listQuery,
      response: listOf(reopening),
      async handle({ params: { id }, query: { cursor, limit } }) {
        const after = readCursor(cursor);
        const { rows } = await db.pool.query<reopenings.ReopeningRow>(reopenings.listReopenings(id, after, limit + 1));
        if (rows.length === 0) await mustExist(deps, id);
        return ok(page(rows.map(reopeningJson), limit));
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/reopenings/{reopening_id}',
      tag: 'Campaigns',
      summary: 'Read a reopening: how far it is, and what came of it',
      roles: READERS,
      params: reopeningParams,
      response: reopening,
      async handle({ params: { id, reopening_id } }) {
        const { rows } = await db.pool.query<reopenings.ReopeningRow>(reopenings.readReopening(id, reopening_id));
        if (!rows[0]) throw notFound('reopening of this campaign');
        return ok(reopeningJson(rows[0]));
      },
    }),
  ];
}

async function mustExist({ db }: Deps, id: number): Promise<void> {
  if (!(await db.prisma.campaign.findUnique({ where: { id }, select: { id: true } }))) throw notFound('campaign');
}

/** What it would do, by now. */
async function effect(deps: Deps, asked: reopenings.Asked): Promise<z.input<typeof reopeningEffect>> {
  await mustExist(deps, asked.campaignId);
  const { rows } = await deps.db.pool.query<reopenings.Count>(reopenings.countNamed(asked));
  const reopened = rows.filter(({ why_not }) => why_not === null);
  return {
    dry_run: true,
    reopened: add({}, reopened, ({ ended_reason }) => ended_reason),
    not_reopened: add({}, rows, ({ why_not }) => why_not),
  };
}

/** Writes it down; a repeat of the request finds what it has written. */
async function decide(tx: Tx, wanted: reopenings.NewReopening): Promise<reopenings.ReopeningRow> {
  const campaign = await tx.row<{ status: string }>(sql.lockCampaign(wanted.campaignId));
  if (!campaign) throw notFound('campaign');
  const { status } = campaign;
  if (status === 'ended') throw new AppError('CONFLICT', 'a campaign that has ended calls nobody any more', { state: status });
  if ((await tx.run(reopenings.insertReopening(tx.now, wanted))) > 0) await tx.run(sql.bumpRevision(tx.now, wanted.campaignId));
  return (await tx.row<reopenings.ReopeningRow>(reopenings.reopeningOfRequest(wanted.requestKey)))!;
}

function reopeningJson(row: reopenings.ReopeningRow): z.input<typeof reopening> {
  const { id, at, by, filter, extra_attempts, reopened, not_reopened, finished_at } = row;
  return {
    id,
    at: at.toISOString(),
    by,
    filter: filter as z.input<typeof reopening>['filter'],
    extra_attempts,
    reopened,
    not_reopened,
    finished_at: finished_at?.toISOString() ?? null,
  };
}
