// `npm run reconcile`: worker/reconcile-main.ts, on servers that are given or on the embedded ones of DATA_DIR.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { loadConfig } from '../config/config.ts';
import { lockDataDir } from './lock.ts';
import { Servers } from './servers.ts';

async function main(args: string[]): Promise<void> {
  const config = loadConfig();
  const isGiven = config.databaseUrl !== undefined && config.temporalAddress !== undefined;
  if (isGiven || args.includes('--help')) return run(args, {});
  const unlock = lockDataDir(config.dataDir);
  if (!unlock) throw new Error(`npm start runs on ${config.dataDir}: stop it first.`);
  const servers = new Servers(config, () => undefined);
  try {
    const { databaseUrl, temporalAddress } = await servers.start();
    await run(args, { DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: temporalAddress });
  } finally {
    await servers.stop();
    unlock();
  }
}

async function run(args: string[], settings: Record<string, string>): Promise<void> {
  const file = path.resolve(import.meta.dirname, '../worker/reconcile-main.ts');
  const child = spawn(process.execPath, [file, ...args], { env: { ...process.env, ...settings }, stdio: 'inherit' });
  const code = await new Promise<number | null>((resolve, reject) => child.once('exit', resolve).once('error', reject));
  process.exitCode = code ?? 1;
}

main(process.argv.slice(2)).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
