import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hashOfSources, WORKFLOW_ROOMS } from '../../worker/bundle.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
let copy: string;
beforeEach(() => {
  copy = mkdtempSync(path.join(os.tmpdir(), 'dialwright-bundle-'));
  for (const name of [...WORKFLOW_ROOMS, 'package-lock.json']) cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
});
afterEach(() => rmSync(copy, { recursive: true, force: true }));

it('is kept for the same sources, wherever they are', async () => {
  expect(await hashOfSources(copy)).toBe(await hashOfSources(ROOT));
});

it.each([
  ['a workflow has changed', () => writeFileSync(path.join(copy, 'workflows/contact/life.ts'), 'export {};')],
  ['a rule has changed', () => writeFileSync(path.join(copy, 'domain/rules.ts'), 'export {};')],
  ['a file is new', () => writeFileSync(path.join(copy, 'workflows/contact/new.ts'), '')],
  ['a file has another name', () => renameSync(path.join(copy, 'domain/rules.ts'), path.join(copy, 'domain/other.ts'))],
  ['a library has changed', () => writeFileSync(path.join(copy, 'package-lock.json'), '{}')],
])('is made anew when %s', async (_, change) => {
  change();
  expect(await hashOfSources(copy)).not.toBe(await hashOfSources(ROOT));
});
