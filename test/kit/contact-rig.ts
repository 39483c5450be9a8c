/**
 * The real `contact` workflow on the shared Temporal server, with activities that answer what the test says. One rig a
 * test file, one {@link TestContact} a test, which is brought to a phase in a word: `const contact = await rig.ringing()`.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { afterAll, beforeAll, inject, onTestFinished, type TestContext } from 'vitest';
import type { CallActivities, EndInput, EndOutcome } from '../../activities/calls.ts';
import type { ConcludeInput, ContactActivities, OpenOffer, Standing } from '../../activities/contacts.ts';
import type { DialOutcome, OfferOutcome, RingOutcome } from '../../activities/offers.ts';
import type { TalkActivities } from '../../activities/talks.ts';
import type { BegunTransfer, TransferActivities, TransferOutcome, TransferSteps } from '../../activities/transfers.ts';
import type { ResultReason } from '../../domain/codes.ts';
import { AppError } from '../../domain/errors.ts';
import { callId, contactOfCall, contactWorkflowId, nodeTaskQueue } from '../../domain/ids.ts';
import { endsCall } from '../../domain/offers.ts';
import { createWorkflows, type Workflows } from '../../workflows/client.ts';
import * as messages from '../../workflows/contact/messages.ts';
import { eventually, type Patience } from './eventually.ts';
import { type History, keepHistory, slug, writesHistories } from './history.ts';

type Phase = messages.ContactView['phase'];
type Closed = Extract<Standing, { at: 'closed' }>;

/** What can be asked of a contact, by update or by signal. */
const UPDATES = {
  reject: messages.reject,
  cancel: messages.cancel,
  release: messages.release,
  accept: messages.accept,
  hangUp: messages.hangUp,
  dispose: messages.dispose,
  extendWrapUp: messages.extendWrapUp,
  disable: messages.disable,
  hold: messages.hold,
  resume: messages.resume,
  transfer: messages.transfer,
  completeTransfer: messages.completeTransfer,
  takeBack: messages.takeBack,
  sendKeys: messages.sendKeys,
} as const;
export type Click = keyof typeof UPDATES;

export interface ContactRig {
  queued(): Promise<TestContact>;
  /** A contact that is due at `dueAt` (epoch ms). */
  waiting(dueAt: number): Promise<TestContact>;
  /** Its first offer: the agent's phone rings. */
  ringing(): Promise<TestContact>;
  /** The agent has answered, the contact's phone rings. */
  dialling(): Promise<TestContact>;
  talking(): Promise<TestContact>;
  /** The talk is over; wrap-up for so long (a minute: not by its timer). */
  wrapUp(ms?: number): Promise<TestContact>;
}

/** Call it once at the top of a test file. */
export function contactRig(options: StageOptions = {}): ContactRig & Pick<Stage, 'restart'> {
  const contacts = new Map<string, TestContact>();
  const stage = temporalStage(options, (queue) => [
    { taskQueue: queue, activities: steps(contacts) },
    { taskQueue: nodeTaskQueue(queue), activities: phones(contacts) },
  ]);

  async function start(dueAt: number | null): Promise<TestContact> {
    const contact = new TestContact(stage.client, stage.workflows, stage.queue);
    contacts.set(contact.id, contact);
    onTestFinished(async (test) => {
      await stage.keep(test, contact);
      await contact.close();
      contacts.delete(contact.id);
    });
    await stage.workflows.startContact({ contactId: contact.id, campaignId: '1', round: 1, dueAt });
    return contact.reaches(dueAt === null ? 'queued' : 'waiting');
  }
  const rig: ContactRig & Pick<Stage, 'restart'> = {
    queued: () => start(null),
    waiting: start,
    ringing: async () => (await rig.queued()).rings(),
    dialling: async () => (await rig.ringing()).agentAnswers(),
    talking: async () => (await rig.dialling()).contactAnswers(),
    wrapUp: async (ms) => (await rig.talking()).talkEnds(ms),
    restart: (without) => stage.restart(without),
  };
  return rig;
}

// ---- server, workers, bundle ------------------------------------------------------------------------------------------

export interface StageOptions {
  /** Constants of the workflows that are lowered, where their true values would take a test for ever. */
  lowered?: Lowered;
  /** False where no test takes a path of its own: their histories are not kept for the replay gate. */
  keeps?: boolean;
}

