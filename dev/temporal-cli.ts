// Finds the Temporal CLI, whose dev server this project embeds, or brings it to a machine that hasn't got it.

import { execFile, fork, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Say, since, sizeOf, userCache } from './process.ts';

const run = promisify(execFile);

// 1.6 and later can't be built by `go install`: their go.mod has a local replace directive.
const GO_PACKAGE = 'github.com/temporalio/cli/cmd/temporal@v1.5.1';
const NAME = process.platform === 'win32' ? 'temporal.exe' : 'temporal';
const STALLED_AFTER_MS = 10_000;
const PROGRESS_EVERY_MS = 15_000;

/**
 * The path of a Temporal CLI: what TEMPORAL_CLI names, else one on the PATH or where Go installs, else one that was
 * brought here before, else one downloaded by Temporal's SDK, else one built by Go (about 4 minutes, once; both are
 * kept in the user's cache directory). Says what it does when it takes longer than a moment.
 *
 * Throws an Error that names the ways out when there is neither the download nor Go.
 */
export async function temporalCli({ log }: { log: Say }): Promise<string> {
  const named = process.env.TEMPORAL_CLI;
  if (named) {
    if (isExecutable(named)) return named;
    throw new Error(`TEMPORAL_CLI names ${named}, which is not an executable file`);
  }
  return (await findInstalled()) ?? (await download(log)) ?? (await build(log));
}

async function findInstalled(): Promise<string | undefined> {
  const onPath = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean);
  const found = [...onPath, cacheDir('go')].map((dir) => path.join(dir, NAME)).find(isExecutable);
  return found ?? downloaded() ?? (await goBinaries()).map((dir) => path.join(dir, NAME)).find(isExecutable);
}

/** Where `go install` puts programs, which is often not on the PATH. */
async function goBinaries(): Promise<string[]> {
  try {
    const [bin = '', goPath = ''] = (await run('go', ['env', 'GOBIN', 'GOPATH'])).stdout.split(/\r?\n/);
    return bin ? [bin] : goPath.split(path.delimiter).map((dir) => path.join(dir, 'bin'));
  } catch {
    return [path.join(os.homedir(), 'go/bin')];
  }
}

// ---- the SDK's own download ------------------------------------------------------------------------------------

function downloaded(): string | undefined {
  const dir = cacheDir('download');
  const files = existsSync(dir) ? readdirSync(dir).map((file) => path.join(dir, file)) : [];
  return files.find((file) => !file.endsWith('.downloading') && isExecutable(file));
}

/**
 * Has the SDK fetch the CLI, in a process of its own: a firewall that drops packets would hold it for minutes, and
 * only a process can be stopped. Undefined when nothing arrives within 10 s or it fails.
 */
async function download(log: Say): Promise<string | undefined> {
  const startedAt = performance.now();
  const dir = cacheDir('download');
  mkdirSync(dir, { recursive: true });
  log('The Temporal CLI is not installed; downloading it (about 50 MB, once)');
  const child = fork(import.meta.filename, ['download', dir], { stdio: 'ignore' });
  let exit: number | undefined;
  child.once('error', () => (exit = 1)).once('exit', (code) => (exit = code ?? 1));
  for (let size = 0, grownAt = Date.now(); exit === undefined; await sleep(100)) {
    const now = bytesIn(dir);
    if (now > size) [size, grownAt] = [now, Date.now()];
    if (Date.now() - grownAt > STALLED_AFTER_MS) child.kill('SIGKILL');
  }
  const cli = exit === 0 ? downloaded() : undefined;
  log(
    cli
      ? `Temporal CLI downloaded to ${cli} (${since(startedAt)})`
      : `The download is out of reach (${since(startedAt)})`,
  );
  return cli;
}

function bytesIn(dir: string): number {
  return readdirSync(dir).reduce((sum, file) => sum + sizeOf(path.join(dir, file)), 0);
}

/** In the child: the SDK downloads as part of starting a dev server, so one is started and ended. */
async function downloadHere(downloadDir: string): Promise<void> {
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const executable = { type: 'cached-download', downloadDir } as const;
  const environment = await TestWorkflowEnvironment.createLocal({ server: { executable } });
  await environment.teardown();
}

// ---- go install ------------------------------------------------------------------------------------------------

async function build(log: Say): Promise<string> {
  const startedAt = performance.now();
  const target = cacheDir('go');
  await run('go', ['version']).catch(() => {
    throw new Error(
      'The Temporal CLI is needed and is not here. Install it (https://docs.temporal.io/cli), or name it in ' +
        'TEMPORAL_CLI, or install Go so that it can be built, or set TEMPORAL_ADDRESS to a server.',
    );
  });
  mkdirSync(target, { recursive: true });
  log(`Building the Temporal CLI: go install ${GO_PACKAGE} (about 4 minutes, once; kept in ${target})`);
  const progress = setInterval(() => log(`… still building (${since(startedAt)})`), PROGRESS_EVERY_MS);
  try {
    await goInstall(target);
  } finally {
    clearInterval(progress);
  }
  log(`Temporal CLI built (${since(startedAt)})`);
  return path.join(target, NAME);
}

function goInstall(target: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('go', ['install', GO_PACKAGE], {
      env: { ...process.env, GOBIN: target },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-4_000)));
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`go install ${GO_PACKAGE} failed:\n${output.trim()}`));
    });
  });
}

const cacheDir = (kind: 'download' | 'go'): string => path.join(userCache('temporal-cli'), kind);

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

if (import.meta.main && process.argv[2] === 'download' && process.argv[3]) {
  await downloadHere(process.argv[3]);
  process.exit(0);
}
