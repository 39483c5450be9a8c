/** Every export as CSV, with texts that a spreadsheet would carry out as a formula. */
import { parse } from 'csv-parse/sync';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeCall } from './api-rows.ts';
import { type Json, makeAgent, makeCampaign, makeContact, startTestApi, unique } from './api-server.ts';

const api = await startTestApi();
const { pool } = api.db;

/** What they begin with, and one that begins within a cell where a semicolon separates. */
const FORMULAS = ['=1+1', '+1+1', '-1+1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '＝1+1', '＋1', '－1', '＠1', "=cmd|' /C calc'!A0", '+47 22 86', 'a;=1+1', 'a;"=1', 'a\t=1', 'a\n-1'];
/** The text as it was written. */
const plain = (cell: string | undefined): string => cell!.replace(/(^|[;\t\r\n])'/g, '$1');
const NUMBER = '+4722865099';

async function download(path: string): Promise<{ text: string; rows: Record<string, string>[] }> {
  const { status, text } = await api.call('GET', path);
  expect(status).toBe(200);
  return { text, rows: parse(text, { columns: true, skip_empty_lines: true }) };
}

/** A cell as a spreadsheet splits it, at commas, semicolons or tabs outside quotes, begins with none of the signs. */
function formulasIn(text: string): string[] {
  return [',', ';', '\t'].flatMap((delimiter) => {
    const cells = parse(text, { delimiter, relax_column_count: true, relax_quotes: true, quote: '"' }).flat();
    return cells.filter((cell) => /^[=+\-@\t\r\n＝＋－＠]/.test(cell) && !/^\+\d{1,15}(,|$)/.test(cell));
  });
}

test('the search finds what is there', () => {
  expect(formulasIn('a,=1\n')).toEqual(['=1']);
  expect(formulasIn('a;=1,b\n')).toEqual(['=1,b']);
  expect(formulasIn(`a,"b;=1",c\n`)).toHaveLength(1);
  expect(formulasIn(`a,"b;'=1",c\n${NUMBER},x\n`)).toEqual([]);
});

let campaign: Json;
let agent: Json;
beforeAll(async () => {
  campaign = await makeCampaign(api, { name: '=1+1' });
  agent = await makeAgent(api, [campaign]);
  await api.call('PATCH', `/v1/agents/${agent.id}`, { name: '@SUM(A1)' });
});

describe('no formula gets out', () => {
  test('of the do-not-call list; numbers stay as they are', async () => {
    for (const [n, comment] of FORMULAS.entries()) {
      await api.call('PUT', `/v1/do-not-call/${encodeURIComponent(`+47228650${String(10 + n)}`)}`, { comment });
    }
    const { text, rows } = await download('/v1/do-not-call?format=csv');
    expect(formulasIn(text)).toEqual([]);
    expect(rows.map(({ number }) => number)).toEqual(FORMULAS.map((_, n) => `+47228650${String(10 + n)}`));
    // With a sign before it each is still the text that was written.
    expect(rows.map(({ comment }) => plain(comment))).toEqual(FORMULAS);
  });

  test('of the raw data, whatever stands in its columns', async () => {
    const contact = await makeContact(api, campaign, { phone_num: NUMBER });
    const { callId } = await makeCall(api, { contact, agent, callNo: 1, ended: true, code: 'k' });
    const at = new Date();
    for (const [n, formula] of FORMULAS.entries()) {
      await pool.query(
        `WITH next AS (UPDATE event_position SET last = last + 1 RETURNING last)
         INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, dte_start, duration_tot_sec,
           duration_speak_sec, source, destination, originating, service_num, queue_key, result_reason, leg_type, request_id, recording,
           answered, contact_id, campaign_id, attempt)
         SELECT last, $1, $2, 'c', $3, $4, 1, 1, $5, $3, $3, $3, $3, $3, $3, $3, $3, true, $6, $7, 1 FROM next`,
        [callId, n + 1, formula, at, NUMBER, contact.id, campaign.id],
      );
    }
    const { text, rows } = await download('/v1/call-events?format=csv');
    expect(formulasIn(text)).toEqual([]);
    const mine = rows.filter(({ source }) => source === NUMBER);
    expect(mine.map(({ destination }) => plain(destination))).toEqual(FORMULAS);
  });

  test('of reports: names and topics', async () => {
    const now = new Date();
    for (const topic of FORMULAS) {
      const contact = await makeContact(api, campaign);
      const { callId } = await makeCall(api, { contact, agent, callNo: 1, ended: true, code: 'k' });
      await pool.query(
        `WITH next AS (UPDATE event_position SET last = last + 1 RETURNING last)
         INSERT INTO dispositions (position, call_id, agent_id, contact_id, campaign_id, at, action, topics, request_id)
         SELECT last, $1, $2, $3, $4, $5, 'done', $6, $7 FROM next`,
        [callId, agent.id, contact.id, campaign.id, now, [topic], unique('request')],
      );
    }
    const span = `from=${new Date(now.getTime() - 3_600_000).toISOString()}&to=${new Date(now.getTime() + 3_600_000).toISOString()}&zone=UTC`;
    const topics = await download(`/v1/reports/topics?${span}&format=csv`);
    expect(formulasIn(topics.text)).toEqual([]);
    expect(topics.rows.map(({ topic }) => plain(topic)).sort()).toEqual(FORMULAS.toSorted());
    for (const kind of ['campaigns', 'agents']) {
      const { text, rows } = await download(`/v1/reports/${kind}?${span}&format=csv`);
      expect(formulasIn(text)).toEqual([]);
      expect(rows.length).toBeGreaterThan(0);
      expect(rows.map((row) => row.campaign_name ?? row.agent_name)).toContain(kind === 'agents' ? "'@SUM(A1)" : "'=1+1");
    }
  });

  test('by any other way: there is no further export', () => {
    const exports = api.routes.filter((route) => route.produces?.includes('text/csv')).map(({ path }) => path);
    expect(exports.sort()).toEqual(['/v1/call-events', '/v1/do-not-call', '/v1/reports/agents', '/v1/reports/campaigns', '/v1/reports/topics']);
  });
});
