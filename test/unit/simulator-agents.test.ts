import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import {
  agentBehaviourSchema,
  defaultAgentBehaviour,
  eagerAgentBehaviour,
  type AgentBehaviour,
} from '../../telephony/simulator/agent-behaviour.ts';
import { runSimulatedAgents } from '../../telephony/simulator/agents.ts';
import { eventually } from '../kit/eventually.ts';

const ANSWER = 'POST /v1/simulator/phones/100/answer';
const READY = 'PUT /v1/agents/7/state {"state":"ready"}';
const NOTHING = { answer: 0, ignore: 0, reject: 0, cancel: 0, answerAndHangUp: 0, logOff: 0 };
const stops: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

describe('an agent', () => {
  it('works through a call as a desktop would', async () => {
    const api = await dialwright();
    await agentAt(api, { topics: ['Informed'] });

    api.say('offer', offer('1'));
    await api.hears(ANSWER);
    api.say('state', { state: 'connected', call_id: '5', offer_id: '1' });
    api.say('state', { state: 'wrap_up', call_id: '5', offer_id: null });
    await api.hears('POST /v1/calls/5/disposition {"action":"done","topics":["Informed"],"comment":""}');
    await api.hears(READY, 2);

    const posts = api.requests.filter(({ method }) => method === 'POST');
    expect(posts.every(({ headers }) => headers.authorization === 'Bearer secret')).toBe(true);
    expect(new Set(posts.map(({ headers }) => headers['idempotency-key'])).size).toBe(posts.length);
  });

  it('answers as soon as the phone rings, when the screen was faster', async () => {
    const api = await dialwright();
    api.reply(ANSWER, { status: 409, body: { state: 'idle' } }, { status: 409, body: { state: 'setup' } });
    await agentAt(api);

    api.say('offer', offer('1'));

    await api.hears(ANSWER, 3);
  });

  it.each<[keyof typeof NOTHING, string]>([
    ['reject', 'POST /v1/offers/1/reject {}'],
    ['cancel', 'POST /v1/offers/1/cancel {}'],
    ['logOff', 'PUT /v1/agents/7/state {"state":"logged_off"}'],
  ])('may %s', async (choice, request) => {
    const api = await dialwright();
    await agentAt(api, { offer: { ...NOTHING, [choice]: 1 } });

    api.say('offer', offer('1'));

    await api.hears(request);
    expect(api.heard).not.toContain(ANSWER);
  });

  it('may answer and hang up while the contact is called', async () => {
    const api = await dialwright();
    await agentAt(api, { offer: { ...NOTHING, answerAndHangUp: 1 } });

    api.say('offer', offer('1'));
    await api.hears(ANSWER);
    api.say('state', { state: 'connecting', call_id: '5', offer_id: '1' });

    await api.hears('POST /v1/calls/5/hang-up {}');
  });

  it('may be the one who ends the talk', async () => {
    const api = await dialwright();
    await agentAt(api, { hangUpFirst: { share: 1, after: [0, 0] } });

    api.say('state', { state: 'connected', call_id: '5', offer_id: '1' });

    await eventually(() => api.heard.some((line) => line.includes('/hang-up')));
  });

  it('does nothing about an offer that was over before it had decided', async () => {
    const api = await dialwright();
    await agentAt(api, { think: [0.3, 0.3] });

    api.say('offer', offer('1'));
    api.say('state', { state: 'ready', call_id: null, offer_id: null });
    // Coming back takes longer than thinking.
    api.endStreams();
    await eventually(() => api.streams.size === 1);

    expect(api.heard).not.toContain(ANSWER);
  });

  it('comes back after it was logged off, until it is let in', async () => {
    const api = await dialwright();
    await agentAt(api);
    api.reply(READY, { status: 409, body: {} });

    api.say('state', { state: 'logged_off', cause: 'errors', call_id: null, offer_id: null });

    await api.hears(READY, 3);
  });
});

