import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createByteReader } from '../../support/byte-reader.ts';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { anonymous, authorized, connectClient, errorCode, exchange } from '../../support/raw-client.ts';
import { answerOk, startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

/** Whether by an end or by a reset. */
const closeOf = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve));

describe('limits of size', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream({ script: answerOk });
    frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['limits.headerBytes=8KiB'] });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  for (const [what, request] of [
    ['one long header', authorized('GET /v2/', `X-Long: ${'x'.repeat(9000)}`)],
    ['many headers', authorized('GET /v2/', ...Array.from({ length: 1500 }, (_, i) => `X-${i}: ${i}`))],
    ['a long target', authorized(`GET /v2/${'x'.repeat(9000)}`)],
    ['a long query', authorized(`GET /v2/?${'x'.repeat(9000)}`)],
    ['a long header name', authorized('GET /v2/', `${'X'.repeat(9000)}: 1`)],
    ['a head that never ends', `GET /v2/ HTTP/1.1\r\nX: ${'x'.repeat(9000)}`],
  ] as const) {
    test(`${what}: 431`, async () => {
      const seenBefore = upstream.requests.length;
      const client = await connectClient(frontDoor);
      client.send(request);
      const response = await client.response();
      assert.equal(response.status, 431);
      assert.equal(errorCode(response), 'HEADERS_TOO_LARGE');
      assert.equal((await client.rest()).length, 0);
      assert.equal(upstream.requests.length, seenBefore);
    });
  }

  test('a head below the limit passes with all its headers', async () => {
    const lines = Array.from({ length: 600 }, (_, i) => `x-${i}: 1`);
    assert.equal((await exchange(frontDoor, authorized('GET /v2/', ...lines))).status, 200);
    const received = upstream.requests.at(-1) ?? assert.fail();
    assert.equal(received.headers.filter(([name]) => name.startsWith('x-')).length, 600);
  });

  test('trailers that never end are cut', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('PATCH /v2/app/blobs/uploads/1', 'Transfer-Encoding: chunked'), '0\r\n');
    for (let i = 0; i < 20; i++) client.send(`X-${i}: ${'x'.repeat(1000)}\r\n`);
    await client.rest();
  });
});

