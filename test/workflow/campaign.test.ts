/** The campaign's workflow: after every change it settles, one run of the activity at a time. */
import { randomInt } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CampaignActivities, Settled } from '../../activities/campaigns.ts';
import { campaignWorkflowId } from '../../domain/ids.ts';
import * as messages from '../../workflows/campaign/messages.ts';
import { temporalStage } from '../kit/contact-rig.ts';
import { eventually } from '../kit/eventually.ts';
import { type History, historyText } from '../kit/history.ts';

const settled = (status: Settled['status']): Settled => ({ status, started: 0, queued: 0, unqueued: 0, drained: 0 });

/** One campaign: its workflow, and the settlings it asked for, each under way until it is told how it went. */
class TestCampaign {
  readonly id = String(randomInt(1e8, 1e9));
  readonly #settlings: PromiseWithResolvers<Settled | Error>[] = [];
  #told = 0;

  settle(): Promise<Settled | Error> {
    const settling = Promise.withResolvers<Settled | Error>();
    this.#settlings.push(settling);
    return settling.promise;
  }

  get settlings(): number {
    return this.#settlings.length;
  }

  changed = () => stage.workflows.campaignChanged(this.id);

  /** Waits for the next settling to begin, and ends it. */
  async settles(status: Settled['status'] | Error): Promise<void> {
    await eventually(() => this.#settlings.length > this.#told);
    this.#settlings[this.#told++]!.resolve(typeof status === 'string' ? settled(status) : status);
  }

  get handle() {
    return stage.client.workflow.getHandle(campaignWorkflowId(this.id));
  }

  async isIdleAfter(changes: number): Promise<void> {
    await eventually(async () => {
      const view = await this.handle.query(messages.state);
      return !view.settling && view.changes === changes;
    });
  }

  async histories(): Promise<History[]> {
    const histories = [await this.handle.fetchHistory()];
    for (;;) {
      const before = histories[0]!.events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId;
      if (!before) return histories;
      const handle = stage.client.workflow.getHandle(campaignWorkflowId(this.id), before);
      histories.unshift(await handle.fetchHistory());
    }
  }
}

const campaigns = new Map<string, TestCampaign>();
const activities: CampaignActivities = {
  async settle({ campaignId }) {
    const outcome = await campaigns.get(campaignId)!.settle();
    if (outcome instanceof Error) throw outcome;
    return outcome;
  },
};
const stage = temporalStage({ lowered: { CHANGES_A_RUN: 3 } }, (queue) => [{ taskQueue: queue, activities }]);

async function started(): Promise<TestCampaign> {
  const campaign = new TestCampaign();
  campaigns.set(campaign.id, campaign);
  onTestFinished(async (test) => {
    await stage.keep(test, campaign);
    await campaign.handle.terminate().catch(() => {});
  });
  await campaign.changed();
  return campaign;
}

describe('a campaign', () => {
  it('is settled at its first change', async () => {
    const campaign = await started();
    await campaign.settles('running');
    await campaign.isIdleAfter(1);

    expect(historyText(await campaign.handle.fetchHistory())).toBe(
      'Started Signal(changed) Task Schedule(settle) ActivityStarted Result(settle) Task Attributes',
    );
  });

  it('is settled again at every change', async () => {
    const campaign = await started();
    await campaign.settles('running');
    await campaign.isIdleAfter(1);
    await campaign.changed();
    await campaign.settles('paused');
    await campaign.isIdleAfter(2);

    expect(campaign.settlings).toBe(2);
    const { typedSearchAttributes } = await campaign.handle.describe();
    expect(typedSearchAttributes.getAll().map(({ value }) => value)).toContain('paused');
  });

  it('is settled once more for any number of changes meanwhile', async () => {
    const campaign = await started();
    await eventually(() => campaign.settlings === 1);
    for (let n = 0; n < 5; n++) await campaign.changed();
    await campaign.settles('running');
    await campaign.settles('running');
    await campaign.isIdleAfter(2);

    expect(campaign.settlings).toBe(2);
  });

  it('is settled again by another worker when one has failed', async () => {
    const campaign = await started();
    await campaign.settles(new Error('the worker shut down'));
    await campaign.settles('running');
    await campaign.isIdleAfter(1);
  });

  it('ends with the campaign', async () => {
    const campaign = await started();
    await campaign.settles('ended');

    expect(await campaign.handle.result()).toEqual(settled('ended'));
  });

  it('that changes as it ends is settled once more', async () => {
    const campaign = await started();
    await eventually(() => campaign.settlings === 1);
    await campaign.changed();
    await campaign.settles('ended');
    await campaign.settles('ended');

    expect(await campaign.handle.result()).toEqual(settled('ended'));
    expect(campaign.settlings).toBe(2);
  });

  it('that has ended takes up a change in a new workflow', async () => {
    const campaign = await started();
    await campaign.settles('ended');
    await campaign.handle.result();
    await campaign.changed();
    await campaign.settles('ended');

    expect(await campaign.handle.result()).toEqual(settled('ended'));
  });

  it('is continued as new after many changes, and misses none', async () => {
    const campaign = await started();
    for (let change = 1; change <= 3; change++) {
      await campaign.settles('running');
      await campaign.isIdleAfter(change);
      await campaign.changed();
    }
    await campaign.settles('paused');
    await campaign.isIdleAfter(1);

    const [first, second] = await campaign.histories();
    expect(historyText(first!)).toMatch(/Signal\(changed\) Task ContinuedAsNew$/);
    expect(historyText(second!)).toBe('Started Task Schedule(settle) ActivityStarted Result(settle) Task Attributes');
    expect(campaign.settlings).toBe(4);
  });

  it('takes a change with any content', async () => {
    const campaign = await started();
    await campaign.settles('running');
    await campaign.isIdleAfter(1);
    await campaign.handle.signal('changed', null);
    await campaign.settles('running');

    await campaign.isIdleAfter(2);
  });
});
