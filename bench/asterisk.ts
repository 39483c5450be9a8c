// Whole calls through a real switch: Asterisk, with phones of agents and contacts over SIP, beside the same calls by bare
// ARI; and how long it is from the agent's answer until the contact's INVITE is on the wire.

import { installAsterisk, NoAsterisk } from '../dev/asterisk/install.ts';
import { startAsterisk } from '../dev/asterisk/server.ts';
import { type BareAri, openBareAri } from './bare-ari.ts';
import type { Figure } from './figure.ts';
import {
  countContacts,
  harmonicMean,
  makeCampaign,
  type Product,
  progress,
  quantile,
  type Rig,
  startAgents,
  until,
} from './kit.ts';
import { type Phones, startPhones } from './phones.ts';

/** Few calls at once show how long one takes, many how many there can be. `bare`: before, and again after. */
const LOADS = [
  { agents: 4, contacts: 104, bare: 32 },
  { agents: 20, contacts: 320, bare: 120 },
  { agents: 200, contacts: 1_000, bare: 500 },
] as const;
type Load = (typeof LOADS)[number];
/** A slower machine is measured by what it has done until then. */
const LONGEST_MS = 70_000;
/** Away from what `npm run asterisk` and the tests take. */
const FIRST_RTP_PORT = 28_000;
const RATE_AIM = 0.5;
const INVITE_AIM_MS = 60;

interface Setup {
  rig: Rig;
  product: Product;
  bare: BareAri;
  phones: { agents: Phones; contacts: Phones };
}

export async function benchAsterisk(rig: Rig): Promise<Figure[]> {
  const { say, dataDir } = rig;
  const installation = await installAsterisk(say).catch((error: unknown) => {
    if (!(error instanceof NoAsterisk)) throw error;
    say(`skipped: ${error.message}`);
  });
  if (!installation) return [];
  const agents = await startPhones(installation.sipp, dataDir, 'agents');
  const contacts = await startPhones(installation.sipp, dataDir, 'contacts');
  const carrier = `127.0.0.1:${contacts.port}`;
  const asterisk = await startAsterisk({ dataDir, log: say, anyPorts: true, carrier, firstRtpPort: FIRST_RTP_PORT });
  const agentAt = (extension: string) => `PJSIP/carrier/sip:${extension}@127.0.0.1:${agents.port}`;
  const bare = await openBareAri(asterisk, { agent: agentAt('bare'), contact: (number) => `PJSIP/${number}@carrier` });
  try {
    const product = await rig.productOn({
      TELEPHONY: 'asterisk',
      ARI_URL: asterisk.ariUrl,
      ARI_PASSWORD: asterisk.ariPassword,
      ASTERISK_TRUNK: 'PJSIP/{number}@carrier',
      ASTERISK_AGENTS: agentAt('{extension}'),
    });
    const figures: Figure[] = [];
    for (const [n, load] of LOADS.entries()) {
      figures.push(...(await measure({ rig, product, bare, phones: { agents, contacts } }, load, String(n + 4))));
    }
    return figures;
  } finally {
    await bare.close();
    for (const side of [agents, contacts]) side.stop();
    await asterisk.stop();
  }
}

/** One load; the contacts' numbers begin with `prefix`. */
async function measure(setup: Setup, load: Load, prefix: string): Promise<Figure[]> {
  const { rig, product, bare } = setup;
  const { agents } = load;
  const campaign = await makeCampaign(product, `Asterisk ${agents}`, prefix, load.contacts);
  await product.ask('POST', `/campaigns/${campaign}/start`);
  const areQueued = async () => (await countContacts(rig.sql, campaign, 'queued')) === load.contacts;
  await until('all contacts are queued', 120_000, areQueued);

  const numbers = (half: number) => Array.from({ length: load.bare }, (_, n) => `+4721${prefix}${half}${10_000 + n}`);
  const before = await bare.calls(numbers(0), agents);
  rig.say(`bare calls, ${agents} at once: ${before.toFixed(1)}/s; now ${load.contacts} contacts and ${agents} agents`);
  const rate = await callAll(setup, load, campaign);
  const after = await bare.calls(numbers(1), agents);
  const limit = harmonicMean(before, after);
  return [
    {
      name: `calls a second through Asterisk, ${agents} agents`,
      value: rate,
      unit: '/s',
      limit,
      limitIs: 'the same calls by bare ARI',
      aim: { of: 'ratio', atLeast: RATE_AIM },
    },
    ...untilInvite(setup.phones, load, prefix),
  ];
}

/** Talks over a second, from the first agent's answer on. */
async function callAll({ rig, product, phones }: Setup, load: Load, campaign: string): Promise<number> {
  const { sql, say } = rig;
  const wanted = load.contacts - load.agents;
  const extensions = Array.from({ length: load.agents }, (_, n) => `${load.agents}${1000 + n}`);
  const stopAgents = await startAgents(rig, product, campaign, extensions);
  const startedAt = Date.now();
  const tell = progress(say, 'calls done', wanted);
  const deadline = performance.now() + LONGEST_MS;
  await until('the calls are done', 2 * LONGEST_MS, async () => {
    const done = await countContacts(sql, campaign, 'done');
    tell(done);
    return done >= wanted || performance.now() > deadline;
  }, 250);
  await stopAgents();
  // Again, where the machine is so busy that it has no answer.
  await until('the campaign is stopped', 60_000, async () => {
    await product.ask('POST', `/campaigns/${campaign}/stop`);
    return true;
  });
  await until('no call is left', 60_000, async () => {
    const { rows } = await sql.query<{ found: number }>('SELECT count(*)::int AS found FROM leg WHERE ended_at IS NULL');
    return rows[0]!.found === 0;
  });
  const { rows } = await sql.query<{ closed_at: Date; last_code: string }>(
    `SELECT closed_at, last_code FROM contact WHERE campaign_id = $1 AND state = 'done' ORDER BY closed_at LIMIT $2`,
    [campaign, wanted],
  );
  const talks = rows.filter(({ last_code }) => last_code === 'k').length;
  if (talks < load.agents) throw new Error(`${talks} calls in ${LONGEST_MS / 1000} s are too few to be measured`);
  if (talks < rows.length) say(`${rows.length - talks} of ${rows.length} calls came to no talk`);
  const first = Math.min(...[...phones.agents.times().values()].filter((at) => at > startedAt));
  return talks / ((rows.at(-1)!.closed_at.getTime() - first) / 1000);
}

/** From the agent's 200 to the contact's INVITE, each at its phone. */
function untilInvite({ agents, contacts }: Setup['phones'], load: Load, prefix: string): Figure[] {
  const answered = agents.times();
  const samples = (start: string) =>
    [...contacts.times()].filter(([number]) => number.startsWith(start)).map(([number, at]) => at - answered.get(number)!);
  const [product, bare] = [samples(`+4722${prefix}`), samples(`+4721${prefix}`)];
  return [0.5, 0.99].map((share) => ({
    name: `agent's answer → INVITE, ${load.agents} agents, p${share * 100}`,
    value: quantile(product, share),
    unit: 'ms',
    limit: quantile(bare, share),
    limitIs: 'the same by bare ARI',
    ...(load === LOADS[0] && share === 0.5 ? { aim: { of: 'value', atMost: INVITE_AIM_MS } as const } : {}),
  }));
}
