import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { basic, startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, errorCode, type RawClient } from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

const KiB = 1024;
const maxManifestBytes = 64 * KiB;

/** Whether the kernel takes these bytes within half a second. */
const written = (socket: Duplex, bytes: Buffer): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 500);
    socket.write(bytes, () => {
      clearTimeout(timer);
      resolve(true);
    });
  });

describe('requests refused with a body on its way', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  let frontDoor: FrontDoor;
  before(async () => {
    upstream = await startUpstream();
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      // So long that no connection is closed for it in these tests.
      set: [`limits.manifestBytes=${maxManifestBytes}B`, 'limits.refusedBodyTimeout=10m', 'log.audit=false'],
    });
  });
  after(async () => {
    await frontDoor.stop();
    await upstream.close();
  });

  /**
   * After an answer a little more of the body is read, and no more: what the client sends backs up. The connection stays
   * until the client goes.
   */
  const stopsReading = async (client: RawClient) => {
    const { socket } = client;
    const bytes = Buffer.alloc(64 * KiB);
    const total = 64 * 1024 * KiB; // far more than the kernel's buffers hold
    let sentBytes = 0;
    while (sentBytes < total && (await written(socket, bytes))) sentBytes += bytes.length;
    assert.ok(sentBytes < total, `${sentBytes} bytes were taken`);
    assert.equal(socket.readyState, 'open');
    client.leave();
  };

  for (const [what, ...lines] of [
    ['Content-Length', 'Content-Length: 5368709120'],
    ['chunks', 'Transfer-Encoding: chunked'],
  ] as const) {
    test(`401 to an upload with ${what}: readable, and little more is read`, async () => {
      const seenBefore = upstream.requests.length;
      const client = await connectClient(frontDoor);
      client.send(anonymous('PATCH /v2/app/blobs/uploads/1', ...lines));
      if (what === 'chunks') client.send('40000000\r\n');
      client.send(Buffer.alloc(100 * KiB));
      const response = await client.response();
      assert.equal(response.status, 401);
      assert.equal(errorCode(response), 'UNAUTHORIZED');
      assert.deepEqual(values(response, 'connection'), ['close']);
      await stopsReading(client);
      assert.equal(upstream.requests.length, seenBefore);
    });
  }

  test('401 to a client that sends as fast as it can, 20 times: always readable', async () => {
    for (let i = 0; i < 20; i++) {
      const client = await connectClient(frontDoor);
      client.send(anonymous('PATCH /v2/app/blobs/uploads/1', 'Content-Length: 5368709120'));
      client.send(...Array.from({ length: 64 }, () => Buffer.alloc(64 * KiB)));
      const response = await client.response();
      assert.equal(errorCode(response), 'UNAUTHORIZED');
      client.leave();
    }
  });

  test('a refused body that ends within the limit ends the connection in good order', async () => {
    const client = await connectClient(frontDoor);
    client.send(anonymous('PUT /v2/app/blobs/uploads/1', 'Content-Length: 1000'), Buffer.alloc(500));
    assert.equal((await client.response()).status, 401);
    client.send(Buffer.alloc(500));
    assert.equal((await client.rest()).length, 0);
  });

  test('a refused body that is here already does not end the connection', async () => {
    const client = await connectClient(frontDoor);
    for (let i = 0; i < 2; i++) {
      client.send(anonymous('PUT /v2/app/blobs/uploads/1', 'Content-Length: 3') + 'abc');
      assert.equal((await client.response()).status, 401);
    }
    client.leave();
  });

  test('a manifest over the limit by its Content-Length: 413, upstream is not asked', async () => {
    const seenBefore = upstream.requests.length;
    for (const path of [
      '/v2/app/manifests/latest',
      '/v2/a/b/manifests/sha256%3Aaa',
      '/v2/app/%6danifests/x',
    ]) {
      const client = await connectClient(frontDoor);
      client.send(authorized(`PUT ${path}`, `Content-Length: ${maxManifestBytes + 1}`));
      const response = await client.response();
      assert.equal(response.status, 413);
      assert.equal(errorCode(response), 'SIZE_INVALID');
      client.leave();
    }
    assert.equal(upstream.requests.length, seenBefore);
  });

  test('a manifest over the limit in chunks: 413, and upstream never sees its end', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('PUT /v2/app/manifests/latest', 'Transfer-Encoding: chunked'));
    client.send(`${maxManifestBytes.toString(16)}\r\n`, Buffer.alloc(maxManifestBytes), '\r\n');
    const request = await upstream.next();
    client.send('1\r\nx\r\n');
    const response = await client.response();
    assert.equal(response.status, 413);
    assert.equal(errorCode(response), 'SIZE_INVALID');
    assert.equal((await request.body()).complete, false);
    await request.closed;
    client.leave();
  });

  test('a manifest of just the limit passes, with Content-Length and in chunks', async () => {
    for (const lines of [[`Content-Length: ${maxManifestBytes}`], ['Transfer-Encoding: chunked']]) {
      const client = await connectClient(frontDoor);
      client.send(authorized('PUT /v2/app/manifests/latest', ...lines));
      const isChunked = lines[0]?.startsWith('Transfer');
      if (isChunked) client.send(`${maxManifestBytes.toString(16)}\r\n`);
      client.send(Buffer.alloc(maxManifestBytes));
      if (isChunked) client.send('\r\n0\r\n\r\n');
      const request = await upstream.next();
      assert.equal((await request.body()).body.length, maxManifestBytes);
      request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      assert.equal((await client.response()).status, 201);
      client.leave();
    }
  });

  describe('Expect: 100-continue', () => {
    test('gets its 100 after authentication, and the body passes', async () => {
      const client = await connectClient(frontDoor);
      client.send(authorized('PUT /v2/app/blobs/uploads/1', 'Expect: 100-continue', 'Content-Length: 3'));
      assert.equal(await client.reader.until('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
      client.send('abc');
      const request = await upstream.next();
      assert.deepEqual(values(request, 'expect'), []);
      assert.equal((await request.body()).body.toString(), 'abc');
      request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      assert.equal((await client.response()).startLine, 'HTTP/1.1 201 Created');
      client.leave();
    });

    for (const [what, request, status] of [
      [
        'no credentials',
        anonymous('PUT /v2/app/blobs/uploads/1', 'Expect: 100-continue', 'Content-Length: 3'),
        401,
      ],
      [
        'a manifest over the limit',
        authorized(
          'PUT /v2/app/manifests/x',
          'Expect: 100-continue',
          `Content-Length: ${maxManifestBytes + 1}`,
        ),
        413,
      ],
      ['a path outside', authorized('PUT /x', 'Expect: 100-continue', 'Content-Length: 3'), 404],
      ['a bad target', authorized('PUT /v2/../x', 'Expect: 100-continue', 'Content-Length: 3'), 400],
      [
        'another expectation',
        authorized('PUT /v2/app/blobs/uploads/1', 'Expect: 200-ok', 'Content-Length: 3'),
        417,
      ],
    ] as const) {
      test(`${what}: ${status} at once, without a 100`, async () => {
        const seenBefore = upstream.requests.length;
        const client = await connectClient(frontDoor);
        client.send(request);
        const response = await client.response();
        assert.equal(response.status, status);
        errorCode(response);
        assert.deepEqual(values(response, 'connection'), ['close']);
        assert.equal(upstream.requests.length, seenBefore);
        client.leave();
      });
    }

    test('means nothing in HTTP/1.0 (RFC 9110 section 10.1.1)', async () => {
      const client = await connectClient(frontDoor);
      client.send(
        head('PUT /v2/x HTTP/1.0', `Authorization: ${basic}`, 'Expect: 100-continue', 'Content-Length: 3'),
        'abc',
      );
      const request = await upstream.next();
      await request.body();
      request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
      assert.equal((await client.response()).status, 201);
      client.leave();
    });
  });

  for (const [status, code] of [
    ['413 Request Entity Too Large', 'SIZE_INVALID'],
    ['401 Unauthorized', 'UNAUTHORIZED'],
    ['202 Accepted', 'NONE'],
  ] as const) {
    test(`upstream answers ${status} while the upload runs: relayed at once, and little more is read`, async () => {
      const client = await connectClient(frontDoor);
      client.send(
        authorized('PATCH /v2/app/blobs/uploads/1', 'Content-Length: 5368709120'),
        Buffer.alloc(KiB),
      );
      const request = await upstream.next();
      const body = JSON.stringify({ errors: [{ code, message: 'from upstream' }] });
      request.answer(
        head(`HTTP/1.1 ${status}`, `Content-Length: ${body.length}`, 'WWW-Authenticate: Basic realm="up"'),
        body,
      );
      const response = await client.response();
      assert.equal(response.startLine, `HTTP/1.1 ${status}`);
      assert.equal(errorCode(response), code);
      assert.deepEqual(values(response, 'connection'), ['close']);
      assert.equal((await request.body()).complete, false);
      await request.closed;
      await stopsReading(client);
    });
  }
});

test(
  'a refused body that goes silent is waited for as long as limits.refusedBodyTimeout',
  { timeout: 20_000 },
  async () => {
    const upstream = await startUpstream();
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['limits.refusedBodyTimeout=100ms'],
    });
    const client = await connectClient(frontDoor);
    client.send(anonymous('PUT /v2/app/blobs/uploads/1', 'Content-Length: 1000'), 'abc');
    assert.equal((await client.response()).status, 401);
    assert.equal((await client.rest()).length, 0);
    await frontDoor.stop();
    await upstream.close();
  },
);
