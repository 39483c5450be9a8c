import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { givenUp, TooLate } from './deadline.ts';
import { PrismaClient } from './generated/client.ts';

export type { PrismaClient };

// Prisma's adapter reads and writes timestamptz as if the session were UTC: on any other session the hours would
// be wrong. It is a start-up option and not a SET, so that there is no moment at which a connection has it not.
const UTC = '-c TimeZone=UTC';

// A process that is frozen in a transaction holds its locks, the counter of positions among them: everybody would wait for
// it. PostgreSQL ends the transaction instead, and whoever wakes up finds that it was never committed.
const IDLE_IN_TRANSACTION = '-c idle_in_transaction_session_timeout=5s';

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
export function createPrisma(url: string, options: ConnectionOptions): PrismaClient {
  return new PrismaClient({ adapter: new PrismaPg(createPool(url, options), { disposeExternalPool: true }) });
}

/**
 * A node-postgres pool for handwritten SQL. bigint comes as string, timestamptz as Date. Close it with `end()`.
 *
 * An idle connection that the server closes is dropped and replaced, it does not bring the process down; the next
 * query sees the error.
 */
export function createPool(url: string, { max, name = 'dialwright' }: ConnectionOptions): pg.Pool {
  const pool = new PunctualPool(poolConfig(url, max, name));
  pool.on('error', () => undefined);
  // The pool hears only those that are idle: one that breaks inside a transaction is to fail that, not the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

type Connected = (error: Error | undefined, client: pg.PoolClient | undefined, release: (broken?: Error | boolean) => void) => void;

/** A connection that comes too late is for others: what was to be done with it is not begun. Queries get theirs here, too. */
class PunctualPool extends pg.Pool {
  override connect(): Promise<pg.PoolClient>;
  override connect(connected: Connected): void;
  override connect(connected?: Connected): Promise<pg.PoolClient> | void {
    if (!connected) {
      return new Promise((resolve, reject) => this.connect((error, client) => (client ? resolve(client) : reject(error!))));
    }
    const late = givenUp();
    super.connect((error, client, release) => {
      if (!client || !late.aborted) return connected(error, client, release);
      release();
      connected(new TooLate(), undefined, () => undefined);
    });
  }
}

function poolConfig(url: string, max: number, name: string): pg.PoolConfig {
  const parsed = new URL(url);
  // A connection string wins over the fields beside it, so what the URL says about options is joined with ours.
  const options = [parsed.searchParams.get('options'), UTC, IDLE_IN_TRANSACTION].filter(Boolean).join(' ');
  parsed.searchParams.delete('options');
  parsed.searchParams.delete('schema'); // Prisma's own parameter, unknown to the server
  return { connectionString: parsed.href, options, max, application_name: name, connectionTimeoutMillis: 10_000 };
}
