/** Calls that between them reach every activity and transaction of a call. A new one joins by being written here. */
import type { BehaviourInput } from '../../../telephony/simulator/script.ts';
import { asSignals, offered } from '../../../workflows/contact/messages.ts';
import { eventually } from '../eventually.ts';
import type { Act, Scenario, Stage } from './play.ts';

const answers: BehaviourInput = { trying: 0, alerting: 0.1, media: 0, then: { kind: 'answers', after: 0.2 } };
const rings: BehaviourInput = { trying: 0, alerting: 0.1, media: 0, then: { kind: 'manual' } };
const busy: BehaviourInput = { trying: 0, alerting: null, then: { kind: 'fails', after: 0.1, sip: 486 } };

const talks = ({ now }: Stage): boolean => now.contact.state === 'talking';
const contactHangsUp = (stage: Stage): Act => stage.atPhone('hangUpPhone', stage.number);
/** What is open of a phone that rings or was picked up. */
const agentRings = ({ now }: Stage) =>
  now.agents.filter(({ state, offer_id }) => state === 'reserved' && now.legs.some((leg) => leg.offer_id === offer_id && leg.is_alerting));

const ANSWERED = /(^| )a:k(\(\w+\))? c:k(\(\w+\))?( [an]:\w(\(\w+\))?| q:[kh])*$/;

/** The contact talks with the first agent, who hands the talk on; when that is over the contact hangs up. */
function handsOn(stage: Stage, wanted: object, whileConsulting?: string): (Act | false | undefined)[] {
  const { transfer } = stage.now;
  if (!talks(stage)) return [];
  if (!transfer) return [stage.clickInCall('transfer', wanted)];
  if (transfer.state === 'consulting') return [whileConsulting !== undefined && stage.clickInCall(whileConsulting)];
  const isOver = ['completed', 'taken_back', 'failed', 'over'].includes(transfer.state);
  return [isOver && contactHangsUp(stage)];
}

