// Contact workflows started a second by a campaign's feed, beside bare starts: those alone, and with their first tasks, as
// the feed waits for these.

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
    say(`bare starts: ${before.started.toFixed(0)}/s; now the feed of ${CONTACTS} contacts`);
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
    const value = CONTACTS / took;
    return [
      {
        name: 'contact workflows started',
        value,
        unit: '/s',
        limit: harmonicMean(before.started, after.started),
        limitIs: `bare workflow.start, ${CONCURRENCY} at once`,
        aim: { of: 'ratio', atLeast: 0.8 },
      },
      {
        name: 'contact workflows started and waiting',
        value,
        unit: '/s',
        limit: harmonicMean(before.waiting, after.waiting),
        limitIs: 'the same, until the first tasks are done',
        aim: { of: 'ratio', atLeast: 0.8 },
      },
    ];
  });
}
