/**
 * The workflows as one file, which Temporal runs in its sandbox. To make it takes longer than all else of a worker's start, and
 * calls wait for a worker that comes back: so it is kept, beside the libraries it is made of.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger, type WorkflowBundle } from '@temporalio/worker';

const ROOT = path.resolve(import.meta.dirname, '..');
const CACHE = path.join(ROOT, 'node_modules/.cache/dialwright');
/** Rooms whose code goes into it; from the libraries comes what the lock file says. */
export const WORKFLOW_ROOMS = ['workflows', 'domain'];

/** One that is kept is taken only if it was made of exactly these sources. Where nothing can be kept it is made each time. */
export async function workflowBundle(): Promise<Pick<WorkflowBundle, 'code'>> {
  const codePath = path.join(CACHE, `workflows-${await hashOfSources(ROOT)}.js`);
  // Temporal reads the file later: what is handed on must not be taken away meanwhile by a worker of other sources.
  const kept = await readFile(codePath, 'utf8').catch(() => null);
  if (kept !== null) return { code: kept };
  const { code } = await bundleWorkflowCode({ workflowsPath: path.join(ROOT, 'workflows/index.ts'), logger: new DefaultLogger('WARN') });
  await keep(codePath, code).catch(() => undefined);
  return { code };
}

/** Another one for each state of the rooms and the lock file below `root`. */
export async function hashOfSources(root: string): Promise<string> {
  const hash = createHash('sha256');
  const rooms = await Promise.all(WORKFLOW_ROOMS.map((room) => readdir(path.join(root, room), { recursive: true, withFileTypes: true })));
  const files = rooms.flat().filter((entry) => entry.isFile()).map(({ parentPath, name }) => path.join(parentPath, name));
  for (const file of [path.join(root, 'package-lock.json'), ...files.toSorted()]) {
    const content = await readFile(file);
    // With names and lengths, so that no text moved from one file to another gives the same.
    hash.update(`${path.relative(root, file)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex').slice(0, 32);
}

/** In one step, whoever else does the same; what was made of older sources goes. */
async function keep(codePath: string, code: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  // By its name older ones go, too, of whoever was killed here.
  const draft = path.join(CACHE, `workflows-${randomUUID()}.draft`);
  await writeFile(draft, code);
  await rename(draft, codePath);
  const others = (await readdir(CACHE)).filter((name) => name.startsWith('workflows-') && path.join(CACHE, name) !== codePath);
  await Promise.all(others.map((name) => rm(path.join(CACHE, name), { force: true })));
}