describe('limits of time and number', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream();
  });
  after(() => upstream.close());
  const withLimits = async (limits: readonly string[], use: (frontDoor: FrontDoor) => Promise<void>) => {
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: limits.map((limit) => `limits.${limit}`),
    });
    try {
      await use(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };

  test('half a head: 408 after limits.headerTimeout; and so is none', () =>
    withLimits(['headerTimeout=300ms'], async (frontDoor) => {
      for (const sent of [['GET /v2/ HTTP/1.1\r\nHost: x\r\n'], []]) {
        const client = await connectClient(frontDoor);
        client.send(...sent);
        const response = await client.response();
        assert.equal(response.status, 408);
        assert.equal(errorCode(response), 'REQUEST_TIMEOUT');
        assert.equal((await client.rest()).length, 0);
      }
    }));

  test('a head that comes byte by byte: 408 after limits.headerTimeout, as the first or a later one', () =>
    withLimits(['headerTimeout=500ms'], async (frontDoor) => {
      for (const before of ['', anonymous('GET /v2/x')]) {
        const client = await connectClient(frontDoor);
        client.send(before);
        if (before !== '') assert.equal((await client.response()).status, 401);
        client.send('GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ');
        const trickle = setInterval(() => client.send('x'), 50);
        const response = await client.response().finally(() => clearInterval(trickle));
        assert.equal(response.status, 408);
        assert.equal((await client.rest()).length, 0);
      }
    }));

  test('a TLS handshake that comes byte by byte: closed after limits.handshakeTimeout', () =>
    withLimits(['handshakeTimeout=500ms'], async (frontDoor) => {
      const socket = connect(frontDoor.port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]));
      const trickle = setInterval(() => socket.write('x'), 50);
      await closeOf(socket).finally(() => clearInterval(trickle));
    }));

  test('a body that comes byte by byte from who has no password: refused at once, and closed', () =>
    withLimits(['refusedBodyTimeout=500ms'], async (frontDoor) => {
      const client = await connectClient(frontDoor);
      client.send(anonymous('PATCH /v2/app/blobs/uploads/1', 'Content-Length: 1000000'));
      const trickle = setInterval(() => client.send('x'), 50);
      try {
        assert.equal((await client.response()).status, 401);
        assert.equal((await client.rest()).length, 0);
      } finally {
        clearInterval(trickle);
      }
    }));

  test('no TLS handshake: closed after limits.handshakeTimeout', () =>
    withLimits(['handshakeTimeout=300ms'], async (frontDoor) => {
      const socket = connect(frontDoor.port, '127.0.0.1');
      socket.on('error', () => {}).resume();
      await closeOf(socket);
    }));

  test('plain HTTP on the TLS port: one plain sentence, and closed; anything else: closed without a word', () =>
    withLimits([], async (frontDoor) => {
      const say = async (text: string) => {
        const socket = connect(frontDoor.port, '127.0.0.1');
        const reader = createByteReader(socket);
        socket.write(text);
        return (await reader.rest()).toString();
      };
      const sentence = 'This port speaks HTTPS only: use https:// in place of http://.\n';
      const answer =
        head(
          'HTTP/1.1 400 Bad Request',
          'Content-Type: text/plain; charset=utf-8',
          `Content-Length: ${sentence.length}`,
          'Connection: close',
        ) + sentence;
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'CONNECT'])
        assert.equal(await say(anonymous(`${method} /v2/`)), answer, method);
      for (const text of ['SSH-2.0-OpenSSH_9.2\r\n', 'get / HTTP/1.1\r\n\r\n'])
        assert.equal(await say(text), '', text);
      // OpenSSL 3.5 knows these for HTTP, 3.0 does not.
      for (const method of ['DELETE', 'PATCH', 'OPTIONS'])
        assert.ok(['', answer].includes(await say(anonymous(`${method} /v2/x`))), method);
    }));

  test('an idle connection: closed after limits.keepAliveTimeout', () =>
    withLimits(['keepAliveTimeout=300ms'], async (frontDoor) => {
      const client = await connectClient(frontDoor);
      client.send(anonymous('GET /v2/x'));
      assert.equal((await client.response()).status, 401);
      assert.equal((await client.rest()).length, 0);
    }));

  test('an upload that moves is not cut by any limit; one that is silent is, on both sides', () =>
    withLimits(['idleTimeout=500ms', 'headerTimeout=400ms', 'keepAliveTimeout=300ms'], async (frontDoor) => {
      const client = await connectClient(frontDoor);
      client.send(authorized('PATCH /v2/app/blobs/uploads/1', 'Transfer-Encoding: chunked'));
      const request = await upstream.next();
      for (let i = 0; i < 15; i++) {
        client.send('1\r\nx\r\n');
        await delay(100);
      }
      assert.equal(client.socket.readyState, 'open');
      assert.equal((await client.rest()).length, 0);
      const { body, complete } = await request.body();
      assert.deepEqual([body.toString(), complete], ['x'.repeat(15), false]);
      await request.closed;
    }));

  test('a client that waits for upstream is not idle', () =>
    withLimits(['idleTimeout=200ms', 'keepAliveTimeout=200ms'], async (frontDoor) => {
      const client = await connectClient(frontDoor);
      client.send(authorized('GET /v2/app/blobs/x'));
      const request = await upstream.next();
      await delay(800);
      request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 4'));
      await client.responseHead();
      await delay(800);
      request.answer('late');
      assert.equal((await client.reader.take(4)).toString(), 'late');
      client.leave();
    }));

  for (const [what, pipelined] of [
    ['', ''],
    [', with another request behind', anonymous('GET /v2/x')],
  ] as const) {
    test(`a client that stops reading is cut after limits.idleTimeout, and upstream with it${what}`, () =>
      withLimits(['idleTimeout=500ms'], async (frontDoor) => {
        const client = await connectClient(frontDoor);
        client.send(authorized('GET /v2/app/blobs/x') + pipelined);
        const request = await upstream.next();
        request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${64 * 1024 * 1024}`));
        request.answer(Buffer.alloc(64 * 1024 * 1024));
        await client.responseHead();
        await request.closed;
        assert.ok((await client.rest()).length < 64 * 1024 * 1024);
      }));
  }
});