/** An offer and the end of its contact come to the workflow in one piece: its worker stands still meanwhile. */
function offerAndDisable(stage: Stage): Act {
  const { lane, scene, contactId } = stage;
  const agent = scene.agents[0]!.id;
  return {
    name: 'offer and disable',
    async run(key) {
      const worker = lane.workers.findLast(({ isFrozen, hasEnded }) => !isFrozen && !hasEnded);
      worker?.freeze();
      const disabled = stage.click('disable', `/contacts/${contactId}/disable`).run(key);
      const ready = await stage.click('ready', `/agents/${agent}/state`, { state: 'ready' }, 'PUT').run(key);
      worker?.thaw();
      const status = await disabled;
      return ready < 300 ? status : ready;
    },
  };
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a call that is answered',
    agents: [{ serves: 'campaign' }],
    rules: { record_calls: true },
    phone: answers,
    acts: (stage) => [
      // Told once more, as the sweep does: the workflow looks what has become of the offer.
      agentRings(stage).length > 0 && {
        name: 'offered once more',
        async run() {
          const { contactId, now } = stage;
          await stage.lane.workflows.signal({ contactId, round: now.contact.round }, offered, { offerNo: now.contact.offer_no + 1 });
          return 200;
        },
      },
      talks(stage) && contactHangsUp(stage),
    ],
    end: 'done answered',
    story: ANSWERED,
  },
  {
    name: 'a call that is busy first, and is hung up by its agent then',
    agents: [{ serves: 'campaign', confirm: true }],
    rules: { wrap_up_sec: 1 },
    phone: [busy, answers],
    acts: (stage) => [
      ...stage.now.legs
        .filter(({ ciq, is_answered }) => ciq === 'a' && is_answered)
        .map(({ offer_id }) => stage.click(`accept ${offer_id}`, `/offers/${offer_id}/accept`)),
      talks(stage) &&
        stage.next(
          stage.clickInCall('hold'),
          stage.clickInCall('resume'),
          stage.clickInCall('dtmf', { digits: '12#' }),
          stage.clickInCall('hang-up'),
        ),
    ],
    // The wrap-up ends by its timer.
    register: () => null,
    end: 'done answered',
    story: ANSWERED,
  },
  {
    name: 'a talk that is handed on to an agent',
    agents: [{ serves: 'campaign' }, { serves: 'none' }],
    phone: answers,
    acts: (stage) =>
      handsOn(stage, { mode: 'attended', to: { agent_id: String(stage.scene.agents[1]!.id) } }, 'complete-transfer'),
    end: 'done answered',
    story: ANSWERED,
  },
  {
    name: 'a talk that is handed on to a queue',
    agents: [{ serves: 'campaign' }, { serves: 'other' }],
    phone: answers,
    acts: (stage) => handsOn(stage, { mode: 'blind', to: { campaign_id: stage.scene.other } }),
    end: 'done answered',
    story: ANSWERED,
  },
  {
    name: 'a talk that is taken back, and a number that is listed then',
    agents: [{ serves: 'campaign' }],
    rules: { wrap_up_sec: 120 },
    phone: answers,
    acts: (stage) => handsOn(stage, { mode: 'attended', to: { number: '+4721000001' } }, 'take-back'),
    register: (stage, { id, call_id }) => ({
      name: `an operator registers of ${call_id}`,
      async run() {
        const said = { callId: call_id!, agentId: String(id), action: 'do_not_call' } as const;
        await stage.lane.workflows.signal({ contactId: stage.contactId, round: 1 }, asSignals.dispose, said);
        // The workflow stores it, and may take its time: who goes on before ends the wrap-up without it.
        const isStored = async () => (await stage.lane.db.pool.query('SELECT 1 FROM dispositions WHERE call_id = $1', [call_id])).rowCount;
        await eventually(isStored, { withinMs: 60_000 }).catch(() => undefined);
        return 200;
      },
    }),
    end: 'disabled do_not_call',
    story: ANSWERED,
  },
  {
    name: 'a call that is turned away, and cancelled then',
    agents: [{ serves: 'campaign' }, { serves: 'campaign' }],
    // What was decided is carried out, and does not wait until the phones ring out.
    rules: { agent_ring_sec: 100, ring_sec: 100 },
    agentsPhone: rings,
    phone: rings,
    acts: (stage) => {
      const { now } = stage;
      const dialled = now.legs.find(({ ciq, is_alerting }) => ciq === 'c' && is_alerting);
      return [
        ...agentRings(stage).map(({ offer_id, phone }) =>
          stage.did('reject')
            ? stage.atPhone('answerPhone', phone, offer_id)
            : stage.click('reject', `/offers/${offer_id}/reject`),
        ),
        dialled && stage.click(`cancel ${dialled.offer_id}`, `/offers/${dialled.offer_id}/cancel`),
      ];
    },
    end: 'disabled agent_cancel',
    story: /a:b\(agent_reject\).* a:k(\(\w+\))? c:[hq]\(agent_cancel\) q:d\(agent_cancel\)$/,
  },
  {
    name: 'a call that is put off, paused, and withdrawn from an agent',
    agents: [{ serves: 'campaign' }],
    rules: { retry: { b: { delay_sec: 600 } } },
    phone: [busy, answers],
    isAway: (stage) => stage.began('leave') && !stage.did('offer and disable'),
    acts: (stage) => {
      const { state, wait_reason } = stage.now.contact;
      const { campaign, agents } = stage.scene;
      const isPutOff = state === 'waiting' && wait_reason === 'retry_delay';
      const leave = stage.click('leave', `/agents/${agents[0]!.id}/state`, { state: 'paused' }, 'PUT');
      const callNow = stage.click('call now', `/contacts/${stage.contactId}/call-now`);
      const pause = stage.click('pause', `/campaigns/${campaign}/pause`);
      const resume = stage.click('resume', `/campaigns/${campaign}/resume`);
      return [
        // What has had its effect is clicked until it is answered.
        (isPutOff || stage.began('call now')) && stage.next(leave, callNow),
        state === 'queued' && stage.did('call now') && stage.next(pause),
        (wait_reason === 'campaign_not_running' || stage.began('resume')) && resume,
        ((state === 'queued' && stage.did('resume')) || stage.began('offer and disable')) && offerAndDisable(stage),
      ];
    },
    end: 'disabled disabled',
    story: /q:d\(disabled\)$/,
  },
];
