/** The telephony port over the simulated switch's WebSocket. */
import type { Logger } from '../../config/log.ts';
import type { Bound } from '../bonds.ts';
import { Deliveries } from '../deliveries.ts';
import type { LegSnapshot } from '../snapshot.ts';
import type {
  Capabilities,
  EndWhy,
  HangUpAnswer,
  LegFact,
  LegStatus,
  Originate,
  OriginateAnswer,
  Telephony,
} from '../telephony.ts';
import { TelephonyUnavailable } from '../unavailable.ts';
import { SwitchConnection } from './connection.ts';
import type { NumberedFact } from './fact-queue.ts';
import { KnownLegs } from './known-legs.ts';

/** A connection lost for longer than this has cost its legs: their calls must not wait for ever. */
const LOST_AFTER_MS = 5_000;
const CLOSE_WITHIN_MS = 2_000;

/** `url`: http://host:port of the simulator. Commands reject with TelephonyUnavailable while it can't be reached. */
export function createSimulatorTelephony(options: { url: string; log: Logger }): Telephony {
  return new SimulatorTelephony(options);
}

/** Facts of one life of the switch: they come in the order of `seq`, those not acknowledged once more after a break. */
interface Boot {
  id: string;
  highest: number;
  /** With the listener, not yet acknowledged. */
  pending: Set<number>;
}

const newBoot = (id: string): Boot => ({ id, highest: 0, pending: new Set() });

class SimulatorTelephony implements Telephony {
  readonly capabilities: Capabilities = {
    callerId: true,
    reason: true,
    earlyMedia: true,
    mediaUp: true,
    separateSetupTimer: true,
    remembersKeys: true,
    noDivert: true,
    hold: true,
    play: true,
    sendDtmf: true,
    record: true,
  };
  #log: Logger;
  #connection: SwitchConnection;
  #legs = new KnownLegs();
  #deliveries: Deliveries | null = null;
  #boot = newBoot('');
  #tellConnection: (up: boolean) => void = () => {};
  #started = Promise.withResolvers<void>();
  #lostTimer: NodeJS.Timeout | undefined;

