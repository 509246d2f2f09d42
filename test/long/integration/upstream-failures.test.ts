import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { basic, startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { run } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requirement.ts';
import { authorized, connectClient, errorCode, exchange } from '../../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');

describe('an upstream that breaks off', { timeout: 240_000 }, () => {
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

  for (const [what, lines, body, received] of [
    ['in a body with Content-Length', ['Content-Length: 100'], 'abc', 'abc'],
    ['in a chunk', ['Transfer-Encoding: chunked'], '64\r\nabc', 'abc'],
    ['between chunks', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n', 'abc'],
    ['before the line after the last chunk', ['Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n', 'abc'],
    ['right after the head', ['Content-Length: 100'], '', ''],
  ] as const) {
    for (const how of ['FIN', 'RST'] as const) {
      test(`${how} ${what}: the client is cut off, without a clean end`, async () => {
        const client = await connectClient(frontDoor);
        client.send(get);
        const request = await upstream.next();
        request.answer(head('HTTP/1.1 200 OK', ...lines), body);
        // The client has what upstream sent before upstream goes.
        const answer = await client.responseHead();
        assert.equal(answer.status, 200);
        const isChunked = lines[0].startsWith('Transfer');
        if (received !== '')
          await client.reader.take(isChunked ? `3\r\n${received}\r\n`.length : received.length);
        if (how === 'FIN') request.socket.end();
        else request.socket.resetAndDestroy();
        const rest = await client.rest(); // resolves: no hang
        assert.doesNotMatch(rest.toString(), /0\r\n\r\n$/);
        const line = await frontDoor.logged(({ reason }) => reason === 'upstream-broke');
        assert.equal(line['status'], 200);
      });
    }
  }

  test(
    'a body that only the close ends (HTTP/1.0): the TLS connection ends without the close_notify of a clean end',
    { skip: unlessInstalled('openssl') },
    async () => {
      const client = run('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${frontDoor.port}`], {
        input: head('GET /v2/app/blobs/x HTTP/1.0', `Authorization: ${basic}`),
      });
      const request = await upstream.next();
      request.answer(head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'), '3\r\nabc\r\n');
      request.socket.end();
      assert.match((await client).stderr, /unexpected eof/);
    },
  );

  test('an answer of 416 that claims the whole blob and sends 33 bytes is cut, not waited for', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x', 'Range: bytes=100-'));
    const request = await upstream.next();
    request.answer(
      head('HTTP/1.1 416 Requested Range Not Satisfiable', 'Content-Length: 5368709120'),
      'x'.repeat(33),
    );
    request.socket.end();
    const response = await client.response();
    assert.equal(response.status, 416);
    assert.equal(response.body.length, 33);
    assert.equal(response.complete, false);
    assert.equal((await client.rest()).length, 0);
  });

  test('upstream goes while an upload runs: 502, readable', async () => {
    const client = await connectClient(frontDoor);
    client.send(authorized('PATCH /v2/app/blobs/uploads/1', 'Transfer-Encoding: chunked'), '3\r\nabc\r\n');
    const request = await upstream.next();
    await request.someBody();
    request.socket.resetAndDestroy();
    const response = await client.response();
    assert.equal(response.status, 502);
    assert.equal(errorCode(response), 'BAD_GATEWAY');
    client.leave();
  });
});

describe('an upstream that is not there, or silent', { timeout: 240_000 }, () => {
  test('down: 502 within a second, and a log line that says what to look at', async () => {
    const upstream = await startUpstream();
    await upstream.close();
    for (const url of [upstream.url, `http://localhost:${upstream.port}`]) {
      const frontDoor = await startFrontDoor({ upstreamUrl: url });
      for (const request of [get, authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 3') + 'abc']) {
        const response = await exchange(frontDoor, request);
        assert.equal(response.status, 502);
        assert.equal(errorCode(response), 'BAD_GATEWAY');
        assert.doesNotMatch(response.body.toString(), /127\.0\.0\.1|ECONN/);
      }
      const line = await frontDoor.logged(({ msg }) => msg.startsWith('The registry'));
      assert.match(line.msg, /ECONNREFUSED.*is the registry running/);
      await frontDoor.stop();
    }
  });

  test('silent before the head: 504; silent in the body: cut; a transfer that moves is not', async () => {
    const upstream = await startUpstream();
    const frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      set: ['upstream.readTimeout=1500ms'],
    });
    const silent = await exchange(frontDoor, get);
    assert.equal(silent.status, 504);
    assert.equal(errorCode(silent), 'GATEWAY_TIMEOUT');
    const first = await upstream.next();
    await first.closed;

    const client = await connectClient(frontDoor);
    client.send(get);
    const second = await upstream.next();
    second.answer(head('HTTP/1.1 200 OK', 'Content-Length: 100'));
    assert.equal((await client.responseHead()).status, 200);
    for (let i = 0; i < 10; i++) {
      second.answer('x');
      assert.equal((await client.reader.take(1)).length, 1);
      await new Promise((resolve) => setTimeout(resolve, 200)); // 2 s in all: longer than the limit
    }
    assert.equal((await client.rest()).length, 0);
    await second.closed;
    await frontDoor.stop();
    await upstream.close();
  });

  test('a connection that does not come up: 504 after upstream.connectTimeout', async () => {
    const sockets = new Set<Socket>();
    // Accepts, and never says a word of TLS.
    const server = createServer((socket) => sockets.add(socket.on('error', () => {})));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const frontDoor = await startFrontDoor({
      upstreamUrl: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      set: ['upstream.connectTimeout=200ms'],
    });
    const response = await exchange(frontDoor, get);
    assert.equal(response.status, 504);
    assert.equal(errorCode(response), 'GATEWAY_TIMEOUT');
    await frontDoor.stop();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
});

test(
  'an upstream that says nothing to a question asked for several: one 504, and no second question',
  { timeout: 240_000 },
  async () => {
    const upstream = await startUpstream();
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: ['upstream.readTimeout=1s'] });
    const client = await connectClient(frontDoor);
    const get = async (path: string) => {
      client.send(authorized(`GET ${path}`));
      return client.response();
    };
    const answers = async (status: number, answer: Promise<{ status: number }>) =>
      assert.equal((await answer).status, status);

    const first = answers(404, get('/v2/app/manifests/one'));
    (await upstream.next()).answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    await first;
    await answers(504, get('/v2/app/manifests/two')); // over the same connection: a kept one can be stale
    assert.equal((await upstream.next()).connection, 1);
    await upstream.idle();
    const last = answers(404, get('/v2/app/manifests/three'));
    const request = await upstream.next();
    assert.match(request.startLine, /three/);
    request.answer(head('HTTP/1.1 404 Not Found', 'Content-Length: 0'));
    await last;
    assert.equal(upstream.requests.length, 3);
    client.leave();
    await frontDoor.stop();
    await upstream.close();
  },
);
