/** The simulator's phones and record, so that a person can play an agent. Only where the switch is the simulator. */
import { AppError } from '../../domain/errors.ts';
import { type Caller, MANAGERS, READERS } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { notFound, PROBLEMS } from '../problems.ts';
import { dialPage, dialsQuery, digit, phoneParams, phoneState } from '../schemas.ts';

const TAG = 'Simulator';
const ANSWERS_WITHIN_MS = 5_000;

const ACTS = [
  { name: 'answer', summary: 'Answer a ringing phone' },
  { name: 'reject', summary: 'Reject a ringing phone' },
  { name: 'hang-up', summary: 'Hang up' },
  { name: 'digit', summary: 'Press a key in a call', body: digit },
];

/** A dial as the simulator tells it; times in epoch ms. */
interface Dial {
  seq: number;
  at: number;
  legId: string;
  party: 'agent' | 'contact';
  to: string;
  from: string | null;
  answeredAt: number | null;
  endedAt: number | null;
  end: Record<string, unknown> | null;
}

export function simulatorRoutes({ db, telephony }: Deps): Route[] {
  const { simulatorUrl } = telephony;
  if (simulatorUrl === null) return [];

  /** An agent's key reaches the phone of that agent alone. */
  async function mustBeOwnPhone(caller: Caller, number: string): Promise<void> {
    if (caller.role !== 'agent') return;
    const own = await db.prisma.agent.findUnique({ where: { id: caller.agentId ?? 0 }, select: { phone: true } });
    if (own?.phone !== number) throw new AppError('FORBIDDEN', "this key is for the agent's own phone only");
  }

  return [
    ...ACTS.map(({ name, summary, body }) =>
      route({
        method: 'post',
        path: `/v1/simulator/phones/{number}/${name}`,
        tag: TAG,
        summary,
        roles: [...MANAGERS, 'agent'],
        lasting: false,
        params: phoneParams,
        ...(body ? { body } : {}),
        response: phoneState,
        fails: ['CONFLICT'],
        async handle({ params: { number }, body: content, caller }) {
          await mustBeOwnPhone(caller, number);
          const path = `/phones/${encodeURIComponent(number)}/${name}`;
          return ok(await ask(simulatorUrl, path, 'POST', content));
        },
      }),
    ),
    route({
      method: 'get',
      path: '/v1/simulator/dials',
      tag: TAG,
      summary: 'What the simulated switch has dialled, by its own record',
      roles: READERS,
      query: dialsQuery,
      response: dialPage,
      async handle({ query: { after, limit } }) {
        const answer = await ask(simulatorUrl, `/dials?after=${after}&limit=${limit}`, 'GET');
        const { dials } = answer as { dials: Dial[] };
        return ok({ items: dials.map(dialJson), next: dials.length === limit ? String(dials.at(-1)!.seq) : null });
      },
    }),
  ];
}

/** Asks the simulator, and passes its refusals on. */
async function ask(url: string, path: string, method: 'GET' | 'POST', body?: unknown): Promise<unknown> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, url), {
      method,
      headers: { 'Content-Type': 'application/json' },
      body: method === 'POST' ? JSON.stringify(body ?? {}) : null,
      signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
    });
    text = await response.text();
  } catch {
    throw new AppError('UNAVAILABLE', 'the simulator does not answer');
  }
  if (response.ok) return JSON.parse(text);
  throw refusal(response.status, text);
}

function refusal(status: number, text: string): AppError {
  if (status === PROBLEMS.NOT_FOUND.status) return notFound('phone');
  if (status !== PROBLEMS.INVALID.status && status !== PROBLEMS.CONFLICT.status) {
    return new AppError('UNAVAILABLE', `the simulator failed with status ${status}`);
  }
  const { detail = 'the simulator refuses this', state, issues } = JSON.parse(text) as {
    detail?: string;
    state?: string;
    issues?: { field: string; reason: string }[];
  };
  return new AppError(status === PROBLEMS.CONFLICT.status ? 'CONFLICT' : 'INVALID', detail, { state, issues });
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

function dialJson({ seq, at, legId, party, to, from, answeredAt, endedAt, end }: Dial) {
  return {
    seq,
    at: iso(at),
    leg_id: legId,
    party,
    to,
    from,
    answered_at: iso(answeredAt),
    ended_at: iso(endedAt),
    end,
  };
}
