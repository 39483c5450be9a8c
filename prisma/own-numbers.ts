/** The system's own numbers, which nobody is called at (docs/domain.md, "Numbers"). */
import type { Sql, Tx } from './tx.ts';

const own = (among: readonly string[] | null): Sql => ({
  name: 'own_numbers',
  text: `SELECT DISTINCT number
         FROM (SELECT service_num AS number FROM campaign
               UNION ALL SELECT caller_id FROM campaign
               UNION ALL SELECT phone FROM agent WHERE starts_with(phone, '+')) AS own
         WHERE number IS NOT NULL AND ($1::text[] IS NULL OR number = ANY($1))`,
  values: [among],
});

/** Of these numbers (E.164) those that are the system's own; with null all of them. */
export async function ownNumbers(tx: Pick<Tx, 'rows'>, among: readonly string[] | null): Promise<ReadonlySet<string>> {
  const rows = await tx.rows<{ number: string }>(own(among));
  return new Set(rows.map(({ number }) => number));
}
