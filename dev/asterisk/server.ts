// A private Asterisk as part of this project: configured, started, found again after a crash, and stopped.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandLine, freePort, hasEnded, lastLines, readOrWriteState, type Say, since, sizeOf, writeState } from '../process.ts';
import { type Installation, installAsterisk } from './install.ts';

const CONF = path.join(import.meta.dirname, 'conf');
/** What every Asterisk that Dialwright uses must have in its dialplan. */
const DIALPLAN = path.resolve(import.meta.dirname, '../../telephony/asterisk/dialwright.conf');
const PREFERRED = { ari: 8088, sip: 5160 };
export const ARI_USER = 'dialwright';
/** Softphone accounts of conf/pjsip.conf. */
export const SOFTPHONES = ['1001', '1002'] as const;
/** Ports for audio: two a leg. */
const RTP_PORTS = 4_000;
const FIRST_RTP_PORT = 20_000;
const START_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 10_000;

export interface AsteriskOptions {
  /** Everything of it lies in `asterisk/` below, what is remembered of it in `asterisk.json`. */
  dataDir: string;
  log: Say;
  /** Address of the SIP port. Loopback unless softphones on other machines are to reach it. */
  sipBind?: string;
  /** host:port of what plays the trunk. */
  carrier?: string;
  /** SIP's T1 and Timer B in ms. */
  timers?: { t1: number; b: number };
  /** After so many seconds without audio from a phone Asterisk hangs it up, in a talk and on hold. */
  rtpTimeouts?: { talk: number; hold: number };
  /** For tests: any free ports. */
  anyPorts?: boolean;
  /** Music on hold: by class, a folder of sound files. Without a `default` a voice reads Asterisk's own texts. */
  music?: Record<string, string>;
  /** The first of 4,000 ports for audio; two Asterisks must not share them. */
  firstRtpPort?: number;
}

export interface RunningAsterisk {
  /** `http://127.0.0.1:8088/ari` */
  ariUrl: string;
  ariPassword: string;
  sipPort: number;
  softphonePassword: string;
  pid: number;
  /** Where recordings are kept, as `<name>.wav`. */
  recordings: string;
  /** False when one that was left by an earlier run was found and is used. */
  started: boolean;
  log: string;
  stop(): Promise<void>;
}

/** What must be the same at the next start: phones and workers know it by these. */
interface State {
  ariPassword: string;
  softphonePassword: string;
  ariPort: number;
  sipPort: number;
  pid: number;
}

/**
 * Starts the private Asterisk of a data directory, in a second or so; installs it first where that is needed. One that an
 * earlier, killed run left behind is used again. ARI listens on loopback, with a password of its own.
 *
 * Throws NoAsterisk where this host can't have one, else an Error that ends in Asterisk's own last lines.
 */
export async function startAsterisk(options: AsteriskOptions): Promise<RunningAsterisk> {
  const installation = await installAsterisk(options.log);
  const startedAt = performance.now();
  const dir = path.join(options.dataDir, 'asterisk');
  const stateFile = path.join(options.dataDir, 'asterisk.json');
  const state = readOrWriteState<State>(stateFile, { ...secrets(), ariPort: 0, sipPort: 0, pid: 0 });
  const found = isOurs(state.pid, dir) && (await answers(state));
  if (!found) {
    state.ariPort = await freePort(options.anyPorts ? 0 : state.ariPort || PREFERRED.ari);
    state.sipPort = await freeUdpPort(options.anyPorts ? 0 : state.sipPort || PREFERRED.sip);
    state.pid = await launch(installation, dir, state, options);
    writeState(stateFile, state);
  }
  const { ariPort, sipPort, pid, ariPassword, softphonePassword } = state;
  options.log(`Asterisk ${found ? 'was still running' : 'started'}, ARI on 127.0.0.1:${ariPort} (${since(startedAt)})`);
  return {
    ariUrl: `http://127.0.0.1:${ariPort}/ari`,
    ariPassword,
    sipPort,
    softphonePassword,
    pid,
    recordings: path.join(dir, 'spool', 'recording'),
    started: !found,
    log: logOf(dir),
    stop: () => stop(pid, dir),
  };
}

const secrets = () => ({ ariPassword: secret(), softphonePassword: secret() });
const secret = () => randomBytes(15).toString('base64url');
const logOf = (dir: string) => path.join(dir, 'log', 'full');

/** A pid alone proves nothing: it may have been given to another process since. */
const isOurs = (pid: number, dir: string): boolean => pid > 0 && commandLine(pid).includes(path.join(dir, 'etc'));

