/** Rows for readers, as the product writes them, without the calls that lead to them. */
import { type Db, inTx, type Tx } from '../../prisma/tx.ts';

export type Kind = 'call' | 'agent' | 'disposition' | 'wrap_up';

let made = 0;

/** Writes rows of these kinds in one transaction, in this order. */
export async function writeEvents(db: Pick<Db, 'pool' | 'clock'>, kinds: readonly Kind[], campaignId = 1): Promise<void> {
  await inTx(db, (tx) => {
    for (const kind of kinds) record(tx, kind, campaignId, ++made);
    return Promise.resolve();
  });
}

function record(tx: Tx, kind: Kind, campaign_id: number, n: number): void {
  const at = tx.now;
  const call_id = String(1_000_000 + n);
  const ids = { call_id, contact_id: String(n), campaign_id, agent_id: 1 };
  switch (kind) {
    case 'call': {
      const leg = { event_type: 'c', internal_iq_session_id: `${call_id}-2`, ciq: 'c', leg_type: 'contact' } as const;
      const times = { dte_start: at, duration_tot_sec: 3, dte_speak_start: null, duration_speak_sec: 0, setup_ms: 5, alert_ms: null };
      const numbers = { source: '+4722865000', destination: '+4722865000', originating: null, service_num: null };
      const result = { result_code: 'b', result_response: 486, result_reason: null, answered: false } as const;
      const talk = { call_transfer: 0, hold: 0, consult: 0, caller_on_hold_sec: 0 };
      const rest = { ...talk, queue_key: '__Dialer_1', dte_scheduled_callback: null, request_id: null, attempt: 1, recording: null };
      tx.record({ table: 'call_events', row: { ...ids, call_sequence: 1, ...leg, ...times, ...numbers, ...result, ...rest } });
      break;
    }
    case 'agent': {
      const change = { from_state: 'paused', state: 'ready', cause: 'agent', duration_ms: 2 ** 40 } as const;
      tx.record({ table: 'agent_events', row: { agent_id: 1, at, ...change, offer_id: null, call_id, result_code: null } });
      break;
    }
    case 'disposition': {
      const said = { action: 'done', topics: ['ø', 'x,y'], comment: 'Ola said\n“no”', request_id: `r${n}`, reschedule_at: null, reschedule_to_agent: null, rules_version: null };
      tx.record({ table: 'dispositions', row: { ...ids, at, ...said } });
      break;
    }
    case 'wrap_up':
      tx.record({ table: 'wrap_ups', row: { ...ids, started_at: at, wrap_up_sec: 7, ended_by: 'timer', registered: true } });
  }
}

/** Many rows of call events in one statement; those of `campaignId`. */
export async function writeMany({ pool, clock }: Pick<Db, 'pool' | 'clock'>, count: number, campaignId = 1): Promise<void> {
  await pool.query(
    `WITH taken AS (UPDATE event_position SET last = last + $1 WHERE id = 1 RETURNING last - $1 AS before)
     INSERT INTO call_events (position, call_id, call_sequence, event_type, internal_iq_session_id, dte_start,
       duration_tot_sec, duration_speak_sec, source, destination, queue_key, answered, contact_id, campaign_id, attempt)
     SELECT before + n, before + n, 1, 'i', (before + n) || '-1', $3, 0, 0, '+4722865000', '__Dialer_1', '__Dialer_1', false,
       before + n, $2, 1
     FROM taken, generate_series(1, $1::bigint) n`,
    [count, campaignId, clock.now()],
  );
}
