import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { before, describe, it } from 'node:test';
import { connect, type ConnectionOptions } from 'node:tls';
import fc from 'fast-check';
import { parseClientHello } from '../../../src/listener/client-hello.ts';

/** The first bytes that Node's own client sends. */
async function greet(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ...options });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  client.destroy();
  server.close();
  return bytes;
}

function toRecord(part: Buffer): Buffer {
  const head = Buffer.from([22, 3, 1, 0, 0]);
  head.writeUInt16BE(part.length, 3);
  return Buffer.concat([head, part]);
}

describe('parseClientHello', () => {
  let check: Buffer;
  before(async () => {
    check = await greet({ servername: 'Registry.Example.com', ALPNProtocols: ['acme-tls/1'] });
  });
  const expected = { serverName: 'registry.example.com', protocols: ['acme-tls/1'] };

  it('finds name and protocols, of TLS 1.2 and 1.3, and their absence', async () => {
    assert.deepEqual(parseClientHello(check), expected);
    const client = await greet({
      servername: 'a.example',
      ALPNProtocols: ['h2', 'http/1.1'],
      maxVersion: 'TLSv1.2',
    });
    assert.deepEqual(parseClientHello(client), { serverName: 'a.example', protocols: ['h2', 'http/1.1'] });
    assert.deepEqual(parseClientHello(await greet({})), { serverName: null, protocols: [] });
  });

  it('waits for the rest of one that arrives in pieces', () => {
    for (let length = 0; length < check.length; length += 1)
      assert.equal(parseClientHello(check.subarray(0, length)), 'incomplete', String(length));
    assert.deepEqual(parseClientHello(Buffer.concat([check, Buffer.alloc(100)])), expected);
  });

  it('joins one that is parted among records', () => {
    const message = check.subarray(5);
    const parts = [message.subarray(0, 1), message.subarray(1, 70), message.subarray(70)];
    assert.deepEqual(parseClientHello(Buffer.concat(parts.map(toRecord))), expected);
  });

  it('leaves one alone that is parted among more records than any honest one', () => {
    const records = Array.from(check.subarray(5), (byte) => toRecord(Buffer.from([byte])));
    assert.equal(parseClientHello(Buffer.concat(records.slice(0, 15))), 'incomplete');
    assert.equal(parseClientHello(Buffer.concat(records.slice(0, 16))), null);
    assert.equal(parseClientHello(Buffer.concat(records)), null);
  });

  it('leaves anything else alone, and ends', () => {
    assert.equal(parseClientHello(Buffer.from('GET / HTTP/1.1\r\n\r\n')), null);
    assert.equal(parseClientHello(Buffer.from([22, 3, 1, 0, 0])), null);
    assert.equal(
      parseClientHello(
        Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]), Buffer.alloc(40_000)]),
      ),
      null,
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(check.length - 1), fc.nat(255)), { maxLength: 20 }), (changes) => {
        const changed = Buffer.from(check);
        for (const [at, byte] of changes) changed[at] = byte;
        parseClientHello(changed);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void parseClientHello(Buffer.from(bytes))),
    );
  });
});
