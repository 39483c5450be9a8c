/** Reports on agents, campaigns and topics, made of the raw data (docs/domain.md, "Reports"). */
import { READERS } from '../auth.ts';
import { sendCsv, wantsCsv } from '../csv.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { COLUMNS, type Kind, makeReport } from '../reports/report.ts';
import { createTurns } from '../turns.ts';
import { agentReportRow, campaignReportRow, reportOf, reportQuery, topicReportRow } from '../schemas/reports.ts';

/** Of one process: calls need the machine and the connections more than reports do. */
const AT_ONCE = 2;
const WAITING = 20;

const REPORTS = {
  campaigns: {
    summary: 'What campaigns have come to: offers, calls, talks, wrap-ups, dispositions, agents’ time',
    row: campaignReportRow,
  },
  agents: {
    summary: 'The same by agent, with the time in each state',
    row: agentReportRow,
  },
  topics: {
    summary: 'Dispositions by campaign, action and topic',
    row: topicReportRow,
  },
} as const;

export function reportRoutes({ db }: Deps): Route[] {
  const inTurn = createTurns(AT_ONCE, WAITING, 'too many reports are asked for at once');
  return (Object.keys(REPORTS) as Kind[]).map((kind) =>
    route({
      method: 'get',
      path: `/v1/reports/${kind}`,
      tag: 'Reports',
      summary: REPORTS[kind].summary,
      description:
        'By interval, from `from` to `to`: at most 400 days and 3,000 intervals. docs/domain.md says what each figure counts ' +
        'and to which interval it belongs. As text/csv: a line for each of `items`; texts that a spreadsheet would take for ' +
        'a formula begin with `\'`.',
      roles: READERS,
      query: reportQuery,
      response: reportOf(REPORTS[kind].row),
      produces: ['text/csv'],
      whenLate: 'waited_for',
      async handle({ query, req, res }) {
        const report = await inTurn(() => makeReport(db, kind, query));
        if (!wantsCsv(req, query.format)) return ok(report);
        return sendCsv(res, `${kind}.csv`, COLUMNS[kind], report.items);
      },
    }),
  );
}