export interface Stage {
  /** The task queue of the workflows; the node's queue is made of it. */
  readonly queue: string;
  readonly client: TestWorkflowEnvironment['client'];
  readonly workflows: Workflows;
  /** Other workers take over, of today or, without the patches of these names, of a release before. */
  restart(without?: string[]): Promise<void>;
  /** Keeps a passed test's histories for the replay gate, when that is wanted. */
  keep(test: TestContext, workflow: { histories(): Promise<History[]> }): Promise<void>;
}

/** Workers of a test file on a task queue of its own, from before its first test until after its last. */
export function temporalStage(
  { lowered, keeps = true }: StageOptions,
  plan: (queue: string) => Pick<WorkerOptions, 'taskQueue' | 'activities'>[],
): Stage {
  const queue = `rig-${randomInt(1e9)}`;
  let server: TestWorkflowEnvironment;
  let workers: Worker[] = [];
  let running: Promise<unknown>;
  const start = async (without: string[] = []) => {
    const common: Partial<WorkerOptions> = {
      connection: server.nativeConnection,
      // Stored histories carry it: the default names process and host.
      identity: 'test',
      workflowBundle: workflowBundle(lowered, without),
      // Cancellations reach an activity with its heartbeats.
      maxHeartbeatThrottleInterval: 20,
      defaultHeartbeatThrottleInterval: 20,
      shutdownForceTime: '2s',
    };
    workers = await Promise.all(plan(queue).map((options) => Worker.create({ ...common, ...options })));
    running = Promise.all(workers.map((worker) => worker.run()));
  };
  const stop = async () => {
    for (const worker of workers) worker.shutdown();
    await running;
  };

  beforeAll(async () => {
    // Tests make workers fail on purpose, and end workflows under the hands of their activities.
    const filter = makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' });
    Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter } } });
    server = await TestWorkflowEnvironment.createFromExistingServer({ address: inject('temporalAddress') });
    await start();
  });
  afterAll(async () => {
    await stop();
    await server?.teardown();
  });

  return {
    queue,
    get client() {
      return server.client;
    },
    get workflows() {
      return createWorkflows(server.client, queue);
    },
    async restart(without) {
      await stop();
      await start(without);
    },
    async keep({ task }, workflow) {
      if (!writesHistories || !keeps || task.result?.state !== 'pass' || task.fails) return;
      const name = [task.suite?.name ?? '', task.name].map(slug).join('--');
      const histories = await workflow.histories();
      for (const [run, history] of histories.entries()) {
        keepHistory(`${name}${histories.length > 1 ? `-${run + 1}` : ''}`, history, lowered);
      }
    },
  };
}

export type Lowered = Partial<Record<'CONTINUE_AFTER_EVENTS' | 'CHANGES_A_RUN', number>>;

/** The prebuilt bundle, or the same code with lowered constants, or as it was before these patches. */
export function workflowBundle(lowered: Lowered = {}, without: string[] = []): { codePath: string } | { code: string } {
  const codePath = inject('workflowBundlePath');
  if (Object.keys(lowered).length + without.length === 0) return { codePath };
  let code = readFileSync(codePath, 'utf8');
  for (const [name, value] of Object.entries(lowered)) {
    const definition = new RegExp(`(const ${name} = )[\\d_]+`);
    if (!definition.test(code)) throw new Error(`the workflows have no constant ${name}`);
    code = code.replace(definition, `$1${value}`);
  }
  for (const patch of without) {
    const call = new RegExp(`\\(0,\\w+\\.patched\\)\\('${patch}'\\)`);
    if (!call.test(code)) throw new Error(`the workflows have no patch ${patch}`);
    code = code.replace(call, 'false');
  }
  return { code };
}

/** Something under way until the test says how it ends. */
class UnderWay<T> {
  /** Tries that a worker has begun. */
  tries = 0;
  /** The node is dead: no heartbeat, no answer, whatever is asked. */
  dead = false;
  /** Cancellation is not obeyed (yet). */
  deaf = false;
  readonly #outcome = Promise.withResolvers<T>();
  readonly #beaten: (() => void)[] = [];

  ends(outcome: T): void {
    this.#outcome.resolve(outcome);
  }

  /** The worker that carries this try fails; another one takes over. */
  stumbles(): void {
    this.#beaten.splice(0).forEach((stumble) => stumble());
  }

