/** Repairs are recorded in the transaction that makes them, each once: whoever comes second to the same thing adds nothing. */
import type { RepairCause } from '../domain/repairs.ts';
import type { Tx } from './tx.ts';

export interface Repaired {
  cause: RepairCause;
  /** `<kind>/<id>`; of a contact `contact/<id>/<round>`. */
  subject: string;
  /** Tells it from others of the same cause and subject; left out where there can be no other. */
  occasion?: string;
}

/** False when it is on record already. */
export async function recordRepair(tx: Pick<Tx, 'now' | 'worker' | 'run'>, { cause, subject, occasion = '' }: Repaired): Promise<boolean> {
  const values = [tx.now, cause, subject, occasion, tx.worker];
  return (await tx.run({ name: 'record_repair', text: RECORD, values })) > 0;
}

const RECORD = `INSERT INTO repair (at, cause, subject, occasion, worker) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (cause, subject, occasion) DO NOTHING`;
