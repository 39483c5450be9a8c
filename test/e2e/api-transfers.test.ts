/** What the API asks of the workflow for a talk: targets are stored first, and only their ids are told. */
import { beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '../../domain/errors.ts';
import { makeCall } from './api-rows.ts';
import { makeAgent, makeCampaign, makeContact, startTestApi } from './api-server.ts';

const api = await startTestApi();
const campaign = await makeCampaign(api);

beforeEach(() => {
  api.workflows.updates.length = 0;
  api.workflows.onUpdate = () => undefined;
});

async function talk() {
  const agent = await makeAgent(api, [campaign]);
  const contact = await makeContact(api, campaign);
  const call = await makeCall(api, { contact, agent, callNo: 1, talked: true });
  const key = await api.key('agent', Number(agent.id));
  const click = (what: string, body?: unknown, idempotencyKey?: string) =>
    api.call('POST', `/v1/calls/${call.callId}/${what}`, body, {
      key,
      ...(idempotencyKey ? { headers: { 'Idempotency-Key': idempotencyKey } } : {}),
    });
  return { agent, contact, key, click, ...call };
}
const stored = async (table: 'transfer' | 'keys_to_send', callId: string) =>
  (await api.db.pool.query(`SELECT * FROM ${table} WHERE call_id = $1`, [callId])).rows;

test.each(['hold', 'resume', 'complete-transfer', 'take-back'])('%s is asked of the workflow of the talk', async (what) => {
  const { agent, contact, callId, click } = await talk();
  expect((await click(what)).body).toEqual({ done: true });
  const name = { 'complete-transfer': 'completeTransfer', 'take-back': 'takeBack' }[what] ?? what;
  expect(api.workflows.updates).toMatchObject([
    { contact: { contactId: contact.id, round: 1 }, name, argument: { callId, agentId: agent.id } },
  ]);
});

describe('a transfer', () => {
  test('to a number is read in the country of the campaign, stored, and told by its id alone', async () => {
    const { callId, offerId, click } = await talk();
    const body = { mode: 'attended', to: { number: '22 86 51 00' } };
    expect((await click('transfer', body, 'once')).status).toBe(200);
    await click('transfer', body, 'once');
    const rows = await stored('transfer', callId);
    expect(rows).toMatchObject([{ mode: 'attended', to_number: '+4722865100', offer_id: offerId, state: 'requested' }]);
    expect(api.workflows.updates).toHaveLength(1);
    expect(JSON.stringify(api.workflows.updates)).not.toContain('22865100');
    expect(api.workflows.updates[0]!.argument).toMatchObject({ transferId: rows[0].id });
  });

  test('whose answer is unknown is the same one when it is repeated', async () => {
    const { callId, click } = await talk();
    const body = { mode: 'blind', to: { campaign_id: campaign.id } };
    api.workflows.onUpdate = () => {
      throw new AppError('UNAVAILABLE', 'no answer');
    };
    expect((await click('transfer', body, 'again')).status).toBe(503);
    api.workflows.onUpdate = () => undefined;
    expect((await click('transfer', body, 'again')).status).toBe(200);
    expect(await stored('transfer', callId)).toHaveLength(1);
    const [first, second] = api.workflows.updates;
    expect(second).toEqual(first);
  });

  test.each<[string, unknown, string]>([
    ['an emergency number', { number: '112' }, 'to.number'],
    ['a premium-rate number', { number: '829 00 000' }, 'to.number'],
    ['no number', { number: 'Kari' }, 'to.number'],
    ['nobody', {}, 'to'],
    ['two at once', { agent_id: '1', number: '22865100' }, 'to'],
    ['an agent whom there is not', { agent_id: '2000000000' }, 'to.agent_id'],
    ['a campaign that there is not', { campaign_id: '2000000000' }, 'to.campaign_id'],
  ])('to %s is refused, and nothing is stored', async (_whom, to, field) => {
    const { callId, click } = await talk();
    const answer = await click('transfer', { mode: 'blind', to });
    expect(answer.status).toBe(400);
    expect(answer.body.issues).toMatchObject([{ field }]);
    expect(await stored('transfer', callId)).toEqual([]);
  });

  test('that the workflow refuses is not stored either; one that it has begun is on record', async () => {
    const { callId, click } = await talk();
    const begun = () => api.db.pool.query(`UPDATE transfer SET state = 'failed', ended_at = now() WHERE call_id = $1`, [callId]);
    const refuse = async () => {
      throw new AppError('CONFLICT', 'nobody is logged on', { state: 'talking' });
    };
    const body = { mode: 'blind', to: { number: '22865100' } };
    api.workflows.onUpdate = refuse;
    expect((await click('transfer', body)).status).toBe(409);
    expect(await stored('transfer', callId)).toEqual([]);
    api.workflows.onUpdate = () => begun().then(refuse);
    expect((await click('transfer', body)).status).toBe(409);
    expect(await stored('transfer', callId)).toMatchObject([{ state: 'failed' }]);
  });

  test('of a call that is over is refused', async () => {
    const { callId, click } = await talk();
    await api.db.pool.query(`UPDATE offer SET ended_at = now() WHERE call_id = $1`, [callId]);
    expect((await click('transfer', { mode: 'blind', to: { number: '22865100' } })).body).toMatchObject({ status: 409, code: 'CALL_OVER' });
  });
});

describe('keys', () => {
  test('are told by their id alone, and forgotten when they are refused', async () => {
    const { callId, click } = await talk();
    expect((await click('dtmf', { digits: '4111#' })).status).toBe(200);
    expect(JSON.stringify(api.workflows.updates)).not.toContain('4111');
    api.workflows.onUpdate = () => {
      throw new AppError('CONFLICT', 'they do not talk', { state: 'wrap_up' });
    };
    expect((await click('dtmf', { digits: '4222#' })).status).toBe(409);
    const rows = await stored('keys_to_send', callId);
    expect(rows.map(({ digits }) => digits)).toEqual(['4111#']);
  });
});
