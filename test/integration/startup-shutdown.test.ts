import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import {
  anonymous,
  authorized,
  connectClient,
  errorCode,
  exchange,
  type RawClient,
} from '../support/raw-client.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';
import { connectToWorker, workerPids } from '../support/workers.ts';

describe('the end of a running front door', { timeout: 240_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream();
  });
  after(() => upstream.close());

  const signal = async (frontDoor: FrontDoor, name: 'SIGTERM' | 'SIGINT') => {
    frontDoor.process.kill(name);
    await frontDoor.logged(({ msg }) => msg === 'shutting down');
  };

  test('SIGTERM: transfers under way end in good order, nothing new is taken, exit code 0', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const download = await connectClient(frontDoor);
    download.send(authorized('GET /v2/app/blobs/x'));
    const downloaded = await upstream.next();
    downloaded.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
    await download.responseHead();
    const upload = await connectClient(frontDoor);
    upload.send(authorized('PUT /v2/app/blobs/uploads/1', 'Content-Length: 6'), 'abc');
    const uploaded = await upstream.next();

    const unused = await connectClient(frontDoor);
    const half = await connectClient(frontDoor);
    half.send('GET /v2/ HTTP/1.1\r\nHost: x\r\n');
    const idle = await connectClient(frontDoor);
    idle.send(anonymous('GET /v2/x'));
    await idle.response();

    await signal(frontDoor, 'SIGTERM');
    for (const client of [unused, half, idle]) assert.equal((await client.rest()).length, 0);
    await assert.rejects(connectClient(frontDoor));

    downloaded.answer('def');
    assert.equal((await download.reader.take(6)).toString(), 'abcdef');
    upload.send('def');
    assert.equal((await uploaded.body()).body.toString(), 'abcdef');
    uploaded.answer(head('HTTP/1.1 201 Created', 'Content-Length: 0'));
    const created = await upload.response();
    assert.equal(created.status, 201);
    assert.deepEqual(values(created, 'connection'), ['close']);
    assert.equal(await frontDoor.ended, 0);
    assert.equal((await download.rest()).length + (await upload.rest()).length, 0);
    assert.equal(frontDoor.log.at(-1)?.msg, 'stopped');
    await frontDoor.stop();
  });

  test('a request on a connection that was being opened: 503 with Retry-After', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const busy = await connectClient(frontDoor);
    busy.send(authorized('GET /v2/app/blobs/x'));
    const request = await upstream.next();
    const opening = connect(frontDoor.port, '127.0.0.1');
    await once(opening, 'connect');
    await exchange(frontDoor, anonymous('GET /v2/x')); // accepted after that one
    await signal(frontDoor, 'SIGTERM');
    const late = await connectClient(frontDoor, { socket: opening });
    late.send(authorized('PUT /v2/app/manifests/x', 'Content-Length: 2'), '{}');
    const refused = await late.response();
    assert.equal(refused.status, 503);
    assert.equal(errorCode(refused), 'UNAVAILABLE');
    assert.deepEqual(values(refused, 'connection'), ['close']);
    assert.match(values(refused, 'retry-after')[0] ?? '', /^[1-9][0-9]*$/);
    assert.equal((await late.rest()).length, 0);
    request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
    assert.equal((await busy.response()).status, 200);
    assert.equal(await frontDoor.ended, 0);
    assert.equal(upstream.requests.length, upstream.requests.indexOf(request) + 1, 'nothing new was begun');
    await frontDoor.stop();
  });

  for (const workers of [1, 2]) {
    test(`the log says what the end waits for, workers: ${workers}`, async () => {
      const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: [`workers=${workers}`] });
      const pids = workers === 1 ? [undefined] : await workerPids(frontDoor);
      const clients: RawClient[] = [];
      const requests: UpstreamRequest[] = [];
      for (const [i, pid] of pids.entries()) {
        const client =
          pid === undefined ? await connectClient(frontDoor) : await connectToWorker(frontDoor, pid);
        client.send(authorized(`GET /v2/app/blobs/${i}?secret=1`));
        const request = await upstream.next();
        request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
        await client.responseHead();
        assert.equal((await client.reader.take(3)).toString(), 'abc');
        clients.push(client);
        requests.push(request);
      }
      await signal(frontDoor, 'SIGTERM');
      const line = await frontDoor.logged(({ msg }) => msg === 'waiting for requests under way to end');
      assert.equal(line['pid'], frontDoor.pid);
      assert.equal(line['count'], workers);
      const oldest = line['oldest'] as Record<string, unknown>[];
      assert.deepEqual(
        oldest.map(({ method, path, user, bytesIn, bytesOut }) => [method, path, user, bytesIn, bytesOut]),
        pids.map((_, i) => ['GET', `/v2/app/blobs/${i}`, 'alice', 0, 3]),
      );
      for (const { ageMs, requestId } of oldest)
        assert.ok(typeof ageMs === 'number' && ageMs >= 0 && /^[0-9a-f]{32}$/.test(String(requestId)));
      for (const request of requests) request.answer('def');
      for (const client of clients) assert.equal((await client.reader.take(3)).toString(), 'def');
      assert.equal(await frontDoor.ended, 0);
      await frontDoor.stop();
    });
  }

  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    test(`${name} ${name === 'SIGINT' ? 'cuts at once' : 'cuts after shutdown.timeout'}, exit code 0`, async () => {
      const frontDoor = await startFrontDoor({
        upstreamUrl: upstream.url,
        set: name === 'SIGINT' ? [] : ['shutdown.timeout=300ms'],
      });
      const client = await connectClient(frontDoor);
      client.send(authorized('GET /v2/app/blobs/x'));
      const request = await upstream.next();
      request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 6'), 'abc');
      await client.responseHead();
      const handshaking = connect(frontDoor.port, '127.0.0.1');
      await once(handshaking, 'connect');
      handshaking.on('error', () => {}).resume();
      const startedAtMs = performance.now();
      await signal(frontDoor, name);
      assert.equal(await frontDoor.ended, 0);
      assert.ok(performance.now() - startedAtMs < 25_000);
      const cut = frontDoor.log.filter(({ msg }) => msg.startsWith('shutdown.timeout is over'));
      assert.deepEqual(
        cut.map(({ count }) => count),
        name === 'SIGTERM' ? [1] : [],
      );
      assert.equal((await client.rest()).toString(), 'abc');
      await request.closed;
      handshaking.destroy();
      await frontDoor.stop();
    });
  }

  test('a second signal does not wait', async () => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url });
    const client = await connectClient(frontDoor);
    client.send(authorized('GET /v2/app/blobs/x'));
    await upstream.next();
    await signal(frontDoor, 'SIGTERM');
    frontDoor.process.kill('SIGTERM');
    assert.equal(await frontDoor.ended, 1);
    client.leave();
    await frontDoor.stop();
  });
});