  constructor({ url, log }: { url: string; log: Logger }) {
    this.#log = log;
    this.#connection = new SwitchConnection(url, log, {
      up: (boot) => this.#connected(boot),
      down: () => this.#disconnected(),
      notice: (message) => {
        if (message.type === 'fact') this.#receive(message);
        else if (message.type === 'replaced') this.#replaced();
        else this.#subscribe();
      },
    });
  }

  async originate(leg: Originate): Promise<OriginateAnswer> {
    const { answer } = await this.#connection.ask<{ answer: OriginateAnswer; leg: LegSnapshot | null }>(
      { type: 'originate', leg },
      (sent) => sent.leg && this.#legs.add(sent.leg),
    );
    return answer;
  }

  hangUp(legId: string, why: EndWhy, { unlessAnswered = false } = {}): Promise<HangUpAnswer> {
    return this.#connection.ask({ type: 'hangUp', legId, why, unlessAnswered });
  }

  join(mix: string, legId: string): Promise<void> {
    return this.#connection.ask({ type: 'join', mix, legId });
  }

  leave(mix: string, legId: string): Promise<void> {
    return this.#connection.ask({ type: 'leave', mix, legId });
  }

  endTogether(mix: string, legs: Bound[]): Promise<void> {
    return this.#connection.ask({ type: 'endTogether', mix, legs });
  }

  hold(legId: string, on: boolean): Promise<void> {
    return this.#connection.ask({ type: 'hold', legId, on });
  }

  play(legId: string, sound: string | null): Promise<void> {
    return this.#connection.ask({ type: 'play', legId, sound });
  }

  sendDtmf(legId: string, digits: string, key: string): Promise<void> {
    return this.#connection.ask({ type: 'sendDtmf', legId, digits, key });
  }

  record(mix: string, name: string | null): Promise<void> {
    return this.#connection.ask({ type: 'record', mix, name });
  }

  async status(legId: string): Promise<LegStatus> {
    try {
      return await this.#connection.ask<LegStatus>({ type: 'status', legId });
    } catch (error) {
      if (error instanceof TelephonyUnavailable) return 'cannot-tell';
      throw error;
    }
  }

  async list(): Promise<Pick<LegSnapshot, 'legId' | 'phase'>[]> {
    const legs = await this.#connection.ask<LegSnapshot[]>({ type: 'list' });
    return legs.map(({ legId, phase }) => ({ legId, phase }));
  }

  /** Before `start`: who has no listener does not take the facts away from another client. */
  onFact(listener: (fact: LegFact) => Promise<void>): void {
    this.#deliveries = new Deliveries(listener, this.#log);
  }

  onConnection(listener: (up: boolean) => void): void {
    this.#tellConnection = listener;
  }

  start(): Promise<void> {
    this.#connection.open();
    return this.#started.promise;
  }

  async close(): Promise<void> {
    // Deliveries first: what the listener has taken is still acknowledged.
    await this.#deliveries?.stop(CLOSE_WITHIN_MS);
    await this.#connection.close();
    clearTimeout(this.#lostTimer);
    this.#started.reject(new TelephonyUnavailable('closed'));
    this.#started.promise.catch(() => {});
  }

  #connected(boot: string): void {
    if (this.#boot.id !== boot) this.#boot = newBoot(boot);
    if (this.#deliveries) this.#subscribe();
    else this.#ready();
  }

  /** The answer follows the facts that waited: a leg of ours that is neither listed nor ended by one is lost. */
  #subscribe(): void {
    const reconcile = (listed: LegSnapshot[]): void => {
      for (const ended of this.#legs.reconcile(listed)) this.#deliver(ended);
      for (const legId of this.#legs.givenUpOf(listed)) {
        this.hangUp(legId, 'switch_lost').catch((err: unknown) =>
          this.#log.warn({ err, legId }, 'a lost leg lives on'),
        );
      }
      this.#ready();
    };
    this.#connection.ask<LegSnapshot[]>({ type: 'subscribe' }, reconcile).catch((err: unknown) => {
      this.#log.warn({ err }, 'the switch gave no list of its legs');
      this.#connection.restart();
    });
  }

  #ready(): void {
    clearTimeout(this.#lostTimer);
    this.#started.resolve();
    this.#tellConnection(true);
  }

  #disconnected(): void {
    this.#tellConnection(false);
    clearTimeout(this.#lostTimer);
    this.#lostTimer = setTimeout(() => {
      const ended = this.#legs.giveUp();
      this.#log.error({ legs: ended.length }, 'the switch stays away: its legs count as lost');
      for (const fact of ended) this.#deliver(fact);
    }, LOST_AFTER_MS);
  }

  /** Another process has the facts now, and with them the legs. */
  #replaced(): void {
    this.#log.warn('another client takes the facts of the switch');
    this.#legs.forget();
    this.#deliveries?.drop();
    this.#boot = newBoot(this.#boot.id);
  }

  #receive({ seq, fact }: NumberedFact): void {
    const boot = this.#boot;
    const seenBefore = seq <= boot.highest;
    boot.highest = Math.max(boot.highest, seq);
    if (seenBefore && boot.pending.has(seq)) return;
    // Seen and no longer pending: it is the acknowledgement that got lost.
    if (seenBefore || !this.#legs.follow(fact)) {
      this.#connection.acknowledge(seq);
      return;
    }
    boot.pending.add(seq);
    this.#deliver(fact, () => {
      boot.pending.delete(seq);
      if (boot === this.#boot) this.#connection.acknowledge(seq);
    });
  }

  #deliver(fact: LegFact, delivered = (): void => {}): void {
    this.#deliveries?.add({ fact, delivered });
  }
}
