/** Workflows that do nothing but the hops: what the product's figures are held against. */
import {
  condition,
  defineSignal,
  defineUpdate,
  proxyActivities,
  proxyLocalActivities,
  proxySinks,
  setHandler,
} from '@temporalio/workflow';

/** Loosely typed on purpose: the activities are made where the figures are taken. */
interface BareActivities {
  arrive(input: { id: string }): Promise<void>;
}

const { arrive } = proxyActivities<BareActivities>({ startToCloseTimeout: '10s' });
const { arrive: note } = proxyLocalActivities<BareActivities>({ startToCloseTimeout: '10s' });

/** Told as soon as the first task of a workflow is carried out. */
export type BareSinks = { bare: { taken(): void } };
const { bare } = proxySinks<BareSinks>();

export const go = defineSignal('go');
export const end = defineSignal('end');
export const finish = defineUpdate<void>('finish');

/** Waits for a signal, then carries out one activity: one hop. */
export async function hop({ id }: { id: string }): Promise<void> {
  let isTold = false;
  setHandler(go, () => void (isTold = true));
  bare.taken();
  await condition(() => isTold);
  await arrive({ id });
}

/** The hops of one whole call, without what happens at their ends. */
export async function call({ id }: { id: string }): Promise<void> {
  let isTold = false;
  let isOver = false;
  let isFinished = false;
  setHandler(go, () => void (isTold = true));
  setHandler(end, () => void (isOver = true));
  setHandler(finish, () => void (isFinished = true));
  await condition(() => isTold);
  await arrive({ id: `${id}/ring` });
  await arrive({ id: `${id}/dial` });
  await condition(() => isOver);
  await condition(() => isFinished, '30s');
  await note({ id: `${id}/note` });
}