describe('in bad moments', () => {
  it('a request is repeated with the same key when the server asks to wait', async () => {
    const api = await dialwright();
    await agentAt(api);
    api.reply(ANSWER, { status: 503, headers: { 'retry-after': '1' } }, 'cut off');

    api.say('offer', offer('1'));
    await api.hears(ANSWER, 3);

    const tries = api.requests.filter(({ line }) => line === ANSWER);
    expect(new Set(tries.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect(tries[1]!.at - tries[0]!.at).toBeGreaterThanOrEqual(950);
  });

  it('a broken stream is resumed where it was, and no offer is taken twice', async () => {
    const api = await dialwright();
    await agentAt(api);
    api.say('offer', offer('1'));
    await api.hears(ANSWER);

    api.endStreams();
    await eventually(() => api.streams.size === 1);
    api.say('offer', offer('1'));
    api.say('offer', { ...offer('2'), ended_at: new Date().toISOString() });
    api.say('state', { state: 'wrap_up', call_id: '5', offer_id: null });
    await api.hears(READY, 2);

    expect(api.requests.filter(({ line }) => line === 'GET /v1/agents/7/stream').at(-1)?.headers).toMatchObject({
      'last-event-id': '1',
    });
    expect(api.heard.filter((line) => line === ANSWER)).toHaveLength(1);
  });

  it('all is given up when asked to stop', async () => {
    const api = await dialwright();
    const { stop } = await agentAt(api);
    api.reply(ANSWER, { status: 503, headers: { 'retry-after': '3600' } });
    api.say('offer', offer('1'));
    await api.hears(ANSWER);

    await stop();

    await eventually(() => api.streams.size === 0);
  });
});

describe('the behaviours', () => {
  it('on offer are valid', () => {
    expect(agentBehaviourSchema.safeParse(defaultAgentBehaviour()).success).toBe(true);
    expect(agentBehaviourSchema.safeParse(eagerAgentBehaviour()).success).toBe(true);
    expect(agentBehaviourSchema.safeParse({ ...eagerAgentBehaviour(), offer: NOTHING }).success).toBe(false);
  });
});

function offer(id: string): object {
  return { offer_id: id, call_id: '5', deadline: new Date(Date.now() + 20_000).toISOString(), number: '+4722000001' };
}

async function agentAt(
  api: Dialwright,
  behaviour: Partial<AgentBehaviour> = {},
): Promise<{ stop: () => Promise<void> }> {
  const stopping = new AbortController();
  const running = runSimulatedAgents({
    baseUrl: api.url,
    agents: [{ id: '7', key: 'secret', phone: '100' }],
    behaviour: { ...eagerAgentBehaviour(), ...behaviour },
    speed: 10,
    seed: 1,
    signal: stopping.signal,
    log: pino({ level: 'silent' }),
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  stops.push(stop);
  await eventually(() => api.streams.size === 1 && api.heard.includes(READY));
  return { stop };
}

type Answer = { status: number; body?: object; headers?: Record<string, string> } | 'cut off';

/** As much of Dialwright's API as an agent sees: it notes what it hears, and says what the test makes it say. */
interface Dialwright {
  url: string;
  requests: { at: number; method: string; line: string; headers: IncomingHttpHeaders }[];
  heard: string[];
  streams: Set<ServerResponse>;
  hears(line: string, times?: number): Promise<void>;
  say(event: string, data: object): void;
  /** How the next requests of this kind are answered; later ones are 200. */
  reply(line: string, ...answers: Answer[]): void;
  endStreams(): void;
}

async function dialwright(): Promise<Dialwright> {
  const requests: Dialwright['requests'] = [];
  const heard: string[] = [];
  const streams = new Set<ServerResponse>();
  const replies = new Map<string, Answer[]>();
  let lastId = 0;

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = Buffer.concat(await request.toArray()).toString();
    const path = `${request.method} ${request.url}`;
    const line = path.includes('/simulator/') || body === '' ? path : `${path} ${body}`;
    heard.push(line);
    requests.push({ at: performance.now(), method: request.method!, line, headers: request.headers });
    if (request.url?.endsWith('/stream')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      streams.add(response);
      response.on('close', () => streams.delete(response));
      return;
    }
    const answer = replies.get(line)?.shift() ?? { status: 200 };
    if (answer === 'cut off') return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(JSON.stringify(answer.body ?? {}));
  };
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    heard,
    streams,
    async hears(line, times = 1) {
      const enough = (): boolean => heard.filter((each) => each === line).length >= times;
      await eventually(() => enough() || expect(heard).toContain(`${times} times ${line}`), { withinMs: 3000 });
    },
    say(event, data) {
      lastId += 1;
      for (const stream of streams) stream.write(`id: ${lastId}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    },
    reply: (line, ...answers) => void replies.set(line, answers),
    endStreams() {
      for (const stream of streams) stream.end();
      streams.clear();
    },
  };
}
