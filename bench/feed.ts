// Contact workflows started a second by a campaign's feed, beside bare starts with the same number of calls at once.

import { withBare } from './bare.ts';
import type { Figure } from './figure.ts';
import { CONCURRENCY, countContacts, harmonicMean, makeCampaign, progress, type Rig, seconds, until } from './kit.ts';

const CONTACTS = 2_000;
/** Bare starts in two halves, before and after: the server slows down as its database grows. */
const BARE = 1_000;

export async function benchFeed(rig: Rig): Promise<Figure[]> {
  const { sql, say } = rig;
  const product = await rig.product();
  return withBare(rig, async (bare) => {
    const campaign = await makeCampaign(product, 'Feed', '1', CONTACTS);
    const before = await bare.starts(BARE);
    say(`bare starts: ${before.toFixed(0)}/s; now the feed of ${CONTACTS} contacts`);
    const tell = progress(say, 'contacts started and queued', CONTACTS);
    const took = await seconds(async () => {
      await product.ask('POST', `/campaigns/${campaign}/start`);
      await until('all contacts are queued', 120_000, async () => {
        const queued = await countContacts(sql, campaign, 'queued');
        tell(queued);
        return queued === CONTACTS;
      });
    });
    const after = await bare.starts(BARE);
    return [
      {
        name: 'contact workflows started',
        value: CONTACTS / took,
        unit: '/s',
        limit: harmonicMean(before, after),
        limitIs: `bare workflow.start, ${CONCURRENCY} at once`,
        aim: { of: 'ratio', atLeast: 0.8 },
      },
    ];
  });
}
