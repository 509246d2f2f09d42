import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { readMemory } from '../support/process-status.ts';
import { authorized, connectClient, exchange, type RawClient } from '../support/raw-client.ts';
import { unlessPossible } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const MiB = 1024 * 1024;
const get = authorized('GET /v2/app/blobs/x');

/** Bodies of 1 MiB or more whose length is known go from socket to socket; upstream's connection ends with them. */
describe('bodies that do not pass the parser', { timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });
  const answerWith = (request: UpstreamRequest, body: Buffer, ...lines: string[]) =>
    request.answer(head('HTTP/1.1 200 OK', ...lines), body);

  for (const [what, size, lines, isDirect] of [
    ['1 MiB', MiB, [`Content-Length: ${MiB}`], true],
    ['a byte less', MiB - 1, [`Content-Length: ${MiB - 1}`], false],
    ['2 MiB', 2 * MiB, [`Content-Length: ${2 * MiB}`], true],
  ] as const) {
    test(`${what}: ${isDirect ? 'a new' : 'the same'} connection for the next request`, async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const first = await upstream.next();
      const body = Buffer.alloc(size, 'a');
      answerWith(first, body, ...lines);
      assert.ok((await client.response()).body.equals(body));
      if (isDirect) await first.closed;
      client.send(get);
      const second = await upstream.next();
      assert.equal(second.connection === first.connection, !isDirect);
      answerWith(second, Buffer.from('ok'), 'Content-Length: 2');
      assert.equal((await client.response()).body.toString(), 'ok');
      client.leave();
      second.socket.end();
      await second.closed;
    });
  }

  for (const [what, start, lines] of [
    ['206', 'HTTP/1.1 206 Partial Content', [`Content-Range: bytes 0-${MiB - 1}/*`]],
    ['HTTP/1.0', 'HTTP/1.0 200 OK', []],
    ['after 103', 'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK', []],
  ] as const) {
    test(`${what}: byte for byte, the head in pieces`, async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      const body = Buffer.alloc(MiB, 'abcdefg');
      const all = Buffer.concat([Buffer.from(head(start, ...lines, `Content-Length: ${MiB}`)), body]);
      request.socket.setNoDelay();
      for (const byte of all.subarray(0, 200)) request.socket.write(Buffer.from([byte]));
      request.socket.write(all.subarray(200));
      const response = await client.response();
      assert.ok(response.body.equals(body));
      await request.closed;
      client.leave();
    });
  }

  for (const extra of ['x', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged', 'y'.repeat(MiB)]) {
    test(`${extra.length} bytes more than announced: nobody gets them`, async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      answerWith(
        request,
        Buffer.concat([Buffer.alloc(MiB, 'a'), Buffer.from(extra)]),
        `Content-Length: ${MiB}`,
      );
      const response = await client.response();
      assert.ok(response.body.equals(Buffer.alloc(MiB, 'a')));
      await request.closed;
      client.send(get);
      answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
      assert.equal((await client.response()).body.toString(), 'ok');
      client.leave();
    });
  }

  test('bytes on a connection that waits for a request end it: nobody gets them', async () => {
    const client = await connectClient(frontDoor);
    client.send(get);
    const request = await upstream.next();
    answerWith(request, Buffer.from('ok'), 'Content-Length: 2');
    assert.equal((await client.response()).body.toString(), 'ok');
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'forged');
    await request.closed;
    client.send(get);
    answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
    assert.equal((await client.response()).body.toString(), 'ok');
    client.leave();
  });

  for (const how of ['FIN', 'RST'] as const) {
    test(`${how} in the middle: the client is cut off`, async () => {
      const client = await connectClient(frontDoor);
      client.send(get);
      const request = await upstream.next();
      answerWith(request, Buffer.alloc(MiB), `Content-Length: ${3 * MiB}`);
      await client.responseHead();
      assert.equal(await client.reader.discard(MiB), MiB);
      if (how === 'FIN') request.socket.end();
      else request.socket.resetAndDestroy();
      assert.equal((await client.rest()).length, 0);
      await frontDoor.logged(({ reason }) => reason === 'upstream-broke');
    });
  }

  test('upstream closes right behind the last byte: a clean end for a client that reads late', async () => {
    const client = await connectClient(frontDoor);
    client.send(get);
    const request = await upstream.next();
    answerWith(request, Buffer.alloc(16 * MiB, 'z'), `Content-Length: ${16 * MiB}`, 'Connection: close');
    request.socket.end();
    await client.responseHead();
    assert.equal(await client.reader.discard(16 * MiB), 16 * MiB);
    client.send(get);
    answerWith(await upstream.next(), Buffer.from('ok'), 'Content-Length: 2');
    assert.equal((await client.response()).body.toString(), 'ok');
    client.leave();
  });

  test('a client that leaves in the middle: upstream sees the end', async () => {
    const client = await connectClient(frontDoor);
    client.send(get);
    const request = await upstream.next();
    answerWith(request, Buffer.alloc(MiB), `Content-Length: ${64 * MiB}`);
    await client.responseHead();
    await client.reader.discard(MiB);
    client.leave();
    await request.closed;
  });

  test('the log has the bytes that were passed on', async () => {
    const asked = exchange(frontDoor, authorized('GET /v2/app/blobs/counted'));
    answerWith(await upstream.next(), Buffer.alloc(3 * MiB), `Content-Length: ${3 * MiB}`);
    await asked;
    const line = await frontDoor.logged(({ path }) => path === '/v2/app/blobs/counted');
    assert.equal(line['bytesOut'], 3 * MiB);
  });
});

test(
  '100 clients that do not read: little memory each',
  { timeout: 360_000, skip: unlessPossible(process.platform === 'linux', 'reads /proc') },
  async (t) => {
    const piece = Buffer.alloc(MiB);
    let sentBytes = 0;
    const upstream = await startUpstream({
      script: async (request) => {
        const { socket } = request;
        request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${512 * MiB}`));
        while (!socket.destroyed) {
          sentBytes += piece.length;
          if (!socket.write(piece)) await once(socket, 'drain').catch(() => {});
        }
      },
    });
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const clients: RawClient[] = [];
    try {
      const start = await readMemory(frontDoor.pid);
      for (let i = 0; i < 100; i++) {
        const client = await connectClient(frontDoor);
        clients.push(client);
        client.send(get);
        await client.responseHead();
      }
      let before = -1;
      while (before !== sentBytes) {
        before = sentBytes;
        await delay(500);
      }
      const stalled = await readMemory(frontDoor.pid);
      t.diagnostic(`RSS before ${start.nowBytes}, stalled ${stalled.nowBytes} bytes`);
      assert.ok(stalled.nowBytes - start.nowBytes < 150 * MiB);
    } finally {
      for (const client of clients) client.leave();
    }
    await upstream.idle();
    await frontDoor.stop();
    await upstream.close();
  },
);
