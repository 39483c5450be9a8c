import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { portFreed } from '../../dev/process.ts';

test('a port counts as free when nobody listens on it any more, and is not waited for for ever', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let isFreed = false;
  const freed = portFreed(port, 60_000).then(() => (isFreed = true));
  await portFreed(port, 200);
  expect(isFreed).toBe(false);
  server.close();
  await freed;
});
