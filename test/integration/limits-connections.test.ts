import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head, values } from '../support/http-message.ts';
import { anonymous, authorized, connectClient, errorCode, type RawClient } from '../support/raw-client.ts';
import { until } from '../support/redis.ts';
import { startUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts';

describe('limits of connections', { timeout: 60_000 }, () => {
  let upstream: ScriptedUpstream;
  before(async () => {
    upstream = await startUpstream({
      script: async (request) => {
        await request.body();
        if (request.startLine.includes('/held ')) return; // the test answers it
        request.answer(head('HTTP/1.1 200 OK', 'Content-Length: 2'), 'ok');
      },
    });
  });
  after(() => upstream.close());
  const withSettings = async (settings: readonly string[], use: (frontDoor: FrontDoor) => Promise<void>) => {
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: settings });
    try {
      await use(frontDoor);
    } finally {
      await frontDoor.stop();
    }
  };
  const from = (frontDoor: FrontDoor, localAddress: string) => connectClient(frontDoor, { localAddress });
  const statusOf = async (client: RawClient, request: string): Promise<number> => {
    client.send(request);
    return (await client.response()).status;
  };
  const isRefused = (frontDoor: FrontDoor, localAddress = '127.0.0.1') =>
    assert.rejects(from(frontDoor, localAddress));

  for (const [limit, name] of [
    ['connections=2', 'connections'],
    ['connectionsPerAddress=2', 'connectionsPerAddress'],
  ] as const) {
    test(`limits.${name}: the oldest that shows no password makes room for the next`, () =>
      withSettings([`limits.${limit}`], async (frontDoor) => {
        const [oldest, second] = [await connectClient(frontDoor), await connectClient(frontDoor)];
        assert.equal(await statusOf(oldest, anonymous('GET /v2/x')), 401, 'being refused is no proof');
        const third = await connectClient(frontDoor);
        assert.equal((await oldest.rest()).length, 0);
        for (const client of [second, third])
          assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
        await frontDoor.logged(
          ({ msg }) => msg.startsWith(`limits.${name} is reached`) && msg.includes('oldest'),
        );
        for (const client of [second, third]) client.leave();
      }));

    test(`limits.${name}: where all have shown one, the next is closed`, () =>
      withSettings([`limits.${limit}`], async (frontDoor) => {
        const idle = await connectClient(frontDoor);
        assert.equal(await statusOf(idle, authorized('GET /v2/x')), 200);
        const waiting = await connectClient(frontDoor);
        waiting.send(authorized('GET /v2/held'));
        await until('it has come', () => upstream.requests.at(-1)?.startLine.includes('/held ') === true);
        await isRefused(frontDoor);
        await frontDoor.logged(
          ({ msg }) => msg.startsWith(`limits.${name} is reached`) && msg.includes('new connections'),
        );
        upstream.requests.at(-1)?.answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
        assert.equal((await waiting.response()).status, 200);
        assert.equal(await statusOf(idle, authorized('GET /v2/x')), 200);
        idle.leave();
        waiting.leave();
      }));
  }

  test('limits.connectionsPerAddress: others are not affected, and room is made by whoever leaves', () =>
    withSettings(['limits.connectionsPerAddress=1'], async (frontDoor) => {
      const first = await from(frontDoor, '127.0.0.2');
      assert.equal(await statusOf(first, authorized('GET /v2/x')), 200);
      await isRefused(frontDoor, '127.0.0.2');
      const other = await from(frontDoor, '127.0.0.3');
      assert.equal(await statusOf(other, authorized('GET /v2/x')), 200);
      first.leave();
      await until('there is room', async () => {
        const next = await from(frontDoor, '127.0.0.2').catch(() => null);
        if (next === null) return false;
        assert.equal(await statusOf(next, authorized('GET /v2/x')), 200);
        next.leave();
        return true;
      });
      assert.equal(await statusOf(other, authorized('GET /v2/x')), 200);
      other.leave();
    }));

  test('limits.connectionsPerAddress: not for a trusted proxy, behind which everyone has its address', () =>
    withSettings(['limits.connectionsPerAddress=1', 'listen.trustedProxies=127.0.0.2'], async (frontDoor) => {
      const held = [await from(frontDoor, '127.0.0.2'), await from(frontDoor, '127.0.0.2')];
      for (const client of held) assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
      for (const client of held) assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
      for (const client of held) client.leave();
    }));

  test('limits.uploadsPerUser: one more is 429 with Retry-After, and passes when another has ended', () =>
    withSettings(['limits.uploadsPerUser=2'], async (frontDoor) => {
      const begin = async () => {
        const client = await connectClient(frontDoor);
        client.send(authorized('PATCH /v2/app/blobs/uploads/1', 'Transfer-Encoding: chunked'), '1\r\nx\r\n');
        return client;
      };
      const seen = upstream.requests.length;
      const held = [await begin(), await begin()];
      await until('both have come', () => upstream.requests.length === seen + 2);
      const third = await begin();
      const refusal = await third.response();
      assert.equal(refusal.status, 429);
      assert.equal(errorCode(refusal), 'TOOMANYREQUESTS');
      assert.match(values(refusal, 'retry-after').join(), /^[1-9]\d*$/);
      await frontDoor.logged(({ reason }) => reason === 'too-many-uploads');
      third.leave();
      // What is no upload passes meanwhile: reading, beginning an upload, a manifest.
      const other = await connectClient(frontDoor);
      assert.equal(await statusOf(other, authorized('GET /v2/x')), 200);
      assert.equal(
        await statusOf(other, authorized('POST /v2/app/blobs/uploads/', 'Content-Length: 0')),
        200,
      );
      assert.equal(
        await statusOf(other, authorized('PUT /v2/app/manifests/1', 'Content-Length: 2') + '{}'),
        200,
      );
      // One ends well, one is given up.
      const [done, givenUp] = held as [RawClient, RawClient];
      done.send('0\r\n\r\n');
      assert.equal((await done.response()).status, 200);
      done.leave();
      givenUp.leave();
      await until('there is room for two', async () => {
        const seenBefore = upstream.requests.length;
        const next = [await begin(), await begin()];
        for (const client of next) client.send('0\r\n\r\n');
        const statuses = await Promise.all(next.map(async (client) => (await client.response()).status));
        for (const client of next) client.leave();
        return statuses.every((status) => status === 200) && upstream.requests.length === seenBefore + 2;
      });
      other.leave();
    }));
});
