/**
 * Simulated agents. They act only through Dialwright's public API, as a desktop would: what they know is what the event
 * stream tells them, and their phones are picked up through the API's simulator routes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { EventSourceMessage } from 'eventsource-parser/stream';
import { z } from 'zod';
import type { Logger } from '../../config/log.ts';
import type { AgentBehaviour } from './agent-behaviour.ts';
import { AgentClient, type Reply } from './agent-client.ts';
import { pickWeighted, seededRandom } from './script.ts';

/** The screen-pop may be faster than the phone's bell: how soon an agent tries again, in its own time and at the least. */
const RING_AGAIN_MS = { usual: 200, least: 50 };

const offerSchema = z.object({
  offer_id: z.string(),
  deadline: z.iso.datetime({ offset: true }),
  /** Not null when a resumed stream tells of an offer that is over. */
  ended_at: z.string().nullish(),
});
const stateSchema = z.object({
  state: z.string(),
  call_id: z.string().nullish(),
  offer_id: z.string().nullish(),
});
type Offer = z.infer<typeof offerSchema>;
type State = z.infer<typeof stateSchema>;

export interface AgentAccount {
  /** Agent id. */
  id: string;
  /** API key with the agent's role. */
  key: string;
  /** The agent's extension. */
  phone: string;
}

export interface SimulatedAgents {
  /** Of Dialwright's API, such as http://127.0.0.1:3000. */
  baseUrl: string;
  agents: AgentAccount[];
  behaviour: AgentBehaviour;
  /** How many times faster than people they act. */
  speed: number;
  seed: number;
  signal: AbortSignal;
  log: Logger;
}

/** Works until `signal` aborts, then resolves. */
export async function runSimulatedAgents(options: SimulatedAgents): Promise<void> {
  await Promise.all(options.agents.map((account) => new SimulatedAgent(account, options).run()));
}

class SimulatedAgent {
  #account: AgentAccount;
  #options: SimulatedAgents;
  #client: AgentClient;
  #log: Logger;
  #lastOffer: string | null = null;
  #situation = '';
  /** What the agent is about to do; it loses its sense when the situation changes. */
  #intent = new AbortController();
  #hangsUpEarly = false;
  #absences = 0;

