import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../../support/front-door.ts';
import { head } from '../../support/http-message.ts';
import { countSockets } from '../../support/process-status.ts';
import { authorized, connectClient, exchange } from '../../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const get = authorized('GET /v2/app/blobs/x');

describe('connections to upstream', { timeout: 240_000 }, () => {
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

  describe('a client that leaves takes its upstream connection with it', () => {
    const cases: readonly [what: string, leave: () => Promise<void>][] = [
      [
        'before the head',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(get);
          const request = await upstream.next();
          client.leave();
          await request.closed;
        },
      ],
      [
        'in a download',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(get);
          const request = await upstream.next();
          request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 1000000'), 'x'.repeat(1000));
          await client.responseHead();
          client.leave();
          await request.closed;
        },
      ],
      [
        'in a download that it does not read',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(get);
          const request = await upstream.next();
          request.answer(head('HTTP/1.1 200 OK', `Content-Length: ${64 * 1024 * 1024}`));
          request.answer(Buffer.alloc(32 * 1024 * 1024));
          await client.responseHead();
          client.leave();
          await request.closed;
        },
      ],
      [
        'in an upload with Content-Length',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 1000000'), 'x'.repeat(1000));
          const request = await upstream.next();
          client.leave();
          assert.equal((await request.body()).complete, false);
          await request.closed;
        },
      ],
      [
        'in a chunked upload, and upstream sees no last chunk',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(
            authorized('PATCH /v2/app/blobs/uploads/1', 'Transfer-Encoding: chunked'),
            '3\r\nabc\r\n',
          );
          const request = await upstream.next();
          client.leave();
          assert.equal((await request.body()).complete, false);
          await request.closed;
        },
      ],
      [
        'in an upload that upstream does not read',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(authorized('PUT /v2/app/blobs/uploads/1', `Content-Length: ${64 * 1024 * 1024}`));
          client.send(Buffer.alloc(32 * 1024 * 1024));
          const request = await upstream.next();
          client.leave();
          await request.body();
          await request.closed;
        },
      ],
      [
        'with a second request in the pipeline',
        async () => {
          const client = await connectClient(frontDoor);
          client.send(get, get);
          const first = await upstream.next();
          client.leave();
          await first.closed;
        },
      ],
    ];
    for (const [what, leave] of cases) {
      test(what, async () => {
        const times = 10;
        await leave();
        await upstream.idle();
        const before = await countSockets(frontDoor.pid);
        for (let i = 0; i < times; i++) await leave();
        await upstream.idle();
        await roundTrip(); // behind it, Tidegate has handled every close
        assert.ok((await countSockets(frontDoor.pid)) <= before + 2);
      });
    }
  });

  const roundTrip = async () => {
    const answer = exchange(frontDoor, get);
    const request = await upstream.next();
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 0', 'Connection: close'));
    request.socket.end();
    assert.equal((await answer).status, 200);
  };

  test('GET on a connection that upstream closes just then: tried once more, never a 502', async () => {
    for (let i = 0; i < 20; i++) {
      const warm = exchange(frontDoor, get);
      const first = await upstream.next();
      first.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      assert.equal((await warm).status, 200);

      const answer = exchange(frontDoor, get);
      const stale = await upstream.next();
      assert.equal(stale.connection, first.connection);
      if (i % 2 === 0) stale.socket.end();
      else stale.socket.resetAndDestroy();
      const fresh = await upstream.next();
      assert.notEqual(fresh.connection, first.connection);
      fresh.answer(head('HTTP/1.1 200 OK', 'Content-Length: 5'), 'fresh');
      fresh.socket.end();
      assert.equal((await answer).body.toString(), 'fresh');
    }
  });

  for (const path of ['blobs/x', 'manifests/1'])
    test(`GET of ${path} on a connection where something is left of the answer before: tried once more, never a 502`, async () => {
      const ask = (version: number) => exchange(frontDoor, authorized(`GET /v2/left-${version}/${path}`));
      const warm = ask(1);
      const first = await upstream.next();
      first.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      assert.equal((await warm).body.toString(), 'ok');
      const answer = ask(2);
      const spoilt = await upstream.next();
      assert.equal(spoilt.connection, first.connection);
      spoilt.answer('abc'); // as if the body before had been longer than it was said to be
      const fresh = await upstream.next();
      assert.notEqual(fresh.connection, first.connection);
      fresh.answer(head('HTTP/1.1 200 OK', 'Content-Length: 5'), 'fresh');
      fresh.socket.end();
      assert.equal((await answer).body.toString(), 'fresh');
    });

  test('the second try is the last', async () => {
    const warm = exchange(frontDoor, get);
    const first = await upstream.next();
    first.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
    await warm;
    const before = upstream.requests.length;
    const answer = exchange(frontDoor, get);
    (await upstream.next()).socket.end();
    (await upstream.next()).socket.end();
    assert.equal((await answer).status, 502);
    assert.equal(upstream.requests.length, before + 2);
  });

  test('a GET that fails on a connection of its own is not tried again', async () => {
    const before = upstream.requests.length;
    const answer = exchange(frontDoor, get);
    (await upstream.next()).socket.end();
    assert.equal((await answer).status, 502);
    assert.equal(upstream.requests.length, before + 1);
  });

  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    test(`${method} is never delivered twice, and never on a connection that may be stale`, async () => {
      const warm = exchange(frontDoor, get);
      const first = await upstream.next();
      first.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      await warm;
      const before = upstream.requests.length;
      const answer = exchange(
        frontDoor,
        authorized(`${method} /v2/app/blobs/uploads/1`, 'Content-Length: 3'),
        'abc',
      );
      const request = await upstream.next();
      assert.notEqual(request.connection, first.connection);
      await request.body();
      request.socket.end();
      assert.equal((await answer).status, 502);
      assert.equal(upstream.requests.length, before + 1);
      first.socket.end();
      await first.closed;
    });
  }

  test('connections that are used again and again gather no listeners', async () => {
    let warnings = '';
    frontDoor.process.stderr?.on('data', (chunk: Buffer) => (warnings += chunk.toString()));
    const client = await connectClient(frontDoor);
    const sockets = new Set<number>();
    for (let i = 0; i < 20; i++) {
      client.send(get);
      const request = await upstream.next();
      request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      sockets.add(request.connection);
      await client.response();
    }
    client.leave();
    assert.equal(sockets.size, 1);
    assert.doesNotMatch(warnings, /MaxListenersExceededWarning/);
  });
});
