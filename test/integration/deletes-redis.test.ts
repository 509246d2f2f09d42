import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createRedisKeys } from '../../src/redis/keys.ts';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { askUnderDelete, moveTagsUnderDelete } from '../support/delete-history.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { head } from '../support/http-message.ts';
import { imageType, makeImage } from '../support/manifest-registry.ts';
import { startRedis, startRelay, until, type RedisServer, type Relay } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';
import { startUpstream, type ScriptedUpstream, type UpstreamRequest } from '../support/scripted-upstream.ts';

const rounds = Number(process.env['ROUNDS'] ?? '8');
const { digest, body } = makeImage('one');
const ok = head('HTTP/1.1 200 OK', 'Content-Length: 0');
const created = head('HTTP/1.1 201 Created', 'Content-Length: 0');
const accepted = head('HTTP/1.1 202 Accepted', 'Content-Length: 0');

describe(
  'deletes have their repository for themselves, in all instances that share a Redis',
  { skip: unlessInstalled('redis-server'), timeout: 300_000 },
  () => {
    let upstream: ScriptedUpstream;
    let redis: RedisServer;
    /** Between the second instance and Redis. */
    let relay: Relay;
    let first: FrontDoor;
    let second: FrontDoor;
    let clients: readonly [CacheClient, CacheClient];
    /** Requests in the repository `app` that upstream has and has not answered; others are answered at once. */
    let waiting: UpstreamRequest[];

    beforeEach(async () => {
      waiting = [];
      upstream = await startUpstream({
        script: async (request) => {
          const { startLine } = request;
          if (startLine.includes('/app/')) waiting.push(request);
          await request.body();
          if (startLine.includes('/app/')) return;
          request.answer(
            startLine.startsWith('DELETE') ? accepted : startLine.startsWith('PUT') ? created : ok,
          );
        },
      });
      redis = await startRedis();
      relay = await startRelay(redis.port);
      const start = (address: string, workers: number) =>
        startFrontDoor({
          upstreamUrl: upstream.url,
          set: [
            ...[`workers=${workers}`, 'cache.driver=redis', `cache.redis.url=redis://${address}`],
            ...['cache.redis.instanceTimeout=12s', 'cache.redis.timeout=1s', 'limits.deleteWait=5s'],
            ...['log.audit=false', 'upstream.readTimeout=40s'],
          ],
        });
      [first, second] = await Promise.all([start(redis.address, 2), start(relay.address, 1)]);
      clients = [createCacheClient(first), createCacheClient(second)];
    });
    afterEach(async () => {
      for (const client of clients) client.close();
      await Promise.all([first.stop(), second.stop()]);
      await relay.close();
      await redis.stop();
      await upstream.close();
    });

    const push = (i: 0 | 1, repository: string) =>
      clients[i].ask('PUT', `/v2/${repository}/manifests/v1`, {
        headers: { 'Content-Type': imageType },
        body,
      });
    const remove = (i: 0 | 1, repository: string) =>
      clients[i].ask('DELETE', `/v2/${repository}/manifests/${digest}`);
    const arrived = async (method: string): Promise<UpstreamRequest> => {
      const find = () => waiting.find(({ startLine }) => startLine.startsWith(method));
      await until(`upstream has a ${method}`, () => find() !== undefined);
      return find() ?? assert.fail();
    };
    const freezes = async (): Promise<number> => {
      const { freezes: key } = createRedisKeys('tidegate:', upstream.url);
      const told = await redis.admin.xrange(key, '-', '+');
      return told.filter(([, fields]) => fields.includes('freeze') && fields.includes('app')).length;
    };
    const assertRefused = ({ status, header }: Awaited<ReturnType<CacheClient['ask']>>) =>
      assert.deepEqual([status, header('Retry-After')], [503, '5']);

    test('a push under way through another is waited for, and what comes there then is held', async () => {
      const pushed = push(1, 'app');
      const pushing = await arrived('PUT');
      const removed = remove(0, 'app');
      await until('it has been tried more than once', async () => (await freezes()) > 1);
      assert.equal(waiting.length, 1);
      pushing.answer(created);
      assert.equal((await pushed).status, 201);
      const removal = await arrived('DELETE');
      const asked = clients[1].ask('HEAD', `/v2/app/blobs/${digest}`);
      for (let i = 0; i < 3; i += 1) assert.equal((await push(1, 'other')).status, 201);
      assert.equal(waiting.length, 2);
      removal.answer(accepted);
      assert.equal((await removed).status, 202);
      (await arrived('HEAD')).answer(ok);
      assert.equal((await asked).status, 200);
    });

    test('one that was killed is waited for until it is taken for gone, also by a list that was lost', async () => {
      assert.equal((await remove(0, 'other')).status, 202);
      const killed = once(second.process, 'exit');
      second.process.kill('SIGKILL');
      await killed;
      await redis.admin.flushall();
      assertRefused(await remove(0, 'other'));
      assert.equal((await push(0, 'other')).status, 201);
      await until('it is taken for gone', async () => (await remove(0, 'other')).status === 202, 30_000);
    });

    test('one that has ended well is not', async () => {
      assert.equal((await remove(0, 'other')).status, 202);
      await second.stop();
      assert.equal((await remove(0, 'other')).status, 202);
    });

    test('one that does not hear is waited for, and serves on', async () => {
      assert.equal((await remove(1, 'other')).status, 202);
      relay.stall();
      assertRefused(await remove(0, 'other'));
      assert.equal((await push(1, 'other')).status, 201);
      relay.flow();
      await until('it hears again', async () => (await remove(0, 'other')).status === 202, 30_000);
    });

    test('one whose new connections get no answer is heard again when later ones do', async () => {
      assert.equal((await remove(1, 'other')).status, 202);
      const before = relay.connections();
      relay.swallow(true);
      relay.cut();
      await until('both of its connections are new', () => relay.connections() >= before + 2);
      relay.swallow(false);
      for (const i of [0, 1] as const)
        await until('deletes are back', async () => (await remove(i, 'other')).status === 202, 30_000);
    });

    test('without Redis deletes are refused, and the rest goes on', async () => {
      assert.equal((await remove(0, 'other')).status, 202);
      await redis.kill();
      for (const i of [0, 1] as const) {
        assertRefused(await remove(i, 'other'));
        assert.equal((await push(i, 'other')).status, 201);
      }
      await redis.start();
      for (const i of [0, 1] as const)
        await until('it is back', async () => (await remove(i, 'other')).status === 202, 30_000);
    });

    test('a delete under way whose freeze is not sure any more is broken off', async () => {
      const removed = remove(0, 'app');
      await arrived('DELETE');
      relay.stall();
      await assert.rejects(removed, { code: 'ECONNRESET' });
      relay.flow();
    });
  },
);