async function launch(installation: Installation, dir: string, state: State, options: AsteriskOptions): Promise<number> {
  configure(installation, dir, state, options);
  const log = logOf(dir);
  const logged = sizeOf(log);
  const output = openSync(path.join(dir, 'log', 'console'), 'a', 0o600);
  const child = spawn(installation.asterisk, ['-f', '-C', path.join(dir, 'etc', 'asterisk.conf')], {
    detached: true, // Ctrl-C is for the starter, which stops it in order
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  child.unref();
  const failed = new Promise<Error>((resolve) => child.once('error', resolve));
  const deadline = Date.now() + START_WITHIN_MS;
  while (!(await answers(state))) {
    const error = await Promise.race([failed, sleep(100)]);
    const isGone = error || child.exitCode !== null || child.signalCode !== null;
    if (!isGone && Date.now() < deadline) continue;
    if (!isGone) child.kill('SIGKILL');
    const why = error?.message ?? (isGone ? 'ended' : `did not answer within ${START_WITHIN_MS / 1000} s`);
    throw new Error(`Asterisk ${why}; it said last:\n${lastLines(log, logged) || lastLines(path.join(dir, 'log', 'console'), 0)}`);
  }
  return child.pid!;
}

/** Writes its configuration anew: the files of conf/ with what is of this run. */
function configure({ modules, data }: Installation, run: string, state: State, options: AsteriskOptions): void {
  for (const name of ['etc', 'lib', 'spool/recording', 'run', 'log']) mkdirSync(path.join(run, name), { recursive: true, mode: 0o700 });
  const carrier = options.carrier ?? '127.0.0.1:5190';
  const timers = options.timers ?? { t1: 500, b: 32_000 };
  const rtpTimeouts = options.rtpTimeouts ?? { talk: 30, hold: 300 };
  const firstRtpPort = options.firstRtpPort ?? FIRST_RTP_PORT;
  const values: Record<string, string | number> = {
    RUN: run,
    MODULES: modules,
    DATA: data,
    HTTP_PORT: state.ariPort,
    ARI_PASSWORD: state.ariPassword,
    SIP_BIND: options.sipBind ?? '127.0.0.1',
    SIP_PORT: state.sipPort,
    SOFTPHONE_PASSWORD: state.softphonePassword,
    CARRIER: carrier,
    CARRIER_HOST: carrier.replace(/:\d+$/, ''),
    TIMER_T1: timers.t1,
    TIMER_B: timers.b,
    RTP_TIMEOUT: rtpTimeouts.talk,
    RTP_TIMEOUT_HOLD: rtpTimeouts.hold,
    MUSIC: musicOnHold({ default: path.join(data, 'sounds/en_US_f_Allison'), ...options.music }),
    RTP_START: firstRtpPort,
    RTP_END: firstRtpPort + RTP_PORTS - 1,
  };
  for (const file of [...readdirSync(CONF).map((name) => path.join(CONF, name)), DIALPLAN]) {
    const text = readFileSync(file, 'utf8').replaceAll(/@([A-Z_0-9]+)@/g, (whole, name: string) => {
      if (!(name in values)) throw new Error(`${path.basename(file)} has ${whole}, which nothing stands for`);
      return String(values[name]);
    });
    writeFileSync(path.join(run, 'etc', path.basename(file)), text, { mode: 0o600 });
  }
}

const musicOnHold = (classes: Record<string, string>): string =>
  Object.entries(classes)
    .map(([name, folder]) => `[${name}]\nmode = files\ndirectory = ${folder}\nsort = alpha\n`)
    .join('\n');

async function answers({ ariPort, ariPassword }: State): Promise<boolean> {
  const authorization = `Basic ${Buffer.from(`${ARI_USER}:${ariPassword}`).toString('base64')}`;
  try {
    const url = `http://127.0.0.1:${ariPort}/ari/asterisk/info?only=status`;
    return (await fetch(url, { headers: { authorization }, signal: AbortSignal.timeout(2_000) })).ok;
  } catch {
    return false;
  }
}

async function stop(pid: number, dir: string): Promise<void> {
  if (!isOurs(pid, dir)) return;
  process.kill(pid, 'SIGTERM');
  if (await hasEnded(pid, STOP_WITHIN_MS)) return;
  process.kill(pid, 'SIGKILL');
  await hasEnded(pid, STOP_WITHIN_MS);
}

/** The preferred UDP port on loopback if nobody has it, else any free one; 0 takes any. */
export async function freeUdpPort(preferred: number): Promise<number> {
  const tryPort = (port: number): Promise<number | undefined> =>
    new Promise((resolve) => {
      const socket = createSocket('udp4');
      socket.once('error', () => resolve(undefined));
      socket.bind(port, '127.0.0.1', () => {
        const bound = socket.address().port;
        socket.close(() => resolve(bound));
      });
    });
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? Promise.reject(new Error('No free UDP port on 127.0.0.1'));
}
