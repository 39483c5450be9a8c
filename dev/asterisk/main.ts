// `npm run asterisk`: a private Asterisk for development, with two softphone accounts, until Ctrl-C.

import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '../../config/config.ts';
import { commandLine } from '../process.ts';
import { Terminal } from '../terminal.ts';
import { ARI_USER, type RunningAsterisk, SOFTPHONES, startAsterisk } from './server.ts';

const LOOK_EVERY_MS = 500;

const HELP = `Usage: npm run asterisk [-- [--bind 0.0.0.0] [--carrier host:port]]

Runs a private Asterisk beside the system: unpacked from Debian packages on first use (some 15 s, no root, nothing is
installed on the host), kept in DATA_DIR/asterisk. Any SIP softphone can be an agent's phone with one of its two accounts.
Ctrl-C stops it.

  --bind ADDRESS        where its SIP port listens (127.0.0.1); 0.0.0.0 lets softphones on other machines in
  --carrier HOST:PORT   what plays the trunk, PJSIP/<number>@carrier (127.0.0.1:5190)

ARI always listens on loopback. Passwords are made at the first start and kept in DATA_DIR/asterisk.json.
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h' },
      bind: { type: 'string', default: '127.0.0.1' },
      carrier: { type: 'string', default: '127.0.0.1:5190' },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const { dataDir } = loadConfig();
  const terminal = new Terminal(process.stdout);
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopped.abort());
  const asterisk = await startAsterisk({ dataDir, log: terminal.say, sipBind: values.bind, carrier: values.carrier });
  if (!asterisk.started) {
    terminal.say('It was left by an earlier run, with the --bind and --carrier of then: Ctrl-C and start it again for others');
  }
  const lines = [
    ['ARI', `${asterisk.ariUrl}, user ${ARI_USER}, password ${asterisk.ariPassword}`],
    ['SIP', `${values.bind}:${asterisk.sipPort} over UDP`],
    ['Softphones', `accounts ${SOFTPHONES.join(' and ')}, password ${asterisk.softphonePassword}`],
    ['Trunk', `PJSIP/<number>@carrier goes to ${values.carrier}`],
    ['Log', path.relative(process.cwd(), asterisk.log)],
  ].map(([name = '', text]) => `  ${name.padEnd(12)}${text}`);
  terminal.print(`\nAsterisk runs (Ctrl-C stops it)\n${lines.join('\n')}\n`);
  terminal.print(`Dialwright on it, in another terminal:\n\n${startCommand(asterisk)}\n`);
  while (!stopped.signal.aborted && commandLine(asterisk.pid) !== '') {
    await sleep(LOOK_EVERY_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
  }
  if (!stopped.signal.aborted) throw new Error(`Asterisk ended by itself; see ${asterisk.log}`);
  await asterisk.stop();
  terminal.say('Asterisk stopped');
}

const startCommand = ({ ariUrl, ariPassword }: RunningAsterisk): string =>
  [
    `  TELEPHONY=asterisk ARI_URL=${ariUrl} ARI_PASSWORD=${ariPassword} \\`,
    "    ASTERISK_TRUNK='PJSIP/{number}@carrier' npm start",
  ].join('\n');

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
