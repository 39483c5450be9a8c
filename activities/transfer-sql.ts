/** The SQL of talks that are put on hold and handed on. Every statement takes the time as a parameter: one clock. */
import type { Sql } from '../prisma/tx.ts';

// ---- holds and keys -------------------------------------------------------------------------------------------------

/** The contact is on hold from now on, as far as it concerns the contact's own leg and this agent's. */
export const noteHeld = (now: Date, callId: string, agentLegId: string | null): Sql => ({
  name: 'note_held',
  text: `UPDATE leg SET hold = 1, held_since = coalesce(held_since, $1)
         WHERE call_id = $2 AND ended_at IS NULL AND (ciq = 'c' OR id = $3)`,
  values: [now, callId, agentLegId],
});

export const noteTakenFromHold = (now: Date, callId: string): Sql => ({
  name: 'note_taken_from_hold',
  text: `UPDATE leg SET held_ms = held_ms + greatest(0, extract(epoch FROM $1 - held_since) * 1000)::int, held_since = NULL
         WHERE call_id = $2 AND ended_at IS NULL AND held_since IS NOT NULL`,
  values: [now, callId],
});

/** The same request once more finds what it has stored. */
export const storeKeys = (now: Date, requestKey: string, callId: string, digits: string): Sql => ({
  name: 'store_keys',
  text: `INSERT INTO keys_to_send (request_key, call_id, digits, created_at) VALUES ($2, $3, $4, $1)
         ON CONFLICT (request_key) DO UPDATE SET request_key = excluded.request_key RETURNING id`,
  values: [now, requestKey, callId, digits],
});

/** `digits` is null when they have been sent. */
export const keysToSend = (id: string): Sql => ({
  name: 'keys_to_send',
  text: `SELECT call_id, digits FROM keys_to_send WHERE id = $1`,
  values: [id],
});

export const forgetKeys = (id: string): Sql => ({
  name: 'forget_keys',
  text: `UPDATE keys_to_send SET digits = NULL WHERE id = $1`,
  values: [id],
});
