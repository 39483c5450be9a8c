/** Whether anything in the database has changed. */
import type { Pool } from 'pg';

/** A request that is refused leaves its answer for its repeats, and that it was made; an import that is refused is on record. */
const LEFT_BY_REFUSALS = ['idempotent_request', 'audit', 'import'];

const sumOf = (table: string): string => `count(*) || ' rows, ' || coalesce(sum(hashtextextended("${table}"::text, 0)), 0)`;

/** A look at all tables: of each how many rows it has, and a sum over what is in them. */
export async function checksums(pool: Pool): Promise<() => Promise<Record<string, string>>> {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT table_name AS name FROM information_schema.tables
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> ALL ($1) ORDER BY 1`,
    [LEFT_BY_REFUSALS],
  );
  const look = rows.map(({ name }) => `SELECT '${name}' AS name, ${sumOf(name)} AS sum FROM "${name}"`).join(' UNION ALL ');
  return async () => {
    const sums = await pool.query<{ name: string; sum: string }>(look);
    return Object.fromEntries(sums.rows.map(({ name, sum }) => [name, sum]));
  };
}

/** The same of some rows of one table. */
export async function checksumOf(pool: Pool, table: string, where = 'true'): Promise<string> {
  const { rows } = await pool.query<{ sum: string }>(`SELECT ${sumOf(table)} AS sum FROM "${table}" WHERE ${where}`);
  return rows[0]!.sum;
}
