import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createTestAlert } from '../../../src/alerts/alert.ts';
import { createWebhook } from '../../../src/alerts/webhook.ts';
import { createSender } from '../../../src/doctor/client/http-sender.ts';
import { answersLikeRegistry } from '../../../src/quickstart/registry/registry-probe.ts';

const neverMs = 30_000;

describe('a server that answers 101 unasked', { timeout: neverMs / 2 }, () => {
  let server: Server;
  let port = 0;
  before(async () => {
    server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
      );
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    ({ port } = server.address() as AddressInfo);
  });
  after(() => server.close());

  test('has not taken an alert', async () => {
    const sent = createWebhook(`http://127.0.0.1:${port}/`, null).send(createTestAlert('host', new Date()));
    await assert.rejects(sent, /it answered 101 Switching Protocols unasked/);
  });

  test('fails a check of doctor', async () => {
    const send = createSender({ address: '127.0.0.1', port, authority: 'localhost', tls: null });
    const asked = send({ method: 'GET', path: '/', limitMs: neverMs }, new AbortController().signal);
    await assert.rejects(asked, /it answered 101 Switching Protocols unasked/);
  });

  test('is no registry', async () => {
    assert.equal(await answersLikeRegistry(`http://127.0.0.1:${port}`, null, neverMs), false);
  });
});
