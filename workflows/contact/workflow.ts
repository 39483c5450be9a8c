/** Wiring only: validate the input, register every handler, run the life. */
import type { SignalDefinition, UpdateDefinition } from '@temporalio/common';
import { CancellationScope, continueAsNew, setHandler } from '@temporalio/workflow';
import { type Closed, ContactLife } from './life.ts';
import * as messages from './messages.ts';
import { checkShape, type MessageName } from './shapes.ts';

export async function contact(input: messages.ContactInput): Promise<Closed> {
  const life = new ContactLife(input);
  /** A cancellation of the workflow is a wish like any other (below): it takes nothing out of hand. */
  const undisturbed = <T>(deed: () => Promise<T> | T): Promise<T> => CancellationScope.nonCancellable(async () => deed());

  /** A signal never throws (that would end the workflow): what is refused is noted for the operator. */
  function listen<A>(signal: SignalDefinition<[A]>, deed: (argument: A) => Promise<unknown> | void): void {
    setHandler(signal, async (argument) => {
      try {
        checkShape(signal.name as MessageName, argument);
        await undisturbed(() => deed(argument));
      } catch (error) {
        life.noteRefused(signal.name, error);
      }
    });
  }
  /** An update, and the signal of the same name: the same check and, but for what the API adds, the same deed. */
  function answer<A>(
    update: UpdateDefinition<messages.Done, [A]>,
    signal: SignalDefinition<[A]>,
    check: (argument: A) => void,
    deed: (argument: A) => Promise<messages.Done> | messages.Done,
    byHand = deed,
  ): void {
    const validator = (argument: A): void => {
      checkShape(update.name as MessageName, argument);
      check(argument);
    };
    setHandler(update, (argument) => undisturbed(() => deed(argument)), { validator });
    listen(signal, async (argument) => {
      check(argument);
      await byHand(argument);
    });
  }

  listen(messages.offered, (message) => life.offered(message));
  listen(messages.legEnded, (message) => life.legEnded(message));
  listen(messages.nodeLost, (message) => life.nodeLost(message));
  listen(messages.wrapUpEnded, (message) => life.wrapUpEnded(message));
  listen(messages.agentGone, (message) => life.agentGone(message));
  listen(messages.withdraw, (message) => life.withdraw(message));
  listen(messages.moved, () => life.moved());
  setHandler(messages.state, () => life.view());

  const { asSignals } = messages;
  answer(messages.reject, asSignals.reject, (a) => life.checkReject(a), (a) => life.reject(a));
  answer(messages.cancel, asSignals.cancel, (a) => life.checkCancel(a), (a) => life.cancel(a));
  answer(messages.release, asSignals.release, (a) => life.checkRelease(a), (a) => life.release(a));
  answer(messages.accept, asSignals.accept, (a) => life.checkAccept(a), (a) => life.accept(a));
  answer(messages.hangUp, asSignals.hangUp, (a) => life.checkHangUp(a), (a) => life.hangUp(a));
  answer(
    messages.dispose,
    asSignals.dispose,
    (a) => life.checkDispose(a),
    (a) => life.dispose(a),
    (a) => life.disposeByHand(a),
  );
  answer(messages.extendWrapUp, asSignals.extendWrapUp, (a) => life.checkExtendWrapUp(a), (a) => life.extendWrapUp(a));
  answer(messages.hold, asSignals.hold, (a) => life.checkHold(a), () => life.hold(true));
  answer(messages.resume, asSignals.resume, (a) => life.checkHold(a), () => life.hold(false));
  answer(messages.sendKeys, asSignals.sendKeys, (a) => life.checkInTalk(a), (a) => life.sendKeys(a));
  answer(messages.transfer, asSignals.transfer, (a) => life.checkTransfer(a), (a) => life.transferTalk(a));
  answer(messages.completeTransfer, asSignals.completeTransfer, (a) => life.checkTransferring(a), () => life.completeTransfer());
  answer(messages.takeBack, asSignals.takeBack, (a) => life.checkTransferring(a), () => life.takeBackContact());
  answer(messages.disable, asSignals.disable, () => life.checkDisable(), (a) => life.disable(a));

  // "Request cancellation" in the Temporal UI is Disable by another name: what rings is ended in order, a talk goes on.
  CancellationScope.current().cancelRequested.catch(() =>
    undisturbed(() => life.disable({ reason: 'disabled', by: 'operator' })),
  );

  const closed = await undisturbed(() => life.run());
  return closed ?? continueAsNew<typeof contact>(life.carriedOver());
}
