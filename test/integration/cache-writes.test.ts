import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { digestOf } from '../support/cache-load.ts';
import { startCacheRelay, type CacheRelay } from '../support/cache-relay.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { countSockets } from '../support/process-status.ts';
import { authorized, connectClient, exchange } from '../support/raw-client.ts';
import { startRedis, until, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const type = 'application/vnd.oci.image.manifest.v1+json';
const body = '{"schemaVersion":2}';
const created = head('HTTP/1.1 201 Created', 'Content-Length: 0', 'X-Case: Kept');

/** A write is told to the cache before and after; whatever goes wrong meanwhile, its client is answered or cut, and nothing is left. */
describe('writes, with a cache in Redis', { skip: unlessInstalled('redis-server'), timeout: 360_000 }, () => {
  let upstream: ScriptedUpstream;
  let redis: RedisServer;
  let toRedis: CacheRelay;
  let frontDoor: FrontDoor;
  let client: CacheClient;
  let serial = 0;
  let target: string;
  let onRequest: (request: UpstreamRequest) => void;
  /** The next request that upstream gets for this test's target, and for nothing older. */
  let next: () => Promise<UpstreamRequest>;
  before(async () => {
    upstream = await startUpstream({ script: (request) => onRequest(request) });
    redis = await startRedis();
    toRedis = await startCacheRelay(redis.port);
    frontDoor = await startFrontDoor({
      upstreamUrl: upstream.url,
      // Without the audit, which asks for a tag before each push.
      set: ['cache.driver=redis', `cache.redis.url=redis://127.0.0.1:${toRedis.port}`, 'log.audit=false'],
    });
    client = createCacheClient(frontDoor);
  });
  after(async () => {
    client.close();
    await frontDoor.stop();
    await toRedis.close();
    await redis.stop();
    await upstream.close();
  });
  beforeEach(() => {
    const own = `/v2/app${++serial}/manifests/latest`;
    const untaken: UpstreamRequest[] = [];
    let take: ((request: UpstreamRequest) => void) | undefined;
    target = own;
    onRequest = (request) => {
      if (!request.startLine.includes(`${own} `)) {
        void request.body();
        return;
      }
      if (take) take(request);
      else untaken.push(request);
      take = undefined;
    };
    next = () =>
      new Promise((resolve) => {
        const request = untaken.shift();
        if (request) resolve(request);
        else take = resolve;
      });
  });

  for (const hung of [false, true]) {
    describe(hung ? 'that never answers' : 'that answers', () => {
      before(() => {
        if (hung) toRedis.stall();
      });
      after(() => toRedis.release());

      test('the body goes through as it comes, and the answer as it is', async () => {
        const pusher = await connectClient(frontDoor);
        pusher.send(authorized(`PUT ${target}`, 'Transfer-Encoding: chunked'), '3\r\n{"a\r\n');
        const request = await next();
        assert.match((await request.someBody())?.toString() ?? '', /\{"a/);
        pusher.send('3\r\n":1\r\n', '1\r\n}\r\n0\r\n\r\n');
        await request.body();
        request.answer(created);
        const response = await pusher.response();
        assert.equal(response.status, 201);
        assert.match(response.head, /\r\nX-Case: Kept\r\n/);
        // The connection is still good.
        pusher.send(authorized(`PUT ${target}`, `Content-Length: ${body.length}`), body);
        (await next()).answer(head('HTTP/1.1 202 Again', 'Content-Length: 0'));
        assert.equal((await pusher.response()).startLine, 'HTTP/1.1 202 Again');
        pusher.leave();
      });

      test('Expect: 100-continue', async () => {
        const pusher = await connectClient(frontDoor);
        pusher.send(authorized(`PUT ${target}`, `Content-Length: ${body.length}`, 'Expect: 100-continue'));
        assert.match((await pusher.reader.until('\r\n\r\n')) ?? '', /^HTTP\/1.1 100 /);
        pusher.send(body);
        const request = await next();
        assert.equal((await request.body()).body.toString(), body);
        request.answer(created);
        assert.equal((await pusher.response()).status, 201);
        pusher.leave();
      });

      test('upstream answers before it has read the body, and closes', async () => {
        const pusher = await connectClient(frontDoor);
        pusher.send(authorized(`PUT ${target}`, 'Content-Length: 100000'), 'x'.repeat(1000));
        const request = await next();
        request.answer(head('HTTP/1.1 413 Too Large', 'Content-Length: 4', 'Connection: close'), 'big!');
        request.socket.end();
        const response = await pusher.response();
        assert.deepEqual([response.status, response.body.toString()], [413, 'big!']);
        void request.body(); // so that its connection is seen to end
        pusher.leave();
      });

      test('upstream answers and is gone at once: the answer is not lost while Redis is told', async () => {
        const pusher = await connectClient(frontDoor);
        pusher.send(authorized(`PUT ${target}`, `Content-Length: ${body.length}`), body);
        const request = await next();
        await request.body();
        request.answer(head('HTTP/1.1 201 Created', 'Connection: close'), 'until the end');
        request.socket.end();
        const response = await pusher.response();
        assert.deepEqual([response.status, response.body.toString()], [201, 'until the end']);
        pusher.leave();
      });

      test('upstream answers with a large body', async () => {
        const large = Buffer.alloc(3_000_000, 'x');
        const asked = client.ask('PUT', target, { body });
        const request = await next();
        await request.body();
        request.answer(head('HTTP/1.1 400 No', `Content-Length: ${large.length}`), large);
        assert.deepEqual((await asked).body, large);
      });

      test('upstream breaks off in its answer', async () => {
        const pusher = await connectClient(frontDoor);
        pusher.send(authorized(`PUT ${target}`, `Content-Length: ${body.length}`), body);
        const request = await next();
        await request.body();
        request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 10'), 'half');
        request.socket.end();
        // Cut, with or without what had come; never a whole answer, and never silence.
        assert.doesNotMatch((await pusher.rest()).toString(), /half.{6}/s);
        pusher.leave();
      });

      test('upstream breaks off before its answer', async () => {
        const asked = exchange(
          frontDoor,
          authorized(`PUT ${target}`, `Content-Length: ${body.length}`),
          body,
        );
        const request = await next();
        await request.body();
        request.socket.resetAndDestroy();
        assert.equal((await asked).status, 502);
      });

      for (const moment of ['before upstream answers', 'after it has answered']) {
        test(`the client leaves ${moment}`, async () => {
          const pusher = await connectClient(frontDoor);
          pusher.send(authorized(`PUT ${target}`, `Content-Length: ${body.length}`), body);
          const request = await next();
          await request.body();
          if (moment.startsWith('after')) request.answer(created);
          pusher.leave();
          await request.closed;
          await frontDoor.logged((line) => line['path'] === target);
        });
      }

      test('the client leaves at once', async () => {
        const before = await countSockets(frontDoor.pid);
        for (let i = 0; i < 20; i++) {
          const pusher = await connectClient(frontDoor);
          pusher.send(authorized(`PUT ${target}${i}`, `Content-Length: ${body.length}`), body);
          pusher.leave();
        }
        await until('no request is left with upstream', () => upstream.open === 0);
        await until('no socket is left', async () => (await countSockets(frontDoor.pid)) <= before + 1);
      });
    });
  }

  test('Redis falls silent while upstream works: answers wait for it a moment, and none is lost', async () => {
    const whole = head(
      'HTTP/1.1 200 OK',
      `Content-Type: ${type}`,
      `Docker-Content-Digest: ${digestOf(body)}`,
      `Content-Length: ${body.length}`,
    );
    const own = target;
    const writes: UpstreamRequest[] = [];
    onRequest = (request) => {
      if (!request.startLine.includes(own)) return;
      if (request.startLine.startsWith('GET')) request.answer(whole, body);
      else writes.push(request);
    };
    await until('Redis is in use', async () => {
      const { header } = await client.ask('GET', own, { headers: { Accept: type } });
      return header('X-Cache') === 'HIT';
    });
    const kinds = ['closes', 'large', 'breaks', 'leaves', 'plain'];
    const pushers = await Promise.all(kinds.map(() => connectClient(frontDoor)));
    for (const [i, pusher] of pushers.entries())
      pusher.send(authorized(`PUT ${own}-${kinds[i] ?? ''}`, `Content-Length: ${body.length}`), body);
    await until('all have come', () => writes.length === kinds.length);
    await Promise.all(writes.map((request) => request.body()));
    toRedis.stall();
    const large = Buffer.alloc(3_000_000, 'x');
    const find = (kind: string) => {
      const pusher = pushers[kinds.indexOf(kind)];
      const request = writes.find(({ startLine }) => startLine.includes(`-${kind} `));
      assert.ok(pusher && request);
      return { pusher, request };
    };
    try {
      const closes = find('closes');
      closes.request.answer(head('HTTP/1.1 201 Created', 'Connection: close'), 'until the end');
      closes.request.socket.end();
      find('large').request.answer(head('HTTP/1.1 201 Created', `Content-Length: ${large.length}`), large);
      const breaks = find('breaks');
      breaks.request.answer(head('HTTP/1.1 201 Created', 'Content-Length: 10'), 'half');
      breaks.request.socket.end();
      const leaves = find('leaves');
      leaves.request.answer(created);
      leaves.pusher.leave();
      find('plain').request.answer(created);
      assert.equal((await closes.pusher.response()).body.toString(), 'until the end');
      assert.deepEqual((await find('large').pusher.response()).body, large);
      assert.doesNotMatch((await breaks.pusher.rest()).toString(), /half.{6}/s);
      assert.equal((await find('plain').pusher.response()).status, 201);
      await frontDoor.logged((line) => line['path'] === `${own}-leaves`);
    } finally {
      toRedis.release();
      for (const pusher of pushers) pusher.leave();
    }
  });

  test('a pull does not wait for a Redis that never answers, after the first that found out', async () => {
    toRedis.stall();
    try {
      const script = (async () => {
        for (let i = 0; i < 20; i++)
          (await next()).answer(
            head(
              'HTTP/1.1 200 OK',
              `Content-Type: ${type}`,
              `Docker-Content-Digest: ${digestOf(body)}`,
              `Content-Length: ${body.length}`,
            ),
            body,
          );
      })();
      let waits = 0;
      for (let i = 0; i < 20; i++) {
        const startMs = performance.now();
        const { status, header } = await client.ask('GET', target, { headers: { Accept: type } });
        assert.deepEqual([status, header('X-Cache')], [200, 'BYPASS']);
        if (performance.now() - startMs >= 100) waits += 1;
      }
      // Each would wait for 100 ms.
      assert.ok(waits < 15, `${waits} waits`);
      await script;
    } finally {
      toRedis.release();
    }
  });
});
