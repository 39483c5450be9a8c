import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandLine } from '../../dev/process.ts';
import { throwAwayDataDir } from '../../dev/throw-away.ts';
import { eventually } from '../kit/eventually.ts';

const START = path.resolve(import.meta.dirname, '../../dev/start.ts');
const PATIENCE = { withinMs: 60_000, everyMs: 100 };

const { dataDir, release } = throwAwayDataDir('start');
const runs: Run[] = [];
afterAll(async () => {
  for (const run of runs) run.kill('SIGKILL');
  await release();
});

const fileIn = (name: string): string => path.join(dataDir, name);
const readIn = (name: string): string => readFileSync(fileIn(name), 'utf8').trim();

interface Dial {
  party: 'agent' | 'contact';
  leg_id: string;
}

/** One `npm start`, as a process. */
class Run {
  output = '';
  #process: ChildProcess;
  #exit: Promise<unknown[]>;

  constructor(args: string[] = [], more: Record<string, string> = {}) {
    // Other tests run at the same time: any free port.
    const settings = { DATA_DIR: dataDir, PORT: '0', SIMULATOR_SPEED: '20', LOG_LEVEL: 'warn', ...more };
    const given = ['DATABASE_URL', 'TEMPORAL_ADDRESS', 'SIMULATOR_URL', 'DIALWRIGHT_ADMIN_KEY', 'INIT_CWD'];
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !given.includes(name)));
    this.#process = spawn(process.execPath, [START, ...args], { env: { ...env, ...settings }, stdio: 'pipe' });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    this.#exit = once(this.#process, 'exit');
    runs.push(this);
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Its exit code; null when a signal has ended it. */
  async ended(): Promise<unknown> {
    const [code] = await this.#exit;
    return code;
  }

  async get<T>(resource: string): Promise<T> {
    const [, url = ''] = /API +(http:\S+)/.exec(this.output) ?? [];
    if (url === '') throw new Error(`no API yet:\n${this.output}`);
    const response = await fetch(url + resource, { headers: { authorization: `Bearer ${readIn('admin-key')}` } });
    expect(response.status).toBe(200);
    return (await response.json()) as T;
  }

  /** Leg ids of all contacts dialled so far, by the simulated switch's own record. */
  async contactsDialled(): Promise<string[]> {
    const dials: Dial[] = [];
    for (let after: string | null = '0'; after !== null; ) {
      const page: { items: Dial[]; next: string | null } = await this.get(`/v1/simulator/dials?limit=1000&after=${after}`);
      dials.push(...page.items);
      after = page.next;
    }
    return dials.filter(({ party }) => party === 'contact').map(({ leg_id }) => leg_id);
  }

  /** Waits until it has dialled more contacts than there were. */
  async calls(): Promise<void> {
    const before = await eventually(() => this.contactsDialled(), PATIENCE);
    await eventually(async () => (await this.contactsDialled()).length > before.length + 5, PATIENCE);
  }
}

/** The pids of all that a start has running now. */
function processes(): Record<string, number> {
  const { children } = JSON.parse(readIn('processes.json')) as { children: { name: string; pid: number }[] };
  const { data } = JSON.parse(readIn('postgres.json')) as { data: string };
  const { pid: temporal } = JSON.parse(readIn('temporal.json')) as { pid: number };
  const postgres = Number(readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  return { ...Object.fromEntries(children.map(({ name, pid }) => [name, pid])), temporal, postgres };
}

const alive = (pids: Record<string, number>): string[] =>
  Object.entries(pids).flatMap(([name, pid]) => (commandLine(pid) === '' ? [] : [name]));

function writeList(name: string, rows: string[]): string {
  const file = fileIn(name);
  writeFileSync(file, ['phone_num,external_id,var1', ...rows].join('\n'));
  return file;
}

describe('npm start', () => {
  const numbers = Array.from({ length: 400 }, (_, i) => `+4722${400_000 + i},c${i},Åse ${i}`);

  it.each([
    ['DATABASE_URL', 'postgresql://me:secret@127.0.0.1:1/x', /DATABASE_URL is postgresql:\/\/me@127.0.0.1:1\/x.*ECONNREFUSED/],
    ['DATA_DIR', '/proc/dialwright', /DATA_DIR is \/proc\/dialwright.*ENOENT/],
    ['DATA_DIR', START, /DATA_DIR is .*start\.ts.*must be a directory/],
  ])('says that %s can not be used: %s', async (name, value, message) => {
    const run = new Run([], { [name]: value });
    expect(await run.ended()).toBe(1);
    expect(run.output).toMatch(message);
    expect(run.output).not.toMatch(/ {4}at |secret/);
  });

  it('says what is wrong with a list, and leaves nothing of it', { timeout: 90_000 }, async () => {
    const run = new Run([writeList('bad.csv', ['+4722400000,a,Kari', '12345,b,Pål'])]);
    expect(await run.ended()).toBe(1);
    expect(run.output).toMatch(/bad\.csv can't be loaded.*\n +line 3, phone_num: is not a valid number/);
    expect(JSON.parse(readIn('processes.json'))).toMatchObject({ children: [] });
  });

  it('calls a list, and stops in order', { timeout: 90_000 }, async () => {
    const run = new Run([writeList('good.csv', numbers)]);
    await run.calls();
    const { items } = await run.get<{ items: { name: string; status: string }[] }>('/v1/campaigns');
    expect(items).toMatchObject([{ name: 'good', status: 'running' }]);
    for (const name of ['admin-key', 'agents.json']) expect(statSync(fileIn(name)).mode & 0o777).toBe(0o600);
    const running = processes();
    expect(alive(running)).toEqual(['simulator', 'worker', 'api', 'agents', 'temporal', 'postgres']);

    run.kill('SIGINT');
    expect(await run.ended()).toBe(0);
    expect(alive(running)).toEqual([]);
    const stopped = [...run.output.matchAll(/(\w+) stopped \(/g)].map(([, name]) => name);
    expect(stopped).toEqual(['agents', 'api', 'worker', 'simulator', 'Temporal', 'PostgreSQL']);
  });

  it('goes on where it was, also after kill -9', { timeout: 120_000 }, async () => {
    const killed = new Run();
    await killed.calls();
    const { temporal, postgres, ...children } = processes();
    killed.kill('SIGKILL');
    await killed.ended();
    await eventually(() => alive(children).length === 0, PATIENCE);
    expect(alive({ temporal: temporal!, postgres: postgres! })).toEqual(['temporal', 'postgres']);

    const run = new Run();
    await run.calls();
    expect((await run.get<{ items: unknown[] }>('/v1/campaigns')).items).toHaveLength(1);
    // leg id: call, offer, leg; one leg to the contact in each call.
    const calls = (await run.contactsDialled()).map((legId) => legId.split('-')[0]);
    expect(new Set(calls).size).toBe(calls.length);
    run.kill('SIGINT');
    expect(await run.ended()).toBe(0);
  });
});