  async lasts(): Promise<T> {
    this.tries += 1;
    const context = Context.current();
    const beat = setInterval(() => this.dead || context.heartbeat(), 20);
    const { promise: stumble, reject } = Promise.withResolvers<never>();
    this.#beaten.push(() => reject(new Error('the worker shut down')));
    const cancelled = context.cancelled.catch((error: unknown) =>
      this.dead || this.deaf ? new Promise<never>(() => {}) : Promise.reject(error as Error),
    );
    try {
      return await Promise.race([this.#outcome.promise, stumble, cancelled]);
    } finally {
      clearInterval(beat);
    }
  }
}

/** One contact: its workflow, the agents' and the contact's phones, and a record of what the workflow asked for. */
export class TestContact {
  readonly id = String(randomInt(1e8, 1e9));
  /** What the workflow asked of its activities, in order: `ring 1`, `conclude`, `endOffer 1 agent_reject` … */
  readonly asked: string[] = [];
  /** Answers of the next `conclude`s and `enqueueDue`s; when there are none: closed, and back to the queue. */
  readonly standings: (Standing | Promise<Standing> | Error)[] = [];
  /** Answers of the next `endOffer`s; when there are none it ends what rings, as a switch does. */
  readonly endings: (EndOutcome | Promise<EndOutcome> | Error)[] = [];
  readonly confirmations: Error[] = [];
  readonly commands: Error[] = [];
  /** What the next transfer begins with. */
  begins: BegunTransfer | Error = { at: 'ringing', offer: null };
  asksNext: OpenOffer | null = null;
  /** The offer made last. */
  offer!: OpenOffer;
  /** What the rows say of an offer when the workflow asks; nothing: it stands. */
  readonly rowsSay = new Map<number, OfferOutcome>();
  readonly #client;
  readonly #workflows: Workflows;
  readonly #node: string;
  readonly #rings = new Map<string, UnderWay<RingOutcome>>();
  readonly #dials = new Map<string, UnderWay<DialOutcome>>();
  readonly #transfers = new Map<string, UnderWay<TransferOutcome>>();
  #offers = 0;
  #calls = 1;

  constructor(client: TestWorkflowEnvironment['client'], workflows: Workflows, node: string) {
    this.#client = client;
    this.#workflows = workflows;
    this.#node = node;
    this.offer = this.#nextOffer();
    this.#offers = 0;
  }

  get handle() {
    return this.#client.workflow.getHandle(contactWorkflowId(this.id, 1));
  }

  // ---- what the world does ----------------------------------------------------------------------------------------

  #nextOffer(): OpenOffer {
    const offerNo = ++this.#offers;
    return {
      offerId: `${this.id}${offerNo}`,
      offerNo,
      callId: callId(this.id, this.#calls),
      agentId: String(6 + offerNo),
      node: this.#node,
      attempt: this.#calls,
    };
  }

  /** Matching makes the next offer, to the next agent, and has not told so yet. */
  isReserved(): void {
    this.offer = this.#nextOffer();
  }

  async offered(): Promise<this> {
    this.isReserved();
    await this.tell('offered', { offerNo: this.offer.offerNo });
    return this;
  }

  /** The next offer is made and the agent's phone rings. */
  async rings(): Promise<this> {
    await this.offered();
    return this.hasAsked(`ring ${this.offer.offerNo}`);
  }

  ring(offerNo = this.offer.offerNo): UnderWay<RingOutcome> {
    return underWay(this.#rings, `${this.id}${offerNo}`);
  }

  dial(offerNo = this.offer.offerNo): UnderWay<DialOutcome> {
    return underWay(this.#dials, `${this.id}${offerNo}`);
  }

  /** The n-th time that a target is carried is a transfer of its own here. */
  carried(transferId = `${this.id}1`): UnderWay<TransferOutcome> {
    return underWay(this.#transfers, transferId);
  }

  /** It was carried to its end, and is to be carried anew. */
  carriesAnew(transferId = `${this.id}1`): void {
    this.#transfers.delete(transferId);
  }

  /** An offer of the talk to this agent. */
  asks(agentId: string): OpenOffer {
    return { ...this.#nextOffer(), callId: this.offer.callId, agentId };
  }

  /** The agent answers: the contact is dialled. */
  async agentAnswers(): Promise<this> {
    this.ring().ends({ kind: 'answered' });
    return this.hasAsked(`dial ${this.offer.offerNo}`);
  }

  async contactAnswers(): Promise<this> {
    this.dial().ends({ kind: 'talking' });
    return this.reaches('talking');
  }

  /** The talk ends; the agent has so long to wrap up. */
  async talkEnds(wrapUpMs = 60_000): Promise<this> {
    const { offerNo } = this.offer;
    this.rowsSay.set(offerNo, { kind: 'talking' });
    await this.tell('legEnded', { offerNo, wrapUpUntil: Date.now() + wrapUpMs });
    return wrapUpMs > 5_000 ? this.reaches('wrap_up') : this;
  }

  /** The offer ends unanswered, the contact goes back to the queue. */
  async missed(): Promise<this> {
    this.ring().ends({ kind: 'over', code: 't', reason: 'ring_timeout', endsCall: false });
    return this.reaches('queued');
  }

  // ---- what is said to it -------------------------------------------------------------------------------------------

  /** A signal of any name and content; without an argument none is sent. */
  async tell(name: string, ...argument: [unknown?]): Promise<void> {
    await this.handle.signal(name, ...argument);
  }

  /** The click of the agent of the last offer, or whatever `change` makes of it; rejects with AppError. */
  click(name: Click, change: object = {}, key: string = randomUUID()): Promise<messages.Done> {
    const argument = { ...this.argument(name), ...change };
    return this.#workflows.update({ contactId: this.id, round: 1 }, UPDATES[name] as never, argument as never, key);
  }

  /** An update with any content at all. */
  ask(name: Click, argument: unknown): Promise<messages.Done> {
    return this.#workflows.update({ contactId: this.id, round: 1 }, UPDATES[name] as never, argument as never, randomUUID());
  }

  argument(name: Click): object {
    const { offerNo, callId: call, agentId } = this.offer;
    if (name === 'disable') return { reason: 'disabled', by: 'key:1' };
    if (name === 'reject' || name === 'cancel' || name === 'accept') return { offerNo, agentId };
    if (name === 'release') return { offerNo, agentId, by: 'key:3' };
    const more = { hangUp: {}, hold: {}, resume: {}, completeTransfer: {}, takeBack: {}, transfer: { transferId: `${this.id}1` }, sendKeys: { keysId: '1' }, dispose: { action: 'done' }, extendWrapUp: { until: Date.now() + 60_000 } };
    return { callId: call, agentId, ...more[name] };
  }

  // ---- what can be seen ---------------------------------------------------------------------------------------------

  /** Rejects soon when the workflow answers no question any more. */
  view(): Promise<messages.ContactView> {
    return this.#client.withDeadline(Date.now() + 2_000, () => this.handle.query(messages.state));
  }

  async reaches(phase: Phase, patience?: Patience): Promise<this> {
    await eventually(async () => {
      const { phase: now } = await this.view();
      if (now !== phase) throw new Error(`the contact is ${now}, not ${phase}; asked: ${this.asked.join(', ')}`);
      return true;
    }, patience);
    return this;
  }

  async hasAsked(what: string, patience?: Patience): Promise<this> {
    await eventually(() => {
      if (!this.asked.includes(what)) throw new Error(`${what} was not asked for, but ${this.asked.join(', ')}`);
      return true;
    }, patience);
    return this;
  }

  async hasAskedTimes(what: string, times: number): Promise<this> {
    await eventually(() => this.asked.filter((each) => each === what).length === times);
    return this;
  }

  /** The click comes to be taken: what it waits for is over, and the workflow may not have heard of that yet. */
  async untilHeld(click: () => Promise<unknown>): Promise<this> {
    await eventually(async () => (await refusal(click())) === 'done');
    return this;
  }

  /** How it ended: `done: answered`. */
  async closed(): Promise<string> {
    const { state, reason } = (await this.handle.result()) as Closed;
    return `${state}: ${reason}`;
  }

  /** The Markdown that operators see in the Temporal UI. */
  async details(): Promise<string> {
    const metadata = await this.handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
    return metadata.currentDetails ?? '';
  }

  async attribute(name: string): Promise<unknown> {
    const { typedSearchAttributes } = await this.handle.describe();
    return typedSearchAttributes.getAll().find(({ key }) => key.name === name)?.value;
  }

  /** The history of the run that is (or was) the last. */
  history(): Promise<History> {
    return this.handle.fetchHistory();
  }

  /** The histories of all runs, first to last. */
  async histories(): Promise<History[]> {
    const histories: History[] = [await this.handle.fetchHistory()];
    for (;;) {
      const before = histories[0]!.events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId;
      if (!before) return histories;
      histories.unshift(await this.#client.workflow.getHandle(contactWorkflowId(this.id, 1), before).fetchHistory());
    }
  }

  // ---- what the rig asks it -----------------------------------------------------------------------------------------

  async close(): Promise<void> {
    for (const phone of [...this.#rings.values(), ...this.#dials.values(), ...this.#transfers.values()]) phone.stumbles();
    // Over already, more often than not.
    await this.handle.terminate().catch(() => {});
  }

  knows(offerId: string): boolean {
    return offerId.startsWith(this.id) && Number(offerId.slice(this.id.length)) <= this.#offers;
  }

  lastingRing = (offerId: string) => this.#lasting('ring', this.#rings, offerId);
  lastingDial = (offerId: string) => this.#lasting('dial', this.#dials, offerId);

  #lasting<T>(what: string, phones: Map<string, UnderWay<T>>, offerId: string): Promise<T> {
    const phone = underWay(phones, offerId);
    const { attempt } = Context.current().info;
    this.asked.push(`${what} ${offerId.slice(this.id.length)}${attempt > 1 ? ` again` : ''}`);
    return phone.lasts();
  }

  async endOffer({ offerId, why, spare, by }: EndInput): Promise<EndOutcome> {
    const offerNo = Number(offerId.slice(this.id.length));
    this.asked.push(`endOffer ${offerNo} ${why} sparing ${spare}${by ? ` by ${by}` : ''}`);
    if (this.endings.length > 0) return answer(this.endings.shift()!);
    const isDialled = this.#dials.has(offerId);
    if (isDialled) this.dial(offerNo).ends({ kind: 'failed', code: 'h', reason: why });
    else this.ring(offerNo).ends({ kind: 'over', code: why === 'agent_reject' ? 'b' : 'h', reason: why, endsCall: endsCall(why) });
    return 'ended';
  }

  async confirm(offerId: string): Promise<void> {
    this.asked.push(`confirm ${offerId.slice(this.id.length)}`);
    if (this.confirmations.length > 0) throw this.confirmations.shift()!;
  }

  transferCommand(what: string, transferId: string): Promise<void> {
    return this.command(what, transferId);
  }

  lastingTransfer = (transferId: string) => this.#lasting('carry', this.#transfers, transferId);

  beginTransfer(transferId: string): BegunTransfer {
    this.asked.push(`beginTransfer ${transferId.slice(this.id.length)}`);
    const begun = this.begins;
    if (begun instanceof Error) throw begun;
    return begun;
  }

  /** The agent whom matching has found for the contact who waits in a queue. */
  offerOfTransfer(): OpenOffer | null {
    return this.asksNext;
  }

  /** What is done in a talk; the next answer of `commands` makes it fail. */
  async command(what: string, offerId: string): Promise<void> {
    this.asked.push(`${what} ${offerId.slice(this.id.length)}`);
    if (this.commands.length > 0) throw this.commands.shift()!;
  }

  openOffer(): OpenOffer | null {
    const isTakenBack = this.asked.some((what) => what.startsWith(`takeBack ${this.offer.offerNo} `));
    return this.#offers > 0 && !isTakenBack ? this.offer : null;
  }

  outcomeOf(offerId: string): OfferOutcome | null {
    const offerNo = Number(offerId.slice(this.id.length));
    this.asked.push(`outcomeOf ${offerNo}`);
    return this.rowsSay.get(offerNo) ?? null;
  }

  takeBack(offerId: string, reason: ResultReason): void {
    this.asked.push(`takeBack ${offerId.slice(this.id.length)} ${reason}`);
  }

  async conclude({ decision }: ConcludeInput): Promise<Standing> {
    const why = decision && [decision.kind, 'reason' in decision && decision.reason, 'by' in decision && `by ${decision.by}`];
    this.asked.push(['conclude', ...(why ?? [])].filter(Boolean).join(' '));
    const reason = decision?.kind === 'final' ? decision.reason : null;
    const byDefault: Closed = { at: 'closed', state: reason ? 'disabled' : 'done', reason: reason ?? 'answered' };
    const standing = this.standings.length > 0 ? await answer(this.standings.shift()!) : byDefault;
    // A retry is a new call.
    if (standing.at === 'waiting') this.#calls += 1;
    return standing;
  }

  async standing(): Promise<Standing> {
    this.asked.push('standing');
    return this.standings.length > 0 ? answer(this.standings.shift()!) : { at: 'queue' };
  }

  async enqueueDue(): Promise<Standing> {
    this.asked.push('enqueueDue');
    return this.standings.length > 0 ? answer(this.standings.shift()!) : { at: 'queue' };
  }
}

async function answer<T>(scripted: T | Promise<T> | Error): Promise<T> {
  const said = await scripted;
  if (said instanceof Error) throw said;
  return said;
}

function underWay<T>(all: Map<string, UnderWay<T>>, id: string): UnderWay<T> {
  const known = all.get(id) ?? new UnderWay<T>();
  all.set(id, known);
  return known;
}

type Contacts = ReadonlyMap<string, TestContact>;

function steps(contacts: Contacts): ContactActivities & TransferSteps {
  const of = (contactId: string): TestContact => {
    const contact = contacts.get(contactId);
    if (!contact) throw ApplicationFailure.nonRetryable('a test that is over', 'CONTACT_CLOSED');
    return contact;
  };
  const once = repeatable();
  return {
    openOffer: ({ contactId }) => once(() => of(contactId).openOffer()),
    register: ({ callId: call, agentId, action, topics }) => {
      const said = [action, ...(topics.length > 0 ? [`(${topics.join(', ')})`] : [])].join(' ');
      return once(() => void of(contactOfCall(call)).asked.push(`register ${said} of agent ${agentId}`));
    },
    outcomeOf: ({ offerId }) => once(() => ofOffer(contacts, offerId).outcomeOf(offerId)),
    standing: ({ contactId }) => once(() => of(contactId).standing()),
    enqueueDue: ({ contactId }) => once(() => of(contactId).enqueueDue()),
    conclude: (input) => once(() => of(input.contactId).conclude(input)),
    beginTransfer: ({ transferId }) => once(() => ofTransfer(contacts, transferId).beginTransfer(transferId)),
    offerOfTransfer: ({ transferId }) => once(() => ofTransfer(contacts, transferId).offerOfTransfer()),
    takeBack: ({ offerId, reason }) => once(() => ofOffer(contacts, offerId).takeBack(offerId, reason)),
  };
}

/**
 * A step is carried out again when something comes while its workflow task is being completed (the server then refuses the
 * completion). The real ones see in the rows that they have been done; here the same answer is given again.
 */
function repeatable(): <T>(step: () => T | Promise<T>) => Promise<T> {
  const done = new Map<string, Promise<unknown>>();
  return <T>(step: () => T | Promise<T>) => {
    const { workflowExecution, activityType, activityId, attempt } = Context.current().info;
    const key = [workflowExecution?.runId, activityType, activityId, attempt].join();
    const answer = (done.get(key) as Promise<T> | undefined) ?? Promise.resolve().then(step);
    done.set(key, answer);
    return answer;
  };
}

function phones(contacts: Contacts): CallActivities & TalkActivities & TransferActivities {
  return {
    ring: async ({ offerId }) => ofOffer(contacts, offerId).lastingRing(offerId),
    dial: async ({ offerId }) => ofOffer(contacts, offerId).lastingDial(offerId),
    endOffer: async (input) => ofOffer(contacts, input.offerId).endOffer(input),
    confirm: async ({ offerId }) => ofOffer(contacts, offerId).confirm(offerId),
    unlink: async ({ transferId }) => ofTransfer(contacts, transferId).transferCommand('unlink', transferId),
    carryTransfer: async ({ transferId }) => ofTransfer(contacts, transferId).lastingTransfer(transferId),
    completeTransfer: async ({ transferId }) => ofTransfer(contacts, transferId).transferCommand('completeTransfer', transferId),
    takeContactBack: async ({ transferId }) => ofTransfer(contacts, transferId).transferCommand('takeContactBack', transferId),
    hold: async ({ offerId, on }) => ofOffer(contacts, offerId).command(on ? 'hold' : 'resume', offerId),
    sendKeys: async ({ offerId, keysId }) => ofOffer(contacts, offerId).command(`sendKeys ${keysId}`, offerId),
  };
}

const ofTransfer = (contacts: Contacts, transferId: string): TestContact => contacts.get(transferId.slice(0, -1))!;

/** As the database answers an id it does not have. */
function ofOffer(contacts: Contacts, offerId: string): TestContact {
  const contact = [...contacts.values()].find((each) => each.knows(String(offerId)));
  if (!contact) throw ApplicationFailure.nonRetryable('there is no such offer', 'NOT_FOUND');
  return contact;
}

/** The definite "no" of a click: `OFFER_OVER (queued)`; `done` when it was done after all. */
export async function refusal(click: Promise<unknown>): Promise<string> {
  try {
    await click;
    return 'done';
  } catch (error) {
    if (error instanceof AppError) return `${error.code} (${error.details.state})`;
    throw error;
  }
}

/** A telephony node that can't say: what an activity without an answer in time looks like, without the wait. */
export const noAnswer = (): Error => ApplicationFailure.nonRetryable('no answer', 'NOT_FOUND');
