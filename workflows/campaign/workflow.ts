/** The campaign's workflow: after every change it brings the rows into line, one run of the settling activity at a time. */
import {
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { CampaignActivities, Settled } from '../../activities/campaigns.ts';
import { attribute } from '../attributes.ts';
import * as messages from './messages.ts';

const { settle } = proxyActivities<CampaignActivities>({
  // A list of a million takes its time; the heartbeat tells a slow worker from a dead one.
  startToCloseTimeout: '24h',
  heartbeatTimeout: '10s',
  // Pages are guarded by the states of their rows, so a repeat goes on where the last try was.
  retry: { initialInterval: '500ms', maximumInterval: '10s' },
  summary: 'Bring every contact into line with the campaign',
});

/** A run that is handed over after this many changes keeps its history short. */
const CHANGES_A_RUN = 100;

export async function campaign({ campaignId }: messages.CampaignInput): Promise<Settled> {
  let isChanged = true;
  let settling = false;
  let changes = 0;
  setHandler(messages.changed, () => {
    isChanged = true;
  });
  setHandler(messages.state, () => ({ settling, changes }));

  for (;;) {
    await condition(() => isChanged);
    isChanged = false;
    settling = true;
    changes += 1;
    setCurrentDetails(`**settling** since ${new Date().toISOString()}: starting, queueing or ending contacts`);
    const settled = await settle({ campaignId });
    settling = false;
    upsertSearchAttributes([{ key: attribute.contactState, value: settled.status }]);
    setCurrentDetails(
      `**${settled.status}**, settled at ${new Date().toISOString()}\n\n` +
        `Last change: ${settled.started} started, ${settled.queued} queued again, ${settled.unqueued} taken out of ` +
        `the queue, ${settled.drained} told that they have ended`,
    );
    if (settled.status === 'ended' && !isChanged) return settled;
    if (!isChanged && (changes >= CHANGES_A_RUN || workflowInfo().continueAsNewSuggested)) {
      await condition(() => isChanged);
      return continueAsNew<typeof campaign>({ campaignId });
    }
  }
}
