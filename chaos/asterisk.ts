/** A real Asterisk as one of the switches, and phones over SIP at its far end, which are its record. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { until } from '../bench/kit.ts';
import { freeUdpPort, type RunningAsterisk, startAsterisk } from '../dev/asterisk/server.ts';
import { freePort, type Say } from '../dev/process.ts';
import { Embedded } from '../dev/servers.ts';
import type { Supervisor } from '../dev/supervisor.ts';
import type { PhonesFile } from './phones-main.ts';

/** Beside those of an Asterisk of `npm run asterisk` and of the tests. */
const FIRST_RTP_PORT = 8_000;
const READY_WITHIN_MS = 30_000;

export interface AsteriskOptions {
  supervisor: Supervisor;
  dataDir: string;
  say: Say;
  phones: Pick<PhonesFile, 'speed' | 'contacts' | 'agents'>;
}

export class RealSwitch {
  /** host:port of ARI. */
  address!: string;
  /** Where the record of its phones is. */
  readonly record: string;
  readonly bySip = true;
  readonly #options: AsteriskOptions;
  readonly #carrier: string;
  readonly #server: Embedded<RunningAsterisk>;
  #password = '';

  static async start(options: AsteriskOptions): Promise<RealSwitch> {
    const [sipPort, httpPort] = [await freeUdpPort(0), await freePort()];
    const started = new RealSwitch(options, sipPort, httpPort);
    await started.#startPhones({ ...options.phones, sipPort, httpPort });
    const { ariUrl, ariPassword } = await started.#server.start();
    started.address = new URL(ariUrl).host;
    started.#password = ariPassword;
    return started;
  }

  private constructor(options: AsteriskOptions, sipPort: number, httpPort: number) {
    this.#options = options;
    this.#carrier = `127.0.0.1:${sipPort}`;
    this.record = `http://127.0.0.1:${httpPort}`;
    this.#server = new Embedded('Asterisk', options.say, () => this.#launch(), 'ariUrl');
  }

  get pid(): number | undefined {
    return this.#server.pid;
  }

  /** Of a worker that reaches it at `address`. Agents' phones are behind the trunk: who is registered is lost with Asterisk. */
  settings(address: string): Record<string, string> {
    return {
      TELEPHONY: 'asterisk',
      ARI_URL: `http://${address}/ari`,
      ARI_PASSWORD: this.#password,
      ASTERISK_TRUNK: 'PJSIP/{number}@carrier',
      ASTERISK_AGENTS: 'PJSIP/{extension}@carrier',
    };
  }

  /** Starts it again if it has died. */
  revive(): Promise<void> {
    return this.#server.revive();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  async #startPhones(contents: PhonesFile): Promise<void> {
    const { supervisor, dataDir } = this.#options;
    const file = path.join(dataDir, 'phones.json');
    writeFileSync(file, JSON.stringify(contents));
    supervisor.start({ name: 'phones', command: ['chaos/phones-main.ts', file], settings: {} });
    await until('the phones are there', READY_WITHIN_MS, async () => (await fetch(`${this.record}/legs`)).ok);
  }

  async #launch(): Promise<RunningAsterisk> {
    const { dataDir, say } = this.#options;
    await fetch(`${this.record}/line-died`, { method: 'POST' });
    if (this.address) await this.#portIsFree();
    return startAsterisk({ dataDir, log: say, carrier: this.#carrier, firstRtpPort: FIRST_RTP_PORT });
  }

  /** The last threads of one that was killed hold it for a moment longer. */
  async #portIsFree(): Promise<void> {
    const port = Number(this.address.split(':')[1]);
    await until("Asterisk's port is free again", READY_WITHIN_MS, async () => (await freePort(port)) === port);
  }
}
