import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { makeAgent, startTestApi } from './api-server.ts';

/** A stand-in for the simulator: records what it is asked, answers what the test says. */
const asked: { method: string; url: string; body: string }[] = [];
let answer: { status: number; body: string } = { status: 200, body: '{}' };
const server: Server = createServer((req, res) => {
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => chunks.push(chunk));
  req.on('end', () => {
    asked.push({ method: req.method!, url: req.url!, body: Buffer.concat(chunks).toString() });
    res.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(answer.body);
  });
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
afterAll(() => server.close());
const simulatorUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const api = await startTestApi({ telephony: { simulatorUrl } });

function says(status: number, body: unknown): void {
  asked.length = 0;
  answer = { status, body: JSON.stringify(body) };
}

describe('phones', () => {
  test.each(['answer', 'reject', 'hang-up'])('%s is passed on', async (act) => {
    says(200, { state: 'idle' });
    const done = await api.call('POST', `/v1/simulator/phones/${encodeURIComponent('+4722865000')}/${act}`);
    expect(done.body).toEqual({ state: 'idle' });
    expect(asked).toEqual([{ method: 'POST', url: `/phones/%2B4722865000/${act}`, body: '{}' }]);
  });

  test('a digit is one key of a phone', async () => {
    says(200, { state: 'in_call' });
    expect((await api.call('POST', '/v1/simulator/phones/100/digit', { digit: '1' })).status).toBe(200);
    expect(asked[0]!.body).toBe('{"digit":"1"}');
    asked.length = 0;
    for (const body of [{}, { digit: '12' }, { digit: 'x' }, { digit: 1 }, { digit: '1', more: 1 }]) {
      expect((await api.call('POST', '/v1/simulator/phones/100/digit', body)).status).toBe(400);
    }
    expect(asked).toEqual([]);
  });

  test.each([
    [409, { detail: 'the phone is not ringing', state: 'idle' }, { code: 'CONFLICT', state: 'idle', detail: 'the phone is not ringing' }],
    [400, { detail: 'no', issues: [{ field: 'digit', reason: 'odd' }] }, { code: 'INVALID', issues: [{ field: 'digit', reason: 'odd' }] }],
    [404, { detail: 'no such resource' }, { code: 'NOT_FOUND' }],
    [500, { detail: 'secret' }, { code: 'UNAVAILABLE' }],
  ])('a refusal with %i is passed on as a problem', async (status, body, problem) => {
    says(status, body);
    const answered = await api.call('POST', '/v1/simulator/phones/100/answer');
    expect(answered.status).toBe(status === 500 ? 503 : status);
    expect(answered.body).toMatchObject(problem);
    expect(answered.text).not.toContain('secret');
  });

  test("an agent's key reaches the agent's own phone alone", async () => {
    const agent = await makeAgent(api);
    const key = await api.key('agent', Number(agent.id));
    says(200, { state: 'idle' });
    expect((await api.call('POST', `/v1/simulator/phones/${agent.phone}/answer`, undefined, { key })).status).toBe(200);
    expect((await api.call('POST', '/v1/simulator/phones/999/answer', undefined, { key })).status).toBe(403);
    expect(asked).toHaveLength(1);
  });

  test('a number can not lead anywhere else', async () => {
    says(200, { state: 'idle' });
    for (const number of ['../../dials', '%00', 'x'.repeat(33), '?a=b', '#x']) {
      await api.call('POST', `/v1/simulator/phones/${encodeURIComponent(number)}/answer`);
    }
    for (const { url } of asked) expect(url).toMatch(/^\/phones\/[^/?#]+\/answer$/);
  });
});

test('dials come as a list, with times and names as everywhere', async () => {
  const dial = { seq: 7, at: 0, legId: '1-1-2', party: 'contact', to: '+4722865000', from: null, answeredAt: 1500, endedAt: null, end: null };
  says(200, { dials: [dial] });
  const list = await api.call('GET', '/v1/simulator/dials?after=6&limit=1');
  expect(asked[0]!.url).toBe('/dials?after=6&limit=1');
  expect(list.body).toEqual({
    items: [
      {
        seq: 7,
        at: '1970-01-01T00:00:00.000Z',
        leg_id: '1-1-2',
        party: 'contact',
        to: '+4722865000',
        from: null,
        answered_at: '1970-01-01T00:00:01.500Z',
        ended_at: null,
        end: null,
      },
    ],
    next: '7',
  });
  says(200, { dials: [] });
  expect((await api.call('GET', '/v1/simulator/dials')).body).toEqual({ items: [], next: null });
  expect((await api.call('GET', '/v1/simulator/dials?after=-1')).status).toBe(400);
});

test('a simulator that does not answer: 503', async () => {
  const alone = await startTestApi({ telephony: { simulatorUrl: 'http://127.0.0.1:1' } });
  const answered = await alone.call('GET', '/v1/simulator/dials');
  expect(answered.status).toBe(503);
  expect(answered.headers.get('Retry-After')).toBe('2');
});

test('with a real switch there is nothing here', async () => {
  const real = await startTestApi({ telephony: { simulatorUrl: null } });
  expect((await real.call('GET', '/v1/simulator/dials')).status).toBe(404);
  expect((await real.call('POST', '/v1/simulator/phones/1/answer')).status).toBe(404);
});
