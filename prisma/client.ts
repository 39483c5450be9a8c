import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { PrismaClient } from './generated/client.ts';

export type { PrismaClient };

// Prisma's adapter reads and writes timestamptz as if the session were UTC: on any other session the hours would
// be wrong. It is a start-up option and not a SET, so that there is no moment at which a connection has it not.
const UTC = '-c TimeZone=UTC';

export interface ConnectionOptions {
  /** Most connections this process opens at once. */
  max: number;
  /** Shown as `application_name` in pg_stat_activity. */
  name?: string;
}

/**
 * A Prisma client for ordinary reads and writes; claims, counters and bulk go through {@link createPool}.
 * Close it with `$disconnect()`.
 */
export function createPrisma(url: string, { max, name = 'dialwright' }: ConnectionOptions): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg(poolConfig(url, max, name)) });
}

/**
 * A node-postgres pool for handwritten SQL. bigint comes as string, timestamptz as Date. Close it with `end()`.
 *
 * An idle connection that the server closes is dropped and replaced, it does not bring the process down; the next
 * query sees the error.
 */
export function createPool(url: string, { max, name = 'dialwright' }: ConnectionOptions): pg.Pool {
  const pool = new pg.Pool(poolConfig(url, max, name));
  pool.on('error', () => undefined);
  // The pool hears only those that are idle: one that breaks inside a transaction is to fail that, not the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

function poolConfig(url: string, max: number, name: string): pg.PoolConfig {
  const parsed = new URL(url);
  // A connection string wins over the fields beside it, so what the URL says about options is joined with ours.
  const options = [parsed.searchParams.get('options'), UTC].filter(Boolean).join(' ');
  parsed.searchParams.delete('options');
  parsed.searchParams.delete('schema'); // Prisma's own parameter, unknown to the server
  return { connectionString: parsed.href, options, max, application_name: name, connectionTimeoutMillis: 10_000 };
}
