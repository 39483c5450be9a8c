/** The versions of a campaign's rules: who changed them and when, and under which a call was made. */
import type { z } from 'zod';
import { type CampaignRules, withDefaults } from '../../domain/rules.ts';
import { READERS } from '../auth.ts';
import { type Deps, ok, page, readIntCursor, route, type Route } from '../http.ts';
import { notFound } from '../problems.ts';
import { idParams, listOf, listQuery } from '../schemas.ts';
import { rulesVersion, rulesVersionDetail, rulesVersionParams } from '../schemas/rules-versions.ts';

export function rulesVersionRoutes({ db }: Deps): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/rules-versions',
      tag: 'Campaigns',
      summary: 'List the versions of the rules, the first one first',
      roles: READERS,
      params: idParams,
      query: listQuery,
      response: listOf(rulesVersion),
      async handle({ params: { id: campaignId }, query: { cursor, limit } }) {
        const rows = await db.prisma.rulesVersion.findMany({
          where: { campaignId, version: { gt: readIntCursor(cursor) } },
          omit: { rules: true },
          orderBy: { version: 'asc' },
          take: limit + 1,
        });
        // Every campaign has one.
        if (rows.length === 0 && cursor === undefined) throw notFound('campaign');
        return ok(page(rows.map(versionJson), limit, ({ version }) => String(version)));
      },
    }),
    route({
      method: 'get',
      path: '/v1/campaigns/{id}/rules-versions/{version}',
      tag: 'Campaigns',
      summary: 'Read one version of the rules',
      roles: READERS,
      params: rulesVersionParams,
      response: rulesVersionDetail,
      async handle({ params: { id: campaignId, version } }) {
        const row = await db.prisma.rulesVersion.findUnique({ where: { campaignId_version: { campaignId, version } } });
        if (!row) throw notFound('version of these rules');
        return ok({ ...versionJson(row), rules: withDefaults(row.rules as CampaignRules) });
      },
    }),
  ];
}

function versionJson({ version, at, by }: { version: number; at: Date; by: string }): z.input<typeof rulesVersion> {
  return { version, at: at.toISOString(), by };
}
