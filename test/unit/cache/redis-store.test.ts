import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { until } from '../../support/redis.ts';
import { openTestStore } from '../../support/redis-store.ts';

describe('the store in Redis', { timeout: 240_000 }, () => {
  test('believes nothing of what answers every command with OK', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes: Buffer) => {
        const commands = bytes.toString('latin1').match(/\*\d+\r\n\$/g) ?? [];
        socket.write('+OK\r\n'.repeat(commands.length));
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const { store, log } = openTestStore({ address: `127.0.0.1:${port}` });
    try {
      await until('it is found out', () =>
        log.some(({ reason }) => reason === 'it does not answer as Redis does'),
      );
      assert.equal(store.isUsable(), false);
      assert.equal(await store.beginWrite({ id: '1', scope: 'v2:app', items: 'all' }), false);
    } finally {
      await store.close();
      server.close();
    }
  });
});
