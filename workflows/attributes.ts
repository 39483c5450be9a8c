/** Search attributes by which operators find runs in the Temporal UI. Ids and codes only. */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

export const attribute = {
  campaignId: defineSearchAttributeKey('CampaignId', SearchAttributeType.KEYWORD),
  contactState: defineSearchAttributeKey('ContactState', SearchAttributeType.KEYWORD),
  agentId: defineSearchAttributeKey('AgentId', SearchAttributeType.KEYWORD),
  attempt: defineSearchAttributeKey('Attempt', SearchAttributeType.INT),
  resultCode: defineSearchAttributeKey('ResultCode', SearchAttributeType.KEYWORD),
} as const;
