/** Webhooks with the whole product as processes: rows of real contacts over TLS, and workers that die or freeze meanwhile. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../config/clock.ts';
import { writeMany } from '../kit/events.ts';
import { eventually } from '../kit/eventually.ts';
import { LOCALHOST_PEM, type Receiver, startReceiver } from '../kit/receiver.ts';
import { setScene } from '../kit/scene.ts';
import { type Json, startSystem, type System } from '../kit/system.ts';

/** A lease is 20 s. */
const TAKEN_OVER = { withinMs: 60_000 };

let system: System;
beforeAll(async () => {
  system = await startSystem({ settings: { WEBHOOK_NETWORKS: '127.0.0.0/8,::1', NODE_EXTRA_CA_CERTS: LOCALHOST_PEM } });
}, 90_000);
afterAll(() => system?.stop());

const make = (receiver: Receiver, more: object = {}): Promise<Json> => system.ok('POST', '/webhooks', { url: receiver.url, ...more });
const show = ({ id }: Json): Promise<Json> => system.ok('GET', `/webhooks/${id}`);
const isThrough = (webhook: Json) => eventually(async () => (await show(webhook)).behind === 0, TAKEN_OVER);

it('posts what happens to a contact', async () => {
  const receiver = await startReceiver({ tls: true });
  const webhook = await make(receiver);
  const scene = await setScene(system, { contacts: [{ phone_num: '+4722400001', variables: { var1: 'Kari' } }] });
  await eventually(() => receiver.positions().length >= 2);
  await isThrough(webhook);
  const items = receiver.messages.flatMap(({ body }) => body.data.items);
  expect(items.filter(({ contact_id }: Json) => contact_id === scene.contacts[0])).toMatchObject([
    { kind: 'call', event_type: 'i', source: '+4722400001' },
    { kind: 'call', event_type: 'q', result_code: 'q' },
  ]);
  for (const message of receiver.messages) expect(receiver.isSignedWith(webhook.secret, message)).toBe(true);
  await system.ok('POST', `/webhooks/${webhook.id}/pause`);
});

/** What is to be delivered: 250 rows; the receiver keeps the first batch waiting until the end of the test. */
async function beginDelivering(): Promise<{ receiver: Receiver; webhook: Json }> {
  const receiver = await startReceiver();
  receiver.answer = () => (receiver.messages.length === 1 ? new Promise<never>(() => undefined) : 200);
  const webhook = await make(receiver);
  await writeMany({ pool: system.sql, clock: systemClock }, 250);
  await eventually(() => receiver.messages.length === 1, TAKEN_OVER);
  return { receiver, webhook };
}

/** The first batch came twice, as the same delivery, and everything else once, in order. */
function expectOneRepeat({ messages, positions }: Receiver): void {
  expect([messages[1]!.id, messages[1]!.text]).toEqual([messages[0]!.id, messages[0]!.text]);
  const all = positions();
  expect(all.slice(100)).toEqual(Array.from({ length: 250 }, (_, n) => all[0]! + n));
  expect(new Set(messages.map(({ id }) => id)).size).toBe(messages.length - 1);
}

it('goes on after the death of a worker, by another, with the same delivery', async () => {
  const { receiver, webhook } = await beginDelivering();
  await system.worker.kill();
  const second = await system.addWorker('worker-2');
  await isThrough(webhook);
  expectOneRepeat(receiver);
  await second.stop();
});

it('goes on while a worker is frozen, which sends nothing when it is back', async () => {
  await system.worker.restart();
  const { receiver, webhook } = await beginDelivering();
  system.worker.signal('SIGSTOP');
  const third = await system.addWorker('worker-3');
  await isThrough(webhook);
  system.worker.signal('SIGCONT');
  // It serves again: what comes now is delivered, be it by the one or the other.
  await third.stop();
  await writeMany({ pool: system.sql, clock: systemClock }, 1);
  const last = receiver.positions().at(-1)! + 1;
  await eventually(() => receiver.positions().at(-1) === last, TAKEN_OVER);
  const all = receiver.positions();
  expect(all.slice(100)).toEqual(Array.from({ length: 251 }, (_, n) => all[0]! + n));
  const log = (await system.ok('GET', `/webhooks/${webhook.id}/deliveries`)).items;
  expect(log.filter(({ delivered }: Json) => delivered)).toHaveLength(4);
});

it('a worker that is stopped in order ends what it delivers, and nothing comes twice', async () => {
  const receiver = await startReceiver();
  const webhook = await make(receiver);
  await writeMany({ pool: system.sql, clock: systemClock }, 5_000);
  await eventually(() => receiver.messages.length > 2, TAKEN_OVER);
  await system.worker.stop();
  const ids = () => receiver.messages.map(({ id }) => id);
  expect(receiver.positions().length).toBeLessThan(5_000);
  await system.worker.restart();
  await isThrough(webhook);
  expect(new Set(ids()).size).toBe(ids().length);
  expect(receiver.positions()).toHaveLength(5_000);
});
