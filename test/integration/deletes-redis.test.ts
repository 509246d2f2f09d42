import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createCacheClient, type CacheClient } from '../support/cache-client.ts';
import { askUnderDelete, moveTagsUnderDelete } from '../support/delete-history.ts';
import {
  accepted,
  assertRefused,
  created,
  digest,
  ok,
  startDeletingPair,
  type DeletingPair,
} from '../support/deleting-pair.ts';
import { startFrontDoor, type FrontDoor } from '../support/front-door.ts';
import { startRedis, until, type RedisServer } from '../support/redis.ts';
import { startRegistry, type Registry } from '../support/registry.ts';
import { unlessInstalled } from '../support/requirement.ts';

const rounds = Number(process.env['ROUNDS'] ?? '8');

describe(
  'deletes have their repository for themselves, in all instances that share a Redis',
  { skip: unlessInstalled('redis-server'), timeout: 550_000 },
  () => {
    let pair: DeletingPair;
    beforeEach(async () => {
      pair = await startDeletingPair();
    });
    afterEach(() => pair.close());

    test('a push under way through another is waited for, and what comes there then is held', async () => {
      const pushed = pair.push(1, 'app');
      const pushing = await pair.arrived('PUT');
      const removed = pair.remove(0, 'app');
      await until('it has been tried more than once', async () => (await pair.freezes()) > 1);
      assert.equal(pair.waiting.length, 1);
      pushing.answer(created);
      assert.equal((await pushed).status, 201);
      const removal = await pair.arrived('DELETE');
      const asked = pair.clients[1].ask('HEAD', `/v2/app/blobs/${digest}`);
      for (let i = 0; i < 3; i += 1) assert.equal((await pair.push(1, 'other')).status, 201);
      assert.equal(pair.waiting.length, 2);
      removal.answer(accepted);
      assert.equal((await removed).status, 202);
      (await pair.arrived('HEAD')).answer(ok);
      assert.equal((await asked).status, 200);
    });

    test('one that has ended well is not', async () => {
      assert.equal((await pair.remove(0, 'other')).status, 202);
      await pair.second.stop();
      assert.equal((await pair.remove(0, 'other')).status, 202);
    });

    test('one that does not hear is waited for, and serves on', async () => {
      assert.equal((await pair.remove(1, 'other')).status, 202);
      pair.relay.stall();
      assertRefused(await pair.remove(0, 'other'));
      assert.equal((await pair.push(1, 'other')).status, 201);
      pair.relay.flow();
      await until('it hears again', async () => (await pair.remove(0, 'other')).status === 202, 30_000);
    });

    test('without Redis deletes are refused, and the rest goes on', async () => {
      assert.equal((await pair.remove(0, 'other')).status, 202);
      await pair.redis.kill();
      for (const i of [0, 1] as const) {
        assertRefused(await pair.remove(i, 'other'));
        assert.equal((await pair.push(i, 'other')).status, 201);
      }
      await pair.redis.start();
      for (const i of [0, 1] as const)
        await until('it is back', async () => (await pair.remove(i, 'other')).status === 202, 30_000);
    });
  },
);

describe(
  'nothing is lost to a delete through another instance, in a real registry',
  { skip: unlessInstalled('docker-registry', 'redis-server'), timeout: 550_000 },
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
