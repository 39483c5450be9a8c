/** What can be said to a campaign's workflow. Definitions only. */
import { defineQuery, defineSignal } from '@temporalio/workflow';

export interface CampaignInput {
  campaignId: string;
}

/** The list, the rules or the status changed: bring every row into line with them. */
export const changed = defineSignal('changed');

export interface CampaignView {
  settling: boolean;
  /** Changes carried out by this run. */
  changes: number;
}
export const state = defineQuery<CampaignView>('state');
