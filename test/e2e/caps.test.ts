/**
 * Whatever the rules, the outcomes and what people wish: no number is dialled more often, or sooner, than its campaign's caps
 * allow, over all campaigns and both columns, and nobody more often than `max_attempts` and what was granted. In skipped time.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { callNow, rescheduleContact } from '../../api/waits-sql.ts';
import { type Outcome, PaperPhones } from '../kit/paper-phones.ts';
import { Queue } from '../kit/queue.ts';

const DAYS = 3;
const NUMBERS = Array.from({ length: 6 }, (_, n) => `+472286500${n}`);

const delay = fc.integer({ min: 0, max: 7_200 }).map((delay_sec) => ({ delay_sec }));
const anyRules = fc.record({
  max_attempts: fc.integer({ min: 1, max: 6 }),
  max_per_number_per_day: fc.integer({ min: 1, max: 4 }),
  min_gap_sec: fc.integer({ min: 0, max: 5_400 }),
  retry: fc.record({ b: delay, t: delay, c: delay, e: delay }),
});
const anyContact = fc.record({ first: fc.nat(5), second: fc.option(fc.nat(5)), campaign: fc.nat(1) });
const outcome = fc.constantFrom<Outcome>(486, 480, 404, 'rings_out', 'talks');
const anyWish = fc.record({ contact: fc.nat(7), after: fc.integer({ min: 0, max: 86_400 }), what: fc.constantFrom('now', 'later') });

interface Dialled {
  number: string;
  campaign: number;
  contact: string;
  at: Date;
  ended: Date;
}

it('nothing exceeds a cap', async () => {
  const scene = fc.record({
    rules: fc.tuple(anyRules, anyRules),
    contacts: fc.array(anyContact, { minLength: 4, maxLength: 8 }),
    outcomes: fc.array(outcome, { minLength: 1, maxLength: 40 }),
    wishes: fc.array(anyWish, { maxLength: 12 }),
  });
  let dialledInAll = 0;
  await fc.assert(
    fc.asyncProperty(scene, async ({ rules, contacts, outcomes, wishes }) => {
      const queue = await Queue.open();
      try {
        const worker = queue.matcher();
        const campaigns = [await queue.campaign({ rules: rules[0] }), await queue.campaign({ rules: rules[1] })];
        for (const campaign of campaigns) {
          const agent = await queue.agent({ serves: { [campaign]: 1 } });
          await worker.matching.setAgentState(agent, 'ready', 'test');
        }
        await queue.pool.query(`UPDATE agent SET lease_until = 'infinity'`);
        await queue.pool.query(`UPDATE node SET lease_until = 'infinity'`);
        const ids: string[] = [];
        for (const { first, second, campaign } of contacts) {
          const phone2 = second === null || second === first ? {} : { phone2: NUMBERS[second]! };
          ids.push(...(await queue.contacts(campaigns[campaign]!, [{ phone: NUMBERS[first]!, ...phone2 }])));
        }
        for (const id of ids) await queue.enqueue(worker, [id]);
        let nth = 0;
        const phones = new PaperPhones(queue, worker, {
          answer: () => outcomes[nth++ % outcomes.length]!,
          dispose: ({ contactId }) => {
            const isLater = Number(contactId) % 2 === 0;
            const at = new Date(queue.clock.now().getTime() + 3_600_000);
            return { action: isLater ? 'reschedule' : 'mark_as_unanswered', topics: [], comment: null, reschedule: isLater ? { at, toMyself: false } : null };
          },
          callSec: 7,
        });
        for (const { contact, after, what } of wishes) {
          const now = queue.clock.now();
          await phones.run(new Date(now.getTime() + after * 1000));
          const id = ids[contact % ids.length]!;
          const at = queue.clock.now();
          await queue.pool.query(what === 'now' ? callNow(at, id) : rescheduleContact(at, id, new Date(at.getTime() + 600_000), null));
        }
        await phones.run(new Date(queue.clock.now().getTime() + DAYS * 86_400_000));

        const dialled = await queue.rows<Dialled>(
          `SELECT destination AS number, campaign_id AS campaign, contact_id AS contact, created_at AS at, ended_at AS ended
           FROM leg WHERE ciq = 'c' ORDER BY created_at`,
        );
        dialledInAll += dialled.length;
        for (const leg of dialled) {
          const own = rules[campaigns.indexOf(leg.campaign)]!;
          const before = dialled.filter(({ number, at }) => number === leg.number && at < leg.at);
          const day = before.filter(({ at }) => leg.at.getTime() - at.getTime() < 86_400_000);
          expect(day.length, 'in 24 hours').toBeLessThan(own.max_per_number_per_day);
          const last = before.at(-1);
          if (last) expect(leg.at.getTime() - last.ended.getTime(), 'the gap').toBeGreaterThanOrEqual(own.min_gap_sec * 1000);
        }
        const attempts = await queue.rows<{ campaign_id: number; attempts: number; granted: number; legs: number }>(
          `SELECT campaign_id, attempts, granted, (SELECT count(*)::int FROM leg WHERE contact_id = contact.id AND ciq = 'c') AS legs FROM contact`,
        );
        for (const { campaign_id, attempts: counted, granted, legs } of attempts) {
          expect(legs).toBe(counted);
          expect(legs).toBeLessThanOrEqual(rules[campaigns.indexOf(campaign_id)]!.max_attempts + granted);
        }
        expect(queue.complaints).toEqual([]);
      } finally {
        await queue.close();
      }
    }),
    { numRuns: 12 },
  );
  expect(dialledInAll).toBeGreaterThan(50);
}, 120_000);
