/** The hand-written SQL of API keys, as functions. */
import type { Sql } from '../prisma/tx.ts';

/** `NOTIFY` on it, without a payload: a key was revoked, so open streams look for theirs. */
export const KEYS_CHANNEL = 'dialwright_keys';

/** Heard when the transaction commits. A hint only: open streams look by themselves, too. */
export const tellOfKeys = (): Sql => ({ text: `SELECT pg_notify('${KEYS_CHANNEL}', '')`, values: [] });

export const revokeKey = (now: Date, id: number): Sql => ({
  text: `UPDATE api_key SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`,
  values: [now, id],
});

/** The same key with another secret: a row of its own, since rows say `key:3` of who held that one. */
export const succeedKey = (now: Date, id: number, hash: string, requestKey: string): Sql => ({
  text: `INSERT INTO api_key (name, role, agent_id, hash, created_at, request_key)
         SELECT name, role, agent_id, $3, $1, $4 FROM api_key WHERE id = $2 RETURNING id`,
  values: [now, id, hash, requestKey],
});

/** What a request has made before, if its answer was lost: never seen, so another secret takes its place. */
export const replaceLostKey = (requestKey: string, hash: string): Sql => ({
  text: `UPDATE api_key SET hash = $2 WHERE request_key = $1 AND revoked_at IS NULL RETURNING id`,
  values: [requestKey, hash],
});
