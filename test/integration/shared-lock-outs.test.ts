import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createLockOuts } from '../../src/auth/throttle/lock-outs.ts';
import { createSharedLockOuts } from '../../src/auth/throttle/shared-lock-outs.ts';
import { connectRedis } from '../../src/redis/connection.ts';
import { keysUnder, startCluster, startRedis, until, type RedisServer } from '../support/redis.ts';
import { unlessInstalled } from '../support/requirement.ts';

const keyPrefix = 'test:';
/** Long, so that what really passes between two questions is nothing beside it. */
const rules = { failures: 4, windowMs: 1e9, lockMs: 1e8, maxLockMs: 5e8 };
const never = { ...rules, failures: 0 };

function open(url: string, options: { name?: typeof rules; upstreamUrl?: string } = {}) {
  const redis = connectRedis({ url, username: null, password: null, ca: null, connectTimeoutMs: 2000 });
  const shared = createSharedLockOuts({
    redis,
    keyPrefix,
    upstreamUrl: options.upstreamUrl ?? 'http://127.0.0.1:5000',
    address: rules,
    name: options.name ?? never,
    provenTtlMs: 60_000,
    timeoutMs: 5000,
    now: () => performance.now(),
  });
  return { ...shared, close: () => redis.disconnect() };
}

/** Lets time pass for all counts: they lie further back. */
async function age({ admin }: RedisServer, ms: number): Promise<void> {
  for (const key of await keysUnder(admin, keyPrefix))
    for (const field of ['start', 'until'])
      if (Number(await admin.hget(key, field)) > 0) await admin.hincrby(key, field, -ms);
}

describe('lock-outs in Redis', { timeout: 360_000, skip: unlessInstalled('redis-server') }, () => {
  test('are those in memory, whatever comes when', async () => {
    const redis = await startRedis();
    const shared = open(`redis://${redis.address}`);
    try {
      await until('it is connected', async () => (await shared.find('a', 'b')) !== null);
      // No sum of these is a whole number of windows or of tenths of one.
      const waits = fc.constantFrom(0, 0, 0, 0, 13_700_301, 137_003_017, 456_700_011, 1_234_500_023);
      const steps = fc.array(waits, { minLength: 5, maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(steps, async (passes) => {
          await redis.admin.flushall();
          let nowMs = 0;
          const model = createLockOuts({ ...rules, maxEntries: 10, now: () => nowMs });
          for (const ms of passes) {
            nowMs += ms;
            await age(redis, ms);
            const found = await shared.find('192.0.2.1', 'name');
            assert.equal((found?.address ?? null) !== null, model.remainingMs('key') > 0);
            const counted = await shared.count('192.0.2.1', 'name');
            assert.ok(counted);
            assert.deepEqual(counted.address, model.count('key'));
            assert.equal(counted.name, null);
          }
        }),
        { numRuns: 40 },
      );
    } finally {
      shared.close();
      await redis.stop();
    }
  });

  test('are of one upstream, end by themselves, and work in a cluster', async () => {
    const cluster = await startCluster();
    const url = `redis-cluster://${cluster.nodes.map(({ address }) => address).join(',')}`;
    const shared = open(url, { name: rules });
    const other = open(url, { name: rules, upstreamUrl: 'http://127.0.0.1:5001' });
    try {
      for (const each of [shared, other])
        await until('it is connected', async () => (await each.find('a', 'b')) !== null);
      for (let i = 0; i < 3; i++) await shared.count('192.0.2.1', 'name');
      assert.deepEqual(await shared.count('192.0.2.1', 'name'), {
        address: { forMs: 1e8, times: 1 },
        name: { forMs: 1e8, times: 1 },
      });
      // What is under no name counts for its address alone, and for no other name.
      for (let i = 0; i < 3; i++)
        assert.deepEqual(await shared.count('192.0.2.4', null), { address: null, name: null });
      assert.deepEqual(await shared.count('192.0.2.4', null), {
        address: { forMs: 1e8, times: 1 },
        name: null,
      });
      assert.equal((await shared.find('192.0.2.5', null))?.name, null);
      shared.remember('192.0.2.2', 'name');
      await until('it is remembered', async () => {
        const found = await shared.find('192.0.2.2', 'name');
        assert.deepEqual([found?.address, found?.name?.times], [null, 1]);
        return found?.hasComeFrom === true;
      });
      assert.deepEqual(await other.find('192.0.2.1', 'name'), {
        address: null,
        name: null,
        hasComeFrom: false,
      });
      for (const { admin } of cluster.nodes)
        for (const key of await keysUnder(admin, keyPrefix)) assert.ok((await admin.pttl(key)) > 0, key);
    } finally {
      shared.close();
      other.close();
      await cluster.stop();
    }
  });

  test('are not asked for longer than the time there is, nor again at once', async () => {
    const redis = await startRedis();
    let nowMs = 0;
    const connection = connectRedis({
      url: `redis://${redis.address}`,
      username: null,
      password: null,
      ca: null,
      connectTimeoutMs: 2000,
    });
    const shared = createSharedLockOuts({
      redis: connection,
      keyPrefix,
      upstreamUrl: 'http://127.0.0.1:5000',
      address: rules,
      name: rules,
      provenTtlMs: 60_000,
      timeoutMs: 200,
      now: () => nowMs,
    });
    try {
      await until('it is connected', async () => {
        nowMs += 1000;
        return (await shared.find('a', 'b')) !== null;
      });
      redis.pause();
      assert.equal(await shared.count('192.0.2.1', 'name'), null);
      redis.resume();
      assert.equal(await shared.count('192.0.2.1', 'name'), null, 'it is left alone for a second');
      await until('it is asked again', async () => {
        nowMs += 1000;
        return (await shared.count('192.0.2.1', 'name')) !== null;
      });
    } finally {
      connection.disconnect();
      await redis.stop();
    }
  });
});
