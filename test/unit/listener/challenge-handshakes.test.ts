import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { createChallengeCertificate } from '../../../src/acme/challenge-certificate.ts';
import { createChallengeHandshakes } from '../../../src/listener/challenge-handshakes.ts';

const host = 'registry.example.com';

test('a client of a check that never ends its side does not keep the connection', async (t) => {
  const handshakes = createChallengeHandshakes({ timeoutMs: 500 });
  handshakes.use({ [host]: await createChallengeCertificate(host, 'token.thumbprint', new Date()) });
  const server = createServer((socket) =>
    handshakes.begin(socket, () => assert.fail('it is no check')),
  ).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect({
    ...{ port, host: '127.0.0.1', servername: host, ALPNProtocols: ['acme-tls/1'] },
    rejectUnauthorized: false,
    ...{ allowHalfOpen: true }, // its type does not know it
  });
  client.on('error', () => {});
  t.after(() => client.destroy());
  await once(client, 'secureConnect');
  const [socket] = await accepted;
  await once(socket, 'close');
  assert.equal(client.writable, true);
});
