// The phones of a benchmark with a real switch: SIPp plays those of agents and contacts, and notes when they were called.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freeUdpPort } from '../dev/asterisk/server.ts';

/** It ends by itself after so long. */
const LONGEST_S = 600;
/** For their audio; Asterisk's own ports are elsewhere. */
const FIRST_RTP_PORT = { agents: 12_000, contacts: 16_000 };
const RTP_PORTS = 4_000;
const AUDIO_MS = 100;
/** Silence in A-law (ITU-T G.711), of which a millisecond has 8 bytes. */
const SILENCE = 0xd5;
/** SIPp ends when our end of standard input does, which the kernel closes even after kill -9. */
const ON_LEASH = '"$@" </dev/null & cat; kill -KILL $!';

export interface Phones {
  port: number;
  /**
   * When the phones of agents were picked up, or the INVITE to each contact came: epoch ms, by the contact's number, which
   * an agent's phone shows. Of several calls the last.
   */
  times: () => Map<string, number>;
  stop: () => void;
}

/** SIPp with `sipp/<side>.xml`, at a port of its own. */
export async function startPhones(sipp: string, dataDir: string, side: 'agents' | 'contacts'): Promise<Phones> {
  const port = await freeUdpPort(0);
  const log = path.join(dataDir, `${side}.log`);
  writeFileSync(path.join(dataDir, 'audio.alaw'), Buffer.alloc(AUDIO_MS * 8, SILENCE));
  const options = {
    sf: path.join(import.meta.dirname, 'sipp', `${side}.xml`),
    i: '127.0.0.1',
    mi: '127.0.0.1',
    p: port,
    min_rtp_port: FIRST_RTP_PORT[side],
    max_rtp_port: FIRST_RTP_PORT[side] + RTP_PORTS - 1,
    timeout: `${LONGEST_S}s`,
    log_file: log,
    error_file: path.join(dataDir, `${side}-errors.log`),
    // On a busy machine its timers are late, which is no reason to end.
    watchdog_minor_maxtriggers: 1_000_000,
  };
  const words = Object.entries(options).flatMap(([name, value]) => [`-${name}`, String(value)]);
  const child = spawn('sh', ['-c', ON_LEASH, 'sh', sipp, ...words, '-nostdin', '-trace_logs', '-trace_err'], {
    cwd: dataDir, // where it finds the audio
    detached: true, // Ctrl-C is for the bench, which stops it in order
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.unref();
  return { port, times: () => readTimes(readFileSync(log, 'utf8')), stop: () => child.stdin.end() };
}

/** SIPp writes `<date> <time> <epoch seconds> <number>` a line; the last may not be whole yet. */
function readTimes(log: string): Map<string, number> {
  return new Map([...log.matchAll(/(\d+\.\d{6}) (\+\d+)$/gm)].map(([, at, number]) => [number!, Number(at) * 1000]));
}
