'use strict';
// Brings a fresh clone to where `npm start`, `npm test` and `npm run bench` can run: dependencies (among them Node
// itself) and the generated database client. npm calls it before each of them, so it must run on whatever Node is
// on the machine, cost next to nothing when all is there, and use no dependency.

const { execFileSync } = require('node:child_process');
const { existsSync, statSync } = require('node:fs');
const path = require('node:path');

const ROOT = path.resolve(__dirname, '..');
const HELP = `Usage: node dev/setup.cjs [--help]

Does what is missing, and says nothing when nothing is:
  npm ci            when node_modules is absent or older than package-lock.json
  prisma generate   when prisma/generated is absent or older than prisma/schema.prisma
`;

/** Last change of a file in the checkout, in ms since 1970; undefined when it is absent. */
function changedAt(file) {
  const full = path.join(ROOT, file);
  return existsSync(full) ? statSync(full).mtimeMs : undefined;
}

/** Whether `made` is absent or was made before its source changed last. */
function isStale(made, source) {
  const madeAt = changedAt(made);
  const sourceAt = changedAt(source);
  return sourceAt !== undefined && (madeAt === undefined || madeAt < sourceAt);
}

function step(title, work) {
  const startedAt = Date.now();
  process.stdout.write(`${title} … `);
  work();
  process.stdout.write(`${((Date.now() - startedAt) / 1000).toFixed(1)} s\n`);
}

/** Runs a program quietly; what it had to say is shown only if it fails. */
function run(command, args, env) {
  try {
    execFileSync(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 * 1024 * 1024 });
  } catch (error) {
    process.stdout.write('failed\n');
    process.stderr.write(`${error.stdout ?? ''}${error.stderr ?? ''}`);
    throw error;
  }
}

function installDependencies() {
  // What npm tells its scripts about the package it runs would confuse the npm started here.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_package_')));
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []];
  // Warnings are about the Node that runs this; what is installed is run by the one it brings.
  run(command, [...args, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], env);
}

function generateClient() {
  const node = path.join(ROOT, 'node_modules/node/bin', process.platform === 'win32' ? 'node.exe' : 'node');
  // Prisma starts its engine through `env node`, which has to find the Node of this project.
  const env = { ...process.env, PATH: [path.dirname(node), process.env.PATH].join(path.delimiter) };
  const cli = path.join(ROOT, 'node_modules/prisma/build/index.js');
  run(node, [cli, 'generate', '--no-hints'], env);
}

function main() {
  if (process.argv.includes('--help')) return process.stdout.write(HELP);
  if (isStale('node_modules/.package-lock.json', 'package-lock.json')) {
    step('Installing dependencies (npm ci, a minute or so)', installDependencies);
  }
  if (isStale('prisma/generated/client.ts', 'prisma/schema.prisma')) {
    step('Generating the database client (prisma generate)', generateClient);
  }
  if (process.argv.includes('--done')) process.stdout.write('Everything is set up.\n');
}

try {
  main();
} catch (error) {
  process.stderr.write(`Set-up failed: ${error.message.split('\n')[0]}\n`);
  process.exit(1);
}
