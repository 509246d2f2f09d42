import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { hashPassword } from '../../../src/auth/password/password-hash.ts';
import { password, startFrontDoor, user, type FrontDoor } from '../../support/front-door.ts';
import { head, values } from '../../support/http-message.ts';
import { anonymous, authorized, connectClient, errorCode, type RawClient } from '../../support/raw-client.ts';
import { until } from '../../support/redis.ts';
import { startUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts';

const htpasswd = [
  [user, password],
  ['bob', 'bob'],
]
  .map(([name = '', secret = '']) => `${name}:${hashPassword(secret)}\n`)
  .join('');
const bob = (requestLine: string) => anonymous(requestLine, `Authorization: Basic ${btoa('bob:bob')}`);

describe('limits of connections', { timeout: 240_000 }, () => {
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
    const frontDoor = await startFrontDoor({ upstreamUrl: upstream.url, set: settings, htpasswd });
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
  /** A connection with a request that upstream does not answer before `end`, which gives the status. */
  const holds = async (frontDoor: FrontDoor) => {
    const client = await connectClient(frontDoor);
    const seen = upstream.requests.length;
    client.send(authorized('GET /v2/held'));
    await until('it has come', () => upstream.requests.length > seen);
    const request = upstream.requests.at(-1);
    const end = async () => {
      request?.answer(head('HTTP/1.1 200 OK', 'Content-Length: 0'));
      return (await client.response()).status;
    };
    return { client, end };
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
        const held = [await holds(frontDoor), await holds(frontDoor)];
        await isRefused(frontDoor);
        await frontDoor.logged(
          ({ msg }) => msg.startsWith(`limits.${name} is reached`) && msg.includes('new connections'),
        );
        for (const { client, end } of held) {
          assert.equal(await end(), 200);
          assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
          client.leave();
        }
      }));
  }

  test('limits.connections: where all have shown one, an idle one of the user with the most makes room', () =>
    withSettings(['limits.connections=3'], async (frontDoor) => {
      const bobs = await connectClient(frontDoor);
      assert.equal(await statusOf(bobs, bob('GET /v2/x')), 200);
      const [oldest, newest] = [await connectClient(frontDoor), await connectClient(frontDoor)];
      for (const client of [oldest, newest])
        assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
      const next = await connectClient(frontDoor);
      assert.equal((await oldest.rest()).length, 0);
      for (const client of [next, bobs]) assert.equal(await statusOf(client, bob('GET /v2/x')), 200);
      assert.equal(await statusOf(newest, authorized('GET /v2/x')), 200);
      await frontDoor.logged(
        ({ msg }) => msg.startsWith('limits.connections is reached') && msg.includes('idle'),
      );
      for (const client of [bobs, newest, next]) client.leave();
    }));

  test("limits.connectionsPerUser: one more takes the place of the user's oldest idle one", () =>
    withSettings(['limits.connectionsPerUser=2'], async (frontDoor) => {
      const busy = await holds(frontDoor);
      const idle = await connectClient(frontDoor);
      assert.equal(await statusOf(idle, authorized('GET /v2/x')), 200);
      const next = await connectClient(frontDoor);
      assert.equal(await statusOf(next, authorized('GET /v2/x')), 200);
      assert.equal((await idle.rest()).length, 0);
      assert.equal(await busy.end(), 200);
      for (const client of [busy.client, next]) client.leave();
    }));

  test('limits.connectionsPerUser: where none is idle, one more is 429, and others are served', () =>
    withSettings(['limits.connectionsPerUser=2', 'limits.connections=3'], async (frontDoor) => {
      const held = [await holds(frontDoor), await holds(frontDoor)];
      const third = await connectClient(frontDoor);
      third.send(authorized('GET /v2/x'));
      const refusal = await third.response();
      assert.equal(refusal.status, 429);
      assert.equal(errorCode(refusal), 'TOOMANYREQUESTS');
      assert.match(values(refusal, 'retry-after').join(), /^[1-9]\d*$/);
      assert.equal((await third.rest()).length, 0);
      await frontDoor.logged(({ reason }) => reason === 'too-many-connections');
      const other = await connectClient(frontDoor);
      assert.equal(await statusOf(other, bob('GET /v2/x')), 200);
      other.leave();
      const [first] = held;
      first?.client.leave();
      await until('there is room', async () => {
        const next = await connectClient(frontDoor);
        const status = await statusOf(next, authorized('GET /v2/x'));
        next.leave();
        return status === 200;
      });
      for (const { client } of held) client.leave();
    }));

  test('limits.connectionsPerUser: not for a trusted proxy, whose connections are of many', () =>
    withSettings(['limits.connectionsPerUser=1', 'listen.trustedProxies=127.0.0.2'], async (frontDoor) => {
      const held = [await from(frontDoor, '127.0.0.2'), await from(frontDoor, '127.0.0.2')];
      for (const client of [...held, ...held])
        assert.equal(await statusOf(client, authorized('GET /v2/x')), 200);
      for (const client of held) client.leave();
    }));

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