describe(
  'nothing is lost to a delete through another instance, in a real registry',
  { skip: unlessInstalled('docker-registry', 'redis-server'), timeout: 300_000 },
  () => {
    let registry: Registry;
    let redis: RedisServer;
    let frontDoors: FrontDoor[];
    let clients: CacheClient[];
    before(async () => {
      registry = await startRegistry({ remembersBlobs: true });
      redis = await startRedis();
      // No more than the user may that deploy/redis.conf describes.
      const described = await readFile(new URL('../../../deploy/redis.conf', import.meta.url), 'utf8');
      const rules = /^# user tidegate (on >CHANGE-ME .*)$/m.exec(described)?.[1]?.split(' ') ?? assert.fail();
      await redis.admin.acl('SETUSER', 'tidegate', ...rules);
      const start = (workers: number) =>
        startFrontDoor({
          upstreamUrl: registry.url,
          set: [
            ...[`workers=${workers}`, 'cache.driver=redis', `cache.redis.url=redis://${redis.address}`],
            ...['cache.redis.timeout=1s', 'cache.redis.username=tidegate', 'cache.redis.password=CHANGE-ME'],
          ],
        });
      frontDoors = await Promise.all([start(2), start(1)]);
      clients = frontDoors.map(createCacheClient);
    });
    after(async () => {
      for (const client of clients) client.close();
      for (const frontDoor of frontDoors) await frontDoor.stop();
      await redis.stop();
      await registry.stop();
    });

    test('tags that are moved while the digest is deleted that they named, and blobs that others ask for', async (t) => {
      const moved = await moveTagsUnderDelete(clients, 'team/moved', rounds);
      const asked = await askUnderDelete(clients, 'team/asked', rounds);
      t.diagnostic(`lost ${moved.lost} of ${moved.of}, ${asked.lost} of ${asked.of}`);
      assert.deepEqual([moved.lost, moved.of, asked.lost, asked.of], [0, rounds * 8, 0, rounds]);
    });
  },
);
