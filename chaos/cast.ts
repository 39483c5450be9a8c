/** The product's processes as they run in production, each with wires of its own to whatever it needs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../dev/process.ts';
import type { Addresses } from '../dev/servers.ts';
import type { Supervisor } from '../dev/supervisor.ts';
import type { ScriptInput } from '../telephony/simulator/script.ts';
import { Wire } from './wire.ts';

export const ADMIN_KEY = 'dw_admin_key_of_the_chaos_only';
/** Each worker with the node that it is for: the second stands in for the first. */
const WORKERS = { 'worker-1': 'switch-1', 'worker-2': 'switch-1', 'worker-3': 'switch-2' } as const;
const SWITCHES = ['switch-1', 'switch-2'] as const;
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

export interface Started {
  /** Of the switches; their record is asked for there. */
  switches: string[];
  /** Of the API itself, and as a reader far away reaches it. */
  api: string;
  apiByWire: string;
}

export class Cast {
  readonly #supervisor: Supervisor;
  readonly #wires: Wires;
  readonly #addresses: Addresses;
  readonly #dataDir: string;

  constructor(supervisor: Supervisor, wires: Wires, addresses: Addresses, dataDir: string) {
    this.#supervisor = supervisor;
    this.#wires = wires;
    this.#addresses = addresses;
    this.#dataDir = dataDir;
  }

  async start(script: ScriptInput): Promise<Started> {
    const switches = await this.#startSwitches(script);
    for (const [name, node] of Object.entries(WORKERS)) await this.#startWorker(name, node, switches.get(node)!);
    const address = await this.#startApi(switches.get('switch-1')!);
    const byWire = await this.#wires.between('reader', 'api', address);
    return { switches: [...switches.values()].map(asUrl), api: asUrl(address), apiByWire: asUrl(byWire) };
  }

  /** Their addresses by name. */
  async #startSwitches(script: ScriptInput): Promise<Map<string, string>> {
    const file = path.join(this.#dataDir, 'script.json');
    writeFileSync(file, JSON.stringify(script));
    const addresses = new Map<string, string>();
    for (const name of SWITCHES) {
      const dataDir = path.join(this.#dataDir, name);
      mkdirSync(dataDir, { recursive: true });
      const address = `127.0.0.1:${await freePort()}`;
      addresses.set(name, address);
      const settings = { SIMULATOR_URL: asUrl(address), SIMULATOR_SPEED: String(SPEED), DATA_DIR: dataDir };
      this.#supervisor.start({ name, command: ['telephony/simulator/main.ts', file], settings });
    }
    return addresses;
  }

  async #startWorker(name: string, node: string, switchAddress: string): Promise<void> {
    const settings = {
      ...(await this.#settingsOf(name)),
      WORKER_ID: name,
      TELEPHONY_NODE: node,
      SIMULATOR_URL: asUrl(await this.#wires.between(name, node, switchAddress)),
    };
    this.#supervisor.start({ name, command: ['worker/main.ts'], settings });
  }

  /** Its address. */
  async #startApi(switchAddress: string): Promise<string> {
    const port = await freePort();
    const settings = { ...(await this.#settingsOf('api')), PORT: String(port), SIMULATOR_URL: asUrl(switchAddress) };
    this.#supervisor.start({ name: 'api', command: ['api/main.ts'], settings });
    return `127.0.0.1:${port}`;
  }

  async #settingsOf(name: string): Promise<Record<string, string>> {
    const { databaseUrl, temporalAddress } = this.#addresses;
    const database = new URL(databaseUrl);
    database.host = await this.#wires.between(name, 'postgres', database.host);
    return {
      TELEPHONY: 'simulator',
      DATABASE_URL: database.href,
      TEMPORAL_ADDRESS: await this.#wires.between(name, 'temporal', temporalAddress),
      TEMPORAL_NAMESPACE: 'default',
      HOST: '127.0.0.1',
      DATA_DIR: this.#dataDir,
      DIALWRIGHT_ADMIN_KEY: ADMIN_KEY,
      LOG_LEVEL: 'info',
    };
  }
}

const asUrl = (address: string): string => `http://${address}`;
