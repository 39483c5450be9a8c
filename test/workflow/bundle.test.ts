import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, inject, it } from 'vitest';
import { WORKFLOW_ROOMS } from '../../worker/bundle.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

it('is made of the rooms that tell whether a kept one is still right, and of libraries', () => {
  const code = readFileSync(inject('workflowBundlePath'), 'utf8');
  const [, map] = /sourceMappingURL=data:application\/json;(?:charset=utf-8;)?base64,(\S+)/.exec(code)!;
  const { sources } = JSON.parse(Buffer.from(map!, 'base64').toString()) as { sources: string[] };
  const own = sources.filter((file) => file.startsWith(ROOT)).map((file) => path.relative(ROOT, file).split(path.sep)[0]!);
  expect(own.filter((room) => ![...WORKFLOW_ROOMS, 'node_modules'].includes(room))).toEqual([]);
  expect(own).toContain('workflows');
});
