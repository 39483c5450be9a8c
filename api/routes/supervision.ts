/** What supervisors do: pause, log off and release an agent, and stop everything. */
import { releaseAgent } from '../../activities/release.ts';
import { viewOf } from '../../matching/matching.ts';
import { lockQueuesInUse } from '../../matching/sql.ts';
import { inTx } from '../../prisma/tx.ts';
import { by, MANAGERS } from '../auth.ts';
import { type Deps, ok, route, type Route } from '../http.ts';
import { agentView, idParams } from '../schemas.ts';
import { stopped } from '../schemas/supervision.ts';
import * as sql from '../sql.ts';
import { listChanged } from '../tell.ts';
import { viewJson } from './agents.ts';

const TAG = 'Supervision';

export function supervisionRoutes(deps: Deps): Route[] {
  const { matching, log } = deps;
  return [
    route({
      method: 'post',
      path: '/v1/agents/{id}/pause',
      tag: TAG,
      summary: 'Pause an agent who is logged on',
      description:
        'At once, or after the offer or call (next_state), which the agent does not take back. Whoever is leaving leaves.',
      roles: MANAGERS,
      params: idParams,
      response: agentView,
      fails: ['CONFLICT'],
      handle: async ({ params, caller }) => ok(viewJson(await matching.pauseAgent(params.id, by(caller)))),
    }),
    route({
      method: 'post',
      path: '/v1/agents/{id}/log-off',
      tag: TAG,
      summary: 'Log an agent off',
      description: 'At once, or after the call (next_state), which the agent does not take back. An offer that rings is withdrawn.',
      roles: MANAGERS,
      params: idParams,
      response: agentView,
      handle: async ({ params, caller }) =>
        ok(viewJson(await matching.setAgentState(params.id, 'logged_off', 'supervisor', by(caller)))),
    }),
    route({
      method: 'post',
      path: '/v1/agents/{id}/release',
      tag: TAG,
      summary: 'Free an agent of an offer that rings, a wrap-up, a rest, or an offer that nobody carries any more',
      description:
        'The agent is ready then, or what was wanted for after the call. A call that was offered goes back to its place. ' +
        'Refused in a call: a talk is never cut.',
      roles: MANAGERS,
      params: idParams,
      response: agentView,
      fails: ['CONFLICT'],
      handle: async ({ params, caller, requestKey }) =>
        ok(viewJson(viewOf(await releaseAgent(deps, params.id, by(caller), requestKey)))),
    }),
    route({
      method: 'post',
      path: '/v1/stop',
      tag: TAG,
      summary: 'Emergency stop of all campaigns: no offer after the answer, what is not answered ends at once',
      description: 'Each campaign as by its own stop, decided for all of them at once. Talks go on. Each is resumed by itself.',
      roles: MANAGERS,
      response: stopped,
      whenLate: 'carried_out',
      async handle({ caller }) {
        const ids = await stopAll(deps);
        log.warn({ by: by(caller), campaigns: ids }, 'emergency stop');
        await Promise.all(ids.map((id) => listChanged(deps, id)));
        return ok({ stopped: ids.map(String) });
      },
    }),
  ];
}

/** Decides for all of them in one transaction; the ids of those it has stopped. */
function stopAll({ db }: Deps): Promise<number[]> {
  return inTx(db, async (tx) => {
    // With all the queues locked no match is under way in any of them.
    const inUse = await tx.rows<{ id: number }>(lockQueuesInUse());
    const rows = await tx.rows<{ id: number }>(sql.stopCampaigns(tx.now, inUse.map(({ id }) => id)));
    return rows.map(({ id }) => id).toSorted((a, b) => a - b);
  });
}
