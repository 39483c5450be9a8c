/** Wiring only: validate the input, register every handler, run the life. */
import type { SignalDefinition, UpdateDefinition } from '@temporalio/common';
import {
  allHandlersFinished,
  condition,
  continueAsNew,
  setHandler,
} from '@temporalio/workflow';
import { type Closed, ContactLife } from './life.ts';
import * as messages from './messages.ts';

export async function contact(input: messages.ContactInput): Promise<Closed> {
  const life = new ContactLife(input);

  setHandler(messages.offered, (offer) => life.offered(offer));
  setHandler(messages.legEnded, (message) => life.legEnded(message));
  setHandler(messages.wrapUpEnded, (message) => life.wrapUpEnded(message));
  setHandler(messages.agentGone, quietly<messages.AgentGone>('agentGone', (message) => life.agentGone(message)));
  setHandler(messages.withdraw, quietly<messages.Withdraw>('withdraw', (message) => life.withdraw(message)));
  setHandler(messages.state, () => life.view());

  /** An update, and the signal of the same name: the same check and deed, but a signal never throws. */
  function answer<A>(
    [update, signal]: [UpdateDefinition<messages.Done, [A]>, SignalDefinition<[A]>],
    check: (argument: A) => void,
    deed: (argument: A) => Promise<messages.Done> | messages.Done,
  ): void {
    setHandler(update, async (argument) => deed(argument), { validator: check });
    setHandler(
      signal,
      quietly(update.name, async (argument: A) => {
        check(argument);
        await deed(argument);
      }),
    );
  }
  function quietly<A>(name: string, deed: (argument: A) => Promise<void>): (argument: A) => Promise<void> {
    return async (argument) => {
      try {
        await deed(argument);
      } catch (error) {
        life.noteRefused(name, error);
      }
    };
  }
  const { asSignals } = messages;
  answer([messages.reject, asSignals.reject], (a) => life.checkReject(a), () => life.reject());
  answer([messages.cancel, asSignals.cancel], (a) => life.checkCancel(a), (a) => life.cancel(a));
  answer([messages.accept, asSignals.accept], (a) => life.checkAccept(a), () => life.accept());
  answer([messages.hangUp, asSignals.hangUp], (a) => life.checkHangUp(a), () => life.hangUp());
  answer([messages.dispose, asSignals.dispose], (a) => life.checkDispose(a), (a) => life.dispose(a));
  answer([messages.extendWrapUp, asSignals.extendWrapUp], (a) => life.checkExtendWrapUp(a), (a) => life.extendWrapUp(a));
  answer([messages.disable, asSignals.disable], () => life.checkDisable(), (a) => life.disable(a));

  const closed = await life.run();
  if (closed) return closed;
  await condition(allHandlersFinished);
  return continueAsNew<typeof contact>(life.carriedOver());
}
