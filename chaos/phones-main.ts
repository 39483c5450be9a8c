/**
 * Process entry of the phones at the far end of a real Asterisk: contacts behind its trunk, and agents' phones. What they were
 * called is the record of that switch, so nothing is ever done to this process.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { CallState, SipCall } from '../dev/sip/call.ts';
import { scriptOf, SipPhones } from '../dev/sip/phones.ts';
import { isTelephoneNumber } from '../domain/numbers.ts';
import {
  type BehaviourInput,
  type Phone,
  phoneFor,
  type Script,
  type ScriptInput,
  scriptSchema,
} from '../telephony/simulator/script.ts';
import type { Invite } from './invites.ts';

export interface PhonesFile {
  sipPort: number;
  httpPort: number;
  /** How many times faster than life they are. */
  speed: number;
  /** Each call draws its own. */
  contacts: ScriptInput['contacts'];
  agents: ScriptInput['contacts'];
}

/** Asterisk believes that a line lives while it hears of it; a tone all the time would be most of the load of a run. */
const MURMUR_SEC = { lasts: 0.2, every: 5 };
/** What comes so late of a call that is over, such as a repeated BYE, finds it still. */
const KEPT_MS = 60_000;

class Witness {
  readonly #file: PhonesFile;
  readonly #scripts: Record<Invite['party'], Script>;
  /** For ever. */
  readonly #record: Invite[] = [];
  readonly #live = new Map<SipCall, Invite>();
  readonly #timesCalled = new Map<string, number>();
  #phones!: SipPhones;

  constructor(file: PhonesFile) {
    this.#file = file;
    const drawnFrom = (contacts: ScriptInput['contacts']): Script => scriptSchema.parse({ contacts });
    this.#scripts = { contact: drawnFrom(file.contacts), agent: drawnFrom(file.agents) };
  }

  async open(): Promise<void> {
    const { sipPort, httpPort } = this.#file;
    this.#phones = await SipPhones.open({ port: sipPort, otherwise: (call) => this.#take(call) });
    const server = http.createServer((request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(this.#answer(request.method!, new URL(request.url!, 'http://phones'))));
    });
    server.listen(httpPort, '127.0.0.1');
  }

  /** As a simulated switch answers, but that no phone knows its leg. */
  #answer(method: string, { pathname, searchParams }: URL): object {
    if (method === 'POST' && pathname === '/line-died') return this.#lineDied();
    if (pathname === '/legs') return { legs: [...this.#live.values()].map(({ to }) => ({ legId: `to ${to}` })) };
    const after = Number(searchParams.get('after'));
    return { dials: this.#record.slice(after, after + Number(searchParams.get('limit'))) };
  }

  /** The switch is gone with all that was up: nobody will ever hang it up, and when it ended nobody can say. */
  #lineDied(): object {
    const calls = [...this.#live.keys()];
    this.#live.clear();
    for (const call of calls) call.end();
    return { ended: calls.length };
  }

  #take(call: SipCall): void {
    const { number: to } = call;
    const party = isTelephoneNumber(to) ? 'contact' : 'agent';
    // An agent's phone has one line.
    const isBusy = party === 'agent' && [...this.#live.values()].some((other) => other.to === to);
    const nth = (this.#timesCalled.get(to) ?? 0) + 1;
    this.#timesCalled.set(to, nth);
    const invite: Invite = { seq: this.#record.length + 1, at: Date.now(), party, to, answeredAt: null, endedAt: null };
    this.#record.push(invite);
    this.#live.set(call, invite);
    call.onState = (state) => this.#follow(call, invite, state);
    if (isBusy) return call.respond(486);
    void scriptOf(hurried(phoneFor(this.#scripts[party], 'contact', to, nth), this.#file.speed))(call);
  }

  #follow(call: SipCall, invite: Invite, state: CallState): void {
    if (state === 'talking') {
      invite.answeredAt = Date.now();
      murmur(call);
    }
    if (state !== 'ended') return;
    if (this.#live.delete(call)) invite.endedAt = Date.now();
    setTimeout(() => this.#phones.forget(call), KEPT_MS);
  }
}

function murmur(call: SipCall): void {
  call.talk(true);
  call.after(MURMUR_SEC.lasts, () => call.talk(false));
  call.after(MURMUR_SEC.every, () => murmur(call));
}

/** Faster, and without audio of its own: a phone of ours murmurs. */
function hurried({ trying, earlyMedia, alerting, crosses, then }: Phone, speed: number): BehaviourInput {
  const soon = (seconds: number | null): number | null => (seconds === null ? null : seconds / speed);
  const after = 'after' in then ? { after: then.after / speed } : {};
  const talks = 'talks' in then ? { talks: soon(then.talks) } : {};
  const times = { trying: soon(trying), earlyMedia: soon(earlyMedia), alerting: soon(alerting), media: null };
  return { ...times, crosses, then: { ...then, ...after, ...talks } as BehaviourInput['then'] };
}

const [file = ''] = process.argv.slice(2);
// A second one would know nothing of what the first was called: then there is no record, and the run is to break off.
writeFileSync(`${file}.taken`, '', { flag: 'wx' });
await new Witness(JSON.parse(readFileSync(file, 'utf8')) as PhonesFile).open();
