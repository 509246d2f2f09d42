import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { GatheredRequest } from '../../../src/listener/gathered-request.ts';

/** What comes of a request's body when it is sent in chunks of these sizes, and read by `read`. */
async function bodyOf(
  sizes: readonly number[],
  read: (request: IncomingMessage, take: (piece: Buffer) => void) => void,
): Promise<{ sent: Buffer; received: Buffer; pieces: number }> {
  const server = createServer({ IncomingMessage: GatheredRequest }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  try {
    const request = once(server, 'request') as Promise<[IncomingMessage]>;
    client.write('PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const [incoming] = await request;
    const sent = sizes.map((size, i) => Buffer.alloc(size, i % 256));
    const taken: Buffer[] = [];
    const end = once(incoming, 'end');
    read(incoming, (piece) => taken.push(piece));
    for (const chunk of sent) {
      client.write(`${chunk.length.toString(16)}\r\n`);
      client.write(chunk);
      client.write('\r\n');
    }
    client.write('0\r\n\r\n');
    await end;
    return { sent: Buffer.concat(sent), received: Buffer.concat(taken), pieces: taken.length };
  } finally {
    client.destroy();
    server.close();
  }
}

const mixed = Array.from({ length: 3000 }, (_, i) => (i % 50 === 0 ? 20_000 : 1 + (i % 7)));

describe('a request whose small pieces are gathered', () => {
  test('is whole when it is read late, and comes in few pieces', async () => {
    const { sent, received, pieces } = await bodyOf(Array<number>(12_000).fill(1), (request, take) => {
      const wait = setInterval(() => {
        // All of it is fewer bytes than may wait for a reader.
        if (!request.complete) return;
        clearInterval(wait);
        request.on('data', take);
      }, 5);
    });
    assert.ok(received.equals(sent));
    assert.ok(pieces <= 4, `${pieces} pieces`);
  });

  test('is whole when its reader stops and goes on, whatever the chunks', async () => {
    const { sent, received } = await bodyOf(mixed, (request, take) => {
      let count = 0;
      request.on('data', (piece: Buffer) => {
        take(piece);
        count += 1;
        if (count % 3 !== 0) return;
        request.pause();
        setTimeout(() => request.resume(), count % 2);
      });
    });
    assert.ok(received.equals(sent));
  });

  test('is whole when it is read as it comes, and by who asks for pieces', async () => {
    const flowing = await bodyOf(mixed, (request, take) => request.on('data', take));
    assert.ok(flowing.received.equals(flowing.sent));
    const asked = await bodyOf(mixed, (request, take) => {
      request.on('readable', () => {
        for (let piece: unknown; (piece = request.read()) !== null;) take(piece as Buffer);
      });
    });
    assert.ok(asked.received.equals(asked.sent));
  });
});
