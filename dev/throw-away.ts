import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, realpathSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

// QUIT is PostgreSQL's immediate shutdown, and ends the others as well; what they held is thrown away.
// A zombie, which some containers keep for ever, is not alive: it has no command line.
const SCRIPT = `
  alive() {
    kill -0 $1 2>/dev/null && { [ ! -d /proc/self ] || [ -n "$(tr -d '\\0' </proc/$1/cmdline 2>/dev/null)" ]; }
  }
  cat >/dev/null
  data=$(sed -n 's/.*"data": *"\\(.*\\)".*/\\1/p' "$1/postgres.json" 2>/dev/null)
  postgres=$(head -n 1 "$data/postmaster.pid" 2>/dev/null)
  temporal=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' "$1/temporal.json" 2>/dev/null)
  asterisk=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' "$1/asterisk.json" 2>/dev/null)
  for signal in QUIT KILL; do
    for pid in $postgres $temporal $asterisk; do kill -$signal $pid 2>/dev/null; done
    for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
      running=
      for pid in $postgres $temporal $asterisk; do alive $pid && running=yes; done
      [ -z "$running" ] && break 2
      sleep 0.1
    done
  done
  rm -rf "$1" \${data:+"$data"}
`;

export interface ThrowAway {
  /** An empty data directory, for `startPostgres`, `startTemporal` and `startAsterisk`. */
  dataDir: string;
  /** Ends what runs in it, and removes it. */
  release: () => Promise<void>;
}

/**
 * Makes a data directory that lives no longer than this process: its servers are ended and it is removed when it is
 * released, or as soon as this process is gone, however it went (kill -9 included).
 *
 * A small shell holds the other end of a pipe, and the kernel closes the pipe for us when we can't.
 */
export function throwAwayDataDir(purpose: string): ThrowAway {
  const dataDir = realpathSync(mkdtempSync(path.join(os.tmpdir(), `dialwright-${purpose}-`)));
  chmodSync(dataDir, 0o711); // PostgreSQL's user, where that is another, has to get through
  return { dataDir, release: leash(dataDir) };
}

function leash(dataDir: string): () => Promise<void> {
  const child = spawn('sh', ['-c', SCRIPT, 'leash', dataDir], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.unref();
  return async () => {
    child.ref();
    child.stdin.end();
    await ended;
  };
}
