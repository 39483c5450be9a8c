/** A process that has the Asterisk adapter and nothing else: commands come over IPC, what it tells goes back. */
import { pino } from 'pino';
import { type AsteriskSettings, createAsteriskTelephony } from '../../telephony/asterisk/adapter.ts';
import type { LegFact, Telephony } from '../../telephony/telephony.ts';

/** What the test sends. */
export interface Command {
  id: number;
  method: keyof Telephony;
  args: unknown[];
}

/** What the process sends. */
export type Word =
  | { type: 'answer'; id: number; value?: unknown; error?: { message: string; code?: string } }
  | { type: 'fact'; fact: LegFact }
  | { type: 'connection'; up: boolean; why?: string };

const say = (word: Word) => new Promise<void>((said) => process.send!(word, () => said()));
const settings = JSON.parse(process.argv[2]!) as AsteriskSettings;
const telephony = createAsteriskTelephony(settings, pino({ level: process.env.ASTERISK_LOG ?? 'silent' }, pino.destination(2)));
telephony.onFact((fact) => say({ type: 'fact', fact }));
const tellConnection = (up: boolean, why?: string): void => void say({ type: 'connection', up, why });
telephony.onConnection(tellConnection);

process.on('message', ({ id, method, args }: Command) => {
  const command = telephony[method] as (...args: unknown[]) => Promise<unknown>;
  command.apply(telephony, args).then(
    (value) => say({ type: 'answer', id, value }),
    ({ message, code }: Error & { code?: string }) => say({ type: 'answer', id, error: { message, code } }),
  );
});
process.on('disconnect', () => process.exit());
