// The administrator's API key of a start that was given none.

import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Returns the key kept in `admin-key` of the data directory, which only this user can read; makes it if there is none.
 * Only for the holder of the data directory's lock.
 */
export function adminKeyOf(dataDir: string): { key: string; file: string; made: boolean } {
  const file = path.join(dataDir, 'admin-key');
  const kept = read(file);
  if (kept) return { key: kept, file, made: false };
  const key = `dw_${randomBytes(32).toString('base64url')}`;
  mkdirSync(dataDir, { recursive: true });
  // Written aside and moved: a crash in between must not leave an empty key.
  writeFileSync(`${file}.new`, `${key}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return { key, file, made: true };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
