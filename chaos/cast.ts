/** The product's processes as they run in production, each with wires of its own to whatever it needs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, type Say } from '../dev/process.ts';
import type { Addresses } from '../dev/servers.ts';
import type { Supervisor } from '../dev/supervisor.ts';
import { RealSwitch } from './asterisk.ts';
import { AGENT_PHONES, PHONES } from './people.ts';
import { Wire } from './wire.ts';

export const ADMIN_KEY = 'dw_admin_key_of_the_chaos_only';
/** Each worker with the node that it is for: the second stands in for the first. */
const WORKERS = { 'worker-1': 'switch-1', 'worker-2': 'switch-1', 'worker-3': 'switch-2' } as const;
const SWITCHES = ['switch-1', 'switch-2'] as const;
/** The one that may be a real Asterisk. */
export const ASTERISK = 'switch-2';
export const PROCESSES = [...Object.keys(WORKERS), 'api', ...SWITCHES];
/** How much later all comes, one way, on a slow wire. */
const SLOW_MS = 500;
/** Phones and timers of the switches are so much faster than life. */
export const SPEED = 4;

export class Wires {
  readonly #all = new Map<string, Wire>();

  /** The address (host:port) at which `from` finds the server `to`, which is at `target`. */
  async between(from: string, to: string, target: string): Promise<string> {
    const wire = await Wire.to(target, SLOW_MS);
    this.#all.set(`${from} → ${to}`, wire);
    return wire.address;
  }

  get names(): string[] {
    return [...this.#all.keys()];
  }

  named(name: string): Wire {
    return this.#all.get(name)!;
  }

  mend(): void {
    for (const wire of this.#all.values()) wire.mend();
  }

  close(): void {
    for (const wire of this.#all.values()) wire.close();
  }
}

/** A switch as whoever needs it sees it. */
interface Switch {
  /** host:port */
  address: string;
  /** Where its own record of what it has dialled is asked for. */
  record: string;
  /** It is that of phones over SIP, who know no legs. */
  bySip: boolean;
  /** Of a worker that reaches it at `address`. */
  settings(address: string): Record<string, string>;
}

export interface Started {
  switches: ({ node: string } & Pick<Switch, 'record' | 'bySip'>)[];
  /** The switch that is a real one; null: both are simulated. */
  asterisk: RealSwitch | null;
  /** Of the API itself, and as a reader far away reaches it. */
  api: string;
  apiByWire: string;
}

export interface CastOptions {
  supervisor: Supervisor;
  wires: Wires;
  addresses: Addresses;
  dataDir: string;
  say: Say;
}

export class Cast {
  readonly #options: CastOptions;

  constructor(options: CastOptions) {
    this.#options = options;
  }

  /** With `withAsterisk` the second switch is a real one. */
  async start(withAsterisk: boolean): Promise<Started> {
    const { wires } = this.#options;
    const asterisk = withAsterisk ? await this.#startAsterisk() : null;
    const switches = new Map<string, Switch>();
    for (const name of SWITCHES) {
      switches.set(name, asterisk && name === ASTERISK ? asterisk : await this.#startSwitch(name));
    }
    for (const [name, node] of Object.entries(WORKERS)) await this.#startWorker(name, node, switches.get(node)!);
    const address = await this.#startApi(switches.get('switch-1')!.address);
    const byWire = await wires.between('reader', 'api', address);
    const records = [...switches].map(([node, { record, bySip }]) => ({ node, record, bySip }));
    return { switches: records, asterisk, api: asUrl(address), apiByWire: asUrl(byWire) };
  }

  #startAsterisk(): Promise<RealSwitch> {
    const { supervisor, dataDir, say } = this.#options;
    const phones = { speed: SPEED, contacts: PHONES.contacts, agents: AGENT_PHONES };
    return RealSwitch.start({ supervisor, dataDir, say, phones });
  }

  async #startSwitch(name: string): Promise<Switch> {
    const { supervisor, dataDir } = this.#options;
    const own = path.join(dataDir, name);
    mkdirSync(own, { recursive: true });
    const file = path.join(own, 'script.json');
    writeFileSync(file, JSON.stringify(PHONES));
    const address = `127.0.0.1:${await freePort()}`;
    const settings = { SIMULATOR_URL: asUrl(address), SIMULATOR_SPEED: String(SPEED), DATA_DIR: own };
    supervisor.start({ name, command: ['telephony/simulator/main.ts', file], settings });
    return { address, record: asUrl(address), bySip: false, settings: simulatorAt };
  }

  async #startWorker(name: string, node: string, its: Switch): Promise<void> {
    const settings = {
      ...(await this.#settingsOf(name)),
      ...its.settings(await this.#options.wires.between(name, node, its.address)),
      WORKER_ID: name,
      TELEPHONY_NODE: node,
    };
    this.#options.supervisor.start({ name, command: ['worker/main.ts'], settings });
  }

  /** Its address. */
  async #startApi(switchAddress: string): Promise<string> {
    const port = await freePort();
    const settings = { ...(await this.#settingsOf('api')), ...simulatorAt(switchAddress), PORT: String(port) };
    this.#options.supervisor.start({ name: 'api', command: ['api/main.ts'], settings });
    return `127.0.0.1:${port}`;
  }

  async #settingsOf(name: string): Promise<Record<string, string>> {
    const { wires, addresses, dataDir } = this.#options;
    const database = new URL(addresses.databaseUrl);
    database.host = await wires.between(name, 'postgres', database.host);
    return {
      DATABASE_URL: database.href,
      TEMPORAL_ADDRESS: await wires.between(name, 'temporal', addresses.temporalAddress),
      TEMPORAL_NAMESPACE: 'default',
      HOST: '127.0.0.1',
      DATA_DIR: dataDir,
      DIALWRIGHT_ADMIN_KEY: ADMIN_KEY,
      LOG_LEVEL: 'info',
    };
  }
}

const asUrl = (address: string): string => `http://${address}`;
const simulatorAt = (address: string) => ({ TELEPHONY: 'simulator', SIMULATOR_URL: asUrl(address) });