  constructor(account: AgentAccount, options: SimulatedAgents) {
    this.#account = account;
    this.#options = options;
    this.#log = options.log.child({ agentId: account.id });
    this.#client = new AgentClient({
      baseUrl: options.baseUrl,
      key: account.key,
      closed: options.signal,
      log: this.#log,
    });
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    this.#attempt(this.#becomes('ready', signal));
    // The open stream is also what keeps the agent logged on.
    await this.#client.listen(`${this.#me}/stream`, (event) => this.#hear(event));
    this.#intent.abort();
  }

  get #me(): string {
    return `/v1/agents/${encodeURIComponent(this.#account.id)}`;
  }

  #hear({ event, data }: EventSourceMessage): void {
    if (event === 'offer') this.#offered(offerSchema.parse(JSON.parse(data)));
    if (event === 'state') this.#changed(stateSchema.parse(JSON.parse(data)));
  }

  /** A stream that resumes may show the same offer again, or one that is over. */
  #offered(offer: Offer): void {
    if (offer.offer_id === this.#lastOffer || offer.ended_at) return;
    this.#lastOffer = offer.offer_id;
    this.#hangsUpEarly = false;
    this.#intend((signal) => this.#decide(offer, signal));
  }

  #changed(state: State): void {
    const situation = `${state.state} ${state.offer_id} ${state.call_id}`;
    if (situation === this.#situation) return;
    this.#situation = situation;
    switch (state.state) {
      case 'reserved':
        return;
      case 'connecting':
        if (this.#hangsUpEarly) this.#intend((signal) => this.#hangUpEarly(state, signal));
        return;
      case 'connected':
        return this.#intend((signal) => this.#talk(state, signal));
      case 'wrap_up':
        return this.#intend((signal) => this.#wrapUp(state, signal));
      case 'logged_off':
      case 'paused':
        return this.#intend((signal) => this.#comeBack(signal));
      default:
        this.#intent.abort();
    }
  }

  async #decide(offer: Offer, signal: AbortSignal): Promise<void> {
    const { think, offer: weights } = this.#options.behaviour;
    const random = this.#random(`offer/${offer.offer_id}`);
    await this.#wait(think, random, signal);
    const choice = choose(weights, random);
    this.#hangsUpEarly = choice === 'answerAndHangUp';
    switch (choice) {
      case 'answer':
      case 'answerAndHangUp':
        return this.#pickUp(offer, signal);
      case 'reject':
      case 'cancel':
        await this.#post(`/v1/offers/${offer.offer_id}/${choice}`, {}, signal);
        return;
      case 'logOff':
        await this.#becomes('logged_off', signal);
        return;
      case 'ignore':
    }
  }

  async #pickUp({ deadline }: Offer, signal: AbortSignal): Promise<void> {
    const phone = encodeURIComponent(this.#account.phone);
    while (Date.now() < Date.parse(deadline)) {
      const { status, body } = await this.#post(`/v1/simulator/phones/${phone}/answer`, {}, signal);
      const notYet = status === 409 && ['idle', 'setup'].includes((body as { state?: string } | null)?.state ?? '');
      if (!notYet) return;
      await delay(Math.max(RING_AGAIN_MS.least, RING_AGAIN_MS.usual / this.#options.speed), undefined, { signal });
    }
  }

  async #hangUpEarly({ call_id: call }: State, signal: AbortSignal): Promise<void> {
    this.#hangsUpEarly = false;
    await this.#wait(this.#options.behaviour.patience, this.#random(`early/${call}`), signal);
    await this.#post(`/v1/calls/${call}/hang-up`, {}, signal);
  }

  async #talk({ call_id: call }: State, signal: AbortSignal): Promise<void> {
    const { share, after } = this.#options.behaviour.hangUpFirst;
    const random = this.#random(`talk/${call}`);
    if (random() >= share) return;
    await this.#wait(after, random, signal);
    // Half of them click, half of them put the receiver down.
    const phone = encodeURIComponent(this.#account.phone);
    const path = random() < 0.5 ? `/v1/calls/${call}/hang-up` : `/v1/simulator/phones/${phone}/hang-up`;
    await this.#post(path, {}, signal);
  }

  async #wrapUp({ call_id: call }: State, signal: AbortSignal): Promise<void> {
    const { wrapUp, disposition, topics } = this.#options.behaviour;
    const random = this.#random(`wrap-up/${call}`);
    await this.#wait(wrapUp, random, signal);
    const action = choose(disposition, random);
    if (action === 'none') return;
    const topic = topics[Math.floor(random() * topics.length)];
    const body = { action, topics: topic === undefined ? [] : [topic], comment: '' };
    await this.#post(`/v1/calls/${call}/disposition`, body, signal);
    await this.#becomes('ready', signal);
  }

  async #comeBack(signal: AbortSignal): Promise<void> {
    let reply: Reply;
    do {
      this.#absences += 1;
      await this.#wait(this.#options.behaviour.away, this.#random(`away/${this.#absences}`), signal);
      reply = await this.#becomes('ready', signal);
    } while (reply.status >= 400);
  }

  #becomes(state: 'ready' | 'logged_off', signal: AbortSignal): Promise<Reply> {
    return this.#client
      .request('PUT', `${this.#me}/state`, { state }, signal)
      .then((reply) => this.#heed(reply, 'state'));
  }

  #post(path: string, body: unknown, signal: AbortSignal): Promise<Reply> {
    return this.#client.request('POST', path, body, signal).then((reply) => this.#heed(reply, path));
  }

  /** That something is over already (404, 409, 410) is normal life; anything else wrong is a defect of one of us. */
  #heed(reply: Reply, what: string): Reply {
    if (reply.status >= 400 && ![404, 409, 410].includes(reply.status)) {
      this.#log.error({ status: reply.status, what }, 'the API refuses what an agent does');
    }
    return reply;
  }

  /** Starts what is to be done now, in place of whatever was. */
  #intend(act: (signal: AbortSignal) => Promise<void>): void {
    this.#intent.abort();
    this.#intent = new AbortController();
    this.#attempt(act(this.#intent.signal));
  }

  #attempt(act: Promise<unknown>): void {
    act.catch((error: unknown) => {
      if ((error as { name?: string }).name !== 'AbortError') this.#log.error({ err: error }, 'an agent stumbled');
    });
  }

  async #wait([low, high]: [number, number], random: () => number, signal: AbortSignal): Promise<void> {
    const seconds = low + random() * (high - low);
    signal.throwIfAborted();
    if (seconds > 0) await delay((seconds * 1000) / this.#options.speed, undefined, { signal });
  }

  #random(occasion: string): () => number {
    return seededRandom(`${this.#options.seed}/${this.#account.id}/${occasion}`);
  }
}

function choose<Choice extends string>(weights: Record<Choice, number>, random: () => number): Choice {
  const items = Object.entries<number>(weights).map(([choice, weight]) => ({ choice: choice as Choice, weight }));
  return pickWeighted(items, random).choice;
}
